"""How every command ends when something is wrong: with a sentence for a person and a status for the shell."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from llmasos.errors import UserError


def run(command: Callable[[Sequence[str] | None], int | None], arguments: Sequence[str] | None = None) -> int:
    """Call a command's `main`; a `UserError` is printed as one sentence on stderr and becomes exit status 2.

    Ctrl-C is 130, as the shell has it; a reader that closed the pipe (`… | head`) is no error. Any other exception is a
    bug of ours and keeps its traceback.
    """
    try:
        return command(arguments) or 0
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # of several processes under torchrun, one speaks
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


class ArgumentParser(argparse.ArgumentParser):
    """argparse's, but a wrong flag is a `UserError` with one sentence instead of a page of usage."""

    def error(self, message: str):
        raise UserError(f"{message}; see --help.")
