"""Scaled dot-product attention and the multi-head module around it.

Attention is a pure function of queries, keys, values and a mask ("Attention Is All You Need", section 3.2.1, eq. 1):

    attention(q, k, v) = softmax(q kᵀ / √D) v

It stands here twice with one signature: `explicit_attention` is the formula as it is written above and also gives the
weights; `fused_attention` asks torch's kernel for the same numbers without ever holding the (T, S) weights in memory.
`MultiHeadAttention` only projects: into heads before, out of heads after. Self- and cross-attention, causal and padded,
grouped-query, rotary and cached are all this one module.

Dimensions: B batch, T query length, S key length, C d_model, H heads, Hkv key/value heads, D head size.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.nn.cache import LayerCache
from llmasos.nn.linear import Linear
from llmasos.nn.masks import causal_mask
from llmasos.nn.norms import RMSNorm
from llmasos.nn.positions import apply_rotary


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Attention as the formula says it.

    Args:
        q: queries (B, H, T, D).
        k, v: keys and values (B, Hkv, S, D), where Hkv divides H; each serves H / Hkv query heads.
        mask: boolean, True = may attend, broadcastable to (B, H, T, S); None = everything may be attended to.
        causal: query t sees keys 0 … t + S - T only, on top of `mask`.
        dropout: probability with which a weight is dropped.

    Returns:
        The output (B, H, T, D) and the weights before dropout (B, H, T, S). A query that may attend to nothing gets
        weights and output zero, not NaN.
    """
    k, v = repeat_kv(k, q.size(1)), repeat_kv(v, q.size(1))
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B, H, T, S)
    if causal:
        lower = causal_mask(q.size(2), k.size(2), q.device)
        mask = lower if mask is None else mask & lower
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:  # only matters for a row without any True, where softmax has spread the weight evenly
        weights = weights.masked_fill(~mask, 0.0)
    return F.dropout(weights, dropout) @ v, weights


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """`explicit_attention` by torch's fused kernel, which never stores the weights: they come back as None."""
    k, v = repeat_kv(k, q.size(1)), repeat_kv(v, q.size(1))
    if causal and (mask is not None or q.size(2) != k.size(2)):  # the kernel's own flag is for a bare square only
        lower = causal_mask(q.size(2), k.size(2), q.device)
        mask, causal = (lower if mask is None else mask & lower), False
    if mask is None:
        return sdpa(q, k, v, dropout_p=dropout, is_causal=causal), None
    # Kernels differ on a row without any True (zero, average or NaN, also in gradients): it sees all, then is zeroed.
    blind = ~mask.any(dim=-1, keepdim=True)
    return sdpa(q, k, v, attn_mask=mask | blind, dropout_p=dropout).masked_fill(blind, 0.0), None


def sdpa(q: Tensor, k: Tensor, v: Tensor, **options) -> Tensor:
    """torch's kernel; on a CPU always in float32, because there its bfloat16 backward pass is several times slower."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, **options)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), **options).to(q.dtype)


def repeat_kv(x: Tensor, n_heads: int) -> Tensor:
    """Repeat each of Hkv key/value heads for its group of query heads: (B, Hkv, S, D) → (B, H, S, D).

    Grouped-query attention (Ainslie et al. 2023): Hkv = H is ordinary attention, Hkv = 1 is multi-query attention.
    """
    return x if x.size(1) == n_heads else x.repeat_interleave(n_heads // x.size(1), dim=1)


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each with queries, keys and values of its own, D numbers wide.

    Args:
        d_model: C, the width of inputs and outputs.
        n_heads: H, which must divide d_model if head_size does not say otherwise.
        n_kv_heads: Hkv, the number of key/value heads (None = H).
        bias: whether the four projections have a bias.
        dropout: probability with which an attention weight is dropped in training.
        fused: use torch's kernel; False runs the formula above (same numbers, slower).
        head_size: D (None = C / H).
        qkv_bias: whether the projections to queries, keys and values have a bias (None = bias).
        qk_norm_eps: if given, each head's queries and keys are normalised before they are turned and meet (Dehghani et
            al. 2023, section 2; Qwen3): no score can then exceed what the norm's weights allow.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        fused: bool = True,
        head_size: int | None = None,
        qkv_bias: bool | None = None,
        qk_norm_eps: float | None = None,
    ):
        super().__init__()
        if head_size is None and d_model % n_heads:
            raise UserError(f"d_model {d_model} cannot be split among {n_heads} heads: n_heads must divide d_model.")
        if n_kv_heads is not None and n_heads % n_kv_heads:
            raise UserError(f"{n_heads} query heads cannot share {n_kv_heads} kv heads: n_kv_heads must divide them.")
        self.n_heads, self.n_kv_heads, self.head_size = n_heads, n_kv_heads or n_heads, head_size or d_model // n_heads
        self.dropout, self.fused = dropout, fused
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.q_proj = Linear(d_model, n_heads * self.head_size, bias=qkv_bias)
        self.k_proj = Linear(d_model, self.n_kv_heads * self.head_size, bias=qkv_bias)
        self.v_proj = Linear(d_model, self.n_kv_heads * self.head_size, bias=qkv_bias)
        normed = qk_norm_eps is not None
        self.q_norm = RMSNorm(self.head_size, qk_norm_eps, fused) if normed else nn.Identity()
        self.k_norm = RMSNorm(self.head_size, qk_norm_eps, fused) if normed else nn.Identity()
        self.out_proj = Linear(n_heads * self.head_size, d_model, bias=bias)
        self.recorded_weights: list[Tensor] | None = None  # a list here receives the weights (B, H, T, S) of every call

    def forward(
        self,
        x: Tensor,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        rotary: tuple[Tensor, Tensor] | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Let each position of `x` gather from the positions of `context`.

        Args:
            x: (B, T, C), where the queries come from.
            context: (B, S, C), where keys and values come from; None = x itself (self-attention). A context that stays
                the same call after call can be given as its `keys_values`, computed once.
            mask, causal: see `explicit_attention`.
            rotary: cos and sin for the positions of x (see `positions.Rotary`), turned into queries and keys.
            cache: keys and values of earlier positions; those of x are added to it (see `cache.LayerCache`).

        Returns:
            (B, T, C).
        """
        q = self.q_norm(self.split_heads(self.q_proj(x), self.n_heads))  # (B, H, T, D)
        if isinstance(context, tuple):
            k, v = context
        else:
            k, v = self.keys_values(x if context is None else context, rotary)  # (B, Hkv, S, D)
        if rotary is not None:
            q = apply_rotary(q, *rotary)
        if cache is not None:
            k, v = cache.update(k, v)
        attend = fused_attention if self.fused and self.recorded_weights is None else explicit_attention
        out, weights = attend(q, k, v, mask, causal, self.dropout if self.training else 0.0)  # (B, H, T, D)
        if self.recorded_weights is not None:
            self.recorded_weights.append(weights.detach())
        return self.out_proj(out.transpose(1, 2).flatten(2))  # heads side by side again: (B, T, H·D) → (B, T, C)

    def keys_values(self, context: Tensor, rotary: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values (B, Hkv, S, D) of a context (B, S, C): all that attention ever needs to know of it."""
        k, v = (self.split_heads(project(context), self.n_kv_heads) for project in (self.k_proj, self.v_proj))
        k = self.k_norm(k)
        return (k if rotary is None else apply_rotary(k, *rotary)), v

    def split_heads(self, x: Tensor, n_heads: int) -> Tensor:
        """(B, T, heads·D) → (B, heads, T, D). Each head owns a run of D neighbouring features."""
        B, T, _ = x.shape
        return x.view(B, T, n_heads, self.head_size).transpose(1, 2)
