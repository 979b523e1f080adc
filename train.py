"""Train a language model: `python train.py`, `python train.py --help`, `python train.py --list`.

The command itself is `llmasos/cli/train.py`.
"""

import sys

from llmasos.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
