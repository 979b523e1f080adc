"""Contamination: the fraction of a test set that is in the training data, word for word.

A run of n words (an n-gram; 13 in Brown et al. 2020, appendix C) that a test text shares with the training data is
unlikely to be a coincidence. A text with such a run may have been memorized, so its score says little. Words are
compared in lower case without punctuation. The training data is read once and not kept.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from llmasos.errors import UserError, check_number
from llmasos.evaluation.intervals import proportion
from llmasos.evaluation.metric import Metric

N_WORDS = 13
WORD = re.compile(r"\w+")


def ngrams(text: str, n: int = N_WORDS) -> set[tuple[str, ...]]:
    """Every run of n words of a text; all its words if it is shorter, and nothing if it has none.

    >>> sorted(ngrams("One, two, ONE two!", 2))
    [('one', 'two'), ('two', 'one')]
    """
    words = WORD.findall(text.lower())
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def contamination(texts: Sequence[str], training_texts: Iterable[str], n: int = N_WORDS) -> tuple[Metric, np.ndarray]:
    """The fraction of test texts that share a run of n words with the training data.

    >>> print(contamination(["a b c d", "a b x d"], ["z a b c d"], n=3)[0])
    contaminated 0.500 (95 % interval 0.013–0.987, n = 2; a run of 3 words is in the training data)

    Args:
        texts: the test texts.
        training_texts: any number of texts; runs of words across two of them are not found.
        n: the number of words in a run. A shorter text counts only if all of it is in the training data.

    Returns:
        The metric, and for each text the fraction of its runs that are in the training data (N,).

    Raises:
        UserError: there are no texts, or n is not positive.
    """
    check_number("n", n, whole=True, at_least=1)
    if not texts:
        raise UserError("there are no texts to check; give at least one.")
    runs = [ngrams(text, n) for text in texts]
    wanted = set().union(*runs)
    sizes = {len(run) for run in wanted}
    seen: set[tuple[str, ...]] = set()
    for text in training_texts:
        words = WORD.findall(text.lower())
        for size in sizes:
            seen.update(run for run in zip(*(words[i:] for i in range(size)), strict=False) if run in wanted)
    fractions = np.array([len(run & seen) / max(1, len(run)) for run in runs])
    note = f"a run of {n} words is in the training data"
    return proportion("contaminated", int((fractions > 0).sum()), len(texts), note), fractions
