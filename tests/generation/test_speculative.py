"""Speculative decoding: the large model's text and distribution with any draft; acceptance follows the formula."""

import copy
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from generation_helpers import PRESETS, lively_model, lively_transformer

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate, generate_naive, generate_with_draft, regular_expression
from llmasos.generation.speculative import acceptance, draw, generate_speculative, tokens_per_pass, verify
from llmasos.models import BERT, ModelConfig
from llmasos.tokenizers import ByteTokenizer

OPTIONS = SamplingOptions(max_new_tokens=12, temperature=0.0)


def of(model, noise: float):
    """Make a draft from the model by adding noise to its weights."""
    draft = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in draft.parameters():
            p += noise * p.std() * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return draft


@pytest.mark.parametrize("name", [*PRESETS, "modern-laptop"])
@pytest.mark.parametrize("n_drafted", [1, 3, 20])
def test_greedy_is_the_text_of_the_large_model_with_any_draft(name, n_drafted):
    model = lively_model(name)
    for draft in (lively_model("gpt-laptop"), model):
        for prompt in ([3], [1, 4, 1, 5]):
            result = generate_speculative(model, draft, prompt, OPTIONS, n_drafted)
            assert result.ids == generate_naive(model, prompt, OPTIONS)
            assert 0 <= result.n_accepted <= result.n_proposed and result.n_accepted < len(result.ids)
    assert result.n_accepted == result.n_proposed, "its own draft is always right"
    assert result.n_passes == -(-12 // (n_drafted + 1))


@pytest.mark.parametrize("changes", [{"repetition_penalty": 1.5}, {"presence_penalty": 1.0, "frequency_penalty": 0.5}])
def test_penalties_see_the_text_before_each_token(changes):
    model, options = lively_model(), SamplingOptions(max_new_tokens=12, temperature=0.0, **changes)
    assert generate_speculative(model, of(model, 0.3), [3, 1], options, 5).ids == generate_naive(model, [3, 1], options)


def test_it_stops_where_the_large_model_stops():
    model = lively_model()
    ids = generate_naive(model, [3], OPTIONS)
    result = generate_speculative(model, model, [3], replace(OPTIONS, stop_token_ids=(ids[3],)), 5)
    assert result.ids == ids[: ids.index(ids[3]) + 1]


def test_a_verified_token_has_the_large_models_distribution():
    """By hand: min(p, q) comes from acceptance, the rest from the residual. Also measured, with χ²."""
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(6, generator=generator, dtype=torch.float64).mul(1.5).softmax(0) for _ in range(2))
    residual = (p - q).clamp(min=0)
    torch.testing.assert_close(torch.minimum(p, q) + (1 - acceptance(p, q)) * residual / residual.sum(), p)
    numbers, n, accepted, counts = random.Random(1), 6_000, 0, Counter()
    for _ in range(n):
        token = draw(q, numbers.random())
        new = verify(torch.stack([p, p]), [q], [token], numbers)
        counts[new[0]] += 1
        accepted += len(new) == 2
    chi2 = sum((counts[x] - n * float(p[x])) ** 2 / (n * float(p[x])) for x in range(6))
    assert chi2 < 20.5, "five degrees of freedom: above 20.5 in one of 1,000 cases"
    assert accepted / n == pytest.approx(float(acceptance(p, q)), abs=4 * 0.5 / n**0.5)


@torch.inference_mode()
def test_sampled_texts_have_the_distribution_of_plain_sampling():
    model = lively_model(vocab_size=5)
    draft = lively_model(vocab_size=5, n_layers=1)
    n, pairs = 500, Counter()
    for seed in range(n):
        options = SamplingOptions(max_new_tokens=2, temperature=1.5, seed=seed)
        pairs[tuple(generate_speculative(model, draft, [1], options, 3).ids)] += 1
    expected = {}
    for a in range(5):
        first = (model(torch.tensor([[1]]))[0, -1] / 1.5).softmax(-1)
        second = (model(torch.tensor([[1, a]]))[0, -1] / 1.5).softmax(-1)
        expected |= {(a, b): first[a].item() * second[b].item() for b in range(5)}
    chi2 = sum((pairs[x] - n * p) ** 2 / (n * p) for x, p in expected.items() if n * p > 1)
    assert chi2 < 51.2, "24 degrees of freedom: above 51.2 in one of 1,000 cases"


def test_tokens_per_pass_is_the_mean_of_a_geometric_series():
    numbers, k, alpha = random.Random(0), 4, 0.7
    runs = [next((i for i in range(k) if numbers.random() >= alpha), k) + 1 for _ in range(20_000)]
    assert sum(runs) / len(runs) == pytest.approx(tokens_per_pass(alpha, k), abs=0.05)


def test_bad_input_is_one_sentence():
    model = lively_model()
    with pytest.raises(UserError, match=r"the draft has 5 tokens and the model 40; a draft needs the same tokenizer\."):
        generate_speculative(model, lively_model(vocab_size=5), [1], OPTIONS)
    with pytest.raises(UserError, match="up to 17 tokens, and a context only 16"):
        generate_speculative(model, model, [1] * 5, OPTIONS)
    with pytest.raises(UserError, match="n_drafted"):
        generate_speculative(model, model, [1], OPTIONS, n_drafted=0)
    bert = BERT(ModelConfig(family="bert", vocab_size=40, n_layers=1, n_heads=2, d_model=8))
    for name, pair in {"model": (bert, model), "draft": (model, bert)}.items():
        with pytest.raises(UserError, match=rf"the {name} is a bert; speculative decoding needs a gpt"):
            generate_speculative(*pair, [1], OPTIONS)
    with pytest.raises(UserError, match="the draft is a transformer"):
        generate_speculative(model, lively_transformer(vocab_size=40), [1], OPTIONS)
    with pytest.raises(UserError, match="the draft is on meta and the model on cpu; move both to one device"):
        generate_speculative(model, lively_model().to("meta"), [1], OPTIONS)
    damaged = lively_model()
    damaged.lm_head.weight.data[7] = math.nan
    for pair in ((damaged, model), (model, damaged)):
        with pytest.raises(UserError, match="output is not a number"):
            generate_speculative(*pair, [1], OPTIONS)
    with pytest.raises(UserError, match="the prompt is empty; it must have at least one token id"):
        generate_speculative(model, model, [], OPTIONS)
    for id in (-1, 40):
        with pytest.raises(UserError, match=f"the prompt has the token id {id}; the model's ids are 0 to 39"):
            generate_speculative(model, model, [1, id], OPTIONS)
    for name, value in {"stop": ".", "grammar": regular_expression("a|b")}.items():
        with pytest.raises(UserError, match=f"{name} is not supported by speculative decoding; leave out {name}, or"):
            generate_speculative(model, model, [1], replace(OPTIONS, **{name: value}))


def test_texts_with_a_draft_are_those_of_generate_and_samples_are_numbered():
    model, tokenizer = lively_model(vocab_size=300, context_length=32), ByteTokenizer()  # more rows than tokens
    prompts, draft = ["Anna", ""], of(model, 0.3)
    expected = [g.text for g in generate(model, tokenizer, prompts, OPTIONS, 2)]
    assert generate_with_draft(model, draft, tokenizer, prompts, OPTIONS, 2) == expected
    sampling = SamplingOptions(max_new_tokens=8, seed=5)
    a, b, c = generate_with_draft(model, draft, tokenizer, ["Anna"], sampling, 3)
    assert len({a, b, c}) == 3
    assert generate_with_draft(model, draft, tokenizer, ["Anna", "Anna"], sampling, 2) == [a, b, a, b]
    assert generate_with_draft(model, draft, tokenizer, ["Anna"], replace(sampling, seed=6)) != [a]
    first = generate_naive(model, tokenizer.encode("Anna"), replace(OPTIONS, max_new_tokens=1))
    assert generate_with_draft(model, draft, tokenizer, ["Anna"], replace(OPTIONS, stop_token_ids=tuple(first))) == [
        tokenizer.decode(first)
    ]
