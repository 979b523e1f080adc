"""Confidence intervals: they contain the true value in 95 of 100 repetitions.

**Exact, for proportions.** Of n independent examples k are right. A proportion p is in the interval as long as k or
more (or k or fewer) right answers are not too improbable under it (Clopper and Pearson 1934):

    low:  the p with  P(X ≥ k | n, p) = 2.5 %          high: the p with  P(X ≤ k | n, p) = 2.5 %

It is conservative: it contains the truth in at least 95 % of the cases, for every proportion and every n.

**Bootstrap, for everything else** (Efron 1979; for BLEU Koehn 2004). Draw n examples out of the n with replacement,
score them, do it a thousand times: the middle 95 % of these scores are the interval. A corpus score such as BLEU is no
mean over sentences, but it is a function of sums over sentences (of matches, of lengths). So we keep each example's
summands, its *statistics*, and a resample costs one weighted sum instead of a new comparison of texts.

**Two systems on the same examples** are compared by drawing the same examples for both (`paired_bootstrap`). Hard and
easy examples then cancel, and the interval of the difference is narrower than the two intervals would suggest.
"""

import math
from collections.abc import Callable

import numpy as np

from llmasos.errors import UserError
from llmasos.evaluation.metric import Metric

OUTSIDE = 0.05  # the probability left outside an interval, half of it at each end
FEW = 10  # examples; below this many, equal scores say little about other examples
Combine = Callable[[np.ndarray], np.ndarray]  # sums of statistics (R, k) → scores (R,)


def exact_interval(right: int, n: int) -> tuple[float, float]:
    """The Clopper–Pearson interval of a proportion, `right` out of `n`.

    >>> low, high = exact_interval(9, 10)
    >>> f"{low:.3f} {high:.3f}"
    '0.555 0.997'

    Raises:
        UserError: n is not positive, or `right` is not one of 0 … n.
    """
    if n < 1 or not 0 <= right <= n:
        raise UserError(f"{right} right out of {n} is not a proportion: give n ≥ 1 and a number from 0 to n.")
    # "At most k right" is "at least n - k wrong".
    return _lowest_proportion(right, n), 1 - _lowest_proportion(n - right, n)


def _lowest_proportion(k: int, n: int) -> float:
    """The p with P(X ≥ k) = 2.5 % for X ~ Binomial(n, p), by halving: the probability grows with p."""
    if k == 0:
        return 0.0
    low, high = 0.0, k / n
    for _ in range(60):
        p = (low + high) / 2
        if _upper_tail(k, n, p) < OUTSIDE / 2:
            low = p
        else:
            high = p
    return (low + high) / 2


def _upper_tail(k: int, n: int, p: float) -> float:
    """P(X ≥ k) for X ~ Binomial(n, p) with p < k / n: from k on, each summand is then smaller than the one before."""
    log_choices = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    summand = math.exp(log_choices + k * math.log(p) + (n - k) * math.log1p(-p))  # P(X = k)
    total = 0.0
    for i in range(k, n + 1):
        total += summand
        summand *= (n - i) / (i + 1) * p / (1 - p)  # P(X = i + 1)
        if summand < 1e-17 * total:
            break
    return total


def proportion(name: str, right: int, n: int, note: str = "", scale: float = 1.0, digits: int = 3) -> Metric:
    """The score "`right` out of `n`" with its exact interval; scale 100 gives percent."""
    low, high = exact_interval(right, n)
    return Metric(name, scale * right / n, scale * low, scale * high, n, note, digits)


def bootstrap(statistics: np.ndarray, combine: Combine, n_resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The percentile interval of a score that is a function of sums over examples.

    Args:
        statistics: (n, k) numbers, the summands of each example.
        combine: the function from sums (R, k) to scores (R,).
        n_resamples: R.
        seed: determines which examples are drawn.

    Returns:
        The low and the high end; NaN for a single example, which has no variance, and for a few examples with equal
        scores: their interval would have zero width, as if the score were certain.

    Raises:
        UserError: there are no examples.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    n = len(statistics)
    if n == 0:
        raise UserError("there are no examples to compute an interval from: give at least one.")
    if n == 1:
        return math.nan, math.nan
    bits = np.random.PCG64(np.random.SeedSequence([seed]))
    sums = np.empty((n_resamples, statistics.shape[1]))
    for row in sums:
        drawn = bits.random_raw(n) % np.uint64(n)  # (n,) indices; 2⁶⁴ is so large that all are equally likely
        times = np.bincount(drawn.astype(np.int64), minlength=n)  # (n,) how often each was drawn
        row[:] = times @ statistics
    scores = combine(sums)
    if n < FEW and np.isclose(scores.min(), scores.max()):
        return math.nan, math.nan
    low, high = np.quantile(scores, [OUTSIDE / 2, 1 - OUTSIDE / 2])
    return float(low), float(high)


def mean_of_column(sums: np.ndarray) -> np.ndarray:
    """For statistics (value, 1): the mean value, as sum over count."""
    return sums[:, 0] / sums[:, 1]


def mean(name: str, values: np.ndarray, note: str = "", scale: float = 1.0, digits: int = 3) -> Metric:
    """The mean of one value per example (n,), with its bootstrap interval."""
    values = scale * np.asarray(values, dtype=np.float64)
    low, high = bootstrap(with_ones(values), mean_of_column)
    return Metric(name, float(values.mean()), low, high, len(values), note, digits)


def with_ones(values: np.ndarray) -> np.ndarray:
    """Values (n,) as statistics (n, 2) for `mean_of_column`."""
    return np.stack([values, np.ones(len(values))], axis=1)


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, combine: Combine | None = None, n_resamples: int = 1000, seed: int = 0
) -> Metric:
    """How much better system A is than system B on the same examples: score of a - score of b.

    If the interval does not contain 0, the difference is more than luck in the choice of examples.

    >>> pretrained, random = np.array([1, 1, 0, 1] * 50), np.array([1, 0, 0, 0] * 50)  # 1 for each right answer
    >>> print(paired_bootstrap(pretrained, random))
    difference 0.500 (95 % interval 0.430–0.565, n = 200)

    Args:
        a, b: (n,) one value per example (1 for right, 0 for wrong; an F1), or (n, k) statistics of a corpus score.
        combine: how sums (R, k) become scores; None = the mean, for values (n,).

    Raises:
        UserError: the two are not over the same number of examples.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise UserError(
            f"one system has results on {len(a):,} examples and the other on {len(b):,}: compare them on the same ones."
        )
    if combine is None:
        a, b, combine = with_ones(a), with_ones(b), mean_of_column
    both, k = np.concatenate([a, b], axis=1), a.shape[1]  # side by side: an example is drawn for both

    def difference(sums: np.ndarray) -> np.ndarray:
        return combine(sums[:, :k]) - combine(sums[:, k:])

    low, high = bootstrap(both, difference, n_resamples, seed)
    return Metric("difference", float(difference(both.sum(axis=0, keepdims=True))[0]), low, high, len(a))
