"""Shared by all models: base classes, the interface for heads, the length check, and the masks of a KV cache."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig
from llmasos.models.generation_config import GenerationConfig
from llmasos.models.pooling import EmbeddingConfig
from llmasos.nn import KVCache, cached_causal_mask, sliding_window_mask
from llmasos.nn.cpu import with_fast_products
from llmasos.nn.quantization import quantized_layers

if TYPE_CHECKING:
    from llmasos.models.adapter import Adapter


class Model(nn.Module):
    """A model that a `ModelConfig` describes.

    Attributes:
        config: the architecture.
        generation_config: the authors' recommendations for generation.
        embedding_config: the authors' recommendations for text embedding.
        adapter: the adapter that its `LoRALinear` layers belong to (see `models/adapter.py`); None = no adapter.
    """

    config: ModelConfig
    generation_config: GenerationConfig = GenerationConfig()
    embedding_config: EmbeddingConfig = EmbeddingConfig()
    adapter: Adapter | None = None

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.register_load_state_dict_post_hook(tie_again)

    @with_fast_products
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)

    def tie_weights(self) -> None:
        """Tie the weights that this model shares; torch unties them when it replaces parameters.

        That happens in `to_empty` and in `load_state_dict(assign=True)`, after which this is called again.
        """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Model:
        super()._apply(fn, recurse)
        self.tie_weights()
        return self


def tie_again(model: Model, _: object) -> None:
    """Tie the weights of a model after `load_state_dict`; a named function, so that the model can be pickled."""
    model.tie_weights()


def tie(output: nn.Module, embedding: nn.Module) -> None:
    """Make an output layer share an embedding's weight (Press & Wolf 2017), unless one of them is quantized."""
    if isinstance(output, nn.Linear) and isinstance(embedding, nn.Embedding):
        output.weight = embedding.weight


class Backbone(Model):
    """A model family: GPT, BERT or Transformer. Heads for other tasks (`models/heads.py`) use these two methods.

    Under a head, calling a backbone returns its `hidden_states`.
    """

    @abstractmethod
    def hidden_states(
        self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """One vector for each position: (B, T) → (B, T, C). The vectors of padded positions have no meaning.

        Args:
            ids: token ids (B, T).
            attention_mask: (B, T) booleans, False = padding, on either side; None = no padding.
            segments: (B, T), the text that each token belongs to, 0 or 1; None = all belong to the first. Only BERT
                uses them.

        Raises:
            UserError: the sequence is longer than context_length.
        """

    @abstractmethod
    def pooled(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector for the whole sequence: (B, T, C) → (B, C)."""


def n_parameters(model: nn.Module) -> int:
    """The number of trained parameters, including quantized ones; tied ones are counted once."""
    quantized = sum(math.prod(layer.shape) for layer in quantized_layers(model))
    return sum(parameter.numel() for parameter in model.parameters()) + quantized


def weight_bytes(model: nn.Module) -> int:
    """The memory of the parameters in bytes, including the scales of quantized ones."""
    tensors = [*model.parameters(), *(buffer for layer in quantized_layers(model) for buffer in layer.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_length(length: int, config: ModelConfig) -> None:
    """Raise UserError if a sequence of this many tokens is longer than the model's context."""
    if length > config.context_length:
        raise UserError(
            f"a sequence of {length} tokens does not fit the model's context of {config.context_length} tokens: "
            "shorten the text, or use a model with a longer context_length."
        )


class Masks(NamedTuple):
    """The attention masks of layers with full attention and of layers with a sliding window.

    Both are booleans that broadcast to (B, H, T, S), as in `nn/masks.py`; None = everything.
    """

    full: Tensor | None
    sliding: Tensor | None


def with_window(mask: Tensor | None, positions: Tensor, S: int, config: ModelConfig) -> Masks:
    """Add the config's sliding-window mask to a mask, for queries at `positions` (B, T) and S keys."""
    exporting = (
        torch.compiler.is_exporting()
    )  # the same for every S, whether it fits in the window or not: torch.compile needs one program
    if config.sliding_window is None or (not exporting and config.sliding_window >= S):
        return Masks(mask, mask)
    window = sliding_window_mask(positions, S, config.sliding_window)
    return Masks(mask, window if mask is None else mask & window)


def cached_masks(
    positions: Tensor, cache: KVCache, config: ModelConfig, bounds: tuple[int, int] | None
) -> tuple[int, Masks]:
    """The part of the cache that new tokens at `positions` (B, T) may attend to.

    Args:
        positions: where the new tokens are written.
        cache: the keys and values of earlier positions.
        config: the model's.
        bounds: see `GPT.decode`.

    Returns:
        The number of slots to read, `end`, and which of them each token sees (B, 1, T, end).

    Raises:
        UserError: a position is beyond the model's context or the cache.
    """
    start, end = bounds or (int(positions.min()), int(positions.max()) + 1)
    check_length(end, config)
    if end > cache.length:
        raise UserError(f"position {end - 1} is beyond the cache of {cache.length} tokens: make a longer cache.")
    attends_to_all = positions.size(1) == 1 and start == end - 1  # each new token comes after everything cached
    mask = None if attends_to_all else cached_causal_mask(positions, end)
    return end, with_window(mask, positions, end, config)  # the cache also keeps tokens outside the window
