"""Formulas equal real counts: parameters of real models, FLOPs of real training steps."""

import dataclasses
import random

import pytest
import torch
from model_helpers import VARIANTS, random_gpt, random_ids
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForPreTraining

from llmasos.models import (
    ModelConfig,
    build_model,
    flops_per_token,
    n_active_parameters_of,
    n_parameters,
    n_parameters_of,
    preset,
)


def random_config(rng: random.Random) -> ModelConfig:
    n_kv_heads, group, half = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 4)
    n_heads = n_kv_heads * group
    family, head = rng.choice(["gpt", "bert", "transformer"]), rng.choice([None, "classifier", "question_answering"])
    positions = {
        "gpt": ["learned", "sinusoidal", "rotary", "none"],
        "bert": ["learned"],
        "transformer": ["learned", "sinusoidal"],
    }
    return ModelConfig(
        family=family,
        head=head,
        labels=tuple("abcde"[: rng.randint(2, 5)]) if head == "classifier" else (),
        n_decoder_layers=rng.randint(1, 3),
        n_segments=rng.randint(1, 3),
        vocab_size=rng.randint(1, 50),
        context_length=rng.randint(1, 20),
        n_layers=rng.randint(1, 3),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_model=2 * half * n_heads,
        d_ff=rng.choice([None, rng.randint(1, 40)]),
        n_experts=rng.choice([1, 1, 3]),
        positions=rng.choice(positions[family]),
        norm=rng.choice(["layernorm", "rmsnorm"]),
        norm_position=rng.choice(["pre", "post"]),
        activation=rng.choice(["relu", "gelu", "gelu_tanh", "swiglu"]),
        bias=rng.random() < 0.5,
        tie_embeddings=rng.random() < 0.5,
    )


def test_the_formula_counts_the_parameters_of_any_config():
    rng = random.Random(0)
    for _ in range(200):
        config = random_config(rng)
        model = build_model(config)
        assert n_parameters_of(config) == n_parameters(model), config
        assert n_parameters(model) == sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


@pytest.mark.parametrize(
    "name, count",
    [  # of the published weights
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("bert-base", 110_106_428),
        ("bert-large", 336_226_108),
    ],
)
def test_presets_have_the_published_sizes(name, count):
    assert n_parameters_of(preset(name)) == count


@pytest.mark.parametrize("variant, T", [(name, T) for name in VARIANTS for T in (5, 16)])
def test_flops_per_token_equal_those_counted_in_a_training_step(variant, T):
    """Exactly equal: the formula and torch's counter both count matrix products only, two FLOPs per multiply-add, and
    the explicit path computes all T·T scores, as is the formula's convention."""
    model = random_gpt(fused=False, **VARIANTS[variant])
    ids = random_ids(3, T)
    with FlopCounterMode(display=False) as counter:
        model(ids).square().mean().backward()
    everywhere = {"sliding_window": None, "layer_types": (), "local_rope_theta": None}
    config = dataclasses.replace(model.config, **everywhere)  # the explicit path also computes what a window masks
    assert counter.get_total_flops() == flops_per_token(config, T) * ids.numel()


@pytest.mark.parametrize("fields", [{}, {"family": "bert"}, {"family": "transformer", "n_decoder_layers": 1}])
def test_active_parameters_are_those_that_get_a_gradient_from_one_token(fields):
    family = fields.get("family", "gpt")
    c = ModelConfig(**{**EXPLICIT, **fields, "n_experts": 5, "positions": "learned", "n_active_experts": 2})
    model, one = build_model(c), torch.zeros(1, 1, dtype=torch.long)
    out = model(one, one) if family == "transformer" else model(one)
    sum(part.square().sum() for part in (out if isinstance(out, tuple) else (out,))).backward()
    experts = [p for name, p in model.named_parameters() if ".experts." in name]
    n_idle = sum(p.numel() for p in experts) * 3 // 5
    assert n_active_parameters_of(c) == n_parameters(model) - n_idle == n_parameters_of(c) - n_idle
    used = {name.rpartition(".experts.")[0] + name.split(".")[-3] for name, p in model.named_parameters()
            if ".experts." in name and p.grad.any()}  # fmt: skip
    assert len(used) == 2 * (4 if family == "transformer" else 3)


@pytest.mark.parametrize("name", ["bert-base", "bert-large"])
def test_transformers_counts_the_same_in_its_bert(name):
    c = preset(name)
    with torch.device("meta"):
        theirs = BertForPreTraining(
            BertConfig(
                hidden_size=c.d_model,
                num_hidden_layers=c.n_layers,
                num_attention_heads=c.n_heads,
                intermediate_size=c.d_ff,
            )
        )
    assert n_parameters_of(c) == theirs.num_parameters()


@pytest.mark.parametrize(
    "name, millions, within",
    [
        ("transformer-base", 65, 0.04),
        ("transformer-big", 213, 0.01),  # Vaswani et al. 2017, table 3
    ],
)
def test_the_original_transformers_have_about_the_sizes_of_the_paper(name, millions, within):
    """Only about, because the paper rounds, and does not state the exact number of its "about 37,000" tokens."""
    assert n_parameters_of(preset(name)) == pytest.approx(millions * 1e6, rel=within)


def test_transformer_small_has_nine_million_parameters():
    assert n_parameters_of(preset("transformer-small", vocab_size=10_000)) == pytest.approx(9e6, rel=0.03)


def counted_flops(model, *inputs) -> int:
    """FLOPs of one training step, from torch's counter."""
    with FlopCounterMode(display=False) as counter:
        output = model(*inputs)
        sum(part.square().sum() for part in (output if isinstance(output, tuple) else (output,))).backward()
    return counter.get_total_flops()


EXPLICIT = {"vocab_size": 29, "context_length": 16, "n_layers": 3, "n_heads": 4, "d_model": 16, "fused": False}


@pytest.mark.parametrize("n_predicted", [1, 2, 5])
def test_flops_of_a_bert_without_what_is_done_once_for_a_text(n_predicted):
    """Of each text's 10 tokens, `n_predicted` are predicted; pooler and next-sentence head run once."""
    model = build_model(ModelConfig(family="bert", norm_position="post", **EXPLICIT))
    predict = (torch.arange(10) < n_predicted).expand(3, 10)
    once = 6 * 3 * (16 * 16 + 16 * 2)
    counted = counted_flops(model, random_ids(3, 10), None, None, predict)
    assert counted == flops_per_token(model.config, 10, predicted_fraction=n_predicted / 10) * 30 + once


def test_flops_of_a_transformer_for_a_source_as_long_as_the_target():
    model = build_model(ModelConfig(family="transformer", n_decoder_layers=2, **EXPLICIT))
    counted = counted_flops(model, random_ids(3, 10), random_ids(3, 10, seed=1))
    assert counted == flops_per_token(model.config, 10) * 30


@pytest.mark.parametrize("family", ["gpt", "bert", "transformer"])
@pytest.mark.parametrize("head", ["classifier", "question_answering"])
def test_flops_under_a_head(family, head):
    labels = ("a", "b", "c") if head == "classifier" else ()
    model = build_model(ModelConfig(family=family, head=head, labels=labels, **EXPLICIT))
    once = 6 * 3 * (16 * 3 + (16 * 16 if family == "bert" else 0)) if head == "classifier" else 0
    assert counted_flops(model, random_ids(3, 10)) == flops_per_token(model.config, 10) * 30 + once


def test_flops_follow_the_papers_formula_and_default_to_the_whole_context():
    config = ModelConfig()
    N = 12 * 12 * 768**2 + 50257 * 768
    assert flops_per_token(config, 100) == 6 * N + 12 * 12 * 768 * 100
    assert flops_per_token(config) == flops_per_token(config, 1024)


def test_sharing_heads_saves_projections_but_no_scores():
    few, many = (ModelConfig(n_kv_heads=n) for n in (4, 12))
    saved = 6 * 12 * 2 * 768 * (12 - 4) * 64
    assert flops_per_token(many, 10) - flops_per_token(few, 10) == saved
