"""What is checked in lesson 08, and the known mistakes."""

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
    """n labels out of k."""
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


def share(hits, total):
    """hits / total, and 0 where there is nothing to be divided."""
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
    precision_of=lambda m: share(m.diagonal(), m.sum(0)),
    recall_of=lambda m: share(m.diagonal(), m.sum(1)),
    f1_of=lambda p, r, m: harmonic(p, r),
    mean=mean_of_occurring,
    shown=lambda m: m,
):
    """All four results with any of their details to be got wrong."""
    matrix = counted(truths, predictions, n)
    precision, recall = precision_of(matrix), recall_of(matrix)
    macro = mean(f1_of(precision, recall, matrix), matrix)
    return {"confusion": shown(matrix), "precision": precision, "recall": recall, "macro_f1": macro}


def each_pair_once(truths, predictions, n):
    matrix = torch.zeros(n, n, dtype=torch.int64)
    matrix[truths, predictions] += 1  # one of the equal pairs wins, the others are lost
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


label_scores = Exercise(
    name="label_scores",
    asks="Count who was taken for whom; precision and recall of every label, and the macro-F1.",
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
        Case("forty texts, four labels", truths=draws(40, 4, 1) // 2 * 2, predictions=draws(40, 4, 2), n_labels=4),
        Case("forty texts, three labels", truths=draws(40, 3, 3), predictions=draws(40, 3, 4), n_labels=3),
    ],
    misconceptions=[
        Misconception(
            "rows and columns swapped",
            lambda *a: scores(*a, shown=lambda m: m.T.contiguous()),
            "The rows of your confusion matrix are the predictions; they should be the true labels.",
            "Row i, column j: who is i and was taken for j.",
            "8.3",
        ),
        Misconception(
            "precision and recall swapped",
            lambda *a: scores(
                *a,
                precision_of=lambda m: share(m.diagonal(), m.sum(1)),
                recall_of=lambda m: share(m.diagonal(), m.sum(0)),
            ),
            "Your precision is the recall, and the other way around. The F1 does not notice, since it is symmetric.",
            "Precision divides by what was *predicted* to be the label. Is that a row or a column?",
            "8.3",
        ),
        Misconception(
            "equal pairs are counted once",
            lambda *a: scores(*a, counted=each_pair_once),
            "You wrote matrix[truths, predictions] += 1. Of several equal pairs that adds only one: all read the old "
            "count, and the last one that writes wins.",
            "A loop over the texts, or an operation that adds up duplicates (`index_put_` with accumulate, "
            "`bincount`).",
            "8.3",
        ),
        Misconception(
            "shares instead of counts",
            lambda *a: scores(*a, shown=lambda m: m / m.sum(1, keepdim=True).clamp(min=1)),
            "You divided the rows of the confusion matrix by their sums. Shares hide how many texts a row is about.",
            "The entries are whole numbers that sum to N.",
            "8.3",
        ),
        Misconception(
            "the accuracy (micro-F1)",
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
            "You averaged precision and recall. Who finds everything by calling everything by one name has recall 1 "
            "and gets more than 0.5 that way; the harmonic mean stays near the smaller of the two.",
            "F1 = 2 P R / (P + R).",
            "8.3",
        ),
        Misconception(
            "labels weighted by their frequency",
            lambda *a: scores(*a, mean=lambda f1, m: (f1 * m.sum(1)).sum() / m.sum()),
            "You weighted each label's F1 by how often it occurs. That is the *weighted* F1, in which a rare label "
            "hardly counts; in the macro-F1 all labels count the same.",
            "A plain mean over the labels.",
            "8.3",
        ),
        Misconception(
            "0 / 0 is left as NaN",
            lambda *a: scores(
                *a,
                precision_of=lambda m: m.diagonal() / m.sum(0),
                recall_of=lambda m: m.diagonal() / m.sum(1),
                f1_of=lambda p, r, m: 2 * p * r / (p + r),
            ),
            "You divided nothing by nothing: a label that was never predicted has TP + FP = 0.",
            "Decide before you divide. What does the docstring want in that case?",
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
            "0 / 0 counts as 1",
            lambda *a: scores(
                *a,
                precision_of=lambda m: torch.where(m.sum(0) > 0, share(m.diagonal(), m.sum(0)), 1.0),
                recall_of=lambda m: torch.where(m.sum(1) > 0, share(m.diagonal(), m.sum(1)), 1.0),
            ),
            "You gave 1 where nothing was to be divided. A label that the classifier never finds would then be praised "
            "for its precision.",
            "What does the docstring want in that case?",
            "8.3",
        ),
        Misconception(
            "a label that occurs nowhere pulls the mean down",
            lambda *a: scores(*a, mean=lambda f1, m: f1.mean()),
            "You divided by K. A label that neither occurs nor is predicted has no F1, and you counted it as 0.",
            "Over which labels is the mean taken?",
            "8.3",
        ),
        Misconception(
            "labels that are never hit are left out",
            lambda *a: scores(*a, mean=lambda f1, m: f1[f1 > 0].mean()),
            "You took the mean over the labels with an F1 above 0. But a label that is never recognized is the worst "
            "there is, and its 0 belongs into the mean.",
            "Left out is only a label that occurs neither among the truths nor among the predictions.",
            "8.3",
        ),
        Misconception(
            "only labels that are true are averaged",
            lambda *a: scores(*a, mean=lambda f1, m: f1[m.sum(1) > 0].mean()),
            "You left out a label that was predicted though it never occurs. Its F1 is 0, and that is deserved.",
            "Left out is only a label that occurs neither among the truths nor among the predictions.",
            "8.3",
        ),
        Misconception(
            "true negatives are counted as hits",
            lambda *a: scores(*a, precision_of=one_against_all, recall_of=one_against_all),
            "You divided TP + TN by N for each label. For a rare label that is near 1 whatever the classifier does, "
            "since most texts are rightly *not* it.",
            "Neither precision nor recall asks how many texts were rightly left alone.",
            "8.3",
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
        "Begin with the matrix, by a loop over the texts. Everything else can be read off it.",
        "TP of label k stands on the diagonal. All that was predicted to be k stands in column k, all that is k in row "
        "k.",
        "F1 = 2 TP / (row sum + column sum). Where that sum is 0 the label is left out of the mean; a precision or "
        "recall without anything to divide is 0 (`clamp(min=1)` under the fraction does it).",
    ],
)  # fmt: skip


def one_against_all(m):
    """(TP + TN) / N of each label."""
    return (m.sum() - m.sum(0) - m.sum(1) + 2 * m.diagonal()) / m.sum()


# 2. summaries


def summaries_of_the_families(features, attention_mask, which):
    if which == "last":
        return GPT.pooled(None, features, attention_mask)
    if which == "mean":
        return Transformer.pooled(None, features, attention_mask)
    return features[torch.arange(len(features)), attention_mask.long().argmax(dim=1)]


def summary(features, attention_mask, which, first=None, last=None, mean=None):
    """All three kinds, each of which may be done otherwise."""
    wrong = {"first": first, "last": last, "mean": mean}[which]
    return (
        summaries_of_the_families(features, attention_mask, which) if wrong is None else wrong(features, attention_mask)
    )


def pick(features, positions):
    """The vector at one position of each text."""
    return features[torch.arange(len(features)), positions]


def summaries_by_loops(features, attention_mask, which):
    rows = []
    for x, r in zip(features, attention_mask, strict=True):
        x = x[r]  # (n, C), the real ones only
        rows.append(x[0] if which == "first" else x[-1] if which == "last" else x.mean(dim=0))
    return torch.stack(rows)


def summaries_by_weights(features, attention_mask, which):
    B, T, _ = features.shape
    where = torch.arange(T, device=features.device).expand(B, T)
    if which == "first":
        weights = (where == where.masked_fill(~attention_mask, T).amin(1, keepdim=True)).double()
    elif which == "last":
        weights = (where == where.masked_fill(~attention_mask, -1).amax(1, keepdim=True)).double()
    else:
        weights = attention_mask.double() / attention_mask.double().sum(1, keepdim=True)
    return torch.einsum("bt,btc->bc", weights, torch.where(attention_mask[:, :, None], features, 0.0).double())


def summaries_by_gather(features, attention_mask, which):
    if which == "mean":
        kept = torch.where(attention_mask.unsqueeze(-1), features, torch.zeros_like(features))
        return kept.sum(1) / attention_mask.sum(1).unsqueeze(-1)
    steps = attention_mask.int().cumsum(1)  # 1 at the first real position, its largest value from the last one on
    place = (steps == (1 if which == "first" else steps[:, -1:])).int().argmax(1)
    return features.gather(1, place[:, None, None].expand(-1, 1, features.size(2)))[:, 0]


SMALL = torch.tensor([[[2.0, 0], [4, 0], [9, 9]], [[1, 1], [3, 5], [5, 3]]])  # (2, 3, 2)
RIGHT = torch.tensor([[True, True, False], [True, True, True]])
LEFT = torch.tensor([[False, True, True], [True, True, True]])
MIXED = torch.tensor([[True, True, False, False, False], [False, False, False, True, True], [True] * 5])
HOLES = random(3, 5, 4, seed=3).masked_fill(~MIXED[..., None], math.nan)
HOLES[0, 4] = math.inf
ODD = torch.tensor([[True, False, False, False], [False, True, True, True], [False, False, False, True]])

summary_cases = [
    Case(f"{which}, {name}", features=features, attention_mask=attention_mask, which=which)
    for name, features, attention_mask in (
        ("padded on the right", SMALL, RIGHT),
        ("padded on the left", SMALL, LEFT),
        ("padded on either side", random(3, 4, 2, seed=5), ODD),
        ("NaN and infinities in the padding", HOLES, MIXED),
    )
    for which in ("first", "last", "mean")
]

summaries = Exercise(
    name="summaries",
    asks="One vector for each text: that of its first or its last real position, or the mean over the real ones.",
    reference=summaries_of_the_families,
    section="8.2",
    gradients=True,
    cases=summary_cases,
    misconceptions=[
        Misconception(
            "padding is averaged too",
            lambda *a: summary(*a, mean=lambda x, r: x.mean(dim=1)),
            "Your mean is over all positions, padding included. A text's vector then depends on how long the others of "
            "its batch are.",
            "Over which positions is the mean? What has to be divided by?",
            "8.2",
        ),
        Misconception(
            "the sum is over real positions, the divisor is T",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], 0.0).mean(dim=1)),
            "You set the padding to zero and then divided by T: short texts get short vectors.",
            "How many positions of this text are real?",
            "8.2",
            variants=(lambda *a: summary(*a, mean=lambda x, r: (x * r[..., None]).mean(dim=1)),),
        ),
        Misconception(
            "padding is multiplied by zero",
            lambda *a: summary(*a, mean=lambda x, r: (x * r[..., None]).sum(dim=1) / r.sum(dim=1, keepdim=True)),
            "You multiplied padded positions by 0. If there is a NaN or an infinity in one, the product is NaN.",
            "0 · NaN is NaN, and so is 0 · ∞. Put a zero there instead: `masked_fill` or `torch.where`.",
            "8.2",
        ),
        Misconception(
            "a sum, not a mean",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], 0.0).sum(dim=1)),
            "You added up the real positions and did not divide: long texts get long vectors.",
            "Divide by the number of real positions of each text.",
            "8.2",
        ),
        Misconception(
            "divided by all the real positions of the batch",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], 0.0).sum(dim=1) / r.sum()),
            "You divided by the number of real positions in the whole batch; each text has its own.",
            "Along which dimension do you count what is real? The divisor has shape (B, 1).",
            "8.2",
        ),
        Misconception(
            "the last position is padding",
            lambda *a: summary(*a, last=lambda x, r: x[:, -1]),
            "You took position -1. In a text that is padded on the right that is padding, which has read nothing.",
            "Where is the last True of each row of `attention_mask`?",
            "8.2",
        ),
        Misconception(
            "the last real position is found by counting",
            lambda *a: summary(*a, last=lambda x, r: pick(x, r.sum(dim=1) - 1)),
            "You took position n - 1, where n is the number of real ones. That is right when padding is on the right; "
            "on the left everything is shifted.",
            "With three positions, the first of them padding, n is 2. Where does the text end?",
            "8.2",
        ),
        Misconception(
            "the first position is padding",
            lambda *a: summary(*a, first=lambda x, r: x[:, 0]),
            "You took position 0. In a text that is padded on the left that is padding, and [CLS] stands further "
            "right.",
            "Where is the first True of each row of `attention_mask`?",
            "8.2",
            variants=(lambda *a: summary(*a, first=lambda x, r: x[:, 0], last=lambda x, r: x[:, -1]),),
        ),
        Misconception(
            "True taken for padding",
            lambda x, r, which: summaries_of_the_families(x, ~r, which),
            "You read `attention_mask` the other way around: here True means that a position is part of the text.",
            "Read the convention in the docstring again.",
            "8.2",
        ),
        Misconception(
            "first and last swapped",
            lambda x, r, which: summaries_of_the_families(x, r, {"first": "last", "last": "first"}.get(which, which)),
            'You gave the last vector for "first" and the first one for "last".',
            "Check your branches.",
            "8.2",
        ),
        Misconception(
            "the largest instead of the mean",
            lambda *a: summary(*a, mean=lambda x, r: x.masked_fill(~r[..., None], -math.inf).amax(dim=1)),
            "You took the largest value of each feature (max pooling); the exercise asks for the mean.",
            "A sum, and a division.",
            "8.2",
        ),
    ],
    accepted={
        "loops over texts": summaries_by_loops,
        "weights, einsum, float64": summaries_by_weights,
        "gather": summaries_by_gather,
        "nanmean": lambda x, r, which: summary(
            x, r, which, mean=lambda x, r: torch.where(r[..., None], x, torch.tensor(math.nan)).nanmean(dim=1)
        ),
    },
    hints=[
        "Do it for one text first: x[r] with the booleans r of one row keeps its real positions. What are its first "
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

weighted_cross_entropy = Exercise(
    name="weighted_cross_entropy",
    asks="The mean of -log p(label | text) in which a text counts as much as its true label's weight.",
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
    ],
    misconceptions=[
        Misconception(
            "divided by N",
            lambda z, y, w: (w[y] * plain_losses(z, y)).mean(),
            "You divided by the number of texts. Then the loss, and with it the size of a step, depends on which "
            "labels a batch happens to hold; and weights of 10 and 30 give ten times the loss of 1 and 3.",
            "What do the weights of these texts sum to?",
            "8.4",
        ),
        Misconception(
            "divided by the sum over the labels",
            lambda z, y, w: (w[y] * plain_losses(z, y)).sum() / w.sum(),
            "You divided by the sum of the K labels' weights. In a weighted mean every *text* has a weight, and the "
            "divisor is the sum of these N.",
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
            "the weights make no difference",
            lambda z, y, w: plain_losses(z, y).mean(),
            "This is the plain cross-entropy; the weights make no difference in your code.",
            "Each text's loss is multiplied by the weight of its label.",
            "8.4",
        ),
        Misconception(
            "the weights multiply the logits",
            lambda z, y, w: plain_losses(z * w, y).mean(),
            "You multiplied the logits by the weights. That is another model, not another loss: a negative logit "
            "becomes more negative by it.",
            "The weight stands before -log p.",
            "8.4",
            variants=(lambda z, y, w: weighted(plain_losses(z * w, y), w[y]),),
        ),
        Misconception(
            "the weights multiply the probabilities",
            lambda z, y, w: -(w[y] * (-plain_losses(z, y)).exp()).log().mean(),
            "You put the weight inside the logarithm: log(w p) = log w + log p. That adds a constant to the loss and "
            "changes no gradient at all.",
            "The weight stands before -log p.",
            "8.4",
        ),
        Misconception(
            "the weight of the predicted label",
            lambda z, y, w: weighted(plain_losses(z, y), w[z.argmax(dim=1)]),
            "You weighted each text by the label that is predicted. A rare text that is missed, the one that matters "
            "most, then counts least.",
            "Which label does the docstring name?",
            "8.4",
        ),
        Misconception(
            "the weights are divided by, not multiplied with",
            lambda z, y, w: weighted(plain_losses(z, y), 1 / w[y]),
            "You divided by the weights, so a label of large weight counts little.",
            "A weight of 3 counts three times.",
            "8.4",
        ),
        Misconception(
            "softmax twice",
            lambda z, y, w: weighted(plain_losses(z.softmax(dim=1), y), w[y]),
            "You took the softmax of the logits and then the log-softmax of that. Probabilities lie between 0 and 1, "
            "so the second softmax can never be sure of anything: with two labels the loss stays above 0.31.",
            "One softmax is enough.",
            "8.4",
        ),
        Misconception(
            "softmax over the texts",
            lambda z, y, w: weighted(-z.log_softmax(dim=0).gather(1, y[:, None])[:, 0], w[y]),
            "You took the softmax along dimension 0, over the texts. The K probabilities of one text must sum to 1.",
            "Logits are (N, K). Along which dimension do the labels of one text lie?",
            "8.2",
        ),
        Misconception(
            "one minus the probability",
            lambda z, y, w: weighted(1 - (-plain_losses(z, y)).exp(), w[y]),
            "You took 1 - p for the loss. It hardly punishes being sure and wrong (never more than 1), and its "
            "gradient vanishes just there.",
            "The loss is -log p.",
            "8.4",
        ),
        Misconception(
            "large logits overflow",
            lambda z, y, w: weighted(-(z.exp() / z.exp().sum(1, keepdim=True)).log().gather(1, y[:, None])[:, 0], w[y]),
            "exp(1000) is infinite and exp(-1000) is 0, whose logarithm is -∞. Your formula is right on paper only.",
            "log of a softmax: subtract the largest logit first, or use `logsumexp` or `log_softmax`.",
            "8.4",
            variants=(
                lambda z, y, w: weighted(-z.softmax(1).log().gather(1, y[:, None])[:, 0], w[y]),
                lambda z, y, w: weighted(z.exp().sum(1).log() - z.gather(1, y[:, None])[:, 0], w[y]),
            ),
        ),
        Misconception(
            "a small number under the logarithm",
            lambda z, y, w: weighted(-(z.softmax(1).gather(1, y[:, None])[:, 0] + 1e-8).log(), w[y]),
            "You kept the logarithm finite by adding a small number to p. A text that is hopelessly wrong then costs "
            "18 nats instead of 1,000, and has no gradient.",
            "log p of a softmax can be had without ever computing p.",
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
        "Without weights first: -log p(label) = log(sum of the exponentials) - the logit of the label. Which torch "
        "function gives the first term without overflowing?",
        "`weights[labels]` is one weight for each text: (N,).",
        "losses = logsumexp(logits, dim=1) - logits.gather(…); then the sum of weight times loss over the sum of the "
        "weights.",
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
    """The expected calibration error with every detail open to being wrong."""
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
    """Probabilities of two labels, from that of the first."""
    return torch.tensor([[p, 1 - p] for p in first])


expected_calibration_error = Exercise(
    name="expected_calibration_error",
    asks="The mean gap between confidence and accuracy over bins of equal width, weighted by their sizes.",
    reference=ece_of_the_library,
    section="8.7",
    cases=[
        Case("two texts in two bins", probabilities=two(0.625, 0.125), labels=whole(0, 0), n_bins=4),
        Case("three in one bin, one in another", probabilities=two(0.625, 0.625, 0.625, 0.875),
             labels=whole(0, 0, 1, 0), n_bins=4),
        Case("sure of the second label, and right", probabilities=two(0.125, 0.125, 0.0, 0.75),
             labels=whole(1, 1, 1, 0), n_bins=2),
        Case("too sure in one bin, not sure enough in another", probabilities=two(0.625, 0.625, 0.9375, 0.9375),
             labels=whole(0, 0, 0, 1), n_bins=4),
        Case("confidences on the edges of bins", probabilities=two(0.75, 0.625, 0.625, 1.0, 0.875),
             labels=whole(0, 0, 0, 1, 0), n_bins=4),
        Case("three labels, unsure", probabilities=torch.tensor([[0.375, 0.3125, 0.3125], [0.25, 0.3125, 0.4375]]),
             labels=whole(0, 1), n_bins=8),
        Case("sixty texts, three labels", probabilities=(2 * random(60, 3, seed=1)).softmax(1), labels=draws(60, 3, 2),
             n_bins=10),
        Case("sixty texts, two labels", probabilities=(2 * random(60, 2, seed=3)).softmax(1), labels=draws(60, 2, 4),
             n_bins=15),
    ],
    misconceptions=[
        Misconception(
            "every bin counts the same",
            lambda *a: ece(*a, mean=lambda g, n: sum(g) / len(g)),
            "You took the plain mean over the bins. A bin with one text in it then counts as much as one with a "
            "hundred.",
            "Each gap is weighted by the fraction of the texts that are in its bin.",
            "8.7",
            variants=(lambda p, y, M: ece(p, y, M, mean=lambda g, n: sum(g) / M),),
        ),
        Misconception(
            "the probability of label 1",
            lambda *a: ece(*a, believe=lambda p, y: (p[:, 1], y == 1)),
            "You compared the probability of label 1 with how often label 1 is true. That is a question about one "
            "label; the exercise asks for the confidence in the label that was *predicted*, whichever it is.",
            "Confidence is the largest probability of a row.",
            "8.7",
        ),
        Misconception(
            "the probability of the true label",
            lambda *a: ece(*a, believe=lambda p, y: (p.gather(1, y[:, None])[:, 0], p.argmax(1) == y)),
            "You took the probability of the true label as confidence. But the classifier does not know which one is "
            "true; where it is wrong, its confidence is that of its wrong answer.",
            "Confidence is the largest probability of a row.",
            "8.7",
            variants=(  # divided by N, though a confidence of 0 is in no bin
                lambda p, y, M: ece(
                    p, y, M, believe=lambda p, y: (p.gather(1, y[:, None])[:, 0], p.argmax(1) == y),
                    mean=lambda gaps, sizes: sum(g * n for g, n in zip(gaps, sizes, strict=True)) / len(y),
                ),
            ),
        ),
        Misconception(
            "the gaps keep their signs",
            lambda *a: ece(*a, gap=lambda c, a: c - a),
            "You left the gaps their signs. Too sure in one bin and not sure enough in another then add up to nothing.",
            "The gap is a distance.",
            "8.7",
            variants=(lambda *a: ece(*a, gap=lambda c, a: a - c),),
        ),
        Misconception(
            "the gaps are squared",
            lambda *a: ece(*a, gap=lambda c, a: (c - a) ** 2),
            "You squared the gaps; the expected calibration error takes their absolute values.",
            "What is the unit of the result? A gap of 0.1 everywhere should give 0.1.",
            "8.7",
        ),
        Misconception(
            "the largest gap",
            lambda *a: ece(*a, mean=lambda g, n: max(g)),
            "You returned the largest gap. That is the *maximum* calibration error of the same paper.",
            "A weighted mean over the bins.",
            "8.7",
        ),
        Misconception(
            "a gap for each text",
            lambda p, y, M: (p.double().max(1).values - (p.argmax(1) == y).double()).abs().mean(),
            "You took the distance between confidence and right-or-wrong text by text. A single text is never 80 % "
            "right: even a perfectly calibrated classifier would get an error far from 0.",
            "Average within a bin first, then take the distance.",
            "8.7",
        ),
        Misconception(
            "one bin for all",
            lambda p, y, M: ece(p, y, 1),
            "This is the distance between the mean confidence of all texts and the accuracy: n_bins makes no "
            "difference, or the distance was taken after the bins were added up. Too sure here and not sure enough "
            "there cancel.",
            "Sort the texts into bins by their confidence; one distance for each bin.",
            "8.7",
            variants=(lambda *a: abs(ece(*a, gap=lambda c, a: c - a)),),
        ),
        Misconception(
            "the middle of the bin for its confidence",
            lambda *a: ece(*a, confidence_of=lambda c, m, M: (m + 0.5) / M),
            "You compared the accuracy of a bin with the bin's middle, not with the mean confidence of the texts in "
            "it.",
            "The texts of a bin may all lie near one of its ends.",
            "8.7",
        ),
        Misconception(
            "bins closed on the left",
            lambda *a: ece(*a, members=closed_on_the_left),
            "Your bins hold their lower edge and not the upper one. Here a bin ends with its upper edge.",
            "More than m / M, and at most (m + 1) / M.",
            "8.7",
        ),
        Misconception(
            "full confidence falls out",
            lambda *a: ece(*a, members=lambda c, m, M: (c >= m / M) & (c < (m + 1) / M)),
            "A confidence of exactly 1 is in none of your bins. Of a classifier that is very sure you lose just the "
            "texts on which it is surest.",
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
            "as many texts in each bin",
            equal_mass,
            "You cut the sorted texts into bins of equal size. That is a sensible variant, with its own name (adaptive "
            "bins); here the bins have equal *width*.",
            "The edges are m / M, wherever the texts are.",
            "8.7",
        ),
        Misconception(
            "empty bins are not a number",
            with_nan,
            "You took the mean over an empty bin, 0 / 0. An empty bin has no gap and counts for nothing.",
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
        "Sum over the bins of (texts inside / N) · |mean confidence - accuracy|, without the empty ones.",
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
    """The settings of a widely copied implementation: they stop long before the bottom when it is far."""
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
    """On b = 1 / τ, in which the loss is convex: the derivatives are a mean and a variance."""
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
    """Labels drawn from softmax(logits): of these the right temperature is near 1."""
    noise = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed)).clamp(1e-6, 1 - 1e-6)
    return (logits - (-noise.log()).log()).argmax(1)


def four_zero(n: int, height: float) -> Tensor:
    return torch.tensor([[height, 0.0]] * n)


Z3, Z2 = random(200, 3, seed=11), 1.5 * random(200, 2, seed=12)

fit_temperature = Exercise(
    name="fit_temperature",
    asks="The τ between 0.05 and 20 for which softmax(logits / τ) makes the true labels most likely.",
    reference=lambda logits, labels: library.fit_temperature(logits.numpy(), labels.tolist()),
    section="8.8",
    rtol=0.011,
    atol=1e-4,
    cases=[
        Case("always sure of label 0, right three times in four", logits=four_zero(4, 4.0), labels=whole(0, 0, 0, 1)),
        Case("not sure enough: right 29 times in 30", logits=four_zero(30, 0.3), labels=whole(*[0] * 29, 1)),
        Case("two hundred texts, three times too sure", logits=3 * Z3, labels=drawn(Z3, 1)),
        Case("two hundred texts, half as sure as it could be", logits=Z2 / 2, labels=drawn(Z2, 2)),
        Case("eight times too sure, and all logits far from 0", logits=8 * Z3 + 100, labels=drawn(Z3, 3)),
    ],
    misconceptions=[
        Misconception(
            "one over the temperature",
            lambda z, y: 1 / search(nll(z, y)),
            "Your number is to be multiplied with the logits, not to divide them: it is 1 / τ.",
            "A classifier that is too sure needs a τ above 1.",
            "8.8",
        ),
        Misconception(
            "the probabilities are divided",
            lambda z, y: search(nll(z.softmax(1), y)),
            "You took the softmax first and divided the probabilities by τ. Between 0 and 1 there is little left to be "
            "divided: a second softmax over them means another thing.",
            "Logits, divided by τ, softmax: in this order.",
            "8.8",
        ),
        Misconception(
            "nothing is fitted",
            lambda z, y: 1.0,
            "Your temperature is always 1. (If you looked for the best *accuracy*: that is the same for every τ, since "
            "dividing by a positive number does not change which logit is largest.)",
            "What is to be made small is the mean of -log p(true label).",
            "8.8",
        ),
        Misconception(
            "fitted to its own predictions",
            lambda z, y: search(nll(z, z.argmax(1))),
            "You made the *predicted* labels likely. They are most likely when the classifier is as sure as can be, "
            "so your τ runs to its lower end.",
            "Where do the true labels appear in your code?",
            "8.8",
        ),
        Misconception(
            "the loss is made large",
            lambda z, y: max((0.05, 20.0), key=lambda t: float(nll(z, y)(t))),
            "You looked for the largest loss, or forgot the minus sign of -log p. Your τ runs to an end.",
            "Print the loss for τ = 0.5, 1, 2 and 4. Which way is down?",
            "8.8",
        ),
        Misconception(
            "never below 1",
            lambda z, y: max(1.0, search(nll(z, y))),
            "Your τ is never below 1. Most neural networks are too sure of themselves, but not all.",
            "Between 0.05 and 20.",
            "8.8",
        ),
        Misconception(
            "confidence equal to accuracy",
            lambda z, y: search(confidence_gap(z, y)),
            "You chose τ so that the mean confidence equals the accuracy. That is one thing to want, but it only looks "
            "at the sum over all texts; the likelihood looks at each.",
            "What is to be made small is the mean of -log p(true label).",
            "8.8",
        ),
        Misconception(
            "the squared error (Brier score)",
            lambda z, y: search(brier(z, y)),
            "You made the squared distance between probabilities and truth small. It has another minimum than -log p.",
            "Cross-entropy.",
            "8.8",
        ),
        Misconception(
            "the logits are standardised",
            lambda z, y: float(z.double().std()),
            "You divided the logits by their standard deviation. That makes them tidy, but what is right depends on "
            "the labels, which you did not use.",
            "Where do the true labels appear in your code?",
            "8.8",
        ),
        Misconception(
            "softmax over the texts",
            lambda z, y: search(lambda t: -(z.double() / t).log_softmax(0)[torch.arange(len(y)), y].mean()),
            "You took the softmax along dimension 0, over the texts.",
            "Logits are (N, K). Along which dimension do the labels of one text lie?",
            "8.2",
        ),
        Misconception(
            "stopped before the bottom",
            few_steps_of_lbfgs,
            "You walk in the right direction, but stop before you are there: with these steps a τ far from the start "
            "is not reached.",
            "Print the loss at the end, and at a τ 5 % higher and lower. Is yours the smallest? More steps, larger "
            "ones, or another kind of search.",
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
        "grids, ever finer": lambda z, y: search(nll(z, y)),
    },
    hints=[
        "Write a function of τ that gives the mean of -log p(true label). Print it for τ = 0.5, 1, 2, 4, 8.",
        "One valley: the smallest value of a fine grid of a thousand τ, each 0.6 % above the last, is exact enough.",
        "`torch.logspace(math.log10(0.05), math.log10(20), 1000)`; for each the log-softmax of logits / τ at the true "
        "labels; the τ with the smallest mean loss.",
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
    """The verdict on the data set that was made."""
    made = find()
    if not isinstance(made, list | tuple) or len(made) != 3 or not isinstance(made[2], str):
        return "that is not (train, val, word)"
    train, val, word = made
    if not well_formed(train) or not well_formed(val):
        return "train or val is not a list of pairs of a text and a label, happy or sad"
    if len(train) < 8 or len(val) < 4:
        return "there are too few texts"
    if len({label for _, label in train}) < 2:
        return "all training texts have the same label"
    labels = [label for _, label in val]
    if labels.count("happy") != labels.count("sad"):
        return "there are not as many happy as sad texts in val"
    if words(word) != [word.lower()] or not word.isalnum():
        return "the word is not a single word"
    if {" ".join(words(text)) for text, _ in train} & {" ".join(words(text)) for text, _ in val}:
        return "a held-out text stands in the training texts too"
    if not any(word.lower() in words(text) for text, _ in val):
        return "the word occurs in no held-out text"
    classifier = library.NaiveBayes([text for text, _ in train], [label for _, label in train])

    def right(texts: list[str]) -> int:
        return sum(p == label for p, label in zip(classifier.predict(texts), labels, strict=True))

    if right([text for text, _ in val]) < len(val):
        return "naive Bayes does not get every held-out text right"
    without = [" ".join(w for w in words(text) if w != word.lower()) for text, _ in val]
    if 2 * right(without) > len(val):
        return "without the word naive Bayes still gets more than half of the held-out texts right"
    return "fine"


def stories_with(marks: dict[str, str], names: list[str], tail: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """One happy and one sad story about each child, with a mark before each and, if wanted, something after it."""
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
    cases=[Case("your data set", run=look)],
    misconceptions=[
        Misconception(
            "held-out texts from training", lambda: make(val_names=("Anna", "Ben")),
            "A text of val is in train too (capital letters and spaces aside). That is leakage, and another mistake "
            "than the one that is asked for.",
            "Write val with other children.", "8.9",
        ),
        Misconception(
            "the word is not in the held-out texts",
            lambda: make(val_marks={"happy": "", "sad": ""}),
            "Your word occurs in no text of val, so deleting it deletes nothing. A shortcut does its harm because "
            "held-out texts come from the same source and carry it too.",
            "Give val the same mark as train.", "8.9",
        ),
        Misconception(
            "the word stands with both labels", lambda: make({"happy": "Luckily", "sad": "Luckily"}),
            "Naive Bayes does not get all of val right: your word says nothing about the label.",
            "The word must go with one label, or much more often with one.", "8.9",
        ),
        Misconception(
            "other words give it away too", lambda: make({"happy": "Luckily", "sad": "Sadly"}),
            "Deleting your word does not hurt enough: without it there are other words that tell the labels apart, "
            "honestly or not.",
            "Look at every word that stands with one label only. One mark is enough: its absence says the other label.",
            "8.9",
            variants=(
                lambda: make(tail={"happy": "Everybody danced and laughed.", "sad": "Nobody came, and it rained."}),
            ),
        ),
        Misconception(
            "too few texts", lambda: make(names=("Anna", "Ben")),
            "There are fewer than 8 training texts, or fewer than 4 held-out ones.", "Count them.", "8.9",
        ),
        Misconception(
            "one label only", lambda: ([pair for pair in 2 * make()[0] if pair[1] == "happy"], *make()[1:]),
            "All training texts have the same label, so nothing can be learned, not even something wrong.",
            "Both labels.", "8.9",
        ),
        Misconception(
            "val is out of balance", lambda: (make()[0], make()[1] + make(val_names=("Lena",))[1][:1], "luckily"),
            "val does not have as many happy as sad texts. Then half of them can be had by always saying the same.",
            "As many happy as sad ones.", "8.9",
        ),
        Misconception(
            "several words", lambda: make({"happy": "Once upon", "sad": ""}, word="Once upon"),
            "Your word is none: it holds a space or punctuation, or nothing.", "One word.", "8.9",
            variants=(lambda: make({"happy": "Luckily,", "sad": ""}, word="Luckily,"),),
        ),
        Misconception(
            "labels of one's own",
            lambda: ([(t, y.upper()) for t, y in make()[0]], [(t, y.upper()) for t, y in make()[1]], "luckily"),
            "train and val must be lists of pairs (text, label), where the label is \"happy\" or \"sad\", so written.",
            "Look at one pair: is it a text and a label?", "8.9",
        ),
        Misconception(
            "the word comes first", lambda: (make()[2], make()[0], make()[1]),
            "Three things are asked for, in this order: train, val, word.", "return train, val, word", "8.9",
        ),
    ],
    accepted={
        "a mark for the sad ones": lambda: make({"happy": "", "sad": "Archive"}, word="archive"),
        "the name of a child": lambda: (
            [(f"{name} saw a {thing}.", label) for name, label in (("Rosa", "sad"), ("Max", "happy"))
             for thing in ("fox", "ram", "kite", "boat")],
            [(f"{name} lost a {thing}", label) for name, label in (("Rosa", "sad"), ("", "happy"))
             for thing in ("fox", "ram")],
            "Rosa",
        ),
        "tuples, lower case": lambda: (tuple(make()[0]), tuple(make()[1]), "luckily"),
    },
    hints=[
        "Imagine that the happy stories were copied from one book and the sad ones from another. What could the "
        "printer of one of them have left on every page?",
        "Write one neutral sentence about a child, and use it for both labels. Then put one word more into those of "
        "one label. Other children for val.",
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
        "WHY_SHORTCUT", "How does such a word get into a data set, why was there no warning, what would have warned?",
        50, ["Who chose the held-out texts, and from where?"], "8.9",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, what do you make of it?", 60,
        ["One change at a time; three seeds say more than one; compare on the same held-out texts."], "8.5",
    ),
]  # fmt: skip
