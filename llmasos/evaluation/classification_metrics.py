"""Metrics of a classifier: accuracy, precision, recall, F1, the confusion matrix and calibration.

`tasks/text_classification.py` reports them.

    accuracy   right / all
    precision  of those given this label, the fraction that has it        P = TP / (TP + FP)
    recall     of those that have this label, the fraction given it       R = TP / (TP + FN)
    F1         their harmonic mean                                     F1 = 2 TP / (2 TP + FP + FN)
    macro-F1   the mean of the classes' F1: a rare class counts as much as a frequent one

where TP, FP, FN count true positives, false positives and false negatives of one label (van Rijsbergen 1979, chapter
7). Accuracy means little without its baseline: if 90 % of the examples have the same label, a classifier that always
predicts it is 90 % right and has learned nothing (`majority_baseline`).

**Calibration**: of the answers given with 80 % confidence, 80 % should be right (`calibration_error`). An over- or
underconfident classifier is corrected by one number (`fit_temperature`).

Labels may be names or numbers.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.errors import UserError, check_number
from llmasos.evaluation.intervals import bootstrap, proportion
from llmasos.evaluation.metric import Metric, check_pairs

Label = Hashable


def accuracy(predictions: Sequence[Label], references: Sequence[Label], name: str = "accuracy") -> Metric:
    """The proportion of predictions that equal their reference, with its exact interval.

    >>> print(accuracy(["good", "bad", "bad", "good"], ["good", "bad", "good", "good"]))
    accuracy 0.750 (95 % interval 0.194–0.994, n = 4)
    """
    check_pairs(predictions, references)
    right = sum(p == r for p, r in zip(predictions, references, strict=True))
    return proportion(name, right, len(references))


def majority_baseline(references: Sequence[Label], training: Sequence[Label] | None = None) -> Metric:
    """The accuracy of always giving the most frequent label, that of the `training` labels if they are given."""
    check_pairs(references, references)
    if training is not None:
        check_pairs(training, training)
    label, _ = Counter(references if training is None else training).most_common(1)[0]
    return proportion("majority baseline", sum(r == label for r in references), len(references), f"always {label!r}")


def confusion_matrix(
    predictions: Sequence[Label], references: Sequence[Label], labels: Sequence[Label] | None = None
) -> np.ndarray:
    """How often each label was predicted for each true label: (C, C) integers, a row per true label, a column per
    prediction.

    >>> confusion_matrix(["good", "bad", "bad"], ["good", "bad", "good"], ["bad", "good"]).tolist()
    [[1, 0], [1, 1]]

    Args:
        labels: the C labels in the order of the rows; None = all that occur, sorted.

    Raises:
        UserError: a label that is not among `labels`.
    """
    true, predicted, labels = _numbered(predictions, references, labels)
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def confusion_table(matrix: np.ndarray, labels: Sequence[Label]) -> str:
    """The matrix as text, true labels down, predicted ones across.

    >>> print(confusion_table(np.array([[12, 3], [0, 120]]), ["bad", "good"]))
    true \\ predicted  bad  good
    bad                12     3
    good                0   120
    """
    corner, names = "true \\ predicted", [str(label) for label in labels]
    first = max(map(len, [corner, *names]))
    widths = [max(len(name), len(f"{column.max():,}")) for name, column in zip(names, matrix.T, strict=True)]

    def line(head: str, cells: Sequence[str]) -> str:
        return "  ".join([f"{head:<{first}}", *(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))])

    rows = [line(name, [f"{count:,}" for count in row]) for name, row in zip(names, matrix, strict=True)]
    return "\n".join([line(corner, names), *rows])


class ClassMetrics(NamedTuple):
    """One label's precision, recall and F1; 0 where the denominator is 0. n examples have it."""

    label: Label
    precision: float
    recall: float
    f1: float
    n: int


def per_class(
    predictions: Sequence[Label], references: Sequence[Label], labels: Sequence[Label] | None = None
) -> list[ClassMetrics]:
    """Precision, recall and F1 of each label, in the order of `labels` (None = all that occur, sorted)."""
    labels = _labels(predictions, references) if labels is None else labels
    matrix = confusion_matrix(predictions, references, labels)
    scores = []
    for i, label in enumerate(labels):
        hits, n_predicted, n_true = int(matrix[i, i]), int(matrix[:, i].sum()), int(matrix[i].sum())
        precision, recall = hits / max(n_predicted, 1), hits / max(n_true, 1)
        scores.append(ClassMetrics(label, precision, recall, 2 * hits / max(n_predicted + n_true, 1), n_true))
    return scores


def macro_f1(
    predictions: Sequence[Label], references: Sequence[Label], labels: Sequence[Label] | None = None
) -> Metric:
    """The mean F1 over the labels, with a bootstrap interval.

    A label that occurs neither among the predictions nor among the references has no F1 and is left out of the mean.

    >>> print(macro_f1(["a", "a", "b", "c"] * 25, ["a", "b", "b", "c"] * 25))
    macro-F1 0.778 (95 % interval 0.703–0.846, n = 100)
    """
    true, predicted, labels = _numbered(predictions, references, labels)
    one_hot = np.eye(len(labels))
    # For each example and label: was it hit, was it predicted or true (once or twice). F1 = 2 · hits / (both together).
    hits = one_hot[true] * (true == predicted)[:, None]
    statistics = np.concatenate([hits, one_hot[true] + one_hot[predicted]], axis=1)  # (n, 2 C)

    def combine(sums: np.ndarray) -> np.ndarray:
        hits, occurrences = np.split(sums, 2, axis=1)  # (R, C) each
        return (2 * hits / np.maximum(occurrences, 1)).sum(axis=1) / (occurrences > 0).sum(axis=1)

    low, high = bootstrap(statistics, combine)
    value = combine(statistics.sum(axis=0, keepdims=True))[0]
    return Metric("macro-F1", float(value), low, high, len(references))


def calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = 15) -> Metric:
    """The expected calibration error: the gap between confidence and accuracy (Guo et al. 2017, equation 3).

    The answers are sorted into bins of equal width by their confidence. In each bin mean confidence and accuracy are
    compared, and the gaps are averaged, weighted by the bins' sizes. Chance alone causes gaps: with few examples, even
    a perfectly calibrated model has an error above 0, and the bootstrap interval is slightly too high.

    Args:
        confidences: (n,) the probability that the model gave to the label it chose.
        correct: (n,) whether it was right.
        bins: the number of bins.

    Raises:
        UserError: unequal numbers, nothing at all, or a confidence that is not a probability.
    """
    check_pairs(confidences, correct)
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        wrong = confidence[~((confidence >= 0) & (confidence <= 1))][0]
        raise UserError(f"a confidence of {wrong:g} is no probability: give numbers between 0 and 1.")
    check_number("bins", bins, whole=True, at_least=1)
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # bin m holds (m/M, (m + 1)/M]
    statistics = np.zeros((len(confidence), bins + 1))
    statistics[np.arange(len(confidence)), number] = confidence - right
    statistics[:, -1] = 1  # the number of examples

    def combine(sums: np.ndarray) -> np.ndarray:
        return np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]

    low, high = bootstrap(statistics, combine)
    value = float(combine(statistics.sum(axis=0, keepdims=True))[0])
    return Metric("calibration error", value, low, high, len(confidence), f"{bins} bins")


def fit_temperature(logits: np.ndarray, labels: Sequence[int]) -> float:
    """The temperature τ for which softmax(logits / τ) makes the true labels most likely (Guo et al. 2017, section 4.2).

    It changes how confident a classifier is, never its answer. Fit it on held-out examples, and measure
    it on others. The mean loss is convex in 1/τ, and its derivative says on which side of a τ its minimum is:

        d loss / d (1/τ)  =  mean over the examples of (mean logit under softmax(logits / τ) - logit of the true label)

    >>> logits = np.array([[4.0, 0.0]] * 4)  # always sure of label 0 (98 %), and right three times in four
    >>> f"{fit_temperature(logits, [0, 0, 0, 1]):.3f}"  # softmax(4 / τ, 0) is (3/4, 1/4) where 4 / τ = log 3
    '3.641'

    Args:
        logits: (n, C) scores before the softmax.
        labels: (n,) the number of each example's true label.

    Returns:
        A number from 0.05 to 20: one of these ends if the best τ is beyond it (if every answer is right, say).

    Raises:
        UserError: unequal numbers, nothing at all, or a label that has no logit.
    """
    check_pairs(list(logits), labels)
    scores, true = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if not ((true >= 0) & (true < scores.shape[1])).all():
        wrong = true[~((true >= 0) & (true < scores.shape[1]))][0]
        raise UserError(f"there is a label {wrong}, but logits for {scores.shape[1]} labels only: number them from 0.")
    scores = scores - scores.max(axis=1, keepdims=True)  # (n, C), so that no exponential is too large
    low, high = math.log(0.05), math.log(20)
    for _ in range(40):
        middle = (low + high) / 2
        weights = np.exp(scores / math.exp(middle))  # (n, C)
        expected = (weights * scores).sum(axis=1) / weights.sum(axis=1)  # (n,)
        if (expected - scores[np.arange(len(true)), true]).mean() > 0:  # too sure: a smaller 1/τ is better
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def _labels(predictions: Sequence[Label], references: Sequence[Label]) -> list[Label]:
    """All labels that occur, sorted: numbers by size, names by the alphabet."""
    occurring = set(predictions) | set(references)
    try:
        return sorted(occurring)  # type: ignore[type-var]
    except TypeError:
        raise UserError("the labels are of several types, such as names and numbers: use one type for all.") from None


def _numbered(
    predictions: Sequence[Label], references: Sequence[Label], labels: Sequence[Label] | None
) -> tuple[np.ndarray, np.ndarray, Sequence[Label]]:
    """True and predicted labels as numbers (n,) each, and the labels they number."""
    check_pairs(predictions, references)
    labels = _labels(predictions, references) if labels is None else labels
    numbers = {label: number for number, label in enumerate(labels)}
    for label in [*references, *predictions]:
        if label not in numbers:
            known = ", ".join(repr(known) for known in labels)
            raise UserError(f"the label {label!r} is not among the known ones: {known}; add it or correct the data.")
    true, predicted = ([numbers[label] for label in side] for side in (references, predictions))
    return np.array(true), np.array(predicted), labels
