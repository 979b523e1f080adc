"""What is checked in lesson 17, and the known mistakes."""

import math
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import evaluation, objectives


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(high: int, *shape: int, seed: int = 0) -> Tensor:
    """Return reproducible random whole numbers from 0 to high - 1."""
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


# 1. reinforce_gradient


def scores(logits: Tensor, answers: Tensor) -> Tensor:
    """The gradient of log p[answer] with respect to the logits, for each answer: (B, K)."""
    return F.one_hot(answers, len(logits)).float() - logits.softmax(-1)


def gradient_by_formula(logits: Tensor, answers: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    return ((rewards - baseline)[:, None] * scores(logits, answers)).mean(dim=0)


def gradient_by_loops(logits: Tensor, answers: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    z = logits.tolist()
    weights = [math.exp(x - max(z)) for x in z]
    out = [0.0] * len(z)
    for answer, reward in zip(answers.tolist(), rewards.tolist(), strict=True):
        for k in range(len(z)):
            out[k] += (reward - baseline) * ((k == answer) - weights[k] / sum(weights)) / len(answers)
    return torch.tensor(out)


def gradient_by_autograd(logits: Tensor, answers: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    z = logits.clone().requires_grad_()
    (z.log_softmax(-1)[answers] * (rewards - baseline)).mean().backward()
    return z.grad


def gradient_by_counting(logits: Tensor, answers: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    """Add up the weights of each answer, then subtract all of them from p."""
    weights = (rewards - baseline) / rewards.numel()
    return torch.zeros_like(logits).index_add(0, answers, weights) - weights.sum() * logits.softmax(-1)


def reinforce_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    K, B = draw.randint(3, 9), draw.randint(10, 40)
    case = {"answers": whole(K, B, seed=seed), "rewards": random(B, seed=seed + 1), "baseline": draw.uniform(-1, 1)}
    return [
        Case("random numbers", logits=2 * random(K, seed=seed + 2), **case),
        Case("logits far from 0", logits=2 * random(K, seed=seed + 3) + draw.choice((-900, 900)), **case),
    ]


reinforce_gradient = Exercise(
    name="reinforce_gradient",
    asks="Estimate the gradient of the expected reward from answers that were drawn, with REINFORCE.",
    reference=gradient_by_formula,
    section="17.2",
    cases=[
        Case(
            "one answer, no baseline",
            logits=torch.zeros(2),
            answers=torch.tensor([1]),
            rewards=torch.tensor([2.0]),
            baseline=0.0,
        ),
        Case(
            "one answer, baseline 1",
            logits=torch.zeros(2),
            answers=torch.tensor([1]),
            rewards=torch.tensor([3.0]),
            baseline=1.0,
        ),
        Case(
            "two answers, no baseline",
            logits=torch.tensor([3.0, 1.0]).log(),
            answers=torch.tensor([0, 1]),
            rewards=torch.tensor([1.0, 4.0]),
            baseline=0.0,
        ),
        Case(
            "the same answer twice",
            logits=torch.tensor([2.0, 1.0, 1.0]).log(),
            answers=torch.tensor([2, 2]),
            rewards=torch.tensor([1.0, 1.0]),
            baseline=0.0,
        ),
        Case(
            "the same answer with different rewards",
            logits=torch.tensor([2.0, 1.0, 1.0]).log(),
            answers=torch.tensor([0, 1, 0, 0]),
            rewards=torch.tensor([1.0, 0.0, 3.0, -2.0]),
            baseline=0.5,
        ),
        Case(
            "a negative baseline",
            logits=torch.tensor([4.0, 1.0]).log(),
            answers=torch.tensor([0, 0, 1]),
            rewards=torch.tensor([0.0, 1.0, 2.0]),
            baseline=-2.0,
        ),
        Case(
            "one possible answer",
            logits=torch.tensor([3.0]),
            answers=torch.tensor([0, 0]),
            rewards=torch.tensor([1.0, 2.0]),
            baseline=0.0,
        ),
        Case(
            "all rewards equal the baseline",
            logits=random(4, seed=1),
            answers=torch.tensor([3, 1, 1]),
            rewards=torch.full((3,), 0.7),
            baseline=0.7,
        ),
        Case(
            "large logits",
            logits=torch.tensor([1000.0, 999.0, -1000.0]),
            answers=torch.tensor([0, 1, 2]),
            rewards=torch.tensor([0.0, 1.0, 2.0]),
            baseline=0.5,
        ),
        Case(
            "logits far below 0",
            logits=torch.tensor([-1000.0, -1001.0]),
            answers=torch.tensor([1, 0, 0]),
            rewards=torch.tensor([1.0, 0.0, 0.5]),
            baseline=0.25,
        ),
        Case(
            "every second number of a tensor",
            logits=random(10, seed=2)[::2],
            answers=whole(5, 12, seed=3)[::2],
            rewards=random(12, seed=4)[::2],
            baseline=0.1,
        ),
        Case(
            "two hundred answers",
            logits=random(7, seed=5),
            answers=whole(7, 200, seed=6),
            rewards=random(200, seed=7),
            baseline=0.3,
        ),
    ],
    random_cases=reinforce_cases,
    atol=1e-5,
    misconceptions=[
        Misconception(
            "no baseline",
            lambda logits, answers, rewards, baseline: gradient_by_formula(logits, answers, rewards, 0.0),
            "You did not subtract the baseline. The estimate is right on average, but not the one that was asked for, "
            "and it is noisier.",
            "Which of the arguments does your code not use?",
            "17.3",
        ),
        Misconception(
            "baseline added",
            lambda logits, answers, rewards, baseline: gradient_by_formula(logits, answers, rewards, -baseline),
            "You added the baseline instead of subtracting it: what should make the weights small makes them large.",
            "An answer as good as the baseline should change nothing.",
            "17.3",
        ),
        Misconception(
            "mean of the rewards as the baseline",
            lambda logits, answers, rewards, baseline: gradient_by_formula(
                logits, answers, rewards, float(rewards.mean())
            ),
            "You subtracted the mean of these rewards instead of the baseline that was given. The mean contains the "
            "answer's own reward.",
            "The baseline is an argument.",
            "17.3",
        ),
        Misconception(
            "only the drawn answer gets a gradient",
            lambda logits, answers, rewards, baseline: torch.zeros_like(logits).index_add(
                0, answers, (rewards - baseline) / len(answers)
            ),
            "You raise the logit of the drawn answer and leave the others alone. But the logarithm of a softmax "
            "depends on all logits: if one answer becomes more likely, all others must become less likely.",
            "log p[a] = z[a] - log Σ exp(z). What is the derivative of the second term with respect to z[k]?",
            "17.2",
        ),
        Misconception(
            "gradient with respect to the probabilities",
            lambda logits, answers, rewards, baseline: torch.zeros_like(logits).index_add(
                0, answers, (rewards - baseline) / len(answers) / logits.softmax(-1)[answers]
            ),
            "You took the derivative of log p with respect to p, which is 1/p. The logits are what is learned.",
            "Go one step further: p is a softmax of the logits.",
            "17.2",
        ),
        Misconception(
            "downhill",
            lambda logits, answers, rewards, baseline: -gradient_by_formula(logits, answers, rewards, baseline),
            "Your sign is that of a loss. The estimate should point in the direction in which the expected reward "
            "rises.",
            "Should the answer with the best reward become more likely, or less?",
            "17.2",
        ),
        Misconception(
            "sum over the answers",
            lambda logits, answers, rewards, baseline: (
                gradient_by_formula(logits, answers, rewards, baseline) * len(answers)
            ),
            "You added up over the answers. The estimate would grow with their number; an expectation is estimated by "
            "a mean.",
            "What should happen to the estimate if every answer occurred twice?",
            "17.2",
        ),
        Misconception(
            "gradient of p instead of log p",
            lambda logits, answers, rewards, baseline: (
                (rewards - baseline)[:, None] * scores(logits, answers) * logits.softmax(-1)[answers][:, None]
            ).mean(0),
            "You took the gradient of p[answer]. The answers were drawn from p already, so likely ones occur more "
            "often; with another factor p you count that twice.",
            "Where does the logarithm in E[r · ∇ log p] come from?",
            "17.2",
        ),
        Misconception(
            "an answer that occurs twice counts once",
            lambda logits, answers, rewards, baseline: last_one_counts(logits, answers, rewards, baseline),
            "You wrote weights[answers] = … (or +=). If an answer occurs several times, only its last reward is left.",
            "`index_add` adds up. Or use a one-hot matrix (B, K).",
            "17.2",
        ),
        Misconception(
            "p subtracted without the reward",
            lambda logits, answers, rewards, baseline: (
                ((rewards - baseline)[:, None] * F.one_hot(answers, len(logits)).float()).mean(0) - logits.softmax(-1)
            ),
            "You multiplied only the one-hot part by the reward. The weight belongs to the whole gradient of log p.",
            "(r - b) · (one-hot - p): mind the parentheses.",
            "17.2",
        ),
        Misconception(
            "overflow in exp",
            lambda logits, answers, rewards, baseline: (
                (rewards - baseline)[:, None]
                * (F.one_hot(answers, len(logits)).float() - logits.exp() / logits.exp().sum())
            ).mean(0),
            "Your formula is right, but exp(1000) is infinite in floating point, and infinity divided by infinity is "
            "NaN.",
            "torch's softmax subtracts the largest logit first.",
            "17.2",
        ),
    ],
    accepted={
        "loops": gradient_by_loops,
        "autograd on a copy": gradient_by_autograd,
        "weights added up by answer": gradient_by_counting,
        "float64, matrix product": lambda logits, answers, rewards, baseline: (
            (rewards.double() - baseline) @ scores(logits, answers).double() / len(rewards)
        ).float(),
    },
    hints=[
        "log p[a] = z[a] - log Σ exp(z). Differentiate with respect to z[a], and with respect to another logit.",
        "The gradient of log p[a] is one-hot(a) - p: 1 - p[a] at a, and -p[k] elsewhere.",
        "F.one_hot(answers, K) - p is (B, K). Multiply each row by its reward minus the baseline; then the mean.",
    ],
)


def last_one_counts(logits: Tensor, answers: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    weights = torch.zeros_like(logits)
    for answer, reward in zip(answers.tolist(), rewards.tolist(), strict=True):
        weights[answer] = (reward - baseline) / len(answers)
    return weights - (rewards - baseline).mean() * logits.softmax(-1)


# 2. advantages


def returns(rewards: Tensor, log_ratios: Tensor, beta: float) -> Tensor:
    return rewards - beta * log_ratios


def advantages_by_loops(rewards: Tensor, log_ratios: Tensor, beta: float) -> Tensor:
    rows = []
    for group, ratios in zip(rewards.tolist(), log_ratios.tolist(), strict=True):
        R = [r - beta * x for r, x in zip(group, ratios, strict=True)]
        rows.append([R[i] - sum(R[:i] + R[i + 1 :]) / (len(R) - 1) for i in range(len(R))])
    return torch.tensor(rows)


def advantages_by_matrix(rewards: Tensor, log_ratios: Tensor, beta: float) -> Tensor:
    """Subtract the mean of the others with a matrix (G, G) that has 1 on its diagonal."""
    G = rewards.size(1)
    return returns(rewards, log_ratios, beta) @ ((G * torch.eye(G) - 1) / (G - 1))


def less_mean(R: Tensor) -> Tensor:
    return R - R.mean(dim=1, keepdim=True)


def advantage_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for name, height in (("random numbers", 0), ("groups of different heights", 5)):
        N, G = draw.randint(2, 5), draw.randint(3, 8)
        heights = height * random(N, 1, seed=draw.randrange(10**6))
        cases.append(
            Case(
                name,
                rewards=random(N, G, seed=draw.randrange(10**6)) + heights,
                log_ratios=random(N, G, seed=draw.randrange(10**6)),
                beta=draw.uniform(0.1, 0.9),
            )
        )
    return cases


advantages = Exercise(
    name="advantages",
    asks="Compare the return of each answer, reward minus β times its log-ratio, with the mean of the others.",
    reference=lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(returns(rewards, log_ratios, beta)),
    section="17.3",
    cases=[
        Case("three answers", rewards=torch.tensor([[1.0, 0.0, 0.0]]), log_ratios=torch.zeros(1, 3), beta=0.5),
        Case("two answers", rewards=torch.tensor([[1.0, 0.0]]), log_ratios=torch.zeros(1, 2), beta=0.5),
        Case(
            "equal rewards, different log-ratios",
            rewards=torch.tensor([[1.0, 1.0, 1.0]]),
            log_ratios=torch.tensor([[0.0, 0.0, 3.0]]),
            beta=0.5,
        ),
        Case(
            "log-ratios below 0",
            rewards=torch.tensor([[0.0, 0.0]]),
            log_ratios=torch.tensor([[-2.0, 1.0]]),
            beta=0.1,
        ),
        Case(
            "rewards and log-ratios",
            rewards=torch.tensor([[4.0, 2.0, 0.0, 0.0]]),
            log_ratios=torch.tensor([[2.0, -4.0, 2.0, 0.0]]),
            beta=0.5,
        ),
        Case(
            "two groups of different heights",
            rewards=torch.tensor([[1.0, 0.0, 0.0], [5.0, 5.0, 2.0]]),
            log_ratios=torch.zeros(2, 3),
            beta=0.5,
        ),
        Case("as many groups as answers", rewards=random(3, 3, seed=1), log_ratios=random(3, 3, seed=2), beta=0.3),
        Case(
            "all rewards of a group are equal",
            rewards=torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]),
            log_ratios=torch.zeros(2, 4),
            beta=0.5,
        ),
        Case("β is 0", rewards=random(2, 4, seed=3), log_ratios=random(2, 4, seed=4), beta=0.0),
        Case("transposed tensors", rewards=random(5, 2, seed=5).T, log_ratios=random(5, 2, seed=6).T, beta=0.7),
        Case("one large group", rewards=random(1, 64, seed=7), log_ratios=random(1, 64, seed=8), beta=0.2),
    ],
    random_cases=advantage_cases,
    atol=1e-5,
    misconceptions=[
        Misconception(
            "mean of the whole group",
            lambda rewards, log_ratios, beta: less_mean(returns(rewards, log_ratios, beta)),
            "You subtracted the mean of all G answers, the answer itself included. An answer that is compared with "
            "itself looks too average: all advantages are too small by the factor (G - 1)/G.",
            "With rewards 1, 0, 0: what is the mean of the answers other than the first?",
            "17.3",
        ),
        Misconception(
            "divided by the standard deviation",
            lambda rewards, log_ratios, beta: (
                less_mean(R := returns(rewards, log_ratios, beta)) / (R.std(1, keepdim=True) + 1e-6)
            ),
            "You divided by the standard deviation of the group, as GRPO does. That gives more weight to prompts that "
            "are nearly always or hardly ever answered well.",
            "The task asks for differences of returns, nothing more.",
            "17.3",
            variants=(
                lambda rewards, log_ratios, beta: (
                    less_mean(R := returns(rewards, log_ratios, beta)) / (R.std(1, keepdim=True, correction=0) + 1e-6)
                ),
                lambda rewards, log_ratios, beta: (
                    less_mean(R := returns(rewards, log_ratios, beta)) / (R.std(1, keepdim=True) + 1e-8)
                ),
                lambda rewards, log_ratios, beta: (
                    less_mean(R := returns(rewards, log_ratios, beta)) / R.std(1, keepdim=True)
                ),
            ),
        ),
        Misconception(
            "β times the log-ratio added",
            lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(rewards + beta * log_ratios),
            "You added the penalty. Answers that the policy likes more than its reference does are then rewarded for "
            "it, and the policy runs away.",
            "The penalty should make an answer with a large log-ratio worse.",
            "17.5",
        ),
        Misconception(
            "the penalty has no baseline",
            lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(rewards) - beta * log_ratios,
            "You subtracted the penalty after the comparison, so it is not compared with that of the others. On "
            "average this gives the same gradient, but a noisier one.",
            "First the returns, then the baseline.",
            "17.5",
        ),
        Misconception(
            "no penalty",
            lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(rewards),
            "You did not use the log-ratios, so nothing keeps the policy near its reference.",
            "R = reward - β · log_ratio comes first.",
            "17.5",
        ),
        Misconception(
            "β forgotten",
            lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(rewards - log_ratios),
            "You subtracted the whole log-ratio. β says how much it counts.",
            "Which of the arguments does your code not use?",
            "17.5",
        ),
        Misconception(
            "log-ratios without their sign",
            lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(rewards - beta * log_ratios.abs()),
            "You used the size of the log-ratio. A single log-ratio may be negative; only its mean over the policy's "
            "answers is a KL. Without the sign, an answer that has become too rare is not encouraged again.",
            "If the policy writes an answer less often than its reference, should that be penalized?",
            "17.5",
            variants=(
                lambda rewards, log_ratios, beta: objectives.leave_one_out_advantages(
                    rewards - beta * log_ratios.clamp(min=0)
                ),
            ),
        ),
        Misconception(
            "mean over all prompts",
            lambda rewards, log_ratios, beta: (
                (R := returns(rewards, log_ratios, beta)).numel() / (R.numel() - 1) * (R - R.mean())
            ),
            "You compared with the answers to all prompts. At an easy prompt every answer then looks good, and at a "
            "hard one every answer looks bad.",
            "Each row is a group.",
            "17.3",
            variants=(lambda rewards, log_ratios, beta: (R := returns(rewards, log_ratios, beta)) - R.mean(),),
        ),
        Misconception(
            "mean over the prompts instead of the group",
            lambda rewards, log_ratios, beta: (
                objectives.leave_one_out_advantages(returns(rewards, log_ratios, beta).T).T
            ),
            "You compared along dimension 0: answers to different prompts with each other.",
            "rewards is (N, G). Which dimension is the group?",
            "17.3",
            variants=(
                lambda rewards, log_ratios, beta: (R := returns(rewards, log_ratios, beta)) - R.mean(0, keepdim=True),
            ),
        ),
        Misconception(
            "sum of the others divided by G",
            lambda rewards, log_ratios, beta: (
                (R := returns(rewards, log_ratios, beta)) - (R.sum(1, keepdim=True) - R) / R.size(1)
            ),
            "You divided the sum of the other answers by G, but there are only G - 1 of them. The baseline is too "
            "small, and the advantages of a group no longer sum to 0.",
            "A mean of how many numbers is it?",
            "17.3",
        ),
        Misconception(
            "compared with the best of the others",
            lambda rewards, log_ratios, beta: best_of_the_others(returns(rewards, log_ratios, beta)),
            "You compared with the best of the other answers. Nearly every answer then has a negative advantage, and "
            "is made less likely.",
            "The baseline is a mean.",
            "17.3",
        ),
    ],
    accepted={
        "loops": advantages_by_loops,
        "a matrix (G, G)": advantages_by_matrix,
        "sum of the others": lambda rewards, log_ratios, beta: (
            (R := rewards - beta * log_ratios) - (R.sum(1, keepdim=True) - R) / (R.size(1) - 1)
        ),
        "in float64": lambda rewards, log_ratios, beta: (
            less_mean(R := rewards.double() - beta * log_ratios.double()) * R.size(1) / (R.size(1) - 1)
        ).float(),
    },
    hints=[
        "The sum of the others is the sum of the group minus the answer itself.",
        "`R.sum(dim=1, keepdim=True)` is (N, 1), and broadcasts over the group.",
        "R = rewards - beta * log_ratios; then R - (R.sum(1, keepdim=True) - R) / (G - 1).",
    ],
)


def best_of_the_others(R: Tensor) -> Tensor:
    own = torch.eye(R.size(1), dtype=torch.bool)  # (G, G)
    return R - R[:, None, :].masked_fill(own, -math.inf).amax(dim=2)


# 3. policy_gradient_loss


def loss_and_gradient(f, log_probs: Tensor, old_log_probs: Tensor, A: Tensor, clip: float):
    """The loss, and the gradient of its sum."""
    log_probs.requires_grad_()
    loss = f(log_probs, old_log_probs, A, clip)
    if not (torch.is_tensor(loss) and loss.requires_grad):
        return loss, "the loss has no gradient with respect to log_probs"
    gradient = torch.autograd.grad(loss.sum(), log_probs, allow_unused=True)[0]
    return loss.detach(), gradient


def ratio_of(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    return (log_probs - old_log_probs).exp()


def loss_by_cases(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Say when the clip matters: above 1 + ε for good answers, below 1 - ε for bad ones."""
    ratio = ratio_of(log_probs, old_log_probs)
    good = (advantages > 0)[:, None]
    ratio = torch.where(good & (ratio > 1 + clip), torch.full_like(ratio, 1 + clip), ratio)
    ratio = torch.where(~good & (ratio < 1 - clip), torch.full_like(ratio, 1 - clip), ratio)
    return -ratio * advantages.unsqueeze(1)


def loss_by_loops(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    rows = []
    for new, old, A in zip(log_probs, old_log_probs, advantages, strict=True):
        ratio = torch.exp(new - old)
        allowed = torch.clip(ratio, 1 - clip, 1 + clip)
        rows.append(torch.stack([torch.max(-r * A, -c * A) for r, c in zip(ratio, allowed, strict=True)]))
    return torch.stack(rows)


def one_token(ratio: float, A: float, clip: float = 0.2) -> dict:
    return {
        "log_probs": torch.tensor([[ratio / 4]]).log(),
        "old_log_probs": torch.tensor([[0.25]]).log(),
        "advantages": torch.tensor([A]),
        "clip": clip,
    }


def clip_cases(seed: int) -> list[Case]:
    """No ratio is near 1 - ε or 1 + ε."""
    draw = Random(seed)
    cases = []
    for name, height in (("random numbers", 0.0), ("very unlikely tokens", -150.0)):
        B, T, clip = draw.randint(2, 5), draw.randint(3, 8), draw.uniform(0.1, 0.4)
        ratios = [
            draw.choice((
                draw.uniform(0.3, 0.95) * (1 - clip),
                draw.uniform(1 - 0.9 * clip, 1 + 0.9 * clip),
                draw.uniform(1.05, 2) * (1 + clip),
            ))
            for _ in range(B * T)
        ]  # fmt: skip
        old = random(B, T, seed=draw.randrange(10**6)) + height
        cases.append(
            Case(
                name,
                run=loss_and_gradient,
                log_probs=old + torch.tensor(ratios).log().view(B, T),
                old_log_probs=old,
                advantages=random(B, seed=draw.randrange(10**6)),
                clip=clip,
            )
        )
    return cases


def clipped(ratio: Tensor, clip: float) -> Tensor:
    return ratio.clamp(1 - clip, 1 + clip)


policy_gradient_loss = Exercise(
    name="policy_gradient_loss",
    asks="Compute the clipped policy-gradient loss of each token.",
    reference=objectives.policy_gradient_loss,
    section="17.4",
    cases=[
        Case("nothing has changed, A = 1", run=loss_and_gradient, **one_token(1.0, 1.0)),
        Case("nothing has changed, A = -2", run=loss_and_gradient, **one_token(1.0, -2.0)),
        Case("a good token, already 1.5 times as likely", run=loss_and_gradient, **one_token(1.5, 1.0)),
        Case("a bad token, 1.5 times as likely", run=loss_and_gradient, **one_token(1.5, -1.0)),
        Case("a bad token, already half as likely", run=loss_and_gradient, **one_token(0.5, -1.0)),
        Case("a good token, half as likely", run=loss_and_gradient, **one_token(0.5, 1.0)),
        Case("a good token within the bounds", run=loss_and_gradient, **one_token(1.1, 2.0)),
        Case("a bad token within the bounds", run=loss_and_gradient, **one_token(0.9, -2.0)),
        Case("advantage 0", run=loss_and_gradient, **one_token(1.1, 0.0)),
        Case("ε = 0.5", run=loss_and_gradient, **one_token(1.4, 1.0, 0.5)),
        Case(
            "two answers of two tokens",
            run=loss_and_gradient,
            log_probs=torch.tensor([[0.32, 0.1], [0.2, 0.4]]).log(),
            old_log_probs=torch.tensor([[0.25, 0.4], [0.1, 0.35]]).log(),
            advantages=torch.tensor([1.0, -3.0]),
            clip=0.2,
        ),
        Case(
            "two answers of three tokens",
            run=loss_and_gradient,
            log_probs=torch.tensor([[0.3, 0.1, 0.9], [0.2, 0.4, 0.1]]).log(),
            old_log_probs=torch.tensor([[0.25, 0.4, 0.45], [0.1, 0.35, 0.5]]).log(),
            advantages=torch.tensor([0.5, -0.5]),
            clip=0.1,
        ),
        Case(
            "very unlikely tokens",
            run=loss_and_gradient,
            log_probs=torch.tensor([[-200.0, -300.5, -250.0]]),
            old_log_probs=torch.tensor([[-200.1, -300.0, -250.5]]),
            advantages=torch.tensor([2.0]),
            clip=0.3,
        ),
        Case(
            "one token each of four answers",
            run=loss_and_gradient,
            log_probs=torch.tensor([[0.1], [0.2], [0.3], [0.4]]).log(),
            old_log_probs=torch.tensor([[0.2], [0.19], [0.2], [0.42]]).log(),
            advantages=torch.tensor([1.0, 1.0, -1.0, -1.0]),
            clip=0.2,
        ),
        Case(
            "transposed tensors",
            run=lambda f, log_probs, old_log_probs, A, clip: loss_and_gradient(
                f, log_probs.T.detach(), old_log_probs.T, A, clip
            ),
            log_probs=random(5, 3, seed=1) / 4,
            old_log_probs=random(5, 3, seed=2) / 4,
            advantages=random(3, seed=3),
            clip=0.15,
        ),
    ],
    random_cases=clip_cases,
    atol=1e-4,
    misconceptions=[
        Misconception(
            "not clipped",
            lambda log_probs, old, A, clip: -ratio_of(log_probs, old) * A[:, None],
            "You left out the clip. With several updates from the same answers, the first good answer is then pushed "
            "up without limit.",
            "What happens to the loss once ρ is above 1 + ε, and A is positive?",
            "17.4",
        ),
        Misconception(
            "clipped without the minimum",
            lambda log_probs, old, A, clip: -clipped(ratio_of(log_probs, old), clip) * A[:, None],
            "You always use the clipped ratio. If a bad token's ratio is above 1 + ε, its gradient is then 0, and the "
            "mistake can never be undone.",
            "The minimum of two products: with the ratio, and with the clipped ratio.",
            "17.4",
        ),
        Misconception(
            "maximum instead of minimum",
            lambda log_probs, old, A, clip: (
                -torch.maximum(
                    ratio_of(log_probs, old) * A[:, None], clipped(ratio_of(log_probs, old), clip) * A[:, None]
                )
            ),
            "You took the larger of the two products. That keeps the gradient exactly where it should be cut off, and "
            "cuts it off where it is needed.",
            "The objective should never promise more than either of the two. (Minus the minimum is the maximum of the "
            "negatives: watch where your minus sign is.)",
            "17.4",
            variants=(
                lambda log_probs, old, A, clip: torch.minimum(
                    -ratio_of(log_probs, old) * A[:, None], -clipped(ratio_of(log_probs, old), clip) * A[:, None]
                ),
            ),
        ),
        Misconception(
            "minimum of the ratios",
            lambda log_probs, old, A, clip: (
                -torch.minimum(ratio_of(log_probs, old), clipped(ratio_of(log_probs, old), clip)) * A[:, None]
            ),
            "You took the minimum of the two ratios, and then multiplied by A. For a negative A the order turns "
            "around: the minimum has to be that of the products.",
            "Try ρ = 1.5, A = -1.",
            "17.4",
            variants=(lambda log_probs, old, A, clip: -ratio_of(log_probs, old).clamp(max=1 + clip) * A[:, None],),
        ),
        Misconception(
            "an objective, not a loss",
            lambda log_probs, old, A, clip: -objectives.policy_gradient_loss(log_probs, old, A, clip),
            "You left out the minus sign. An optimizer minimizes, so good answers would become less likely.",
            "What does the optimizer do with your number?",
            "17.4",
        ),
        Misconception(
            "ratio upside down",
            lambda log_probs, old, A, clip: objectives.policy_gradient_loss(-log_probs, -old, A, clip),
            "Your ratio is π_old/π. The more likely a token becomes, the smaller it is.",
            "Which of the two policies is in the numerator?",
            "17.4",
        ),
        Misconception(
            "quotient of log-probabilities",
            lambda log_probs, old, A, clip: (
                -torch.minimum(log_probs / old * A[:, None], clipped(log_probs / old, clip) * A[:, None])
            ),
            "You divided the log-probabilities. The ratio is one of probabilities: exp of the *difference* of the "
            "logarithms.",
            "log(a/b) = log a - log b.",
            "17.4",
        ),
        Misconception(
            "difference of log-probabilities as the ratio",
            lambda log_probs, old, A, clip: (
                -torch.minimum((log_probs - old) * A[:, None], clipped(log_probs - old, clip) * A[:, None])
            ),
            "You forgot the exp: your ratio is 0 where nothing has changed, and it should be 1.",
            "log(a/b) = log a - log b. And a/b?",
            "17.4",
        ),
        Misconception(
            "underflow in exp",
            lambda log_probs, old, A, clip: (
                -torch.minimum((q := log_probs.exp() / old.exp()) * A[:, None], clipped(q, clip) * A[:, None])
            ),
            "Your formula is right, but exp(-200) is 0 in floating point, and 0 divided by 0 is NaN.",
            "Subtract before you take exp.",
            "17.4",
        ),
        Misconception(
            "the ratio has no gradient",
            lambda log_probs, old, A, clip: (
                -torch.minimum((q := ratio_of(log_probs, old).detach()) * A[:, None], clipped(q, clip) * A[:, None])
                + 0 * log_probs
            ),
            "You cut the ratio off from the graph. The gradient of the loss comes through ρ, whose derivative with "
            "respect to log π is ρ itself.",
            "What in this formula depends on the current policy?",
            "17.4",
            variants=(
                lambda log_probs, old, A, clip: (
                    -torch.minimum((q := ratio_of(log_probs, old).detach()) * A[:, None], clipped(q, clip) * A[:, None])
                ),
            ),
        ),
        Misconception(
            "log-probability times advantage",
            lambda log_probs, old, A, clip: -log_probs * A[:, None],
            "That is REINFORCE. It is right for the first update, but the later ones use answers of an older policy, "
            "which the ratio has to correct.",
            "Where does π_old enter?",
            "17.4",
        ),
        Misconception(
            "one number for the whole batch",
            lambda log_probs, old, A, clip: objectives.policy_gradient_loss(log_probs, old, A, clip).mean(),
            "You averaged. The caller needs the loss of each token, to leave out those without a target.",
            "(B, T) in, (B, T) out.",
            "17.4",
            variants=(lambda log_probs, old, A, clip: objectives.policy_gradient_loss(log_probs, old, A, clip).sum(),),
        ),
        Misconception(
            "one ratio for the whole answer",
            lambda log_probs, old, A, clip: (
                -torch.minimum(
                    (q := (log_probs - old).sum(1, keepdim=True).exp().expand_as(log_probs)) * A[:, None],
                    clipped(q, clip) * A[:, None],
                )
            ),
            "You multiplied the ratios of all tokens of an answer. The task asks for one ratio for each token.",
            "Do not sum over T.",
            "17.4",
        ),
        Misconception(
            "advantages along the tokens",
            lambda log_probs, old, A, clip: (
                -torch.minimum(ratio_of(log_probs, old) * A, clipped(ratio_of(log_probs, old), clip) * A)
            ),
            "You multiplied (B, T) by (B,). Broadcasting aligns the last dimensions, so A meets the tokens, not the "
            "answers. With as many answers as tokens, nobody complains.",
            "Which shape of A broadcasts along T?",
            "17.4",
        ),
        Misconception(
            "clipped to ± ε",
            lambda log_probs, old, A, clip: (
                -torch.minimum(
                    ratio_of(log_probs, old) * A[:, None], ratio_of(log_probs, old).clamp(-clip, clip) * A[:, None]
                )
            ),
            "You clipped the ratio to -ε … ε. Where nothing has changed, the ratio is 1, not 0.",
            "The bounds are on both sides of 1.",
            "17.4",
        ),
    ],
    accepted={
        "when the clip matters, with torch.where": loss_by_cases,
        "loops, maximum of the negatives": loss_by_loops,
        "clip of the logarithm": lambda log_probs, old, A, clip: (
            -torch.minimum(
                (d := log_probs - old).exp() * A[:, None],
                d.clamp(math.log(1 - clip), math.log(1 + clip)).exp() * A[:, None],
            )
        ),
        "float64": lambda log_probs, old, A, clip: objectives.policy_gradient_loss(
            log_probs.double(), old.double(), A.double(), clip
        ),
    },
    hints=[
        "A ratio of probabilities is exp of a difference of logarithms.",
        "`advantages[:, None]` is (B, 1), and broadcasts along the tokens. `ratio.clamp(low, high)` is the clip.",
        "-torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A), with A = advantages[:, None].",
    ],
)


# 4. kl_estimate


def k3(log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor) -> Tensor:
    d = (reference_log_probs - log_probs).masked_fill(~mask, 0.0)  # exp(0) - 1 - 0 = 0
    return (d.exp() - 1 - d).sum(dim=1)


def k3_by_loops(log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor) -> Tensor:
    sums = [
        math.fsum(math.exp(q - p) - 1 - (q - p) for p, q, m in zip(*rows, strict=True) if m)
        for rows in zip(log_probs.tolist(), reference_log_probs.tolist(), mask.tolist(), strict=True)
    ]
    return torch.tensor(sums)


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0.0).sum(dim=1)


def kl_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for name, outside in (("random numbers", 0.0), ("NaN outside the answers", math.nan)):
        B, T = draw.randint(2, 5), draw.randint(4, 9)
        mask = whole(2, B, T, seed=draw.randrange(10**6)).bool()
        log_probs = -random(B, T, seed=draw.randrange(10**6)).abs()
        reference = log_probs + 0.8 * random(B, T, seed=draw.randrange(10**6))
        if outside != 0:
            log_probs, reference = log_probs.masked_fill(~mask, outside), reference.masked_fill(~mask, outside)
        cases.append(Case(name, log_probs=log_probs, reference_log_probs=reference, mask=mask))
    return cases


ALL = torch.ones(1, 1, dtype=torch.bool)

kl_estimate = Exercise(
    name="kl_estimate",
    asks="Estimate the KL from the reference for each answer by the sum of k3 over its tokens.",
    reference=k3,
    section="17.5",
    cases=[
        Case(
            "one token, now twice as likely",
            log_probs=torch.tensor([[0.5]]).log(),
            reference_log_probs=torch.tensor([[0.25]]).log(),
            mask=ALL,
        ),
        Case(
            "one token, now half as likely",
            log_probs=torch.tensor([[0.25]]).log(),
            reference_log_probs=torch.tensor([[0.5]]).log(),
            mask=ALL,
        ),
        Case(
            "nothing has changed",
            log_probs=torch.tensor([[0.3, 0.2]]).log(),
            reference_log_probs=torch.tensor([[0.3, 0.2]]).log(),
            mask=ALL.expand(1, 2),
        ),
        Case(
            "two tokens, one up and one down",
            log_probs=torch.tensor([[0.5, 0.25]]).log(),
            reference_log_probs=torch.tensor([[0.25, 0.5]]).log(),
            mask=ALL.expand(1, 2),
        ),
        Case(
            "two answers of two tokens",
            log_probs=torch.tensor([[0.5, 0.1], [0.2, 0.9]]).log(),
            reference_log_probs=torch.tensor([[0.4, 0.4], [0.3, 0.6]]).log(),
            mask=ALL.expand(2, 2),
        ),
        Case(
            "the second token is padding",
            log_probs=torch.tensor([[0.5, 0.1]]).log(),
            reference_log_probs=torch.tensor([[0.25, 0.9]]).log(),
            mask=torch.tensor([[True, False]]),
        ),
        Case(
            "answers of different lengths",
            log_probs=torch.tensor([[0.5, 0.1, 0.3], [0.2, 0.9, 0.4]]).log(),
            reference_log_probs=torch.tensor([[0.4, 0.4, 0.1], [0.3, 0.6, 0.8]]).log(),
            mask=torch.tensor([[True, True, True], [True, False, False]]),
        ),
        Case(
            "an empty answer",
            log_probs=torch.tensor([[0.5, 0.1], [0.2, 0.9]]).log(),
            reference_log_probs=torch.tensor([[0.4, 0.4], [0.3, 0.6]]).log(),
            mask=torch.tensor([[False, False], [True, True]]),
        ),
        Case(
            "minus infinity outside the answer",
            log_probs=torch.tensor([[math.log(0.5), -math.inf]]),
            reference_log_probs=torch.tensor([[math.log(0.25), -math.inf]]),
            mask=torch.tensor([[True, False]]),
        ),
        Case(
            "minus infinity for the reference alone",
            log_probs=torch.tensor([[-math.inf, math.log(0.5), 0.0]]),
            reference_log_probs=torch.tensor([[0.0, math.log(0.25), -math.inf]]),
            mask=torch.tensor([[False, True, False]]),
        ),
        Case(
            "NaN outside the answer",
            log_probs=torch.tensor([[math.log(0.5), math.nan]]),
            reference_log_probs=torch.tensor([[math.log(0.25), math.nan]]),
            mask=torch.tensor([[True, False]]),
        ),
        Case(
            "a token far less likely for the reference",
            log_probs=torch.tensor([[-1.0]]),
            reference_log_probs=torch.tensor([[-30.0]]),
            mask=ALL,
        ),
        Case(
            "transposed tensors",
            log_probs=-random(6, 3, seed=1).abs().T,
            reference_log_probs=-random(6, 3, seed=2).abs().T,
            mask=whole(2, 6, 3, seed=3).bool().T,
        ),
    ],
    random_cases=kl_cases,
    atol=1e-5,
    misconceptions=[
        Misconception(
            "k1: the log-ratio",
            lambda log_probs, reference, mask: masked_sum(log_probs - reference, mask),
            "You returned log π/π₀. It has the right mean, but a single one may be negative.",
            "k3 has two more terms.",
            "17.5",
        ),
        Misconception(
            "k2: half the square",
            lambda log_probs, reference, mask: masked_sum((log_probs - reference) ** 2 / 2, mask),
            "You returned half the square of the log-ratio. It is never negative, but its mean is not the KL.",
            "exp(d) - 1 - d is about d²/2 for small d. What about large ones?",
            "17.5",
        ),
        Misconception(
            "ratio upside down",
            lambda log_probs, reference, mask: k3(reference, log_probs, mask),
            "Your d is log π - log π₀. Since the tokens were drawn from π, the mean of exp(d) is then not 1, and the "
            "estimate is not one of the KL.",
            "Whose probability must be in the denominator, so that it cancels the probability of drawing the token?",
            "17.5",
        ),
        Misconception(
            "+ d instead of - d",
            lambda log_probs, reference, mask: masked_sum((d := reference - log_probs).exp() - 1 + d, mask),
            "You added d. Around 0 the result is then 2d instead of d²/2: it changes its sign.",
            "The line 1 + d touches the curve exp(d) from below. The estimate is the gap.",
            "17.5",
        ),
        Misconception(
            "1 forgotten",
            lambda log_probs, reference, mask: masked_sum((d := reference - log_probs).exp() - d, mask),
            "You forgot to subtract 1: two equal models have the KL 1 for each token.",
            "What should the estimate be if nothing has changed?",
            "17.5",
        ),
        Misconception(
            "mean over the tokens",
            lambda log_probs, reference, mask: k3(log_probs, reference, mask) / mask.sum(1),
            "You averaged over the tokens. Log-probabilities of an answer add up, and so does its KL.",
            "In nats per answer.",
            "17.5",
            variants=(
                lambda log_probs, reference, mask: k3(log_probs, reference, mask) / mask.sum(1).clamp(min=1),
                lambda log_probs, reference, mask: k3(log_probs, reference, mask) / mask.size(1),
            ),
        ),
        Misconception(
            "padding counted",
            lambda log_probs, reference, mask: k3(log_probs, reference, torch.ones_like(mask)),
            "You ignored the mask. Whatever is in the padding is counted as if the model had written it.",
            "Which of the arguments does your code not use?",
            "17.5",
        ),
        Misconception(
            "NaN times 0",
            lambda log_probs, reference, mask: (((d := reference - log_probs).exp() - 1 - d) * mask).sum(1),
            "You multiplied by the mask. But NaN times 0 is NaN, and so is infinity times 0.",
            "`masked_fill` and `torch.where` replace a value, whatever it was.",
            "17.5",
            variants=(
                lambda log_probs, reference, mask: ((d := reference * mask - log_probs * mask).exp() - 1 - d).sum(1),
                lambda log_probs, reference, mask: ((d := (reference - log_probs) * mask).exp() - 1 - d).sum(1),
            ),
        ),
        Misconception(
            "1 for every token of padding",
            lambda log_probs, reference, mask: (
                (d := (reference - log_probs).masked_fill(~mask, 0.0)).exp().masked_fill(~mask, 0.0) - 1 - d
            ).sum(1),
            "You set the ratio to 0 outside the answer, and then subtracted 1 there, too.",
            "What must the whole expression be for padding?",
            "17.5",
        ),
        Misconception(
            "one number for the whole batch",
            lambda log_probs, reference, mask: k3(log_probs, reference, mask).sum(),
            "You also added up over the answers.",
            "(B, T) in, (B,) out.",
            "17.5",
            variants=(
                lambda log_probs, reference, mask: k3(log_probs, reference, mask).mean(),
                lambda log_probs, reference, mask: k3(log_probs, reference, mask).sum() / mask.sum(),
            ),
        ),
        Misconception(
            "k3 of the whole answer",
            lambda log_probs, reference, mask: (d := masked_sum(reference - log_probs, mask)).exp() - 1 - d,
            "You added up d over the tokens first, and took k3 of the sum. That is an estimate too, but a far noisier "
            "one: an answer's ratio is a product of many factors.",
            "First k3 of each token, then the sum.",
            "17.5",
        ),
    ],
    accepted={
        "loops": k3_by_loops,
        "expm1, torch.where": lambda log_probs, reference, mask: (
            torch.expm1(d := torch.where(mask, reference - log_probs, torch.tensor(0.0))) - d
        ).sum(-1),
        "masked at the end": lambda log_probs, reference, mask: torch.where(
            mask, (d := reference - log_probs).exp() - 1 - d, 0.0
        ).sum(1),
        "nan_to_num, then times the mask": lambda log_probs, reference, mask: (
            (
                torch.nan_to_num(
                    (d := reference.double() - log_probs.double()).exp() - 1 - d, nan=0.0, posinf=0.0, neginf=0.0
                )
                * mask
            )
            .sum(1)
            .float()
        ),
    },
    hints=[
        "d = reference_log_probs - log_probs; where the mask is False, d may be NaN.",
        "Which value of d makes exp(d) - 1 - d equal to 0?",
        "d = (reference_log_probs - log_probs).masked_fill(~mask, 0.0); then (d.exp() - 1 - d).sum(dim=1).",
    ],
)


# 5. pass_at_k


def mean_pass_at_k(right: Tensor, k: int) -> float:
    n = right.size(1)
    return sum(evaluation.pass_at_k(n, c, k) for c in right.sum(1).tolist()) / len(right)


def pass_by_products(right: Tensor, k: int) -> float:
    """C(n - c, k) / C(n, k) = the product of (n - c - i) / (n - i) for i < k."""
    total, (N, n) = 0.0, right.shape
    for c in right.sum(1).tolist():
        wrong = 1.0
        for i in range(k):
            wrong *= max(0, n - c - i) / (n - i)
        total += 1 - wrong
    return total / N


def pass_by_gammas(right: Tensor, k: int) -> float:
    n = right.size(1)
    total = 0.0
    for c in right.sum(1).tolist():
        if n - c < k:
            total += 1
        else:
            logs = math.lgamma(n - c + 1) - math.lgamma(n - c - k + 1) - math.lgamma(n + 1) + math.lgamma(n - k + 1)
            total += 1 - math.exp(logs)
    return total / right.shape[0]


def counted(*counts: tuple[int, int]) -> Tensor:
    """Booleans with c of n right in each row, not in order."""
    return torch.stack([(torch.arange(n) * 7 % n < c) if n % 7 else (torch.arange(n) >= n - c) for n, c in counts])


def pass_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for name, low, high in (("a few answers", 5, 12), ("many answers", 100, 400)):
        N, n = draw.randint(3, 6), draw.randint(low, high)
        right = torch.rand(N, n, generator=torch.Generator().manual_seed(seed + n)) < torch.tensor(
            [[draw.choice((0.02, 0.1, 0.3, 0.6))] for _ in range(N)]
        )
        cases.append(Case(name, right=right, k=draw.randint(2, n // 2)))
    return cases


pass_at_k = Exercise(
    name="pass_at_k",
    asks="Estimate without bias how often at least one of k answers is right.",
    reference=mean_pass_at_k,
    section="17.10",
    cases=[
        Case("four answers, one right, k = 2", right=torch.tensor([[False, True, False, False]]), k=2),
        Case("three answers, two right, k = 1", right=torch.tensor([[True, False, True]]), k=1),
        Case("five answers, two right, k = 3", right=torch.tensor([[False, False, False, True, True]]), k=3),
        Case("none right", right=torch.tensor([[False, False, False]]), k=2),
        Case("all right", right=torch.tensor([[True, True, True]]), k=2),
        Case("fewer wrong answers than k", right=torch.tensor([[True, True, False, True]]), k=2),
        Case("as many wrong answers as k", right=torch.tensor([[True, True, False, False]]), k=2),
        Case("k = n, one right", right=torch.tensor([[False, False, True]]), k=3),
        Case("k = n, none right", right=torch.tensor([[False, False, False]]), k=3),
        Case("one answer", right=torch.tensor([[True], [False], [False], [True]]), k=1),
        Case("two problems, k = 2", right=torch.tensor([[True, True, True, True], [False, False, False, False]]), k=2),
        Case("three problems, k = 4", right=counted((8, 1), (8, 3), (8, 0)), k=4),
        Case("sixty answers, k = 20", right=counted((60, 2), (60, 7)), k=20),
        Case("a thousand answers, k = 300", right=counted((1000, 3), (1000, 1)), k=300),
        Case("a thousand answers, k = 5", right=counted((1000, 400), (1000, 10)), k=5),
        Case("a transposed tensor", right=counted((6, 2), (6, 1)).T.contiguous().T, k=2),
    ],
    random_cases=pass_cases,
    rtol=1e-5,
    atol=1e-6,
    misconceptions=[
        Misconception(
            "drawn with replacement",
            lambda right, k: float((1 - (1 - right.double().mean(1)) ** k).mean()),
            "You estimated the success of one answer by c/n, and used 1 - (1 - c/n)^k. That is biased: with few "
            "answers, it is too small on average.",
            "k *different* ones of the n answers. How many ways are there to choose them, and how many of these ways "
            "contain no right answer?",
            "17.10",
        ),
        Misconception(
            "all problems in one pot",
            lambda right, k: 1 - math.comb(right.numel() - int(right.sum()), k) / math.comb(right.numel(), k),
            "You threw the answers to all problems together. Two problems, one always right and one never, have "
            "pass@k = 0.5 for every k.",
            "First each problem, then the mean.",
            "17.10",
            variants=(lambda right, k: 1 - (1 - float(right.double().mean())) ** k,),
        ),
        Misconception(
            "only the first k answers",
            lambda right, k: float(right[:, :k].any(1).double().mean()),
            "You looked at the first k answers only. On average that is right, but it ignores the other n - k, and "
            "depends on the order.",
            "All choices of k answers are equally likely.",
            "17.10",
        ),
        Misconception(
            "pass@1",
            lambda right, k: float(right.double().mean()),
            "You returned the fraction of right answers, which is pass@1 for every k.",
            "What changes when you may try k times?",
            "17.10",
        ),
        Misconception(
            "any of all n answers",
            lambda right, k: float(right.any(1).double().mean()),
            "You counted a problem as solved if any of its n answers is right. That is pass@n.",
            "Only k answers may be tried.",
            "17.10",
        ),
        Misconception(
            "all k answers are right",
            lambda right, k: (
                sum(math.comb(c, k) / math.comb(right.size(1), k) for c in right.sum(1).tolist()) / len(right)
            ),
            "You computed how often *all* of the k answers are right.",
            "At least one is right, unless all are …",
            "17.10",
        ),
        Misconception(
            "none of the k answers is right",
            lambda right, k: 1 - mean_pass_at_k(right, k),
            "You computed how often none of the k answers is right.",
            "One minus that.",
            "17.10",
        ),
        Misconception(
            "k times pass@1",
            lambda right, k: float((k * right.double().mean(1)).clamp(max=1).mean()),
            "You multiplied by k. Choices with two right answers are then counted twice.",
            "It is easier to count the choices without a right answer.",
            "17.10",
        ),
        Misconception(
            "sum over the problems",
            lambda right, k: mean_pass_at_k(right, k) * len(right),
            "You added up over the problems instead of taking the mean.",
            "The result is a probability.",
            "17.10",
        ),
        Misconception(
            "problems and answers swapped",
            lambda right, k: mean_pass_at_k(right.T, min(k, len(right))),
            "You counted the right answers along dimension 0, over the problems.",
            "right is (N, n). Which dimension holds the answers to one problem?",
            "17.10",
        ),
        Misconception(
            "problems without a right answer left out",
            lambda right, k: mean_pass_at_k(right[right.any(1)], k) if right.any() else 0.0,
            "You left out the problems that have no right answer at all. They count as 0.",
            "The mean is over all N problems.",
            "17.10",
        ),
        Misconception(
            "overflow in the factorials",
            lambda right, k: by_float_factorials(right, k),
            "Your formula is right, but 1000! is larger than any floating-point number.",
            "math.comb works with whole numbers of any size. Or multiply k fractions.",
            "17.10",
        ),
    ],
    accepted={
        "a product of fractions": pass_by_products,
        "logarithms of factorials": pass_by_gammas,
        "as a Python list, with comb": lambda right, k: (
            sum(1 - math.comb(sum(not x for x in row), k) / math.comb(len(row), k) for row in right.tolist())
            / len(right)
        ),
        "a tensor with one number": lambda right, k: torch.tensor(mean_pass_at_k(right, k), dtype=torch.float64),
    },
    hints=[
        "How many ways are there to choose k of n answers? How many of these choose only wrong ones?",
        "`math.comb(n, k)`; it is 0 if k is larger than n.",
        "1 - comb(n - c, k) / comb(n, k) for each problem, then the mean.",
    ],
)


def by_float_factorials(right: Tensor, k: int) -> float:
    def factorial(m: int) -> float:
        return float(torch.arange(1, m + 1, dtype=torch.float64).prod())

    def choose(n: int, m: int) -> float:
        return factorial(n) / (factorial(m) * factorial(n - m)) if m <= n else 0.0

    n = right.size(1)
    return sum(1 - choose(n - c, k) / choose(n, k) for c in right.sum(1).tolist()) / len(right)


# 6. opposite_directions


def look(find) -> str:
    """What is wrong with the prompts, or "fine"."""
    found = find()
    if not (isinstance(found, list | tuple) and len(found) == 2):
        return "two lists are expected"
    p, slope = ([float(x) for x in values] for values in found)
    if len(p) != len(slope):
        return "the two lists have different lengths"
    if not 2 <= len(p) <= 10:
        return "2 to 10 prompts are expected"
    if not all(0.01 <= x <= 0.99 for x in p):
        return "a probability is not between 0.01 and 0.99"
    if not all(-1 <= x <= 1 for x in slope):
        return "a slope is not between -1 and 1"
    weights = [1 / math.sqrt(x * (1 - x)) for x in p]
    if sum(slope) / len(slope) < 0.05:
        return "the mean of the slopes is below 0.05"
    if sum(s * w for s, w in zip(slope, weights, strict=True)) / len(slope) <= -0.05:
        return "fine"
    falling = [w for s, w in zip(slope, weights, strict=True) if s < 0]
    if falling and max(falling) < max(weights):
        return "the largest weight is that of a slope which is not negative"
    return "with the division, the mean is above -0.05"


opposite_directions = Exercise(
    name="opposite_directions",
    asks="Find prompts for which dividing the advantages by the standard deviation turns the gradient around.",
    reference=lambda: ([0.5, 0.01], [1.0, -0.4]),
    section="17.3",
    cases=[Case("your prompts", judge=look)],
    misconceptions=[
        Misconception(
            "the division changes too little",
            lambda: ([0.5, 0.5], [0.6, -0.4]),
            "With the division, the mean is still above -0.05. Either your prompts have nearly equal deviations, so "
            "that all of them get the same weight, or no slope with a large weight is negative enough.",
            "For which p is √(p(1 - p)) small? That prompt needs the negative slope.",
            "17.3",
        ),
        Misconception(
            "the wrong one weighs more",
            lambda: ([0.5, 0.01], [-0.4, 1.0]),
            "The division favors your prompt with the positive slope.",
            "Swap the two slopes.",
            "17.3",
        ),
        Misconception(
            "the mean of the slopes is too small",
            lambda: ([0.5, 0.01], [0.1, -0.5]),
            "The mean of your slopes is below 0.05. Without the division, the mean reward has to rise with w.",
            "Make the slope at the prompt with the large deviation larger.",
            "17.3",
        ),
        Misconception(
            "certain prompts",
            lambda: ([0.5, 0.001], [1.0, -0.4]),
            "One of your probabilities is too close to 0 or 1.",
            "0.01 to 0.99 is enough room.",
            "17.3",
        ),
        Misconception(
            "slopes too steep",
            lambda: ([0.5, 0.01], [5.0, -2.0]),
            "One of your slopes is not between -1 and 1.",
            "Only the signs and the proportions count: make all of them smaller.",
            "17.3",
        ),
        Misconception(
            "one prompt",
            lambda: ([0.3], [0.5]),
            "With a single prompt, the division cannot change the sign.",
            "At least two prompts, which disagree.",
            "17.3",
        ),
        Misconception(
            "lists of different lengths",
            lambda: ([0.5, 0.01, 0.5], [1.0, -0.4]),
            "Your two lists have different lengths.",
            "One slope for each prompt.",
            "17.3",
        ),
    ],
    accepted={
        "nearly always right instead of hardly ever": lambda: ((0.4, 0.99), (0.9, -0.5)),
        "three prompts, as tensors": lambda: list(
            (torch.tensor([0.5, 0.6, 0.02]).tolist(), torch.tensor([0.3, 0.2, -0.3]).tolist())
        ),
    },
    hints=[
        "The division multiplies each prompt by 1/√(p(1 - p)): 2 for p = 0.5. For p = 0.01?",
        "Two prompts are enough: one that is right half of the time, and one that is hardly ever right.",
        "Give the first one a positive slope, and the second a smaller negative one.",
    ],
)

WHY = WrittenAnswer(
    "WHY_OPPOSITE",
    "What happens to the mean reward, which prompts does the division favor, and why might somebody want it?",
    words=40,
    hints=[
        "The first mean is the derivative of what you want to maximize.",
        "1/√(p(1 - p)) is the weight of a prompt. For which p is it large?",
        "A prompt with p = 0.01 has a small gradient of its own. Without extra weight, how long does it take?",
    ],
    section="17.3",
)

EXERCISES = [
    reinforce_gradient, advantages, policy_gradient_loss, kl_estimate, pass_at_k, opposite_directions, WHY,
    WrittenAnswer(
        "EXPERIMENT",
        "Change one thing about the teaching, predict, measure with three seeds, and explain.",
        words=40,
        hints=[
            "Change one thing at a time.",
            "Look at the texts, not only at the reward.",
            "Which texts earn your reward without being what you wanted?",
        ],
        section="17.8",
    ),
]  # fmt: skip
