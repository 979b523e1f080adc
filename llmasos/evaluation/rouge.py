"""ROUGE: how much of a reference summary a summary contains.

(Lin 2004; ROUGE-1 and -2 are section 2, ROUGE-L section 3.1.)

ROUGE-N compares runs of N words, each counted at most as often as on the other side. ROUGE-L takes the longest common
subsequence, words in the same order but not necessarily next to each other, so it needs no N. Either way

    recall R = matches / length of the reference    precision P = matches / length of the summary    F1 = 2PR / (P + R)

The mean F1 over the examples, from 0 to 1, is reported.

**ROUGE-Lsum** (section 3.2) is for summaries of several sentences, one on each line: a word of a reference sentence
counts if it is in the longest common subsequence with any sentence of the summary, at most as often as it occurs on
both sides.

**Tokenization** is that of the `rouge_score` package: lower case, then runs of a–z and 0–9; all other Latin characters
separate words, so German "schön" becomes "sch" and "n" (give `tokenize=unicode_words` to keep them). Words of other
scripts, which that package drops, are kept; in Chinese, Japanese and Thai each character is a word (see `words`). With
`stem`, English words of more than three letters are reduced to their stems, as there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.evaluation.bleu import ngrams
from llmasos.evaluation.intervals import mean
from llmasos.evaluation.metric import Metric, reference_lists
from llmasos.evaluation.porter import stem as stem_of
from llmasos.evaluation.words import rouge_words

Tokenize = Callable[[str], list[str]]


class Rouge(NamedTuple):
    """Precision, recall and F1 of one pair of texts."""

    precision: float
    recall: float
    f1: float


def rouge(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    tokenize: Tokenize = rouge_words,
    stem: bool = False,
    summary_level: bool = False,
) -> dict[str, Metric]:
    """ROUGE-1, ROUGE-2 and ROUGE-L: mean F1 (0–1) with bootstrap intervals, mean precision and recall in the note.

    >>> print(rouge(["the cat sat"], ["the cat lay down"])["ROUGE-1"])
    ROUGE-1 0.571 (too few for an interval, n = 1; precision 0.667, recall 0.500)

    Args:
        predictions: n summaries.
        references: for each of them one text or several; of several, the one with the best F1 counts.
        tokenize: how a text becomes words.
        stem: compare the stems of English words.
        summary_level: add ROUGE-Lsum; sentences are separated by line breaks.

    Raises:
        UserError: unequal numbers of predictions and references, or none at all.
    """
    table = rouge_table(predictions, reference_lists(predictions, references), tokenize, stem, summary_level)
    scores = {}
    names = ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum")
    for name, values in zip(names, table.transpose(1, 0, 2), strict=False):
        precision, recall, _ = values.mean(axis=0)
        scores[name] = mean(name, values[:, 2], f"precision {precision:.3f}, recall {recall:.3f}")
    return scores


def rouge_table(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenize: Tokenize = rouge_words,
    stem: bool = False,
    summary_level: bool = False,
) -> np.ndarray:
    """Every example's values: (n, 3, 3), [ROUGE-1, ROUGE-2, ROUGE-L] by [precision, recall, F1]; see `rouge`.

    With `summary_level`, ROUGE-Lsum is the fourth.
    """

    def words(text: str) -> list[str]:
        return [stem_of(word) if stem and len(word) > 3 and word.isascii() else word for word in tokenize(text)]

    def sentences(text: str) -> list[list[str]]:
        return [words(line) for line in text.split("\n")]

    rows = []
    for prediction, several in zip(predictions, references, strict=True):
        predicted, candidates = words(prediction), [words(reference) for reference in several]
        rows.append([
            max((rouge_n(predicted, candidate, 1) for candidate in candidates), key=_f1),
            max((rouge_n(predicted, candidate, 2) for candidate in candidates), key=_f1),
            max((rouge_l(predicted, candidate) for candidate in candidates), key=_f1),
        ])  # fmt: skip
        if summary_level:
            lines = sentences(prediction)
            rows[-1].append(max((rouge_lsum(lines, sentences(reference)) for reference in several), key=_f1))
    return np.array(rows, dtype=np.float64)


def rouge_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> Rouge:
    """ROUGE-N of two texts in words."""
    predicted, expected = ngrams(prediction, n), ngrams(reference, n)
    return _from_counts((predicted & expected).total(), predicted.total(), expected.total())


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> Rouge:
    """ROUGE-L of two texts in words."""
    matches = longest_common_subsequence(prediction, reference)
    return _from_counts(matches, len(prediction), len(reference))


def rouge_lsum(prediction: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]) -> Rouge:
    """ROUGE-Lsum of two texts in sentences of words."""
    available = Counter(w for line in prediction for w in line) & Counter(w for line in reference for w in line)
    matches = 0
    for sentence in reference:
        union = {i for line in prediction for i in matched_positions(sentence, line)}
        for i in sorted(union):
            if available[sentence[i]] > 0:
                available[sentence[i]] -= 1
                matches += 1
    return _from_counts(matches, sum(map(len, prediction)), sum(map(len, reference)))


def matched_positions(a: Sequence[str], b: Sequence[str]) -> list[int]:
    """Where in `a` the words of a longest common subsequence of both are.

    >>> matched_positions("the cat sat on the mat".split(), "on a mat sat the cat".split())
    [0, 1]

    Of several, the one that is found from the end of both texts, leaving out words of `a` first.
    """
    rows = lcs_table(a, b)
    i, j, positions = len(a), len(b), []
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            positions.append(i)
        elif rows[i][j - 1] > rows[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return positions[::-1]


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest sequence of words that both hold in this order.

    >>> longest_common_subsequence("the cat sat on the mat".split(), "on a mat sat the cat".split())
    2
    """
    return lcs_table(a, b)[-1][-1]


def lcs_table(a: Sequence[str], b: Sequence[str]) -> list[list[int]]:
    """The length of the longest common subsequence of each beginning of `a` with each beginning of `b`.

    Entry j of row i is the length for a's first i words and b's first j words. If the two last words are equal, it is
    one more than without both; otherwise the better of leaving out one or the other.
    """
    rows = [[0] * (len(b) + 1)]
    for word in a:
        above, row = rows[-1], [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        rows.append(row)
    return rows


def _from_counts(matches: int, n_prediction: int, n_reference: int) -> Rouge:
    precision, recall = matches / max(n_prediction, 1), matches / max(n_reference, 1)
    return Rouge(precision, recall, 2 * matches / max(n_prediction + n_reference, 1))


def _f1(values: Rouge) -> float:
    return values.f1
