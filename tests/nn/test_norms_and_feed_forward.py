"""Norms, activations and feed-forward parts against torch's own, in values and gradients."""

import warnings

import pytest
import torch
from model_helpers import assert_all_close, gradients, randomize
from torch import nn
from torch.nn import functional as F

from llmasos.nn import FeedForward, LayerNorm, RMSNorm, SwiGLU, gelu, gelu_tanh, layer_norm, rms_norm


def sample(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (2.0 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_norm_equals_torchs(bias, eps):
    x, weight, b = sample(3, 4, 6), sample(6, seed=1), sample(6, seed=2) if bias else None
    inputs = [x, weight, b] if bias else [x, weight]
    actual, expected = layer_norm(x, weight, b, eps), F.layer_norm(x, (6,), weight, b, eps)
    torch.testing.assert_close(actual, expected)
    assert_all_close(gradients(actual, inputs), gradients(expected, inputs))


@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_rms_norm_equals_torchs(eps):
    x, weight = sample(3, 4, 6), sample(6, seed=1)
    actual, expected = rms_norm(x, weight, eps), F.rms_norm(x, (6,), weight, eps)
    torch.testing.assert_close(actual, expected)
    assert_all_close(gradients(actual, [x, weight]), gradients(expected, [x, weight]))


def test_layer_norm_leaves_mean_zero_and_variance_one_for_each_token():
    x = sample(3, 4, 64) * torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)[:, None, None]
    y = LayerNorm(64, eps=1e-12).double()(x)
    torch.testing.assert_close(y.mean(dim=-1), torch.zeros(3, 4, dtype=torch.float64))
    torch.testing.assert_close(y.var(dim=-1, correction=0), torch.ones(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_a_constant_zero_input_gives_no_nan(norm):
    assert norm(8)(torch.zeros(2, 8)).isfinite().all()


@pytest.mark.parametrize("norm, options", [(LayerNorm, {}), (LayerNorm, {"bias": False}), (RMSNorm, {})])
def test_the_fused_norm_equals_the_formula(norm, options):
    fused, plain = (randomize(norm(6, eps=0.01, fused=f, **options).double()) for f in (True, False))
    x = sample(3, 4, 6)
    torch.testing.assert_close(fused(x), plain(x))
    assert_all_close(gradients(fused(x), [x, *fused.parameters()]), gradients(plain(x), [x, *plain.parameters()]))
    assert len(list(plain.parameters())) == (2 if norm is LayerNorm and not options else 1)


@pytest.mark.parametrize(
    "norm, formula",
    [(LayerNorm, lambda x, w: layer_norm(x, w, None, 1e-5)), (RMSNorm, lambda x, w: rms_norm(x, w, 1e-5))],
)
def test_autocast_gives_a_norm_bf16_inputs_beside_fp32_weights_without_a_warning(norm, formula):
    x, fused = sample(3, 4, 64).bfloat16(), norm(64)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = fused(x)
    finally:
        torch.set_warn_always(False)
    assert y.dtype == torch.bfloat16 and fused.weight.dtype == torch.float32
    torch.testing.assert_close(y.float(), formula(x.float(), fused.weight.float()).detach(), rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("ours, oracle", [(gelu, F.gelu), (gelu_tanh, lambda x: F.gelu(x, approximate="tanh"))])
def test_gelu_equals_torchs(ours, oracle):
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), oracle(x))
    assert_all_close(gradients(ours(x), [x]), gradients(oracle(x), [x]))


def test_the_tanh_approximation_of_gelu_is_within_a_thousandth():
    x = torch.linspace(-6, 6, 1001)
    assert 1e-5 < (gelu(x) - gelu_tanh(x)).abs().max() < 1e-3


@pytest.mark.parametrize(
    "activation, oracle",
    [
        ("relu", F.relu),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
    ],
)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_feed_forward_is_two_layers_with_an_activation_between(activation, oracle, fused, bias):
    part = randomize(FeedForward(6, 10, activation, bias, fused).double())
    x = sample(3, 6)
    up, down = part.up_proj, part.down_proj
    expected = F.linear(oracle(F.linear(x, up.weight, up.bias)), down.weight, down.bias)
    torch.testing.assert_close(part(x), expected)
    inputs = [x, *part.parameters()]
    assert len(inputs) == (5 if bias else 3)
    assert_all_close(gradients(part(x), inputs), gradients(expected, inputs))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name, activation", [("gelu", gelu), ("gelu_tanh", gelu_tanh), ("relu", torch.relu)])
def test_the_gate_may_have_another_activation(name, activation, fused):
    part, x = randomize(SwiGLU(6, 10, activation=name, fused=fused).double()), sample(3, 6)
    torch.testing.assert_close(part(x), part.down_proj(activation(part.gate_proj(x)) * part.up_proj(x)))


@pytest.mark.parametrize("bias", [False, True])
def test_swiglu_gates_one_projection_by_another(bias):
    part = randomize(SwiGLU(6, 10, bias).double())
    x = sample(3, 6)
    gate = part.gate_proj(x)
    expected = part.down_proj(gate * torch.sigmoid(gate) * part.up_proj(x))
    torch.testing.assert_close(part(x), expected)
    assert all(isinstance(p.bias, nn.Parameter) == bias for p in (part.gate_proj, part.up_proj, part.down_proj))
