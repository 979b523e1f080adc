"""pass@k: the probability that at least one of k answers is right (Chen et al. 2021, section 2.1).

Given n ≥ k answers to a problem, c of them right, the unbiased estimate is the fraction of all subsets of k answers
that contain a right one:

    pass@k = 1 - C(n - c, k) / C(n, k)

1 - (1 - c/n)^k would be biased downwards.
"""

from collections.abc import Sequence
from math import comb

import numpy as np

from llmasos.errors import UserError
from llmasos.evaluation.intervals import mean
from llmasos.evaluation.metric import Metric


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of pass@k for one problem.

    >>> pass_at_k(n=4, c=1, k=2)  # of the 6 pairs, 3 hold the right answer
    0.5

    Args:
        n: the number of answers.
        c: the number of right ones.
        k: the number of answers that would be tried.

    Raises:
        UserError: not 1 ≤ k ≤ n, or not 0 ≤ c ≤ n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise UserError(f"pass@{k} of {n} answers with {c} right ones is not possible: give 1 ≤ k ≤ n and 0 ≤ c ≤ n.")
    return 1 - comb(n - c, k) / comb(n, k)


def pass_at_k_metric(right: Sequence[Sequence[bool]], k: int) -> tuple[Metric, np.ndarray]:
    """pass@k over problems, with an interval by bootstrap over the problems, and the values of each (N,).

    Args:
        right: for each problem, whether each of its answers is right.
        k: the number of answers that would be tried.
    """
    values = np.array([pass_at_k(len(answers), sum(answers), k) for answers in right])
    return mean(f"pass@{k}", values, f"{len(right[0])} answers each"), values
