"""What serving a model needs, by formula: memory for weights and the KV cache, and the limits of its speed.

For each token and layer, the cache keeps this many values:

    multi-head      MHA    2 · H · D
    grouped-query   GQA    2 · Hkv · D    Ainslie et al. 2023
    multi-query     MQA    2 · D          Shazeer 2019
    latent          MLA    N + R          DeepSeek-AI 2024, "DeepSeek-V2", section 2.1.4 and table 1
    sliding window         any of these, for at most W tokens (Jiang et al. 2023, "Mistral 7B", section 2)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.errors import check_number
from llmasos.models.config import ModelConfig
from llmasos.models.flops import flops_per_token, n_active_parameters_of, n_parameters_of
from llmasos.planning.devices import Device

WEIGHT_BYTES = {
    "fp32": 4.0,
    "bf16": 2.0,
    "int8": 1.0,
    "int4": 0.5,
}  # bytes per weight, without the scales of int8 and int4


@dataclass(frozen=True)
class ServingPlan:
    """A server in numbers.

    Attributes:
        weight_bytes: size of all weights.
        cache_bytes_per_token: size of the keys and values of one token.
        n_sequences: how many sequences fit next to the weights, on all devices together.
        tokens_per_second: upper limit for one sequence, set by memory bandwidth.
        prefill_seconds: lower limit for reading a prompt of full length, set by arithmetic.
    """

    weight_bytes: float
    cache_bytes_per_token: float
    n_sequences: int
    tokens_per_second: float
    prefill_seconds: float


def plan_serving(
    config: ModelConfig,
    device: Device,
    n_devices: int = 1,
    weights: str = "bf16",
    text_length: int | None = None,
    page_size: int | None = None,
) -> ServingPlan:
    """Plan a server whose devices share one model evenly.

    A generated token reads every weight that it uses once, and the keys and values of its sequence: with one sequence,
    memory is the limit, not arithmetic (Pope et al. 2022, section 2). Cached values have 16 bits.

    Args:
        config: a model that generates.
        device: the type of all devices.
        n_devices: how many devices the model is split over.
        weights: format of the weights, "fp32", "bf16", "int8" or "int4".
        text_length: tokens of a sequence, its prompt included (None = the context). Only the number of sequences in
            pages depends on it: a slot has room for a whole context, whatever is in it.
        page_size: tokens in a page of the KV cache (None = a slot for each sequence).
    """
    check_number("the number of devices", n_devices, whole=True, at_least=1, at_most=10**6)
    n_bytes = WEIGHT_BYTES[weights] * n_parameters_of(config)
    n_read = WEIGHT_BYTES[weights] * n_active_parameters_of(config)
    per_token = cache_bytes_per_token(config)
    whole_cache = per_token * config.context_length
    free = n_devices * device.memory - n_bytes
    length = config.context_length if text_length is None else text_length
    check_number("text_length", length, whole=True, at_least=1, at_most=config.context_length)
    per_sequence = per_token * reserved_tokens([length], config.context_length, page_size)
    return ServingPlan(
        weight_bytes=n_bytes,
        cache_bytes_per_token=per_token,
        n_sequences=max(0, int(free // per_sequence)),
        tokens_per_second=n_devices * device.bandwidth / (n_read + whole_cache / 2),  # on average half full
        prefill_seconds=config.context_length * flops_per_token(config) / 3 / (n_devices * device.flops),
    )


def reserved_tokens(lengths: Sequence[int], context_length: int, page_size: int | None = None) -> int:
    """For how many tokens a server keeps memory while it continues texts of these lengths.

    A slot for each text wastes Σ (context_length - length), pages at most page_size - 1 tokens of each text (Kwon et
    al. 2023, "PagedAttention", section 3.1 and figure 2). Pages that texts share are counted once for each.

    >>> reserved_tokens([100, 17], context_length=1024), reserved_tokens([100, 17], 1024, page_size=16)
    (2048, 144)

    Args:
        lengths: tokens of each text.
        context_length: tokens in a slot.
        page_size: tokens in a page; None = slots.

    Raises:
        UserError: page_size is not a whole number from 1.
    """
    if page_size is None:
        return len(lengths) * context_length
    check_number("page_size", page_size, whole=True, at_least=1, at_most=context_length)
    return sum(-(-length // page_size) * page_size for length in lengths)


def cache_bytes_per_token(config: ModelConfig, value_bytes: int = 2) -> int:
    """Bytes of the keys and values of one token: 2·L·Hkv·D values (of a decoder that attends to a source, twice)."""
    c = config
    per_layer = 2 * c.n_kv_heads * c.head_size * value_bytes
    return per_layer * (2 * c.n_decoder_layers if c.family == "transformer" else c.n_layers)


def cache_bytes(config: ModelConfig, n_tokens: int, value_bytes: int = 2) -> int:
    """Bytes of the keys and values of one sequence: 2·L·Hkv·D values for each token, or each that a window still needs.

    Args:
        config: the config of a generating model. Its `sliding_window` counts as if tokens outside it were overwritten
            (`KVCache.rolling_layer`); the library's own models keep and mask them. Layers of the type "full_attention"
            keep everything.
        n_tokens: the length of the sequence.
        value_bytes: bytes of a value: 2 for 16 bits, 4 for fp32.

    Raises:
        UserError: a number is out of range.
    """
    check_number("the number of tokens", n_tokens, whole=True, at_least=0, at_most=10**12)
    check_number("value_bytes", value_bytes, whole=True, at_least=1, at_most=8)
    whole = n_tokens * cache_bytes_per_token(config, value_bytes)
    if config.sliding_window is None:
        return whole
    left = max(0, n_tokens - config.sliding_window)  # of the tokens, how many have left the window
    n_sliding = sum(config.is_sliding(layer) for layer in range(config.n_layers))
    return whole - left * n_sliding * cache_bytes_per_token(config, value_bytes) // config.n_layers


def latent_cache_bytes(n_layers: int, latent_size: int, rotary_size: int, n_tokens: int, value_bytes: int = 2) -> int:
    """Bytes that latent attention keeps of one sequence: L·(N + R) values for each token (`nn/latent_attention.py`).

    With DeepSeek's N = 4·D and R = D/2 that is 4.5·D a layer: as much as grouped-query attention with 2.25 heads.

    >>> latent_cache_bytes(n_layers=60, latent_size=512, rotary_size=64, n_tokens=1)  # DeepSeek-V2, 128 heads of 128
    69120

    Args:
        n_layers: L.
        latent_size: N, the width of the latent vector.
        rotary_size: R, the width of the key with positions, which all heads share.
        n_tokens: the length of the sequence.
        value_bytes: bytes of a value.

    Raises:
        UserError: a number is out of range.
    """
    sizes = {"n_layers": n_layers, "latent_size": latent_size, "rotary_size": rotary_size}
    for name, value in {**sizes, "the number of tokens": n_tokens, "value_bytes": value_bytes}.items():
        check_number(name, value, whole=True, at_least=0, at_most=10**12)
    return n_tokens * n_layers * (latent_size + rotary_size) * value_bytes
