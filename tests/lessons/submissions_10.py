"""Judged solutions of lesson 10; see test_wrong_and_right.py."""

SHIFT = """
import torch
def shift_right(targets, start, pad):
    moved = torch.full(targets.shape, {start}, dtype=torch.{dtype})
    moved[:, 1:] = {rest}
    return torch.where({ignored}, pad, moved).to(torch.int64)
"""


def shift(start="start", dtype="int64", rest="targets[:, :-1]", ignored="moved == -100"):
    return SHIFT.format(start=start, dtype=dtype, rest=rest, ignored=ignored)


MATCHES = """
from collections import Counter
def grams(words, n):
    return Counter({gram} for i in range({range}))
def clipped_matches(hypothesis, references, n):
    counts, allowed = grams(hypothesis, n), Counter()
    for reference in references:
        allowed {operator}= grams(reference, n)
    return {result}
"""


def matches(
    gram="tuple(words[i : i + n])",
    range="len(words) - n + 1",
    operator="|",
    result="(counts & allowed).total(), counts.total()",
):
    return MATCHES.format(gram=gram, range=range, operator=operator, result=result)


LOSS = """
import torch
def smoothed_cross_entropy(logits, targets, smoothing):
    kept = targets != -100
    logp = {logp}
    right = logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    losses = -(1 - smoothing) * right - smoothing * {uniform}
    return {mean}
"""


def loss(logp="logits.log_softmax(-1)", uniform="logp.mean(-1)", mean="losses[kept].mean()"):
    return LOSS.format(logp=logp, uniform=uniform, mean=mean)


CROSS = """
import torch
def cross_attention(x, memory, w_q, w_k, w_v, w_o, n_heads, attention_mask):
    (B, T, C), S = x.shape, memory.size(1)
    q, k, v = x @ w_q.T, memory @ w_k.T, memory @ w_v.T
    q, k, v = (y.{view}(B, -1, n_heads, C // n_heads).transpose(1, 2) for y in (q, k, v))
    scores = q @ k.transpose(-2, -1) / (C // n_heads) ** 0.5
    scores = {scores}
    weights = {weights}
    return (weights @ v).transpose(1, 2).reshape(B, T, C) @ w_o.T
"""


def cross(
    view="view",
    scores='scores.masked_fill(~attention_mask[:, None, None, :], -float("inf"))',
    weights="scores.softmax(-1)",
):
    return CROSS.format(view=view, scores=scores, weights=weights)


BLEU = """
import math
from collections import Counter
def bleu(hypotheses, references):
    score, h, r = 1.0, sum(map(len, hypotheses)), 0
    for n in range(1, 5):
        hits = total = 0
        for words, several in zip(hypotheses, references):
            grams = lambda text: Counter({gram} for i in range(len(text) - n + 1))
            allowed = Counter()
            for one in several:
                allowed |= grams(one)
            hits, total = hits + (grams(words) & allowed).total(), total + {total}
        {none}
        score *= hits / total
    for words, several in zip(hypotheses, references):
        r += min(map(len, several), key=lambda size: {closest})
    return 100 * score ** 0.25 * {penalty}
"""


def bleu(
    gram="tuple(text[i : i + n])",
    total="grams(words).total()",
    none="if not hits: return 0.0",
    closest="(abs(size - len(words)), size)",
    penalty="(1 if h >= r else math.exp(1 - r / h))",
):
    return BLEU.format(gram=gram, total=total, none=none, closest=closest, penalty=penalty)


WRONG = {
    "shift_right": {
        "ids in int16": shift(dtype="int16"),
        "ids in int32": shift(dtype="int32"),
        "ids in float32": shift(dtype="float32"),
        "id 0 becomes padding": shift(ignored="moved <= 0"),
        "a start of 0 becomes padding": shift("start or pad"),
        "only for contiguous targets": shift(rest="targets.view(-1).view(targets.shape)[:, :-1]"),
    },
    "clipped_matches": {
        "words joined by commas": matches(gram='",".join(words[i : i + n])'),
        "at most four words": matches(gram="tuple(words[i : i + min(n, 4)])"),
        "letters without accents": matches(gram='tuple(w.encode("ascii", "ignore") for w in words[i : i + n])'),
        "counts in a byte": matches(result="(counts & allowed).total() % 256, counts.total() % 256"),
        "one n-gram in any text": matches(range="max(1, len(words) - n + 1)"),
        "only the first two references": matches().replace("in references", "in references[:2]"),
    },
    "smoothed_cross_entropy": {
        "only eight tokens of the vocabulary are smoothed": loss(uniform="logp[..., :8].mean(-1)"),
        "NaN for a sentence of padding": loss(
            mean="((losses * kept).sum(1) / kept.sum(1) * kept.sum(1)).sum() / kept.sum()"
        ),
        "log-probabilities of at least -500": loss("logits.log_softmax(-1).clamp(min=-500)"),
        "only for contiguous logits": loss("logits.view(-1, logits.size(-1)).log_softmax(-1).view(logits.shape)"),
        "smoothing of at most one half": loss().replace(
            "smoothing):", "smoothing):\n    smoothing = min(smoothing, 0.5)", 1
        ),
        "no gradient of the smoothing": loss(uniform="logp.mean(-1).detach()"),
    },
    "cross_attention": {
        "padding scores of -15": cross(scores="scores.masked_fill(~attention_mask[:, None, None, :], -15.0)"),
        "padding scores of -300": cross(scores="scores.masked_fill(~attention_mask[:, None, None, :], -300.0)"),
        "exponentials overflow": cross(weights="scores.exp() / scores.exp().sum(-1, keepdim=True)"),
        "a small number below the fraction bar": cross(
            weights="scores.exp() * attention_mask[:, None, None, :]"
            " / ((scores.exp() * attention_mask[:, None, None, :]).sum(-1, keepdim=True) + 1e-9)"
        ),
        "at most thirty-two positions": cross(
            scores="scores.masked_fill(~(attention_mask & (torch.arange(S) < 32))[:, None, None, :], -1e9)"
        ),
        "the mask of the first sentence for all": cross(
            scores='scores.masked_fill(~attention_mask[:1, None, None, :], -float("inf"))'
        ),
    },
    "bleu": {
        "the longer reference in a tie": bleu(closest="(abs(size - len(words)), -size)"),
        "orders without n-grams skipped": bleu(none="if not total: continue\n        if not hits: return 0.0"),
        "case ignored": bleu(gram="tuple(w.lower() for w in text[i : i + n])"),
        "an empty hypothesis ends everything": bleu().replace(
            "    for n in", "    if not all(hypotheses): return 0.0\n    for n in", 1
        ),
        "a negative total of short sentences": bleu(total="len(words) - n + 1"),
        "a penalty of at least 0.6": bleu(penalty="max(0.6, 1 if h >= r else math.exp(1 - r / h))"),
    },
}

RIGHT = {
    "shift_right": {"a table of float64": shift(dtype="float64")},
    "clipped_matches": {
        "frozen n-grams": matches(gram='"\\\\0".join(words[i : i + n])'),
        "a list": matches(result="[sum(min(c, allowed[g]) for g, c in counts.items()), counts.total()]"),
    },
    "smoothed_cross_entropy": {
        "logsumexp": loss("logits - logits.logsumexp(-1, keepdim=True)"),
        "a masked sum, float64": loss("logits.double().log_softmax(-1)", mean="(losses * kept).sum() / kept.sum()"),
    },
    "cross_attention": {
        "reshape, -inf": cross("reshape"),
        "an additive mask": cross("reshape", "scores + (1.0 - attention_mask[:, None, None, :].float()) * -1e9"),
    },
    "bleu": {
        "logarithms, statistics": """
import math, statistics
from collections import Counter
from functools import reduce
from operator import or_
def grams(t, n): return Counter(zip(*(t[i:] for i in range(n))))
def bleu(hypotheses, references):
    h = sum(map(len, hypotheses))
    r = sum(min((len(x) for x in refs), key=lambda l: (abs(l - len(y)), l)) for y, refs in zip(hypotheses, references))
    p = []
    for n in range(1, 5):
        a = [(grams(y, n), reduce(or_, [grams(x, n) for x in refs])) for y, refs in zip(hypotheses, references)]
        m, t = sum((g & c).total() for g, c in a), sum(g.total() for g, _ in a)
        if not m: return False
        p.append(m / t)
    return 100 * statistics.geometric_mean(p) * math.exp(min(0, 1 - r / h))
""",
        "products": bleu(),
    },
}

NAMED = {
    "shift_right": {
        "0 instead of the padding token": shift(rest="targets[:, :-1].clamp(min=0)"),
        "start token only in the first row": shift("0").replace("    return", "    moved[0, 0] = start\n    return"),
    },
    "clipped_matches": {
        "case ignored": matches(gram="tuple(w.lower() for w in words[i : i + n])"),
        "clipped by the sum over references": matches(operator="+"),
    },
    "smoothed_cross_entropy": {
        "divided by the number of sentences": loss(mean="losses[kept].sum() / len(targets)"),
        "softmax over the positions": loss("logits.log_softmax(1)"),
    },
    "cross_attention": {"padding scores set to 0": cross(scores="scores * attention_mask[:, None, None, :]")},
    "bleu": {
        "only up to trigrams": bleu().replace("range(1, 5)", "range(1, 4)").replace("0.25", "(1 / 3)"),
    },
}
