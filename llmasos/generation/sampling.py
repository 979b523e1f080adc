"""From logits to the next token: small pure functions over logits (B, V), and their composition.

A language model ends in one number for each token of its vocabulary. Each rule here takes these logits and returns new
ones; a token that must not be sampled gets -inf, which softmax turns into probability zero. The rules are applied in
this order (`process_logits`):

    constraints → penalties → temperature → top-k → top-p → min-p → sample

The constraints are the model's own (`constrain`: forbidden tokens) and those of a grammar, if a text has one
(`token_grammar.py`). The penalties are defined on the model's own logits, so they come before the rest. Temperature
comes before top-p and min-p because these depend on probabilities, which temperature changes: a flatter distribution
then also lets more tokens through (top-k depends on the order only, which temperature keeps). Each filter applies to
the tokens that the previous one has kept, renormalized: top-p 0.9 after top-k 50 means 90 % of the probability of those
fifty.

Random numbers are a function of (seed, sample, step) alone, see `uniform`: a sequence gets the same numbers in any
batch and on any device.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.generation.options import SamplingOptions
from llmasos.models import GenerationConfig


def constrain(
    logits: Tensor, config: GenerationConfig, texts: Sequence[Sequence[int]], generated: Sequence[Sequence[int]]
) -> Tensor:
    """Make tokens impossible that the model's `generation_config` forbids, or all except one that it forces.

    Args:
        logits: (B, V).
        config: the model's.
        texts: for each sequence the ids of its prompt and its new text.
        generated: for each sequence the ids of its new text.
    """
    allowed = torch.ones_like(logits, dtype=torch.bool)
    for row, text, new in zip(allowed, texts, generated, strict=True):
        if config.forced_bos_token_id is not None and not new:
            row[:] = False
            row[config.forced_bos_token_id] = True
            continue
        forbidden = [*config.suppress_tokens, *(() if new else config.begin_suppress_tokens)]
        for *start, last in config.bad_words_ids:
            if list(text[len(text) - len(start) :]) == start:
                forbidden.append(last)
        row[[id for id in forbidden if 0 <= id < len(row)]] = False
    return logits.masked_fill(~allowed, -math.inf)


def repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make `seen` tokens (B, V) less likely: divide a positive logit by `penalty`, multiply a negative one by it.

    Keskar et al. 2019 (CTRL), section 4.1, divides only; but dividing a negative logit would make it more likely.
    """
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalized, logits)


def count_penalties(logits: Tensor, counts: Tensor, presence: float, frequency: float) -> Tensor:
    """Subtract from the logit of each token in the new text `presence` once, and `frequency` for every occurrence.

    These are the two penalties of OpenAI's API. `counts` (B, V) is how often each token occurs in the new text.
    """
    return logits - presence * (counts > 0) - frequency * counts


def temperature(logits: Tensor, t: float) -> Tensor:
    """Sharpen (t < 1) or flatten (t > 1) the distribution: softmax(logits / t) (Ackley et al. 1985)."""
    return logits / t


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most likely tokens (Fan et al. 2018, section 5.4).

    All tokens that tie with the k-th are kept: which of them comes first would depend on the device.
    """
    kth = logits.topk(min(k, logits.size(-1))).values[..., -1:]  # (B, 1)
    return logits.masked_fill(logits < kth, -math.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens that together hold at least p of the probability.

    This is nucleus sampling (Holtzman et al. 2019, section 3.1). The token with which the sum reaches p is kept, so at
    least one always is. p = 1 keeps everything.
    """
    if p >= 1.0:  # otherwise the tail would be dropped as soon as rounding brings the sum to 1
        return logits
    descending, order = logits.sort(descending=True, stable=True)
    drop = (descending.softmax(dim=-1).cumsum(dim=-1) >= p).roll(1, dims=-1)  # the tokens before it already reach p
    drop[..., 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf)  # back in vocabulary order


def min_p(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens at least p times as likely as the most likely one (Nguyen et al. 2024).

    A confident model keeps few tokens, an uncertain one many. A ratio of probabilities is a difference of logits.
    """
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + math.log(p), -math.inf)


def process_logits(
    logits: Tensor,
    options: SamplingOptions,
    penalized: Sequence[Sequence[int]] = (),
    generated: Sequence[Sequence[int]] = (),
) -> Tensor:
    """Apply all the rules that `options` enables, in the order explained above.

    Args:
        logits: (B, V).
        options: the same for all sequences; with temperature 0 everything after the penalties is left to `argmax`.
        penalized: for each sequence the ids that the repetition penalty applies to: its prompt and its new text.
        generated: for each sequence the ids of its new text, which the presence and frequency penalties apply to.

    Returns:
        (B, V), -inf where a token must not be sampled.
    """
    if options.repetition_penalty != 1.0:
        seen = token_counts(penalized, logits) > 0
        logits = repetition_penalty(logits, seen, options.repetition_penalty)
    if options.presence_penalty or options.frequency_penalty:
        counts = token_counts(generated, logits)
        logits = count_penalties(logits, counts, options.presence_penalty, options.frequency_penalty)
    if options.greedy:
        return logits
    if options.temperature != 1.0:
        logits = temperature(logits, options.temperature)
    if options.top_k is not None:
        logits = top_k(logits, options.top_k)
    if options.top_p is not None:
        logits = top_p(logits, options.top_p)
    if options.min_p is not None:
        logits = min_p(logits, options.min_p)
    return logits


def token_counts(texts: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """How often each token of the vocabulary occurs in each of B texts: (B, V), on the device of the logits (B, V)."""
    rows = [torch.tensor(ids, dtype=torch.long).bincount(minlength=logits.size(1)) for ids in texts]
    return torch.stack(rows).to(logits.device)


def check_numbers(probabilities: Tensor) -> None:
    """Raise UserError if a model's probabilities, or their logarithms (B, V), are not numbers."""
    if any(x != x for x in probabilities[:, 0].tolist()):  # a single NaN among the logits makes the whole row NaN
        raise UserError(
            "the model's output is not a number (NaN), so no token can be sampled: its weights are damaged or its "
            "training diverged; use an earlier checkpoint."
        )


def greedy(logits: Tensor) -> Tensor:
    """The most likely token of each sequence: (B, V) → (B,). Of equally likely ones, the first."""
    return logits.argmax(dim=-1)


def sample(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one token per sequence with the probabilities softmax(logits).

    Inverse transform sampling: add up probabilities along the vocabulary until the sum exceeds the sequence's
    uniform number. Token i is sampled when the number falls into the i-th interval of [0, 1), which is as long as its
    probability.

    Args:
        logits: (B, V), float32 or float64.
        uniforms: (B,) numbers in [0, 1), multiples of 2⁻²⁴ (see `uniform`) so that float32 holds them exactly.

    Returns:
        Token ids (B,), never one with probability zero.
    """
    probabilities, uniforms = logits.softmax(dim=-1), uniforms.to(logits)
    sums = probabilities.cumsum(dim=-1)
    if logits.is_cpu:  # sums sequentially, so that the sums never decrease and only increase where p > 0
        target = uniforms[:, None] * sums[:, -1:]  # times the total, which is 1 up to rounding
        return torch.searchsorted(sums, target, right=True)[:, 0]
    sums = sums * (probabilities > 0)  # 0 where p = 0, even if a GPU's sums are inexact
    target = uniforms[:, None] * sums.amax(dim=-1, keepdim=True)
    return (sums > target).int().argmax(dim=-1)  # argmax of zeros and ones is the index of the first one


def uniform(seed: int, sample: int, step: int) -> float:
    """The random number in [0, 1) for token number `step` of sample number `sample`.

    The first 24 bits of a hash of the three: as uniform as any generator, and without a state.
    """
    digest = hashlib.blake2b(f"{seed} {sample} {step}".encode(), digest_size=3).digest()
    return int.from_bytes(digest, "big") / 2**24
