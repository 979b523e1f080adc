"""Judged solutions of lesson 11; see test_wrong_and_right.py."""

ROUGE = """
def rouge_l(summary, reference):
    row = [0] * (len(reference) + 1)
    for x in summary:
        old, row = row, [0]
        for j, y in enumerate(reference):
            row.append({entry})
    m = row[-1]
    p = m / len(summary) if summary else 0.0
    r = m / len(reference) if reference else 0.0
    return {result}
"""


def rouge(
    entry="old[j] + 1 if x == y else max(old[j + 1], row[j])", result="(p, r, 2 * p * r / (p + r) if m else 0.0)"
):
    return ROUGE.format(entry=entry, result=result)


RUNS = """
def runs(words, size):
    return {{{run} for i in range({range})}}
def contaminated(texts, training_texts, n):
    result = []
    for words in texts:
        size = {size}
        mine = runs(words, size) if words else set()
        known = set()
        for other in training_texts:
            known |= runs(other, size)
        result.append({fraction})
    return result
"""


def check(
    run="tuple(words[i : i + size])",
    range="len(words) - size + 1",
    size="min(n, len(words))",
    fraction="len(mine & known) / len(mine) if mine else 0.0",
):
    return RUNS.format(run=run, range=range, size=size, fraction=fraction)


COPY = """
import torch
def copy_distribution(p_gen, vocabulary, attention, source):
    B, T, V = vocabulary.shape
    index = source[:, None, :].expand({expand})
    copied = torch.zeros({zeros}).{scatter}
    return {mixture}
"""


def copy(
    expand="B, T, -1",
    zeros="B, T, V, dtype=attention.dtype, device=attention.device",
    scatter="scatter_add(2, index, attention)",
    mixture="p_gen[..., None] * vocabulary + (1 - p_gen[..., None]) * copied",
):
    return COPY.format(expand=expand, zeros=zeros, scatter=scatter, mixture=mixture)


FLIP = """
from itertools import product
def sign_flip_p(a, b):
    d = [{difference} for x, y in zip(a, b)]
    observed = {observed}
    sums = [{sum} for signs in product((1, -1), repeat=len(d))]
    return {p}
"""


def flip(
    difference="x - y",
    observed="abs(sum(d)) - 1e-9 * sum(map(abs, d))",
    sum="abs(sum(s * x for s, x in zip(signs, d)))",
    p="sum(s >= observed for s in sums) / len(sums)",
):
    return FLIP.format(difference=difference, observed=observed, sum=sum, p=p)


LIES = """
def three_lies():
    return {texts}
"""

WRONG = {
    "rouge_l": {
        "at most a hundred words": rouge().replace("for x in summary", "for x in summary[:100]"),
        "words of the same length are equal": rouge("old[j] + 1 if len(x) == len(y) else max(old[j + 1], row[j])"),
        "one is left out only in the summary": rouge("old[j] + 1 if x == y else old[j + 1]"),
        "F1 of nothing is NaN": rouge(result='(p, r, 2 * p * r / (p + r) if m else float("nan"))'),
        "F1 rounded to two digits": rouge(result="(p, r, round(2 * p * r / (p + r), 2) if m else 0.0)"),
        "accents are dropped": rouge(
            'old[j] + 1 if x.encode("ascii", "ignore") == y.encode("ascii", "ignore") else max(old[j + 1], row[j])'
        ),
    },
    "contaminated": {
        "an empty text is fully known": check(fraction="len(mine & known) / len(mine) if mine else 1.0"),
        "runs of at most twelve words": check(size="min(n, 12, len(words))"),
        "words joined by commas": check(run='",".join(words[i : i + size]).lower()'),
        "a short text has at least one word": check(size="n if len(words) >= n else 1"),
        "only the first training text": check().replace("in training_texts", "in training_texts[:1]"),
        "one run beyond the end": check(range="len(words)"),
        "the runs of all test texts together": check().replace(
            "size = min", "words = [w for t in texts for w in t]; size = min"
        ),
    },
    "copy_distribution": {
        "no gradient of the gate": copy(
            mixture="p_gen.detach()[..., None] * vocabulary + (1 - p_gen.detach()[..., None]) * copied"
        ),
        "no gradient of the attention": copy(scatter="scatter_add(2, index, attention.detach())"),
        "the source of the last text": copy().replace("source[:, None, :]", "source[-1:, None, :]"),
        "the token 0 is never copied": copy(scatter="scatter_add(2, index, attention * (source != 0)[:, None])"),
        "normalized over the target positions": copy().replace(
            "    return", "    copied = copied / copied.sum(1, keepdim=True).clamp(min=1e-9)\n    return"
        ),
    },
    "sign_flip_p": {
        "differences rounded": flip(difference="round(x - y, 2)"),
        "an absolute tolerance": flip(observed="abs(sum(d)) - 1e-6"),
        "one-sided with doubling": flip(
            observed="sum(d) - 1e-12", sum="sum(s * x for s, x in zip(signs, d))",
            p="2 * sum(s >= observed for s in sums) / len(sums)",
        ),
        "equal pairs have probability zero": flip(p="any(d) * sum(s >= observed for s in sums) / len(sums)"),
        "at most ten pairs": flip().replace("zip(a, b)", "zip(a[:10], b[:10])", 1),
        "ranks instead of differences": flip().replace(
            "    observed", "    order = sorted(map(abs, d))\n"
            "    d = [(order.index(abs(x)) + 1) * ((x > 0) - (x < 0)) for x in d]\n    observed", 1,
        ),
    },
    "three_lies": {
        "five texts": LIES.format(texts='("Mia loses a key, and the miller brings it back.",) * 5'),
        "one text four times": LIES.format(texts='("Mia loses a key, and the miller brings it back.",) * 4'),
        "another type of story": LIES.format(
            texts='("Mia loses a key, and the miller brings it back.",'
            '"Leo saves a key from a storm.",'
            '"Leo loses a key and gets it back from a crow.",'
            '"Leo loses a key, and somebody from far away, whom nobody knows, brings it back.")'
        ),
    },
}  # fmt: skip

RIGHT = {
    "rouge_l": {
        "all three neighbors": rouge("max(old[j] + (x == y), old[j + 1], row[j])"),
        "F1 by the matches": rouge(result="[p, r, 2 * m / max(1, len(summary) + len(reference))]"),
    },
    "contaminated": {"runs as text with a separator": check(run='"\\0".join(words[i : i + size])')},
    "copy_distribution": {
        "index_add on flat rows": """
import torch
def copy_distribution(p_gen, vocabulary, attention, source):
    rows = []
    for p, v, a, s in zip(p_gen, vocabulary, attention, source):
        rows.append(p[:, None] * v + torch.zeros_like(v).index_add(1, s, (1 - p)[:, None] * a))
    return torch.stack(rows)
""",
        "a difference": copy(mixture="copied + p_gen.unsqueeze(-1) * (vocabulary - copied)"),
    },
    "sign_flip_p": {
        "means instead of sums": flip(
            observed="(abs(sum(d)) - 1e-9 * sum(map(abs, d))) / len(d)",
            sum="abs(sum(s * x for s, x in zip(signs, d)) / len(d))",
        ),
    },
}

NAMED = {
    "rouge_l": {"one word matched twice": rouge("max(old[j + 1], row[j]) + (x == y)")},
    "contaminated": {"short texts are never found": check(size="n")},
    "copy_distribution": {
        "p_gen is the probability of copying": copy(
            mixture="(1 - p_gen[..., None]) * vocabulary + p_gen[..., None] * copied"
        ),
        "the last position of a token wins": copy(scatter="scatter(2, index, attention)"),
    },
    "sign_flip_p": {
        "equal sums differ in their last digits": flip(observed="abs(sum(d))"),
        "a tolerance relative to the observed sum": flip(observed="abs(sum(d)) * (1 - 1e-9)"),
        "one-sided": flip(observed="sum(d) - 1e-9 * sum(map(abs, d))", sum="sum(s * x for s, x in zip(signs, d))"),
    },
}  # fmt: skip
