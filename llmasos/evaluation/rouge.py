"""ROUGE: how much of a reference summary a summary contains.

(Lin 2004; ROUGE-1 and -2 are section 2, ROUGE-L section 3.1.)

ROUGE-N compares runs of N words, each counted at most as often as on the other side. ROUGE-L takes the longest common
subsequence, words in the same order but not necessarily next to each other, so it needs no N. Either way

    recall R = matches / what the reference has     precision P = matches / what the summary has     F1 = 2PR / (P + R)

Reported is the mean of F1 over the examples, from 0 to 1.

**Tokenization** is that of the `rouge_score` package without stemming: lower case, then runs of a–z and 0–9. All else
separates words, so of German "schön" remain "sch" and "n". For languages other than English give
`tokenize=unicode_words`. What is not here: ROUGE-Lsum, which compares sentence by sentence.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.evaluation.bleu import ngrams
from llmasos.evaluation.intervals import mean
from llmasos.evaluation.metric import Metric, reference_lists

Tokenize = Callable[[str], list[str]]


class Rouge(NamedTuple):
    """Precision, recall and F1 of one pair of texts."""

    precision: float
    recall: float
    f1: float


def english_words(text: str) -> list[str]:
    """Lower-cased runs of a–z and 0–9.

    >>> english_words("It's 10 o'clock, Jörg.")
    ['it', 's', '10', 'o', 'clock', 'j', 'rg']
    """
    return re.findall(r"[a-z0-9]+", text.lower())


def unicode_words(text: str) -> list[str]:
    """Lower-cased runs of letters and digits of any script.

    >>> unicode_words("It's 10 o'clock, Jörg.")
    ['it', 's', '10', 'o', 'clock', 'jörg']
    """
    return re.findall(r"\w+", text.lower())


def rouge(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], tokenize: Tokenize = english_words
) -> dict[str, Metric]:
    """ROUGE-1, ROUGE-2 and ROUGE-L: mean F1 (0–1) with bootstrap intervals, mean precision and recall in the note.

    >>> print(rouge(["the cat sat"], ["the cat lay down"])["ROUGE-1"])
    ROUGE-1 0.571 (no interval, n = 1; precision 0.667, recall 0.500)

    Args:
        predictions: n summaries.
        references: for each of them one text or several; of several, the one with the best F1 counts.
        tokenize: how a text becomes words.

    Raises:
        UserError: unequal numbers of predictions and references, or none at all.
    """
    table = rouge_table(predictions, reference_lists(predictions, references), tokenize)  # (n, 3, 3)
    scores = {}
    for name, values in zip(("ROUGE-1", "ROUGE-2", "ROUGE-L"), table.transpose(1, 0, 2), strict=True):
        precision, recall, _ = values.mean(axis=0)
        scores[name] = mean(name, values[:, 2], f"precision {precision:.3f}, recall {recall:.3f}")
    return scores


def rouge_table(
    predictions: Sequence[str], references: Sequence[Sequence[str]], tokenize: Tokenize = english_words
) -> np.ndarray:
    """Every example's values: (n, 3, 3), [ROUGE-1, ROUGE-2, ROUGE-L] by [precision, recall, F1]."""
    rows = []
    for prediction, several in zip(predictions, references, strict=True):
        words, candidates = tokenize(prediction), [tokenize(reference) for reference in several]
        rows.append([
            max((rouge_n(words, candidate, 1) for candidate in candidates), key=_f1),
            max((rouge_n(words, candidate, 2) for candidate in candidates), key=_f1),
            max((rouge_l(words, candidate) for candidate in candidates), key=_f1),
        ])  # fmt: skip
    return np.array(rows, dtype=np.float64)


def rouge_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> Rouge:
    """ROUGE-N of two texts in words."""
    predicted, expected = ngrams(prediction, n), ngrams(reference, n)
    return _from_counts((predicted & expected).total(), predicted.total(), expected.total())


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> Rouge:
    """ROUGE-L of two texts in words."""
    matches = longest_common_subsequence(prediction, reference)
    return _from_counts(matches, len(prediction), len(reference))


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest sequence of words that both hold in this order.

    >>> longest_common_subsequence("the cat sat on the mat".split(), "on a mat sat the cat".split())
    2

    A table: entry j of the row for a's first i words is the length for these and b's first j words. If the two last
    words are equal, it is one more than without both; otherwise the better of leaving out one or the other.
    """
    above = [0] * (len(b) + 1)
    for word in a:
        row = [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        above = row
    return above[-1]


def _from_counts(matches: int, n_prediction: int, n_reference: int) -> Rouge:
    precision, recall = matches / max(n_prediction, 1), matches / max(n_reference, 1)
    return Rouge(precision, recall, 2 * matches / max(n_prediction + n_reference, 1))


def _f1(values: Rouge) -> float:
    return values.f1
