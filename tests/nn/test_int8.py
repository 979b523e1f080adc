"""Weights rounded to int8: off by at most half a scale, a quarter of the memory, and otherwise the same model."""

import copy
import dataclasses
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_helpers import VARIANTS, layers_of, random_ids, randomize
from torch import nn

from llmasos import LLMTrainer, hub
from llmasos.errors import UserError
from llmasos.generation import (
    BeamOptions,
    Decoder,
    SamplingOptions,
    SequenceState,
    beam_search,
    generate,
    generate_naive,
)
from llmasos.hub.resolve import shipped_models
from llmasos.interpret import attention_maps, logit_lens, score_tokens
from llmasos.models import ModelConfig, build_model, n_parameters, weight_bytes
from llmasos.nn import Int8Embedding, Int8Linear, is_quantized, quantize
from llmasos.nn.int8 import quantize_rows
from llmasos.nn.quantization import SKIPPED
from llmasos.prompting import Message, template_of
from llmasos.tasks import fill_masks
from llmasos.tasks.text_embedding import embed

SMALL = {"vocab_size": 29, "context_length": 16, "n_layers": 2, "n_heads": 4, "d_model": 16}
MODELS = {
    **{f"gpt {name}": fields for name, fields in VARIANTS.items()},
    "gpt classifier": {"head": "classifier", "labels": ("a", "b", "c")},
    "bert": {"family": "bert", "norm_position": "post"},
    "bert untied": {"family": "bert", "tie_embeddings": False},
    "bert span": {"family": "bert", "head": "question_answering"},
    "transformer": {"family": "transformer", "positions": "sinusoidal"},
    "transformer, output bias": {"family": "transformer", "positions": "sinusoidal", "output_bias": True},
    "transformer features": {"family": "transformer", "positions": "learned", "head": "features"},
}
IDS, REAL = random_ids(3, 9), torch.arange(9) < torch.tensor([[9], [4], [7]])


def random_model(name: str) -> nn.Module:
    return randomize(build_model(ModelConfig(**{**SMALL, **MODELS[name]})).double()).eval()


def dequantized(model: nn.Module) -> nn.Module:
    """A float model with the weights q·s of a quantized one."""
    model = copy.deepcopy(model)
    done = set()
    for name, module in model.named_modules():
        matrix = isinstance(module, nn.Linear) and name.rpartition(".")[2] not in SKIPPED
        if (matrix or name.endswith("token_embedding")) and id(module.weight) not in done:
            done.add(id(module.weight))
            w = module.weight.data
            s = (w.abs().amax(dim=1, keepdim=True) / 127).clamp(min=torch.finfo(w.dtype).tiny)
            w.copy_((w / s).round() * s)
    return model


def outputs(model: nn.Module) -> torch.Tensor:
    """All outputs for IDS of a model of any family."""
    config = model.config
    with torch.no_grad():
        if not config.is_pretraining:
            return model(IDS, REAL)
        if config.family == "transformer":
            return model(IDS, IDS[:, :5], REAL)
        if config.family == "bert":
            said = model(IDS, REAL)
            return torch.cat([said.masked.flatten(1), said.next_sentence], dim=1)
        return model(IDS)


# Rounding


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
                min_size=1, max_size=3))  # fmt: skip
def test_no_weight_moves_by_more_than_half_a_scale(rows):
    """In exact arithmetic, for any float32: the largest and the smallest, zeros, ties at a half."""
    width = max(map(len, rows))
    weight = torch.tensor([row + [0.0] * (width - len(row)) for row in rows])
    q, scale = quantize_rows(weight)
    assert q.dtype == torch.int8 and scale.dtype == torch.float32 and (scale > 0).all() and scale.isfinite().all()
    assert int(q.min()) >= -127
    for numbers, row, s in zip(q.tolist(), weight.tolist(), scale.tolist(), strict=True):
        for number, w in zip(numbers, row, strict=True):
            assert abs(Fraction(w) - number * Fraction(s)) <= Fraction(s) / 2


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(-20, 20))
def test_a_row_is_rounded_on_its_own_and_symmetrically(seed, power):
    weight = torch.randn(4, 7, generator=torch.Generator().manual_seed(seed))
    q, scale = quantize_rows(weight)
    minus, same_scale = quantize_rows(-weight)
    assert torch.equal(minus, -q) and torch.equal(same_scale, scale)
    weight[1:] *= 2.0**power  # exact, and of no concern to the first row
    again, scales = quantize_rows(weight)
    assert torch.equal(again, q) and scales[0] == scale[0] and torch.equal(scales[1:], scale[1:] * 2.0**power)
    assert (q.abs().amax(dim=1) == 127).all()  # the whole range is used


def test_halves_that_float32_takes_for_the_other_side():
    """1107.5089 / s is barely above 80.5. In float32 the quotient is 80.5, which would be rounded to the even 80."""
    weight = torch.tensor([[1747.25, float.fromhex("0x1.14e092p+10")]])
    q, scale = quantize_rows(weight)
    assert (weight[0, 1] / scale[0]).item() == 80.5 and q.tolist() == [[127, 81]]


def test_large_matrices_are_rounded_and_multiplied_in_blocks(monkeypatch):
    weight, x = torch.randn(11, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    whole, expected = quantize_rows(weight), Int8Linear(*quantize_rows(weight))(x)
    monkeypatch.setattr("llmasos.nn.int8.BLOCK", 14)  # two rows at a time, and one is left over
    assert all(torch.equal(a, b) for a, b in zip(quantize_rows(weight), whole, strict=True))
    torch.testing.assert_close(Int8Linear(*whole)(x), expected, rtol=0, atol=1e-12)
    monkeypatch.setattr("llmasos.nn.int8.BLOCK", 1)
    torch.testing.assert_close(Int8Linear(*whole)(x), expected, rtol=0, atol=1e-12)


def test_a_matrix_in_the_files_layout_is_rounded_as_it_stands():
    """GPT-2's matrices are transposed in the file, and pieces of a larger one."""
    weight = torch.randn(6, 15)
    theirs = weight.T.contiguous().T.split([4, 2])[0]
    assert not theirs.is_contiguous()
    q, scale = quantize_rows(theirs)
    assert q.is_contiguous() and torch.equal(q, quantize_rows(weight[:4].contiguous())[0])


def test_damage_stays_visible():
    for bad in (float("nan"), float("inf")):
        weight = torch.ones(2, 3)
        weight[0, 1] = bad
        y = Int8Linear(*quantize_rows(weight))(torch.ones(1, 3))
        assert y[0, 0].isnan() and y[0, 1] == 3


# Models


@pytest.mark.parametrize("name", MODELS)
def test_a_quantized_model_is_the_float_model_with_rounded_weights(name):
    model = random_model(name)
    expected, before = outputs(dequantized(model)), outputs(model)
    assert quantize(model) is model and is_quantized(model)
    torch.testing.assert_close(outputs(model), expected, rtol=0, atol=1e-11)
    assert not torch.allclose(outputs(model), before, rtol=0, atol=1e-6)  # it has been rounded


@pytest.mark.parametrize("name", MODELS)
def test_what_is_rounded_and_what_is_not(name):
    model, before = random_model(name), n_parameters(random_model(name))
    quantize(model)
    left = {type(m) for m in model.modules() if list(m.parameters(recurse=False))} - {Int8Linear}
    linear = [path for path, m in model.named_modules() if isinstance(m, nn.Linear)]
    assert linear == {"bert": ["next_sentence_head"], "bert untied": ["next_sentence_head"],
                      "gpt classifier": ["head"], "bert span": ["head"],
                      "gpt mixture": [f"blocks.{i}.feed_forward.router" for i in range(2)]}.get(name, [])  # fmt: skip
    assert {kind.__name__ for kind in left} <= {"LayerNorm", "RMSNorm", "LearnedPositions", "Embedding", "Linear"}
    assert isinstance(getattr(model, "backbone", model).token_embedding, Int8Embedding)
    assert n_parameters(model) == before
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    again = outputs(model)
    assert torch.equal(outputs(quantize(model)), again)  # repeating it changes nothing


@pytest.mark.parametrize("name", ["gpt gpt2", "bert", "transformer, output bias"])
def test_tied_tables_stay_one(name):
    model = quantize(random_model(name))
    head = model.masked_lm_head.decoder if model.config.family == "bert" else model.lm_head
    assert model.token_embedding.table is head
    model.float().to("cpu")  # moves and conversions do not part them
    assert model.token_embedding.table.weight.data_ptr() == head.weight.data_ptr()
    twin = copy.deepcopy(model)
    assert twin.token_embedding.table.weight.data_ptr() != head.weight.data_ptr()
    assert twin.token_embedding.table is (twin.masked_lm_head.decoder if hasattr(twin, "pooler") else twin.lm_head)


def test_an_untied_embedding_has_a_table_of_its_own():
    model = quantize(random_model("gpt original"))
    assert model.token_embedding.table is not model.lm_head
    assert not torch.equal(model.token_embedding.table.weight, model.lm_head.weight)


def test_the_memory_is_a_quarter():
    config = ModelConfig(vocab_size=500, context_length=32, n_layers=2, n_heads=4, d_model=128)
    model = build_model(config)
    floats, n = weight_bytes(model), n_parameters(model)
    assert floats == 4 * n
    quantize(model)
    assert n < weight_bytes(model) < 0.29 * floats
    held = {t.data_ptr(): t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()]}
    assert sum(held.values()) == weight_bytes(model)  # nothing of the floats is kept


# Using one


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("gpt") and "class" not in name])
def test_the_cached_decoder_says_what_the_plain_one_says(name):
    model = quantize(random_model(name))
    options = SamplingOptions(max_new_tokens=20, temperature=0.0)
    prompts = [(3, 1, 4), (1, 5)]
    rows = [SequenceState(prompt, options) for prompt in prompts]
    decoder = Decoder(model, rows)
    assert layers_of(decoder.cache)[0][0].dtype == torch.float64  # of the activations, not of the weights
    for _ in range(20):
        decoder.sample()
        decoder.step()
    assert [row.ids for row in rows] == [generate_naive(model, prompt, options) for prompt in prompts]


def test_looking_inside_works():
    model, ids = quantize(random_model("gpt llama")), IDS[:1]
    maps = attention_maps(model, ids)
    assert len(maps) == 2 and maps["blocks.1.attention"].shape == (1, 4, 9, 9)
    torch.testing.assert_close(logit_lens(model, ids)[-1].logits, outputs(model)[0].float())
    assert len(attention_maps(quantize(random_model("transformer")), IDS, IDS[:, :4])) == 6
    assert logit_lens(quantize(random_model("bert")), ids)[-1].logits.shape == (9, 29)


@pytest.fixture(scope="module")
def shipped():
    """Each shipped model, unchanged and quantized."""
    return {name: [hub.load_pretrained(name, quantize=way) for way in (None, "int8")]
            for name in shipped_models()}  # fmt: skip


@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert", "storyworld-de-en", "storyworld-chat"])
def test_shipped_models_barely_change(name, shipped):
    (floats, tokenizer), (model, _) = shipped[name]
    assert is_quantized(model) and not is_quantized(floats)
    assert weight_bytes(model) < 0.28 * weight_bytes(floats)
    texts = ["Once there was a brave boy called Paul.", "The lamp was lost."]
    same = (embed(model, tokenizer, texts) * embed(floats, tokenizer, texts)).sum(-1)  # cosines
    assert (same > 0.999).all()
    if floats.config.family == "transformer":
        german = ["Es war einmal ein mutiger Junge namens Paul."]
        said = [beam_search(one, tokenizer, german, BeamOptions(beams=2))[0][0].text for one in (floats, model)]
        assert said[0] == said[1] == "Once there was a brave boy called Paul."
    elif floats.config.family == "bert":
        best = [fill_masks(one, tokenizer, "Once there was a [MASK] girl called Anna.")[0] for one in (floats, model)]
        assert best[0][0][0] == best[1][0][0] and best[0][0][1] == pytest.approx(best[1][0][1], abs=0.02)
    else:
        options = SamplingOptions(max_new_tokens=10, temperature=0.0)
        template = template_of(tokenizer)
        if template.name == "chatml":  # a story of the other model begins with a draw: boy or girl
            prompt = template.encode(tokenizer, [Message("user", "Tell me a story about Emma and a lantern.")]).ids
            assert len({generate(one, tokenizer, [prompt], options)[0].text for one in (floats, model)}) == 1
        scores = [[score.logprob for score in score_tokens(one, tokenizer, texts[0])[1:]] for one in (floats, model)]
        assert scores[0] == pytest.approx(scores[1], abs=0.3, rel=0.05) and scores[0] != scores[1]


# What is refused


def test_another_way_to_quantise_is_named():
    for load in (hub.load_pretrained, LLMTrainer.from_pretrained):
        with pytest.raises(UserError, match="quantize is 'int2'; it must be 'int8' or 'int4', or None"):
            load("storyworld-gpt", quantize="int2")


def test_a_quantized_model_cannot_be_trained_or_saved(tmp_path):
    model = LLMTrainer.from_pretrained("storyworld-gpt", "cpu", quantize="int8")
    assert model.generate("Once", max_new_tokens=3) and "1.19M parameters" in repr(model)
    with pytest.raises(UserError, match="storyworld-gpt is quantized, and rounded weights cannot be trained"):
        model.train("a text")
    with pytest.raises(UserError, match="rounded weights are not saved"):
        model.save_pretrained(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="rounded weights cannot be trained"):
        model.model.train()
    assert not any(module.training for module in model.model.modules() if isinstance(module, Int8Linear))
    layer = Int8Linear(*quantize_rows(torch.randn(4, 3)))
    with pytest.raises(UserError, match="has no gradients"):
        layer(torch.randn(2, 3, requires_grad=True))
    with torch.no_grad():
        assert layer(torch.randn(2, 3, requires_grad=True)).shape == (2, 4)


@pytest.mark.parametrize("name", ["gpt llama", "bert"])
def test_half_precision_is_near(name):
    """With autocast, as in validation during training, or with the remaining floats in half precision."""
    model = quantize(random_model(name).float())
    expected = outputs(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(outputs(model).float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())
    said = outputs(model.to(torch.bfloat16))
    assert said.dtype == torch.bfloat16
    torch.testing.assert_close(said.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())


def test_the_mode_in_which_a_model_was_does_not_matter():
    model = build_model(dataclasses.replace(ModelConfig(**SMALL), dropout=0.5)).train()
    quantize(model)
    assert torch.equal(model(IDS), model(IDS))
