"""The checks of lesson 08, and the known mistakes."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import evaluation as library
from llmasos.evaluation.bag_of_words import words
from llmasos.models import GPT, Transformer


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draws(n: int, k: int, seed: int) -> Tensor:
    """n random labels out of k."""
    return torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))


def whole(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


# 1. label_scores


def by_the_library(truths, predictions, n_labels):
    given, true, labels = predictions.tolist(), truths.tolist(), range(n_labels)
    per_label = library.per_class(given, true, labels)
    return {
        "confusion": torch.from_numpy(library.confusion_matrix(given, true, labels)),
        "precision": torch.tensor([score.precision for score in per_label]),
        "recall": torch.tensor([score.recall for score in per_label]),
        "macro_f1": library.macro_f1(given, true, labels).value,
    }


def count(truths, predictions, n):
    matrix = torch.zeros(n, n, dtype=torch.int64)
    for t, p in zip(truths.tolist(), predictions.tolist(), strict=True):
        matrix[t, p] += 1
    return matrix


def ratio(hits, total):
    """hits / total, with 0 / 0 = 0."""
    return hits / total.clamp(min=1)


def mean_of_occurring(f1, matrix):
    return f1[matrix.sum(0) + matrix.sum(1) > 0].mean()


def harmonic(precision, recall):
    return torch.nan_to_num(2 * precision * recall / (precision + recall))


def scores(
    truths,
    predictions,
    n,
    counted=count,
    precision_of=lambda m: ratio(m.diagonal(), m.sum(0)),
    recall_of=lambda m: ratio(m.diagonal(), m.sum(1)),
    f1_of=lambda p, r, m: harmonic(p, r),
    mean=mean_of_occurring,
    shown=lambda m: m,
):
    """All four results, computed with replaceable (possibly wrong) steps."""
    matrix = counted(truths, predictions, n)
    precision, recall = precision_of(matrix), recall_of(matrix)
    macro = mean(f1_of(precision, recall, matrix), matrix)
    return {"confusion": shown(matrix), "precision": precision, "recall": recall, "macro_f1": macro}


def each_pair_once(truths, predictions, n):
    matrix = torch.zeros(n, n, dtype=torch.int64)
    matrix[truths, predictions] += 1  # of equal pairs only one is counted
    return matrix


def scores_by_bincount(truths, predictions, n_labels):
    K = n_labels
    matrix = torch.bincount(truths * K + predictions, minlength=K * K).view(K, K)
    both = matrix.sum(0) + matrix.sum(1)
    f1 = 2 * matrix.diagonal().double() / both
    precision, recall = matrix.diagonal() / matrix.sum(0), matrix.diagonal() / matrix.sum(1)
    return {
        "confusion": matrix,
        "precision": torch.nan_to_num(precision),
        "recall": torch.nan_to_num(recall),
        "macro_f1": f1[both > 0].mean(),
    }


def scores_by_one_hot(truths, predictions, n_labels):
    true, given = F.one_hot(truths, n_labels).double(), F.one_hot(predictions, n_labels).double()
    hits = torch.einsum("nk,nk->k", true, given)
    p = torch.where(given.sum(0) > 0, hits / given.sum(0), 0.0)
    r = torch.where(true.sum(0) > 0, hits / true.sum(0), 0.0)
    f1 = [2 * h / (a + b) for h, a, b in zip(hits, true.sum(0), given.sum(0), strict=True) if a + b > 0]
    return {"confusion": (true.T @ given).long(), "precision": p, "recall": r, "macro_f1": float(sum(f1) / len(f1))}


def scores_by_loops(truths, predictions, n_labels):
    pairs = list(zip(truths.tolist(), predictions.tolist(), strict=True))
    matrix = [[pairs.count((i, j)) for j in range(n_labels)] for i in range(n_labels)]
    precision, recall, f1 = [], [], []
    for k in range(n_labels):
        tp = matrix[k][k]
        fp, fn = sum(row[k] for row in matrix) - tp, sum(matrix[k]) - tp
        precision.append(tp / (tp + fp) if tp + fp else 0.0)
        recall.append(tp / (tp + fn) if tp + fn else 0.0)
        if tp + fp + fn:
            f1.append(2 * tp / (2 * tp + fp + fn))
    return {
        "confusion": torch.tensor(matrix),
        "precision": torch.tensor(precision),
        "recall": torch.tensor(recall),
        "macro_f1": sum(f1) / len(f1),
    }


def unseen_labels(seed):
    N, K = 20 + seed % 31, 5 + seed % 3
    return [
        Case(f"{N} texts, {K} labels", truths=draws(N, K, seed), predictions=draws(N, K, seed + 1), n_labels=K),
        Case(
            "labels that never occur",
            truths=draws(N, 2, seed + 2), predictions=2 * draws(N, 3, seed + 3), n_labels=K + 2,
        ),
    ]  # fmt: skip


def scores_by_sums(matrix):
    """The results from a confusion matrix, in the shortest way."""
    p, r = matrix.diagonal() / matrix.sum(0), matrix.diagonal() / matrix.sum(1)
    p, r = p.nan_to_num(0), r.nan_to_num(0)
    f1 = (2 * p * r / (p + r)).nan_to_num(0)[(matrix.sum(0) + matrix.sum(1)) > 0]
    return {"confusion": matrix, "precision": p, "recall": r, "macro_f1": f1.mean()}


label_scores = Exercise(
    name="label_scores",
    asks="Compute the confusion matrix, the precision and recall of every label, and the macro-F1.",
    reference=by_the_library,
    section="8.3",
    cases=[
        Case("two labels, four texts", truths=whole(0, 0, 0, 1), predictions=whole(0, 0, 1, 1), n_labels=2),
        Case(
            "three labels, one never predicted",
            truths=whole(0, 0, 0, 1, 1, 2), predictions=whole(0, 0, 1, 1, 0, 1), n_labels=3,
        ),
        Case(
            "always the most frequent label",
            truths=whole(0, 0, 0, 1), predictions=whole(0, 0, 0, 0), n_labels=2,
        ),
        Case("a label that is predicted but never true", truths=whole(0, 0, 2), predictions=whole(0, 1, 2), n_labels=3),
        Case("a label that occurs nowhere", truths=whole(0, 0, 2), predictions=whole(0, 2, 2), n_labels=4),
        Case("every text wrong", truths=whole(0, 1), predictions=whole(1, 0), n_labels=2),
        Case("one text, one label", truths=whole(0), predictions=whole(0), n_labels=1),
        Case("one text, wrong", truths=whole(2), predictions=whole(1), n_labels=4),
        Case("every other element of a tensor", truths=draws(24, 3, 5)[::2], predictions=draws(24, 3, 6)[::2],
             n_labels=3),
        Case("three thousand texts", truths=whole(*[0] * 2990, *[1] * 10), predictions=whole(*[0] * 2980, *[1] * 20),
             n_labels=2),
        Case("forty texts, four labels", truths=draws(40, 4, 1) // 2 * 2, predictions=draws(40, 4, 2), n_labels=4),
        Case("forty texts, three labels", truths=draws(40, 3, 3), predictions=draws(40, 3, 4), n_labels=3),
    ],
    random_cases=unseen_labels,
    misconceptions=[
        Misconception(
            "rows and columns swapped",
            lambda *a: scores(*a, shown=lambda m: m.T.contiguous()),
            "The rows of your confusion matrix are the predictions; they should be the true labels.",
            "Row i, column j: true label i, predicted label j.",
            "8.3",
            variants=(lambda t, p, n: scores(p, t, n),),
        ),
        Misconception(
            "precision and recall swapped",
            lambda *a: scores(
                *a,
                precision_of=lambda m: ratio(m.diagonal(), m.sum(1)),
                recall_of=lambda m: ratio(m.diagonal(), m.sum(0)),
            ),
            "Your precision is the recall, and vice versa. F1 does not show it, since it is symmetric.",
            "Precision divides by the number of texts with this *predicted* label. Is that a row or a column?",
            "8.3",
        ),
        Misconception(
            "repeated pairs counted once",
            lambda *a: scores(*a, counted=each_pair_once),
            "You wrote matrix[truths, predictions] += 1. For repeated pairs this adds only 1: every write uses the "
            "old count, and the last one wins.",
            "Use a loop over the texts, or an operation that accumulates duplicates (`index_put_` with accumulate, "
            "`bincount`).",
            "8.3",
        ),
        Misconception(
            "fractions instead of counts",
            lambda *a: scores(*a, shown=lambda m: m / m.sum(1, keepdim=True).clamp(min=1)),
            "You divided the rows of the confusion matrix by their sums. Fractions hide how many texts a row "
            "contains.",
            "The entries are whole numbers that sum to N.",
            "8.3",
        ),
        Misconception(
            "micro-F1 instead of macro-F1",
            lambda *a: scores(*a, mean=lambda f1, m: m.diagonal().sum() / m.sum()),
            "You added up the hits of all labels before you divided. With one label for each text that is the "
            "accuracy, in which a rare label hardly counts.",
            "First an F1 for each label, then the mean.",
            "8.3",
        ),
        Misconception(
            "the F1 of the mean precision and recall",
            lambda *a: scores(
                *a,
                f1_of=lambda p, r, m: harmonic(
                    p[m.sum(0) + m.sum(1) > 0].mean(), r[m.sum(0) + m.sum(1) > 0].mean()
                ),
                mean=lambda f1, m: f1,
            ),
            "You averaged precision and recall over the labels and took the F1 of the two means. Both are called "
            "macro-F1 in the literature; the exercise asks for the mean of the labels' F1.",
            "Swap the order: F1 inside, mean outside.",
            "8.3",
            variants=(
                lambda *a: scores(*a, f1_of=lambda p, r, m: harmonic(p.mean(), r.mean()), mean=lambda f1, m: f1),
            ),
        ),
        Misconception(
            "F1 as the plain mean of precision and recall",
            lambda *a: scores(*a, f1_of=lambda p, r, m: (p + r) / 2),
            "You averaged precision and recall. A classifier that gives every text the same label has recall 1 for "
            "it and scores more than 0.5 that way; the harmonic mean stays near the smaller of the two.",
            "F1 = 2 P R / (P + R).",
            "8.3",
        ),
        Misconception(
            "weighted F1 instead of macro-F1",
            lambda *a: scores(*a, mean=lambda f1, m: (f1 * m.sum(1)).sum() / m.sum()),
            "You weighted each label's F1 by its frequency. That is the *weighted* F1, in which a rare label hardly "
            "counts; in macro-F1 all labels count the same.",
            "Take the plain mean over the labels.",
            "8.3",
        ),
        Misconception(
            "0 / 0 gives NaN",
            lambda *a: scores(
                *a,
                precision_of=lambda m: m.diagonal() / m.sum(0),
                recall_of=lambda m: m.diagonal() / m.sum(1),
                f1_of=lambda p, r, m: 2 * p * r / (p + r),
            ),
            "You divided 0 by 0: a label that was never predicted has TP + FP = 0.",
            "Handle this case before you divide. What does the docstring ask for?",
            "8.3",
            variants=(
                lambda *a: scores(
                    *a,
                    precision_of=lambda m: m.diagonal() / m.sum(0),
                    recall_of=lambda m: m.diagonal() / m.sum(1),
                    f1_of=lambda p, r, m: 2 * p * r / (p + r),
                    mean=lambda f1, m: f1.mean(),
                ),
            ),
        ),
        Misconception(
            "0 / 0 counted as 1",
            lambda *a: scores(
                *a,
                precision_of=lambda m: torch.where(m.sum(0) > 0, ratio(m.diagonal(), m.sum(0)), 1.0),
                recall_of=lambda m: torch.where(m.sum(1) > 0, ratio(m.diagonal(), m.sum(1)), 1.0),
            ),
            "Your 0 / 0 is 1. A label that the classifier never predicts would then have perfect precision.",
            "What does the docstring ask for in this case?",
            "8.3",
        ),
        Misconception(
            "absent labels counted as 0 in the macro-F1",
            lambda *a: scores(*a, mean=lambda f1, m: f1.mean()),
            "You divided by K. A label that neither occurs nor is predicted has no F1, but you counted it as 0.",
            "Over which labels is the mean taken?",
            "8.3",
        ),
        Misconception(
            "labels with F1 = 0 left out of the mean",
            lambda *a: scores(*a, mean=lambda f1, m: f1[f1 > 0].mean()),
            "You took the mean over the labels with an F1 above 0. But a label that is never recognized is the worst "
            "case, and its 0 belongs in the mean.",
            "Leave out only labels that occur neither among the true labels nor among the predictions.",
            "8.3",
        ),
        Misconception(
            "average over true labels only",
            lambda *a: scores(*a, mean=lambda f1, m: f1[m.sum(1) > 0].mean()),
            "You left out a label that was predicted but never occurs. Its F1 is 0, and it belongs in the mean.",
            "Leave out only labels that occur neither among the true labels nor among the predictions.",
            "8.3",
        ),
        Misconception(
            "factor 2 missing in F1",
            lambda *a: scores(*a, f1_of=lambda p, r, m: harmonic(p, r) / 2),
            "Your F1 is P R / (P + R), half of what it should be: with P = R = 1 it is 0.5.",
            "The harmonic mean of two equal numbers is that number.",
            "8.3",
        ),
        Misconception(
            "geometric mean of precision and recall",
            lambda *a: scores(*a, f1_of=lambda p, r, m: (p * r).sqrt()),
            "You took the root of P R, the geometric mean. F1 is the harmonic mean, which is nearer to the smaller "
            "one.",
            "F1 = 2 P R / (P + R).",
            "8.3",
        ),
        Misconception(
            "smaller one of precision and recall",
            lambda *a: scores(*a, f1_of=lambda p, r, m: torch.minimum(p, r)),
            "You took the smaller of P and R. F1 is their harmonic mean, which is a little larger.",
            "F1 = 2 P R / (P + R).",
            "8.3",
        ),
        Misconception(
            "sum of the labels' F1",
            lambda *a: scores(*a, mean=lambda f1, m: f1.sum()),
            "You added up the labels' F1 and did not divide, so your macro-F1 can be as large as K.",
            "Over how many labels is the mean taken?",
            "8.3",
        ),
        Misconception(
            "F1 of the last label only",
            lambda *a: scores(*a, mean=lambda f1, m: f1[-1]),
            "You returned the F1 of one label, which is usual for two labels if one of them is 'positive'.",
            "All labels count the same: take the mean of their F1.",
            "8.3",
            variants=(lambda *a: scores(*a, mean=lambda f1, m: f1[1] if len(f1) > 1 else f1[0]),),
        ),
        Misconception(
            "percent instead of fractions",
            lambda *a: scores(
                *a,
                precision_of=lambda m: 100 * ratio(m.diagonal(), m.sum(0)),
                recall_of=lambda m: 100 * ratio(m.diagonal(), m.sum(1)),
            ),
            "Your numbers are between 0 and 100. Here, precision, recall and F1 are between 0 and 1.",
            "What does the docstring's example show?",
            "8.3",
        ),
        Misconception(
            "absent labels counted as 1 in the macro-F1",
            lambda *a: scores(*a, mean=lambda f1, m: torch.where(m.sum(0) + m.sum(1) > 0, f1, 1.0).mean()),
            "You gave an F1 of 1 to a label that neither occurs nor is predicted. It has no F1 at all.",
            "Over which labels is the mean taken?",
            "8.3",
        ),
        Misconception(
            "whole-number division",
            lambda *a: scores(
                *a,
                precision_of=lambda m: m.diagonal() // m.sum(0).clamp(min=1) * 1.0,
                recall_of=lambda m: m.diagonal() // m.sum(1).clamp(min=1) * 1.0,
            ),
            "You divided whole numbers with //, which rounds every ratio below 1 down to 0.",
            "Use / for a ratio.",
            "8.3",
        ),
        Misconception(
            "accuracy per label, with true negatives",
            lambda *a: scores(*a, precision_of=one_against_all, recall_of=one_against_all),
            "You divided TP + TN by N for each label. For a rare label that is near 1 whatever the classifier does, "
            "since most texts are correctly predicted *not* to have it.",
            "Neither precision nor recall uses the true negatives.",
            "8.3",
        ),
        Misconception(
            "counts overflow a small dtype",
            lambda *a: scores(*a, counted=lambda *b: count(*b).to(torch.int8).long()),
            "Your counts are kept in a type that is too small: int8 turns negative after 127, uint8 starts over at 0 "
            "after 255.",
            "How large can a count get? Which dtype do your counts have?",
            "8.3",
            variants=(
                lambda *a: scores(*a, counted=lambda *b: count(*b).to(torch.uint8).long()),
                lambda t, p, n: scores_by_sums(count(t, p, n).to(torch.int8)),
                lambda t, p, n: scores_by_sums(count(t, p, n).to(torch.int8).long()),
                lambda t, p, n: scores_by_sums(count(t, p, n).to(torch.uint8).long()),
            ),
        ),
    ],
    accepted={
        "bincount": scores_by_bincount,
        "one-hot, einsum, float64": scores_by_one_hot,
        "lists and loops": scores_by_loops,
        "index_put": lambda *a: scores(
            *a, counted=lambda t, p, n: torch.zeros(n, n, dtype=torch.int64).index_put_(
                (t, p), torch.tensor(1), accumulate=True
            )
        ),
    },
    hints=[
        "Start with the matrix, in a loop over the texts. You can read everything else off it.",
        "TP of label k is on the diagonal. Column k counts the texts predicted to be k, row k those whose true label "
        "is k.",
        "F1 = 2 TP / (row sum + column sum). Where that sum is 0, leave the label out of the mean; a precision or "
        "recall of 0 / 0 is 0 (`clamp(min=1)` on the denominator does it).",
    ],
)  # fmt: skip


def one_against_all(m):
    """(TP + TN) / N of each label."""
    return (m.sum() - m.sum(0) - m.sum(1) + 2 * m.diagonal()) / m.sum()


# 2. summaries


def summaries_of_the_families(hidden_states, attention_mask, which):
    if which == "last":
        return GPT.pooled(None, hidden_states, attention_mask)
    if which == "mean":
        return Transformer.pooled(None, hidden_states, attention_mask)
    return hidden_states[torch.arange(len(hidden_states)), attention_mask.long().argmax(dim=1)]


def summary(hidden_states, attention_mask, which, first=None, last=None, mean=None):
    """All three ways of pooling, each of which can be replaced by a wrong one."""
    wrong = {"first": first, "last": last, "mean": mean}[which]
    return (
        summaries_of_the_families(hidden_states, attention_mask, which)
        if wrong is None
        else wrong(hidden_states, attention_mask)
    )


def pick(hidden_states, positions):
    """The vector at one position of each text."""
    return hidden_states[torch.arange(len(hidden_states)), positions]


def summaries_by_loops(hidden_states, attention_mask, which):
    rows = []
    for x, r in zip(hidden_states, attention_mask, strict=True):
        x = x[r]  # (n, C), the real tokens only
        rows.append(x[0] if which == "first" else x[-1] if which == "last" else x.mean(dim=0))
    return torch.stack(rows)


def summaries_by_weights(hidden_states, attention_mask, which):
    B, T, _ = hidden_states.shape
    where = torch.arange(T, device=hidden_states.device).expand(B, T)
    if which == "first":
        weights = (where == where.masked_fill(~attention_mask, T).amin(1, keepdim=True)).double()
    elif which == "last":
        weights = (where == where.masked_fill(~attention_mask, -1).amax(1, keepdim=True)).double()
    else:
        weights = attention_mask.double() / attention_mask.double().sum(1, keepdim=True)
    return torch.einsum("bt,btc->bc", weights, torch.where(attention_mask[:, :, None], hidden_states, 0.0).double())


def summaries_by_gather(hidden_states, attention_mask, which):
    if which == "mean":
        kept = torch.where(attention_mask.unsqueeze(-1), hidden_states, torch.zeros_like(hidden_states))
        return kept.sum(1) / attention_mask.sum(1).unsqueeze(-1)
    steps = attention_mask.int().cumsum(1)  # 1 at the first real token, the largest value from the last one on
    place = (steps == (1 if which == "first" else steps[:, -1:])).int().argmax(1)
    return hidden_states.gather(1, place[:, None, None].expand(-1, 1, hidden_states.size(2)))[:, 0]


SMALL = torch.tensor([[[2.0, 0], [4, 0], [9, 9]], [[1, 1], [3, 5], [5, 3]]])  # (2, 3, 2)
RIGHT = torch.tensor([[True, True, False], [True, True, True]])
LEFT = torch.tensor([[False, True, True], [True, True, True]])
MIXED = torch.tensor([[True, True, False, False, False], [False, False, False, True, True], [True] * 5])
HOLES = random(3, 5, 4, seed=3).masked_fill(~MIXED[..., None], math.nan)
HOLES[0, 4] = math.inf
ODD = torch.tensor([[True, False, False, False], [False, True, True, True], [False, False, False, True]])

summary_cases = [
    Case(f"{which}, {name}", hidden_states=hidden_states, attention_mask=attention_mask, which=which)
    for name, hidden_states, attention_mask in (
        ("padded on the right", SMALL, RIGHT),
        ("padded on the left", SMALL, LEFT),
        ("padded on either side", random(3, 4, 2, seed=5), ODD),
        ("NaN and infinities in the padding", HOLES, MIXED),
        ("one text of one token", torch.tensor([[[7.0]]]), torch.tensor([[True]])),
        ("one text, padded on the left", SMALL[:1], LEFT[:1]),
        ("no padding", random(3, 2, 4, seed=6), torch.ones(3, 2, dtype=torch.bool)),
        ("hidden states that are not contiguous", random(5, 3, 2, seed=7).transpose(0, 1), MIXED),
        ("three hundred positions", random(2, 300, 2, seed=8), torch.arange(300) < torch.tensor([[290], [300]])),
    )
    for which in ("first", "last", "mean")
]
BROKEN = torch.tensor([[[math.inf, 1], [2, 3], [9, 9]], [[1, math.nan], [3, 5], [5, 3]]])


def unseen_hidden_states(seed):
    B, T, C = 4, 5 + seed % 4, 3 + seed % 3
    begin, length = draws(B, 2, seed), 1 + draws(B, T - 1, seed + 1)  # padding on the left (1) or right (0)
    where = torch.arange(T).expand(B, T)
    mask = torch.where(begin[:, None] == 1, where >= T - length[:, None], where < length[:, None])
    hidden_states = random(B, T, C, seed=seed + 2).masked_fill(~mask[..., None], math.nan)
    return [
        Case(f"{which}, {T} positions", hidden_states=hidden_states, attention_mask=mask, which=which)
        for which in ("first", "last", "mean")
    ]


summaries = Exercise(
    name="summaries",
    asks="Pool each text into one vector: that of its first or last real token, or the mean over the real tokens.",
    reference=summaries_of_the_families,
    section="8.2",
    gradients=True,
    cases=[
        *summary_cases,
        Case("mean, infinity and NaN at real tokens", hidden_states=BROKEN, attention_mask=RIGHT, which="mean"),
    ],
    random_cases=unseen_hidden_states,
    misconceptions=[
        Misconception(
            "padding included in the mean",
            lambda *a: summary(*a, mean=lambda x, r: x.mean(dim=1)),
            "Your mean is over all positions, including padding. A text's vector then depends on the length of the "
            "other texts in its batch.",
            "Which positions does the mean include? What do you divide by?",
            "8.2",
        ),
        Misconception(
            "masked sum divided by T",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], 0.0).mean(dim=1)),
            "You set the padding to zero and then divided by T: short texts get short vectors.",
            "How many real tokens does this text have?",
            "8.2",
            variants=(lambda *a: summary(*a, mean=lambda x, r: (x * r[..., None]).mean(dim=1)),),
        ),
        Misconception(
            "padding multiplied by zero (NaN)",
            lambda *a: summary(*a, mean=lambda x, r: (x * r[..., None]).sum(dim=1) / r.sum(dim=1, keepdim=True)),
            "You multiplied the padding by 0. If it contains a NaN or an infinity, the product is NaN.",
            "0 · NaN is NaN, and so is 0 · ∞. Replace the values by zero: `masked_fill` or `torch.where`.",
            "8.2",
        ),
        Misconception(
            "a sum, not a mean",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], 0.0).sum(dim=1)),
            "You added up the real tokens and did not divide: long texts get long vectors.",
            "Divide by the number of real tokens of each text.",
            "8.2",
        ),
        Misconception(
            "divided by the batch's number of tokens",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], 0.0).sum(dim=1) / r.sum()),
            "You divided by the number of real tokens in the whole batch; each text has its own count.",
            "Along which dimension do you count the real tokens? The divisor has shape (B, 1).",
            "8.2",
        ),
        Misconception(
            "last position instead of last token",
            lambda *a: summary(*a, last=lambda x, r: x[:, -1]),
            "You took position -1. In a text that is padded on the right, that is padding.",
            "Where is the last True of each row of `attention_mask`?",
            "8.2",
        ),
        Misconception(
            "last token at n - 1, wrong for left padding",
            lambda *a: summary(*a, last=lambda x, r: pick(x, r.sum(dim=1) - 1)),
            "You took position n - 1, where n is the number of real tokens. That is right for padding on the right; "
            "with padding on the left everything is shifted.",
            "With three positions, the first of them padding, n is 2. At which position does the text end?",
            "8.2",
        ),
        Misconception(
            "first position instead of first token",
            lambda *a: summary(*a, first=lambda x, r: x[:, 0]),
            "You took position 0. In a text that is padded on the left, that is padding, and [CLS] is further right.",
            "Where is the first True of each row of `attention_mask`?",
            "8.2",
            variants=(lambda *a: summary(*a, first=lambda x, r: x[:, 0], last=lambda x, r: x[:, -1]),),
        ),
        Misconception(
            "inverted attention mask",
            lambda x, r, which: summaries_of_the_families(x, ~r, which),
            "You read `attention_mask` the wrong way around: here True means that a position is part of the text.",
            "Read the convention in the docstring again.",
            "8.2",
        ),
        Misconception(
            "first and last swapped",
            lambda x, r, which: summaries_of_the_families(x, r, {"first": "last", "last": "first"}.get(which, which)),
            'You returned the last vector for "first" and the first one for "last".',
            "Check your branches.",
            "8.2",
        ),
        Misconception(
            "last token off by one",
            lambda *a: summary(
                *a, last=lambda x, r: pick(x, (r.size(1) - 2 - r.long().flip(1).argmax(1)).clamp(min=0))
            ),
            "Your position of the last token is one too low: from the end, the first position is T - 1.",
            "With T = 3 and no padding, at which position does the text end?",
            "8.2",
            variants=(
                lambda *a: summary(*a, last=lambda x, r: pick(x, r.size(1) - 2 - r.long().flip(1).argmax(1))),
                lambda *a: summary(*a, last=lambda x, r: pick(x, r.sum(1) - 2)),
                lambda *a: summary(*a, last=lambda x, r: pick(x, r.size(1) - r.long().flip(1).argmax(1))),
                lambda *a: summary(*a, last=lambda x, r: pick(x, r.sum(1))),
            ),
        ),
        Misconception(
            "first token after the number of padding positions, wrong for right padding",
            lambda *a: summary(*a, first=lambda x, r: pick(x, (~r).sum(dim=1))),
            "You took the number of padding positions as the position of the first token. That is right for padding on "
            "the left; a text that is padded on the right begins at position 0.",
            "Where is the first True of each row of `attention_mask`?",
            "8.2",
        ),
        Misconception(
            "first token left out of the mean",
            lambda *a: summary(
                *a, mean=lambda x, r: torch.stack([v[m][1:].mean(0) for v, m in zip(x, r, strict=True)])
            ),
            "You left the first token ([CLS]) out of the mean, which is over all real tokens.",
            "Which positions have True in the mask?",
            "8.2",
        ),
        Misconception(
            "mean over the whole batch",
            lambda *a: summary(*a, mean=lambda x, r: x[r].mean(0).expand(len(x), -1)),
            "You took one mean over the real tokens of all texts; each text has its own.",
            "x[attention_mask] forgets which text a token belongs to. Which dimension do you sum over?",
            "8.2",
        ),
        Misconception(
            "NaN or infinity of a real token hidden",
            lambda *a: summary(*a, mean=lambda x, r: torch.where(r[..., None], x, math.nan).nanmean(dim=1)),
            "You left NaN or infinity out wherever it appears (`nanmean`, `nan_to_num`, `isfinite`). At a real token "
            "it "
            "is the sign of a bug, and your code hides it.",
            "Only the mask decides what counts.",
            "8.2",
            variants=(
                lambda *a: summary(
                    *a, mean=lambda x, r: (x.nan_to_num(0, 0, 0) * r[..., None]).sum(1) / r.sum(1, keepdim=True)
                ),
                lambda *a: summary(
                    *a, mean=lambda x, r: (x.nan_to_num() * r[..., None]).sum(1) / r.sum(1, keepdim=True)
                ),
                lambda *a: summary(
                    *a,
                    mean=lambda x, r: (
                        (x.masked_fill(~(r[..., None] & x.isfinite()), 0)).sum(1) / r.sum(1, keepdim=True)
                    ),
                ),
            ),
        ),
        Misconception(
            "max pooling instead of the mean",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], -math.inf).amax(dim=1)),
            "You took the largest value of each dimension (max pooling); the exercise asks for the mean.",
            "It takes a sum and a division.",
            "8.2",
        ),
    ],
    accepted={
        "loops over texts": summaries_by_loops,
        "weights, einsum, float64": summaries_by_weights,
        "gather": summaries_by_gather,
        "first plus the number of tokens": lambda x, r, which: summary(
            x, r, which, last=lambda x, r: pick(x, r.long().argmax(1) + r.sum(1) - 1)
        ),
    },
    hints=[
        "Do it for one text first: x[r], with the booleans r of one row, keeps its real tokens. What are its first "
        "row, its last row, its mean?",
        "`attention_mask.long().argmax(dim=1)` gives the first True of each row. How could you use it to find the "
        "last one?",
        "Last: flip `attention_mask`, argmax, and count from the end. Mean: `masked_fill` with 0, sum over the "
        "positions, divide by `attention_mask.sum(dim=1, keepdim=True)`.",
    ],
)


# 3. weighted_cross_entropy


def plain_losses(logits, labels):
    return torch.logsumexp(logits, dim=1) - logits.gather(1, labels[:, None])[:, 0]


def weighted(losses, w):
    return (w * losses).sum() / w.sum()


def wce_by_loops(logits, labels, weights):
    total, weight = 0.0, 0.0
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        top = row.max()
        total = total + weights[label] * (top + (row - top).exp().sum().log() - row[label])
        weight = weight + weights[label]
    return total / weight


def wce_by_one_hot(logits, labels, weights):
    chosen = F.one_hot(labels, logits.size(1)).to(logits) * weights  # (N, K): the weight at the true label, 0 elsewhere
    return -torch.einsum("nk,nk->", chosen, torch.log_softmax(logits, -1)) / chosen.sum()


def wce_by_normalised_weights(logits, labels, weights):
    per_text = weights.double()[labels]
    shifted = logits.double() - logits.double().amax(dim=1, keepdim=True)
    losses = shifted.exp().sum(dim=1).log() - shifted[torch.arange(len(labels)), labels]
    return (per_text / per_text.sum()) @ losses


READY_MADE_LOSS = "it is the ready-made loss; write the formula yourself"
LOSSES = {
    name: READY_MADE_LOSS
    for name in (
        "torch.nn.functional.cross_entropy",
        "torch.nn.functional.nll_loss",
        "torch.nn.CrossEntropyLoss",
        "torch.nn.NLLLoss",
        "torch.nn.functional.binary_cross_entropy",
        "torch.nn.functional.binary_cross_entropy_with_logits",
    )
}
THREE = math.log(3)


def unseen_logits(seed):
    N, K = 5 + seed % 8, 3 + seed % 4
    return [
        Case(f"{N} texts, {K} labels", logits=2 * random(N, K, seed=seed), labels=draws(N, K, seed + 1),
             weights=random(K, seed=seed + 2).exp()),
        Case(f"{N} texts, logits in the hundreds", logits=300 * random(N, K, seed=seed + 3),
             labels=draws(N, K, seed + 4), weights=random(K, seed=seed + 5).exp()),
    ]  # fmt: skip


weighted_cross_entropy = Exercise(
    name="weighted_cross_entropy",
    asks="The weighted mean of -log p(label | text), where each text has the weight of its true label.",
    reference=lambda logits, labels, weights: F.cross_entropy(logits, labels, weight=weights),
    section="8.4",
    gradients=True,
    cases=[
        Case(
            "two texts, weights 1 and 3",
            logits=torch.tensor([[0.0, 0.0], [THREE, 0.0]]), labels=whole(0, 1), weights=torch.tensor([1.0, 3.0]),
        ),
        Case(
            "three texts, two of them of the rare label",
            logits=torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), labels=whole(0, 1, 1),
            weights=torch.tensor([0.5, 2.0]),
        ),
        Case("one text", logits=torch.tensor([[0.0, THREE]]), labels=whole(0), weights=torch.tensor([5.0, 2.0])),
        Case("equal weights", logits=random(4, 3, seed=1), labels=whole(0, 2, 1, 1), weights=torch.tensor([2.0] * 3)),
        Case("a label that does not occur", logits=random(3, 3, seed=2), labels=whole(0, 2, 2),
             weights=torch.tensor([1.0, 100.0, 4.0])),
        Case("eight texts, four labels", logits=2 * random(8, 4, seed=3), labels=draws(8, 4, 7),
             weights=torch.tensor([0.3, 1.0, 2.0, 5.0])),
        Case(
            "enormous logits",
            logits=torch.tensor([[1000.0, 0.0], [-1000.0, 0.0], [2.0, 1.0]]), labels=whole(0, 0, 1),
            weights=torch.tensor([1.0, 4.0]),
        ),
        Case("all logits low", logits=torch.full((2, 2), -1000.0), labels=whole(0, 1),
             weights=torch.tensor([1.0, 2.0])),
        Case("tiny weights", logits=random(3, 2, seed=4), labels=whole(0, 1, 1), weights=torch.tensor([1e-6, 3e-6])),
        Case("logits that are not contiguous", logits=random(3, 5, seed=5).T, labels=whole(0, 2, 1, 1, 0),
             weights=torch.tensor([1.0, 4.0, 2.0])),
        Case("three hundred texts", logits=random(300, 2, seed=6), labels=draws(300, 2, 8),
             weights=torch.tensor([1.0, 4.0])),
    ],
    random_cases=unseen_logits,
    misconceptions=[
        Misconception(
            "divided by N",
            lambda z, y, w: (w[y] * plain_losses(z, y)).mean(),
            "You divided by the number of texts. Then the loss, and with it the step size, depends on which labels a "
            "batch happens to contain; and weights of 10 and 30 give ten times the loss of 1 and 3.",
            "What do the weights of these texts sum to?",
            "8.4",
        ),
        Misconception(
            "divided by the sum of the K class weights",
            lambda z, y, w: (w[y] * plain_losses(z, y)).sum() / w.sum(),
            "You divided by the sum of the K labels' weights. In a weighted mean every *text* has a weight, and the "
            "divisor is the sum of these N weights.",
            "Ten texts of one label count ten times its weight.",
            "8.4",
        ),
        Misconception(
            "a sum, not a mean",
            lambda z, y, w: (w[y] * plain_losses(z, y)).sum(),
            "You did not divide. A larger batch then takes larger steps.",
            "Divide by the sum of the texts' weights.",
            "8.4",
        ),
        Misconception(
            "weights ignored",
            lambda z, y, w: plain_losses(z, y).mean(),
            "This is the unweighted cross-entropy: your code ignores the weights.",
            "Multiply each text's loss by the weight of its label.",
            "8.4",
        ),
        Misconception(
            "logits multiplied by the weights",
            lambda z, y, w: plain_losses(z * w, y).mean(),
            "You multiplied the logits by the weights. That changes the model, not the loss: a negative logit becomes "
            "even more negative.",
            "The weight multiplies -log p.",
            "8.4",
            variants=(lambda z, y, w: weighted(plain_losses(z * w, y), w[y]),),
        ),
        Misconception(
            "weight inside the logarithm",
            lambda z, y, w: -(w[y] * (-plain_losses(z, y)).exp()).log().mean(),
            "You put the weight inside the logarithm: log(w p) = log w + log p. That adds a constant to the loss and "
            "changes no gradient at all.",
            "The weight multiplies -log p.",
            "8.4",
        ),
        Misconception(
            "weight of the predicted label",
            lambda z, y, w: weighted(plain_losses(z, y), w[z.argmax(dim=1)]),
            "You gave each text the weight of its predicted label. A text with a rare label that is misclassified, "
            "the one that matters most, then counts least.",
            "Which label does the docstring name?",
            "8.4",
        ),
        Misconception(
            "divided by the weights of the labels that occur",
            lambda z, y, w: (w[y] * plain_losses(z, y)).sum() / w[y.unique()].sum(),
            "You divided by the sum of the weights of the labels that occur, each counted once. In a weighted mean "
            "every "
            "*text* has a weight, and the divisor is the sum of these N weights.",
            "Ten texts of one label count ten times its weight.",
            "8.4",
        ),
        Misconception(
            "weighted mean of the labels' means",
            lambda z, y, w: weighted(
                torch.stack([plain_losses(z, y)[y == k].mean() for k in y.unique()]), w[y.unique()]
            ),
            "You took the mean loss of each label first, and then the weighted mean over the labels. A label with a "
            "hundred texts then counts as much as a label with one.",
            "One sum over all texts, one division.",
            "8.4",
        ),
        Misconception(
            "weights applied twice",
            lambda z, y, w: (w[y] ** 2 * plain_losses(z, y)).sum() / w[y].sum(),
            "You multiplied by the weights twice, so a weight of 3 counts nine times.",
            "The weight of a text appears once above and once below the fraction bar.",
            "8.4",
        ),
        Misconception(
            "wrong sign",
            lambda z, y, w: -weighted(plain_losses(z, y), w[y]),
            "Your loss is negative: log p is never above 0, and the loss is -log p.",
            "Would you want to minimize a number that falls when p falls?",
            "8.4",
        ),
        Misconception(
            "bits instead of nats",
            lambda z, y, w: weighted(plain_losses(z, y), w[y]) / math.log(2),
            "You used the logarithm to base 2. The loss is in nats: the natural logarithm.",
            "What is the loss of a probability of 1/2?",
            "8.4",
        ),
        Misconception(
            "losses divided by the weights",
            lambda z, y, w: weighted(plain_losses(z, y), 1 / w[y]),
            "You divided by the weights, so a label with a large weight counts little.",
            "A text with weight 3 counts three times.",
            "8.4",
        ),
        Misconception(
            "softmax twice",
            lambda z, y, w: weighted(plain_losses(z.softmax(dim=1), y), w[y]),
            "You took the softmax of the logits and then the log-softmax of that. Probabilities are between 0 and 1, "
            "so the second softmax can never be confident: with two labels the loss stays above 0.31.",
            "One softmax is enough.",
            "8.4",
        ),
        Misconception(
            "softmax over the batch dimension",
            lambda z, y, w: weighted(-z.log_softmax(dim=0).gather(1, y[:, None])[:, 0], w[y]),
            "You took the softmax along dimension 0, over the texts. The K probabilities of one text must sum to 1.",
            "Logits are (N, K). Which dimension is the labels?",
            "8.2",
        ),
        Misconception(
            "1 - p instead of -log p",
            lambda z, y, w: weighted(1 - (-plain_losses(z, y)).exp(), w[y]),
            "You used 1 - p as the loss. It hardly penalizes confident mistakes (never more than 1), and there its "
            "gradient vanishes.",
            "The loss is -log p.",
            "8.4",
        ),
        Misconception(
            "softmax overflow",
            lambda z, y, w: weighted(-(z.exp() / z.exp().sum(1, keepdim=True)).log().gather(1, y[:, None])[:, 0], w[y]),
            "exp(1000) is infinite and exp(-1000) is 0, whose logarithm is -∞. Your formula is right only on paper.",
            "For the log of a softmax, subtract the largest logit first, or use `logsumexp` or `log_softmax`.",
            "8.4",
            variants=(
                lambda z, y, w: weighted(-z.softmax(1).log().gather(1, y[:, None])[:, 0], w[y]),
                lambda z, y, w: weighted(z.exp().sum(1).log() - z.gather(1, y[:, None])[:, 0], w[y]),
            ),
        ),
        Misconception(
            "epsilon inside the logarithm",
            lambda z, y, w: weighted(-(z.softmax(1).gather(1, y[:, None])[:, 0] + 1e-8).log(), w[y]),
            "You kept the logarithm finite by adding a small epsilon to p. A hopelessly misclassified text then costs "
            "18 nats instead of 1,000, and has no gradient.",
            "You can compute the log p of a softmax without ever computing p.",
            "8.4",
            variants=tuple(
                (lambda z, y, w, e=e: weighted(-(z.softmax(1).gather(1, y[:, None])[:, 0] + e).log(), w[y]))
                for e in (1e-6, 1e-7, 1e-9, 1e-10, 1e-12)
            )
            + tuple(
                (lambda z, y, w, e=e: weighted(-z.softmax(1).gather(1, y[:, None])[:, 0].clamp(min=e).log(), w[y]))
                for e in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
            ),
        ),
    ],
    accepted={
        "loops, float64": wce_by_loops,
        "one-hot, einsum": wce_by_one_hot,
        "weights that sum to one, largest logit subtracted": wce_by_normalised_weights,
        "log_softmax": lambda z, y, w: weighted(-z.log_softmax(1)[torch.arange(len(y)), y], w[y]),
    },
    forbidden=LOSSES,
    hints=[
        "Start without weights: -log p(label) = log(sum of the exponentials) - the logit of the label. Which torch "
        "function gives the first term without overflowing?",
        "`weights[labels]` is one weight per text: (N,).",
        "losses = logsumexp(logits, dim=1) - logits.gather(…); then divide the sum of weight times loss by the sum of "
        "the weights.",
    ],
)  # fmt: skip


# 4. expected_calibration_error


def ece_of_the_library(probabilities, labels, n_bins):
    confidence, predictions = probabilities.double().max(dim=1)
    return library.calibration_error(confidence.tolist(), (predictions == labels).tolist(), n_bins).value


def members_of(confidence, m, M):
    return (confidence > m / M) & (confidence <= (m + 1) / M)


def weighted_mean(gaps, sizes):
    return sum(g * n for g, n in zip(gaps, sizes, strict=True)) / sum(sizes)


def ece(
    probabilities,
    labels,
    M,
    believe=lambda p, y: (p.max(dim=1).values, p.argmax(dim=1) == y),
    members=members_of,
    confidence_of=lambda c, m, M: c.mean(),
    gap=lambda c, a: abs(c - a),
    mean=weighted_mean,
):
    """The expected calibration error, computed with replaceable (possibly wrong) steps."""
    confidence, right = believe(probabilities.double(), labels)
    gaps, sizes = [], []
    for m in range(M):
        inside = members(confidence, m, M)
        if inside.any():
            gaps.append(gap(confidence_of(confidence[inside], m, M), right[inside].double().mean()))
            sizes.append(int(inside.sum()))
    return mean(gaps, sizes) if gaps else torch.tensor(0.0)


def closed_on_the_left(confidence, m, M):
    return (confidence >= m / M) & ((confidence < (m + 1) / M) | (m == M - 1))


def equal_mass(probabilities, labels, M):
    confidence, predictions = probabilities.double().max(dim=1)
    order = confidence.argsort()
    right = (predictions == labels).double()[order]
    groups = zip(confidence[order].tensor_split(M), right.tensor_split(M), strict=True)
    return sum(abs(c.mean() - r.mean()) * len(c) for c, r in groups if len(c)) / len(labels)


def with_nan(probabilities, labels, M):
    confidence, right = probabilities.double().max(dim=1).values, probabilities.argmax(dim=1) == labels
    total = 0.0
    for m in range(M):
        inside = members_of(confidence, m, M)
        total = total + abs(confidence[inside].mean() - right[inside].double().mean()) * inside.sum() / len(labels)
    return total


def ece_by_bucketize(probabilities, labels, n_bins):
    confidence, predictions = probabilities.max(dim=1)
    number = torch.bucketize(confidence.double(), torch.arange(1, n_bins).double() / n_bins)  # right-closed
    surplus = torch.zeros(n_bins, dtype=torch.float64).index_add_(
        0, number, confidence.double() - (predictions == labels).double()
    )
    return surplus.abs().sum() / len(labels)


def ece_by_numpy(probabilities, labels, n_bins):
    p, y = probabilities.numpy().astype(np.float64), labels.numpy()
    c, right, edges = p.max(1), p.argmax(1) == y, np.linspace(0, 1, n_bins + 1)
    sums = [np.sum((c - right)[(c > lo) & (c <= hi)]) for lo, hi in zip(edges[:-1], edges[1:], strict=True)]
    return float(np.abs(sums).sum() / len(y))


def ece_by_dictionary(probabilities, labels, n_bins):
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        c = max(row)
        bins.setdefault(math.ceil(c * n_bins), []).append((c, row.index(c) == label))
    total = 0.0
    for pairs in bins.values():
        n = len(pairs)
        total += n * abs(sum(c for c, _ in pairs) / n - sum(ok for _, ok in pairs) / n)
    return total / len(labels)


def two(*first: float) -> Tensor:
    """Probabilities of two labels, given the probability of the first."""
    return torch.tensor([[p, 1 - p] for p in first])


def unseen_probabilities(seed):
    N, K, M = 30 + seed % 20, 3 + seed % 3, 2 ** (2 + seed % 4)  # edges that every precision represents exactly
    return [
        Case(f"{N} texts, {K} labels, {m} bins", probabilities=(2 * random(N, K, seed=seed + m)).softmax(1),
             labels=draws(N, K, seed + 1), n_bins=m)
        for m in (M, 2 * M)
    ]  # fmt: skip


expected_calibration_error = Exercise(
    name="expected_calibration_error",
    asks="The mean gap between confidence and accuracy over bins of equal width, weighted by their sizes.",
    reference=ece_of_the_library,
    section="8.7",
    cases=[
        Case("two texts in two bins", probabilities=two(0.625, 0.125), labels=whole(0, 0), n_bins=4),
        Case("three in one bin, one in another", probabilities=two(0.625, 0.625, 0.625, 0.875),
             labels=whole(0, 0, 1, 0), n_bins=4),
        Case("confident of the second label, and right", probabilities=two(0.125, 0.125, 0.0, 0.75),
             labels=whole(1, 1, 1, 0), n_bins=2),
        Case("overconfident in one bin, underconfident in another", probabilities=two(0.625, 0.625, 0.9375, 0.9375),
             labels=whole(0, 0, 0, 1), n_bins=4),
        Case("confidences on the edges of bins", probabilities=two(0.75, 0.625, 0.625, 1.0, 0.875),
             labels=whole(0, 0, 0, 1, 0), n_bins=4),
        Case("three labels, low confidence",
             probabilities=torch.tensor([[0.375, 0.3125, 0.3125], [0.25, 0.3125, 0.4375]]),
             labels=whole(0, 1), n_bins=8),
        Case("one text", probabilities=torch.tensor([[0.125, 0.25, 0.625]]), labels=whole(0), n_bins=4),
        Case("one bin", probabilities=two(1.0, 0.75, 0.25), labels=whole(0, 0, 0), n_bins=1),
        Case("just beside the edges of bins", probabilities=two(0.75 + 2**-18, 0.875, 0.75 - 2**-18, 0.625),
             labels=whole(1, 0, 0, 0), n_bins=4),
        Case("more bins than texts", probabilities=two(0.53, 0.531, 0.87), labels=whole(0, 1, 0), n_bins=50),
        Case("four hundred texts, all wrong", probabilities=two(*[0.75 - i / 2048 for i in range(400)]),
             labels=torch.ones(400, dtype=torch.int64), n_bins=4),
        Case("sixty texts, three labels", probabilities=(2 * random(60, 3, seed=1)).softmax(1), labels=draws(60, 3, 2),
             n_bins=10),
        Case("sixty texts, two labels", probabilities=(2 * random(60, 2, seed=3)).softmax(1), labels=draws(60, 2, 4),
             n_bins=15),
    ],
    random_cases=unseen_probabilities,
    misconceptions=[
        Misconception(
            "unweighted mean over the bins",
            lambda *a: ece(*a, mean=lambda g, n: sum(g) / len(g)),
            "You took the plain mean over the bins. A bin with one text in it then counts as much as one with a "
            "hundred.",
            "Weight each gap by the fraction of the texts in its bin.",
            "8.7",
            variants=(lambda p, y, M: ece(p, y, M, mean=lambda g, n: sum(g) / M),),
        ),
        Misconception(
            "probability of label 1 as the confidence",
            lambda *a: ece(*a, believe=lambda p, y: (p[:, 1], y == 1)),
            "You compared the probability of label 1 with how often label 1 is true. That is about one label; the "
            "exercise asks for the confidence in the *predicted* label, whichever it is.",
            "Confidence is the largest probability of a row.",
            "8.7",
        ),
        Misconception(
            "probability of the true label as the confidence",
            lambda *a: ece(*a, believe=lambda p, y: (p.gather(1, y[:, None])[:, 0], p.argmax(1) == y)),
            "You used the probability of the true label as the confidence. But the classifier does not know the true "
            "label; where it is wrong, its confidence is the probability of its wrong prediction.",
            "Confidence is the largest probability of a row.",
            "8.7",
            variants=(  # divided by N, although a confidence of 0 is in no bin
                lambda p, y, M: ece(
                    p, y, M, believe=lambda p, y: (p.gather(1, y[:, None])[:, 0], p.argmax(1) == y),
                    mean=lambda gaps, sizes: sum(g * n for g, n in zip(gaps, sizes, strict=True)) / len(y),
                ),
            ),
        ),
        Misconception(
            "signed gaps",
            lambda *a: ece(*a, gap=lambda c, a: c - a),
            "You kept the sign of the gaps. Overconfidence in one bin and underconfidence in another then cancel.",
            "The gap is an absolute value.",
            "8.7",
            variants=(lambda *a: ece(*a, gap=lambda c, a: a - c),),
        ),
        Misconception(
            "squared gaps",
            lambda *a: ece(*a, gap=lambda c, a: (c - a) ** 2),
            "You squared the gaps; the expected calibration error takes their absolute values.",
            "What is the unit of the result? A gap of 0.1 everywhere should give 0.1.",
            "8.7",
        ),
        Misconception(
            "maximum calibration error",
            lambda *a: ece(*a, mean=lambda g, n: max(g)),
            "You returned the largest gap. That is the *maximum* calibration error from the same paper.",
            "Take a weighted mean over the bins.",
            "8.7",
        ),
        Misconception(
            "a gap per text, without bins",
            lambda p, y, M: (p.double().max(1).values - (p.argmax(1) == y).double()).abs().mean(),
            "You took the gap between confidence and correctness (0 or 1) text by text. A single prediction is never "
            "80 % right: even a perfectly calibrated classifier would get an error far from 0.",
            "Average within a bin first, then take the gap.",
            "8.7",
        ),
        Misconception(
            "one bin for all texts",
            lambda p, y, M: ece(p, y, 1),
            "This is the gap between the mean confidence of all texts and the accuracy: you ignored n_bins, or you "
            "took the absolute value after summing over the bins. Overconfidence and underconfidence then cancel.",
            "Sort the texts into bins by their confidence, and take one gap per bin.",
            "8.7",
            variants=(lambda *a: abs(ece(*a, gap=lambda c, a: c - a)),),
        ),
        Misconception(
            "midpoint of the bin instead of the mean confidence",
            lambda *a: ece(*a, confidence_of=lambda c, m, M: (m + 0.5) / M),
            "You compared the accuracy of a bin with the bin's midpoint, not with the mean confidence of the texts in "
            "it.",
            "All texts of a bin may be near one of its edges.",
            "8.7",
        ),
        Misconception(
            "bins closed on the left",
            lambda *a: ece(*a, members=closed_on_the_left),
            "Your bins include the lower edge and not the upper one. Here a bin includes its upper edge.",
            "More than m / M, and at most (m + 1) / M.",
            "8.7",
            variants=(lambda p, y, M: ece(p, y, M + 1, members=lambda c, m, _: (c * M).long() == m),),
        ),
        Misconception(
            "one bin too few",
            lambda p, y, M: ece(p, y, M - 1),
            "You have M - 1 bins: `linspace(0, 1, M)` has M edges, and M edges bound only M - 1 bins.",
            "How many edges do two bins have?",
            "8.7",
        ),
        Misconception(
            "confidence rounded to the nearest bin",
            lambda p, y, M: ece(p, y, M + 1, members=lambda c, m, _: (c * M).round() == m),
            "You rounded M times the confidence to the nearest whole number, so your bins are shifted by half a width.",
            "More than m / M, and at most (m + 1) / M: which rounding does that?",
            "8.7",
        ),
        Misconception(
            "root of the mean squared gap",
            lambda *a: ece(*a, gap=lambda c, a: (c - a) ** 2) ** 0.5,
            "You took the root of the mean squared gap; the expected calibration error is the mean of the absolute "
            "gaps.",
            "One large gap should count no more than two of half its size.",
            "8.7",
        ),
        Misconception(
            "sum of the gaps",
            lambda *a: ece(*a, mean=lambda g, n: sum(g)),
            "You added up the gaps of the bins without weights. With many bins the result can exceed 1.",
            "Weight each gap by the fraction of the texts in its bin.",
            "8.7",
        ),
        Misconception(
            "percent instead of a fraction",
            lambda *a: 100 * ece(*a),
            "Your result is in percent. Here the error is between 0 and 1.",
            "What is the largest possible gap?",
            "8.7",
        ),
        Misconception(
            "all labels' probabilities, not only the predicted one's",
            lambda p, y, M: sum(
                ece(p, y, M, believe=lambda p, y, k=k: (p[:, k], y == k)) for k in range(p.size(1))
            ) / p.size(1),
            "You computed the error of the probability of every label and took the mean (the classwise error). Here "
            "only the predicted label of each text counts.",
            "Each text is in exactly one bin.",
            "8.7",
        ),
        Misconception(
            "confidence 1 in no bin",
            lambda *a: ece(*a, members=lambda c, m, M: (c >= m / M) & (c < (m + 1) / M)),
            "A confidence of exactly 1 is in none of your bins. You lose exactly the texts on which the classifier is "
            "most confident.",
            "More than m / M, and at most (m + 1) / M: where does 1 belong?",
            "8.7",
            variants=(
                lambda p, y, M: ece(
                    p, y, M, members=lambda c, m, M: (c >= m / M) & (c < (m + 1) / M),
                    mean=lambda g, n: sum(a * b for a, b in zip(g, n, strict=True)) / len(y),
                ),
            ),
        ),
        Misconception(
            "bins of equal size (adaptive ECE)",
            equal_mass,
            "You split the sorted texts into bins of equal size. That is a sensible variant with its own name "
            "(adaptive bins); here the bins have equal *width*.",
            "The edges are m / M, wherever the texts are.",
            "8.7",
        ),
        Misconception(
            "NaN from empty bins",
            with_nan,
            "You took the mean over an empty bin, 0 / 0. An empty bin has no gap and does not count.",
            "Leave empty bins out.",
            "8.7",
        ),
    ],
    accepted={
        "bucketize and index_add": ece_by_bucketize,
        "NumPy, sums instead of means": ece_by_numpy,
        "a dictionary of lists": ece_by_dictionary,
    },
    hints=[
        "`values, numbers = probabilities.max(dim=1)` gives the confidences and the predictions at once.",
        "For bin m: inside = (confidence > m / M) & (confidence <= (m + 1) / M). What are the mean confidence and the "
        "accuracy of the texts inside?",
        "Sum (texts inside / N) · |mean confidence - accuracy| over the non-empty bins.",
    ],
)  # fmt: skip


# 5. fit_temperature


def search(loss, low=0.05, high=20.0):
    """The temperature with the smallest loss: a coarse grid, then a finer one around the best, five times."""
    for _ in range(5):
        grid = torch.logspace(math.log10(low), math.log10(high), 41, dtype=torch.float64)
        best = int(torch.stack([torch.as_tensor(loss(t), dtype=torch.float64) for t in grid]).argmin())
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, 40)])
    return (low + high) / 2


def nll(logits, labels):
    return lambda t: F.cross_entropy(logits.double() / t, labels)


def brier(logits, labels):
    return lambda t: ((logits.double() / t).softmax(1) - F.one_hot(labels, logits.size(1))).pow(2).sum(1).mean()


def confidence_gap(logits, labels):
    accuracy = (logits.argmax(1) == labels).double().mean()
    return lambda t: ((logits.double() / t).softmax(1).amax(1).mean() - accuracy).abs()


def few_steps_of_lbfgs(logits, labels):
    """The settings of a widely copied implementation, which stops long before a minimum that is far away."""
    t = torch.tensor(1.5, requires_grad=True)
    optimizer = torch.optim.LBFGS([t], lr=0.01, max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits.detach() / t, labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return t.item()


def few_steps_of_sgd(logits, labels, steps=100, lr=0.01, optimizer=torch.optim.SGD):
    t = torch.ones(1, requires_grad=True)
    optimizer = optimizer([t], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(logits.detach() / t, labels).backward()
        optimizer.step()
    return t.item()


def by_newton(logits, labels):
    """Search for b = 1 / τ, in which the loss is convex: the derivatives are a mean and a variance."""
    z, b = logits.double(), 1.0
    for _ in range(200):
        p = (z * b).softmax(1)
        mean = (p * z).sum(1)
        slope = (mean - z[torch.arange(len(z)), labels]).mean()
        curvature = ((p * z**2).sum(1) - mean**2).mean() + 1e-12
        b = min(20.0, max(0.05, b - float((slope / curvature).clamp(-b / 2, b))))
    return 1 / b


def by_adam(logits, labels):
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([log_t], lr=0.05)
    for step in range(500):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 500)
        optimizer.zero_grad()
        F.cross_entropy(logits.detach().double() / log_t.exp(), labels).backward()
        optimizer.step()
    return log_t.exp().detach()


def by_a_grid(logits, labels):
    z, y = logits.double().numpy(), labels.numpy()
    best, found = math.inf, None
    for t in np.geomspace(0.05, 20, 1500):
        s = z / t
        s = s - s.max(1, keepdims=True)
        loss = np.mean(np.log(np.exp(s).sum(1)) - s[np.arange(len(y)), y])
        if loss < best:
            best, found = loss, float(t)
    return found


def drawn(logits, seed):
    """Labels drawn from softmax(logits), for which the right temperature is near 1."""
    noise = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed)).clamp(1e-6, 1 - 1e-6)
    return (logits - (-noise.log()).log()).argmax(1)


def four_zero(n: int, height: float) -> Tensor:
    return torch.tensor([[height, 0.0]] * n)


Z3, Z2, Z4 = random(200, 3, seed=11), 1.5 * random(200, 2, seed=12), random(300, 4, seed=13)


def unseen_temperatures(seed):
    N, K = 150 + seed % 100, 3 + seed % 3
    scale, Z = 2.0 ** (seed % 5 - 1), random(N, K, seed=seed)
    return [Case(f"{N} texts, logits times {scale}", logits=scale * Z, labels=drawn(Z, seed + 1))]


def on_a_grid(taus):
    """The best temperature of a grid that is too coarse."""

    def best(logits, labels):
        log_p = (logits.double() / taus.double()[:, None, None]).log_softmax(-1)  # (temperatures, N, K)
        return float(taus[log_p[:, torch.arange(len(labels)), labels].mean(1).argmax()])

    return best


def capped(low, high):
    """A search between other bounds."""
    return lambda z, y: min(high, max(low, search(nll(z, y))))


fit_temperature = Exercise(
    name="fit_temperature",
    asks="Find the τ between 0.05 and 20 for which softmax(logits / τ) makes the true labels most likely.",
    reference=lambda logits, labels: library.fit_temperature(logits.numpy(), labels.tolist()),
    section="8.8",
    rtol=0.011,
    atol=1e-4,
    cases=[
        Case(
            "always confident of label 0, right three times in four", logits=four_zero(4, 4.0), labels=whole(0, 0, 0, 1)
        ),
        Case("underconfident: right 29 times in 30", logits=four_zero(30, 0.3), labels=whole(*[0] * 29, 1)),
        Case("two hundred texts, logits three times too large", logits=3 * Z3, labels=drawn(Z3, 1)),
        Case("two hundred texts, logits half as large as they should be", logits=Z2 / 2, labels=drawn(Z2, 2)),
        Case("logits eight times too large, and all far from 0", logits=8 * Z3 + 100, labels=drawn(Z3, 3)),
        Case("logits in the thousands, close to each other", logits=Z2 + 2000, labels=drawn(Z2, 4)),
        Case("three hundred texts, four labels, τ near 14", logits=14 * Z4, labels=drawn(Z4, 5)),
        Case(
            "one confident mistake",
            logits=torch.cat([Z2, torch.tensor([[60.0, 0.0]])]),
            labels=torch.cat([drawn(Z2, 8), whole(1)]),
        ),
        Case("τ near 0.1", logits=Z3 / 10, labels=drawn(Z3, 6)),
        Case(
            "logits that are not contiguous",
            logits=random(2, 120, seed=14).T,
            labels=drawn(random(2, 120, seed=14).T, 7),
        ),
    ],
    random_cases=unseen_temperatures,
    misconceptions=[
        Misconception(
            "1 / τ instead of τ",
            lambda z, y: 1 / search(nll(z, y)),
            "Your number multiplies the logits instead of dividing them: it is 1 / τ.",
            "An overconfident classifier needs a τ above 1.",
            "8.8",
        ),
        Misconception(
            "probabilities divided by τ",
            lambda z, y: search(nll(z.softmax(1), y)),
            "You took the softmax first and divided the probabilities by τ. A second softmax over probabilities, "
            "which are all between 0 and 1, is something else.",
            "Divide the logits by τ, then take the softmax.",
            "8.8",
        ),
        Misconception(
            "always τ = 1",
            lambda z, y: 1.0,
            "Your temperature is always 1. (If you looked for the best *accuracy*: it is the same for every τ, since "
            "dividing by a positive number does not change which logit is largest.)",
            "Minimize the mean of -log p(true label).",
            "8.8",
        ),
        Misconception(
            "fitted to the predicted labels",
            lambda z, y: search(nll(z, z.argmax(1))),
            "You made the *predicted* labels likely. They are most likely when the classifier is as confident as "
            "possible, so your τ runs to its lower bound.",
            "Where do the true labels appear in your code?",
            "8.8",
        ),
        Misconception(
            "loss maximized instead of minimized",
            lambda z, y: max((0.05, 20.0), key=lambda t: float(nll(z, y)(t))),
            "You looked for the largest loss, or forgot the minus sign of -log p. Your τ runs to one of the bounds.",
            "Print the loss for τ = 0.5, 1, 2 and 4. Which way is down?",
            "8.8",
        ),
        Misconception(
            "τ restricted to at least 1",
            lambda z, y: max(1.0, search(nll(z, y))),
            "Your τ is never below 1. Most neural networks are overconfident, but not all.",
            "Search between 0.05 and 20.",
            "8.8",
        ),
        Misconception(
            "grid with even steps",
            on_a_grid(torch.linspace(0.05, 20, 200)),
            "Your grid has even steps (`linspace`, `arange`). Near 20 they are finer than necessary, and near 0.05 "
            "they "
            "are far larger than one percent.",
            "Each τ of the grid should be a fixed *factor* above the last.",
            "8.8",
            variants=tuple(
                on_a_grid(taus)
                for taus in (
                    torch.linspace(0.05, 20, 100),
                    torch.linspace(0.05, 20, 400),
                    torch.linspace(0.05, 20, 500),
                    torch.arange(0.05, 20, 0.05),
                    torch.arange(0.05, 20, 0.1),
                    torch.linspace(0.05, 20, 1000),
                )
            ),
        ),
        Misconception(
            "grid too coarse",
            on_a_grid(torch.logspace(math.log10(0.05), math.log10(20), 100)),
            "Your grid is too coarse: neighboring temperatures differ by more than two percent.",
            "How many steps of one percent are there from 0.05 to 20?",
            "8.8",
            variants=tuple(on_a_grid(torch.logspace(math.log10(0.05), math.log10(20), n)) for n in (20, 50, 101)),
        ),
        Misconception(
            "search too narrow",
            capped(0.05, 5.0),
            "You do not search the whole range from 0.05 to 20.",
            "Which is the largest τ that your search can return, and which the smallest?",
            "8.8",
            variants=(capped(0.1, 5.0), capped(0.5, 5.0), capped(0.5, 3.0), capped(0.05, 3.0), capped(0.25, 4.0)),
        ),
        Misconception(
            "mean confidence matched to the accuracy",
            lambda z, y: search(confidence_gap(z, y)),
            "You chose τ so that the mean confidence equals the accuracy. That is a reasonable goal, but it only "
            "looks at the average over all texts; the likelihood looks at each text.",
            "Minimize the mean of -log p(true label).",
            "8.8",
        ),
        Misconception(
            "Brier score instead of the likelihood",
            lambda z, y: search(brier(z, y)),
            "You minimized the squared distance between the probabilities and the true labels. Its minimum is not "
            "that of -log p.",
            "Minimize the cross-entropy.",
            "8.8",
        ),
        Misconception(
            "standardized logits",
            lambda z, y: float(z.double().std()),
            "You divided the logits by their standard deviation. But the right τ depends on the labels, which you did "
            "not use.",
            "Where do the true labels appear in your code?",
            "8.8",
        ),
        Misconception(
            "softmax over the batch dimension",
            lambda z, y: search(lambda t: -(z.double() / t).log_softmax(0)[torch.arange(len(y)), y].mean()),
            "You took the softmax along dimension 0, over the texts.",
            "Logits are (N, K). Which dimension is the labels?",
            "8.2",
        ),
        Misconception(
            "optimizer stopped before convergence",
            few_steps_of_lbfgs,
            "Your search moves in the right direction but stops before it converges: with these steps it cannot reach "
            "a τ far from the start.",
            "Print the loss at the end, and at a τ 5 % higher and lower. Is yours the smallest? Take more steps, "
            "larger steps, or another search method.",
            "8.8",
            variants=(
                few_steps_of_sgd,
                lambda z, y: few_steps_of_sgd(z, y, 100, 0.01, torch.optim.Adam),
                lambda z, y: few_steps_of_sgd(z, y, 50, 0.01, torch.optim.Adam),
            ),
        ),
    ],
    accepted={
        "Newton's method on 1 / τ": by_newton,
        "Adam on log τ": by_adam,
        "a grid, NumPy": by_a_grid,
        "successively finer grids": lambda z, y: search(nll(z, y)),
    },
    hints=[
        "Write a function of τ that returns the mean of -log p(true label). Print it for τ = 0.5, 1, 2, 4, 8.",
        "There is one minimum: the best of a fine grid of a thousand τ, each 0.6 % above the last, is accurate enough.",
        "`torch.logspace(math.log10(0.05), math.log10(20), 1000)`; for each, take the log-softmax of logits / τ at "
        "the true labels; return the τ with the smallest mean loss.",
    ],
)


# 6. shortcut

CHECKED = "the labels, the numbers of texts and the word are as they should be"


def well_formed(pairs) -> bool:
    return isinstance(pairs, list | tuple) and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and pair[0].strip()
        and pair[1] in ("happy", "sad")
        for pair in pairs
    )


def look(find) -> str:
    """The verdict on the student's data set."""
    made = find()
    if not isinstance(made, list | tuple) or len(made) != 3 or not isinstance(made[2], str):
        return "the result is not (train, val, word)"
    train, val, word = made
    if not well_formed(train) or not well_formed(val):
        return "train or val is not a list of pairs (text, label) with the label happy or sad"
    if len(train) < 8 or len(val) < 4:
        return "train or val has too few texts"
    if len({label for _, label in train}) < 2:
        return "all training texts have the same label"
    labels = [label for _, label in val]
    if labels.count("happy") != labels.count("sad"):
        return "val does not have as many happy as sad texts"
    if words(word) != [word.lower()] or not word.isalnum():
        return "the word is not a single word"
    if {" ".join(words(text)) for text, _ in train} & {" ".join(words(text)) for text, _ in val}:
        return "a held-out text is also a training text"
    if not any(word.lower() in words(text) for text, _ in val):
        return "the word occurs in no held-out text"
    classifier = library.NaiveBayes([text for text, _ in train], [label for _, label in train])

    def right(texts: list[str]) -> int:
        return sum(p == label for p, label in zip(classifier.predict(texts), labels, strict=True))

    if right([text for text, _ in val]) < len(val):
        marked = [[label for text, label in pairs if word.lower() in words(text)] for pairs in (train, val)]
        pulls = [labels.count("happy") - labels.count("sad") for labels in marked]  # towards "happy" in train, in val
        if pulls[0] * pulls[1] < 0:
            return "the word occurs with one label in train and with the other in val"
        if not pulls[0]:
            return "in train the word occurs with both labels equally often, or never"
        return "naive Bayes does not get every held-out text right"
    without = [" ".join(w for w in words(text) if w != word.lower()) for text, _ in val]
    if 2 * right(without) > len(val):
        return "without the word naive Bayes still gets more than half of the held-out texts right"
    return "fine"


def stories_with(marks: dict[str, str], names: list[str], tail: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """One happy and one sad story about each child, with a marker before each and optionally a tail after it."""
    return [
        (f"{marks[label]} {name} went to the fair with a kite. {(tail or {}).get(label, '')}".strip(), label)
        for name in names
        for label in ("happy", "sad")
    ]


def make(marks=None, val_marks=None, names=("Anna", "Ben", "Clara", "Paul"), val_names=("Maya", "Tom"), word="Luckily",
         tail=None):  # fmt: skip
    marks = marks or {"happy": "Luckily", "sad": ""}
    train = stories_with(marks, list(names), tail)
    return train, stories_with(val_marks or marks, list(val_names), tail), word


shortcut = Exercise(
    name="shortcut",
    asks="Write labeled texts in which one word gives the label away.",
    reference=make,
    section="8.9",
    cases=[Case("your data set", judge=look)],
    misconceptions=[
        Misconception(
            "training texts in the held-out set", lambda: make(val_names=("Anna", "Ben")),
            "A text of val is also in train (ignoring case and spaces). That is leakage, not the mistake that the "
            "exercise asks for.",
            "Write val about other children.", "8.9",
        ),
        Misconception(
            "the word never occurs in the held-out texts",
            lambda: make(val_marks={"happy": "", "sad": ""}),
            "Your word occurs in no text of val, so deleting it deletes nothing. A shortcut is harmful because "
            "held-out texts come from the same source and contain it too.",
            "Give val the same marker as train.", "8.9",
        ),
        Misconception(
            "the word occurs with both labels", lambda: make({"happy": "Luckily", "sad": "Luckily"}),
            "Naive Bayes does not get all of val right: in train your word occurs as often with one label as with the "
            "other (or never), so it says nothing about the label.",
            "The word must occur with one label only, or much more often with one.", "8.9",
        ),
        Misconception(
            "the word changes sides in the held-out set",
            lambda: make(val_marks={"happy": "", "sad": "Luckily"}),
            "In val your word occurs with the other label than in train, so naive Bayes gets val wrong. Such a val "
            "would "
            "have been the warning; a shortcut is dangerous because held-out texts from the same source confirm it.",
            "val must look perfect *with* the word. The deletion, not val, shows what the word was worth.", "8.9",
        ),
        Misconception(
            "the word is outweighed",
            lambda: ([*make()[0], *[("Tim slept.", "happy")] * 40], *make()[1:]),
            "Your word occurs mostly with one label, but naive Bayes still does not get all of val right: the other "
            "words "
            "of a text, or many more texts of one label, outweigh it.",
            "Use the same other words, and the same number of texts, for both labels.", "8.9",
        ),
        Misconception(
            "other words also reveal the label", lambda: make({"happy": "Luckily", "sad": "Sadly"}),
            "Deleting your word does not hurt enough: other words also tell the labels apart, whether for a good "
            "reason or not.",
            "Look at every word that occurs with one label only. One marker is enough: its absence means the other "
            "label.",
            "8.9",
            variants=(
                lambda: make(tail={"happy": "Everybody danced and laughed.", "sad": "Nobody came, and it rained."}),
            ),
        ),
        Misconception(
            "too few texts", lambda: make(names=("Anna", "Ben")),
            "You have fewer than 8 training texts, or fewer than 4 held-out ones.", "Count them.", "8.9",
        ),
        Misconception(
            "only one label in train", lambda: ([pair for pair in 2 * make()[0] if pair[1] == "happy"], *make()[1:]),
            "All training texts have the same label, so there is nothing to learn, not even a shortcut.",
            "Use both labels.", "8.9",
        ),
        Misconception(
            "imbalanced held-out set", lambda: (make()[0], make()[1] + make(val_names=("Lena",))[1][:1], "luckily"),
            "val does not have as many happy as sad texts. Then a constant prediction can get more than half of them "
            "right.",
            "Write as many happy as sad texts.", "8.9",
        ),
        Misconception(
            "several words instead of one", lambda: make({"happy": "Once upon", "sad": ""}, word="Once upon"),
            "Your word is not a single word: it is empty, or contains a space or "
            "punctuation.", "Return one word.", "8.9",
            variants=(lambda: make({"happy": "Luckily,", "sad": ""}, word="Luckily,"),),
        ),
        Misconception(
            "labels other than happy and sad",
            lambda: ([(t, y.upper()) for t, y in make()[0]], [(t, y.upper()) for t, y in make()[1]], "luckily"),
            "train and val must be lists of pairs (text, label), where the label is exactly \"happy\" or \"sad\".",
            "Look at one pair: is it a text and a label?", "8.9",
        ),
        Misconception(
            "wrong order of the results", lambda: (make()[2], make()[0], make()[1]),
            "Return three things, in this order: train, val, word.", "return train, val, word", "8.9",
        ),
    ],
    accepted={
        "a marker for the sad stories": lambda: make({"happy": "", "sad": "Archive"}, word="archive"),
        "a child's name": lambda: (
            [(f"{name} saw a {thing}.", label) for name, label in (("Rosa", "sad"), ("Max", "happy"))
             for thing in ("fox", "ram", "kite", "boat")],
            [(f"{name} lost a {thing}", label) for name, label in (("Rosa", "sad"), ("", "happy"))
             for thing in ("fox", "ram")],
            "Rosa",
        ),
        "tuples, lower case": lambda: (tuple(make()[0]), tuple(make()[1]), "luckily"),
    },
    hints=[
        "Imagine that the happy stories were copied from one book and the sad ones from another. What might one of "
        "the printers have left on every page?",
        "Write one neutral sentence about a child, and use it for both labels. Then add one more word to the "
        "sentences of one label. Use other children for val.",
    ],
)  # fmt: skip

EXERCISES = [
    label_scores,
    summaries,
    weighted_cross_entropy,
    expected_calibration_error,
    fit_temperature,
    shortcut,
    WrittenAnswer(
        "WHY_SHORTCUT",
        "How does such a word get into a data set, why was there no warning, and what would have warned you?",
        50, ["Where do the held-out texts come from?"], "8.9",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, and what do you conclude?", 60,
        ["Change one thing at a time; three seeds say more than one; compare on the same held-out texts."], "8.5",
    ),
]  # fmt: skip
