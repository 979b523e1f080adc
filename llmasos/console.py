"""Console output: lines and progress bars, in any encoding.

A training run must not end because its output can no longer be read: a closed pipe (`train.py | head -1`), a full disk,
a lost terminal. So `say` and `progress_bar` drop what cannot be written. A command whose output *is* the result raises
`OutputLost` instead (see `cli/cli.py`). A character that the output's encoding lacks is spelled out, never an error.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")
Say = Callable[[str], None]  # prints one line for the user

_verbose = ContextVar("verbose", default=True)

SPELLED_OUT = {
    "–": "-", "—": "-", "−": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "→": "->", "×": "x", "±": "+-",
    "·": ".", "─": "-", "│": "|", "└": "+", "░": ".", "▒": "+", "▓": "%", "█": "#", "≤": "<=", "≥": ">=", "√": "sqrt",
    "●": "*", "○": "o", "◆": "@", "△": "^", "□": "=", "✓": "v", "\ufffd": "?",
}  # fmt: skip
"""Characters that the library itself prints, in ASCII."""


class OutputLost(OSError):
    """The output cannot be written: its reader has closed the pipe, or the disk is full."""


class Output:
    """A text stream that spells out characters that its encoding lacks.

    Args:
        stream: the stream; None, as Python has it for a closed one, is the null device.
        forgiving: drop what cannot be written, instead of raising `OutputLost`.

    Attributes:
        lost: why something could not be written; None if everything was.
    """

    def __init__(self, stream: Any, forgiving: bool = False):
        self.stream: TextIO = open(os.devnull, "w") if stream is None else stream
        self.forgiving = forgiving
        self.lost: OutputLost | None = None

    def write(self, text: str) -> int:
        """Write a text. Returns its length."""
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            return self.write("".join(spell_out(character, self.stream.encoding) for character in text))
        except (OSError, ValueError) as error:  # a closed stream is a ValueError
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Pass on what has been written."""
        try:
            self.stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return not getattr(self.stream, "closed", False) and self.stream.isatty()

    def finish(self) -> None:
        """Flush; if that fails, send the rest to the null device, so that Python itself does not fail at exit."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def _lose(self, error: Exception) -> None:
        self.lost = OutputLost(*error.args)
        if not self.forgiving:
            raise self.lost from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class BarOutput(Output):
    """The output of bars and of the lines above them. tqdm sees a single stream, so it makes room for the lines."""

    def __init__(self, stream: Any):
        super().__init__(stream, forgiving=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BarOutput)


def spell_out(character: str, encoding: str) -> str:
    """Spell a character with the characters that an encoding has.

    >>> spell_out("ü", "latin-1"), spell_out("→", "latin-1"), spell_out("ü", "ascii")
    ('ü', '->', '\\\\xfc')
    """
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return SPELLED_OUT.get(character) or character.encode("ascii", "backslashreplace").decode()
    return character


def say(text: str, error: bool = False) -> None:
    """Print a line for the user at once, above the progress bars.

    Args:
        text: the line.
        error: print to standard error, because it is not part of the result.
    """
    if not _verbose.get():
        return
    out = BarOutput(sys.stderr if error else sys.stdout)
    if "tqdm" in sys.modules:  # else there is no bar
        from tqdm import tqdm

        tqdm.write(text, file=out)  # type: ignore[arg-type]
    else:
        out.write(text + "\n")
    out.flush()


def progress_bar(**settings: Any) -> Any:
    """A tqdm bar on a terminal or in a notebook; elsewhere, and inside `quiet`, a bar that shows nothing.

    Args:
        settings: arguments of tqdm: total, desc, unit, …
    """
    from tqdm import tqdm

    if not _verbose.get():
        return tqdm(**{**settings, "disable": True})
    if in_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets, it is the bar of a terminal
            from tqdm.auto import tqdm as notebook_tqdm
        return notebook_tqdm(**settings)
    file: Any = BarOutput(sys.stderr)
    return tqdm(**{"disable": None, "dynamic_ncols": True, **settings}, file=file)  # None: unless it is a terminal


def track(items: Sequence[Item], title: str) -> Iterable[Item]:
    """Iterate over items, with a progress bar while it takes longer than a second."""
    return items if len(items) < 2 else progress_bar(iterable=items, desc=title, leave=False, delay=1.0)


def in_notebook() -> bool:
    """Whether this process belongs to a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


@contextmanager
def quiet(enabled: bool = True) -> Iterator[None]:
    """While open, `say` and `progress_bar` show nothing in this thread."""
    token = _verbose.set(_verbose.get() and not enabled)
    try:
        yield
    finally:
        _verbose.reset(token)


def command(name: str, *arguments: object) -> str:
    """How the user starts a command here: by the script of a clone's root folder, or through the installed package.

    Args:
        name: the name of the command.
        arguments: its words, quoted where the shell needs it.
    """
    script = Path(__file__).parents[1] / f"{name}.py"
    start = [script.name] if script.is_file() and Path.cwd() == script.parent else ["-m", "llmasos", name]
    words = ["python", *start, *map(str, arguments)]
    import shlex  # here, because this module is imported before signals are handled
    import subprocess

    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of cells as lines with aligned columns.

    >>> print(text_table([("metric", "value"), ("accuracy", "0.91")]))
    metric    value
    accuracy  0.91
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
