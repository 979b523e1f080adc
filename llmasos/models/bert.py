"""BERT: a stack of encoder blocks that reads a text in both directions (Devlin et al. 2019).

    ids (B, T) → embeddings (B, T, C) → L blocks (B, T, C) → for each position: which token stood here?   (B, T, V)
                                                           → for the first ([CLS]): do the two texts follow?  (B, 2)

The embedding of a position is the sum of three: its token, its place, and its segment (first or second text). The
original has post-norm blocks, the exact GELU, and norm_eps 1e-12.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import EncoderBlock, LearnedPositions, make_norm, padding_mask, positions_of
from llmasos.nn.feed_forward import ACTIVATIONS


class BERTOutput(NamedTuple):
    """What pre-training asks of BERT."""

    masked: Tensor  # (B, T, V), or (N, V) for N chosen positions: logits of the token that stood there
    next_sentence: Tensor  # (B, 2): logits of [the second text follows the first, it does not]


class BERT(nn.Module):
    """An encoder with the two heads of its pre-training, described by a `ModelConfig`.

    Under a head of another task (`models/heads.py`) those two are not built, nor under "span" the pooler, which only
    judges of whole texts need.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.positions != "learned":
            raise UserError(f"BERT has learned positions; positions is {config.positions!r}.")
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = LearnedPositions(config.context_length, config.d_model)
        self.segment_embedding = nn.Embedding(config.n_segments, config.d_model)
        self.embedding_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        self.final_norm = make_norm(config) if config.norm_position == "pre" else nn.Identity()
        if config.head != "question_answering":
            self.pooler = nn.Linear(config.d_model, config.d_model)
        if config.is_pretraining:
            self.masked_lm_head = MaskedLMHead(config)
            self.next_sentence_head = nn.Linear(config.d_model, 2)
            if config.tie_embeddings:
                self.masked_lm_head.decoder.weight = self.token_embedding.weight
        initialize(self)

    def forward(
        self,
        ids: Tensor,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        predict: Tensor | None = None,
    ) -> BERTOutput:
        """Both predictions of pre-training.

        Args:
            ids, attention_mask, segments: see `hidden`.
            predict: (B, T) booleans with N True, the positions whose tokens are to be predicted; None = all. The
                output layer is the largest matrix of a small BERT, and it is asked about one position in seven.
        """
        hidden = self.hidden_states(ids, attention_mask, segments)
        masked = self.masked_lm_head(hidden if predict is None else hidden[predict])
        return BERTOutput(masked, self.next_sentence_head(self.pooled(hidden, attention_mask)))

    def hidden_states(
        self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """What the model has made of each position after the last block.

        Args:
            ids: token ids (B, T).
            attention_mask: (B, T) booleans, False = padding, which nobody attends to.
            segments: (B, T) numbers of the text each token belongs to, 0 or 1; None = all of the first.

        Returns:
            (B, T, C). What stands at padded positions has no meaning.

        Raises:
            UserError: the sequence is longer than context_length.
        """
        if ids.size(1) > self.config.context_length:
            raise UserError(
                f"a sequence of {ids.size(1)} tokens does not fit the model's context of {self.config.context_length}: "
                "shorten the text, or use a model with a longer context_length."
            )
        positions = (
            torch.arange(ids.size(1), device=ids.device)[None]
            if attention_mask is None
            else positions_of(attention_mask)
        )
        segments = torch.zeros_like(ids) if segments is None else segments
        x = self.token_embedding(ids) + self.position_embedding(positions) + self.segment_embedding(segments)
        x = self.dropout(self.embedding_norm(x))  # (B, T, C)
        mask = None if attention_mask is None else padding_mask(attention_mask)
        for block in self.blocks:
            x = block(x, mask)
        return self.final_norm(x)

    def pooled(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector for the whole sequence, from its first real position ([CLS]): (B, T, C) → (B, C)."""
        first = (
            0 if attention_mask is None else attention_mask.long().argmax(dim=1)
        )  # (B,): argmax gives the first True
        return torch.tanh(self.pooler(hidden[torch.arange(len(hidden), device=hidden.device), first]))


class MaskedLMHead(nn.Module):
    """From hidden states to logits over the vocabulary: dense, activation, norm, token embedding transposed."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.activation = ACTIVATIONS["gelu" if config.activation == "swiglu" else config.activation][not config.fused]
        self.norm = make_norm(config)
        self.decoder = nn.Linear(config.d_model, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.norm(self.activation(self.dense(x))))  # (…, C) → (…, V)
