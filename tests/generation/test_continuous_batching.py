"""The decoder whose rows come and go gives each row what it gets alone, whoever else is there, whenever they come."""

import random
from dataclasses import replace

import pytest
import torch
from generation_helpers import PRESETS, lively_model
from model_helpers import VARIANTS, random_gpt

from llmasos.generation import SamplingOptions, SequenceState, continuous_batching, generate_naive
from llmasos.generation.continuous_batching import FIRST_SLOTS, ContinuousBatch
from llmasos.nn import KVCache


def run(
    model, rows: list[SequenceState], n_slots: int, budget: int, arrivals: list[int] | None = None
) -> ContinuousBatch:
    """Let rows join at the steps `arrivals` (as soon as a slot is free) and leave when they are complete."""
    decoder, waiting, step = (
        ContinuousBatch(model, n_slots),
        list(zip(arrivals or [0] * len(rows), rows, strict=True)),
        0,
    )
    while waiting or decoder.rows or decoder.joined:
        while waiting and waiting[0][0] <= step and decoder.n_free:
            decoder.add(waiting.pop(0)[1])
        if decoder.step(budget):
            decoder.sample()
            decoder.remove([row for row in decoder.rows if len(row.ids) == row.options.max_new_tokens])
        step += 1
    return decoder


def random_rows(n: int, seed: int, context_length: int, vocab_size: int) -> list[SequenceState]:
    """Prompts, lengths and options of all kinds; some outgrow the context."""
    draw = random.Random(seed)
    rows = []
    for _ in range(n):
        prompt = tuple(draw.randrange(vocab_size) for _ in range(draw.randint(1, context_length)))
        options = SamplingOptions(
            max_new_tokens=draw.randint(1, 2 * context_length),
            temperature=draw.choice([0.0, 0.7, 1.0, 1.5]),
            top_k=draw.choice([None, 5, 20]),
            top_p=draw.choice([None, 0.9]),
            repetition_penalty=draw.choice([1.0, 1.2]),
            presence_penalty=draw.choice([0.0, 0.5]),
            frequency_penalty=draw.choice([0.0, 0.0, -0.3]),
            seed=draw.randrange(1000),
        )
        rows.append(SequenceState(prompt, options))
    return rows


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("n_slots, budget", [(1, 4), (3, 1), (6, 7), (16, 64)])
def test_every_row_is_what_the_plain_version_gives(name, n_slots, budget):
    model = lively_model(name)
    rows = random_rows(24, seed=n_slots, context_length=16, vocab_size=40)
    draw = random.Random(7)
    run(model, rows, n_slots, budget, sorted(draw.randint(0, 60) for _ in rows))
    assert any(row.n_context_shifts for row in rows) and any(not row.n_context_shifts for row in rows)
    for row in rows:
        assert row.ids == generate_naive(model, row.prompt, row.options)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model(variant):
    model = random_gpt(**VARIANTS[variant])
    rows = [SequenceState((3, 1, 4), SamplingOptions(max_new_tokens=n, seed=n)) for n in (5, 1, 9, 3, 7, 2)]
    run(model, rows, 4, 5)
    assert [row.ids for row in rows] == [generate_naive(model, row.prompt, row.options) for row in rows]


def test_a_shorter_context_is_that_of_a_model_with_less_room():
    model, small = (lively_model("llama-laptop", context_length=n) for n in (16, 8))
    small.load_state_dict(model.state_dict(), strict=False)
    rows = random_rows(5, 3, 8, 40)
    decoder = ContinuousBatch(model, 5, context_length=8)
    for row in rows:
        decoder.add(row)
    for _ in range(16):
        decoder.step(64)
        decoder.sample()
    for row in rows:
        assert row.ids == generate_naive(small, row.prompt, replace(row.options, max_new_tokens=16))


def test_a_long_prompt_is_read_in_pieces_while_others_go_on():
    model = lively_model()
    decoder, shapes = ContinuousBatch(model, 4), []
    hidden = model.decode
    model.decode = lambda ids, **kwargs: (shapes.append(tuple(ids.shape)), hidden(ids, **kwargs))[1]
    short, long = SequenceState((1, 2), SamplingOptions()), SequenceState(tuple(range(16)), SamplingOptions())
    decoder.add(short)
    decoder.step(5)
    decoder.sample()
    decoder.add(long)
    for _ in range(3):
        assert decoder.step(5) == [short]  # the long one is not there yet
        decoder.sample()
    assert decoder.step(5) == [short, long]
    assert len(short.ids) == 4
    assert shapes == [(1, 2), *[(1, 5), (1, 1)] * 3, (1, 1), (1, 1)]


def test_short_prompts_are_read_together_as_long_as_padding_fits_the_budget():
    model, shapes = lively_model(), []
    hidden = model.decode
    model.decode = lambda ids, **kwargs: (shapes.append(tuple(ids.shape)), hidden(ids, **kwargs))[1]
    decoder = ContinuousBatch(model, 8)
    for n in (3, 4, 1, 10, 2):
        decoder.add(SequenceState(tuple(range(n)), SamplingOptions()))
    decoder.step(12)
    assert shapes == [(3, 4)]  # a fourth of ten tokens would make it (4, 10)


def test_padding_beside_the_end_of_a_full_prompt_stays_within_the_context():
    model = lively_model()
    rows = [SequenceState(prompt, SamplingOptions(max_new_tokens=5)) for prompt in (tuple(range(16)), tuple(range(6)))]
    run(model, rows, n_slots=2, budget=13)  # thirteen tokens; then three of the first beside six of the second
    assert [row.ids for row in rows] == [generate_naive(model, row.prompt, row.options) for row in rows]


def test_full_rows_read_on_in_pieces_too():
    model = lively_model()
    rows = [SequenceState(tuple(range(n)), SamplingOptions(max_new_tokens=60, seed=n)) for n in range(9, 15)]
    shapes, hidden = [], model.decode
    model.decode = lambda ids, **kwargs: (shapes.append(tuple(ids.shape)), hidden(ids, **kwargs))[1]
    run(model, rows, n_slots=6, budget=5)
    del model.decode
    assert max(B * T for B, T in shapes if T > 1) <= 5 and all(row.n_context_shifts > 3 for row in rows)
    assert [row.ids for row in rows] == [generate_naive(model, row.prompt, row.options) for row in rows]


def test_memory_grows_with_the_rows_that_are_there_at_once_and_not_beyond():
    decoder = ContinuousBatch(lively_model(), 6)
    for n in range(1, 7):
        decoder.add(SequenceState((n,), SamplingOptions()))
        assert len(decoder.slots.layers[0][0]) == (FIRST_SLOTS if n <= FIRST_SLOTS else 6)
    with pytest.raises(ValueError, match="no slot"):
        decoder.add(SequenceState((0,), SamplingOptions()))


def test_rows_that_leave_in_the_middle_of_their_prompt_leave_nothing_behind():
    model = lively_model()
    options = SamplingOptions(max_new_tokens=12, seed=5)
    stay, gone, later = (SequenceState(prompt, options) for prompt in ((1, 2, 3), tuple(range(16)), (7, 8, 9)))
    decoder = ContinuousBatch(model, 3)
    decoder.add(stay)
    decoder.step(4)
    decoder.sample()
    decoder.add(gone)
    decoder.add(later)
    decoder.step(4)
    decoder.sample()
    decoder.remove([gone])
    assert decoder.joined == [later] and decoder.n_free == 1
    while len(later.ids) < 12:
        decoder.step(4)
        decoder.sample()
    assert stay.ids[:12] == generate_naive(model, stay.prompt, options)
    assert later.ids == generate_naive(model, later.prompt, options)


def test_the_row_being_read_keeps_what_it_has_read_when_another_leaves():
    model = lively_model()
    options = SamplingOptions(max_new_tokens=9, seed=1)
    first, second, long = (SequenceState(prompt, options) for prompt in ((1, 2), (3, 4), tuple(range(14))))
    decoder = ContinuousBatch(model, 3)
    decoder.add(first)
    decoder.add(second)
    decoder.step(4)
    decoder.sample()
    decoder.add(long)
    decoder.step(4)
    decoder.sample()
    decoder.remove([first])
    while len(long.ids) < 9:
        decoder.step(4)
        decoder.sample()
    assert second.ids[:9] == generate_naive(model, second.prompt, options)
    assert long.ids == generate_naive(model, long.prompt, options)


# Shared prefixes


def related_rows(n: int, seed: int, context_length: int, vocab_size: int) -> list[SequenceState]:
    """As `random_rows`, but each prompt begins as one of three, and some are equal."""
    draw = random.Random(seed)
    bases = [[draw.randrange(vocab_size) for _ in range(context_length)] for _ in range(3)]
    rows = random_rows(n, seed, context_length, vocab_size)
    for row in rows:
        common, own = draw.randint(1, context_length), draw.choice([0, 0, 1, 5])
        row.prompt = tuple([*draw.choice(bases)[:common], *row.prompt[:own]][:context_length])
    return rows


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("n_slots, budget", [(3, 1), (6, 7), (16, 64)])
def test_what_is_copied_is_what_would_be_read(name, n_slots, budget, monkeypatch):
    monkeypatch.setattr(continuous_batching, "WORTH_SHARING", 3)
    lengths, move = [], KVCache.move
    monkeypatch.setattr(KVCache, "move", lambda *args: (lengths.append(args[3:]), move(*args))[1])
    model = lively_model(name)
    rows = related_rows(24, seed=n_slots, context_length=16, vocab_size=40)
    draw = random.Random(3)
    run(model, rows, n_slots, budget, sorted(draw.randint(0, 60) for _ in rows))
    assert sum(bool(length) for length in lengths) >= 3 and any(row.n_context_shifts for row in rows)
    for row in rows:
        assert row.ids == generate_naive(model, row.prompt, row.options)


def test_samples_of_one_prompt_read_it_once():
    model, shapes = lively_model(context_length=64), []
    hidden = model.decode
    model.decode = lambda ids, **kwargs: (shapes.append(tuple(ids.shape)), hidden(ids, **kwargs))[1]
    prompt = tuple(i % 40 for i in range(30))
    rows = [SequenceState(prompt, SamplingOptions(max_new_tokens=4, seed=1), sample) for sample in range(6)]
    run(model, rows, n_slots=6, budget=256)
    assert shapes[:3] == [(1, 30), (5, 1), (1, 1)]  # one reads; then the others their last token, beside its first
    del model.decode
    assert [row.ids for row in rows] == [
        generate_naive(model, prompt, row.options, sample=sample) for sample, row in enumerate(rows)
    ]


def test_a_row_whose_beginning_has_slid_out_is_not_copied_from():
    model = lively_model(context_length=64)
    prompt = tuple(i % 40 for i in range(30))
    old, new = (SequenceState(prompt, SamplingOptions(max_new_tokens=n, seed=n)) for n in (100, 20))
    run(model, [old, new], n_slots=2, budget=64, arrivals=[0, 60])
    assert old.n_context_shifts and new.ids == generate_naive(model, prompt, new.options)


def test_the_token_chosen_last_has_not_been_read_yet_and_is_not_copied():
    model = lively_model(context_length=64)
    options, decoder = SamplingOptions(max_new_tokens=9, seed=2), ContinuousBatch(model, 2)
    first = SequenceState(tuple(range(20)), options)
    decoder.add(first)
    for _ in range(4):
        decoder.step(64)
        decoder.sample()
    second = SequenceState((*first.prompt, *first.ids, 7), options)  # goes on where the first one is now
    decoder.add(second)
    while len(second.ids) < 9:
        decoder.step(64)
        decoder.sample()
    assert second.ids == generate_naive(model, second.prompt, options)


def test_short_and_unequal_beginnings_are_read():
    row = SequenceState(tuple(range(40)), SamplingOptions(), pending=tuple(range(40)))
    assert (
        continuous_batching.shared_prefix(row, range(40)) == 39
        and continuous_batching.shared_prefix(row, range(16)) == 16
    )
    assert (
        continuous_batching.shared_prefix(row, range(15)) == continuous_batching.shared_prefix(row, range(1, 40)) == 0
    )
    row.n_computed = 1
    assert continuous_batching.shared_prefix(row, range(40)) == 0


def test_moving_and_growing_copy_and_part_does_not():
    cache = lively_model().make_cache(3)
    for k, v in cache.layers:
        k.copy_(torch.randn_like(k))
        v.copy_(torch.randn_like(v))
    bigger = cache.grown(2)
    assert [len(k) for k, _ in bigger.layers] == [5, 5] and torch.equal(bigger.layers[1][0][:3], cache.layers[1][0])
    cache.move(2, 0)
    assert torch.equal(cache.layers[0][1][0], cache.layers[0][1][2])
    before = cache.layers[1][0].clone()
    cache.move(1, 0, 5)
    assert torch.equal(cache.layers[1][0][0, :, :5], before[1, :, :5])
    assert torch.equal(cache.layers[1][0][0, :, 5:], before[0, :, 5:])
    cache.part(1, 3).layers[0][0].zero_()
    assert not cache.layers[0][0][1:].any() and cache.layers[0][0][0].any()
