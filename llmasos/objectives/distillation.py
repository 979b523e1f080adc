"""Distillation: a student learns the probabilities of a teacher (Hinton et al. 2015, "Distilling the Knowledge …").

A text says which token came next. A teacher says how likely every token was, which is more information: it would take
many texts to estimate these probabilities. A temperature T > 1 flattens both distributions, so that unlikely tokens
count:

    p = softmax(teacher's logits / T)        q = softmax(student's logits / T)

    loss = (1 − w) · (− log q₁(target))  +  w · T² · KL(p ‖ q)            KL(p ‖ q) = Σ p · log (p / q)

The first term is that of the objective itself, at T = 1 (*hard* targets), the second that of *soft* targets. The
gradient of the KL with respect to a logit of the student is (q − p) / T. If T is large, p and q are close to each
other, which makes it smaller by another factor 1 / T: T² keeps the two terms in proportion (section 2.1). At T = 1 and
w = 1 the gradient is q − p, where the hard targets have q − 1 for the token that came and q for all others.

A **teacher** is any function from a batch to logits: another model with the same vocabulary (`ModelTeacher`), or known
probabilities, whose logarithms are logits (`ProbabilityTeacher`). (Distillation by sequences, Kim & Rush 2016, needs no
loss of its own: train on texts that the teacher has written.) In evaluation mode the loss is the hard one alone,
so that losses remain comparable with those of other runs.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError, check_number
from llmasos.nn import eval_mode
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng, Objective

Teacher = Callable[[Batch], Tensor]  # a batch → the logits (N, V) of its N predictions


class Distillable(Objective, Protocol):
    """An objective with one prediction for each target."""

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits (N, V) of the batch's predictions and their targets (N,), some of which may be IGNORE_INDEX."""
        ...


class Distillation:
    """Another objective with soft targets. Its examples, batches and targets are those of that objective.

    Args:
        objective: `CausalLM`, `SupervisedFineTuning`, `Seq2Seq` or `Classification`.
        teacher: gives the logits of each batch.
        temperature: T, above 0.
        weight: w, the weight of the soft targets: 1 = the teacher alone, 0 = the objective as it is.

    Raises:
        UserError: temperature or weight is out of range.
    """

    def __init__(self, objective: Distillable, teacher: Teacher, temperature: float = 1.0, weight: float = 1.0):
        check_number("distillation_temperature", temperature, above=0)
        check_number("distillation_weight", weight, at_least=0, at_most=1)
        self.objective, self.teacher, self.temperature, self.weight = objective, teacher, temperature, weight

    def collate(self, examples: Sequence[Any], rngs: Sequence[MakeRng] = ()) -> Batch:
        """The batch of the objective."""
        return self.objective.collate(examples, rngs)

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of targets of the objective."""
        return self.objective.n_targets(batch)

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Both terms, summed over all targets; in evaluation mode the hard one alone."""
        if not model.training:
            return self.objective.loss_sums(model, batch)
        (name,) = self.objective.n_targets(batch)
        logits, targets = self.objective.predictions(model, batch)
        is_target = targets != IGNORE_INDEX
        with torch.no_grad():
            teacher_logits = self.teacher(batch)
        if teacher_logits.shape != logits.shape:
            raise UserError(
                f"the teacher gives logits of shape {tuple(teacher_logits.shape)}, and the student predicts "
                f"{tuple(logits.shape)}: both need the same vocabulary."
            )
        hard = F.cross_entropy(logits.float(), targets, reduction="sum")
        soft = distillation_loss(logits[is_target], teacher_logits[is_target], self.temperature)
        return {name: (1.0 - self.weight) * hard + self.weight * soft}


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(p ‖ q), summed over N predictions: a scalar in nats.

    >>> p = torch.tensor([[0.5, 0.5, 0.0]])
    >>> round(distillation_loss(torch.zeros(1, 3), p.log()).item(), 4)  # log 3 − log 2
    0.4055

    Args:
        logits: the student's logits (N, V).
        teacher_logits: the teacher's logits (N, V); −inf is a probability of zero.
        temperature: T, above 0.
    """
    p = (teacher_logits.float() / temperature).softmax(dim=-1)
    log_q = (logits.float() / temperature).log_softmax(dim=-1)
    return temperature**2 * (torch.xlogy(p, p) - p * log_q).sum()


class ModelTeacher:
    """A model as a teacher: in evaluation mode, without gradients.

    Args:
        model: with the student's vocabulary.
        objective: the student's own, without distillation.
    """

    def __init__(self, model: nn.Module, objective: Distillable):
        self.model, self.objective = model.eval().requires_grad_(False), objective

    def __call__(self, batch: Batch) -> Tensor:
        with eval_mode(self.model), torch.no_grad():
            return self.objective.predictions(self.model, batch)[0]


class ProbabilityTeacher:
    """Known probabilities of the next token as a teacher, for causal objectives.

    Args:
        next_token_probs: a function from the ids of a text so far to the probability of each next token (V,), as a
            list, array or tensor.
    """

    def __init__(self, next_token_probs: Callable[[list[int]], Any]):
        self.next_token_probs = next_token_probs

    def __call__(self, batch: Batch) -> Tensor:
        """The logarithms of these probabilities (B·T, V); zeros where there is no target."""
        ids, targets = batch["ids"], batch["targets"]
        places = (targets != IGNORE_INDEX).nonzero().tolist()
        rows = {(b, t): self.probabilities(ids[b, : t + 1].tolist()) for b, t in places}
        V = len(next(iter(rows.values()))) if rows else 1
        logits = torch.zeros(*ids.shape, V)
        for (b, t), probabilities in rows.items():
            logits[b, t] = probabilities.log()
        return logits.flatten(0, 1).to(ids.device)

    def probabilities(self, ids: list[int]) -> Tensor:
        """The probabilities after these ids (V,). Raises UserError if they are not a distribution."""
        p = torch.as_tensor(np.asarray(self.next_token_probs(ids), dtype=np.float32))
        if p.dim() != 1 or not bool((p >= 0).all()) or abs(p.sum().item() - 1.0) > 1e-3:
            raise UserError(
                f"the teacher's probabilities after {len(ids)} tokens are not a distribution (shape {tuple(p.shape)}, "
                f"sum {p.sum().item():.4g}): give one number of at least 0 for each token, with sum 1."
            )
        return p
