"""The rewards that come with the library: verifiers, programs that check whether an answer is right.

With such a *verifier*, a model can learn from its own attempts, without examples of good answers
(reinforcement learning with verifiable rewards; Lambert et al. 2024, "Tülu 3", section 6).
"""

import re
from collections.abc import Callable

from llmasos.datasets.storyworld.proof import branches


def storyworld(prompt: str, text: str) -> float:
    """The fraction of a story, in characters, before the first point that is impossible in storyworld.

    A valid beginning without an end earns 0; otherwise the best story would be a single sentence.

    >>> from llmasos.datasets.storyworld import generate
    >>> story = generate(seed=0, index=7)
    >>> storyworld("", story.text), storyworld("", story.sentences[0])
    (1.0, 0.0)
    """
    story = prompt + text
    n_allowed = 0
    for teller, reading in branches(story):
        if reading:
            return 1.0
        n_allowed = max(n_allowed, teller.furthest)
    return n_allowed / len(story) if n_allowed < len(story) else 0.0


def sums(prompt: str, text: str) -> float:
    """1 for the right answer to a sum without carrying, 0 for anything else.

    >>> sums("47+85=", "22"), sums("47+85=", "132"), sums("47+85=", "22 or so")
    (1.0, 0.0, 0.0)
    """
    columns = zip(*re.findall(r"\d+", prompt), strict=True)
    return float(text.strip() == "".join(str(sum(map(int, column)) % 10) for column in columns))


VERIFIERS: dict[str, Callable[[str, str], float]] = {"storyworld": storyworld, "sums": sums}
