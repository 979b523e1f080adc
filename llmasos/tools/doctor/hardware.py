"""Checks of hardware: what devices there are, whether they compute correctly, and whether the machine is idle."""

import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from llmasos.models import preset
from llmasos.nn.attention import fused_attention, naive_attention
from llmasos.parallel import usable_cores
from llmasos.tools.doctor.check import OK, PROBLEM, WARNING, Check, reason
from llmasos.tools.training_step import make_step
from llmasos.training.device import matmul_peak, pick_precision
from llmasos.training.recipe import PRECISIONS

BUSY = 0.25  # load per core caused by other programs above which timings are not reliable
GIB = 2.0**30


def machine() -> Iterator[Check]:
    """The processor and torch's threads, the load, and the GPUs."""
    cores, n_threads, limit = usable_cores(), torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    yield Check("cpu", OK, f"{cpu_name()}, {cores} usable cores{memory()}")
    if n_threads > cores:
        value = f"torch uses {n_threads} threads on {cores} cores, so the threads compete for them"
        yield Check("threads", WARNING, value, f"export OMP_NUM_THREADS={max(1, int(cores))}")
    elif limit and n_threads < cores:
        value = f"torch uses {n_threads} of {cores} cores, because OMP_NUM_THREADS is {limit}"
        yield Check("threads", WARNING, value, "unset OMP_NUM_THREADS to use all cores")
    else:
        yield Check("threads", OK, f"torch uses {n_threads}")
    policy = os.environ.get("OMP_WAIT_POLICY", "not set")
    if policy.upper() == "PASSIVE":
        yield Check("OMP_WAIT_POLICY", OK, "PASSIVE: waiting threads free their core")
    else:
        value = f"{policy}: waiting threads spin, which is up to 20 times slower once another program needs a core"
        yield Check("OMP_WAIT_POLICY", WARNING, value, "export OMP_WAIT_POLICY=PASSIVE")
    yield load()
    yield from gpus()


def load() -> Check:
    """Check whether other programs keep the cores busy."""
    if not hasattr(os, "getloadavg"):
        return Check("load", OK, "unknown on this system; close other programs before you measure")
    average, cores = os.getloadavg()[0], usable_cores()
    if average > BUSY * cores:
        value = f"{average:.1f} of {cores} cores busy over the last minute: timings will be too high, and will vary"
        return Check("load", WARNING, value, "close other programs, or wait a minute, before you measure")
    return Check("load", OK, f"{average:.1f} of {cores} cores busy over the last minute: idle enough to measure")


def gpus() -> Iterator[Check]:
    """The GPUs, or why there is none."""
    for number in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_properties(number).name
        free, total = torch.cuda.mem_get_info(number)
        yield Check(f"cuda:{number}", OK, f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB of memory free")
    if torch.backends.mps.is_available():
        yield Check("mps", OK, "Apple's GPU, which shares the machine's memory")
    elif not torch.cuda.is_available():
        if not shutil.which("nvidia-smi"):
            yield Check("gpu", OK, "none; everything works on the CPU, and the small recipes are made for it")
        elif torch.version.cuda is None:
            advice = "install the CUDA build of torch (see pytorch.org)"
            yield Check("gpu", WARNING, "there is an NVIDIA driver, but this torch is built without CUDA", advice)
        else:
            advice = f"check that nvidia-smi lists the GPU and the driver supports CUDA {torch.version.cuda}"
            yield Check("gpu", WARNING, "there is an NVIDIA driver, but torch cannot use it", advice)


def computing(device: torch.device) -> Iterator[Check]:
    """The number formats a device multiplies in, and their speed; whether its fused attention is correct."""
    for precision in PRECISIONS:
        severity = PROBLEM if precision == "fp32" else WARNING
        yield attempt(f"{precision} on {device.type}", device, partial(peak_of, device, precision), severity)
    yield attempt("fused attention", device, partial(compare_attention, device))


def attempt(name: str, device: torch.device, check: Callable[[], str], severity: str = PROBLEM) -> Check:
    """Run a check that returns its result in words; an exception becomes a PROBLEM or a WARNING."""
    try:
        return Check(name, OK, check())
    except Exception as error:  # whatever torch raises: better found here than in the middle of a run
        advice = "choose another --device" if device.type != "cpu" else "reinstall torch, or try another version of it"
        return Check(name, severity, f"fails on {device.type}: {reason(error)}", advice if severity == PROBLEM else "")


def peak_of(device: torch.device, precision: str) -> str:
    """How fast a device multiplies matrices in a number format."""
    pick_precision(precision, device)  # raises for a combination that makes no sense
    return f"{matmul_peak(device, precision, seconds=0.1) / 1e9:,.0f} GFLOP/s peak (multiplying two square matrices)"


def compare_attention(device: torch.device) -> str:
    """Check that torch's fused attention equals the explicit formula, forward and backward."""
    results = []
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 2, 16, 8, generator=generator) for _ in range(3)]  # q, k, v (B, H, T, D)
    for attention in (naive_attention, fused_attention):
        q, k, v = (x.to(device).requires_grad_() for x in inputs)
        out, _ = attention(q, k, v, causal=True)
        out.square().sum().backward()
        results.append([out, q.grad, k.grad, v.grad])
    difference = max((a - b).abs().max().item() for a, b in zip(*results, strict=True))
    if not difference < 1e-3:
        raise ArithmeticError(f"it differs from the formula by {difference:.1e}")
    return f"equals the formula on {device.type} (within {difference:.0e})"


def training_step(device: torch.device) -> str:
    """Take one training step with the default model."""
    loss = make_step(preset("modern-laptop", vocab_size=1024), batch_size=2, device=device)()
    if not math.isfinite(loss):
        raise ArithmeticError(f"the loss is {loss}")
    return f"one step of the default model works on {device}"


def memory() -> str:
    """The machine's memory, in words, where the system reports it."""
    try:
        return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.1f} GiB of memory"
    except (AttributeError, ValueError, OSError):
        return ""


def cpu_name() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
