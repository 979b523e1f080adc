"""Adapters in whole models: which layers get one, what is trained, merging and unloading."""

import pytest
import torch

from llmasos.errors import UserError
from llmasos.models import BERT, GPT, ModelConfig, SequenceClassifier, Transformer, n_parameters
from llmasos.models.adapter import (
    adapter_weights,
    add_adapter,
    lora_layers,
    merge_adapter,
    unload_adapter,
    weights_sha256,
)
from llmasos.nn import quantize

SIZES = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 16}
IDS = torch.arange(8)[None]


def gpt(**more) -> GPT:
    torch.manual_seed(0)
    return GPT(ModelConfig(**SIZES, **more))


def randomize(model):
    """Make every weight of the adapter random."""
    with torch.no_grad():
        for weight in adapter_weights(model).values():
            weight.normal_(std=0.3)
    return model


def test_only_the_adapter_is_trained_and_it_is_as_large_as_the_formula_says():
    model = add_adapter(gpt(), "base", rank=2)
    C, r, L = 16, 2, 2
    expected = L * (4 * r * (C + C) + 2 * r * (C + 4 * C))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    assert {n for n, p in model.named_parameters() if p.requires_grad} == set(adapter_weights(model))
    assert len(lora_layers(model)) == 6 * L


@pytest.mark.parametrize(
    "targets, per_block",
    [("all", 6), ("attention", 4), ("feed-forward", 2), ("q_proj, v_proj", 2), ("attention,up_proj", 5)],
)
def test_layers_are_chosen_by_group_or_name(targets, per_block):
    assert len(lora_layers(add_adapter(gpt(), "base", 1, targets=targets))) == 2 * per_block
    assert list(lora_layers(add_adapter(gpt(), "base", 1, targets="blocks.1.attention.q_proj"))) == [
        "blocks.1.attention.q_proj"
    ]


@pytest.mark.parametrize("targets", ["q_porj", "lm_head", "", "attention,nothing", "final_norm"])
def test_an_unknown_layer_is_refused_with_those_that_there_are(targets):
    with pytest.raises(UserError, match="no layer .* to adapt(; did you mean|; choose from all, attention, feed-forw)"):
        add_adapter(gpt(), "base", 1, targets=targets)


def test_every_family_is_adapted_but_for_what_predicts():
    bert = add_adapter(BERT(ModelConfig(family="bert", **SIZES)), "base", 2)
    assert {"pooler", "masked_lm_head.dense"} < set(lora_layers(bert))
    assert not {"next_sentence_head", "masked_lm_head.decoder"} & set(lora_layers(bert))
    transformer = Transformer(ModelConfig(family="transformer", positions="sinusoidal", **SIZES))
    assert sum("cross_attention" in name for name in lora_layers(add_adapter(transformer, "base", 2))) == 8
    classifier = SequenceClassifier(ModelConfig(head="classifier", labels=("a", "b", "c"), **SIZES))
    add_adapter(classifier, "base", 2, new=("head",))
    assert {"head.weight", "head.bias"} < set(adapter_weights(classifier))
    assert classifier.head.weight.requires_grad and not classifier.backbone.token_embedding.weight.requires_grad


def test_every_expert_is_adapted_and_no_router():
    model = add_adapter(gpt(n_experts=3, d_ff=12), "base", 2, targets="feed-forward")
    assert len(lora_layers(model)) == 2 * 3 * 2 and not any("router" in name for name in adapter_weights(model))
    before = model(IDS)
    adapted = randomize(model)(IDS)
    assert (adapted - before).abs().max() > 0.01
    torch.testing.assert_close(merge_adapter(model)(IDS), adapted, rtol=1e-4, atol=1e-5)


def test_merged_it_computes_the_same_and_unloaded_it_is_the_base():
    model = gpt()
    before, n, digest = model(IDS), n_parameters(model), weights_sha256(model)
    randomize(add_adapter(model, "base", 2))
    adapted = model(IDS)
    assert (adapted - before).abs().max() > 0.01 and n_parameters(model) > n
    unload_adapter(model)
    assert torch.equal(model(IDS), before) and n_parameters(model) == n and model.adapter is None
    assert weights_sha256(model) == digest and all(p.requires_grad for p in model.parameters())
    torch.manual_seed(0)
    randomize(add_adapter(model, "base", 2))
    adapted = model(IDS)
    merge_adapter(model)
    torch.testing.assert_close(model(IDS), adapted, rtol=1e-5, atol=1e-6)
    assert weights_sha256(model) != digest
    assert model.lm_head.weight is model.token_embedding.weight


def test_the_checksum_leaves_out_what_is_new_and_notices_everything_else():
    model = gpt()
    digest = weights_sha256(model, without=("final_norm",))
    with torch.no_grad():
        model.final_norm.weight[3] += 1.0
        assert weights_sha256(model, without=("final_norm",)) == digest
        model.blocks[1].attention.q_proj.bias[0] += 1e-6
    assert weights_sha256(model, without=("final_norm",)) != digest


def test_a_second_adapter_and_one_on_int8_layers_are_refused():
    model = add_adapter(gpt(), "base", 1)
    with pytest.raises(UserError, match="has an adapter already"):
        add_adapter(model, "base", 1)
    with pytest.raises(UserError, match="merge the adapter first"):
        quantize(model)
    with pytest.raises(UserError, match="is quantized, and its layers cannot get an adapter"):
        add_adapter(quantize(gpt()), "base", 1)
    for options in ({"rank": 0}, {"rank": 17}, {"rank": 1.5}, {"rank": 1, "alpha": 0}):
        with pytest.raises(UserError, match="lora_(rank|alpha) is"):
            add_adapter(gpt(), "base", **options)
