"""Attention maps: the weights with which each position gathers from the others, layer by layer and head by head.

A weight says where a head looked, not what it took from there or whether that mattered: a large weight on a short
vector adds little (Kobayashi et al. 2020), and other weights can lead to the same output (Jain & Wallace 2019).
Attention maps are a place to start looking, not an explanation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llmasos.nn import MultiHeadAttention, eval_mode


@contextmanager
def record_weights(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Record the weights of every attention inside the `with`: name of the module → one tensor for each call."""
    modules = {name: module for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}
    previous = {name: module.recorded_weights for name, module in modules.items()}
    weights: dict[str, list[Tensor]] = {name: [] for name in modules}
    try:
        for name, module in modules.items():
            module.recorded_weights = weights[name]
        yield weights
    finally:
        for name, module in modules.items():
            module.recorded_weights = previous[name]


@torch.inference_mode()
def attention_maps(model: nn.Module, *inputs: Any, run: Callable[..., Any] | None = None) -> dict[str, Tensor]:
    """The attention weights of one forward pass.

        maps = attention_maps(model, ids)                       # {"blocks.0.attention": (B, H, T, T), …}

    Args:
        model: any model of this library, in any mode.
        inputs: its inputs.
        run: a method to call in place of the model itself, such as `model.encode`.

    Returns:
        For each attention, in the order of the model, its weights (B, H, T, S): row t is the distribution of position
        t's attention over the S positions. A Transformer's decoder has `attention` and `cross_attention`.
    """
    with eval_mode(model), record_weights(model) as weights:
        (run or model)(*inputs)
    return {name: torch.cat(calls) if len(calls) > 1 else calls[0] for name, calls in weights.items() if calls}
