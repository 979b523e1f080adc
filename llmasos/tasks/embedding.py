"""Texts as vectors: what any model makes of a text, averaged over its tokens (Reimers & Gurevych 2019, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.nn import eval_mode
from llmasos.objectives.collation import collate_inputs
from llmasos.tokenizers import Tokenizer

POOLING = ("mean", "summary")


def embed(
    model: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pooling: str = "mean",
    normalise: bool = True,
    batch_size: int = 64,
) -> Tensor:
    """One vector for each text: (N, C) in float32, on the CPU.

    Args:
        model: of any family, with any head.
        tokenizer: the one it was trained with.
        texts: N texts. Of one that is longer than the context the beginning is read.
        pooling: "mean" over the text's tokens, or "summary": the token that stands for the whole in the family.
        normalise: make every vector one long, so that the scalar product of two is the cosine between them.
        batch_size: how many are computed at once; changes speed and memory only.

    Raises:
        UserError: another pooling, or one text in place of a list.
    """
    if pooling not in POOLING:
        raise UserError(f"pooling is {pooling!r}; it must be {' or '.join(POOLING)}.")
    if isinstance(texts, str):
        raise UserError("the texts are one string; they must be a list of strings, for example [text].")
    body = getattr(model, "backbone", model)
    room = model.config.context_length - tokenizer.n_special_tokens(1)
    encoded = [tokenizer.build_inputs(tokenizer.encode(text)[:room]) for text in texts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))  # alike lengths together: little padding
    vectors = torch.zeros(len(encoded), model.config.d_model)
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {k: v.to(device) for k, v in collate_inputs([encoded[i] for i in rows], tokenizer.pad_id).items()}
            features = body.hidden_states(batch["ids"], batch["attention_mask"], batch["segments"])  # (B, T, C)
            if pooling == "mean":
                attention_mask = batch["attention_mask"][..., None]  # (B, T, 1)
                pooled = features.masked_fill(~attention_mask, 0.0).sum(dim=1) / attention_mask.sum(dim=1)
            else:
                pooled = body.pooled(features, batch["attention_mask"])
            vectors[rows] = pooled.float().cpu()
    return F.normalize(vectors, dim=-1) if normalise else vectors
