"""Perplexity of a text equals an explicit computation; each token is scored once, for any stride and batch size."""

import math

import numpy as np
import pytest
import torch
from model_helpers import random_gpt, random_ids
from torch import nn

from llmasos.datasets import Windows
from llmasos.errors import UserError
from llmasos.evaluation import evaluate_text, token_losses
from llmasos.evaluation.perplexity import scored_windows

TOKENS = random_ids(53).numpy()
T = 16


def explicit_loss(model, context: np.ndarray, target: int) -> float:
    """-ln p(target | context), for a single token."""
    with torch.no_grad():
        return -float(model(torch.from_numpy(context)[None])[0, -1].log_softmax(-1)[target])


@pytest.mark.parametrize("n_tokens", [2, 3, 16, 17, 18, 33, 53])
@pytest.mark.parametrize("stride", [1, 5, 8, 15, 16])
def test_every_token_is_predicted_from_the_tokens_before_it_in_its_window(stride, n_tokens):
    model, tokens = random_gpt(), TOKENS[:n_tokens]
    losses = token_losses(model, tokens, stride)
    for i in range(1, n_tokens):
        # The first window has the targets 1 … T, each later one the next `stride` targets.
        start = 0 if i <= T else -(-(i - T) // stride) * stride
        assert i <= T or i - start >= T - stride + 1, "less context than promised"
        assert losses[i - 1] == pytest.approx(explicit_loss(model, tokens[start:i], tokens[i]), abs=1e-6)


@pytest.mark.parametrize("stride", range(1, 8))
def test_each_token_is_scored_once(stride):
    for n_tokens in range(2, 40):
        windows = list(scored_windows(n_tokens, 7, stride))
        scored = [token for _, first, end in windows for token in range(first, end)]
        assert scored == list(range(1, n_tokens))
        assert all(start < first < end <= start + 8 for start, first, end in windows)


def test_stride_of_a_context_is_the_plain_split_of_validation():
    windows = Windows(TOKENS, T, split="val").validation_windows()
    expected = [TOKENS[start:end].tolist() for start, _, end in scored_windows(len(TOKENS), T, T)]
    assert [window.tolist() for window in windows] == expected


def test_stride_one_gives_every_token_a_full_context():
    model = random_gpt()
    losses = token_losses(model, TOKENS, stride=1)
    expected = [explicit_loss(model, TOKENS[max(0, i - T) : i], TOKENS[i]) for i in range(1, len(TOKENS))]
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_nothing(batch_size):
    expected = token_losses(random_gpt(), TOKENS, stride=5, batch_size=8)
    np.testing.assert_allclose(token_losses(random_gpt(), TOKENS, 5, batch_size), expected, rtol=0, atol=1e-6)


def test_nats_perplexity_and_bits_per_byte_are_one_number():
    model = random_gpt()
    losses = token_losses(model, TOKENS, stride=4)
    scores = evaluate_text(model, TOKENS, stride=4, n_bytes=200)
    nats, perplexity, bits = scores
    assert nats.value == pytest.approx(losses.mean())
    assert perplexity.value == pytest.approx(math.exp(losses.mean()))
    assert bits.value == pytest.approx(losses.sum() / math.log(2) / 200)
    assert all(score.low < score.value < score.high and score.n == 52 for score in scores)
    assert perplexity.low == pytest.approx(math.exp(nats.low))
    assert bits.high / bits.value == pytest.approx(nats.high / nats.value)
    assert "stride 4" in perplexity.note
    assert evaluate_text(model, TOKENS).metrics() == list(evaluate_text(model, TOKENS, stride=T))[:2]


class Unsure(nn.Module):
    """A model that gives all eight tokens of its vocabulary the same probability, except after a 1."""

    def __init__(self):
        super().__init__()
        self.config = type("Config", (), {"context_length": 10})
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, 8)
        logits[..., 7] = torch.where(ids == 1, 3.0, 0.0)  # after a 1 it expects a 7, which never follows
        return logits


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary():
    score = evaluate_text(Unsure(), np.full(1000, 3)).perplexity
    assert score.value == pytest.approx(8)
    assert (score.low, score.high) == pytest.approx((8, 8))


def test_the_interval_knows_that_neighbouring_tokens_are_hard_together():
    mixed = np.random.default_rng(0).integers(2, size=4000)
    stretches = np.repeat(mixed[:400], 10)
    width = {}
    for name, tokens in {"mixed": mixed, "stretches": stretches}.items():
        score = evaluate_text(Unsure(), tokens).nats
        width[name] = score.high - score.low
    assert width["stretches"] > 2 * width["mixed"]  # √10 times as wide


def test_the_model_is_left_in_the_mode_it_was_in_and_dropout_is_off():
    model = random_gpt(dropout=0.5).train()
    first, again = token_losses(model, TOKENS), token_losses(model, TOKENS)
    assert (first == again).all() and model.training


def test_memory_mapped_small_integers_are_read():
    model = random_gpt()
    np.testing.assert_array_equal(token_losses(model, TOKENS.astype(np.uint16)), token_losses(model, TOKENS))
    np.testing.assert_array_equal(token_losses(model, TOKENS.tolist()), token_losses(model, TOKENS))


def test_what_cannot_be_evaluated_is_said():
    model = random_gpt()
    for stride in (0, -1, 17):
        with pytest.raises(UserError, match=f"stride of {stride} is not possible with a context of 16 tokens"):
            evaluate_text(model, TOKENS, stride)
    for n_tokens in (0, 1):
        with pytest.raises(UserError, match=f"a text of {n_tokens} tokens"):
            evaluate_text(model, TOKENS[:n_tokens])
    model.final_norm.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="not a number"):
        evaluate_text(model, TOKENS)
