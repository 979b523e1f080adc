"""chrF: BLEU's idea for characters, with recall.

(Popović 2015; chrF++ Popović 2017, which adds words; equal to sacrebleu 2.)

Runs of one to six characters, white space left out, are compared between hypothesis and reference. For each order the
fraction of the hypothesis's n-grams that match is its precision, that of the reference's its recall; both are averaged
over the orders, and

    chrF = 100 · (1 + β²) · P · R / (β² · P + R)          β = 2: recall weighs more than precision

A word with a wrong ending scores nothing in BLEU but most of its characters here, which is why chrF agrees better with
human judgments in languages whose words have many forms. It needs no tokenizer. chrF++ averages over runs of one and
two words as well.
"""

import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from llmasos.evaluation.bleu import ngrams, number_of_references
from llmasos.evaluation.intervals import bootstrap
from llmasos.evaluation.metric import Metric, reference_lists


def chrf(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    char_order: int = 6,
    word_order: int = 0,
    beta: float = 2,
    lowercase: bool = False,
) -> Metric:
    """Corpus chrF (0–100), equal to sacrebleu 2; word_order 2 gives chrF++.

    >>> print(chrf(["The cat sat on the mat."], ["The cat sat on a mat."]))
    chrF2 71.42 (too few for an interval, n = 1; nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no)

    Args:
        predictions: n sentences.
        references: for each of them one sentence or several; of several, the one with the best score counts.
        char_order, word_order: the longest runs of characters and of words.
        beta: how much more recall weighs than precision.
        lowercase: compare without regard to case.

    Raises:
        UserError: unequal numbers of predictions and references, or none at all.
    """
    lists = reference_lists(predictions, references)
    statistics = chrf_statistics(predictions, lists, char_order, word_order, beta, lowercase)

    def combine(sums: np.ndarray) -> np.ndarray:
        return chrf_from_sums(sums, beta)

    value = float(combine(statistics.sum(axis=0, keepdims=True))[0])
    low, high = bootstrap(statistics, combine)
    case = "lc" if lowercase else "mixed"
    note = f"nrefs:{number_of_references(lists)}|case:{case}|eff:yes|nc:{char_order}|nw:{word_order}|space:no"
    return Metric(f"chrF{beta:g}" + "+" * word_order, value, low, high, len(predictions), note, digits=2)


def chrf_statistics(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    char_order: int = 6,
    word_order: int = 0,
    beta: float = 2,
    lowercase: bool = False,
) -> np.ndarray:
    """Each sentence's contribution to the corpus score: (n, 3 · orders), for each order (hypothesis, reference,
    matches).
    """
    rows = []
    for prediction, several in zip(predictions, references, strict=True):
        hypothesis = _counts(prediction, char_order, word_order, lowercase)
        candidates = []
        for reference in several:
            row: list[int] = []
            reference_counts = _counts(reference, char_order, word_order, lowercase)
            for predicted, expected in zip(hypothesis, reference_counts, strict=True):
                n_expected = expected.total()
                # Where the reference is too short for this order, the hypothesis is not penalized for its n-grams.
                row += [predicted.total() if n_expected else 0, n_expected, (predicted & expected).total()]
            candidates.append(row)
        best = int(chrf_from_sums(np.array(candidates), beta).argmax()) if len(candidates) > 1 else 0
        rows.append(candidates[best])
    return np.array(rows, dtype=np.int64)


def chrf_from_sums(sums: np.ndarray, beta: float = 2) -> np.ndarray:
    """The formula: sums of the statistics (R, 3 · orders) → scores (R,)."""
    precision, recall, orders = np.zeros(len(sums)), np.zeros(len(sums)), np.zeros(len(sums))
    for hypothesis, reference, matches in sums.reshape(len(sums), -1, 3).transpose(1, 2, 0).astype(np.float64):
        counted = (hypothesis > 0) & (reference > 0)  # both are long enough for this order
        precision += np.where(counted, matches / np.maximum(hypothesis, 1), 0)
        recall += np.where(counted, matches / np.maximum(reference, 1), 0)
        orders += counted
    precision /= np.maximum(orders, 1)
    recall /= np.maximum(orders, 1)
    numerator, denominator = (1 + beta**2) * precision * recall, beta**2 * precision + recall
    return 100 * np.divide(numerator, denominator, out=np.zeros(len(sums)), where=denominator > 0)


def _counts(text: str, char_order: int, word_order: int, lowercase: bool) -> list[Counter]:
    """The n-grams of characters for every order, then those of words."""
    text = text.lower() if lowercase else text
    characters = "".join(text.split())
    counts = [ngrams(characters, n) for n in range(1, char_order + 1)]
    if word_order:
        words = _words(text)
        counts += [ngrams(words, n) for n in range(1, word_order + 1)]
    return counts


def _words(text: str) -> list[str]:
    """Words between spaces, with one punctuation mark taken off the end or else off the beginning.

    >>> _words('He said "no" (twice), -')
    ['He', 'said', '"no', '"', '(twice)', ',', '-']
    """
    words = []
    for word in text.split():
        if len(word) > 1 and word[-1] in string.punctuation:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in string.punctuation:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words
