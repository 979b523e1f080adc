"""One thing that the doctor has looked at."""

import textwrap
from dataclasses import dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"
WIDTH = 110  # of a printed line


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is.

    Attributes:
        name: what was looked at, in one or two words.
        mark: OK; NOTE = training works, but something is slower, missing or unusual; PROBLEM = `python train.py` fails.
        value: how it is, for a person.
        advice: what to do about it; required for a problem.
    """

    name: str
    mark: str
    value: str
    advice: str = ""

    def __str__(self) -> str:
        """The finding as lines of text: mark, name, value, and below them the advice."""
        first = f"  {self.mark:<8} {self.name:<20} "
        indent = " " * len(first)
        lines = textwrap.wrap(self.value, WIDTH, initial_indent=first, subsequent_indent=indent)
        if self.advice:
            lines += textwrap.wrap(self.advice, WIDTH, initial_indent=indent + "→ ", subsequent_indent=indent + "  ")
        return "\n".join(lines)
