"""How a model's makers turn its hidden states into one vector for a text (`tasks/embedding.py` does it)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EmbeddingConfig:
    """Recommendations for embedding texts.

    Attributes:
        pooling: how the vectors of the tokens become one: a name in `tasks.embedding.POOLING`.
        max_length: the most tokens that are read of a text, special ones included; None = the whole context.
    """

    pooling: str = "mean"
    max_length: int | None = None
