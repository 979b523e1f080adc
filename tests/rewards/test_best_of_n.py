"""Best-of-n: the answers that it keeps, its exact distribution and its KL divergence."""

import itertools

import pytest
import torch
from model_helpers import random_gpt

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.rewards import best_of_n, best_of_n_kl, best_of_n_probabilities, reward_of
from llmasos.tokenizers import train_tokenizer

PROMPTS, N = ("ab", "c", "dea"), 5


def likes_vowels(prompt, text):
    """Each vowel is worth a point; after the prompt "c" it costs one."""
    return (-1.0 if prompt == "c" else 1.0) * sum(text.count(letter) for letter in "ae")


@pytest.fixture(scope="module")
def writer():
    """A model, its tokenizer and options, with which every answer is different."""
    tokenizer = train_tokenizer("char", ["abcdefgh "])
    return random_gpt(vocab_size=tokenizer.vocab_size), tokenizer, SamplingOptions(max_new_tokens=8, seed=3)


@pytest.mark.parametrize("as_reward", [lambda f: f, reward_of], ids=["function", "Reward"])
def test_it_keeps_the_best_of_the_answers_that_the_model_writes(writer, as_reward):
    model, tokenizer, options = writer
    answers = generate(model, tokenizer, PROMPTS, options, N)
    kept = best_of_n(model, tokenizer, PROMPTS, as_reward(likes_vowels), N, options)
    assert len(kept) == len(PROMPTS)
    places = []
    for i, (prompt, best) in enumerate(zip(PROMPTS, kept, strict=True)):
        own = answers[i * N : (i + 1) * N]
        rewards = [likes_vowels(prompt, answer.text) for answer in own]
        places.append(rewards.index(max(rewards)))
        assert best.text == own[places[-1]].text
        assert min(rewards) < max(rewards), "there is something to choose"
    assert any(places), "not always the first"


def test_of_equally_good_answers_it_keeps_the_first(writer):
    model, tokenizer, options = writer
    kept = best_of_n(model, tokenizer, PROMPTS, lambda prompt, text: 1.0, N, options)
    first = generate(model, tokenizer, PROMPTS, options, N)[::N]
    assert [best.text for best in kept] == [answer.text for answer in first]


def test_the_best_of_none_is_refused(writer):
    with pytest.raises(UserError, match="n is 0"):
        best_of_n(*writer[:2], PROMPTS, likes_vowels, 0)


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
