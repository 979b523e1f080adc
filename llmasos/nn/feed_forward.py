"""The feed-forward layer of a block, applied to each position separately."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gelu(x: Tensor) -> Tensor:
    """x · Φ(x), with Φ the cumulative standard normal (Hendrycks & Gimpel 2016). BERT's activation."""
    return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


def gelu_tanh(x: Tensor) -> Tensor:
    """The paper's approximation of `gelu` by a tanh, within 0.001 of it. GPT-2's activation."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def relu(x: Tensor) -> Tensor:
    """max(x, 0) (Nair & Hinton 2010)."""
    return x.clamp(min=0.0)


def relu2(x: Tensor) -> Tensor:
    """max(x, 0)², which is smooth at zero and leaves most features exactly zero (So et al. 2021, "Primer")."""
    return relu(x) ** 2


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x) (Hendrycks & Gimpel 2016; Ramachandran et al. 2017, "Swish")."""
    return x * torch.sigmoid(x)


def fused_gelu_tanh(x: Tensor) -> Tensor:
    """`gelu_tanh` by torch's kernel."""
    return F.gelu(x, approximate="tanh")


def fused_relu2(x: Tensor) -> Tensor:
    """`relu2` by torch's kernels."""
    return F.relu(x).square()


# Name → (fused, formula). Both compute the same numbers; the fused one reads and writes memory only once. All are named
# functions, because a pickled model stores them by name.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (F.relu, relu),
    "gelu": (F.gelu, gelu),
    "silu": (F.silu, silu),
    "relu2": (fused_relu2, relu2),
    "gelu_tanh": (fused_gelu_tanh, gelu_tanh),
}


class FeedForward(nn.Module):
    """Expand, apply a nonlinearity, project back: (…, C) → (…, d_ff) → (…, C).

    "Attention Is All You Need", section 3.3: FFN(x) = activation(x W₁ + b₁) W₂ + b₂.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "gelu_tanh", bias: bool = True, fused: bool = True):
        super().__init__()
        self.up_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.down_proj = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = ACTIVATIONS[activation][0 if fused else 1]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.up_proj(x)))


class SwiGLU(nn.Module):
    """A feed-forward with a gate: (silu(x W_gate) ⊙ x W_up) W_down, where silu(x) = x · sigmoid(x).

    Shazeer 2020, "GLU Variants Improve Transformer". It has three matrices where FeedForward has two; with
    d_ff = 8/3 C instead of 4 C, both have the same number of weights. The paper's other variants only change the
    `activation`: GEGLU uses gelu, ReGLU relu.
    """

    def __init__(self, d_model: int, d_ff: int, bias: bool = False, activation: str = "silu", fused: bool = True):
        super().__init__()
        self.activation = ACTIVATIONS[activation][0 if fused else 1]
        self.gate_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.up_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.down_proj = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))
