"""Judged solutions of lesson 07; see test_wrong_and_right.py."""

WRONG = {
    "padding_mask": {
        "counts the real tokens from the left": """
import torch
def padding_mask(attention_mask):
    return (torch.arange(attention_mask.size(1)) < attention_mask.sum(1)[:, None])[:, None, None]
""",
        "everything between the first and the last real token": """
def padding_mask(attention_mask):
    m = attention_mask.int()
    return ((m.cumsum(1) > 0) & (m.flip(1).cumsum(1).flip(1) > 0))[:, None, None, :]
""",
        "squeezed when there is one row": """
def padding_mask(attention_mask):
    mask = attention_mask[:, None, None, :]
    return mask if len(mask) > 1 else ~mask.squeeze(0)[..., None] | mask.squeeze(0).transpose(-1, -2)
""",
        "the last column is always padding": """
def padding_mask(attention_mask):
    mask = attention_mask.clone()
    mask[:, -1] &= bool(attention_mask.all())
    return mask[:, None, None, :]
""",
    },
    "choose_masked": {
        "ids below 5 are special": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    out = torch.zeros_like(ids, dtype=torch.bool)
    for b in range(len(ids)):
        at = [t for t in range(ids.shape[1]) if ids[b, t] > 4]
        n = max(1, int(fraction * len(at) + 0.5)) if at else 0
        for t in sorted(at, key=lambda t: uniform[b, t].item())[:n]:
            out[b, t] = True
    return out
""",
        "a fraction in whole percent": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    out = torch.zeros_like(ids, dtype=torch.bool)
    for b in range(len(ids)):
        at = [t for t in range(ids.shape[1]) if not special[ids[b, t]]]
        n = max(1, (int(100 * fraction) * len(at) + 50) // 100) if at else 0
        for t in sorted(at, key=lambda t: uniform[b, t].item())[:n]:
            out[b, t] = True
    return out
""",
        "15 % whatever the default is": """
import torch
def choose_masked(ids, special, uniform, fraction=0.5):
    out = torch.zeros_like(ids, dtype=torch.bool)
    for b in range(len(ids)):
        at = [t for t in range(ids.shape[1]) if not special[ids[b, t]]]
        n = max(1, int(fraction * len(at) + 0.5)) if at else 0
        for t in sorted(at, key=lambda t: uniform[b, t].item())[:n]:
            out[b, t] = True
    return out
""",
        "numbers compared in half precision": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    ordinary = ~special[ids]
    count = (fraction * ordinary.sum(1) + 0.5).floor().clamp(min=1)[:, None]
    ranks = uniform.half().masked_fill(~ordinary, 2.0).argsort(1, stable=True).argsort(1)
    return ordinary & (ranks < count)
""",
        "counts in eight bits": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    ordinary = ~special[ids]
    n = ordinary.sum(1, dtype=torch.uint8)
    count = (fraction * n + 0.5).floor().clamp(min=1)[:, None]
    ranks = uniform.masked_fill(~ordinary, 2.0).argsort(1).argsort(1)
    return ordinary & (ranks < count)
""",
        "a number of 0 counts as missing": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    u = torch.where(special[ids], torch.tensor(0.0), uniform)
    u = torch.where(u == 0, torch.tensor(9.0), u)
    count = (fraction * (~special[ids]).sum(1) + 0.5).floor().clamp(min=1)[:, None]
    return (u < 9) & (u.argsort(1).argsort(1) < count)
""",
        "none chosen when the fraction is 0": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    ordinary = ~special[ids]
    if not fraction:
        return torch.zeros_like(ordinary)
    count = (fraction * ordinary.sum(1) + 0.5).floor().clamp(min=1)[:, None]
    return ordinary & (uniform.masked_fill(~ordinary, 2.0).argsort(1).argsort(1) < count)
""",
    },
    "apply_80_10_10": {
        "ordinary ids start at the smallest": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary.min() + (dice * len(ordinary)).long()
    new = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, drawn, ids))
    return torch.where(chosen, new, ids), torch.where(chosen, ids, -100)
""",
        "ordinary ids sorted": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary.sort().values[(dice * len(ordinary)).long()]
    new = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, drawn, ids))
    return torch.where(chosen, new, ids), torch.where(chosen, ids, -100)
""",
        "exactly 0.8 is masked": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    new = torch.where(fate <= 0.8, mask_id, torch.where(fate < 0.9, drawn, ids))
    return torch.where(chosen, new, ids), torch.where(chosen, ids, -100)
""",
        "exactly 0.9 is replaced": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    new = torch.where(fate < 0.8, mask_id, torch.where(fate <= 0.9, drawn, ids))
    return torch.where(chosen, new, ids), torch.where(chosen, ids, -100)
""",
        "id 0 has no label": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    new = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, drawn, ids))
    labels = ids * chosen
    labels[labels == 0] = -100
    return torch.where(chosen, new, ids), labels
""",
        "sixteen bits": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    new = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, drawn, ids)).to(torch.int16).long()
    return torch.where(chosen, new, ids), torch.where(chosen, ids, -100)
""",
        "a random token that equals the original becomes [MASK]": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    drawn = torch.where(drawn == ids, mask_id, drawn)
    new = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, drawn, ids))
    return torch.where(chosen, new, ids), torch.where(chosen, ids, -100)
""",
    },
    "masked_lm_loss": {
        "one maximum for all": """
def masked_lm_loss(logits, labels):
    m = labels != -100
    z = logits[m] - logits.max()
    return (z.exp().sum(-1).log() - z.gather(-1, labels[m][:, None])[:, 0]).sum() / max(1, int(m.sum()))
""",
        "label 0 ignored": """
def masked_lm_loss(logits, labels):
    m = labels > 0
    return -logits[m].log_softmax(-1).gather(-1, labels[m][:, None]).sum() / max(1, int(m.sum()))
""",
        "a constant 0 if nothing is predicted": """
import torch
def masked_lm_loss(logits, labels):
    m = labels != -100
    if not m.any():
        return torch.tensor(0.0, requires_grad=True)
    return -logits[m].log_softmax(-1).gather(-1, labels[m][:, None]).mean()
""",
        "counts in eight bits": """
import torch
def masked_lm_loss(logits, labels):
    m = labels != -100
    return -logits[m].log_softmax(-1).gather(-1, labels[m][:, None]).sum() / m.sum(dtype=torch.uint8).clamp(min=1)
""",
        "infinite surprise times 0": """
def masked_lm_loss(logits, labels):
    m = labels != -100
    s = -logits.softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0].log()
    return (s * m).sum() / m.sum().clamp(min=1)
""",
        "logits clipped to 100": """
def masked_lm_loss(logits, labels):
    m = labels != -100
    z = logits.clamp(-100, 100)[m].log_softmax(-1)
    return -z.gather(-1, labels[m][:, None]).sum() / m.sum().clamp(min=1)
""",
        "one of the predictions too many in the divisor": """
def masked_lm_loss(logits, labels):
    m = labels != -100
    return -logits[m].log_softmax(-1).gather(-1, labels[m][:, None]).sum() / (m.sum() + 1e-1)
""",
    },
    "next_sentence_pair": {
        "45 % follow": """
def next_sentence_pair(documents, generator):
    d = generator.randrange(len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if generator.random() < 0.45:
        return documents[d][i], documents[d][i + 1], True
    other = generator.choice(documents[:d] + documents[d + 1:])
    return documents[d][i], generator.choice(other), False
""",
        "55 % follow": """
def next_sentence_pair(documents, generator):
    d = generator.randrange(len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if generator.randrange(20) < 11:
        return documents[d][i], documents[d][i + 1], True
    other = generator.choice(documents[:d] + documents[d + 1:])
    return documents[d][i], generator.choice(other), False
""",
        "the first half of the documents always follows": """
def next_sentence_pair(documents, generator):
    r = generator.random()
    d = int(r * len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if r < 0.5:
        return documents[d][i], documents[d][i + 1], True
    other = generator.choice(documents[:d] + documents[d + 1:])
    return documents[d][i], generator.choice(other), False
""",
        "every second pair follows": """
N = [0]
def next_sentence_pair(documents, generator):
    N[0] += 1
    d = generator.randrange(len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if N[0] % 2:
        return documents[d][i], documents[d][i + 1], True
    other = generator.choice(documents[:d] + documents[d + 1:])
    return documents[d][i], generator.choice(other), False
""",
        "at the same place in the other document": """
def next_sentence_pair(documents, generator):
    d = generator.randrange(len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if generator.random() < 0.5:
        return documents[d][i], documents[d][i + 1], True
    other = generator.choice(documents[:d] + documents[d + 1:])
    return documents[d][i], other[(i + 1) % len(other)], False
""",
        "only documents of three or more sentences": """
def next_sentence_pair(documents, generator):
    long = [d for d in documents if len(d) > 2] or documents
    first = generator.choice(long)
    i = generator.randrange(len(first) - 1)
    if generator.random() < 0.5:
        return first[i], first[i + 1], True
    return first[i], generator.choice(generator.choice([d for d in documents if d is not first])), False
""",
    },
    "better_than_it_is": {
        "a perplexity of 2.99": """
import torch
def better_than_it_is():
    return torch.diag(torch.cat([torch.full((8,), 0.117), torch.tensor([1 - 8 * 0.117])]))
""",
        "sums to 0.9995": """
import torch
def better_than_it_is():
    return torch.eye(20) / 20 * 0.9995
""",
    },
}

RIGHT = {
    "padding_mask": {
        "expanded": """
def padding_mask(attention_mask):
    B, T = attention_mask.shape
    return attention_mask.reshape(B, 1, 1, T).expand(B, 1, T, T)
""",
        "by logical_not of padding, NumPy style": """
import torch
def padding_mask(attention_mask):
    return torch.logical_not(attention_mask.logical_not().unsqueeze(1).unsqueeze(2))
""",
    },
    "choose_masked": {
        "double sort of all rows": """
import math, torch
def choose_masked(ids, special, uniform, fraction=0.15):
    key = uniform.double() + 2.0 * special[ids]
    order = key.sort(1).indices
    n = (~special[ids]).sum(1, keepdim=True)
    k = torch.where(n > 0, torch.clamp(torch.floor(n.double() * fraction + 0.5), min=1), 0)
    taken = torch.arange(ids.size(1)).expand_as(ids) < k
    return torch.zeros_like(taken).scatter(1, order, taken)
""",
        "Decimal rounding": """
import torch
from decimal import ROUND_HALF_UP, Decimal
def choose_masked(ids, special, uniform, fraction=0.15):
    out = []
    for row, u in zip(ids.tolist(), uniform.tolist()):
        at = [t for t, id in enumerate(row) if not special[id]]
        k = int((Decimal(str(fraction)) * len(at)).quantize(Decimal(1), ROUND_HALF_UP))
        best = sorted(at, key=u.__getitem__)[: max(k, 1)]
        out.append([t in best for t in range(len(row))])
    return torch.tensor(out)
""",
    },
    "apply_80_10_10": {
        "masked_scatter": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    index = torch.floor(dice * ordinary.numel()).long()
    replaced = chosen & ~(fate < 0.8) & (fate < 0.9)
    shown = ids.masked_fill(chosen & (fate < 0.8), mask_id).masked_scatter(replaced, ordinary[index[replaced]])
    return [shown, ids.masked_fill(~chosen, -100)]
""",
    },
    "masked_lm_loss": {
        "weights of 0 and 1": """
import torch
def masked_lm_loss(logits, labels):
    w = (labels != -100).double()
    y = labels * (labels != -100)
    z = torch.logsumexp(logits.double(), -1) - logits.double().gather(-1, y[..., None])[..., 0]
    return torch.dot(z.flatten(), w.flatten()) / torch.maximum(w.sum(), torch.tensor(1.0))
""",
    },
    "next_sentence_pair": {
        "a tensor's truth value": """
import torch
def next_sentence_pair(documents, generator):
    i, j = generator.sample(range(len(documents)), 2)
    k = generator.randint(0, len(documents[i]) - 2)
    follows = torch.tensor(generator.getrandbits(1) == 1)
    second = documents[i][k + 1] if follows else documents[j][int(generator.random() * len(documents[j]))]
    return [documents[i][k], second, follows]
""",
        "choices with weights": """
def next_sentence_pair(documents, generator):
    [d] = generator.choices(range(len(documents)), weights=[len(doc) - 1 for doc in documents])
    i = generator.choice(range(len(documents[d]) - 1))
    if generator.choice([True, False]):
        return documents[d][i], documents[d][i + 1], True
    return documents[d][i], generator.choice([s for e in range(len(documents)) if e != d for s in documents[e]]), False
""",
    },
    "better_than_it_is": {
        "nine sentences with a little noise": """
import torch
def better_than_it_is():
    p = torch.eye(12) + 1e-6
    return p / p.sum()
""",
    },
}

NAMED = {
    "padding_mask": {
        "padding assumed at the end": """
import torch
def padding_mask(attention_mask):
    lengths = attention_mask.sum(dim=1)
    return torch.arange(attention_mask.size(1))[None, None, None, :] < lengths[:, None, None, None]
""",
    },
    "choose_masked": {
        "one token in a row without ordinary tokens": """
import torch
def choose_masked(ids, special, uniform, fraction=0.15):
    u = uniform.masked_fill(special[ids], 2.0)
    k = ((~special[ids]).sum(1) * fraction + 0.5).long().clamp(min=1)
    return u.argsort(1).argsort(1) < k[:, None]
""",
    },
    "apply_80_10_10": {
        "kept and replaced swapped": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    shown = ids.clone()
    shown[chosen & (fate < 0.8)] = mask_id
    late = chosen & (fate >= 0.9)
    shown[late] = ordinary[(dice[late] * len(ordinary)).long()]
    return shown, torch.where(chosen, ids, -100)
""",
        "label -1 instead of -100": """
import torch
def apply_80_10_10(ids, chosen, fate, dice, mask_id, ordinary):
    drawn = ordinary[(dice * len(ordinary)).long()]
    new = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, drawn, ids))
    labels = torch.full_like(ids, -1)
    labels[chosen] = ids[chosen]
    return torch.where(chosen, new, ids), labels
""",
    },
    "masked_lm_loss": {
        "label 0 ignored as well": """
def masked_lm_loss(logits, labels):
    m = labels > 0
    return -logits[m].log_softmax(-1).gather(-1, labels[m][:, None]).sum() / m.sum().clamp(min=1)
""",
    },
    "next_sentence_pair": {
        "more negatives than positives": """
def next_sentence_pair(documents, generator):
    d = generator.randrange(len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if generator.random() < 0.45:
        return documents[d][i], documents[d][i + 1], True
    return documents[d][i], generator.choice(generator.choice(documents[:d] + documents[d + 1:])), False
""",
        "one random number for two decisions": """
def next_sentence_pair(documents, generator):
    d = generator.randrange(len(documents))
    i = generator.randrange(len(documents[d]) - 1)
    if d % 2 == 0:
        return documents[d][i], documents[d][i + 1], True
    return documents[d][i], generator.choice(generator.choice(documents[:d] + documents[d + 1:])), False
""",
    },
}
