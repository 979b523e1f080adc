"""Judged solutions of lesson 19; see test_wrong_and_right.py."""

WRONG = {
    "sharpen": {
        "only the two most likely words are kept": """
def sharpen(probs, temperature):
    low = probs.topk(min(2, probs.size(-1)), dim=-1).values[..., -1:]
    kept = probs.masked_fill(probs < low, 0.0)
    return (kept.log() / temperature).softmax(-1)
""",
        "temperatures below 0.2 are taken as 0.2": """
def sharpen(probs, temperature):
    return (probs.log() / max(temperature, 1.0) / min(max(temperature, 0.2), 1.0)).softmax(-1)
""",
        "changes the probabilities in place": """
def sharpen(probs, temperature):
    probs += 0.0
    probs.log_()
    return (probs / temperature).softmax(-1)
""",
    },
    "log_odds_interval": {
        "½ is added to the zeros": """
import math
def log_odds_interval(counts):
    a, b, c, d = (x or 0.5 for x in counts.flatten().tolist())
    y = math.log(a * d / (b * c))
    r = 1.96 * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return y, y - r, y + r
""",
        "the interval is around 0": """
import math
def log_odds_interval(counts):
    a, b, c, d = (x + 0.5 for x in counts.flatten().tolist())
    r = 1.96 * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return math.log(a * d / (b * c)), -r, r
""",
        "standard errors of the two groups added": """
import math
def log_odds_interval(counts):
    a, b, c, d = (x + 0.5 for x in counts.flatten().tolist())
    y = math.log(a * d / (b * c))
    r = 1.96 * (math.sqrt(1 / a + 1 / b) + math.sqrt(1 / c + 1 / d))
    return y, y - r, y + r
""",
    },
    "swap_words": {
        "an underscore is a letter": r"""
import re
def swap_words(text, pairs):
    table = {}
    for a, b in pairs:
        for x, y in ((a, b), (b, a)):
            table[x], table[x.capitalize()] = y, y.capitalize()
    return re.sub(r"\w+", lambda m: table.get(m[0], m[0]), text)
""",
        "lines and spaces are tidied up": """
import re
def swap_words(text, pairs):
    table = {}
    for a, b in pairs:
        for x, y in ((a, b), (b, a)):
            table[x], table[x.capitalize()] = y, y.capitalize()
    return re.sub("[A-Za-z]+", lambda m: table.get(m[0], m[0]), " ".join(text.split()))
""",
    },
    "price_of_blindness": {
        "0 is replaced by a small number": """
def price_of_blindness(joint):
    j = joint.double().clamp(min=1e-3)
    return (j * (j / (j.sum(1, keepdim=True) * j.sum(0))).log()).sum().item()
""",
        "the largest price of a group": """
import torch
def price_of_blindness(joint):
    j = joint.double()
    p = j / j.sum(1, keepdim=True).clamp(min=1e-12)
    terms = torch.xlogy(p, p) - torch.xlogy(p, j.sum(0).clamp(min=1e-30))
    return terms.sum(1).max().item()
""",
    },
    "recovery_example": {
        "the mask is only as long as the reply": """
def recovery_example(prompt, answer, refusal, n):
    b = answer[:-1][:n]
    return prompt + b + refusal, [False] * len(b) + [True] * len(refusal)
""",
        "changes the prompt in place": """
def recovery_example(prompt, answer, refusal, n):
    start = len(prompt) + len(answer[:-1][:n])
    prompt += answer[:-1][:n] + refusal
    return prompt, [i >= start for i in range(len(prompt))]
""",
        "0 and 1 instead of booleans": """
def recovery_example(prompt, answer, refusal, n):
    b = answer[:-1][:n]
    return prompt + b + refusal, [0] * len(prompt + b) + [1] * len(refusal)
""",
        "always at least one token of the answer": """
def recovery_example(prompt, answer, refusal, n):
    b = answer[:-1][: max(n, 1)]
    return prompt + b + refusal, [False] * len(prompt + b) + [True] * len(refusal)
""",
    },
    "reversed_in_every_town": {
        "the girls are braver by too little": """
def reversed_in_every_town():
    return [[[800, 200], [82, 18]], [[18, 82], [200, 800]]]
""",
        "reversed within, but only even in total": """
def reversed_in_every_town():
    return [[[40, 10], [90, 10]], [[5, 45], [20, 80]]]
""",
    },
}

RIGHT = {
    "sharpen": {
        "subtracts the largest by hand": """
import torch
def sharpen(probs, temperature):
    z = torch.log(probs) / temperature
    w = torch.exp(z - z.max(dim=1, keepdim=True).values)
    return w / w.sum(dim=1, keepdim=True)
""",
    },
    "log_odds_interval": {
        "with NumPy": """
import numpy as np
def log_odds_interval(counts):
    t = counts.numpy().astype(float) + 0.5
    y = np.log(t[0, 0] / t[0, 1]) - np.log(t[1, 0] / t[1, 1])
    r = 1.96 * np.sqrt((1 / t).sum())
    return float(y), float(y - r), float(y + r)
""",
    },
    "swap_words": {
        "split into words and the rest": """
import re
def swap_words(text, pairs):
    parts = re.split("([A-Za-z]+)", text)
    other = dict(pairs) | {b: a for a, b in pairs}
    for i, word in enumerate(parts):
        if word in other:
            parts[i] = other[word]
        elif word and word[0].isupper() and word[1:] == word[1:].lower() and word.lower() in other:
            parts[i] = other[word.lower()].capitalize()
    return "".join(parts)
""",
    },
    "price_of_blindness": {
        "the loss of the blind minus that of the seeing": """
import torch
def price_of_blindness(joint):
    j = joint.double()
    blind = -torch.xlogy(j.sum(0), j.sum(0)).sum()
    seeing = -torch.xlogy(j, j / j.sum(1, keepdim=True).clamp(min=1e-300)).sum()
    return float(blind - seeing)
""",
    },
    "recovery_example": {
        "with slices": """
def recovery_example(prompt, answer, refusal, n):
    k = min(n, len(answer) - 1)
    ids = prompt[:] + answer[:k] + refusal[:]
    mask = [False] * len(ids)
    mask[len(prompt) + k :] = [True] * len(refusal)
    return ids, mask
""",
    },
    "reversed_in_every_town": {
        "everybody and nobody": """
def reversed_in_every_town():
    return [[[900, 100], [10, 0]], [[0, 10], [100, 900]]]
""",
    },
}

NAMED = {
    "sharpen": {
        "softmax of the probabilities": """
import torch
def sharpen(probs, temperature):
    return torch.softmax(probs / temperature, dim=-1)
""",
    },
    "log_odds_interval": {
        "nothing is added": """
import math
def log_odds_interval(counts):
    a, b, c, d = counts.flatten().tolist()
    y = math.log(a / b) - math.log(c / d)
    r = 1.96 * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return y, y - r, y + r
""",
    },
    "swap_words": {
        "punctuation belongs to the word": """
def swap_words(text, pairs):
    table = {}
    for a, b in pairs:
        for x, y in ((a, b), (b, a)):
            table[x], table[x.capitalize()] = y, y.capitalize()
    return " ".join([table.get(w, w) for w in text.split(" ")])
""",
    },
    "price_of_blindness": {
        "in bits": """
import torch
def price_of_blindness(joint):
    p = joint.double().sum(1, keepdim=True) * joint.double().sum(0)
    return torch.where(joint > 0, joint * (joint / p).log2(), 0.0).sum().item()
""",
    },
    "recovery_example": {
        "the answer's end is used": """
def recovery_example(prompt, answer, refusal, n):
    start = prompt + answer[:n]
    return start + refusal, [False] * len(start) + [True] * len(refusal)
""",
    },
}
