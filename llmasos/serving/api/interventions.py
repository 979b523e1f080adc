"""The views `ablation` and `patching` of `/v1/inspect`: the model's predictions when a part of it is changed.

Both follow one prediction, as the forward trace does: a GPT's token after the text, or a BERT's at the first [MASK].
The numbers come from `interpret/patching.py`; this file adds the changed predictions.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.interpret import ablation, patched_cells, sites_of
from llmasos.interpret.interventions import Site
from llmasos.interpret.patching import logits_of
from llmasos.models import Model, n_parameters_of
from llmasos.nn import eval_mode
from llmasos.objectives.masked import MASK
from llmasos.serving.api.text_views import DIGITS, token_to_dict
from llmasos.serving.api.trace import predicted_position
from llmasos.tokenizers import Tokenizer

Run = Callable[[Callable[[], Any]], Any]
ABLATIONS = ("mean", "zero")
PATCHING_KINDS = ("residual", "attention", "feed_forward")

MAX_OPERATIONS = 2e12  # multiplications and additions of one map: a minute or so of one CPU core
SHOWN_TOKENS = 5
PASSES_PER_JOB = 4


class Readout:
    """A metric of the logits that also keeps the model's prediction.

    Attributes:
        logprobs: the log probabilities (V,) of the last logits.
    """

    def __init__(self, position: int, vocab_size: int, token: int = 0, other: int | None = None):
        """Make a metric: the log probability of a token, minus that of another one if there is one."""
        self.position, self.vocab_size, self.token, self.other = position, vocab_size, token, other

    def __call__(self, logits: Tensor) -> float:
        self.logprobs = logits[0, self.position, : self.vocab_size].float().log_softmax(dim=-1).cpu()
        return float(self.logprobs[self.token] - (0.0 if self.other is None else self.logprobs[self.other]))


def longest_text(model: Model, show: str) -> int:
    """How many tokens a text may have so that its map takes at most `MAX_OPERATIONS`; 0 if even one is too much.

    A forward pass takes about two operations per parameter and token. The map of an ablation takes a pass for each head
    and each feed-forward, that of patching one for each block and each token.
    """
    config = model.config
    per_token = 2 * n_parameters_of(config)
    if show == "ablation":
        return int(MAX_OPERATIONS / (per_token * config.n_layers * (config.n_heads + 1)))
    return int(math.sqrt(MAX_OPERATIONS / (per_token * (config.n_layers + 1))))


def ablation_view(model: Model, tokenizer: Tokenizer, ids: Sequence[int], mean: bool, run: Run) -> dict[str, Any]:
    """The effect of each head and each feed-forward on the log probability of the predicted token.

    Args:
        model: a GPT or a BERT with the output layer of its pretraining.
        tokenizer: the model's.
        ids: the text.
        mean: replace what a part writes by its mean over all positions; otherwise by zero.
        run: the function that runs a job with the model.

    Raises:
        UserError: a BERT's text has no [MASK].
    """
    text, position = torch.tensor(ids), predicted_position(model, tokenizer, ids)
    before = run(lambda: read_logprobs(model, tokenizer, text, position))
    token = int(before.argmax())
    rows = []
    for layer in range(model.config.n_layers):
        sites = [site for kind in ("head", "feed_forward") for site in sites_of(model, kind) if site.layer == layer]
        cells: list[dict[str, Any]] = []
        for start in range(0, len(sites), PASSES_PER_JOB):
            chunk = sites[start : start + PASSES_PER_JOB]
            cells += run(partial(ablated_cells, model, tokenizer, text, position, before, chunk, mean))
        rows.append({"block": layer, "cells": cells})
    return {
        "position": position,
        "predicted": best_tokens(tokenizer, before)[0],
        "logprob": round(float(before[token]), DIGITS),
        "predictions": best_tokens(tokenizer, before),
        "ablation": ABLATIONS[not mean],
        "rows": rows,
    }


def ablated_cells(
    model: Model, tokenizer: Tokenizer, ids: Tensor, position: int, before: Tensor, sites: Sequence[Site], mean: bool
) -> list[dict[str, Any]]:
    """What the model predicts without each part, and how much the log probability of its prediction has changed."""
    token, cells = int(before.argmax()), []
    for site in sites:
        readout = Readout(position, tokenizer.vocab_size, token)
        [logprob] = ablation(model, ids, readout, [site], mean).tolist()
        effect = round(logprob - float(before[token]), DIGITS)
        predictions = best_tokens(tokenizer, readout.logprobs, before)
        cells.append({"kind": site.kind, "head": site.head, "effect": effect, "predictions": predictions})
    return cells


def patching_view(
    model: Model, tokenizer: Tokenizer, ids: Sequence[int], corrupted: Sequence[int], kind: str, run: Run
) -> dict[str, Any]:
    """The effect of patching each activation of one text into another.

    The measure is the logit difference of two tokens: the one whose probability is higher by most in the clean text,
    and the one whose probability is higher by most in the corrupted one.

    Args:
        model: a GPT or a BERT with the output layer of its pretraining.
        tokenizer: the model's.
        ids: the clean text, from which the activations are taken.
        corrupted: the text into which they are patched.
        kind: the kind of the activations, one of `PATCHING_KINDS`.
        run: the function that runs a job with the model.

    Raises:
        UserError: the texts differ in length, or are equal, or have their [MASK] at different positions.
    """
    if len(ids) != len(corrupted):
        raise UserError(
            f"the two texts have {len(ids):,} and {len(corrupted):,} tokens, and patching needs the same number, so "
            "that each position has its counterpart; replace words by others of as many tokens."
        )
    if list(ids) == list(corrupted):
        raise UserError("the two texts are the same, so there is nothing to patch; change a word in one of them.")
    clean_text, corrupted_text = torch.tensor(ids), torch.tensor(corrupted)
    position = predicted_position(model, tokenizer, ids)
    if (other := predicted_position(model, tokenizer, corrupted)) != position:
        raise UserError(
            f"the first {MASK} of the two texts is token {position} and token {other}, and patching compares one "
            f"prediction; write {MASK} at the same place in both texts."
        )
    clean, before = (
        run(partial(read_logprobs, model, tokenizer, text, position)) for text in (clean_text, corrupted_text)
    )
    change = clean.exp() - before.exp()
    right, wrong = int(change.argmax()), int(change.argmin())
    readout = Readout(position, tokenizer.vocab_size, right, wrong)
    patches = patched_cells(model, clean_text, corrupted_text, readout, kind)

    def next_cells() -> list[dict[str, Any]]:
        return [
            {"layer": cell.site.layer, "position": cell.position, "effect": round(cell.restored, DIGITS),
             "predictions": best_tokens(tokenizer, readout.logprobs, before)}
            for cell in islice(patches, PASSES_PER_JOB)
        ]  # fmt: skip

    cells: list[dict[str, Any]] = []
    while new := run(next_cells):
        cells += new
    return {
        "position": position,
        "kind": kind,
        "right": token_to_dict(tokenizer, right),
        "wrong": token_to_dict(tokenizer, wrong),
        "clean": best_tokens(tokenizer, clean),
        "predictions": best_tokens(tokenizer, before),
        "rows": [{"layer": site.layer, "cells": [cell for cell in cells if cell["layer"] == site.layer]}
                 for site in sites_of(model, kind)],
    }  # fmt: skip


def read_logprobs(model: Model, tokenizer: Tokenizer, ids: Tensor, position: int) -> Tensor:
    """The log probabilities (V,) of the prediction at a position."""
    readout = Readout(position, tokenizer.vocab_size)
    with torch.inference_mode(), eval_mode(model):
        readout(logits_of(model, ids))
    return readout.logprobs


def best_tokens(tokenizer: Tokenizer, logprobs: Tensor, before: Tensor | None = None) -> list[dict[str, Any]]:
    """The most likely tokens with their probabilities; after an intervention also with those before it."""
    best = logprobs.topk(min(SHOWN_TOKENS, len(logprobs))).indices.tolist()
    if before is not None and int(before.argmax()) not in best:  # the model's prediction without the intervention
        best[-1] = int(before.argmax())
    probabilities, old = logprobs.exp(), None if before is None else before.exp()
    return [
        token_to_dict(tokenizer, id)
        | {"probability": round(float(probabilities[id]), DIGITS)}
        | ({} if old is None else {"before": round(float(old[id]), DIGITS)})
        for id in best
    ]
