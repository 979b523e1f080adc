"""The parts of every Transformer: attention, masks, positions, norms, feed-forward, cache, blocks."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.nn.attention import MultiHeadAttention, fused_attention, naive_attention
    from llmasos.nn.blocks import DecoderBlock, EncoderBlock, Residual, make_final_norm, make_norm
    from llmasos.nn.cache import KVCache, LayerCache
    from llmasos.nn.embedding import Embedding, NgramEmbedding
    from llmasos.nn.experts import MixtureOfExperts, Routing, route
    from llmasos.nn.feed_forward import FeedForward, SwiGLU, gelu, gelu_tanh
    from llmasos.nn.int4 import Int4Linear
    from llmasos.nn.int8 import Int8Embedding, Int8Linear, QuantizedLinear
    from llmasos.nn.latent_attention import LatentAttention
    from llmasos.nn.lora import LoRALinear
    from llmasos.nn.masks import cached_causal_mask, causal_mask, local_mask, padding_mask, sliding_window_mask
    from llmasos.nn.modes import eval_mode
    from llmasos.nn.norms import LayerNorm, RMSNorm, layer_norm, rms_norm
    from llmasos.nn.page_table import PagePool
    from llmasos.nn.paged_cache import PagedKVCache
    from llmasos.nn.pointer_generator import CopyHead, copy_distribution
    from llmasos.nn.positions import (
        LearnedPositions,
        RelativePositionBias,
        RotaryEmbedding,
        SinusoidalPositions,
        alibi_bias,
        alibi_slopes,
        apply_rotary,
        make_local_rotary,
        make_position_embedding,
        make_relative_bias,
        make_rotary,
        position_ids,
        relative_buckets,
    )
    from llmasos.nn.quantization import QUANTIZE, is_quantized, quantization_of, quantize, quantized_layers
    from llmasos.nn.rope_scaling import RopeScaling, dynamic_ntk

__all__ = [
    "CopyHead",
    "DecoderBlock",
    "Embedding",
    "EncoderBlock",
    "FeedForward",
    "Int4Linear",
    "Int8Embedding",
    "Int8Linear",
    "KVCache",
    "LayerCache",
    "LayerNorm",
    "LatentAttention",
    "LearnedPositions",
    "NgramEmbedding",
    "LoRALinear",
    "MixtureOfExperts",
    "MultiHeadAttention",
    "PagePool",
    "PagedKVCache",
    "QUANTIZE",
    "QuantizedLinear",
    "RMSNorm",
    "RelativePositionBias",
    "Residual",
    "RopeScaling",
    "RotaryEmbedding",
    "Routing",
    "SinusoidalPositions",
    "SwiGLU",
    "alibi_bias",
    "alibi_slopes",
    "apply_rotary",
    "causal_mask",
    "copy_distribution",
    "dynamic_ntk",
    "eval_mode",
    "naive_attention",
    "fused_attention",
    "gelu",
    "gelu_tanh",
    "is_quantized",
    "layer_norm",
    "local_mask",
    "make_final_norm",
    "make_local_rotary",
    "make_norm",
    "make_position_embedding",
    "make_relative_bias",
    "make_rotary",
    "padding_mask",
    "position_ids",
    "cached_causal_mask",
    "quantization_of",
    "quantize",
    "quantized_layers",
    "relative_buckets",
    "rms_norm",
    "sliding_window_mask",
    "route",
]
lazy_exports(__name__)
