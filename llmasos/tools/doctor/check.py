"""One check of the doctor, and how it prints."""

import textwrap
from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"
WIDTH = 110  # of a printed line


@dataclass(frozen=True)
class Check:
    """What was checked, and the result.

    Attributes:
        name: the subject of the check, in one or two words.
        status: OK; WARNING = training works, but something is slower, missing or unusual; PROBLEM = training fails.
        value: the result, in words.
        advice: how to fix it; every PROBLEM has one.
    """

    name: str
    status: str
    value: str
    advice: str = ""

    def __str__(self) -> str:
        """The check as lines of text: status, name and result, with the advice below."""
        first = f"  {self.status:<8} {self.name:<20} "
        indent = " " * len(first)
        lines = textwrap.wrap(self.value, WIDTH, initial_indent=first, subsequent_indent=indent)
        if self.advice:
            lines += textwrap.wrap(self.advice, WIDTH, initial_indent=indent + "→ ", subsequent_indent=indent + "  ")
        return "\n".join(lines)


def reason(error: Exception) -> str:
    """The first line of an error's message, or its type if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
