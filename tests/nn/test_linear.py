"""The fast paths of a CPU equal torch's results, whatever the sizes, and are taken only where they may."""

import math
from functools import partial

import pytest
import torch
from generation_helpers import lively_transformer
from model_helpers import random_gpt, random_ids, randomize
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from llmasos.models import BERT, preset
from llmasos.nn import cpu
from llmasos.nn.cpu import FEW_NUMBERS, gelu, rms_norm

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-12, torch.bfloat16: 2e-2}
needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN, so its products are not used"
)


@pytest.fixture
def slow_mkl(monkeypatch):
    """Pretend that MKL is slow on this processor, and that no product is too small for another kernel.

    Returns a list of the kernels that are called.
    """
    calls = []
    monkeypatch.setattr(cpu, "SLOW_VECTOR_KERNEL", True)
    monkeypatch.setattr(cpu, "SLOW_MKL", True)
    for name in ("SMALL_MATRIX", "SMALL_PRODUCT", "SMALL_TRAINED_PRODUCT"):
        monkeypatch.setattr(cpu, name, 1)
    for name in ("matvec", "onednn"):
        monkeypatch.setattr(cpu, name, partial(record, calls, name, getattr(cpu, name)))
    return calls


def record(calls, name, function, *args):
    calls.append(name)
    return function(*args)


def layer(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(n_in, n_out, bias)


SHAPES = [(5,), (1, 5), (1, 1, 5), (2, 1, 5), (1, 3, 5), (2, 4, 5), (0, 5)]


@needs_onednn
@pytest.mark.parametrize("n_out", [1, 6, 7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_computes_what_torchs_does(shape, bias, n_out, slow_mkl):
    linear, x = layer(5, n_out, bias), torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(cpu.linear(x, linear.weight, linear.bias), linear(x))
        transposed = linear.weight.t().contiguous().t()  # as GPT-2's published weights lie in memory
        torch.testing.assert_close(cpu.linear(x, transposed), F.linear(x, transposed))
    kernel = "matvec" if x.numel() == 5 and n_out == 6 else "onednn"
    assert slow_mkl == ([kernel] * 2 if x.numel() else [])


@needs_onednn
@pytest.mark.parametrize("trained", ["all", "input", "weight", "bias"])
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5), (4, 4)])
@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (0,)])
def test_its_gradients_are_torchs(shape, sizes, trained, slow_mkl):
    linear, x = layer(*sizes), torch.randn(*shape, sizes[0])
    tensors = {"input": x, "weight": linear.weight, "bias": linear.bias}
    for name, tensor in tensors.items():
        tensor.requires_grad_(trained in ("all", name))
    wanted = [tensor for tensor in tensors.values() if tensor.requires_grad]
    y, expected = cpu.linear(x, linear.weight, linear.bias), linear(x)
    torch.testing.assert_close(y, expected)
    for weights in (torch.randn_like(y), torch.tensor(1.0).expand_as(y)):  # as from sum(): one number, repeated
        grads = torch.autograd.grad(y, wanted, weights, retain_graph=True)
        for grad, other in zip(grads, torch.autograd.grad(expected, wanted, weights, retain_graph=True), strict=True):
            torch.testing.assert_close(grad, other)
    assert ("onednn" in slow_mkl) == (x.numel() > 0)


@needs_onednn
def test_a_gradient_of_a_gradient_is_torchs(slow_mkl):
    def penalty(function) -> list[torch.Tensor]:
        torch.manual_seed(0)
        x, weight, bias = (torch.randn(size, requires_grad=True) for size in ((6, 4), (3, 4), (3,)))
        (grad,) = torch.autograd.grad(function(x, weight, bias).pow(3).sum(), x, create_graph=True)
        return list(torch.autograd.grad(grad.square().sum(), (x, weight, bias)))

    for ours, torchs in zip(penalty(cpu.linear), penalty(F.linear), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize("small", ["SMALL_PRODUCT", "SMALL_TRAINED_PRODUCT"])
def test_small_products_are_left_to_torch(small, slow_mkl, monkeypatch):
    monkeypatch.setattr(cpu, small, 2 * 5 * 6 + 1)
    linear = layer(5, 6)
    with torch.set_grad_enabled(small == "SMALL_TRAINED_PRODUCT"):
        cpu.apply_linear(linear, torch.randn(2, 5))
        assert slow_mkl == []
        cpu.apply_linear(linear, torch.randn(3, 5))
    assert slow_mkl == ["onednn"]


def test_other_types_and_whatever_watches_the_operations_get_torchs(slow_mkl):
    linear, x = layer(5, 6), torch.randn(3, 5)
    with cpu.FastProducts():
        linear.double()(x.double())
        linear.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert linear(x).dtype == torch.bfloat16
        torch.func.vmap(torch.func.grad(lambda row: linear(row).sum()))(x)
        torch.func.jvp(linear, (x,), (x,))
        with FlopCounterMode(display=False) as counter:
            linear(x)
        nn.Linear(5, 6, device="meta")(x.to("meta"))
    assert counter.get_total_flops() == 2 * x.numel() * 6
    assert slow_mkl == []


@needs_onednn
def test_hooks_are_called(slow_mkl):
    linear, x = layer(5, 6), torch.randn(3, 5)
    with torch.no_grad():
        torch.testing.assert_close(cpu.apply_linear(linear, x), linear(x))
        linear.register_forward_hook(lambda module, args, y: y + 1)
        torch.testing.assert_close(cpu.apply_linear(linear, x), linear(x))


def random_bert() -> BERT:
    return randomize(BERT(preset("bert-laptop", vocab_size=29, context_length=16)))


@needs_onednn
@pytest.mark.parametrize("make", [random_gpt, random_bert, lively_transformer])
def test_a_models_passes_and_gradients_are_those_of_torchs_products(make, slow_mkl, monkeypatch):
    """Of all families; short inputs, compiled models and autocast are left to torch."""
    model, ids = make().float(), random_ids(3, 4)
    inputs = (ids, ids) if make is lively_transformer else (ids,)

    def losses_and_gradients() -> list[torch.Tensor]:
        output = model(*inputs)
        output = output if isinstance(output, torch.Tensor) else output[0]
        return [output, *torch.autograd.grad(output.square().sum(), list(model.parameters()), materialize_grads=True)]

    fast = losses_and_gradients()
    n_fast = len(slow_mkl)
    assert n_fast > 20
    monkeypatch.setattr(cpu, "SMALL_TRAINED_PRODUCT", 12 * model.config.d_model**2 + 1)
    plain = losses_and_gradients()
    largest = max(x.abs().max().item() for x in plain)  # the bias of keys has no gradient but rounding
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * largest)
    monkeypatch.setattr(cpu, "SMALL_TRAINED_PRODUCT", 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(*inputs)
    torch.compile(model, backend="eager")(*inputs)
    model.compile(backend="eager")
    model(*inputs)
    assert len(slow_mkl) == n_fast


@needs_onednn
@pytest.mark.parametrize("make", [random_gpt, lively_transformer])
def test_a_prefill_is_that_of_torchs_products(make, slow_mkl, monkeypatch):
    model, ids = make().float(), random_ids(3, 4)
    positions = torch.arange(4).expand(3, -1)

    def prefill() -> torch.Tensor:
        cache = model.make_cache(3) if make is random_gpt else model.prefill(ids)
        return model.decode(ids, positions, cache)

    with torch.no_grad():
        fast = prefill()
        assert len(slow_mkl) > 10
        monkeypatch.setattr(cpu, "SLOW_MKL", False)
        torch.testing.assert_close(fast, prefill(), rtol=1e-3, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize("n_out", [6, 7])
def test_the_fast_step_knows_from_how_many_rows_on_it_matters(n_out, slow_mkl, monkeypatch):
    weight = torch.randn(n_out, 5)
    assert cpu.first_slow_size(weight) == 0  # a single row may already go to `matvec`
    monkeypatch.setattr(cpu, "SMALL_MATRIX", 1000)
    monkeypatch.setattr(cpu, "SMALL_PRODUCT", 3 * weight.numel())
    assert cpu.first_slow_size(weight) == 3
    with torch.no_grad():
        cpu.linear(torch.randn(2, 5), weight)
        assert slow_mkl == []
        cpu.linear(torch.randn(3, 5), weight)
    assert slow_mkl == ["onednn"]
    for other in (weight.double(), weight.to("meta")):
        assert cpu.first_slow_size(other) == math.inf
    monkeypatch.setattr(cpu, "SLOW_MKL", False)
    assert cpu.first_slow_size(weight) == math.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_onednn_and_in_other_types_one_row_still_has_a_kernel_of_its_own(dtype, slow_mkl, monkeypatch):
    monkeypatch.setattr(cpu, "SLOW_MKL", False)
    linear, x = layer(5, 6).to(dtype), torch.randn(1, 5, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(cpu.apply_linear(linear, x), linear(x))
        cpu.apply_linear(linear, x.expand(2, -1))
    assert slow_mkl == ["matvec"] and cpu.first_slow_size(linear.weight) == 0
    monkeypatch.setattr(cpu, "SLOW_VECTOR_KERNEL", False)
    assert cpu.first_slow_size(linear.weight) == math.inf


SIZES = [0, 1, 6, 7, FEW_NUMBERS, FEW_NUMBERS + 2]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_is_torchs_and_leaves_its_input(n, dtype):
    x = torch.linspace(-12, 12, n, dtype=dtype)
    before = x.clone()
    torch.testing.assert_close(gelu(x), F.gelu(x.double()).to(dtype))
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_takes_tensors_of_any_shape_and_layout(dtype):
    x = torch.randn(6, 4, 2, dtype=dtype).transpose(0, 1)
    torch.testing.assert_close(gelu(x), F.gelu(x.double()).to(dtype))


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 6), (3, 2, 1, 6), (FEW_NUMBERS // 6 + 1, 6), (0, 6)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_rms_norm_is_torchs(shape, dtype, eps, size):
    x, weight = size * torch.randn(shape, dtype=dtype), torch.randn(6, dtype=dtype)
    expected = F.rms_norm(x.double(), (6,), weight.double(), eps).to(dtype)
    torch.testing.assert_close(rms_norm(x, weight, eps), expected, rtol=ROUNDING[dtype], atol=0)
    assert not rms_norm(torch.zeros_like(x), weight, eps).any()
