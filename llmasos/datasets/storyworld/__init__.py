"""Storyworld: short stories from a small world, with known entropy and examples for every task.

    from llmasos.datasets.storyworld import generate, stories

    story = generate(seed=0, index=7)       # always the same story
    print(story.text)                       # one paragraph of English
    print(story.german)                     # the same story in German, aligned sentence by sentence
    for story in stories("train", 12000):   # the default training corpus
        ...

**An environment for experiments.** The generator can judge any text (`verifier.py`), so it can serve as the verifier or
the reward of reinforcement learning, as the teacher in distillation, and as the ground truth for every score:

    log_prob(story.text)                    # exact, in nats
    valid_prefix("Once there was a bra")    # True: some story begins like this
    valid_prefix_length(text) / len(text)   # the fraction of a text that the world allows, in milliseconds
    next_word_probs("Once there was")       # the exact distribution of the next word
    prefix_log_prob("Once there was a")     # the log-probability that a story begins like this
    facts(story.text).hero                  # who it is about; also what, and how it ends

**Dials** (`world.py`, `dirt.py`) make the world easier, harder, biased or dirty; all of the above takes a `world`:

    World(names=8, things=4, plots=3)                   # difficulty
    World(bias=(("brave", "boys", 0.8),))               # P(brave | boy) = 0.8
    dirty_documents(stories("train", 1000), dirt=0.5)   # known typos, copies, boilerplate, German, private data

As the data of a training run: `--data storyworld:60000:names=8:brave_boys=0.8:dirt=0.5`.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmasos.datasets.storyworld import splits
from llmasos.datasets.storyworld.chooser import Chooser
from llmasos.datasets.storyworld.dirt import DirtyDocument, dirty_documents
from llmasos.datasets.storyworld.proof import valid_prefix_length
from llmasos.datasets.storyworld.splits import SPLITS
from llmasos.datasets.storyworld.story import Question, Story, tell
from llmasos.datasets.storyworld.teller import Teller
from llmasos.datasets.storyworld.verifier import (
    Facts,
    facts,
    log_prob,
    next_char_probs,
    next_sentence_probs,
    next_word_probs,
    prefix_log_prob,
    read_story,
    summary_facts,
    valid_prefix,
)
from llmasos.datasets.storyworld.world import DEFAULT_WORLD, World
from llmasos.errors import UserError

__all__ = [
    "DEFAULT_SIZES", "DirtyDocument", "Facts", "Question", "Story", "World", "dirty_documents", "facts", "generate",
    "log_prob", "next_char_probs", "next_sentence_probs", "next_word_probs", "prefix_log_prob", "read_story",
    "stories", "summary_facts", "valid_prefix", "valid_prefix_length",
]  # fmt: skip

DEFAULT_SIZES = {"train": 12_000, "val": 500}


def generate(seed: int, index: int, world: World = DEFAULT_WORLD) -> Story:
    """Return story number `index` of the corpus `seed` of a world, whatever its split."""
    story = tell(Teller(Chooser(seed, index), world))
    assert story is not None  # only a split can rule out a story
    return story


def stories(split: str, n: int, seed: int = 0, world: World = DEFAULT_WORLD) -> Iterator[Story]:
    """Yield the first `n` stories of a split: those with index 0, 1, 2 … whose combination belongs to it.

    Args:
        split: "train" or "val".
        n: the number of stories.
        seed: another seed gives another corpus.
        world: the world in which the stories take place.

    Raises:
        UserError: the split is unknown, n is negative, or the world is so small that this split has no story.
    """
    if split not in SPLITS:
        raise UserError(f"Storyworld has no split '{split}'; it has {' and '.join(SPLITS)}.")
    if n < 0:
        raise UserError(f"The number of stories is {n}, but it must be 0 or more; pass a larger n.")
    if n and not splits.probability(split, world):
        raise UserError(f"a world of {world} has no story in the split {split!r}; give it more names, things or plots.")
    index = 0
    while n > 0:
        story = tell(Teller(Chooser(seed, index), world), split)
        if story is not None:
            yield story
            n -= 1
        index += 1
