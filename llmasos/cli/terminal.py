"""Generated text on a terminal or in a file, and lines that somebody types."""

import os
import sys
from collections.abc import Iterator
from typing import TextIO

BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Screen:
    """Shows prompts and their continuations.

    On a terminal the prompt is bold, and control characters that a model might write (they could move the cursor or
    ring the bell) become U+FFFD. A file gets the bare text. The environment variable NO_COLOR switches the bold off.
    """

    def __init__(self, out: TextIO):
        self.out = out
        self.is_terminal = out.isatty()
        self.styled = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        if self.styled and sys.platform == "win32":
            os.system("")  # makes the Windows console understand the codes above
        if hasattr(out, "reconfigure"):
            out.reconfigure(errors="replace")  # a terminal that lacks a character shows ? instead of failing

    def heading(self, text: str) -> None:
        """A line above one of several texts."""
        self._write(self._style(f"── {text} ".ljust(40, "─"), DIM) + "\n")

    def prompt(self, text: str) -> None:
        """The given beginning of a text, set apart from what the model adds."""
        self._write(self._style(self._safe(text), BOLD))

    def text(self, piece: str) -> None:
        """A piece of what the model adds, shown at once."""
        self._write(self._safe(piece))

    def end(self) -> None:
        """The text is complete."""
        self._write("\n")

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def _style(self, text: str, style: str) -> str:
        return f"{style}{text}{PLAIN}" if self.styled and text else text

    def _safe(self, text: str) -> str:
        if not self.is_terminal:
            return text
        return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)


def typed_lines() -> Iterator[str]:
    """What is typed, line by line until Ctrl-D; on a terminal with a sign that it is the user's turn."""
    try:
        import readline  # lets `input` edit the line and remember earlier ones, where the system has it
    except ImportError:
        pass
    else:
        readline.parse_and_bind("set enable-bracketed-paste on")  # several lines that are pasted are one message
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            print(file=sys.stderr)
            return
        yield line


def note(text: str) -> None:
    """Tell a person something that is not part of the text."""
    print(f"({text})", file=sys.stderr)
