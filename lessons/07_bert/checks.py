"""The checks of lesson 07, and the known mistakes."""

import math
import random
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import nn as library

LOSSES = {
    "torch.nn.functional.cross_entropy": "it is the ready-made loss; write the formula yourself",
    "torch.nn.functional.nll_loss": "it is the ready-made loss; write the formula yourself",
    "torch.nn.CrossEntropyLoss": "it is the ready-made loss; write the formula yourself",
    "torch.nn.NLLLoss": "it is the ready-made loss; write the formula yourself",
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible uniform random numbers from 0 to 1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def booleans(*rows: str) -> Tensor:
    """TTF → True, True, False."""
    return torch.tensor([[character == "T" for character in row] for row in rows])


# 1. padding_mask


def attend(make, attention_mask: Tensor, x: Tensor) -> Tensor | str:
    """The outputs at real tokens, (N, H, D), if x (B, H, T, D) attends to itself under the mask."""
    mask = make(attention_mask)
    if not torch.is_tensor(mask):
        return "the mask is not a tensor"
    if mask.dtype != torch.bool:
        return "the mask is not boolean"
    B, H, T, _ = x.shape
    try:
        fits = torch.broadcast_shapes(mask.shape, (B, H, T, T)) == (B, H, T, T)
    except RuntimeError:
        fits = False
    if not fits:
        return f"a mask of shape {tuple(mask.shape)} does not broadcast to (B, H, T, T) = {(B, H, T, T)}"
    scores = (x @ x.transpose(-2, -1) / math.sqrt(x.size(-1))).masked_fill(~mask, -math.inf)  # (B, H, T, T)
    return (scores.softmax(-1).nan_to_num() @ x).transpose(1, 2)[attention_mask]


def by_lengths(attention_mask: Tensor) -> Tensor:
    rows = []
    for row in attention_mask:
        rows.append([[[bool(row[s]) for s in range(len(row))] for _ in range(len(row))]])
    return torch.tensor(rows)


def padding_mask_cases(seed: int) -> list[Case]:
    generator, cases = random.Random(seed), []
    for _ in range(2):
        B, H, T = generator.randint(2, 6), generator.randint(1, 4), generator.randint(6, 12)
        rows = [["T", *generator.choices("TF", k=T - 1)] for _ in range(B)]
        for letters in rows:
            generator.shuffle(letters)
        x = 2 * normal(B, H, T, 4, seed=seed)
        cases.append(Case(f"{B} rows of {T}, {H} heads", attend, attention_mask=booleans(*map("".join, rows)), x=x))
    return cases


ONE_HOT = torch.eye(3).expand(1, 1, 3, 3) * 3

padding_mask = Exercise(
    name="padding_mask",
    asks="Return an encoder's attention mask: every position may attend to every real token, and none to padding.",
    reference=library.padding_mask,
    section="7.3",
    cases=[
        Case("three tokens, the last of them padding", attend, attention_mask=booleans("TTF"), x=ONE_HOT),
        Case("no padding", attend, attention_mask=booleans("TTT"), x=ONE_HOT),
        Case("two rows of unequal length", attend, attention_mask=booleans("TTTT", "TTFF"), x=normal(2, 1, 4, 2)),
        Case(
            "padding on the left, two heads", attend, attention_mask=booleans("FTT", "TTT"),
            x=normal(2, 2, 3, 2, seed=1),
        ),
        Case(
            "as many rows as positions", attend, attention_mask=booleans("TTF", "TFF", "TTT"),
            x=normal(3, 2, 3, 2, seed=2),
        ),
        Case(
            "four rows, three heads", attend, attention_mask=booleans("TTTTT", "TFFFF", "TTTFF", "TTFFF"),
            x=normal(4, 3, 5, 4, seed=3),
        ),
        Case("padding in the middle", attend, attention_mask=booleans("TFT"), x=ONE_HOT),
        Case("one token", attend, attention_mask=booleans("T"), x=normal(1, 2, 1, 3, seed=4)),
        Case("one row, two heads", attend, attention_mask=booleans("TTFF"), x=normal(1, 2, 4, 3, seed=5)),
        Case(
            "a transposed tensor", attend, attention_mask=booleans("TT", "TT", "TF", "FF").T,
            x=normal(2, 3, 4, 2, seed=6),
        ),
        Case(
            "forty tokens, a quarter of them padding", attend, attention_mask=(torch.arange(40) < 30)[None],
            x=normal(1, 1, 40, 2, seed=7),
        ),
    ],
    random_cases=padding_mask_cases,
    misconceptions=[
        Misconception(
            "inverted mask",
            lambda attention_mask: ~attention_mask[:, None, None, :],
            "Your mask is inverted: every position may attend to padding, and to nothing else.",
            "Here True means that a position may be attended to. What is `attention_mask` at real tokens?",
            "7.3",
        ),
        Misconception(
            "mask of shape (B, T)",
            lambda attention_mask: attention_mask,
            "You returned a mask (B, T). Broadcasting aligns dimensions from the right, so it is read as (query, "
            "key): the mask of sequence b becomes the mask of query b, in every sequence.",
            "(B, T) must become (B, 1, 1, T). `attention_mask[:, None]` inserts a dimension of size 1.",
            "7.3",
        ),
        Misconception(
            "mask of shape (B, 1, T)",
            lambda attention_mask: attention_mask[:, None, :],
            "You returned a mask (B, 1, T). Broadcasting aligns dimensions from the right, so B is aligned with the "
            "heads.",
            "Write (B, H, T, T) and below it, aligned on the right, the shape of your mask.",
            "7.3",
        ),
        Misconception(
            "causal mask",
            lambda attention_mask: attention_mask[:, None, None, :] & torch.ones(attention_mask.size(1),
            attention_mask.size(1), dtype=torch.bool).tril(),
            "You also masked the future, as in a GPT. BERT masks words instead, so that it can attend in both "
            "directions.",
            "What must a position not attend to in an encoder?",
            "7.3",
        ),
        Misconception(
            "no attention to the position itself",
            lambda attention_mask: attention_mask[:, None, None, :] & ~torch.eye(attention_mask.size(1),
            dtype=torch.bool),
            "No position may attend to itself in your mask. That is not needed: the input at a position to predict is "
            "[MASK]. (And it would not help: after one layer the neighbors' vectors contain the token, and the second "
            "layer attends to them.)",
            "Every position may attend to every real token.",
            "7.2",
        ),
        Misconception(
            "padding not masked",
            lambda attention_mask: attention_mask[:, None, :, None],
            "Your mask lets words attend to padding. Perhaps it masks the rows of padding (the queries) instead of "
            "the columns; perhaps it masks nothing. Either way, the same text gives another result in a longer batch.",
            "The last dimension of the mask is the key position. Which of its columns must be False?",
            "7.3",
            variants=(
                lambda attention_mask: torch.ones_like(attention_mask)[:, None, None, :],
                lambda attention_mask: (attention_mask[:, :, None] | attention_mask[:, None, :])[:, None],
            ),
        ),
        Misconception(
            "mask of shape (B, T, 1, 1)",
            lambda attention_mask: attention_mask[:, :, None, None],
            "You returned a mask (B, T, 1, 1). Broadcasting aligns dimensions from the right, so T is aligned with the "
            "heads.",
            "The last of the four dimensions is the key position.",
            "7.3",
        ),
        Misconception(
            "padding assumed at the end",
            lambda attention_mask: (
                torch.arange(attention_mask.size(1)) < attention_mask.sum(1, keepdim=True)
            )[:, None, None, :],
            "You counted the real tokens of each row and allowed that many positions from the left. That is right only "
            "if all padding is at the end.",
            "`attention_mask` already says of every position whether it is real.",
            "7.3",
        ),
        Misconception(
            "one mask for the whole batch",
            lambda attention_mask: attention_mask[:1, None, None, :],
            "You used the padding of the first sequence for all. The sequences of a batch have different lengths.",
            "What happened to the dimension B?",
            "7.3",
        ),
        Misconception(
            "additive mask (0 and -inf)",
            lambda attention_mask: torch.zeros(attention_mask.shape).masked_fill(~attention_mask, -math.inf)[:, None,
            None, :],
            "Your mask is additive: 0 and -inf, to be added to the scores. That is a common convention too, but in "
            "this course masks are boolean.",
            "`attention_mask` is already boolean. Do you have to convert it?",
            "7.3",
            variants=(lambda attention_mask: attention_mask[:, None, None, :].int(), lambda attention_mask:
            attention_mask[:, None, None, :].float()),
        ),
    ],
    accepted={
        "view": lambda attention_mask: attention_mask.view(attention_mask.size(0), 1, 1, -1),
        "both must be real": lambda attention_mask: (attention_mask[:, :, None] & attention_mask[:, None, :])[:, None],
        "nested lists": by_lengths,
        "by einsum": lambda attention_mask: torch.einsum(
            "bt,bs->bts", torch.ones(attention_mask.shape), attention_mask.float()
        ).gt(0.5).unsqueeze(1),
    },
    hints=[
        "Draw the (T, T) mask of one row with one padded position at the end: queries are rows, keys are columns.",
        "All rows of that drawing are the same: whether a key is padding does not depend on the query. So the query "
        "dimension can have size 1.",
        "(B, T) → (B, 1, 1, T), by indexing with None twice.",
    ],
)  # fmt: skip


# 2. choose_masked

FIRST_FIVE = torch.tensor([True] * 5 + [False] * 25)  # [PAD], [UNK], [CLS], [SEP], [MASK] and 25 ordinary ids


def half_up(x: float) -> int:
    return math.floor(x + 0.5)


def choose(ids, special, u, fraction, size=lambda n, fraction: max(1, half_up(fraction * n)), allowed=None, rank=None):
    """The choice of exercise 2, row by row, with replaceable (possibly wrong) steps."""
    rows = []
    for b in range(len(ids)):
        ordinary = [t for t in range(ids.size(1)) if not special[ids[b, t]]]
        candidates = ordinary if allowed is None else allowed(ids[b])
        count = size(len(ordinary), fraction) if ordinary else 0
        order = sorted(candidates, key=lambda t: float(u[b, t]) if rank is None else rank(u, b, t))
        rows.append([t in order[:count] for t in range(ids.size(1))])
    return torch.tensor(rows)


def by_sorting(ids: Tensor, special: Tensor, u: Tensor, fraction: float = 0.15) -> Tensor:
    """The reference: rank the numbers, special tokens last."""
    ordinary = ~special[ids]
    n = ordinary.sum(dim=1)
    count = (fraction * n + 0.5).floor().long().clamp(min=1)[:, None]  # (B, 1)
    ranks = u.masked_fill(~ordinary, math.inf).argsort(dim=1).argsort(dim=1)  # (B, T): 0 for the smallest
    return ordinary & (ranks < count)


def by_threshold(ids, special, u, fraction=0.15):
    out = torch.zeros_like(ids, dtype=torch.bool)
    for b in range(ids.size(0)):
        candidates = torch.nonzero(~special[ids[b]])[:, 0]
        if candidates.numel():
            k = max(1, int(fraction * candidates.numel() + 0.5))
            limit = u[b, candidates].kthvalue(k).values
            out[b, candidates] = u[b, candidates] <= limit
    return out


def by_numpy(ids, special, u, fraction=0.15):
    ids, special, u = ids.numpy(), special.numpy(), u.double().numpy()
    out = np.zeros(ids.shape, dtype=bool)
    for row, numbers, result in zip(ids, u, out, strict=True):
        candidates = np.flatnonzero(~special[row])
        if len(candidates):
            k = max(1, int(np.floor(fraction * len(candidates) + 0.5)))
            result[candidates[np.argsort(numbers[candidates])[:k]]] = True
    return torch.from_numpy(out)


def by_topk(ids, special, u, fraction=0.15):
    keys = torch.where(special[ids], torch.full_like(u, -1.0), 1 - u)
    result = torch.zeros(ids.shape)
    for b, row in enumerate(keys):
        n = int((row >= 0).sum())
        if n:
            result[b].scatter_(0, row.topk(max(1, half_up(fraction * n))).indices, 1.0)
    return result > 0


def counts(ids, special, fraction):
    """How many tokens to choose in each row, (B, 1)."""
    return (fraction * (~special[ids]).sum(dim=1, keepdim=True) + 0.5).floor().clamp(min=1)


def whole_batch(ids, special, u, fraction=0.15):
    """One count and one ranking for all rows together."""
    return choose(ids.reshape(1, -1), special, u.reshape(1, -1), fraction).view(ids.shape)


def special_removed_afterwards(ids, special, u, fraction=0.15):
    everything = torch.zeros_like(special)
    n = (~special[ids]).sum(dim=1)
    rows = []
    for b in range(len(ids)):
        count = max(1, half_up(fraction * int(n[b])))
        rows.append(choose(ids[b : b + 1], everything, u[b : b + 1], fraction, lambda _, __, count=count: count)[0])
    return torch.stack(rows) & ~special[ids]


def fraction_of_everything(ids, special, u, fraction=0.15):
    return choose(ids, special, u, fraction, lambda n, fraction: max(1, half_up(fraction * ids.size(1))))


def row(*ids: int) -> Tensor:
    return torch.tensor([ids])


RAGGED = torch.tensor(
    [
        [2, 5, 9, 8, 7, 6, 11, 12, 3, 0, 0, 0, 0, 0],
        [2, 13, 5, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 3],
    ]
)
LONG = torch.where(
    torch.arange(40) < torch.tensor([[40], [31], [22], [7]]),
    torch.randint(1, 30, (4, 40), generator=torch.Generator().manual_seed(5)),
    0,
)


def by_default(function, ids, special, uniform):
    """Call it without the last argument."""
    return function(ids, special, uniform)


def choose_masked_cases(seed: int) -> list[Case]:
    """No fraction of a row's tokens is nearly a half, and all random numbers differ by more than rounding."""
    generator, torch_generator = random.Random(seed), torch.Generator().manual_seed(seed)
    cases = []
    while len(cases) < 2:
        B, T, V = generator.randint(2, 5), generator.randint(15, 40), generator.randint(300, 400)
        special = torch.zeros(V, dtype=torch.bool)
        special[generator.sample(range(V), V // 3)] = True
        ids = torch.randint(V, (B, T), generator=torch_generator)
        numbers = (torch.randperm(B * T, generator=torch_generator) + 0.5).view(B, T) / (B * T)
        fraction = generator.uniform(0.1, 0.9)
        n = (~special[ids]).sum(1)
        if ((fraction * n) % 1 - 0.5).abs().min() > 0.02:
            cases.append(Case(f"{B} rows of {T}", ids=ids, special=special, uniform=numbers, fraction=fraction))
    return cases


choose_masked = Exercise(
    name="choose_masked",
    asks="In each row, choose fraction · n of its n ordinary tokens: those with the smallest random numbers.",
    reference=by_sorting,
    section="7.5",
    cases=[
        Case(
            "four ordinary tokens, half of them", ids=row(2, 7, 8, 9, 6, 3, 0), special=FIRST_FIVE,
            uniform=torch.tensor([[0.1, 0.9, 0.2, 0.4, 0.7, 0.3, 0.0]]), fraction=0.5,
        ),
        Case(
            "ten ordinary tokens, a quarter: 2.5", ids=row(2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 3),
            special=FIRST_FIVE, uniform=uniform(1, 12, seed=1), fraction=0.25,
        ),
        Case(
            "nine ordinary tokens, a quarter: 2.25", ids=row(2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 3),
            special=FIRST_FIVE, uniform=uniform(1, 11, seed=2), fraction=0.25,
        ),
        Case(
            "eleven ordinary tokens, a quarter: 2.75", ids=row(2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3),
            special=FIRST_FIVE, uniform=uniform(1, 13, seed=3), fraction=0.25,
        ),
        Case(
            "two ordinary tokens, 15 %: 0.3, but at least one", ids=row(2, 9, 8, 3), special=FIRST_FIVE,
            uniform=torch.tensor([[0.5, 0.8, 0.4, 0.1]]), fraction=0.15,
        ),
        Case(
            "a row without ordinary tokens", ids=torch.tensor([[2, 3, 0], [2, 6, 3]]), special=FIRST_FIVE,
            uniform=torch.tensor([[0.3, 0.2, 0.1], [0.2, 0.6, 0.4]]), fraction=0.15,
        ),
        Case(
            "three rows of unequal length", ids=RAGGED, special=FIRST_FIVE, uniform=uniform(3, 14, seed=4),
            fraction=0.3,
        ),
        Case("all of them", ids=RAGGED, special=FIRST_FIVE, uniform=uniform(3, 14, seed=6), fraction=1.0),
        Case("four long rows, 15 %", ids=LONG, special=FIRST_FIVE, uniform=uniform(4, 40, seed=7), fraction=0.15),
        Case("no fraction given: 15 %", by_default, ids=LONG, special=FIRST_FIVE, uniform=uniform(4, 40, seed=12)),
        Case(
            "other special ids", ids=row(1, 0, 4, 6, 3, 7, 2, 5), special=booleans("TFFTFFTF")[0],
            uniform=torch.tensor([[0.9, 0.1, 0.3, 0.2, 0.4, 0.6, 0.7, 0.8]]), fraction=0.5,
        ),
        Case(
            "rows of one token", ids=torch.tensor([[7], [2]]), special=FIRST_FIVE, uniform=torch.tensor([[0.4], [0.3]]),
            fraction=0.15,
        ),
        Case(
            "fraction 0: at least one", ids=row(2, 9, 8, 3), special=FIRST_FIVE,
            uniform=torch.tensor([[0.1, 0.8, 0.4, 0.2]]), fraction=0.0,
        ),
        Case(
            "twenty ordinary tokens, an eighth: 2.5", ids=torch.arange(5, 25)[None], special=FIRST_FIVE,
            uniform=uniform(1, 20, seed=13), fraction=0.125,
        ),
        Case(
            "numbers 0 and 1", ids=torch.tensor([[2, 9, 8, 3, 7], [2, 6, 3, 0, 0]]), special=FIRST_FIVE,
            uniform=torch.tensor([[0.2, 1.0, 0.0, 0.5, 0.6], [0.3, 1.0, 0.0, 0.1, 0.2]]), fraction=0.5,
        ),
        Case(
            "numbers close to each other", ids=row(9, 8, 7, 6), special=FIRST_FIVE,
            uniform=torch.tensor([[0.500001, 0.5, 0.500003, 0.500002]]), fraction=0.5,
        ),
        Case(
            "three hundred tokens, 90 %", ids=torch.arange(300)[None], special=torch.arange(300) % 30 == 3,
            uniform=uniform(1, 300, seed=14), fraction=0.9,
        ),
        Case(
            "transposed tensors", ids=RAGGED.T.contiguous().T, special=FIRST_FIVE, uniform=uniform(14, 3, seed=15).T,
            fraction=0.4,
        ),
    ],
    random_cases=choose_masked_cases,
    misconceptions=[
        Misconception(
            "special tokens chosen",
            lambda ids, special, u, fraction=0.15: choose(
                ids, special, u, fraction, allowed=lambda row: range(len(row))
            ),
            "You choose [CLS], [SEP] and padding as well as words. Predicting padding teaches nothing, and would be "
            "most of the loss in a short row.",
            "Which tokens are candidates? `special[ids]` says for every position whether its token is special.",
            "7.5",
            variants=(
                lambda ids, special, u, fraction=0.15: choose(
                    ids, torch.zeros_like(special), u, fraction, lambda n, fraction: max(1, half_up(fraction * n))
                ),
            ),
        ),
        Misconception(
            "only padding excluded",
            lambda ids, special, u, fraction=0.15: choose(ids, torch.arange(len(special)) < 1, u, fraction),
            "You excluded padding, but you can choose [CLS], [SEP] and the other special tokens. Their positions are "
            "always the same, so there is nothing to predict.",
            "`special` is a table of all special ids, not only of [PAD].",
            "7.5",
            variants=(
                lambda ids, special, u, fraction=0.15: choose(
                    ids, special, u, fraction, allowed=lambda row: [t for t in range(len(row)) if row[t] != 0]
                ),
            ),
        ),
        Misconception(
            "special tokens removed after ranking",
            special_removed_afterwards,
            "You took the smallest numbers of the whole row and then removed the special tokens. They counted toward "
            "k, so too few tokens are left.",
            "Exclude the special tokens before you look for the smallest numbers.",
            "7.5",
            variants=(
                lambda ids, special, u, fraction=0.15: ~special[ids]
                & ((u * ~special[ids]).argsort(1).argsort(1) < counts(ids, special, fraction)),
            ),
        ),
        Misconception(
            "argsort used as ranks",
            lambda ids, special, u, fraction=0.15: ~special[ids]
            & (u.masked_fill(special[ids], math.inf).argsort(dim=1) < counts(ids, special, fraction)),
            "`argsort` says which position comes first, second, third, …; you used it as the rank of position 0, 1, "
            "2, … One is the inverse of the other. For the numbers 0.2, 0.3, 0.1, argsort is 2, 0, 1, and the ranks "
            "are 1, 2, 0.",
            "Either take the first k entries of the order and mark those positions, or apply `argsort` once more to "
            "get the ranks.",
            "7.5",
        ),
        Misconception(
            "off by one: k + 1 tokens",
            lambda ids, special, u, fraction=0.15: choose(
                ids, special, u, fraction, lambda n, s: max(1, half_up(s * n)) + 1
            ),
            "You chose one token too many, in rows that have enough tokens.",
            "Ranks start at 0: the k-th smallest number has rank k - 1. `<` or `<=`?",
            "7.5",
        ),
        Misconception(
            "fraction of all T positions",
            fraction_of_everything,
            "You took the fraction of all T positions, including [CLS], [SEP] and padding. A short row in a wide "
            "batch then loses most of its words.",
            "n is the number of ordinary tokens of this row.",
            "7.5",
        ),
        Misconception(
            "independent choice (u < fraction)",
            lambda ids, special, u, fraction=0.15: ~special[ids] & (u < fraction),
            "You chose every token whose number is below the fraction. That is 15 % on average, but a short row often "
            "has none; here the count is fixed, and only the choice is random.",
            "First, how many? (fraction · n, rounded) Then, which? (the smallest numbers)",
            "7.5",
        ),
        Misconception(
            "rounded down instead of to nearest",
            lambda ids, special, u, fraction=0.15: choose(ids, special, u, fraction, lambda n, s: max(1, int(s * n))),
            "You rounded fraction · n down. Here it is rounded to the nearest integer.",
            "`int(x)` and `//` truncate. What do they do with x + 0.5?",
            "7.5",
        ),
        Misconception(
            "rounded up instead of to nearest",
            lambda ids, special, u, fraction=0.15: choose(
                ids, special, u, fraction, lambda n, s: max(1, math.ceil(s * n))
            ),
            "You rounded fraction · n up. Here it is rounded to the nearest integer.",
            "2.25 should become 2, 2.5 and 2.75 become 3.",
            "7.5",
        ),
        Misconception(
            "banker's rounding (half to even)",
            lambda ids, special, u, fraction=0.15: choose(ids, special, u, fraction, lambda n, s: max(1, round(s * n))),
            "`round` in Python and torch rounds a half to the even neighbor: 2.5 becomes 2. Here a half is rounded "
            "up.",
            "⌊x + ½⌋",
            "7.5",
        ),
        Misconception(
            "no minimum of one token",
            lambda ids, special, u, fraction=0.15: choose(ids, special, u, fraction, lambda n, s: half_up(s * n)),
            "Where fraction · n is less than a half you chose nothing, so the model learns nothing from such a row. "
            "Choose at least one.",
            "Use max(1, …), but only if the row has an ordinary token at all.",
            "7.5",
        ),
        Misconception(
            "largest numbers instead of smallest",
            lambda ids, special, u, fraction=0.15: choose(
                ids, special, u, fraction, rank=lambda u, b, t: -float(u[b, t])
            ),
            "You chose the tokens with the largest numbers. As a random choice that is just as good; but the checks "
            "pass in the numbers, so it matters here.",
            "Ascending or descending?",
            "7.5",
        ),
        Misconception(
            "first k tokens of each row",
            lambda ids, special, u, fraction=0.15: choose(ids, special, u, fraction, rank=lambda u, b, t: t),
            "You chose the first tokens of every row and ignored `uniform`, so the end of a text is never predicted.",
            "Order the candidates by their random numbers first.",
            "7.5",
        ),
        Misconception(
            "same random numbers for all rows",
            lambda ids, special, u, fraction=0.15: choose(
                ids, special, u, fraction, rank=lambda u, b, t: float(u[0, t])
            ),
            "You used the random numbers of the first row for all, so all rows are masked at the same positions.",
            "`uniform` has a row for each row of ids.",
            "7.5",
        ),
        Misconception(
            "numbers of special tokens set to 0",
            lambda ids, special, u, fraction=0.15: (u * ~special[ids]).argsort(1).argsort(1)
            < torch.where((~special[ids]).any(1, keepdim=True), counts(ids, special, fraction), 0),
            "You set the numbers of special tokens to 0, to exclude them. But the smallest numbers are chosen, so they "
            "come first.",
            "Which number is never among the smallest?",
            "7.5",
        ),
        Misconception(
            "one token in a row without ordinary tokens",
            lambda ids, special, u, fraction=0.15: u.masked_fill(special[ids], math.inf).argsort(1).argsort(1)
            < counts(ids, special, fraction),
            "You chose at least one token in every row, even in one that has only special tokens.",
            "The minimum of one applies to rows that have an ordinary token.",
            "7.5",
        ),
        Misconception(
            "ids below 5 taken for the special ones",
            lambda ids, special, u, fraction=0.15: choose(ids, torch.arange(len(special)) < 5, u, fraction),
            "You took the ids 0 to 4 for the special tokens. Other tokenizers have others: BERT's are 0, 100 … 103.",
            "`special[ids]` is True where the token is special.",
            "7.5",
        ),
        Misconception(
            "count and ranking over the whole batch",
            whole_batch,
            "You took the fraction of all ordinary tokens of the batch and ranked all rows together. The masks of one "
            "row then depend on the other rows.",
            "Each row has its own n, its own count and its own ranking.",
            "7.5",
            variants=(
                lambda ids, special, u, fraction=0.15: choose(
                    ids, special, u, fraction, lambda n, s: max(1, half_up(s * int((~special[ids]).sum())))
                ),
            ),
        ),
    ],
    accepted={
        "threshold by kthvalue": by_threshold,
        "NumPy": by_numpy,
        "topk and scatter": by_topk,
        "lists and sorted": lambda ids, special, u, fraction=0.15: choose(ids, special, u, fraction),
        "rank by counting smaller numbers": lambda ids, special, u, fraction=0.15: ~special[ids] & (
            ((u[:, None, :] < u[:, :, None]) & ~special[ids][:, None, :]).sum(-1)
            < (fraction * (~special[ids]).sum(1, keepdim=True) + 0.5).floor().clamp(min=1)
        ),
    },
    hints=[
        "Do it for one row with a loop first: list the positions of ordinary tokens, sorted by their numbers. How "
        "many of them do you take?",
        "The count of a row is max(1, ⌊fraction · n + ½⌋). For n = 0 there is no candidate, so the 1 does no harm.",
        "For all rows at once: put infinity at special tokens, and compute each position's rank with "
        "`argsort(dim=1).argsort(dim=1)`. Choose the ordinary tokens whose rank is below the count.",
    ],
)  # fmt: skip


# 3. apply_80_10_10


def hide(ids, chosen, fate, dice, mask_id, ordinary, first=0.8, second=0.9, drawn=None, shown=None, labels=None):
    """Masking with replaceable (possibly wrong) steps."""
    drawn = ordinary[(dice * len(ordinary)).long()] if drawn is None else drawn
    new = torch.where(fate < first, mask_id, torch.where(fate < second, drawn, ids))
    new = torch.where(chosen, new, ids) if shown is None else shown(new)
    return new, torch.where(chosen, ids, -100) if labels is None else labels(new)


def hide_by_loops(ids, chosen, fate, dice, mask_id, ordinary):
    shown, labels = [], []
    for b in range(ids.size(0)):
        shown.append([])
        labels.append([])
        for t in range(ids.size(1)):
            token = int(ids[b, t])
            labels[-1].append(token if chosen[b, t] else -100)
            if chosen[b, t] and fate[b, t] < 0.8:
                token = mask_id
            elif chosen[b, t] and fate[b, t] < 0.9:
                token = int(ordinary[int(dice[b, t] * len(ordinary))])
            shown[-1].append(token)
    return torch.tensor(shown), torch.tensor(labels)


def hide_in_a_copy(ids, chosen, fate, dice, mask_id, ordinary):
    shown, labels = ids.clone(), torch.full_like(ids, -100)
    labels[chosen] = ids[chosen]
    shown[chosen & (fate < 0.8)] = mask_id
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    shown[replaced] = ordinary[(dice[replaced] * ordinary.numel()).floor().long()]
    return shown, labels


def hide_by_buckets(ids, chosen, fate, dice, mask_id, ordinary):
    kind = torch.bucketize(fate.double().contiguous(), torch.tensor([0.8, 0.9], dtype=torch.float64), right=True)
    table = torch.stack([torch.full_like(ids, mask_id), ordinary[(dice.double() * len(ordinary)).long()], ids])
    shown = table.gather(0, torch.where(chosen, kind, 2)[None])[0]
    return shown, ids * chosen - 100 * ~chosen


def hide_in_numpy(ids, chosen, fate, dice, mask_id, ordinary):
    i, c, f, d, o = (x.numpy() for x in (ids, chosen, fate, dice, ordinary))
    drawn = o[np.floor(d * len(o)).astype(np.int64)]
    shown = np.select([c & (f < 0.8), c & (f < 0.9)], [np.full_like(i, mask_id), drawn], i)
    return torch.from_numpy(shown), torch.from_numpy(np.where(c, i, -100))


def second_step_overwrites(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    shown = torch.where(chosen & (fate < 0.8), mask_id, ids)
    shown = torch.where(chosen & (fate < 0.9), drawn, shown)
    return shown, torch.where(chosen, ids, -100)


def wrong(**how):
    """A misconception of exercise 3, from the steps that it replaces, each a function of the arguments."""
    return lambda *a: hide(*a, **{name: f(*a) for name, f in how.items()})


ORDINARY = torch.arange(5, 30)
BIG = torch.randint(5, 30, (6, 50), generator=torch.Generator().manual_seed(8))
BIG_CHOSEN = uniform(6, 50, seed=9) < 0.5


def apply_cases(seed: int) -> list[Case]:
    """No number in `fate` or `dice` is so near a boundary that rounding matters."""
    generator, cases = random.Random(seed), []
    for _ in range(2):
        B, T, N = generator.randint(2, 5), generator.randint(8, 20), generator.randint(6, 40)
        V = 10**5 * generator.randint(1, 9)
        *ordinary, mask_id = generator.sample(range(V), N + 1)
        fates = [
            [generator.uniform(*generator.choice(((0.0, 0.799), (0.801, 0.899), (0.901, 0.999)))) for _ in range(T)]
            for _ in range(B)
        ]
        dice = [[(generator.randrange(N) + generator.uniform(0.1, 0.9)) / N for _ in range(T)] for _ in range(B)]
        ids = [[generator.choice(ordinary) for _ in range(T)] for _ in range(B)]
        chosen = [[generator.random() < 0.6 for _ in range(T)] for _ in range(B)]
        cases.append(Case(
            f"{B} rows of {T}", ids=torch.tensor(ids), chosen=torch.tensor(chosen), fate=torch.tensor(fates),
            dice=torch.tensor(dice), mask_id=mask_id, ordinary=torch.tensor(ordinary),
        ))  # fmt: skip
    return cases


apply_80_10_10 = Exercise(
    name="apply_80_10_10",
    asks="Replace chosen tokens by [MASK] or a random token, or keep them, by `fate`; label all of them, no others.",
    reference=hide,
    section="7.6",
    cases=[
        Case(
            "three of six chosen", ids=row(2, 7, 8, 9, 6, 3), chosen=booleans("FTTTFF"),
            fate=torch.tensor([[0.5, 0.3, 0.85, 0.95, 0.1, 0.2]]), dice=torch.tensor([[0.7, 0.9, 0.1, 0.4, 0.2, 0.6]]),
            mask_id=4, ordinary=torch.arange(5, 10),
        ),
        Case(
            "two random tokens", ids=row(2, 7, 8, 9, 3), chosen=booleans("FTFTF"),
            fate=torch.tensor([[0.1, 0.82, 0.88, 0.88, 0.99]]), dice=torch.tensor([[0.3, 0.1, 0.5, 0.9, 0.7]]),
            mask_id=4, ordinary=torch.arange(5, 10),
        ),
        Case(
            "five random tokens", ids=row(9, 9, 9, 9, 9), chosen=booleans("TTTTT"),
            fate=torch.tensor([[0.81, 0.85, 0.87, 0.82, 0.89]]), dice=torch.tensor([[0.15, 0.35, 0.5, 0.95, 0.7]]),
            mask_id=4, ordinary=torch.arange(5, 10),
        ),
        Case(
            "[MASK] and the ordinary tokens have other ids", ids=row(100, 3, 1, 2, 101), chosen=booleans("FTTTF"),
            fate=torch.tensor([[0.5, 0.81, 0.79, 0.93, 0.5]]), dice=torch.tensor([[0.3, 0.5, 0.3, 0.5, 0.7]]),
            mask_id=103, ordinary=torch.tensor([0, 1, 2, 3]),
        ),
        Case(
            "nothing chosen", ids=row(2, 7, 3), chosen=booleans("FFF"), fate=torch.tensor([[0.1, 0.85, 0.95]]),
            dice=torch.tensor([[0.3, 0.6, 0.1]]), mask_id=4, ordinary=torch.arange(5, 10),
        ),
        Case(
            "two rows", ids=torch.tensor([[2, 7, 8, 3], [2, 9, 6, 3]]), chosen=booleans("FTTF", "FTTF"),
            fate=torch.tensor([[0.1, 0.85, 0.2, 0.1], [0.9, 0.7, 0.89, 0.3]]),
            dice=torch.tensor([[0.5, 0.3, 0.2, 0.8], [0.1, 0.6, 0.7, 0.9]]), mask_id=4, ordinary=torch.arange(5, 10),
        ),
        Case(
            "six rows of fifty, half of them chosen", ids=BIG, chosen=BIG_CHOSEN, fate=uniform(6, 50, seed=10),
            dice=uniform(6, 50, seed=11), mask_id=4, ordinary=ORDINARY,
        ),
        Case(
            "exactly 0.8, exactly 0.9, and 0", ids=row(5, 6, 7, 8), chosen=booleans("TTTT"),
            fate=torch.tensor([[0.8, 0.9, 0.0, 0.899]], dtype=torch.float64),
            dice=torch.tensor([[0.9, 0.1, 0.5, 0.0]], dtype=torch.float64), mask_id=4, ordinary=torch.arange(5, 10),
        ),
        Case(
            "ordinary ids in any order, and id 0", ids=row(0, 20, 0, 0), chosen=booleans("TTTT"),
            fate=torch.tensor([[0.2, 0.85, 0.95, 0.801]]), dice=torch.tensor([[0.1, 0.6, 0.3, 0.9999]]), mask_id=9,
            ordinary=torch.tensor([7, 3, 20, 0, 11]),
        ),
        Case(
            "a random token that is the original one", ids=row(8, 6), chosen=booleans("TT"),
            fate=torch.tensor([[0.85, 0.85]]), dice=torch.tensor([[0.7, 0.3]]), mask_id=4,
            ordinary=torch.arange(5, 10),
        ),
        Case(
            "one position, one ordinary token", ids=row(2), chosen=booleans("T"), fate=torch.tensor([[0.85]]),
            dice=torch.tensor([[0.999]]), mask_id=4, ordinary=torch.tensor([6]),
        ),
        Case(
            "a large vocabulary", ids=row(70_000, 40_000, 300), chosen=booleans("TTT"),
            fate=torch.tensor([[0.85, 0.3, 0.95]]), dice=torch.tensor([[0.2, 0.3, 0.4]]), mask_id=65_537,
            ordinary=torch.tensor([131_072, 70_000, 300]),
        ),
        Case(
            "transposed tensors", ids=BIG[:, :4].T, chosen=BIG_CHOSEN[:, :4].T, fate=uniform(6, 4, seed=16).T,
            dice=uniform(6, 4, seed=17).T, mask_id=4, ordinary=ORDINARY,
        ),
    ],
    random_cases=apply_cases,
    misconceptions=[
        Misconception(
            "same random number for fate and token",
            lambda ids, chosen, fate, dice, mask_id, ordinary: hide(ids, chosen, fate, fate, mask_id, ordinary),
            "You also used `fate` to draw the random token. Where a token is replaced, fate is between 0.8 and 0.9, "
            "so only a tenth of the vocabulary is ever drawn.",
            "Two decisions need two independent random numbers. What is `dice` for?",
            "7.6",
        ),
        Misconception(
            "one random token for all positions",
            wrong(drawn=lambda ids, c, f, dice, m, o: o[int(dice.flatten()[0] * len(o))].expand(ids.shape)),
            "You drew one random token and used it at all positions. The model soon learns to distrust just this "
            "token.",
            "Each position has its own number in `dice`.",
            "7.6",
            variants=(
                wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice[:, :1] * len(o)).long()].expand(ids.shape)),
            ),
        ),
        Misconception(
            "random id instead of an ordinary token",
            wrong(drawn=lambda ids, c, f, dice, m, o: (dice * len(o)).long()),
            "You used ⌊dice · N⌋ itself as the id. Ordinary ids need not start at 0, so special tokens can appear in "
            "the middle of a text, and some ordinary ones never do.",
            "⌊dice · N⌋ is an index into `ordinary`.",
            "7.6",
        ),
        Misconception(
            "index rounded instead of floored",
            wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice * (len(o) - 1)).round().long()]),
            "You rounded to the nearest index. Then the first and the last ordinary token are drawn half as often as "
            "the others.",
            "⌊dice · N⌋: multiply by N and round down. Since dice is below 1, the result is at most N - 1.",
            "7.6",
            variants=(
                wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice * (len(o) - 1)).long()]),
                wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice * len(o)).round().long().clamp(max=len(o) - 1)]),
            ),
        ),
        Misconception(
            "wrong order of the results",
            lambda *a: hide(*a)[::-1],
            "You returned the labels first, and then the input ids.",
            "return shown, labels",
            "7.6",
        ),
        Misconception(
            "kept and replaced swapped",
            wrong(shown=lambda ids, chosen, fate, dice, mask_id, ordinary: lambda new: torch.where(
                chosen & (fate >= 0.8), torch.where(fate < 0.9, ids, ordinary[(dice * len(ordinary)).long()]),
                torch.where(chosen, mask_id, ids),
            )),
            "You keep tokens where fate is between 0.8 and 0.9 and replace them from 0.9 on. As a random choice that "
            "is equivalent; but the checks pass in the numbers.",
            "0.8 ≤ fate < 0.9: random. 0.9 ≤ fate: unchanged.",
            "7.6",
        ),
        Misconception(
            "labels at every position",
            wrong(labels=lambda ids, *rest: lambda new: ids.clone()),
            "Your labels are the whole text. At six positions out of seven the answer is in the input, so the loss is "
            "mostly about copying.",
            "What is the label of a position that was not chosen?",
            "7.6",
        ),
        Misconception(
            "no labels for kept tokens",
            wrong(labels=lambda ids, chosen, fate, *rest: lambda new: torch.where(chosen & (fate < 0.9), ids, -100)),
            "Chosen tokens that were kept have no label in your code. Then there was no reason to choose them: "
            "exactly these tokens teach the model that a visible word may be right.",
            "`fate` decides what the model sees. Does it also decide what the model predicts?",
            "7.6",
        ),
        Misconception(
            "labels only at [MASK]",
            wrong(labels=lambda ids, chosen, fate, *rest: lambda new: torch.where(chosen & (fate < 0.8), ids, -100)),
            "You have labels only at [MASK]. Random and kept tokens then teach nothing: the model never predicts "
            "anything at a visible word.",
            "`fate` decides what the model sees. Does it also decide what the model predicts?",
            "7.6",
        ),
        Misconception(
            "labels taken after masking",
            wrong(labels=lambda ids, chosen, *rest: lambda new: torch.where(chosen, new, -100)),
            "Your labels are the model's own input, including [MASK]. It learns to predict [MASK].",
            "The label is the original token. Did you overwrite it first?",
            "7.6",
        ),
        Misconception(
            "masking applied to all tokens",
            wrong(shown=lambda *a: lambda new: new),
            "You applied 80/10/10 to all tokens, chosen or not: 80 % of the whole text became [MASK], and there is "
            "hardly any context left to predict from.",
            "80, 10 and 10 % are fractions of the chosen tokens.",
            "7.6",
            variants=(
                lambda ids, chosen, fate, dice, mask_id, ordinary: (
                    torch.where(fate < 0.8, mask_id, hide(ids, chosen, fate, dice, mask_id, ordinary)[0]),
                    torch.where(chosen, ids, -100),
                ),
            ),
        ),
        Misconception(
            "no random replacement",
            wrong(second=lambda *a: 0.1),
            "In your code no token is ever replaced by a random one, so the model may trust every visible word. (This "
            "happens if you test `fate < 0.8` and then `fate < 0.1` on the same number: after the first test, no "
            "number below 0.1 is left.)",
            "The three cases are consecutive intervals of one number. Where does the second start, and where does it "
            "end?",
            "7.6",
        ),
        Misconception(
            "80 % kept instead of masked",
            wrong(shown=lambda ids, chosen, fate, dice, mask_id, ordinary: lambda new: torch.where(
                chosen & (fate >= 0.8), torch.where(fate < 0.9, ordinary[(dice * len(ordinary)).long()], mask_id), ids,
            )),
            "Your fractions are reversed: most of the chosen tokens are kept.",
            "A fate below 0.8 means [MASK].",
            "7.6",
            variants=(wrong(first=lambda *a: 0.1, second=lambda *a: 0.2),),
        ),
        Misconception(
            "always [MASK] (100/0/0)",
            wrong(first=lambda *a: 2.0),
            "All chosen tokens became [MASK]. That is 100/0/0: the model never has to predict anything at a visible "
            "word, but downstream texts contain only visible words.",
            "What happens to a token with fate 0.85, and with 0.95?",
            "7.6",
        ),
        Misconception(
            "the second step overwrites the first",
            second_step_overwrites,
            "You wrote [MASK] where fate < 0.8, and then a random token where fate < 0.9. But numbers below 0.8 are "
            "also below 0.9, so you overwrote every [MASK].",
            "Test 0.8 ≤ fate < 0.9, or reverse the order.",
            "7.6",
        ),
        Misconception(
            "label 0 instead of -100",
            wrong(labels=lambda ids, chosen, *rest: lambda new: torch.where(chosen, ids, 0)),
            "Where the model predicts nothing, your label is 0. But 0 is a token id, and the loss will treat it as a "
            "target.",
            "Which label is ignored by the loss?",
            "7.6",
        ),
        Misconception(
            "label -1 instead of -100",
            wrong(labels=lambda ids, chosen, *rest: lambda new: torch.where(chosen, ids, -1)),
            "Where the model predicts nothing, your label is -1. torch's losses ignore -100, and so does the next "
            "exercise.",
            "Which label is ignored by the loss?",
            "7.6",
        ),
        Misconception(
            "≤ instead of <",
            lambda ids, chosen, fate, dice, mask_id, ordinary: (
                torch.where(
                    chosen, torch.where(fate <= 0.8, mask_id, torch.where(
                        fate <= 0.9, ordinary[(dice * len(ordinary)).long()], ids)), ids),
                torch.where(chosen, ids, -100),
            ),
            "A fate of exactly 0.8 (or 0.9) belongs to the next interval: at 0.8 the token becomes a random one, "
            "at 0.9 it stays.",
            "'Below 0.8' and 'at 0.8 or above': is that < or ≤?",
            "7.6",
        ),
        Misconception(
            "ordinary ids taken for consecutive ones",
            wrong(drawn=lambda ids, c, f, dice, m, o: o.min() + (dice * len(o)).long()),
            "You added ⌊dice · N⌋ to the smallest ordinary id. There may be gaps between ordinary ids, and they come "
            "in any order.",
            "⌊dice · N⌋ is an index into `ordinary`.",
            "7.6",
            variants=(wrong(drawn=lambda ids, c, f, dice, m, o: o[0] + (dice * len(o)).long()),),
        ),
    ],
    accepted={
        "loops": hide_by_loops,
        "boolean indexing into copies": hide_in_a_copy,
        "buckets and gather, float64": hide_by_buckets,
        "NumPy": hide_in_numpy,
    },
    hints=[
        "Start with the labels, the easier half: `torch.where(chosen, ids, -100)`. They do not depend on fate.",
        "Make three (B, T) tensors: all [MASK], random tokens everywhere, the ids themselves. Then take each position "
        "from one of them.",
        "Use `torch.where` twice for the three cases, and once more to keep the tokens that were not chosen.",
    ],
)  # fmt: skip


# 4. masked_lm_loss


def reference_loss(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


def surprises(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """-log p(label) at each position, 0 where nothing is predicted; and the predicted positions as booleans."""
    predicted = labels != -100
    picked = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]  # (B, T)
    return -picked * predicted, predicted


def mean_of(logits: Tensor, labels: Tensor, how) -> Tensor:
    return how(*surprises(logits, labels))


def naive_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    predicted = labels != -100
    chosen = logits[predicted]
    p = chosen.exp() / chosen.exp().sum(dim=-1, keepdim=True)
    picked = p.gather(-1, labels[predicted][:, None])
    return -picked.log().sum() / predicted.sum().clamp(min=1)


def log_of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    predicted = labels != -100
    picked = logits[predicted].softmax(-1).gather(-1, labels[predicted][:, None])
    return -picked.log().sum() / predicted.sum().clamp(min=1)


def with_epsilon(tiny: float, how=torch.add):
    """log(p + tiny), or log of p clamped at tiny."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        predicted = labels != -100
        picked = logits[predicted].softmax(-1).gather(-1, labels[predicted][:, None])
        return -how(picked, tiny).log().sum() / predicted.sum().clamp(min=1)

    return loss


def zero_is_an_answer(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).mean()


def shifted(logits: Tensor, labels: Tensor) -> Tensor:
    return reference_loss(logits[:, :-1], labels[:, 1:])


def loss_by_loops(logits: Tensor, labels: Tensor) -> Tensor:
    terms = []
    for b in range(labels.size(0)):
        for t in range(labels.size(1)):
            if labels[b, t] != -100:
                terms.append(torch.logsumexp(logits[b, t], 0) - logits[b, t, labels[b, t]])
    return sum(terms) / len(terms) if terms else 0.0 * logits.sum()


def loss_by_one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    hot = (labels[..., None] == torch.arange(logits.size(-1))).double()  # all zero where the label is -100
    x = logits.double() - logits.double().amax(-1, keepdim=True)
    logs = x - x.exp().sum(-1, keepdim=True).log()
    return -torch.einsum("btv,btv->", hot, logs) / max(1.0, float(hot.sum()))


def backward(function, logits, labels):
    """The loss, and the gradient that `backward()` leaves at the logits."""
    logits = logits.detach().clone().requires_grad_()
    loss = function(logits, labels)
    loss.backward()
    gradient = "none: the loss is not computed from the logits" if logits.grad is None else logits.grad
    return {"loss": loss.detach(), "gradient of the logits": gradient}


def constant_zero(logits: Tensor, labels: Tensor) -> Tensor:
    return reference_loss(logits, labels) if (labels != -100).any() else torch.zeros((), requires_grad=True)


def loss_cases(seed: int) -> list[Case]:
    generator, cases = random.Random(seed), []
    for name, height in (("ordinary logits", 0.0), ("every position at another height", 900.0)):
        B, T, V = generator.randint(2, 5), generator.randint(5, 9), generator.randint(10, 40)
        labels = [[generator.choice((-100, generator.randrange(V))) for _ in range(T)] for _ in range(B)]
        labels[0][:2] = [-100, V - 1]
        heights = height * torch.linspace(-1, 1, B * T).view(B, T, 1)
        cases.append(Case(name, logits=normal(B, T, V, seed=seed) + heights, labels=torch.tensor(labels)))
    return cases


LN = torch.tensor([[[1.0, 2.0, 1.0], [4.0, 2.0, 2.0], [1.0, 1.0, 6.0], [3.0, 4.0, 1.0]]]).log()

masked_lm_loss = Exercise(
    name="masked_lm_loss",
    asks="The mean of -log p(label) over the positions whose label is not -100.",
    reference=reference_loss,
    section="7.5",
    gradients=True,
    cases=[
        Case("p = 1/4, 1/2, 1/4 at the only predicted position", logits=LN[:, :1], labels=row(1)),
        Case("two of four positions are predicted", logits=LN, labels=row(-100, 0, -100, 2)),
        Case(
            "one row with one label, one with three", logits=normal(2, 4, 3, seed=1),
            labels=torch.tensor([[-100, 2, -100, -100], [0, 1, -100, 2]]),
        ),
        Case(
            "a row in which nothing is predicted", logits=normal(2, 3, 4, seed=2),
            labels=torch.tensor([[-100, -100, -100], [3, -100, 1]]),
        ),
        Case("nothing is predicted at all", logits=normal(2, 3, 4, seed=3), labels=torch.full((2, 3), -100)),
        Case(
            "large logits", logits=torch.tensor([[[1000.0, 0.0, 990.0], [-1000.0, 500.0, 0.0]]]), labels=row(2, 2),
        ),
        Case(
            "random numbers", logits=normal(3, 7, 9, seed=4) * 2,
            labels=torch.where(uniform(3, 7, seed=5) < 0.4, torch.arange(21).view(3, 7) % 9, -100),
        ),
        Case(
            "a position with large logits and one with small ones",
            logits=torch.tensor([[[1000.0, 998.0, 999.0], [-1000.0, -999.0, -998.0]]]), labels=row(1, 0),
        ),
        Case(
            "large logits where nothing is predicted", logits=torch.tensor([[[0.0, 1.0, 2.0], [1000.0, -1000.0, 0.0]]]),
            labels=row(1, -100),
        ),
        Case(
            "large logits, nothing is predicted at all", logits=torch.tensor([[[1000.0, -1000.0], [-1000.0, 1000.0]]]),
            labels=row(-100, -100),
        ),
        Case(
            "backward(), nothing is predicted at all", backward, logits=normal(1, 2, 3, seed=9), labels=row(-100, -100),
        ),
        Case("a vocabulary of one", logits=normal(1, 2, 1, seed=6), labels=row(0, -100)),
        Case("three hundred predictions", logits=normal(2, 150, 3, seed=7), labels=torch.arange(300).view(2, 150) % 3),
        Case(
            "a transposed tensor", logits=normal(5, 3, 2, seed=8).transpose(0, 2),
            labels=torch.tensor([[4, -100, 0], [-100, 2, 3]]),
        ),
    ],
    random_cases=loss_cases,
    misconceptions=[
        Misconception(
            "mean over all B · T positions",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum() / p.numel()),
            "You divided by B · T. Six positions out of seven are not predicted, so your loss is about a seventh of "
            "the true loss, and more padding makes it even smaller.",
            "Divide by the number of positions that were predicted.",
            "7.5",
        ),
        Misconception(
            "-100 treated as token 0",
            zero_is_an_answer,
            "Where the label is -100 your target is token 0, and it counts in the loss: the model learns to predict "
            "[PAD].",
            "Positions with label -100 must not count, neither in the sum nor in the divisor.",
            "7.5",
            variants=(
                lambda logits, labels: -logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).sum()
                / (labels != -100).sum().clamp(min=1),
            ),
        ),
        Misconception(
            "mean of per-row means",
            lambda logits, labels: mean_of(
                logits, labels, lambda s, p: (s.sum(1) / p.sum(1).clamp(min=1)).mean()
            ),
            "You averaged within each row, and then the rows. A token in a row with one masked token then counts "
            "three times as much as one in a row with three.",
            "Use one sum and one divisor for the whole batch.",
            "7.5",
            variants=(
                lambda logits, labels: mean_of(
                    logits, labels,
                    lambda s, p: (s.sum(1) / p.sum(1).clamp(min=1)).sum() / p.any(1).sum().clamp(min=1),
                ),
            ),
        ),
        Misconception(
            "a sum, not a mean",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum()),
            "You added up the losses and did not divide. A long text would have a larger loss than a short one, and "
            "larger gradients.",
            "By what number should you divide the sum?",
            "7.5",
        ),
        Misconception(
            "divided by the number of rows",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum() / len(s)),
            "You divided the sum by B, the number of rows. Rows have different numbers of masked tokens.",
            "By what number should you divide the sum?",
            "7.5",
        ),
        Misconception(
            "labels shifted as in a GPT",
            shifted,
            "You compared the logits of position t with the label of position t + 1, as a GPT does. BERT predicts at "
            "each position the original token of that same position.",
            "Which token do the logits at the position of [MASK] predict?",
            "7.5",
            variants=(
                lambda logits, labels: mean_of(logits[:, :-1], labels[:, 1:], lambda s, p: s.sum() / p.sum()),
            ),
        ),
        Misconception(
            "NaN where nothing is predicted",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum() / p.sum()),
            "If nothing is predicted, you divide 0 by 0. After one such batch, all weights are NaN.",
            "What should the loss be in this case? Which divisor gives that?",
            "7.5",
            variants=(
                lambda logits, labels: -logits[labels != -100].log_softmax(-1)
                .gather(-1, labels[labels != -100][:, None]).mean(),
            ),
        ),
        Misconception(
            "softmax overflow",
            naive_softmax,
            "exp(1000) is infinite in floating point, and ∞ / ∞ is NaN; or p underflows to 0, and log 0 is -∞. With "
            "small logits your loss is right.",
            "log p = logit - log Σ exp(logits): `torch.log_softmax` and `torch.logsumexp` compute it safely.",
            "7.5",
            variants=(log_of_softmax,),
        ),
        Misconception(
            "epsilon inside the logarithm",
            with_epsilon(1e-9),
            "You added a small epsilon to p, to avoid log 0. That avoids NaN, but the loss is wrong: 500 nats become "
            "20, and where p is small there is hardly any gradient left to learn from.",
            "log p = logit - log Σ exp(logits) needs no p: `torch.log_softmax` or `torch.logsumexp`.",
            "7.5",
            variants=(
                *(with_epsilon(10.0**-k) for k in (7, 8, 10, 12)),
                *(with_epsilon(10.0**-k, torch.clamp) for k in (7, 8, 9, 10, 12)),
            ),
        ),
        Misconception(
            "-p instead of -log p",
            lambda logits, labels: mean_of(
                logits, labels, lambda s, p: -((-s).exp() * p).sum() / p.sum().clamp(min=1)
            ),
            "You averaged -p, not -log p. A confidently wrong prediction then costs at most 1, instead of an "
            "unbounded amount.",
            "The loss is measured in nats (lesson 01).",
            "7.5",
            variants=(
                lambda logits, labels: mean_of(
                    logits, labels, lambda s, p: ((1 - (-s).exp()) * p).sum() / p.sum().clamp(min=1)
                ),
            ),
        ),
        Misconception(
            "bits instead of nats",
            lambda logits, labels: reference_loss(logits, labels) / math.log(2),
            "You used the logarithm to base 2. That gives bits; the exercise asks for nats.",
            "Nats use the natural logarithm.",
            "7.5",
        ),
        Misconception(
            "missing minus sign",
            lambda logits, labels: -reference_loss(logits, labels),
            "Your loss is the mean of log p, which is negative: to minimize it, the model would have to be wrong.",
            "-log p",
            "7.5",
        ),
        Misconception(
            "softmax over the positions",
            lambda logits, labels: -(
                logits.log_softmax(1).gather(-1, labels.clamp(min=0)[..., None])[..., 0] * (labels != -100)
            ).sum() / (labels != -100).sum().clamp(min=1),
            "Your softmax is over the positions. At each position, the probabilities must sum to 1 over the "
            "vocabulary.",
            "Logits are (B, T, V). Which dimension is the vocabulary?",
            "7.5",
        ),
        Misconception(
            "a constant 0 where nothing is predicted", constant_zero,
            "If nothing is predicted, you return a new 0 that has nothing to do with the logits, so no gradient "
            "reaches them.",
            "The sum of no numbers is 0, too. Do you need a special case?",
            "7.5",
            variants=(
                lambda logits, labels: reference_loss(logits, labels) if (labels != -100).any() else torch.zeros(()),
            ),
        ),
        Misconception(
            "label 0 ignored as well",
            lambda logits, labels: mean_of(
                logits, torch.where(labels > 0, labels, -100), lambda s, p: s.sum() / p.sum().clamp(min=1)
            ),
            "You ignored the positions with label 0, too. 0 is a token like any other; only -100 means that nothing is "
            "predicted.",
            "`labels > 0` or `labels >= 0`?",
            "7.5",
        ),
        Misconception(
            "one maximum for the whole batch",
            lambda logits, labels: -(
                (z := logits[labels != -100] - logits.max()).gather(-1, labels[labels != -100][:, None])[:, 0]
                - z.exp().sum(-1).log()
            ).sum() / (labels != -100).sum().clamp(min=1),
            "You subtracted the largest logit of all positions. Where a position's logits are far below it, every exp "
            "is 0, and log 0 is -∞.",
            "Each position has its own maximum; `torch.logsumexp` knows that.",
            "7.5",
        ),
        Misconception(
            "divided by V as well",
            lambda logits, labels: mean_of(
                logits, labels, lambda s, p: s.sum() / p.sum().clamp(min=1) / logits.size(-1)
            ),
            "You also divided by V, perhaps by taking a mean over the whole one-hot tensor. Only one number of each "
            "position counts.",
            "How many numbers did you add up, and how many of them are not 0?",
            "7.5",
        ),
    ],
    accepted={
        "loops and logsumexp": loss_by_loops,
        "one-hot, einsum, float64": loss_by_one_hot,
        "boolean indexing": lambda logits, labels: -(
            logits[labels != -100].log_softmax(-1).gather(-1, labels[labels != -100][:, None]).sum()
        ) / max(1, int((labels != -100).sum())),
    },
    forbidden=LOSSES,
    hints=[
        "Ignore the batch: for one position with logits z and label y, what is -log p(y)? (lesson 01, or log_softmax)",
        "`predicted = labels != -100` marks the predicted positions. `logits[predicted]` is (N, V), "
        "`labels[predicted]` is (N,).",
        "Take log_softmax along V, `gather` the labels' column, sum, divide by max(1, N), and negate.",
    ],
)  # fmt: skip


# 5. next_sentence_pair

FIRST_LOOK = 400  # pairs after which most mistakes are known


def drawn_pairs(draw, documents: list[list[str]], seed: int, draws: int) -> dict:
    """Many pairs, or those up to the first mistake; the first few of a second generator in the same state; and whether
    the last call modified the documents."""
    generator, again = random.Random(seed), random.Random(seed)
    drawn = {"pairs": [], "again": [], "modified": False}
    for total in (FIRST_LOOK, draws):
        while len(drawn["pairs"]) < total:
            copy = [list(document) for document in documents]
            pair = draw(copy, generator)
            if copy != documents:
                return {**drawn, "modified": True}
            if isinstance(pair, tuple | list) and len(pair) == 3 and getattr(pair[2], "shape", None) == ():
                pair = (*pair[:2], pair[2].item())  # a NumPy boolean, or a tensor without dimensions
            drawn["pairs"].append(tuple(pair) if is_pair(pair) else pair)
            if not is_pair(pair):
                return drawn
            if len(drawn["again"]) < FIRST_LOOK:
                drawn["again"].append(tuple(draw(copy, again)))
        if impossible_pair(drawn["pairs"], documents):
            break
    return drawn


def is_pair(pair) -> bool:
    """Whether this is two texts and a boolean."""
    if not (isinstance(pair, tuple | list) and len(pair) == 3):
        return False
    return isinstance(pair[0], str) and isinstance(pair[1], str) and isinstance(pair[2], bool)


def survey(get, documents: list[list[str]], seed: int, draws: int) -> str:
    """The verdict on many pairs."""
    drawn = get()
    pairs = [tuple(pair) if isinstance(pair, list) else pair for pair in drawn["pairs"]]
    for i, pair in enumerate(pairs):
        if not is_pair(pair):
            three = isinstance(pair, tuple) and len(pair) == 3
            return f"it does not return {'two texts and True or False' if three else 'three values'}"
        if i < FIRST_LOOK and pair != tuple(drawn["again"][i]):
            return "two generators in the same state give different pairs"
    if drawn["modified"]:
        return "the documents were modified"
    mistake = impossible_pair(pairs[:FIRST_LOOK], documents) or impossible_pair(pairs, documents)
    if mistake:
        return mistake
    return "too few pairs" if len(pairs) < draws else wrong_distribution(pairs, documents) or "fine"


def places(documents: list[list[str]]) -> dict[str, tuple[int, int]]:
    """Sentence → its document, and its index there."""
    return {sentence: (d, i) for d, document in enumerate(documents) for i, sentence in enumerate(document)}


def impossible_pair(pairs: list[tuple[str, str, bool]], documents: list[list[str]]) -> str:
    """What is wrong with some of the pairs, or an empty string."""
    place = places(documents)
    if len(set(pairs)) == 1:
        return "every call gives the same pair"
    if any(sentence not in place for pair in pairs for sentence in pair[:2]):
        return "it returns texts that are not sentences of the documents"
    if any(place[first][1] == len(documents[place[first][0]]) - 1 for first, _, _ in pairs):
        return "the first text is sometimes the last sentence of its document, which has no successor"
    really = [place[second] == (place[first][0], place[first][1] + 1) for first, second, _ in pairs]
    labels = [follows for _, _, follows in pairs]
    same = [place[first][0] == place[second][0] for first, second, _ in pairs]
    if all(a != b for a, b in zip(really, labels, strict=True)):
        return "all labels are inverted"
    for (first, second, follows), next_one, same_document in zip(pairs, really, same, strict=True):
        if follows and not next_one:
            if not same_document:
                return "some pairs from different documents are labeled True"
            where = "comes before the first" if place[second] < place[first] else "is not next"
            return f"some pairs are labeled True whose second text {where}"
    if any(next_one and not follows for next_one, follows in zip(really, labels, strict=True)):
        return "some pairs are labeled False although the second text follows the first"
    if any(same_document and not follows for same_document, follows in zip(same, labels, strict=True)):
        return "some pairs from the same document are labeled False"
    if len(set(labels)) == 1:
        return "all pairs follow" if labels[0] else "no pair follows"
    return ""


def is_unfair(labels: list[bool], deviations: float) -> bool:
    """Whether the fraction of True is more than this many standard deviations away from a half."""
    return abs(sum(labels) / len(labels) - 0.5) > deviations * 0.5 / len(labels) ** 0.5


def wrong_distribution(pairs: list[tuple[str, str, bool]], documents: list[list[str]]) -> str:
    """What is wrong with how often pairs occur, or an empty string."""
    place = places(documents)
    labels = [follows for _, _, follows in pairs]
    if is_unfair(labels, 4.5):  # a fair coin is rejected less than once in a hundred thousand times
        return f"{'more' if sum(labels) > len(labels) / 2 else 'fewer'} than half of the pairs follow"

    starts = {(d, i) for d, document in enumerate(documents) for i in range(len(document) - 1)}
    if starts != {place[first] for first, _, _ in pairs}:
        used = {place[first] for first, _, _ in pairs}
        if all(i == 0 for _, i in used):
            return "the first text is always the first sentence of its document"
        if all(i + 2 == len(documents[d]) for d, i in starts - used):
            return "the second-to-last sentence is never the first text, except in documents of two sentences"
        return "some sentences are never the first text"
    by_start = {start: [follows for first, _, follows in pairs if place[first] == start] for start in starts}
    if any(is_unfair(labels, 5.5) for labels in by_start.values()):
        return "the first text reveals whether the second follows it"
    negatives = {(place[first], place[second]) for first, second, follows in pairs if not follows}
    for d, e in product(range(len(documents)), repeat=2):
        if d != e and not any(a[0] == d and b[0] == e for a, b in negatives):
            return "sentences of some documents are never paired with sentences of some other documents"
    never = set(place.values()) - {b for _, b in negatives}
    if never and all(i == 0 for _, (_, i) in negatives):
        return "a second text that does not follow is always the first sentence of its document"
    if never and all(i + 1 == len(documents[d]) for d, i in never):
        return "a second text that does not follow is never the last sentence of its document"
    if never:
        return "some sentences are never the second text of a negative pair"
    possible = [(a, b) for a in starts for b in place.values() if a[0] != b[0]]
    if len(pairs) >= 80 * len(possible) and not negatives.issuperset(possible):
        return "some first texts are never paired with some sentences of other documents"
    return ""


def pair_by(documents, g, first=None, other=None, coin=lambda g: g.random() < 0.5, following=None, label=None):
    """One pair, drawn with replaceable (possibly wrong) steps."""
    d, i = first(documents, g) if first else start(documents, g)
    follows = coin(g)
    if follows:
        second = following(documents, d, i, g) if following else documents[d][i + 1]
    else:
        second = other(documents, d, i, g) if other else elsewhere(documents, d, i, g)
    return documents[d][i], second, label(follows) if label else follows


def start(documents, g):
    d = g.randrange(len(documents))
    return d, g.randrange(len(documents[d]) - 1)


def elsewhere(documents, d, i, g):
    return g.choice(documents[g.choice([e for e in range(len(documents)) if e != d])])


def all_pairs_first(documents, g):
    positives = [(d, i) for d, document in enumerate(documents) for i in range(len(document) - 1)]
    d, i = g.choice(positives)
    if g.randrange(2):
        return documents[d][i], documents[d][i + 1], True
    return documents[d][i], g.choice([s for e, doc in enumerate(documents) if e != d for s in doc]), False


def by_rejection(documents, g):
    while True:
        a, b = g.randrange(len(documents)), g.randrange(len(documents))
        i, j = int(g.random() * len(documents[a])), int(g.random() * len(documents[b]))
        if a != b and i + 1 < len(documents[a]):
            break
    if g.getrandbits(1):
        return [documents[a][i], documents[a][i + 1], True]
    return [documents[a][i], documents[b][j], False]


def by_shuffling(documents, g):
    first, other = g.sample(documents, 2)
    i = g.randint(0, len(first) - 2)
    follows = g.uniform(0, 1) >= 0.5
    return first[i], first[i + 1] if follows else g.sample(other, 1)[0], follows


def by_removal(documents, g, order=None):
    """Remove the first text's document from the caller's list (and perhaps change its order)."""
    documents[:] = order or documents
    first = documents.pop(g.randrange(len(documents)))
    i = g.randrange(len(first) - 1)
    follows = g.random() < 0.5
    return first[i], first[i + 1] if follows else g.choice(g.choice(documents)), follows


def any_start(documents, g):
    d = g.randrange(len(documents))
    return d, g.randrange(len(documents[d]))


def same_document(documents, d, i, g):
    rest = [s for j, s in enumerate(documents[d]) if j not in (i, i + 1)]
    return g.choice(rest) if rest else elsewhere(documents, d, i, g)


def anywhere(documents, d, i, g):
    return g.choice([s for document in documents for s in document if s != documents[d][i]])


def later(documents, d, i, g):
    return documents[d][g.randrange(i + 1, len(documents[d]))]


FOUR_STORIES = [
    ["Anna lost her key.", "She looked under the bed.", "There it was."],
    ["Paul planted a seed.", "He watered it every day.", "A cabbage grew.", "He gave it to Grandmother."],
    ["A storm came up.", "The boat was gone."],
    ["Maya had a drum.", "It broke.", "The tailor could not mend it.", "She kept one piece.", "Nobody sang."],
]
THREE_STORIES = [[f"{name} {i}" for i in range(n)] for name, n in (("red", 2), ("green", 6), ("blue", 3))]

TWO_STORIES = [["The sun rose.", "The birds sang."], ["A ship came in.", "It brought oranges."]]


def pair_cases(seed: int) -> list[Case]:
    generator = random.Random(seed)
    lengths = [generator.randint(2, 5) for _ in range(generator.randint(3, 4))]
    documents = [[f"sentence {i} of text {d}" for i in range(n)] for d, n in enumerate(lengths)]
    return [
        Case(
            f"{len(lengths)} texts of {lengths} sentences",
            run=drawn_pairs,
            judge=survey,
            documents=documents,
            seed=seed,
            draws=3000,
        )
    ]


next_sentence_pair = Exercise(
    name="next_sentence_pair",
    asks="Draw a sentence and, with probability one half, its successor, otherwise a sentence of another document.",
    reference=pair_by,
    section="7.7",
    cases=[
        Case(
            "8,000 pairs from four stories", run=drawn_pairs, judge=survey, documents=FOUR_STORIES, seed=0, draws=8000,
        ),
        Case("4,000 pairs from three", run=drawn_pairs, judge=survey, documents=THREE_STORIES, seed=1, draws=4000),
        Case(
            "1,000 pairs from two stories of two sentences", run=drawn_pairs, judge=survey,
            documents=TWO_STORIES, seed=2, draws=1000,
        ),
    ],
    random_cases=pair_cases,
    misconceptions=[
        Misconception(
            "first text without a successor",
            lambda documents, g: pair_by(
                documents, g, first=any_start,
                following=lambda docs, d, i, g: docs[d][(i + 1) % len(docs[d])],
            ),
            "Your first text can be the last sentence of a document, which has no successor.",
            "How many sentences of a document with n sentences have a successor?",
            "7.7",
            variants=(
                lambda documents, g: pair_by(documents, g, first=any_start),
                lambda documents, g: pair_by(documents, g, first=any_start, coin=lambda g: False),
            ),
        ),
        Misconception(
            "negatives from the same document",
            lambda documents, g: pair_by(documents, g, other=same_document),
            "The second text of your negative pairs comes from the same document. That is another, harder task (about "
            "order, not topic); the exercise asks for another document.",
            "Draw another document first, and then one of its sentences.",
            "7.7",
        ),
        Misconception(
            "accidental positives among the negatives",
            lambda documents, g: pair_by(documents, g, other=anywhere),
            "You draw the second text from all sentences. Sometimes that is the very sentence that follows, with the "
            "label False.",
            "Which document must be left out of the draw?",
            "7.7",
        ),
        Misconception(
            "inverted labels",
            lambda documents, g: pair_by(documents, g, label=lambda follows: not follows),
            "Your labels are inverted. (In BERT's weights class 0 means 'follows', which confuses many people; here "
            "it is simply True.)",
            "What should the third result be when the second text is the next sentence?",
            "7.7",
        ),
        Misconception(
            "constant label True",
            lambda documents, g: pair_by(documents, g, label=lambda follows: True),
            "Your label is True for every pair, so there is nothing to learn.",
            "The coin decides two things: the second text and the label.",
            "7.7",
        ),
        Misconception(
            "any later sentence instead of the next",
            lambda documents, g: pair_by(documents, g, following=later),
            "In positive pairs you take any later sentence of the document. The next sentence is the one right after "
            "the first.",
            "What is the index of the sentence after sentence i?",
            "7.7",
        ),
        Misconception(
            "previous sentence instead of the next",
            lambda documents, g: pair_by(
                documents, g, following=lambda docs, d, i, g: docs[d][i - 1] if i else docs[d][1]
            ),
            "In your positive pairs, the second text comes before the first one in the document.",
            "First i, then i + 1.",
            "7.7",
        ),
        Misconception(
            "more positives than negatives",
            lambda documents, g: pair_by(documents, g, coin=lambda g: g.randrange(3) > 0),
            "More than half of your pairs are positive. Then always predicting 'follows' is right more often than "
            "not, and that is what a model learns first.",
            "How probable should True be?",
            "7.7",
        ),
        Misconception(
            "more negatives than positives",
            lambda documents, g: pair_by(documents, g, coin=lambda g: g.randrange(3) == 0),
            "Fewer than half of your pairs are positive. Then always predicting 'does not follow' is right more often "
            "than not.",
            "How probable should True be?",
            "7.7",
        ),
        Misconception(
            "no negatives",
            lambda documents, g: pair_by(documents, g, coin=lambda g: True),
            "All your pairs are positive. A classifier needs negatives, too.",
            "Toss a coin with the generator.",
            "7.7",
        ),
        Misconception(
            "negatives always start a document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: docs[g.choice([e for e in range(len(docs)) if e != d])][0]
            ),
            "The second text of a negative pair is always the first sentence of its document. 'Once there was a …' "
            "then gives it away, and the model can ignore the first text.",
            "Draw any sentence of the other document.",
            "7.7",
        ),
        Misconception(
            "negatives never end a document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: g.choice(
                    docs[g.choice([e for e in range(len(docs)) if e != d])][:-1]
                )
            ),
            "The second text of a negative pair is never the last sentence of its document. The end of a story then "
            "always means 'follows', and the model can ignore the first text.",
            "Only the first text needs a successor. The second text can be any sentence of the other document.",
            "7.7",
        ),
        Misconception(
            "off by one: last pair left out",
            lambda documents, g: pair_by(
                documents, g,
                first=lambda docs, g: (d := g.randrange(len(docs)), g.randrange(max(1, len(docs[d]) - 2))),
            ),
            "The second-to-last sentence of a document is never your first text. But it has a successor, the last "
            "sentence.",
            "`randrange(n - 1)` draws from 0 … n - 2. Which is the last index that has a successor?",
            "7.7",
        ),
        Misconception(
            "caller's documents modified",
            by_removal,
            "Your function modifies the documents: it removes, adds or reorders something. After a few calls there "
            "may be nothing left to draw from.",
            "`remove`, `pop`, `sort` and `shuffle` change the caller's list. Make a new list: "
            "[d for d in documents if d is not …].",
            "7.7",
            variants=(lambda documents, g: by_removal(documents, g, g.sample(documents, len(documents))),),
        ),
        Misconception(
            "first text always starts a document",
            lambda documents, g: pair_by(documents, g, first=lambda docs, g: (g.randrange(len(docs)), 0)),
            "Your first text is always the first sentence of its document.",
            "Draw i as well.",
            "7.7",
        ),
        Misconception(
            "negatives always from the next document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: g.choice(docs[(d + 1) % len(docs)])
            ),
            "The other document is always the next one in the list. Neighbors often have the same topic (chapters of "
            "a book), and the model sees few combinations.",
            "Draw any document except that of the first text.",
            "7.7",
        ),
        Misconception(
            "global random state instead of the generator",
            lambda documents, g: pair_by(documents, random),
            "You draw from the global `random`, not from the generator that was passed in. So your pairs are not "
            "reproducible, and two processes that should draw different pairs may draw the same.",
            "Replace every call of `random.…` by `generator.…`.",
            "7.7",
            variants=(
                lambda documents, g: pair_by(documents, g, coin=lambda g: random.random() < 0.5),
                lambda documents, g: pair_by(documents, random.Random()),
            ),
        ),
        Misconception(
            "one random number for two decisions",
            lambda documents, g: (
                d := int((r := g.random()) * len(documents)), i := g.randrange(len(documents[d]) - 1),
                follows := r < 0.5,
                (documents[d][i], documents[d][i + 1] if follows else elsewhere(documents, d, i, g), follows),
            )[-1],
            "Whether the second text follows depends on what the first one is, so the model can tell from the first "
            "text alone. Perhaps you used one random number for both.",
            "Draw a new random number for each decision.",
            "7.7",
            variants=(
                lambda documents, g: (
                    d := g.randrange(len(documents)), i := g.randrange(len(documents[d]) - 1), follows := d % 2 == 0,
                    (documents[d][i], documents[d][i + 1] if follows else elsewhere(documents, d, i, g), follows),
                )[-1],
            ),
        ),
        Misconception(
            "negatives at the same place in another document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: (
                    e := g.choice([e for e in range(len(docs)) if e != d]), docs[e][min(i + 1, len(docs[e]) - 1)]
                )[1],
            ),
            "The second text of a negative pair is at the place after the first one, in another document. Every "
            "sentence of the other document must be possible.",
            "Draw an index of its own for the other document.",
            "7.7",
            variants=(
                lambda documents, g: pair_by(
                    documents, g, other=lambda docs, d, i, g: (
                        e := g.choice([e for e in range(len(docs)) if e != d]), docs[e][min(i, len(docs[e]) - 1)]
                    )[1],
                ),
            ),
        ),
        Misconception(
            "generator reseeded at every call",
            lambda documents, g: pair_by(documents, random.Random(0)),
            "You create a new generator with a fixed seed in every call, so every call gives the same pair.",
            "Use the generator that is passed in: its state advances with every draw.",
            "7.7",
        ),
        Misconception(
            "label 0 or 1 instead of a boolean",
            lambda documents, g: pair_by(documents, g, label=int),
            "Your label is a number. It should be True or False.",
            "`generator.random() < 0.5` is a boolean.",
            "7.7",
            variants=(lambda documents, g: pair_by(documents, g, label=lambda follows: int(not follows)),),
        ),
    ],
    accepted={
        "all pairs first": all_pairs_first,
        "by rejection, as a list": by_rejection,
        "sample and uniform": by_shuffling,
        "NumPy's booleans": lambda documents, g: pair_by(documents, g, label=np.bool_),
    },
    hints=[
        "Make up to four draws: a document, one of its sentences, a coin toss, and, for a negative pair, another "
        "document and one of its sentences.",
        "Draw a document d, then i = generator.randrange(len(documents[d]) - 1), so that sentence i + 1 exists.",
        "For the other document: generator.choice([e for e in range(len(documents)) if e != d]).",
    ],
)  # fmt: skip


# 6. better_than_it_is


def measure(find) -> str:
    """The verdict on the student's language."""
    p = find()
    if not torch.is_tensor(p):
        return "it is not a tensor"
    if p.dim() != 2 or p.size(0) != p.size(1):
        return "it is not a square tensor (V, V)"
    if not 2 <= p.size(0) <= 100:
        return "V is not from 2 to 100"
    p = p.double()
    if not p.isfinite().all() or (p < 0).any():
        return "some probabilities are negative, infinite or NaN"
    if abs(float(p.sum()) - 1) > 1e-4:
        by_row = torch.allclose(p.sum(1), torch.ones(len(p), dtype=p.dtype), atol=1e-3)
        return f"the probabilities do not sum to 1{', but each row does' if by_row else ''}"
    joint = entropy(p.flatten())
    first, second = entropy(p.sum(1)), entropy(p.sum(0))
    perplexity, pseudo = math.exp(joint / 2), math.exp((joint - second + joint - first) / 2)
    if perplexity >= 3 - 1e-5 and pseudo <= 1.01 + 1e-5:
        return "fine"
    if perplexity <= 1.01:
        return "there is only one sentence, so both numbers are 1"
    if pseudo <= 1.01 + 1e-5:
        return "the pseudo-perplexity is small enough, but the perplexity is too small"
    if abs(perplexity - pseudo) < 0.01 * perplexity:
        return "the two numbers are equal: the two words are independent"
    if min(joint - first, joint - second) < 0.01:
        return "one word determines the other, but not vice versa"
    return "the pseudo-perplexity is too large"


def entropy(p: Tensor) -> float:
    return float(-torch.special.xlogy(p, p).sum())


def permutation() -> Tensor:
    p = torch.zeros(12, 12, dtype=torch.float64)
    for i in range(12):
        p[i, (5 * i + 3) % 12] = 1 / 12
    return p


def one_way() -> Tensor:
    p = torch.zeros(20, 20)
    p[torch.arange(20), torch.arange(20) % 2] = 1 / 20
    return p


better_than_it_is = Exercise(
    name="better_than_it_is",
    asks="Find p (V, V) whose perplexity per word is at least 3 and whose pseudo-perplexity is at most 1.01.",
    reference=lambda: torch.eye(16) / 16,
    section="7.10",
    cases=[Case("your language", judge=measure)],
    misconceptions=[
        Misconception(
            "independent words", lambda: torch.full((10, 10), 0.01),
            "In your language the two words are independent. Then seeing one does not help to predict the other, and "
            "the two numbers are equal.",
            "What must one word reveal about the other to make the pseudo-perplexity small?", "7.10",
            variants=(lambda: torch.outer(torch.arange(1, 11.0), torch.arange(2, 12.0)) / (55 * 65),),
        ),
        Misconception(
            "only one sentence", lambda: F.one_hot(torch.tensor(34), 100).view(10, 10) * 1.0,
            "Your language has a single sentence, which is easy to predict in either direction: both numbers are 1.",
            "The perplexity must be large. How many sentences do you need?", "7.10",
        ),
        Misconception(
            "conditional instead of joint probabilities", lambda: torch.eye(16),
            "Each of your rows sums to 1, as if p[i, j] were the probability of j after i. The exercise asks for the "
            "probability of the whole sentence, and all sentences together sum to 1.",
            "Divide by the number of rows.", "7.10",
        ),
        Misconception(
            "too few sentences", lambda: torch.eye(4) / 4,
            "You have the idea, but too few sentences: N equally probable ones have a perplexity per word of √N.",
            "How large must N be to make √N at least 3?", "7.10",
            variants=(lambda: torch.tensor([[0.5, 0.0], [0.0, 0.5]]),),
        ),
        Misconception(
            "only one word determines the other", one_way,
            "One of your words determines the other, but not vice versa, so one of the two is still hard to predict.",
            "Look at the sum over both words in section 7.10: both terms must be small.", "7.10",
            variants=(lambda: one_way().T.contiguous(),),
        ),
        Misconception(
            "pseudo-perplexity slightly too large",
            lambda: 0.9 * torch.eye(16) / 16 + 0.1 * torch.full((16, 16), 1 / 256),
            "Your words help to predict each other, but not well enough: the pseudo-perplexity is above 1.01.",
            "How certain is a word once the other one is known?", "7.10",
        ),
        Misconception(
            "probabilities do not sum to 1", lambda: torch.eye(16) / 8,
            "Your probabilities do not sum to 1.", "The sum over all sentences of the language must be 1.", "7.10",
            variants=(lambda: torch.eye(16) / 20, lambda: torch.full((16, 16), 0.01)),
        ),
        Misconception(
            "logits instead of probabilities", lambda: torch.eye(16).log(),
            "Some of your probabilities are negative, infinite or NaN.", "Use numbers from 0 to 1.", "7.10",
            variants=(lambda: 2 * torch.eye(16) - 1,),
        ),
        Misconception(
            "a vector instead of a matrix", lambda: torch.full((16,), 1 / 16),
            "p should have a row for each first word and a column for each second word.",
            "Return (V, V), with V from 2 to 100.",
            "7.10", variants=(lambda: torch.full((9, 16), 1 / 144),),
        ),
        Misconception(
            "not a tensor", lambda: (torch.eye(16) / 16).tolist(),
            "Your p is not a tensor. Convert lists with `torch.tensor(…)`.", "`torch.tensor(p)`", "7.10",
        ),
        Misconception(
            "vocabulary size out of range", lambda: torch.eye(200) / 200,
            "Your language has more than a hundred words, or only one. A hundred is more than enough.",
            "N equally probable sentences have a perplexity per word of √N.", "7.10",
        ),
    ],
    accepted={
        "another pairing, float64": permutation,
        "unequal probabilities": lambda: torch.diag(torch.arange(1.0, 31.0)) / (30 * 31 / 2),
        "nine sentences": lambda: torch.eye(9) / 9,
        "a hundred sentences": lambda: torch.eye(100, dtype=torch.float64).flip(0) / 100,
    },
    hints=[
        "Perplexity is about how many sentences there are; pseudo-perplexity is about how hard a word is once the "
        "other one is known. Use many sentences whose words are easy to predict from each other.",
        "In section 7.10, *he* and *she* ruled out half of the names. What if every first word had its own second "
        "word?",
        "Put one nonzero entry in each row and each column of p. How large must V be to make √V at least 3?",
    ],
)  # fmt: skip

EXERCISES = [
    padding_mask,
    choose_masked,
    apply_80_10_10,
    masked_lm_loss,
    next_sentence_pair,
    better_than_it_is,
    WrittenAnswer(
        "WHY_PSEUDO", "Why do the two numbers differ, in which direction, and what is wrong with the comparison?", 40,
        ["Write both as sums of entropies. Which words is each term conditioned on?"], "7.10",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, and what do you conclude?", 60,
        ["Change one thing at a time; three seeds say more than one."], "7.8",
    ),
]  # fmt: skip
