"""Exact match and F1 for extractive answers, as the official script of SQuAD 2.0 computes them.

(Rajpurkar et al. 2016, section 6.1, and 2018, whose script also serves version 1.1.)

In scripts without spaces between words (Chinese, Japanese, Thai) each character counts as a word, and their punctuation
is dropped as well (Lewis et al. 2020, MLQA, section 4); the values of all European texts are the official ones.

Two answers are compared after normalization: lower case, no ASCII punctuation, no articles (a, an, the), single spaces.

    exact match   1 if they are then equal, else 0
    F1            of the words that both hold, each counted at most as often as on the other side: 2PR / (P + R)

If a question has several right answers, the best comparison counts. **Unanswerable** questions have no right answer;
the right prediction is then the empty string, and anything else scores 0. The metrics are means over questions
in percent.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from llmasos.evaluation.intervals import mean, proportion
from llmasos.evaluation.metric import Metric, check_pairs
from llmasos.evaluation.words import split_unspaced, without_foreign_punctuation

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(answer: str) -> str:
    """The form of an answer that is compared.

    >>> normalize("The  U.S. Army, an ally")
    'us army ally'
    """
    text = without_foreign_punctuation(answer.lower().translate(NO_PUNCTUATION))
    return " ".join(ARTICLES.sub(" ", text).split())


def exact_match(prediction: str, answer: str) -> int:
    """1 if prediction and answer are equal after normalization, else 0."""
    return int(normalize(prediction) == normalize(answer))


def token_f1(prediction: str, answer: str) -> float:
    """The F1 of the words that prediction and answer have in common.

    >>> token_f1("the red house", "a big red house")  # 2 words of 2, and 2 of 3
    0.8
    >>> token_f1("北京市", "北京。")
    0.8
    """
    predicted, expected = split_unspaced(normalize(prediction)), split_unspaced(normalize(answer))
    if not predicted or not expected:
        return float(predicted == expected)
    shared = (Counter(predicted) & Counter(expected)).total()
    return 2 * shared / (len(predicted) + len(expected))


def squad_values(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> np.ndarray:
    """Exact match and F1 (0 … 1) of each question: (n, 2). See `squad` for the arguments."""
    check_pairs(predictions, answers)
    rows = []
    for prediction, right in zip(predictions, answers, strict=True):
        right = [answer for answer in right if normalize(answer)] or [""]
        rows.append([
            max(exact_match(prediction, answer) for answer in right),
            max(token_f1(prediction, answer) for answer in right),
        ])  # fmt: skip
    return np.array(rows, dtype=np.float64)


def squad(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, Metric]:
    """Exact match and F1 in percent, over all questions and, if some are unanswerable, over each of the two groups.

    >>> scores = squad(["red house", "in May", ""], [["a red house", "house"], ["June"], []])
    >>> print(scores["exact match"])
    exact match 66.7 (95 % interval 9.4–99.2, n = 3)
    >>> list(scores)
    ['exact match', 'F1', 'exact match (has answer)', 'F1 (has answer)', 'exact match (no answer)']

    Args:
        predictions: one answer for each question, "" for "there is none".
        answers: for each question its right answers, an empty list if it has none.

    Returns:
        The scores by name, exact match with its exact interval, F1 with a bootstrap interval. Without an answer F1 is
        the same as exact match, and only the latter is given.

    Raises:
        UserError: unequal numbers of predictions and answers, or none at all.
    """
    values = squad_values(predictions, answers)
    scores = _metrics(values, "")
    answerable = np.array([any(normalize(answer) for answer in right) for right in answers])
    if not answerable.all():
        if answerable.any():
            scores |= _metrics(values[answerable], " (has answer)")
        unanswerable = _metrics(values[~answerable], " (no answer)")
        scores["exact match (no answer)"] = unanswerable["exact match (no answer)"]
    return scores


def _metrics(values: np.ndarray, suffix: str) -> dict[str, Metric]:
    exact, f1 = f"exact match{suffix}", f"F1{suffix}"
    return {
        exact: proportion(exact, int(values[:, 0].sum()), len(values), scale=100, digits=1),
        f1: mean(f1, values[:, 1], scale=100, digits=1),
    }
