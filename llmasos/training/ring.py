"""Ring all-reduce by hand: n processes sum a tensor, and each sends only to its right-hand neighbor.

In the obvious approach, every process sends its tensor to one process, which sums them and sends the result back; that
process has to move 2 (n - 1) times the tensor. In a ring all of them work at the same time (Patarasuk & Yuan 2009): the
tensor is cut into n chunks, and in each step every process passes one chunk on.

    reduce-scatter, n - 1 steps: add what comes from the left to your own chunk of that number, pass the sum on.
        Then process r has the whole sum of chunk r.
    all-gather, n - 1 steps: pass on the finished chunk that came last. Then every process has all of them.

Each process sends 2 (n - 1) / n times the tensor's bytes (`all_reduce_bytes`): less than twice, however large n is.
`zero.py` and `fully_sharded.py` use the two halves apart. torch's own is `torch.distributed.all_reduce`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from queue import Queue
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Result = TypeVar("Result")


class Ring(ABC):
    """This process's place in a ring of n = `size` processes, and the bytes it has sent."""

    def __init__(self, rank: int, size: int):
        self.rank, self.size, self.bytes_sent = rank, size, 0

    def exchange(self, outgoing: Tensor) -> Tensor:
        """Send a tensor to process rank + 1, and return the one of equal shape and type that rank - 1 has sent."""
        self.bytes_sent += outgoing.numel() * outgoing.element_size()
        return self._exchange(outgoing)

    @abstractmethod
    def _exchange(self, outgoing: Tensor) -> Tensor: ...


class ProcessRing(Ring):
    """The processes that torchrun has started; `init_distributed` has connected them."""

    def __init__(self) -> None:
        super().__init__(dist.get_rank(), dist.get_world_size())

    def _exchange(self, outgoing: Tensor) -> Tensor:
        incoming = torch.empty_like(outgoing)
        if self.size == 1:
            return incoming.copy_(outgoing)
        transfers = [
            dist.P2POp(dist.isend, outgoing, (self.rank + 1) % self.size),
            dist.P2POp(dist.irecv, incoming, (self.rank - 1) % self.size),
        ]
        for transfer in dist.batch_isend_irecv(transfers):  # as one: NCCL may block in a send until the peer receives
            transfer.wait()
        return incoming


class ThreadRing(Ring):
    """A ring of threads in one process, for experiments: see `in_threads`."""

    def __init__(self, rank: int, queues: list[Queue]):
        super().__init__(rank, len(queues))
        self._queues = queues  # queue r holds messages on their way to r

    def _exchange(self, outgoing: Tensor) -> Tensor:
        self._queues[(self.rank + 1) % self.size].put(outgoing.clone())
        incoming = self._queues[self.rank].get()
        if incoming is None:
            raise RuntimeError(f"thread {(self.rank - 1) % self.size} has ended, and thread {self.rank} waits for it.")
        return incoming

    def close(self) -> None:
        """Signal to the right-hand neighbor that there will be no more messages."""
        self._queues[(self.rank + 1) % self.size].put(None)


def in_threads(size: int, work: Callable[[Ring], Result]) -> list[Result]:
    """Call `work` in n threads, each with its place in a ring, and return what they return, by rank.

    >>> in_threads(3, lambda ring: all_reduce(torch.tensor([1.0 + ring.rank]), ring).item())
    [6.0, 6.0, 6.0]

    An error in one thread ends all of them, each as soon as it waits for a neighbor that has ended; it is then raised.
    """
    queues: list[Queue] = [Queue() for _ in range(size)]
    errors: list[BaseException] = []  # the first one is the cause of the others

    def work_in(ring: ThreadRing) -> Result:
        try:
            return work(ring)
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            ring.close()

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(work_in, ThreadRing(rank, queues)) for rank in range(size)]
        wait(futures)
    if errors:
        raise errors[0]
    return [future.result() for future in futures]


def reduce_scatter(chunks: Tensor, ring: Ring) -> Tensor:
    """The sum over all processes of chunk number `ring.rank`.

    Args:
        chunks: (n, k), this process's summands; not modified.
        ring: this process's place.

    Returns:
        (k,). Chunk c is added up in the order c + 1, c + 2, …, c, whichever process is fast or slow.
    """
    n, rank = ring.size, ring.rank
    chunk = chunks[(rank - 1) % n]
    for step in range(n - 1):
        chunk = ring.exchange(chunk) + chunks[(rank - step - 2) % n]
    return chunk.clone() if n == 1 else chunk


def all_gather(chunk: Tensor, ring: Ring) -> Tensor:
    """The chunks (k,) of all processes, in the order of their ranks: (n, k)."""
    chunks = chunk.new_empty(ring.size, *chunk.shape)
    chunks[ring.rank] = chunk
    for step in range(ring.size - 1):
        chunks[(ring.rank - step - 1) % ring.size] = ring.exchange(chunks[(ring.rank - step) % ring.size])
    return chunks


def all_reduce(tensor: Tensor, ring: Ring) -> Tensor:
    """The sum of a tensor over all processes; every process gets the same bits. Any shape; not modified."""
    return join(all_gather(reduce_scatter(split(tensor, ring.size), ring), ring), tensor)


def split(tensor: Tensor, n: int) -> Tensor:
    """The numbers of a tensor in n equal chunks (n, k), padded with zeros.

    >>> split(torch.tensor([[1, 2, 3], [4, 5, 6]]), 4)
    tensor([[1, 2],
            [3, 4],
            [5, 6],
            [0, 0]])
    """
    k = -(-tensor.numel() // n)  # rounded up
    flat = tensor.new_zeros(n * k)
    flat[: tensor.numel()] = tensor.reshape(-1)
    return flat.view(n, k)


def join(chunks: Tensor, like: Tensor) -> Tensor:
    """The inverse of `split`: chunks (n, k) in the shape of `like`."""
    return chunks.reshape(-1)[: like.numel()].view(like.shape)


def all_reduce_bytes(n_bytes: int, n: int) -> float:
    """The bytes each of n processes sends to sum a tensor of `n_bytes` bytes: 2 (n - 1) / n times as many."""
    return 2 * (n - 1) / n * n_bytes
