"""The scripts `data/*/prepare.py`: download a dataset if necessary, check it and print its summary."""

import sys

from llmasos.cli.cli import run
from llmasos.datasets.summary import summarize


def prepare(name: str, format: str = "text") -> None:
    """Print the summary of a dataset (see `summarize`), and end the process if that is not possible."""
    if status := run(lambda arguments: print(summarize(name, format)), []):
        sys.exit(status)
