"""The paged key/value cache: a `KVCache` whose sequences are stored in pages, anywhere in memory.

All keys of a layer are in one tensor, page after page. A sequence's page table says which pages belong to it, and in
which order (`page_table.py`):

    table of a    4 1          pages   0  1  2  3  4  5  6
    table of b    4 2 6                ·  a  b  ·  ab ·  b       page 4: their common prefix, stored once

A new token is written to its place in its page. Before attention, the pages of each sequence are gathered by its table
into (B, Hkv, S, D), one copy per layer and step, and attention reads them as it reads the slots of a `KVCache`. (The
kernel of Kwon et al. 2023 reads them where they are and saves this copy.)

Dimensions: B sequences, Hkv key/value heads, D head size, T new tokens, S tokens that are read, N pages, G page size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from llmasos.nn.cache import KeysValues, KVCache, LayerCache, split_kv


@dataclass
class PagedKVCache(KVCache):
    """Keys and values of some sequences, in pages.

    Attributes:
        kv: (L, N, G, 2·Hkv, D), for each token the keys of all heads, then their values.
        ids: (N, G) int64, the tokens, for a model that embeds n-grams of them; None = not needed.
        table: (B, n) int64, the pages of each sequence, in order; entries after its last page are arbitrary.
    """

    table: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))

    @classmethod
    def from_empty(cls, cache: KVCache) -> PagedKVCache:
        """Use an empty cache, `model.make_cache(N, G)`, as N pages of G tokens."""

        L, N, heads, G, D = cache.kv.shape
        return cls(cache.kv.view(L, N, G, heads, D), ids=cache.ids)

    @property
    def n_pages(self) -> int:
        """N, the number of pages that memory has been allocated for."""
        return self.kv.size(1)

    @property
    def page_size(self) -> int:
        """G, the number of tokens in a page."""
        return self.kv.size(2)

    @property
    def batch_size(self) -> int:
        """B, the number of sequences in the table."""
        return self.table.size(0)

    @property
    def length(self) -> int:
        """The number of tokens of each sequence that the table has room for."""
        return self.table.size(1) * self.page_size

    def resized(self, batch_size: int) -> PagedKVCache:
        """Return a copy with `batch_size` pages: the current ones, followed by empty ones."""
        bigger = super().resized(batch_size)
        return PagedKVCache(bigger.kv, ids=bigger.ids, table=self.table)

    def with_table(self, table: Tensor) -> PagedKVCache:
        """Return a view of the same memory with another page table (B, n): writing to it writes to this cache."""
        return PagedKVCache(self.kv, ids=self.ids, table=table)

    def layer(self, i: int, positions: Tensor, end: int) -> LayerCache:
        """Layer i, for new tokens at `positions` (B, T), all of them before `end`."""
        return PagedLayerCache(self, i, positions, end, self.places(positions, end))

    def places(self, positions: Tensor, end: int) -> Places:
        """Locate the new tokens at `positions` (B, T), and the first `end` tokens of each sequence, in memory."""
        positions = positions.expand(self.batch_size, -1)
        pages = self.table.gather(1, positions // self.page_size)  # (B, T)
        n = -(-end // self.page_size)
        return Places((pages * self.page_size + positions % self.page_size).flatten(), self.table[:, :n], end)

    def write_ids(self, positions: Tensor, ids: Tensor) -> Tensor | None:
        """Write new tokens (B, T) at their positions. Returns all tokens of each sequence; None if none are kept."""
        if self.ids is None:
            return None
        self.ids.view(-1)[self.places(positions, self.length).write] = ids.flatten()
        return self.ids[self.table].flatten(1)


@dataclass
class Places:
    """The memory locations of the tokens of one step, the same in all layers.

    Attributes:
        write: (B·T,), the place of each new token, counted through all pages.
        read: (B, n), the pages of each sequence.
        end: S, how many tokens of each sequence are read.
    """

    write: Tensor
    read: Tensor
    end: int

    def update(self, memory: Tensor, kv: Tensor) -> KeysValues:
        """Write new keys and values into their pages; return those of all tokens.

        Args:
            memory: the pages of one layer (N, G, 2·Hkv, D).
            kv: the new keys, then the new values (B, 2·Hkv, T, D).

        Returns:
            Keys and values (B, Hkv, S, D).
        """
        _, _, heads, D = memory.shape
        tokens = kv.transpose(1, 2).reshape(-1, heads, D).to(memory.dtype)  # (B·T, 2·Hkv, D)
        memory.view(-1, heads, D).index_copy_(0, self.write, tokens)
        pages = memory.flatten(1).index_select(0, self.read.flatten())  # (B·n, G·2·Hkv·D)
        return split_kv(pages.view(len(self.read), -1, heads, D).narrow(1, 0, self.end).transpose(1, 2))


@dataclass
class PagedLayerCache(LayerCache):
    """One layer of a `PagedKVCache`, opened at the positions of the tokens being computed."""

    places: Places

    def update(self, k: Tensor, v: Tensor) -> KeysValues:
        """Write the new keys and values (B, Hkv, T, D) at their positions; return all of them (B, Hkv, end, D)."""
        return self.places.update(self.cache.kv[self.i], torch.cat((k, v), dim=1))
