"""Attention maps: the weights with which each position gathers from the others, layer by layer and head by head.

A weight says what was looked at, not what was taken from it or what it was good for: a large weight on a vector of
little length moves little (Kobayashi et al. 2020), and other weights can lead to the same output (Jain & Wallace 2019).
It is a place to begin looking, not an explanation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llmasos.nn import MultiHeadAttention, eval_mode


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """While open, every attention of the model notes its weights: name of the module → one tensor for each call."""
    modules = {name: module for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}
    before = {name: module.recorded_weights for name, module in modules.items()}
    notes: dict[str, list[Tensor]] = {name: [] for name in modules}
    try:
        for name, module in modules.items():
            module.recorded_weights = notes[name]
        yield notes
    finally:
        for name, module in modules.items():
            module.recorded_weights = before[name]


@torch.inference_mode()
def attention_maps(model: nn.Module, *inputs: Any, run: Callable[..., Any] | None = None) -> dict[str, Tensor]:
    """The attention weights of one pass through the model.

        maps = attention_maps(model, ids)                       # {"blocks.0.attention": (B, H, T, T), …}

    Args:
        model: any of the library's, in any mode.
        inputs: what it is called with.
        run: what to call in place of the model itself, such as `model.encode`.

    Returns:
        For each attention, in the order of the model, its weights (B, H, T, S): row t says how position t shares itself
        among the S positions that it may see. A Transformer's decoder has `attention` and `cross_attention`.
    """
    with eval_mode(model), recorded(model) as notes:
        (run or model)(*inputs)
    return {name: torch.cat(weights) if len(weights) > 1 else weights[0] for name, weights in notes.items() if weights}
