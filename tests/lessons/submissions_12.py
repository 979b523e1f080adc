"""Judged solutions of lesson 12; see test_wrong_and_right.py."""

WRONG = {
    "window_mask": {
        "no window for texts of one window": """
import torch
def window_mask(T, W):
    mask = torch.ones(T, T).tril()
    return (mask if T <= W + 1 else mask - mask.tril(-W)).bool()
""",
        "whole numbers instead of booleans": """
import torch
def window_mask(T, W):
    d = torch.arange(T)[:, None] - torch.arange(T)
    return ((d >= 0) & (d < W)).int()
""",
        "with a dimension for the heads": """
import torch
def window_mask(T, W):
    d = torch.arange(T)[:, None] - torch.arange(T)
    return ((d >= 0) & (d < W))[None]
""",
    },
    "repeat_kv": {
        "heads of different texts mixed": """
def repeat_kv(x, H):
    B, n, S, D = x.shape
    return x.reshape(B * n, S, D).repeat(H // n, 1, 1).reshape(B, H, S, D)
""",
        "a view that must be contiguous": """
def repeat_kv(x, H):
    B, n, S, D = x.shape
    return x.view(B, n, 1, S, D).expand(B, n, H // n, S, D).reshape(B, H, S, D) if x.is_contiguous() else x
""",
        "right for groups of two": """
def repeat_kv(x, H):
    return x if x.size(1) == H else x.repeat_interleave(2, dim=1)
""",
    },
    "rotate": {
        "half precision in between": """
import torch
def rotate(x, positions, base):
    D = x.size(1)
    angles = (positions[:, None] * base ** (-torch.arange(0, D, 2) / D)).half().float()
    a, b = x.chunk(2, -1)
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)
""",
        "the sign of the second sine": """
import torch
def rotate(x, positions, base):
    D = x.size(1)
    angles = positions[:, None] * base ** (-torch.arange(0, D, 2) / D)
    a, b = x.chunk(2, -1)
    return torch.cat((a * angles.cos() + b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)
""",
        "the first position is subtracted": """
import torch
def rotate(x, positions, base):
    D = x.size(1)
    if len(positions):
        positions = positions - positions[0]
    angles = positions[:, None] * base ** (-torch.arange(0, D, 2) / D)
    a, b = x.chunk(2, -1)
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)
""",
    },
    "scaled_frequencies": {
        "exact only for large heads": """
import torch
def scaled_frequencies(D, base, factor, method):
    if method == "ntk":
        base, factor = base * factor ** (1 + 2 / D), 1.0
    return base ** (-torch.arange(0, D, 2) / D) / factor
""",
        "a list": """
def scaled_frequencies(D, base, factor, method):
    if method == "ntk":
        base, factor = base * factor ** (D / (D - 2)), 1.0
    return [base ** (-2 * i / D) / factor for i in range(D // 2)]
""",
        "both halves": """
import torch
def scaled_frequencies(D, base, factor, method):
    if method == "ntk":
        base, factor = base * factor ** (D / (D - 2)), 1.0
    return (base ** (-torch.arange(0, D, 2) / D) / factor).repeat(2)
""",
    },
    "alibi_bias": {
        "(T, T, H)": """
import torch
def alibi_bias(H, T):
    d = torch.arange(T)[:, None] - torch.arange(T)
    bias = -(2.0 ** (-8.0 * torch.arange(1, H + 1) / H))[:, None, None] * d
    return bias.masked_fill(d < 0, -torch.inf).permute(1, 2, 0)
""",
        "whole exponents only": """
import torch
def alibi_bias(H, T):
    d = torch.arange(T)[:, None] - torch.arange(T)
    bias = -(2.0 ** -(8 * torch.arange(1, H + 1) // H))[:, None, None] * d
    return bias.masked_fill(d < 0, -torch.inf)
""",
        "the distance is squared": """
import torch
def alibi_bias(H, T):
    d = torch.arange(T)[:, None] - torch.arange(T)
    bias = -(2.0 ** (-8.0 * torch.arange(1, H + 1) / H))[:, None, None] * d**2
    return bias.masked_fill(d < 0, -torch.inf)
""",
    },
    "cache_bytes": {
        "a window of the whole text is no window": """
def cache_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None or window >= S - 1 else window
    return L * kept * (sum(latent) if latent else 2 * Hkv * D) * size
""",
        "a floating-point number": """
def cache_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None else min(S, window)
    return L * kept * (sum(latent) if latent else 2 * Hkv * D) * size / 8 * 8
""",
        "always 16 bits": """
def cache_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None else min(S, window)
    return L * kept * (sum(latent) if latent else 2 * Hkv * D) * 2
""",
        "the larger of the two": """
def cache_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None else min(S, window)
    return L * kept * (max(latent) if latent else 2 * Hkv * D) * size
""",
    },
    "stale_key": {
        "a slow plane": """
import torch
def stale_key():
    x = torch.zeros(32)
    x[12] = 1
    return x, x, 47, 200, 48, 480
""",
        "numbers in tensors": """
import torch
def stale_key():
    x = torch.zeros(32)
    x[4] = 1
    return x, x, torch.tensor(47), torch.tensor(154), torch.tensor(48), torch.tensor(480)
""",
    },
}

RIGHT = {
    "window_mask": {
        "a difference of triangles": """
import torch
def window_mask(T, W):
    ones = torch.ones(T, T, dtype=torch.bool)
    return ones.tril() & ~ones.tril(-W)
""",
        "by a list of lists": """
import torch
def window_mask(T, W):
    return torch.tensor([[0 <= t - s < W for s in range(T)] for t in range(T)])
""",
    },
    "repeat_kv": {
        "by a one-hot matrix": """
import torch
def repeat_kv(x, H):
    n = x.size(1)
    which = (torch.arange(H)[:, None] // (H // n) == torch.arange(n)).to(x.dtype)
    return torch.einsum("hn,bnsd->bhsd", which, x)
""",
        "concatenated": """
import torch
def repeat_kv(x, H):
    n = x.size(1)
    return torch.cat([x[:, [h // (H // n)]] for h in range(H)], dim=1)
""",
    },
    "rotate": {
        "in double precision": """
import torch
def rotate(x, positions, base):
    D = x.size(1)
    angles = positions[:, None] * base ** (-torch.arange(0, D, 2).double() / D)
    a, b = x.double().chunk(2, -1)
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)
""",
        "a matrix for each position": """
import torch
def rotate(x, positions, base):
    D, rows = x.size(1), []
    for row, p in zip(x, positions.tolist()):
        angles = p * base ** (-torch.arange(0, D, 2).double() / D)
        c, s = torch.diag(angles.cos()), torch.diag(angles.sin())
        R = torch.cat((torch.cat((c, -s), 1), torch.cat((s, c), 1)), 0).float()
        rows.append(R @ row)
    return torch.stack(rows) if rows else x
""",
        "frequencies by exp and log": """
import math
import torch
def rotate(x, positions, base):
    half = x.size(1) // 2
    angles = positions[:, None] * torch.exp(-math.log(base) * torch.arange(half) / half)
    a, b = x[:, :half], x[:, half:]
    return torch.hstack((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()))
""",
    },
    "scaled_frequencies": {
        "a ratio between planes": """
import torch
def scaled_frequencies(D, base, factor, method):
    last = base ** (-(D - 2) / D) / factor
    first = 1 / factor if method == "linear" else 1.0
    n = D // 2
    return torch.tensor([first * (last / first) ** (i / (n - 1)) for i in range(n)])
""",
    },
    "alibi_bias": {
        "slopes multiplied up": """
import math
import torch
def alibi_bias(H, T):
    out, m = torch.full((H, T, T), -math.inf), 1.0
    for h in range(H):
        m = m * 2 ** (-8 / H)
        for t in range(T):
            for s in range(t + 1):
                out[h, t, s] = -m * (t - s)
    return out
""",
    },
    "cache_bytes": {
        "step by step": """
def cache_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    if window is not None and S > window:
        S = window
    if latent is not None:
        N, R = latent
        return L * S * N * size + L * S * R * size
    keys = L * Hkv * S * D * size
    return keys + keys
""",
    },
    "stale_key": {
        "found by search": """
import torch
def stale_key():
    D, best, where = 16, 0.0, None
    f = lambda n, i: (10000.0 * max(1, n / 48) ** (D / (D - 2))) ** (-2 * i / D)
    for i in range(1, D // 2):
        for t in range(60, 480, 7):
            off = abs(torch.cos(torch.tensor(t * f(480, i) - 40 * f(48, i)))
                      - torch.cos(torch.tensor((t - 40) * f(480, i)))).item()
            if off > best:
                best, where = off, (i, t)
    x = torch.zeros(D)
    x[where[0]] = 1.0
    return x, x, 40, where[1], 48, 480
""",
    },
}

NAMED = {
    "window_mask": {
        "one token too many": """
import torch
def window_mask(T, W):
    return torch.tensor([[t - W <= s <= t for s in range(T)] for t in range(T)])
""",
    },
    "repeat_kv": {
        "all heads once, then all again": """
import torch
def repeat_kv(x, H):
    return torch.cat([x] * (H // x.size(1)), dim=1)
""",
    },
    "rotate": {
        "neighboring features": """
import torch
def rotate(x, positions, base):
    D, out = x.size(1), torch.empty_like(x)
    angles = positions[:, None] * base ** (-torch.arange(0, D, 2) / D)
    out[:, ::2] = x[:, ::2] * angles.cos() - x[:, 1::2] * angles.sin()
    out[:, 1::2] = x[:, ::2] * angles.sin() + x[:, 1::2] * angles.cos()
    return out
""",
    },
    "scaled_frequencies": {
        "ntk: the base grows by the factor": """
import torch
def scaled_frequencies(D, base, factor, method):
    i = torch.arange(D // 2)
    return (base * factor) ** (-2 * i / D) if method == "ntk" else base ** (-2 * i / D) / factor
""",
    },
    "alibi_bias": {
        "slopes for eight heads, whatever H is": """
import torch
def alibi_bias(H, T):
    d = torch.arange(T)[:, None] - torch.arange(T)
    return torch.stack([(-d * 0.5**h).masked_fill(d < 0, -torch.inf) for h in range(1, H + 1)])
""",
    },
    "cache_bytes": {
        "latent vectors for each head": """
def cache_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None else min(S, window)
    return L * kept * Hkv * (2 * D if latent is None else sum(latent)) * size
""",
    },
    "stale_key": {
        "vectors that are too long": """
import torch
def stale_key():
    return torch.ones(32), torch.ones(32), 47, 154, 48, 480
""",
    },
}
