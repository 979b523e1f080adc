"""The key/value cache: with it, generation computes each token only once.

A causal model's keys and values at a position never change when later tokens arrive, so they are computed once and
kept. The whole cache follows one rule: **slot p holds position p**. Sequences of different lengths then need no padding
between them: each writes at its own positions, and `cached_causal_mask` hides every slot beyond a query's position,
whether it is empty or holds the rest of a padded prompt. (So prompts are padded on the right and their positions are
simply 0, 1, 2, …; `positions.position_ids`, which gives padding position 0, must not be used with a cache.)

Dimensions: L layers, B sequences, Hkv key/value heads, P slots, D head size, T new tokens, S source tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

KeysValues = tuple[Tensor, Tensor]


@dataclass
class KVCache:
    """Keys and values of B sequences in all L layers.

    Attributes:
        kv: (L, B, 2·Hkv, P, D), in each layer the keys of all heads, then their values: one operation writes both, and
            one copies a sequence in all layers.
        memory_kv: for an encoder–decoder, the keys and values (B, Hkv, S, D) of the encoder's output in each layer of
            the decoder; they are computed once and never change.
        memory_mask: (B, 1, 1, S), True where the source has a real token; None = everywhere.
        ids: (B, P) int64, the tokens themselves, for a model that embeds n-grams of them; None = not needed.
    """

    kv: Tensor
    memory_kv: list[KeysValues] = field(default_factory=list)
    memory_mask: Tensor | None = None
    ids: Tensor | None = None

    @classmethod
    def empty(
        cls,
        n_layers: int,
        batch_size: int,
        n_kv_heads: int,
        length: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> KVCache:
        """A cache with `length` empty slots for each sequence, allocated once."""
        return cls(torch.zeros(n_layers, batch_size, 2 * n_kv_heads, length, head_size, dtype=dtype, device=device))

    @property
    def batch_size(self) -> int:
        """B, the number of sequences."""
        return self.kv.size(1)

    @property
    def length(self) -> int:
        """P, the number of slots of each sequence."""
        return self.kv.size(3)

    def layer(self, i: int, positions: Tensor, end: int) -> LayerCache:
        """Layer i, for new tokens at `positions` (B, T), all of them before `end`."""
        return LayerCache(self, i, positions, end)

    def rolling_layer(self, i: int, positions: Tensor) -> LayerCache:
        """Layer i of a cache whose P slots are a ring: position p is in slot p mod P, where it replaces p - P.

        A `sliding_window` of P tokens needs no more than this (Jiang et al. 2023, "Mistral 7B", section 2): every token
        in the ring is within the window of the newest one, and attention does not depend on the order of the keys. It
        takes one new token at a time, at `positions` (B, 1); the tokens of a longer prompt would overwrite each other.
        The library's models do not generate with it, because they rely on slot p holding position p; lesson 12 does.
        """
        return LayerCache(self, i, positions % self.length, min(int(positions.max()) + 1, self.length))

    def write_ids(self, positions: Tensor, ids: Tensor) -> Tensor | None:
        """Write new tokens (B, T) at their positions. Returns all tokens (B, P); None if none are kept."""
        return None if self.ids is None else self.ids.scatter_(1, positions.expand_as(ids), ids)

    @property
    def n_bytes(self) -> int:
        """The memory of the keys and values, in bytes."""
        return self.kv.nbytes

    def select(self, rows: Tensor) -> KVCache:
        """A copy of the sequences `rows` (N,), in that order: to drop finished ones or to reorder beams.

        `index_select` copies each sequence in one piece, several times faster on a CPU than `k[rows]`.
        """

        memory_kv = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.memory_kv]
        mask = None if self.memory_mask is None else self.memory_mask[rows]
        ids = None if self.ids is None else self.ids[rows]
        return KVCache(self.kv.index_select(1, rows), memory_kv, mask, ids)

    # The methods below are for decoder-only models: encoder outputs differ in length, so rows cannot be swapped.

    def rows(self, start: int, stop: int) -> KVCache:
        """A view of the sequences start … stop - 1: writing to it writes to this cache."""
        ids = None if self.ids is None else self.ids[start:stop]
        return KVCache(self.kv[:, start:stop], ids=ids)

    def copy_row(self, source: int, target: int, length: int | None = None) -> None:
        """Copy the first `length` slots (None = all) of one sequence over those of another."""
        self.kv[:, target, :, :length] = self.kv[:, source, :, :length]
        if self.ids is not None:
            self.ids[target, :length] = self.ids[source, :length]

    def write_rows(self, rows: Tensor, other: KVCache) -> None:
        """Overwrite the sequences `rows` (N,) with the N sequences of another cache."""
        if self.memory_kv or other.memory_kv:
            raise ValueError("sequences of an encoder–decoder cannot be overwritten: each source has its own length")
        self.kv[:, rows] = other.kv
        if self.ids is not None and other.ids is not None:
            self.ids[rows] = other.ids

    def resized(self, batch_size: int) -> KVCache:
        """Return a copy with `batch_size` sequences: the current ones, followed by empty ones."""

        L, B, *shape = self.kv.shape
        kv = torch.cat([self.kv, self.kv.new_zeros(L, batch_size - B, *shape)], dim=1)
        ids = None if self.ids is None else functional.pad(self.ids, (0, 0, 0, batch_size - B))
        return KVCache(kv, ids=ids)


def split_kv(kv: Tensor) -> KeysValues:
    """Keys and values of one layer (B, 2·Hkv, P, D) → two views (B, Hkv, P, D)."""
    n = kv.size(1) // 2
    return kv[:, :n], kv[:, n:]


@dataclass
class LayerCache:
    """One layer of a `KVCache`, opened at the positions of the tokens being computed."""

    cache: KVCache
    i: int  # which layer
    positions: Tensor  # (B, T)
    end: int

    def update(self, k: Tensor, v: Tensor) -> KeysValues:
        """Write the new keys and values (B, Hkv, T, D) at their positions; return all of them (B, Hkv, end, D)."""
        kv = self.cache.kv[self.i]  # (B, 2·Hkv, P, D)
        new = torch.cat((k, v), dim=1).to(kv.dtype)  # (B, 2·Hkv, T, D)
        kv.scatter_(2, self.positions[:, None, :, None].expand_as(new), new)
        return split_kv(kv[:, :, : self.end])
