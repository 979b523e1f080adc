"""The embedding tables of a model: one vector for each id, and others for n-grams of ids."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Embedding(nn.Embedding):
    """`nn.Embedding`, a table (V, C): ids (B, T) → vectors (B, T, C)."""

    def reset_parameters(self) -> None:
        """Initialize the table, except on the "meta" device.

        There is nothing to initialize there, but torch would import its compiler to do so: a second and 70 MB at every
        start.
        """
        if not self.weight.is_meta:
            super().reset_parameters()


class NgramEmbedding(nn.Module):
    """A table (buckets, C) for each n = 2 … N, looked up by a hash of a token and the n - 1 before it.

    This gives the first layer information that attention would otherwise have to learn to fetch, for a few lookups
    (Pagnoni et al. 2024, BLT, section 3.2.1; Huang et al. 2025, "Over-Tokenized Transformer"). There are Vⁿ n-grams,
    far too many for a row each: n-grams with the same hash share a row, and the token embedding tells most of them
    apart.

    Args:
        max_ngram: N.
        buckets: the number of rows of each table.
        d_model: C.
    """

    MULTIPLIER = 1_000_003  # a prime
    MODULUS = 2**40  # keeps the products below 2⁶³

    def __init__(self, max_ngram: int, buckets: int, d_model: int):
        super().__init__()
        self.buckets = buckets
        self.tables = nn.ModuleList(Embedding(buckets, d_model) for _ in range(max_ngram - 1))

    def forward(self, ids: Tensor, earlier: Iterable[Tensor]) -> Tensor:
        """The sum of the vectors (B, T, C) of all n-grams that end at each token.

        Args:
            ids: (B, T).
            earlier: the ids one place before these, (B, T), then those two places before them, and so on.
        """
        key, vectors = ids, []
        for table, previous in zip(self.tables, earlier, strict=True):
            key = (key * self.MULTIPLIER + previous) % self.MODULUS
            vectors.append(table(key % self.buckets))
        return torch.stack(vectors).sum(dim=0)
