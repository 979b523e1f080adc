"""Storyworld as a source of text: generated on the fly, each story a document whose true information is known."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from llmasos.datasets.source import Piece, TextSource, check_split
from llmasos.datasets.storyworld import DEFAULT_SIZES, Story, stories


class StoryworldText(TextSource):
    """Stories of the embedded small world. Whole combinations are held out, not just samples.

    Args:
        n_train: the number of training stories. The validation stories do not depend on it.
    """

    def __init__(self, n_train: int = DEFAULT_SIZES["train"]):
        n_val = DEFAULT_SIZES["val"]
        self.counts = {"train": n_train, "val": n_val}
        self.name = "storyworld" if n_train == DEFAULT_SIZES["train"] else f"storyworld:{n_train}"
        self.description = f"{n_train:,} generated stories to train on, {n_val:,} of other combinations held out"
        self._information: dict[str, float] = {}

    def pieces(self, split: str) -> Iterator[Piece]:
        for story in self._stories(split):
            yield Piece(story.text, True)

    def fingerprint(self) -> str:
        """Return a hash of the counts and of the generator's source files: any change to them gives another corpus."""
        digest = hashlib.sha256(f"storyworld {self.counts}".encode())
        folder = Path(__file__).parent
        for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).parts):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def information(self, split: str) -> float:
        if split not in self._information:
            self._information[split] = sum(story.nats for story in self._stories(split))
        return self._information[split]

    def _stories(self, split: str) -> Iterator[Story]:
        check_split(split)
        return iter(stories(split, self.counts[split], seed=0))
