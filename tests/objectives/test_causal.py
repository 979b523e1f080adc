"""Causal language modeling: the targets, their number, and the loss."""

import numpy as np
import torch
from torch.nn import functional as F
from training_helpers import tiny_model

from llmasos.objectives import IGNORE_INDEX, CausalLM


def test_targets_are_the_inputs_shifted_by_one_exactly_once():
    batch = CausalLM().collate([np.arange(5), np.arange(10, 15)])
    assert batch["ids"].tolist() == [[0, 1, 2, 3], [10, 11, 12, 13]]
    assert batch["targets"].tolist() == [[1, 2, 3, 4], [11, 12, 13, 14]]


def test_padding_is_neither_counted_nor_learned():
    objective, model = CausalLM(), tiny_model()
    whole, short = np.array([1, 2, 3, 4, 5, 6]), np.array([7, 8, 9])
    ragged = objective.collate([whole, short])
    assert ragged["targets"].tolist()[1] == [8, 9, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]
    assert objective.n_targets(ragged) == {"causal": 7}
    together = objective.loss_sums(model, ragged)["causal"]
    apart = sum(objective.loss_sums(model, objective.collate([row]))["causal"] for row in (whole, short))
    torch.testing.assert_close(together, apart)


def test_the_loss_is_the_sum_of_minus_log_probabilities():
    objective, model = CausalLM(), tiny_model()
    batch = objective.collate([np.array([1, 2, 3, 4])])
    logprobs = F.log_softmax(model(batch["ids"]), dim=-1)[0]
    expected = -sum(logprobs[t, batch["targets"][0, t]] for t in range(3))
    torch.testing.assert_close(objective.loss_sums(model, batch)["causal"], expected)
