"""Scaled dot-product attention and the multi-head module around it.

Attention is a pure function of queries, keys, values and a mask ("Attention Is All You Need", section 3.2.1, eq. 1):

    attention(q, k, v) = softmax(q kᵀ / √D) v

It is implemented twice, with the same signature. `naive_attention` is the formula above, and also returns the weights.
`fused_attention` calls torch's kernel, which computes the same numbers without ever storing the (T, S) weights.
`MultiHeadAttention` adds the learned projections and, optionally, RoPE, QK-norm and a KV cache. This one module covers
self- and cross-attention, causal, padded, grouped-query and cached attention.

Dimensions: B batch, T query length, S key length, C d_model, H heads, Hkv key/value heads, D head size.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.nn.cache import LayerCache
from llmasos.nn.cpu import sdpa
from llmasos.nn.masks import causal_mask
from llmasos.nn.norms import RMSNorm
from llmasos.nn.positions import ALiBi, apply_rotary


def naive_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute attention exactly as the formula says, and return the weights too.

    Args:
        q: queries (B, H, T, D).
        k, v: keys and values (B, Hkv, S, D), where Hkv divides H; each serves H / Hkv query heads.
        mask: boolean, True = may attend, broadcastable to (B, H, T, S); None = everything may be attended to.
        causal: query t may only attend to keys 0 … t + S - T; combined with `mask`.
        dropout: probability of dropping a weight.
        bias: added to the scores before the softmax, broadcastable to (B, H, T, S) (ALiBi, T5's relative positions).
        scale: the factor applied to q kᵀ (None = 1 / √D).

    Returns:
        The output (B, H, T, D) and the weights before dropout (B, H, T, S). A query that may attend to nothing gets
        weights and output zero, not NaN.
    """
    k, v = repeat_kv(k, q.size(1)), repeat_kv(v, q.size(1))
    scores = q @ k.transpose(-2, -1)  # (B, H, T, S)
    scores = scores / math.sqrt(q.size(-1)) if scale is None else scores * scale
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if causal:
        causal_keys = causal_mask(q.size(2), k.size(2), q.device)
        mask = causal_keys if mask is None else mask & causal_keys
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:  # matters only for a row without any True, where softmax has spread the weight evenly
        weights = weights.masked_fill(~mask, 0.0)
    return F.dropout(weights, dropout) @ v, weights


def fused_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, None]:
    """Compute `naive_attention` with torch's fused kernel. It never stores the weights, so None takes their place."""
    k, v = repeat_kv(k, q.size(1)), repeat_kv(v, q.size(1))
    if causal and (
        mask is not None or bias is not None or q.size(2) != k.size(2)
    ):  # the kernel's own causal flag requires T = S and no other mask
        causal_keys = causal_mask(q.size(2), k.size(2), q.device)
        mask, causal = (causal_keys if mask is None else mask & causal_keys), False
    if mask is None:
        return sdpa(q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=causal, scale=scale), None
    # Kernels disagree on a query that may attend to nothing (zero, average or NaN, also in gradients).
    # So let such a query attend to every key, then zero its output.
    fully_masked = ~mask.any(dim=-1, keepdim=True)
    allowed = mask | fully_masked
    if bias is not None:  # the kernel takes a mask or a bias, not both: hidden keys get the bias -inf
        allowed = bias.masked_fill(~allowed, -math.inf)
    return sdpa(q, k, v, attn_mask=allowed, dropout_p=dropout, scale=scale).masked_fill(fully_masked, 0.0), None


def repeat_kv(x: Tensor, n_heads: int) -> Tensor:
    """Repeat each of Hkv key/value heads for its group of query heads: (B, Hkv, S, D) → (B, H, S, D).

    Grouped-query attention (Ainslie et al. 2023): Hkv = H is ordinary attention, Hkv = 1 is multi-query attention.
    """
    return x if x.size(1) == n_heads else x.repeat_interleave(n_heads // x.size(1), dim=1)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(B, T, heads·D) → (B, heads, T, D). Each head gets D consecutive features."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


class MultiHeadAttention(nn.Module):
    """Run H attention heads in parallel, each with its own queries, keys and values of D features.

    Args:
        d_model: C, the width of inputs and outputs.
        n_heads: H, which must divide d_model unless head_size is given.
        n_kv_heads: Hkv, the number of key/value heads (None = H).
        bias: whether the four projections have a bias.
        dropout: probability of dropping an attention weight in training.
        fused: use torch's kernel; False computes the formula above (same numbers, slower).
        head_size: D (None = C / H).
        qkv_bias: whether the projections to queries, keys and values have a bias (None = bias).
        qk_norm_eps: if given, each head's queries and keys are normalized before RoPE and the dot product (Dehghani et
            al. 2023, section 2; Qwen3): no score can then exceed what the norm's weights allow.
        alibi: whether self-attention scores decrease with distance (see `positions.ALiBi`).
        scale: the factor applied to q kᵀ (None = 1 / √D).
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
        alibi: bool = False,
        scale: float | None = None,
    ):
        super().__init__()
        if head_size is None and d_model % n_heads:
            raise UserError(f"d_model {d_model} cannot be split among {n_heads} heads: n_heads must divide d_model.")
        if n_kv_heads is not None and n_heads % n_kv_heads:
            raise UserError(
                f"{n_heads} query heads cannot share {n_kv_heads} kv heads: n_kv_heads must divide n_heads."
            )
        self.n_heads, self.n_kv_heads, self.head_size = n_heads, n_kv_heads or n_heads, head_size or d_model // n_heads
        self.dropout, self.fused, self.scale = dropout, fused, scale
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.q_proj = nn.Linear(d_model, self.n_heads * self.head_size, bias=qkv_bias)
        self.k_proj = nn.Linear(d_model, self.n_kv_heads * self.head_size, bias=qkv_bias)
        self.v_proj = nn.Linear(d_model, self.n_kv_heads * self.head_size, bias=qkv_bias)
        self.q_norm = nn.Identity() if qk_norm_eps is None else RMSNorm(self.head_size, qk_norm_eps, fused)
        self.k_norm = nn.Identity() if qk_norm_eps is None else RMSNorm(self.head_size, qk_norm_eps, fused)
        self.out_proj = nn.Linear(self.n_heads * self.head_size, d_model, bias=bias)
        self.alibi = ALiBi(n_heads) if alibi else None
        self.recorded_weights: list[Tensor] | None = None  # a list here collects the weights (B, H, T, S) of every call

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        rotary: tuple[Tensor, Tensor] | None = None,
        cache: LayerCache | None = None,
        memory: Tensor | None = None,
        memory_kv: tuple[Tensor, Tensor] | None = None,
        token_values: Tensor | None = None,
        position_bias: Tensor | None = None,
    ) -> Tensor:
        """Let each position of `x` attend to `x` itself or, for cross-attention, to an encoder's output.

        Args:
            x: (B, T, C).
            mask, causal: see `naive_attention`.
            rotary: cos and sin for the positions of x (see `positions.RotaryEmbedding`), applied to queries and keys.
            cache: keys and values of earlier positions; those of x are added to it (see `cache.LayerCache`).
            memory: the encoder's output (B, S, C), for cross-attention.
            memory_kv: the precomputed `keys_values` of the encoder's output, in place of `memory`.
            token_values: (B, S, Hkv·D), added to the values (see `ModelConfig.value_embeddings`).
            position_bias: added to the scores, broadcastable to (B, H, T, S) (see `positions.RelativePositionBias`).

        Returns:
            (B, T, C).
        """
        q = self.q_norm(split_heads(self.q_proj(x), self.n_heads))  # (B, H, T, D)
        if rotary is not None:
            q = apply_rotary(q, *rotary)
        k, v = memory_kv or self.keys_values(x if memory is None else memory, rotary, token_values)  # (B, Hkv, S, D)
        if cache is not None:
            k, v = cache.update(k, v)

        bias = position_bias
        if self.alibi is not None:
            positions = torch.arange(x.size(1), device=x.device)[None] if cache is None else cache.positions
            bias = self.alibi(positions, k.size(2))

        attend = fused_attention if self.fused and self.recorded_weights is None else naive_attention
        out, weights = attend(q, k, v, mask, causal, self.dropout if self.training else 0.0, bias, self.scale)
        if self.recorded_weights is not None:
            self.recorded_weights.append(weights.detach())
        return self.out_proj(out.transpose(1, 2).flatten(2))  # concatenate the heads: (B, T, H·D) → (B, T, C)

    def keys_values(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None = None, token_values: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Project x (B, S, C) to keys and values (B, Hkv, S, D), the part of attention that a cache can keep."""
        k = self.k_norm(split_heads(self.k_proj(x), self.n_kv_heads))
        v = self.v_proj(x) if token_values is None else self.v_proj(x) + token_values
        return (k if rotary is None else apply_rotary(k, *rotary)), split_heads(v, self.n_kv_heads)
