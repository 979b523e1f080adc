"""Masked language modeling: which tokens are masked, how, what the masks depend on, and the sum of the loss."""

import math

import numpy as np
import pytest
import torch
from objective_helpers import SPECIAL, cut, gradients_of, learn, random_inputs, rngs, tiny_bert, tokenizer
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.objectives import IGNORE_INDEX, MaskedLM
from llmasos.tokenizers import train_tokenizer

MASK = tokenizer().special_tokens["[MASK]"]


def _batch(n: int = 400, step: int = 0, **arguments):
    examples = random_inputs(n)
    return examples, MaskedLM(tokenizer(), **arguments).collate(examples, rngs(n, step))


@pytest.mark.parametrize("mask_prob", [0.05, 0.15, 0.5, 1.0])
def test_the_number_of_targets_is_rounded_in_each_row_and_at_least_one(mask_prob):
    examples, batch = _batch(mask_prob=mask_prob)
    special = tokenizer().special_mask
    for inputs, targets in zip(examples, batch["targets"], strict=True):
        ordinary = sum(not special[id] for id in inputs.ids)
        assert (targets != IGNORE_INDEX).sum() == max(1, math.floor(mask_prob * ordinary + 0.5))


def test_targets_are_the_original_tokens_and_nothing_else_is_changed():
    examples, batch = _batch()
    for inputs, ids, targets, attention_mask in zip(
        examples, batch["ids"], batch["targets"], batch["attention_mask"], strict=True
    ):
        n = len(inputs.ids)
        assert attention_mask.tolist() == [True] * n + [False] * (len(attention_mask) - n)
        original, hidden = torch.tensor(inputs.ids), targets[:n] != IGNORE_INDEX
        assert (targets[:n][hidden] == original[hidden]).all() and (ids[:n][~hidden] == original[~hidden]).all()
        assert (targets[n:] == IGNORE_INDEX).all() and (ids[n:] == tokenizer().pad_id).all()


def test_special_tokens_and_padding_are_neither_masked_nor_drawn_as_random_tokens():
    special = torch.from_numpy(tokenizer().special_mask)
    for step in range(5):
        _, batch = _batch(step=step, mask_prob=0.5)
        hidden = batch["targets"] != IGNORE_INDEX
        assert not special[batch["targets"][hidden]].any()
        assert not special[batch["ids"][hidden & (batch["ids"] != MASK)]].any()


def test_of_the_chosen_tokens_80_percent_are_masked_10_replaced_and_10_kept():
    _, batch = _batch(n=4000, mask_prob=0.5)
    hidden = batch["targets"] != IGNORE_INDEX
    ids, targets = batch["ids"][hidden], batch["targets"][hidden]
    n, masked, kept = len(ids), int((ids == MASK).sum()), int((ids == targets).sum())
    chance = 1 / 27  # that the random token is the true one
    for count, p in ((masked, 0.8), (kept, 0.1 + 0.1 * chance), (n - masked - kept, 0.1 * (1 - chance))):
        assert abs(count - n * p) < 4 * math.sqrt(n * p * (1 - p)), (count / n, p)
    replaced = np.bincount(ids[(ids != MASK) & (ids != targets)].numpy(), minlength=tokenizer().vocab_size)
    expected = replaced.sum() / 27
    assert (abs(replaced[~tokenizer().special_mask] - expected) < 5 * math.sqrt(expected)).all(), "uniform over letters"


def test_every_position_is_masked_equally_often():
    inputs = tokenizer().build_inputs(tokenizer().encode("abcdefghij"), tokenizer().encode("klmnopqrst"))
    n = 4000
    targets = MaskedLM(tokenizer()).collate([inputs] * n, rngs(n))["targets"]
    times = (targets != IGNORE_INDEX).sum(0).numpy()
    assert times.sum() == 3 * n
    assert (abs(times[times > 0] - 0.15 * n) < 5 * math.sqrt(0.15 * 0.85 * n)).all()


def test_the_masks_of_a_row_depend_on_its_own_generator_alone():
    examples, batch = _batch(8)
    objective, sources = MaskedLM(tokenizer()), rngs(8)
    again = objective.collate(examples, sources)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    swapped = objective.collate(examples[::-1], sources[::-1])
    assert all(torch.equal(batch[name], swapped[name].flip(0)) for name in batch)
    for row in range(8):
        alone = objective.collate(examples[row : row + 1], sources[row : row + 1])
        assert torch.equal(alone["targets"][0], cut(batch, row)["targets"][0])
    _, later = _batch(8, step=1)
    assert not torch.equal(batch["targets"], later["targets"]), "the next epoch masks other tokens"


@pytest.mark.parametrize("kind, vocab_size, special", [("bpe", 275, SPECIAL), ("wordpiece", 40, None)])
def test_whole_words_are_masked_together_and_never_across_texts(kind, vocab_size, special):
    more = {} if special is None else {"special_tokens": special}
    pieces = train_tokenizer(kind, ["overing singer walks walking oversing b " * 30], vocab_size=vocab_size, **more)
    text = " walking oversings a singer walkinger is b overwalk"
    inputs = pieces.build_inputs(pieces.encode(text), pieces.encode("walks overing"))
    continues, special = pieces.continues[inputs.ids], pieces.special_mask[inputs.ids]
    word = np.cumsum(~continues | special)
    assert len(np.unique(word)) < len(inputs.ids) - 6, "some words are in several pieces"
    fractions = []
    for row in rngs(300):
        _, targets = MaskedLM(pieces, whole_word_masking=True).mask_tokens(np.array(inputs.ids), row())
        hidden = targets != IGNORE_INDEX
        assert hidden.any() and not hidden[special].any()
        assert all(len(set(hidden[(word == number) & ~special])) <= 1 for number in np.unique(word))
        fractions.append(hidden.sum() / (~special).sum())
    assert abs(np.mean(fractions) - 0.15) < 0.05


def test_a_row_of_special_tokens_only_has_nothing_to_predict():
    objective = MaskedLM(tokenizer())
    batch = objective.collate([tokenizer().build_inputs([]), random_inputs(1)[0]], rngs(2))
    assert (batch["targets"][0] == IGNORE_INDEX).all() and objective.n_targets(batch)["masked"] > 0


def test_the_loss_is_the_sum_of_minus_log_probabilities_of_masked_tokens():
    objective, model = MaskedLM(tokenizer()), tiny_bert()
    batch = objective.collate(random_inputs(6), rngs(6))
    logprobs = F.log_softmax(model(batch["ids"], batch["attention_mask"], batch["segments"]).masked, dim=-1)
    places = (batch["targets"] != IGNORE_INDEX).nonzero().tolist()
    expected = -sum(logprobs[b, t, batch["targets"][b, t]] for b, t in places)
    loss = objective.loss_sums(model, batch)["masked"]
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    assert objective.n_targets(batch) == {"masked": len(places)}
    right = sum(int(logprobs[b, t].argmax() == batch["targets"][b, t]) for b, t in places)
    assert objective.n_correct(model, batch) == {"masked": right}


def test_neither_padding_nor_other_rows_change_the_loss_or_a_gradient():
    objective, model = MaskedLM(tokenizer()), tiny_bert()
    batch = objective.collate(random_inputs(6), rngs(6))
    rows = [cut(batch, row) for row in range(6)]
    together, apart = objective.loss_sums(model, batch), [objective.loss_sums(model, row) for row in rows]
    torch.testing.assert_close(together["masked"], sum(loss["masked"] for loss in apart), rtol=1e-6, atol=0)
    whole = gradients_of(model, together)
    parts = [gradients_of(model, loss) for loss in apart]
    assert all(gradient is not None for gradient in whole), "data-parallel training requires one for every parameter"
    for i, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, sum(part[i] for part in parts), rtol=1e-5, atol=1e-6)


def test_the_loss_without_any_knowledge_is_log_v():
    objective, model = MaskedLM(tokenizer()), tiny_bert(vocab_size=tokenizer().vocab_size)
    torch.nn.init.zeros_(model.masked_lm_head.decoder.weight)
    torch.nn.init.zeros_(model.masked_lm_head.decoder.bias)
    batch = objective.collate(random_inputs(6), rngs(6))
    loss = objective.loss_sums(model, batch)["masked"].item() / objective.n_targets(batch)["masked"]
    assert loss == pytest.approx(math.log(tokenizer().vocab_size), rel=1e-6)


def test_a_few_rows_can_be_overfitted(tmp_path):
    examples = random_inputs(4)
    loss = learn(MaskedLM(tokenizer()), tiny_bert(d_model=32).float(), examples, tmp_path, steps=150)
    assert loss < 1.0, "3.5 without any knowledge; what is left is which token was replaced by a random one"


@pytest.mark.parametrize("mask_prob", [0.0, -0.1, 1.5])
def test_a_mask_prob_out_of_range_and_a_tokenizer_without_mask_are_refused(mask_prob):
    with pytest.raises(UserError, match=f"mask_prob is {mask_prob}; it must be a number above 0 and at most 1"):
        MaskedLM(tokenizer(), mask_prob=mask_prob)
    with pytest.raises(UserError, match=r"needs a special token \[MASK\], and this byte tokenizer has only <"):
        MaskedLM(train_tokenizer("byte", []))
