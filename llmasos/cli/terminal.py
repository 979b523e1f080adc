"""Terminal output and input: generated text, notes, and the lines that the user types."""

import os
import sys
from collections.abc import Iterator
from typing import TextIO

from llmasos.cli.cli import well_formed
from llmasos.console import say

BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Screen:
    """Shows prompts and their continuations.

    On a terminal the prompt is bold, and control characters that a model might generate (they could move the cursor or
    ring the bell) become U+FFFD. A file gets the text as it is. The environment variable NO_COLOR disables the bold.
    """

    def __init__(self, out: TextIO):
        self.out = out
        self.is_terminal = out.isatty()
        self.styled = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        if self.styled and sys.platform == "win32":
            os.system("")  # makes the Windows console understand the codes above

    def heading(self, text: str) -> None:
        """Write a line above one of several texts."""
        self._write(self._style(f"── {text} ".ljust(40, "─"), DIM) + "\n")

    def prompt(self, text: str) -> None:
        """Write a prompt, in bold, to set it apart from what the model adds."""
        self._write(self._style(self._safe(text), BOLD))

    def text(self, piece: str) -> None:
        """Write a piece of generated text at once."""
        self._write(self._safe(piece))

    def end(self) -> None:
        """End the text."""
        self._write("\n")

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def _style(self, text: str, style: str) -> str:
        return f"{style}{text}{RESET}" if self.styled and text else text

    def _safe(self, text: str) -> str:
        if not self.is_terminal:
            return text
        return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)


def typed_lines() -> Iterator[str]:
    """The lines that the user types, until Ctrl-D; on a terminal with a prompt sign."""
    try:
        import readline  # gives `input` line editing and a history, if available
    except ImportError:
        pass
    else:
        readline.parse_and_bind("set enable-bracketed-paste on")  # pasted lines form one message
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except (EOFError, OSError):  # Ctrl-D, or the terminal is gone
            print(file=sys.stderr)
            return
        yield well_formed(line.removesuffix("\r"))  # a lone "\r" does not end a line


def note(text: str) -> None:
    """Print a note to the user, which is not part of the generated text, on standard error."""
    say(f"({text})", error=True)
