"""Blocks against torch's own layers with the same weights: values and gradients, both norm orders, masks."""

import pytest
import torch
from model_helpers import assert_all_close, gradients, randomize
from torch import nn

from llmasos.models import ModelConfig
from llmasos.nn import (
    DecoderBlock,
    EncoderBlock,
    KVCache,
    LayerNorm,
    Residual,
    RMSNorm,
    RotaryEmbedding,
    cached_causal_mask,
    causal_mask,
    make_norm,
    padding_mask,
)

B, T, S, C = 2, 5, 7, 16
REAL = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
SOURCE_REAL = torch.tensor([[True] * 4 + [False] * 3, [True] * 7])


def config(**fields):
    small = {"vocab_size": 1, "context_length": 16, "n_layers": 1, "n_heads": 4, "d_model": C, "norm_eps": 0.01}
    return ModelConfig(**{**small, **fields})


def stream(length, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, length, C, generator=generator, dtype=torch.float64, requires_grad=True)


def attention_pairs(ours, oracle):
    """Pairs of corresponding parameters, ours and torch's, for one attention."""
    return [
        ([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight], oracle.in_proj_weight),
        ([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias], oracle.in_proj_bias),
        *module_pairs(ours.out_proj, oracle.out_proj),
    ]


def module_pairs(ours, oracle):
    return [([ours.weight], oracle.weight), ([ours.bias], oracle.bias)]


def common_pairs(ours, oracle):
    return [
        *attention_pairs(ours.attention, oracle.self_attn),
        *module_pairs(ours.attention_residual.norm, oracle.norm1),
        *module_pairs(ours.feed_forward.up_proj, oracle.linear1),
        *module_pairs(ours.feed_forward.down_proj, oracle.linear2),
    ]


def copy_and_compare(pairs, oracle, ours_call, oracle_call, inputs):
    """Copy our weights into the oracle, then compare outputs and all gradients."""
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(torch.cat(ours))
    assert {id(theirs) for _, theirs in pairs} == {id(p) for p in oracle.parameters()}  # nothing left out
    actual, expected = ours_call(), oracle_call()
    torch.testing.assert_close(actual, expected)
    assert_all_close(gradients(actual, inputs), gradients(expected, inputs))
    for ours, theirs in pairs:
        torch.testing.assert_close(torch.cat(gradients(actual, ours)), gradients(expected, [theirs])[0])


def oracle_options(fields):
    return dict(
        d_model=C,
        nhead=4,
        dim_feedforward=4 * C,
        dropout=0.0,
        activation=fields["activation"],
        batch_first=True,
        norm_first=fields["norm_position"] == "pre",
        layer_norm_eps=0.01,
        dtype=torch.float64,
    )


LAYOUTS = pytest.mark.parametrize(
    "norm_position, activation, fused",
    [
        ("pre", "gelu", True),
        ("pre", "relu", False),
        ("post", "gelu", False),
        ("post", "relu", True),
    ],
)


@LAYOUTS
@pytest.mark.parametrize("padded", [False, True])
def test_encoder_block_equals_torchs_layer(norm_position, activation, fused, padded):
    fields = {"norm_position": norm_position, "activation": activation, "fused": fused}
    ours = randomize(EncoderBlock(config(**fields)).double())
    oracle = nn.TransformerEncoderLayer(**oracle_options(fields))
    x = stream(T, seed=1)
    copy_and_compare(
        [*common_pairs(ours, oracle), *module_pairs(ours.feed_forward_residual.norm, oracle.norm2)],
        oracle,
        lambda: ours(x, padding_mask(REAL) if padded else None),
        lambda: oracle(x, src_key_padding_mask=~REAL if padded else None),
        [x],
    )


@LAYOUTS
@pytest.mark.parametrize("padded", [False, True])
def test_decoder_block_with_cross_attention_equals_torchs_layer(norm_position, activation, fused, padded):
    fields = {"norm_position": norm_position, "activation": activation, "fused": fused}
    ours = randomize(DecoderBlock(config(**fields), cross_attention=True).double())
    oracle = nn.TransformerDecoderLayer(**oracle_options(fields))
    x, memory = stream(T, seed=1), stream(S, seed=2)
    pairs = [
        *common_pairs(ours, oracle),
        *attention_pairs(ours.cross_attention, oracle.multihead_attn),
        *module_pairs(ours.cross_attention_residual.norm, oracle.norm2),
        *module_pairs(ours.feed_forward_residual.norm, oracle.norm3),
    ]
    mask, memory_mask = (padding_mask(REAL), padding_mask(SOURCE_REAL)) if padded else (None, None)
    copy_and_compare(
        pairs,
        oracle,
        lambda: ours(x, mask, memory=memory, memory_mask=memory_mask),
        lambda: oracle(
            x,
            memory,
            tgt_mask=~causal_mask(T),
            tgt_key_padding_mask=~REAL if padded else None,
            memory_key_padding_mask=~SOURCE_REAL if padded else None,
        ),
        [x, memory],
    )


@LAYOUTS
def test_decoder_block_without_cross_attention_equals_torchs_encoder_layer_made_causal(
    norm_position, activation, fused
):
    fields = {"norm_position": norm_position, "activation": activation, "fused": fused}
    ours = randomize(DecoderBlock(config(**fields)).double())
    oracle = nn.TransformerEncoderLayer(**oracle_options(fields))
    x = stream(T, seed=1)
    copy_and_compare(
        [*common_pairs(ours, oracle), *module_pairs(ours.feed_forward_residual.norm, oracle.norm2)],
        oracle,
        lambda: ours(x),
        lambda: oracle(x, src_mask=~causal_mask(T)),
        [x],
    )


def test_the_memory_can_be_given_as_its_keys_and_values():
    block = randomize(DecoderBlock(config(), cross_attention=True).double())
    x, memory = stream(T, seed=1), stream(S, seed=2)
    once = block.cross_attention.keys_values(memory)
    mask = padding_mask(SOURCE_REAL)
    assert torch.equal(block(x, memory_kv=once, memory_mask=mask), block(x, memory=memory, memory_mask=mask))


@pytest.mark.parametrize("positions", ["none", "rotary"])
def test_a_block_with_a_cache_says_the_same_token_by_token(positions):
    c = config(n_kv_heads=2, norm="rmsnorm", activation="swiglu")
    block = randomize(DecoderBlock(c, cross_attention=True).double())
    rotary = RotaryEmbedding(16, c.head_size) if positions == "rotary" else None
    x, memory = stream(T, seed=1), stream(S, seed=2)
    places = torch.arange(T).expand(B, T)
    whole = block(x, rotary=rotary and rotary(places), memory=memory)
    cache = KVCache.empty(1, B, 2, 16, c.head_size, dtype=torch.float64)
    for t in range(T):
        place = places[:, t : t + 1]
        step = block(
            x[:, t : t + 1],
            cached_causal_mask(place, t + 1),
            rotary and rotary(place),
            cache.layer(0, place, t + 1),
            memory,
        )
        torch.testing.assert_close(step[:, 0], whole[:, t], rtol=1e-6, atol=1e-6)  # cos and sin are float32


def test_residual_orders():
    x, norm = stream(T, seed=1), randomize(LayerNorm(C).double())
    double = lambda h: 2 * h  # noqa: E731
    assert torch.equal(Residual(norm, pre_norm=True)(x, double), x + 2 * norm(x))
    assert torch.equal(Residual(norm, pre_norm=False)(x, double), norm(x + 2 * x))


def test_residual_dropout_falls_on_the_part_and_never_on_the_stream():
    torch.manual_seed(0)
    residual = Residual(nn.Identity(), dropout=0.5)
    x = torch.ones(1000)
    values, counts = residual(x, lambda h: h).unique(return_counts=True)
    assert values.tolist() == [1.0, 3.0] and 400 < counts[0] < 600  # dropped: x; kept: x + 2x
    assert torch.equal(residual.eval()(x, lambda h: h), 2 * x)


def test_dropout_in_a_block_acts_in_training_only():
    torch.manual_seed(0)
    for block in (EncoderBlock(config(dropout=0.5)).double(), DecoderBlock(config(dropout=0.5)).double()):
        x = stream(T, seed=1)
        assert not torch.allclose(block(x), block(x))
        block.eval()
        assert torch.equal(block(x), block(x))


@pytest.mark.parametrize(
    "fields, kind, has_bias",
    [
        ({"norm": "layernorm"}, LayerNorm, True),
        ({"norm": "layernorm", "bias": False}, LayerNorm, False),
        ({"norm": "rmsnorm"}, RMSNorm, False),
    ],
)
def test_the_config_chooses_the_norm(fields, kind, has_bias):
    norm = make_norm(config(**fields))
    assert type(norm) is kind and norm.eps == 0.01 and (getattr(norm, "bias", None) is not None) == has_bias


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "swiglu"])
@pytest.mark.parametrize("bias", [False, True])
def test_without_bias_no_part_of_a_block_has_one(activation, bias):
    block = DecoderBlock(config(activation=activation, bias=bias), cross_attention=True)
    assert any(name.endswith("bias") for name, _ in block.named_parameters()) == bias


def test_a_parallel_block_adds_what_both_sublayers_make_of_the_same_stream():
    block = randomize(DecoderBlock(config(parallel_residual=True)).double())
    x = stream(T, seed=1)
    attention = block.attention(block.attention_residual.norm(x), causal=True)
    expected = x + attention + block.feed_forward(block.feed_forward_residual.norm(x))
    torch.testing.assert_close(block(x), expected)


def test_a_sandwich_normalizes_what_a_sublayer_writes():
    block = randomize(DecoderBlock(config(norm_position="sandwich")).double())
    x = stream(T, seed=1)
    first, second = block.attention_residual, block.feed_forward_residual
    middle = x + first.output_norm(block.attention(first.norm(x), causal=True))
    torch.testing.assert_close(block(x), middle + second.output_norm(block.feed_forward(second.norm(middle))))
