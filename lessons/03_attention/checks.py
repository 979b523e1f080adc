"""The checks of lesson 03, and the known mistakes."""

import math
from random import Random

import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import nn as library

READY_MADE = {
    "torch.nn.functional.scaled_dot_product_attention": "it is the ready-made attention; write the formula yourself",
    "torch.nn.functional.multi_head_attention_forward": "it is the ready-made attention; write the formula yourself",
    "torch.nn.MultiheadAttention": "it is the ready-made attention; write the formula yourself",
    "torch.nn.attention.flex_attention.flex_attention": "it is the ready-made attention; write the formula yourself",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list) -> Tensor:
    """A small tensor (1, …) of floating-point numbers."""
    return torch.tensor(rows, dtype=torch.float32)


def sizes(seed: int, n: int) -> list[tuple[int, int, int]]:
    """n different triples: two sizes and a seed."""
    draw = Random(seed)
    return [(length, draw.randint(1, 4), draw.randrange(10**6)) for length in draw.sample(range(6, 16), n)]


def more_pasts(seed: int) -> list[Case]:
    return [Case(f"{T} positions", x=random(B, T, 3, seed=s)) for T, B, s in sizes(seed, 3)]


def more_masks(seed: int) -> list[Case]:
    return [Case(f"{T} queries, {T + n} keys", T=T, S=T + n) for T, n, _ in sizes(seed, 3)]


def more_attentions(seed: int) -> list[Case]:
    cases = []
    for S, B, s in sizes(seed, 3):
        q, k, v = random(B, 2, 4, 6, seed=s), random(B, 2, S, 6, seed=s + 1), random(B, 2, S, 6, seed=s + 2)
        mask = random(B, 1, 4, S, seed=s + 3) > 0
        mask[..., 0] = True
        cases.append(Case(f"{S} keys", q=q, k=k, v=v, mask=mask))
    return cases


def more_heads(seed: int) -> list[Case]:
    cases = []
    for T, H, s in sizes(seed, 3):
        weights = {n: random(2 * H, 2 * H, seed=s + i) for i, n in enumerate(("w_q", "w_k", "w_v", "w_o"))}
        cases.append(Case(f"{T} positions, {H} heads", x=random(2, T, 2 * H, seed=s + 4), **weights, n_heads=H))
    return cases


# 1. average_past


def past_by_attention(x: Tensor) -> Tensor:
    """The mean of the past is attention whose scores are all equal."""
    nothing = torch.zeros_like(x)[:, None]
    return library.naive_attention(nothing, nothing, x[:, None], causal=True)[0][:, 0]


def exponential_average(x: Tensor) -> Tensor:
    rows = [x[:, 0]]
    for t in range(1, x.size(1)):
        rows.append((rows[-1] + x[:, t]) / 2)
    return torch.stack(rows, dim=1)


def strict_past(x: Tensor) -> Tensor:
    sums = x.cumsum(dim=1) - x
    return sums / torch.arange(x.size(1)).clamp(min=1)[:, None]


def past_by_loops(x: Tensor) -> Tensor:
    return torch.stack([torch.stack([row[: t + 1].mean(dim=0) for t in range(len(row))]) for row in x])


def past_by_matrix(x: Tensor) -> Tensor:
    lower = torch.ones(x.size(1), x.size(1), dtype=torch.float64, device=x.device).tril()
    return torch.einsum("ts,bsc->btc", lower / lower.sum(dim=1, keepdim=True), x.double())


counts = lambda x: torch.arange(1, x.size(1) + 1)[:, None]  # noqa: E731  (T, 1): 1, 2, 3, …

average_past = Exercise(
    name="average_past",
    asks="Replace each position with the mean of all positions up to and including itself.",
    reference=past_by_attention,
    section="3.2",
    gradients=True,
    cases=[
        Case("three positions, one feature", x=tensor([[[2], [4], [9]]])),
        Case("one position alone", x=tensor([[[5, 7]]])),
        Case("four positions, two features", x=tensor([[[1, 8], [3, 0], [5, 1], [7, 3]]])),
        Case("two sequences", x=tensor([[[1, 0], [2, 6], [6, 3]], [[4, 4], [0, 2], [2, 0]]])),
        Case("random numbers", x=random(2, 7, 3)),
        Case("twenty positions", x=random(1, 20, 2, seed=1)),
        Case("a transposed tensor", x=random(3, 5, 2, seed=2).transpose(0, 1)),
        Case("large numbers, three sequences of one feature", x=1000 * random(3, 9, 1, seed=3)),
    ],
    random_cases=more_pasts,
    misconceptions=[
        Misconception(
            "the future is averaged too",
            lambda x: x.mean(dim=1, keepdim=True).expand_as(x),
            "You took the mean over all positions, so each one sees what comes after it.",
            "For position t, only rows 0 … t count.",
            "3.2",
        ),
        Misconception(
            "a position leaves itself out",
            strict_past,
            "You averaged only the positions before each position, without the position itself.",
            "x[:t] ends before t; x[:t + 1] includes it.",
            "3.2",
        ),
        Misconception(
            "a sum, not a mean",
            lambda x: x.cumsum(dim=1),
            "You added up the past and did not divide: late positions get larger and larger vectors.",
            "How many terms does the sum at position t have?",
            "3.2",
        ),
        Misconception(
            "divided by T everywhere",
            lambda x: x.cumsum(dim=1) / x.size(1),
            "You divided every sum by T, but the sum at position t has only t + 1 terms.",
            "The divisor grows with t: 1, 2, 3, …",
            "3.2",
        ),
        Misconception(
            "divided by t, not by t + 1",
            lambda x: x.cumsum(dim=1) / torch.arange(x.size(1))[:, None],
            "You divided the sum at position t by t. Positions are counted from 0, so it has t + 1 terms; and at the "
            "first position you divided by zero.",
            "How many terms does the sum at position 0 have?",
            "3.2",
        ),
        Misconception(
            "the divisors run along the features",
            lambda x: x.cumsum(dim=1) / torch.arange(1, x.size(1) + 1),
            "Your divisors have shape (T,) and the sums (B, T, C). Broadcasting aligns shapes from the right, so the "
            "divisors are matched with the features, not the positions.",
            "What shape must the divisors have to line up with dimension 1? `[:, None]` adds a dimension at the end.",
            "3.2",
        ),
        Misconception(
            "time runs backwards",
            lambda x: x.flip(1).cumsum(dim=1).flip(1) / counts(x).flip(0),
            "You took the mean of each position and everything after it: the future instead of the past.",
            "An upper triangle looks forward, a lower one back.",
            "3.2",
        ),
        Misconception(
            "averaged over features",
            lambda x: x.cumsum(dim=2) / torch.arange(1, x.size(2) + 1),
            "You averaged along the last dimension, the features; the positions are dimension 1.",
            "x is (B, T, C). Which dimension is time?",
            "3.2",
        ),
        Misconception(
            "averaged over the batch",
            lambda x: x.cumsum(dim=0) / torch.arange(1, x.size(0) + 1)[:, None, None],
            "You averaged along dimension 0: this mixes different sequences.",
            "x is (B, T, C). Which dimension is time?",
            "3.2",
        ),
        Misconception(
            "each step halves the past",
            exponential_average,
            "You averaged each position with the mean so far. That gives the newest position a weight of one half, "
            "the one before it a quarter, and so on; here, all positions should count equally.",
            "Keep a running sum instead of a running mean, and divide at the end.",
            "3.2",
        ),
    ],
    accepted={
        "cumulative sum": lambda x: x.cumsum(dim=1) / counts(x),
        "loops": past_by_loops,
        "a matrix of weights, einsum, float64": past_by_matrix,
        "softmax of a mask": lambda x: (
            torch.softmax(
                torch.zeros(x.size(1), x.size(1)).masked_fill(torch.ones(x.size(1), x.size(1)).triu(1).bool(), -1e30),
                -1,
            )
            @ x
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Start with one position: what is the result at t = 2, in terms of x[:, 0], x[:, 1] and x[:, 2]?",
        "A running sum (`cumsum`) along the right dimension is almost the answer.",
        "Divide the running sum at position t by t + 1. `torch.arange(1, T + 1)` gives the divisors; think about its "
        "shape.",
    ],
)


# 2. causal_mask


def lower(T: int, S: int, diagonal: int) -> Tensor:
    return torch.ones(T, S, dtype=torch.bool).tril(diagonal)


causal_mask = Exercise(
    name="causal_mask",
    asks="Say which of S keys each of the last T positions may attend to: True up to and including its own.",
    reference=library.causal_mask,
    section="3.5",
    cases=[
        Case("two queries, three keys", T=2, S=3),
        Case("as many queries as keys", T=3, S=3),
        Case("one query at the end", T=1, S=4),
        Case("one query, one key", T=1, S=1),
        Case("three queries, five keys", T=3, S=5),
        Case("ten queries, twelve keys", T=10, S=12),
        Case("sixty queries, ninety keys", T=60, S=90),
    ],
    random_cases=more_masks,
    misconceptions=[
        Misconception(
            "True means hidden",
            lambda T, S: ~lower(T, S, S - T),
            "Your mask is inverted: here, True means that a key may be attended to.",
            "Read the convention in the docstring again. (torch.nn.MultiheadAttention has the opposite one.)",
            "3.5",
        ),
        Misconception(
            "an upper triangle",
            lambda T, S: torch.ones(T, S, dtype=torch.bool).triu(S - T),
            "Each query sees its own position and everything after it: the future instead of the past.",
            "Draw the matrix with queries as rows and keys as columns. Where is the past of a row?",
            "3.5",
        ),
        Misconception(
            "no query sees itself",
            lambda T, S: lower(T, S, S - T - 1),
            "You are off by one: a query does not see its own position, and the first query may see nothing at all.",
            "May attend *up to and including* its own position: is that < or ≤?",
            "3.5",
        ),
        Misconception(
            "one step into the future",
            lambda T, S: lower(T, S, S - T + 1),
            "You are off by one: each query sees the position after its own, which is exactly the token it has to "
            "predict.",
            "What is the last key that query 0 may see? At which position is query 0?",
            "3.5",
        ),
        Misconception(
            "queries are at the beginning",
            lambda T, S: lower(T, S, 0),
            "You let query t see keys 0 … t. That is right when T = S; here the queries are at the last T positions.",
            "Query t is at position t + S - T.",
            "3.5",
        ),
        Misconception(
            "shifted the wrong way",
            lambda T, S: lower(T, S, T - S),
            "You shifted the diagonal by T - S, to the left; the queries are at the end, so it must shift to the "
            "right.",
            "Try it for one query and four keys: it is at the last position and sees every key.",
            "3.5",
        ),
        Misconception(
            "everything is allowed",
            lambda T, S: torch.ones(T, S, dtype=torch.bool),
            "Your mask hides nothing, so every query sees the future.",
            "Query t may see the keys s with s ≤ t + S - T.",
            "3.5",
        ),
        Misconception(
            "rows and columns swapped",
            lambda T, S: lower(T, S, S - T).T.contiguous(),
            "Your mask has a row for each key; it should have a row for each query.",
            "The scores q kᵀ have shape (T, S), and the mask has the same shape.",
            "3.5",
        ),
        Misconception(
            "a table of fixed size",
            lambda T, S: lower(16, 16, 0)[S - T : S, :S],
            "You cut the mask out of a table that was made once, for a certain length: for longer texts it is too "
            "small.",
            "Make the mask for the T and S that you are given.",
            "3.5",
            variants=(
                lambda T, S: lower(8, 8, 0)[S - T : S, :S],
                lambda T, S: lower(32, 32, 0)[S - T : S, :S],
                lambda T, S: lower(64, 64, 0)[S - T : S, :S],
                lambda T, S: lower(64, 64, S - T)[:T, :S],
            ),
        ),
    ],
    accepted={
        "comparison of positions": lambda T, S: torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None],
        "list of lists": lambda T, S: torch.tensor([[s <= t + S - T for s in range(S)] for t in range(T)]),
        "the last rows of a square": lambda T, S: torch.ones(S, S).tril().bool()[S - T :],
        "not the upper triangle": lambda T, S: ~torch.triu(torch.ones(T, S), diagonal=S - T + 1).bool(),
    },
    hints=[
        "Write the mask for T = S = 3 on paper: three rows (queries), three columns (keys).",
        "Now cross out the first row: that is the mask for T = 2, S = 3. Why?",
        "Query t is at position t + S - T and may see key s if s ≤ t + S - T. `torch.arange`, or `tril(diagonal=…)`.",
    ],
)


# 3. attention


def formula(q, k, v, mask=None, scale=None, dim=-1, scores_mask=None, weights_mask=None):
    """softmax(scale · q kᵀ) v in which every detail can be wrong."""
    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.size(-1)) if scale is None else scale)
    if mask is not None and scores_mask is not None:
        scores = scores_mask(scores, mask)
    weights = scores.softmax(dim=dim)
    if mask is not None and weights_mask is not None:
        weights = weights_mask(weights, mask)
    return weights @ v


def hide(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


def hide_by_infinity(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -math.inf)


def by_loops(q, k, v, mask=None):
    B, H, T, D = q.shape
    S = k.size(2)
    allowed = torch.ones(B, H, T, S, dtype=torch.bool) if mask is None else mask.expand(B, H, T, S)
    out = []
    for b in range(B):
        for h in range(H):
            for t in range(T):
                keys = [s for s in range(S) if allowed[b, h, t, s]]
                scores = [torch.exp((q[b, h, t] * k[b, h, s]).sum() / D**0.5) for s in keys]
                out.append(sum(e * v[b, h, s] for e, s in zip(scores, keys, strict=True)) / sum(scores))
    return torch.stack(out).view(B, H, T, D)


def by_einsum(q, k, v, mask=None):
    scores = torch.einsum("bhtd,bhsd->bhts", q.double(), k.double()) / q.size(-1) ** 0.5
    bias = torch.zeros_like(scores) if mask is None else torch.zeros_like(scores).masked_fill(~mask, -math.inf)
    return torch.einsum("bhts,bhsd->bhtd", torch.softmax(scores + bias, dim=-1), v.double())


def by_exponentials(q, k, v, mask=None):
    weights = ((q / q.size(-1) ** 0.25) @ (k / q.size(-1) ** 0.25).mT).exp()
    weights = weights if mask is None else weights * mask
    return weights @ v / weights.sum(dim=-1, keepdim=True)


def keys_first(q, k, v, mask=None):
    scores = k @ q.transpose(2, 3) / math.sqrt(q.size(3))  # (B, H, S, T)
    if mask is not None:
        scores = torch.where(mask.expand(*q.shape[:3], k.size(2)).transpose(2, 3), scores, torch.tensor(-1e30))
    return (v.transpose(2, 3) @ scores.softmax(dim=2)).transpose(2, 3)


ONE_QUERY = {
    "q": tensor([[[[2, 0, 0, 0]]]]),
    "k": tensor([[[[1, 0, 0, 0], [-1, 0, 0, 0]]]]),
    "v": tensor([[[[6, 0, 0, 0], [0, 6, 0, 0]]]]),
}
TWO_QUERIES = {
    "q": tensor([[[[2, 0], [0, 2]]]]),
    "k": tensor([[[[1, 0], [0, 1], [1, 1]]]]),
    "v": tensor([[[[6, 0], [0, 6], [3, 3]]]]),
}
RANDOM = {"q": random(2, 3, 5, 4, seed=1), "k": random(2, 3, 7, 4, seed=2), "v": random(2, 3, 7, 4, seed=3)}
SQUARE = {"q": random(1, 2, 4, 4, seed=4), "k": random(1, 2, 4, 4, seed=5), "v": random(1, 2, 4, 4, seed=6)}


def one_allowed(*shape: int) -> Tensor:
    """A random mask in which every query may attend to at least one key."""
    mask = random(*shape, seed=sum(shape)) > 0
    mask[..., -1] = True
    return mask


def hidden_by(low: float):
    """Attention whose hidden scores are a finite number."""
    return lambda q, k, v, mask=None: formula(q, k, v, mask, scores_mask=lambda s, m: s.masked_fill(~m, low))


attention = Exercise(
    name="attention",
    asks="Compute softmax(q kᵀ / √D) v; keys whose mask is False get weight 0.",
    reference=lambda q, k, v, mask=None: library.naive_attention(q, k, v, mask)[0],
    section="3.3",
    gradients=True,
    cases=[
        Case("one query, two keys", **ONE_QUERY),
        Case("two queries, three keys", **TWO_QUERIES),
        Case("the first of two keys masked", **ONE_QUERY, mask=torch.tensor([[False, True]])),
        Case(
            "two queries, three keys, causal",
            **TWO_QUERIES,
            mask=torch.tensor([[True, True, False], [True, True, True]]),
        ),
        Case("batch and heads", **RANDOM),
        Case("batch and heads, one mask for each row of the batch", **RANDOM, mask=random(2, 1, 1, 7, seed=7) > -0.3),
        Case("four queries, four keys, causal", **SQUARE, mask=torch.ones(4, 4, dtype=torch.bool).tril()),
        Case("large scores", q=SQUARE["q"] * 5, k=SQUARE["k"] * 3, v=SQUARE["v"]),
        Case(
            "the allowed key has a very negative score",
            **{**ONE_QUERY, "k": ONE_QUERY["k"] * 25},
            mask=torch.tensor([[False, True]]),
        ),
        Case(
            "the allowed key has a score of -80",
            **{**ONE_QUERY, "k": ONE_QUERY["k"] * 80},
            mask=torch.tensor([[False, True]]),
        ),
        Case("one query, one key, one feature", q=tensor([[[[3]]]]), k=tensor([[[[-2]]]]), v=tensor([[[[7]]]])),
        Case("one mask for all: (S,)", **RANDOM, mask=torch.tensor([True, False, True, True, False, True, False])),
        Case("a mask of its own for each head: (H, 1, S)", **RANDOM, mask=one_allowed(3, 1, 7)),
        Case("a mask of its own for each query: (B, H, T, S)", **RANDOM, mask=one_allowed(2, 3, 5, 7)),
        Case("a mask (1, 1) that allows everything", **RANDOM, mask=torch.tensor([[True]])),
        Case("each query may attend to one key only", **SQUARE, mask=torch.eye(4, dtype=torch.bool).flip(0)),
        Case(
            "transposed tensors",
            **{name: random(2, 4, 3, 5, seed=8 + i).transpose(1, 2) for i, name in enumerate("qkv")},
        ),
    ],
    random_cases=more_attentions,
    misconceptions=[
        Misconception(
            "scores are not scaled",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scale=1.0, scores_mask=hide),
            "You did not divide the scores by √D. They grow with the head size, so the softmax saturates and its "
            "gradient vanishes.",
            "Look at the formula again: what is under q kᵀ?",
            "3.4",
        ),
        Misconception(
            "scores are divided by D",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scale=1 / q.size(-1), scores_mask=hide),
            "You divided by D, not by √D. The scores of wide heads are then nearly zero, so they attend to every key "
            "equally.",
            "The variance of a sum of D terms is D. What is its standard deviation?",
            "3.4",
        ),
        Misconception(
            "scores are multiplied by √D",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scale=math.sqrt(q.size(-1)), scores_mask=hide),
            "You multiplied by √D, but the formula divides by it.",
            "Should wide heads have larger scores or smaller ones?",
            "3.4",
        ),
        Misconception(
            "scaled by the number of keys",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scale=1 / math.sqrt(k.size(-2)), scores_mask=hide),
            "You divided by √S, the square root of the number of keys; D is the width of a query.",
            "A score is a sum over the features of one query and one key. How many terms does it have?",
            "3.4",
        ),
        Misconception(
            "softmax over the queries",
            lambda q, k, v, mask=None: formula(q, k, v, mask, dim=-2, scores_mask=hide),
            "You took the softmax along the queries (dim -2). The weights of one query over all keys then do not sum "
            "to 1.",
            "Scores have shape (B, H, T, S). Along which dimension are the weights of one query?",
            "3.3",
            variants=(lambda q, k, v, mask=None: formula(q, k, v, mask, dim=-2, scores_mask=hide_by_infinity),),
        ),
        Misconception(
            "softmax over the heads",
            lambda q, k, v, mask=None: formula(q, k, v, mask, dim=1, scores_mask=hide),
            "You took the softmax along dimension 1. That would be right for scores of shape (T, S); here they are "
            "(B, H, T, S), and dimension 1 is the heads.",
            "Count the dimension from the end; then it is right for any batch size and number of heads.",
            "3.3",
            variants=(lambda q, k, v, mask=None: formula(q, k, v, mask, dim=1, scores_mask=hide_by_infinity),),
        ),
        Misconception(
            "softmax over the batch",
            lambda q, k, v, mask=None: formula(q, k, v, mask, dim=0, scores_mask=hide),
            "You took the softmax along dimension 0, the batch: the weights of one query over all keys then do not sum "
            "to 1, and with a single sequence every weight is 1.",
            "Count the dimension from the end; then it is right for any batch size.",
            "3.3",
            variants=(lambda q, k, v, mask=None: formula(q, k, v, mask, dim=0, scores_mask=hide_by_infinity),),
        ),
        Misconception(
            "k.T reverses all four dimensions",
            lambda q, k, v, mask=None: q @ k.permute(3, 2, 1, 0) @ v,
            "`.T` is for matrices. With four dimensions, it reverses all of them: (B, H, S, D) becomes (D, S, H, B), "
            "and the product with q fails or mixes batches.",
            "Swap only the last two dimensions: `transpose(-2, -1)`.",
            "3.3",
        ),
        Misconception(
            "scaled after the softmax",
            lambda q, k, v, mask=None: formula(q, k, v / math.sqrt(q.size(-1)), mask, scale=1.0, scores_mask=hide),
            "You divided the weights by √D, after the softmax. They no longer sum to 1, and the softmax saw scores "
            "that are too large.",
            "What is inside the parentheses of the formula?",
            "3.4",
        ),
        Misconception(
            "the mask is ignored",
            lambda q, k, v, mask=None: formula(q, k, v, mask),
            "Your code is right without a mask, but it ignores the mask.",
            "Keys whose mask is False must get weight 0.",
            "3.5",
        ),
        Misconception(
            "the mask is inverted",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scores_mask=lambda s, m: hide(s, ~m)),
            "You hid the keys whose mask is True. Here, True means: may attend.",
            "Which entries of the scores does `masked_fill(mask, …)` fill?",
            "3.5",
            variants=(
                lambda q, k, v, mask=None: formula(q, k, v, mask, scores_mask=lambda s, m: hide_by_infinity(s, ~m)),
            ),
        ),
        Misconception(
            "masked after the softmax",
            lambda q, k, v, mask=None: formula(q, k, v, mask, weights_mask=lambda w, m: w * m),
            "You set the weights of hidden keys to zero after the softmax. The remaining weights no longer sum to 1, "
            "because the hidden keys still took part in the softmax.",
            "Which score makes the softmax itself give weight 0?",
            "3.5",
        ),
        Misconception(
            "hidden scores are set to zero",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scores_mask=lambda s, m: s * m),
            "You set the hidden scores to 0. But exp(0) = 1: a score of zero is an ordinary score, not 'no attention'.",
            "Which number x has exp(x) = 0?",
            "3.5",
        ),
        Misconception(
            "the mask is added to the scores",
            lambda q, k, v, mask=None: formula(q, k, v, mask, scores_mask=lambda s, m: s + m),
            "You added the mask to the scores: that multiplies the weight of an allowed key by e, and hides nothing.",
            "An additive mask contains 0 and -inf. This one contains True and False: `masked_fill` or `torch.where`.",
            "3.5",
        ),
        Misconception(
            "no softmax",
            lambda q, k, v, mask=None: (
                (q @ k.mT / math.sqrt(q.size(-1))).masked_fill(torch.tensor(False) if mask is None else ~mask, 0.0) @ v
            ),
            "You used the scores themselves as weights. They may be negative, and do not sum to 1.",
            "What turns arbitrary numbers into positive ones that sum to 1?",
            "3.3",
        ),
        Misconception(
            "weights, not values",
            lambda q, k, v, mask=None: formula(
                q, k, torch.eye(k.size(-2)).expand(*k.shape[:2], -1, -1), mask, scores_mask=hide
            ),
            "You returned the weights. The result is the mean of the values with these weights.",
            "One matrix product with v is missing.",
            "3.3",
        ),
        Misconception(
            "the keys are averaged",
            lambda q, k, v, mask=None: formula(q, k, k, mask, scores_mask=hide),
            "You took the weighted mean of the keys. Keys decide where to look; values are what is returned.",
            "Where is v in your code?",
            "3.3",
        ),
        Misconception(
            "hidden keys keep a little weight",
            hidden_by(-15.0),
            "You gave the hidden scores a number that is not low enough. Where the allowed scores are lower still, the "
            "hidden keys get nearly all of the weight.",
            "Which score makes the weight 0, whatever the other scores are?",
            "3.5",
            variants=tuple(hidden_by(low) for low in (-1.0, -5.0, -10.0, -20.0, -50.0)),
        ),
    ],
    accepted={
        "loops": by_loops,
        "einsum, float64, additive mask": by_einsum,
        "keys before queries": keys_first,
        "scale inside q, log-softmax": lambda q, k, v, mask=None: (
            torch.log_softmax(
                ((q * q.size(-1) ** -0.5) @ k.mT).masked_fill(torch.tensor(False) if mask is None else ~mask, -1e9), -1
            ).exp()
            @ v
        ),
        "torch.where with -inf": lambda q, k, v, mask=None: formula(
            q, k, v, mask, scores_mask=lambda s, m: torch.where(m, s, torch.tensor(-math.inf))
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Start without a mask. The scores are one matrix product: which shapes go in, and which comes out?",
        "q is (B, H, T, D) and k is (B, H, S, D); the scores must be (B, H, T, S). So k must be transposed: which two "
        "dimensions?",
        "Scores, divided by √D; hidden ones set to negative infinity (`masked_fill(~mask, -inf)`); softmax over the "
        "keys; product with v.",
    ],
)


# 4. multi_head_attention


def through_the_library(x, w_q, w_k, w_v, w_o, n_heads):
    """The library's module with these weights."""
    module = library.MultiHeadAttention(x.size(-1), n_heads, bias=False, fused=False)
    weights = {"q_proj.weight": w_q, "k_proj.weight": w_k, "v_proj.weight": w_v, "out_proj.weight": w_o}
    return torch.func.functional_call(module, weights, (x,), {"causal": True})


def heads(x, n):
    return x.view(*x.shape[:2], n, -1).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def multi(x, w_q, w_k, w_v, w_o, n, split=heads, merge=merged, scale=None, causal=True, project=lambda x, w: x @ w.T):
    """Multi-head attention in which every detail can be wrong."""
    q, k, v = (split(project(x, w), n) for w in (w_q, w_k, w_v))
    mask = torch.ones(q.size(2), k.size(2), dtype=torch.bool).tril() if causal else None
    out = merge(formula(q, k, v, mask, scale=scale, scores_mask=hide))
    return out if w_o is None else project(out, w_o)


def heads_as_positions(x, w_q, w_k, w_v, w_o, n, causal):
    """Attention over (B, T, H, D): H takes the place of T."""
    q, k, v = ((x @ w.T).view(*x.shape[:2], n, -1) for w in (w_q, w_k, w_v))
    mask = library.causal_mask(x.size(1)) if causal else None
    return formula(q, k, v, mask, scores_mask=hide).reshape(x.shape) @ w_o.T


def head_by_head(x, w_q, w_k, w_v, w_o, n_heads):
    """No reshaping at all: each head has its own rows of the weights."""
    D, T = x.size(-1) // n_heads, x.size(1)
    out = 0
    for h in range(n_heads):
        rows = slice(h * D, (h + 1) * D)
        q, k, v = x @ w_q[rows].T, x @ w_k[rows].T, x @ w_v[rows].T
        scores = (q @ k.mT / D**0.5).masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
        out = out + scores.softmax(-1) @ v @ w_o[:, rows].T
    return out


def one_token_at_a_time(x, w_q, w_k, w_v, w_o, n_heads):
    """The last row of a growing text, as in generation."""
    rows = []
    for t in range(1, x.size(1) + 1):
        past = x[:, :t]
        q, k, v = heads(past[:, -1:] @ w_q.T, n_heads), heads(past @ w_k.T, n_heads), heads(past @ w_v.T, n_heads)
        rows.append(merged(formula(q, k, v)) @ w_o.T)
    return torch.cat(rows, dim=1)


def all_einsum(x, w_q, w_k, w_v, w_o, n_heads):
    x64 = x.double()
    w = [m.double().view(n_heads, -1, x.size(-1)) for m in (w_q, w_k, w_v)]
    q, k, v = (torch.einsum("btc,hdc->bthd", x64, m) for m in w)
    scores = torch.einsum("bthd,bshd->bths", q, k) / q.size(-1) ** 0.5
    future = torch.arange(x.size(1))[None, None, None, :] > torch.arange(x.size(1))[None, :, None, None]
    weights = scores.masked_fill(future, -math.inf).softmax(-1)
    return torch.einsum("bths,bshd->bthd", weights, v).reshape(x.shape) @ w_o.double().T


EYE = torch.eye(4)
SWAP = tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
LOW = tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 2, 1]])
SMALL = {"x": tensor([[[2, 0, 1, 0], [0, 2, 0, 3]]]), "w_q": EYE, "w_k": EYE, "w_v": EYE, "w_o": EYE, "n_heads": 2}
WIDE = {n: random(6, 6, seed=i) for i, n in enumerate(("w_q", "w_k", "w_v", "w_o"))}
ROUND_TRIP = {n: random(4, 4, seed=10 + i) for i, n in enumerate(("w_q", "w_k", "w_v", "w_o"))}


def with_mask_of(size: int):
    """Multi-head attention whose mask is cut out of a square that is too small for longer texts."""
    square = torch.ones(size, size, dtype=torch.bool).tril()

    def attend(x, w_q, w_k, w_v, w_o, n):
        q, k, v = (heads(x @ w.T, n) for w in (w_q, w_k, w_v))
        mask = square[: x.size(1), : x.size(1)]
        return merged(formula(q, k, v, mask, scores_mask=hide_by_infinity)) @ w_o.T

    return attend


multi_head_attention = Exercise(
    name="multi_head_attention",
    asks="Project, split into heads, let each head attend causally, concatenate the heads, project.",
    reference=through_the_library,
    section="3.6",
    gradients=True,
    cases=[
        Case("two positions, two heads, weights that change nothing", **SMALL),
        Case("two positions, two heads", **{**SMALL, "w_q": LOW, "w_k": SWAP, "w_v": LOW, "w_o": SWAP + LOW}),
        Case("one head", x=random(1, 3, 4, seed=20), **ROUND_TRIP, n_heads=1),
        Case("four positions, four heads", x=random(1, 4, 4, seed=21), **ROUND_TRIP, n_heads=4),
        Case("two sequences, three heads", x=random(2, 5, 6, seed=22), **WIDE, n_heads=3),
        Case("two heads of width three", x=random(2, 4, 6, seed=23), **WIDE, n_heads=2),
        Case("seventeen positions", x=random(1, 17, 6, seed=24), **WIDE, n_heads=2),
        Case("one position", x=random(2, 1, 4, seed=25), **ROUND_TRIP, n_heads=2),
        Case("one feature", x=random(1, 3, 1, seed=26), **dict.fromkeys(ROUND_TRIP, tensor([[2]])), n_heads=1),
        Case(
            "transposed tensors",
            x=random(4, 3, 2, seed=27).transpose(0, 2),
            **{name: w.T for name, w in ROUND_TRIP.items()},
            n_heads=2,
        ),
        Case("140 positions", x=random(1, 140, 4, seed=28), **ROUND_TRIP, n_heads=2),
    ],
    random_cases=more_heads,
    misconceptions=[
        Misconception(
            "heads split by view alone",
            lambda *a: multi(
                *a,
                split=lambda x, n: x.reshape(x.size(0), n, x.size(1), -1),
                merge=lambda x: x.reshape(x.size(0), x.size(2), -1),
            ),
            "You went from (B, T, C) to (B, H, T, D) by `view`. The shape is right, but view keeps the numbers in the "
            "same order: a head gets whole positions instead of its features of every position.",
            "View as (B, T, H, D) first, which splits the features; then swap T and H.",
            "3.6",
            variants=(lambda *a: multi(*a, split=lambda x, n: x.reshape(x.size(0), n, x.size(1), -1)),),
        ),
        Misconception(
            "heads merged by view alone",
            lambda *a: multi(*a, merge=lambda x: x.reshape(x.size(0), x.size(2), -1)),
            "You split the heads correctly, but merged them from (B, H, T, D) by `view` or `reshape`, which mixes "
            "positions with heads.",
            "Swap H and T before you flatten: merging is splitting in reverse.",
            "3.6",
        ),
        Misconception(
            "the heads' features are interleaved",
            lambda *a: multi(
                *a,
                split=lambda x, n: x.view(*x.shape[:2], -1, n).permute(0, 3, 1, 2),
                merge=lambda x: x.permute(0, 2, 3, 1).flatten(2),
            ),
            "You viewed C as (D, H): head 0 gets features 0, H, 2H, …; it should get the first D consecutive features.",
            "The leading dimension varies slowest: (H, D), not (D, H).",
            "3.6",
            variants=(lambda *a: multi(*a, split=lambda x, n: x.view(*x.shape[:2], -1, n).permute(0, 3, 1, 2)),),
        ),
        Misconception(
            "the heads of a position attend to each other",
            lambda *a: heads_as_positions(*a, causal=True),
            "You did not swap T and H: given (B, T, H, D), `attention` treats the heads as positions, and each "
            "position sees only itself.",
            "`attention` expects (B, H, T, D). Which `transpose` gets you there from (B, T, H, D)?",
            "3.6",
            variants=(lambda *a: heads_as_positions(*a, causal=False),),
        ),
        Misconception(
            "scaled by √C",
            lambda *a: multi(*a, scale=1 / math.sqrt(a[0].size(-1))),
            "You divided the scores by √C, the square root of the model's width. A head's queries have width D = C / "
            "H.",
            "After the split, how many terms does the sum of one score have?",
            "3.4",
        ),
        Misconception(
            "scores are not scaled",
            lambda *a: multi(*a, scale=1.0),
            "You did not divide the scores by √D.",
            "Check `attention` first.",
            "3.4",
        ),
        Misconception(
            "not causal",
            lambda *a: multi(*a, causal=False),
            "Every position sees the later ones. In training, the model could read the answer from its input; "
            "afterwards it would be useless.",
            "Where does your causal mask go?",
            "3.5",
        ),
        Misconception(
            "no output projection",
            lambda x, w_q, w_k, w_v, w_o, n: multi(x, w_q, w_k, w_v, None, n),
            "You stopped after concatenating the heads. The last matrix, w_o, mixes them.",
            "One product is missing.",
            "3.6",
        ),
        Misconception(
            "the weights are not transposed",
            lambda *a: multi(*a, project=lambda x, w: x @ w),
            "You computed x @ w. As in nn.Linear, row i of w makes feature i of the output: the projection is x @ w.T.",
            "nn.Linear stores its weight as (out, in).",
            "3.6",
            variants=(
                lambda x, w_q, w_k, w_v, w_o, n: multi(x, w_q.T, w_k.T, w_v.T, w_o, n),
                lambda x, w_q, w_k, w_v, w_o, n: multi(x, w_q, w_k, w_v, w_o.T, n),
            ),
        ),
        Misconception(
            "keys and values swapped",
            lambda x, w_q, w_k, w_v, w_o, n: multi(x, w_q, w_v, w_k, w_o, n),
            "Your keys are where the values should be, and vice versa.",
            "Check the order of the arguments in your calls.",
            "3.3",
        ),
        Misconception(
            "queries and keys swapped",
            lambda x, w_q, w_k, w_v, w_o, n: multi(x, w_k, w_q, w_v, w_o, n),
            "You computed the queries with w_k and the keys with w_q.",
            "Check the order of the arguments in your calls.",
            "3.3",
        ),
        Misconception(
            "one head only",
            lambda x, w_q, w_k, w_v, w_o, n: multi(x, w_q, w_k, w_v, w_o, 1),
            "You let all C features attend together: one head, whatever n_heads says.",
            "Where is n_heads used in your code?",
            "3.6",
        ),
        Misconception(
            "a mask of fixed size",
            with_mask_of(16),
            "You made the causal mask once, for a certain length. A longer text does not fit it.",
            "Make the mask for the T that x has.",
            "3.5",
            variants=(with_mask_of(4), with_mask_of(8), with_mask_of(32), with_mask_of(64), with_mask_of(128)),
        ),
    ],
    accepted={
        "head by head, no reshaping": head_by_head,
        "one token at a time": one_token_at_a_time,
        "all einsum, float64": all_einsum,
        "chunks": lambda x, w_q, w_k, w_v, w_o, n: multi(
            x, w_q, w_k, w_v, w_o, n, lambda x, n: torch.stack(x.chunk(n, -1), 1), lambda x: torch.cat(x.unbind(1), -1)
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Start with n_heads = 1, where nothing needs splitting. That is `attention` with projections around it.",
        "The split: (B, T, C) → view (B, T, H, D) → swap two dimensions → (B, H, T, D). The merge is the reverse.",
        "q, k, v = split(x @ w.T) for each; `attention(q, k, v, causal_mask(T, T))`; transpose(1, 2); flatten(2); @ "
        "w_o.T.",
    ],
)


# 5. same_to_attention


def look(find) -> str:
    """What is wrong with the two sequences, or "fine"."""
    a, b = find()
    if not (torch.is_tensor(a) and torch.is_tensor(b) and a.dim() == b.dim() == 2 and a.shape == b.shape):
        return "the two are not tensors (T, C) of the same shape"
    a, b = a.double(), b.double()
    if len(a) < 3:
        return "fewer than three positions"
    if not (a.isfinite().all() and b.isfinite().all()):
        return "they contain NaN or infinity"
    if (a - b).abs().max() < 0.5:
        return "the two are the same, or nearly the same"
    if not torch.allclose(a[-1], b[-1]):
        return "the last vectors differ"
    left = [row for row in a]
    for row in b:
        match = next((i for i, other in enumerate(left) if torch.allclose(row, other)), None)
        if match is None:
            return "they do not contain the same vectors"
        left.pop(match)
    last = [library.naive_attention(x[None, None], x[None, None], x[None, None])[0][0, 0, -1] for x in (a, b)]
    return "fine" if torch.allclose(*last) else "their outputs at the last position differ"


FOUR = tensor([[1, 0], [0, 1], [3, 1], [1, 1]])

same_to_attention = Exercise(
    name="same_to_attention",
    asks="Find two sequences of the same vectors in another order, with the same last vector and the same last output.",
    reference=lambda: (FOUR, FOUR[[2, 1, 0, 3]]),
    section="3.7",
    cases=[Case("your two sequences", judge=look)],
    misconceptions=[
        Misconception(
            "the same sequence twice",
            lambda: (FOUR, FOUR.clone()),
            "Your two sequences are the same, or nearly: some number must differ by at least 0.5.",
            "Swap two positions.",
            "3.7",
        ),
        Misconception(
            "the whole sequence reversed",
            lambda: (FOUR, FOUR.flip(0)),
            "Their last vectors differ. So the queries at the last position differ, and therefore the outputs do too.",
            "Which positions may you move, if the last one has to stay?",
            "3.7",
        ),
        Misconception(
            "different vectors",
            lambda: (FOUR, torch.cat([FOUR[:-1] * 2, FOUR[-1:]])),
            "The two do not contain the same vectors, so attention can tell them apart.",
            "The same rows, in another order.",
            "3.7",
        ),
        Misconception(
            "too short",
            lambda: (FOUR[2:], FOUR[2:].flip(0)),
            "With two positions, the last of which is fixed, there is nothing to swap.",
            "Take three or more.",
            "3.7",
        ),
        Misconception(
            "not two tensors (T, C) of one shape",
            lambda: (FOUR, FOUR[1:]),
            "The two must be tensors (T, C) of the same shape.",
            "Two dimensions, positions and features, without a batch. Reorder; do not leave out or repeat.",
            "3.7",
        ),
        Misconception(
            "not a number",
            lambda: (FOUR / 0, (FOUR / 0).flip(0)),
            "Your sequences contain NaN or infinity, and NaN equals nothing.",
            "Small whole numbers are enough.",
            "3.7",
        ),
    ],
    accepted={
        "three positions": lambda: (tensor([[1], [2], [3]]), tensor([[2], [1], [3]])),
        "a list of random ones": lambda: [random(6, 2), random(6, 2)[[4, 3, 2, 1, 0, 5]]],
        "float64": lambda: (FOUR.double(), FOUR.double()[[1, 0, 2, 3]]),
    },
    hints=[
        "The output at the last position is a weighted sum over all positions. Does a sum depend on the order of its "
        "terms?",
        "Swap two positions before the last. What happens to their scores, weights and values?",
    ],
)

EXERCISES = [
    average_past,
    causal_mask,
    attention,
    multi_head_attention,
    same_to_attention,
    WrittenAnswer(
        "WHY_SAME", "Why can attention not tell the two apart, and what can be done about it?", 40,
        ["A sum does not depend on the order of its terms. Does anything in the formula?"], "3.7",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, what do you make of it?", 60,
        ["Make one change at a time; three seeds tell you more than one."], "3.8",
    ),
]  # fmt: skip
