"""Download and check SQuAD 2.0, then print a summary:  python data/squad2/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from llmasos.cli.prepare import prepare

prepare("squad2", "questions")
