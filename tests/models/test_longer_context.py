"""Longer texts: ALiBi and windows by their definitions, and models that read twice the length of their training."""

import pytest
import torch
from model_helpers import assert_all_close, gradients, random_gpt, random_ids
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig, extend_context, flops_per_token
from llmasos.nn import MultiHeadAttention, alibi_slopes, fused_attention, naive_attention, sliding_window_mask
from llmasos.nn.rope_scaling import RopeScaling


def by_definition(attention, x, window=None):
    """One query and one head at a time: softmax(q·k/√D - slope · distance) over the tokens in the window."""
    H, D = attention.n_heads, attention.head_size
    q, k, v = (p(x).unflatten(-1, (H, D)) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    slopes = [0.0] * H if attention.alibi is None else alibi_slopes(H).tolist()
    rows = []
    for t in range(x.size(1)):
        first = 0 if window is None else max(0, t - window + 1)
        heads = []
        for h in range(H):
            distance = t - torch.arange(first, t + 1)
            scores = k[0, first : t + 1, h] @ q[0, t, h] / D**0.5 - slopes[h] * distance
            heads.append(scores.softmax(0) @ v[0, first : t + 1, h])
        rows.append(torch.cat(heads))
    return attention.out_proj(torch.stack(rows))[None]


@pytest.mark.parametrize("fused", [True, False])
def test_alibi_lowers_each_score_by_slope_times_distance(fused):
    torch.manual_seed(0)
    attention = MultiHeadAttention(16, 4, fused=fused, alibi=True).double()
    x = torch.randn(1, 9, 16, dtype=torch.float64, requires_grad=True)
    actual, expected = attention(x, causal=True), by_definition(attention, x)
    torch.testing.assert_close(actual, expected)
    inputs = [x, *attention.parameters()]
    assert_all_close(gradients(actual, inputs), gradients(expected, inputs), rtol=1e-6, atol=1e-9)
    with torch.no_grad():
        without = MultiHeadAttention(16, 4).double()
        without.load_state_dict(attention.state_dict())
        assert (without(x, causal=True) - actual).abs().max() > 1e-3


@pytest.mark.parametrize("masked", [False, True])
def test_a_bias_is_the_same_in_the_kernel_and_in_the_formula(masked):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    bias = torch.randn(1, 4, 5, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 1, 5, 5, generator=generator) < 0.6 if masked else None
    if mask is not None:
        mask[0, 0, 2] = False  # a query that may attend to nothing
    out, _ = naive_attention(q, k, v, mask, bias=bias)
    torch.testing.assert_close(fused_attention(q, k, v, mask, bias=bias)[0], out)


def test_a_token_sees_its_window_and_through_two_layers_twice_as_far():
    model = random_gpt(positions="rotary", sliding_window=3)
    ids = random_ids(1, 12)
    expected = model.blocks[0].attention
    x = torch.randn(1, 12, 16, dtype=torch.float64)
    mask = sliding_window_mask(torch.arange(12)[None], 12, 3)
    torch.testing.assert_close(expected(x, mask, causal=True), by_definition(expected, x, window=3))
    other = ids.clone()
    other[0, 3] = (ids[0, 3] + 1) % 29
    changed = (model(ids) != model(other)).any(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]  # 2 + 2 positions on


def test_flops_count_the_window():
    whole, window = (ModelConfig(sliding_window=w) for w in (None, 100))
    assert flops_per_token(window, 1000) == flops_per_token(whole, 100)
    assert flops_per_token(window, 50) == flops_per_token(whole, 50)


SCHEMES = {
    "alibi": ({"positions": "alibi"}, None),
    "none": ({"positions": "none"}, None),
    "sinusoidal": ({"positions": "sinusoidal"}, None),
    "window": ({"positions": "rotary", "sliding_window": 4}, None),
    **{f"rotary, {type}": ({"positions": "rotary"}, RopeScaling(2.0, original_context_length=8, type=type))
       for type in ("linear", "ntk", "yarn", "llama3")},
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_trained_at_t_is_evaluated_at_2t(scheme):
    fields, scaling = SCHEMES[scheme]
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=5, context_length=8, n_layers=1, n_heads=2, d_model=16, **fields))
    ids = torch.arange(17)[None] % 5
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        F.cross_entropy(model(ids[:, :8]).flatten(0, 1), ids[0, 1:9]).backward()
        optimizer.step(), optimizer.zero_grad()
    with pytest.raises(UserError, match="does not fit the model's context of 8"):
        model(ids[:, :16])
    longer = extend_context(model, 16, scaling)
    loss = F.cross_entropy(longer(ids[:, :16]).flatten(0, 1), ids[0, 1:])
    if scheme == "sinusoidal":  # vectors it has never seen are added to the tokens
        assert 1.0 < loss < 10.0
    else:
        assert loss < 1.0, "the next token follows from the last one, at any position"
    if scaling is None:
        torch.testing.assert_close(longer(ids[:, :8]), model(ids[:, :8]))
    else:
        assert longer.rotary.cos.shape == (16, 4) and not torch.equal(longer.rotary.cos[:8], model.rotary.cos)


def test_learned_positions_end_where_training_ended():
    with pytest.raises(UserError, match="has learned 16 positions, and there are no others"):
        extend_context(random_gpt(), 32)
