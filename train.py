"""Train a language model: `python train.py`, `python train.py --help`, `python train.py --list`.

The command itself is `llmasos/cli/train.py`.
"""

import _signal  # the part of `signal` that is built in: there at once
import sys

if __name__ == "__main__":
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until `main` listens, Ctrl-C ends the process without a traceback

from llmasos.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
