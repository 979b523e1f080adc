"""Exercises of lesson 06: generating.

    python -m lessons check 6                     # what is right, what is wrong, and why
    python -m lessons check 6 --only top_p
    python -m lessons hint 6 top_p                # one more hint each time
    python -m lessons run 6 --mine                # the lesson's model, writing with your rules

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: `softmax`, `exp`,
`sort`, `cumsum`, `gather`, `scatter`, `masked_fill`, `cat`, `@`; beam search is ordinary Python. Do not modify the
inputs, and create every tensor on the `device` of the inputs. An input may be a view of another tensor (a transposed
one, for example), so do not rely on its layout in memory.

Dimension letters: B batch, V size of the vocabulary, T number of new tokens, S number of tokens in the cache, C width
of the model, D width of the head, K number of beams.
"""

from collections.abc import Callable

from torch import Tensor


def temperature(logits: Tensor, t: float) -> Tensor:
    """1 (easy). Compute the distribution from which a model samples at temperature t.

    Args:
        logits: (B, V), one row per text. They may be large: a thousand is possible, and minus a thousand, too.
        t: the temperature, above 0.

    Returns:
        (B, V) probabilities; each row sums to 1, and none of them is NaN.

    Example: logits ln 4 and ln 1 are probabilities 0.8 and 0.2. At t = 0.5 they become 16/17 and 1/17, at t = 2 they
    become 2/3 and 1/3.
    """
    raise NotImplementedError


def min_p(logits: Tensor, p: float) -> Tensor:
    """2 (easy). Keep only tokens that are not too unlikely relative to the most likely one.

    In each row, keep the tokens whose probability is at least p times the largest probability of that row. The others
    get probability 0; renormalize the rest, so that the kept tokens stay in proportion and sum to 1.

    Args:
        logits: (B, V); they may be as large or as small as in `temperature`.
        p: above 0, at most 1. At p = 1 only the most likely token is left, and any token exactly as likely.

    Returns:
        (B, V) probabilities; each row sums to 1.

    Example: probabilities 0.6, 0.3, 0.1 and p = 0.25. The threshold is 0.15, and the result is 2/3, 1/3, 0.
    """
    raise NotImplementedError


def top_p(logits: Tensor, p: float) -> Tensor:
    """3 (medium). Keep only the nucleus: the fewest tokens that together have at least probability p.

    In each row, go through the tokens from the most likely down (lower id first among equally likely ones) and keep
    them until their probabilities sum to p or more; the token that crosses p is kept as well. The others get
    probability 0; renormalize the rest, so that the kept tokens stay in proportion and sum to 1.

    Args:
        logits: (B, V); they may be as large or as small as in `temperature`.
        p: above 0, below 1.

    Returns:
        (B, V) probabilities, in the order of the vocabulary; each row sums to 1.

    Example: probabilities 0.1, 0.5, 0.15, 0.25 and p = 0.6. The second token has 0.5, together with the fourth it is
    0.75: these two are kept, and the result is 0, 2/3, 0, 1/3.
    """
    raise NotImplementedError


def cached_attention(
    x: Tensor, positions: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, cache: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """4 (medium). Causal self-attention of one head over a text that arrives in pieces.

    S tokens have been processed before, and T new ones arrive. The first new token is at position S. Add the position
    vector to each new token; compute its query, key and value from the sum; let it attend to all earlier tokens and to
    itself (scores divided by √D, as in lesson 03); and keep the new keys and values for the next call. However the text
    is split, the outputs must be the same as for the whole text at once.

    Args:
        x: (T, C), the embeddings of the new tokens, T at least 1.
        positions: (P, C), the learned vector of each position 0 … P - 1, with P at least S + T.
        w_q, w_k, w_v: (D, C). As in nn.Linear, the projection of h is h @ w.T.
        cache: keys (S, D) and values (S, D) of the tokens so far, or None if there are none. Like every input it must
            not be changed: several texts may continue the same beginning.

    Returns:
        The outputs (T, D), and the new cache: keys (S + T, D) and values (S + T, D), the oldest first.
    """
    raise NotImplementedError


def beam_search(
    next_logprobs: Callable[[list[int]], list[float]], beams: int, max_tokens: int, end: int, alpha: float
) -> list[tuple[list[int], float]]:
    """5 (hard). Find the most likely texts by following K = `beams` of them at once.

    The beam holds unfinished texts with their log-probabilities. It starts with one: the empty text, log-probability 0.
    Then, for each new token, at most `max_tokens` times:

    1. Extend every text of the beam by every token. The log-probability of a candidate is that of its text plus that of
       the token. Sort the candidates by log-probability, the largest first.
    2. Candidates that end with the token `end` are finished and never extended. Of the first K candidates, set aside
       those that are finished. (Drop finished candidates that are not among the first K.)
    3. The first K candidates that are *not* finished are the next beam.

    With K = 1 the search also stops as soon as one text is finished, which makes it greedy decoding. With more beams it
    continues to the end, however many texts are finished.

    Then rank each text by its score, log-probability / ((5 + n) / 6) ** alpha, where n is the number of its tokens,
    including `end`. (The score does not guide the search.)

    Args:
        next_logprobs: takes the tokens of a text and returns the log-probabilities of all V next tokens. Do not call it
            with texts of `max_tokens` tokens or more, or with finished texts: it is defined only for the others.
        beams: K, at least 1.
        max_tokens: the maximum number of tokens in a text, including `end`.
        end: the token that ends a text, one of 0 … V - 1.
        alpha: 0 ranks by log-probability; larger values favor long texts.

    Returns:
        At most K pairs (tokens, score): first the finished texts, best first; if there are fewer than K, then texts of
        the last beam, best first. No two candidates of any check are equally likely.
    """
    raise NotImplementedError


def beams_lose() -> tuple[Tensor, Tensor]:
    """6 (break it, and explain). Find a tree where two beams beat greedy, and two beams miss the most likely text.

    Texts are two tokens long, and each token is one of three. Choose the model: `first` gives the probability of each
    first token, row i of `second` the probability of each second token after first token i. The probability of text
    (i, j) is then first[i] * second[i, j].

    Greedy decoding takes the most likely first token, and then the most likely second one. Two beams keep the two most
    likely first tokens, and find the most likely text that starts with one of them. The text that greedy decoding finds
    must be at least 0.02 less probable than the one that two beams find, and that one at least 0.02 less probable than
    the most likely text of all.

    Returns:
        first (3,), second (3, 3): probabilities; first and each row of second sum to 1 (to within 0.0001), and no two
        numbers of first are equal.

    Then explain below, in WHY_NOT_MOST_LIKELY, why two beams fail here and how many you would need to be sure; and why,
    for stories, we would not want the most likely text even if we could always find it.
    """
    raise NotImplementedError


WHY_NOT_MOST_LIKELY = """
"""


# 7 (open). Invent a rule of your own that turns logits (B, V) into probabilities (B, V), or combine the lesson's rules,
# and try to beat the table of section 6.6: a larger possible fraction at the same variety, or more variety at the same
# possible fraction. (Write it as your `top_p` and use run 6 --mine; keep the correct one as a comment.) Predict first.
# Write down the rule, what you predicted and why, what happened with three seeds, and whether it is more than luck.
EXPERIMENT = """
"""
