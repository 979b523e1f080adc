"""GPT: a stack of decoder blocks that predicts the next token at every position (Radford et al. 2018, 2019).

    ids (B, T) → embeddings (B, T, C) → L blocks (B, T, C) → norm → logits (B, T, V)

The same class is GPT-2 (learned positions, LayerNorm, GELU) and a Llama (rotary, RMSNorm, SwiGLU, grouped-query heads):
only the config differs.
"""

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig
from llmasos.models.init import initialize
from llmasos.nn import (
    DecoderBlock,
    KVCache,
    LearnedPositions,
    Linear,
    Rotary,
    SinusoidalPositions,
    make_norm,
    padding_mask,
    position_mask,
    positions_of,
)


class GPT(nn.Module):
    """A decoder-only language model, described by a `ModelConfig`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.position_embedding = LearnedPositions(config.context_length, config.d_model)
        elif config.positions.startswith("sinusoidal"):
            halves = config.positions == "sinusoidal_halves"
            self.position_embedding = SinusoidalPositions(config.context_length, config.d_model, halves)
        else:
            self.position_embedding = None
        self.rotary = None
        if config.positions == "rotary":
            self.rotary = Rotary(config.context_length, config.head_size, config.rotary_base, config.rotary_scaling)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layers))
        self.final_norm = make_norm(config) if config.norm_position == "pre" else nn.Identity()
        if config.is_pretraining:
            self.lm_head = Linear(config.d_model, config.vocab_size, bias=config.output_bias)
            if config.tie_embeddings:
                self.lm_head.weight = self.token_embedding.weight
        initialize(self)

    def forward(
        self,
        ids: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits (B, T, V) for the token that follows each position. The arguments are those of `hidden`."""
        return self.lm_head(self.hidden_states(ids, attention_mask, None, positions, cache))

    def hidden_states(
        self,
        ids: Tensor,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """What the model has made of each position after the last block.

        Args:
            ids: token ids (B, T).
            attention_mask: (B, T) booleans, False = padding, which nobody attends to; it may stand on either side.
            positions: where each token stands (B, T); None = 0, 1, 2, … counting real tokens only.
            cache: keys and values of earlier positions. The new tokens are written at `positions`, and each sees
                every cached position up to its own; `attention_mask` is not needed then (see `nn/cache.py`).

        Returns:
            (B, T, C), normalised and ready for `lm_head`.

        Raises:
            UserError: a position lies beyond context_length.
        """
        if positions is None:
            if cache is not None:
                raise ValueError("with a cache, say at which positions the new tokens stand")
            positions = (
                torch.arange(ids.size(1), device=ids.device)[None]
                if attention_mask is None
                else positions_of(attention_mask)
            )
            end = ids.size(1)
        else:
            end = int(positions.max()) + 1
        if end > self.config.context_length:
            raise UserError(
                f"position {end - 1} lies beyond the model's context of {self.config.context_length} tokens: shorten "
                "the text, or use a model with a longer context_length."
            )

        if cache is not None:
            if attention_mask is not None:
                raise ValueError(
                    "a cache takes no `attention_mask`: position_mask already hides every slot beyond a token's own"
                )
            if end > cache.length:
                raise UserError(f"position {end - 1} lies beyond the cache of {cache.length} tokens: make it longer.")
            last = ids.size(1) == 1 and int(positions.min()) == end - 1  # each row's one query sees all `end` keys
            mask = None if last else position_mask(positions, end)  # (B, 1, T, end)
        else:
            mask = (
                None if attention_mask is None else padding_mask(attention_mask)
            )  # the blocks are causal by themselves

        x = self.token_embedding(ids)  # (B, T, C)
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        x = self.dropout(x)
        rotary = None if self.rotary is None else self.rotary(positions)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, rotary, None if cache is None else cache.at(i, positions, end))
        return self.final_norm(x)

    def decode(self, ids: Tensor, positions: Tensor, cache: KVCache, bounds: tuple[int, int] | None = None) -> Tensor:
        return self.hidden_states(ids, positions=positions, cache=cache)

    def pooled(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """One vector for the whole sequence, from its last real position, which has seen all: (B, T, C) → (B, C)."""
        last = (
            -1 if attention_mask is None else attention_mask.size(1) - 1 - attention_mask.long().flip(1).argmax(dim=1)
        )  # (B,): the last True
        return hidden_states[torch.arange(len(hidden_states), device=hidden_states.device), last]

    def make_cache(self, batch_size: int, length: int | None = None) -> KVCache:
        """An empty cache for `batch_size` sequences of up to `length` tokens (None = the whole context)."""
        c, weight = self.config, next(self.parameters())  # any of them; a rounded embedding (`nn/int8.py`) is none
        length = length or c.context_length
        return KVCache.empty(c.n_layers, batch_size, c.n_kv_heads, length, c.head_size, weight.dtype, weight.device)
