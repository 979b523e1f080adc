"""Judged solutions of lesson 05; see test_wrong_and_right.py."""

WRONG = {
    "clip_gradients": {
        "squares in the precision of the gradients: infinite in fp16": """
def clip_gradients(gradients, max_norm):
    squares = [float(g.pow(2).sum()) for g in gradients]
    norm = sum(squares) ** 0.5
    factor = 1.0 if norm <= max_norm else max_norm / norm
    return [factor * g for g in gradients], norm
""",
        "the same list if there is nothing to clip": """
import torch
def clip_gradients(gradients, max_norm):
    norm = torch.cat([g.float().flatten() for g in gradients]).norm().item()
    if norm > max_norm:
        gradients = [g * max_norm / norm for g in gradients]
    return gradients, norm
""",
        "only tensors with one or two dimensions": """
def clip_gradients(gradients, max_norm):
    total = 0.0
    for g in gradients:
        rows = g if g.dim() == 2 else g.view(1, len(g))
        total += sum(float((row.double() ** 2).sum()) for row in rows)
    norm = total ** 0.5
    return [g.clone() if norm <= max_norm else g / norm * max_norm for g in gradients], norm
""",
        "a small norm counts as zero": """
def clip_gradients(gradients, max_norm):
    norm = sum(float(g.float().square().sum()) for g in gradients) ** 0.5
    factor = 0.0 if norm < 0.01 else min(1.0, max_norm / norm)
    return [g * factor for g in gradients], norm
""",
        "a floor under the norm that is not tiny": """
import torch
def clip_gradients(gradients, max_norm):
    norm = torch.cat([g.float().flatten() for g in gradients]).norm()
    return [g * torch.clamp(max_norm / (norm + 0.05), max=1.0) for g in gradients], norm.item()
""",
    },
    "warmup_cosine": {
        "warmup = steps - 1: 1 for ever": """
import math
def warmup_cosine(step, steps, warmup, final):
    left = steps - 1 - warmup
    if step < warmup:
        return (step + 1) / warmup
    if left <= 0:
        return 1.0
    return final + (1 - final) * (1 + math.cos(math.pi * min(step - warmup, left) / left)) / 2
""",
        "a single step: final instead of 1": """
import math
def warmup_cosine(step, steps, warmup, final):
    if step < warmup:
        return (step + 1) / warmup
    if step >= steps - 1:
        return final
    return final + (1 - final) * (1 + math.cos(math.pi * (step - warmup) / (steps - 1 - warmup))) / 2
""",
        "the wave comes back long after the end": """
import math
def warmup_cosine(step, steps, warmup, final):
    if step < warmup:
        return (step + 1) / warmup
    p = (step - warmup) / max(1, steps - 1 - warmup)
    if 1 < p < 2:
        p = 1
    return final + (1 - final) * (1 + math.cos(math.pi * p)) / 2
""",
        "integer division": """
import math
def warmup_cosine(step, steps, warmup, final):
    if step < warmup:
        return (step + 1) / warmup
    degrees = 180 * min(step - warmup, steps) // max(1, steps - 1 - warmup)
    return final + (1 - final) * (1 + math.cos(math.radians(min(180, degrees)))) / 2
""",
    },
    "adamw_step": {
        "state of its own from call to call": """
means = {}
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    if t > 1 and tuple(w.shape) in means:
        m, v = means[tuple(w.shape)]
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient ** 2
    means[tuple(w.shape)] = m, v
    step = (m / (1 - beta1 ** t)) / ((v / (1 - beta2 ** t)).sqrt() + eps)
    return w - lr * weight_decay * w - lr * step, m, v
""",
        "eps inside the root, squared": """
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient ** 2
    step = (m / (1 - beta1 ** t)) / (v / (1 - beta2 ** t) + eps ** 2).sqrt()
    return w * (1 - lr * weight_decay) - lr * step, m, v
""",
        "flattened with view": """
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    shape = w.shape
    w, g, m, v = (x.view(-1) for x in (w, gradient, m, v))
    m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (g * g - v)
    step = (m / (1 - beta1 ** t)) / ((v / (1 - beta2 ** t)).sqrt() + eps)
    return [x.view(shape) for x in (w * (1 - lr * weight_decay) - lr * step, m, v)]
""",
        "the old means changed in place": """
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m *= beta1
    m += (1 - beta1) * gradient
    v = v * beta2 + (1 - beta2) * gradient ** 2
    step = (m / (1 - beta1 ** t)) / ((v / (1 - beta2 ** t)).sqrt() + eps)
    return w * (1 - lr * weight_decay) - lr * step, m, v
""",
    },
    "accumulated_gradient": {
        "the model left in training mode": """
import torch.nn.functional as F
def accumulated_gradient(model, parts):
    model.train()
    model.zero_grad()
    n = sum(int((t != -100).sum()) for _, t in parts)
    losses = [F.cross_entropy(model(x).flatten(0, 1), t.flatten(), reduction="sum") / n for x, t in parts]
    sum(losses).backward()
    return float(sum(losses))
""",
        "only parts with targets count, by their mean": """
import torch.nn.functional as F
def accumulated_gradient(model, parts):
    model.zero_grad()
    parts = [(x, t) for x, t in parts if (t != -100).any()]
    total = 0.0
    for x, t in parts:
        loss = F.cross_entropy(model(x).transpose(1, 2), t) / len(parts)
        loss.backward()
        total += loss.item()
    return total
""",
        "the gradient is clipped as well": """
import torch
def accumulated_gradient(model, parts):
    model.zero_grad()
    n = sum(int((t != -100).sum()) for _, t in parts)
    losses = [torch.nn.functional.cross_entropy(model(x).mT, t, reduction="sum") / n for x, t in parts]
    sum(losses).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return float(sum(losses))
""",
        "the parameters are frozen at the end": """
import torch
def accumulated_gradient(model, parts):
    model.zero_grad()
    n = sum(int((t != -100).sum()) for _, t in parts)
    losses = [torch.nn.functional.cross_entropy(model(x).mT, t, reduction="sum") / n for x, t in parts]
    sum(losses).backward()
    model.requires_grad_(False)
    return float(sum(losses))
""",
        "targets of 0 are left out as well": """
import torch.nn.functional as F
def accumulated_gradient(model, parts):
    model.zero_grad()
    n, total = sum(int((t > 0).sum()) for _, t in parts), 0.0
    for x, t in parts:
        loss = F.cross_entropy(model(x)[t > 0], t[t > 0], reduction="sum") / max(1, n)
        loss.backward()
        total += loss.item()
    return total
""",
        "targets replaced in the caller's tensors": """
import torch
def accumulated_gradient(model, parts):
    model.zero_grad()
    n, total = sum(int((t != -100).sum()) for _, t in parts), 0.0
    for x, t in parts:
        keep = t != -100
        t[~keep] = 0
        loss = -(model(x).log_softmax(-1).gather(-1, t[..., None])[..., 0] * keep).sum() / n
        loss.backward()
        total += loss.item()
    return total
""",
    },
    "opposite_steps": {
        "numbers as text": "def opposite_steps():\n    return ['0.5'] * 8, ['-1']\n",
        "overall mean just below 0.1": "def opposite_steps():\n    return [0.2222] * 9, [-1.0]\n",
        "one number above 1": "def opposite_steps():\n    return [0.5] * 7 + [1.001], [-1.0]\n",
    },
}

NAMED = {
    "clip_gradients": {
        "squares too large for half precision": """
import torch
def clip_gradients(gradients, max_norm):
    norm = torch.sqrt(sum(torch.sum(g * g) for g in gradients))
    if norm > max_norm:
        return [g * (max_norm / norm) for g in gradients], norm.item()
    return [g.clone() for g in gradients], norm.item()
""",
        "norm of the last tensor only": """
def clip_gradients(gradients, max_norm):
    for g in gradients:
        norm = float((g.float() ** 2).sum()) ** 0.5
    return [g * min(1.0, max_norm / norm) if norm else g.clone() for g in gradients], norm
""",
        "largest number used as the norm": """
def clip_gradients(gradients, max_norm):
    norm = max(float(g.abs().max()) if g.numel() else 0.0 for g in gradients)
    return [g * max_norm / norm if norm > max_norm else g.clone() for g in gradients], norm
""",
    },
    "warmup_cosine": {
        "warmup from 0 to 1": """
import math
def warmup_cosine(step, steps, warmup, final):
    if step < warmup:
        return step / (warmup - 1)
    p = min(1, (step - warmup) / max(1, steps - warmup - 1))
    return final + (1 - final) * (1 + math.cos(math.pi * p)) / 2
""",
    },
    "adamw_step": {
        "bias of v corrected with beta1": """
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient ** 2
    m_hat, v_hat = m / (1 - beta1 ** t), v / (1 - beta1 ** t)
    return w - lr * weight_decay * w - lr * m_hat / (v_hat ** 0.5 + eps), m, v
""",
    },
    "accumulated_gradient": {
        "cross_entropy of (B, T, V) without flattening": """
from torch.nn import functional as F
def accumulated_gradient(model, parts):
    for p in model.parameters():
        p.grad = None
    count = sum([(targets != -100).sum() for ids, targets in parts])
    result = 0
    for ids, targets in parts:
        loss = F.cross_entropy(model(ids), targets, reduction="sum") / count
        loss.backward()
        result = result + loss.item()
    return result
""",
        "targets shifted once more": """
from torch.nn import functional as F
def accumulated_gradient(model, parts):
    model.zero_grad()
    count = sum([(targets[:, 1:] != -100).sum() for ids, targets in parts])
    result = 0
    for ids, targets in parts:
        logits, targets = model(ids)[:, :-1], targets[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / count
        loss.backward()
        result = result + loss.item()
    return result
""",
    },
}

RIGHT = {
    "clip_gradients": {
        "a tuple, a NumPy number for the norm": """
import numpy as np
def clip_gradients(gradients, max_norm):
    norm = np.sqrt(sum((g.double().numpy() ** 2).sum() for g in gradients))
    scale = max_norm / max(norm, max_norm)
    return tuple(g * float(scale) for g in gradients), norm
""",
    },
    "warmup_cosine": {
        "True for 1, a complex exponential": """
import cmath
def warmup_cosine(step, steps, warmup, final):
    if step < warmup: return (step + 1) / warmup
    if step == warmup: return True
    if step >= steps - 1: return final
    z = cmath.exp(1j * cmath.pi * (step - warmup) / (steps - 1 - warmup))
    return final + (1 - final) * (1 + z.real) / 2
""",
        "final after the end, whatever the warmup": """
import math
def warmup_cosine(step, steps, warmup, final):
    if step >= steps:
        return final
    if step < warmup:
        return (step + 1) / warmup
    if step == warmup:
        return True
    return final + (1 - final) * math.cos(math.pi / 2 * (step - warmup) / (steps - 1 - warmup)) ** 2
""",
        "by recursion, with fractions": """
import math
from fractions import Fraction
def warmup_cosine(step, steps, warmup, final):
    if step < warmup:
        return float(Fraction(step + 1, warmup))
    if step > max(steps - 1, warmup + 1):
        return warmup_cosine(step - 1, steps, warmup, final)
    phase = Fraction(step - warmup, max(1, steps - 1 - warmup))
    return (1 + final + (1 - final) * math.cos(phase * math.pi)) / 2
""",
    },
    "adamw_step": {
        "a list, moments as differences": """
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    new_m = m - (m - gradient) * (1 - beta1)
    new_v = v - (v - gradient.abs() ** 2) * (1 - beta2)
    root = (new_v / (1 - beta2 ** t)) ** 0.5
    return [w - lr * (weight_decay * w + new_m / ((1 - beta1 ** t) * (root + eps))), new_m, new_v]
""",
    },
    "accumulated_gradient": {
        "counted by a comprehension, NLLLoss, one backward pass": """
import torch
def accumulated_gradient(model, parts):
    model.zero_grad(set_to_none=True)
    n = len([1 for _, t in parts for y in t.flatten() if y != -100])
    nll = torch.nn.NLLLoss(ignore_index=-100, reduction="sum")
    loss = torch.stack([nll(model(x).log_softmax(-1).flatten(0, 1), t.reshape(-1)) for x, t in parts]).sum() / n
    loss.backward()
    return loss
""",
    },
    "opposite_steps": {
        "NumPy numbers, True and a whole number": """
import numpy as np
def opposite_steps():
    return [np.float32(0.5)] * 7 + [True], (-1,)
""",
    },
}
