"""Encoder and decoder blocks: attention and feed-forward, each inside a residual connection with a norm.

`EncoderBlock` attends in both directions (BERT, the encoder of a translator). `DecoderBlock` attends only to earlier
positions (GPT) and, with cross-attention, to an encoder's output (the decoder of a translator).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from llmasos.nn.attention import MultiHeadAttention
from llmasos.nn.cache import LayerCache
from llmasos.nn.experts import MixtureOfExperts
from llmasos.nn.feed_forward import FeedForward, SwiGLU
from llmasos.nn.norms import LayerNorm, RMSNorm

if TYPE_CHECKING:
    from llmasos.models.config import ModelConfig


class Residual(nn.Module):
    """A residual connection (He et al. 2015) around any function of the residual stream (B, T, C).

    Pre-norm:  x + dropout(f(norm(x)))   — the stream itself is never normalized, so deep stacks train easily (GPT-2).
    Post-norm: norm(x + dropout(f(x)))   — the original order ("Attention Is All You Need", section 5.4; BERT).
    Sandwich:  x + dropout(norm₂(f(norm(x))))   — pre-norm with normalized updates (Ding et al. 2021; Gemma 3).
    """

    def __init__(
        self, norm: nn.Module, dropout: float = 0.0, pre_norm: bool = True, output_norm: nn.Module | None = None
    ):
        super().__init__()
        self.norm, self.dropout, self.pre_norm, self.output_norm = norm, nn.Dropout(dropout), pre_norm, output_norm

    def forward(self, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre_norm:
            return x + self.update(x, f)
        return self.norm(x + self.dropout(f(x)))

    def update(self, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute the update that pre-norm adds to the stream."""
        y = f(self.norm(x))
        return self.dropout(y if self.output_norm is None else self.output_norm(y))


class EncoderBlock(nn.Module):
    """Self-attention in both directions, then feed-forward: (B, T, C) → (B, T, C)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention, self.attention_residual = make_attention(config), make_residual(config)
        self.feed_forward, self.feed_forward_residual = make_feed_forward(config), make_residual(config)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        x = self.attention_residual(x, lambda h: self.attention(h, mask, rotary=rotary, position_bias=position_bias))
        return self.feed_forward_residual(x, self.feed_forward)


class DecoderBlock(nn.Module):
    """Causal self-attention, then (if `cross_attention`) attention to an encoder's output, then feed-forward."""

    def __init__(self, config: ModelConfig, cross_attention: bool = False):
        super().__init__()
        self.parallel_residual = config.parallel_residual
        self.attention, self.attention_residual = make_attention(config), make_residual(config)
        if cross_attention:
            self.cross_attention, self.cross_attention_residual = make_attention(config), make_residual(config)
        self.feed_forward, self.feed_forward_residual = make_feed_forward(config), make_residual(config)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        cache: LayerCache | None = None,
        memory: Tensor | None = None,
        memory_kv: tuple[Tensor, Tensor] | None = None,
        memory_mask: Tensor | None = None,
        token_values: Tensor | None = None,
        position_bias: Tensor | None = None,
    ) -> Tensor:
        """(B, T, C) → (B, T, C).

        Args:
            x: the residual stream (B, T, C).
            mask: which keys may be attended to, in addition to causality. With a cache the mask itself must be causal
                (`masks.cached_causal_mask`), because then the queries may be at any position.
            rotary: cos and sin of the positions of x, or None.
            cache: this layer's earlier keys and values, or None.
            memory: the encoder's output (B, S, C), or None.
            memory_kv: this layer's keys and values of `memory` (`cross_attention.keys_values(memory)`), in its place:
                computed once and used at every decoding step.
            memory_mask: (B, 1, 1, S), True where the source has a real token.
            token_values: (B, T, Hkv·D), added to the values of the self-attention, or None.
            position_bias: added to the scores of the self-attention, broadcastable to (B, H, T, S), or None.
        """

        def attend(h: Tensor) -> Tensor:
            return self.attention(
                h, mask, cache is None, rotary, cache, token_values=token_values, position_bias=position_bias
            )

        if self.parallel_residual:  # both read the same stream (Wang & Komatsuzaki 2021, GPT-J; GPT-NeoX)
            return (
                x + self.attention_residual.update(x, attend) + self.feed_forward_residual.update(x, self.feed_forward)
            )
        x = self.attention_residual(x, attend)
        if memory is not None or memory_kv is not None:
            x = self.cross_attention_residual(
                x, lambda h: self.cross_attention(h, memory_mask, memory=memory, memory_kv=memory_kv)
            )
        return self.feed_forward_residual(x, self.feed_forward)


def make_attention(config: ModelConfig) -> MultiHeadAttention:
    """Build the attention module that a config describes."""
    return MultiHeadAttention(
        d_model=config.d_model,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        bias=config.bias,
        dropout=config.dropout,
        fused=config.fused,
        head_size=config.head_size,
        qkv_bias=config.qkv_bias,
        qk_norm_eps=config.norm_eps if config.qk_norm else None,
        alibi=config.positions == "alibi",
        scale=config.attention_scale,
    )


def make_feed_forward(config: ModelConfig) -> FeedForward | SwiGLU | MixtureOfExperts:
    """Build the feed-forward layer that a config describes, or a mixture of experts if it has experts."""
    if config.n_experts == 1:
        return make_expert(config)
    experts = (make_expert(config) for _ in range(config.n_experts))
    return MixtureOfExperts(experts, config.d_model, config.n_active_experts, config.capacity_factor)


def make_expert(config: ModelConfig) -> FeedForward | SwiGLU:
    """Build a single feed-forward layer."""
    if config.gate is not None:
        return SwiGLU(config.d_model, config.d_ff, config.bias, config.gate, config.fused)
    return FeedForward(config.d_model, config.d_ff, config.activation, config.bias, config.fused)


def make_norm(config: ModelConfig) -> LayerNorm | RMSNorm:
    """Build the norm that a config describes."""
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, config.norm_eps, config.fused)
    return LayerNorm(config.d_model, config.norm_eps, config.bias, config.fused)


def make_final_norm(config: ModelConfig) -> nn.Module:
    """Build the norm after the last block: pre-norm needs one, post-norm blocks already end with one."""
    return nn.Identity() if config.norm_position == "post" else make_norm(config)


def make_residual(config: ModelConfig) -> Residual:
    """Build the residual connection that a config describes, including its norms."""
    output_norm = make_norm(config) if config.norm_position == "sandwich" else None
    return Residual(make_norm(config), config.dropout, config.norm_position != "post", output_norm)
