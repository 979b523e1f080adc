"""`python -m lessons`."""

import sys
from collections.abc import Sequence

from llmasos.signals import exit_at_once, handlers


def main(arguments: Sequence[str] | None) -> int:
    """Import the commands inside `run`, which hears Ctrl-C while torch is being imported, and carry one out."""
    from lessons.machinery.commands import dispatch

    return dispatch(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    with handlers(exit_at_once):  # until `run`, which takes a moment to import, hears a signal itself
        from llmasos.cli.cli import run

        sys.exit(run(main))
