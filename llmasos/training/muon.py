"""Muon: momentum, orthogonalised (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

The gradient of a weight matrix is dominated by a few directions. AdamW scales each entry by itself and leaves that as
it is; Muon replaces the whole step U S Vᵀ (its singular value decomposition) by U Vᵀ, so that every direction of the
matrix learns at the same rate. The decomposition itself is never computed: a few products of the matrix with itself
push all singular values towards 1, which is also why bfloat16 is precise enough.

torch has a `torch.optim.Muon` that takes one matrix after the other, and the tests compare this one with it. Here all
matrices of one shape are orthogonalised as one batch, which for small models takes half the time.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

ROUNDS = 5
# Of the polynomial a·s + b·s³ + c·s⁵ that each round applies to every singular value s: chosen by Jordan et al. so that
# small ones grow fast, at the price of ending near 1 (between 0.7 and 1.2) and not at it.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """The optimizer, for matrices only.

    Args:
        matrices: parameters (rows, columns) that map features to features.
        lr: the learning rate, on AdamW's scale: see `step`.
        weight_decay: each step shrinks the matrices by lr · weight_decay.
        momentum: how much of the running mean of gradients is kept at each step.
        dtype: what to orthogonalise in: bfloat16 where the hardware is fast at it.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon is for matrices; give vectors and embeddings to AdamW")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Take one step along the orthogonalised, Nesterov-corrected momentum.

        An orthogonal step has entries of size 1/√max(rows, columns); AdamW's are about 0.2. Scaling by
        0.2·√max(rows, columns) makes one learning rate serve both (Liu et al. 2025, "Muon is scalable", section 2.2).
        """
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = torch.stack([self.momentum(p, group["momentum"]) for p in parameters])
                updates = orthogonalise(updates.to(self.dtype)).to(parameters[0].dtype)
                scale = 0.2 * math.sqrt(max(shape))
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Take the gradient into the running mean, and look one step ahead of it (Nesterov): (rows, columns)."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mean = state["momentum_buffer"].lerp_(parameter.grad, 1.0 - momentum)
        return parameter.grad.lerp(mean, momentum)


def orthogonalise(x: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with all their singular values pushed towards 1 (Newton–Schulz iteration)."""
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x  # the products below are then of the smaller size
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # now no singular value is above 1
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        inner = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # b·gram + c·gram²
        x = torch.baddbmm(x, inner, x, beta=a)  # a·x + inner·x
    return x.mT if tall else x
