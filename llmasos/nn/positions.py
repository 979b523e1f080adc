"""Where a token stands: three ways to tell a model, which by itself sees a set and not a sequence.

Learned and sinusoidal positions are vectors added to the token embeddings at the bottom; rotary positions turn the
queries and keys inside every attention, so that their product depends on the distance alone.
Dimensions: B batch, T length, C d_model, H heads, D head size, P the number of positions (context_length).
"""

import torch
from torch import Tensor, nn


class LearnedPositions(nn.Embedding):
    """A table (P, C) with one trained vector for each position: (B, T) positions → (B, T, C). (GPT-2, BERT)"""

    def __init__(self, context_length: int, d_model: int):
        super().__init__(context_length, d_model)


class SinusoidalPositions(nn.Module):
    """Fixed waves of geometrically growing length: (B, T) positions → (B, T, C).

    PE(p, 2i) = sin(p / 10000^(2i/C)), PE(p, 2i+1) = cos(p / 10000^(2i/C)); "Attention Is All You Need", section 3.5.
    """

    def __init__(self, context_length: int, d_model: int):
        super().__init__()
        angles = wave_angles(context_length, d_model, base=10_000.0)  # (P, C/2)
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (P, C): sin, cos, sin, cos, …
        self.register_buffer("table", table, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        return self.table[positions]


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, RoFormer): the cos and sin with which `rotate` turns q and k.

    Args:
        context_length: P, the number of positions to prepare.
        head_size: D, even; D/2 planes are turned, plane i by position / base^(2i/D) radians.
        base: the slowest plane turns once in about 2π·base positions (10,000 in the paper; Llama 3 has 500,000).
    """

    def __init__(self, context_length: int, head_size: int, base: float = 10_000.0):
        super().__init__()
        angles = wave_angles(context_length, head_size, base)  # (P, D/2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) positions → cos and sin, each (B, 1, T, D/2), the same for every head."""
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the planes of queries or keys: x (B, H, T, D); cos, sin (B, 1, T, D/2); returns (B, H, T, D).

    Plane i is made of dimensions i and i + D/2, the layout of Llama's published weights. (The RoFormer paper pairs
    2i with 2i+1: the same thing with the dimensions in another order.)
    """
    a, b = x.chunk(2, dim=-1)  # each (B, H, T, D/2)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def wave_angles(n_positions: int, width: int, base: float) -> Tensor:
    """(n_positions, width/2) angles p / base^(2i/width) in radians.

    They are rounded to float32 in the order in which Llama was trained (first the frequency, then its product with p):
    another order moves the angles of far positions by up to 0.0005, and the published weights expect these.
    """
    frequencies = 1.0 / base ** (torch.arange(0, width, 2, dtype=torch.float32) / width)  # (width/2,)
    return torch.arange(n_positions, dtype=torch.float32)[:, None] * frequencies
