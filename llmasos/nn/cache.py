"""The key/value cache: what lets generation read each token once.

A causal model's keys and values at a position never change when later tokens arrive: they are computed once and kept.
The rule of the whole cache is: **slot p holds position p**. Sequences of different lengths then need no padding of
their own: each writes at its own positions, and `masks.position_mask` hides every slot beyond a query's own position,
whether it is empty or holds the left-over of a padded prompt. (So prompts for a cache are padded on the right and their
positions are simply 0, 1, 2, …: `masks.positions_of`, which gives padding position 0, is not for cached reading.)

Dimensions: L layers, B sequences, Hkv key/value heads, P slots (context_length), D head size, T new tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


class KVCache:
    """Keys and values of B sequences for all L layers.

    Attributes:
        layers: L pairs of tensors (B, Hkv, P, D).
        source: of an encoder–decoder, the keys and values (B, Hkv, S, D) of what the encoder has read, for each layer;
            they are computed once and never change.
        source_mask: (B, 1, 1, S), True where the source has a real token; None = everywhere.
    """

    def __init__(
        self,
        layers: list[tuple[Tensor, Tensor]],
        source: list[tuple[Tensor, Tensor]] | None = None,
        source_mask: Tensor | None = None,
    ):
        self.layers, self.source, self.source_mask = layers, source or [], source_mask

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
    ) -> "KVCache":
        """Room for `length` positions, allocated once."""

        def zeros() -> Tensor:
            return torch.zeros(batch_size, n_kv_heads, length, head_size, dtype=dtype, device=device)

        return cls([(zeros(), zeros()) for _ in range(n_layers)])

    @property
    def length(self) -> int:
        """P, the number of positions there is room for."""
        return self.layers[0][0].size(2)

    def at(self, layer: int, positions: Tensor, end: int) -> "LayerCache":
        """One layer's view for tokens that stand at `positions` (B, T), all of them before `end`."""
        return LayerCache(*self.layers[layer], positions, end)

    def select(self, rows: Tensor) -> "KVCache":
        """A copy of the sequences `rows` (N,), in that order: for dropping finished ones or ordering beams.

        `index_select` copies each sequence in one piece, several times faster on a CPU than `k[rows]`.
        """

        def copies(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
            return [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in pairs]

        mask = None if self.source_mask is None else self.source_mask[rows]
        return KVCache(copies(self.layers), copies(self.source), mask)

    def part(self, start: int, stop: int) -> "KVCache":
        """A view of the sequences start … stop - 1 of a decoder-only model: what is written there is written here."""
        return KVCache([(k[start:stop], v[start:stop]) for k, v in self.layers])

    def move(self, source: int, target: int, length: int | None = None) -> None:
        """Copy one sequence over another: its first `length` positions (None = all)."""
        for pair in self.layers:
            for x in pair:
                x[target, :, :length] = x[source, :, :length]

    def grown(self, n: int) -> "KVCache":
        """A copy with room for n more sequences of a decoder-only model."""
        return KVCache([tuple(torch.cat([x, x.new_zeros(n, *x.shape[1:])]) for x in pair) for pair in self.layers])

    def put(self, rows: Tensor, other: "KVCache") -> None:
        """Overwrite the sequences `rows` (N,) with the N sequences of another cache of the same decoder-only model."""
        if self.source or other.source:
            raise ValueError("sequences with a source do not change places: every source has its own length")
        for (k, v), (new_k, new_v) in zip(self.layers, other.layers, strict=True):
            k[rows], v[rows] = new_k, new_v


@dataclass
class LayerCache:
    """One layer of a `KVCache`, opened at the positions of the tokens now being computed."""

    k: Tensor  # (B, Hkv, P, D)
    v: Tensor  # (B, Hkv, P, D)
    positions: Tensor  # (B, T)
    end: int

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values (B, Hkv, T, D) at their positions; return all of them (B, Hkv, end, D)."""
        index = self.positions[:, None, :, None].expand_as(k)
        self.k.scatter_(2, index, k.to(self.k.dtype))
        self.v.scatter_(2, index, v.to(self.v.dtype))
        return self.k[:, :, : self.end], self.v[:, :, : self.end]
