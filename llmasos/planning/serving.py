"""What serving a model needs: memory for weights and the KV cache, and the limits of its speed."""

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
