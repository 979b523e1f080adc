"""The rewards that come with the library: programs that can tell a right answer from a wrong one.

With such a *verifier*, a model can learn from its own attempts, without examples of good answers
(reinforcement learning with verifiable rewards; Lambert et al. 2024, "Tülu 3", section 6).
"""

import re
from collections.abc import Callable

from llmasos.datasets.storyworld.proof import readings, valid_prefix_length


def storyworld(prompt: str, text: str) -> float:
    """The fraction of a story, in characters, before the first point that is impossible in storyworld.

    A valid beginning without an end earns 0; otherwise the best story would be a single sentence.

    >>> from llmasos.datasets.storyworld import generate
    >>> story = generate(seed=0, index=7)
    >>> storyworld("", story.text), storyworld("", story.sentences[0])
    (1.0, 0.0)
    """
    story = prompt + text
    n_allowed = valid_prefix_length(story)
    if n_allowed < len(story):
        return n_allowed / len(story)
    return 1.0 if readings(story) else 0.0


def sums(prompt: str, text: str) -> float:
    """1 for the right result of a sum, 0 for anything else.

    >>> sums("17+25=", "42"), sums("17+25=", "32"), sums("17+25=", "42 or so")
    (1.0, 0.0, 0.0)
    """
    numbers = re.findall(r"\d+", prompt)
    return float(text.strip() == str(sum(map(int, numbers))))


VERIFIERS: dict[str, Callable[[str, str], float]] = {"storyworld": storyworld, "sums": sums}
