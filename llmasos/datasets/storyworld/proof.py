"""Proves the information of a text: finds every way in which the generator could have told it.

The floor that plots show is -log p(text). A story's own decisions give the probability of *one* way to its text; were
there a second way to the same text, the text would be more probable than that, and the floor too high. `readings`
settles it by exhaustive search: it replays the generator with forced decisions, follows every branch as long as what is
said is a beginning of the text, drops a branch at the first word that differs, and returns all sequences of decisions
that end in exactly this text. If there is one, its -log p is exact; if there were several, `information` adds their
probabilities.

The search is complete, because the generator has no other source of chance than its chooser, and quick, because
decisions are taken when the text reaches them, so that a wrong branch dies at the next word.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llmasos.datasets.storyworld.chooser import Chooser, ForcedChooser
from llmasos.datasets.storyworld.story import tell
from llmasos.datasets.storyworld.teller import Mismatch


def readings(text: str, generator: Callable[[Chooser, str], object] = tell) -> list[tuple[tuple[int, ...], float]]:
    """Return every (decisions, nats) with which the generator tells exactly `text`; empty if it cannot.

    generator: called with a chooser and the text to aim at; returns an object with `text`, and may raise `Mismatch`
    as soon as what it tells is no beginning of that text.
    """
    found = []
    unexplored: list[tuple[int, ...]] = [()]
    while unexplored:
        chooser = ForcedChooser(unexplored.pop())
        try:
            told = generator(chooser, text).text
        except Mismatch:
            told = None
        if told == text:
            found.append((tuple(chooser.taken), chooser.nats))
        unexplored += chooser.open
    return found


def information(text: str, generator: Callable[[Chooser, str], object] = tell) -> float:
    """Return -log p(text) in nats: the sum over all readings. Infinite for a text the generator cannot tell."""
    total = math.fsum(math.exp(-nats) for _, nats in readings(text, generator))
    return -math.log(total) if total > 0 else math.inf


def possible(text: str) -> int:
    """Return how many characters at the start of `text` some story has too: all of them if a story can begin so.

    Counted in whole pieces (a word or a few that the generator says in one go), so it may be a little less than a
    character-by-character comparison with every story would find; at the end of a sentence it is exact.
    """
    furthest = 0
    unexplored: list[tuple[int, ...]] = [()]
    while unexplored and furthest < len(text):
        chooser = ForcedChooser(unexplored.pop())
        try:
            told = len(tell(chooser, text).text)
        except Mismatch as mismatch:
            (told,) = mismatch.args
        furthest = max(furthest, told)
        unexplored += chooser.open
    return furthest
