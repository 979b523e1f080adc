"""Learning-rate schedules: a linear warmup, then one of three ways down. Each is a pure function of the step."""

import math

SCHEDULES = ("cosine", "linear", "constant")
DECAY_FRACTION = 0.2  # of the steps: the last part of a run, in which "constant" decays


def learning_rate_factor(step: int, max_steps: int, warmup_steps: int, schedule: str, min_lr_ratio: float) -> float:
    """The factor by which the peak learning rate is multiplied at a step.

    The warmup rises linearly to 1. After that:

    - cosine: half a cosine wave from 1 to `min_lr_ratio` (Loshchilov & Hutter 2017).
    - linear: a straight line from 1 to `min_lr_ratio`.
    - constant: 1 until the last fifth of the run, then a straight line to `min_lr_ratio` ("warmup-stable-decay", Hu et
      al. 2024); such a run can be extended without having planned its length.

    Args:
        step: counted from 0; the last is max_steps - 1.
        max_steps: the length of the run.
        warmup_steps: the length of the warmup.
        schedule: one of SCHEDULES.
        min_lr_ratio: the factor at the end, 0 … 1.

    >>> [round(learning_rate_factor(s, 10, 2, "linear", 0.0), 2) for s in range(10)]
    [0.5, 1.0, 1.0, 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    start = warmup_steps if schedule != "constant" else max(warmup_steps, round((1.0 - DECAY_FRACTION) * max_steps))
    progress = min(1.0, max(0.0, (step - start) / max(1, max_steps - 1 - start)))
    if schedule == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 + (min_lr_ratio - 1.0) * progress
