"""Four-bit weights with a scale for each group: off by at most half a scale, and otherwise the same model."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import VARIANTS, random_ids, randomize
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from llmasos import LLMTrainer, hub
from llmasos.datasets.storyworld import valid_prefix
from llmasos.errors import UserError
from llmasos.models import ModelConfig, build_model, n_parameters, weight_bytes
from llmasos.nn import Int4Linear, Int8Embedding, Int8Linear, quantization_of, quantize
from llmasos.nn.int4 import GROUP_SIZE, dequantize_groups, quantize_groups
from llmasos.nn.int8 import quantize_rows

SMALL = {"vocab_size": 29, "context_length": 16, "n_layers": 2, "n_heads": 4, "d_model": 16}


class NoFloat64(TorchDispatchMode):
    """A device like Apple's, without float64: an operation that creates float64 there fails."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.float64:
            assert out.device.type == "cpu"
        return out


def test_a_device_without_float64_is_enough():
    with FakeTensorMode(), NoFloat64():  # fake tensors have a device and no values
        results = quantize_groups(torch.empty(3, 64, device="cuda"))
        assert [tensor.device.type for tensor in results] == ["cuda", "cuda"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.sampled_from([2, 8, 32]), st.integers(0, 10**6))
def test_every_weight_is_rounded_to_the_nearest_multiple_of_the_scale_of_its_group(n_out, n_in, group_size, seed):
    """Computed one weight at a time."""
    weight = torch.randn(n_out, n_in, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) ** 3
    weight[0] = 0  # a row of zeros
    packed, scale = quantize_groups(weight, group_size)
    floats = dequantize_groups(packed, scale, n_in)
    assert packed.dtype == torch.uint8 and packed.shape == (n_out, math.ceil(n_in / group_size) * group_size // 2)
    for row in range(n_out):
        for first in range(0, n_in, group_size):
            group = weight[row, first : first + group_size]
            s = group.abs().max() / 7
            rounded = (group / s).round() * s if s else torch.zeros_like(group)
            torch.testing.assert_close(floats[row, first : first + group_size], rounded, rtol=1e-12, atol=1e-300)


def test_smaller_groups_err_less_and_int8_less_still():
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    errors = [
        (dequantize_groups(*quantize_groups(weight, size), 256) - weight).square().mean().item()
        for size in (256, 64, 32, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    q, scale = quantize_rows(weight)
    assert (q * scale[:, None] - weight).square().mean().item() < errors[-1] / 10


def outputs(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out = model(ids, ids[:, :5]) if model.config.family == "transformer" else model(ids)
        return out.masked if model.config.family == "bert" else out


MODELS = {
    **{f"gpt {name}": fields for name, fields in VARIANTS.items()},
    "bert": {"family": "bert", "norm_position": "post"},
    "transformer": {"family": "transformer", "positions": "sinusoidal"},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_quantized_model_is_the_float_model_with_rounded_weights(name):
    model, ids = randomize(build_model(ModelConfig(**{**SMALL, **MODELS[name]})).double()).eval(), random_ids(3, 9)
    expected = copy.deepcopy(model)
    for path, layer in expected.named_modules():
        last = path.rpartition(".")[2]
        if isinstance(layer, nn.Linear) and last not in ("lm_head", "decoder", "next_sentence_head", "router"):
            layer.weight.data = dequantize_groups(*quantize_groups(layer.weight), layer.in_features)
        elif last in ("lm_head", "decoder", "token_embedding"):
            q, scale = quantize_rows(layer.weight)
            layer.weight = nn.Parameter(q * scale[:, None])  # a tied one is rounded twice, to the same
    before = n_parameters(model)
    assert quantize(model, "int4") is model and quantization_of(model) == "int4"
    assert n_parameters(model) == before
    torch.testing.assert_close(outputs(model, ids), outputs(expected, ids), rtol=0, atol=1e-10)
    assert isinstance(model.token_embedding, Int8Embedding)
    assert any(isinstance(layer, Int4Linear) for layer in model.modules())


def test_large_matrices_become_floats_in_blocks(monkeypatch):
    weight, x = torch.randn(11, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    layer = Int4Linear(*quantize_groups(weight), 5, torch.ones(11, dtype=torch.float64))
    expected = layer(x)
    monkeypatch.setattr("llmasos.nn.int4.BLOCK", 12)  # two rows at a time, and one is left over
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_the_memory_is_five_bits_a_weight():
    model = build_model(ModelConfig(vocab_size=8, context_length=4, n_layers=2, n_heads=4, d_model=128, bias=False))
    matrices = sum(layer.weight.numel() for layer in model.blocks.modules() if isinstance(layer, nn.Linear))
    rest = 4 * (n_parameters(model) - matrices)
    quantize(model, "int4")
    tables = sum(b.numel() * b.element_size() for b in model.lm_head.buffers()) - 4 * 8 * 128
    assert weight_bytes(model) - rest - tables == matrices * (4 + 32 / GROUP_SIZE) / 8


@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert", "storyworld-de-en"])
def test_a_shipped_model_still_works(name):
    model = LLMTrainer.from_pretrained(name, "cpu", quantize="int4")
    assert weight_bytes(model.model) < 0.26 * weight_bytes(hub.load_pretrained(name)[0])
    if name == "storyworld-gpt":
        text = model.generate("Once there was", max_new_tokens=12, temperature=0)
        assert valid_prefix("Once there was" + text)
    with pytest.raises(UserError, match="rounded weights cannot be trained"):
        model.model.train()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(dtype):
    model = quantize(randomize(build_model(ModelConfig(**SMALL))).eval(), "int4")
    ids, expected = random_ids(3, 9), None
    expected = outputs(model, ids)
    said = outputs(model.to(dtype), ids)
    assert said.dtype == dtype
    torch.testing.assert_close(said.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())


def test_gradients_are_refused():
    layer = Int4Linear(*quantize_groups(torch.randn(4, 3)), 3)
    with pytest.raises(UserError, match="has no gradients"):
        layer(torch.randn(2, 3, requires_grad=True))
    assert "in_features=3, out_features=4" in repr(layer) and not isinstance(layer, Int8Linear)
