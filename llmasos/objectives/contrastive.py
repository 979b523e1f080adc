"""Contrastive learning of text embeddings: pull a query towards its passage and away from those of other queries.

Each query q has one passage p that answers it. In a group of n pairs, the passages of the other n - 1 queries serve as
negatives at no extra cost. The loss is the cross-entropy of "which of the n passages is mine?" (InfoNCE, van den Oord
et al. 2018, equation 4; with in-batch negatives Henderson et al. 2017):

    s_ij = cos(q_i, p_j) / τ             loss_i = -log  e^(s_ii) / Σ_j e^(s_ij)

The temperature τ is small, because cosines only range from -1 to 1: with τ = 1 even perfect vectors would have a loss
near ln n. If two queries of a group have the same passage, it is not used as a negative for either.

**A group is a fixed part of the global batch**, rows 0 … n - 1, n … 2n - 1, and so on, and is always within one
micro-batch of one process. So neither the number of processes nor gradient accumulation changes the loss or its
gradient. The common alternative, using the passages of all processes as negatives, gives more of them, but then the
result depends on the number of processes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.models.pooling import pool
from llmasos.objectives.objective import Batch, MakeRng, collate_inputs
from llmasos.tokenizers import EncodedInput, Tokenizer


class EncodedQuery(NamedTuple):
    """A query and the passage that answers it, as inputs of a model."""

    query: EncodedInput
    passage: EncodedInput


def info_nce(queries: Tensor, passages: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """The loss of each query of a group, in nats: (n,).

    >>> vectors = torch.eye(2)
    >>> info_nce(vectors, vectors, temperature=1.0)  # ln(1 + e^(0 - 1))
    tensor([0.3133, 0.3133])

    Args:
        queries, passages: (n, C) unit vectors; passage i belongs to query i.
        temperature: τ.
        same: (n, n) True where two passages are the same text; None = they all differ.
    """
    scores = queries @ passages.T / temperature  # (n, n)
    if same is not None:
        others = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        scores = scores.masked_fill(others, float("-inf"))
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device), reduction="none")


class Contrastive:
    """An example is an `EncodedQuery`; the loss is InfoNCE within groups.

    Args:
        tokenizer: its padding token pads the shorter inputs.
        temperature: τ.
        n_passages: the number of pairs in a group. The last group of the validation examples may be smaller.

    Attributes:
        weights: the weight of each term in the loss; the accuracy (the right passage is the nearest) is only logged.
    """

    weights = {"info_nce": 1.0, "accuracy": 0.0}

    def __init__(self, tokenizer: Tokenizer, temperature: float, n_passages: int):
        self.tokenizer, self.temperature, self.n_passages = tokenizer, temperature, n_passages

    def collate(self, examples: Sequence[EncodedQuery], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack B pairs to `ids`, `attention_mask` and `segments` (2B, T): the queries, then the passages."""
        inputs = [example.query for example in examples] + [example.passage for example in examples]
        return collate_inputs(inputs, self.tokenizer.pad_id)

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of pairs."""
        return dict.fromkeys(self.weights, len(batch["ids"]) // 2)

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed loss of the pairs, and how many have the right passage nearest. `model` is a `FeatureExtractor`.

        A text's vector is the mean over its tokens, as in `embed`.
        """
        hidden_states = model(batch["ids"], batch["attention_mask"], batch["segments"])  # (2B, T, C)
        hidden_states = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))  # not in bf16
        vectors = F.normalize(pool(hidden_states, batch["attention_mask"], "mean"), dim=-1)  # (2B, C)
        groups = [part.split(self.n_passages) for tensor in (vectors, batch["ids"]) for part in tensor.chunk(2)]
        loss = accuracy = vectors.new_zeros(())
        for queries, passages, _, ids in zip(*groups, strict=True):
            same = (ids[:, None] == ids).all(dim=2)  # (n, n)
            losses = info_nce(queries, passages, self.temperature, same)
            loss = loss + losses.sum()
            scores = (queries @ passages.T).detach()
            is_beaten = (scores >= scores.diagonal()[:, None]) & ~same
            accuracy = accuracy + (~is_beaten.any(dim=1)).sum()
        return {"info_nce": loss, "accuracy": accuracy}
