"""Pearson's and Spearman's correlation: how well two lists of numbers agree, whatever their units.

Pearson    r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² · Σ (y - ȳ)²)      how near the points are to a straight line
Spearman   Pearson's of the ranks; equal numbers share their mean rank         whether the order is the same
"""

from collections.abc import Sequence

import numpy as np

from llmasos.evaluation.intervals import bootstrap
from llmasos.evaluation.metric import Metric, check_pairs


def correlations(predictions: Sequence[float], references: Sequence[float]) -> list[Metric]:
    """Pearson's and Spearman's correlation, each with a bootstrap interval.

    Spearman's interval keeps each number's rank among all numbers. If all numbers are equal, the correlation is 0.

    >>> for metric in correlations([1, 2, 3, 4] * 10, [1, 2, 3, 10] * 10):
    ...     print(metric)
    Pearson 0.885 (95 % interval 0.830–0.933, n = 40)
    Spearman 1.000 (95 % interval 1.000–1.000, n = 40)

    Args:
        predictions, references: (n,) numbers each.

    Raises:
        UserError: unequal numbers of them, or none.
    """
    check_pairs(predictions, references)
    numbers = [np.asarray(values, dtype=np.float64) for values in (predictions, references)]
    return [_correlation("Pearson", *numbers), _correlation("Spearman", *map(ranks, numbers))]


def _correlation(name: str, x: np.ndarray, y: np.ndarray) -> Metric:
    x, y = x - x.mean(), y - y.mean()  # so that the sums below keep their digits
    statistics = np.stack([x, y, x * x, y * y, x * y, np.ones(len(x))], axis=1)

    def combine(sums: np.ndarray) -> np.ndarray:
        sx, sy, sxx, syy, sxy, n = sums.T
        spread = np.maximum(sxx - sx * sx / n, 0) * np.maximum(syy - sy * sy / n, 0)
        return np.where(spread > 0, (sxy - sx * sy / n) / np.sqrt(np.where(spread > 0, spread, 1)), 0)

    value = float(combine(statistics.sum(axis=0, keepdims=True))[0])
    return Metric(name, value, *bootstrap(statistics, combine), len(x))


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number from 1; equal ones share the mean of their ranks.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[number]
