"""Judged solutions of lesson 24; see test_wrong_and_right.py."""

WRONG = {
    "to_patches": {
        "only square pictures": """
def to_patches(images, patch_size):
    B, C, H, W = images.shape
    n = H // patch_size
    x = images.reshape(B, C, n, patch_size, n, -1).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(B, n * n, -1)
""",
        "always floats": """
import torch
def to_patches(images, patch_size):
    x = torch.nn.functional.unfold(images.float(), patch_size, stride=patch_size)
    return x.transpose(1, 2)
""",
        "strides of contiguous memory": """
import torch
def to_patches(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    sizes, strides = (B, H // P, W // P, C, P, P), (C * H * W, P * W, P, H * W, W, 1)
    return torch.as_strided(images, sizes, strides).reshape(B, -1, C * P * P)
""",
    },
    "caption_loss": {
        "padding is found by its id": """
def caption_loss(logits, ids, attention_mask, n_patches):
    z, y = logits[:, n_patches:-1], ids[:, 1:]
    losses = -z.log_softmax(-1).gather(2, y[..., None])[..., 0]
    return losses[y != 0].mean()
""",
        "the patches at the end": """
def caption_loss(logits, ids, attention_mask, n_patches):
    T = ids.size(1)
    losses = -logits[:, : T - 1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return losses[attention_mask[:, 1:]].mean()
""",
        "wrong without patches": """
def caption_loss(logits, ids, attention_mask, n_patches):
    z = logits[:, -ids.size(1) - 0:][:, :-1] if n_patches else logits[:, 1:]
    losses = -z.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return losses[attention_mask[:, 1:]].mean()
""",
        "log of the softmax": """
def caption_loss(logits, ids, attention_mask, n_patches):
    p = logits[:, n_patches:-1].softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return -p[attention_mask[:, 1:]].log().mean()
""",
    },
    "mask_tokens": {
        "in place": """
import torch
def mask_tokens(ids, special, u, keys, mask_id):
    places = (~special).nonzero()[:, 0]
    chosen = places[keys[places].argsort()[: int(u * len(places)) + 1]]
    targets = torch.full_like(ids, -100)
    targets[chosen] = ids[chosen]
    ids[chosen] = mask_id
    return ids, targets
""",
        "the first tokens instead of those with small keys": """
import torch
def mask_tokens(ids, special, u, keys, mask_id):
    places = (~special).nonzero()[:, 0]
    chosen = places[: int(u * len(places)) + 1]
    targets, noised = torch.full_like(ids, -100), ids.clone()
    targets[chosen], noised[chosen] = ids[chosen], mask_id
    return noised, targets
""",
        "fails without ordinary tokens": """
import torch
def mask_tokens(ids, special, u, keys, mask_id):
    order = keys.masked_fill(special, 1e9).argsort()[: int(u * (~special).sum()) + 1]
    targets, noised = torch.full_like(ids, -100), ids.clone()
    targets[order], noised[order] = ids[order], mask_id
    return noised, targets
""",
    },
    "text_bound": {
        "token 0 is no target": """
def text_bound(logits, targets, n_tokens):
    real = targets > 0
    losses = -logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0] * real
    return losses.sum(1) * n_tokens / real.sum(1)
""",
        "weighted by the mean k": """
def text_bound(logits, targets, n_tokens):
    real = targets != -100
    losses = -logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0] * real
    return losses.sum(1) * n_tokens / real.sum(1).float().mean()
""",
        "in bits": """
import math
def text_bound(logits, targets, n_tokens):
    real = targets != -100
    losses = -logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0] * real
    return losses.sum(1) * n_tokens / real.sum(1) / math.log(2)
""",
    },
    "unmasking_step": {
        "in place": """
import torch
def unmasking_step(ids, logits, mask_id, n):
    z = logits.clone()
    z[:, mask_id] = -torch.inf
    c, token = z.softmax(-1).max(-1)
    c[ids != mask_id] = -1
    chosen = c.argsort(descending=True, stable=True)[: min(n, int((ids == mask_id).sum()))]
    ids[chosen] = token[chosen].to(ids.dtype)
    return ids
""",
        "fills visible tokens if there are too few masks": """
import torch
def unmasking_step(ids, logits, mask_id, n):
    z = logits.clone()
    z[:, mask_id] = -torch.inf
    c, token = z.softmax(-1).max(-1)
    c = torch.where(ids == mask_id, c, -1.0)
    chosen = c.argsort(descending=True, stable=True)[:n]
    new = ids.clone()
    new[chosen] = token[chosen].to(ids.dtype)
    return new
""",
        "the margin between the first and the second": """
import torch
def unmasking_step(ids, logits, mask_id, n):
    z = logits.clone()
    z[:, mask_id] = -torch.inf
    top = z.softmax(-1).topk(2, dim=-1)
    c = torch.where(ids == mask_id, top.values[:, 0] - top.values[:, 1], -1.0)
    chosen = c.argsort(descending=True, stable=True)[: min(n, int((ids == mask_id).sum()))]
    new = ids.clone()
    new[chosen] = top.indices[chosen, 0].to(ids.dtype)
    return new
""",
    },
    "valid_fraction": {
        "rounded up, of the wrong number": """
import math
def valid_fraction(n_tokens, n_steps, languages):
    k = math.ceil((n_tokens - 1) / n_steps)
    return sum(q ** k for q in languages)
""",
        "wrong with more steps than tokens": """
def valid_fraction(n_tokens, n_steps, languages):
    k = n_tokens // n_steps if n_tokens % n_steps == 0 else n_tokens // n_steps + 1
    return sum(q ** k for q in languages) if n_steps <= n_tokens else 0.0
""",
        "pairs only": """
def valid_fraction(n_tokens, n_steps, languages):
    k = n_tokens - n_tokens * (n_steps - 1) // n_steps
    agree = sum(q * q for q in languages)
    return agree ** (k - 1)
""",
    },
    "impossible_in_one_step": {
        "one text and its mirror": """
import torch
def impossible_in_one_step():
    p = torch.zeros(8, 8)
    p[0, 1] = p[1, 0] = 0.5
    return p
""",
        "a narrow band": """
import torch
def impossible_in_one_step():
    p = torch.eye(8) + torch.eye(8).roll(1, 0)
    return p / p.sum()
""",
        "whole numbers": """
import torch
def impossible_in_one_step():
    return torch.eye(8, dtype=torch.long)
""",
    },
}

RIGHT = {
    "to_patches": {
        "chunks": """
import torch
def to_patches(images, patch_size):
    rows = images.split(patch_size, dim=2)
    return torch.stack([patch.flatten(1) for row in rows for patch in row.split(patch_size, dim=3)], 1)
""",
    },
    "caption_loss": {
        "sums": """
def caption_loss(logits, ids, attention_mask, n_patches):
    z, y, m = logits[:, n_patches:][:, :-1], ids[:, 1:], attention_mask[:, 1:]
    losses = z.logsumexp(2) - z.gather(2, y.unsqueeze(2)).squeeze(2)
    return (losses * m).sum() / m.sum()
""",
    },
    "mask_tokens": {
        "a threshold": """
import torch
def mask_tokens(ids, special, u, keys, mask_id):
    own = keys[~special].sort().values
    if len(own) == 0:
        return ids.clone(), torch.full_like(ids, -100)
    hit = ~special & (keys <= own[int(u * len(own))])
    return torch.where(hit, torch.full_like(ids, mask_id), ids), torch.where(hit, ids, torch.full_like(ids, -100))
""",
    },
    "text_bound": {
        "index add": """
import torch
def text_bound(logits, targets, n_tokens):
    row, place = (targets != -100).nonzero(as_tuple=True)
    z = logits[row, place]
    losses = z.logsumexp(1) - z[torch.arange(len(row)), targets[row, place]]
    k = torch.bincount(row, minlength=len(targets))
    return torch.zeros(len(targets), dtype=logits.dtype).index_add(0, row, losses) * n_tokens / k
""",
    },
    "unmasking_step": {
        "one after the other": """
import torch
def unmasking_step(ids, logits, mask_id, n):
    new, left = ids.clone(), ids == mask_id
    keep = torch.arange(logits.size(1)) != mask_id
    p = torch.zeros_like(logits)
    p[:, keep] = logits[:, keep].softmax(-1)
    for _ in range(min(n, int(left.sum()))):
        best = max((t for t in range(len(ids)) if left[t]), key=lambda t: (p[t].max().item(), -t))
        new[best] = p[best].argmax()
        left[best] = False
    return new
""",
    },
    "valid_fraction": {
        "rounded up": """
import math
def valid_fraction(n_tokens, n_steps, languages):
    first = -(-n_tokens // n_steps)
    return math.fsum(q ** first for q in languages)
""",
    },
    "impossible_in_one_step": {
        "uneven but spread out": """
import torch
def impossible_in_one_step():
    return torch.diag(torch.tensor([0.1, 0.1, 0.1, 0.1, 0.15, 0.15, 0.15, 0.15]))
""",
    },
}

NAMED = {
    "to_patches": {
        "the channels last": """
def to_patches(images, patch_size):
    p = patch_size
    squares = images.unfold(2, p, p).unfold(3, p, p)
    return squares.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
""",
    },
    "text_bound": {
        "the mean over the masked tokens": """
import torch
def text_bound(logits, targets, n_tokens):
    rows = [torch.nn.functional.cross_entropy(z, t) for z, t in zip(logits, targets)]
    return torch.stack(rows)
""",
    },
    "valid_fraction": {
        "rounded down": """
def valid_fraction(n_tokens, n_steps, languages):
    k = n_tokens // n_steps or 1
    return sum(q ** k for q in languages)
""",
    },
}
