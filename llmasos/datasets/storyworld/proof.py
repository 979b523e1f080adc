"""Proof of a text's information: every way in which the generator could have produced it.

The floor in loss plots is -log p(text). A story's own decisions give the probability of *one* way to its text; with a
second way to the same text, the text would be more probable and the floor too high. `readings` settles this by
exhaustive search (`matching.py`): it returns all sequences of decisions that end in exactly this text. If there is one,
its -log p is exact; if there are several, `information` adds their probabilities.

The search is complete, because the generator has no source of chance but its chooser, and fast, because decisions are
taken when the text reaches them, so a wrong branch ends at the next word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from llmasos.datasets.storyworld.chooser import ForcedChooser
from llmasos.datasets.storyworld.matching import Goal, MatchingTeller, Mismatch, Sentence, Way
from llmasos.datasets.storyworld.story import tell
from llmasos.datasets.storyworld.teller import Teller
from llmasos.datasets.storyworld.world import DEFAULT_WORLD, World

Generator = Callable[[Teller], Any]  # tells a story with a teller's decisions; the result has a `text`


def branches(
    target: str, goal: Goal | None = None, generator: Generator = tell, world: World = DEFAULT_WORLD
) -> Iterator[tuple[MatchingTeller, Way | None]]:
    """Yield, for each branch of the search, its teller and the way to a whole story that it found, if any."""
    unexplored: list[tuple[tuple[int, ...], list[Sentence]]] = [((), [])]
    while unexplored:
        script, known = unexplored.pop()
        chooser = ForcedChooser(script)
        teller = MatchingTeller(chooser, target, known, goal, world)
        way = None
        try:
            story = generator(teller)
            if story.text == target:
                way = Way(tuple(chooser.taken), chooser.nats, story)
        except Mismatch:
            pass
        yield teller, way
        unexplored += ((branch, teller.known_before(branch)) for branch in chooser.open)
        unexplored += teller.alternatives


def readings(text: str, generator: Generator = tell, world: World = DEFAULT_WORLD) -> list[Way]:
    """Return every way in which the generator produces exactly `text`; empty if it cannot."""
    return [way for _, way in branches(text, None, generator, world) if way]


def information(text: str, generator: Generator = tell, world: World = DEFAULT_WORLD) -> float:
    """Return -log p(text) in nats: the sum over all readings. Infinite for a text that the generator cannot produce."""
    total = math.fsum(math.exp(-way.nats) for way in readings(text, generator, world))
    return -math.log(total) if total > 0 else math.inf


def valid_prefix_length(text: str, world: World = DEFAULT_WORLD) -> int:
    """Return the length in characters of the longest prefix of `text` with which a story can begin.

    Divided by `len(text)`, it is the fraction of a text that the world allows.
    """
    furthest = 0
    for teller, _ in branches(text, world=world):
        furthest = max(furthest, teller.furthest)
        if furthest == len(text):
            break
    return furthest
