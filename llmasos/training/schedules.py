"""The learning rate as a pure function of the step: a warmup, then one of three ways down."""

import math

SCHEDULES = ("cosine", "linear", "constant")
COOL_DOWN = 0.2  # the share of the steps over which "constant" decays at the end


def learning_rate_factor(step: int, steps: int, warmup: int, schedule: str, final: float) -> float:
    """What the peak learning rate is multiplied with at a step.

    The first `warmup` steps rise linearly to 1. After that:

    - cosine: half a cosine wave from 1 to `final` (Loshchilov & Hutter 2017).
    - linear: a straight line from 1 to `final`.
    - constant: 1 until the last fifth of the run, then a straight line to `final` ("warmup-stable-decay", Hu et al.
      2024); such a run can be extended without having planned its length.

    Args:
        step: counted from 0; the last is steps - 1.
        steps: the length of the run.
        warmup: how many steps the warmup takes.
        schedule: one of SCHEDULES.
        final: the factor that is reached at the end, 0 … 1.

    >>> [round(learning_rate_factor(s, 10, 2, "linear", 0.0), 2) for s in range(10)]
    [0.5, 1.0, 1.0, 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    start = warmup if schedule != "constant" else max(warmup, round((1.0 - COOL_DOWN) * steps))
    progress = min(1.0, max(0.0, (step - start) / max(1, steps - 1 - start)))
    if schedule == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 + (final - 1.0) * progress
