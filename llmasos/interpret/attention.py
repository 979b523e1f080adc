"""Attention maps: the weights with which each position attends to the others, layer by layer and head by head.

A weight says where a head attends, not what it reads there or whether that matters: a large weight on a short
vector adds little (Kobayashi et al. 2020), and other weights can lead to the same output (Jain & Wallace 2019).
Attention maps are a place to start looking, not an explanation.
"""

from collections.abc import Callable, Iterator, Sequence
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


def telling_head(maps: Sequence[Tensor], trivial: Tensor) -> tuple[int, int, int]:
    """The layer and the head with the strongest pattern, to look at first, and its strongest query.

    Most heads attend to the token itself, its neighbor, or the first token, which receives attention that is not needed
    elsewhere (Xiao et al. 2023, "attention sinks"). A head is rated by the largest weight that a query gives to any
    other key, averaged over the queries. It says that there is a pattern, not that the pattern matters.

    Args:
        maps: the weights (1, H, T, S) of each layer.
        trivial: (T, S) or (S,) booleans, True = this key does not count.

    Returns:
        The indices of the layer, the head and the query, from 0.
    """
    layers = [weights[0].masked_fill(trivial.to(weights.device), 0.0) for weights in maps]  # L times (H, T, S)
    largest = torch.stack([weights.amax(dim=-1) for weights in layers])  # (L, H, T)
    layer, head = divmod(int(largest.mean(dim=-1).argmax()), largest.size(1))
    return layer, head, int(largest[layer, head].argmax())


def trivial_keys(length: int) -> Tensor:
    """The keys that any self-attention head may attend to for no particular reason: (T, T) booleans.

    They are the query's own position, its two neighbors, and the first position.

    >>> trivial_keys(4).int().tolist()
    [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 1, 1]]
    """
    positions = torch.arange(length)
    near = (positions[:, None] - positions).abs() <= 1
    return near | (positions == 0)
