"""The parts under the training loop: matrix products, and attention as a formula and as a kernel."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.nn.attention import explicit_attention, fused_attention
from llmasos.tools.bench.measurement import Figure, figure, ratio, take_turns, timed
from llmasos.tools.bench.settings import Settings
from llmasos.training.device import PRECISIONS, matmul_peak, pick_precision

MIB = 2.0**20
SHAPES = [(12, 4, 64, 32), (8, 6, 256, 64)]  # B, H, T, D of the two models in training.py


def bench_matmul(settings: Settings) -> Iterator[Figure | str]:
    """The machine's best rate in each number format that it has."""
    contestants = {}
    for precision in PRECISIONS:
        try:
            pick_precision(precision, settings.device)
            matmul_peak(settings.device, precision, seconds=0.0)
        except (UserError, RuntimeError, TypeError) as error:
            yield f"{precision}: {str(error).splitlines()[0]}"
        else:
            contestants[precision] = lambda p=precision: matmul_peak(settings.device, p, seconds=settings.seconds(0.1))
    for precision, rates in take_turns(contestants, settings.repetitions(5)).items():
        yield figure(f"matmul.{precision}", "", precision, "GFLOP/s", [rate / 1e9 for rate in rates])


def bench_attention(settings: Settings) -> Iterator[Figure]:
    """Both attentions, forward and backward, causal: time, and memory."""
    for shape in SHAPES:
        yield from compare_attention(shape, settings)


def compare_attention(shape: tuple[int, int, int, int], settings: Settings) -> Iterator[Figure]:
    """Both attentions at one (B, H, T, D)."""
    (B, H, T, D), device = shape, settings.device
    # as the projections deliver them: (B, T, H, D), seen as (B, H, T, D)
    q, k, v, g = (torch.randn(B, T, H, D, device=device).transpose(1, 2) for _ in range(4))
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def forward_and_backward(attend: Callable) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: torch.autograd.grad(attend(*inputs, causal=True)[0], inputs, g)

    runs = {"explicit": forward_and_backward(explicit_attention), "fused": forward_and_backward(fused_attention)}
    seconds = take_turns(
        {name: timed(run, device, settings.seconds(0.05)) for name, run in runs.items()}, settings.repetitions(15)
    )
    key, at = f"attention.T{T}", f"B {B}, H {H}, T {T}, D {D}"
    for name, values in seconds.items():
        yield figure(f"{key}.{name}_ms", at, name, "ms", [1e3 * x for x in values], best=min)
    yield ratio(f"{key}.speedup", at, "explicit over fused", seconds["explicit"], seconds["fused"], best=min)

    kept = {
        "explicit": kept_for_backward(lambda: explicit_attention(*inputs, causal=True)),
        "fused": kept_for_backward(lambda: fused_attention(*inputs, causal=True)),
    }
    for name, size in kept.items():
        yield figure(f"{key}.{name}_kept_mib", at, f"{name}, kept for the backward pass", "MiB", [size / MIB])
    yield ratio(f"{key}.kept", at, "the same, explicit over fused", [kept["explicit"]], [kept["fused"]])
    if device.type == "cuda":
        for name, run in runs.items():
            peak = cuda_peak(run, device) / MIB
            yield figure(f"{key}.{name}_peak_mib", at, f"{name}, peak beyond the inputs", "MiB", [peak])


def kept_for_backward(forward: Callable[[], object]) -> int:
    """The bytes that a forward pass keeps in memory until its backward pass, inputs included.

    This is what decides how large a batch fits, and torch can tell it on every device.
    """
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()  # while this lives, so does all that was kept, and no address is used twice
    del result
    return sum(sizes.values())


def cuda_peak(run: Callable[[], object], device: torch.device) -> int:
    """The most memory, in bytes, that a GPU needed at a time for a run, beyond what was in use before it."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
