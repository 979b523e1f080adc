"""ZeRO-1 by hand: n processes train one model, and each keeps an n-th of the optimizer state.

AdamW keeps two numbers for each weight, and with copies of the model on n processes, all of them keep the same two. But
AdamW updates every weight independently. So each process can update an n-th of the weights, and needs only their state
(Rajbhandari et al. 2020, stage 1):

    reduce-scatter: each process gets the sum of the gradients of its own n-th
    step:           it updates this n-th
    all-gather:     every process gets all updated weights

This sends as many bytes as the all-reduce of the gradients that it replaces. Each weight takes 8 + 8 / n bytes in fp32
instead of 16 (weight, gradient, two moments). torch's implementation is
`torch.distributed.optim.ZeroRedundancyOptimizer`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llmasos.training.ring import Ring, all_gather, all_reduce, reduce_scatter, split


class ZeroOptimizer:
    """An optimizer whose state is divided among the processes of a ring.

    Every process calls `step` after its own backward pass, whose loss is the mean over its rows of the batch.

    Args:
        groups: parameter groups as torch's optimizers take them: `[{"params": […], "weight_decay": 0.1}, …]`. All
            processes must start with the same weights.
        make_optimizer: the function that makes an optimizer for these groups; it must update each weight
            independently, as AdamW does.
            (Muon does not: it needs whole matrices.)
        ring: this process's place in the ring.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], make_optimizer: Callable[[list], torch.optim.Optimizer], ring: Ring
    ):
        self.ring = ring
        self.parameters: list[list[nn.Parameter]] = [list(group["params"]) for group in groups]
        self.shards = [nn.Parameter(split(flatten(params), ring.size)[ring.rank].clone()) for params in self.parameters]
        sharded = [{**group, "params": [shard]} for group, shard in zip(groups, self.shards, strict=True)]
        self.optimizer = make_optimizer(sharded)

    def step(self, max_grad_norm: float = 0.0) -> float:
        """Update the weights with the mean gradient over all processes. Returns its norm, before clipping.

        Args:
            max_grad_norm: scale the gradient down to this norm if it is longer; 0 disables.
        """
        n = self.ring.size
        for params, shard in zip(self.parameters, self.shards, strict=True):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
            shard.grad = reduce_scatter(split(flatten(gradients), n), self.ring) / n
        gradients = [shard.grad for shard in self.shards if shard.grad is not None]
        squares = torch.stack([gradient.square().sum(dtype=torch.float64) for gradient in gradients]).sum()
        norm = all_reduce(squares, self.ring).sqrt().item()
        if 0 < max_grad_norm < norm:
            for gradient in gradients:
                gradient *= max_grad_norm / norm
        self.optimizer.step()
        for params, shard in zip(self.parameters, self.shards, strict=True):
            flat, start = all_gather(shard.detach(), self.ring).view(-1), 0
            for p in params:
                p.data.copy_(flat[start : start + p.numel()].view_as(p))
                start += p.numel()
        return norm

    def zero_grad(self) -> None:
        """Delete the gradients."""
        for params, shard in zip(self.parameters, self.shards, strict=True):
            for p in (*params, shard):
                p.grad = None


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of all tensors, one after another: (total,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
