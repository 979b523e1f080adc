"""Windows of a long array of tokens: the examples of a causal language model.

A window is T + 1 tokens: positions 0 .. T-1 are the inputs, 1 .. T the targets. Windows overlap by one token, so each
token is a target in one window. With the 13 tokens a b c ... m and T = 3, the grid that starts at token 1 is

    b c d e      e f g h      h i j k        (the first token of each is input only)

**Training.** An epoch is one such grid in random order; each epoch shifts the grid by a random offset, so that the
boundaries fall elsewhere, and shuffles it again. Every token inside the grid is a target exactly once per epoch; the
fewer than 2 T targets outside it, at the two ends, are inside it in other epochs. Which window is example number
`index` is a function of (seed, index) alone: it depends neither on the batch size nor on the number of processes,
and a resumed run continues without any saved state.

**Validation.** The grid starts at token 0 and its last window may be shorter, so every token but the first is a target
exactly once, and the validation loss covers the whole split.
"""

from collections.abc import Sequence

import numpy as np

from llmasos.datasets.batching import random_order
from llmasos.errors import UserError


class Windows:
    """The windows of an array of tokens.

    >>> windows = Windows(np.arange(13), context_length=3)
    >>> windows.windows_per_epoch
    3
    >>> [windows.example(0, index).tolist() for index in range(3)]  # one epoch: a shifted grid in random order
    [[9, 10, 11, 12], [6, 7, 8, 9], [3, 4, 5, 6]]
    >>> [windows.example(0, index).tolist() for index in range(3, 6)]  # the next: another shift, another order
    [[1, 2, 3, 4], [4, 5, 6, 7], [7, 8, 9, 10]]
    >>> [window.tolist() for window in Windows(np.arange(12), context_length=3).validation_windows()]
    [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10, 11]]

    Args:
        tokens: (N,) integers, usually a memory map; never copied.
        context_length: T, the number of tokens that the model sees.
        split: "train" or "val", for the message; "train" needs at least T + 1 tokens, "val" just two.

    Raises:
        UserError: there are fewer tokens than that.
    """

    def __init__(self, tokens: np.ndarray, context_length: int, split: str = "train"):
        self.tokens = np.asarray(tokens)  # a plain view of a memory map: slicing it is several times faster
        self.context_length = context_length
        needed = context_length + 1 if split == "train" else 2
        if len(self.tokens) < needed:
            remedy = f"give more text or a context length of at most {len(self.tokens) - 1}"
            raise UserError(
                f"the {split} text has {len(self.tokens):,} tokens, but a context length of {context_length} needs at"
                f" least {needed:,}; {remedy if split == 'train' and len(self.tokens) > 1 else 'give more text'}."
            )
        n_targets = len(self.tokens) - 1
        # One window fewer than would fit leaves room to shift the grid by T tokens or more.
        self.windows_per_epoch = self.examples_per_epoch = max(1, n_targets // context_length - 1)
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def example(self, seed: int, index: int) -> np.ndarray:
        """Return training example number `index` (0, 1, … without end) in the order of `seed`: (T + 1,) int64."""
        start = self._start(seed, index)
        return self.tokens[start : start + self.context_length + 1].astype(np.int64)

    def batch(self, seed: int, first: int, count: int) -> np.ndarray:
        """Return the examples number `first` .. `first + count - 1`, stacked: (count, T + 1) int64."""
        rows = np.empty((count, self.context_length + 1), np.int64)
        for row in range(count):
            start = self._start(seed, first + row)
            rows[row] = self.tokens[start : start + self.context_length + 1]
        return rows

    def validation_windows(self) -> "ValidationWindows":
        """Return consecutive windows, (T + 1,) int64, the last one shorter: all tokens but the first are targets."""
        return ValidationWindows(self.tokens, self.context_length)

    def _start(self, seed: int, index: int) -> int:
        """Return the position of the first token of example number `index`."""
        epoch, position = divmod(index, self.windows_per_epoch)
        if self._order is None or self._order[0] != (seed, epoch):
            self._order = ((seed, epoch), self._starts(seed, epoch))
        return int(self._order[1][position])

    def _starts(self, seed: int, epoch: int) -> np.ndarray:
        """Return the first tokens of one epoch's windows in their random order: (windows_per_epoch,) int64."""
        bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
        spare = len(self.tokens) - 1 - self.windows_per_epoch * self.context_length
        offset = int(bits.random_raw()) % (spare + 1)
        return offset + random_order(self.windows_per_epoch, bits) * self.context_length


class ValidationWindows(Sequence[np.ndarray]):
    """The windows of a whole split in order, cut lazily."""

    def __init__(self, tokens: np.ndarray, context_length: int):
        self.tokens, self.context_length = tokens, context_length

    def __len__(self) -> int:
        return -(-(len(self.tokens) - 1) // self.context_length)  # rounded up

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # no slices
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.tokens[i * self.context_length : (i + 1) * self.context_length + 1].astype(np.int64)
