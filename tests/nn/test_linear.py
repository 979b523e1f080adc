"""The fast path on this processor equals torch's result, whatever the sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llmasos.nn.cpu import FEW_NUMBERS, apply_linear, gelu, matvec, rms_norm


@pytest.fixture
def slow_vectors(monkeypatch):
    """Pretend that the matrix-vector kernel is slow, and that no matrix is too small for the other path."""
    monkeypatch.setattr("llmasos.nn.cpu.SLOW_VECTOR_KERNEL", True)
    monkeypatch.setattr("llmasos.nn.cpu.SMALL_MATRIX", 0)


def layer(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(n_in, n_out, bias).double()


@pytest.mark.parametrize("n_out", [6, 7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5), (2, 1, 5), (1, 3, 5), (2, 4, 5), (0, 5)])
def test_it_computes_what_torchs_does(shape, bias, n_out, slow_vectors):
    linear, x = layer(5, n_out, bias), torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(apply_linear(linear, x), linear(x), rtol=0, atol=1e-12)


def test_one_row_takes_the_fast_way_only_without_gradients_and_hooks(monkeypatch, slow_vectors):
    calls = []
    monkeypatch.setattr("llmasos.nn.cpu.matvec", lambda *a: calls.append(a[0].shape) or matvec(*a))
    linear, hooked = layer(5, 6), layer(5, 6)
    hooked.register_forward_hook(lambda module, args, y: y + 1)
    one, two = torch.randn(1, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    apply_linear(linear, one)
    with torch.no_grad():
        apply_linear(linear, two)
        assert torch.equal(apply_linear(hooked, one), hooked(one))
        assert calls == []
        apply_linear(linear, one)
    assert calls == [one.shape]
    monkeypatch.setattr("llmasos.nn.cpu.SMALL_MATRIX", 31)
    with torch.no_grad():
        apply_linear(linear, one)  # 30 weights
    assert len(calls) == 1


SIZES = [0, 1, 6, 7, FEW_NUMBERS, FEW_NUMBERS + 2]
DTYPES = [torch.float32, torch.float64, torch.bfloat16]
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-12, torch.bfloat16: 2e-2}


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
