"""A mixture of experts: many feed-forward layers, of which each token uses only a few (Shazeer et al. 2017).

    x (…, C) ─┬→ router → p = softmax(W_r x) (…, E) → the k experts with the highest p
              └→ these k experts → Σ g_i · expert_i(x) (…, C)

The model has the weights of all E experts but only the compute cost of k of them, so size and cost are chosen
separately. The weights g of the chosen experts are

- k > 1: p, divided by its sum over the chosen ones (Jiang et al. 2024, "Mixtral of Experts", section 2.1). This is the
  softmax over their logits alone.
- k = 1: p itself (Fedus et al. 2021, "Switch Transformers", equation 2). Divided by its sum it would always be 1, and
  the loss would have no gradient for the router.

Nothing makes the router use all experts: one that is chosen often learns fast and is then chosen even more often. The
remedy is a load-balancing loss, which `objectives/load_balancing.py` computes from the routing that each layer records
here.

**Capacity.** On many devices, each expert needs room for a fixed number of tokens. With a capacity factor f > 0 an
expert takes at most ⌈f · k · T / E⌉ of the T tokens of a row in training, in order. A token whose expert is full skips
it, and only the residual connection carries it on (Fedus et al. 2021, section 2.2). Each row is its own group, as in
GShard (Lepikhin et al. 2020, section 2.2), so only earlier tokens of the same row compete for an expert's capacity.
Padding does not use any and does not count in T, if the layer knows about it (`is_real`). In evaluation mode no token
is dropped.

Dimensions: E experts, k of them chosen for each token, B batch, T length, C d_model.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Routing(NamedTuple):
    """A router's decision for some tokens, before any are dropped."""

    probs: Tensor  # (…, E): the probability of each expert
    chosen: Tensor  # (…, k) int64: the indices of the chosen experts, the most probable one first
    weights: Tensor  # (…, k): the weights of their outputs in the sum


def route(logits: Tensor, k: int) -> Routing:
    """Choose k experts for each token by the router's logits (…, E).

    The softmax is computed in at least float32, because rounded logits would change which experts are chosen (Fedus et
    al. 2021, section 2.4).

    >>> _, chosen, weights = route(torch.tensor([3.0, 1.0, 1.0, 0.0]).log(), k=2)
    >>> chosen[0].item(), [round(weight, 2) for weight in weights.tolist()]
    (0, [0.75, 0.25])
    """
    probs = (logits if logits.dtype == torch.float64 else logits.float()).softmax(dim=-1)
    weights, chosen = probs.topk(k, dim=-1)
    if k > 1:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return Routing(probs, chosen, weights)


def capacity_of(factor: float, k: int, T: int, n_experts: int) -> int:
    """The capacity of an expert, in tokens of a row of T: ⌈f · k · T / E⌉.

    The product is rounded first, because 0.1 · 3 is 0.30000000000000004 in floating point.

    >>> capacity_of(1.25, k=1, T=10, n_experts=4), capacity_of(0.1, k=3, T=10, n_experts=3)
    (4, 1)
    """
    return math.ceil(round(factor * k * T / n_experts, 9))


def within_capacity(chosen: Tensor, n_experts: int, capacity: int | Tensor, is_real: Tensor | None = None) -> Tensor:
    """Which choices are kept if each expert takes at most `capacity` tokens of a row: (…, T, k) booleans.

    Args:
        chosen: (…, T, k), the indices of the experts.
        n_experts: E.
        capacity: the capacity of each expert, for all rows or for each one (…, 1, 1).
        is_real: (…, T) booleans, False = padding, which is never kept and uses no capacity (None = no padding).

    >>> within_capacity(torch.tensor([[[0], [0], [1], [0]]]), n_experts=2, capacity=2).flatten().tolist()
    [True, True, True, False]
    """
    choices = F.one_hot(chosen, n_experts)  # (…, T, k, E)
    if is_real is not None:
        choices = choices * is_real[..., None, None]
    taken = choices.flatten(-3, -2).cumsum(dim=-2).view_as(choices)  # counting this choice and all earlier ones
    return (choices.bool() & (taken <= torch.as_tensor(capacity, device=chosen.device)[..., None])).any(dim=-1)


class MixtureOfExperts(nn.Module):
    """E feed-forward layers, with a router that chooses k of them for each token: (…, C) → (…, C).

    Args:
        experts: E modules (…, C) → (…, C).
        d_model: C.
        n_active: k.
        capacity_factor: f; 0 = no token is dropped.
    """

    def __init__(self, experts: Iterable[nn.Module], d_model: int, n_active: int, capacity_factor: float = 0.0):
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = nn.Linear(d_model, len(self.experts), bias=False)
        self.n_active, self.capacity_factor = n_active, capacity_factor
        self.recorded_routing: list[Routing] | None = None  # a list here collects the routing of every call
        self.is_real: Tensor | None = None  # (B, T), which tokens of a call are not padding; None = all of them

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x, self.router, list(self.experts))

    def mix(
        self, x: Tensor, router: Callable[[Tensor], Tensor], experts: Sequence[Callable[[Tensor], Tensor]]
    ) -> Tensor:
        """Compute `forward` with these functions in place of the module's own router and experts: (…, C) → (…, C)."""
        routing = route(router(x), self.n_active)
        if self.recorded_routing is not None:
            self.recorded_routing.append(routing)
        uses = routing.chosen[..., None] == torch.arange(len(self.experts), device=x.device)  # (…, k, E)
        if self.is_real is not None:
            uses = uses & self.is_real[..., None, None]  # no expert computes padding
        if self.training and self.capacity_factor:
            uses = uses & self.find_room(routing.chosen)[..., None]

        tokens, weights = x.flatten(0, -2), routing.weights.flatten(0, -2)  # (N, C), (N, k)
        uses = uses.flatten(0, -3)  # (N, k, E)
        y = torch.zeros_like(tokens)
        for i, expert in enumerate(experts):
            rows, choices = uses[..., i].nonzero(as_tuple=True)  # its tokens, and which of their k choices it is
            if not torch.compiler.is_compiling() and len(rows) == 0 and not torch.is_grad_enabled():
                continue  # in training it runs even on zero tokens: DDP waits for its gradient, which is then zero
            out = expert(tokens[rows]) * weights[rows, choices, None]
            y = y.index_add(0, rows, out.to(y.dtype))
        return y.view_as(x)

    def find_room(self, chosen: Tensor) -> Tensor:
        """Which choices (…, T, k) are within the capacity of their row: (…, T, k) booleans."""
        E, T = len(self.experts), chosen.size(-2)
        if self.is_real is None:
            return within_capacity(chosen, E, capacity_of(self.capacity_factor, self.n_active, T, E))
        lengths = self.is_real.sum(dim=-1)  # (…)
        rooms = [capacity_of(self.capacity_factor, self.n_active, n, E) for n in lengths.flatten().tolist()]
        capacity = torch.tensor(rooms, device=chosen.device).view(*lengths.shape, 1, 1)
        return within_capacity(chosen, E, capacity, self.is_real)
