"""Storyworld as a source of text: stories are generated on the fly, each one a document with known information."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from llmasos.datasets.source import SPLITS, Piece, TextSource, check_split
from llmasos.datasets.storyworld import DEFAULT_SIZES, Story, World, dirty_documents, stories
from llmasos.datasets.storyworld.world import DEFAULT_WORLD


class StoryworldText(TextSource):
    """Stories of the embedded small world. Whole combinations are held out, not just samples.

    Args:
        n_train: the number of training stories. The validation stories do not depend on it.
        world: the dials of the world.
        dirt: the fraction of the training documents that are dirty (`dirt.py`); the held-out ones are clean.

    Raises:
        UserError: the world is so small that one of the splits has no story.
    """

    def __init__(self, n_train: int = DEFAULT_SIZES["train"], world: World = DEFAULT_WORLD, dirt: float = 0.0):
        n_val = DEFAULT_SIZES["val"]
        self.counts = {"train": n_train, "val": n_val}
        self.world, self.dirt = world, dirt
        dials = [str(n_train)] if n_train != DEFAULT_SIZES["train"] else []
        dials += [str(world)] if world != DEFAULT_WORLD else []
        dials += [f"dirt={dirt:g}"] if dirt else []
        self.name = ":".join(["storyworld", *dials])
        kind = f"generated stories, {dirt:.0%} of them dirty," if dirt else "generated stories"
        self.description = f"{n_train:,} {kind} to train on, {n_val:,} of other combinations held out"
        self._information: dict[str, float] = {}
        if world != DEFAULT_WORLD:
            for split in SPLITS:
                next(stories(split, 1, world=world))  # raises an error at once if the split has no stories

    def pieces(self, split: str) -> Iterator[Piece]:
        own = self._stories(split)
        if split == "train" and self.dirt:
            return (Piece(document.text, True) for document in dirty_documents(own, self.dirt))
        return (Piece(story.text, True) for story in own)

    def fingerprint(self) -> str:
        """Return a hash of the counts and of the generator's source files: any change to them gives another corpus."""
        digest = hashlib.sha256(f"storyworld {self.counts} {self.world} {self.dirt}".encode())
        folder = Path(__file__).parent
        for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).parts):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def information(self, split: str) -> float | None:
        if split == "train" and self.dirt:
            return None  # the information of typos and copies is unknown
        if split not in self._information:
            self._information[split] = sum(story.nats for story in self._stories(split))
        return self._information[split]

    def _stories(self, split: str) -> Iterator[Story]:
        check_split(split)
        return stories(split, self.counts[split], world=self.world)
