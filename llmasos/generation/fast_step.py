"""A fast decoding step without modules: one token per sequence, where generation spends nearly all its time.

Before a module computes anything, torch looks for hooks and finds each weight by its name. For one token of a small
model this takes longer than the arithmetic. So `fast_step` looks everything up once and returns a function of nested
closures that does what `GPT.decode` and `Transformer.decode` do (they define it), for one new token per sequence:

- every layer is one call of torch, on (B, C) instead of (B, 1, C);
- queries, keys and values are one matrix product: the three matrices are contiguous in memory;
- query heads that share keys and values become several queries of one head, so keys and values are not repeated;
- what is the same in all layers is computed once: rotary cos and sin, the mask, the slots of the cache.

Layers of unknown types (mostly quantized ones) are called as modules, and a model with any other unknown part uses its
`decode`.

Dimensions: B sequences, C d_model, H heads, Hkv key/value heads, D head size, P slots of the cache, S of them in use.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.models import GPT, Model, ModelConfig, Transformer
from llmasos.models.base import cached_masks
from llmasos.nn import (
    DecoderBlock,
    Embedding,
    FeedForward,
    KVCache,
    LayerNorm,
    LearnedPositions,
    LoRALinear,
    MixtureOfExperts,
    MultiHeadAttention,
    PagedKVCache,
    Residual,
    RMSNorm,
    RotaryEmbedding,
    SwiGLU,
)
from llmasos.nn.cpu import gelu, linear, sdpa
from llmasos.nn.paged_cache import Places

Layer = Callable[[Tensor], Tensor]  # (B, in) → (B, out)
StepFunction = Callable[[Tensor, Tensor, KVCache, tuple[int, int]], Tensor]  # see `fast_step`

# The config fields that this file supports. All others must have their defaults, so new fields are safe.
KNOWN_FIELDS = frozenset(
    "family vocab_size context_length n_layers n_decoder_layers n_heads n_kv_heads head_size d_model d_ff n_experts "
    "n_active_experts capacity_factor router_aux_loss_coef positions rope_theta "
    "rope_scaling sliding_window qk_norm value_embeddings max_ngram ngram_buckets norm norm_position norm_eps "
    "activation n_segments bias qkv_bias output_bias zero_init_residual mup_base_width "
    "tie_embeddings dropout head labels "
    "next_sentence pooler relative_attention_num_buckets relative_attention_max_distance local_rope_theta "
    "partial_rotary_factor layer_types attention_scale parallel_residual scale_embeddings".split()
)


class Place(NamedTuple):
    """The positions of the new tokens, the same for all layers with full attention, and for all with a sliding window.

    Attributes:
        end: the number of slots to read, S.
        slots: (B, 1, 1, 1), the slot of each token; None = the last of the S slots for all of them.
        mask: (B, 1, 1, S), which slots each token sees, or (B, Hkv, H / Hkv, S), what is added to its scores; None =
            all of them.
        rotary: cos and sin (B, 1, 1, D) that rotate the first D features of queries and keys; None = they are not
            rotated.
        pages: the same as `end` and `slots` for a cache in pages; None = it has slots.
    """

    end: int
    slots: Tensor | None
    mask: Tensor | None
    rotary: tuple[Tensor, Tensor] | None
    pages: Places | None


def fast_step(model: Model) -> StepFunction:
    """Return a function that computes one new token of each sequence.

    It is valid as long as the model's modules and parameters are not replaced by others. Their values may change.

    Returns:
        The function (ids (B,), positions (B,), cache, bounds) → hidden states (B, C); see `GPT.decode`.
    """
    if not is_known(model):
        return lambda ids, positions, cache, bounds: model.decode(  # type: ignore[operator]
            ids[:, None], positions[:, None], cache, bounds
        )[:, 0]
    is_gpt, config = type(model) is GPT, model.config
    m: Any = model
    embed, final_norm = bind(m.token_embedding), bind(m.final_norm)
    scale = config.d_model**0.5 if config.scale_embeddings else None
    add_positions = None if m.position_embedding is None else bind(m.position_embedding)
    waves = rotary_waves(m.rotary) if is_gpt else None
    local_waves = rotary_waves(m.local_rotary) if is_gpt and m.local_rotary is not None else waves
    relative_bias = None if is_gpt else m.decoder_bias
    blocks = [bind_block(block) for block in (m.blocks if is_gpt else m.decoder_blocks)]
    token_values = [bind(table) for table in m.value_embeddings] if config.value_embeddings else None

    def step(ids: Tensor, positions: Tensor, cache: KVCache, bounds: tuple[int, int]) -> Tensor:
        end, masks = cached_masks(positions[:, None], cache, config, bounds)
        slots = None if masks.full is None else positions[:, None, None, None]
        mask = masks.full
        if relative_bias is not None:
            mask = added_mask(relative_bias(positions[:, None], end), mask, config)
        pages = cache.places(positions[:, None], end) if isinstance(cache, PagedKVCache) else None
        place = Place(end, slots, mask, turns(waves, positions), pages)
        local_place = place
        if config.sliding_window is not None:
            local_place = Place(end, slots, masks.sliding, turns(local_waves, positions), pages)
        x = embed(ids) if scale is None else embed(ids) * scale  # (B, C)
        if cache.ids is not None:
            history = cache.write_ids(positions[:, None], ids[:, None])
            earlier = m.earlier_ids(ids[:, None], positions[:, None], history)
            x = x + m.ngram_embedding(ids[:, None], earlier)[:, 0]
        if add_positions is not None:
            x = x + add_positions(positions)
        for i, block in enumerate(blocks):
            memory_kv = cache.memory_kv[i] if cache.memory_kv else None
            where = local_place if config.is_sliding(i) else place
            x = block(x, where, cache.layers[i], token_values and token_values[i](ids), memory_kv, cache.memory_mask)
        return final_norm(x)

    return step


def is_known(model: Model) -> bool:
    """Whether this file supports everything that the model computes, and no hook needs intermediate values."""
    if type(model) not in (GPT, Transformer) or "decode" in vars(model):  # it has been replaced
        return False
    if any(getattr(model.config, f.name) != f.default for f in fields(ModelConfig) if f.name not in KNOWN_FIELDS):
        return False
    if model.config.positions == "alibi":
        return False
    for module in model.modules():
        if module._forward_hooks or module._forward_pre_hooks or getattr(module, "recorded_weights", None) is not None:
            return False
        if isinstance(module, DecoderBlock) and not has_known_parts(module):
            return False
    return True


def has_known_parts(block: DecoderBlock) -> bool:
    """Whether a block has the library's own attention and residual connections, not those of a lesson or an adapter."""
    parts: dict[str, nn.Module] = dict(block.named_children())
    attention = [part for name, part in parts.items() if name.endswith("attention")]
    residuals = [part for name, part in parts.items() if name.endswith("residual")]
    if type(block) is not DecoderBlock or len(attention) + len(residuals) + 1 != len(parts):  # + 1: the feed-forward
        return False
    return {*map(type, attention)} == {MultiHeadAttention} and {*map(type, residuals)} == {Residual}


# Layers


def bind(layer: nn.Module) -> Layer:
    """A function (B, in) → (B, out) that does what a layer does; the layer itself if its type is not known."""
    weight: Any = getattr(layer, "weight", None)
    bias: Any = getattr(layer, "bias", None)
    if type(layer) is nn.Linear:
        return lambda x: linear(x, weight, bias)
    if type(layer) is LoRALinear:
        thin, wide, scale = bind(layer.lora_A), bind(layer.lora_B), layer.alpha / layer.rank
        return lambda x: linear(x, weight, bias) + wide(scale * thin(x))
    if type(layer) is MixtureOfExperts:
        router, experts = bind(layer.router), [bind(expert) for expert in layer.experts]
        return lambda x: layer.mix(x, router, experts)
    if type(layer) in (Embedding, LearnedPositions):
        return lambda ids: F.embedding(ids, weight)
    if type(layer) is LayerNorm:
        return lambda x: torch.layer_norm(x, weight.shape, weight, bias, layer.eps)
    if type(layer) is RMSNorm:
        return lambda x: torch.rms_norm(x, weight.shape, weight, layer.eps)
    if type(layer) is FeedForward:
        up, down = bind(layer.up_proj), bind(layer.down_proj)
        activation = gelu if layer.activation is F.gelu else layer.activation
        return lambda x: down(activation(up(x)))
    if type(layer) is SwiGLU:
        up, gate, down = bind(layer.up_proj), bind(layer.gate_proj), bind(layer.down_proj)
        return lambda x: down(layer.activation(gate(x)) * up(x))
    if type(layer) is nn.Identity:
        return lambda x: x
    return layer


def bind_block(block: DecoderBlock) -> Callable[..., Tensor]:
    """A function that computes what a decoder block does."""
    attend, apply = bind_attention(block.attention), bind(block.feed_forward)
    attention = bind_residual(block.attention_residual, attend)
    cross_attention = None
    if hasattr(block, "cross_attention"):
        cross_attention = bind_residual(block.cross_attention_residual, bind_cross_attention(block.cross_attention))
    feed_forward = bind_residual(block.feed_forward_residual, apply)
    if block.parallel_residual:
        add_attention = bind_update(block.attention_residual, attend)
        add_feed_forward = bind_update(block.feed_forward_residual, apply)
        return lambda x, place, layer, token_values, *_: (
            x + add_attention(x, place, layer, token_values) + add_feed_forward(x)
        )

    def run(x, place, layer, token_values, memory_kv, memory_mask) -> Tensor:
        x = attention(x, place, layer, token_values)
        if cross_attention is not None:
            x = cross_attention(x, memory_kv, memory_mask)
        return feed_forward(x)

    return run


def bind_residual(residual: Residual, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that computes what a residual connection around `f` does."""
    if residual.pre_norm:
        update = bind_update(residual, f)
        return lambda x, *args: x + update(x, *args)
    norm = bind(residual.norm)
    return lambda x, *args: norm(x + f(x, *args))


def bind_update(residual: Residual, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that computes what a residual connection with pre-norm adds to the stream."""
    norm = bind(residual.norm)
    if residual.output_norm is None:
        return lambda x, *args: f(norm(x), *args)
    output_norm = bind(residual.output_norm)
    return lambda x, *args: output_norm(f(norm(x), *args))


def bind_attention(attention: MultiHeadAttention) -> Callable[..., Tensor]:
    """A function that computes what self-attention does with a cache."""
    H, Hkv, D = attention.n_heads, attention.n_kv_heads, attention.head_size
    qkv_proj = bind_together([attention.q_proj, attention.k_proj, attention.v_proj])
    q_norm, k_norm, out_proj = bind(attention.q_norm), bind(attention.k_norm), bind(attention.out_proj)
    has_norms, scale = type(attention.q_norm) is not nn.Identity, attention.scale

    def run(x: Tensor, place: Place, layer: tuple[Tensor, Tensor], token_values: Tensor | None) -> Tensor:
        B, end, (keys, values) = x.size(0), place.end, layer
        q, k, v = qkv_proj(x).view(B, H + 2 * Hkv, 1, D).split((H, Hkv, Hkv), dim=1)
        if has_norms:
            q, k = q_norm(q), k_norm(k)
        if place.rotary is not None:  # queries and keys at once
            q, k = rotate(torch.cat((q, k), dim=1), *place.rotary).split((H, Hkv), dim=1)
        if token_values is not None:
            v = v + token_values.view(B, Hkv, 1, D)
        if place.pages is not None:
            k, v = place.pages.update(layer, k, v)
        else:
            if place.slots is None:
                keys.narrow(2, end - 1, 1).copy_(k)
                values.narrow(2, end - 1, 1).copy_(v)
            else:
                index = place.slots.expand(B, Hkv, 1, D)
                keys.scatter_(2, index, k)
                values.scatter_(2, index, v)
            k, v = keys.narrow(2, 0, end), values.narrow(2, 0, end)
        q = q if H == Hkv else q.reshape(B, Hkv, H // Hkv, D)
        out = sdpa(q, k, v, attn_mask=place.mask, scale=scale)  # (B, Hkv, H / Hkv, D)
        return out_proj(out.reshape(B, H * D))

    return run


def bind_cross_attention(attention: MultiHeadAttention) -> Callable[..., Tensor]:
    """A function that computes what attention to an encoder's output does, given its keys and values."""
    H, Hkv, D = attention.n_heads, attention.n_kv_heads, attention.head_size
    q_proj, q_norm, out_proj = bind(attention.q_proj), bind(attention.q_norm), bind(attention.out_proj)

    def run(x: Tensor, memory_kv: tuple[Tensor, Tensor], memory_mask: Tensor | None) -> Tensor:
        q = q_norm(q_proj(x).view(len(x), Hkv, H // Hkv, D))
        out = sdpa(q, *memory_kv, attn_mask=memory_mask, scale=attention.scale)  # (B, Hkv, H / Hkv, D)
        return out_proj(out.reshape(len(x), H * D))

    return run


def bind_together(layers: Sequence[nn.Module]) -> Layer:
    """A function that applies several layers to one input: (B, in) → their outputs, concatenated."""
    linears = [layer for layer in layers if type(layer) is nn.Linear]
    if len(linears) < len(layers):
        functions = [bind(layer) for layer in layers]
        return lambda x: torch.cat([f(x) for f in functions], dim=-1)
    weight = stack([layer.weight for layer in linears])
    bias = None if linears[0].bias is None else stack([layer.bias for layer in linears])
    return lambda x: linear(x, weight, bias)


def stack(parameters: Sequence[Tensor]) -> Tensor:
    """One tensor with the rows of all parameters, which become views of it, with the same values as before.

    So nothing is stored twice, and training may change them in place. (torch does the same with the weights of its
    recurrent layers, in `flatten_parameters`.) Parameters that are contiguous already, such as GPT-2's published
    weights, are left as they are.
    """
    first, end = parameters[0], parameters[0].storage_offset()
    for p in parameters:
        same_memory = p.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not same_memory or p.storage_offset() != end or p.stride() != first.stride():
            break
        end += len(p) * p.stride(0)
    else:
        shape = (sum(map(len, parameters)), *first.shape[1:])
        return first.detach().as_strided(shape, first.stride(), first.storage_offset())
    with torch.inference_mode(False), torch.no_grad():
        rows = torch.cat(list(parameters))
        for p, part in zip(parameters, rows.split([len(p) for p in parameters]), strict=True):
            p.data = part
    return rows


def added_mask(bias: Tensor, mask: Tensor | None, config: ModelConfig) -> Tensor:
    """A mask as numbers that are added to the scores, a bias (B, H, 1, S) included: (B, Hkv, H / Hkv, S)."""
    grouped = bias.reshape(len(bias), config.n_kv_heads, -1, bias.size(-1))
    return grouped if mask is None else grouped.masked_fill(~mask, -math.inf)


def turns(waves: tuple[Tensor, Tensor] | None, positions: Tensor) -> tuple[Tensor, Tensor] | None:
    """cos and sin (B, 1, 1, D) at some positions (B,)."""
    return None if waves is None else (waves[0][positions][:, None, None], waves[1][positions][:, None, None])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`apply_rotary` with the cos and sin of `rotary_waves`, which may be of fewer features than a head has."""
    n = cos.size(-1)
    if n == x.size(-1):
        return x * cos + x.roll(n // 2, dims=-1) * sin
    return torch.cat((rotate(x.narrow(-1, 0, n), cos, sin), x.narrow(-1, n, x.size(-1) - n)), dim=-1)


def rotary_waves(rotary: RotaryEmbedding | None) -> tuple[Tensor, Tensor] | None:
    """cos and sin (P, D) with which `x · cos + roll(x, D/2) · sin` is `apply_rotary`: a·cos - b·sin, b·cos + a·sin."""
    if rotary is None:
        return None
    return torch.cat((rotary.cos, rotary.cos), dim=-1), torch.cat((-rotary.sin, rotary.sin), dim=-1)
