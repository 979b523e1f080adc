"""Random order that stays the same for ever: what a run has read must not depend on the version of NumPy."""

import numpy as np


def random_order(n: int, bits: np.random.PCG64) -> np.ndarray:
    """Return 0 … n - 1 in the order of random 64-bit keys: (n,) int64.

    NumPy promises the stream of a bit generator for ever (NEP 19), but not what `permutation` makes of it, and a run
    shall be the same after an upgrade.

    >>> random_order(5, np.random.PCG64(np.random.SeedSequence([0])))
    array([3, 2, 1, 0, 4])
    """
    return np.argsort(bits.random_raw(n), kind="stable")
