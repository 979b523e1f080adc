"""Judged solutions of lesson 04; see test_wrong_and_right.py."""

WRONG = {
    "layer_norm": {
        "eps is at least 1e-5": """
def layer_norm(x, gain, bias, eps):
    d = x - x.mean(-1, keepdim=True)
    return gain * d / ((d * d).mean(-1, keepdim=True) + max(eps, 1e-5)).sqrt() + bias
""",
        "rows with view": """
import torch
def layer_norm(x, gain, bias, eps):
    rows = x.view(-1, x.shape[-1])
    variance, mean = torch.var_mean(rows, dim=1, keepdim=True, unbiased=False)
    return ((rows - mean) / (variance + eps) ** 0.5 * gain + bias).view(x.shape)
""",
        "positions in dimension -2 are always there": """
def layer_norm(x, gain, bias, eps):
    mean = x.transpose(-1, -2).mean(dim=-2).unsqueeze(-1)
    variance = ((x - mean) ** 2).mean(dim=-1).unsqueeze(-1)
    return (x - mean) * (variance + eps).rsqrt() * gain + bias
""",
        "equal features left out": """
def layer_norm(x, gain, bias, eps):
    d = x - x.mean(-1, keepdim=True)
    deviation = d.pow(2).mean(-1, keepdim=True).add(eps).sqrt()
    return x if bool((d == 0).all()) else d / deviation * gain + bias
""",
    },
    "n_parameters": {
        "32 bits": """
import numpy as np
def n_parameters(V, T, C, L, H, tied):
    block = 12 * C * C + 13 * C
    n = np.array([V * C * (1 if tied else 2), T * C, L * block, 2 * C]).astype(np.int32)
    return int(n.sum(dtype=np.int32))
""",
        "a float": """
def n_parameters(V, T, C, L, H, tied):
    heads = 4 * H * (C * (C / H) + C / H)
    return (V * (2 - tied) + T + 2) * C + L * (heads + 8 * C * C + 5 * C + 4 * C)
""",
        "the bias of a projection of one head only": """
def n_parameters(V, T, C, L, H, tied):
    attention = 4 * C * C + 3 * (C // H) + C
    return (V * (2 - tied) + T + 2) * C + L * (attention + 8 * C * C + 5 * C + 4 * C)
""",
    },
    "sinusoidal": {
        "base 10001": """
import torch
def sinusoidal(T, C):
    i = torch.arange(0, C, 2).double()
    angles = torch.outer(torch.arange(T).double(), 10001 ** (-i / C))
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(T, C)
""",
        "half precision on the way": """
import torch
def sinusoidal(T, C):
    angles = torch.arange(T).half()[:, None] / 10000 ** (torch.arange(0, C, 2) / C).half()
    return torch.stack([angles.float().sin(), angles.float().cos()], -1).reshape(T, C)
""",
        "a single position loses its dimension": """
import torch
def sinusoidal(T, C):
    angles = torch.arange(T)[:, None] / 10000 ** (torch.arange(0, C, 2) / C)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).squeeze(0)
""",
    },
    "block": {
        "attention is computed twice": """
def block(x, attention, feed_forward, norm_1, norm_2):
    h = norm_2(x + attention(norm_1(x)))
    return x + attention(norm_1(x)) + feed_forward(h)
""",
        "the stream changed in place": """
def block(x, attention, feed_forward, norm_1, norm_2):
    x.add_(attention(norm_1(x)))
    return x + feed_forward(norm_2(x))
""",
        "the gradient reaches x only directly": """
def block(x, attention, feed_forward, norm_1, norm_2):
    h = x + attention(norm_1(x.detach()))
    return h + feed_forward(norm_2(h))
""",
    },
    "next_token_loss": {
        "softmax and logarithm in float64": """
def next_token_loss(logits, ids, attention_mask):
    p = logits[:, :-1].double().softmax(-1).gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
    return -p.log()[attention_mask[:, 1:]].mean()
""",
        "mean of the rows' means where there are targets": """
import torch
from torch.nn import functional as F
def next_token_loss(logits, ids, attention_mask):
    losses = []
    for row, tokens, real in zip(logits, ids, attention_mask):
        n = int(real.sum())
        if n > 1:
            losses.append(F.cross_entropy(row[: n - 1], tokens[1:n]))
    return torch.stack(losses).mean()
""",
        "padding recognized by the id of the last position": """
from torch.nn import functional as F
def next_token_loss(logits, ids, attention_mask):
    real = attention_mask[:, 1:] & ((ids[:, 1:] != 0) | attention_mask.all(1, keepdim=True))
    return F.cross_entropy(logits[:, :-1][real], ids[:, 1:][real])
""",
        "infinite losses cut off": """
from torch.nn import functional as F
def next_token_loss(logits, ids, attention_mask):
    keep = attention_mask[:, 1:]
    return F.cross_entropy(logits[:, :-1][keep].clamp(-1000, 1000), ids[:, 1:][keep])
""",
        "a number without a gradient": """
from torch.nn import functional as F
def next_token_loss(logits, ids, attention_mask):
    keep = attention_mask[:, 1:]
    return F.cross_entropy(logits[:, :-1][keep], ids[:, 1:][keep]).item()
""",
    },
    "too_good": {
        "large enough only for small vocabularies": """
import torch
def too_good(ids, V):
    return 13 * torch.eye(V)[ids]
""",
        "one token of the text overwritten": """
import torch
def too_good(ids, V):
    logits = torch.full((len(ids), V), -25.0)
    logits[torch.arange(len(ids)), ids] = 25.0
    ids[0] = 0
    return logits
""",
        "whole numbers": """
import torch
def too_good(ids, V):
    return (torch.arange(V)[None] == ids[:, None]).long() * 60
""",
    },
}

NAMED = {
    "layer_norm": {
        "gain and bias swapped": """
def layer_norm(x, gain, bias, eps):
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, correction=0)
    return bias * ((x - mean) / (variance + eps).sqrt()) + gain
""",
        "only the mean divided: a missing bracket": """
import torch
def layer_norm(x, gain, bias, eps):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return gain * (x - mean / torch.sqrt(variance + eps)) + bias
""",
    },
    "n_parameters": {
        "position embeddings in every block": """
def n_parameters(V, T, C, L, H, tied):
    block = T * C + 4 * (C * C + C) + (C * 4 * C + 4 * C) + (4 * C * C + C) + 2 * 2 * C
    return V * C + L * block + 2 * C + (0 if tied else V * C)
""",
    },
    "sinusoidal": {
        "the whole quotient raised to the power": """
import torch
def sinusoidal(T, C):
    out = torch.zeros(T, C)
    p = torch.arange(T).float()[:, None]
    i = torch.arange(C // 2).float()
    out[:, 0::2] = torch.sin((p / 10000) ** (2 * i / C))
    out[:, 1::2] = torch.cos((p / 10000) ** (2 * i / C))
    return out
""",
    },
    "block": {
        "a part called more than once": """
def block(x, attention, feed_forward, norm_1, norm_2):
    y = x + attention(norm_1(x))
    feed_forward(norm_2(y))
    return x + attention(norm_1(x)) + feed_forward(norm_2(x + attention(norm_1(x))))
""",
    },
    "next_token_loss": {
        "a small number inside the logarithm": """
import torch
def next_token_loss(logits, ids, attention_mask):
    p = torch.softmax(logits, dim=-1)[:, :-1]
    p = torch.gather(p, 2, ids[:, 1:, None]).squeeze(-1)
    m = attention_mask[:, 1:].float()
    return (-torch.log(p + 1e-8) * m).sum() / m.sum()
""",
        "cross_entropy of (B, T, V) without flattening": """
import torch.nn.functional as F
def next_token_loss(logits, ids, attention_mask):
    targets = ids[:, 1:].masked_fill(~attention_mask[:, 1:], -100)
    return F.cross_entropy(logits[:, :-1], targets)
""",
    },
}

RIGHT = {
    "layer_norm": {
        "rms_norm of the deviations": """
import torch
def layer_norm(x, gain, bias, eps):
    d = x - x.mean(-1, keepdim=True)
    return torch.nn.functional.rms_norm(d, (x.size(-1),), gain, eps) + bias
""",
        "standardized by matrix products, float64": """
import torch
def layer_norm(x, gain, bias, eps):
    C = x.size(-1)
    mean = x.double() @ torch.ones(C, C, dtype=torch.float64, device=x.device) / C
    variance = (x - mean).square() @ torch.ones(C, 1, dtype=torch.float64, device=x.device) / C
    return torch.addcmul(bias.double(), (x - mean) / torch.sqrt(variance + eps), gain.double())
""",
    },
    "n_parameters": {
        "a NumPy number": """
import numpy as np
def n_parameters(V, T, C, L, H, tied):
    sizes = np.array([V, 0 if tied else V, T, L * (12 * C + 13), 2], dtype=np.int64)
    return sizes.sum() * C
""",
    },
    "sinusoidal": {
        "the imaginary and the real part of one exponential, float32": """
import torch
def sinusoidal(T, C):
    angles = torch.arange(T)[:, None] * torch.exp(torch.arange(0, C, 2) * (-torch.log(torch.tensor(1e4)) / C))
    return torch.view_as_real(torch.exp(1j * angles)).flip(-1).flatten(-2)
""",
    },
    "block": {
        "a function for one half, called twice": """
def block(x, attention, feed_forward, norm_1, norm_2):
    def half(stream, norm, part):
        return stream + part(norm(stream))
    return half(half(x, norm_1, attention), norm_2, feed_forward)
""",
    },
    "next_token_loss": {
        "a categorical distribution": """
import torch
def next_token_loss(logits, ids, attention_mask):
    real = attention_mask[:, 1:]
    d = torch.distributions.Categorical(logits=logits[:, :-1][real])
    return -d.log_prob(ids[:, 1:][real]).mean()
""",
        "weights from the mask, log_softmax in float64": """
import torch
def next_token_loss(logits, ids, attention_mask):
    log_p = torch.log_softmax(logits.double(), -1)
    rows, places = attention_mask[:, 1:].nonzero(as_tuple=True)
    return -log_p[rows, places, ids[rows, places + 1]].mean()
""",
    },
    "too_good": {
        "a logarithm in half precision": """
import torch
def too_good(ids, V):
    logits = torch.full((ids.numel(), V), -40.0, dtype=torch.float16)
    return logits.scatter_(1, ids.view(-1, 1), 0.0)
""",
    },
}
