"""Muon: momentum, orthogonalized (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

The gradient of a weight matrix is dominated by a few directions. AdamW scales each entry separately, which does not
change that; Muon replaces the whole update U S Vᵀ (its singular value decomposition) by U Vᵀ, so that every direction
of the matrix learns at the same rate. The decomposition is never computed: a few products of the matrix with itself
push all singular values towards 1 (a Newton–Schulz iteration), for which bfloat16 is precise enough.

`torch.optim.Muon` processes one matrix after another, and the tests compare this implementation with it. Here all
matrices of one shape are orthogonalized as one batch, which takes half the time for small models.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

NS_STEPS = 5
# Coefficients of the polynomial a·s + b·s³ + c·s⁵ that each step applies to every singular value s. Jordan et al. chose
# them so that small values grow fast, at the price of ending only near 1 (between 0.7 and 1.2).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """The optimizer, for matrices only.

    Args:
        matrices: parameters (rows, columns) that map features to features.
        lr: the learning rate, on AdamW's scale: see `step`.
        weight_decay: each step shrinks the matrices by lr · weight_decay.
        momentum: the fraction of the gradient's moving average that is kept at each step.
        dtype: the number format for the orthogonalization: bfloat16 if the hardware is fast at it.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon is for matrices; give vectors and embeddings to AdamW.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure
        """One step along the orthogonalized Nesterov momentum.

        An orthogonal update has entries of size 1/√max(rows, columns); AdamW's are about 0.2. Scaling by
        0.2·√max(rows, columns) makes one learning rate serve both (Liu et al. 2025, "Muon is scalable", section 2.2).
        """
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = torch.stack([self.momentum(p, group["momentum"]) for p in parameters])
                updates = orthogonalize(updates.to(self.dtype)).to(parameters[0].dtype)
                scale = 0.2 * math.sqrt(max(shape))
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Update the moving average with the gradient, and return the Nesterov look-ahead: (rows, columns)."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].lerp_(parameter.grad, 1.0 - momentum)
        return parameter.grad.lerp(average, momentum)


def orthogonalize(x: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with all singular values pushed towards 1 (Newton–Schulz iteration)."""
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x  # the products below then have the smaller size
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # no singular value is above 1 now
    a, b, c = COEFFICIENTS
    for _ in range(NS_STEPS):
        gram = x @ x.mT
        inner = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # b·gram + c·gram²
        x = torch.baddbmm(x, inner, x, beta=a)  # a·x + inner·x
    return x.mT if tall else x
