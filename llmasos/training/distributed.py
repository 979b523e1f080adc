"""Distributed data-parallel training: several processes, each with a copy of the model and a part of every batch.

`torchrun --nproc-per-node N train.py …` starts N processes, which learn their ranks from environment variables. Each
computes the gradient of its rows of the global batch; the model (not the objective) is wrapped in
DistributedDataParallel, whose backward pass averages the gradients, so all copies take the same step. Without torchrun
there is one process, and every function here does nothing.

**When a process fails**, it reports why, whatever its rank: a file may be missing on one machine only. If all of them
fail for the same reason, it is reported once (`is_first_report`). The other processes lose their connection, and end
without a message of their own unless no process has left one (`lost_connection`): a process that was killed cannot.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from llmasos.console import command
from llmasos.errors import UserError, shown

TIMEOUT = timedelta(minutes=10)  # without a response of the other processes
DISCONNECTED = ("Connection closed", "Connection reset", "Broken pipe", "Timed out waiting", "Socket closed")  # of gloo
REPORTS = "llmasos/reports"  # the number of error messages, in the processes' shared key-value store


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
        if self.size > 1:
            dist.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with a backward pass that averages gradients over all processes."""
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        devices = [device.index] if device.type == "cuda" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # new versions of torch rename the last argument
            return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)  # buffers never change


def init_distributed(device_type: str) -> DistributedContext:
    """Connect to the other processes that torchrun has started; a single process needs no connection.

    Raises:
        UserError: torchrun's variables are incomplete or contradict each other, the processes cannot connect,
            there are fewer GPUs than processes, or the device does not support several processes.
    """
    size = read_variable("WORLD_SIZE", at_least=1, at_most=2**20, default=1)
    if size == 1:
        return DistributedContext()
    rank = read_variable("RANK", at_least=0, at_most=size - 1)
    context = DistributedContext(rank, size, read_variable("LOCAL_RANK", at_least=0, at_most=rank))
    read_variable("MASTER_PORT", at_least=1, at_most=2**16 - 1)
    if not os.environ.get("MASTER_ADDR"):
        raise UserError(f"WORLD_SIZE is {size}, but MASTER_ADDR is not set; {use_torchrun()}.")
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
    try:
        store, _, _ = next(iter(dist.rendezvous("env://", timeout=TIMEOUT)))
        # torchrun keeps its key-value store when it restarts the processes, with addresses where nothing listens any
        # more.
        attempt = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if device_type == "cuda" else "gloo"
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {rank} of {size} did not find the others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({str(error).splitlines()[0][:200]}); {use_torchrun()}."
        ) from error
    return context


def read_variable(name: str, at_least: int, at_most: int, default: int | None = None) -> int:
    """A whole number from the environment. Raises UserError if it is missing, not a number, or out of range."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text:
        raise UserError(f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, but {name} is not set; {use_torchrun()}.")
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or not at_least <= int(text) <= at_most:
        raise UserError(
            f"the environment variable {name} is {shown(text)}; it must be a whole number from {at_least} to "
            f"{at_most}: {use_torchrun()}."
        )
    return int(text)


def use_torchrun() -> str:
    """Advice for an environment that torchrun has not set up."""
    train = command("train").removeprefix("python ")
    return f"start several processes with `torchrun --nproc-per-node N {train} …`, or unset WORLD_SIZE"


def is_first_report(message: str) -> bool:
    """Whether no other process of this launch has reported this message. True where there is no store to ask."""
    store = launch_store()
    if store is None:
        return True
    try:
        store.add(f"{REPORTS}/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", 1)
        return store.add(f"{REPORTS}/{hashlib.sha256(message.encode()).hexdigest()}", 1) == 1
    except RuntimeError:
        return True


def rank_in_words() -> str:
    """Describe which process this is, for a message; "" if it is the only one or the main one."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "" if rank == "0" or size == "1" else f" (in process {rank} of {size})"


@contextmanager
def lost_connection(run: Path, context: DistributedContext) -> Iterator[None]:
    """Report a connection that is lost in this block, unless the process that failed has said why.

    Raises:
        UserError: the other process was killed, or has crashed.
        SystemExit: the other process has reported its error.
    """
    try:
        yield
    except RuntimeError as error:
        if context.size == 1 or not (isinstance(error, dist.DistError) or any(w in str(error) for w in DISCONNECTED)):
            raise
        store = launch_store()
        with suppress(RuntimeError):  # the store was hosted by the process that failed
            if store is not None and store.check([f"{REPORTS}/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}"]):
                raise SystemExit(1) from None
        raise UserError(
            f"another of the {context.size} processes has ended early: it was killed, or its error is printed above. "
            f"The checkpoints in {run} are intact; continue with --resume --out {run}."
        ) from error


def launch_store() -> dist.TCPStore | None:
    """The key-value store that the processes of this launch share, if it can be reached."""
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False)
    except (KeyError, ValueError, TypeError, RuntimeError):  # not set, or not an address
        return None


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
