"""Judged solutions of lesson 03; see test_wrong_and_right.py."""

ATTENTION = """
def attention(q, k, v, mask=None):
    scores = q @ k.mT * q.size(-1) ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), {hidden})
    return scores.softmax({dim}) @ v
"""
WITH_MASK = """
def attention(q, k, v, mask=None):
    scores = q @ k.mT * q.size(-1) ** -0.5
    if mask is not None:
        {mask}
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v
"""
HEADS = """
import torch
MASK = torch.ones(16, 16).tril().bool()
def multi_head_attention(x, w_q, w_k, w_v, w_o, n_heads):
    B, T, C = x.shape
    q, k, v = ((x @ w.T).view(B, T, n_heads, {D}).transpose(1, 2) for w in (w_q, w_k, w_v))
    s = (q @ k.mT / q.size(-1) ** 0.5).masked_fill(~{mask}, float("-inf"))
    return (s.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C) @ w_o.T
"""
BY_HEADS = """
import torch
def multi_head_attention(x, w_q, w_k, w_v, w_o, n_heads):
    B, T, C = x.shape
    q, k, v = (torch.einsum("btc,hdc->bhtd", x, w.{view}(n_heads, C // n_heads, C)) for w in (w_q, w_k, w_v))
    s = (q @ k.mT / q.size(-1) ** 0.5).masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
    return (s.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C) @ w_o.T
"""
SQUARE = "torch.ones(T, T).tril().bool()"

WRONG = {
    "average_past": {
        "relies on the layout": """
def average_past(x):
    flat = x.view(x.size(0), -1).view(x.shape)
    out = [flat[:, : t + 1].mean(1) for t in range(x.size(1))]
    import torch
    return torch.stack(out, 1)
""",
        "half precision inside": """
import torch
def average_past(x):
    counts = torch.arange(1, x.size(1) + 1)[:, None]
    return (x.half().cumsum(1) / counts).float()
""",
        "sixteen divisors": """
import torch
def average_past(x):
    return x.cumsum(1) / torch.arange(1, 17)[: x.size(1), None]
""",
    },
    "causal_mask": {
        "numbers instead of booleans": """
import torch
def causal_mask(T, S):
    return torch.ones(T, S).tril(S - T)
""",
        "a table of 64 positions": """
import torch
TABLE = torch.ones(64, 64).tril().bool()
def causal_mask(T, S):
    return TABLE[S - T : S, :S]
""",
    },
    "attention": {
        "a mask of three dimensions belongs to the texts": """
def attention(q, k, v, mask=None):
    s = q @ k.mT / q.size(-1) ** 0.5
    if mask is not None:
        if mask.dim() == 3: mask = mask[:, None]
        s = s.masked_fill(~mask, float("-inf"))
    return s.softmax(-1) @ v
""",
        "hidden scores of only -15": ATTENTION.format(hidden="-15.0", dim="-1"),
        "hidden scores of only -50": ATTENTION.format(hidden="-50.0", dim="-1"),
        "the first query's mask for all": WITH_MASK.format(mask="mask = mask[..., :1, :] if mask.dim() > 1 else mask"),
        "the first head's mask for all": WITH_MASK.format(
            mask="mask = mask[..., :1, :, :] if mask.dim() > 2 else mask"
        ),
        "the first text's mask for all": WITH_MASK.format(mask="mask = mask[:1] if mask.dim() == 4 else mask"),
        "a mask needs two dimensions or more": WITH_MASK.format(mask="T, S = mask.shape[-2:]"),
        "a mask changed in place": WITH_MASK.format(mask="mask.logical_not_().logical_not_(); mask[..., 0] |= True"),
        "relies on the layout": """
def attention(q, k, v, mask=None):
    B, H, T, D = q.shape
    scores = (q.view(B * H, T, D) @ k.view(B * H, -1, D).mT).view(B, H, T, -1) / D**0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v
""",
    },
    "multi_head_attention": {
        "a mask of sixteen positions": HEADS.format(D="-1", mask="MASK[:T, :T]"),
        "two features for each head": HEADS.format(D="2", mask=SQUARE),
        "relies on the layout of the weights": BY_HEADS.format(view="view(-1).view"),
    },
    "same_to_attention": {
        "nearly the same sequences": """
import torch
def same_to_attention():
    a = torch.tensor([[0.0, 0.0], [0.4, 0.0], [1.0, 1.0]])
    return a, a[[1, 0, 2]]
""",
        "another last vector": """
import torch
def same_to_attention():
    a = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    return a, a[[0, 2, 1]]
""",
    },
}
RIGHT = {
    "average_past": {
        "a running mean": """
import torch
def average_past(x):
    mean, out = torch.zeros_like(x[:, 0]), []
    for t, row in enumerate(x.unbind(1), 1):
        mean = mean + (row - mean) / t
        out.append(mean)
    return torch.stack(out, 1)
""",
    },
    "causal_mask": {
        "differences of positions": """
import torch
def causal_mask(T, S):
    return (torch.arange(T)[:, None] - torch.arange(S) + S).ge(T)
""",
    },
    "attention": {
        "as the formula": ATTENTION.format(hidden="float('-inf')", dim="-1"),
        "-1e9 instead of infinity": ATTENTION.format(hidden="-1e9", dim="-1"),
        "the logarithm of the mask": """
def attention(q, k, v, mask=None):
    scores = q @ k.mT / q.size(-1) ** 0.5
    return (scores if mask is None else scores + mask.float().log()).softmax(-1) @ v
""",
    },
    "multi_head_attention": {
        "a module class, heads in a list, vmap": """
import torch
def head(x, q, k, v):
    T = x.size(0)
    s = (x @ q.T) @ (x @ k.T).T / q.size(0) ** 0.5
    return (s + torch.full((T, T), float("-inf")).triu(1)).softmax(-1) @ (x @ v.T)
def multi_head_attention(x, w_q, w_k, w_v, w_o, n_heads):
    parts = zip(*(w.chunk(n_heads) for w in (w_q, w_k, w_v)))
    return torch.cat([torch.vmap(head, in_dims=(0, None, None, None))(x, *p) for p in parts], -1) @ w_o.T
""",
        "the weights split into heads": BY_HEADS.format(view="reshape"),
    },
}
NAMED = {
    "attention": {
        "softmax over the batch": ATTENTION.format(hidden="float('-inf')", dim="0"),
        "hidden keys keep a little weight": ATTENTION.format(hidden="-20.0", dim="-1"),
    },
    "multi_head_attention": {"a mask of fixed size": HEADS.format(D="-1", mask="MASK[:T, :T]")},
}
