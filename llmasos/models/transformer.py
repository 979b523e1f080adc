"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017): an encoder reads, a decoder writes.

    source (B, S) → encoder blocks → memory (B, S, C)
    target (B, T) → decoder blocks, each also looking at the memory → logits (B, T, V)

As in section 3.4 of the paper, source, target and output layer share one embedding, which is scaled by √C on the way
in. The paper's blocks are post-norm; pre-norm is an option of the config.
"""

import math

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import (
    DecoderBlock,
    EncoderBlock,
    KVCache,
    LearnedPositions,
    Linear,
    SinusoidalPositions,
    make_norm,
    padding_mask,
    position_mask,
    positions_of,
)


class Transformer(nn.Module):
    """An encoder–decoder, described by a `ModelConfig`; under a head (`models/heads.py`) an encoder without decoder."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.positions not in ("sinusoidal", "sinusoidal_halves", "learned"):
            raise UserError(f"the Transformer has sinusoidal or learned positions; positions is {config.positions!r}.")
        self.config = config
        pre_norm = config.norm_position == "pre"
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.position_embedding = LearnedPositions(config.context_length, config.d_model)
        else:
            halves = config.positions == "sinusoidal_halves"
            self.position_embedding = SinusoidalPositions(config.context_length, config.d_model, halves)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder_blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        self.encoder_norm = make_norm(config) if pre_norm else nn.Identity()
        if config.is_pretraining:
            self.decoder_blocks = nn.ModuleList(
                DecoderBlock(config, cross_attention=True) for _ in range(config.n_decoder_layers)
            )
            self.final_norm = make_norm(config) if pre_norm else nn.Identity()
            self.lm_head = Linear(config.d_model, config.vocab_size, bias=config.output_bias)
            if config.tie_embeddings:
                self.lm_head.weight = self.token_embedding.weight
        initialize(self, embedding_std=1.0 / math.sqrt(config.d_model))

    def forward(self, source: Tensor, target: Tensor, source_attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) for the token that follows each position of the target (teacher forcing).

        Args:
            source: token ids (B, S).
            target: token ids (B, T), beginning with a start token. Padding at its end needs no mask: it stands in
                everybody's future.
            source_attention_mask: (B, S) booleans, False = padding.
        """
        memory = self.encode(source, source_attention_mask)
        positions = torch.arange(target.size(1), device=target.device)[None]
        x = self.embed(target, positions, target.size(1))
        mask = None if source_attention_mask is None else padding_mask(source_attention_mask)
        for block in self.decoder_blocks:
            x = block(x, source=memory, source_mask=mask)
        return self.lm_head(self.final_norm(x))

    def encode(self, source: Tensor, source_attention_mask: Tensor | None = None) -> Tensor:
        """What the encoder makes of the source: (B, S) → (B, S, C)."""
        positions = torch.arange(source.size(1), device=source.device)[None]
        x = self.embed(
            source, positions if source_attention_mask is None else positions_of(source_attention_mask), source.size(1)
        )
        mask = None if source_attention_mask is None else padding_mask(source_attention_mask)
        for block in self.encoder_blocks:
            x = block(x, mask)
        return self.encoder_norm(x)

    def hidden_states(
        self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """What a head reads (see `models/heads.py`): (B, T) → (B, T, C). The Transformer ignores segments."""
        return self.encode(ids, attention_mask)

    def pooled(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector for the whole sequence, the mean over its real positions: (B, T, C) → (B, C)."""
        if attention_mask is None:
            return hidden_states.mean(dim=1)
        return hidden_states.masked_fill(~attention_mask[..., None], 0.0).sum(dim=1) / attention_mask.sum(
            dim=1, keepdim=True
        )

    def embed(self, ids: Tensor, positions: Tensor, end: int) -> Tensor:
        """Token embeddings times √C, plus positions, all of them before `end`: (B, T) → (B, T, C).

        Raises:
            UserError: `end` lies beyond context_length.
        """
        if end > self.config.context_length:
            raise UserError(
                f"a sequence of {end} tokens does not fit the model's context of {self.config.context_length}: shorten "
                "the text, or use a model with a longer context_length."
            )
        x = self.token_embedding(ids) * math.sqrt(self.config.d_model) + self.position_embedding(positions)
        return self.dropout(x)

    def prefill(
        self, source: Tensor, source_attention_mask: Tensor | None = None, length: int | None = None
    ) -> KVCache:
        """Read the source once and prepare a cache for writing: the memory's keys and values in every decoder block.

        Args:
            source, source_attention_mask: as in `forward`.
            length: how many target tokens there shall be room for (None = context_length).
        """
        c, memory = self.config, self.encode(source, source_attention_mask)
        cache = KVCache.empty(
            c.n_decoder_layers,
            source.size(0),
            c.n_kv_heads,
            length or c.context_length,
            c.head_size,
            memory.dtype,
            memory.device,
        )
        cache.source = [block.cross_attention.keys_values(memory) for block in self.decoder_blocks]
        cache.source_mask = None if source_attention_mask is None else padding_mask(source_attention_mask)
        return cache

    def decode(self, ids: Tensor, positions: Tensor, cache: KVCache, bounds: tuple[int, int] | None = None) -> Tensor:
        """Go on writing: what the decoder makes of new target tokens (B, T) at `positions` (B, T), given the cache.

        Returns:
            (B, T, C), normalised and ready for `lm_head`. Same arguments and meaning as `GPT.hidden` with a cache.

        Raises:
            UserError: a position lies beyond context_length or beyond the cache.
        """
        end = int(positions.max()) + 1
        x = self.embed(ids, positions, end)
        if end > cache.length:
            raise UserError(f"position {end - 1} lies beyond the cache of {cache.length} tokens: make it longer.")
        mask = position_mask(positions, end)
        for i, block in enumerate(self.decoder_blocks):
            x = block(x, mask, None, cache.at(i, positions, end), cache.source[i], cache.source_mask)
        return self.final_norm(x)
