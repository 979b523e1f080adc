"""`python -m lessons`."""

import sys
from collections.abc import Sequence

from llmasos.cli.cli import run


def main(arguments: Sequence[str] | None) -> int:
    """Import the commands inside `run`, which hears Ctrl-C while torch is being imported, and carry one out."""
    from lessons.machinery.commands import dispatch

    return dispatch(sys.argv[1:])


sys.exit(run(main))
