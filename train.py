"""Train a language model: `python train.py`, `python train.py --help`, `python train.py --list`."""

import sys

from llmasos.cli.cli import run
from llmasos.cli.train import main

if __name__ == "__main__":
    sys.exit(run(main))
