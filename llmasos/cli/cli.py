"""What all commands share: errors become one sentence for the user and an exit status for the shell."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from llmasos.errors import UserError, nearest


def run(command: Callable[[Sequence[str] | None], int | None], arguments: Sequence[str] | None = None) -> int:
    """Call a command's `main` and return the exit status.

    A `UserError` is printed to stderr as one sentence; the status is 2. Ctrl-C is 130, as in the shell. A closed pipe
    (`… | head`) is not an error. Any other exception is a bug and keeps its traceback.
    """
    try:
        return command(arguments) or 0
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # under torchrun, only one of the processes prints it
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises a `UserError` for a wrong flag instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        flag = message.removeprefix("unrecognized arguments: ").split(" ")[0].split("=")[0]
        hint = nearest(flag, self._option_string_actions) if flag.startswith("-") else ""
        raise UserError(f"{message}{hint or '; see --help.'}")
