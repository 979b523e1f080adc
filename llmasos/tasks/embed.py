"""Text embeddings: a model's hidden states, pooled over the tokens of a text (Reimers & Gurevych 2019, section 3)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models import Model
from llmasos.models.base import Backbone
from llmasos.models.pooling import pool
from llmasos.nn import eval_mode
from llmasos.objectives.objective import collate_inputs
from llmasos.tokenizers import EncodedInput, Tokenizer

POOLING = ("mean", "max", "first", "last", "pooled")


def embed(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str | Sequence[int]],
    pooling: str | None = None,
    normalize: bool = True,
    batch_size: int = 64,
) -> Tensor:
    """One vector for each text: (N, C) in float32, on the CPU.

    Args:
        model: a model of any family, with any head.
        tokenizer: the tokenizer it was trained with.
        texts: N texts, as strings or token ids; those longer than the context are truncated.
        pooling: "mean" or "max" over the text's tokens, the "first" or the "last" of them, or "pooled", the family's
            own representation of a whole text (see `Backbone.pooled`); None = the model's recommendation, or "mean".
        normalize: scale every vector to unit length, so that the dot product of two is their cosine similarity.
        batch_size: the number of texts computed at once; only affects speed and memory.

    Raises:
        UserError: there is no such pooling, or the texts are a single string.
    """
    pooling = model.embedding_config.pooling if pooling is None else pooling
    if pooling not in POOLING:
        raise UserError(f"pooling is {pooling!r}; it must be {' or '.join(POOLING)}.")
    if isinstance(texts, str):
        raise UserError("the texts are one string; they must be a list of strings, for example [text].")
    backbone = cast(Backbone, getattr(model, "backbone", model))
    run = backbone.hidden_states if backbone is model else backbone
    encoded = [encode_text(tokenizer, text, longest_text(model)) for text in texts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))  # similar lengths together: little padding
    vectors = torch.zeros(len(encoded), model.config.d_model)
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {k: v.to(device) for k, v in collate_inputs([encoded[i] for i in rows], tokenizer.pad_id).items()}
            mask = batch["attention_mask"]  # (B, T)
            hidden_states = run(batch["ids"], mask, batch["segments"])  # (B, T, C)
            pooled = backbone.pooled(hidden_states, mask) if pooling == "pooled" else pool(hidden_states, mask, pooling)
            vectors[rows] = pooled.float().cpu()
    return F.normalize(vectors, dim=-1) if normalize else vectors


def encode_text(tokenizer: Tokenizer, text: str | Sequence[int], max_length: int) -> EncodedInput:
    """Encode a text as a model's input, truncated to `max_length` tokens including special ones."""
    ids = tokenizer.encode(text) if isinstance(text, str) else list(text)
    return tokenizer.build_inputs(ids[: max_length - tokenizer.n_special_tokens(1)])


def longest_text(model: Model) -> int:
    """The maximum number of tokens of a text, including special ones."""
    return min(model.embedding_config.max_length or model.config.context_length, model.config.context_length)
