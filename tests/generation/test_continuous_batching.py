"""Continuous batching gives each sequence the same text as alone, whatever else is in the batch, at any time."""

import random
from dataclasses import replace

import pytest
import torch
from generation_helpers import PRESETS, lively_model
from model_helpers import VARIANTS, layers_of, random_gpt

from llmasos.generation import SamplingOptions, SequenceState, continuous_batching, generate_naive
from llmasos.generation.continuous_batching import INITIAL_SLOTS, ContinuousBatch
from llmasos.nn import KVCache


def run(
    model, sequences: list[SequenceState], n_slots: int, budget: int, arrivals: list[int] | None = None
) -> ContinuousBatch:
    """Add sequences at the steps `arrivals` (as soon as a slot is free) and remove them when they are complete."""
    batch, step = ContinuousBatch(model, n_slots), 0
    waiting = list(zip(arrivals or [0] * len(sequences), sequences, strict=True))
    while waiting or batch.sequences or batch.prefilling:
        while waiting and waiting[0][0] <= step and batch.n_free:
            batch.add(waiting.pop(0)[1])
        if batch.step(budget):
            batch.sample()
            batch.remove(
                [sequence for sequence in batch.sequences if len(sequence.ids) == sequence.options.max_new_tokens]
            )
        step += 1
    return batch


def random_sequences(n: int, seed: int, context_length: int, vocab_size: int) -> list[SequenceState]:
    """Prompts, lengths and options of all types; some outgrow the context."""
    draw = random.Random(seed)
    sequences = []
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
        sequences.append(SequenceState(prompt, options))
    return sequences


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("n_slots, budget", [(1, 4), (3, 1), (6, 7), (16, 64)])
def test_every_text_is_that_of_the_naive_version(name, n_slots, budget):
    model = lively_model(name)
    sequences = random_sequences(24, seed=n_slots, context_length=16, vocab_size=40)
    draw = random.Random(7)
    run(model, sequences, n_slots, budget, sorted(draw.randint(0, 60) for _ in sequences))
    assert any(sequence.n_context_shifts for sequence in sequences) and any(
        not sequence.n_context_shifts for sequence in sequences
    )
    for sequence in sequences:
        assert sequence.ids == generate_naive(model, sequence.prompt, sequence.options)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_type_of_model(variant):
    model = random_gpt(**VARIANTS[variant])
    sequences = [SequenceState((3, 1, 4), SamplingOptions(max_new_tokens=n, seed=n)) for n in (5, 1, 9, 3, 7, 2)]
    run(model, sequences, 4, 5)
    assert [sequence.ids for sequence in sequences] == [
        generate_naive(model, sequence.prompt, sequence.options) for sequence in sequences
    ]


def test_a_shorter_context_works_as_in_a_model_with_that_context():
    model, small = (lively_model("llama-laptop", context_length=n) for n in (16, 8))
    small.load_state_dict(model.state_dict(), strict=False)
    sequences = random_sequences(5, 3, 8, 40)
    batch = ContinuousBatch(model, 5, context_length=8)
    for sequence in sequences:
        batch.add(sequence)
    for _ in range(16):
        batch.step(64)
        batch.sample()
    for sequence in sequences:
        assert sequence.ids == generate_naive(small, sequence.prompt, replace(sequence.options, max_new_tokens=16))


def test_a_long_prompt_is_prefilled_in_chunks_while_others_decode():
    model = lively_model()
    decode, shapes = model.decode, []
    model.decode = lambda ids, *args: (shapes.append(tuple(ids.shape)), decode(ids, *args))[1]
    batch = ContinuousBatch(model, 4)
    short, long = SequenceState((1, 2), SamplingOptions()), SequenceState(tuple(range(16)), SamplingOptions())
    batch.add(short)
    batch.step(5)
    batch.sample()
    batch.add(long)
    for _ in range(3):
        assert batch.step(5) == [short]  # the long one is not complete yet
        batch.sample()
    assert batch.step(5) == [short, long]
    assert len(short.ids) == 4
    assert shapes == [(1, 2), *[(1, 5), (1, 1)] * 3, (1, 1), (1, 1)]


def test_short_prompts_are_prefilled_together_while_padding_fits_the_budget():
    model, shapes = lively_model(), []
    decode = model.decode
    model.decode = lambda ids, *args: (shapes.append(tuple(ids.shape)), decode(ids, *args))[1]
    batch = ContinuousBatch(model, 8)
    for n in (3, 4, 1, 10, 2):
        batch.add(SequenceState(tuple(range(n)), SamplingOptions()))
    batch.step(12)
    assert shapes == [(3, 4)]  # with a fourth of ten tokens it would be (4, 10)


def test_padding_beside_the_end_of_a_full_prompt_stays_within_the_context():
    model = lively_model()
    sequences = [
        SequenceState(prompt, SamplingOptions(max_new_tokens=5)) for prompt in (tuple(range(16)), tuple(range(6)))
    ]
    run(model, sequences, n_slots=2, budget=13)  # thirteen tokens; then three of the first and six of the second
    assert [sequence.ids for sequence in sequences] == [
        generate_naive(model, sequence.prompt, sequence.options) for sequence in sequences
    ]


def test_context_shifts_are_prefilled_in_chunks_too():
    model = lively_model()
    sequences = [SequenceState(tuple(range(n)), SamplingOptions(max_new_tokens=60, seed=n)) for n in range(9, 15)]
    shapes, decode = [], model.decode
    model.decode = lambda ids, *args: (shapes.append(tuple(ids.shape)), decode(ids, *args))[1]
    run(model, sequences, n_slots=6, budget=5)
    del model.decode
    assert max(B * T for B, T in shapes if T > 1) <= 5 and all(sequence.n_context_shifts > 3 for sequence in sequences)
    assert [sequence.ids for sequence in sequences] == [
        generate_naive(model, sequence.prompt, sequence.options) for sequence in sequences
    ]


def test_memory_grows_with_the_number_of_sequences_and_not_beyond_the_slots():
    batch = ContinuousBatch(lively_model(), 6)
    for n in range(1, 7):
        batch.add(SequenceState((n,), SamplingOptions()))
        assert len(layers_of(batch.slots)[0][0]) == (INITIAL_SLOTS if n <= INITIAL_SLOTS else 6)
    with pytest.raises(ValueError, match="no slot"):
        batch.add(SequenceState((0,), SamplingOptions()))


def test_sequences_removed_in_the_middle_of_their_prompt_leave_nothing_behind():
    model = lively_model()
    options = SamplingOptions(max_new_tokens=12, seed=5)
    stay, gone, later = (SequenceState(prompt, options) for prompt in ((1, 2, 3), tuple(range(16)), (7, 8, 9)))
    batch = ContinuousBatch(model, 3)
    batch.add(stay)
    batch.step(4)
    batch.sample()
    batch.add(gone)
    batch.add(later)
    batch.step(4)
    batch.sample()
    batch.remove([gone])
    assert batch.prefilling == [later] and batch.n_free == 1
    while len(later.ids) < 12:
        batch.step(4)
        batch.sample()
    assert stay.ids[:12] == generate_naive(model, stay.prompt, options)
    assert later.ids == generate_naive(model, later.prompt, options)


def test_a_partly_prefilled_prompt_keeps_its_cache_when_another_sequence_is_removed():
    model = lively_model()
    options = SamplingOptions(max_new_tokens=9, seed=1)
    first, second, long = (SequenceState(prompt, options) for prompt in ((1, 2), (3, 4), tuple(range(14))))
    batch = ContinuousBatch(model, 3)
    batch.add(first)
    batch.add(second)
    batch.step(4)
    batch.sample()
    batch.add(long)
    batch.step(4)
    batch.sample()
    batch.remove([first])
    while len(long.ids) < 9:
        batch.step(4)
        batch.sample()
    assert second.ids[:9] == generate_naive(model, second.prompt, options)
    assert long.ids == generate_naive(model, long.prompt, options)


# Shared prefixes


def related_sequences(n: int, seed: int, context_length: int, vocab_size: int) -> list[SequenceState]:
    """Like `random_sequences`, but each prompt begins with one of three prefixes, and some are equal."""
    draw = random.Random(seed)
    bases = [[draw.randrange(vocab_size) for _ in range(context_length)] for _ in range(3)]
    sequences = random_sequences(n, seed, context_length, vocab_size)
    for sequence in sequences:
        common, own = draw.randint(1, context_length), draw.choice([0, 0, 1, 5])
        sequence.prompt = tuple([*draw.choice(bases)[:common], *sequence.prompt[:own]][:context_length])
    return sequences


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("n_slots, budget", [(3, 1), (6, 7), (16, 64)])
def test_a_copied_prefix_is_the_same_as_a_computed_one(name, n_slots, budget, monkeypatch):
    monkeypatch.setattr(continuous_batching, "MIN_SHARED_PREFIX", 3)
    lengths, move = [], KVCache.copy_row
    monkeypatch.setattr(KVCache, "copy_row", lambda *args: (lengths.append(args[3:]), move(*args))[1])
    model = lively_model(name)
    sequences = related_sequences(24, seed=n_slots, context_length=16, vocab_size=40)
    draw = random.Random(3)
    run(model, sequences, n_slots, budget, sorted(draw.randint(0, 60) for _ in sequences))
    assert sum(bool(length) for length in lengths) >= 3 and any(sequence.n_context_shifts for sequence in sequences)
    for sequence in sequences:
        assert sequence.ids == generate_naive(model, sequence.prompt, sequence.options)


def test_samples_of_one_prompt_compute_it_once():
    model, shapes = lively_model(context_length=64), []
    decode = model.decode
    model.decode = lambda ids, *args: (shapes.append(tuple(ids.shape)), decode(ids, *args))[1]
    prompt = tuple(i % 40 for i in range(30))
    sequences = [SequenceState(prompt, SamplingOptions(max_new_tokens=4, seed=1), sample) for sample in range(6)]
    run(model, sequences, n_slots=6, budget=256)
    assert shapes[:3] == [
        (1, 30),
        (5, 1),
        (1, 1),
    ]  # the first computes all; the others their last token, together with its first new one
    del model.decode
    assert [sequence.ids for sequence in sequences] == [
        generate_naive(model, prompt, sequence.options, sample=sample) for sample, sequence in enumerate(sequences)
    ]


def test_no_prefix_is_copied_from_a_sequence_after_a_context_shift():
    model = lively_model(context_length=64)
    prompt = tuple(i % 40 for i in range(30))
    old, new = (SequenceState(prompt, SamplingOptions(max_new_tokens=n, seed=n)) for n in (100, 20))
    run(model, [old, new], n_slots=2, budget=64, arrivals=[0, 60])
    assert old.n_context_shifts and new.ids == generate_naive(model, prompt, new.options)


def test_the_last_token_has_not_been_computed_yet_and_is_not_copied():
    model = lively_model(context_length=64)
    options, batch = SamplingOptions(max_new_tokens=9, seed=2), ContinuousBatch(model, 2)
    first = SequenceState(tuple(range(20)), options)
    batch.add(first)
    for _ in range(4):
        batch.step(64)
        batch.sample()
    second = SequenceState((*first.prompt, *first.ids, 7), options)  # continues where the first one is now
    batch.add(second)
    while len(second.ids) < 9:
        batch.step(64)
        batch.sample()
    assert second.ids == generate_naive(model, second.prompt, options)


def test_short_and_different_prefixes_are_computed():
    sequence = SequenceState(tuple(range(40)), SamplingOptions(), pending=tuple(range(40)))
    shared_prefix = continuous_batching.shared_prefix
    assert shared_prefix(sequence, range(40)) == 39 and shared_prefix(sequence, range(16)) == 16
    assert shared_prefix(sequence, range(15)) == shared_prefix(sequence, range(1, 40)) == 0
    sequence.n_computed = 1
    assert shared_prefix(sequence, range(40)) == 0


def test_copy_row_and_resized_copy_and_rows_does_not():
    cache = lively_model().make_cache(3)
    for k, v in layers_of(cache):
        k.copy_(torch.randn_like(k))
        v.copy_(torch.randn_like(v))
    bigger = cache.resized(5)
    assert bigger.batch_size == 5 and torch.equal(bigger.kv[:, :3], cache.kv) and not bigger.kv[:, 3:].any()
    cache.copy_row(2, 0)
    assert torch.equal(layers_of(cache)[0][1][0], layers_of(cache)[0][1][2])
    before = layers_of(cache)[1][0].clone()
    cache.copy_row(1, 0, 5)
    assert torch.equal(layers_of(cache)[1][0][0, :, :5], before[1, :, :5])
    assert torch.equal(layers_of(cache)[1][0][0, :, 5:], before[0, :, 5:])
    layers_of(cache.rows(1, 3))[0][0].zero_()
    assert not layers_of(cache)[0][0][1:].any() and layers_of(cache)[0][0][0].any()
