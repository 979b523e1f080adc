"""Positions: five ways to give a model the order of its tokens, which attention by itself treats as a set.

Learned and sinusoidal positions are vectors added to the token embeddings at the bottom. Rotary positions rotate the
queries and keys inside every attention, so that their dot product depends only on the distance. ALiBi lowers each score
in proportion to the distance; T5 adds a trained bias for each range of distances. A decoder with none of them (NoPE)
can still infer something about the order, because each token sees only those before it (Kazemnejad et al. 2023).

Dimensions: B batch, T length, C d_model, H heads, D head size, P the number of positions (context_length).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from llmasos.nn.embedding import Embedding
from llmasos.nn.rope_scaling import RopeScaling

if TYPE_CHECKING:
    from llmasos.models.config import ModelConfig


class LearnedPositions(Embedding):
    """A table (P, C) with one trained vector for each position: (B, T) positions → (B, T, C). (GPT-2, BERT)"""

    def __init__(self, context_length: int, d_model: int):
        super().__init__(context_length, d_model)


class ComputedTables(nn.Module):
    """A module whose tables are computed, not trained, and therefore not saved with the weights.

    They are buffers, so they follow the model to its device and dtype, and they are recomputed after each move:
    `to_empty`, which allocates memory for a model from the "meta" device without filling it, would otherwise leave them
    undefined, and a model that was once converted to bfloat16 and back would keep rounded values.
    """

    def tables(self) -> dict[str, Tensor]:
        """Compute the tables: attribute → values."""
        raise NotImplementedError

    def add_tables(self) -> None:
        """Register the tables as buffers."""
        for name, table in self.tables().items():
            self.register_buffer(name, table, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ComputedTables:
        before = list(self.buffers(recurse=False))
        super()._apply(fn, recurse)
        if any(new is not old for new, old in zip(self.buffers(recurse=False), before, strict=True)):
            for name, table in self.tables().items():
                getattr(self, name).copy_(table)
        return self


class SinusoidalPositions(ComputedTables):
    """Fixed waves of geometrically growing length: (B, T) positions → (B, T, C).

    PE(p, 2i) = sin(p / 10000^(2i/C)), PE(p, 2i+1) = cos(p / 10000^(2i/C)); "Attention Is All You Need", section 3.5.
    With `halves` the order is different: first all sines, then all cosines (Marian's translators).
    """

    table: Tensor  # (P, C)

    def __init__(self, context_length: int, d_model: int, halves: bool = False):
        super().__init__()
        self.context_length, self.d_model, self.halves = context_length, d_model, halves
        self.add_tables()

    def tables(self) -> dict[str, Tensor]:
        """The waves of all positions."""
        angles = wave_angles(self.context_length, self.d_model, base=10_000.0, dtype=torch.float64)  # (P, C/2)
        waves = angles.sin().float(), angles.cos().float()
        # sin, cos, sin, cos, …  or  sin, sin, …, cos, cos, …
        return {"table": torch.cat(waves, dim=-1) if self.halves else torch.stack(waves, dim=-1).flatten(1)}

    def forward(self, positions: Tensor) -> Tensor:
        return self.table[positions]


class RotaryEmbedding(ComputedTables):
    """Rotary position embedding (Su et al. 2021, RoFormer): the cos and sin with which `apply_rotary` rotates q and k.

    Args:
        context_length: P, the number of positions.
        head_size: D, even; D/2 planes are rotated, plane i by position / base^(2i/D) radians.
        base: the slowest plane completes a rotation in about 2π·base positions (10,000 in the paper, 500,000 in Llama
            3).
        scaling: how the frequencies are scaled for texts longer than those of pretraining; None = not at all.

    If `head_size` is smaller than the attention's, only that many features of each head are rotated (GPT-NeoX).
    """

    cos: Tensor  # (P, D/2)
    sin: Tensor  # (P, D/2)

    def __init__(self, context_length: int, head_size: int, base: float = 10_000.0, scaling: RopeScaling | None = None):
        super().__init__()
        self.context_length, self.head_size, self.base, self.scaling = context_length, head_size, base, scaling
        self.add_tables()

    def tables(self) -> dict[str, Tensor]:
        """The cos and sin of all positions."""
        angles = wave_angles(self.context_length, self.head_size, self.base, self.scaling)  # (P, D/2)
        magnitude = 1.0 if self.scaling is None else self.scaling.magnitude
        return {"cos": angles.cos() * magnitude, "sin": angles.sin() * magnitude}

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) positions → cos and sin, each (B, 1, T, D/2), the same for every head."""
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the planes of queries or keys: x (B, H, T, D); cos, sin (B, 1, T, D/2); returns (B, H, T, D).

    Plane i consists of dimensions i and i + D/2, the layout of Llama's published weights. (The RoFormer paper pairs 2i
    with 2i+1: the same with the dimensions in another order.) If there are fewer than D/2 planes, they use the first
    dimensions, and the others are not rotated.
    """
    n_planes = cos.size(-1)
    a, b, rest = x.split((n_planes, n_planes, x.size(-1) - 2 * n_planes), dim=-1)  # (B, H, T, D/2) twice, and nothing
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, a * sin + b * cos, rest), dim=-1)


class ALiBi(ComputedTables):
    """Attention with linear biases: scores decrease with distance (Press et al. 2022, "Train short, test long").

    Args:
        n_heads: H.
    """

    slopes: Tensor  # (H,)

    def __init__(self, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.add_tables()

    def tables(self) -> dict[str, Tensor]:
        """The slopes."""
        return {"slopes": alibi_slopes(self.n_heads)}

    def forward(self, positions: Tensor, S: int) -> Tensor:
        """The bias (B, H, T, S) of queries at `positions` (B, T) and S keys; see `alibi_bias`."""
        return alibi_bias(self.slopes, positions, S)


def alibi_slopes(n_heads: int) -> Tensor:
    """How much each head lowers a score per position of distance, (H,): 2^(-8/H), 2^(-16/H), …, 2^-8.

    Press et al. 2022, "Train short, test long", section 3. If H is not a power of 2, the slopes of the next smaller one
    come first, then every other one of the next larger (their code).

    >>> alibi_slopes(4).tolist(), len(alibi_slopes(6))
    ([0.25, 0.0625, 0.015625, 0.00390625], 6)
    """
    on_cpu = torch.device("cpu")  # real values also while a model is built on the "meta" device
    n = 2 ** (n_heads.bit_length() - 1)
    slopes = 2.0 ** (-8.0 / n * torch.arange(1, n + 1, device=on_cpu))
    between = 2.0 ** (-4.0 / n * (2 * torch.arange(n_heads - n, device=on_cpu) + 1))
    return torch.cat((slopes, between))


def alibi_bias(slopes: Tensor, positions: Tensor, S: int) -> Tensor:
    """The bias that ALiBi adds to the scores: - slope · distance, (B, H, T, S), for queries at `positions` (B, T).

    >>> alibi_bias(torch.tensor([0.5]), torch.tensor([[2]]), 3)
    tensor([[[[-1.0000, -0.5000,  0.0000]]]])
    """
    ahead = torch.arange(S, device=positions.device) - positions[:, None, :, None]  # (B, 1, T, S), minus the distance
    return slopes[:, None, None] * ahead


class RelativePositionBias(nn.Module):
    """The bias that T5 adds to the scores: a trained number for each head and each range of key–query distances.

    Raffel et al. 2020, section 2.1. One table is shared by all layers, and the model has no other positions.

    Args:
        n_heads: H.
        n_buckets: the number of ranges, each with a row of the table.
        max_distance: all distances from this one on share a range.
        causal: whether keys are never after their query; otherwise half of the ranges are for later keys.
    """

    def __init__(self, n_heads: int, n_buckets: int, max_distance: int, causal: bool):
        super().__init__()
        self.n_buckets, self.max_distance, self.causal = n_buckets, max_distance, causal
        self.embedding = Embedding(n_buckets, n_heads)

    def forward(self, positions: Tensor, S: int) -> Tensor:
        """(B, H, T, S), for queries at `positions` (B, T) and keys at 0 … S - 1."""
        ahead = torch.arange(S, device=positions.device) - positions[:, :, None]  # (B, T, S)
        buckets = relative_buckets(ahead, self.n_buckets, self.max_distance, self.causal)
        return self.embedding(buckets).permute(0, 3, 1, 2)


def relative_buckets(ahead: Tensor, n_buckets: int, max_distance: int, causal: bool) -> Tensor:
    """The bucket of each distance: half of the buckets hold one distance each, the others grow geometrically.

    Args:
        ahead: how far a key is after its query (negative = before it), of any shape.
        n_buckets, max_distance, causal: see `RelativePositionBias`.

    >>> relative_buckets(-torch.tensor([0, 1, 2, 3, 4, 5, 8, 12, 16, 100]), 8, 16, causal=True).tolist()
    [0, 1, 2, 3, 4, 4, 6, 7, 7, 7]
    """
    first = torch.zeros_like(ahead)
    if not causal:
        n_buckets //= 2
        first = (ahead > 0) * n_buckets
    distance = (-ahead).clamp(min=0) if causal else ahead.abs()
    n_exact = n_buckets // 2
    octaves = torch.log(distance.clamp(min=1).float() / n_exact) / math.log(max_distance / n_exact)
    far = n_exact + (octaves * (n_buckets - n_exact)).long()
    return first + torch.where(distance < n_exact, distance, far.clamp(max=n_buckets - 1))


def position_ids(ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """The position of each token, counting real tokens only: (B, T), or (1, T) for all sequences without padding.

    Left- and right-padded sequences get the same positions for the same tokens. Padding gets position 0.

    >>> attention_mask = torch.tensor([[False, False, True, True, True], [True, True, True, False, False]])
    >>> position_ids(torch.zeros(2, 5), attention_mask)
    tensor([[0, 0, 0, 1, 2],
            [0, 1, 2, 0, 0]])
    """
    if attention_mask is None:
        return torch.arange(ids.size(1), device=ids.device)[None]
    return (attention_mask.long().cumsum(dim=1) - 1) * attention_mask.long()


def make_position_embedding(config: ModelConfig) -> LearnedPositions | SinusoidalPositions | None:
    """Build the positions that a config adds to the token embeddings; None if they are rotary or there are none."""
    if config.positions == "learned":
        return LearnedPositions(config.context_length, config.d_model)
    if config.positions.startswith("sinusoidal"):
        return SinusoidalPositions(config.context_length, config.d_model, config.positions == "sinusoidal_halves")
    return None


def make_rotary(config: ModelConfig) -> RotaryEmbedding | None:
    """Build the rotary positions that a config describes, or None if its positions are of another type."""
    if config.positions != "rotary":
        return None
    return RotaryEmbedding(config.context_length, config.n_rotated, config.rope_theta, config.rope_scaling)


def make_local_rotary(config: ModelConfig) -> RotaryEmbedding | None:
    """Build the rotary positions of sliding-window layers, or None if they are the same as in the other layers."""
    if config.local_rope_theta is None:
        return None
    return RotaryEmbedding(config.context_length, config.n_rotated, config.local_rope_theta)


def make_relative_bias(config: ModelConfig, causal: bool) -> RelativePositionBias | None:
    """Build the relative position bias that a config adds to the scores, or None."""
    if not config.relative_attention_num_buckets:
        return None
    buckets, distance = config.relative_attention_num_buckets, config.relative_attention_max_distance
    return RelativePositionBias(config.n_heads, buckets, distance, causal)


def wave_angles(
    n_positions: int,
    width: int,
    base: float,
    scaling: RopeScaling | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(n_positions, width/2) angles p / base^(2i/width) in radians, with frequencies scaled by `scaling` if given.

    Llama's are rounded to float32 in the order in which it was trained (first the frequency, then its product with p):
    another order changes the angles of far positions by up to 0.0005, and the published weights expect these.
    """
    on_cpu = torch.device("cpu")  # real values also while a model is built on the "meta" device
    frequencies = 1.0 / base ** (torch.arange(0, width, 2, dtype=dtype, device=on_cpu) / width)  # (width/2,)
    if scaling is not None:
        frequencies = scaling.scale(frequencies, base)
    return torch.arange(n_positions, dtype=dtype, device=on_cpu)[:, None] * frequencies
