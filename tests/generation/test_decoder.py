"""The cached batched decoder equals the naive version for every row, whatever else is in the batch."""

import pytest
import torch
from generation_helpers import PRESETS, ScriptedModel, lively_model
from model_helpers import VARIANTS, random_gpt

from llmasos.errors import UserError
from llmasos.generation import Decoder, SamplingOptions, SequenceState, generate_naive
from llmasos.generation.sequence import next_tokens
from llmasos.nn import eval_mode

GREEDY = SamplingOptions(max_new_tokens=40, temperature=0.0)
SAMPLED = SamplingOptions(max_new_tokens=40, temperature=0.9, top_k=30, top_p=0.95, repetition_penalty=1.1, seed=3)
# Contexts are 16 tokens: 40 new tokens fill them several times. The prompts have different lengths, one is full.
PROMPTS = [(5,), (1, 2, 3, 4, 5, 6, 7), tuple(range(16)), (39, 0, 39)]


def run(model, rows: list[SequenceState], vocab_size: int | None = None) -> list[list[int]]:
    """Let the decoder continue all rows to their full length."""
    decoder = Decoder(model, rows, vocab_size)
    while decoder.sequences:
        decoder.sample()
        decoder.keep([i for i, row in enumerate(decoder.sequences) if len(row.ids) < row.options.max_new_tokens])
        if decoder.sequences:
            decoder.step()
    return [row.ids for row in rows]


def spy_on_shapes(model) -> list[tuple[int, int]]:
    """Record the shape (B, T) of every input of the model in a list."""
    shapes, hidden = [], model.decode

    def recording(ids, *args, **kwargs):
        shapes.append(tuple(ids.shape))
        return hidden(ids, *args, **kwargs)

    model.decode = recording
    return shapes


# The same as the naive version


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", PRESETS)
def test_cached_is_uncached_token_for_token_also_beyond_the_context(name, options):
    model = lively_model(name, d_model=128, n_layers=4)
    for prompt in PROMPTS:
        row = SequenceState(prompt, options)
        assert run(model, [row]) == [generate_naive(model, prompt, options)]
        assert row.n_context_shifts >= 3, "the test was meant to go beyond the context"
        assert len(set(row.ids)) >= 3, "a model that repeats one token would prove nothing"


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_is_uncached_for_every_kind_of_model(variant):
    model = random_gpt(**VARIANTS[variant])
    assert run(model, [SequenceState((3, 1, 4), SAMPLED)]) == [generate_naive(model, (3, 1, 4), SAMPLED)]


@pytest.mark.parametrize("name", PRESETS)
def test_cached_logits_are_those_of_reading_the_whole_window(name):
    model = lively_model(name)
    rows = [SequenceState(prompt, SAMPLED) for prompt in PROMPTS]
    decoder = Decoder(model, rows)
    for _ in range(30):
        for row, logits in zip(rows, decoder.logits, strict=True):
            window = [*row.prompt, *row.ids][-row.n_computed :]
            with torch.no_grad():
                expected = model(torch.tensor([window]))[0, -1]
            torch.testing.assert_close(logits.clone(), expected, rtol=0, atol=1e-10)
        decoder.sample()
        decoder.step()


@pytest.mark.parametrize("context_length", [1, 2, 3, 5])
def test_tiny_contexts_slide_too(context_length):
    model = lively_model(context_length=context_length)
    prompt = tuple(range(context_length))
    assert run(model, [SequenceState(prompt, SAMPLED)]) == [generate_naive(model, prompt, SAMPLED)]


# Rows are independent of each other


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_row_of_a_ragged_batch_is_what_it_is_alone(name, options):
    model = lively_model(name)
    alone = [run(model, [SequenceState(prompt, options)])[0] for prompt in PROMPTS]
    together = run(model, [SequenceState(prompt, options) for prompt in PROMPTS])
    assert together == alone
    assert len({tuple(ids) for ids in alone}) == len(PROMPTS), "equal rows could be exchanged unnoticed"


def test_rows_that_finish_at_different_times_do_not_disturb_the_others():
    model = lively_model()
    lengths = (3, 40, 1, 31)
    options = [SamplingOptions(max_new_tokens=n, seed=n) for n in lengths]
    together = run(model, [SequenceState(p, o) for p, o in zip(PROMPTS, options, strict=True)])
    assert together == [run(model, [SequenceState(p, o)])[0] for p, o in zip(PROMPTS, options, strict=True)]
    assert [len(ids) for ids in together] == list(lengths)


def test_each_row_has_its_own_options():
    model = lively_model()
    options = [GREEDY, SAMPLED, SamplingOptions(max_new_tokens=40, min_p=0.2), GREEDY]
    together = run(model, [SequenceState(p, o) for p, o in zip(PROMPTS, options, strict=True)])
    assert together == [generate_naive(model, p, o) for p, o in zip(PROMPTS, options, strict=True)]


def test_rows_may_be_reordered_between_steps():
    model = lively_model()
    rows = [SequenceState(prompt, GREEDY) for prompt in PROMPTS]
    decoder = Decoder(model, rows)
    for step in range(30):
        decoder.sample()
        decoder.keep([2, 0, 3, 1] if step % 2 else [3, 2, 1, 0])
        decoder.step()
    assert [row.ids for row in rows] == [generate_naive(model, row.prompt, GREEDY)[:30] for row in rows]


def test_samples_of_one_prompt_differ_and_each_is_a_function_of_its_number():
    model = lively_model()
    together = run(model, [SequenceState((1, 2), SAMPLED, sample) for sample in range(4)])
    assert len({tuple(ids) for ids in together}) == 4
    assert together == [generate_naive(model, (1, 2), SAMPLED, sample) for sample in range(4)]


def test_the_seed_decides_the_text():
    model = lively_model()
    texts = [
        run(model, [SequenceState((1, 2), SamplingOptions(max_new_tokens=30, seed=seed))])[0] for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", PRESETS)
def test_left_padding_is_right_padding_is_no_padding(name):
    model = lively_model(name)
    T = max(map(len, PROMPTS))
    left = torch.tensor([[*[9] * (T - len(p)), *p] for p in PROMPTS])
    right = torch.tensor([[*p, *[9] * (T - len(p))] for p in PROMPTS])
    real_left = torch.tensor([[False] * (T - len(p)) + [True] * len(p) for p in PROMPTS])
    real_right = real_left.flip(1)
    with torch.no_grad():
        from_left = model(left, real_left)[:, -1]
        from_right = model(right, real_right)[torch.arange(len(PROMPTS)), real_right.sum(1) - 1]
    from_decoder = Decoder(model, [SequenceState(p, GREEDY) for p in PROMPTS]).logits.clone()
    torch.testing.assert_close(from_left, from_right, rtol=0, atol=1e-10)
    torch.testing.assert_close(from_left, from_decoder, rtol=0, atol=1e-10)


# Nothing is computed twice


def test_each_token_is_read_once():
    model = lively_model()
    shapes = spy_on_shapes(model)
    run(model, [SequenceState((1, 2, 3), SamplingOptions(max_new_tokens=10))])
    assert shapes == [(1, 3)] + [(1, 1)] * 9  # the last token chosen needs no reading


def test_equal_prompts_are_read_once():
    model = lively_model()
    shapes = spy_on_shapes(model)
    prompts = [(1, 2, 3), (4, 5), (1, 2, 3), (4, 5), (1, 2, 3)]
    rows = [SequenceState(p, SamplingOptions(max_new_tokens=5), sample) for sample, p in enumerate(prompts)]
    result = run(model, rows)
    assert shapes[0] == (2, 3)
    assert result == [generate_naive(model, row.prompt, row.options, row.sample) for row in rows]


def test_finished_rows_leave_the_batch():
    model = lively_model()
    shapes = spy_on_shapes(model)
    run(model, [SequenceState((n,), SamplingOptions(max_new_tokens=n)) for n in (1, 3, 2)])
    assert shapes == [(3, 1), (2, 1), (1, 1)]


def test_only_a_full_row_is_read_again_and_only_its_half():
    model = lively_model()
    shapes = spy_on_shapes(model)
    options = SamplingOptions(max_new_tokens=4)
    run(model, [SequenceState(tuple(range(15)), options), SequenceState((1,), options)])
    assert shapes == [(2, 15), (2, 1), (1, 8), (2, 1), (2, 1)]


def test_the_cache_is_no_longer_than_needed():
    model = lively_model()
    assert Decoder(model, [SequenceState((1, 2, 3), SamplingOptions(max_new_tokens=5))]).cache.length == 8
    assert Decoder(model, [SequenceState((1, 2, 3), SamplingOptions(max_new_tokens=500))]).cache.length == 16


# What it reports, and what it does not change


def test_log_probabilities_are_the_models_own_whatever_the_options():
    model = lively_model()
    row = SequenceState((1, 2), SamplingOptions(max_new_tokens=5, temperature=0.5, top_k=3))
    run(model, [row])
    text = torch.tensor([[*row.prompt, *row.ids]])
    with torch.no_grad():
        expected = model(text).log_softmax(-1)[0, 1:-1].gather(1, text[0, 2:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(row.logprobs, dtype=torch.float64), expected, rtol=0, atol=1e-10)


def test_the_repetition_penalty_counts_the_prompt_and_the_text_so_far():
    options = SamplingOptions(temperature=0, repetition_penalty=2.0)
    rows = [SequenceState((0,), options, ids=[1]), SequenceState((2,), options, ids=[3])]
    logits = torch.tensor([[9.0, 8.0, 7.0, 6.0]]).expand(2, -1)
    assert next_tokens(logits, rows).tolist() == [2, 0]


def test_ids_that_the_tokenizer_does_not_have_are_never_chosen():
    model = lively_model()
    free = run(model, [SequenceState((1,), SAMPLED, sample) for sample in range(5)])
    bounded = run(model, [SequenceState((1,), SAMPLED, sample) for sample in range(5)], vocab_size=20)
    assert max(map(max, free)) >= 20 > max(map(max, bounded))


def test_a_model_that_answers_nan_is_named_as_the_problem():
    model = lively_model()
    model.final_norm.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="not a number"):
        run(model, [SequenceState((1, 2), SAMPLED)])


def test_a_half_precision_model_samples_in_single_precision():
    model = lively_model().bfloat16()
    decoder = Decoder(model, [SequenceState((1, 2), SAMPLED)])
    assert decoder.logits.dtype == torch.float32
    assert len(run(model, [SequenceState((1, 2), SAMPLED)])[0]) == 40


def test_eval_mode_gives_every_module_back_its_own_mode():
    model = lively_model().train()
    model.blocks[1].eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(KeyError), eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError("even so")
    assert [module.training for module in model.modules()] == before


def test_the_plain_version_stops_after_end_of_text():
    model = ScriptedModel([7, 8, 9, 4, 5, 6], vocab_size=10)
    assert generate_naive(model, (7,), SamplingOptions(max_new_tokens=5), stop_ids=[4]) == [8, 9, 4]
    assert generate_naive(model, (7,), SamplingOptions(max_new_tokens=5)) == [8, 9, 4, 5, 6]
