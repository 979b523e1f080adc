"""DPO, Bradley–Terry and policy gradients: values by hand, exact gradients by enumeration, and their closed forms."""

import itertools
import math

import pytest
import torch
from torch import nn
from training_helpers import tiny_model

from llmasos.objectives import (
    DPO,
    IGNORE_INDEX,
    EncodedPreference,
    PolicyGradient,
    Rollout,
    bradley_terry_loss,
    collate_answers,
    dpo_loss,
    frozen,
    leave_one_out_advantages,
    optimal_policy,
    policy_gradient_loss,
    token_log_probs,
)

P0 = 0.737  # of a happy ending in storyworld
ARMS = {1: 1.0, 2: 0.0}  # answer (a token) → its reward


class Bandit(nn.Module):
    """A policy of one decision: two answers of one token each, whatever the prompt (token 0) is."""

    def __init__(self, p: float = P0):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([-30.0, math.log(p), math.log(1 - p)]))

    def forward(self, ids):
        return self.logits.expand(*ids.shape, 3)

    def probability(self) -> float:
        return float(self.logits.softmax(0)[1])


def train(policy: Bandit, loss, steps: int, lr: float) -> None:
    optimizer = torch.optim.Adam(policy.parameters(), lr)
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


# ── answers ──


def test_the_log_probability_of_an_answer_is_that_of_its_tokens_given_the_prompt():
    model = tiny_model().double()
    prompts, answers = [[3, 4, 5], [7]], [[1, 2], [9, 8, 6]]
    ids, targets = collate_answers(prompts, answers)
    together = token_log_probs(model, ids, targets).sum(1)
    for prompt, answer, total in zip(prompts, answers, together, strict=True):
        text = prompt + answer
        log_probs = model(torch.tensor([text]))[0].log_softmax(-1)
        expected = sum(log_probs[len(prompt) + i - 1, token] for i, token in enumerate(answer))
        torch.testing.assert_close(total, expected.float(), rtol=1e-5, atol=1e-5)


# ── DPO ──


def test_the_loss_of_dpo_by_hand():
    # margins 0, 3 and -3 with β = 0.5: -log σ(0), -log σ(1.5), -log σ(-1.5)
    loss = dpo_loss(torch.tensor([0.0, 2.0, -1.0]), torch.tensor([0.0, -1.0, 2.0]), 0.5)
    torch.testing.assert_close(loss, torch.tensor([0.693147, 0.201413, 1.701413]))


def test_the_gradient_of_dpo_is_that_of_the_paper():
    """∇ = -β · σ(reward of rejected - reward of chosen) · ∇(log π(chosen) - log π(rejected)): section 4."""
    model, beta = tiny_model(seed=1).double(), 0.3
    objective = DPO(beta)
    objective.reference = frozen(tiny_model(seed=2).double())
    example = EncodedPreference([3, 4], [1, 2, 0], [5, 0])
    batch = objective.collate([example])
    objective.loss_sums(model, batch)["dpo"].backward()
    gradient = [p.grad.clone() for p in model.parameters()]

    chosen, rejected = token_log_probs(model, batch["ids"], batch["targets"]).sum(1)
    before = token_log_probs(objective.reference, batch["ids"], batch["targets"]).sum(1)
    margin = beta * ((chosen - before[0]) - (rejected - before[1]))
    difference = torch.autograd.grad(chosen - rejected, list(model.parameters()))
    for actual, expected in zip(gradient, difference, strict=True):
        torch.testing.assert_close(actual, -beta * torch.sigmoid(-margin.detach()) * expected, rtol=1e-4, atol=1e-7)


def test_dpo_measures_what_its_loss_is_made_of():
    objective = DPO(0.3)
    objective.reference = frozen(tiny_model(seed=2))
    batch = objective.collate([EncodedPreference([3, 4], [1, 2, 0], [5, 0]), EncodedPreference([1], [6, 0], [7, 8, 0])])
    sums = objective.loss_sums(tiny_model(seed=1), batch)
    assert objective.n_targets(batch) == dict.fromkeys(sums, 2)
    assert float(sums["margin"]) == pytest.approx(0.3 * float(sums["chosen"] - sums["rejected"]), abs=1e-5)
    same = objective.loss_sums(tiny_model(seed=2), batch)
    assert float(same["dpo"]) == pytest.approx(2 * math.log(2), abs=1e-5), "at the start nothing is preferred"


@pytest.mark.parametrize("beta, expected, kl", [(1.0, 0.884, 0.066), (0.5, 0.954, 0.166)])
def test_dpo_finds_the_best_policy_of_its_closed_form(beta, expected, kl):
    reference = torch.tensor([P0, 1 - P0])
    best = optimal_policy(reference, torch.tensor([1.0, 0.0]), beta)
    assert float(best[0]) == pytest.approx(expected, abs=5e-4)
    assert float((best * (best / reference).log()).sum()) == pytest.approx(kl, abs=6e-4)

    policy, objective = Bandit(), DPO(beta)
    objective.reference = frozen(Bandit())
    n_wins = round(1000 / (1 + math.exp(-1)))  # Bradley–Terry: a happy ending is preferred with probability σ(1)
    pairs = [EncodedPreference([0], [1], [2])] * n_wins + [EncodedPreference([0], [2], [1])] * (1000 - n_wins)
    batch = objective.collate(pairs)
    train(policy, lambda step: objective.loss_sums(policy, batch)["dpo"] / 1000, steps=250, lr=0.05)
    assert policy.probability() == pytest.approx(expected, abs=0.03)


def test_the_best_policy_keeps_its_reference_for_any_size_of_the_rewards():
    reference = torch.tensor([[0.7, 0.3, 0.0], [0.2, 0.5, 0.3]])
    best = optimal_policy(reference, torch.tensor([[1000.0, 1000.0, 1e38], [-3.0, 1e6, 1e6]]), 0.001)
    torch.testing.assert_close(best, torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.625, 0.375]]))
    torch.testing.assert_close(optimal_policy(reference, torch.tensor([1, 1, 1]), 2.0), reference)  # whole numbers


# ── Bradley–Terry ──


def test_the_fit_of_bradley_and_terry_is_the_log_of_the_odds():
    rewards = nn.Parameter(torch.zeros(3))
    wins = {(0, 1): 30, (1, 0): 10, (1, 2): 40, (2, 1): 10}  # chain: r₀ - r₁ = log 3, r₁ - r₂ = log 4
    optimizer = torch.optim.LBFGS([rewards], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = sum(n * bradley_terry_loss(rewards[a], rewards[b]) for (a, b), n in wins.items())
        loss.backward()
        return loss

    optimizer.step(closure)
    r = rewards.detach()
    assert float(r[0] - r[1]) == pytest.approx(math.log(3), abs=1e-3)
    assert float(r[1] - r[2]) == pytest.approx(math.log(4), abs=1e-3)


# ── policy gradient ──


def test_the_baseline_is_the_mean_of_the_others():
    advantages = leave_one_out_advantages(torch.tensor([[1.0, 2.0, 6.0]]))
    assert advantages.tolist() == [[1 - 4, 2 - 3.5, pytest.approx(6 - 1.5)]]


def test_the_loss_and_the_clipping_by_hand():
    log_probs = torch.tensor([[0.0, math.log(1.5), math.log(0.5)]]).repeat(2, 1)
    log_probs.requires_grad_()
    loss = policy_gradient_loss(log_probs, torch.zeros(2, 3), torch.tensor([2.0, -2.0]), clip=0.2)
    # advantage 2: ratios 1, 1.5 (held at 1.2), 0.5; advantage -2: 1, 1.5, 0.5 (held at 0.8)
    torch.testing.assert_close(loss.detach(), torch.tensor([[-2.0, -2.4, -1.0], [2.0, 3.0, 1.6]]))
    loss.sum().backward()
    torch.testing.assert_close(log_probs.grad, torch.tensor([[-2.0, 0.0, -1.0], [2.0, 3.0, 0.0]]))


def all_answers(model, max_length: int, end: int, vocabulary: int) -> list[list[int]]:
    """Every answer of at most this many tokens, the last of which may be the end."""
    others = [token for token in range(vocabulary) if token != end]
    prefixes = [list(p) for n in range(max_length) for p in itertools.product(others, repeat=n)]
    full = [list(p) for p in itertools.product(others, repeat=max_length)]
    return [[*prefix, end] for prefix in prefixes] + full


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_expected_gradient_is_that_of_the_aim_by_enumeration(beta):
    model = tiny_model(vocab_size=4, n_layers=1).double()
    reference = frozen(tiny_model(vocab_size=4, n_layers=1, seed=3).double())
    prompt, answers = [1, 2], all_answers(model, 2, end=0, vocabulary=4)
    rewards = torch.tensor([float(answer.count(3)) + 0.5 * len(answer) for answer in answers], dtype=torch.float64)
    ids, targets = collate_answers([prompt] * len(answers), answers)
    log_probs = token_log_probs(model, ids, targets)  # (N, T)
    before = token_log_probs(reference, ids, targets).sum(1).detach()
    totals = log_probs.sum(1).double()
    assert float(totals.exp().sum()) == pytest.approx(1, abs=1e-5), "these are all answers"
    aim = (totals.exp() * (rewards - beta * (totals - before))).sum()
    exact = torch.autograd.grad(aim, list(model.parameters()), retain_graph=True)

    # every group of two answers, with its probability
    p = totals.exp().detach()
    pairs = torch.cartesian_prod(torch.arange(len(answers)), torch.arange(len(answers)))  # (N², 2)
    advantages = leave_one_out_advantages((rewards - beta * (totals.detach() - before))[pairs])
    rows = log_probs[pairs.flatten()]
    losses = policy_gradient_loss(rows, rows.detach(), advantages.flatten(), clip=0.2)
    losses = losses.masked_fill(targets[pairs.flatten()] == IGNORE_INDEX, 0.0).sum(1).view(-1, 2).mean(1)
    estimate = torch.autograd.grad((p[pairs].prod(1) * losses).sum(), list(model.parameters()))
    for expected, actual in zip(exact, estimate, strict=True):
        torch.testing.assert_close(actual, -expected, rtol=1e-4, atol=1e-6)


def test_the_objective_sums_over_the_tokens_of_an_answer_and_leaves_the_prompt_alone():
    model = tiny_model()
    rollouts = [
        Rollout([3, 4, 5], [1, 2], [-1.0, -2.0], reward=1.0, kl=0.5, advantage=2.0),
        Rollout([7], [9, 8, 6], [-3.0, -1.0, -1.0], reward=0.0, kl=0.1, advantage=-1.0, is_new=False, is_level=True),
    ]
    objective = PolicyGradient(clip=0.2, beta=0.1)
    batch = objective.collate(rollouts)
    sums, counts = objective.loss_sums(model, batch), objective.n_targets(batch)
    expected = 0.0
    for item in rollouts:
        ids, targets = collate_answers([item.prompt], [item.ids])
        now = token_log_probs(model, ids, targets)[0, -len(item.ids) :]
        expected += policy_gradient_loss(
            now[None], torch.tensor([item.log_probs]), torch.tensor([item.advantage]), 0.2
        ).sum()
    assert float(sums["policy"]) == pytest.approx(float(expected), abs=1e-4)
    means = {term: float(sums[term]) / counts[term] for term in sums}
    assert means["reward"] == 0.5 and means["kl"] == pytest.approx(0.3) and means["length"] == 2.5
    assert means["entropy"] == pytest.approx(8 / 5) and means["distinct"] == means["level"] == 0.5
    assert objective.val_weights["reward"] == -1 and objective.val_weights["kl"] == 0.1


@pytest.mark.parametrize("beta, expected", [(1.0, 0.884), (0.5, 0.954)])
def test_policy_gradients_find_the_same_best_policy_as_dpo(beta, expected):
    policy, reference, generator = Bandit(), frozen(Bandit()), torch.Generator().manual_seed(0)
    objective = PolicyGradient(clip=0.2, beta=beta)

    def loss(step):
        log_p, log_p0 = (model.logits.log_softmax(0).detach() for model in (policy, reference))
        answers = torch.multinomial(log_p.exp(), 64, replacement=True, generator=generator).tolist()
        returns = torch.tensor([[ARMS[a] - beta * float(log_p[a] - log_p0[a]) for a in answers]])
        advantages = leave_one_out_advantages(returns)[0].tolist()
        rollouts = [
            Rollout([0], [a], [float(log_p[a])], ARMS[a], advantage=advantage)
            for a, advantage in zip(answers, advantages, strict=True)
        ]
        return objective.loss_sums(policy, objective.collate(rollouts))["policy"] / 64

    train(policy, loss, steps=250, lr=0.03)
    assert policy.probability() == pytest.approx(expected, abs=0.03)
