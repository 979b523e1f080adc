"""Intervals: exact ones against known values and by their coverage, bootstrap ones against theory."""

import math
from fractions import Fraction

import numpy as np
import pytest

from llmasos.errors import UserError
from llmasos.evaluation import Metric, bootstrap, exact_interval, mean, paired_bootstrap, proportion
from llmasos.evaluation.intervals import mean_of_column


@pytest.mark.parametrize(
    "right, n, low, high",  # scipy 1.17, binomtest(right, n).proportion_ci(method="exact")
    [
        (0, 10, 0.0, 0.30849710781876294),
        (1, 10, 0.0025285785444625728, 0.44501611702819543),
        (9, 10, 0.5549838829718047, 0.9974714214555375),
        (10, 10, 0.6915028921812371, 1.0),
        (81, 263, 0.25273674558504267, 0.36762192260134746),
        (912, 1000, 0.892705234964991, 0.9288248657147173),
        (500_000, 1_000_000, 0.4990195191953118, 0.5009804808046883),
        (3, 1_000_000, 6.186725999192623e-07, 8.76724780590618e-06),
    ],
)
def test_exact_intervals_are_the_known_ones(right, n, low, high):
    assert exact_interval(right, n) == pytest.approx((low, high), rel=1e-8, abs=1e-12)


def test_at_the_ends_of_the_interval_the_tails_are_two_and_a_half_per_cent():
    def at_least(k: int, n: int, p: float) -> float:
        p = Fraction(p)
        return float(sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)))

    for right, n in [(3, 7), (1, 1), (19, 20), (10, 40)]:
        low, high = exact_interval(right, n)
        assert at_least(right, n, low) == pytest.approx(0.025)
        if right < n:
            assert 1 - at_least(right + 1, n, high) == pytest.approx(0.025)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.9])
def test_exact_intervals_hold_the_truth_in_at_least_95_of_100_cases(p):
    """Not by simulation: the probability of every outcome is known."""
    n = 30
    coverage = 0.0
    for right in range(n + 1):
        low, high = exact_interval(right, n)
        coverage += math.comb(n, right) * p**right * (1 - p) ** (n - right) * (low <= p <= high)
    assert 0.95 <= coverage < 0.995


@pytest.mark.parametrize("right, n", [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_said(right, n):
    with pytest.raises(UserError, match=f"{right} right out of {n}"):
        exact_interval(right, n)


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=2000)
    score = mean("value", values)
    expected = 1.96 * values.std() / math.sqrt(2000)
    assert score.value == pytest.approx(values.mean())
    assert score.high - score.value == pytest.approx(expected, rel=0.1)
    assert score.value - score.low == pytest.approx(expected, rel=0.1)


def test_bootstrap_intervals_of_a_ratio_hold_the_truth_in_about_95_of_100_repetitions():
    rng, held = np.random.default_rng(1), 0
    for repetition in range(300):
        weights = rng.integers(1, 10, size=100)
        statistics = np.stack([rng.binomial(weights, 0.3), weights], axis=1)
        low, high = bootstrap(statistics, mean_of_column, n_resamples=300, seed=repetition)
        held += low <= 0.3 <= high
    assert 0.91 <= held / 300 <= 0.98  # the standard error is 1.3 %


def test_every_example_is_drawn_and_n_of_them_each_time():
    seen = []
    bootstrap(np.eye(7), lambda sums: seen.append(sums) or sums[:, 0], n_resamples=200)
    assert seen[0].shape == (200, 7)
    assert (seen[0].sum(axis=1) == 7).all()
    assert seen[0].mean(axis=0) == pytest.approx(np.ones(7), abs=0.25)
    assert len({tuple(row) for row in seen[0]}) > 150


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(2).random((50, 1))
    first, again, other = (bootstrap(values, lambda s: s[:, 0], seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_pairing_sees_a_small_difference_that_two_intervals_would_miss():
    rng = np.random.default_rng(3)
    difficulty = rng.normal(0, 1, size=300)
    a, b = difficulty + 0.1 + rng.normal(0, 0.2, size=300), difficulty + rng.normal(0, 0.2, size=300)
    assert mean("b", b).high > mean("a", a).low, "the two intervals overlap"
    difference = paired_bootstrap(a, b)
    assert difference.value == pytest.approx(a.mean() - b.mean())
    assert 0 < difference.low < difference.value < difference.high
    reverse = paired_bootstrap(b, a)
    assert (reverse.low, reverse.high) == pytest.approx((-difference.high, -difference.low))


def test_a_difference_that_is_luck_has_an_interval_around_zero():
    rng = np.random.default_rng(4)
    difference = paired_bootstrap(rng.random(200) < 0.7, rng.random(200) < 0.7)
    assert difference.low < 0 < difference.high


def test_systems_on_different_examples_are_not_compared():
    with pytest.raises(UserError, match="3 examples and the other on 4"):
        paired_bootstrap(np.ones(3), np.ones(4))


def test_one_example_gives_no_interval_and_none_is_an_error():
    assert "too few for an interval" in str(mean("F1", np.array([0.5])))
    with pytest.raises(UserError, match="no examples"):
        bootstrap(np.ones((0, 2)), mean_of_column)


@pytest.mark.parametrize("values, has_interval", [
    ([0.1] * 9, False), ([0.1] * 10, True), ([0.1] * 8 + [0.2], True), ([1.0] * 2, False),
])  # fmt: skip
def test_a_few_equal_scores_give_no_interval(values, has_interval):
    assert math.isnan(mean("F1", np.array(values)).low) != has_interval
    assert math.isnan(paired_bootstrap(np.array(values), np.zeros(len(values))).low) != has_interval
    assert ("too few for an interval" in str(mean("F1", np.array(values)))) != has_interval


def test_scores_are_printed_with_interval_number_and_note():
    assert str(proportion("exact match", 912, 1000, "lower-cased", scale=100, digits=1)) == (
        "exact match 91.2 (95 % interval 89.3–92.9, n = 1,000; lower-cased)"
    )
    assert (
        str(Metric("difference", 0.01, -0.02, 0.04, 12)) == "difference 0.010 (95 % interval -0.020 to 0.040, n = 12)"
    )
