"""Multi-head latent attention against DeepSeek-V2's own and against itself: cached, absorbed, and its bytes."""

import pytest
import torch
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Attention, DeepseekV2Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2RotaryEmbedding as TheirRotary

from llmasos.errors import UserError
from llmasos.nn import LatentAttention, RotaryEmbedding, causal_mask
from llmasos.planning import latent_cache_bytes

B, T, C, H, D, N, R = 2, 7, 24, 3, 8, 10, 4


def attention_and_input():
    torch.manual_seed(0)
    attention = LatentAttention(C, H, D, N, R).double()
    torch.nn.init.uniform_(attention.latent_norm.weight, 0.5, 1.5)
    return attention, torch.randn(B, T, C, dtype=torch.float64), RotaryEmbedding(T, R).double()


def test_it_is_deepseeks():
    attention, x, rotary = attention_and_input()
    config = DeepseekV2Config(
        hidden_size=C, num_attention_heads=H, num_key_value_heads=H, q_lora_rank=None, kv_lora_rank=N,
        qk_nope_head_dim=D, qk_rope_head_dim=R, v_head_dim=D, head_dim=R, max_position_embeddings=T,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = DeepseekV2Attention(config, layer_idx=0).double()
    pairs = torch.tensor([0, 2, 1, 3])  # they rotate dimensions 2i and 2i + 1, ours i and i + R/2
    q = attention.q_proj.weight.view(H, D + R, C).clone()
    q[:, D:] = q[:, D:][:, pairs]
    k, v = (p.weight.view(H, D, N) for p in (attention.k_proj, attention.v_proj))
    theirs.load_state_dict({
        "q_proj.weight": q.flatten(0, 1),
        "kv_a_proj_with_mqa.weight": torch.cat((attention.latent_proj.weight, attention.rotary_k_proj.weight[pairs])),
        "kv_a_layernorm.weight": attention.latent_norm.weight,
        "kv_b_proj.weight": torch.cat((k, v), dim=1).flatten(0, 1),
        "o_proj.weight": attention.out_proj.weight,
    })  # fmt: skip
    mask = torch.zeros(1, 1, T, T, dtype=torch.float64).masked_fill(~causal_mask(T), -torch.inf)
    positions = torch.arange(T)[None]
    expected, _ = theirs(x, mask, position_embeddings=TheirRotary(config)(x, positions))
    out, _ = attention(x, rotary(positions))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)  # they rotate and normalize in float32


@pytest.mark.parametrize("absorbed", [False, True])
def test_a_token_at_a_time_gives_what_all_at_once_give(absorbed):
    attention, x, rotary = attention_and_input()
    whole, _ = attention(x, rotary(torch.arange(T)[None]))
    cache, steps = None, []
    for start, stop in ((0, 3), (3, 4), (4, T)):
        out, cache = attention(x[:, start:stop], rotary(torch.arange(start, stop)[None]), cache, absorbed)
        steps.append(out)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    shapes = [tuple(tensor.shape) for tensor in cache]
    assert shapes == [(B, T, N), (B, T, R)]
    assert sum(tensor.nbytes for tensor in cache) == B * latent_cache_bytes(1, N, R, T, value_bytes=8)


def test_absorbed_has_the_same_gradients():
    attention, x, rotary = attention_and_input()
    gradients = []
    for absorbed in (False, True):
        out, _ = attention(x, rotary(torch.arange(T)[None]), absorbed=absorbed)
        gradients.append(torch.autograd.grad(out.square().sum(), tuple(attention.parameters())))
    for plain, moved in zip(*gradients, strict=True):
        torch.testing.assert_close(moved, plain)


def test_only_the_distance_counts():
    attention, x, _ = attention_and_input()
    rotary = RotaryEmbedding(T + 50, R).double()
    here, there = (attention(x, rotary(torch.arange(start, start + T)[None]))[0] for start in (0, 50))
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)  # angles are computed in float32
    mixed = x.flip(1)[:, 1:]  # other earlier tokens in another order matter, though
    assert (attention(mixed, rotary(torch.arange(T - 1)[None]))[0][:, -1] - here[:, -1]).abs().max() > 1e-3


def test_an_odd_rotary_size_is_refused():
    with pytest.raises(UserError, match="rotary_size is 3; it must be even"):
        LatentAttention(C, H, D, N, 3)
