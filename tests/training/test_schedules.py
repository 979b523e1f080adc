"""The learning rate: warmup, then decay, never out of range."""

import pytest

from llmasos.errors import UserError
from llmasos.training.optimizers import learning_rate_factor
from llmasos.training.recipe import SCHEDULES


def factors(schedule, steps=100, warmup=10, final=0.1):
    return [learning_rate_factor(step, steps, warmup, schedule, final) for step in range(steps)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rises_to_one_then_never_rises_again_and_ends_at_final(schedule):
    values = factors(schedule)
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == pytest.approx(1.0)
    assert all(a >= b for a, b in zip(values[9:], values[10:], strict=False))
    assert values[-1] == pytest.approx(0.1)


def test_cosine_is_half_way_in_the_middle_and_linear_is_a_line():
    assert learning_rate_factor(50, 101, 0, "cosine", 0.0) == pytest.approx(0.5)
    values = factors("linear", warmup=0, final=0.0)
    assert values == pytest.approx([1 - i / 99 for i in range(100)])


def test_wsd_stays_at_the_peak_for_four_fifths():
    values = factors("wsd", warmup=10)
    assert values[10:81] == [1.0] * 71 and values[85] < 1.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_odd_lengths_stay_in_range(schedule):
    for steps, warmup in [(1, 0), (1, 5), (2, 1), (3, 3), (5, 100)]:
        assert all(0.0 < value <= 1.0 for value in factors(schedule, steps, warmup))


def test_a_schedule_that_does_not_exist_is_refused_from_the_first_step():
    with pytest.raises(UserError, match="there is no schedule 'constant'; choose one of: cosine, linear, wsd."):
        learning_rate_factor(0, 100, 10, "constant", 0.0)
