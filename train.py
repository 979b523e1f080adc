"""Train a language model: `python train.py`, `python train.py --help`, `python train.py --list`.

The command itself is `llmasos/cli/train.py`.
"""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main` listens, Ctrl-C ends the process without a traceback

from llmasos.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
