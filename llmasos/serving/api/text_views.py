"""The views `tokens`, `logit_lens` and `attention` of `/v1/inspect`: how a model reads a text.

All views write tokens and numbers alike: see `token_to_dict` and `rounded`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.interpret import (
    TokenScore,
    attention_maps,
    lens_rows,
    score_masked_tokens,
    score_target,
    score_tokens,
    telling_head,
    trivial_keys,
)
from llmasos.models import Backbone, Model
from llmasos.tokenizers import Tokenizer

ATTENTION_TYPES = ("self_attention", "decoder_self_attention", "cross_attention")
"""A text attends to itself (in a translator, the source), the translation to itself, or it to the source."""
DIGITS = 4  # decimals of a number
LENS_TOP_K = 3  # how many tokens each layer predicts at each position
PASSES_PER_JOB = 4  # forward passes of a BERT in one job

Job = Callable[[], Any]
Run = Callable[[Job], Any]


@dataclass(frozen=True)
class ModelInput:
    """The ids of a text, and of its translation if there is one.

    Attributes:
        ids: the ids of the text, with all the special tokens that the model expects.
        target: the ids of the translation, with the end-of-text token; None = there is none.
        start: the decoder's first input token.
    """

    ids: list[int]
    target: list[int] | None = None
    start: int | None = None

    @property
    def decoder_ids(self) -> list[int]:
        """The decoder's input: at each position it predicts the token of `target` at that position."""
        assert self.start is not None and self.target is not None
        return [self.start, *self.target[:-1]]

    @property
    def length(self) -> int:
        """The number of tokens of the longer of the two."""
        return max(len(self.ids), len(self.target or ()))


def token_view(model: Model, tokenizer: Tokenizer, model_input: ModelInput, n: int, run: Run) -> dict[str, Any]:
    """The probability of each token. Raises UserError for a translator without a target."""
    if (target := model_input.target) is not None:
        scores = run(lambda: score_target(model, tokenizer, model_input.ids, target, n))
        source = token_list(tokenizer, model_input.ids)
        return {"source": source, "tokens": [score_to_dict(tokenizer, score) for score in scores]}
    if model.config.family == "transformer":
        raise UserError("a translator predicts the tokens of a translation; send the translation as target.")
    if model.config.family == "bert":
        scores, positions = [], range(len(model_input.ids))
        for start in positions[::PASSES_PER_JOB]:
            chunk = positions[start : start + PASSES_PER_JOB]
            scores += run(partial(score_masked_tokens, model, tokenizer, model_input.ids, n, chunk))
    else:
        scores = run(lambda: score_tokens(model, tokenizer, model_input.ids, n))
    return {"tokens": [score_to_dict(tokenizer, score) for score in scores]}


def score_to_dict(tokenizer: Tokenizer, score: TokenScore) -> dict[str, Any]:
    """One token and its alternatives."""
    alternatives = [
        {
            "id": id,
            "token": text,
            "logprob": round(logprob, DIGITS),
            "bytes": list(tokenizer.token_bytes(id)),
        }
        for id, text, logprob in score.alternatives
    ]
    [token] = token_list(tokenizer, [score.id])
    own_logprob = None if score.logprob is None else round(score.logprob, DIGITS)
    return token | {"logprob": own_logprob, "rank": score.rank, "alternatives": alternatives}


def logit_lens_view(model: Model, tokenizer: Tokenizer, model_input: ModelInput, run: Run) -> dict[str, Any]:
    """What each layer would predict."""
    rows = ({"layer": row.layer, "predictions": top_predictions(tokenizer, row.logits)}
            for row in lens_rows(model, torch.tensor(model_input.ids)))  # fmt: skip
    layers = []
    while (layer := run(lambda: next(rows, None))) is not None:
        layers.append(layer)
    return {"tokens": token_list(tokenizer, model_input.ids), "layers": layers}


def top_predictions(tokenizer: Tokenizer, logits: Tensor) -> list[list[dict[str, Any]]]:
    """The most likely tokens for each row of logits (T, V)."""
    top = logits[:, : tokenizer.vocab_size].softmax(dim=-1).topk(min(LENS_TOP_K, tokenizer.vocab_size))
    return [
        [
            {
                "id": id,
                "token": tokenizer.token_text(id),
                "bytes": list(tokenizer.token_bytes(id)),
                "probability": probability,
            }
            for id, probability in zip(ids, probabilities, strict=True)
        ]
        for ids, probabilities in zip(top.indices.tolist(), rounded(top.values), strict=True)
    ]


def attention_view(
    model: Model, tokenizer: Tokenizer, model_input: ModelInput, layer: int, attention_type: str | None, run: Run
) -> dict[str, Any]:
    """The attention weights of all heads of one layer."""
    maps = run(lambda: maps_by_type(model, model_input))
    attention_type = attention_type or ("cross_attention" if "cross_attention" in maps else "self_attention")
    if attention_type not in maps:
        hint = "; the others need a translator and a target" if attention_type in ATTENTION_TYPES else ""
        raise UserError(f"attention_type is {attention_type!r}; here it must be one of {', '.join(maps)}{hint}.")
    layers = maps[attention_type]
    queries = model_input.ids if attention_type == "self_attention" else model_input.decoder_ids
    keys = model_input.decoder_ids if attention_type == "decoder_self_attention" else model_input.ids
    trivial = torch.from_numpy(tokenizer.special_mask[keys])
    if attention_type != "cross_attention":
        trivial = trivial | trivial_keys(len(keys))
    if type(layer) is not int or not 0 <= layer < len(layers):
        raise UserError(f"layer is {layer!r}; the model has {len(layers)} layers, from 0 to {len(layers) - 1}.")
    weights = layers[layer][0]  # (H, T, S)
    telling = dict(zip(("layer", "head", "query"), telling_head(layers, trivial), strict=True))
    return {
        "attention_type": attention_type, "attention_types": list(maps), "layer": layer, "layers": len(layers),
        "heads": len(weights), "telling_head": telling, "queries": token_list(tokenizer, queries),
        "keys": token_list(tokenizer, keys), "weights": rounded(weights),
    }  # fmt: skip


def maps_by_type(model: Model, model_input: ModelInput) -> dict[str, list[Tensor]]:
    """For each type of attention, the weights (1, H, T, S) of each layer."""
    device = next(model.parameters()).device
    ids = torch.tensor([model_input.ids], device=device)
    if model_input.target is not None:
        maps = attention_maps(model, ids, torch.tensor([model_input.decoder_ids], device=device))
    else:
        backbone = cast(Backbone, getattr(model, "backbone", model))
        maps = attention_maps(model, ids, run=backbone.hidden_states)
    by_type: dict[str, list[Tensor]] = {}
    for name, weights in maps.items():
        match = re.fullmatch(r"(?:\w+\.)?(\w*blocks)\.(\d+)\.(\w+)", name)
        assert match is not None, name
        blocks, _, attention = match.groups()
        prefix = "decoder_" if (blocks, attention) == ("decoder_blocks", "attention") else ""
        by_type.setdefault("cross_attention" if attention != "attention" else f"{prefix}self_attention", []).append(
            weights
        )
    return by_type


def token_to_dict(tokenizer: Tokenizer, id: int) -> dict[str, Any]:
    """A token with its text and its bytes, which may be a part of a character."""
    return {"id": id, "text": tokenizer.token_text(id), "bytes": list(tokenizer.token_bytes(id))}


def token_list(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The same for each token of a text."""
    return [token_to_dict(tokenizer, id) for id in ids]


def rounded(numbers: Tensor) -> list:
    """A tensor as nested lists of numbers with at most `DIGITS` decimals."""
    return np.round(numbers.double().cpu().numpy(), DIGITS).tolist()
