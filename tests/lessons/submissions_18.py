"""Judged solutions of lesson 18; see test_wrong_and_right.py."""

WRONG = {
    "precision_recall": {
        "precision of what was kept": """
def precision_recall(dropped, guilty):
    kept = [not d for d in dropped]
    hits = sum(k and not g for k, g in zip(kept, guilty))
    found = sum(d and g for d, g in zip(dropped, guilty))
    return (hits / sum(kept) if sum(kept) else 1.0), (found / sum(guilty) if sum(guilty) else 1.0)
""",
        "empty only if there are no documents": """
def precision_recall(dropped, guilty):
    if not dropped:
        return 1.0, 1.0
    hits = sum(d and g for d, g in zip(dropped, guilty))
    return hits / max(1, sum(dropped)), hits / max(1, sum(guilty))
""",
    },
    "jaccard": {
        "runs joined without a separator": """
def jaccard(first, second, n):
    a, b = ({"".join(w[i : i + n]) for i in range(max(1, len(w) - n + 1))} for w in (first, second))
    return len(a & b) / len(a | b)
""",
        "runs joined by spaces": """
def jaccard(first, second, n):
    a, b = ({" ".join(w[i : i + n]) for i in range(max(1, len(w) - n + 1))} for w in (first, second))
    return len(a & b) / len(a | b)
""",
        "lower case": """
def jaccard(first, second, n):
    a, b = ({tuple(x.lower() for x in w[i : i + n]) for i in range(max(1, len(w) - n + 1))} for w in (first, second))
    return len(a & b) / len(a | b)
""",
    },
    "candidates": {
        "bands joined as digits": """
def candidates(signatures, rows):
    pairs = set()
    for i in range(len(signatures)):
        for j in range(i + 1, len(signatures)):
            a, b = signatures[i], signatures[j]
            for k in range(0, len(a), rows):
                if "".join(map(str, a[k : k + rows])) == "".join(map(str, b[k : k + rows])):
                    pairs.add((i, j))
    return pairs
""",
        "sums of bands": """
def candidates(signatures, rows):
    pairs = set()
    for i in range(len(signatures)):
        for j in range(i + 1, len(signatures)):
            a, b = signatures[i], signatures[j]
            if any(sum(a[k : k + rows]) == sum(b[k : k + rows]) for k in range(0, len(a), rows)):
                pairs.add((i, j))
    return pairs
""",
        "fails without texts": """
def candidates(signatures, rows):
    pairs = set()
    for k in range(0, len(signatures[0]), rows):
        for i in range(len(signatures)):
            for j in range(i + 1, len(signatures)):
                if signatures[i][k : k + rows] == signatures[j][k : k + rows]:
                    pairs.add((i, j))
    return pairs
""",
    },
    "ngram_probability": {
        "the context's own end counts": """
def ngram_probability(text, context, letter):
    p = 1 / (len(set(text)) + 1)
    for k in range(len(context) + 1):
        h = context[len(context) - k :]
        n = sum(text.startswith(h, i) for i in range(len(text)))
        after = [text[i + k] for i in range(len(text) - k) if text.startswith(h, i)]
        if n:
            u = len(set(after))
            p = (after.count(letter) + u * p) / (n + u)
    return p
""",
        "case is ignored": """
def ngram_probability(text, context, letter):
    text, context, letter = text.lower(), context.lower(), letter.lower()
    p = 1 / (len(set(text)) + 1)
    for k in range(len(context) + 1):
        h = context[len(context) - k :]
        after = [text[i + k] for i in range(len(text) - k) if text.startswith(h, i)]
        if after:
            u = len(set(after))
            p = (after.count(letter) + u * p) / (len(after) + u)
    return p
""",
    },
    "exposure": {
        "rank rounded down": """
import math
def exposure(canary, others):
    rank = 1 + sum(o > canary for o in others) + sum(o == canary for o in others) // 2
    return math.log2(len(others) + 1) - math.log2(rank)
""",
        "nearly equal ones are equal": """
import math
def exposure(canary, others):
    ties = sum(abs(o - canary) < 1e-6 for o in others)
    rank = 1 + sum(o > canary + 1e-6 for o in others) + ties / 2
    return math.log2(len(others) + 1) - math.log2(rank)
""",
    },
    "fooling_pair": {
        "one word differs": """
def fooling_pair():
    return "a b c a b c a b c a b c".split(), "a b c a b c a b c a b d".split()
""",
        "too short to close the circle": """
def fooling_pair():
    words = "a b c d e f g h i j".split()
    return words, words[1:] + words[:1]
""",
    },
}

RIGHT = {
    "candidates": {
        "all pairs": """
def candidates(signatures, rows):
    return {
        (i, j)
        for j in range(len(signatures))
        for i in range(j)
        if any(signatures[i][k : k + rows] == signatures[j][k : k + rows] for k in range(0, len(signatures[i]), rows))
    }
""",
    },
    "exposure": {
        "numpy": """
import numpy as np
def exposure(canary, others):
    o = np.asarray(others)
    return float(np.log2(len(o) + 1) - np.log2(1 + (o > canary).sum() + 0.5 * (o == canary).sum()))
""",
    },
}

NAMED = {
    "precision_recall": {
        "division by zero": """
def precision_recall(dropped, guilty):
    hits = [d and g for d, g in zip(dropped, guilty)].count(True)
    return hits / dropped.count(True), hits / guilty.count(True)
""",
    },
    "jaccard": {
        "divided by the sum of both": """
def jaccard(first, second, n):
    a, b = (set(map(tuple, ([w[i : i + n] for i in range(len(w) - n + 1)] or [w]))) for w in (first, second))
    return len(a.intersection(b)) / (len(a) + len(b))
""",
    },
    "ngram_probability": {
        "places that overlap are not counted": """
def ngram_probability(text, context, letter):
    p = 1 / (len(set(text)) + 1)
    for k in range(len(context) + 1):
        h = context[len(context) - k :]
        n = text.count(h) if h else len(text)
        u = len({text[i + k] for i in range(len(text) - k) if text[i : i + k] == h})
        if n:
            p = (text.count(h + letter) + max(u, 1) * p) / (n + max(u, 1))
    return p
""",
    },
    "exposure": {
        "natural logarithm": """
import math
def exposure(canary, others):
    rank = 1 + sum(o > canary for o in others) + sum(o == canary for o in others) / 2
    return math.log((len(others) + 1) / rank)
""",
    },
}
