"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017): an encoder reads, a decoder writes.

    source (B, S) → encoder blocks → memory (B, S, C)
    target (B, T) → decoder blocks, each also attending to the memory → logits (B, T, V)

As in section 3.4 of the paper, source, target and output layer share one embedding, which is scaled by √C on the way
in. The paper's blocks are post-norm; pre-norm is an option of the config, and so is what T5 changed: relative
positions, which one table for each stack adds to the scores of all its layers (Raffel et al. 2020, section 2.1).
"""

import math

from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.base import Backbone, cached_masks, check_length, tie
from llmasos.models.config import ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import (
    DecoderBlock,
    Embedding,
    EncoderBlock,
    KVCache,
    make_final_norm,
    make_position_embedding,
    make_relative_bias,
    padding_mask,
    position_ids,
)
from llmasos.nn.cpu import with_fast_products


class Transformer(Backbone):
    """An encoder–decoder, described by a `ModelConfig`; under a head (`models/heads.py`) only its encoder."""

    def __init__(self, config: ModelConfig):
        is_relative = config.positions == "none" and config.relative_attention_num_buckets
        if config.positions not in ("sinusoidal", "sinusoidal_halves", "learned") and not is_relative:
            raise UserError(
                f"the Transformer has sinusoidal, learned or relative positions; positions is {config.positions!r}."
            )
        super().__init__(config)
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        self.position_embedding = make_position_embedding(config)
        self.encoder_bias = make_relative_bias(config, causal=False)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder_blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        self.encoder_norm = make_final_norm(config)
        if config.generates:
            self.decoder_blocks = nn.ModuleList(
                DecoderBlock(config, cross_attention=True) for _ in range(config.n_decoder_layers)
            )
            self.decoder_bias = make_relative_bias(config, causal=True)
            self.final_norm = make_final_norm(config)
            self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=config.output_bias)
            self.tie_weights()
        initialize(self, config)

    def tie_weights(self) -> None:
        """Make the output layer share the token embedding's weight, if the config says so."""
        if self.config.generates and self.config.tie_embeddings:
            tie(self.lm_head, self.token_embedding)

    def forward(self, source: Tensor, target: Tensor, source_attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) for the token that follows each position of the target (teacher forcing).

        Args:
            source: token ids (B, S).
            target: token ids (B, T), beginning with a start token. Padding at its end needs no mask: it is in the
                future of every real token.
            source_attention_mask: (B, S) booleans, False = padding.
        """
        memory = self.encode(source, source_attention_mask)
        memory_mask = padding_mask(source_attention_mask)
        x = self.embed(target, position_ids(target))
        bias = None if self.decoder_bias is None else self.decoder_bias(position_ids(target), target.size(1))
        for block in self.decoder_blocks:
            x = block(x, memory=memory, memory_mask=memory_mask, position_bias=bias)
        return self.lm_head(self.final_norm(x))

    def encode(self, source: Tensor, source_attention_mask: Tensor | None = None) -> Tensor:
        """The encoder's output, the memory: (B, S) → (B, S, C)."""
        x = self.embed(source, position_ids(source, source_attention_mask))
        mask = padding_mask(source_attention_mask)
        bias = None if self.encoder_bias is None else self.encoder_bias(position_ids(source), source.size(1))
        for block in self.encoder_blocks:
            x = block(x, mask, bias)
        return self.encoder_norm(x)

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Token embeddings (mostly times √C), plus positions unless they are relative: (B, T) → (B, T, C)."""
        check_length(ids.size(1), self.config)
        x = self.token_embedding(ids)
        if self.config.scale_embeddings:
            x = x * math.sqrt(self.config.d_model)
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        return self.dropout(x)

    # ── Generation: the source is encoded once, each token of the target is computed once ──

    @with_fast_products
    def prefill(
        self, source: Tensor, source_attention_mask: Tensor | None = None, length: int | None = None
    ) -> KVCache:
        """Encode the source and make a cache for the target: the memory's keys and values in every decoder block.

        Args:
            source, source_attention_mask: as in `forward`.
            length: the number of target tokens to make room for (None = context_length).
        """
        c, memory = self.config, self.encode(source, source_attention_mask)
        B, length = source.size(0), length or c.context_length
        cache = KVCache.empty(c.n_decoder_layers, B, c.n_kv_heads, length, c.head_size, memory.dtype, memory.device)
        cache.memory_kv = [block.cross_attention.keys_values(memory) for block in self.decoder_blocks]  # type: ignore[operator]
        cache.memory_mask = padding_mask(source_attention_mask)
        return cache

    @with_fast_products
    def decode(self, ids: Tensor, positions: Tensor, cache: KVCache, bounds: tuple[int, int] | None = None) -> Tensor:
        """The hidden states (B, T, C) of new target tokens, given a cache made by `prefill`; see `GPT.decode`."""
        end, masks = cached_masks(positions, cache, self.config, bounds)
        x = self.embed(ids, positions)
        bias = None if self.decoder_bias is None else self.decoder_bias(positions, end)  # (B, H, T, end)
        for i, block in enumerate(self.decoder_blocks):
            layer, memory_kv = cache.layer(i, positions, end), cache.memory_kv[i]
            memory_mask = cache.memory_mask
            x = block(x, masks.full, cache=layer, memory_kv=memory_kv, memory_mask=memory_mask, position_bias=bias)
        return self.final_norm(x)

    # ── Under a head: the encoder alone ──

    def hidden_states(
        self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """The encoder's output (B, T, C), for a head; segments are ignored (see `Backbone`)."""
        return self.encode(ids, attention_mask)

    def pooled(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The mean over the real positions: (B, T, C) → (B, C)."""
        if attention_mask is None:
            return hidden_states.mean(dim=1)
        total = hidden_states.masked_fill(~attention_mask[..., None], 0.0).sum(dim=1)
        return total / attention_mask.sum(dim=1, keepdim=True)
