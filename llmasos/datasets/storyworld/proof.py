"""Proof of a text's information: every way in which the generator could have produced it.

The floor in the plots is -log p(text). A story's own decisions give the probability of *one* way to its text; with a
second way to the same text, the text would be more probable and the floor too high. `readings` settles this by
exhaustive search: it replays the generator with forced decisions, follows every branch whose output is a prefix of the
text, drops a branch at the first word that differs, and returns all sequences of decisions that end in exactly this
text. If there is one, its -log p is exact; if there are several, `information` adds their probabilities.

The search is complete, because the generator has no source of chance but its chooser, and fast, because decisions are
taken when the text reaches them, so a wrong branch ends at the next word.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llmasos.datasets.storyworld.chooser import Chooser, ForcedChooser
from llmasos.datasets.storyworld.story import tell
from llmasos.datasets.storyworld.teller import Mismatch


def readings(text: str, generator: Callable[[Chooser, str], Any] = tell) -> list[tuple[tuple[int, ...], float]]:
    """Return every (decisions, nats) with which the generator produces exactly `text`; empty if it cannot.

    Args:
        text: of a story.
        generator: called with a chooser and the target text; returns an object with `text`, and may raise `Mismatch`
            as soon as its output is not a prefix of the target.
    """
    results = []
    unexplored: list[tuple[int, ...]] = [()]
    while unexplored:
        chooser = ForcedChooser(unexplored.pop())
        try:
            output = generator(chooser, text).text
        except Mismatch:
            output = None
        if output == text:
            results.append((tuple(chooser.taken), chooser.nats))
        unexplored += chooser.open
    return results


def information(text: str, generator: Callable[[Chooser, str], Any] = tell) -> float:
    """Return -log p(text) in nats: the sum over all readings. Infinite for a text that the generator cannot produce."""
    total = math.fsum(math.exp(-nats) for _, nats in readings(text, generator))
    return -math.log(total) if total > 0 else math.inf


def possible(text: str) -> int:
    """Return the length in characters of the longest prefix of `text` with which a story can begin.

    It is counted in whole pieces (a word or a few that the generator produces at once), so it may be a little less than
    in a character-by-character comparison with every story; at the end of a sentence it is exact.
    """
    furthest = 0
    unexplored: list[tuple[int, ...]] = [()]
    while unexplored and furthest < len(text):
        chooser = ForcedChooser(unexplored.pop())
        try:
            story = tell(chooser, text)
            length = len(story.text) if story else 0
        except Mismatch as mismatch:
            (length,) = mismatch.args
        furthest = max(furthest, length)
        unexplored += chooser.open
    return furthest
