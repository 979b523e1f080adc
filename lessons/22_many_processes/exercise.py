"""Exercises of lesson 22: many processes.

    python -m lessons check 22                     # what is right, what is wrong, and why
    python -m lessons check 22 --only shard_bounds
    python -m lessons hint 22 shard_bounds         # one more hint each time
    python -m lessons run 22 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. Nothing here starts a process: a list with one entry for
each process stands for them, in the order of their ranks. torch's elementary operations are all you need; the library
itself and `torch.distributed` are not allowed. Import what you need at the top. Do not modify the inputs. Unless stated
otherwise, results have the dtype of the first tensor.

Letters: n processes, r the rank of one, from 0 to n - 1; N parameters; K numbers in a chunk.
"""

from torch import Tensor


def shard_bounds(total: int, n: int) -> list[tuple[int, int]]:
    """1 (easy). Cut `total` numbers into n contiguous shards that are as equal as possible.

    Args:
        total: how many numbers there are, 0 or more.
        n: the number of processes, 1 or more; it may be larger than total.

    Returns:
        for each rank (start, end), where its shard begins and where it ends: the first number and the one after the
        last. Rank 0 begins at 0, each next shard begins where the last one ends, and the last one ends at total. The
        sizes differ by at most 1, and the larger shards come first. A shard may be empty; then start = end.

    Example: 10 numbers on 4 processes: [(0, 3), (3, 6), (6, 8), (8, 10)].
    """
    raise NotImplementedError


def mean_gradient(gradients: list[Tensor], n_targets: list[int]) -> Tensor:
    """2 (medium). The gradient of the mean loss over all targets of all processes.

    Args:
        gradients: for each process, the gradient (N,) of the mean loss over its own targets. On a process without
            targets the mean is 0/0, so its gradient may be NaN; such a process does not count.
        n_targets: for each process, the number of its targets, 0 or more.

    Returns:
        (N,): the gradient that one process would have computed, if it had all targets; zeros if there are no targets
        at all.

    Example: the gradients [1.0] and [4.0] with 2 and 1 targets give [2.0].
    """
    raise NotImplementedError


def reduce_scatter_step(held: list[Tensor], step: int) -> list[Tensor]:
    """3 (medium). One step of the first half of a ring all-reduce.

    In step s = 0, 1, …, n - 2, process r sends its chunk number (r - 1 - s) modulo n to process r + 1 (the last one
    sends to process 0), which adds it to its own chunk of the same number. All processes send at the same time, what
    they held before the step.

    Args:
        held: for each process (n, K), the n chunks that it holds now; n is at least 2.
        step: s.

    Returns:
        for each process (n, K), what it holds after the step, as new tensors.

    Example with n = 2 and K = 1: the processes hold [[1], [2]] and [[10], [20]]. In step 0, process 0 sends its chunk 1
    (the number 2), and process 1 its chunk 0 (the number 10). After that they hold [[11], [2]] and [[10], [22]]:
    process r has the sum of chunk r.
    """
    raise NotImplementedError


def bytes_per_process(stage: str, n_parameters: int, n: int) -> tuple[float, float]:
    """4 (easy). What one of n processes keeps between two steps, and what it sends in a step.

    Training is in 16 bits with AdamW: for each parameter 2 bytes for the weight, 2 for its gradient, and 12 for the
    optimizer (a 32-bit copy of the weight and two moments). Gradients and weights are sent in 16 bits by rings: a
    reduce-scatter or an all-gather of S bytes makes each process send (n - 1)/n · S; an all-reduce is a reduce-scatter
    and then an all-gather.

    Args:
        stage: "ddp": everything is kept by every process, and gradients are all-reduced.
            "zero1": the optimizer's 12 bytes are sharded; gradients are reduce-scattered, weights all-gathered.
            "zero2": so are the gradients; the traffic is the same.
            "zero3": so are the weights; they are all-gathered twice, for the forward and the backward pass, and the
            gradients are reduce-scattered.
        n_parameters: N, of the whole model.
        n: the number of processes, 1 or more.

    Returns:
        (bytes kept, bytes sent), for the whole model. Shards are taken as exactly N / n, even if that is not a whole
        number.

    Example: 1,000 parameters, "zero1", 4 processes: 7,000 bytes kept and 3,000 sent.
    """
    raise NotImplementedError


def zero1_step(
    weights: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], lr: float, beta: float
) -> tuple[list[Tensor], list[Tensor]]:
    """5 (hard). One step of SGD with momentum, whose state is sharded over n processes (ZeRO, stage 1).

    With the gradient g of the mean loss over the whole batch, the rule for each parameter is

        momentum ← beta · momentum + g         weight ← weight - lr · momentum

    Process r keeps the momentum of the r-th shard only, updates the weights of this shard, and gets the others from the
    other processes.

    Args:
        weights: for each process (N,), its copy of all weights. All copies are equal.
        gradients: for each process (N,), the gradient of the mean loss over its own part of the batch. All parts are
            equally large.
        momenta: for each process (N/n,), the momentum of its shard: process r has the numbers r·N/n to (r + 1)·N/n - 1.
        lr, beta: the learning rate, and the decay rate of the momentum.

    Returns:
        the new weights, for each process (N,), all equal, and the new momenta, for each process (N/n,). n is at least 1
        and divides N. All are new tensors, and each process has its own.

    Example: two processes, weights [1, 1] on both, gradients [1, 2] and [3, 4], momenta [0] and [10], lr 0.1, beta 0.5.
    The mean gradient is [2, 3]. The new momenta are [2] and [8], and the new weights [0.8, 0.2] on both.
    """
    raise NotImplementedError


def means_that_mislead() -> list[list[float]]:
    """6 (break it, and explain). Find a batch on which the mean of means has the wrong sign.

    A change to a model was tried on a batch. Each number is by how much the loss of one token has risen (above 0 is
    worse). Each process reports the mean over its own tokens, and a program averages these means and says whether the
    change was good.

    Find numbers for at least two processes for which the mean of the processes' means is at most -0.5 (the change looks
    good), though the mean over all tokens is at least 0.5 (it is bad). Every number is from -5 to 5, and every process
    has at least one token and at most twenty.

    Returns:
        for each process, a list of its numbers.

    Then explain in WHY_MEANS below (at least 50 words) when the mean of means is right, why training on several
    processes with texts of different lengths gets it wrong, and what the processes must exchange to get it right.
    """
    raise NotImplementedError


WHY_MEANS = """
"""


# 7 (open). Change one thing about the lesson's experiments: the number of processes that die, the step of the failure,
# a fifth slip, stage 2 of ZeRO in real processes, a sampler that depends on the number of processes, a slow process, a
# larger batch with a larger rate. Change it in a copy of lesson.py. Predict first. Write down what you changed, what
# you predicted and why, what came out, and what you make of it (at least 60 words).
EXPERIMENT = """
"""
