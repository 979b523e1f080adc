"""Where a token stands: three ways to tell a model, which by itself sees a set and not a sequence.

Learned and sinusoidal positions are vectors added to the token embeddings at the bottom; rotary positions turn the
queries and keys inside every attention, so that their product depends on the distance alone.
Dimensions: B batch, T length, C d_model, H heads, D head size, P the number of positions (context_length).
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from llmasos.errors import UserError


class LearnedPositions(nn.Embedding):
    """A table (P, C) with one trained vector for each position: (B, T) positions → (B, T, C). (GPT-2, BERT)"""

    def __init__(self, context_length: int, d_model: int):
        super().__init__(context_length, d_model)


class SinusoidalPositions(nn.Module):
    """Fixed waves of geometrically growing length: (B, T) positions → (B, T, C).

    PE(p, 2i) = sin(p / 10000^(2i/C)), PE(p, 2i+1) = cos(p / 10000^(2i/C)); "Attention Is All You Need", section 3.5.
    With `halves` the same waves stand in another order: first all sines, then all cosines (Marian's translators).
    """

    def __init__(self, context_length: int, d_model: int, halves: bool = False):
        super().__init__()
        angles = wave_angles(context_length, d_model, base=10_000.0, dtype=torch.float64)  # (P, C/2)
        waves = angles.sin().float(), angles.cos().float()
        # (P, C): sin, cos, sin, cos, …  or  sin, sin, …, cos, cos, …
        table = torch.cat(waves, dim=-1) if halves else torch.stack(waves, dim=-1).flatten(1)
        self.register_buffer("table", table, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        return self.table[positions]


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, RoFormer): the cos and sin with which `apply_rotary` turns q and k.

    Args:
        context_length: P, the number of positions to prepare.
        head_size: D, even; D/2 planes are turned, plane i by position / base^(2i/D) radians.
        base: the slowest plane turns once in about 2π·base positions (10,000 in the paper; Llama 3 has 500,000).
        scaling: how the planes are slowed down for texts longer than those of pre-training; None = not at all.
    """

    def __init__(
        self, context_length: int, head_size: int, base: float = 10_000.0, scaling: "RotaryScaling | None" = None
    ):
        super().__init__()
        angles = wave_angles(context_length, head_size, base, scaling)  # (P, D/2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) positions → cos and sin, each (B, 1, T, D/2), the same for every head."""
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the planes of queries or keys: x (B, H, T, D); cos, sin (B, 1, T, D/2); returns (B, H, T, D).

    Plane i is made of dimensions i and i + D/2, the layout of Llama's published weights. (The RoFormer paper pairs
    2i with 2i+1: the same thing with the dimensions in another order.)
    """
    a, b = x.chunk(2, dim=-1)  # each (B, H, T, D/2)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


@dataclass(frozen=True)
class RotaryScaling:
    """Llama 3's way to read texts longer than those it was pre-trained on (Llama 3.1; `rope_type` "llama3").

    A plane that turns often within the original context tells near positions apart, and is left as it is. One that
    does not turn even once tells far ones apart: it is slowed down by `factor`, so that it covers the longer context
    as it covered the original one. Between the two, the slowing-down sets in gradually.

    Attributes:
        factor: by how much the slow planes are slowed down, at least 1.
        low: planes that turn less often than this within the original context are slow.
        high: planes that turn more often than this within the original context are fast; above `low`.
        original_context: the context of pre-training, in tokens.
    """

    factor: float
    low: float
    high: float
    original_context: int

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise UserError(f"rotary_scaling: {field.name} is {value!r}; it must be a number above 0.")
        if self.factor < 1 or self.high <= self.low:
            raise UserError(f"rotary_scaling is {self}; factor must be at least 1 and high above low.")

    @classmethod
    def from_dict(cls, values: dict) -> "RotaryScaling":
        """From the object in a `config.json`. Raises UserError if its fields are others."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise UserError(f"rotary_scaling has the fields {sorted(values)}; expected {sorted(names)}.")
        return cls(**values)

    def slowed(self, frequencies: Tensor) -> Tensor:
        """The frequencies of the planes (D/2,), in radians per position, as they are used."""
        turns = self.original_context * frequencies / (2.0 * math.pi)  # within the original context
        fast = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0)  # 1 = as it is, 0 = slowed down fully
        return fast * frequencies + (1.0 - fast) * frequencies / self.factor


def wave_angles(
    n_positions: int,
    width: int,
    base: float,
    scaling: RotaryScaling | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(n_positions, width/2) angles p / base^(2i/width) in radians, slowed down by `scaling` if there is one.

    Llama's are rounded to float32 in the order in which it was trained (first the frequency, then its product with p):
    another order moves the angles of far positions by up to 0.0005, and the published weights expect these.
    """
    on_cpu = {"dtype": dtype, "device": "cpu"}  # real numbers also where a model is built without any ("meta")
    frequencies = 1.0 / base ** (torch.arange(0, width, 2, **on_cpu) / width)  # (width/2,)
    if scaling is not None:
        frequencies = scaling.slowed(frequencies)
    return torch.arange(n_positions, **on_cpu)[:, None] * frequencies
