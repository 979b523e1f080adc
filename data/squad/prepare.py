"""Fetch and check SQuAD 1.1, then show what is in it:  python data/squad/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from llmasos.datasets import open_questions
from llmasos.datasets.summary import main

main("squad", open_questions)
