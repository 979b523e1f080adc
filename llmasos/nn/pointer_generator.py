"""Copying: a decoder that generates a token from its vocabulary, or copies a token of the source.

The pointer-generator of See, Liu and Manning 2017, "Get To The Point" (section 2.2, equations 8 and 9), after the
pointer networks of Vinyals et al. 2015:

    P(w) = p_gen · P_vocab(w)  +  (1 - p_gen) · Σ a_s over the source positions s that hold w

A token that was never a target in training has almost no probability under P_vocab, but it can be copied from the
source.

Dimensions: B batch, T target positions, S source positions, C d_model, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn


def copy_distribution(p_gen: Tensor, vocabulary: Tensor, attention: Tensor, source: Tensor) -> Tensor:
    """Mix a distribution over the vocabulary with the attention to the source, summed by token (equation 9).

    >>> p = copy_distribution(torch.tensor([[0.6]]), torch.tensor([[[0.5, 0.5, 0.0]]]),
    ...                       torch.tensor([[[0.7, 0.2, 0.1]]]), torch.tensor([[2, 0, 2]]))
    >>> [round(x, 2) for x in p[0, 0].tolist()]
    [0.38, 0.3, 0.32]

    Args:
        p_gen: (B, T), the probability of generating instead of copying.
        vocabulary: (B, T, V), a distribution over the vocabulary.
        attention: (B, T, S), a distribution over the source positions.
        source: (B, S) token ids.

    Returns:
        (B, T, V), a distribution over the vocabulary.
    """
    copied = (1 - p_gen)[..., None] * attention
    return (p_gen[..., None] * vocabulary).scatter_add(-1, source[:, None].expand_as(attention), copied)


class CopyHead(nn.Module):
    """Compute p_gen and the attention to the source from a decoder's hidden states, with one head of width C.

    Args:
        d_model: C.
    """

    def __init__(self, d_model: int):
        super().__init__()
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.gate = nn.Linear(d_model, 1)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute whether to copy, and from where.

        Args:
            x: the decoder's hidden states (B, T, C).
            memory: the encoder's output (B, S, C).
            mask: (B, S) booleans, False = padding, which is never copied; None = no padding.

        Returns:
            p_gen (B, T), and the attention (B, T, S), 0 at padding.
        """
        scores = self.q_proj(x) @ self.k_proj(memory).transpose(1, 2) / math.sqrt(x.size(-1))  # (B, T, S)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
        return self.gate(x).sigmoid()[..., 0], scores.softmax(dim=-1)
