"""GPT: a stack of decoder blocks that predicts the next token at every position (Radford et al. 2018, 2019).

    ids (B, T) → embeddings (B, T, C) → L blocks (B, T, C) → norm → logits (B, T, V)

The same class is GPT-2 (learned positions, LayerNorm, GELU), Llama (rotary positions, RMSNorm, SwiGLU, grouped-query
attention), GPT-NeoX and Gemma 3: only the config differs.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmasos.models.base import Backbone, Masks, cached_masks, check_length, tie, with_window
from llmasos.models.config import ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import (
    DecoderBlock,
    Embedding,
    KVCache,
    LayerCache,
    NgramEmbedding,
    make_final_norm,
    make_local_rotary,
    make_position_embedding,
    make_rotary,
    padding_mask,
    position_ids,
)
from llmasos.nn.cpu import with_fast_products


class GPT(Backbone):
    """A decoder-only language model, described by a `ModelConfig`."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        if config.max_ngram > 1:
            self.ngram_embedding = NgramEmbedding(config.max_ngram, config.ngram_buckets, config.d_model)
        self.position_embedding = make_position_embedding(config)
        self.rotary, self.local_rotary = make_rotary(config), make_local_rotary(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layers))
        if config.value_embeddings:
            n_values = config.n_kv_heads * config.head_size
            self.value_embeddings = nn.ModuleList(Embedding(config.vocab_size, n_values) for _ in self.blocks)
        self.final_norm = make_final_norm(config)
        if config.generates:
            self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=config.output_bias)
            self.tie_weights()
        initialize(self, config)

    def tie_weights(self) -> None:
        """Make the output layer share the token embedding's weight, if the config says so."""
        if self.config.generates and self.config.tie_embeddings:
            tie(self.lm_head, self.token_embedding)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) for the token that follows each position.

        Args:
            ids: token ids (B, T).
            attention_mask: (B, T) booleans, False = padding, on either side; None = no padding.
        """
        return self.lm_head(self.hidden_states(ids, attention_mask))

    def hidden_states(
        self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """The residual stream after the last block, normalized and ready for `lm_head`: (B, T) → (B, T, C).

        Args:
            ids, attention_mask: see `forward`.
            segments: ignored; heads pass them to every family (see `Backbone`).
        """
        check_length(ids.size(1), self.config)
        positions = position_ids(ids, attention_mask)
        mask = padding_mask(attention_mask)  # the blocks are causal by themselves
        masks = with_window(mask, position_ids(ids), ids.size(1), self.config)
        return self.run_blocks(ids, positions, masks)

    def run_blocks(
        self,
        ids: Tensor,
        positions: Tensor,
        masks: Masks | None,
        caches: Sequence[LayerCache] | None = None,
        history: Tensor | None = None,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Embeddings, blocks, final norm: token ids and their positions (B, T) → (B, T, C).

        `masks` say what each token may attend to (None = everything). `history` (B, P) are all cached tokens, including
        these; None = there are no others. `prefix` (B, N, C) are vectors before the token embeddings, such as those of
        an image (`models/image_captioning.py`); then T in positions, masks and the result is N + T.
        """
        masks = masks or Masks(None, None)
        x = self.token_embedding(ids)  # (B, T, C)
        if self.config.scale_embeddings:
            x = x * math.sqrt(self.config.d_model)
        if self.config.max_ngram > 1:
            x = x + self.ngram_embedding(ids, self.earlier_ids(ids, positions, history))
        if prefix is not None:
            x = torch.cat((prefix, x), dim=1)  # (B, N + T, C)
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        x = self.dropout(x)
        rotary = None if self.rotary is None else self.rotary(positions)
        local_rotary = rotary if self.local_rotary is None else self.local_rotary(positions)
        for i, block in enumerate(self.blocks):
            token_values = self.value_embeddings[i](ids) if self.config.value_embeddings else None  # (B, T, Hkv·D)
            mask, turns = (masks.sliding, local_rotary) if self.config.is_sliding(i) else (masks.full, rotary)
            x = block(x, mask, turns, None if caches is None else caches[i], token_values=token_values)
        return self.final_norm(x)

    def earlier_ids(self, ids: Tensor, positions: Tensor, history: Tensor | None) -> Iterator[Tensor]:
        """Yield the tokens 1, 2, … N - 1 places before each of these, (B, T); the id V where there is none."""
        positions = positions.expand_as(ids)
        for n in range(1, self.config.max_ngram):
            if history is None:
                earlier = functional.pad(ids, (n, 0))[:, :-n]
            else:
                earlier = history.gather(1, (positions - n).clamp(min=0))
            yield earlier.where(positions >= n, self.config.vocab_size)

    # ── Generation: each token is computed once, its keys and values are kept in a cache ──

    def make_cache(self, batch_size: int, length: int | None = None) -> KVCache:
        """An empty cache for `batch_size` sequences of up to `length` tokens (None = the whole context)."""
        c, weight = self.config, next(self.parameters())  # any float parameter: even a quantized model has some
        length = length or c.context_length
        cache = KVCache.empty(c.n_layers, batch_size, c.n_kv_heads, length, c.head_size, weight.dtype, weight.device)
        if c.max_ngram > 1:
            cache.ids = torch.zeros(batch_size, length, dtype=torch.long, device=weight.device)
        return cache

    @with_fast_products
    def decode(
        self,
        ids: Tensor,
        positions: Tensor,
        cache: KVCache,
        bounds: tuple[int, int] | None = None,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Compute the hidden states (B, T, C) of new tokens; their keys and values are written to the cache.

        Args:
            ids: token ids (B, T).
            positions: the tokens' positions, (B, T) or (1, T). Each token sees every cached position up to its own, so
                padding on the right needs no mask (see `nn/cache.py`).
            cache: keys and values of earlier positions.
            bounds: (lowest position, highest position + 1); None = read from `positions`, which forces a GPU to
                synchronize.
            prefix: (B, N, C) vectors before the tokens; then T in positions and the result is N + T.

        Raises:
            UserError: a position is beyond context_length or beyond the cache.
        """
        end, masks = cached_masks(positions, cache, self.config, bounds)
        caches = [cache.layer(i, positions, end) for i in range(self.config.n_layers)]
        return self.run_blocks(ids, positions, masks, caches, cache.write_ids(positions, ids), prefix)

    def pooled(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The vector of the last real token, the only one that has seen the whole text: (B, T, C) → (B, C)."""
        if attention_mask is None:
            return hidden_states[:, -1]
        last = attention_mask.size(1) - 1 - attention_mask.long().flip(1).argmax(dim=1)  # (B,): the last True
        return hidden_states[torch.arange(last.size(0), device=last.device), last]
