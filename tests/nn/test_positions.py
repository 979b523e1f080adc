"""Positions: the sinusoids of the paper, and rotations that depend only on distances."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from llmasos.errors import UserError
from llmasos.nn import (
    LearnedPositions,
    RelativePositionBias,
    RotaryEmbedding,
    SinusoidalPositions,
    alibi_slopes,
    apply_rotary,
    relative_buckets,
)
from llmasos.nn.rope_scaling import RopeScaling, dynamic_ntk


def test_sinusoids_follow_the_papers_formula():
    P, C = 1024, 12
    table = SinusoidalPositions(P, C)(torch.arange(P)[None])[0]
    assert table.shape == (P, C)
    for p in (0, 1, 2, 100, P - 1):
        for i in range(C // 2):
            angle = p / 10_000 ** (2 * i / C)
            # the angle is held in float32: its rounding error is up to p · 2⁻²³
            assert table[p, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6 + p * 2**-23)
            assert table[p, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6 + p * 2**-23)


def test_a_position_has_the_same_vector_in_every_row_and_order():
    for embedding in (SinusoidalPositions(10, 6), LearnedPositions(10, 6)):
        x = embedding(torch.tensor([[3, 1], [9, 3]]))
        assert x.shape == (2, 2, 6)
        assert torch.equal(x[0, 0], x[1, 1]) and not torch.equal(x[0, 0], x[0, 1])


def test_fixed_tables_are_not_parameters_and_not_saved():
    for module in (SinusoidalPositions(10, 6), RotaryEmbedding(10, 6)):
        assert not list(module.parameters()) and not module.state_dict()
    assert LearnedPositions(10, 6).weight.requires_grad


def q_and_k():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(1, 1, 1, 16, generator=generator) for _ in range(2))


def score(q, k, rotary, q_position, k_position):
    """The dot product of one query and one key, each rotated to its position."""
    q = apply_rotary(q, *rotary(torch.tensor([[q_position]])))
    k = apply_rotary(k, *rotary(torch.tensor([[k_position]])))
    return (q * k).sum().item()


def test_rotary_scores_depend_on_the_distance_alone():
    q, k = q_and_k()
    rotary = RotaryEmbedding(200, 16)
    for distance in (0, 1, 7, 50):
        scores = [score(q, k, rotary, p + distance, p) for p in (0, 3, 31, 140)]
        assert scores == pytest.approx([scores[0]] * 4, abs=1e-3)
    assert abs(score(q, k, rotary, 7, 0) - score(q, k, rotary, 0, 7)) > 1e-2  # and on its direction
    assert abs(score(q, k, rotary, 7, 0) - score(q, k, rotary, 0, 0)) > 1e-2


def test_rotation_keeps_lengths_and_position_zero_stays():
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(5).expand(2, 5)
    turned = apply_rotary(x, *RotaryEmbedding(16, 8)(positions))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    assert not torch.allclose(turned[:, :, 1], x[:, :, 1])


def test_rotation_turns_each_plane_by_its_angle():
    """Plane 1 of 2 (dimensions 1 and 3) at position 3 with base 16: 3 / 16^(2/4) = 0.75 radians, anticlockwise."""
    x = torch.tensor([0.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4)
    turned = apply_rotary(x, *RotaryEmbedding(4, 4, base=16.0)(torch.tensor([[3]]))).flatten()
    torch.testing.assert_close(turned, torch.tensor([0.0, math.cos(0.75), 0.0, math.sin(0.75)]))


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_rotary_equals_llamas_up_to_long_contexts(base):
    H, T, D = 2, 4096, 32
    config = LlamaConfig(
        hidden_size=H * D, num_attention_heads=H, head_dim=D, rope_theta=base, max_position_embeddings=T
    )
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, H, T, D, generator=generator), torch.randn(1, H, T, D, generator=generator)
    positions = torch.arange(T)[None]
    expected = apply_rotary_pos_emb(q, k, *LlamaRotaryEmbedding(config)(q, positions))
    ours = RotaryEmbedding(T, D, base)(positions)
    torch.testing.assert_close(apply_rotary(q, *ours), expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(apply_rotary(k, *ours), expected[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scaling, reference, seq_len", [
    ({"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 4.0}, None),
    ({"type": "ntk", "factor": 4.0}, {"rope_type": "dynamic", "factor": 1.0}, 4 * 256),
    ({"type": "yarn", "factor": 4.0, "original_context_length": 256}, {"rope_type": "yarn", "factor": 4.0}, None),
    ({"type": "yarn", "factor": 8.0, "original_context_length": 64, "beta_fast": 8.0, "beta_slow": 2.0,
      "attention_factor": 1.5},
     {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "beta_fast": 8.0, "beta_slow": 2.0,
      "attention_factor": 1.5}, None),
    ({"type": "llama3", "factor": 8.0, "original_context_length": 64},
     {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 64}, None),
], ids=lambda value: value.get("type") if isinstance(value, dict) else None)  # fmt: skip
def test_scaled_frequencies_are_transformers(scaling, reference, seq_len):
    D, base = 32, 500.0
    config = LlamaConfig(hidden_size=2 * D, num_attention_heads=2, max_position_embeddings=256, rope_theta=base,
                         rope_scaling=reference)  # fmt: skip
    expected, magnitude = ROPE_INIT_FUNCTIONS[reference["rope_type"]](config, torch.device("cpu"), seq_len)
    ours = RopeScaling.from_dict(scaling)
    unscaled = 1.0 / base ** (torch.arange(0, D, 2) / D)
    torch.testing.assert_close(ours.scale(unscaled, base), expected, rtol=1e-6, atol=0)
    assert (unscaled / expected).max() > 3 and ours.magnitude == pytest.approx(magnitude)
    cos, _ = RotaryEmbedding(9, D, base, ours)(torch.tensor([[0, 5]]))
    torch.testing.assert_close(cos[0, 0], magnitude * torch.stack((expected * 0, expected * 5)).cos())


@pytest.mark.parametrize("factor", [1.0, 2.5])
@pytest.mark.parametrize("length", [1, 64, 65, 100, 1000])
def test_dynamic_scaling_is_transformers(length, factor):
    D, base, original = 32, 500.0, 64
    config = LlamaConfig(hidden_size=2 * D, num_attention_heads=2, max_position_embeddings=original, rope_theta=base,
                         rope_scaling={"rope_type": "dynamic", "factor": factor})  # fmt: skip
    expected, magnitude = ROPE_INIT_FUNCTIONS["dynamic"](config, torch.device("cpu"), length)
    ours, unscaled = dynamic_ntk(length, original, factor), 1.0 / base ** (torch.arange(0, D, 2) / D)
    torch.testing.assert_close(ours.scale(unscaled, base), expected, rtol=1e-6, atol=0)
    assert ours.magnitude == magnitude == 1.0
    assert torch.equal(ours.scale(unscaled, base), unscaled) == (length <= original)


@pytest.mark.parametrize("arguments, message", [
    ((0, 48), "length is 0"), ((48, 0), "original_context_length is 0"), ((48, 48, 0.5), "factor is 0.5"),
])  # fmt: skip
def test_dynamic_scaling_refuses_what_it_cannot_use(arguments, message):
    with pytest.raises(UserError, match=message):
        dynamic_ntk(*arguments)


@pytest.mark.parametrize("n_heads", [1, 2, 3, 4, 6, 8, 12, 20])
def test_alibi_has_the_slopes_of_its_authors(n_heads):
    theirs = build_alibi_tensor(torch.ones(1, 2, dtype=torch.long), n_heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(alibi_slopes(n_heads), theirs)
    if n_heads == 8:
        assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]


def test_only_as_many_features_are_rotated_as_there_are_planes():
    rotary, x = RotaryEmbedding(9, 4), torch.randn(2, 3, 5, 10)
    cos, sin = rotary(torch.arange(5)[None])
    rotated = apply_rotary(x, cos, sin)
    torch.testing.assert_close(rotated[..., :4], apply_rotary(x[..., :4], cos, sin))
    assert torch.equal(rotated[..., 4:], x[..., 4:]) and not torch.allclose(rotated[..., 1:, :4], x[..., 1:, :4])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_buckets, max_distance", [(32, 128), (8, 12), (6, 20), (4, 5)])
def test_ranges_of_distances_are_those_of_t5(n_buckets, max_distance, causal):
    ahead = torch.arange(-300, 301)
    expected = T5Attention._relative_position_bucket(ahead, not causal, n_buckets, max_distance)
    assert torch.equal(relative_buckets(ahead, n_buckets, max_distance, causal), expected)


def test_a_relative_bias_depends_on_the_distance_alone():
    bias = RelativePositionBias(3, 8, 12, causal=False)
    whole = bias(torch.arange(9)[None], 9)  # (1, H, T, S)
    assert whole.shape == (1, 3, 9, 9)
    assert torch.equal(whole[:, :, 1:, 1:], whole[:, :, :-1, :-1])
    assert not torch.equal(whole[:, :, 2, 4], whole[:, :, 4, 2])  # before and after are different
    some = bias(torch.tensor([[3, 8], [5, 0]]), 9)
    assert torch.equal(some[1, :, 0], whole[0, :, 5]) and torch.equal(some[0, :, 1], whole[0, :, 8])
