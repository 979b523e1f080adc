"""Judged solutions of lesson 01; see test_wrong_and_right.py."""

TABLE = """
import torch

def bigram_table(ids, V, k):
    N = torch.zeros(V, V, dtype={dtype})
    for a, b in zip(ids[:-1].tolist(), ids[1:].tolist()):
        N[a, b] += 1
    N = N.double() + {k}
    return N / N.sum(1, keepdim=True)
"""

SURPRISE = """
import math

def perplexity(P, texts):
    total, n = 0.0, 0
    for text in texts:
        for a, b in zip(text, text[1:]):
            p = float(P[a, b])
            if {impossible}:
                return math.inf
            total, n = total - math.log({p}), n + 1
    return {result}
"""

SOFTMAX = """
import torch

def table_gradient(Z, before, after):
    E = (Z - {largest}).exp()
    G = torch.zeros_like(Z)
    P = E / E.sum(1, keepdim=True)
    for a, b in zip(before.tolist(), after.tolist()):
        G[a] += P[a]
        G[a, b] -= 1
    return G / {n}
"""

MIX = """
import torch

def mix(count, total, n_types, lower):
    trust = {trust}
    {line}
    return torch.where(total > 0, trust * count / total.clamp(min=1) + (1 - trust) * lower, lower)
"""

WRONG = {
    "bigram_table": {
        "neighbors by their place in memory": """
import torch
def bigram_table(ids, V, k):
    pairs = ids.as_strided((len(ids) - 1, 2), (1, 1))
    N = torch.full((V, V), float(k))
    for a, b in pairs.tolist(): N[a, b] += 1
    return N / N.sum(1, keepdim=True)
""",
        "uint8 counts": TABLE.format(dtype="torch.uint8", k="k"),
        "int8 counts": TABLE.format(dtype="torch.int8", k="k"),
        "int16 counts": TABLE.format(dtype="torch.int16", k="k"),
        "float16 counts stop at 2,048": TABLE.format(dtype="torch.float16", k="k"),
        "bfloat16 counts stop at 256": TABLE.format(dtype="torch.bfloat16", k="k"),
        "k below 0.1 is raised": TABLE.format(dtype="torch.int64", k="max(k, 0.1)"),
        "k is rounded": TABLE.format(dtype="torch.int64", k="round(k, 1)"),
        "k is at most 5": TABLE.format(dtype="torch.int64", k="min(k, 5)"),
        "counts are kept between calls": """
import torch

def bigram_table(ids, V, k, N={}):
    N = N.setdefault(V, torch.full((V, V), float(k)))
    for a, b in zip(ids[:-1].tolist(), ids[1:].tolist()):
        N[a, b] += 1
    return N / N.sum(1, keepdim=True)
""",
        "pair numbers in uint8: wrong from V = 17": """
import torch

def bigram_table(ids, V, k):
    pairs = ids[:-1].to(torch.uint8) * min(V, 6) + ids[1:].to(torch.uint8)
    N = torch.bincount(pairs.long(), minlength=V * V)[: V * V].view(V, V) + k
    return N / N.sum(1, keepdim=True)
""",
        "a row below a probability of one percent is made even": """
import torch

def bigram_table(ids, V, k):
    N = torch.full((V, V), float(k), dtype=torch.float64)
    for a, b in zip(ids[:-1].tolist(), ids[1:].tolist()):
        N[a, b] += 1
    return (N / N.sum(1, keepdim=True)).clamp(min=0.01)
""",
    },
    "perplexity": {
        "tiny probabilities are impossible": SURPRISE.format(
            impossible="p < 1e-12", p="p", result="math.exp(total / n)"
        ),
        "at most a million": SURPRISE.format(impossible="p == 0", p="p", result="min(math.exp(total / n), 1e6)"),
        "smallest probability 1e-10": SURPRISE.format(
            impossible="p == 0", p="max(p, 1e-10)", result="math.exp(total / n)"
        ),
        "a huge number, not infinity": SURPRISE.format(
            impossible="False", p="max(p, 1e-300)", result="math.exp(total / n)"
        ),
        "at least 1.5": SURPRISE.format(impossible="p == 0", p="p", result="max(1.5, math.exp(total / n))"),
        "rounded": SURPRISE.format(impossible="p == 0", p="p", result="round(math.exp(total / n), 2)"),
        "a 0 is seen only in the first text": SURPRISE.format(
            impossible="p == 0 and text is texts[0]", p="max(p, 1e-9)", result="math.exp(total / n)"
        ),
        "equal texts only once": SURPRISE.format(impossible="p == 0", p="p", result="math.exp(total / n)").replace(
            "in texts", "in set(map(tuple, texts))"
        ),
        "the table by its memory": """
import torch

def perplexity(P, texts):
    memory = P.as_strided((P.numel(),), (1,))
    p = torch.stack([memory[a * len(P) + b] for text in texts for a, b in zip(text, text[1:])])
    return p.log().mean().neg().exp()
""",
        "one float32 product for each text": """
import math

def perplexity(P, texts):
    products = [math.prod((P[a, b] for a, b in zip(text, text[1:])), start=P.new_ones(())) for text in texts]
    n = sum(len(text) - 1 for text in texts)
    return math.exp(-sum(float(p.log()) for p in products) / n)
""",
    },
    "bits_per_byte": {
        "composed before counting": """
import math, unicodedata

def bits_per_byte(nats, n, text):
    return nats * n / math.log(2) / len(unicodedata.normalize("NFC", text).encode())
""",
        "line breaks of Windows count as one": """
import math

def bits_per_byte(nats, n, text):
    return nats * n / math.log(2) / len("\\n".join(text.split("\\r\\n")).encode())
""",
        "a byte order mark is added": """
import math

def bits_per_byte(nats, n, text):
    return nats * n / math.log(2) / len(text.encode("utf-8-sig"))
""",
        "a text ends at a zero byte": """
import math

def bits_per_byte(nats, n, text):
    return nats * n / math.log(2) / len(text.split("\\0")[0].encode())
""",
    },
    "table_gradient": {
        "largest logit of the whole table": SOFTMAX.format(largest="Z.max()", n="len(before)"),
        "largest logit of each column": SOFTMAX.format(largest="Z.amax(0)", n="len(before)"),
        "largest logit is at least 0": SOFTMAX.format(largest="Z.amax(1, keepdim=True).clamp(min=0)", n="len(before)"),
        "divided by the number of different pairs": SOFTMAX.format(
            largest="Z.amax(1, keepdim=True)", n="len(set(zip(before.tolist(), after.tolist())))"
        ),
        "divided by at least 2": SOFTMAX.format(largest="Z.amax(1, keepdim=True)", n="max(2, len(before))"),
        "uint8 counts": """
import torch

def table_gradient(Z, before, after):
    N = torch.zeros(len(Z), len(Z), dtype=torch.uint8)
    for a, b in zip(before, after):
        N[a, b] += 1
    N = N.to(Z.dtype)
    return (Z.softmax(1) * N.sum(1, keepdim=True) - N) / N.sum()
""",
    },
    "impossible": {
        "nine characters": 'def impossible():\n    return "ab" * 9, "ab" * 4 + "b"\n',
        "the pair occurs twice": 'def impossible():\n    return "ab" * 9, "ab" * 4 + "bb" + "bb"\n',
        "a letter that only ends the training text": 'def impossible():\n    return "ab" * 9 + "c", "ab" * 5 + "c"\n',
    },
    "mix": {
        "trust grows only up to a total of 1000": """
import torch
def mix(count, total, n_types, lower):
    t = total.clamp(max=1000)
    trust = t / (t + 2)
    return torch.where(total > 0, trust * count / total.clamp(min=1) + (1 - trust) * lower, lower)
""",
        "trust stops growing at 0.995": """
import torch
def mix(count, total, n_types, lower):
    trust = (total / (total + 2)).clamp(max=0.995)
    return torch.where(total > 0, trust * count / total.clamp(min=1) + (1 - trust) * lower, lower)
""",
        "weight from the mean of the call": MIX.format(trust="total.mean() / (total.mean() + 2)", line=""),
        "weight 1 from a total of 100": MIX.format(trust="(total / (total + 3)).where(total < 100, 1.0)", line=""),
        "a single occurrence is ignored": MIX.format(trust="(total - 1).clamp(min=0) / (total + 1)", line=""),
        "the inputs are used up": MIX.format(trust="total / (total + 2)", line="lower.mul_(1).add_(0.0).mul_(0.999)"),
        "never above 0.98": MIX.format(trust="total / (1.02 * total + 2)", line=""),
        "normalized over the call": MIX.format(trust="total / (total + 2)", line="")
        + "\nsingle = mix\n\ndef mix(*a):\n    p = single(*a)\n    return p / p.sum() * a[3].sum()\n",
    },
}

RIGHT = {
    "bigram_table": {
        "a sparse matrix": """
import torch

def bigram_table(ids, V, k):
    pairs = torch.stack([ids[:-1], ids[1:]])
    N = torch.sparse_coo_tensor(pairs, torch.ones(pairs.size(1)), (V, V)).to_dense() + k
    return (N.T / N.sum(1)).T
""",
        "row by row": """
import torch

def bigram_table(ids, V, k):
    rows = [torch.bincount(ids[1:][ids[:-1] == a], minlength=V) for a in range(V)]
    return torch.stack([(row + k) / (len(ids[:-1][ids[:-1] == a]) + V * k) for a, row in enumerate(rows)])
""",
    },
    "perplexity": {
        "an array without dimensions": """
import numpy as np

def perplexity(P, texts):
    table = P.double().numpy()
    with np.errstate(divide="ignore"):
        nats = [-np.log(table[a, b]) for text in texts for a, b in zip(text, text[1:])]
    return np.array(np.exp(np.mean(nats)))
""",
        "nll_loss": """
import torch
from torch.nn.functional import nll_loss

def perplexity(P, texts):
    logs = torch.cat([P.log()[text[:-1]] for text in texts])
    return nll_loss(logs, torch.tensor([b for text in texts for b in text[1:]])).exp()
""",
        "logsumexp of fractions": """
from fractions import Fraction
import math

def perplexity(P, texts):
    pairs = [(a, b) for text in texts for a, b in zip(text, text[1:])]
    p = [Fraction(float(P[a, b])) for a, b in pairs]
    if 0 in p:
        return float("inf")
    return math.exp(math.fsum(math.log(x.denominator) - math.log(x.numerator) for x in p) / len(p))
""",
    },
    "bits_per_byte": {
        "character by character, a tensor": """
import torch

def bits_per_byte(nats, n, text):
    return torch.tensor(nats * n).double().mul(1.4426950408889634) / sum(len(c.encode()) for c in text)
""",
        "two more for each code unit of UTF-16 that needs them": """
import math

def bits_per_byte(nats, n, text):
    units = len(text.encode("utf-16-le")) // 2
    extra = sum((ord(c) > 127) + (ord(c) > 2047) for c in text)
    return nats * n / math.log(2) / (units + extra)
""",
        "a whole number for no surprise": """
import math

def bits_per_byte(nats, n, text):
    return nats * n / math.log(2) / len(bytearray(text, "utf8")) if nats else 0
""",
    },
    "table_gradient": {
        "central differences in double precision": """
import torch

def table_gradient(Z, before, after):
    def loss(Z):
        return (Z.logsumexp(1)[before] - Z[before, after]).mean()

    Z, G, h = Z.double(), torch.zeros_like(Z), 1e-4
    for a in range(len(Z)):
        for j in range(len(Z)):
            step = torch.zeros_like(Z)
            step[a, j] = h
            G[a, j] = (loss(Z + step) - loss(Z - step)) / (2 * h)
    return G
""",
        "exponentials in double precision, without a maximum": """
import torch

def table_gradient(Z, before, after):
    E = Z.double().exp()
    N = torch.zeros_like(E).index_put_((before, after), torch.ones(len(before), dtype=E.dtype), accumulate=True)
    return N.sum(1, keepdim=True) / len(before) * E / E.sum(1, keepdim=True) - N / len(before)
""",
    },
    "impossible": {
        "letters of other alphabets": 'def impossible():\n    return "äß" * 6, "äß" * 6 + "ß"\n',
    },
    "mix": {
        "three more pieces of evidence": MIX.format(trust="total / (total + 3)", line=""),
        "more evidence where much is new": "def mix(c, t, n, p):\n    return (c + (1 + 2 * n) * p) / (t + 1 + 2 * n)\n",
    },
}

NAMED = {
    "bigram_table": {
        "counts overflow a small dtype": TABLE.format(dtype="torch.uint8", k="k"),
        "counts not normalized": """
import torch

def bigram_table(ids, V, k):
    N = torch.full((V, V), k * 1.0)
    for i in range(len(ids) - 1):
        N[ids[i], ids[i + 1]] += 1
    return N
""",
    },
    "perplexity": {
        "mean of text means, and e to the power of bits": """
import math

def perplexity(P, texts):
    means = []
    for text in texts:
        bits = [-math.log2(p) if (p := float(P[a, b])) else math.inf for a, b in zip(text, text[1:])]
        means.append(sum(bits) / len(bits))
    return math.exp(sum(means) / len(means))
""",
        "first token predicted from the last": """
import math

def perplexity(P, texts):
    total = n = 0
    for text in texts:
        for i in range(len(text)):
            p = float(P[text[i - 1], text[i]])
            total, n = total - (math.log(p) if p else -math.inf), n + 1
    return math.exp(total / n)
""",
        "only the first text": """
import math

def perplexity(P, texts):
    total = n = 0
    for text in texts:
        for a, b in zip(text, text[1:]):
            total, n = total - P[a, b].log().item(), n + 1
        return math.exp(total / n)
""",
    },
    "table_gradient": {
        "maximum of the whole table subtracted": SOFTMAX.format(largest="Z.max()", n="len(before)"),
        "derivative by the probabilities, not by the logits": """
import torch

def table_gradient(Z, before, after):
    G = torch.zeros_like(Z)
    for a, b in zip(before, after):
        G[a, b] -= 1 / Z[a].softmax(-1)[b]
    return G / len(before)
""",
    },
}
