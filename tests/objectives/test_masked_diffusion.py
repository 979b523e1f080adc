"""Masked diffusion: the loss is the any-order bound, all numbers of masks are equally likely, special tokens stay."""

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
import torch
from objective_helpers import rngs, tiny_bert, tokenizer

from llmasos.errors import UserError
from llmasos.objectives import IGNORE_INDEX, MaskedDiffusion, NoisedText
from llmasos.tokenizers import train_tokenizer

MASK_ID = tokenizer().special_tokens["[MASK]"]


def noised(text: str, stratum=(0, 1)) -> NoisedText:
    return NoisedText(tokenizer().build_inputs(tokenizer().encode(text)), stratum)


def masked_batch(text: str, chosen: tuple[int, ...]) -> dict:
    """The batch in which exactly these characters of the text are masked."""
    inputs = tokenizer().build_inputs(tokenizer().encode(text))
    ids, targets = np.array(inputs.ids), np.full(len(inputs.ids), IGNORE_INDEX)
    at = np.array(chosen) + 1  # after [CLS]
    targets[at], ids[at] = ids[at], MASK_ID
    return {
        "ids": torch.tensor(ids)[None], "targets": torch.tensor(targets)[None],
        "attention_mask": torch.ones(1, len(ids), dtype=torch.bool), "segments": torch.zeros(1, len(ids)).long(),
        "n_tokens": torch.tensor([len(text)]), "weight": torch.tensor([len(text) / len(chosen)], dtype=torch.float64),
    }  # fmt: skip


@torch.inference_mode()
def test_the_mean_loss_is_the_mean_over_all_orders_of_writing_the_text():
    """Computed by the chain rule in each order, from the model's probabilities, without the objective."""
    model, text = tiny_bert(), "abca"
    L, objective = len(text), MaskedDiffusion(tokenizer())
    by_orders = []
    for order in permutations(range(L)):
        nats = 0.0
        for i, position in enumerate(order):
            batch = masked_batch(text, tuple(order[i:]))
            logits = model(batch["ids"]).masked[0, position + 1]
            nats -= logits.log_softmax(-1)[tokenizer().encode(text)[position]].item()
        by_orders.append(nats)
    by_masks = sum(  # k is uniform in 1 … L, and so is each choice of k positions
        objective.text_losses(model, masked_batch(text, chosen)).item() / L / comb(L, k)
        for k in range(1, L + 1)
        for chosen in combinations(range(L), k)
    )
    assert by_masks == pytest.approx(np.mean(by_orders), rel=1e-6)
    any_order = -np.log(np.mean(np.exp(-np.array(by_orders))))  # the probability of the text if the order is drawn
    assert by_masks > any_order  # Jensen's inequality: it is a bound


def test_every_number_of_masks_is_as_likely_and_a_stratum_is_its_part():
    objective, n = MaskedDiffusion(tokenizer()), 1200
    batch = objective.collate([noised("abcde")] * n, rngs(n))
    masked = batch["targets"] != IGNORE_INDEX
    counts = masked.sum(dim=1).bincount(minlength=6)
    assert counts[0] == 0 and (counts[1:] - n / 5).abs().max() < 5 * (n * 0.2 * 0.8) ** 0.5
    torch.testing.assert_close(batch["weight"], 5 / masked.sum(dim=1))
    of_one = masked[masked.sum(dim=1) == 1].sum(dim=0)  # every position is as likely
    assert of_one[0] == of_one[-1] == 0 and (of_one[1:-1] - counts[1] / 5).abs().max() < 5 * (n / 25) ** 0.5

    strata = objective.collate([noised("abcde", (i, 5)) for i in range(5)], rngs(5))
    assert (strata["targets"] != IGNORE_INDEX).sum(dim=1).tolist() == [1, 2, 3, 4, 5]


def test_masked_tokens_become_mask_and_the_others_stay():
    examples = [noised(text) for text in ("abc", "de", "fghij klm")]
    batch = MaskedDiffusion(tokenizer()).collate(examples, rngs(3))
    for i, example in enumerate(examples):
        n = len(example.inputs.ids)
        is_masked = batch["targets"][i] != IGNORE_INDEX
        original = torch.tensor(example.inputs.ids)
        assert torch.equal(batch["ids"][i, :n], torch.where(is_masked[:n], MASK_ID, original))
        assert torch.equal(batch["targets"][i, :n][is_masked[:n]], original[is_masked[:n]])
        assert not is_masked[n:].any() and not is_masked[0] and not is_masked[n - 1]
    assert MaskedDiffusion(tokenizer()).n_targets(batch) == {"diffusion": 3 + 2 + 9}


def test_the_loss_of_a_text_does_not_depend_on_its_neighbors():
    model, objective = tiny_bert(), MaskedDiffusion(tokenizer())
    examples = [noised("abc"), noised("a longer text")]
    both = objective.text_losses(model, objective.collate(examples, rngs(2)))
    alone = [
        objective.text_losses(model, objective.collate([example], [rngs(2)[i]])) for i, example in enumerate(examples)
    ]
    torch.testing.assert_close(both, torch.cat(alone))
    assert objective.loss_sums(model, objective.collate(examples, rngs(2)))["diffusion"].item() == pytest.approx(
        both.sum().item()
    )


def test_a_text_without_tokens_costs_nothing():
    objective = MaskedDiffusion(tokenizer())
    batch = objective.collate([noised(""), noised("ab")], rngs(2))
    assert objective.text_losses(tiny_bert(), batch)[0] == 0


def test_a_tokenizer_without_mask_is_refused():
    with pytest.raises(UserError, match=r"needs a special token \[MASK\]"):
        MaskedDiffusion(train_tokenizer("char", ["abc"]))
