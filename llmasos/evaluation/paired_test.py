"""Is A better than B, or is it luck? A sign-flip permutation test of paired differences (Fisher 1935, section 21).

If the two were equally good, each pair (one seed, one example) could just as well have had A's and B's values
exchanged: the sign of its difference is a fair coin. So the p-value is the fraction of all 2ⁿ choices of signs whose
mean is at least as far from 0 as the observed one. It does not assume a normal distribution, and for a few seeds it is
computed over all choices, exactly. n seeds cannot give a p-value below 2 / 2ⁿ: five or fewer never reach 0.05.
"""

from collections.abc import Sequence

import numpy as np

from llmasos.errors import UserError

EXACT_UP_TO = 16  # pairs; 65,536 choices of signs
N_RANDOM = 10_000  # choices for more pairs


def sign_flip_test(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """The two-sided p-value of the mean difference of pairs.

    >>> sign_flip_test([0.52, 0.55, 0.51, 0.56, 0.53], [0.50, 0.51, 0.50, 0.52, 0.51])  # all five: 2 / 2⁵
    0.0625

    Args:
        a, b: (n,), one value of each system per seed or example, in the same order.
        seed: the random seed of the choices of signs, of which there are 10,000 for more than 16 pairs.

    Raises:
        UserError: the numbers of values differ, or there are none.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise UserError(f"pairs need as many values of A as of B, and at least one, not {a.size:,} and {b.size:,}.")
    differences = a - b
    differences = differences[differences != 0]  # equal pairs have no sign
    n = len(differences)
    if not n:
        return 1.0
    observed = abs(differences.sum()) - 1e-12 * abs(differences).sum()  # equal sums may differ by rounding
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)  # (2ⁿ, n)
        return float((abs(signs @ differences) >= observed).mean())
    rng = np.random.default_rng([seed, n])
    as_far = sum(abs(differences @ (1 - 2 * rng.integers(0, 2, size=n))) >= observed for _ in range(N_RANDOM))
    return (as_far + 1) / (N_RANDOM + 1)  # the observed signs are one of the choices
