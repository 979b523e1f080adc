"""Download and check the Stanford Sentiment Treebank, then print a summary:  python data/sst/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from llmasos.cli.prepare import prepare

prepare("sst5", "labeled_text")
prepare("sst2", "labeled_text")
