"""Distributed data-parallel training: several processes, each with a copy of the model and a part of every batch.

`torchrun --nproc-per-node N train.py …` starts N processes, which learn their ranks from environment variables. Each
computes the gradient of its rows of the global batch; the model (not the objective) is wrapped in
DistributedDataParallel, whose backward pass averages the gradients, so all copies take the same step. Without torchrun
there is one process, and every function here does nothing.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from llmasos.errors import UserError


@dataclass(frozen=True)
class DistributedContext:
    """This process among the others: `rank` of `size` processes, `local_rank` among those of this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def shard(self, batch_size: int) -> range:
        """The rows of a global batch that this process computes."""
        if batch_size % self.size:
            raise UserError(
                f"batch_size {batch_size} cannot be split evenly among {self.size} processes; "
                f"choose a multiple of {self.size}."
            )
        n = batch_size // self.size
        return range(self.rank * n, (self.rank + 1) * n)

    def all_reduce_sum(self, values: list[float], device: torch.device) -> list[float]:
        """The element-wise sum of the values of all processes, returned in all of them."""
        if self.size == 1:
            return values
        # float64 counts exactly; MPS lacks it, but a Mac runs one process
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return total.tolist()

    def barrier(self) -> None:
        """Wait until every process has reached this point."""
        if self.size == 1:
            return
        try:
            dist.barrier()
        except RuntimeError:
            if self.is_main:
                raise
            raise SystemExit(1) from None  # the main process has stopped, and has printed why

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with a backward pass that averages gradients over all processes."""
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)  # buffers never change


def init_distributed(device_type: str) -> DistributedContext:
    """Connect to the other processes that torchrun has started; a single process needs no connection.

    Raises:
        UserError: there are fewer GPUs than processes, or the device does not support several processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return DistributedContext()
    context = DistributedContext(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    if device_type == "cuda":
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", size))
        if processes > torch.cuda.device_count():
            raise UserError(
                f"torchrun started {processes} processes on a machine with {torch.cuda.device_count()} GPUs; "
                "start as many processes as there are GPUs, or add --device cpu."
            )
        torch.cuda.set_device(context.local_rank)
    elif device_type != "cpu":
        raise UserError(f"several processes can train on cpu or cuda, not on {device_type}; add --device cpu.")
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=timedelta(minutes=10))
    return context


def shutdown_distributed() -> None:
    """Close the connections to the other processes, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def maybe_no_sync(model: nn.Module, last: bool) -> AbstractContextManager:
    """A context for one micro-batch's backward pass: DDP synchronizes gradients only after the `last` one of a step."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext()


def to_device(batch, device: torch.device) -> dict[str, Tensor]:
    """The batch on a device. From pinned memory, the copy to a GPU overlaps with its other work."""
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in batch.items()}
