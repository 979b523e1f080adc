"""Memory checks: estimate whether something fits before it is allocated, and say so if it does not.

A machine that runs out of memory swaps for an hour, or the system kills the process without a message. To avoid both, a
lower bound of the required memory is computed from the sizes alone. Even if this check passes, memory may run out later
(activations, other programs); then the allocator's error is explained in a sentence, too
(`errors.explain_out_of_memory`).
"""

import os
from contextlib import suppress
from pathlib import Path

import torch

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig
from llmasos.models.flops import n_parameters_of, n_position_values

BYTES = 4  # of a float32


def memory_limit(device: torch.device | str = "cpu") -> float:
    """The most bytes that this process can allocate: limited by the GPU, or by the machine, its container and `ulimit
    -v`.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    limits = [float("inf")]
    with suppress(AttributeError, ValueError, OSError):  # Windows does not have it
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no container, or "max"
            limits.append(int(Path(file).read_text()))
    with suppress(ImportError):  # Windows
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [] if soft == resource.RLIM_INFINITY else [soft]
    return min(limits)


def check_fits(what: str, n_bytes: float, advice: str, device: torch.device | str = "cpu") -> None:
    """Raise UserError if something needs more memory than the device has.

    Args:
        what: the thing that needs the memory, as the subject of the sentence.
        n_bytes: a lower bound.
        advice: the advice for the user.
        device: where it is allocated.
    """
    limit = memory_limit(device)
    if n_bytes > limit:
        raise UserError(
            f"{what} needs at least {gibibytes(n_bytes)} of memory, and this machine's {torch.device(device).type} has "
            f"{gibibytes(limit)}: {advice}."
        )


def check_model_fits(config: ModelConfig, n_stored: int | None = None) -> None:
    """Raise UserError if a model does not fit in this machine's memory, or does not match its file of weights.

    Args:
        config: the model's config.
        n_stored: the number of values in the file of its weights, which need no memory of their own (they are
            memory-mapped); None = the model is new.
    """
    n_values, n_table = n_parameters_of(config), n_position_values(config)
    sizes = ", ".join(
        f"{name} {getattr(config, name):,}"
        for name in ("n_layers", "d_model", "d_ff", "n_experts", "vocab_size", "context_length")
        if name != "n_experts" or config.n_experts > 1
    )
    if n_stored is None:
        check_fits(f"a model with {sizes}", BYTES * (n_values + n_table), "choose smaller sizes")
        return
    check_fits(f"the table of positions of a model with {sizes}", BYTES * n_table, "choose a smaller context_length")
    if n_values > 2 * n_stored:  # a head or two may be missing from the file, but not most of the model
        raise UserError(
            f"a model with {sizes} has {n_values:,} weights, and its file holds {n_stored:,}: the config does not "
            "belong to these weights, or is damaged; fetch the folder again."
        )


def gibibytes(n_bytes: float) -> str:
    """Format a number of bytes in GiB.

    >>> gibibytes(23.5 * 2**30), gibibytes(2e24)
    ('23.5 GiB', '1,862,645,149,230,957.0 GiB')
    """
    return f"{n_bytes / 2**30:,.1f} GiB"
