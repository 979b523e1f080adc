"""From logits to the next token: small pure functions over logits (B, V), and their composition.

A language model ends in one number for each token of its vocabulary. Each rule here takes these logits and returns new
ones; a token that must not be chosen gets -inf, which softmax turns into probability zero. They are applied in this
order (`shape_logits`):

    penalties → temperature → top-k → top-p → min-p → sample

The penalties speak about the model's own logits, so they come first. Temperature comes before top-p and min-p because
these look at probabilities, which temperature changes: a flatter distribution then also lets more tokens through (top-k
looks only at the order and would not notice). Each filter sees what the one before it has left, renormalised: top-p 0.9
after top-k 50 means 90 % of the probability of those fifty.

Randomness is a function of (seed, sample, step) alone, see `uniform`: a row draws the same numbers whatever batch it is
in and whatever device it runs on.
"""

import hashlib
import math

import torch
from torch import Tensor

from llmasos.generation.options import SamplingOptions


def repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make `seen` tokens (B, V) less likely: divide a positive logit by `penalty`, multiply a negative one by it.

    Keskar et al. 2019 (CTRL), section 4.1, divides only; but dividing a negative logit would make it more likely.
    """
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)


def count_penalties(logits: Tensor, counts: Tensor, presence: float, frequency: float) -> Tensor:
    """Take from each logit `presence` once, and `frequency` for every time, that the new text holds the token.

    These are the two penalties of OpenAI's interface. `counts` (B, V) is how often each token has been chosen.
    """
    return logits - presence * (counts > 0) - frequency * counts


def temperature(logits: Tensor, t: float) -> Tensor:
    """Sharpen (t < 1) or flatten (t > 1) the distribution: softmax(logits / t) (Ackley et al. 1985)."""
    return logits / t


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most likely tokens (Fan et al. 2018, section 5.4).

    Tokens that tie with the k-th are all kept: which of them came first would depend on the device.
    """
    kth = logits.topk(min(k, logits.size(-1))).values[..., -1:]  # (B, 1)
    return logits.masked_fill(logits < kth, -math.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens that together hold at least p of the probability.

    Nucleus sampling (Holtzman et al. 2019, section 3.1).
    The token that carries the sum to p or across it is kept, so at least one always is. p = 1 keeps everything.
    """
    if p >= 1.0:  # by itself the rule would drop the tail as soon as rounding has carried the sum to 1
        return logits
    descending, order = logits.sort(descending=True, stable=True)
    drop = (descending.softmax(dim=-1).cumsum(dim=-1) >= p).roll(1, dims=-1)  # those before it already hold p
    drop[..., 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf)  # back in vocabulary order


def min_p(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens at least p times as likely as the most likely one (Nguyen et al. 2024).

    A sure model keeps few tokens, an unsure one many. A ratio of probabilities is a difference of logits.
    """
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + math.log(p), -math.inf)


def shape_logits(
    logits: Tensor, options: SamplingOptions, seen: Tensor | None = None, counts: Tensor | None = None
) -> Tensor:
    """All the rules that `options` asks for, in the order explained above.

    Args:
        logits: (B, V).
        options: one set of options for all rows; temperature 0 leaves everything after the penalties to `argmax`.
        seen: (B, V), True for the tokens of the prompt and of the text so far; needed by the repetition penalty only.
        counts: (B, V), how often each token has been chosen; needed by the other two penalties only.

    Returns:
        (B, V), -inf where a token must not be chosen.
    """
    if options.repetition_penalty != 1.0:
        logits = repetition_penalty(logits, seen, options.repetition_penalty)
    if options.presence_penalty or options.frequency_penalty:
        logits = count_penalties(logits, counts, options.presence_penalty, options.frequency_penalty)
    if options.greedy:
        return logits
    logits = temperature(logits, options.temperature)
    if options.top_k is not None:
        logits = top_k(logits, options.top_k)
    if options.top_p is not None:
        logits = top_p(logits, options.top_p)
    if options.min_p is not None:
        logits = min_p(logits, options.min_p)
    return logits


def greedy(logits: Tensor) -> Tensor:
    """The most likely token of each row: (B, V) → (B,). Of equally likely ones, the first."""
    return logits.argmax(dim=-1)


def sample(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one token per row with the probabilities softmax(logits).

    Walk along the vocabulary adding up probabilities until the sum exceeds the row's uniform number: token i is met
    exactly when the number falls into the i-th piece of [0, 1), which is as long as its probability.

    Args:
        logits: (B, V), float32 or float64.
        uniforms: (B,) numbers in [0, 1), multiples of 2⁻²⁴ (see `uniform`) so that float32 holds them exactly.

    Returns:
        token ids (B,), never one whose probability is zero.
    """
    probabilities = logits.softmax(dim=-1)
    sums = probabilities.cumsum(dim=-1) * (probabilities > 0)  # zero where it cannot stop, even if a GPU's sum wobbles
    target = uniforms.to(logits)[:, None] * sums.amax(dim=-1, keepdim=True)  # the total, which is 1 but for rounding
    return (sums > target).int().argmax(dim=-1)  # argmax of zeros and ones is the place of the first one


def uniform(seed: int, sample: int, step: int) -> float:
    """The random number in [0, 1) with which sample number `sample` draws its token number `step`.

    The first 24 bits of a hash of the three: as even as any generator, and without a state to carry along.
    """
    digest = hashlib.blake2b(f"{seed} {sample} {step}".encode(), digest_size=3).digest()
    return int.from_bytes(digest, "big") / 2**24
