"""Encoder and decoder blocks: attention and feed-forward, each inside a residual connection with a norm.

`EncoderBlock` looks both ways (BERT, the encoder of a translator). `DecoderBlock` looks back only and, if asked, across
at an encoder's output (GPT without that, the decoder of a translator with it).
"""

from collections.abc import Callable

from torch import Tensor, nn

from llmasos.nn.attention import MultiHeadAttention
from llmasos.nn.cache import LayerCache
from llmasos.nn.feed_forward import FeedForward, SwiGLU
from llmasos.nn.norms import LayerNorm, RMSNorm


class Residual(nn.Module):
    """A residual connection (He et al. 2015) around any function of the residual stream (B, T, C).

    Pre-norm:  x + dropout(f(norm(x)))   — the stream is never squeezed, so deep stacks train easily (GPT-2, Llama).
    Post-norm: norm(x + dropout(f(x)))   — the original order ("Attention Is All You Need", section 5.4; BERT).
    """

    def __init__(self, norm: nn.Module, dropout: float = 0.0, pre_norm: bool = True):
        super().__init__()
        self.norm, self.dropout, self.pre_norm = norm, nn.Dropout(dropout), pre_norm

    def forward(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(function(self.norm(x)))
        return self.norm(x + self.dropout(function(x)))


class EncoderBlock(nn.Module):
    """Self-attention in both directions, then feed-forward: (B, T, C) → (B, T, C). `config` is a `ModelConfig`."""

    def __init__(self, config):
        super().__init__()
        self.attention, self.attention_residual = make_attention(config), make_residual(config)
        self.feed_forward, self.feed_forward_residual = make_feed_forward(config), make_residual(config)

    def forward(self, x: Tensor, mask: Tensor | None = None, rotary: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = self.attention_residual(x, lambda h: self.attention(h, mask=mask, rotary=rotary))
        return self.feed_forward_residual(x, self.feed_forward)


class DecoderBlock(nn.Module):
    """Causal self-attention, then (with `cross_attention`) attention over an encoder's output, then feed-forward."""

    def __init__(self, config, cross_attention: bool = False):
        super().__init__()
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
        source: Tensor | tuple[Tensor, Tensor] | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, C) → (B, T, C).

        Args:
            x: the residual stream (B, T, C).
            mask: which keys may be attended to, on top of causality; with a cache it must hold causality itself
                (`masks.position_mask`), because there the queries stand anywhere.
            rotary: cos and sin of the positions of x, or None.
            cache: this layer's earlier keys and values, or None.
            source: the encoder's output (B, S, C), or, computed once and used at every step of decoding, its keys and
                values in this layer (`self.cross_attention.keys_values(encoded)`).
            source_mask: (B, 1, 1, S), True where the source has a real token.
        """
        x = self.attention_residual(
            x, lambda h: self.attention(h, mask=mask, causal=cache is None, rotary=rotary, cache=cache)
        )
        if source is not None:
            x = self.cross_attention_residual(x, lambda h: self.cross_attention(h, source, mask=source_mask))
        return self.feed_forward_residual(x, self.feed_forward)


def make_attention(config) -> MultiHeadAttention:
    """The attention that a `ModelConfig` describes."""
    c = config
    eps = c.norm_eps if c.qk_norm else None
    return MultiHeadAttention(
        c.d_model, c.n_heads, c.n_kv_heads, c.bias, c.dropout, c.fused, c.head_size, c.qkv_bias, eps
    )


def make_feed_forward(config) -> nn.Module:
    """The feed-forward that a `ModelConfig` describes."""
    if config.activation == "swiglu":
        return SwiGLU(config.d_model, config.d_ff, config.bias)
    return FeedForward(config.d_model, config.d_ff, config.activation, config.bias, config.fused)


def make_norm(config) -> nn.Module:
    """The norm that a `ModelConfig` describes."""
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, config.norm_eps, config.fused)
    return LayerNorm(config.d_model, config.norm_eps, config.bias, config.fused)


def make_residual(config) -> Residual:
    """The residual connection that a `ModelConfig` describes, with its own norm."""
    return Residual(make_norm(config), config.dropout, config.norm_position == "pre")
