"""How well a causal language model predicts a text: nats per token, perplexity, bits per byte.

    nats        the mean of -ln p(token | the tokens before it)
    perplexity  e^nats: as uncertain as a uniform choice among this many tokens
    bits per byte  the sum of the nats / (ln 2 · bytes of the text): comparable between models with different tokens

**Stride.** A model sees at most T tokens, so a long text is cut into windows, and the first tokens of each window are
predicted from little context. Overlapping windows avoid this: each starts `stride` tokens after the one before, and
only its last `stride` targets are scored, which have at least T - stride + 1 tokens before them. With T = 4 and stride
2 (. read, x scored: it is the target of the position before it):

    tokens     a b c d e f g h
    window 1   . x x x x
    window 2       . . . x x          (e is scored in window 1)
    window 3           . . . x        (the text ends)

Every token but the first is scored exactly once, whatever the stride. stride = T is the plain split of validation, the
cheapest; stride = 1 gives every token the longest possible context, at T times the cost. The smaller the stride, the
better the perplexity, so a perplexity means little without its stride: the note of each score states it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from llmasos.console import track
from llmasos.errors import UserError
from llmasos.evaluation.intervals import bootstrap, mean_of_column
from llmasos.evaluation.metric import Metric
from llmasos.models import Model
from llmasos.nn import eval_mode
from llmasos.objectives.causal import CausalLM
from llmasos.objectives.objective import IGNORE_INDEX


class TextMetrics(NamedTuple):
    """How well a text was predicted; bits_per_byte is None if its number of bytes was not given."""

    nats: Metric
    perplexity: Metric
    bits_per_byte: Metric | None

    def metrics(self) -> list[Metric]:
        """The metrics that were computed."""
        return [metric for metric in self if metric is not None]


def evaluate_text(
    model: Model,
    tokens: Sequence[int] | np.ndarray,
    stride: int | None = None,
    batch_size: int = 8,
    n_bytes: int | None = None,
) -> TextMetrics:
    """Nats per token, perplexity and bits per byte of a text.

    The interval is by bootstrap over blocks of context_length tokens: the difficulty of neighboring tokens is
    correlated, so drawing single tokens would make the interval too narrow.

    Args:
        model: a causal model, (B, T) ids → (B, T, V) logits, with `config.context_length`.
        tokens: (N,) ids.
        stride: the number of tokens by which the windows move, 1 … context_length (None = context_length).
        batch_size: how many windows are read at a time.
        n_bytes: UTF-8 bytes of the text, for bits per byte. The first token, which nothing predicts, adds no bits.

    Raises:
        UserError: fewer than two tokens, a stride out of range, or a loss that is not a number.
    """
    T = model.config.context_length
    losses = token_losses(model, tokens, stride, batch_size)
    starts = np.arange(0, len(losses), T)
    sizes = np.diff(np.append(starts, len(losses)))
    blocks = np.stack([np.add.reduceat(losses, starts), sizes], axis=1)  # (blocks, 2)
    return text_metrics(blocks, n_bytes, f"context {T}, stride {stride or T}")


def evaluate_documents(
    model: Model, rows: Sequence[np.ndarray], batch_size: int = 32, n_bytes: int | None = None
) -> TextMetrics:
    """Nats per token, perplexity and bits per byte of whole documents, each predicted from its beginning.

    Args:
        model: as for `evaluate_text`.
        rows: the rows of the documents, each of at most 1 + T ids, of which all but the first are scored (see
            `DocumentRows`). The interval is by bootstrap over rows.
        batch_size: how many rows are computed at a time; rows of similar length should follow each other.
        n_bytes: as for `evaluate_text`.

    Raises:
        UserError: a loss is not a number.
    """
    objective, device = CausalLM(), next(model.parameters()).device
    blocks = np.empty((len(rows), 2))  # (rows, 2): the sum of each row's losses, and their number
    with eval_mode(model), torch.inference_mode():
        for first in track(range(0, len(rows), batch_size), "scoring"):
            batch = objective.collate([rows[i] for i in range(first, min(first + batch_size, len(rows)))])
            targets = batch["targets"].to(device)
            logits = model(batch["ids"].to(device)).float().transpose(1, 2)  # (B, V, T)
            nats = F.cross_entropy(logits, targets, reduction="none").double().sum(dim=1)
            sizes = (targets != IGNORE_INDEX).sum(dim=1)
            blocks[first : first + len(nats)] = torch.stack([nats, sizes.double()], dim=1).cpu().numpy()
    check_finite(blocks)
    return text_metrics(blocks, n_bytes, f"{len(rows):,} documents, each from its beginning")


def text_metrics(blocks: np.ndarray, n_bytes: int | None, note: str) -> TextMetrics:
    """The three metrics from the summed losses and the number of tokens of independent blocks: (blocks, 2)."""
    total, n_tokens = blocks.sum(axis=0)
    value, (low, high) = float(total / n_tokens), bootstrap(blocks, mean_of_column)
    nats = Metric("nats per token", value, low, high, int(n_tokens), note, 4)
    # Perplexity and bits per byte grow with the nats, so so do the ends of the interval.
    perplexity = Metric("perplexity", _exp(value), _exp(low), _exp(high), int(n_tokens), note, 2)
    if n_bytes is None:
        return TextMetrics(nats, perplexity, None)
    factor = n_tokens / n_bytes / math.log(2)
    bits = Metric("bits per byte", factor * value, factor * low, factor * high, int(n_tokens), note, 4)
    return TextMetrics(nats, perplexity, bits)


def token_losses(
    model: Model, tokens: Sequence[int] | np.ndarray, stride: int | None = None, batch_size: int = 8
) -> np.ndarray:
    """The loss of each token except the first, -ln p(token | the tokens before it in its window): (N - 1,) nats,
    float64.

    See `evaluate_text` for the arguments and errors.
    """
    T = model.config.context_length
    stride = T if stride is None else stride
    tokens = np.asarray(tokens)
    if not 1 <= stride <= T:
        raise UserError(f"a stride of {stride} is not possible with a context of {T} tokens: give one from 1 to {T}.")
    if len(tokens) < 2:
        raise UserError(f"a text of {len(tokens)} tokens has none to predict: give at least two.")
    losses = np.empty(len(tokens) - 1)
    windows = list(scored_windows(len(tokens), T, stride))
    collate, device = CausalLM().collate, next(model.parameters()).device
    with eval_mode(model), torch.inference_mode():
        for first in track(range(0, len(windows), batch_size), "scoring"):
            chunk = windows[first : first + batch_size]
            batch = collate([tokens[start:end].astype(np.int64) for start, _, end in chunk])
            logits = model(batch["ids"].to(device))  # (B, T, V)
            targets = batch["targets"].to(device)
            for row, (start, scored, end) in enumerate(chunk):  # one row at a time: float32 logits take much memory
                new = slice(scored - start - 1, end - start - 1)  # the positions before the scored tokens
                nats = F.cross_entropy(logits[row, new].float(), targets[row, new], reduction="none")
                losses[scored - 1 : end - 1] = nats.double().cpu().numpy()
    check_finite(losses)
    return losses


def check_finite(losses: np.ndarray) -> None:
    """Raise UserError if one of a text's losses is not a number."""
    if np.isnan(losses).any():
        raise UserError(
            "the model's loss on this text is not a number: its weights are damaged or its training failed; use "
            "another checkpoint."
        )


def scored_windows(n_tokens: int, context_length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """The windows as (start, scored, end): read tokens start … end - 1, score tokens scored … end - 1.

    >>> list(scored_windows(8, context_length=4, stride=2))  # the picture above
    [(0, 1, 5), (2, 5, 7), (4, 7, 8)]
    """
    start, scored = 0, 1
    while scored < n_tokens:
        end = min(start + context_length + 1, n_tokens)  # the last token of a window is target only
        yield start, scored, end
        start, scored = start + stride, end


def _exp(nats: float) -> float:
    """e^nats, infinite where a float cannot hold it; NaN stays NaN."""
    return math.inf if nats >= 700 else math.exp(nats)
