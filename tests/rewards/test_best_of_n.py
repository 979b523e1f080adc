"""Best-of-n: its exact distribution and its KL divergence."""

import itertools

import pytest
import torch

from llmasos.rewards import best_of_n_kl, best_of_n_probabilities


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_exact_distribution_by_enumeration(n):
    p, rewards = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64), torch.tensor([1.0, 0.0, 1.0, 2.0])
    expected = torch.zeros(4, dtype=torch.float64)
    for draws in itertools.product(range(4), repeat=n):
        best = max(rewards[i] for i in draws)
        winners = [i for i in draws if rewards[i] == best]
        for winner in winners:
            expected[winner] += p[list(draws)].prod() / len(winners)
    torch.testing.assert_close(best_of_n_probabilities(p, rewards, n), expected)


def test_the_kl_is_the_formula_for_many_answers_and_below_it_for_few():
    for n in (2, 4, 16):
        many = torch.full((20_000,), 1 / 20_000, dtype=torch.float64)
        best = best_of_n_probabilities(many, torch.arange(20_000), n)
        assert float((best * (best / many).log()).nansum()) == pytest.approx(best_of_n_kl(n), abs=2e-3)
        two = torch.tensor([0.737, 0.263], dtype=torch.float64)
        best = best_of_n_probabilities(two, torch.tensor([1.0, 0.0]), n)
        assert 0 < float((best * (best / two).log()).sum()) < best_of_n_kl(n)
    assert best_of_n_kl(1) == 0
