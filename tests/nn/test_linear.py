"""The Linear of the library is nn.Linear, whatever the number of rows and whichever way it is computed."""

import pytest
import torch
from torch import nn

from llmasos.nn import Linear
from llmasos.nn.cpu import matvec


def pair(n_in: int, n_out: int, bias: bool = True) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = Linear(n_in, n_out, bias).double(), nn.Linear(n_in, n_out, bias).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("n_out", [6, 7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5), (2, 1, 5), (1, 3, 5), (2, 4, 5), (0, 5)])
def test_it_computes_what_torchs_does(shape, bias, n_out):
    ours, theirs = pair(5, n_out, bias)
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_one_row_takes_the_fast_way_and_only_without_gradients(monkeypatch):
    calls = []
    monkeypatch.setattr("llmasos.nn.cpu.matvec", lambda *a: calls.append(a[0].shape) or matvec(*a))
    ours, _ = pair(5, 6)
    one, two = torch.randn(1, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    ours(one)
    with torch.no_grad():
        ours(two)
        assert calls == []
        ours(one)
    assert calls == [one.shape]


def test_the_gradients_are_torchs():
    ours, theirs = pair(5, 6)
    x = torch.randn(2, 5, dtype=torch.float64)
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=0, atol=1e-12)
