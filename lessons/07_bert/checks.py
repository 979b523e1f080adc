"""What is checked in lesson 07, and the known mistakes."""

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
    """Numbers from 0 to 1, the same every time."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def booleans(*rows: str) -> Tensor:
    """TTF → True, True, False."""
    return torch.tensor([[letter == "T" for letter in row] for row in rows])


# 1. padding_mask


def attend(make, attention_mask: Tensor, x: Tensor) -> Tensor | str:
    """What comes out at the real positions, (N, H, D), if x (B, H, T, D) attends to itself under the mask."""
    mask = make(attention_mask)
    if not torch.is_tensor(mask):
        return "the mask is not a tensor"
    if mask.dtype != torch.bool:
        return "the mask does not consist of booleans"
    B, H, T, _ = x.shape
    try:
        fits = torch.broadcast_shapes(mask.shape, (B, H, T, T)) == (B, H, T, T)
    except RuntimeError:
        fits = False
    if not fits:
        return f"a mask of shape {tuple(mask.shape)} does not broadcast to (B, H, T, T) = {(B, H, T, T)}"
    return library.explicit_attention(x, x, x, mask)[0].transpose(1, 2)[attention_mask]


def by_lengths(attention_mask: Tensor) -> Tensor:
    rows = []
    for row in attention_mask:
        rows.append([[[bool(row[s]) for s in range(len(row))] for _ in range(len(row))]])
    return torch.tensor(rows)


ONE_HOT = torch.eye(3).expand(1, 1, 3, 3) * 3

padding_mask = Exercise(
    name="padding_mask",
    asks="Say who may attend to whom in an encoder: everybody to every real token, nobody to padding.",
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
    ],
    misconceptions=[
        Misconception(
            "True means hidden",
            lambda attention_mask: ~attention_mask[:, None, None, :],
            "Your mask is right, but the other way around: it lets everybody look at padding, and at nothing else.",
            "Here True means: may attend. What is `attention_mask` where somebody may be looked at?",
            "7.3",
        ),
        Misconception(
            "two dimensions only",
            lambda attention_mask: attention_mask,
            "You returned a mask (B, T). Broadcasting fits dimensions from the right, so it is read as (query, key): "
            "row b of the batch becomes the mask of query b, in every row.",
            "(B, T) must become (B, 1, 1, T). `attention_mask[:, None]` inserts a dimension of size 1.",
            "7.3",
        ),
        Misconception(
            "three dimensions",
            lambda attention_mask: attention_mask[:, None, :],
            "You returned a mask (B, 1, T). Broadcasting fits dimensions from the right, so B comes to stand where the "
            "heads are.",
            "Write (B, H, T, T) and below it, aligned on the right, the shape of your mask.",
            "7.3",
        ),
        Misconception(
            "causal as well",
            lambda attention_mask: attention_mask[:, None, None, :] & torch.ones(attention_mask.size(1),
            attention_mask.size(1), dtype=torch.bool).tril(),
            "You also hid the future. That is a GPT; BERT hides words instead, so that it can look both ways.",
            "What may a position not see, in an encoder?",
            "7.3",
        ),
        Misconception(
            "nobody sees itself",
            lambda attention_mask: attention_mask[:, None, None, :] & ~torch.eye(attention_mask.size(1),
            dtype=torch.bool),
            "You let no position look at itself. There is no need: where a token is to be guessed, [MASK] stands. "
            "(And it would not help: after one layer the neighbors know the token, and the second layer asks them.)",
            "Everybody may look at everything that is real.",
            "7.2",
        ),
        Misconception(
            "padding is looked at",
            lambda attention_mask: attention_mask[:, None, :, None],
            "Your mask lets words attend to padding. Perhaps it hides the rows of padding, the queries, and not the "
            "columns; perhaps it hides nothing. Either way the same text gives another result in a longer batch.",
            "The last dimension of the mask is the position that is looked at. Which of its columns must be False?",
            "7.3",
            variants=(lambda attention_mask: torch.ones_like(attention_mask)[:, None, None, :],),
        ),
        Misconception(
            "one mask for all rows",
            lambda attention_mask: attention_mask[:1, None, None, :],
            "You took the padding of the first row for all. The rows of a batch have different lengths.",
            "Where did the dimension B go?",
            "7.3",
        ),
        Misconception(
            "numbers to be added",
            lambda attention_mask: torch.zeros(attention_mask.shape).masked_fill(~attention_mask, -math.inf)[:, None,
            None, :],
            "Your mask holds 0 and -inf, to be added to the scores. That is a convention too, but not that of this "
            "course: here masks are True and False.",
            "`attention_mask` is boolean already. Does it have to be anything else?",
            "7.3",
            variants=(lambda attention_mask: attention_mask[:, None, None, :].int(), lambda attention_mask:
            attention_mask[:, None, None, :].float()),
        ),
    ],
    accepted={
        "view": lambda attention_mask: attention_mask.view(attention_mask.size(0), 1, 1, -1),
        "both must be real": lambda attention_mask: (attention_mask[:, :, None] & attention_mask[:, None, :])[:, None],
        "lists, written out": by_lengths,
        "by einsum": lambda attention_mask: torch.einsum(
            "bt,bs->bts", torch.ones(attention_mask.shape), attention_mask.float()
        ).gt(0.5).unsqueeze(1),
    },
    hints=[
        "Draw the (T, T) mask of one row with one padded position at the end: queries are rows, keys are columns.",
        "All rows of that drawing are the same: a key is padding or not, whoever looks. So the query's dimension can "
        "have size 1.",
        "(B, T) → (B, 1, 1, T), by indexing with None twice.",
    ],
)  # fmt: skip


# 2. choose_masked

FIRST_FIVE = torch.tensor([True] * 5 + [False] * 25)  # [PAD], [UNK], [CLS], [SEP], [MASK] and 25 ordinary ids


def half_up(x: float) -> int:
    return math.floor(x + 0.5)


def choose(ids, special, u, share, size=lambda n, share: max(1, half_up(share * n)), allowed=None, rank=None):
    """The choice of exercise 2, row by row, with every detail open to being wrong."""
    rows = []
    for b in range(len(ids)):
        ordinary = [t for t in range(ids.size(1)) if not special[ids[b, t]]]
        candidates = ordinary if allowed is None else allowed(ids[b])
        count = size(len(ordinary), share) if ordinary else 0
        order = sorted(candidates, key=lambda t: float(u[b, t]) if rank is None else rank(u, b, t))
        rows.append([t in order[:count] for t in range(ids.size(1))])
    return torch.tensor(rows)


def by_sorting(ids: Tensor, special: Tensor, u: Tensor, share: float) -> Tensor:
    """The reference: the ranks of the numbers, special tokens last."""
    ordinary = ~special[ids]
    n = ordinary.sum(dim=1)
    count = (share * n + 0.5).floor().long().clamp(min=1)[:, None]  # (B, 1)
    ranks = u.masked_fill(~ordinary, math.inf).argsort(dim=1).argsort(dim=1)  # (B, T): 0 for the smallest
    return ordinary & (ranks < count)


def by_threshold(ids, special, u, share):
    out = torch.zeros_like(ids, dtype=torch.bool)
    for b in range(ids.size(0)):
        candidates = torch.nonzero(~special[ids[b]])[:, 0]
        if candidates.numel():
            k = max(1, int(share * candidates.numel() + 0.5))
            limit = u[b, candidates].kthvalue(k).values
            out[b, candidates] = u[b, candidates] <= limit
    return out


def by_numpy(ids, special, u, share):
    ids, special, u = ids.numpy(), special.numpy(), u.double().numpy()
    out = np.zeros(ids.shape, dtype=bool)
    for row, numbers, result in zip(ids, u, out, strict=True):
        candidates = np.flatnonzero(~special[row])
        if len(candidates):
            k = max(1, int(np.floor(share * len(candidates) + 0.5)))
            result[candidates[np.argsort(numbers[candidates])[:k]]] = True
    return torch.from_numpy(out)


def by_topk(ids, special, u, share):
    keys = torch.where(special[ids], torch.full_like(u, -1.0), 1 - u)
    result = torch.zeros(ids.shape)
    for b, row in enumerate(keys):
        n = int((row >= 0).sum())
        if n:
            result[b].scatter_(0, row.topk(max(1, half_up(share * n))).indices, 1.0)
    return result > 0


def counts(ids, special, share):
    """How many are to be chosen in each row, (B, 1)."""
    return (share * (~special[ids]).sum(dim=1, keepdim=True) + 0.5).floor().clamp(min=1)


def whole_batch(ids, special, u, share):
    """One count and one ranking for all rows together."""
    return choose(ids.view(1, -1), special, u.reshape(1, -1), share).view(ids.shape)


def special_removed_afterwards(ids, special, u, share):
    everything = torch.zeros_like(special)
    n = (~special[ids]).sum(dim=1)
    rows = []
    for b in range(len(ids)):
        count = max(1, half_up(share * int(n[b])))
        rows.append(choose(ids[b : b + 1], everything, u[b : b + 1], share, lambda _, __, count=count: count)[0])
    return torch.stack(rows) & ~special[ids]


def share_of_everything(ids, special, u, share):
    return choose(ids, special, u, share, lambda n, share: max(1, half_up(share * ids.size(1))))


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

choose_masked = Exercise(
    name="choose_masked",
    asks="In each row choose share · n of its n ordinary tokens: those with the smallest random numbers.",
    reference=by_sorting,
    section="7.5",
    cases=[
        Case(
            "four ordinary tokens, half of them", ids=row(2, 7, 8, 9, 6, 3, 0), special=FIRST_FIVE,
            uniform=torch.tensor([[0.1, 0.9, 0.2, 0.4, 0.7, 0.3, 0.0]]), share=0.5,
        ),
        Case(
            "ten ordinary tokens, a quarter: 2.5", ids=row(2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 3),
            special=FIRST_FIVE, uniform=uniform(1, 12, seed=1), share=0.25,
        ),
        Case(
            "nine ordinary tokens, a quarter: 2.25", ids=row(2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 3),
            special=FIRST_FIVE, uniform=uniform(1, 11, seed=2), share=0.25,
        ),
        Case(
            "eleven ordinary tokens, a quarter: 2.75", ids=row(2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3),
            special=FIRST_FIVE, uniform=uniform(1, 13, seed=3), share=0.25,
        ),
        Case(
            "two ordinary tokens, 15 %: 0.3, but at least one", ids=row(2, 9, 8, 3), special=FIRST_FIVE,
            uniform=torch.tensor([[0.5, 0.8, 0.4, 0.1]]), share=0.15,
        ),
        Case(
            "a row without ordinary tokens", ids=torch.tensor([[2, 3, 0], [2, 6, 3]]), special=FIRST_FIVE,
            uniform=torch.tensor([[0.3, 0.2, 0.1], [0.2, 0.6, 0.4]]), share=0.15,
        ),
        Case("three rows of unequal length", ids=RAGGED, special=FIRST_FIVE, uniform=uniform(3, 14, seed=4), share=0.3),
        Case("all of them", ids=RAGGED, special=FIRST_FIVE, uniform=uniform(3, 14, seed=6), share=1.0),
        Case("four long rows, 15 %", ids=LONG, special=FIRST_FIVE, uniform=uniform(4, 40, seed=7), share=0.15),
    ],
    misconceptions=[
        Misconception(
            "special tokens are chosen too",
            lambda ids, special, u, share: choose(ids, special, u, share, allowed=lambda row: range(len(row))),
            "Your choice falls on [CLS], [SEP] and padding as on words. To guess padding teaches nothing, and would be "
            "most of the loss in a short row.",
            "Which tokens take part at all? `special[ids]` says of every position whether its token is special.",
            "7.5",
            variants=(
                lambda ids, special, u, share: choose(
                    ids, torch.zeros_like(special), u, share, lambda n, share: max(1, half_up(share * n))
                ),
            ),
        ),
        Misconception(
            "only padding is spared",
            lambda ids, special, u, share: choose(ids, torch.arange(len(special)) < 1, u, share),
            "You left out padding, but [CLS], [SEP] and the other special tokens can be chosen. They stand where they "
            "always stand: there is nothing to guess.",
            "`special` is a table of all special ids, not only of [PAD].",
            "7.5",
            variants=(
                lambda ids, special, u, share: choose(
                    ids, special, u, share, allowed=lambda row: [t for t in range(len(row)) if row[t] != 0]
                ),
            ),
        ),
        Misconception(
            "special tokens are removed afterwards",
            special_removed_afterwards,
            "You took the smallest numbers of the whole row and then struck out the special tokens. They had taken up "
            "places, so too few tokens are left.",
            "Take the special tokens out of the competition before you look for the smallest numbers.",
            "7.5",
            variants=(
                lambda ids, special, u, share: ~special[ids]
                & ((u * ~special[ids]).argsort(1).argsort(1) < counts(ids, special, share)),
            ),
        ),
        Misconception(
            "places taken for ranks",
            lambda ids, special, u, share: ~special[ids]
            & (u.masked_fill(special[ids], math.inf).argsort(dim=1) < counts(ids, special, share)),
            "`argsort` says which position comes first, second, third, …; you read it as the rank of position 0, 1, 2, "
            "… The one is the inverse of the other. For the numbers 0.2, 0.3, 0.1 it gives 2, 0, 1, and the ranks are "
            "1, 2, 0.",
            "Either take the first k of the order and mark those positions, or apply `argsort` to the order once more: "
            "that gives ranks.",
            "7.5",
        ),
        Misconception(
            "one too many",
            lambda ids, special, u, share: choose(ids, special, u, share, lambda n, s: max(1, half_up(s * n)) + 1),
            "In rows that have enough of them, you chose one token too many.",
            "Ranks count from 0: who is the k-th smallest has the rank k - 1. `<` or `<=`?",
            "7.5",
        ),
        Misconception(
            "a fraction of the whole row",
            share_of_everything,
            "You took the fraction of all T positions, with [CLS], [SEP] and padding among them. A short row in a "
            "wide batch then loses most of its words.",
            "n is the number of ordinary tokens of this row.",
            "7.5",
        ),
        Misconception(
            "each token decides for itself",
            lambda ids, special, u, share: ~special[ids] & (u < share),
            "You chose every token whose number is below the share. That is 15 % on the average, but a short row often "
            "has none; here the number is fixed, and chance only says which.",
            "Two questions: how many? (share · n, rounded) And which? (the smallest numbers)",
            "7.5",
        ),
        Misconception(
            "rounded down",
            lambda ids, special, u, share: choose(ids, special, u, share, lambda n, s: max(1, int(s * n))),
            "You rounded share · n down. Here it is rounded to the nearest whole number.",
            "`int(x)` and `//` cut off. What do they make of x + 0.5?",
            "7.5",
        ),
        Misconception(
            "rounded up",
            lambda ids, special, u, share: choose(ids, special, u, share, lambda n, s: max(1, math.ceil(s * n))),
            "You rounded share · n up. Here it is rounded to the nearest whole number.",
            "2.25 should become 2, 2.5 and 2.75 become 3.",
            "7.5",
        ),
        Misconception(
            "a half goes to the even number",
            lambda ids, special, u, share: choose(ids, special, u, share, lambda n, s: max(1, round(s * n))),
            "Python's and torch's `round` take a half to the even neighbor: 2.5 becomes 2. Here a half is rounded "
            "upwards.",
            "⌊x + ½⌋",
            "7.5",
        ),
        Misconception(
            "short rows may have none",
            lambda ids, special, u, share: choose(ids, special, u, share, lambda n, s: half_up(s * n)),
            "Where share · n is less than a half you chose nothing, so the model learns nothing from such a row. At "
            "least one is asked for.",
            "max(1, …), but only where there is an ordinary token at all.",
            "7.5",
        ),
        Misconception(
            "the largest numbers",
            lambda ids, special, u, share: choose(ids, special, u, share, rank=lambda u, b, t: -float(u[b, t])),
            "You chose the tokens with the largest numbers. For chance it is all the same; for the checks, which pass "
            "in the numbers, it is not.",
            "Ascending or descending?",
            "7.5",
        ),
        Misconception(
            "the first tokens",
            lambda ids, special, u, share: choose(ids, special, u, share, rank=lambda u, b, t: t),
            "You chose the first tokens of every row, so the numbers in `uniform` make no difference, and the end of a "
            "text is never asked about.",
            "Order the candidates by their random numbers first.",
            "7.5",
        ),
        Misconception(
            "the same numbers for all rows",
            lambda ids, special, u, share: choose(ids, special, u, share, rank=lambda u, b, t: float(u[0, t])),
            "You used the random numbers of the first row for all, so all rows are hidden at the same places.",
            "`uniform` has a row for each row of ids.",
            "7.5",
        ),
        Misconception(
            "one count for the whole batch",
            whole_batch,
            "You took the fraction of all ordinary tokens of the batch and let all rows compete for it. What is "
            "hidden in one row then depends on the others.",
            "Each row has its own n, its own count and its own order.",
            "7.5",
            variants=(
                lambda ids, special, u, share: choose(
                    ids, special, u, share, lambda n, s: max(1, half_up(s * int((~special[ids]).sum())))
                ),
            ),
        ),
    ],
    accepted={
        "threshold by kthvalue": by_threshold,
        "NumPy": by_numpy,
        "topk and scatter": by_topk,
        "lists and sorted": lambda ids, special, u, share: choose(ids, special, u, share),
        "numbers before it are counted": lambda ids, special, u, share: ~special[ids] & (
            ((u[:, None, :] < u[:, :, None]) & ~special[ids][:, None, :]).sum(-1)
            < (share * (~special[ids]).sum(1, keepdim=True) + 0.5).floor().clamp(min=1)
        ),
    },
    hints=[
        "Do it for one row with a loop first: a list of the positions of ordinary tokens, sorted by their numbers; how "
        "many of them do you take?",
        "The count of a row is max(1, ⌊share · n + ½⌋). For n = 0 there is nobody to be chosen, so the 1 does no harm.",
        "For all rows at once: put infinity where a token is special, and find each position's rank with "
        "`argsort(dim=1).argsort(dim=1)`. Chosen is who is ordinary and whose rank is below the count.",
    ],
)  # fmt: skip


# 3. apply_80_10_10


def hide(ids, chosen, fate, dice, mask_id, ordinary, first=0.8, second=0.9, drawn=None, shown=None, labels=None):
    """Masking with every detail open to being wrong."""
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
    some = chosen & (fate >= 0.8) & (fate < 0.9)
    shown[some] = ordinary[(dice[some] * ordinary.numel()).floor().long()]
    return shown, labels


def hide_by_buckets(ids, chosen, fate, dice, mask_id, ordinary):
    kind = torch.bucketize(fate.double(), torch.tensor([0.8, 0.9], dtype=torch.float64), right=True)
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
    """A misconception of exercise 3 from what is done differently, each a function of the arguments."""
    return lambda *a: hide(*a, **{name: f(*a) for name, f in how.items()})


ORDINARY = torch.arange(5, 30)
BIG = torch.randint(5, 30, (6, 50), generator=torch.Generator().manual_seed(8))
BIG_CHOSEN = uniform(6, 50, seed=9) < 0.5

apply_80_10_10 = Exercise(
    name="apply_80_10_10",
    asks="Turn chosen tokens into [MASK], a random token or themselves, by their fate; label all of them, no others.",
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
    ],
    misconceptions=[
        Misconception(
            "one number decides what and which",
            lambda ids, chosen, fate, dice, mask_id, ordinary: hide(ids, chosen, fate, fate, mask_id, ordinary),
            "You took the number in `fate` also to draw the random token. Where a token is replaced, fate lies between "
            "0.8 and 0.9: so only a tenth of the vocabulary ever comes up.",
            "Two decisions need two independent numbers. What is `dice` for?",
            "7.6",
        ),
        Misconception(
            "the same random token everywhere",
            wrong(drawn=lambda ids, c, f, dice, m, o: o[int(dice.flatten()[0] * len(o))].expand(ids.shape)),
            "You drew one random token and used it at all places. The model soon knows that one: whoever sees it, "
            "distrusts it.",
            "Each place has its own number in `dice`.",
            "7.6",
            variants=(
                wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice[:, :1] * len(o)).long()].expand(ids.shape)),
            ),
        ),
        Misconception(
            "the random token may be special",
            wrong(drawn=lambda ids, c, f, dice, m, o: (dice * len(o)).long()),
            "You used ⌊dice · N⌋ itself as the id. Ordinary ids need not begin at 0, so special tokens can come up in "
            "the middle of a text, and some ordinary ones never do.",
            "⌊dice · N⌋ is an index into `ordinary`.",
            "7.6",
        ),
        Misconception(
            "rounded, not cut off",
            wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice * (len(o) - 1)).round().long()]),
            "You rounded to the nearest index. Then the first and the last ordinary token come up half as often as "
            "the others.",
            "⌊dice · N⌋: times N, and cut off. Since dice is below 1, the result is at most N - 1.",
            "7.6",
            variants=(
                wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice * (len(o) - 1)).long()]),
                wrong(drawn=lambda ids, c, f, dice, m, o: o[(dice * len(o)).round().long().clamp(max=len(o) - 1)]),
            ),
        ),
        Misconception(
            "labels first",
            lambda *a: hide(*a)[::-1],
            "You returned the labels first, and then what the model is shown.",
            "return shown, labels",
            "7.6",
        ),
        Misconception(
            "kept and replaced are swapped",
            lambda ids, chosen, fate, dice, mask_id, ordinary: hide(
                ids, chosen, torch.where(fate < 0.8, fate, 1.7 - fate), dice, mask_id, ordinary
            ),
            "You keep tokens where fate lies between 0.8 and 0.9 and replace them from 0.9 on. As chance it comes to "
            "the same; but the checks pass in the numbers.",
            "From 0.8 on and below 0.9: random. From 0.9 on: as it was.",
            "7.6",
        ),
        Misconception(
            "labels everywhere",
            wrong(labels=lambda ids, *rest: lambda new: ids.clone()),
            "Your labels are the whole text. At six places out of seven the answer stands in the input, so the loss is "
            "mostly about copying.",
            "What is the label of a place that was not chosen?",
            "7.6",
        ),
        Misconception(
            "tokens that are kept are not predicted",
            wrong(labels=lambda ids, chosen, fate, *rest: lambda new: torch.where(chosen & (fate < 0.9), ids, -100)),
            "Chosen tokens that stayed as they are have no label in your code. Then there was no reason to choose "
            "them: it is just they that teach the model that a word it sees may be right.",
            "`fate` decides what the model sees. Does it decide what is asked?",
            "7.6",
        ),
        Misconception(
            "only [MASK] is predicted",
            wrong(labels=lambda ids, chosen, fate, *rest: lambda new: torch.where(chosen & (fate < 0.8), ids, -100)),
            "Only where [MASK] stands you have a label. Random and kept tokens then teach nothing: the model never "
            "says anything about a word that it sees.",
            "`fate` decides what the model sees. Does it decide what is asked?",
            "7.6",
        ),
        Misconception(
            "labels are taken after hiding",
            wrong(labels=lambda ids, chosen, *rest: lambda new: torch.where(chosen, new, -100)),
            "Your labels are what the model is shown, [MASK] itself among them. It learns to say: here stands [MASK].",
            "The label is what stood there before. Did you overwrite it first?",
            "7.6",
        ),
        Misconception(
            "the whole text is hidden",
            wrong(shown=lambda *a: lambda new: new),
            "You applied the three fates to all tokens, chosen or not: 80 % of the whole text became [MASK], and "
            "hardly anything is left to guess from.",
            "80, 10 and 10 % are shares of the chosen tokens.",
            "7.6",
            variants=(
                lambda ids, chosen, fate, dice, mask_id, ordinary: (
                    torch.where(fate < 0.8, mask_id, hide(ids, chosen, fate, dice, mask_id, ordinary)[0]),
                    torch.where(chosen, ids, -100),
                ),
            ),
        ),
        Misconception(
            "nothing is replaced at random",
            wrong(second=lambda *a: 0.1),
            "In your code no token is ever replaced by a random one, so the model may trust every word that it sees. "
            "(Who asks `fate < 0.8`, and then `fate < 0.1` of the same number, has this result: after the first "
            "question no number below 0.1 is left.)",
            "The three fates are intervals of one number, one after another. Where does the second begin, and where "
            "does it end?",
            "7.6",
        ),
        Misconception(
            "80 % are kept",
            lambda ids, chosen, fate, dice, mask_id, ordinary: hide(
                ids, chosen, 1 - fate, dice, mask_id, ordinary, 0.1, 0.2
            ),
            "Your shares are the other way around: most of the chosen tokens stay as they are.",
            "fate below 0.8 is [MASK].",
            "7.6",
            variants=(wrong(first=lambda *a: 0.1, second=lambda *a: 0.2),),
        ),
        Misconception(
            "always [MASK]",
            wrong(first=lambda *a: 2.0),
            "All chosen tokens became [MASK]. That is 100/0/0: the model never has to say anything about a word that "
            "it sees, and later, in use, it sees nothing else.",
            "What becomes of a token with fate 0.85, and with 0.95?",
            "7.6",
        ),
        Misconception(
            "the second step overwrites the first",
            second_step_overwrites,
            "You wrote [MASK] where fate < 0.8, and then a random token where fate < 0.9. But numbers below 0.8 are "
            "below 0.9 too: the [MASK] are gone.",
            "Ask for 0.8 ≤ fate < 0.9, or turn the order round.",
            "7.6",
        ),
        Misconception(
            "0 where nothing is predicted",
            wrong(labels=lambda ids, chosen, *rest: lambda new: torch.where(chosen, ids, 0)),
            "Where nothing is to be predicted your label is 0. But 0 is an id, and the loss will take it for an "
            "answer.",
            "Which label means: not asked?",
            "7.6",
        ),
    ],
    accepted={
        "loops": hide_by_loops,
        "writing into copies": hide_in_a_copy,
        "buckets and gather, float64": hide_by_buckets,
        "NumPy": hide_in_numpy,
    },
    hints=[
        "Labels first, they are the easier half: `torch.where(chosen, ids, -100)`. Fate has no part in them.",
        "Make three tensors (B, T): all [MASK], random tokens everywhere, the ids themselves. Then take each position "
        "from one of them.",
        "`torch.where` twice for the three fates, and once more so that tokens that are not chosen stay as they are.",
    ],
)  # fmt: skip


# 4. masked_lm_loss


def reference_loss(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


def surprises(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """-log p(label) at each position, 0 where nothing is predicted; and where something is."""
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


def small_number_beside(tiny: float, how=torch.add):
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


LN = torch.tensor([[[1.0, 2.0, 1.0], [4.0, 2.0, 2.0], [1.0, 1.0, 6.0], [3.0, 4.0, 1.0]]]).log()

masked_lm_loss = Exercise(
    name="masked_lm_loss",
    asks="The mean of -log p(label) over the positions whose label is not -100.",
    reference=reference_loss,
    section="7.5",
    gradients=True,
    cases=[
        Case("p = 1/4, 1/2, 1/4 at the one predicted place", logits=LN[:, :1], labels=row(1)),
        Case("two of four places are predicted", logits=LN, labels=row(-100, 0, -100, 2)),
        Case(
            "one row with one, one with three", logits=normal(2, 4, 3, seed=1),
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
    ],
    misconceptions=[
        Misconception(
            "averaged over all positions",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum() / p.numel()),
            "You divided by B · T. Six positions out of seven are not predicted, so your loss is about a seventh of "
            "what it says it is, and smaller the more padding there is.",
            "Divide by the number of positions that were predicted.",
            "7.5",
        ),
        Misconception(
            "-100 is taken for token 0",
            zero_is_an_answer,
            "Where the label is -100 you asked for token 0, and averaged over everything: the model learns to say "
            "[PAD].",
            "Positions with label -100 must not count, neither in the sum nor in the number.",
            "7.5",
            variants=(
                lambda logits, labels: -logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).sum()
                / (labels != -100).sum().clamp(min=1),
            ),
        ),
        Misconception(
            "a mean of the rows' means",
            lambda logits, labels: mean_of(
                logits, labels, lambda s, p: (s.sum(1) / p.sum(1).clamp(min=1)).mean()
            ),
            "You averaged within each row, and then the rows. A token in a row with one hidden token then counts three "
            "times as much as one in a row with three.",
            "One sum and one number for the whole batch.",
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
            "You added up and did not divide. A long text would have a larger loss than a short one, and larger "
            "gradients.",
            "By how many is the sum to be divided?",
            "7.5",
        ),
        Misconception(
            "divided by the number of rows",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum() / len(s)),
            "You divided the sum by B, the number of rows. Rows have different numbers of hidden tokens.",
            "By how many is the sum to be divided?",
            "7.5",
        ),
        Misconception(
            "shifted as in a GPT",
            shifted,
            "You compared the logits of position t with the label of position t + 1, as a GPT does. BERT says at each "
            "place what stood at this very place.",
            "What does the logit at the position of [MASK] answer?",
            "7.5",
            variants=(
                lambda logits, labels: mean_of(logits[:, :-1], labels[:, 1:], lambda s, p: s.sum() / p.sum()),
            ),
        ),
        Misconception(
            "NaN where nothing is predicted",
            lambda logits, labels: mean_of(logits, labels, lambda s, p: s.sum() / p.sum()),
            "If nothing is predicted, you divide 0 by 0. One such batch, and all weights are NaN.",
            "What should the loss be then? Which divisor gives that?",
            "7.5",
            variants=(
                lambda logits, labels: -logits[labels != -100].log_softmax(-1)
                .gather(-1, labels[labels != -100][:, None]).mean(),
            ),
        ),
        Misconception(
            "the exponentials overflow",
            naive_softmax,
            "exp(1000) is infinite in floating-point numbers, and ∞ / ∞ is NaN; or p is so small that it becomes 0, "
            "and log 0 is -∞. With small logits you are right.",
            "log p = logit - log Σ exp(logits): `torch.log_softmax` and `torch.logsumexp` compute it safely.",
            "7.5",
            variants=(log_of_softmax,),
        ),
        Misconception(
            "a small number beside p",
            small_number_beside(1e-9),
            "You put a small number beside p, so that log 0 does not come up. That keeps NaN away and tells a lie: 500 "
            "nats of surprise become 20, and where p is small there is hardly a gradient left to learn from.",
            "log p = logit - log Σ exp(logits) needs no p: `torch.log_softmax` or `torch.logsumexp`.",
            "7.5",
            variants=(
                *(small_number_beside(10.0**-k) for k in (7, 8, 10, 12)),
                *(small_number_beside(10.0**-k, torch.clamp) for k in (7, 8, 9, 10, 12)),
            ),
        ),
        Misconception(
            "probabilities without the logarithm",
            lambda logits, labels: mean_of(
                logits, labels, lambda s, p: -((-s).exp() * p).sum() / p.sum().clamp(min=1)
            ),
            "You averaged -p, not -log p. To be sure of the wrong word costs 1 then, and not infinitely much.",
            "Surprise is measured in nats (lesson 01).",
            "7.5",
            variants=(
                lambda logits, labels: mean_of(
                    logits, labels, lambda s, p: ((1 - (-s).exp()) * p).sum() / p.sum().clamp(min=1)
                ),
            ),
        ),
        Misconception(
            "bits, not nats",
            lambda logits, labels: reference_loss(logits, labels) / math.log(2),
            "You used the logarithm to base 2. That gives bits; asked for are nats.",
            "Nats belong to the natural logarithm.",
            "7.5",
        ),
        Misconception(
            "the sign is missing",
            lambda logits, labels: -reference_loss(logits, labels),
            "Your loss is the mean of log p, which is negative: to make it smaller, the model would have to be wrong.",
            "-log p",
            "7.5",
        ),
        Misconception(
            "softmax over the positions",
            lambda logits, labels: -(
                logits.log_softmax(1).gather(-1, labels.clamp(min=0)[..., None])[..., 0] * (labels != -100)
            ).sum() / (labels != -100).sum().clamp(min=1),
            "Your softmax runs along the positions. Probabilities have to sum to 1 over the vocabulary, at each "
            "position.",
            "logits are (B, T, V). Which dimension are the words?",
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
        "Forget the batch: for one position with logits z and label y, what is -log p(y)? (lesson 01, or log_softmax)",
        "`predicted = labels != -100` says where. `logits[predicted]` is (N, V), `labels[predicted]` is (N,).",
        "log_softmax along V, `gather` the labels' column, sum, divide by max(1, N), minus.",
    ],
)  # fmt: skip


# 5. next_sentence_pair

DRAWS = 800


def survey(draw, documents: list[list[str]], seed: int) -> str:
    """The verdict on many pairs."""
    generator, again = random.Random(seed), random.Random(seed)
    pairs = []
    for _ in range(DRAWS):
        copies = [[list(d) for d in documents] for _ in range(2)]
        pair, same = (draw(copy, g) for copy, g in zip(copies, (generator, again), strict=True))
        if copies != [documents, documents]:
            return "the documents are no longer what they were"
        if not (isinstance(pair, tuple | list) and len(pair) == 3):
            return "it does not return three things"
        first, second, follows = pair
        if not (isinstance(first, str) and isinstance(second, str) and isinstance(follows, bool | np.bool_)):
            return "it does not return two texts and True or False"
        if tuple(pair) != tuple(same):
            return "two generators in the same state give different pairs"
        pairs.append((first, second, bool(follows)))
    if len(set(pairs)) == 1:
        return "every call gives the same pair"

    place = {sentence: (d, i) for d, document in enumerate(documents) for i, sentence in enumerate(document)}
    if any(sentence not in place for pair in pairs for sentence in pair[:2]):
        return "it returns texts that are no sentences of the documents"
    if any(place[first][1] == len(documents[place[first][0]]) - 1 for first, _, _ in pairs):
        return "the first text is sometimes the last sentence of its document, which nothing follows"
    really = [place[second] == (place[first][0], place[first][1] + 1) for first, second, _ in pairs]
    said = [follows for _, _, follows in pairs]
    same = [place[first][0] == place[second][0] for first, second, _ in pairs]
    if all(a != b for a, b in zip(really, said, strict=True)):
        return "it says True of all pairs that do not follow, and False of all that do"
    for (first, second, follows), next_one, same_document in zip(pairs, really, same, strict=True):
        if follows and not next_one:
            if not same_document:
                return "it says True of some pairs from different documents"
            where = "comes before the first" if place[second] < place[first] else "is not next"
            return f"it says True of some pairs whose second text {where}"
    if any(next_one and not follows for next_one, follows in zip(really, said, strict=True)):
        return "it says False of some pairs of which the second follows the first"
    if any(same_document and not follows for same_document, follows in zip(same, said, strict=True)):
        return "it says False of some pairs from the same document"
    share = sum(said) / DRAWS
    if share in (0, 1):
        return "all pairs follow" if share else "no pair follows"
    if not 0.42 < share < 0.58:
        return f"{'more' if share > 0.5 else 'less'} than half of the pairs follow"

    starts = {(d, i) for d, document in enumerate(documents) for i in range(len(document) - 1)}
    if starts != {place[first] for first, _, _ in pairs}:
        used = {place[first] for first, _, _ in pairs}
        if all(i == 0 for _, i in used):
            return "the first text is always the first sentence of its document"
        if all(i + 2 == len(documents[d]) for d, i in starts - used):
            return "the last sentence but one is never the first text, except in documents of two"
        return "some sentences are never the first text"
    negatives = {(place[first][0], place[second]) for first, second, follows in pairs if not follows}
    for d, e in product(range(len(documents)), repeat=2):
        if d != e and not any(a == d and b[0] == e for a, b in negatives):
            return "beside sentences of some documents, sentences of some other documents never stand"
    never = set(place.values()) - {b for _, b in negatives}
    if never and all(i == 0 for _, (_, i) in negatives):
        return "a second text that does not follow is always the first sentence of its document"
    if never and all(i + 1 == len(documents[d]) for d, i in never):
        return "a second text that does not follow is never the last sentence of its document"
    if never:
        return "some sentences of other documents never stand second where nothing follows"
    return "fine"


def pair_by(documents, g, first=None, other=None, coin=lambda g: g.random() < 0.5, following=None, label=None):
    """One pair with every detail open to being wrong."""
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
    """Takes the first text's document out of the caller's list (and may change its order)."""
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

next_sentence_pair = Exercise(
    name="next_sentence_pair",
    asks="Draw a sentence and, with probability one half, the one that follows it, else one of another document.",
    reference=pair_by,
    section="7.7",
    cases=[
        Case(f"{DRAWS} pairs from four stories", survey, documents=FOUR_STORIES, seed=0),
        Case(f"{DRAWS} pairs from three", survey, documents=THREE_STORIES, seed=1),
    ],
    misconceptions=[
        Misconception(
            "the last sentence as the first text",
            lambda documents, g: pair_by(
                documents, g, first=any_start,
                following=lambda docs, d, i, g: docs[d][(i + 1) % len(docs[d])],
            ),
            "Your first text can be the last sentence of a document, and nothing follows that.",
            "From how many sentences of a document with n sentences may you draw?",
            "7.7",
            variants=(
                lambda documents, g: pair_by(documents, g, first=any_start),
                lambda documents, g: pair_by(documents, g, first=any_start, coin=lambda g: False),
            ),
        ),
        Misconception(
            "wrong pairs from the same document",
            lambda documents, g: pair_by(documents, g, other=same_document),
            "A second text that does not follow comes from the same document in your code. That is another, harder "
            "question (about order, not topic); asked for was another document.",
            "Draw another document first, and then one of its sentences.",
            "7.7",
        ),
        Misconception(
            "a wrong pair may be a right one",
            lambda documents, g: pair_by(documents, g, other=anywhere),
            "You draw the second text from all sentences. Now and then that is the very sentence that follows, with "
            "the label False.",
            "Which document must be left out of the draw?",
            "7.7",
        ),
        Misconception(
            "the label is inverted",
            lambda documents, g: pair_by(documents, g, label=lambda follows: not follows),
            "Your labels are the wrong way round. (In BERT's weights class 0 is 'follows', which confuses many; here "
            "it is simply True.)",
            "What should the third result be when the second text is the next sentence?",
            "7.7",
        ),
        Misconception(
            "every pair is labeled True",
            lambda documents, g: pair_by(documents, g, label=lambda follows: True),
            "Your label is True whatever was drawn, so there is nothing to learn.",
            "The coin decides two things: the second text and the label.",
            "7.7",
        ),
        Misconception(
            "any later sentence counts as the next",
            lambda documents, g: pair_by(documents, g, following=later),
            "Where the pair should follow, you take any later sentence of the document. Next is the one right after.",
            "At which index stands the sentence after sentence i?",
            "7.7",
        ),
        Misconception(
            "the sentence before",
            lambda documents, g: pair_by(
                documents, g, following=lambda docs, d, i, g: docs[d][i - 1] if i else docs[d][1]
            ),
            "Where the pair should follow, your second text comes before the first one in the document.",
            "First i, then i + 1.",
            "7.7",
        ),
        Misconception(
            "more than half follow",
            lambda documents, g: pair_by(documents, g, coin=lambda g: g.randrange(3) > 0),
            "More than half of your pairs follow. Then always saying 'follows' is right more often than not, and that "
            "is what a model learns first.",
            "How probable should True be?",
            "7.7",
        ),
        Misconception(
            "fewer than half follow",
            lambda documents, g: pair_by(documents, g, coin=lambda g: g.randrange(3) == 0),
            "Fewer than half of your pairs follow. Then always saying 'does not follow' is right more often than not.",
            "How probable should True be?",
            "7.7",
        ),
        Misconception(
            "no wrong pairs",
            lambda documents, g: pair_by(documents, g, coin=lambda g: True),
            "All your pairs follow. From right examples alone nobody learns to tell right from wrong.",
            "Toss a coin with the generator.",
            "7.7",
        ),
        Misconception(
            "wrong pairs begin a document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: docs[g.choice([e for e in range(len(docs)) if e != d])][0]
            ),
            "A second text that does not follow is always the first sentence of its document. 'Once there was a …' "
            "then gives it away: the model need not read the first text at all.",
            "Any sentence of the other document.",
            "7.7",
        ),
        Misconception(
            "wrong pairs never end a document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: g.choice(
                    docs[g.choice([e for e in range(len(docs)) if e != d])][:-1]
                )
            ),
            "A second text that does not follow is never the last sentence of its document. Who sees how a story ends "
            "then knows that it follows, without reading the first text.",
            "That the last sentence has no successor matters for the first text only. Any sentence of the other "
            "document may be the second.",
            "7.7",
        ),
        Misconception(
            "the last pair is left out",
            lambda documents, g: pair_by(
                documents, g,
                first=lambda docs, g: (d := g.randrange(len(docs)), g.randrange(max(1, len(docs[d]) - 2))),
            ),
            "The last sentence but one of a document is never your first text. But it has a successor, the last.",
            "`randrange(n - 1)` draws from 0 … n - 2. Which is the last index that has a successor?",
            "7.7",
        ),
        Misconception(
            "the documents are changed",
            by_removal,
            "Your function leaves the documents other than they were: something was removed, added or put in another "
            "order. After some calls there would be nothing left to draw from.",
            "`remove`, `pop`, `sort` and `shuffle` change the list of the caller. Make a list of your own: "
            "[d for d in documents if d is not …].",
            "7.7",
            variants=(lambda documents, g: by_removal(documents, g, g.sample(documents, len(documents))),),
        ),
        Misconception(
            "always the same beginning",
            lambda documents, g: pair_by(documents, g, first=lambda docs, g: (g.randrange(len(docs)), 0)),
            "Your first text is always the first sentence of its document.",
            "Draw i as well.",
            "7.7",
        ),
        Misconception(
            "the neighboring document",
            lambda documents, g: pair_by(
                documents, g, other=lambda docs, d, i, g: g.choice(docs[(d + 1) % len(docs)])
            ),
            "The other document is always the next one in the list. Neighbors are often about the same thing "
            "(chapters of a book), and the model sees few combinations.",
            "Any document but the first text's own.",
            "7.7",
        ),
        Misconception(
            "chance from elsewhere",
            lambda documents, g: pair_by(documents, random),
            "You draw from the global `random`, not from the generator that was passed in. So nobody can repeat your "
            "pairs, and two processes that should draw different ones may draw the same.",
            "Every call of `random.…` becomes `generator.…`.",
            "7.7",
            variants=(
                lambda documents, g: pair_by(documents, g, coin=lambda g: random.random() < 0.5),
                lambda documents, g: pair_by(documents, random.Random()),
            ),
        ),
        Misconception(
            "a new generator at every call",
            lambda documents, g: pair_by(documents, random.Random(0)),
            "You make a generator of your own with a fixed seed at every call, so every call gives the same pair.",
            "The generator that is passed in moves on by itself.",
            "7.7",
        ),
        Misconception(
            "a number for the label",
            lambda documents, g: pair_by(documents, g, label=int),
            "Your label is a number. True and False were asked for.",
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
        "Four draws, one after another: a document, a sentence of it, a coin, and, if the coin says so, another "
        "document with a sentence of it.",
        "Document d, then i = generator.randrange(len(documents[d]) - 1): so sentence i + 1 exists.",
        "The other document: generator.choice([e for e in range(len(documents)) if e != d]).",
    ],
)  # fmt: skip


# 6. better_than_it_is


def measure(find) -> str:
    """The verdict on the language that was found."""
    p = find()
    if not torch.is_tensor(p):
        return "it is not a tensor"
    if p.dim() != 2 or p.size(0) != p.size(1):
        return "it is not a square tensor (V, V)"
    if not 2 <= p.size(0) <= 100:
        return "V is not from 2 to 100"
    p = p.double()
    if not p.isfinite().all() or (p < 0).any():
        return "some probabilities are negative or no numbers"
    if abs(float(p.sum()) - 1) > 1e-3:
        by_row = torch.allclose(p.sum(1), torch.ones(len(p), dtype=p.dtype), atol=1e-3)
        return f"the probabilities do not sum to 1{', but each row does' if by_row else ''}"
    joint = entropy(p.flatten())
    first, second = entropy(p.sum(1)), entropy(p.sum(0))
    perplexity, pseudo = math.exp(joint / 2), math.exp((joint - second + joint - first) / 2)
    if perplexity >= 2.99 and pseudo <= 1.0101:
        return "fine"
    if perplexity <= 1.01:
        return "there is only one sentence, so both numbers are 1"
    if perplexity < 2.99 and pseudo <= 1.0101:
        return "the pseudo-perplexity is small enough, but the perplexity is too small"
    if abs(perplexity - pseudo) < 0.01 * perplexity:
        return "the two numbers are equal: neither word says anything about the other"
    if min(joint - first, joint - second) < 0.01:
        return "one word gives the other away, but not the other way around"
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
    cases=[Case("your language", run=measure)],
    misconceptions=[
        Misconception(
            "all sentences are equally probable", lambda: torch.full((10, 10), 0.01),
            "In your language neither word says anything about the other. Then it makes no difference whether the "
            "other is seen: the two numbers are equal.",
            "What must seeing one word tell about the other, for the pseudo-perplexity to be small?", "7.10",
            variants=(lambda: torch.outer(torch.arange(1, 11.0), torch.arange(2, 12.0)) / (55 * 65),),
        ),
        Misconception(
            "only one sentence", lambda: F.one_hot(torch.tensor(34), 100).view(10, 10) * 1.0,
            "Your language has a single sentence. That is easy to guess for everybody: both numbers are 1.",
            "The perplexity has to be large. How many sentences does that need?", "7.10",
        ),
        Misconception(
            "each row sums to 1", lambda: torch.eye(16),
            "Each of your rows sums to 1, as if p[i, j] were the probability of j after i. The exercise asks for the "
            "probability of the whole sentence, and all of those together sum to 1.",
            "Divide by something.", "7.10",
        ),
        Misconception(
            "too few sentences", lambda: torch.eye(4) / 4,
            "You have the idea, but too few sentences: N equally probable ones have a perplexity per word of √N.",
            "How large must N be, for √N to be 3?", "7.10",
            variants=(lambda: torch.tensor([[0.5, 0.0], [0.0, 0.5]]),),
        ),
        Misconception(
            "only one word gives the other away", one_way,
            "One of your words tells the other, but not the other way around, so one of the two is still hard to "
            "guess.",
            "Look at the sum over both words in section 7.10: both terms must be small.", "7.10",
            variants=(lambda: one_way().T.contiguous(),),
        ),
        Misconception(
            "nearly", lambda: 0.9 * torch.eye(16) / 16 + 0.1 * torch.full((16, 16), 1 / 256),
            "Your words help each other, but leave too much to chance: the pseudo-perplexity is above 1.01.",
            "How sure can one be of a word when its partner is seen?", "7.10",
        ),
        Misconception(
            "does not sum to one", lambda: torch.eye(16) / 8,
            "Your probabilities do not sum to 1.", "All sentences of the language together.", "7.10",
            variants=(lambda: torch.eye(16) / 20, lambda: torch.full((16, 16), 0.01)),
        ),
        Misconception(
            "logits, not probabilities", lambda: torch.eye(16).log(),
            "Some of your probabilities are negative or no numbers.", "Numbers from 0 to 1.", "7.10",
            variants=(lambda: 2 * torch.eye(16) - 1,),
        ),
        Misconception(
            "a list of sentences", lambda: torch.full((16,), 1 / 16),
            "p should have a row for each first word and a column for each second word.", "(V, V), V from 2 to 100.",
            "7.10", variants=(lambda: torch.full((9, 16), 1 / 144),),
        ),
        Misconception(
            "not a tensor", lambda: (torch.eye(16) / 16).tolist(),
            "Your p is not a tensor. Lists become one by `torch.tensor(…)`.", "`torch.tensor(p)`", "7.10",
        ),
        Misconception(
            "more words than are allowed", lambda: torch.eye(200) / 200,
            "Your language has more than a hundred words, or only one. A hundred are more than enough.",
            "N equally probable sentences have a perplexity per word of √N.", "7.10",
        ),
    ],
    accepted={
        "another pairing, float64": permutation,
        "unequal probabilities": lambda: torch.diag(torch.arange(1.0, 31.0)) / (30 * 31 / 2),
        "a hundred sentences": lambda: torch.eye(100, dtype=torch.float64).flip(0) / 100,
    },
    hints=[
        "Perplexity is about how many sentences there are; pseudo-perplexity about how hard a word is once its partner "
        "is known. Make the first large and the second easy.",
        "In section 7.10, he and she gave half of the names away. What if every first word had a second word of its "
        "own?",
        "One entry in each row and each column of p. How many words do you need, for √V to be at least 3?",
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
        "WHY_PSEUDO", "Why are the two numbers apart, in which direction, and what is wrong with the comparison?", 40,
        ["Write both as sums of entropies. Which words does each term know?"], "7.10",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, what do you make of it?", 60,
        ["One change at a time; three seeds say more than one."], "7.8",
    ),
]  # fmt: skip
