"""Download and check Multi30k, then print a summary:  python data/multi30k/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from llmasos.cli.prepare import prepare

prepare("multi30k", "pairs")
