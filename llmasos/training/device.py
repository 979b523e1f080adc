"""The device of the training loop: which one, which number format, and how fast it multiplies matrices."""

import time
from contextlib import nullcontext
from functools import cache

import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.nn.cpu import linear
from llmasos.training.recipe import PRECISIONS

DTYPES = dict(zip(PRECISIONS, (torch.float32, torch.bfloat16, torch.float16), strict=True))


def pick_device(name: str | torch.device = "auto", local_rank: int = 0) -> torch.device:
    """Return the device called `name`; "auto" is the first available of cuda, mps, cpu.

    Args:
        name: "auto", "cpu", "mps", "cuda" or, with a number, "cuda:1"; or a `torch.device`.
        local_rank: the index of the GPU if `name` has none.

    Raises:
        UserError: this machine does not have the device.
    """
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    available = [kind for kind, n in count.items() if n]
    kind, colon, number = str(name).partition(":")
    if kind == "auto" and not colon:
        kind = available[0]
    index = local_rank if kind == "cuda" and not colon else int(number) if number.isdecimal() else 0
    if kind not in available or index >= count[kind] or (colon and not number.isdecimal()):
        names = ", ".join(f"{kind} (number 0 to {count[kind] - 1})" if count[kind] > 1 else kind for kind in available)
        raise UserError(f"device {str(name)!r} is not available here; this machine has: {names}. Leave it at auto.")
    if colon and local_rank:
        raise UserError(f"device {str(name)!r} is a single one, and there are several processes; write {kind}.")
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


def pick_precision(name: str, device: torch.device) -> str:
    """Choose the number format for matrix products: "auto" is bf16 on hardware made for it, and fp32 elsewhere.

    Such hardware multiplies bf16 about twice as fast or faster: NVIDIA GPUs since Ampere, CPUs with AVX512-BF16 or AMX.

    Raises:
        UserError: fp16 on a CPU, where it is slow and saves nothing.
    """
    if name == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        has = torch.cpu.get_capabilities() if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
        return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 needs a GPU; on a CPU choose fp32 or bf16.")
    return name


def autocast(device: torch.device, precision: str):
    """A context in which a forward pass computes its matrix products in `precision`. Weights stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def compile_model(model: nn.Module, say=print) -> None:
    """Compile the model in place with torch.compile, or report in one line why it cannot be compiled.

    Compilation happens at the first batch and takes about a minute. It needs a C++ compiler (CPU) or Triton (GPU), and
    is tried here on one addition, so that training does not fail later.
    """
    device = next(model.parameters()).device
    try:
        torch.compile(lambda x: x + 1.0)(torch.ones(2, device=device))
    except Exception as error:  # whatever the compiler toolchain raises, training works without it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        say(f"torch.compile does not work here ({reason}); training continues without it.")
        torch.compiler.reset()
        return
    model.compile()


@cache
def known_matmul_peak(device: torch.device, precision: str) -> float:
    """`matmul_peak`, measured once in a process."""
    return matmul_peak(device, precision)


def matmul_peak(device: torch.device, precision: str = "fp32", size: int = 1024, seconds: float = 0.3) -> float:
    """The highest rate, in FLOP/s, at which this machine multiplies two (size, size) matrices.

    "Model FLOPs utilization" (MFU) is a training step's rate divided by this one. The peak is measured because laptops
    have no data sheet that states it, and because it is fairer than the data sheets of GPUs.
    """
    if device.type == "cuda":
        size = 8192
    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device, DTYPES[precision])
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        synchronize(device)
        start = time.perf_counter()
        linear(a, a)  # a aᵀ, by the fastest kernel, as the models compute it
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def seed_generators(seed: int, device: torch.device) -> None:
    """Set the random generators of the CPU and of a device.

    The random numbers are the same as after `torch.manual_seed`, which also looks for every type of accelerator: that
    takes a millisecond, as long as a step of a small model.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all its work (a CPU always has)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
