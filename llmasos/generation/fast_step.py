"""A fast decoding step without modules: one token per sequence, where generation spends nearly all its time.

Before a module computes anything, torch looks for hooks and finds each weight by its name. For one token of a small
model this takes longer than the arithmetic. So `fast_step` looks everything up once and returns a function of nested
closures that does what `GPT.decode` and `Transformer.decode` do (they define it), for one new token per sequence:

- every layer is one call of torch, on (B, C) instead of (B, 1, C);
- queries, keys and values are one matrix product, and so are a gate and what it gates: the matrices are contiguous in
  memory;
- queries, keys and values are rotated as one tensor, the values by zero, and the cache takes keys and values as one;
- query heads that share keys and values become several queries of one head, so keys and values are not repeated;
- what is the same in all layers is computed once: rotary cos and sin, the mask, which slots are written and read.

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
from llmasos.nn.cpu import first_slow_size, gelu, linear, rms_norm, sdpa
from llmasos.nn.paged_cache import Places

Layer = Callable[[Tensor], Tensor]  # (B, in) → (B, out)
RotaryFunction = Callable[[Tensor], tuple[Tensor, Tensor]]  # positions (B,) → cos, sin
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
        slots: (B, 2·Hkv, 1, D), the slot of each token, repeated; None = the last of the S slots for all of them.
        mask: (B, 1, 1, S), which slots each token sees, or (B, Hkv, H / Hkv, S), what is added to its scores; None =
            all of them.
        rotary: cos and sin (B, H + 2·Hkv, 1, R) that rotate the first R features of queries and keys, and leave values
            as they are; None = nothing is rotated.
        pages: which places of a cache in pages are written and read; None = it has slots.
    """

    slots: Tensor | None
    mask: Tensor | None
    rotary: tuple[Tensor, Tensor] | None
    pages: Places | None


class LayerMemory(NamedTuple):
    """The part of the cache that one layer uses.

    Attributes:
        target: where new keys and values are written: (B, 2·Hkv, 1, D), their slots; or (B, 2·Hkv, P, D), all slots, if
            each token has its own; or (N, G, 2·Hkv, D), all pages.
        keys, values: (B, Hkv, S, D), what is read; not used with pages.
    """

    target: Tensor
    keys: Tensor
    values: Tensor


def fast_step(model: Model) -> StepFunction:
    """Return a function that computes one new token of each sequence.

    It is valid as long as the model's modules and parameters are not replaced by others or moved to another device or
    type. Their values may change.

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
    waves = bind_rotary(m.rotary, config) if is_gpt else None
    local_waves = bind_rotary(m.local_rotary, config) if is_gpt and m.local_rotary is not None else waves
    relative_bias = None if is_gpt else m.decoder_bias
    blocks = [bind_block(block) for block in (m.blocks if is_gpt else m.decoder_blocks)]
    token_values = [bind(table) for table in m.value_embeddings] if config.value_embeddings else None

    def step(ids: Tensor, positions: Tensor, cache: KVCache, bounds: tuple[int, int]) -> Tensor:
        end, masks = cached_masks(positions[:, None], cache, config, bounds)
        slots, mask = None, masks.full
        if masks.full is not None:
            slots = positions[:, None, None, None].expand(-1, 2 * config.n_kv_heads, -1, config.head_size)
        if relative_bias is not None:
            mask = added_mask(relative_bias(positions[:, None], end), mask, config)
        pages = cache.places(positions[:, None], end) if isinstance(cache, PagedKVCache) else None
        place = Place(slots, mask, waves and waves(positions), pages)
        local_place = place
        if config.sliding_window is not None:
            local_place = Place(slots, masks.sliding, local_waves and local_waves(positions), pages)
        layers = open_layers(cache, end, place)
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
            x = block(x, where, layers[i], token_values and token_values[i](ids), memory_kv, cache.memory_mask)
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


def open_layers(cache: KVCache, end: int, place: Place) -> list[LayerMemory]:
    """The part of the cache that each layer uses, for new tokens of which all are before `end`."""
    if place.pages is not None:
        return [LayerMemory(memory, memory, memory) for memory in cache.kv.unbind(0)]
    target = cache.kv.narrow(3, end - 1, 1) if place.slots is None else cache.kv
    keys, values = cache.kv.narrow(3, 0, end).chunk(2, dim=2)
    return list(map(LayerMemory, target.unbind(0), keys.unbind(0), values.unbind(0)))


# Layers


def bind(layer: nn.Module) -> Layer:
    """A function (B, in) → (B, out) that does what a layer does; the layer itself if its type is not known."""
    weight: Any = getattr(layer, "weight", None)
    bias: Any = getattr(layer, "bias", None)
    if type(layer) is nn.Linear:
        return bind_linear(weight, bias)
    if type(layer) is LoRALinear:
        base = bind_linear(weight, bias)
        thin, wide, scale = bind(layer.lora_A), bind(layer.lora_B), layer.alpha / layer.rank
        return lambda x: base(x) + wide(scale * thin(x))
    if type(layer) is MixtureOfExperts:
        router, experts = bind(layer.router), [bind(expert) for expert in layer.experts]
        return lambda x: layer.mix(x, router, experts)
    if type(layer) in (Embedding, LearnedPositions):
        return lambda ids: F.embedding(ids, weight)
    if type(layer) is LayerNorm:
        return lambda x: torch.layer_norm(x, weight.shape, weight, bias, layer.eps)
    if type(layer) is RMSNorm:
        return lambda x: rms_norm(x, weight, layer.eps)
    if type(layer) is FeedForward:
        up, down = bind(layer.up_proj), bind(layer.down_proj)
        activation = gelu if layer.activation is F.gelu else layer.activation
        return lambda x: down(activation(up(x)))
    if type(layer) is SwiGLU:
        gate_up, gated_down = bind_together([layer.gate_proj, layer.up_proj]), bind(layer.down_proj)

        def run(x: Tensor) -> Tensor:
            gate, up = gate_up(x).chunk(2, dim=-1)
            return gated_down(layer.activation(gate) * up)

        return run
    if type(layer) is nn.Identity:
        return lambda x: x
    return layer


def bind_linear(weight: Tensor, bias: Tensor | None) -> Layer:
    """A function that computes `nn.cpu.linear` with this matrix (out, in) and bias (out,)."""
    columns, slow_size = weight.detach().t(), first_slow_size(weight)
    if bias is None:
        return lambda x: torch.mm(x, columns) if len(x) < slow_size else linear(x, weight, bias)
    return lambda x: torch.addmm(bias, x, columns) if len(x) < slow_size else linear(x, weight, bias)


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

    def run(x: Tensor, place: Place, layer: LayerMemory, token_values: Tensor | None) -> Tensor:
        B, (target, k, v) = x.size(0), layer
        qkv = qkv_proj(x).view(B, H + 2 * Hkv, 1, D)
        if has_norms:
            q, new_k, new_v = qkv.split((H, Hkv, Hkv), dim=1)
            qkv = torch.cat((q_norm(q), k_norm(new_k), new_v), dim=1)
        if place.rotary is not None:
            qkv = rotate(qkv, *place.rotary)
        q, new_kv = qkv.split((H, 2 * Hkv), dim=1)
        if token_values is not None:
            new_kv.narrow(1, Hkv, Hkv).add_(token_values.view(B, Hkv, 1, D))
        if place.pages is not None:
            k, v = place.pages.update(target, new_kv)
        elif place.slots is None:
            target.copy_(new_kv)
        else:
            target.scatter_(2, place.slots, new_kv)
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
    bias = None if linears[0].bias is None else stack([layer.bias for layer in linears])
    return bind_linear(stack([layer.weight for layer in linears]), bias)


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


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`apply_rotary` with the cos and sin of `bind_rotary`, which may be of fewer features than a head has."""
    n = cos.size(-1)
    if n == x.size(-1):
        return x * cos + x.roll(n // 2, dims=-1) * sin
    return torch.cat((rotate(x.narrow(-1, 0, n), cos, sin), x.narrow(-1, n, x.size(-1) - n)), dim=-1)


def bind_rotary(rotary: RotaryEmbedding | None, config: ModelConfig) -> RotaryFunction | None:
    """A function from positions (B,) to cos and sin (B, H + 2·Hkv, 1, R), for queries, keys and values together.

    `x · cos + roll(x, R/2) · sin` is `apply_rotary`: a·cos - b·sin, b·cos + a·sin. Values are rotated by zero.
    """
    if rotary is None:
        return None
    cos, sin = torch.cat((rotary.cos, rotary.cos), dim=-1), torch.cat((-rotary.sin, rotary.sin), dim=-1)  # (P, R)
    turned = torch.stack((cos, sin), dim=1)
    fixed = torch.stack((torch.ones_like(cos), torch.zeros_like(sin)), dim=1)
    waves = torch.stack((turned, fixed), dim=1)[:, :, :, None]  # (P, 2, 2, 1, R)
    kinds = torch.tensor([0] * (config.n_heads + config.n_kv_heads) + [1] * config.n_kv_heads, device=cos.device)

    def at(positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = waves.index_select(0, positions).index_select(1, kinds).unbind(2)
        return cos, sin

    return at
