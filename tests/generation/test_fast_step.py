"""The step without modules computes the same as `decode`; a model that it does not support is left to `decode`."""

from dataclasses import fields

import pytest
import torch
from generation_helpers import lively_model, lively_transformer
from model_helpers import VARIANTS, random_gpt, random_ids, randomize
from torch import nn

from llmasos.generation import Decoder, SamplingOptions, SequenceState, generate_naive
from llmasos.generation.fast_step import KNOWN_FIELDS, fast_step, is_known, stack
from llmasos.models import ModelConfig
from llmasos.models.adapter import add_adapter
from llmasos.nn import quantize

EXTRA = {
    "half_width": {"positions": "rotary", "head_size": 2, "norm": "rmsnorm"},
    "post_norm_swiglu": {"norm_position": "post", "activation": "swiglu", "qk_norm": True, "n_kv_heads": 2},
    "ngrams": {"max_ngram": 3, "ngram_buckets": 50, "positions": "rotary"},
    "only_qkv_bias": {"bias": False, "qkv_bias": True, "output_bias": True},
}
T5 = {"positions": "none", "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "bias": False,
      "n_kv_heads": 2, "norm": "rmsnorm", "activation": "geglu_tanh", "attention_scale": 1.0,
      "scale_embeddings": False}  # fmt: skip
CASES = {**VARIANTS, **EXTRA}
PLACES = {"together": ([5, 5, 5], (5, 6)), "apart": ([5, 0, 3], (0, 6))}


def compare(model, ids, places, bounds, tolerance: float = 1e-10) -> None:
    """Check that both ways give the same hidden states and leave the same cache."""
    positions, n = torch.tensor(places), len(ids)
    with torch.inference_mode():
        cache = model.prefill(random_ids(n, 4), length=8) if hasattr(model, "prefill") else model.make_cache(n, 8)
        cache.kv.normal_()
        if cache.ids is not None:
            cache.ids.copy_(random_ids(n, 8, seed=1))
        other = cache.select(torch.arange(n))  # a copy
        expected = model.decode(ids[:, None], positions[:, None], cache, bounds)[:, 0]
        actual = fast_step(model)(ids, positions, other, bounds)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(other.kv, cache.kv, rtol=0, atol=tolerance)


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_a_decode_of_one_token(case, where):
    model = random_gpt(**CASES[case])
    assert is_known(model) == ("alibi" not in case)
    compare(model, random_ids(3), *PLACES[where])


@pytest.mark.parametrize("case", CASES)
def test_a_step_of_one_sequence_too_with_both_kernels_for_one_row(case, monkeypatch):
    model = random_gpt(**CASES[case])
    compare(model, random_ids(1), [5], (5, 6))
    for name in ("SLOW_VECTOR_KERNEL", "SLOW_MKL"):
        monkeypatch.setattr(f"llmasos.nn.cpu.{name}", True)
    monkeypatch.setattr("llmasos.nn.cpu.SMALL_MATRIX", 0)
    compare(model, random_ids(1), [5], (5, 6))
    compare(model.float(), random_ids(1), [5], (5, 6), tolerance=1e-5)


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("changes", [{}, {"n_kv_heads": 2, "norm_position": "pre", "activation": "swiglu"}, T5])
def test_a_step_of_an_encoder_decoder_too(changes, where):
    model = lively_transformer(**changes)
    assert is_known(model)
    compare(model, random_ids(3), *PLACES[where])


@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_a_step_of_an_int8_model_too(case):
    model = quantize(random_gpt(d_model=32, **CASES[case]).float())
    assert is_known(model)
    compare(model, random_ids(3), *PLACES["apart"], tolerance=1e-5)


def test_a_step_of_an_adapted_model_too():
    model = random_gpt(n_kv_heads=2)
    add_adapter(model, "base", rank=2)
    assert is_known(randomize(model))
    compare(model, random_ids(3), *PLACES["apart"])


@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_a_step_in_bfloat16_differs_by_rounding_only(case):
    compare(random_gpt(**CASES[case]).bfloat16(), random_ids(3), *PLACES["apart"], tolerance=0.1)


def test_what_it_does_not_know_is_left_to_decode():
    class Other(nn.Module):
        def forward(self, x, *args, **kwargs):
            return 0.5 * x

    hooked, replaced, naive = random_gpt(), random_gpt(), random_gpt(fused=False)
    hooked.blocks[1].feed_forward.register_forward_hook(lambda *args: None)
    replaced.blocks[0].attention = Other()
    recorded = random_gpt()
    recorded.blocks[0].attention.recorded_weights = []
    for model in (hooked, replaced, naive):
        assert not is_known(model)
        compare(model, random_ids(3), *PLACES["apart"])
    assert not is_known(recorded)


def test_a_layer_of_another_type_is_called_as_it_is():
    model = random_gpt()
    attention = model.blocks[0].attention
    attention.q_proj = nn.Sequential(attention.q_proj, nn.Tanh())
    assert is_known(model)
    compare(model, random_ids(3), *PLACES["apart"])


def test_every_known_field_exists():
    assert {f.name for f in fields(ModelConfig)} >= KNOWN_FIELDS


def test_stacking_keeps_names_shapes_and_values_and_stores_nothing_twice():
    model = random_gpt(n_kv_heads=2)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    fast_step(model)
    for name, p in model.state_dict().items():
        assert torch.equal(p, before[name]) and p.is_contiguous(), name
    attention = model.blocks[0].attention
    weights = [layer.weight for layer in (attention.q_proj, attention.k_proj, attention.v_proj)]
    rows = stack(weights)
    assert rows.data_ptr() == weights[0].data_ptr(), "they are neighbors now, and were copied again"
    assert torch.equal(rows, torch.cat(weights))


def test_weights_that_change_after_stacking_change_the_step():
    model = random_gpt()
    step = fast_step(model)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
    ids, positions = random_ids(3), torch.tensor([0, 0, 0])
    with torch.inference_mode():
        expected = model.decode(ids[:, None], positions[:, None], model.make_cache(3, 4), (0, 1))[:, 0]
        torch.testing.assert_close(step(ids, positions, model.make_cache(3, 4), (0, 1)), expected)


def test_a_model_can_be_trained_after_it_has_generated():
    model, twin = random_gpt(), random_gpt()
    Decoder(model, [SequenceState((1, 2), SamplingOptions(max_new_tokens=2))])
    ids = random_ids(4, 8)
    for m in (model, twin):
        optimizer = torch.optim.AdamW(m.parameters(), lr=1e-2, fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(m(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_neighbors_in_memory_are_not_copied():
    published = torch.randn(4, 9)  # (in, out) of queries, keys and values, as in GPT-2's file
    weights = [nn.Parameter(part) for part in published.T.split(3)]
    rows = stack(weights)
    assert rows.data_ptr() == published.data_ptr() and torch.equal(rows, published.T)


def test_texts_are_those_of_the_naive_loop_in_single_precision():
    model = lively_model().float()
    options = SamplingOptions(max_new_tokens=12, temperature=0.0)
    sequence = SequenceState((1, 2, 3), options)
    decoder = Decoder(model, [sequence])
    for _ in range(11):
        decoder.sample()
        decoder.step()
    decoder.sample()
    assert sequence.ids == generate_naive(model, (1, 2, 3), options)
