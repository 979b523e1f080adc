"""Batching: a random order for each epoch, rows of similar length together, padding.

The training loop requests example number 0, 1, 2, … without end; `Examples` takes them from a finite list. Each epoch
is the list in a new random order. A batch is padded to the length of its longest row, so where lengths differ much, a
batch of random rows is mostly padding. **Bucketing** puts rows of similar length together and keeps the rest random:

    shuffle the epoch → cut it into pools of 50 batches → sort each pool by length → cut the pools into batches
    → shuffle the batches

The rows number step·B … step·B + B - 1 must then be one bucket, in every epoch. So an epoch is a whole number of
batches: if the list is not, the first rows of the same shuffled order fill up the last batch. In every epoch each
example therefore occurs once, and up to B - 1 examples, different ones each time, occur twice. With the lengths of
typical sentences (lognormal, B = 32), 72 % of the positions in random batches are padding, and 8 % in bucketed ones.

Which example is number `index` is a function of (seed, index) alone: it does not depend on the number of processes,
and a resumed run continues without any saved state.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmasos.errors import UserError

POOL_BATCHES = 50


class Examples:
    """An endless stream of training examples from a list.

    >>> examples = Examples("abc")
    >>> "".join(examples.example(0, index) for index in range(9))  # three epochs
    'cbabcaabc'

    Args:
        items: the N examples, returned as they are.
        lengths: (N,) the length of each, for bucketing; None = plain random order.
        batch_size: B, the rows of a whole step (of all processes together); matters with `lengths` only.

    Raises:
        UserError: there are no items.
    """

    def __init__(self, items: Sequence[Any], lengths: Sequence[int] | np.ndarray | None = None, batch_size: int = 1):
        if not len(items):
            raise UserError("there are no examples to train on; expected at least one: check the data.")
        if lengths is not None and len(lengths) != len(items):
            raise ValueError(f"there are {len(lengths)} lengths for {len(items)} items; expected one for each.")
        self.items, self.batch_size = items, batch_size
        self.lengths = None if lengths is None else np.asarray(lengths)
        n_batches = -(-len(items) // batch_size)  # rounded up
        self.examples_per_epoch = len(items) if lengths is None else n_batches * batch_size
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def __len__(self) -> int:
        """The number N of different examples."""
        return len(self.items)

    def example(self, seed: int, index: int) -> Any:
        """Return training example number `index` (0, 1, … without end) in the order of `seed`."""
        epoch, position = divmod(index, self.examples_per_epoch)
        if self._order is None or self._order[0] != (seed, epoch):
            self._order = ((seed, epoch), self._epoch(seed, epoch))
        return self.items[self._order[1][position]]

    def _epoch(self, seed: int, epoch: int) -> np.ndarray:
        """Return the indices of one epoch's items in order: (examples_per_epoch,)."""
        bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
        order = random_order(len(self.items), bits)
        if self.lengths is None:
            return order
        order = np.resize(order, self.examples_per_epoch)  # the last batch is filled from the start of the order
        pool = POOL_BATCHES * self.batch_size
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            order[start : start + pool] = rows[np.argsort(self.lengths[rows], kind="stable")]
        batches = order.reshape(-1, self.batch_size)
        return batches[random_order(len(batches), bits)].ravel()


def by_length(items: Sequence[Any], lengths: Sequence[int]) -> list[Any]:
    """Return the items from the shortest to the longest: for validation, where only padding matters, not the order.

    >>> by_length(["ccc", "a", "bb"], [3, 1, 2])
    ['a', 'bb', 'ccc']
    """
    return [items[i] for i in np.argsort(lengths, kind="stable")]


def random_order(n: int, bits: np.random.PCG64) -> np.ndarray:
    """Return 0 … n - 1 in the order of random 64-bit keys: (n,) int64.

    NumPy guarantees that the stream of a bit generator never changes (NEP 19), but not what `permutation` makes of
    it, and a run must see the same data after an upgrade of NumPy.

    >>> random_order(5, np.random.PCG64(np.random.SeedSequence([0])))
    array([3, 2, 1, 0, 4])
    """
    return np.argsort(bits.random_raw(n), kind="stable")


def pad(rows: Sequence[Sequence[int] | np.ndarray], value: int) -> tuple[Tensor, Tensor]:
    """Pad rows on the right to the length of the longest.

    >>> padded, attention_mask = pad([[5, 6, 7], [8]], value=0)
    >>> padded.tolist(), attention_mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])

    Args:
        rows: B sequences of integers, at least one.
        value: the padding.

    Returns:
        The rows (B, T) int64, and the attention mask (B, T) bool: True for a real token, False for padding.
    """
    lengths = np.array([len(row) for row in rows])
    attention_mask = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
    padded = np.full(attention_mask.shape, value, dtype=np.int64)
    padded[attention_mask] = np.concatenate(rows)
    return torch.from_numpy(padded), torch.from_numpy(attention_mask)
