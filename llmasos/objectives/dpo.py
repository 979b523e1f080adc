"""Direct preference optimization: learn from pairs of answers, one of which was preferred (Rafailov et al. 2023).

The aim is a model π whose answers y to a prompt x earn a high reward r(x, y), without moving far from a reference π₀:

    maximize   E[ r(x, y) ] - β · KL(π ‖ π₀)          y ~ π                          (their equation 3)

The best π is known in closed form (equation 4), the reference with each answer's probability multiplied by e^(r/β):

    π*(y | x)  =  π₀(y | x) · e^(r(x, y) / β) / Z(x)

Solved for the reward, r = β · log π*/π₀ + β · log Z(x): every model is the best one for some reward, its *implicit
reward* β · log π/π₀. Suppose people prefer y₁ to y₂ with the probability σ(r(x, y₁) - r(x, y₂)) of Bradley & Terry
(1952). In this difference Z(x) cancels out, and what remains is the cross-entropy of a classifier, expressed by the
model itself (equation 7):

    loss = -log σ( β · log π(chosen)/π₀(chosen)  -  β · log π(rejected)/π₀(rejected) )

It needs no reward model, and no text is generated during training. The gradient moves both answers apart, most in pairs
that the implicit reward ranks wrong. The chosen answer need not become more probable: often both become less probable,
the rejected one faster.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.objectives.objective import Batch, MakeRng
from llmasos.objectives.preference_pairs import EncodedPreference, collate_answers, reference_log_probs, token_log_probs


def dpo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """The loss of each pair (B,) in nats.

    >>> import torch
    >>> dpo_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0]), beta=0.5)
    tensor([0.6931, 0.2014])

    Args:
        chosen, rejected: log π(answer) - log π₀(answer), (B,), of whole answers, in nats.
        beta: β, the strength of the KL penalty; small values let the model move further.
    """
    return -F.logsigmoid(beta * (chosen - rejected))


class DPO:
    """An example is an `EncodedPreference`; the loss is that of equation 7, per pair.

    It also measures how often the implicit reward prefers the chosen answer ("accuracy"), by how much on average
    ("margin"), and log π/π₀ of both answers.

    Args:
        beta: β, the strength of the KL penalty, above 0.

    Attributes:
        reference: π₀, frozen; set before the first batch.
        weights: the weight of each term in the loss; a term with weight 0 is only logged.
    """

    weights = {"dpo": 1.0, "accuracy": 0.0, "margin": 0.0, "chosen": 0.0, "rejected": 0.0}

    def __init__(self, beta: float):
        self.beta = beta
        self.reference: nn.Module

    def collate(self, examples: Sequence[EncodedPreference], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack pairs to `ids` and `targets` (2B, T): the B chosen answers, then the B rejected ones."""
        prompts = [example.prompt for example in examples]
        answers = [example.chosen for example in examples] + [example.rejected for example in examples]
        ids, targets = collate_answers(prompts * 2, answers)
        return {"ids": ids, "targets": targets}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of pairs, for every term."""
        return dict.fromkeys(self.weights, len(batch["ids"]) // 2)

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed loss of the pairs, and the sums of the measured terms."""
        ids, targets = batch["ids"], batch["targets"]
        before = reference_log_probs(self.reference, ids, targets).sum(1)  # (2B,), of whole answers
        log_ratios = token_log_probs(model, ids, targets).sum(1) - before
        chosen, rejected = log_ratios.chunk(2)  # (B,) each
        loss = dpo_loss(chosen, rejected, self.beta).sum()
        chosen, rejected = chosen.detach(), rejected.detach()
        return {
            "dpo": loss,
            "accuracy": (chosen > rejected).float().sum(),
            "margin": self.beta * (chosen - rejected).sum(),
            "chosen": chosen.sum(),
            "rejected": rejected.sum(),
        }


def optimal_policy(reference: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """π* = π₀ · e^(r/β) / Z of all answers to a prompt, (…, N): the optimum of DPO and policy gradients (equation 4).

    >>> import torch
    >>> optimal_policy(torch.tensor([0.737, 0.263]), torch.tensor([1.0, 0.0]), beta=0.5)
    tensor([0.9539, 0.0461])
    """
    best = rewards.where(reference > 0, -math.inf).amax(dim=-1, keepdim=True)  # the maximum over answers with π₀ > 0
    # without `best`, which Z cancels, log π₀ would be lost to rounding next to a large r/β
    return (reference.log() + (rewards - best).clamp(max=0) / beta).softmax(dim=-1)
