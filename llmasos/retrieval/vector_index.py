"""An exact vector index: the vectors with the greatest dot product with a query, found by comparing all of them.

For vectors of unit length, as `embed` returns them, the dot product is the cosine. Comparing all N vectors of size C
takes 2·N·C floating-point operations for each query, one matrix product: a million vectors of size 384 take a few
tenths of a second on a laptop. Approximate indexes (HNSW, Malkov & Yashunin 2016) are faster, but sometimes miss the
best.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from llmasos.errors import UserError, check_number, in_words

BLOCK = 1 << 26  # scores held at once: a quarter of a gigabyte


class VectorMatches(NamedTuple):
    """The best matches of each query, the best first.

    Attributes:
        scores: (Q, k) dot products.
        indices: (Q, k) the places of the vectors in the index.
    """

    scores: Tensor
    indices: Tensor


class VectorIndex:
    """An index of vectors.

    >>> index = VectorIndex(torch.eye(3))
    >>> index.search(torch.tensor([[0.1, 0.9, 0.2]]), k=2).indices
    tensor([[1, 2]])

    Args:
        vectors: (N, C), N ≥ 1.

    Raises:
        UserError: there is no vector, or some number in them is not finite.
    """

    def __init__(self, vectors: Tensor):
        if not isinstance(vectors, Tensor) or vectors.ndim != 2:
            actual = tuple(vectors.shape) if isinstance(vectors, Tensor) else in_words(vectors)
            raise UserError(
                f"the vectors of an index are {actual}; they must be a tensor (N, C), such as `embed` returns."
            )
        if not len(vectors):
            raise UserError("the index is empty: there is no vector in it; embed at least one text.")
        if not vectors.isfinite().all():
            raise UserError("a vector in the index has numbers that are not finite; embed its text again.")
        self.vectors = vectors

    def search(self, queries: Tensor, k: int = 1) -> VectorMatches:
        """Find the best matches of some queries. Of equal scores, the earlier vector comes first.

        Args:
            queries: (Q, C).
            k: how many matches of each; if there are fewer vectors, all of them.

        Raises:
            UserError: the queries have another size, or k is not positive.
        """
        check_number("k", k, whole=True, at_least=1)
        if queries.ndim != 2:
            raise UserError(
                f"the queries have the shape {tuple(queries.shape)}; it must be (Q, C): for one query, query[None]."
            )
        if queries.shape[1] != self.vectors.shape[1]:
            raise UserError(
                f"a query has {queries.shape[1]} numbers, and a vector of the index {self.vectors.shape[1]}; embed "
                "both with the same model."
            )
        rows = max(1, BLOCK // len(self.vectors))
        parts = []
        for block in queries.split(rows):
            scores, indices = (block @ self.vectors.T).sort(dim=1, descending=True, stable=True)
            parts.append((scores[:, :k], indices[:, :k]))
        if not parts:
            n = min(k, len(self.vectors))
            return VectorMatches(torch.zeros(0, n), torch.zeros(0, n, dtype=torch.long))
        return VectorMatches(torch.cat([scores for scores, _ in parts]), torch.cat([indices for _, indices in parts]))
