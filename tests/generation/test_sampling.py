"""The sampling rules: hand-made examples, their properties, and a comparison with transformers."""

import math

import pytest
import torch
from transformers.generation import logits_process as oracle

from llmasos.generation import SamplingOptions, SequenceState
from llmasos.generation.sampling import (
    count_penalties,
    greedy,
    min_p,
    process_logits,
    repetition_penalty,
    sample,
    temperature,
    top_k,
    top_p,
    uniform,
)
from llmasos.generation.sequence import next_tokens


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


def kept(logits: torch.Tensor) -> list[int]:
    """The tokens of the first row that can still be sampled."""
    return logits[0].isfinite().nonzero()[:, 0].tolist()


def random_logits(seed: int, n_rows: int = 3, vocab_size: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3.0 * torch.randn(n_rows, vocab_size, generator=generator, dtype=torch.float64)


def chi_square_bound(degrees: int, x: float = 20.7) -> float:
    """The bound that a chi-square variable exceeds with probability at most e^-x, here one in a billion (Laurent &
    Massart 2000, lemma 1). So a statistic above it cannot be bad luck."""
    return degrees + 2.0 * math.sqrt(degrees * x) + 2.0 * x


# Each rule alone


def test_top_k_keeps_the_k_most_likely():
    assert kept(top_k(logits_of(0.1, 0.4, 0.2, 0.3), 2)) == [1, 3]
    assert kept(top_k(logits_of(0.1, 0.4, 0.2, 0.3), 1)) == [1]


def test_top_k_beyond_the_vocabulary_keeps_everything():
    assert kept(top_k(logits_of(0.1, 0.4, 0.5), 99)) == [0, 1, 2]


def test_top_k_keeps_all_tokens_that_tie_with_the_kth():
    assert kept(top_k(torch.tensor([[1.0, 3.0, 1.0, 0.0]]), 2)) == [0, 1, 2]


def test_top_p_keeps_the_token_that_crosses_the_threshold():
    logits = logits_of(0.2, 0.5, 0.05, 0.25)
    assert kept(top_p(logits, 0.6)) == [1, 3]  # 0.5 is not enough, 0.75 is
    assert kept(top_p(logits, 0.76)) == [0, 1, 3]
    assert kept(top_p(logits, 0.4)) == [1]
    assert kept(top_p(logits, 1e-9)) == [1]  # the most likely token always stays


def test_top_p_stops_where_the_sum_is_exactly_reached():
    assert kept(top_p(torch.zeros(1, 4), 0.5)) == [0, 1]  # four quarters: two of them are a half


def test_top_p_of_one_keeps_even_what_rounding_would_lose():
    logits = torch.tensor([[0.0, -80.0, -90.0]])  # in float32 the first token's probability is 1
    assert kept(top_p(logits, 1.0)) == [0, 1, 2]


def test_top_p_keeps_the_smallest_set_that_holds_p():
    for seed in range(30):
        p = uniform(seed, 0, 0) * 0.98 + 0.01
        logits = random_logits(seed)
        probabilities, result = logits.softmax(-1), top_p(logits, p)
        for row in range(len(logits)):
            inside = probabilities[row][result[row].isfinite()]
            outside = probabilities[row][~result[row].isfinite()]
            assert inside.sum() >= p - 1e-12
            assert inside.sum() - inside.min() < p
            assert outside.numel() == 0 or outside.max() <= inside.min()


def test_min_p_compares_with_the_most_likely_token():
    logits = logits_of(0.5, 0.26, 0.24)
    assert kept(min_p(logits, 0.5)) == [0, 1]
    assert kept(min_p(logits, 0.4)) == [0, 1, 2]
    assert kept(min_p(logits, 1.0)) == [0]


def test_min_p_keeps_exactly_the_tokens_above_the_ratio():
    for seed in range(30):
        logits, p = random_logits(seed), 0.01 + 0.9 * uniform(seed, 1, 0)
        probabilities = logits.softmax(-1)
        expected = probabilities >= p * probabilities.amax(-1, keepdim=True)
        assert torch.equal(min_p(logits, p).isfinite(), expected)


def test_temperature_divides_the_logits():
    assert temperature(torch.tensor([[2.0, -4.0]]), 2.0).tolist() == [[1.0, -2.0]]


def test_count_penalties_take_once_and_for_every_time():
    logits, counts = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0, 1, 4]])
    assert count_penalties(logits, counts, 0.5, 0.25).tolist() == [[1.0, 1.25, 1.5]]


def test_the_count_penalties_count_the_new_text_and_not_the_prompt():
    options = SamplingOptions(temperature=0, presence_penalty=1.0, frequency_penalty=1.0)
    logits = torch.tensor([[5.0, 4.5, 2.5]])
    chosen = [int(next_tokens(logits, [SequenceState((0, 0), options, ids=ids)])) for ids in ([], [0], [0, 1, 1])]
    assert chosen == [0, 1, 0]


def test_repetition_penalty_makes_seen_tokens_less_likely_whatever_their_sign():
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    seen = torch.tensor([[True, True, False, False]])
    assert repetition_penalty(logits, seen, 2.0).tolist() == [[1.0, -4.0, 2.0, -2.0]]


def test_a_filter_leaves_the_other_logits_as_they_are_and_its_argument_too():
    logits = random_logits(0)
    before = logits.clone()
    for result in (top_k(logits, 5), top_p(logits, 0.5), min_p(logits, 0.1)):
        assert torch.equal(result[result.isfinite()], logits[result.isfinite()])
        assert 0 < result.isfinite().sum() < logits.numel()
    assert torch.equal(logits, before)


def test_each_row_is_filtered_by_itself():
    logits = random_logits(3, n_rows=5)
    for rule in (lambda x: top_k(x, 4), lambda x: top_p(x, 0.7), lambda x: min_p(x, 0.2)):
        assert torch.equal(rule(logits), torch.cat([rule(row[None]) for row in logits]))


def test_all_rules_agree_with_transformers():
    for seed in range(20):
        logits = random_logits(seed).float()
        u = [uniform(seed, i, 0) for i in range(5)]
        ids = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(seed))
        seen = torch.zeros(3, 50, dtype=torch.bool).scatter(1, ids, True)
        k, p = 1 + int(30 * u[0]), 0.05 + 0.9 * u[1]
        pairs = [
            (top_k(logits, k), oracle.TopKLogitsWarper(k)),
            (top_p(logits, p), oracle.TopPLogitsWarper(p)),
            (min_p(logits, p), oracle.MinPLogitsWarper(p)),
            (temperature(logits, 0.1 + u[2]), oracle.TemperatureLogitsWarper(0.1 + u[2])),
            (repetition_penalty(logits, seen, 0.5 + u[3]), oracle.RepetitionPenaltyLogitsProcessor(0.5 + u[3])),
        ]
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs(ids, logits), msg=lambda m, name=theirs: f"{name}: {m}")


# The rules together


def test_without_options_the_logits_pass_unchanged():
    assert torch.equal(process_logits(random_logits(0), SamplingOptions()), random_logits(0))


def test_top_p_sees_what_temperature_has_made():
    logits = logits_of(0.6, 0.3, 0.1)  # at temperature 2 about 0.47, 0.33, 0.19
    assert kept(process_logits(logits, SamplingOptions(top_p=0.55))) == [0]
    assert kept(process_logits(logits, SamplingOptions(top_p=0.55, temperature=2.0))) == [0, 1]


def test_top_p_counts_the_probability_that_top_k_has_left():
    logits = logits_of(0.4, 0.3, 0.2, 0.1)  # the first two alone: 0.57, 0.43
    assert kept(process_logits(logits, SamplingOptions(top_p=0.5))) == [0, 1]
    assert kept(process_logits(logits, SamplingOptions(top_p=0.5, top_k=2))) == [0]


def test_greedy_takes_the_penalty_into_account():
    logits = torch.tensor([[3.0, 2.0]])
    options = SamplingOptions(temperature=0, repetition_penalty=2.0)
    assert greedy(process_logits(logits, options, [[0]], [[]])).tolist() == [1]


def test_greedy_takes_the_most_likely_token():
    assert greedy(torch.tensor([[0.0, 5.0, 1.0], [7.0, 5.0, 1.0]])).tolist() == [1, 0]


# Drawing


def test_each_token_owns_a_piece_of_the_unit_interval_as_long_as_its_probability():
    logits = random_logits(1, n_rows=1, vocab_size=12)
    grid = torch.arange(2**14, dtype=torch.float64) / 2**14
    counts = sample(logits.expand(len(grid), -1), grid).bincount(minlength=12)
    assert (counts - logits.softmax(-1)[0] * len(grid)).abs().max() <= 1.0


FILTERED = SamplingOptions(temperature=0.7, top_k=8, top_p=0.9, min_p=0.02)


@pytest.mark.parametrize("options", [SamplingOptions(), FILTERED])
def test_sampled_frequencies_match_the_softmax(options):
    n = 20_000
    shaped = process_logits(random_logits(2, n_rows=1, vocab_size=15) / 2.0, options)
    draws = sample(shaped.expand(n, -1), torch.tensor([uniform(5, i, 3) for i in range(n)]))
    counts, expected = draws.bincount(minlength=15), n * shaped.softmax(-1)[0]
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum().item()
    bound = chi_square_bound(int(possible.sum()) - 1)
    assert statistic < bound, f"chi-square {statistic:.1f} above {bound:.1f}: by chance once in a billion seeds"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_impossible_token_is_never_drawn_not_even_at_the_ends(dtype):
    logits = torch.full((1, 1000), -math.inf, dtype=dtype)
    logits[0, 300:310] = torch.linspace(0, 3, 10)
    ends = torch.tensor([0.0, 2.0**-24, 0.5, 1.0 - 2.0**-24], dtype=torch.float64)
    draws = sample(logits.expand(4, -1), ends).tolist()
    assert draws[0] == 300 and draws[-1] == 309
    assert all(300 <= id < 310 for id in draws)


def test_uniform_numbers_are_a_fixed_function_of_seed_sample_and_step():
    # These numbers must never change: all sampled texts would change with them.
    assert [uniform(0, 0, 0), uniform(1, 2, 3)] == [0.05607348680496216, 0.22197061777114868]
    numbers = {uniform(seed, n, step) for seed in range(-5, 5) for n in range(10) for step in range(10)}
    assert len(numbers) > 990  # of a thousand; 24 bits make about 0.03 pairs collide


def test_uniform_numbers_are_even_and_neighbours_are_independent():
    n = 10_000
    for stream in ([uniform(0, 0, i) for i in range(n)], [uniform(0, i, 0) for i in range(n)]):
        numbers = torch.tensor(stream, dtype=torch.float64)
        assert 0.0 <= numbers.min() and numbers.max() < 1.0
        pairs = (numbers * 10).long()
        cells = (pairs[:-1] * 10 + pairs[1:]).bincount(minlength=100).double()  # each number with its successor
        expected = (n - 1) / 100
        assert ((cells - expected) ** 2 / expected).sum() < chi_square_bound(99)
