"""What is checked in lesson 06, and the known mistakes."""

import math
from itertools import pairwise, product
from random import Random
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos.generation import BeamOptions, beam_search_naive, sampling
from llmasos.models import GenerationConfig
from llmasos.nn import naive_attention

FORBIDDEN_WARPERS = {
    f"transformers.{name}": "it is the ready-made rule; write it yourself"
    for name in ("TopPLogitsWarper", "MinPLogitsWarper", "TemperatureLogitsWarper")
}
FORBIDDEN_ATTENTION = {
    "torch.nn.functional.scaled_dot_product_attention": "it is the ready-made attention; write the formula yourself",
    "torch.nn.functional.multi_head_attention_forward": "it is the ready-made attention; write the formula yourself",
    "torch.nn.MultiheadAttention": "it is the ready-made attention; write the formula yourself",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logits_of(*rows: list[float]) -> Tensor:
    """Return logits whose softmax is proportional to these numbers."""
    return torch.tensor(rows, dtype=torch.float32).log()


# 1. temperature


def safe_by_hand(logits: Tensor, t: float) -> Tensor:
    scaled = logits.double() / t
    weights = torch.exp(scaled - scaled.amax(dim=1, keepdim=True))
    return weights / weights.sum(dim=1, keepdim=True)


def by_powers(logits: Tensor, t: float) -> Tensor:
    """Compute p to the power of 1 / t, normalized, row by row."""
    rows = []
    for row in logits.double():
        p = [math.exp(float(x - row.max())) ** (1 / t) for x in row]
        rows.append([x / sum(p) for x in p])
    return torch.tensor(rows)


def unsafe(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(dim=1, keepdim=True)


def temperature_cases(seed: int) -> list[Case]:
    generator = Random(seed)
    B, V = generator.randint(2, 5), generator.randint(10, 40)
    logits, far_apart = 3 * random(B, V, seed=seed), torch.linspace(-1000, 1000, B)[:, None]
    return [
        Case("ordinary logits", logits=logits, t=generator.uniform(0.3, 0.8)),
        Case("every text at another height", logits=logits + far_apart, t=generator.uniform(1.2, 3.0)),
        Case("one text", logits=logits[-1:], t=generator.uniform(3.0, 9.0)),
    ]


temperature = Exercise(
    name="temperature",
    asks="Turn logits into the probabilities from which a model samples at temperature t.",
    reference=lambda logits, t: sampling.temperature(logits, t).softmax(dim=-1),
    section="6.4",
    cases=[
        Case("two tokens, t = 0.5", logits=logits_of([4, 1]), t=0.5),
        Case("two tokens, t = 2", logits=logits_of([4, 1]), t=2.0),
        Case("three tokens, t = 1", logits=logits_of([5, 2, 1]), t=1.0),
        Case("two texts, three tokens, t = 0.5", logits=logits_of([4, 2, 1], [1, 6, 2]), t=0.5),
        Case("random numbers", logits=random(3, 7), t=1.7),
        Case("large logits", logits=torch.tensor([[1000.0, 999.0, 0.0]]), t=0.5),
        Case(
            "a text with large logits and one with small ones",
            logits=torch.tensor([[1000.0, 999.0, 998.0], [-1000.0, -1001.0, -999.0]]),
            t=1.5,
        ),
        Case("one token", logits=torch.tensor([[3.0], [-2.0]]), t=0.7),
        Case("t = 0.01", logits=torch.tensor([[2.0, 1.96875, 0.0]]), t=0.01),
        Case("t = 100", logits=torch.tensor([[50.0, 0.0, -50.0]]), t=100.0),
        Case("a transposed tensor", logits=random(6, 2, seed=1).T, t=0.8),
    ],
    random_cases=temperature_cases,
    atol=1e-6,
    misconceptions=[
        Misconception(
            "logits multiplied by t",
            lambda logits, t: (logits * t).softmax(-1),
            "You multiplied by t where the formula divides: your low temperatures are wild and your high ones tame.",
            "At t near 0 the most likely token should get everything. Must the differences of the logits grow or "
            "shrink for that?",
            "6.4",
            variants=(lambda logits, t: (p := logits.softmax(-1) ** t) / p.sum(-1, keepdim=True),),
        ),
        Misconception(
            "probabilities divided by t",
            lambda logits, t: logits.softmax(-1) / t,
            "You divided by t after the softmax. The result no longer sums to 1.",
            "Which comes first, the division or the softmax?",
            "6.4",
        ),
        Misconception(
            "temperature without effect",
            lambda logits, t: logits.softmax(-1),
            "Whatever t is, you return the model's own distribution. (Probabilities divided by t and renormalized "
            "are the same as before.)",
            "A common factor of all probabilities cancels in the normalization. Where does a factor not cancel?",
            "6.4",
        ),
        Misconception(
            "softmax applied twice",
            lambda logits, t: (logits.softmax(-1) / t).softmax(-1),
            "You took the softmax, divided by t, and applied softmax again. Probabilities differ by less than 1, so "
            "as logits they are almost equal.",
            "One softmax is enough. What is its input?",
            "6.4",
        ),
        Misconception(
            "no softmax",
            lambda logits, t: logits / t,
            "You returned logits. They do not sum to 1, and some may be negative.",
            "What turns logits into probabilities?",
            "6.4",
        ),
        Misconception(
            "softmax over the batch",
            lambda logits, t: (logits / t).softmax(0),
            "You took the softmax along dimension 0, so the probabilities of one token sum to 1 over the texts.",
            "logits is (B, V). Which dimension holds the tokens?",
            "6.4",
        ),
        Misconception(
            "overflow in exp",
            lambda logits, t: unsafe(logits / t),
            "Your formula is right, but exp(2000) is infinite in floating point, and infinity divided by infinity is "
            "NaN.",
            "Softmax does not change when you subtract the same number from a whole row. Which number keeps exp small?",
            "6.4",
        ),
        Misconception(
            "logits divided by √t",
            lambda logits, t: (logits / t**0.5).softmax(-1),
            "You divided by √t. The square root belongs to attention's √D; the temperature has no root.",
            "Look at the formula again.",
            "6.4",
        ),
        Misconception(
            "no normalization after the division",
            lambda logits, t: (logits.log_softmax(-1) / t).exp(),
            "You divided the log-probabilities by t and took exp. They were normalized before the division, but no "
            "longer are.",
            "What do your probabilities sum to?",
            "6.4",
        ),
        Misconception(
            "exp without normalization",
            lambda logits, t: (logits / t).exp(),
            "You took exp of the scaled logits. These numbers are in the right proportions, but they do not sum to 1.",
            "What does softmax do after exp?",
            "6.4",
        ),
        Misconception(
            "normalized over the whole batch",
            lambda logits, t: (logits / t).flatten().softmax(0).view_as(logits),
            "You divided by the sum over all texts, so all rows together sum to 1. Each row is a distribution.",
            "`sum()` without a dimension adds up everything.",
            "6.4",
        ),
        Misconception(
            "one maximum for the whole batch",
            lambda logits, t: (e := (logits / t - (logits / t).max()).exp()) / e.sum(-1, keepdim=True),
            "You subtracted the largest logit of all texts. In a text whose logits are far below it, every exp is 0, "
            "and 0 / 0 is NaN.",
            "Each row has its own maximum: `amax(-1, keepdim=True)`.",
            "6.4",
        ),
    ],
    accepted={
        "by hand, float64, maximum subtracted": safe_by_hand,
        "powers of probabilities, in loops": by_powers,
        "log-probabilities instead of logits": lambda logits, t: (logits.log_softmax(-1) / t).softmax(-1),
        "log-softmax, then exp": lambda logits, t: torch.log_softmax(logits / t, dim=1).exp(),
    },
    forbidden=FORBIDDEN_WARPERS,
    hints=[
        "Work through the example by hand: how do you get 16 and 1 from ln 4 and ln 1 at t = 0.5?",
        "Dividing a logit ln a by t makes it ln a^(1/t).",
        "Divide the logits by t, then take torch's softmax along the last dimension; it is safe for large numbers.",
    ],
)


# 2. min_p


def kept(logits: Tensor, keep: Tensor) -> Tensor:
    return logits.masked_fill(~keep, -math.inf).softmax(-1)


def bound(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)
    return probabilities >= p * probabilities.amax(-1, keepdim=True)


def min_p_by_loops(logits: Tensor, p: float) -> Tensor:
    rows = []
    for row in logits.double().softmax(-1).tolist():
        left = [x if x >= p * max(row) else 0.0 for x in row]
        rows.append([x / sum(left) for x in left])
    return torch.tensor(rows)


def min_p_in_numpy(logits: Tensor, p: float) -> Tensor:
    x = logits.numpy().astype("float64")
    x = x - x.max(axis=1, keepdims=True)  # log of the probability relative to the most likely token
    import numpy as np

    weights = np.where(x >= math.log(p), np.exp(x), 0.0)
    return torch.from_numpy(weights / weights.sum(axis=1, keepdims=True))


def min_p_cases(seed: int) -> list[Case]:
    """No token is near the threshold: the ratios to the most likely token are below 0.95 p or above 1.05 p."""
    generator = Random(seed)
    cases = []
    for name, height in (("ordinary logits", 0.0), ("logits far below zero", -2000.0)):
        B, V, p = generator.randint(2, 5), generator.randint(10, 40), generator.uniform(0.05, 0.6)
        rows = []
        for _ in range(B):
            ratios = [1.0, *(generator.choice((generator.uniform(0.01, 0.95) * p,
                             generator.uniform(1.05 * p, 0.99))) for _ in range(V - 1))]  # fmt: skip
            generator.shuffle(ratios)
            rows.append([math.log(ratio) + height for ratio in ratios])
        cases.append(Case(name, logits=torch.tensor(rows), p=p))
    return cases


min_p = Exercise(
    name="min_p",
    asks="Keep the tokens that are at least p times as likely as the most likely one, and renormalize.",
    reference=lambda logits, p: sampling.min_p(logits, p).softmax(dim=-1),
    section="6.5",
    cases=[
        Case("three tokens, p = 0.25", logits=logits_of([6, 3, 1]), p=0.25),
        Case("an uncertain model, p = 0.5", logits=logits_of([9, 8, 8, 7, 7, 1]), p=0.5),
        Case("p = 1, two tokens tie", logits=torch.tensor([[2.0, 0.0, 2.0]]), p=1.0),
        Case("a certain text and an uncertain one", logits=logits_of([90, 6, 3, 1], [4, 5, 4, 1]), p=0.3),
        Case("logits below zero", logits=torch.tensor([[-1.0, -2.0, -3.0, -6.0]]), p=0.2),
        Case("random numbers", logits=random(3, 9, seed=3), p=0.15),
        Case("one token", logits=torch.tensor([[3.0], [-2.0]]), p=0.5),
        Case("p = 1, every text has its own most likely token", logits=logits_of([1, 4, 2], [7, 1, 7]), p=1.0),
        Case("p = 0.001", logits=logits_of([9000, 10, 8, 1]), p=0.001),
        Case("logits far below zero", logits=torch.tensor([[-2000.0, -2001.0, -2009.0]]), p=0.2),
        Case("large logits", logits=torch.tensor([[1000.0, 999.0, 990.0], [-1000.0, -1001.0, -1009.0]]), p=0.2),
        Case("a transposed tensor", logits=random(6, 2, seed=5).T, p=0.3),
        Case("two hundred tokens", logits=random(2, 200, seed=6), p=0.1),
    ],
    random_cases=min_p_cases,
    atol=1e-6,
    misconceptions=[
        Misconception(
            "absolute threshold",
            lambda logits, p: kept(logits, logits.softmax(-1) >= p),
            "You compared each probability with p itself. Where the model is uncertain, no token may reach p, and "
            "you divide by zero or drop nearly everything.",
            "The threshold is p *times* a quantity that each row has of its own.",
            "6.5",
            variants=(
                lambda logits, p: (q := logits.softmax(-1) * (logits.softmax(-1) >= p)) / q.sum(-1, keepdim=True),
            ),
        ),
        Misconception(
            "logits compared instead of probabilities",
            lambda logits, p: kept(logits, logits >= p * logits.amax(-1, keepdim=True)),
            "You compared logits with p times the largest logit. The ratio that counts is one of probabilities, and a "
            "ratio of probabilities is a *difference* of logits.",
            "Take the softmax before you compare; or add ln p instead of multiplying by p.",
            "6.5",
        ),
        Misconception(
            "no renormalization",
            lambda logits, p: logits.softmax(-1) * bound(logits, p),
            "You set the unlikely tokens to zero, and the rest no longer sums to 1.",
            "What do you have to divide the probabilities by?",
            "6.5",
        ),
        Misconception(
            "maximum over the whole batch",
            lambda logits, p: kept(logits, (q := logits.softmax(-1)) >= p * q.max()),
            "You compared with the largest probability of all texts. Each row has its own maximum.",
            "`max()` without a dimension looks at everything.",
            "6.5",
        ),
        Misconception(
            "> instead of ≥",
            lambda logits, p: kept(logits, (q := logits.softmax(-1)) > p * q.amax(-1, keepdim=True)),
            "You keep the tokens that are *more* than p times as likely. At p = 1 nothing is left, not even the most "
            "likely token.",
            "At least: is that > or ≥?",
            "6.5",
            variants=(
                lambda logits, p: (
                    (q := logits.softmax(-1))
                    * (k := (q > p * q.amax(-1, keepdim=True)))
                    / (q * k).sum(-1, keepdim=True)
                ),
            ),
        ),
        Misconception(
            "removed logits set to 0 instead of -inf",
            lambda logits, p: (logits * bound(logits, p)).softmax(-1),
            "You set the logits of unlikely tokens to 0. But exp(0) = 1: a logit of 0 is an ordinary logit.",
            "Which logit has probability 0?",
            "6.5",
        ),
        Misconception(
            "mask inverted",
            lambda logits, p: kept(logits, ~bound(logits, p)),
            "You kept the tokens below the threshold and dropped those above it.",
            "Which entries does `masked_fill(mask, …)` fill?",
            "6.5",
        ),
        Misconception(
            "1 - p instead of p",
            lambda logits, p: kept(logits, (q := logits.softmax(-1)) >= (1 - p) * q.amax(-1, keepdim=True)),
            "Your threshold is 1 - p times the largest probability. In min-p, a small p keeps many tokens.",
            "The threshold is p times the largest probability.",
            "6.5",
        ),
        Misconception(
            "softmax applied twice",
            lambda logits, p: kept(logits.softmax(-1), bound(logits, p)),
            "You took the softmax of probabilities. They differ by less than 1, so as logits they are almost equal: "
            "the proportions are lost.",
            "To make probabilities sum to 1 again, divide by their sum.",
            "6.5",
        ),
        Misconception(
            "maximum over the batch dimension",
            lambda logits, p: kept(logits, (q := logits.softmax(-1)) >= p * q.amax(0, keepdim=True)),
            "You compared each token with the largest probability that the *same token* has in any text. With a single "
            "text nothing is dropped.",
            "logits is (B, V). Along which dimension are the tokens that compete?",
            "6.5",
            variants=(
                lambda logits, p: (
                    (q := logits.softmax(-1) * ((r := logits.softmax(-1)) >= p * r.amax(0, keepdim=True)))
                    / q.sum(-1, keepdim=True)
                ),
            ),
        ),
        Misconception(
            "difference instead of ratio",
            lambda logits, p: kept(logits, (q := logits.softmax(-1)) >= q.amax(-1, keepdim=True) - p),
            "You kept the tokens whose probability is at most p below the largest. The bound is a fraction of the "
            "largest probability, not a distance from it.",
            "'p times as likely': which operation is that?",
            "6.5",
        ),
        Misconception(
            "top-p instead of min-p",
            lambda logits, p: kept(logits, back(before((n := nucleus(logits, p))[0], p), n[2])),
            "You kept the most likely tokens that together have probability p. That is top-p, the next exercise.",
            "Compare every token with the most likely one; nothing is added up.",
            "6.5",
        ),
        Misconception(
            "sum over the whole batch",
            lambda logits, p: (q := logits.softmax(-1) * bound(logits, p)) / q.sum(),
            "You divided by the sum over all texts, so all rows together sum to 1. Each row is a distribution.",
            "`sum()` without a dimension adds up everything.",
            "6.5",
        ),
        Misconception(
            "softmax over the batch",
            lambda logits, p: (
                (q := logits.softmax(0) * ((r := logits.softmax(0)) >= p * r.amax(-1, keepdim=True)))
                / q.sum(-1, keepdim=True)
            ),
            "Your softmax is along dimension 0, over the texts. The probabilities of one text's tokens sum to 1.",
            "logits is (B, V). Which dimension holds the tokens?",
            "6.5",
            variants=(lambda logits, p: kept(logits, bound(logits.T, p).T),),
        ),
    ],
    accepted={
        "loops, float64": min_p_by_loops,
        "NumPy, by differences of logits": min_p_in_numpy,
        "zeros and a division": lambda logits, p: (
            (q := logits.softmax(-1) * bound(logits, p)) / q.sum(-1, keepdim=True)
        ),
        "torch.where on log-probabilities": lambda logits, p: torch.where(
            bound(logits, p), logits.log_softmax(-1), torch.tensor(-1e30)
        ).softmax(-1),
    },
    forbidden=FORBIDDEN_WARPERS,
    hints=[
        "Start with the probabilities, and with the largest of each row (`amax(-1, keepdim=True)`).",
        "A boolean tensor says which tokens are kept. Which logit means probability 0?",
        "Either set the others' logits to -inf and take the softmax, or set their probabilities to 0 and "
        "divide each row "
        "by its sum.",
    ],
)


# 3. top_p


def nucleus(logits: Tensor, p: float, descending: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sorted probabilities (B, V), their running sums, and the token at each place."""
    sorted_, order = logits.softmax(-1).sort(dim=-1, descending=descending, stable=True)
    return sorted_, sorted_.cumsum(-1), order


def back(keep: Tensor, order: Tensor) -> Tensor:
    """Map decisions from sorted order back to the order of the vocabulary."""
    return torch.zeros_like(keep).scatter(-1, order, keep)


def first_kept(keep: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(keep[:, :1]), keep[:, 1:]], dim=1)


def before(p_sorted: Tensor, p: float) -> Tensor:
    """Return which places of a sorted row are kept: those with less than p before them."""
    return p_sorted.cumsum(-1) - p_sorted < p


def top_p_by_loops(logits: Tensor, p: float) -> Tensor:
    rows = []
    for row in logits.double().softmax(-1).tolist():
        left, held = [0.0] * len(row), 0.0
        for token in sorted(range(len(row)), key=lambda token: (-row[token], token)):
            left[token] = row[token]
            held += row[token]
            if held >= p:
                break
        rows.append([x / held for x in left])
    return torch.tensor(rows)


def top_p_by_ranks(logits: Tensor, p: float) -> Tensor:
    """Avoid sorting: keep a token if all tokens ahead of it (more likely, or tied and earlier) have less than p."""
    q = logits.softmax(-1)
    place = torch.arange(q.size(-1))
    ahead = (q[:, None, :] > q[:, :, None]) | ((q[:, None, :] == q[:, :, None]) & (place[None, :] < place[:, None]))
    keep = (ahead * q[:, None, :]).sum(-1) < p
    return q * keep / (q * keep).sum(-1, keepdim=True)


def top_p_ascending(logits: Tensor, p: float) -> Tensor:
    """Start from the least likely token and drop tokens as long as the rest still has p."""
    q, order = logits.flip(-1).softmax(-1).sort(dim=-1, stable=True)
    kept_here = 1 - q.cumsum(-1) < p
    keep = torch.zeros_like(kept_here).scatter(-1, order, kept_here).flip(-1)
    return kept(logits, keep)


def top_p_cases(seed: int) -> list[Case]:
    """No running sum is near p, except where the probabilities are powers of 2 and all sums are exact."""
    generator, cases = Random(seed), []
    while len(cases) < 2:
        B, V, p = generator.randint(2, 4), generator.randint(10, 40), generator.uniform(0.2, 0.9)
        logits = 1.5 * random(B, V, seed=generator.randrange(10**6)) - 1000 * len(cases)
        sums = logits.double().softmax(-1).sort(descending=True).values.cumsum(-1)
        if (sums - p).abs().min() > 1e-3:
            cases.append(Case("logits far below zero" if cases else "ordinary logits", logits=logits, p=p))
    V = generator.choice((32, 64, 128, 256))
    p = (generator.randrange(V // 4, V // 2) + 0.5) / V
    return [*cases, Case(f"{V} equal tokens", logits=torch.full((2, V), generator.uniform(-5, 5)), p=p)]


def unstable_nucleus(q: Tensor, p: float) -> Tensor:
    """Right except for the order of equally likely tokens."""
    sorted_, order = q.sort(descending=True)
    sorted_ = sorted_ * (sorted_.cumsum(-1) - sorted_ < p)
    return torch.zeros_like(q).scatter(-1, order, sorted_ / sorted_.sum(-1, keepdim=True))


top_p = Exercise(
    name="top_p",
    asks="Keep the smallest set of most likely tokens that together have at least probability p, and renormalize.",
    reference=lambda logits, p: sampling.top_p(logits, p).softmax(dim=-1),
    section="6.5",
    cases=[
        Case("four tokens, p = 0.6", logits=logits_of([10, 50, 15, 25]), p=0.6),
        Case("the first token is enough", logits=logits_of([5, 80, 15]), p=0.7),
        Case("all are needed", logits=logits_of([5, 1, 4]), p=0.95),
        Case("four equal tokens", logits=torch.zeros(1, 4), p=0.4),
        Case("a certain text and an uncertain one", logits=logits_of([3, 90, 6, 1], [24, 22, 28, 26]), p=0.8),
        Case("five tokens", logits=logits_of([10, 35, 5, 30, 20]), p=0.5),
        Case("random numbers", logits=random(3, 9, seed=4), p=0.75),
        Case("two of four equal tokens have exactly p", logits=torch.zeros(1, 4), p=0.5),
        Case("one token", logits=torch.tensor([[3.0], [-2.0]]), p=0.5),
        Case("p = 0.01", logits=logits_of([3, 4, 2]), p=0.01),
        Case("p = 0.99", logits=logits_of([400, 500, 60, 35, 5]), p=0.99),
        Case(
            "equal tokens in two texts",
            logits=torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 2.0, 2.0, 2.0]]),
            p=0.5,
        ),
        Case("large logits", logits=torch.tensor([[990.0, 1000.0, 999.0], [-1009.0, -1001.0, -1000.0]]), p=0.8),
        Case("a transposed tensor", logits=random(6, 2, seed=7).T, p=0.7),
        Case("64 equal tokens: lower ids come first", logits=torch.zeros(1, 64), p=0.4),
        Case("two hundred tokens", logits=random(2, 200, seed=8), p=0.9),
    ],
    random_cases=top_p_cases,
    atol=1e-6,
    misconceptions=[
        Misconception(
            "token that crosses p dropped",
            lambda logits, p: kept(logits, back(first_kept((n := nucleus(logits, p))[1] <= p), n[2])),
            "You keep tokens as long as the sum stays below p. The token that crosses p belongs to the nucleus too: "
            "without it, the set has less than p.",
            "For each token, ask how much probability came *before* it.",
            "6.5",
            variants=(
                lambda logits, p: kept(logits, back((n := nucleus(logits, p))[1] <= p, n[2])),
                lambda logits, p: (
                    (k := logits.softmax(-1) * back((n := nucleus(logits, p))[1] <= p, n[2])) / k.sum(-1, keepdim=True)
                ),
            ),
        ),
        Misconception(
            "cumsum without sorting",
            lambda logits, p: kept(logits, before(logits.softmax(-1), p)),
            "You added up the probabilities in the order of the vocabulary. Which tokens are kept then depends "
            "on their "
            "ids.",
            "From the most likely down: what has to happen before `cumsum`?",
            "6.5",
        ),
        Misconception(
            "sorted in ascending order",
            lambda logits, p: kept(logits, back(before((n := nucleus(logits, p, False))[0], p), n[2])),
            "You sorted in ascending order, so the least likely tokens come first and are kept.",
            "`sort` is ascending by default.",
            "6.5",
        ),
        Misconception(
            "ties with the last token kept",
            lambda logits, p: kept(
                logits,
                logits.softmax(-1)
                >= (n := nucleus(logits, p))[0].masked_fill(~before(n[0], p), 1.0).amin(-1, keepdim=True),
            ),
            "You used the probability of the last token of the nucleus as a threshold. Tokens that are exactly as "
            "likely are then kept too, and the set is not the smallest. Among equally likely tokens, the lower id "
            "comes first.",
            "Decide place by place in the sorted row, and map the decisions back.",
            "6.5",
        ),
        Misconception(
            "single tokens compared with a threshold",
            lambda logits, p: kept(logits, (q := logits.softmax(-1)) >= (1 - p) * q.amax(-1, keepdim=True)),
            "You compared single tokens with a threshold. Top-p looks at how much probability the tokens have "
            "*together*; a threshold for each token is min-p.",
            "`cumsum` adds up the probability so far.",
            "6.5",
            variants=(
                lambda logits, p: kept(logits, logits.softmax(-1) >= p),
                lambda logits, p: kept(logits, logits.softmax(-1) >= 1 - p),
            ),
        ),
        Misconception(
            "no renormalization",
            lambda logits, p: logits.softmax(-1) * back(before((n := nucleus(logits, p))[0], p), n[2]),
            "You set the tail to zero, and the rest no longer sums to 1.",
            "What do you have to divide the probabilities by?",
            "6.5",
        ),
        Misconception(
            "result in sorted order",
            lambda logits, p: (k := (n := nucleus(logits, p))[0] * before(n[0], p)) / k.sum(-1, keepdim=True),
            "Your probabilities are right, but in sorted order: position 0 is the most likely token, not token 0.",
            "`sort` also returns the token at each place. `scatter` puts things back.",
            "6.5",
        ),
        Misconception(
            "permutation applied twice instead of inverted",
            lambda logits, p: kept(logits, before((n := nucleus(logits, p))[0], p).gather(-1, n[2])),
            "You went back to the vocabulary's order with `gather` (or x[order]). That applies the same permutation "
            "again; to undo it, you need its inverse.",
            "out.scatter(-1, order, kept) writes place i of the sorted row to token order[i]. (Or use gather with "
            "order.argsort(-1).)",
            "6.5",
        ),
        Misconception(
            "most likely token dropped",
            lambda logits, p: kept(logits, back(~((n := nucleus(logits, p))[1] >= p).roll(1, dims=-1), n[2])),
            "You shifted the mask of dropped tokens by one place with wraparound, so its last entry came in at the "
            "front: the most likely token is dropped.",
            "`roll` wraps around. What has to be at place 0?",
            "6.5",
        ),
        Misconception(
            "fraction of the vocabulary instead of the probability",
            lambda logits, p: kept(
                logits,
                back(
                    (torch.arange(logits.size(-1)) < math.ceil(p * logits.size(-1))).expand_as(logits),
                    nucleus(logits, p)[2],
                ),
            ),
            "You kept the same number of tokens in every row, the fraction p of all V. p is a fraction of the "
            "probability.",
            "A model that is certain needs one token to reach p, an uncertain one needs many.",
            "6.5",
        ),
        Misconception(
            "first row decides for the whole batch",
            lambda logits, p: kept(logits, back(before((n := nucleus(logits, p))[0], p)[:1].expand_as(logits), n[2])),
            "You counted the kept tokens in the first row, and kept the same number in every row. Each row is a "
            "context of its own, certain or uncertain.",
            "The decision is a boolean tensor (B, V), not one number.",
            "6.5",
        ),
        Misconception(
            "cumsum of logits",
            lambda logits, p: kept(
                logits,
                back(first_kept(before((s := logits.sort(-1, descending=True, stable=True)).values, p)), s.indices),
            ),
            "You took the running sum of logits. Only probabilities add up to a fraction of the whole.",
            "Softmax before `cumsum`.",
            "6.5",
        ),
        Misconception(
            "removed logits set to 0 instead of -inf",
            lambda logits, p: (logits * back(before((n := nucleus(logits, p))[0], p), n[2])).softmax(-1),
            "You set the logits of the tail to 0. But exp(0) = 1: a logit of 0 is an ordinary logit.",
            "Which logit has probability 0?",
            "6.5",
        ),
        Misconception(
            "softmax applied twice",
            lambda logits, p: kept(logits.softmax(-1), back(before((n := nucleus(logits, p))[0], p), n[2])),
            "You took the softmax of probabilities. They differ by less than 1, so as logits they are almost equal: "
            "the proportions are lost.",
            "To make probabilities sum to 1 again, divide by their sum.",
            "6.5",
        ),
        Misconception(
            "higher id first among equally likely tokens",
            lambda logits, p: kept(logits, back(before((n := nucleus(logits.flip(-1), p))[0], p), n[2]).flip(-1)),
            "Of equally likely tokens, you keep those with the higher id. The lower id comes first.",
            "A stable sort keeps equal numbers in their order. What does reversing an ascending one do to them?",
            "6.5",
        ),
        Misconception(
            "one token too many",
            lambda logits, p: kept(
                logits, back(torch.cat([(k := before((n := nucleus(logits, p))[0], p))[:, :1], k[:, :-1]], 1), n[2])
            ),
            "You also keep the token after the one that crosses p. The set is not the smallest.",
            "A token is kept if the tokens before it have less than p together.",
            "6.5",
        ),
        Misconception(
            "≤ instead of <",
            lambda logits, p: kept(logits, back((n := nucleus(logits, p))[1] - n[0] <= p, n[2])),
            "You keep a token even if those before it have exactly p already. They are enough.",
            "'Until their probabilities sum to p *or more*.'",
            "6.5",
        ),
        Misconception(
            "1 - p instead of p",
            lambda logits, p: kept(logits, back(before((n := nucleus(logits, p))[0], 1 - p), n[2])),
            "Your nucleus has probability 1 - p. In top-p, a large p keeps many tokens.",
            "Does p say how much to keep, or how much to drop?",
            "6.5",
        ),
        Misconception(
            "sum over the whole batch",
            lambda logits, p: (q := logits.softmax(-1) * back(before((n := nucleus(logits, p))[0], p), n[2])) / q.sum(),
            "You divided by the sum over all texts, so all rows together sum to 1. Each row is a distribution.",
            "`sum()` without a dimension adds up everything.",
            "6.5",
        ),
        Misconception(
            "an unstable sort",
            lambda logits, p: unstable_nucleus(logits.softmax(-1), p),
            "Your sort does not keep the order of equal numbers: in a large vocabulary, the equally likely tokens that "
            "you keep are not those with the lowest ids.",
            "torch.sort has an argument for that.",
            "6.5",
            variants=(lambda logits, p: unstable_nucleus(logits.double().softmax(-1), p),),
        ),
    ],
    accepted={
        "loops, float64": top_p_by_loops,
        "by ranks, without sorting": top_p_by_ranks,
        "from the least likely up": top_p_ascending,
        "inverse permutation": lambda logits, p: (
            (k := logits.softmax(-1) * before((n := nucleus(logits, p))[0], p).gather(-1, n[2].argsort(-1)))
            / k.sum(-1, keepdim=True)
        ),
    },
    forbidden=FORBIDDEN_WARPERS,
    hints=[
        "Do one row first. Sort its probabilities, the largest first, and write the running sum below them. Which "
        "are kept?",
        "A token is kept if the probability before it, `cumsum` minus its own, is less than p.",
        "`sorted, order = probabilities.sort(descending=True, stable=True)`; decide in sorted order; "
        "`torch.zeros_like(keep).scatter(-1, order, keep)` is the decision in the vocabulary's order; then "
        "renormalize.",
    ],
)


# 4. cached_attention


def with_the_library(x, positions, w_q, w_k, w_v, cache=None):
    S = 0 if cache is None else len(cache[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    out = naive_attention((h @ w_q.T)[None, None], k[None, None], v[None, None], causal=True)[0]
    return out[0, 0], (k, v)


def step(x, table, w_q, w_k, w_v, cache=None, start=lambda S: S, diagonal=lambda T, S: S, show=None, keep=None,
         for_queries=lambda h, x: h, for_keys=lambda h, x: h,
         for_values=lambda h, x: h, project=lambda h, w: h @ w.T,
         scale=lambda x, q, k: q.size(-1), order=lambda old, new: torch.cat([old, new]),
         over=-1):  # fmt: skip
    """Process one piece of a text after S earlier tokens; each argument can replace a detail with a wrong one."""
    S, T = 0 if cache is None else len(cache[0]), len(x)
    first = start(S)
    h = x + table[first : first + T]
    q, k, v = project(for_queries(h, x), w_q), project(for_keys(h, x), w_k), project(for_values(h, x), w_v)
    all_k, all_v = (k, v) if cache is None else (order(cache[0], k), order(cache[1], v))
    seen_k, seen_v = show(cache, k, v) if show else (all_k, all_v)
    scores = q @ seen_k.T / math.sqrt(scale(x, q, seen_k))
    if diagonal is not None:
        allowed = torch.ones(T, len(seen_k)).tril(diagonal(T, len(seen_k) - T)).bool()
        scores = scores.masked_fill(~allowed, -1e9)
    return scores.softmax(over) @ seen_v, (keep(all_k, all_v, k, v) if keep else (all_k, all_v))


def with_a_large_number(x, positions, w_q, w_k, w_v, cache=None):
    """A mask of -1e9, and the scores of all positions at once."""
    S = 0 if cache is None else len(cache[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat((cache[0], k)), torch.cat((cache[1], v))
    future = torch.ones(len(x), len(k)).triu(S + 1).bool()
    scores = (h @ w_q.T @ k.T / k.size(1) ** 0.5).masked_fill(future, -1e9)
    return scores.softmax(1) @ v, (k, v)


def token_by_token(x, positions, w_q, w_k, w_v, cache=None):
    """Loop over the new tokens in float64, with one growing list of keys and one of values."""
    keys = [] if cache is None else list(cache[0].double())
    values = [] if cache is None else list(cache[1].double())
    outs = []
    for row in x.double():
        h = row + positions[len(keys)].double()
        keys.append(w_k.double() @ h)
        values.append(w_v.double() @ h)
        weights = torch.exp(torch.stack(keys) @ (w_q.double() @ h) / len(w_q) ** 0.5)
        outs.append((weights[:, None] * torch.stack(values)).sum(0) / weights.sum())
    return torch.stack(outs), (torch.stack(keys), torch.stack(values))


def preallocated(x, positions, w_q, w_k, w_v, cache=None):
    """Preallocate the cache, then fill it, as the library does; mask by comparing positions; einsum."""
    S, T = 0 if cache is None else cache[0].size(0), x.size(0)
    k, v = (torch.empty(S + T, w_k.size(0)) for _ in range(2))
    if cache is not None:
        k[:S], v[:S] = cache
    at = torch.arange(S, S + T)
    h = x + positions[at]
    k[S:], v[S:] = torch.einsum("tc,dc->td", h, w_k), torch.einsum("tc,dc->td", h, w_v)
    scores = torch.einsum("tc,dc,sd->ts", h, w_q, k) / w_k.size(0) ** 0.5
    weights = torch.where(torch.arange(S + T)[None, :] <= at[:, None], scores, torch.tensor(-math.inf)).softmax(-1)
    return [torch.einsum("ts,sd->td", weights, v), [k, v]]


def feed(function, pieces, x, positions, w_q, w_k, w_v):
    """Process a text in pieces of these lengths; return the outputs of each piece and the final cache."""
    cache, seen, at = None, {}, 0
    for i, n in enumerate(pieces, start=1):
        seen[f"outputs of piece {i}"], cache = function(x[at : at + n], positions, w_q, w_k, w_v, cache)
        at += n
    if isinstance(cache, list | tuple) and len(cache) == 2:
        return {**seen, "final keys": cache[0], "final values": cache[1]}
    return {**seen, "the cache": cache}


def without_a_cache(function, x, positions, w_q, w_k, w_v):
    """Call it without the last argument."""
    outputs, (keys, values) = function(x, positions, w_q, w_k, w_v)
    return {"outputs": outputs, "keys": keys, "values": values}


def two_continuations(function, n, x, positions, w_q, w_k, w_v):
    """Continue the first n tokens with the next one, and then, from the same cache, with all the others."""
    _, cache = function(x[:n], positions, w_q, w_k, w_v, None)
    before = [part.clone() for part in cache]
    one, _ = function(x[n : n + 1], positions, w_q, w_k, w_v, cache)
    other, (keys, values) = function(x[n + 1 :], positions, w_q, w_k, w_v, cache)
    same = [a.shape == b.shape and bool((a == b).all()) for a, b in zip(before, cache, strict=True)]
    return {"one": one, "the other": other, "keys": keys, "values": values, "the cache is as it was": all(same)}


def text(pieces: list[int], C: int, D: int, seed: int, unused: int = 3) -> dict:
    """A random text of these pieces, and a table with more positions than it needs."""
    T = sum(pieces)
    weights = {name: random(D, C, seed=seed + i) for i, name in enumerate(("w_q", "w_k", "w_v"), start=2)}
    return {
        "pieces": pieces,
        "x": random(T, C, seed=seed),
        "positions": random(T + unused, C, seed=seed + 1),
        **weights,
    }


EYE = torch.eye(2)
SMALL = {
    "x": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    "positions": torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [0.0, 2.0]]),
    "w_q": EYE, "w_k": torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "w_v": torch.tensor([[0.0, 3.0], [1.0, 0.0]]),
}  # fmt: skip

FORK = {name: value for name, value in text([5], 4, 3, 40).items() if name != "pieces"}
LOW = {
    "x": torch.ones(4, 1), "positions": torch.tensor([[1.0], [0.5], [0.0], [0.25]]), "w_q": torch.tensor([[-5.0]]),
    "w_k": torch.tensor([[10.0]]), "w_v": torch.tensor([[2.0]]),
}  # fmt: skip


def cached_attention_cases(seed: int) -> list[Case]:
    generator, cases = Random(seed), []
    for _ in range(2):
        pieces = [generator.randint(1, 9) for _ in range(generator.randint(2, 5))]
        C, D, unused = generator.randint(2, 8), generator.randint(2, 8), generator.randint(0, 9)
        inputs = text(pieces, C, D, generator.randrange(10**6), unused)
        cases.append(Case(f"pieces of {pieces}", run=feed, **inputs))
    del inputs["pieces"]
    return [*cases, Case("two continuations", run=two_continuations, n=max(1, sum(pieces) - 3), **inputs)]


cached_attention = Exercise(
    name="cached_attention",
    asks="Compute causal self-attention of one head over a text in pieces, with cached keys and values.",
    reference=with_the_library,
    section="6.8",
    cases=[
        Case("one token, nothing before it", run=feed, pieces=[1], **SMALL),
        Case("one token, then another", run=feed, pieces=[1, 1], **SMALL),
        Case("three tokens at once", run=feed, pieces=[3], **SMALL),
        Case("one token, then two", run=feed, pieces=[1, 2], **SMALL),
        Case("four tokens, one by one", run=feed, **text([1, 1, 1, 1], 4, 3, 20)),
        Case("three, then two, then one", run=feed, **text([3, 2, 1], 5, 2, 30)),
        Case("no cache given", run=without_a_cache, **SMALL),
        Case("two tokens, continued in two ways", run=two_continuations, n=2, **FORK),
        Case("one number for each token, very low scores", run=feed, pieces=[2, 1, 1], **LOW),
        Case("a position for each token, no more", run=feed, **text([2, 3], 3, 4, 50, unused=0)),
        Case("forty tokens", run=feed, **text([17, 1, 14, 8], 6, 4, 60)),
        Case(
            "transposed tensors",
            run=feed,
            pieces=[2, 2],
            **{
                name: random(*shape, seed=70 + i).T
                for i, (name, shape) in enumerate(
                    {"x": (3, 4), "positions": (3, 6), "w_q": (3, 2), "w_k": (3, 2), "w_v": (3, 2)}.items()
                )
            },
        ),
    ],
    random_cases=cached_attention_cases,
    misconceptions=[
        Misconception(
            "positions restart at 0 in every piece",
            lambda *a: step(*a, start=lambda S: 0),
            "You gave the new tokens the positions 0, 1, … as if the text started with them. When you generate one "
            "token at a time, every token would be at position 0.",
            "How many tokens came before? The cache tells you.",
            "6.8",
        ),
        Misconception(
            "off-by-one in the positions",
            lambda *a: step(*a, start=lambda S: S + 1),
            "Your first new token is at position S + 1; positions are counted from 0, so S tokens fill 0 … S - 1.",
            "What is the position of the very first token of a text?",
            "6.8",
            variants=(lambda *a: step(*a, start=lambda S: max(S - 1, 0)),),
        ),
        Misconception(
            "cache ignored",
            lambda *a: step(*a, show=lambda cache, k, v: (k, v)),
            "You keep the old keys and values, but the new tokens attend only to one another: the past is ignored.",
            "Which keys does the softmax cover?",
            "6.8",
        ),
        Misconception(
            "cache holds only the last piece",
            lambda *a: step(*a, keep=lambda all_k, all_v, k, v: (k, v)),
            "You return only the keys and values of this piece, so the first piece is lost when the third arrives.",
            "What does the next call need?",
            "6.8",
        ),
        Misconception(
            "off-by-S in the causal mask",
            lambda *a: step(*a, diagonal=lambda T, S: 0),
            "You let new token t see the keys 0 … t. With S tokens before it, it is at position S + t.",
            "This is causal_mask of lesson 03, with fewer queries than keys. By how much does the diagonal shift?",
            "6.8",
        ),
        Misconception(
            "no causal mask",
            lambda *a: step(*a, diagonal=None),
            "Within a piece, your tokens see the tokens after them. One token at a time, nobody would notice; when a "
            "prompt is processed in one piece, its keys and values in the next layer are wrong.",
            "Which keys may the first of two new tokens see?",
            "6.8",
        ),
        Misconception(
            "token cannot attend to itself",
            lambda *a: step(*a, show=lambda cache, k, v: cache if cache is not None else (k, v), diagonal=None),
            "You append the new key and value after attending, so a new token attends to the old ones but not to "
            "itself.",
            "First append, then attend.",
            "6.8",
            variants=(lambda *a: step(*a, diagonal=lambda T, S: S - 1),),
        ),
        Misconception(
            "new keys before the old ones",
            lambda *a: step(*a, order=lambda old, new: torch.cat([new, old])),
            "You put the new keys and values before the old ones. Then the mask hides the wrong ones, and the order of "
            "the cache is not that of the text.",
            "`torch.cat` concatenates its arguments in the given order.",
            "6.8",
        ),
        Misconception(
            "no positions in the keys",
            lambda *a: step(*a, for_keys=lambda h, x: x),
            "You computed the keys from x without the position vectors, so no query can find a token by its position.",
            "Query, key and value are all computed from the sum.",
            "6.8",
        ),
        Misconception(
            "no positions in the queries",
            lambda *a: step(*a, for_queries=lambda h, x: x),
            "You computed the queries from x without the position vectors, so no token knows where it is itself.",
            "Query, key and value are all computed from the sum.",
            "6.8",
        ),
        Misconception(
            "no positions in the values",
            lambda *a: step(*a, for_values=lambda h, x: x),
            "You computed the values from x without the position vectors, so no token learns where the others are.",
            "Query, key and value are all computed from the sum.",
            "6.8",
        ),
        Misconception(
            "no positions",
            lambda *a: step(*a, for_queries=lambda h, x: x, for_keys=lambda h, x: x, for_values=lambda h, x: x),
            "You did not use `positions` at all. Attention then sees a set of tokens, not a sequence.",
            "What is added to each token before its query, key and value are computed?",
            "6.8",
        ),
        Misconception(
            "h @ w instead of h @ w.T",
            lambda *a: step(*a, project=lambda h, w: h @ w),
            "You multiplied by w, not by its transpose. A weight is (D, C), as in nn.Linear.",
            "(T, C) times what gives (T, D)?",
            "6.8",
        ),
        Misconception(
            "keys and values swapped",
            lambda x, p, w_q, w_k, w_v, cache=None: step(
                x, p, w_q, w_k, w_v, None if cache is None else cache[::-1], keep=lambda k, v, *_: (v, k)
            ),
            "Your outputs are right, but your cache is (values, keys). The caller expects (keys, values).",
            "Check the order in which you return them.",
            "6.8",
            variants=(lambda *a: step(*a, keep=lambda k, v, *_: (v, k)),),
        ),
        Misconception(
            "scores not scaled by √D",
            lambda *a: step(*a, scale=lambda x, q, k: 1),
            "You did not divide the scores by √D.",
            "A cache changes nothing about attention itself; see lesson 03.",
            "6.8",
        ),
        Misconception(
            "scores divided by √C instead of √D",
            lambda *a: step(*a, scale=lambda x, q, k: x.size(-1)),
            "You divided the scores by √C, the width of the model. A score is a sum over the D numbers of a head.",
            "What is the size of the dimension that q @ k.T sums over?",
            "6.8",
            variants=(lambda *a: step(*a, scale=lambda x, q, k: len(k)),),
        ),
        Misconception(
            "softmax over the wrong axis",
            lambda *a: step(*a, over=0),
            "Your softmax runs down the columns: it distributes each key over the queries. The weights of each "
            "query, a row of the scores, must sum to 1.",
            "The scores are (T, S + T). Which dimension is the keys?",
            "6.8",
        ),
    ],
    accepted={
        "token by token, float64": token_by_token,
        "preallocated, einsum, lists": preallocated,
        "a mask of -1e9": with_a_large_number,
    },
    forbidden=FORBIDDEN_ATTENTION,
    hints=[
        "First without a cache: positions 0 … T - 1, a causal mask (T, T). Then let the cache be one token.",
        "S is `len(cache[0])`. Which rows of `positions` belong to the new tokens? What is the shape of the scores?",
        "h = x + positions[S : S + T]; append h @ w_k.T and h @ w_v.T to the cache with `torch.cat`; scores "
        "(T, S + T); "
        "query t may see key s if s ≤ S + t.",
    ],
)


# 5. beam_search


class Tree(nn.Module):
    """A function from texts to log-probabilities with the interface of a GPT. The prompt is one token."""

    def __init__(self, next_logprobs):
        super().__init__()
        self.next_logprobs, self.lm_head = next_logprobs, nn.Identity()
        self.config = SimpleNamespace(context_length=10**6)
        self.generation_config = GenerationConfig()
        self.register_buffer("device", torch.zeros(1))

    def parameters(self, recurse: bool = True):
        return iter([self.device])

    def hidden_states(self, ids):  # (1, 1 + n) → (1, 1, V)
        return torch.tensor([[self.next_logprobs(ids[0, 1:].tolist())]])


def by_the_library(next_logprobs, beams, max_tokens, end, alpha):
    options = BeamOptions(beams=beams, length_penalty=alpha, max_new_tokens=max_tokens)
    results = beam_search_naive(Tree(next_logprobs), [0], options, stop_ids=[end])
    return [(ids, total / ((5 + len(ids)) / 6) ** alpha) for total, ids in results]


def search(next_logprobs, beams, max_tokens, end, alpha, start=1, add=lambda total, logprob: total + logprob,
           per_parent=None, places=False, all_ended=False, stop_early=False, extend_ended=False, forget=False,
           count=len, lp=lambda n, alpha: ((5 + n) / 6) ** alpha, unfinished=True, together=False, rising=False,
           greedy_stops=True, score=None, carry=None):  # fmt: skip
    """Run a beam search; each argument can replace a detail with a wrong one."""
    ranked = score or (lambda c: c[0] / lp(count(c[1]), alpha))
    beam, done = [(0.0, [])] * start, []
    for _ in range(max_tokens):
        candidates = []
        for total, ids in beam:
            new = [(add(total, lp_), [*ids, i]) for i, lp_ in enumerate(next_logprobs(ids))]
            candidates += sorted(new, key=lambda c: -c[0])[:per_parent]
        candidates.sort(key=lambda c: c[0] if rising else -c[0])
        if carry:
            candidates = [(carry(total, len(ids), alpha), ids) for total, ids in candidates]
        if extend_ended:
            beam = candidates[:beams]
            continue
        done += [c for c in (candidates if all_ended else candidates[:beams]) if c[1][-1] == end]
        if places:
            beam = [c for c in candidates[:beams] if c[1][-1] != end]
        else:
            beam = [c for c in candidates if c[1][-1] != end][:beams]
        if stop_early and len(done) >= stop_early or greedy_stops and beams == 1 and done:
            break
    done = sorted(done, key=ranked, reverse=True)[:beams]
    left = sorted(beam, key=ranked, reverse=True) if unfinished else []
    if forget:
        done = []
    best = sorted(done + left, key=ranked, reverse=True) if together else done + left
    return [(ids, ranked((total, ids))) for total, ids in best[:beams]]


def past_the_end(next_logprobs, beams, max_tokens, end, alpha):
    """Extend finished texts like any other (`end` is ignored in the context)."""
    return search(
        lambda ids: next_logprobs([i for i in ids if i != end]), beams, max_tokens, end, alpha, extend_ended=True
    )


def recursive(next_logprobs, beams, max_tokens, end, alpha):
    """Recurse, with dictionaries and heapq."""
    import heapq

    def go(beam: dict, done: dict, steps: int) -> dict:
        if not steps or (beams == 1 and done):
            return done, beam
        extended = {
            (*ids, i): total + logprob
            for ids, total in beam.items()
            for i, logprob in enumerate(next_logprobs(list(ids)))
        }
        first = heapq.nlargest(beams, extended, key=extended.get)
        done = {**done, **{ids: extended[ids] for ids in first if ids[-1] == end}}
        alive = heapq.nlargest(beams, (ids for ids in extended if ids[-1] != end), key=extended.get)
        return go({ids: extended[ids] for ids in alive}, done, steps - 1)

    done, beam = go({(): 0.0}, {}, max_tokens)
    scores = [
        sorted(((total / ((5 + len(ids)) / 6) ** alpha, ids) for ids, total in group.items()), reverse=True)
        for group in (done, beam)
    ]
    return [(list(ids), value) for value, ids in (scores[0] + scores[1])[:beams]]


def by_lists(next_logprobs, beams, max_tokens, end, alpha):
    """Two lists of pairs (log-probability, tokens)."""

    def score(candidate):
        return candidate[0] / ((5 + len(candidate[1])) / 6) ** alpha

    beam, finished = [(0.0, [])], []
    for _ in range(max_tokens):
        candidates = [(total + lp, [*ids, i]) for total, ids in beam for i, lp in enumerate(next_logprobs(ids))]
        candidates.sort(reverse=True)
        finished += [c for c in candidates[:beams] if c[1][-1] == end]
        beam = [c for c in candidates if c[1][-1] != end][:beams]
        if beams == 1 and finished:
            break
    best = [*sorted(finished, key=score, reverse=True), *beam][:beams]
    return [(c[1], score(c)) for c in best]


def in_tensors(next_logprobs, beams, max_tokens, end, alpha):
    """Keep the beam as tensors, with topk over all K · V candidates."""
    texts, totals, done = [[]], torch.zeros(1, dtype=torch.float64), []
    for n in range(1, max_tokens + 1):
        table = totals[:, None] + torch.tensor([next_logprobs(ids) for ids in texts], dtype=torch.float64)  # (K, V)
        V = table.size(1)
        best = table.flatten().topk(min(2 * beams, table.numel()))
        rows = [(value, [*texts[place // V], place % V]) for value, place in zip(best.values.tolist(),
                best.indices.tolist(), strict=True)]  # fmt: skip
        done += [(value / ((5 + n) / 6) ** alpha, ids) for value, ids in rows[:beams] if ids[-1] == end]
        alive = [row for row in rows if row[1][-1] != end][:beams]
        texts, totals = [ids for _, ids in alive], torch.tensor([value for value, _ in alive], dtype=torch.float64)
        if beams == 1 and done:
            break
    left = [(value / ((5 + max_tokens) / 6) ** alpha, ids) for value, ids in alive]
    return [(ids, value) for value, ids in (sorted(done, reverse=True) + sorted(left, reverse=True))[:beams]]


def on_a_tree(function, tree, beams, max_tokens, end, alpha):
    """Run the student's search on a table: "0 1" → probabilities of the token after the tokens 0, 1."""
    return function(lambda ids: [math.log(p) for p in tree[" ".join(map(str, ids))]], beams, max_tokens, end, alpha)


def grown(V: int, depth: int, seed: int, ending: float = 1.0, end: int = -1) -> dict[str, list[float]]:
    """Return a random tree; the token `end` ends a text, and its weight is multiplied by `ending`."""
    tree, i = {}, 0
    others = [token for token in range(V) if token != end % V]
    for length in range(depth):
        for ids in product(others, repeat=length):
            weights = (random(V, seed=1000 * seed + i) * 1.3).exp()
            weights[end] *= ending
            tree[" ".join(map(str, ids))] = (weights / weights.sum()).tolist()
            i += 1
    return tree


def closest(tree: dict[str, list[float]], alpha: float) -> float:
    """Return the smallest difference between two texts of a tree, in log-probability or in score."""
    totals, lengths = {"": 0.0}, {"": 0}
    for ids, probabilities in tree.items():
        for token, p in enumerate(probabilities):
            longer = f"{ids} {token}".strip()
            totals[longer], lengths[longer] = totals[ids] + math.log(p), lengths[ids] + 1
    scores = [total / ((5 + lengths[ids]) / 6) ** alpha for ids, total in totals.items()]
    return min(b - a for values in (sorted(totals.values()), sorted(scores)) for a, b in pairwise(values))


def beam_search_cases(seed: int) -> list[Case]:
    """Three trees in which no two texts are nearly equal."""
    generator, cases = Random(seed), []
    while len(cases) < 3:
        V, depth = generator.choice(((3, 4), (4, 3), (3, 5), (6, 2), (2, 6)))
        end, alpha = generator.randrange(V), generator.uniform(0.3, 2.5)
        tree = grown(V, depth, generator.randrange(10**6), generator.choice((0.4, 1.0, 2.0)), end)
        K = generator.randint(1 if cases else 2, 5)
        if closest(tree, alpha) > 1e-5:
            search_of = {"tree": tree, "beams": K, "max_tokens": depth, "end": end, "alpha": alpha}
            cases.append(Case(f"{V} tokens, {depth} steps", run=on_a_tree, **search_of))
    return cases


# Tokens 0 "sun", 1 "rain", 2 the end token. Greedy starts with 0; the most likely text starts with 1.
GARDEN = {"": [0.6, 0.3, 0.1], "0": [0.4, 0.35, 0.25], "1": [0.05, 0.03, 0.92]}
# The most likely first token is the end token; the text that starts with 0 has the better score if alpha is large.
ENDS = {"": [0.4, 0.1, 0.5], "0": [0.04, 0.06, 0.9], "1": [0.3, 0.2, 0.5]}
# The log-probability of its least likely text is about -170.
UNLIKELY = {"": [1e-37, 0.7, 0.3], "0": [1e-37, 1e-33, 1.0], "1": [1e-36, 1.0, 1e-32]}
# After two steps two texts have finished, both more likely than any other; but "0 0 2" will have a better score.
LATE = {
    "": [0.3, 0.2, 0.5], "0": [0.4, 0.01, 0.59], "1": [0.55, 0.25, 0.2], "0 0": [0.04, 0.06, 0.9],
    "0 1": [0.2, 0.3, 0.5], "1 0": [0.5, 0.3, 0.2], "1 1": [0.1, 0.2, 0.7],
}  # fmt: skip

beam_search = Exercise(
    name="beam_search",
    asks="Follow the K most likely texts at once, set finished ones aside, rank by length-normalized log-probability.",
    reference=by_the_library,
    section="6.9",
    cases=[
        Case("greedy on a small tree", run=on_a_tree, tree=GARDEN, beams=1, max_tokens=2, end=2, alpha=0.0),
        Case("two beams on a small tree", run=on_a_tree, tree=GARDEN, beams=2, max_tokens=2, end=2, alpha=0.0),
        Case("three beams, alpha = 1", run=on_a_tree, tree=GARDEN, beams=3, max_tokens=2, end=2, alpha=1.0),
        Case("two beams, alpha = 3", run=on_a_tree, tree=ENDS, beams=2, max_tokens=2, end=2, alpha=3.0),
        Case("one token only", run=on_a_tree, tree={"": [0.5, 0.2, 0.3]}, beams=2, max_tokens=1, end=2, alpha=1.0),
        Case("a larger tree", run=on_a_tree, tree=grown(3, 4, 20), beams=2, max_tokens=4, end=2, alpha=0.6),
        Case(
            "texts that tend to end", run=on_a_tree, tree=grown(3, 5, 2, 2.0), beams=3, max_tokens=5, end=2, alpha=1.0
        ),
        Case(
            "texts that tend to continue",
            run=on_a_tree,
            tree=grown(4, 4, 3, 0.3),
            beams=3,
            max_tokens=4,
            end=3,
            alpha=2.0,
        ),
        Case("greedy, end token first", run=on_a_tree, tree=ENDS, beams=1, max_tokens=2, end=2, alpha=3.0),
        Case(
            "greedy on a larger tree", run=on_a_tree, tree=grown(3, 5, 4, 2.0), beams=1, max_tokens=5, end=2, alpha=1.0
        ),
        Case("four beams", run=on_a_tree, tree=grown(3, 5, 5), beams=4, max_tokens=5, end=2, alpha=0.0),
        Case("a text that finishes late", run=on_a_tree, tree=LATE, beams=2, max_tokens=3, end=2, alpha=3.0),
        Case("greedy, no end in sight", run=on_a_tree, tree=GARDEN, beams=1, max_tokens=1, end=2, alpha=1.0),
        Case("more beams than texts", run=on_a_tree, tree=grown(2, 3, 6), beams=9, max_tokens=3, end=1, alpha=0.7),
        Case("token 0 ends", run=on_a_tree, tree=grown(3, 3, 7, end=0), beams=2, max_tokens=3, end=0, alpha=0.6),
        Case("token 1 ends", run=on_a_tree, tree=grown(3, 4, 8, 0.4, 1), beams=3, max_tokens=4, end=1, alpha=0.0),
        Case("thirteen tokens", run=on_a_tree, tree=grown(13, 2, 9, 2.0, 11), beams=6, max_tokens=2, end=11, alpha=1.0),
        Case("very unlikely texts", run=on_a_tree, tree=UNLIKELY, beams=9, max_tokens=2, end=2, alpha=0.5),
        Case("long texts win", run=on_a_tree, tree=grown(2, 7, 10, 1.5), beams=2, max_tokens=7, end=1, alpha=3.0),
    ],
    random_cases=beam_search_cases,
    misconceptions=[
        Misconception(
            "probabilities added instead of log-probabilities",
            lambda *a: search(*a, add=lambda total, logprob: total + math.exp(logprob)),
            "You added up probabilities. The probability of a text is a product; the logarithms are what you add.",
            "next_logprobs already returns logarithms. Why?",
            "6.9",
        ),
        Misconception(
            "no length normalization",
            lambda *a: search(*a, lp=lambda n, alpha: 1.0),
            "You ranked by the log-probability itself, whatever alpha is. Every token makes it smaller, so short texts "
            "win.",
            "What do you divide the log-probability by to get the score?",
            "6.9",
        ),
        Misconception(
            "length as the length penalty",
            lambda *a: search(*a, lp=lambda n, alpha: n**alpha),
            "You divided by n to the power of alpha. The penalty here is ((5 + n) / 6) to the power of alpha, which "
            "is milder for short texts.",
            "Look at the formula again.",
            "6.9",
        ),
        Misconception(
            "multiplied by the length penalty",
            lambda *a: search(*a, lp=lambda n, alpha: ((5 + n) / 6) ** -alpha),
            "You multiplied by the penalty. A log-probability is negative: multiplied by more than 1 it becomes "
            "smaller, and long texts are penalized twice.",
            "Divide.",
            "6.9",
        ),
        Misconception(
            "end token not counted in the length",
            lambda next_logprobs, beams, max_tokens, end, alpha: search(
                next_logprobs, beams, max_tokens, end, alpha, count=lambda ids: sum(i != end for i in ids)
            ),
            "You did not count the end token in the length of a text. Its probability is in the numerator, so it "
            "counts.",
            "n is the number of tokens, including `end`.",
            "6.9",
        ),
        Misconception(
            "length normalization during the search",
            lambda *a: search(*a, carry=lambda total, n, alpha: total / ((5 + n) / 6) ** alpha, lp=lambda n, alpha: 1),
            "You divided by the penalty in every step and continued with the result, so the early tokens are divided "
            "many times.",
            "The beam carries plain log-probabilities; compute the scores when you rank the texts.",
            "6.9",
        ),
        Misconception(
            "finished texts extended",
            past_the_end,
            "You continued after the end token: finished texts stay in the beam and grow.",
            "A candidate that ends with `end` leaves the beam.",
            "6.9",
            variants=(lambda *a: search(*a, extend_ended=True),),
        ),
        Misconception(
            "finished texts dropped",
            lambda *a: search(*a, forget=True, greedy_stops=False),
            "You removed finished texts from the beam but did not keep them anywhere: only unfinished ones are "
            "returned.",
            "Where do you set them aside?",
            "6.9",
            variants=(lambda *a: search(*a, forget=True),),
        ),
        Misconception(
            "search stops at the first finished text",
            lambda *a: search(*a, stop_early=True),
            "You stopped as soon as one text was finished. Others that are still in the beam may end with a better "
            "score.",
            "With more than one beam the search continues for `max_tokens` steps.",
            "6.9",
            variants=(lambda *a: search(*a, stop_early=True, unfinished=False),),
        ),
        Misconception(
            "search stops at K finished texts",
            lambda *a: search(*a, stop_early=a[1]),
            "You stopped as soon as K texts were finished. Many programs do, to save time; but a text that is still in "
            "the beam may end with a better score than one of these.",
            "With more than one beam the search continues for `max_tokens` steps.",
            "6.9",
        ),
        Misconception(
            "log-probabilities returned instead of scores",
            lambda *a: [(ids, value * ((5 + len(ids)) / 6) ** a[4]) for ids, value in search(*a)],
            "Your texts are right, and in the right order, but you returned each with its log-probability instead of "
            "its score.",
            "What did you sort by at the end?",
            "6.9",
        ),
        Misconception(
            "search starts with K empty texts",
            lambda *a: search(*a, start=a[1]),
            "You started with K copies of the empty text. They all have the same continuations, so the beam is full "
            "of duplicates and you search as if K were 1.",
            "How many different texts are there before the first token?",
            "6.9",
        ),
        Misconception(
            "only the best token of each text kept",
            lambda *a: search(*a, per_parent=1),
            "You extended each text of the beam by its most likely token only: that is greedy decoding from one "
            "beginning.",
            "The K best of *all* candidates: two of them may extend the same text.",
            "6.9",
        ),
        Misconception(
            "finished texts occupy the beam",
            lambda *a: search(*a, places=True),
            "Your beam shrinks with every text that finishes. Here the next beam is the first K candidates that are "
            "not finished.",
            "Read step 3 again.",
            "6.9",
        ),
        Misconception(
            "all finished candidates kept",
            lambda *a: search(*a, all_ended=True),
            "You set aside all candidates that end. Only those among the first K candidates count; otherwise the "
            "search fills up with short, improbable texts.",
            "Read step 2 again.",
            "6.9",
        ),
        Misconception(
            "unfinished texts not returned",
            lambda *a: search(*a, unfinished=False),
            "If fewer than K texts have finished, the best texts of the last beam fill up the list; you left them out.",
            "What does the docstring say about the result?",
            "6.9",
        ),
        Misconception(
            "finished and unfinished texts ranked together",
            lambda *a: search(*a, together=True),
            "You ranked unfinished texts together with finished ones. A text that has not ended is incomplete: it "
            "comes after all finished ones.",
            "First the finished ones, then the others.",
            "6.9",
        ),
        Misconception(
            "sorted in ascending order",
            lambda *a: search(*a, rising=True),
            "You sorted in ascending order and followed the K least likely texts.",
            "`sort` is ascending by default.",
            "6.9",
        ),
        Misconception(
            "greedy search does not stop",
            lambda *a: search(*a, greedy_stops=False),
            "With one beam, your search continues after its text has ended. Greedy decoding stops when the end token "
            "is the most likely one.",
            "The docstring has a sentence about K = 1.",
            "6.9",
        ),
    ],
    accepted={
        "recursion, dictionaries, heapq": recursive,
        "tensors and topk": in_tensors,
        "plain lists": by_lists,
    },
    hints=[
        "Write it for K = 1 first: one text, its most likely token, stop at the end token.",
        "Keep two lists of pairs (log-probability, tokens): the beam and the finished texts. In each step, build the "
        "list of all candidates and sort it.",
        "finished += the texts of candidates[:K] that end; beam = [the candidates that do not end][:K]. After the "
        "loop, sort the finished texts by score, and fill up from the beam.",
    ],
)


# 6. beams_lose


def verdict(student) -> str:
    """Describe in one sentence how good the student's tree is."""
    first, second = student()
    if not (torch.is_tensor(first) and torch.is_tensor(second) and first.shape == (3,) and second.shape == (3, 3)):
        return "the two are not tensors (3,) and (3, 3)"
    first, second = first.double(), second.double()
    if not (first.isfinite().all() and second.isfinite().all() and (first >= 0).all() and (second >= 0).all()):
        return "there is a negative number, an infinity or a NaN among the probabilities"
    if abs(float(first.sum()) - 1) > 1e-4:
        return "first does not sum to 1"
    if (second.sum(dim=1) - 1).abs().max() > 1e-4:
        return "a row of second does not sum to 1"
    order = first.sort(descending=True)
    if (order.values[:-1] - order.values[1:]).min() < 1e-6:
        return "two numbers of first are equal"
    texts = first[:, None] * second
    greedy, two, best = (float(texts[order.indices[:n]].max()) for n in (1, 2, 3))
    if two - greedy < 0.02 - 1e-6 and best - two < 0.02 - 1e-6:
        return "greedy finds the most likely text, or nearly"
    if two - greedy < 0.02 - 1e-6:
        return "two beams find nothing better than greedy"
    return "fine" if best - two >= 0.02 - 1e-6 else "two beams find the most likely text, or nearly"


def tree(first: list, *second: list) -> tuple[Tensor, Tensor]:
    return torch.tensor(first), torch.tensor(second)


EVEN = [1 / 3, 1 / 3, 1 / 3]
GOOD = tree([0.4, 0.35, 0.25], EVEN, [0.5, 0.3, 0.2], [0.0, 1.0, 0.0])

beams_lose = Exercise(
    name="beams_lose",
    asks="Find a tree where greedy loses to two beams, and two beams lose to the most likely text.",
    reference=lambda: GOOD,
    section="6.9",
    cases=[Case("your tree", judge=verdict)],
    misconceptions=[
        Misconception(
            "greedy decoding wins",
            lambda: tree([0.6, 0.3, 0.1], [0.8, 0.1, 0.1], EVEN, EVEN),
            "Greedy decoding finds the most likely text here (or one that is less than 0.02 behind).",
            "After the most likely first token the model should be uncertain, so that no text gets a high probability.",
            "6.9",
        ),
        Misconception(
            "two beams are enough",
            lambda: tree([0.5, 0.4, 0.1], EVEN, [1.0, 0.0, 0.0], EVEN),
            "Greedy decoding loses, but the most likely text starts with one of the two most likely first tokens, so "
            "two beams find it (or one that is less than 0.02 behind).",
            "The most likely text has to start with the token that two beams drop.",
            "6.9",
        ),
        Misconception(
            "two beams are no better than greedy",
            lambda: tree([0.4, 0.35, 0.25], EVEN, EVEN, [0.0, 1.0, 0.0]),
            "The most likely text is missed, but what two beams find is the greedy text, or better by less than 0.02.",
            "After the second most likely first token, the model should be more certain than after the most likely "
            "one.",
            "6.9",
        ),
        Misconception(
            "rows not normalized",
            lambda: (GOOD[0], GOOD[1].T.contiguous()),
            "A row of your `second` does not sum to 1. Row i is the distribution of the second token, *given* that i "
            "came first.",
            "Did you swap rows and columns? Or have you already multiplied by first? The check does that when it "
            "compares texts.",
            "6.9",
            variants=(lambda: (GOOD[0], GOOD[0][:, None] * GOOD[1]),),
        ),
        Misconception(
            "first not normalized",
            lambda: (2 * GOOD[0], GOOD[1]),
            "The numbers of `first` do not sum to 1.",
            "Divide by their sum.",
            "6.9",
        ),
        Misconception(
            "log-probabilities instead of probabilities",
            lambda: (GOOD[0].log(), GOOD[1].clamp(min=1e-9).log()),
            "There is a negative number, an infinity or a NaN among your probabilities. Are they logarithms?",
            "Return the probabilities themselves.",
            "6.9",
        ),
        Misconception(
            "tie between first tokens",
            lambda: tree([0.4, 0.3, 0.3], EVEN, [0.6, 0.2, 0.2], [0.0, 1.0, 0.0]),
            "Two numbers of `first` are equal, so the order of the tokens decides which of them two beams keep.",
            "Make the three differ a little.",
            "6.9",
        ),
        Misconception(
            "lists instead of tensors",
            lambda: (GOOD[0].tolist(), GOOD[1].tolist()),
            "The two must be tensors of shape (3,) and (3, 3).",
            "torch.tensor(…)",
            "6.9",
        ),
    ],
    accepted={
        "in another order, float64": lambda: (GOOD[0][[2, 0, 1]].double(), GOOD[1][[2, 0, 1]].double()),
        "nearly certain endings": lambda: list(
            tree([0.36, 0.33, 0.31], [0.5, 0.5, 0.0], [0.8, 0.1, 0.1], [0.0, 0.0, 1.0])
        ),
    },
    hints=[
        "What does a first token need so that greedy decoding picks it, although it leads to no probable text?",
        "A first token with probability 0.4 leads to texts of 0.13 if three tokens are equally likely after it. One "
        "with 0.25 leads to a text of 0.25 if only one token is possible after it.",
        "Make the three first tokens nearly equally likely, and the model more certain of the second token the less "
        "likely the first one was.",
    ],
)

EXERCISES = [
    temperature,
    min_p,
    top_p,
    cached_attention,
    beam_search,
    beams_lose,
    WrittenAnswer(
        "WHY_NOT_MOST_LIKELY",
        "Why do two beams fail, how many would be safe, and why would we not want the most likely story?", 50,
        ["How many first tokens are there? And what do a hundred tosses of a biased coin look like?"], "6.3",
    ),
    WrittenAnswer(
        "EXPERIMENT", "Which rule did you try, what did you predict, what happened, is it more than luck?", 60,
        ["One change at a time; three seeds say more than one."], "6.6",
    ),
]  # fmt: skip
