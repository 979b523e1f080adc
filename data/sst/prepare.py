"""Fetch and check the Stanford Sentiment Treebank, then show what is in it:  python data/sst/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from llmasos.datasets import open_labelled
from llmasos.datasets.summary import main

for name in ("sst5", "sst2"):
    main(name, open_labelled)
