"""Train a language model: `python train.py`, `python train.py --help`, `python train.py --list`."""

import sys

from llmasos.commands.errors import run
from llmasos.commands.train import main

if __name__ == "__main__":
    sys.exit(run(main))
