"""The log-probability that a causal model gives to each token of a continuation, given its context."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from llmasos.console import track
from llmasos.errors import UserError
from llmasos.evaluation.perplexity import token_losses
from llmasos.models import Model
from llmasos.nn import eval_mode
from llmasos.objectives.causal import CausalLM
from llmasos.tokenizers import Tokenizer


def log_likelihoods(
    model: Model, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], batch_size: int = 16
) -> list[np.ndarray]:
    """Return log p(token | all tokens before it) for each token of each continuation.

    Args:
        model: a causal model, (B, T) ids → (B, T, V) logits, with `config.context_length`.
        pairs: (context, continuation), each a sequence of ids; the context has at least one. If both together are too
            long for the model, the beginning of the context is left out; a continuation of more than half of the
            model's context is read in overlapping windows, as `evaluate_text` does.
        batch_size: how many pairs are computed at a time; pairs of similar length are batched together.

    Returns:
        For each pair the log-probabilities of its continuation in nats, (n,).

    Raises:
        UserError: a context is empty, or a log-probability is not a number.
    """
    if any(not len(context) for context, _ in pairs):
        raise UserError("a continuation needs a context of at least one token, such as the end of the text before it.")
    T, device, collate = model.config.context_length, next(model.parameters()).device, CausalLM().collate
    pairs = [
        (context[len(context) + len(continuation) - T - 1 :], continuation)
        if T + 1 < len(context) + len(continuation) and len(continuation) <= T // 2
        else (context, continuation)
        for context, continuation in pairs
    ]
    results: list[np.ndarray] = [np.empty(0)] * len(pairs)
    sizes = [len(context) + len(continuation) for context, continuation in pairs]
    short = sorted((i for i, size in enumerate(sizes) if size <= T + 1), key=lambda i: sizes[i])
    with eval_mode(model), torch.inference_mode():
        for first in track(range(0, len(short), batch_size), "scoring"):
            chunk = short[first : first + batch_size]
            batch = collate([np.array([*pairs[i][0], *pairs[i][1]], dtype=np.int64) for i in chunk])
            logits = model(batch["ids"].to(device))  # (B, T, V)
            for row, i in enumerate(chunk):
                new = slice(len(pairs[i][0]) - 1, sizes[i] - 1)  # the positions before the continuation's tokens
                targets = batch["targets"][row, new].to(device)
                nats = F.cross_entropy(logits[row, new].float(), targets, reduction="none")
                results[i] = -nats.double().cpu().numpy()
    for i in set(range(len(pairs))) - {*short}:
        losses = token_losses(model, [*pairs[i][0], *pairs[i][1]], max(1, T // 2))
        results[i] = -losses[len(pairs[i][0]) - 1 :]
    if any(np.isnan(values).any() for values in results):
        raise UserError("the model's probabilities are not numbers: its weights are damaged; use another checkpoint.")
    return results


def continuation_log_probs(model: Model, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """The log-probability in nats of each continuation after its prompt, both texts: (n,).

    An empty prompt is the beginning of a document. Raises UserError as `log_likelihoods`.
    """
    encoded = [(tokenizer.encode_prompt(prompt), tokenizer.encode(continuation)) for prompt, continuation in pairs]
    return np.array([values.sum() for values in log_likelihoods(model, encoded)])


def text_losses(model: Model, tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """The loss of each text from its beginning, in nats per token: (n,). Raises UserError as `log_likelihoods`."""
    encoded = [(tokenizer.encode_prompt(""), tokenizer.encode(text)) for text in texts]
    return np.array([-values.mean() if len(values) else np.nan for values in log_likelihoods(model, encoded)])
