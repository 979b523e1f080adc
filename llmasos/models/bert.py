"""BERT: a stack of encoder blocks that reads a text in both directions (Devlin et al. 2019).

    ids (B, T) → embeddings (B, T, C) → L blocks (B, T, C) → each position: which token was here?          (B, T, V)
                                                           → the first, [CLS]: do the two texts follow?    (B, 2)

The embedding of a position is the sum of three: its token, its position, and its segment (first or second text). The
original has post-norm blocks, the exact GELU, and norm_eps 1e-12. DistilBERT (Sanh et al. 2019) has neither segments
nor next sentences; MPNet (Song et al. 2020) adds relative positions to the scores. ModernBERT (Warner et al. 2024) has
pre-norm blocks with rotary positions, most of which see only a window around each token.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.base import Backbone, check_length, tie
from llmasos.models.config import ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import (
    Embedding,
    EncoderBlock,
    LearnedPositions,
    local_mask,
    make_final_norm,
    make_local_rotary,
    make_norm,
    make_relative_bias,
    make_rotary,
    padding_mask,
    position_ids,
)
from llmasos.nn.feed_forward import ACTIVATIONS


class BERTOutput(NamedTuple):
    """The two predictions of pretraining."""

    masked: Tensor  # (B, T, V), or (N, V) for N chosen positions: logits of the token that was there
    next_sentence: Tensor | None  # (B, 2): logits of [the second text follows the first, it does not]


class BERT(Backbone):
    """An encoder with the two heads of its pretraining, described by a `ModelConfig`.

    Under the head of another task (`models/heads.py`) those two are not built; question answering and token
    classification also omit the pooler, which is only needed for predictions about the whole text.
    """

    def __init__(self, config: ModelConfig):
        if config.positions not in ("learned", "rotary"):
            raise UserError(f"BERT has learned or rotary positions; positions is {config.positions!r}.")
        super().__init__(config)
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        self.rotary, self.local_rotary = make_rotary(config), make_local_rotary(config)
        self.position_embedding = None
        if self.rotary is None:
            self.position_embedding = LearnedPositions(config.context_length, config.d_model)
        if config.n_segments:
            self.segment_embedding = Embedding(config.n_segments, config.d_model)
        self.embedding_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.relative_bias = make_relative_bias(config, causal=False)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        if not config.first_norm:
            first: Any = self.blocks[0]
            first.attention_residual.norm = nn.Identity()
        self.final_norm = make_final_norm(config)
        if config.has_pooler:
            norm_last = config.pooler == "norm"
            self.pooler = PredictionHead(config) if norm_last else nn.Linear(config.d_model, config.d_model)
        if config.is_pretraining:
            self.masked_lm_head = MaskedLMHead(config)
            if config.next_sentence:
                self.next_sentence_head = nn.Linear(config.d_model, 2)
            self.tie_weights()
        initialize(self, config)

    def tie_weights(self) -> None:
        """Make the output layer share the token embedding's weight, if the config says so."""
        if self.config.is_pretraining and self.config.tie_embeddings:
            tie(self.masked_lm_head.decoder, self.token_embedding)

    def forward(
        self,
        ids: Tensor,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        predict: Tensor | None = None,
    ) -> BERTOutput:
        """Compute the predictions of pretraining: tokens and, if the config says so, the next sentence.

        Args:
            ids, attention_mask, segments: see `Backbone.hidden_states`.
            predict: (B, T) booleans with N True, the positions whose tokens are to be predicted; None = all. The
                output layer is the largest matrix of a small BERT, and only one position in seven needs it.
        """
        hidden_states = self.hidden_states(ids, attention_mask, segments)
        masked = self.masked_lm_head(hidden_states if predict is None else hidden_states[predict])
        if not self.config.next_sentence:
            return BERTOutput(masked, None)
        return BERTOutput(masked, self.next_sentence_head(self.pooled(hidden_states, attention_mask)))

    def hidden_states(
        self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """The residual stream after the last block: (B, T) → (B, T, C); see `Backbone.hidden_states`."""
        check_length(ids.size(1), self.config)
        positions = position_ids(ids, attention_mask)
        x = self.token_embedding(ids)
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        if self.config.n_segments:
            if segments is None or self.config.n_segments == 1:  # a single segment cannot distinguish two texts
                segments = torch.zeros_like(ids)
            x = x + self.segment_embedding(segments)
        x = self.dropout(self.embedding_norm(x))  # (B, T, C)
        mask = near = padding_mask(attention_mask)
        if self.config.sliding_window is not None:
            window = local_mask(ids.size(1), self.config.sliding_window // 2, ids.device)
            near = window if mask is None else mask & window
        bias = None if self.relative_bias is None else self.relative_bias(position_ids(ids), ids.size(1))
        rotary = None if self.rotary is None else self.rotary(positions)
        local_rotary = rotary if self.local_rotary is None else self.local_rotary(positions)
        for i, block in enumerate(self.blocks):
            visible, turns = (near, local_rotary) if self.config.is_sliding(i) else (mask, rotary)
            x = block(x, visible, bias, turns)
        return self.final_norm(x)

    def pooled(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The vector of [CLS], the first token that is not padding, through the pooler: (B, T, C) → (B, C).

        With `classifier_pooling` "mean", the mean over all tokens that are not padding.
        """
        if self.config.classifier_pooling == "mean":
            mask = torch.ones_like(hidden_states[..., 0]) if attention_mask is None else attention_mask
            cls = (hidden_states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        elif attention_mask is None:
            cls = hidden_states[:, 0]
        else:
            first = attention_mask.long().argmax(dim=1)  # (B,): argmax gives the first True
            cls = hidden_states[torch.arange(first.size(0), device=first.device), first]
        if not self.config.has_pooler:
            return cls
        pooled = self.pooler(cls)
        if self.config.pooler == "norm":
            return pooled
        return torch.tanh(pooled) if self.config.pooler == "tanh" else torch.relu(pooled)


class PredictionHead(nn.Module):
    """The layers before an output layer: dense layer, activation, norm: (…, C) → (…, C)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model, bias=config.pooler != "norm")
        self.activation = ACTIVATIONS["gelu" if config.gate else config.activation][not config.fused]
        self.norm = make_norm(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x)))


class MaskedLMHead(PredictionHead):
    """Compute logits over the vocabulary from hidden states; the last matrix is the token embedding, transposed."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.decoder = nn.Linear(config.d_model, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(super().forward(x))  # (…, C) → (…, V)
