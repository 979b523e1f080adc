"""Initial weights: every parameter is set by a rule, with the spread that the rule states."""

import math

import pytest
import torch
from model_helpers import VARIANTS
from torch import nn

from llmasos.models import GPT, ModelConfig, build_model
from llmasos.models.init import initialize

WIDE = {"vocab_size": 200, "context_length": 64, "n_layers": 3, "n_heads": 4, "d_model": 128}


def wide_gpt(variant, seed=0):
    torch.manual_seed(seed)
    return GPT(ModelConfig(**{**WIDE, **VARIANTS[variant], "layer_types": ()}))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_has_the_spread_of_its_kind(variant):
    """A matrix of n entries shows its standard deviation within 1/√(2n), here under 1 %; 5 % cannot be chance."""
    model = wide_gpt(variant)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            value = 1.0 if name.endswith("weight") else 0.0
            assert (parameter == value).all(), name
            continue
        if name.startswith(("value_embeddings.", "ngram_embedding.")):
            assert (parameter == 0.0).all(), name
            continue
        writer = name.endswith(("out_proj.weight", "down_proj.weight"))
        expected = 0.02 / math.sqrt(2 * 3) if writer else 0.02  # two writes into the stream in each of three layers
        if name == "token_embedding.weight" and model.config.scale_embeddings:
            expected = 1.0 / math.sqrt(128)
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert abs(parameter.mean().item()) < 5 * expected / math.sqrt(parameter.numel()), name


@pytest.mark.parametrize("family", ["gpt", "bert", "transformer"])
def test_with_zero_init_residual_each_block_is_the_identity_at_first(family):
    positions = "sinusoidal" if family == "transformer" else "learned"
    model = build_model(ModelConfig(**{**WIDE, "family": family, "positions": positions, "zero_init_residual": True}))
    writers = [p for name, p in model.named_parameters() if name.endswith(("out_proj.weight", "down_proj.weight"))]
    assert len(writers) == {"gpt": 6, "bert": 6, "transformer": 15}[family] and not any(map(torch.any, writers))
    x = torch.randn(2, 5, 128)
    block = model.encoder_blocks[1] if family == "transformer" else model.blocks[1]
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_parameter_keeps_what_it_held_before(variant):
    model = wide_gpt(variant)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    initialize(model)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_parameter_without_a_rule_is_an_error():
    model = wide_gpt("gpt2")
    model.scale = nn.Parameter(torch.ones(3))
    with pytest.raises(TypeError, match="scale"):
        initialize(model)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    a, b, c = wide_gpt("llama"), wide_gpt("llama"), wide_gpt("llama", seed=1)
    same = [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(a.token_embedding.weight, c.token_embedding.weight)
    initialize(a, generator=torch.Generator().manual_seed(5))
    initialize(b, generator=torch.Generator().manual_seed(5))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@torch.no_grad()
def test_the_stream_does_not_grow_with_depth():
    """With 0.02/√(2L) for the weights that write to it, 16 layers add no more to the stream than 2 layers."""
    added = []
    for n_layers in (2, 16):
        torch.manual_seed(0)
        model = GPT(ModelConfig(**{**WIDE, "n_layers": n_layers}))
        stream, ids = [], torch.randint(200, (4, 32))
        model.final_norm.register_forward_pre_hook(lambda _, inputs, out=stream: out.append(inputs[0]))
        model(ids)
        start = model.token_embedding(ids) + model.position_embedding.weight[:32]
        added.append((stream[0] - start).std().item())
    assert added[1] < 1.3 * added[0]


@torch.no_grad()
def test_a_fresh_model_predicts_near_chance():
    model, ids = wide_gpt("gpt2"), torch.randint(200, (8, 65), generator=torch.Generator().manual_seed(0))
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(200), abs=0.15)
