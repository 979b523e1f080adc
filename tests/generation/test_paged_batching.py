"""A paged cache gives the same texts as slots, bit for bit; it wastes less, leaks nothing and never deadlocks."""

import random
from dataclasses import replace

import pytest
from generation_helpers import PRESETS, lively_model
from model_helpers import VARIANTS, random_gpt

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, SequenceState, continuous_batching, generate_naive, paged_batching
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.generation.paged_batching import PagedBatch

CONTEXT = 16


def schedule(n: int, seed: int) -> list[tuple[int, int, SequenceState]]:
    """Sequences with the steps of arrival and cancellation; many have a common prefix, some outgrow the context."""
    draw = random.Random(seed)
    bases = [[draw.randrange(29) for _ in range(CONTEXT)] for _ in range(2)]
    rows = []
    for _ in range(n):
        common, own = draw.randint(0, CONTEXT), draw.randint(0, 4)
        prompt = [*draw.choice(bases)[:common], *(draw.randrange(29) for _ in range(own))][:CONTEXT] or [1]
        options = SamplingOptions(
            max_new_tokens=draw.choice([1, 3, 8, 20]),
            temperature=draw.choice([0.0, 1.0]),
            repetition_penalty=draw.choice([1.0, 1.2]),
            seed=draw.randrange(9),
        )
        arrival = draw.randint(0, 20)
        cancelled = arrival + draw.randint(0, 20) if draw.random() < 0.25 else 10**9
        rows.append((arrival, cancelled, SequenceState(tuple(prompt), options)))
    return sorted(rows, key=lambda row: row[0])


def run(batch: ContinuousBatch, rows: list[tuple[int, int, SequenceState]], budget: int, check=lambda batch: None):
    """Add and remove sequences until none is left."""
    step, waiting = 0, list(rows)
    while waiting or batch.sequences or batch.prefilling:
        while waiting and waiting[0][0] <= step and batch.n_free:
            batch.add(waiting.pop(0)[2])
        cancelled = [s for _, last, s in rows if last <= step and s in (*batch.sequences, *batch.prefilling)]
        batch.remove(cancelled)
        waiting = [row for row in waiting if row[1] > step]
        if batch.step(budget):
            check(batch)
            batch.sample()
            batch.remove([s for s in batch.sequences if len(s.ids) == s.options.max_new_tokens])
        step += 1
        assert step < 3_000, "nothing ends any more"


def paged(model, n_slots: int = 6, page_size: int = 4, n_pages: int | None = None) -> PagedBatch:
    n_pages = n_slots * -(-model.config.context_length // page_size) if n_pages is None else n_pages
    return PagedBatch(model, n_slots, page_size=page_size, n_pages=n_pages)


def check_pages(batch: PagedBatch) -> None:
    """Check the invariants that must hold after every step."""
    in_use = [page for pages in batch.page_tables.values() for page in pages]
    assert batch.pool.n_in_use == len({*in_use}) and batch.pool.n_free >= 0
    assert [*batch.page_tables] and {*batch.page_tables} == {*batch.sequences, *batch.prefilling}
    for sequence in batch.sequences:
        waste = len(batch.page_tables[sequence]) * batch.pool.page_size - sequence.n_computed
        assert 0 <= waste < batch.pool.page_size or sequence.n_computed == len(sequence.pending)


@pytest.mark.parametrize("page_size, budget", [(1, 5), (3, 7), (4, 64), (16, 3)])
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seed", range(2))
def test_every_number_is_that_of_slots_bit_for_bit(name, page_size, budget, seed, monkeypatch):
    """With room for all and nothing shared, both compute the same at every step: ids and probabilities are equal."""
    monkeypatch.setattr(continuous_batching, "MIN_SHARED_PREFIX", 10**9)
    monkeypatch.setattr(paged_batching, "common_prefix", lambda *args: 0)
    monkeypatch.setattr(paged_batching.PagePool, "find", lambda *args: [])
    model = lively_model(name, vocab_size=29)
    by_slots, by_pages = schedule(8, seed), schedule(8, seed)
    run(ContinuousBatch(model, 4), by_slots, budget)
    batch = paged(model, 4, page_size, n_pages=10**4)
    run(batch, by_pages, budget, check_pages)
    for (*_, a), (*_, b) in zip(by_slots, by_pages, strict=True):
        assert (a.ids, a.logprobs, a.n_context_shifts) == (b.ids, b.logprobs, b.n_context_shifts)
    assert any(s.n_context_shifts for *_, s in by_pages) and batch.pool.n_in_use == 0


@pytest.mark.parametrize("page_size, n_pages, budget", [(1, 16, 4), (3, 8, 9), (4, 5, 64), (4, 4, 64), (16, 2, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_every_text_is_the_naive_one_though_pages_are_few_and_shared(page_size, n_pages, budget, seed):
    model = random_gpt(**VARIANTS["llama"])
    rows, hits = schedule(10, seed), []
    batch = paged(model, 6, page_size, n_pages)
    share = batch.pool.share
    batch.pool.share = lambda pages: (hits.extend(pages), share(pages))
    run(batch, rows, budget, check_pages)
    assert batch.pool.n_in_use == 0 and not batch.page_tables
    assert hits or page_size == CONTEXT  # its last token is computed in any case, so a whole context is never known
    for _, cancelled, sequence in rows:
        expected = generate_naive(model, sequence.prompt, sequence.options)
        assert sequence.ids == expected[: len(sequence.ids)]
        assert cancelled < 10**9 or len(sequence.ids) == len(expected), "something was lost"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_type_of_model(variant):
    model = random_gpt(**VARIANTS[variant])
    options = [SamplingOptions(max_new_tokens=n, seed=n) for n in (5, 1, 24, 3, 7, 2)]
    sequences = [SequenceState((3, 1, 4, 1, 5, n % 2), option) for n, option in enumerate(options)]
    run(paged(model, 4, 3, 9), [(0, 10**9, sequence) for sequence in sequences], 5, check_pages)
    assert [s.ids for s in sequences] == [generate_naive(model, s.prompt, s.options) for s in sequences]


def test_the_oldest_keeps_its_pages_and_the_youngest_is_put_back_and_continues():
    model = random_gpt()
    old, young = (SequenceState((n,), SamplingOptions(max_new_tokens=12, seed=n)) for n in (1, 2))
    batch = paged(model, 2, 4, 4)
    batch.add(old)
    batch.step(9)
    batch.sample()
    batch.add(young)
    seen = set()
    while len(old.ids) < 12:
        batch.step(9)
        batch.sample()
        seen.add((len(batch.page_tables[old]), len(batch.page_tables[young]), batch.n_free))
        assert old in batch.sequences
    assert {(1, 1, 0), (2, 2, 0), (3, 0, 0)} <= seen  # with the fifth page, the young one has none
    batch.remove([old])
    while len(young.ids) < 12:
        batch.step(9)
        batch.sample()
    for sequence in (old, young):
        assert sequence.ids == generate_naive(model, sequence.prompt, sequence.options)


def test_a_new_one_waits_in_the_queue_until_there_are_pages():
    model = random_gpt()
    first, second = (SequenceState(tuple(range(n, n + 12)), SamplingOptions(max_new_tokens=3)) for n in (0, 9))
    batch = paged(model, 4, 4, 5)
    batch.add(first)
    batch.add(second)
    batch.step(64)
    batch.sample()
    assert batch.prefilling == [second] and batch.page_tables[second] == [] and batch.n_free == 0
    with pytest.raises(ValueError, match="no slot is free"):
        batch.add(replace(second))
    batch.remove([first])
    batch.step(64)
    assert batch.sequences == [second] and batch.n_free == 3


def test_pages_without_room_for_one_context_are_refused():
    with pytest.raises(UserError, match="3 pages of 5 tokens have no room for one context of 16; choose more pages"):
        paged(random_gpt(), 2, 5, 3)


def test_samples_of_one_prompt_use_the_same_pages_and_so_does_a_later_one():
    prompt, batch = tuple(i % 29 for i in range(30)), paged(random_gpt(context_length=64), 8, 8)
    sequences = [SequenceState(prompt, SamplingOptions(max_new_tokens=9, seed=1), sample) for sample in range(5)]
    for sequence in sequences:
        batch.add(sequence)
    for _ in range(4):
        batch.step(256)
        batch.sample()
    assert (
        batch.pool.n_shared == 3 and batch.pool.n_in_use == 3 + 2 + 4
    )  # the first one is a token ahead and has begun a fifth
    run(batch, [], 256)


def test_waste_is_what_the_formula_says():
    """Slots reserve a whole context for each text; pages waste less than one page per text."""
    model, lengths = random_gpt(context_length=64), (1, 7, 8, 9, 20)
    slots, pages = ContinuousBatch(model, len(lengths)), paged(model, len(lengths), 8)
    for batch in (slots, pages):
        for n in lengths:
            batch.add(SequenceState(tuple((n + i) % 29 for i in range(n)), SamplingOptions(max_new_tokens=50)))
        batch.step(10**4)
        for _ in range(3):
            batch.sample()
            batch.step(10**4)
    now = [n + 3 for n in lengths]  # tokens whose keys and values are computed
    assert [s.n_computed for s in pages.sequences] == [s.n_computed for s in slots.sequences] == now
    per_token = 2 * 8 * model.config.n_layers * model.config.d_model  # in float64
    used = slots.slots.rows(0, len(lengths)).n_bytes
    assert used - per_token * sum(now) == per_token * sum(64 - n for n in now)
    waste = {s.n_computed: 8 * len(table) - s.n_computed for s, table in pages.page_tables.items()}
    assert waste == {n: -n % 8 for n in now} and max(waste.values()) <= 7
    assert pages.memory.n_bytes == per_token * 8 * pages.memory.n_pages


def test_memory_grows_with_the_pages_in_use(monkeypatch):
    monkeypatch.setattr(paged_batching, "INITIAL_PAGES", 2)
    model = random_gpt(**VARIANTS["modern"])
    batch = paged(model, 4, 4, 15)
    sequences = [SequenceState((n,) * 5, SamplingOptions(max_new_tokens=9)) for n in range(3)]
    sizes = []
    for sequence in sequences:
        batch.add(sequence)
        batch.step(64)
        batch.sample()
        sizes.append(batch.memory.n_pages)
    assert sizes == [2, 4, 8] and batch.memory.ids.shape == (8, 4)
    while len(sequences[-1].ids) < 9:
        batch.step(64)
        batch.sample()
    for sequence in sequences:
        assert sequence.ids[:9] == generate_naive(model, sequence.prompt, sequence.options)
