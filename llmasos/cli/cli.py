"""Shared by all commands: errors become one sentence for the user and an exit status for the shell."""

import argparse
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from llmasos import __version__
from llmasos.arguments import WORDS
from llmasos.console import Output, OutputLost, say
from llmasos.errors import MEMORY_ADVICE, UserError, is_out_of_memory, nearest
from llmasos.settings import check_choice
from llmasos.signals import Terminated, raise_on_signals


def run(command: Callable[[Sequence[str] | None], int | None], arguments: Sequence[str] | None = None) -> int:
    """Call a command's `main` and return the exit status.

    A `UserError` is printed to stderr as one sentence; the status is 2, and so it is for output that cannot be written.
    Ctrl-C is 130 and SIGTERM 143, as in the shell. A closed pipe (`… | head`) is not an error. Any other exception is a
    bug and keeps its traceback.
    """
    with checked_output() as out, raise_on_signals() as stop_request:
        try:
            check_working_folder()
            if status := command(arguments):
                return status  # the status of a signal, for example, is more informative than lost output
            out.flush()
            if out.lost:  # training drops what it cannot print, and reports it at the end
                raise out.lost
            return 0
        except UserError as error:
            return fail(f"error: {error}", 2)
        except OutputLost as error:
            if error.errno in (errno.EPIPE, errno.EINVAL):  # the second is Windows' code
                return 0
            return fail(f"error: the output cannot be written ({error.strerror or error}); check where it goes.", 2)
        except (KeyboardInterrupt, Terminated) as error:
            return fail("stopped.", error.status if isinstance(error, Terminated) else 130)
        except Exception as error:
            if is_out_of_memory(error):
                return fail(f"error: there is not enough memory: {MEMORY_ADVICE}.", 2)
            if not stop_request.is_set():
                raise
            return fail("stopped.", stop_request.status)  # during imports, Ctrl-C may surface as an ImportError


def check_working_folder() -> None:
    """Raise UserError if the current folder was removed: otherwise Python or torch would fail somewhere later."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError("the current folder does not exist any more; change to another one (cd).") from error


def check_json_target(file: Path | str | None, is_ours: Callable[[Any], bool]) -> None:
    """Refuse to overwrite anything with `--json FILE` except earlier results of the same command.

    Args:
        file: the file; None = no such flag.
        is_ours: whether the content of an existing file is such a result.

    Raises:
        UserError: the file holds something else, or is a folder.
    """
    if file is None or not os.path.lexists(file):
        return
    try:
        ours = is_ours(json.loads(Path(file).read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise UserError(f"--json {file}: there is another file of that name; choose another, so that it is not lost.")


def fail(message: str, status: int) -> int:
    """Print why a command ends, and return its exit status. With several processes, only one prints."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        # imports torch, which these processes need anyway
        from llmasos.training.distributed import is_first_report, rank_in_words

        if not is_first_report(message):
            return status
        message += rank_in_words()
    say(message, error=True)
    return status


@contextmanager
def checked_output() -> Iterator[Output]:
    """Make standard output raise `OutputLost`, and standard error drop what cannot be written, while this is open.

    If a program is started with a closed stream (`>&-`), the first file it opens gets that stream's descriptor, and
    torch's output would end up in the file. So the null device is opened there first.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    before = sys.stdout, sys.stderr
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape", newline="\n")  # see `well_formed`, `typed_lines`
    out, error = Output(sys.stdout), Output(sys.stderr, forgiving=True)
    sys.stdout, sys.stderr = out, error  # type: ignore[assignment]
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
        out.finish()
        error.finish()


def add_adapter_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--adapter`, a flag of every command that uses a model."""
    parser.add_argument(
        "--adapter",
        metavar="FOLDER",
        help="a LoRA adapter of the model: the folder of an adapter (of llmasos or peft) or of a run with --lora-rank, "
        "or a name on the Hugging Face hub",
    )


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` with --version, which raises a `UserError` for a wrong flag."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_argument("--version", action="version", version=f"llmasos {__version__}", help="show the version")

    def error(self, message: str) -> NoReturn:
        if match := re.fullmatch(r"argument (\S+): invalid (int|float) value: (.*)", message, re.DOTALL):
            flag, kind, value = match.groups()
            raise UserError(f"{flag} is {value}; it must be {WORDS[int if kind == 'int' else float]}.")
        if match := re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
            check_choice(match[1], match[2], re.findall(r"[\w.-]+", match[3]))
        flag = message.removeprefix("unrecognized arguments: ").split(" ")[0].split("=")[0]
        hint = nearest(flag, self._option_string_actions) if flag.startswith("-") else ""
        raise UserError(f"{message}{hint or '; see --help.'}")

    def exit(self, status=0, message=None):  # type: ignore[override]
        """End after --help or --version. Raises `OutputLost` if it cannot be written, which argparse ignores."""
        sys.stdout.flush()
        if lost := getattr(sys.stdout, "lost", None):
            raise lost
        super().exit(status, message)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """Parse arguments, decoded correctly in every locale. The name of an existing file is left unchanged."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([w if os.path.exists(w) else well_formed(w) for w in words], namespace)


def well_formed(text: str) -> str:
    """Remove the surrogates that Python puts in place of unexpected bytes on the command line or in the terminal.

    If the system's encoding is not UTF-8, UTF-8 arrives as such bytes and is decoded; other bytes become U+FFFD.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
