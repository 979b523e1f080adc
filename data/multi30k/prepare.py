"""Fetch and check Multi30k, then show what is in it:  python data/multi30k/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from llmasos.datasets import open_pairs
from llmasos.datasets.summary import main

main("multi30k", open_pairs)
