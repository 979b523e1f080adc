"""What can this machine compute with, how fast, and is it quiet enough to measure?"""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from llmasos.errors import UserError
from llmasos.nn.attention import explicit_attention, fused_attention
from llmasos.tools.doctor.check import NOTE, OK, PROBLEM, Finding
from llmasos.training.device import PRECISIONS, matmul_peak, pick_precision

BUSY = 0.25  # other programs' load per core from which on timings are not to be trusted
GIB = 2.0**30


def processor() -> Iterator[Finding]:
    """The cores, the threads that torch uses, how they wait, and who else is there."""
    cores, threads, limit = usable_cores(), torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    total = f", {memory() / GIB:.1f} GiB of memory" if memory() else ""
    yield Finding("cpu", OK, f"{cpu_name()}, {cores} cores to use{total}")

    if threads > cores:
        yield Finding(
            "threads",
            NOTE,
            f"torch uses {threads} threads on {cores} cores: they get in each other's way",
            f"export OMP_NUM_THREADS={max(1, int(cores))}",
        )
    elif limit and threads < cores:
        yield Finding(
            "threads",
            NOTE,
            f"torch uses {threads} of {cores} cores, because OMP_NUM_THREADS is {limit}",
            "unset OMP_NUM_THREADS to use them all",
        )
    else:
        yield Finding("threads", OK, f"torch uses {threads}")

    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    if policy.upper() == "PASSIVE":
        yield Finding("OMP_WAIT_POLICY", OK, "PASSIVE: threads that wait leave their core to others")
    else:
        yield Finding(
            "OMP_WAIT_POLICY",
            NOTE,
            f"{policy}: threads wait in a busy loop, which is up to 20 times slower "
            "as soon as another program wants a core",
            "export OMP_WAIT_POLICY=PASSIVE",
        )
    yield load()


def load() -> Finding:
    """Whether other programs keep the cores busy."""
    if not hasattr(os, "getloadavg"):
        return Finding("load", OK, "cannot be told on this system; close other programs before you time anything")
    average, cores = os.getloadavg()[0], usable_cores()
    if average > BUSY * cores:
        return Finding(
            "load",
            NOTE,
            f"over the last minute {average:.1f} threads wanted the {cores} cores: what is "
            "timed now comes out slower than it is, and differently every time",
            "close other programs (or wait a minute, if they were yours) before you time anything",
        )
    return Finding("load", OK, f"{average:.1f} of {cores} cores busy over the last minute: quiet enough for timing")


def devices() -> Iterator[Finding]:
    """The accelerators, or why there is none."""
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        yield Finding(f"cuda:{number}", OK, f"{about.name}, {free / GIB:.1f} of {total / GIB:.1f} GiB of memory free")
    if torch.backends.mps.is_available():
        yield Finding("mps", OK, "Apple's GPU, which shares the machine's memory")
    elif not torch.cuda.is_available():
        if shutil.which("nvidia-smi") and torch.version.cuda is None:
            yield Finding(
                "gpu",
                NOTE,
                "there is an NVIDIA driver, but this torch is built without CUDA",
                "install the build of torch for CUDA, as the installation page of pytorch.org shows",
            )
        elif shutil.which("nvidia-smi"):
            yield Finding(
                "gpu",
                NOTE,
                "there is an NVIDIA driver, but torch cannot use it",
                f"nvidia-smi must list the GPU, with a driver for CUDA {torch.version.cuda} or newer",
            )
        else:
            yield Finding("gpu", OK, "none; everything works on the CPU, and the small recipes are made for it")


def computing(device: torch.device, measure: bool) -> Iterator[Finding]:
    """The number formats that work on a device, how fast it multiplies with them, and whether attention is right."""
    for precision in PRECISIONS if measure else ():
        yield check_precision(device, precision)
    yield check_attention(device)


def check_precision(device: torch.device, precision: str) -> Finding:
    """How fast a device multiplies matrices in a number format."""
    name = f"{precision} on {device.type}"
    try:
        pick_precision(precision, device)
        rate = matmul_peak(device, precision)
    except UserError as error:
        return Finding(name, NOTE, str(error))
    except (RuntimeError, TypeError) as error:  # what torch raises for a format that the device does not know
        mark, advice = (PROBLEM, "choose another --device") if precision == "fp32" else (NOTE, "")
        return Finding(name, mark, f"does not work: {str(error).splitlines()[0]}", advice)
    return Finding(name, OK, f"{rate / 1e9:,.0f} GFLOP/s at its best (multiplying two square matrices)")


def check_attention(device: torch.device) -> Finding:
    """Whether torch's fused attention gives what the formula gives, forwards and backwards."""
    advice = "choose another --device, or another version of torch"
    generator = torch.Generator().manual_seed(0)
    try:
        results = []
        inputs = [torch.randn(2, 2, 16, 8, generator=generator) for _ in range(3)]  # q, k, v (B, H, T, D)
        for attend in (explicit_attention, fused_attention):
            q, k, v = (x.to(device).requires_grad_() for x in inputs)
            out, _ = attend(q, k, v, causal=True)
            out.square().sum().backward()
            results.append([out, q.grad, k.grad, v.grad])
        difference = max((a - b).abs().max().item() for a, b in zip(*results, strict=True))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        return Finding("fused attention", PROBLEM, f"does not work on {device.type}: {reason}", advice)
    if not difference < 1e-3:
        return Finding("fused attention", PROBLEM, f"off by {difference:.1e} from the formula on {device.type}", advice)
    return Finding("fused attention", OK, f"equals the formula on {device.type} (within {difference:.0e})")


def usable_cores() -> float:
    """How many cores this process may use: by its affinity, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else min(cores, round(int(quota) / int(period), 1))
    except (OSError, ValueError):  # no Linux, or no container
        return cores


def memory() -> int | None:
    """The machine's memory in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
