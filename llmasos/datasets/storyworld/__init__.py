"""Storyworld: short stories from a small world, with known entropy and the examples of every task.

from llmasos.datasets.storyworld import generate, stories

story = generate(seed=0, index=7)       # always the same story
print(story.text)                       # one paragraph of English
print(story.german)                     # the same story in German, aligned sentence by sentence
for story in stories("train", 12000):   # the default training corpus
    ...
"""

from __future__ import annotations

from collections.abc import Iterator

from llmasos.datasets.storyworld.chooser import Chooser
from llmasos.datasets.storyworld.splits import SPLITS
from llmasos.datasets.storyworld.story import Question, Story, tell
from llmasos.datasets.storyworld.teller import Teller
from llmasos.errors import UserError

__all__ = ["DEFAULT_SIZES", "Question", "Story", "generate", "stories"]

DEFAULT_SIZES = {"train": 12_000, "val": 500}


def generate(seed: int, index: int) -> Story:
    """Return story number `index` of the corpus `seed`, whatever its split."""
    story = tell(Teller(Chooser(seed, index)))
    assert story is not None  # only a split can rule out a story
    return story


def stories(split: str, n: int, seed: int = 0) -> Iterator[Story]:
    """Yield the first `n` stories of a split: those of index 0, 1, 2 … whose combination belongs to it.

    Args:
        split: "train" or "val".
        n: the number of stories.
        seed: another seed gives another corpus.

    Raises:
        UserError: the split is unknown or n is negative.
    """
    if split not in SPLITS:
        raise UserError(f"Storyworld has no split '{split}'; it has {' and '.join(SPLITS)}.")
    if n < 0:
        raise UserError(f"The number of stories is {n}, but it must be 0 or more; pass a larger n.")
    index = 0
    while n > 0:
        story = tell(Teller(Chooser(seed, index)), split)
        if story is not None:
            yield story
            n -= 1
        index += 1
