"""Counts by formula equal counts by counting: parameters of real models, FLOPs of real training steps."""

import random

import pytest
from model_helpers import VARIANTS, random_gpt, random_ids
from torch.utils.flop_counter import FlopCounterMode

from llmasos.models import GPT, ModelConfig, flops_per_token, n_parameters, n_parameters_of, preset


def random_config(rng: random.Random) -> ModelConfig:
    n_kv_heads, group, half = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 4)
    n_heads = n_kv_heads * group
    return ModelConfig(
        vocab_size=rng.randint(1, 50), context_length=rng.randint(1, 20), n_layers=rng.randint(1, 3), n_heads=n_heads,
        n_kv_heads=n_kv_heads, d_model=2 * half * n_heads, d_ff=rng.choice([None, rng.randint(1, 40)]),
        positions=rng.choice(["learned", "sinusoidal", "rotary", "none"]), norm=rng.choice(["layernorm", "rmsnorm"]),
        norm_position=rng.choice(["pre", "post"]), activation=rng.choice(["relu", "gelu", "gelu_tanh", "swiglu"]),
        bias=rng.random() < 0.5, tie_embeddings=rng.random() < 0.5,
    )


def test_the_formula_counts_the_parameters_of_any_config():
    rng = random.Random(0)
    for _ in range(100):
        config = random_config(rng)
        model = GPT(config)
        assert n_parameters_of(config) == n_parameters(model), config
        assert n_parameters(model) == sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


@pytest.mark.parametrize("name, count", [  # of the published weights
    ("gpt2", 124_439_808), ("gpt2-medium", 354_823_168), ("gpt2-large", 774_030_080), ("gpt2-xl", 1_557_611_200),
])
def test_gpt2_presets_have_the_published_sizes(name, count):
    assert n_parameters_of(preset(name)) == count


@pytest.mark.parametrize("variant, T", [(name, T) for name in VARIANTS for T in (5, 16)])
def test_flops_per_token_equal_those_counted_in_a_training_step(variant, T):
    """Exactly equal: the formula and torch's counter both count matrix products only, two FLOPs per multiply-add, and
    the explicit path computes all T·T scores, as the formula's convention says."""
    model = random_gpt(fused=False, **VARIANTS[variant])
    ids = random_ids(3, T)
    with FlopCounterMode(display=False) as counter:
        model(ids).square().mean().backward()
    assert counter.get_total_flops() == flops_per_token(model.config, T) * ids.numel()


def test_flops_follow_the_papers_formula_and_default_to_the_whole_context():
    config = ModelConfig()
    N = 12 * 12 * 768**2 + 50257 * 768
    assert flops_per_token(config, 100) == 6 * N + 12 * 12 * 768 * 100
    assert flops_per_token(config) == flops_per_token(config, 1024)


def test_sharing_heads_saves_projections_but_no_scores():
    few, many = (ModelConfig(n_kv_heads=n) for n in (4, 12))
    saved = 6 * 12 * 2 * 768 * (12 - 4) * 64
    assert flops_per_token(many, 10) - flops_per_token(few, 10) == saved
