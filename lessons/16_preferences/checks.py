"""The checks of lesson 16, and the known mistakes."""

import math
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import objectives as library
from llmasos import rewards as library_rewards

READY_MADE_KL = {
    "torch.nn.functional.kl_div": "it is the ready-made divergence; write the sum yourself",
    "torch.nn.KLDivLoss": "it is the ready-made divergence; write the sum yourself",
    "torch.distributions.kl.kl_divergence": "it is the ready-made divergence; write the sum yourself",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distribution(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Reproducible random distributions along the last dimension."""
    return (scale * random(*shape, seed=seed)).softmax(dim=-1)


def tensor(numbers: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(numbers, dtype=torch.float32)


# 1. bradley_terry_loss


def more_comparisons(seed: int) -> list[Case]:
    draw = Random(seed)
    sizes = draw.sample(range(3, 30), 3)
    return [
        Case(f"{B} pairs", chosen=3 * random(B, seed=seed % 1000 + B), rejected=3 * random(B, seed=seed % 1000 + 2 * B))
        for B in sizes
    ]


def in_two_pieces(c: Tensor, r: Tensor) -> Tensor:
    d = c - r
    ahead, behind = d.clamp(min=0), d.clamp(max=0)  # the exponents are never positive
    return torch.where(d > 0, torch.log1p(torch.exp(-ahead)), torch.log1p(torch.exp(behind)) - d)


bradley_terry_loss = Exercise(
    name="bradley_terry_loss",
    asks="For each pair of rewards, compute -log of the probability that the chosen answer wins.",
    reference=library.bradley_terry_loss,
    section="16.2",
    gradients=True,
    cases=[
        Case("two equal rewards", chosen=tensor([2]), rejected=tensor([2])),
        Case("one right pair, one wrong", chosen=tensor([3, 1]), rejected=tensor([1, 3])),
        Case("negative rewards", chosen=tensor([-1, -4, 0]), rejected=tensor([-3, -1, -2])),
        Case("random rewards", chosen=random(7, seed=1), rejected=random(7, seed=2)),
        Case("far apart", chosen=tensor([60, -60, 100]), rejected=tensor([-60, 60, -30])),
        Case("10,000 apart", chosen=tensor([5000, -5000, 20000]), rejected=tensor([-5000, 5000, 20000])),
        Case("float64", chosen=random(4, seed=3).double(), rejected=random(4, seed=4).double()),
        Case("every other number of a tensor", chosen=random(8, seed=5)[::2], rejected=random(8, seed=6)[1::2]),
        Case("no pairs", chosen=torch.zeros(0), rejected=torch.zeros(0)),
    ],
    random_cases=more_comparisons,
    misconceptions=[
        Misconception(
            "the probability, not its logarithm",
            lambda c, r: 1 - torch.sigmoid(c - r),
            "You returned the probability that the rejected answer wins. It is small where the loss should be, but its "
            "gradient vanishes exactly where the model is most wrong, and it is not the likelihood of the comparisons.",
            "Maximum likelihood: take the logarithm of the probability of what happened.",
            "16.2",
            variants=(lambda c, r: torch.sigmoid(c - r), lambda c, r: -torch.sigmoid(c - r)),
        ),
        Misconception(
            "chosen and rejected swapped",
            lambda c, r: F.softplus(c - r),
            "You took the probability that the *rejected* answer wins. A model trained with this likes what people "
            "dislike.",
            "Which pair should have the small loss: chosen 3 and rejected 1, or the other way round?",
            "16.2",
        ),
        Misconception(
            "no minus sign",
            lambda c, r: F.logsigmoid(c - r),
            "You returned the log-probability itself, which is negative. Minimizing it makes the data as improbable as "
            "possible.",
            "A loss is smaller where the model is better.",
            "16.2",
        ),
        Misconception(
            "overflow",
            lambda c, r: torch.log(1 + torch.exp(r - c)),
            "Your formula is right, but where the rewards are far apart, an exponential is infinite, or σ is 0, in "
            "floating point, and your loss is infinite or NaN.",
            "F.logsigmoid and F.softplus compute this logarithm without the large number. By hand: which of the two "
            "exponentials can you factor out?",
            "16.2",
            variants=(
                lambda c, r: -torch.log(torch.sigmoid(c - r)),
                lambda c, r: -torch.log(torch.exp(c) / (torch.exp(c) + torch.exp(r))),
                lambda c, r: -torch.log(1 / (1 + torch.exp(r - c))),
            ),
        ),
        Misconception(
            "a margin loss",
            lambda c, r: torch.relu(1 - (c - r)),
            "You wrote a hinge loss, which is zero as soon as the difference is 1. Bradley and Terry's model is a "
            "probability, so there is always something left to gain.",
            "Start from P(chosen wins) = σ(difference).",
            "16.2",
        ),
        Misconception(
            "a ratio of rewards",
            lambda c, r: -torch.log(c / (c + r)),
            "You divided the rewards themselves. Rewards can be negative; the strengths in Bradley and Terry's "
            "fraction are their exponentials.",
            "The strength of an answer with the reward r is e^r.",
            "16.2",
        ),
        Misconception(
            "only the chosen answer",
            lambda c, r: F.softplus(-c),
            "Your loss does not look at the rejected answer, so it can be lowered by raising all rewards.",
            "Only the difference of two rewards means something.",
            "16.2",
        ),
        Misconception(
            "the mean over the pairs",
            lambda c, r: F.softplus(r - c).mean(),
            "You returned one number for the batch. Here each pair keeps its own loss.",
            "Leave out the mean.",
            "16.2",
            variants=(lambda c, r: F.softplus(r - c).sum(),),
        ),
        Misconception(
            "bits instead of nats",
            lambda c, r: F.softplus(r - c) / math.log(2),
            "You took the logarithm to base 2; everything here is in nats.",
            "log, not log2.",
            "16.2",
        ),
        Misconception(
            "the absolute difference",
            lambda c, r: F.softplus(-(c - r).abs()),
            "You took the difference without its sign, so a pair that is ranked wrong looks as good as one that is "
            "ranked right.",
            "The sign of the difference says who wins.",
            "16.2",
        ),
    ],
    accepted={
        "softplus": lambda c, r: F.softplus(r - c),
        "logaddexp": lambda c, r: torch.logaddexp(torch.zeros_like(c), r - c),
        "cross-entropy of two classes": lambda c, r: -torch.stack([c, r]).log_softmax(dim=0)[0],
        "in two pieces": in_two_pieces,
    },
    hints=[
        "What is the probability that an answer with reward 3 beats one with reward 1?",
        "-log σ(d) with d = chosen - rejected. What is σ(-10,000) in floating point, and its logarithm?",
        "-F.logsigmoid(chosen - rejected).",
    ],
)


# 2. kl_divergence


def kl(p: Tensor, q: Tensor) -> Tensor:
    summands = torch.where(p > 0, p * (p / q).log(), 0.0)
    return summands.sum(dim=-1)


def kl_by_loops(p: Tensor, q: Tensor) -> Tensor:
    sums = []
    for row_p, row_q in zip(p.reshape(-1, p.size(-1)).tolist(), q.reshape(-1, q.size(-1)).tolist(), strict=True):
        total = 0.0
        for a, b in zip(row_p, row_q, strict=True):
            if a > 0:
                total += math.inf if b == 0 else a * math.log(a / b)
        sums.append(total)
    return torch.tensor(sums).view(p.shape[:-1])


def kl_by_entropies(p: Tensor, q: Tensor) -> Tensor:
    return torch.special.entr(p.double()).sum(-1).neg() - torch.special.xlogy(p.double(), q.double()).sum(-1)


def more_divergences(seed: int) -> list[Case]:
    s = seed % 1000
    cases = [
        Case(f"{N} answers", p=distribution(2, N, seed=s + N), q=distribution(2, N, seed=s - N))
        for N in Random(seed).sample(range(3, 20), 2)
    ]
    p = distribution(6, seed=s)
    p[s % 6] = 0
    return [*cases, Case("an impossible answer", p=p / p.sum(), q=distribution(6, seed=s + 1))]


kl_divergence = Exercise(
    name="kl_divergence",
    asks="Compute KL(p ‖ q) in nats of distributions over N answers.",
    reference=kl,
    section="16.3",
    cases=[
        Case("two answers", p=tensor([0.75, 0.25]), q=tensor([0.5, 0.5])),
        Case("equal distributions", p=tensor([0.2, 0.8]), q=tensor([0.2, 0.8])),
        Case("p never gives one of the answers", p=tensor([1, 0]), q=tensor([0.25, 0.75])),
        Case("neither gives one of the answers", p=tensor([0.5, 0.5, 0]), q=tensor([0.25, 0.75, 0])),
        Case("q never gives one of the answers", p=tensor([0.5, 0.5]), q=tensor([1, 0])),
        Case("three answers", p=tensor([0.5, 0.25, 0.25]), q=tensor([0.25, 0.25, 0.5])),
        Case("two distributions", p=tensor([[0.9, 0.1], [0.5, 0.5]]), q=tensor([[0.5, 0.5], [0.1, 0.9]])),
        Case("2 × 3 distributions over five answers", p=distribution(2, 3, 5, seed=1), q=distribution(2, 3, 5, seed=2)),
        Case("very small probabilities", p=tensor([1, 1e-30]), q=tensor([1e-30, 1])),
        Case("one answer", p=tensor([1]), q=tensor([1])),
        Case("a transposed tensor", p=distribution(4, 4, seed=3).T / 4, q=distribution(4, 4, seed=4).T / 4),
        Case("float64", p=distribution(3, seed=5).double(), q=distribution(3, seed=6).double()),
    ],
    random_cases=more_divergences,
    misconceptions=[
        Misconception(
            "p and q swapped",
            lambda p, q: kl(q, p),
            "You computed KL(q ‖ p). The KL is not symmetric: the average is taken under the first of the two.",
            "Whose probability is in front of the logarithm?",
            "16.3",
        ),
        Misconception(
            "0 · log 0 is NaN",
            lambda p, q: (p * (p / q).log()).sum(dim=-1),
            "Where p is 0, its logarithm is -infinity, and 0 times infinity is not a number.",
            "An answer that p never gives contributes nothing: torch.where, or torch.special.xlogy.",
            "16.3",
            variants=(lambda p, q: (p * (p.log() - q.log())).sum(dim=-1),),
        ),
        Misconception(
            "finite where it is infinite",
            lambda p, q: (p * (p.clamp(min=1e-8).log() - q.clamp(min=1e-8).log())).sum(dim=-1),
            "You added or clamped a small number to avoid log 0. So an answer that q never gives looks merely "
            "unlikely, and the KL is finite where it should not be.",
            "Treat p = 0 separately; leave q as it is.",
            "16.3",
            variants=(
                lambda p, q: (p * ((p + 1e-8) / (q + 1e-8)).log()).sum(dim=-1),
                lambda p, q: (p * ((p + 1e-12) / (q + 1e-12)).log()).sum(dim=-1),
                lambda p, q: torch.where((p > 0) & (q > 0), p * (p / q).log(), 0.0).sum(dim=-1),
            ),
        ),
        Misconception(
            "cross-entropy",
            lambda p, q: -torch.special.xlogy(p, q).sum(dim=-1),
            "You computed the cross-entropy, -Σ p log q. It is the KL plus the entropy of p, and does not vanish when "
            "the two are equal.",
            "What is left of the cross-entropy when q = p? Subtract that.",
            "16.3",
        ),
        Misconception(
            "no minus sign where one belongs",
            lambda p, q: -kl(p, q),
            "Your KL is negative. It is never below 0, and 0 only if the two are equal.",
            "p / q, or q / p?",
            "16.3",
        ),
        Misconception(
            "a mean over the answers",
            lambda p, q: torch.where(p > 0, p * (p / q).log(), 0.0).mean(dim=-1),
            "You divided by the number of answers. The sum is already an average: the weights p sum to 1.",
            "sum, not mean.",
            "16.3",
        ),
        Misconception(
            "bits instead of nats",
            lambda p, q: kl(p, q) / math.log(2),
            "You took the logarithm to base 2; everything here is in nats.",
            "log, not log2.",
            "16.3",
        ),
        Misconception(
            "one number for all distributions",
            lambda p, q: kl(p, q).sum(),
            "You summed over all distributions of the batch. Only the last dimension, the answers, is summed.",
            "sum(dim=-1)",
            "16.3",
            variants=(lambda p, q: kl(p, q).mean(),),
        ),
        Misconception(
            "summed over the wrong dimension",
            lambda p, q: torch.where(p > 0, p * (p / q).log(), 0.0).sum(dim=0),
            "You summed over the first dimension. The answers are the last one, however many there are before it.",
            "dim=-1",
            "16.3",
        ),
        Misconception(
            "the mean of both directions",
            lambda p, q: (kl(p, q) + kl(q, p)) / 2,
            "You made it symmetric. That is another divergence (Jeffreys'); the KL has a direction.",
            "Average under p only.",
            "16.3",
        ),
    ],
    accepted={
        "loops": kl_by_loops,
        "xlogy, float64": kl_by_entropies,
        "NaN replaced": lambda p, q: (p * (p.log() - q.log())).nan_to_num(0.0, posinf=math.inf).sum(-1),
    },
    forbidden=READY_MADE_KL,
    hints=[
        "It is the mean of log p/q, under p. Work out the example: 0.75 · log(0.75/0.5) + 0.25 · log(0.25/0.5).",
        "Which value does your code give 0 · log 0? It should be 0, the limit of x log x.",
        "torch.where(p > 0, p * (p / q).log(), 0.0).sum(dim=-1)",
    ],
)


# 3. optimal_policy


def tilted(p: Tensor, r: Tensor, beta: float) -> Tensor:
    return (p.log() + r / beta).softmax(dim=-1)


def tilted_by_hand(p: Tensor, r: Tensor, beta: float) -> Tensor:
    possible = p > 0
    top = r.masked_fill(~possible, -math.inf).amax(dim=-1, keepdim=True)  # of the answers that can occur
    weights = torch.where(possible, p * torch.exp(torch.where(possible, r - top, torch.zeros_like(r)) / beta), 0.0)
    return weights / weights.sum(dim=-1, keepdim=True)


def tilted_by_loops(p: Tensor, r: Tensor, beta: float) -> Tensor:
    rows = []
    for row_p, row_r in zip(p.reshape(-1, p.size(-1)).tolist(), r.reshape(-1, p.size(-1)).tolist(), strict=True):
        logs = [math.log(a) + b / beta if a > 0 else -math.inf for a, b in zip(row_p, row_r, strict=True)]
        weights = [math.exp(log - max(logs)) for log in logs]
        rows.append([weight / sum(weights) for weight in weights])
    return torch.tensor(rows).view(p.shape)


def more_policies(seed: int) -> list[Case]:
    s, draw = seed % 1000, Random(seed)
    return [
        Case(
            f"{N} answers",
            reference=distribution(2, N, seed=s + N),
            rewards=random(2, N, seed=s - N),
            beta=draw.choice([0.3, 0.7, 2.0]),
        )
        for N in draw.sample(range(3, 20), 3)
    ]


optimal_policy = Exercise(
    name="optimal_policy",
    asks="Reweight a distribution by e^(reward / β), in a way that works for every β.",
    reference=library.optimal_policy,
    section="16.3",
    cases=[
        Case("two answers", reference=tensor([0.5, 0.5]), rewards=tensor([1, 0]), beta=1.0),
        Case("unequal answers, β = 2", reference=tensor([0.8, 0.2]), rewards=tensor([0, 2]), beta=2.0),
        Case("equal rewards", reference=tensor([0.7, 0.2, 0.1]), rewards=tensor([5, 5, 5]), beta=0.5),
        Case("an impossible answer", reference=tensor([0.5, 0.5, 0]), rewards=tensor([0, 1, 2]), beta=1.0),
        Case("two prompts", reference=tensor([[0.9, 0.1], [0.5, 0.5]]), rewards=tensor([[0, 1], [1, 0]]), beta=0.5),
        Case("random, 2 × 3 × 4", reference=distribution(2, 3, 4, seed=1), rewards=random(2, 3, 4, seed=2), beta=0.7),
        Case("a small β", reference=distribution(3, seed=3), rewards=tensor([1, 3, 2]), beta=0.001),
        Case(
            "a small β, negative rewards", reference=distribution(3, seed=4), rewards=tensor([-9, -3, -4]), beta=0.001
        ),
        Case(
            "a small β, and the best answer is impossible",
            reference=tensor([0.6, 0.4, 0]),
            rewards=tensor([0.0, 0.001, 5]),
            beta=0.001,
        ),
        Case("a large β", reference=distribution(4, seed=5), rewards=random(4, seed=6), beta=1e6),
        Case("one answer", reference=tensor([1]), rewards=tensor([-3]), beta=1.0),
        Case("transposed", reference=distribution(3, 3, seed=7), rewards=random(3, 3, seed=8).T, beta=1.0),
    ],
    random_cases=more_policies,
    misconceptions=[
        Misconception(
            "multiplied by β",
            lambda p, r, beta: (p.log() + r * beta).softmax(dim=-1),
            "You multiplied the reward by β. A *large* β means that it is expensive to leave the reference, so it must "
            "weaken the reward.",
            "What should happen for β → ∞?",
            "16.3",
        ),
        Misconception(
            "reference left out",
            lambda p, r, beta: (r / beta).softmax(dim=-1),
            "You forgot π₀: your policy gives an answer that the model never writes the same weight as one that it "
            "writes all the time.",
            "What is π* when all rewards are equal?",
            "16.3",
        ),
        Misconception(
            "not normalized",
            lambda p, r, beta: p * torch.exp(r / beta),
            "Your numbers do not sum to 1: divide by their sum Z.",
            "∝ means: up to a factor. Which factor makes it a distribution?",
            "16.3",
        ),
        Misconception(
            "overflow",
            lambda p, r, beta: p * torch.exp(r / beta) / (p * torch.exp(r / beta)).sum(dim=-1, keepdim=True),
            "Your formula is right, but for a small β the exponentials are infinite, or all 0, in floating point.",
            "Add logarithms instead of multiplying, and let a softmax normalize.",
            "16.3",
        ),
        Misconception(
            "the largest reward subtracted, although nothing has it",
            lambda p, r, beta: (
                p
                * torch.exp((r - r.amax(-1, keepdim=True)) / beta)
                / (p * torch.exp((r - r.amax(-1, keepdim=True)) / beta)).sum(dim=-1, keepdim=True)
            ),
            "You subtracted the largest reward, which avoids infinities. But if an impossible answer has it, all "
            "others may underflow to 0, and 0/0 is not a number.",
            "Work with log π₀ + r/β: -infinity takes care of what is impossible.",
            "16.3",
        ),
        Misconception(
            "rewards as probabilities",
            lambda p, r, beta: (p * r / beta) / (p * r / beta).sum(dim=-1, keepdim=True),
            "You multiplied by r/β instead of e^(r/β). Rewards may be negative or 0; their exponentials are not.",
            "The weight is π₀ · e^(r/β), so its logarithm is log π₀ + r/β.",
            "16.3",
            variants=(lambda p, r, beta: (p * r / beta).softmax(dim=-1),),
        ),
        Misconception(
            "wrong sign",
            lambda p, r, beta: (p.log() - r / beta).softmax(dim=-1),
            "The higher the reward, the lower your probability.",
            "Check the sign of the exponent.",
            "16.3",
        ),
        Misconception(
            "the reference is tempered too",
            lambda p, r, beta: ((p.log() + r) / beta).softmax(dim=-1),
            "You divided log π₀ by β as well. That is a temperature, which changes the model even where all rewards "
            "are equal.",
            "Only the reward is divided.",
            "16.3",
        ),
        Misconception(
            "added instead of multiplied",
            lambda p, r, beta: (p + torch.exp(r / beta)) / (p + torch.exp(r / beta)).sum(dim=-1, keepdim=True),
            "You added e^(r/β) to the reference. It is a factor.",
            "π₀ · e^(r/β)",
            "16.3",
            variants=(lambda p, r, beta: (p + (r / beta)).softmax(dim=-1),),
        ),
        Misconception(
            "all prompts normalized together",
            lambda p, r, beta: (p.log() + r / beta).flatten().softmax(0).view(p.shape),
            "You normalized over all numbers. Each row is a distribution of its own.",
            "dim=-1",
            "16.3",
            variants=(lambda p, r, beta: (p.log() + r / beta).softmax(dim=0),),
        ),
        Misconception(
            "impossible answers become possible",
            lambda p, r, beta: (p.clamp(min=1e-8).log() + r / beta).softmax(dim=-1),
            "You replaced a probability of 0 by a small number. With a small β, an answer that the model never writes "
            "wins.",
            "log 0 = -infinity is exactly right here: the softmax turns it into 0.",
            "16.3",
            variants=(
                lambda p, r, beta: ((p + 1e-8).log() + r / beta).softmax(dim=-1),
                lambda p, r, beta: ((p + 1e-12).log() + r / beta).softmax(dim=-1),
            ),
        ),
    ],
    accepted={
        "exponentials by hand, safely": tilted_by_hand,
        "loops": tilted_by_loops,
        "float64": lambda p, r, beta: tilted(p.double(), r.double(), beta),
        "logsumexp": lambda p, r, beta: torch.exp(
            p.log() + r / beta - torch.logsumexp(p.log() + r / beta, dim=-1, keepdim=True)
        ),
    },
    hints=[
        "Work out the example: the weights are 0.5 · e and 0.5 · 1. Divide by their sum.",
        "For β = 0.001 and a reward of 3 the weight is e^3000. Which function normalizes exponentials without "
        "computing them?",
        "(reference.log() + rewards / beta).softmax(dim=-1)",
    ],
)


# 4. best_of_n_probabilities


def levels(p: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """P(reward ≤ its own) and P(reward < its own) of each answer, (N,) each."""
    return ((r <= r[:, None]) * p).sum(dim=1), ((r < r[:, None]) * p).sum(dim=1)


def best(p: Tensor, r: Tensor, n: int) -> Tensor:
    up_to, below = levels(p, r)
    return p * (up_to**n - below**n) / (up_to - below)


def best_one_draw_at_a_time(p: Tensor, r: Tensor, n: int) -> Tensor:
    kept = p
    for _ in range(n - 1):  # another draw: the kept answer stays unless the new one is better
        new_at_most, _ = levels(p, r)
        kept_below = ((r < r[:, None]) * kept).sum(dim=1)
        kept = kept * new_at_most + p * kept_below
    return kept


def best_by_groups(p: Tensor, r: Tensor, n: int) -> Tensor:
    groups: dict[float, list[int]] = {}
    for i, reward in enumerate(r.tolist()):
        groups.setdefault(reward, []).append(i)
    result, below = torch.zeros(len(p), dtype=torch.float64), 0.0
    for reward in sorted(groups):
        mass = sum(float(p[i]) for i in groups[reward])
        for i in groups[reward]:
            result[i] = ((below + mass) ** n - below**n) * float(p[i]) / mass
        below += mass
    return result


def best_in_order(p: Tensor, r: Tensor, n: int, first: bool = False) -> Tensor:
    """As if equal rewards were ranked by their place in the list."""
    order = (r.flip(0).argsort(stable=True).neg() + len(r) - 1) if first else r.argsort(stable=True)
    up_to = p[order].cumsum(0)
    result = torch.zeros_like(p)
    result[order] = up_to**n - (up_to - p[order]) ** n
    return result


def more_draws(seed: int) -> list[Case]:
    s, draw = seed % 1000, Random(seed)
    return [
        Case(
            f"{N} answers, {n} draws",
            reference=distribution(N, seed=s + N),
            rewards=torch.tensor([float(draw.randrange(-3, 4)) for _ in range(N)]),
            n=n,
        )
        for N, n in zip(draw.sample(range(4, 16), 3), draw.sample(range(2, 9), 3), strict=True)
    ]


best_of_n_probabilities = Exercise(
    name="best_of_n_probabilities",
    asks="Compute the exact distribution of the best of n draws, with ties broken at random.",
    reference=library_rewards.best_of_n_probabilities,
    section="16.4",
    cases=[
        Case("two answers, two draws", reference=tensor([0.5, 0.5]), rewards=tensor([0, 1]), n=2),
        Case("one draw", reference=tensor([0.5, 0.3, 0.2]), rewards=tensor([2, 0, 1]), n=1),
        Case("three rewards in any order", reference=tensor([0.5, 0.25, 0.25]), rewards=tensor([1, 2, 0]), n=2),
        Case("a tie at the top", reference=tensor([0.5, 0.25, 0.25]), rewards=tensor([0, 1, 1]), n=2),
        Case("an unequal tie", reference=tensor([0.25, 0.5, 0.25]), rewards=tensor([1, 0, 0]), n=3),
        Case("all rewards equal", reference=tensor([0.1, 0.2, 0.7]), rewards=tensor([4, 4, 4]), n=5),
        Case("negative rewards", reference=distribution(5, seed=1), rewards=tensor([-1, -3, -2, -3, -1]), n=4),
        Case("one answer", reference=tensor([1]), rewards=tensor([3]), n=3),
        Case("nine answers, all different", reference=distribution(9, seed=2), rewards=random(9, seed=3), n=6),
        Case("rewards nearly equal", reference=tensor([0.5, 0.5]), rewards=tensor([1.0, 1.0001]), n=2),
        Case("a hundred draws", reference=tensor([0.004, 0.8, 0.19, 0.006]), rewards=tensor([3, 0, 1, 2]), n=100),
        Case("every other number", reference=tensor([0.2, 9, 0.8, 9])[::2], rewards=tensor([1, 5, 0, 5])[::2], n=2),
    ],
    random_cases=more_draws,
    misconceptions=[
        Misconception(
            "the probability of being at most as good",
            lambda p, r, n: levels(p, r)[0] ** n,
            "You returned P(reward ≤ r)ⁿ: the probability that the best draw is *at most* as good as this answer. "
            "These numbers do not sum to 1.",
            "The best is exactly r if it is at most r, but not below.",
            "16.4",
        ),
        Misconception(
            "the density of the limit",
            lambda p, r, n: n * p * levels(p, r)[0] ** (n - 1),
            "You used n · Fⁿ⁻¹ · π₀, the density for infinitely many answers. With few answers it does not sum to 1.",
            "A difference of two powers, not a derivative.",
            "16.4",
            variants=(
                lambda p, r, n: n * p * levels(p, r)[1] ** (n - 1),
                lambda p, r, n: (
                    p * levels(p, r)[0] ** (n - 1) / (p * levels(p, r)[0] ** (n - 1)).sum(dim=0, keepdim=True)
                ),
            ),
        ),
        Misconception(
            "the whole group's probability for each of its answers",
            lambda p, r, n: levels(p, r)[0] ** n - levels(p, r)[1] ** n,
            "Of answers with equal rewards you gave each one the probability of all together. They must share it.",
            "In which proportion do they share? One of the draws is kept at random.",
            "16.4",
        ),
        Misconception(
            "equal rewards share equally",
            lambda p, r, n: (levels(p, r)[0] ** n - levels(p, r)[1] ** n) / (r == r[:, None]).sum(dim=1),
            "You divided a group's probability equally among its answers. But among the draws, an answer that the "
            "model writes more often is there more often.",
            "What should come out for n = 1?",
            "16.4",
        ),
        Misconception(
            "the later of two equal answers wins",
            best_in_order,
            "You sorted the answers and treated those with equal rewards as if one were better. They are drawn and "
            "kept in proportion to their probabilities.",
            "P(reward ≤ r) includes *all* answers with the reward r.",
            "16.4",
            variants=(lambda p, r, n: best_in_order(p, r, n, first=True),),
        ),
        Misconception(
            "the chance of appearing among the draws",
            lambda p, r, n: 1 - (1 - p) ** n,
            "You computed the probability that an answer is drawn at all. It also has to be the best one.",
            "What may the other n - 1 draws be?",
            "16.4",
            variants=(lambda p, r, n: (1 - (1 - p) ** n) / (1 - (1 - p) ** n).sum(),),
        ),
        Misconception(
            "the worst of n",
            lambda p, r, n: best(p, -r, n),
            "You kept the answer with the lowest reward.",
            "Which way did you sort?",
            "16.4",
        ),
        Misconception(
            "one draw too few",
            lambda p, r, n: best(p, r, n - 1) if n > 1 else p * 0,
            "You used the power n - 1: that is the best of n - 1 draws.",
            "All n draws have to be at most as good.",
            "16.4",
            variants=(lambda p, r, n: best(p, r, n + 1),),
        ),
        Misconception(
            "the model's probabilities sharpened",
            lambda p, r, n: p**n / (p**n).sum(),
            "You raised the probabilities to the power n. That prefers answers that are *probable*; best-of-n prefers "
            "those with a high reward.",
            "Where are the rewards in your code?",
            "16.4",
        ),
        Misconception(
            "the result is sorted",
            lambda p, r, n: best(p, r, n)[r.argsort(stable=True)],
            "Your numbers are right, but in the order of the rewards. Item i of the result belongs to answer i.",
            "Undo the sorting: scatter, or result[order] = …",
            "16.4",
        ),
    ],
    accepted={
        "pairwise comparisons": best,
        "one draw at a time": best_one_draw_at_a_time,
        "groups in a dictionary": best_by_groups,
        "float64": lambda p, r, n: best(p.double(), r.double(), n),
    },
    hints=[
        "Suppose all rewards differ. With what probability are all n draws at most as good as answer i?",
        "That is P(reward ≤ r)ⁿ. The best is exactly r if it is at most r, minus the case that it is below r.",
        "up_to and below: the sums of the probabilities with a reward ≤ rᵢ and < rᵢ. The group of rᵢ has up_toⁿ - "
        "belowⁿ, and answer i the fraction pᵢ / (up_to - below) of it.",
    ],
)


# 5. dpo_loss


def answer_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of each answer (R,), from logits (R, T, V) and targets (R, T)."""
    return -F.cross_entropy(logits.mT, targets, reduction="none").sum(dim=1)


def through_the_library(logits: Tensor, reference_logits: Tensor, targets: Tensor, beta: float) -> Tensor:
    ratios = answer_log_probs(logits, targets) - answer_log_probs(reference_logits, targets).detach()
    return library.dpo_loss(*ratios.chunk(2), beta)


def dpo(logits, reference_logits, targets, beta, log_prob=answer_log_probs, use_reference=True, loss=None, split=None):
    """The loss with every detail open to being wrong."""
    ratios = log_prob(logits, targets)
    if use_reference:
        ratios = ratios - log_prob(reference_logits, targets).detach()
    chosen, rejected = ratios.chunk(2) if split is None else split(ratios)
    return F.softplus(beta * (rejected - chosen)) if loss is None else loss(chosen, rejected, beta)


def picked(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of each target (R, T), with token 0 where there is none."""
    return logits.log_softmax(dim=-1).gather(-1, targets.clamp(min=0)[:, :, None])[:, :, 0]


def mean_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    return (picked(logits, targets) * (targets != -100)).sum(dim=1) / (targets != -100).sum(dim=1)


def dpo_by_loops(logits, reference_logits, targets, beta):
    losses = []
    B = len(logits) // 2
    for i in range(B):
        ratios = []
        for row in (i, B + i):
            ratio = logits.new_zeros(())
            for t, token in enumerate(targets[row].tolist()):
                if token != -100:
                    now = logits[row, t, token] - logits[row, t].logsumexp(0)
                    before = reference_logits[row, t, token] - reference_logits[row, t].logsumexp(0)
                    ratio = ratio + now - before.detach()
            ratios.append(ratio)
        losses.append(-F.logsigmoid(beta * (ratios[0] - ratios[1])))
    return torch.stack(losses)


def dpo_by_implicit_rewards(logits, reference_logits, targets, beta):
    is_answer = targets != -100
    rewards = beta * (picked(logits.double(), targets) - picked(reference_logits.double(), targets).detach())
    rewards = (rewards * is_answer).sum(dim=1).view(2, -1)  # (2, B)
    return -rewards.log_softmax(dim=0)[0]


def pairs_of(B: int, T: int, V: int, seed: int, scale: float = 1.0, prompt: int = 0) -> dict:
    """Random logits of two models, and targets: the first `prompt` positions have none, and answers differ in "
    "length."""
    draw = Random(seed)
    targets = torch.tensor([[draw.randrange(V) for _ in range(T)] for _ in range(2 * B)])
    targets[:, :prompt] = -100
    for row in range(1, 2 * B):
        targets[row, T - draw.randrange(T - prompt) :] = -100
    logits = scale * random(2 * B, T, V, seed=seed)
    return {"logits": logits, "reference_logits": scale * random(2 * B, T, V, seed=seed + 1), "targets": targets}


def more_pairs(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for B in draw.sample(range(1, 5), 2):
        T, V = draw.randrange(3, 7), draw.randrange(3, 9)
        inputs = pairs_of(B, T, V, seed % 1000 + B, prompt=1)
        cases.append(Case(f"{B} pairs, {T} tokens", **inputs, beta=draw.choice([0.1, 0.5, 1.0])))
    return cases


TWO_TOKENS = tensor([[[2, 0], [0, 0]], [[0, 0], [0, 0]]])  # (2, 2, 2): one pair, two tokens, two words
EIGHT = pairs_of(2, 8, 3, seed=8, prompt=2)

dpo_loss = Exercise(
    name="dpo_loss",
    asks="Compute the DPO loss of each pair from the logits of the model and of its reference.",
    reference=through_the_library,
    section="16.5",
    gradients=True,
    cases=[
        Case(
            "one pair of one token, a new model",
            logits=torch.zeros(2, 1, 2),
            reference_logits=torch.zeros(2, 1, 2),
            targets=torch.tensor([[0], [1]]),
            beta=1.0,
        ),
        Case(
            "one pair of one token",
            logits=tensor([[[2, 0]], [[2, 0]]]),
            reference_logits=tensor([[[1, 0]], [[1, 0]]]),
            targets=torch.tensor([[0], [1]]),
            beta=1.0,
        ),
        Case(
            "the same with β = 0.5",
            logits=tensor([[[2, 0]], [[2, 0]]]),
            reference_logits=tensor([[[1, 0]], [[1, 0]]]),
            targets=torch.tensor([[0], [1]]),
            beta=0.5,
        ),
        Case(
            "a chosen answer of two tokens, a rejected one of one",
            logits=TWO_TOKENS,
            reference_logits=torch.zeros(2, 2, 2),
            targets=torch.tensor([[0, 1], [1, -100]]),
            beta=1.0,
        ),
        Case(
            "a prompt of one token",
            logits=tensor([[[5, 0], [1, 0]], [[0, 5], [1, 0]]]),
            reference_logits=torch.zeros(2, 2, 2),
            targets=torch.tensor([[-100, 0], [-100, 1]]),
            beta=1.0,
        ),
        Case("two pairs", **pairs_of(2, 3, 4, seed=1), beta=1.0),
        Case("three pairs with prompts", **pairs_of(3, 6, 5, seed=2, prompt=2), beta=0.3),
        Case("large logits", **pairs_of(5, 4, 3, seed=3, scale=300.0), beta=1.0),
        Case("transposed tensors", **{n: x.transpose(0, 1) for n, x in pairs_of(3, 6, 4, seed=4).items()}, beta=0.5),
        Case("a small β", **pairs_of(2, 5, 4, seed=5), beta=0.01),
        Case("one word", **pairs_of(1, 2, 1, seed=6), beta=1.0),
        Case("eight tokens, float64", **{n: x.double() if n != "targets" else x for n, x in EIGHT.items()}, beta=1.0),
    ],
    random_cases=more_pairs,
    misconceptions=[
        Misconception(
            "averaged over the tokens",
            lambda *a: dpo(*a, log_prob=mean_log_probs),
            "You took the mean of an answer's log-probabilities. The probability of an answer is the product over its "
            "tokens, so its logarithm is their sum.",
            "sum, not mean: a long answer may differ from its reference by more.",
            "16.5",
        ),
        Misconception(
            "reference left out",
            lambda *a: dpo(*a, use_reference=False),
            "You compared the two answers' log-probabilities under the model alone. A rejected answer that is short, "
            "or was probable from the start, then needs to become absurdly improbable.",
            "The implicit reward is β · log π/π₀.",
            "16.5",
        ),
        Misconception(
            "chosen and rejected swapped",
            lambda *a: dpo(*a, loss=lambda c, r, beta: F.softplus(beta * (c - r))),
            "Your loss falls when the rejected answer becomes more probable.",
            "Which rows are the chosen answers?",
            "16.5",
        ),
        Misconception(
            "neighboring rows taken for pairs",
            lambda *a: dpo(*a, split=lambda x: (x[::2], x[1::2])),
            "You compared rows 0 and 1, 2 and 3, and so on. The first B rows are the chosen answers, the last B the "
            "rejected ones.",
            "chunk(2)",
            "16.5",
        ),
        Misconception(
            "β outside the logarithm",
            lambda *a: dpo(*a, loss=lambda c, r, beta: beta * F.softplus(r - c)),
            "You multiplied the loss by β. That is only another learning rate: β belongs to the rewards, inside σ.",
            "What is compared are the implicit rewards β · log π/π₀.",
            "16.5",
            variants=(lambda *a: dpo(*a, loss=lambda c, r, beta: F.softplus(r - c)),),
        ),
        Misconception(
            "divided by β",
            lambda *a: dpo(*a, loss=lambda c, r, beta: F.softplus((r - c) / beta)),
            "You divided by β. The reward is divided by β in π*; solved for the reward, β is a factor.",
            "r = β · log π*/π₀ + …",
            "16.5",
        ),
        Misconception(
            "positions without a target are counted",
            lambda *a: dpo(*a, log_prob=lambda z, targets: picked(z, targets).sum(dim=1)),
            "You counted the positions with -100 as if a token followed there: the prompt, and the padding.",
            "Which positions have no target? Their log-probabilities must not be in the sum.",
            "16.5",
            variants=(
                lambda *a: dpo(
                    *a,
                    log_prob=lambda z, targets: (
                        z.log_softmax(-1).gather(-1, (targets % z.size(-1))[:, :, None])[:, :, 0].sum(dim=1)
                    ),
                ),
            ),
        ),
        Misconception(
            "token 0 taken for padding",
            lambda *a: dpo(*a, log_prob=lambda z, targets: (picked(z, targets) * (targets > 0)).sum(dim=1)),
            "You also left out token 0, which is a word like any other. Only -100 means: no target.",
            "> 0, ≥ 0, or ≠ -100?",
            "16.5",
        ),
        Misconception(
            "shifted once more",
            lambda *a: dpo(
                *a,
                log_prob=lambda z, targets: (picked(z[:, :-1], targets[:, 1:]) * (targets[:, 1:] != -100)).sum(dim=1),
            ),
            "You shifted logits and targets against each other. The targets are already the tokens that *follow*.",
            "Compare position t of the logits with position t of the targets.",
            "16.5",
        ),
        Misconception(
            "logits instead of log-probabilities",
            lambda *a: dpo(
                *a,
                log_prob=lambda z, targets: (
                    z.gather(-1, targets.clamp(min=0)[:, :, None])[:, :, 0] * (targets != -100)
                ).sum(dim=1),
            ),
            "You summed up logits. They become log-probabilities only after the normalization over the vocabulary.",
            "log_softmax over the last dimension.",
            "16.5",
        ),
        Misconception(
            "normalized over the positions",
            lambda *a: dpo(
                *a,
                log_prob=lambda z, targets: (
                    z.log_softmax(dim=1).gather(-1, targets.clamp(min=0)[:, :, None])[:, :, 0] * (targets != -100)
                ).sum(dim=1),
            ),
            "Your softmax runs over the positions of the text. At each position, it is the V tokens that compete.",
            "dim=-1",
            "16.5",
        ),
        Misconception(
            "overflow",
            lambda *a: dpo(*a, loss=lambda c, r, beta: -torch.log(torch.sigmoid(beta * (c - r)))),
            "Where the rejected answer is far ahead, σ is 0 in floating point and its logarithm infinite.",
            "F.logsigmoid",
            "16.5",
            variants=(lambda *a: dpo(*a, loss=lambda c, r, beta: torch.log(1 + torch.exp(beta * (r - c)))),),
        ),
        Misconception(
            "the probability, not its logarithm",
            lambda *a: dpo(*a, loss=lambda c, r, beta: 1 - torch.sigmoid(beta * (c - r))),
            "You left out the logarithm, so the loss has no gradient for the pairs that are most wrong.",
            "-log σ(…), as in bradley_terry_loss.",
            "16.5",
            variants=(lambda *a: dpo(*a, loss=lambda c, r, beta: -torch.sigmoid(beta * (c - r))),),
        ),
        Misconception(
            "only the chosen answer",
            lambda *a: dpo(*a, loss=lambda c, r, beta: F.softplus(-beta * c)),
            "Your loss does not look at the rejected answer.",
            "The difference of two implicit rewards.",
            "16.5",
        ),
        Misconception(
            "the mean over the pairs",
            lambda *a: dpo(*a).mean(),
            "You returned one number for the batch. Here each pair keeps its own loss.",
            "Leave out the mean.",
            "16.5",
            variants=(lambda *a: dpo(*a).sum(),),
        ),
    ],
    accepted={
        "loops": dpo_by_loops,
        "implicit rewards, float64": dpo_by_implicit_rewards,
        "reordered: policy margin minus reference margin": lambda z, z0, targets, beta: (
            -F.logsigmoid(
                beta
                * (
                    (answer_log_probs(z, targets).chunk(2)[0] - answer_log_probs(z, targets).chunk(2)[1])
                    - (answer_log_probs(z0, targets).chunk(2)[0] - answer_log_probs(z0, targets).chunk(2)[1]).detach()
                )
            )
        ),
    },
    hints=[
        "Start with a function that gives the log-probability of each answer (2B,) under one model, and use it twice.",
        "log_softmax over the vocabulary, gather the targets (clamp the -100s first), set the positions without a "
        "target to 0, and sum over the positions.",
        "ratios = log_prob(logits) - log_prob(reference_logits); chosen, rejected = ratios.chunk(2); "
        "-F.logsigmoid(beta * (chosen - rejected)).",
    ],
)


# 6. chosen_falls


def verdict(student) -> str:
    """Describe in one sentence what a step of DPO does to the student's model."""
    X, w = student()
    if not (torch.is_tensor(X) and torch.is_tensor(w) and X.dim() == 2 and len(X) == 3 and w.shape == X.shape[1:]):
        return "the two are not tensors (3, D) and (D,)"
    X, w = X.double(), w.double()
    if not (X.numel() and X.isfinite().all() and w.isfinite().all()):
        return "there is no number, an infinity or a NaN"
    if max(X.abs().max(), w.abs().max()) > 10:
        return "a number is above 10 or below -10"
    before = (X @ w).log_softmax(0)
    if before.exp().min() < 0.05:
        return "an answer has a probability below 0.05"
    step = 0.1 * 0.5 * (X[0] - X[1])  # the gradient of -log σ(margin) is -σ(-margin) · (X[0] - X[1]), at the margin 0
    after = (X @ (w + step)).log_softmax(0)
    change = after - before
    if change[0] - change[1] < 1e-6:
        return "the loss does not fall"
    if change[0] > 0:
        return "the chosen answer becomes more probable"
    return "fine" if change[0] <= -0.01 else "the chosen answer falls by less than 0.01"


FALLS = tensor([[1], [0], [3]])

chosen_falls = Exercise(
    name="chosen_falls",
    asks="Find a model of three answers in which a step of DPO makes the chosen answer less probable.",
    reference=lambda: (FALLS, torch.zeros(1)),
    section="16.6",
    cases=[Case("your model", judge=verdict)],
    misconceptions=[
        Misconception(
            "the chosen answer rises",
            lambda: (torch.eye(3), torch.zeros(3)),
            "In your model the chosen answer becomes more probable. That is always so if each answer has a feature of "
            "its own, since then nothing else can be dragged along.",
            "The third answer should gain more than the chosen one. Which features must it have?",
            "16.6",
            variants=(lambda: (tensor([[3], [0], [1]]), torch.zeros(1)),),
        ),
        Misconception(
            "chosen and rejected are the same",
            lambda: (tensor([[1, 0], [1, 0], [3, 0]]), torch.zeros(2)),
            "Your chosen and rejected answers have the same features, so the model cannot tell them apart, and the "
            "loss does not fall.",
            "They may be similar, but not equal.",
            "16.6",
        ),
        Misconception(
            "too small an effect",
            lambda: (0.1 * FALLS, torch.zeros(1)),
            "The chosen answer does become less probable, but by less than 0.01.",
            "Make the features larger, or the third answer more extreme.",
            "16.6",
        ),
        Misconception(
            "an answer that hardly exists",
            lambda: (FALLS, tensor([2])),
            "Before the step, one of your answers has a probability below 0.05.",
            "The logits are X w. With w = 0 all three answers are equally probable.",
            "16.6",
        ),
        Misconception(
            "numbers too large",
            lambda: (5 * FALLS, torch.zeros(1)),
            "A number in X or w is above 10 or below -10.",
            "Small whole numbers are enough.",
            "16.6",
        ),
        Misconception(
            "wrong shapes",
            lambda: (FALLS.T, torch.zeros(3)),
            "X must be a tensor (3, D), with one row for each answer, and w a tensor (D,).",
            "torch.tensor([[…], […], […]]), and as many weights as X has columns.",
            "16.6",
        ),
        Misconception(
            "not a number",
            lambda: (FALLS / 0, torch.zeros(1)),
            "X or w contains NaN or infinity, or nothing at all.",
            "Small whole numbers are enough.",
            "16.6",
        ),
    ],
    accepted={
        "two features": lambda: (tensor([[1, 1], [0, 1], [6, 0]]), tensor([0, 1])),
        "float64, the chosen answer in the middle": lambda: [
            torch.tensor([[0.0], [-2.0], [5.0]], dtype=torch.float64),
            torch.tensor([0.05], dtype=torch.float64),
        ],
        "the other direction": lambda: (tensor([[-1], [0], [-3]]), torch.zeros(1)),
    },
    hints=[
        "One feature is enough. The step changes w in the direction of X[0] - X[1]. Which of the three logits grows "
        "most?",
        "A softmax compares: the chosen answer falls if its logit grows by less than the average, weighted with the "
        "probabilities.",
        "Let the chosen answer lie between the rejected one and the third, close to the rejected one.",
    ],
)

EXERCISES = [
    bradley_terry_loss,
    kl_divergence,
    optimal_policy,
    best_of_n_probabilities,
    dpo_loss,
    chosen_falls,
    WrittenAnswer(
        "WHY_FALLS",
        "Why does the loss allow the chosen answer to fall, where does the probability go, and what could be done?",
        50,
        ["The loss depends on a difference. Which sums leave a difference as it is?"],
        "16.6",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "16.7",
    ),
]
