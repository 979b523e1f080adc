"""Fully sharded parameters by hand (ZeRO-3, FSDP): no process holds the whole model, only an n-th of it.

The model is wrapped in units, usually its blocks. Of each unit a process keeps an n-th of the weights, as one flat
vector. A unit gathers its full weights when it computes, and frees them right afterwards:

    forward:   all-gather the weights → compute → drop the weights
    backward:  all-gather them again → gradients of the whole unit → reduce-scatter: each process keeps the gradient of
               its n-th → drop the rest

So each weight takes 16 / n bytes instead of 16 (weight, gradient and AdamW's two moments in fp32), plus one full unit
while it computes; and each process sends 3 (n - 1) / n times the weights' bytes per step, 1.5 times as much as plain
data-parallel training (Rajbhandari et al. 2020, sections 5.3 and 7.3).

The optimizer's parameters are the shards. It must update each weight independently and treat all weights of a unit
alike: a flat vector does not say which of its numbers form a matrix (for Muon), or are biases or norms (without weight
decay). Nor does a process know the norm of the whole gradient, to clip it: for that the squares are summed over all
processes, as in `zero.py`. torch's implementation is `torch.distributed.fsdp.fully_shard`, which keeps the parameters
apart.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from llmasos.errors import UserError
from llmasos.training.ring import Ring, all_gather, reduce_scatter, split
from llmasos.training.zero import flatten


class FullySharded(nn.Module):
    """A module with sharded weights: this process keeps an n-th, `shard`, the unit's only own parameter.

    Units may be nested: the outer one holds the weights that are in no inner one. Inner units must be made first. All
    processes must run the same units in the same order, or they wait for each other forever.

    Args:
        module: a module with the same weights in all processes; `shard` replaces them.
        ring: this process's place in the ring.

    Raises:
        UserError: no weights are left for this unit, or some are frozen.
    """

    def __init__(self, module: nn.Module, ring: Ring):
        super().__init__()
        self.ring = ring
        inner = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, FullySharded))
        named = [(name, p) for name, p in module.named_parameters(remove_duplicate=False) if not name.startswith(inner)]
        first = {p: name for name, p in reversed(named)}  # a weight with two names, such as a tied head's, by its first
        if not first:
            raise UserError(
                f"a {type(module).__name__} has no weights that are in no unit yet, and a unit needs some; make inner "
                "units before outer ones, and none of a module without weights."
            )
        if frozen := [name for name, p in named if not p.requires_grad]:
            raise UserError(
                f"{len(frozen):,} parameters of a {type(module).__name__} are frozen ({frozen[0]}, …), and a shard is "
                "trained as a whole; unfreeze them, or train the model without sharding."
            )
        self.names = {name: first[p] for name, p in named}
        self.shapes = {name: p.shape for p, name in first.items()}
        self.shard = nn.Parameter(split(flatten(list(first)), ring.size)[ring.rank].clone())
        for name, _ in named:
            parent, _, leaf = name.rpartition(".")
            module.get_submodule(parent).register_parameter(leaf, None)
        self.module = module
        self._gathered: Tensor | None = None  # the whole weights, during the backward pass

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        flat = Gather.apply(self.shard, self)
        address = flat.untyped_storage().data_ptr()

        def pack(tensor: Tensor) -> Tensor | Callable[[], Tensor]:
            """Choose what autograd saves for the backward pass: for a weight, only its location; anything else
            unchanged.
            """
            if tensor.untyped_storage().data_ptr() != address:
                return tensor
            size, stride, offset = tensor.size(), tensor.stride(), tensor.storage_offset()
            return lambda: self.gather_again().as_strided(size, stride, offset)

        def unpack(kept: Tensor | Callable[[], Tensor]) -> Tensor:
            return kept if isinstance(kept, Tensor) else kept()

        with saved_tensors_hooks(pack, unpack):
            return functional_call(self.module, self.views(flat), args, kwargs)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The weights by name, as views of the flat vector."""
        weights, start = {}, 0
        for name, shape in self.shapes.items():
            weights[name] = flat[start : start + shape.numel()].view(shape)
            start += shape.numel()
        return {name: weights[first] for name, first in self.names.items()}

    def gather(self) -> Tensor:
        """Gather the full weights as one flat vector, from all processes."""
        return all_gather(self.shard.detach(), self.ring).view(-1)

    def gather_again(self) -> Tensor:
        """Gather in the backward pass, once for all operations: the first one that needs a weight does it."""
        if self._gathered is None:
            self._gathered = self.gather()
        return self._gathered


class Gather(torch.autograd.Function):
    """shard (k,) → flat (n·k,), the weights of all processes; backward, the mean gradient of this process's shard.

    Its backward runs last in its unit, when the gradients of all weights are known.
    """

    @staticmethod
    def forward(ctx: Any, shard: Tensor, unit: FullySharded) -> Tensor:
        ctx.unit = unit
        return unit.gather()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        unit = ctx.unit
        unit._gathered = None
        n = unit.ring.size
        return reduce_scatter(gradient.reshape(n, -1), unit.ring) / n, None


def fully_shard(model: nn.Module, ring: Ring) -> FullySharded:
    """Make a unit of each block in the model's lists of blocks (`nn.ModuleList`), and one of everything else.

    A list within a block does not become units: which experts of a mixture run can differ between processes.
    """
    names: tuple[str, ...] = ()  # of the outermost lists; a module comes before what is in it
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.ModuleList) and not name.startswith(names):
            names += (f"{name}.",)
            for index, block in enumerate(part):
                if any(True for _ in block.parameters()):
                    part[index] = FullySharded(block, ring)
    return FullySharded(model, ring)


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """All weights of a model with sharded units, by their names in the model without them, in every process."""
    weights: dict[str, Tensor] = {}
    for path, unit in model.named_modules():
        if isinstance(unit, FullySharded):
            prefix = ".".join(part for part in path.split(".") if part != "module")
            for name, weight in unit.views(unit.gather()).items():
                weights[f"{prefix}.{name}".lstrip(".").replace(".module.", ".")] = weight
    return weights


def sharded_bytes(n_weights: int, n: int, bytes_per_weight: int = 16) -> float:
    """What each of n processes keeps: by default 16 bytes for each weight (itself, gradient, two moments), over n."""
    return bytes_per_weight * n_weights / n
