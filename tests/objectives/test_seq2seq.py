"""Sequence to sequence: the decoder's inputs and targets, and the smoothed loss."""

import math

import pytest
import torch
from objective_helpers import gradients_of, learn, tiny_transformer, tokenizer
from torch.nn import functional as F

from llmasos.datasets.examples import Pair
from llmasos.errors import UserError
from llmasos.objectives import IGNORE_INDEX, EncodedPair, Seq2Seq, encode_pair
from llmasos.objectives.seq2seq import smoothed_cross_entropy

END = tokenizer().end_of_text
PAD = tokenizer().pad_id
PAIRS = [EncodedPair([7, 8, 9], [10, 11]), EncodedPair([12], [13, 14, 15, 16]), EncodedPair([9, 9, 9, 8, 8], [])]


def test_the_decoder_reads_the_target_shifted_right():
    batch = Seq2Seq(tokenizer()).collate(PAIRS[:2])
    assert batch["source"].tolist() == [[7, 8, 9, END], [12, END, PAD, PAD]]
    assert batch["source_attention_mask"].tolist() == [[True] * 4, [True, True, False, False]]
    assert batch["target"].tolist() == [[END, 10, 11, PAD, PAD], [END, 13, 14, 15, 16]]
    assert batch["targets"].tolist() == [[10, 11, END, IGNORE_INDEX, IGNORE_INDEX], [13, 14, 15, 16, END]]
    assert Seq2Seq(tokenizer()).n_targets(batch) == {"target": 8}


def test_the_loss_is_the_sum_of_minus_log_probabilities():
    objective, model = Seq2Seq(tokenizer()), tiny_transformer()
    expected, right = 0.0, 0
    for source, target in PAIRS:
        given, said = torch.tensor([[END, *target]]), [*target, END]
        logprobs = F.log_softmax(model(torch.tensor([[*source, END]]), given)[0], dim=-1)
        expected -= sum(logprobs[t, token] for t, token in enumerate(said))
        right += int((logprobs.argmax(-1) == torch.tensor(said)).sum())
    batch = objective.collate(PAIRS)
    torch.testing.assert_close(objective.loss_sums(model, batch)["target"].double(), expected, rtol=1e-6, atol=0)
    assert objective.n_correct(model, batch) == {"target": right}


def test_neither_padding_nor_the_company_of_other_pairs_changes_loss_or_gradient():
    objective, model = Seq2Seq(tokenizer(), label_smoothing=0.1), tiny_transformer().train()
    together = objective.loss_sums(model, objective.collate(PAIRS))
    apart = [objective.loss_sums(model, objective.collate([pair])) for pair in PAIRS]
    torch.testing.assert_close(together["target"], sum(loss["target"] for loss in apart), rtol=1e-6, atol=0)
    whole, parts = gradients_of(model, together), [gradients_of(model, loss) for loss in apart]
    for i, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, sum(part[i] for part in parts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3, 0.9])
def test_the_smoothed_loss_and_its_gradient_equal_torchs(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 9, generator=generator, dtype=torch.float64).mul(3).requires_grad_()
    targets = torch.randint(9, (12,), generator=generator)
    ours = smoothed_cross_entropy(logits, targets, smoothing)
    theirs = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), strict=True):
        torch.testing.assert_close(a, b)


def test_the_smoothed_loss_is_least_where_the_smoothed_targets_are():
    """Szegedy et al. 2016, section 7: the right token has 1 - ε + ε / V, every other ε / V."""
    smoothing, n_tokens = 0.1, 5
    logits = torch.zeros(1, n_tokens, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = smoothed_cross_entropy(logits, torch.tensor([2]), smoothing)
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = torch.full((n_tokens,), 0.02, dtype=torch.float64)
    expected[2] = 0.92
    torch.testing.assert_close(logits.softmax(-1)[0], expected, rtol=0, atol=1e-6)


def test_only_training_is_smoothed():
    plain, smooth, model = Seq2Seq(tokenizer()), Seq2Seq(tokenizer(), label_smoothing=0.1), tiny_transformer()
    batch = plain.collate(PAIRS)
    assert torch.equal(smooth.loss_sums(model, batch)["target"], plain.loss_sums(model, batch)["target"])
    model.train()
    assert not torch.allclose(smooth.loss_sums(model, batch)["target"], plain.loss_sums(model, batch)["target"])


def test_a_few_pairs_can_be_learned_by_heart(tmp_path):
    model = tiny_transformer(d_model=32).float()
    objective = Seq2Seq(tokenizer(), label_smoothing=0.1)
    assert learn(objective, model, PAIRS, tmp_path, steps=80) < 0.2 < math.log(tokenizer().vocab_size)
    assert objective.n_correct(model.eval(), objective.collate(PAIRS)) == {"target": 9}


def test_pairs_that_fit_are_encoded_and_longer_ones_are_named():
    pair = Pair("abc", "defgh")
    assert encode_pair(pair, tokenizer(), 6) == (tokenizer().encode("abc"), tokenizer().encode("defgh"))
    with pytest.raises(UserError, match="the target has 5 tokens, and with its end-of-text .* context of 5"):
        encode_pair(pair, tokenizer(), 5)
    with pytest.raises(UserError, match="the source has 3 tokens.* context of 3"):
        encode_pair(pair, tokenizer(), 3)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(
        UserError, match=f"label_smoothing is {smoothing}; it must be a number of at least 0 and below 1"
    ):
        Seq2Seq(tokenizer(), smoothing)
