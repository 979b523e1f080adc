"""Properties of every GPT: causality, padding, caching, fused = explicit, and learning."""

import pytest
import torch
from model_helpers import VARIANTS, assert_all_close, gradients, random_gpt, random_ids, set_parameters
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig

P = 16  # context_length of random_gpt
# rotary and sinusoidal tables are float32, everything else float64
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(params=VARIANTS)
def model(request):
    return random_gpt(**VARIANTS[request.param])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_future_token_changes_no_earlier_output(variant, fused):
    model = random_gpt(fused=fused, **VARIANTS[variant])
    ids = random_ids(2, 12)
    before = model(ids)
    for t in range(12):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + 1) % 29
        after = model(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(after[:, t:], before[:, t:], atol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_earlier_token_matters(variant):
    """The converse of causality: attention reaches all earlier tokens; a window limits it to what its layers reach."""
    model = random_gpt(**VARIANTS[variant])
    ids = random_ids(1, 12)
    last = model(ids)[:, -1]
    reach = sum((model.config.sliding_window if model.config.is_sliding(layer) else 12) - 1 for layer in range(2))
    for t in range(12):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + 1) % 29
        assert ((model(changed)[:, -1] - last).abs().max() > 1e-6) == (t >= 11 - reach)


def test_the_fused_model_equals_the_explicit_one_in_values_and_gradients():
    for fields in VARIANTS.values():
        fused, explicit = (random_gpt(fused=f, **fields) for f in (True, False))
        ids, attention_mask = random_ids(3, 9), torch.rand(3, 9, generator=torch.Generator().manual_seed(1)) < 0.7
        for mask in (None, attention_mask):
            actual, expected = fused(ids, mask), explicit(ids, mask)
            torch.testing.assert_close(actual, expected, **CLOSE)
            assert_all_close(gradients(actual, fused.parameters()), gradients(expected, explicit.parameters()), **CLOSE)


# ── padding ──


def test_left_padded_right_padded_and_unpadded_agree(model):
    sequences = [random_ids(n, seed=n) for n in (9, 4, 1)]
    for side in ("left", "right"):
        ids, attention_mask = torch.zeros(3, 12, dtype=torch.long), torch.zeros(3, 12, dtype=torch.bool)
        for row, sequence in enumerate(sequences):
            n = len(sequence)
            where = slice(12 - n, 12) if side == "left" else slice(0, n)
            ids[row, where], attention_mask[row, where] = sequence, True
        logits = model(ids, attention_mask)
        assert logits.isfinite().all()
        for row, sequence in enumerate(sequences):
            torch.testing.assert_close(logits[row][attention_mask[row]], model(sequence[None])[0], **CLOSE)


def test_what_stands_in_the_padding_changes_nothing_and_gets_no_gradient(model):
    ids, attention_mask = random_ids(2, 10), torch.ones(2, 10, dtype=torch.bool)
    attention_mask[0, 6:], attention_mask[1, :3] = False, False
    ids[attention_mask], ids[~attention_mask] = ids[attention_mask] % 28, 28  # token 28 is only in the padding
    other = ids.masked_fill(~attention_mask, 3)
    torch.testing.assert_close(
        model(ids, attention_mask)[attention_mask], model(other, attention_mask)[attention_mask], rtol=0, atol=1e-12
    )  # not to the last bit: padding, too, is in the groups of tokens that experts multiply
    hidden = model.hidden_states(ids, attention_mask)
    (gradient,) = gradients(hidden[attention_mask], [model.token_embedding.weight])
    assert not gradient[28].any() and gradient[:28].any()


def test_a_mask_of_real_tokens_only_changes_nothing(model):
    ids = random_ids(2, 10)
    torch.testing.assert_close(model(ids, torch.ones(2, 10, dtype=torch.bool)), model(ids), **CLOSE)


def test_gradients_are_finite_when_whole_rows_are_padding(model):
    ids, attention_mask = random_ids(3, 8), torch.ones(3, 8, dtype=torch.bool)
    attention_mask[0], attention_mask[1, :5] = False, False
    assert all(g.isfinite().all() for g in gradients(model(ids, attention_mask), model.parameters()))


# ── the cache ──


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[12], [1] * 12, [5, 1, 1, 5], [1, 11]])
def test_reading_in_chunks_with_a_cache_equals_reading_at_once(model, chunks):
    ids = random_ids(2, 12)
    cache, start, logits = model.make_cache(2), 0, []
    for size in chunks:
        positions = torch.arange(start, start + size).expand(2, size)
        logits.append(model.lm_head(model.decode(ids[:, start : start + size], positions, cache)))
        start += size
    torch.testing.assert_close(torch.cat(logits, dim=1), model(ids), **CLOSE)


@torch.no_grad()
def test_sequences_of_different_lengths_share_a_cache(model):
    """Prompts of 7, 3 and 1 tokens are read as one right-padded batch, then each grows from its own end."""
    lengths, n_new = [7, 3, 1], 5
    wholes = [random_ids(n + n_new, seed=n) for n in lengths]
    cache = model.make_cache(3, length=12)
    prompts = torch.full((3, 7), 28)
    for row, (whole, n) in enumerate(zip(wholes, lengths, strict=True)):
        prompts[row, :n] = whole[:n]
    prompt_logits = model.lm_head(model.decode(prompts, torch.arange(7).expand(3, 7), cache))
    steps = []
    for i in range(n_new):
        ids = torch.stack([whole[n + i] for whole, n in zip(wholes, lengths, strict=True)])[:, None]
        steps.append(model.lm_head(model.decode(ids, torch.tensor(lengths)[:, None] + i, cache)))
    for row, (whole, n) in enumerate(zip(wholes, lengths, strict=True)):
        actual = torch.cat([prompt_logits[row, :n], *(step[row] for step in steps)])
        torch.testing.assert_close(actual, model(whole[None])[0], **CLOSE)


@torch.no_grad()
def test_dropping_and_replacing_sequences_in_a_cache_keeps_the_others_right(model):
    a, b = random_ids(3, 6, seed=1), random_ids(1, 6, seed=2)
    start, last = torch.arange(5)[None], torch.tensor([[5]])
    cache, newcomer = model.make_cache(3), model.make_cache(1)
    model.decode(a[:, :5], start, cache)
    model.decode(b[:, :5], start, newcomer)
    kept = cache.select(torch.tensor([2, 0]))
    torch.testing.assert_close(
        model.decode(a[[2, 0], 5:], last, kept)[:, 0], model.hidden_states(a[[2, 0]])[:, -1], **CLOSE
    )
    cache.write_rows(torch.tensor([1]), newcomer)
    mixed = torch.stack((a[0], b[0], a[2]))
    torch.testing.assert_close(
        model.decode(mixed[:, 5:], last, cache)[:, 0], model.hidden_states(mixed)[:, -1], **CLOSE
    )


def test_a_copied_prefix_is_continued_like_the_original(model):
    ids, cache = random_ids(2, 6, seed=1), model.make_cache(2)
    model.decode(ids[:, :5], torch.arange(5)[None], cache)
    cache.copy_row(0, 1, length=5)
    continued = model.decode(ids[[0, 0], 5:], torch.tensor([[5]]), cache)[:, 0]
    torch.testing.assert_close(continued, model.hidden_states(ids[[0, 0]])[:, -1], **CLOSE)


def test_a_new_cache_has_the_models_dtype_and_the_stated_length():
    model = random_gpt(n_kv_heads=2).to(torch.bfloat16)
    cache = model.make_cache(5, length=7)
    assert cache.kv.shape == (2, 5, 4, 7, 4) and cache.kv.dtype == torch.bfloat16
    assert model.make_cache(1).length == P


# ── the door ──


def test_a_text_longer_than_the_context_is_refused_in_one_sentence(model):
    assert model(random_ids(1, P)).shape == (1, P, 29)
    with pytest.raises(UserError, match="17 tokens.*context of 16 tokens"):
        model(random_ids(1, P + 1))
    with pytest.raises(UserError, match="17 tokens.*context of 16 tokens"):
        model.decode(random_ids(1, 1), torch.tensor([[P]]), model.make_cache(1))


def test_a_full_cache_is_refused_in_one_sentence(model):
    with pytest.raises(UserError, match="4.*cache of 4 tokens"):
        model.decode(random_ids(1, 1), torch.tensor([[4]]), model.make_cache(1, length=4))


@torch.no_grad()
def test_the_bounds_of_the_positions_need_not_be_given(model):
    """They only save a synchronization on a GPU: the hidden states are the same."""
    ids = random_ids(2, 6)
    for positions, bounds in (
        (torch.arange(5)[None], (0, 5)),
        (torch.tensor([[3], [5]]), (3, 6)),
        (torch.tensor([[3]]), (3, 4)),
    ):
        new = ids[:, : positions.size(1)]
        given, computed = (model.decode(new, positions, model.make_cache(2), b) for b in (bounds, None))
        assert torch.equal(given, computed)


# ── the whole ──


def test_tied_embeddings_are_one_tensor_and_untied_are_two():
    tied, untied = random_gpt(), random_gpt(tie_embeddings=False)
    assert tied.lm_head.weight is tied.token_embedding.weight
    assert untied.lm_head.weight is not untied.token_embedding.weight
    tied.load_state_dict(tied.state_dict())
    assert tied.lm_head.weight is tied.token_embedding.weight


def test_hidden_states_become_logits_by_the_output_layer(model):
    ids = random_ids(2, 5)
    assert torch.equal(F.linear(model.hidden_states(ids), model.lm_head.weight), model(ids))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_the_context_matters_to_every_model_that_has_positions(variant):
    """One layer without positions sees a bag of tokens: swapping two of them does not change the last output."""
    model = random_gpt(n_layers=1, **VARIANTS[variant] | {"layer_types": ()})
    one, other = model(torch.tensor([[3, 5, 7, 2], [7, 5, 3, 2]]))[:, -1]
    if variant == "bare":
        torch.testing.assert_close(one, other)
    else:
        assert (one - other).abs().max() > 1e-3


def test_dropout_acts_in_training_only():
    model, ids = random_gpt(dropout=0.3), random_ids(2, 8)
    assert torch.equal(model(ids), model(ids))
    assert torch.equal(model(ids), random_gpt(dropout=0.0)(ids))
    model.train()
    assert not torch.allclose(model(ids), model(ids))


def test_dropout_falls_on_the_embeddings_too():
    torch.manual_seed(0)
    model, inputs = random_gpt(dropout=0.3, d_model=64).train(), []
    model.blocks[0].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model(random_ids(8, P))
    assert abs((inputs[0] == 0).double().mean() - 0.3) < 0.03  # 8,192 draws: σ is 0.005


@pytest.mark.parametrize("variant", [
    pytest.param(variant, marks=[] if variant in ("original", "llama") else pytest.mark.slow) for variant in VARIANTS
])  # fmt: skip
def test_a_model_can_learn_one_batch_by_heart(variant):
    """Four random sequences, each with a different first token: the loss can fall from log 29 = 3.37 to 0."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=29, context_length=8, n_layers=2, n_heads=4, d_model=32, **VARIANTS[variant]))
    ids = random_ids(4, 9)
    assert len(set(ids[:, 0].tolist())) == 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(200):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_autocast_keeps_all_variants_within_its_precision(model):
    model, ids = model.float(), random_ids(2, 8)
    exact = model(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(ids).float()
        cached = model.lm_head(model.decode(ids, torch.arange(8)[None], model.make_cache(2))).float()
    scale = exact.abs().mean()
    assert (rough - exact).abs().mean() < 0.05 * scale and (cached - exact).abs().mean() < 0.05 * scale


def test_value_embeddings_add_to_the_values_of_their_own_token_alone():
    plain, model = random_gpt(), random_gpt(value_embeddings=True)
    set_parameters(plain, {name: p for name, p in model.named_parameters() if "value_embeddings" not in name})
    ids = torch.tensor([[3, 4, 5, 3]])
    with torch.no_grad():
        assert not torch.allclose(model(ids), plain(ids))
        for table in model.value_embeddings:
            table.weight[torch.tensor([3, 4, 5])] = 0.0  # the tokens that occur
        assert torch.equal(model(ids), plain(ids))
        model.value_embeddings[1].weight[4] = 1.0
        same, changed = model(ids)[0].eq(plain(ids)[0]).all(dim=-1).tolist()[:1], model(ids)[0, 1:]
    assert same == [True] and not changed.isclose(plain(ids)[0, 1:]).all(dim=-1).any(), "from its position on"


def test_n_gram_embeddings_see_a_token_and_those_before_it_and_nothing_else():
    model = random_gpt(max_ngram=3, ngram_buckets=997)
    ids = torch.tensor([[1, 2, 3, 4, 5], [9, 9, 3, 4, 5], [1, 2, 9, 4, 5], [1, 2, 3, 9, 5]])
    positions = torch.arange(5)[None]
    vectors = model.ngram_embedding(ids, model.earlier_ids(ids, positions, None))  # (4, 5, C)
    assert torch.equal(vectors[0, 4], vectors[1, 4]), "the same trigram"
    for other in (2, 3):
        assert not vectors[0, 4].isclose(vectors[other, 4]).any()
    padded = torch.tensor([[7, 7, 3, 4, 5]])  # two tokens of padding on the left have position 0, too
    after_padding = model.ngram_embedding(padded, model.earlier_ids(padded, torch.tensor([[0, 0, 0, 1, 2]]), None))
    alone = model.ngram_embedding(ids[:1, 2:], model.earlier_ids(ids[:1, 2:], positions[:, :3], None))
    assert torch.equal(after_padding[:, 2:], alone)
