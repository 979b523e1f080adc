"""Below the training loop: matrix products, and attention as a formula and as a fused kernel."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.nn.attention import explicit_attention, fused_attention
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.training.device import PRECISIONS, matmul_peak, pick_precision

MIB = 2.0**20
SHAPES = [(12, 4, 64, 32), (8, 6, 256, 64)]  # B, H, T, D of the two models in training.py


def bench_matmul(settings: Settings) -> Iterator[Measurement | str]:
    """The machine's peak rate in each number format it supports."""
    measures = {}
    for precision in PRECISIONS:
        try:
            pick_precision(precision, settings.device)
            matmul_peak(settings.device, precision, seconds=0.0)
        except (UserError, RuntimeError, TypeError) as error:
            yield f"{precision}: {str(error).splitlines()[0]}"
        else:
            measures[precision] = partial(matmul_peak, settings.device, precision, seconds=settings.seconds(0.1))
    for precision, rates in interleave(measures, settings.repetitions(5)).items():
        yield summarize(f"matmul.{precision}", "", precision, "GFLOP/s", [rate / 1e9 for rate in rates])


def bench_attention(settings: Settings) -> Iterator[Measurement]:
    """Both attentions at two sizes."""
    for B, H, T, D in SHAPES:
        yield from compare_attention(B, H, T, D, settings)


def compare_attention(B: int, H: int, T: int, D: int, settings: Settings) -> Iterator[Measurement]:
    """Both attentions, causal, forward and backward: time, and memory saved for the backward pass."""
    # contiguous (B, T, H, D), viewed as (B, H, T, D), as the projections produce them
    q, k, v, grad = (torch.randn(B, T, H, D, device=settings.device).transpose(1, 2) for _ in range(4))
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def forward(attention: Callable) -> Tensor:
        return attention(*inputs, causal=True)[0]

    def step(attention: Callable) -> tuple[Tensor, ...]:
        return torch.autograd.grad(forward(attention), inputs, grad)

    attentions = {"explicit": explicit_attention, "fused": fused_attention}
    measures = {
        name: timed(partial(step, attention), settings.device, settings.seconds(0.05))
        for name, attention in attentions.items()
    }
    seconds = interleave(measures, settings.repetitions(15))
    key, setup = f"attention.T{T}", f"B {B}, H {H}, T {T}, D {D}"
    for name, values in seconds.items():
        yield summarize(f"{key}.{name}_ms", setup, name, "ms", [1e3 * x for x in values], best=min)
    yield ratio(f"{key}.speedup", setup, "explicit over fused", seconds["explicit"], seconds["fused"], best=min)

    saved = {name: [saved_for_backward(partial(forward, attention)) / MIB] for name, attention in attentions.items()}
    for name, values in saved.items():
        yield summarize(f"{key}.{name}_saved_mib", setup, f"{name}, saved for the backward pass", "MiB", values)
    yield ratio(f"{key}.saved", setup, "saved, explicit over fused", saved["explicit"], saved["fused"])


def saved_for_backward(forward: Callable[[], object]) -> int:
    """The bytes a forward pass keeps in memory until its backward pass, inputs included.

    They decide how large a batch fits, and torch reports them on every device.
    """
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # keeps the graph alive, so that no address is used twice
    del result
    return sum(sizes.values())
