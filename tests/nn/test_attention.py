"""Attention: the explicit formula, the fused kernel and torch's own module compute the same, for every type of mask."""

import pytest
import torch
from model_helpers import assert_all_close, gradients, randomize
from torch import nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.nn import MultiHeadAttention, RotaryEmbedding, causal_mask, fused_attention, naive_attention, padding_mask

B, H, T, S, D = 2, 4, 5, 7, 8
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
BOTH = pytest.mark.parametrize("attend", [naive_attention, fused_attention])


def queries_keys_values(t=T, s=S, n_kv_heads=H, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(t + 10 * s)
    shapes = [(B, H, t, D), (B, n_kv_heads, s, D), (B, n_kv_heads, s, D)]
    return [torch.randn(x, generator=generator, dtype=torch.float64).to(device, dtype).requires_grad_() for x in shapes]


def make_mask(kind: str, t: int, s: int, device="cpu"):
    """A mask of that type; "blind" has some queries that may attend to nothing, "void" only such queries."""
    generator = torch.Generator().manual_seed(3)
    if kind == "none":
        return None
    if kind == "padding":
        attention_mask = torch.ones(B, s, dtype=torch.bool)
        attention_mask[0, s // 2 :] = False
        return padding_mask(attention_mask).to(device)
    if kind == "void":
        return torch.zeros(1, 1, t, s, dtype=torch.bool, device=device)
    full = torch.rand(B, H, t, s, generator=generator) < 0.6
    full[..., 0] = True
    if kind == "blind":
        full[0, :, t // 2], full[1, 2] = False, False
    return (full[0, 0] if kind == "two axes" else full).to(device)


MASKS = ["none", "padding", "arbitrary", "two axes", "blind", "void"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("t, s", [(5, 5), (3, 7), (7, 3), (1, 6)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_fused_attention_equals_the_formula_in_values_and_gradients(kind, causal, t, s, n_kv_heads, device):
    qkv, mask = queries_keys_values(t, s, n_kv_heads, device=device), make_mask(kind, t, s, device)
    expected, _ = naive_attention(*qkv, mask, causal)
    actual, no_weights = fused_attention(*qkv, mask, causal)
    assert no_weights is None
    torch.testing.assert_close(actual, expected)
    assert expected.isfinite().all()
    actual_gradients, expected_gradients = gradients(actual, qkv), gradients(expected, qkv)
    assert all(g.isfinite().all() for g in expected_gradients)
    assert_all_close(actual_gradients, expected_gradients)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("kind", MASKS)
def test_both_paths_keep_the_accuracy_of_their_dtype(kind, dtype, tolerance, device):
    exact = queries_keys_values(dtype=dtype, device=device)
    mask = make_mask(kind, T, S, device)
    reference, _ = naive_attention(*[x.double() for x in exact], mask)
    for attend in (naive_attention, fused_attention):
        out, _ = attend(*exact, mask)
        assert out.dtype == dtype
        torch.testing.assert_close(out.double(), reference, rtol=tolerance, atol=tolerance)


def test_the_formula_is_a_softmax_of_scaled_products():
    """One query, two keys, by hand: scores 1·2/√4 = 1 and 0 give weights e/(e + 1) and 1/(e + 1)."""
    q, k = torch.tensor([[[[1.0, 0, 0, 0]]]]), torch.tensor([[[[2.0, 0, 0, 0], [0, 2.0, 0, 0]]]])
    v = torch.tensor([[[[1.0], [3.0]]]])
    e = torch.tensor(1.0).exp()
    out, weights = naive_attention(q, k, v)
    torch.testing.assert_close(weights.flatten(), torch.stack((e, torch.tensor(1.0))) / (e + 1))
    torch.testing.assert_close(out.flatten(), ((e + 3) / (e + 1))[None])


@pytest.mark.parametrize("kind", ["none", "padding", "arbitrary"])
def test_the_formula_equals_torchs_kernel(kind):
    """Without fused_attention: torch's function is called directly, so that a mistake common to both paths shows."""
    qkv, mask = queries_keys_values(), make_mask(kind, T, S)
    expected = F.scaled_dot_product_attention(*qkv, attn_mask=mask)
    actual, _ = naive_attention(*qkv, mask)
    torch.testing.assert_close(actual, expected)
    assert_all_close(gradients(actual, qkv), gradients(expected, qkv))


@BOTH
def test_grouped_heads_equal_torchs_grouped_query_attention(attend):
    """Query heads 0 and 1 share kv head 0, heads 2 and 3 share kv head 1: neighbors, not every other one."""
    q, k, v = queries_keys_values(n_kv_heads=2)
    torch.testing.assert_close(attend(q, k, v)[0], F.scaled_dot_product_attention(q, k, v, enable_gqa=True))


@BOTH
def test_causal_attention_equals_torchs_causal_kernel_on_a_square(attend):
    qkv = queries_keys_values(T, T)
    torch.testing.assert_close(attend(*qkv, causal=True)[0], F.scaled_dot_product_attention(*qkv, is_causal=True))


@BOTH
def test_fewer_causal_queries_than_keys_are_the_last_ones(attend):
    """Two queries over seven keys give the last two rows of all seven queries, which chunked prefill relies on."""
    q, k, v = queries_keys_values(7, 7)
    whole, _ = attend(q, k, v, causal=True)
    last, _ = attend(q[:, :, -2:], k, v, causal=True)
    torch.testing.assert_close(last, whole[:, :, -2:])


def test_weights_sum_to_one_and_respect_the_mask():
    qkv, mask = queries_keys_values(), make_mask("arbitrary", T, S)
    _, weights = naive_attention(*qkv, mask)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, H, T, dtype=torch.float64))
    assert (weights[~mask] == 0).all() and (weights[mask] > 0).all()


@pytest.mark.parametrize("device", DEVICES)
@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_query_that_may_attend_to_nothing_yields_zeros_and_zero_gradients(attend, dtype, device):
    qkv, mask = queries_keys_values(dtype=dtype, device=device), make_mask("blind", T, S, device)
    out, weights = attend(*qkv, mask)
    blind = ~mask.any(dim=-1)
    assert blind.any() and (out[blind] == 0).all() and out.isfinite().all()
    assert weights is None or (weights[blind] == 0).all()
    q_gradient, k_gradient, v_gradient = gradients(out, qkv)
    assert (q_gradient[blind] == 0).all()
    assert q_gradient.isfinite().all() and k_gradient.isfinite().all() and v_gradient.isfinite().all()
    assert (k_gradient[1, 2] == 0).all() and (v_gradient[1, 2] == 0).all()  # head 2 of sequence 1 is blind throughout


@BOTH
def test_a_key_nobody_may_attend_to_plays_no_part(attend):
    q, k, v = queries_keys_values()
    mask = torch.ones(B, 1, T, S, dtype=torch.bool)
    mask[..., 3] = False
    without = [0, 1, 2, 4, 5, 6]
    out, _ = attend(q, k, v, mask)
    torch.testing.assert_close(out, attend(q, k[:, :, without], v[:, :, without])[0])
    assert all((g[:, :, 3] == 0).all() for g in gradients(out, (k, v)))


@BOTH
def test_large_scores_do_not_overflow(attend):
    q, k, v = (1e3 * x.float() for x in queries_keys_values())
    assert attend(q, k, v, make_mask("blind", T, S))[0].isfinite().all()


@BOTH
@pytest.mark.parametrize("masked", [False, True])
def test_dropout_drops_the_stated_share_of_weights_and_scales_the_others(attend, masked):
    """With the identity as values, the output is the weights after dropout. 65,536 draws: the fraction's σ is 0.002."""
    torch.manual_seed(0)
    q, k = torch.randn(16, 4, 32, D), torch.randn(16, 4, 32, D)
    v = torch.eye(32).expand(16, 4, 32, 32)
    mask = torch.ones(32, 32, dtype=torch.bool) if masked else None
    _, weights = naive_attention(q, k, v)
    dropped, _ = attend(q, k, v, mask, dropout=0.3)
    zero = dropped == 0
    assert abs(zero.float().mean() - 0.3) < 0.01
    torch.testing.assert_close(dropped[~zero], weights[~zero] / 0.7)


def test_weights_are_returned_as_they_were_before_dropout():
    qkv = queries_keys_values()
    assert torch.equal(naive_attention(*qkv, dropout=0.9)[1], naive_attention(*qkv)[1])


# ── the module ──


def module_and_oracle(fused: bool, bias: bool = True):
    """Our module and torch's, with the same random weights."""
    ours = randomize(MultiHeadAttention(16, 4, bias=bias, fused=fused).double())
    oracle = nn.MultiheadAttention(16, 4, bias=bias, batch_first=True).double()
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        oracle.out_proj.weight.copy_(ours.out_proj.weight)
        if bias:
            oracle.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
            oracle.out_proj.bias.copy_(ours.out_proj.bias)
    return ours, oracle


def assert_same_as_oracle(ours, oracle, actual, expected, inputs):
    torch.testing.assert_close(actual, expected)
    ours_in = [ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight, ours.out_proj.weight]
    actual_gradients = gradients(actual, [*inputs, *ours_in])
    expected_gradients = gradients(expected, [*inputs, oracle.in_proj_weight, oracle.out_proj.weight])
    n = len(inputs)
    assert_all_close(actual_gradients[:n], expected_gradients[:n])
    torch.testing.assert_close(torch.cat(actual_gradients[n : n + 3]), expected_gradients[n])
    torch.testing.assert_close(actual_gradients[-1], expected_gradients[-1])


def stream(length, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, length, 16, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["none", "padding", "causal", "padding and causal"])
def test_self_attention_equals_torchs_module(kind, bias, fused):
    ours, oracle = module_and_oracle(fused, bias)
    x = stream(T, seed=1)
    attention_mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    causal = "causal" in kind
    mask = padding_mask(attention_mask) if "padding" in kind else None
    actual = ours(x, mask=mask, causal=causal)
    expected, _ = oracle(  # torch's convention is the opposite of ours: True = may not attend
        x,
        x,
        x,
        key_padding_mask=None if mask is None else ~attention_mask,
        attn_mask=~causal_mask(T) if causal else None,
        need_weights=False,
    )
    assert_same_as_oracle(ours, oracle, actual, expected, [x])


@pytest.mark.parametrize("fused", [False, True])
def test_cross_attention_equals_torchs_module(fused):
    ours, oracle = module_and_oracle(fused)
    x, memory = stream(T, seed=1), stream(S, seed=2)
    attention_mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    actual = ours(x, memory=memory, mask=padding_mask(attention_mask))
    expected, _ = oracle(x, memory, memory, key_padding_mask=~attention_mask, need_weights=False)
    assert_same_as_oracle(ours, oracle, actual, expected, [x, memory])


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_precomputed_keys_and_values_stand_for_the_memory(n_kv_heads):
    attention = randomize(MultiHeadAttention(16, 4, n_kv_heads).double())
    x, memory = stream(T, seed=1), stream(S, seed=2)
    memory_kv = attention.keys_values(memory)
    assert memory_kv[0].shape == memory_kv[1].shape == (B, n_kv_heads, S, 4)
    assert torch.equal(attention(x, memory_kv=memory_kv), attention(x, memory=memory))


def test_attention_to_itself_as_memory_is_self_attention():
    attention = randomize(MultiHeadAttention(16, 4).double())
    x = stream(T, seed=1)
    assert torch.equal(attention(x), attention(x, memory=x))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recorded_weights_receives_them_and_changes_nothing(dropout):
    attention = randomize(MultiHeadAttention(16, 4, dropout=dropout, fused=True).double()).eval()
    x = stream(T, seed=1)
    silent = attention(x, causal=True)
    attention.recorded_weights = []
    recorded = attention(x, causal=True)
    torch.testing.assert_close(recorded, silent)
    attention(x)
    assert [tuple(w.shape) for w in attention.recorded_weights] == [(B, 4, T, T)] * 2
    weights = attention.recorded_weights[0]
    assert not weights.requires_grad and (weights.triu(diagonal=1) == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


@pytest.mark.parametrize("fused", [False, True])
def test_dropout_acts_in_training_only(fused):
    torch.manual_seed(0)
    attention = randomize(MultiHeadAttention(16, 4, dropout=0.5, fused=fused).double())
    x = stream(T, seed=1)
    assert not torch.allclose(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))
    without = randomize(MultiHeadAttention(16, 4, dropout=0.0, fused=fused).double())
    assert torch.equal(attention(x), without(x))


def test_rotary_self_attention_depends_on_distances_only():
    """Moving the whole sequence by 9 positions changes nothing; changing one distance does."""
    attention, rotary = randomize(MultiHeadAttention(16, 4, 2)), RotaryEmbedding(32, 4)
    x = stream(T, seed=1).float()
    here, there = torch.arange(T)[None], torch.arange(T)[None] + 9
    stretched = 2 * torch.arange(T)[None]
    expected = attention(x, causal=True, rotary=rotary(here))
    torch.testing.assert_close(attention(x, causal=True, rotary=rotary(there)), expected)
    assert not torch.allclose(attention(x, causal=True, rotary=rotary(stretched)), expected, atol=1e-2)


@pytest.mark.parametrize("sizes, words", [((10, 4), "10.*4 heads"), ((16, 4, 3), "4 query heads.*3 kv heads")])
def test_heads_that_do_not_fit_are_refused_in_one_sentence(sizes, words):
    with pytest.raises(UserError, match=words):
        MultiHeadAttention(*sizes)
