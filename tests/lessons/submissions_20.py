"""Judged solutions of lesson 20; see test_wrong_and_right.py."""

WRONG = {
    "induction_score": {
        "a target must be before the query": """
import torch
def induction_score(weights, ids):
    T = len(ids)
    same = (ids[:, None] == ids).tril(-1)
    wanted = torch.nn.functional.pad(same, (1, 0))[:, :-1].tril(-1)
    has = wanted.any(1)
    if not has.any():
        return weights.new_zeros(len(weights))
    return (weights * wanted).sum(2)[:, has].mean(1)
""",
        "the token itself counts as an earlier occurrence": """
import torch
def induction_score(weights, ids):
    same = (ids[:, None] == ids).tril()
    wanted = torch.nn.functional.pad(same, (1, 0))[:, :-1]
    has = wanted.any(1)
    if not has.any():
        return weights.new_zeros(len(weights))
    return (weights * wanted).sum(2)[:, has].mean(1)
""",
        "the largest weight on a target": """
import torch
def induction_score(weights, ids):
    same = (ids[:, None] == ids).tril(-1)
    wanted = torch.nn.functional.pad(same, (1, 0))[:, :-1]
    has = wanted.any(1)
    if not has.any():
        return weights.new_zeros(len(weights))
    return (weights * wanted).amax(2)[:, has].mean(1)
""",
        "only tokens below 256": """
import torch
def induction_score(weights, ids):
    ids = ids.to(torch.uint8)
    same = (ids[:, None] == ids).tril(-1)
    wanted = torch.nn.functional.pad(same, (1, 0))[:, :-1]
    has = wanted.any(1)
    if not has.any():
        return weights.new_zeros(len(weights))
    return (weights * wanted).sum(2)[:, has].mean(1)
""",
    },
    "mean_ablation": {
        "in place": """
def mean_ablation(activations, attention_mask):
    activations[attention_mask] = activations[attention_mask].mean(0)
    return activations
""",
        "the mean of the means of the texts": """
import torch
def mean_ablation(activations, attention_mask):
    means = [row[mask].mean(0) for row, mask in zip(activations, attention_mask) if mask.any()]
    return torch.where(attention_mask[..., None], torch.stack(means).mean(0), activations)
""",
        "the median": """
import torch
def mean_ablation(activations, attention_mask):
    return torch.where(attention_mask[..., None], activations[attention_mask].median(0).values, activations)
""",
    },
    "patching_effect": {
        "in log-probabilities of the right token": """
def patching_effect(clean, corrupted, patched, right, wrong):
    c, k, p = (x.log_softmax(-1)[..., right] for x in (clean, corrupted, patched))
    return (p - k) / (c - k)
""",
        "a small number in the denominator": """
def patching_effect(clean, corrupted, patched, right, wrong):
    c, k, p = (x[..., right] - x[..., wrong] for x in (clean, corrupted, patched))
    return (p - k) / (c - k + 0.01)
""",
        "always the first two tokens": """
def patching_effect(clean, corrupted, patched, right, wrong):
    c, k, p = (x[..., 0] - x[..., 1] for x in (clean, corrupted, patched))
    return (p - k) / (c - k)
""",
        "the absolute denominator": """
def patching_effect(clean, corrupted, patched, right, wrong):
    c, k, p = (x[..., right] - x[..., wrong] for x in (clean, corrupted, patched))
    return (p - k) / abs(c - k)
""",
    },
    "logit_shares": {
        "an RMSNorm": """
import torch
def logit_shares(parts, norm_weight, norm_bias, reader, eps):
    scale = (parts.sum(0).square().mean() + eps).rsqrt()
    return torch.cat([(parts * scale) @ (norm_weight * reader), (norm_bias @ reader)[None]])
""",
        "the variances of the parts added": """
import torch
def logit_shares(parts, norm_weight, norm_bias, reader, eps):
    scale = (parts.var(1, correction=0).sum() + eps).rsqrt()
    centered = parts - parts.mean(1, keepdim=True)
    return torch.cat([(centered * scale) @ (norm_weight * reader), (norm_bias @ reader)[None]])
""",
        "the bias first": """
import torch
def logit_shares(parts, norm_weight, norm_bias, reader, eps):
    scale = (parts.sum(0).var(correction=0) + eps).rsqrt()
    centered = parts - parts.mean(1, keepdim=True)
    return torch.cat([(norm_bias @ reader)[None], (centered * scale) @ (norm_weight * reader)])
""",
        "normalized to sum to 1": """
import torch
def logit_shares(parts, norm_weight, norm_bias, reader, eps):
    scale = (parts.sum(0).var(correction=0) + eps).rsqrt()
    centered = parts - parts.mean(1, keepdim=True)
    s = torch.cat([(centered * scale) @ (norm_weight * reader), (norm_bias @ reader)[None]])
    return s / s.sum()
""",
    },
    "ridge_probe": {
        "the pseudo-inverse, without the penalty": """
import torch
def ridge_probe(activations, labels, n_labels, l2):
    y = torch.nn.functional.one_hot(labels, n_labels).to(activations)
    xm, ym = activations.mean(0), y.mean(0)
    w = (torch.linalg.pinv(activations - xm) @ (y - ym)).T
    return w, ym - w @ xm
""",
        "the penalty also on the mean": """
import torch
def ridge_probe(activations, labels, n_labels, l2):
    y = torch.nn.functional.one_hot(labels, n_labels).to(activations)
    xm, ym = activations.sum(0) / (len(activations) + l2), y.mean(0)
    xc = activations - xm
    w = torch.linalg.solve(xc.T @ xc + l2 * torch.eye(len(xm)).to(xc), xc.T @ (y - ym)).T
    return w, ym - w @ xm
""",
        "the bias for the activations as they are forgotten": """
import torch
def ridge_probe(activations, labels, n_labels, l2):
    y = torch.nn.functional.one_hot(labels, n_labels).to(activations)
    xm = activations.mean(0)
    xc = activations - xm
    w = torch.linalg.solve(xc.T @ xc + l2 * torch.eye(len(xm)).to(xc), xc.T @ y).T
    return w, -w @ xm
""",
    },
    "rank_one_edit": {
        "in place": """
def rank_one_edit(x, direction, value):
    x += ((value - (x * direction).sum(1)) / direction.square().sum(1))[:, None] * direction
    return x
""",
        "a small number in the denominator": """
def rank_one_edit(x, direction, value):
    return x + ((value - (x * direction).sum(1)) / (direction.square().sum(1) + 1e-3))[:, None] * direction
""",
        "all pairs": """
def rank_one_edit(x, direction, value):
    missing = value - (x @ direction.T).diagonal()
    return x + (missing / direction.square().sum())[:, None] * direction
""",
    },
    "looks_but_does_not_matter": {
        "the value is short": """
import torch
def looks_but_does_not_matter():
    return torch.tensor([5.0, 0.0]), torch.tensor([[0.0, 0.5], [20.0, 0.0]]), torch.tensor([20.0, 0.0])
""",
        "the weight is too small": """
import torch
def looks_but_does_not_matter():
    return torch.tensor([1.3, 0.0]), torch.tensor([[0.0, 1.0], [20.0, 0.0]]), torch.tensor([20.0, 0.0])
""",
    },
}

RIGHT = {
    "induction_score": {
        "a dictionary of places": """
import torch
def induction_score(weights, ids):
    after, rows = {}, []
    for t, token in enumerate(ids.tolist()):
        if token in after:
            rows.append(weights[:, t, after[token]].sum(1))
        after.setdefault(token, []).append(t + 1)
    return torch.stack(rows).mean(0) if rows else weights.new_zeros(len(weights))
""",
    },
    "mean_ablation": {
        "index put": """
def mean_ablation(activations, attention_mask):
    result = activations.clone()
    result[attention_mask] = activations[attention_mask].mean(0)
    return result
""",
    },
    "patching_effect": {
        "a matrix product": """
import torch
def patching_effect(clean, corrupted, patched, right, wrong):
    reader = torch.zeros_like(clean)
    reader[right], reader[wrong] = 1, -1
    return (patched - corrupted) @ reader / ((clean - corrupted) @ reader)
""",
    },
    "logit_shares": {
        "the reader centered instead of the parts": """
import torch
def logit_shares(parts, norm_weight, norm_bias, reader, eps):
    gain = norm_weight * reader
    gain = gain - gain.mean()
    shares = parts @ gain / torch.sqrt(parts.sum(0).var(correction=0) + eps)
    return torch.cat([shares, (norm_bias * reader).sum(0, keepdim=True)])
""",
    },
    "ridge_probe": {
        "an inverse": """
import torch
def ridge_probe(activations, labels, n_labels, l2):
    x = activations.double()
    y = torch.eye(n_labels, dtype=torch.float64)[labels]
    xc = x - x.mean(0)
    w = y.T @ xc @ torch.linalg.inv(xc.T @ xc + l2 * torch.eye(x.size(1), dtype=torch.float64))
    return w.to(activations.dtype), (y.mean(0) - w @ x.mean(0)).to(activations.dtype)
""",
    },
    "rank_one_edit": {
        "einsum": """
import torch
def rank_one_edit(x, direction, value):
    size = torch.einsum("nc,nc->n", direction, direction)
    return x + torch.einsum("n,nc->nc", (value - torch.einsum("nc,nc->n", x, direction)) / size, direction)
""",
    },
    "looks_but_does_not_matter": {
        "float64, many keys": """
import torch
def looks_but_does_not_matter():
    values = torch.ones(5, 3, dtype=torch.float64) * torch.tensor([6.0, 0.0, 0.0], dtype=torch.float64)
    values[2] = torch.tensor([0.0, 1.0, 1.0])
    return torch.tensor([0.0, 0.0, 4.0, 0.0, 0.0], dtype=torch.float64), values, torch.tensor([9.0, 0.0, 0.0]).double()
""",
    },
}

NAMED = {
    "mean_ablation": {
        "zero instead of the mean": """
def mean_ablation(activations, attention_mask):
    result = activations.clone()
    result[attention_mask] = 0
    return result
""",
    },
    "logit_shares": {
        "not centered": """
import torch
def logit_shares(parts, norm_weight, norm_bias, reader, eps):
    s = parts.sum(0)
    scale = 1 / torch.sqrt(s.var(correction=0) + eps)
    return torch.cat([parts @ (scale * norm_weight * reader), (norm_bias @ reader)[None]])
""",
    },
    "rank_one_edit": {
        "added, whatever is there already": """
def rank_one_edit(x, direction, value):
    return x + direction * (value / (direction ** 2).sum(1))[:, None]
""",
    },
}
