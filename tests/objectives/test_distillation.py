"""Distillation: gradients by hand, what a teacher changes, and what it does not change."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig
from llmasos.objectives import (
    CausalLM,
    Classification,
    Distillation,
    ModelTeacher,
    ProbabilityTeacher,
    Seq2Seq,
    SupervisedFineTuning,
    distillation_loss,
)

V = 11
CONFIG = ModelConfig(vocab_size=V, context_length=8, n_layers=1, n_heads=2, d_model=16)
BATCH = CausalLM().collate([np.array([1, 2, 3, 4, 5]), np.array([6, 7, 8])])


def gpt(seed: int) -> GPT:
    torch.manual_seed(seed)
    model = GPT(CONFIG)
    with torch.no_grad():
        model.token_embedding.weight.mul_(20)  # far from uniform
    return model


def test_the_gradient_is_the_difference_of_two_softmaxes():
    z = torch.randn(3, V, dtype=torch.float32, requires_grad=True)
    v = torch.randn(3, V)
    (gradient,) = torch.autograd.grad(distillation_loss(z, v), z)
    torch.testing.assert_close(gradient, z.softmax(-1) - v.softmax(-1))
    for T in (0.5, 4.0):
        (gradient,) = torch.autograd.grad(distillation_loss(z, v, T), z)
        torch.testing.assert_close(gradient, T * ((z / T).softmax(-1) - (v / T).softmax(-1)))
    # At a high temperature it is the difference of the centered logits over V (Hinton et al., equation 4).
    (gradient,) = torch.autograd.grad(distillation_loss(z, v, 1000.0), z)
    centered = [x - x.mean(-1, keepdim=True) for x in (z, v)]
    torch.testing.assert_close(gradient, (centered[0] - centered[1]).detach() / V, rtol=0.01, atol=1e-3)


def test_it_is_torchs_divergence_and_a_probability_of_zero_costs_nothing():
    z, v = torch.randn(3, V), torch.randn(3, V)
    reference = F.kl_div((z / 2).log_softmax(-1), (v / 2).log_softmax(-1), reduction="sum", log_target=True)
    torch.testing.assert_close(distillation_loss(z, v, 2.0), 4 * reference)
    v[:, 3] = -math.inf
    z.requires_grad_()
    loss = distillation_loss(z, v)
    assert loss > 0 and torch.isfinite(torch.autograd.grad(loss, z)[0]).all()


def test_a_student_that_equals_its_teacher_has_no_gradient():
    student, objective = gpt(0).train(), CausalLM()
    loss = Distillation(objective, ModelTeacher(gpt(0), objective), 2.0, 1.0).loss_sums(student, BATCH)["causal"]
    loss.backward()
    assert loss.abs() < 1e-4 and max(p.grad.abs().max() for p in student.parameters()) < 1e-4
    other = Distillation(objective, ModelTeacher(gpt(1), objective)).loss_sums(student, BATCH)["causal"]
    assert other > 1.0


def test_the_weight_mixes_both_losses_and_evaluation_has_the_hard_one_alone():
    student, objective = gpt(0).train(), CausalLM()
    teacher = ModelTeacher(gpt(1), objective)
    hard = objective.loss_sums(student, BATCH)["causal"]
    mixed = {w: Distillation(objective, teacher, 1.5, w).loss_sums(student, BATCH)["causal"] for w in (0.0, 0.25, 1.0)}
    torch.testing.assert_close(mixed[0.0], hard)
    torch.testing.assert_close(mixed[0.25], 0.75 * hard + 0.25 * mixed[1.0])
    torch.testing.assert_close(Distillation(objective, teacher).loss_sums(student.eval(), BATCH)["causal"], hard)
    assert teacher.model.training is False and not any(p.requires_grad for p in teacher.model.parameters())


def test_known_probabilities_teach_and_one_hot_ones_are_the_text_itself():
    student = gpt(0).train()
    rows = [[1, 2, 3, 4, 5], [6, 7, 8]]
    following = {tuple(row[: t + 1]): row[t + 1] for row in rows for t in range(len(row) - 1)}
    asked = []

    def next_token_probs(ids):
        asked.append(tuple(ids))
        return np.eye(V)[following[tuple(ids)]]

    objective = Distillation(CausalLM(), ProbabilityTeacher(next_token_probs))
    loss = objective.loss_sums(student, BATCH)["causal"]
    torch.testing.assert_close(loss, CausalLM().loss_sums(student, BATCH)["causal"])
    assert sorted(asked) == sorted(following), "it is asked about targets only"


@pytest.mark.parametrize("probabilities", [[0.5, 0.6], [[0.5, 0.5]], [1.5, -0.5], [math.nan, 1.0]])
def test_what_is_no_distribution_is_refused(probabilities):
    with pytest.raises(UserError, match="the teacher's probabilities after 1 tokens are not a distribution"):
        ProbabilityTeacher(lambda ids: probabilities)(BATCH)


def test_another_vocabulary_and_wrong_numbers_are_refused():
    with pytest.raises(UserError, match="both need the same vocabulary"):
        Distillation(CausalLM(), lambda batch: torch.zeros(8, V + 1)).loss_sums(gpt(0).train(), BATCH)
    for options in ({"temperature": 0.0}, {"temperature": math.inf}, {"weight": 1.1}, {"weight": -0.1}):
        with pytest.raises(UserError, match="distillation_"):
            Distillation(CausalLM(), lambda batch: torch.zeros(8, V), **options)


def test_these_objectives_can_be_distilled():
    for objective in (CausalLM, SupervisedFineTuning, Seq2Seq, Classification):
        assert hasattr(objective, "predictions")
