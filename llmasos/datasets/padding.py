"""Rows of unequal length as one tensor."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def pad(rows: Sequence[Sequence[int] | np.ndarray], value: int) -> tuple[Tensor, Tensor]:
    """Fill rows up on the right to the length of the longest.

    >>> filled, real = pad([[5, 6, 7], [8]], value=0)
    >>> filled.tolist(), real.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])

    Args:
        rows: B sequences of integers, at least one.
        value: what to fill with.

    Returns:
        The rows (B, T) int64, and where they are real (B, T) bool: False where they have been filled.
    """
    lengths = np.array([len(row) for row in rows])
    attention_mask = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
    filled = np.full(attention_mask.shape, value, dtype=np.int64)
    filled[attention_mask] = np.concatenate(rows)
    return torch.from_numpy(filled), torch.from_numpy(attention_mask)
