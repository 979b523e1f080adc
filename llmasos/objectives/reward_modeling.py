"""Reward modeling: learn to score answers from pairs, one of which was preferred (Christiano et al. 2017).

People find it hard to say how good an answer is, and easy to say which of two is better. The model of Bradley & Terry
(1952) gives every answer a number r, which determines how often it wins:

    P(a is preferred to b)  =  σ(r_a - r_b)  =  e^(r_a) / (e^(r_a) + e^(r_b))

The loss is the cross-entropy of what was preferred (Ouyang et al. 2022, section 3.5):

    loss = -log σ(r(prompt, chosen) - r(prompt, rejected))

Only differences matter: adding a constant to all rewards of a prompt changes nothing. The model is any family with one
number on top (`RewardModel` in `models/heads.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.objectives.objective import Batch, MakeRng, collate_inputs
from llmasos.tokenizers import EncodedInput, Tokenizer


class EncodedComparison(NamedTuple):
    """Two inputs of a reward model, each a prompt with an answer; the first was preferred."""

    chosen: EncodedInput
    rejected: EncodedInput


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log σ(r_chosen - r_rejected) of each pair, in nats: (B,), (B,) → (B,).

    >>> import torch
    >>> bradley_terry_loss(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor([0.6931, 0.1269])
    """
    return -F.logsigmoid(chosen - rejected)


class RewardModeling:
    """An example is an `EncodedComparison`; the loss is Bradley and Terry's, per pair.

    Args:
        tokenizer: its padding token pads the shorter inputs.

    Attributes:
        weights: the weight of each term in the loss; the accuracy is only logged.
    """

    weights = {"bradley_terry": 1.0, "accuracy": 0.0}

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def collate(self, examples: Sequence[EncodedComparison], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack pairs to `ids`, `attention_mask` and `segments` (2B, T): the chosen answers, then the rejected ones."""
        inputs = [example.chosen for example in examples] + [example.rejected for example in examples]
        return collate_inputs(inputs, self.tokenizer.pad_id)

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of pairs."""
        return dict.fromkeys(self.weights, len(batch["ids"]) // 2)

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed loss of the pairs, and how many are ranked right. `model` is a `RewardModel`."""
        rewards = model(batch["ids"], batch["attention_mask"], batch["segments"]).float()  # (2B,)
        chosen, rejected = rewards.chunk(2)
        loss = bradley_terry_loss(chosen, rejected).sum()
        return {"bradley_terry": loss, "accuracy": (chosen > rejected).float().sum().detach()}
