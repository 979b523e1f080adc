"""Mixtures: several texts that are sampled with different weights in training.

    --data stories.txt=0.7,docs.jsonl=0.3

Of the training rows 70 % come from the first text and 30 % from the second, whatever their sizes: a small text is read
several times, a large one in part. Rows come in blocks, each of which has its exact proportions in a random order:

    block b  →  n_k rows of text k, its rows number b·n_k … b·n_k + n_k - 1, shuffled

So which row is number `index` is a function of (seed, index) alone, as in a single text. The held-out text is that of
all parts together, whatever the weights: losses of other weights can then be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from llmasos.datasets.source import Piece, TextSource, check_split
from llmasos.errors import UserError

if TYPE_CHECKING:  # --help needs no numpy
    import numpy as np

BLOCK = 10_000  # rows, rounded up to whole batches


class Rows(Protocol):
    """Training rows of one text: `Windows` or `Examples`."""

    examples_per_epoch: int

    def example(self, seed: int, index: int) -> Any: ...


class MixedText(TextSource):
    """Several texts with weights, which only affect training rows (see `Mixture`).

    Args:
        parts: the texts.
        weights: the weight of each text; they add up to 1.
        val: another text to validate on, so that all of the parts is trained on; None = what they hold out.
    """

    def __init__(self, parts: Sequence[TextSource], weights: Sequence[float], val: TextSource | None = None):
        self.parts, self.weights, self.val = tuple(parts), tuple(weights), val
        shares = [f"{weight:.3g} {part.name}" for part, weight in zip(parts, weights, strict=True)]
        self.name = " + ".join(shares)
        held_out = "" if val is None else f"; {val.name} is held out"
        self.description = f"a mixture: {self.name} of the training rows{held_out}"

    def streams(self, split: str) -> list[Iterator[Piece]]:
        check_split(split)
        if self.val is None:
            return [part.pieces(split) for part in self.parts]
        return [source.all_pieces() for source in (self.parts if split == "train" else [self.val])]

    def pieces(self, split: str) -> Iterator[Piece]:
        return chain.from_iterable(self.streams(split))

    def fingerprint(self) -> str:
        sources = [*self.parts, *([self.val] if self.val else [])]
        names = " ".join(["mixture", str(self.val is None), *(source.fingerprint() for source in sources)])
        return hashlib.sha256(names.encode()).hexdigest()

    def size(self) -> int | None:
        sizes = [source.size() for source in (*self.parts, *([self.val] if self.val else []))]
        return None if None in sizes else sum(size for size in sizes if size)

    def information(self, split: str) -> float | None:
        values = [part.information(split) for part in self.parts] if self.val is None else [None]
        return None if None in values else sum(value for value in values if value)


class Mixture:
    """An endless stream of training rows from several texts.

    Args:
        parts: the rows of each text.
        weights: the fraction of the rows that comes from each; they add up to 1.
        batch_size: the rows of a step; a block is a whole number of them.

    Raises:
        UserError: a weight is so small that a block has no row of its text.
    """

    def __init__(self, parts: Sequence[Rows], weights: Sequence[float], batch_size: int = 1):
        import numpy as np

        self.parts = parts
        self.block_size = -(-BLOCK // batch_size) * batch_size
        bounds = np.round(np.cumsum([0.0, *weights]) / sum(weights) * self.block_size).astype(np.int64)
        self.counts = np.diff(bounds)  # (parts,): rows of each part in a block
        if not self.counts.all():
            raise UserError(f"a weight of {min(weights):g} is less than a row in {self.block_size:,}; raise it.")
        self.examples_per_epoch = sum(part.examples_per_epoch for part in parts)
        self._block: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None

    def example(self, seed: int, index: int) -> Any:
        """Return training row number `index` (0, 1, … without end) in the order of `seed`."""
        part, row = self.draw(seed, index)
        return self.parts[part].example(seed, row)

    def describe(self, names: Sequence[str], n_rows: int) -> str:
        """Describe for the user how often a run of this many rows reads each part."""
        texts = []
        for name, count, part in zip(names, self.counts, self.parts, strict=True):
            share = count / self.block_size
            texts.append(f"{share:.1%} {name}, read {n_rows * share / part.examples_per_epoch:.2g} times")
        return "; ".join(texts)

    def draw(self, seed: int, index: int) -> tuple[int, int]:
        """Return the part that row number `index` comes from, and its number there."""
        block, position = divmod(index, self.block_size)
        if self._block is None or self._block[0] != (seed, block):
            self._block = ((seed, block), *self._order(seed, block))
        _, parts, rows = self._block
        part = int(parts[position])
        return part, block * int(self.counts[part]) + int(rows[position])

    def _order(self, seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The part of each row of a block in random order, and how many of that part come before it: (rows,) each."""
        import numpy as np

        from llmasos.datasets.batching import random_order

        bits = np.random.PCG64(np.random.SeedSequence([seed, block, len(self.parts)]))
        parts = np.repeat(np.arange(len(self.parts)), self.counts)[random_order(self.block_size, bits)]
        rows = np.zeros(self.block_size, np.int64)
        for part, count in enumerate(self.counts):
            rows[parts == part] = np.arange(count)
        return parts, rows
