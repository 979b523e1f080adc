"""Normalization of each position's features: LayerNorm and RMSNorm.

Each has two implementations: the formula (a function, the definition), and a module that calls torch's fused kernel for
the same numbers. The mean and the mean square are over the last axis: the C features of one token, never over the
batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """(x - mean) / √(variance + eps) · weight + bias over the last axis (Ba et al. 2016). The variance divides by C."""
    centered = x - x.mean(dim=-1, keepdim=True)
    variance = centered.square().mean(dim=-1, keepdim=True)
    y = centered * torch.rsqrt(variance + eps) * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / √(mean(x²) + eps) · weight over the last axis (Zhang & Sennrich 2019): LayerNorm without the centering."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


class LayerNorm(nn.Module):
    """`layer_norm` with a trained weight (C,) and, if `bias`, a bias (C,): (…, C) → (…, C)."""

    def __init__(self, d_model: int, eps: float = 1e-5, bias: bool = True, fused: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None
        self.eps, self.fused = eps, fused

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """`rms_norm` with a trained weight (C,): (…, C) → (…, C)."""

    def __init__(self, d_model: int, eps: float = 1e-5, fused: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps, self.fused = eps, fused

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            weight = self.weight.to(x.dtype)  # under autocast q and k are bf16; the fused kernel needs one type
            return F.rms_norm(x, weight.shape, weight, self.eps)
        return rms_norm(x, self.weight, self.eps)
