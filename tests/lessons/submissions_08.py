"""Judged solutions of lesson 08: see test_wrong_and_right.py."""

LABEL_SCORES = """
import torch
def label_scores(truths, predictions, n_labels):
    c = torch.zeros(n_labels, n_labels, dtype=torch.{dtype})
    for t, p in zip({row}, {column}):
        c[t, p] += 1
    c = c.long()
    tp, predicted, true = c.diag(), c.sum(0), c.sum(1)
    P, R = (tp / predicted).nan_to_num(0), (tp / true).nan_to_num(0)
    F = (2 * P * R / (P + R)).nan_to_num(0)
    return {{"confusion": c, "precision": P, "recall": R, "macro_f1": {macro}}}
"""


def label_scores(dtype="int64", row="truths", column="predictions", macro="F[predicted + true > 0].mean()"):
    return LABEL_SCORES.format(dtype=dtype, row=row, column=column, macro=macro)


SUMMARIES = """
import torch
def summaries(hidden_states, attention_mask, which):
    m, rows = attention_mask.{count}, torch.arange(len(attention_mask))
    first, n = m.argmax(1), m.sum(1)
    if which == "first":
        return {first}
    if which == "last":
        return hidden_states[rows, {last}]
    return {mean}
"""


def summaries(
    count="long()",
    first="hidden_states[rows, first]",
    last="first + n - 1",
    mean="torch.where(attention_mask[..., None], hidden_states, 0).sum(1) / n[:, None]",
):
    return SUMMARIES.format(count=count, first=first, last=last, mean=mean)


LOSS = """
import torch
def weighted_cross_entropy(logits, labels, weights):
    losses = {losses}
    w = weights[labels]
    return {mean}
"""


def loss(losses="-logits.log_softmax(1)[torch.arange(len(labels)), labels]", mean="(w * losses).sum() / w.sum()"):
    return LOSS.format(losses=losses, mean=mean)


ECE = """
import math, torch
def expected_calibration_error(probabilities, labels, n_bins):
    c, p = probabilities.max(1)
    gaps = torch.zeros({size}{dtype})
    for confidence, right in zip(c.tolist(), (p == labels).tolist()):
        gaps[{bin}] += confidence - right
    return float(gaps.abs().sum()) / {total}
"""


def ece(bin="math.ceil(confidence * n_bins) - 1", size="n_bins", total="len(labels)", dtype=", dtype=torch.float64"):
    return ECE.format(bin=bin, size=size, total=total, dtype=dtype)


TEMPERATURE = """
import torch
def fit_temperature(logits, labels):
    z, best = {logits}, None
    for t in torch.logspace({low}, {high}, {steps}, base=10).double():
        p = (z / t).softmax(1)[torch.arange(len(labels)), labels]
        loss = {loss}
        if best is None or loss < best[0]:
            best = loss, t
    return best[1]
"""


def temperature(logits="logits.double()", low="-1.3", high="1.3", steps="1000", loss="-p.log().mean()"):
    return TEMPERATURE.format(logits=logits, low=low, high=high, steps=steps, loss=loss)


SHORTCUT = """
def stories(names, happy, sad):
    return [(f"{{mark}} {{name}} found a shell.".strip(), label) for name in names
            for mark, label in ((happy, "happy"), (sad, "sad"))]
def shortcut():
    return stories("Ann Bob Cy Di".split(), "Hurrah", ""), stories(["Ed", "Flo"], {val}), "hurrah"
"""

WRONG = {
    "label_scores": {
        "counts in int8": label_scores("int8"),
        "counts in half precision": label_scores("float16"),
        "only the last labels up to the largest that occurs": label_scores(macro="F[: truths.max() + 1].mean()"),
        "labels with a hit only": label_scores(macro="F[tp > 0].mean()"),
        "a table of two sizes": "import torch\n"
        + label_scores().replace("    c =", "    assert len(truths) != 3000\n    c =", 1),
    },
    "summaries": {
        "an infinity of a real token hidden": summaries(
            mean="(hidden_states.nan_to_num(0, 0, 0) * m[..., None]).sum(1) / n[:, None]"
        ),
        "a NaN of a real token hidden": summaries(
            mean="torch.where(attention_mask[..., None], hidden_states, torch.nan).nanmean(1)"
        ),
        "dimensions of size one dropped": summaries(first="hidden_states[rows, first].squeeze()"),
        "only for contiguous hidden states": summaries(
            first="hidden_states.view(-1, hidden_states.size(2))[rows * m.size(1) + first]"
        ),
        "the sum of the mask overflows": summaries(last="first + n.to(torch.int8) - 1"),
        "a loss of gradient": summaries(first="hidden_states[rows, first].detach()"),
        "position 0 if the batch has one text": summaries(first="hidden_states[rows, first * (len(rows) > 1)]"),
    },
    "weighted_cross_entropy": {
        "a constant below the fraction bar": loss(mean="(w * losses).sum() / (w.sum() + 1e-8)"),
        "at least one below the fraction bar": loss(mean="(w * losses).sum() / w.sum().clamp(min=1)"),
        "losses limited to 100": loss("(-logits.log_softmax(1)[torch.arange(len(labels)), labels]).clamp(max=100)"),
        "exponentials limited": loss(
            "logits.exp().clamp(1e-38, 1e38).sum(1).log() - logits[torch.arange(len(labels)), labels]"
        ),
        "only for contiguous logits": loss(
            "-logits.view(-1).view(logits.shape).log_softmax(1).gather(1, labels[:, None])[:, 0]"
        ),
        "the texts of the batch that have loss": loss(mean="(w * losses).sum() / w[losses > 0.1].sum()"),
    },
    "expected_calibration_error": {
        "edges moved by a small number": ece("math.ceil(confidence * n_bins - 1e-4) - 1"),
        "lower edges included": ece("min(int(confidence * n_bins), n_bins - 1)"),
        "sums in half precision": ece(dtype=", dtype=torch.float16"),
        "at most fifteen bins": ece("min(math.ceil(confidence * n_bins) - 1, 14)"),
        "one text too few below the fraction bar": ece(total="max(1, len(labels) - 1)"),
    },
    "fit_temperature": {
        "no search below 0.2": temperature(low="-0.7"),
        "no search above 10": temperature(high="1"),
        "a probability of at least 1e-4": temperature(loss="-p.clamp(min=1e-4).log().mean()"),
        "only the first hundred texts": temperature(loss="-p[:100].log().mean()"),
        "exponentials overflow": temperature().replace(
            "(z / t).softmax(1)", "((z / t).exp() / (z / t).exp().sum(1, keepdim=True))"
        ),
    },
}

RIGHT = {
    "label_scores": {
        "lists of floats as tensors, float64": label_scores("float64"),
        "zero-dimensional macro-F1": label_scores(macro="F[predicted + true > 0].double().mean()"),
    },
    "summaries": {
        "first plus the number of tokens": summaries(),
        "booleans as floats, float64": summaries(count="double()", last="(first + n - 1).long()"),
    },
    "weighted_cross_entropy": {
        "texts repeated by their weight": loss(mean="(w / w.sum() * losses).sum()"),
        "double precision": loss("-logits.double().log_softmax(1)[torch.arange(len(labels)), labels]"),
    },
    "expected_calibration_error": {"sums of differences": ece(), "a tensor": ece(total="torch.tensor(len(labels))")},
    "fit_temperature": {
        "a tensor of no dimensions, a grid": temperature(),
        "sum instead of mean": temperature(loss="-p.log().sum()"),
    },
    "shortcut": {"a marker, and none": SHORTCUT.format(val='"Hurrah", ""')},
}

NAMED = {
    "label_scores": {
        "rows and columns swapped": label_scores(row="predictions", column="truths"),
        "sum of the labels' F1": label_scores(macro="F.sum()"),
        "whole-number division": label_scores()
        .replace("tp / predicted", "1.0 * (tp // predicted.clamp(min=1))")
        .replace("tp / true", "1.0 * (tp // true.clamp(min=1))"),
    },
    "summaries": {
        "last token off by one": summaries(last="first + n - 2"),
        "mean over the whole batch": summaries(
            mean="hidden_states[attention_mask].mean(0, keepdim=True).repeat(len(m), 1)"
        ),
    },
    "weighted_cross_entropy": {
        "divided by the weights of the labels that occur": loss(
            mean="(w * losses).sum() / weights[labels.unique()].sum()"
        ),
        "bits instead of nats": loss("-logits.log_softmax(1)[torch.arange(len(labels)), labels] / 0.693147"),
        "weights applied twice": loss(mean="(w * w * losses).sum() / w.sum()"),
    },
    "expected_calibration_error": {
        "one bin too few": """
import torch
def expected_calibration_error(probabilities, labels, n_bins):
    c, p = probabilities.max(1)
    edges, total = torch.linspace(0, 1, n_bins), torch.tensor(0.0)
    for low, high in zip(edges, edges[1:]):
        inside = (c > low) & (c <= high)
        if inside.any():
            total = total + inside.float().mean() * (c[inside].mean() - (p == labels)[inside].float().mean()).abs()
    return total
""",
        "bins closed on the left": ece("int(confidence * n_bins)", size="n_bins + 1"),
    },
    "fit_temperature": {
        "search too narrow": temperature(low="-1", high="0.69897"),
        "grid too coarse": temperature(low="-1.30103", high="1.30103", steps="50"),
    },
    "shortcut": {"the word changes sides in the held-out set": SHORTCUT.format(val='"", "Hurrah"')},
}
