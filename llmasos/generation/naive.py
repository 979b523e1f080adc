"""Naive generation: no cache, no batch; for every new token, the model processes the whole text again.

    logits = model(text)[-1]                 one number for each token of the vocabulary
    logits = processed by the options        penalties, temperature, top-k, top-p, min-p (`sampling.py`)
    token  = a sample of softmax(logits)     appended to the text

This is the definition. The fast versions, `decoder.py`, `beam.py` and `continuous_batching.py`, are tested to give the
same tokens.

Dimensions: T text length, S source length, V vocabulary.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from llmasos.generation import sampling
from llmasos.generation.options import BeamOptions, SamplingOptions
from llmasos.models import GPT, Transformer
from llmasos.nn import eval_mode


@torch.inference_mode()
def generate_naive(
    model: GPT | Transformer,
    prompt: Sequence[int],
    options: SamplingOptions,
    sample: int = 0,
    stop_ids: Collection[int] = (),
    vocab_size: int | None = None,
    source: Sequence[int] | None = None,
) -> list[int]:
    """Continue one sequence of token ids.

    Args:
        model: a GPT, or a Transformer if there is a source.
        prompt: at least one id, at most context_length; for a Transformer, its start token.
        options: how to sample; stop strings and grammar need text, so they are ignored here.
        sample: the index of this sample of the prompt; together with `options.seed` it determines the random numbers.
        stop_ids: the ids after which to stop.
        vocab_size: only ids below it are sampled (None = all).
        source: the ids that the encoder of a Transformer reads.

    Returns:
        The new ids, including the final stop id, if there is one.
    """
    ids: list[int] = []
    with eval_mode(model):
        for step in range(options.max_new_tokens):
            text = [*prompt, *ids]
            logits = next_token_logits(model, text, source)[:, :vocab_size]  # (1, V)
            logits = sampling.constrain(logits, model.generation_config, [text], [ids])
            penalized = text if source is None else ids  # a start token is not part of the text
            logits = sampling.process_logits(logits, options, [penalized], [ids])
            if options.greedy:
                token = int(sampling.greedy(logits))
            else:
                u = sampling.uniform(options.seed, sample, step)
                token = int(sampling.sample(logits, torch.tensor([u], dtype=logits.dtype, device=logits.device)))
            ids.append(token)
            if token in stop_ids:
                break
    return ids


@torch.inference_mode()
def beam_search_naive(
    model: GPT | Transformer,
    prompt: Sequence[int],
    options: BeamOptions,
    stop_ids: Collection[int],
    vocab_size: int | None = None,
    source: Sequence[int] | None = None,
) -> list[tuple[float, list[int]]]:
    """Find the best continuations of one sequence of ids, as `beam.py` explains, without its stopping rule.

    Args:
        model, prompt, stop_ids, vocab_size, source: as in `generate_naive`.
        options: the number of beams K and the length penalty.

    Returns:
        At most K pairs (log P, new ids): first those that end with one of `stop_ids`, best first, then those cut off.
    """

    def score(hypothesis: tuple[float, list[int]]) -> float:
        logprob, ids = hypothesis
        return logprob / ((5 + len(ids)) / 6) ** options.length_penalty  # Wu et al. 2016, equation 14

    K = options.beams
    beam: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    with eval_mode(model):
        for _ in range(options.max_new_tokens):
            candidates = []
            for total, ids in beam:
                text = [*prompt, *ids]
                logits = next_token_logits(model, text, source)[:, :vocab_size]  # (1, V)
                logits = sampling.constrain(logits, model.generation_config, [text], [ids])
                logprobs = logits[0].log_softmax(dim=-1).tolist()
                possible = [(token, logprob) for token, logprob in enumerate(logprobs) if logprob > -math.inf]
                candidates += [(total + logprob, [*ids, token]) for token, logprob in possible]
            candidates.sort(key=lambda candidate: -candidate[0])  # a stable sort: equal candidates stay in order
            finished += [c for c in candidates[:K] if c[1][-1] in stop_ids]
            finished = sorted(finished, key=score, reverse=True)[:K]
            beam = [c for c in candidates if c[1][-1] not in stop_ids][:K]
            if K == 1 and finished:
                break
    return [*finished, *beam][:K]


def next_token_logits(model: GPT | Transformer, text: Sequence[int], source: Sequence[int] | None = None) -> Tensor:
    """Logits (1, V) of the token that follows the text. A GPT reads the `context_window` of a long text."""
    device = next(model.parameters()).device
    if source is not None:
        return model(torch.tensor([source], device=device), torch.tensor([text], device=device))[:, -1]
    window = context_window(text, model.config.context_length)
    return model.lm_head(model.hidden_states(torch.tensor([window], device=device))[:, -1])


def context_window(text: Sequence[int], context_length: int) -> Sequence[int]:
    """The part of a text that the model reads: all of it as long as it fits.

    Whenever the text outgrows the context, only its last half is kept, and the window grows until it is full again.

    >>> [context_window("abcdefgh"[:n], context_length=4) for n in range(3, 9)]
    ['abc', 'abcd', 'cde', 'cdef', 'efg', 'efgh']
    """
    excess = len(text) - context_length - 1
    if excess < 0:
        return text
    half = context_length // 2
    return text[-(half + 1 + excess % (context_length - half)) :]  # half a context, and the tokens sampled since
