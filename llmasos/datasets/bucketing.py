"""A finite list of examples as the endless stream that the training loop asks for.

Each epoch is the list in a new random order. A batch is filled up to the length of its longest row, so a batch of
random rows is mostly filling where lengths differ much. **Bucketing** puts rows of similar length together and stays
random where it matters:

    shuffle the epoch → cut it into pools of 50 batches → sort each pool by length → cut the pools into batches
    → shuffle the batches

The rows number step·B … step·B + B - 1 must then be one bucket, in every epoch. So an epoch is a whole number of
batches: where the list is not, the last batch is topped up with the first rows of the same shuffled order. Hence in
every epoch each example comes once, and up to B - 1 examples, each time others, come twice. On lengths as of sentences
(lognormal, B = 32) 72 % of the places in random batches are filling, and 8 % in bucketed ones.

Which example is number `index` is a function of (seed, index) alone: it does not depend on the number of processes,
and a resumed run continues without any saved state.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmasos.datasets.shuffling import random_order
from llmasos.errors import UserError

POOL_BATCHES = 50


class Examples:
    """Training examples out of a list, without end.

    >>> examples = Examples("abc")
    >>> "".join(examples.example(0, index) for index in range(9))  # three epochs
    'cbabcaabc'

    Args:
        items: the N examples; they are handed out as they are.
        lengths: (N,) the length of each, for bucketing; None = rows in plain random order.
        batch_size: B, the rows of a whole step (of all processes together); matters with `lengths` only.

    Raises:
        UserError: there are no items.
    """

    def __init__(self, items: Sequence[Any], lengths: Sequence[int] | None = None, batch_size: int = 1):
        if not len(items):
            raise UserError("there are no examples to train on; expected at least one: check the data.")
        if lengths is not None and len(lengths) != len(items):
            raise ValueError(f"{len(lengths)} lengths for {len(items)} items")
        self.items, self.batch_size = items, batch_size
        self.lengths = None if lengths is None else np.asarray(lengths)
        n_batches = -(-len(items) // batch_size)  # rounded up
        self.examples_per_epoch = len(items) if lengths is None else n_batches * batch_size
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def __len__(self) -> int:
        """N, the number of different examples."""
        return len(self.items)

    def example(self, seed: int, index: int) -> Any:
        """Return training example number `index` (0, 1, … without end) in the order of `seed`."""
        epoch, position = divmod(index, self.examples_per_epoch)
        if self._order is None or self._order[0] != (seed, epoch):
            self._order = ((seed, epoch), self._epoch(seed, epoch))
        return self.items[self._order[1][position]]

    def _epoch(self, seed: int, epoch: int) -> np.ndarray:
        """Return the numbers of one epoch's items in order: (examples_per_epoch,)."""
        bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
        order = random_order(len(self.items), bits)
        if self.lengths is None:
            return order
        order = np.resize(order, self.examples_per_epoch)  # topped up: begins again at its end
        pool = POOL_BATCHES * self.batch_size
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            order[start : start + pool] = rows[np.argsort(self.lengths[rows], kind="stable")]
        batches = order.reshape(-1, self.batch_size)
        return batches[random_order(len(batches), bits)].ravel()


def by_length(items: Sequence[Any], lengths: Sequence[int]) -> list[Any]:
    """Return the items from the shortest to the longest: for validation, where order does not matter but filling costs.

    >>> by_length(["ccc", "a", "bb"], [3, 1, 2])
    ['a', 'bb', 'ccc']
    """
    return [items[i] for i in np.argsort(lengths, kind="stable")]
