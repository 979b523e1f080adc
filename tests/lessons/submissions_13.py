"""Judged solutions of lesson 13; see test_wrong_and_right.py."""

WRONG = {
    "route": {
        "topk": """
import torch
def route(logits, k):
    z = logits if logits.dtype == torch.float64 else logits.float()
    w, chosen = z.softmax(-1).topk(k, dim=-1)
    return chosen.flip(-1).sort(-1).values.flip(-1), w / w.sum(-1, keepdim=True) if k > 1 else w
""",
        "rounded to float32 before the choice": """
def route(logits, k):
    z = logits.float()
    chosen = z.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    w = z.softmax(-1).gather(-1, chosen)
    return chosen, w / w.sum(-1, keepdim=True) if k > 1 else w
""",
        "sorted by probability, where small ones are all 0": """
import torch
def route(logits, k):
    z = logits if logits.dtype == torch.float64 else logits.float()
    w, chosen = z.softmax(-1).sort(dim=-1, descending=True, stable=True)
    w, chosen = w[..., :k], chosen[..., :k]
    return chosen, w / w.sum(-1, keepdim=True) if k > 1 else w
""",
        "in the precision of the logits": """
def route(logits, k):
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    w = logits.softmax(-1).gather(-1, chosen)
    return chosen, w / w.sum(-1, keepdim=True) if k > 1 else w
""",
        "a floor in the denominator": """
import torch
def route(logits, k):
    z = logits if logits.dtype == torch.float64 else logits.float()
    chosen = z.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    w = z.softmax(-1).gather(-1, chosen)
    return chosen, w / (w.sum(-1, keepdim=True) + 0.01) if k > 1 else w
""",
    },
    "within_capacity": {
        "the count of the first row for all": """
import torch
import torch.nn.functional as F
def within_capacity(chosen, is_real, n_experts, capacity):
    taken = F.one_hot(chosen, n_experts).sum(2) * is_real[:, :, None]
    before = (taken.cumsum(1) - taken)[:1].expand(len(chosen), -1, -1)
    return (before.gather(2, chosen) < capacity) & is_real[:, :, None]
""",
        "only for one choice": """
import torch
import torch.nn.functional as F
def within_capacity(chosen, is_real, n_experts, capacity):
    taken = F.one_hot(chosen[:, :, 0], n_experts) * is_real[:, :, None]
    before = taken.cumsum(1) - taken
    return (before.gather(2, chosen) < capacity) & is_real[:, :, None]
""",
        "padding must be at the end": """
import torch.nn.functional as F
def within_capacity(chosen, is_real, n_experts, capacity):
    lengths = is_real.sum(1)
    T = chosen.size(1)
    real = (is_real.new_ones(T).cumsum(0) - 1)[None] < lengths[:, None]
    taken = F.one_hot(chosen, n_experts).sum(2) * real[:, :, None]
    before = taken.cumsum(1) - taken
    return (before.gather(2, chosen) < capacity) & real[:, :, None]
""",
        "a capacity of at least one": """
import torch.nn.functional as F
def within_capacity(chosen, is_real, n_experts, capacity):
    taken = F.one_hot(chosen, n_experts).sum(2) * is_real[:, :, None]
    before = taken.cumsum(1) - taken
    return (before.gather(2, chosen) < max(capacity, 1)) & is_real[:, :, None]
""",
        "a dropped choice is made good by the token's next one": """
import torch
def within_capacity(chosen, is_real, n_experts, capacity):
    kept = torch.zeros_like(chosen, dtype=torch.bool)
    for b, row in enumerate(chosen.tolist()):
        taken = [0] * n_experts
        for t, experts in enumerate(row):
            if not is_real[b, t]:
                continue
            for j, i in enumerate(experts):
                if taken[i] < capacity:
                    kept[b, t, j] = True
                    taken[i] += 1
                    break
    return kept
""",
    },
    "mixture": {
        "a token used twice counts once": """
import torch
def mixture(x, chosen, weights, kept, experts):
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        uses = (chosen == i) & kept
        rows = uses.any(1).nonzero()[:, 0]
        y[rows] = expert(x[rows]) * weights[rows].sum(1, keepdim=True)
    return y
""",
        "weights without a gradient": """
import torch
def mixture(x, chosen, weights, kept, experts):
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        rows, j = ((chosen == i) & kept).nonzero(as_tuple=True)
        y = y.index_add(0, rows, expert(x[rows]) * weights.detach()[rows, j, None])
    return y
""",
        "weights normalized again over what is kept": """
import torch
def mixture(x, chosen, weights, kept, experts):
    w = weights * kept
    w = w / w.sum(1, keepdim=True).clamp(min=1e-9)
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        rows, j = ((chosen == i) & kept).nonzero(as_tuple=True)
        y = y.index_add(0, rows, expert(x[rows]) * w[rows, j, None])
    return y
""",
        "one call for each choice": """
import torch
def mixture(x, chosen, weights, kept, experts):
    y = torch.zeros_like(x)
    for j in range(chosen.size(1)):
        for i, expert in enumerate(experts):
            rows = ((chosen[:, j] == i) & kept[:, j]).nonzero()[:, 0]
            y = y.index_add(0, rows, expert(x[rows]) * weights[rows, j, None])
    return y
""",
        "adds to x in place": """
def mixture(x, chosen, weights, kept, experts):
    before = x.detach().clone()
    x.mul_(0)
    for i, expert in enumerate(experts):
        rows, j = ((chosen == i) & kept).nonzero(as_tuple=True)
        x.index_add_(0, rows, expert(before[rows]) * weights[rows, j, None])
    return x
""",
    },
    "load_balancing_loss": {
        "experts that nobody chose are left out of E": """
import torch
def load_balancing_loss(probs, chosen, is_real):
    c = chosen[is_real].flatten()
    f = torch.bincount(c, minlength=probs.size(-1)) / len(c)
    return (f > 0).sum() * (f.to(probs.dtype) * probs[is_real].mean(0)).sum()
""",
        "only the first choice counts": """
import torch
def load_balancing_loss(probs, chosen, is_real):
    c = chosen[is_real][:, 0]
    f = torch.bincount(c, minlength=probs.size(-1)) / len(c)
    return probs.size(-1) * (f.to(probs.dtype) * probs[is_real].mean(0)).sum()
""",
        "padding in the probabilities only": """
import torch
def load_balancing_loss(probs, chosen, is_real):
    c = chosen[is_real].flatten()
    f = torch.bincount(c, minlength=probs.size(-1)) / len(c)
    return probs.size(-1) * (f.to(probs.dtype) * probs.flatten(0, 1).mean(0)).sum()
""",
        "never below 1": """
import torch
def load_balancing_loss(probs, chosen, is_real):
    c = chosen[is_real].flatten()
    f = torch.bincount(c, minlength=probs.size(-1)) / len(c)
    return (probs.size(-1) * (f.to(probs.dtype) * probs[is_real].mean(0)).sum()).clamp(min=1)
""",
    },
    "mixture_size": {
        "the FLOPs of the whole model, not of a token": """
def mixture_size(d_model, d_ff, n_experts, k, gated):
    e = (3 if gated else 2) * d_model * d_ff
    r = n_experts * d_model * (n_experts > 1)
    return n_experts * e + r, k * e + r, 6 * (n_experts * e + r)
""",
        "the router only trained, not computed": """
def mixture_size(d_model, d_ff, n_experts, k, gated):
    e = (3 if gated else 2) * d_model * d_ff
    r = n_experts * d_model * (n_experts > 1)
    return n_experts * e + r, k * e + r, 6 * k * e
""",
        "a router from three experts on": """
def mixture_size(d_model, d_ff, n_experts, k, gated):
    e = (3 if gated else 2) * d_model * d_ff
    r = n_experts * d_model * (n_experts > 2)
    return n_experts * e + r, k * e + r, 6 * (k * e + r)
""",
        "floats": """
def mixture_size(d_model, d_ff, n_experts, k, gated):
    e = (3 if gated else 2) * d_model * d_ff / 1
    r = n_experts * d_model * (n_experts > 1)
    return n_experts * e + r, k * e + r, 6 * (k * e + r)
""",
    },
    "expected_dropped": {
        "a simulation": """
import torch
def expected_dropped(T, n_experts, capacity):
    counts = torch.nn.functional.one_hot(torch.randint(n_experts, (500, min(T, 200))), n_experts).sum(1)
    return ((counts - capacity).clamp(min=0).sum(1).double().mean() / T).item()
""",
        "rounded coefficients from the gamma function in float32": """
import torch
def expected_dropped(T, n_experts, capacity):
    if n_experts == 1:
        return max(T - capacity, 0) / T
    n = torch.arange(capacity + 1, T + 1).float()
    t = torch.tensor(float(T))
    p = torch.tensor(1 / n_experts)
    log = torch.lgamma(t + 1) - torch.lgamma(n + 1) - torch.lgamma(t - n + 1) + n * p.log() + (t - n) * (1 - p).log()
    return (n_experts / T * ((n - capacity) * log.exp()).sum()).item()
""",
        "negative where there is more room than tokens": """
import math
def expected_dropped(T, n_experts, capacity):
    room = sum(math.comb(T, n) * (n_experts - 1) ** (T - n) * max(capacity - n, 0) for n in range(T + 1))
    return 1 - n_experts * capacity / T + 2 * (n_experts * room / n_experts**T / T) / 2 if capacity <= T else -1.0
""",
        "at most a hundred tokens": """
import math
def expected_dropped(T, n_experts, capacity):
    T = min(T, 100)
    ways = sum((n - capacity) * math.comb(T, n) * (n_experts - 1) ** (T - n) for n in range(capacity + 1, T + 1))
    return ways * n_experts / T / n_experts**T
""",
    },
    "below_one": {
        "the frequent choices are clear": """
import torch
def below_one():
    return torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
""",
        "the wrong load": """
import torch
def below_one():
    return torch.tensor([[0.51, 0.49]] * 19 + [[0.0, 1.0]])
""",
    },
}

RIGHT = {
    "route": {
        "a sort in numpy's way": """
import torch
def route(logits, k):
    z = logits if logits.dtype == torch.float64 else logits.float()
    numbers = torch.argsort(-z.detach(), dim=-1, stable=True)[..., :k]
    e = (z - z.max(-1, keepdim=True).values).exp()
    if k == 1:
        return numbers, e.gather(-1, numbers) / e.sum(-1, keepdim=True)
    top = torch.take_along_dim(z, numbers, -1)
    return numbers, (top - top[..., :1]).exp() / (top - top[..., :1]).exp().sum(-1, keepdim=True)
""",
    },
    "within_capacity": {
        "the choices in one line": """
import torch
import torch.nn.functional as F
def within_capacity(chosen, is_real, n_experts, capacity):
    B, T, k = chosen.shape
    real = is_real[:, :, None].expand(B, T, k).reshape(B, T * k)
    line = F.one_hot(chosen.reshape(B, T * k), n_experts) * real[..., None]
    position = (line.cumsum(1) * line).sum(-1)
    return ((position >= 1) & (position <= capacity)).view(B, T, k)
""",
    },
    "mixture": {
        "out in place": """
import torch
def mixture(x, chosen, weights, kept, experts):
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        t, j = torch.where((chosen == i) & kept)
        if len(t):
            y[t] += weights[t, j].unsqueeze(1) * expert(x[t])
    return y
""",
    },
    "load_balancing_loss": {
        "a mean of products": """
import torch
def load_balancing_loss(probs, chosen, is_real):
    E = probs.size(-1)
    c = chosen[is_real].flatten()
    f = torch.zeros(E, dtype=probs.dtype, device=probs.device).index_add(0, c, torch.ones_like(c, dtype=probs.dtype))
    f = f / f.sum()
    return E * (probs[is_real] @ f).mean()
""",
    },
    "mixture_size": {
        "shapes": """
def mixture_size(d_model, d_ff, n_experts, k, gated):
    shapes = [(d_ff, d_model), (d_model, d_ff)] + [(d_ff, d_model)] * gated
    expert = sum(a * b for a, b in shapes)
    router = 0 if n_experts == 1 else d_model * n_experts
    used = expert * k + router
    return expert * n_experts + router, used, used * 2 * 3
""",
    },
    "expected_dropped": {
        "by the room that is left": """
from fractions import Fraction
import math
def expected_dropped(T, n_experts, capacity):
    if capacity >= T:
        return 0.0
    room = sum((capacity - n) * math.comb(T, n) * (n_experts - 1) ** (T - n) for n in range(capacity))
    return float(1 - Fraction(n_experts * capacity, T) + Fraction(n_experts * room, T * n_experts**T))
""",
    },
    "below_one": {
        "eight experts": """
import torch
def below_one():
    often = torch.tensor([[0.14] + [0.86 / 7] * 7] * 5)
    return torch.cat([often, torch.eye(8)[1:]])
""",
    },
}

NAMED = {
    "route": {
        "a weight of 1 for a single expert": """
import torch
def route(logits, k):
    z = logits if logits.dtype == torch.float64 else logits.float()
    values, chosen = z.sort(dim=-1, descending=True, stable=True)
    return chosen[..., :k], values[..., :k].softmax(-1)
""",
    },
    "mixture": {
        "every expert computes every token": """
import torch
def mixture(x, chosen, weights, kept, experts):
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        y = y + expert(x) * (weights * kept * (chosen == i)).sum(1)[:, None]
    return y
""",
    },
    "load_balancing_loss": {
        "padding counts": """
import torch
def load_balancing_loss(probs, chosen, is_real):
    E = probs.size(-1)
    f = torch.bincount(chosen.flatten(), minlength=E) / chosen.numel()
    return E * (f.to(probs.dtype) * probs.reshape(-1, E).mean(0)).sum()
""",
    },
    "within_capacity": {
        "padding takes room": """
import torch.nn.functional as F
def within_capacity(chosen, is_real, n_experts, capacity):
    taken = F.one_hot(chosen, n_experts).sum(2)
    before = taken.cumsum(1) - taken
    return (before.gather(2, chosen) < capacity) & is_real[:, :, None]
""",
    },
}
