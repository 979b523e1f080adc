"""Pooling: combine the hidden states of a text's tokens into one vector for the text (Reimers & Gurevych 2019, section
3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EmbeddingConfig:
    """The authors' recommendations for text embedding (used by `tasks/text_embedding.py`).

    Attributes:
        pooling: how the vectors of the tokens become one; see `pool`.
        max_length: the maximum number of tokens of a text, including special ones; None = the whole context.
    """

    pooling: str = "mean"
    max_length: int | None = None


def pool(hidden_states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector for each text.

    Args:
        hidden_states: (B, T, C).
        mask: (B, T), True = a token of the text; padding is at the end.
        pooling: "mean" or "max" over the text's tokens, or the "first" or the "last" of them.

    Returns:
        (B, C).
    """
    if pooling == "mean":
        return hidden_states.masked_fill(~mask[..., None], 0.0).sum(dim=1) / mask.sum(dim=1)[:, None]
    if pooling == "max":
        return hidden_states.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    index = mask.sum(dim=1) - 1 if pooling == "last" else torch.zeros_like(mask.sum(dim=1))
    return hidden_states[torch.arange(len(index), device=index.device), index]
