"""Exercises of lesson 03: attention.

    python -m lessons check 3                     # what is right, what is wrong, and why
    python -m lessons check 3 --only attention
    python -m lessons hint 3 attention            # one hint more each time
    python -m lessons run 3 --mine                # the lesson's model, with your attention in it

Replace each `raise NotImplementedError` by your own code. Plain tensor operations are all you need: `@`, `softmax`,
`exp`, `view`, `transpose`, `masked_fill`, `torch.ones`, `tril`. The ready-made attentions of torch and of llmasos are
not allowed, for obvious reasons. Import what you need at the top. Do not change the inputs, and give every tensor that
you make the `device` of the input tensors.

Letters: B batch, T number of queries, S number of keys, C width of the model, H heads, D = C / H width of one head.
"""

from torch import Tensor


def average_past(x: Tensor) -> Tensor:
    """1 (easy). Replace each position by the mean of all positions up to and including itself.

    Args:
        x: (B, T, C).

    Returns:
        (B, T, C): result[b, t] is the mean of x[b, 0], x[b, 1], …, x[b, t].

    Example: the one feature 2, 4, 9 of three positions becomes 2, 3, 5.
    """
    raise NotImplementedError


def causal_mask(T: int, S: int) -> Tensor:
    """2 (easy). Say which keys each query may attend to when nobody may look into the future.

    There are S positions, 0 … S - 1, each with a key. The T queries stand at the *last* T of them: query 0 at position
    S - T, the last query at position S - 1. A query may attend to every key up to and including its own position.

    Args:
        T: number of queries, at most S.
        S: number of keys.

    Returns:
        (T, S) booleans, True = may attend. causal_mask(2, 3) is
            True  True  False
            True  True  True
    """
    raise NotImplementedError


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """3 (medium). Scaled dot-product attention: softmax(q kᵀ / √D) v, with a mask.

    Args:
        q: queries (B, H, T, D).
        k, v: keys and values (B, H, S, D).
        mask: booleans, True = may attend, of any shape that broadcasts to (B, H, T, S); None = everything may be
            attended to. A forbidden key gets weight 0, and the weights of the allowed ones still sum to 1. Every query
            may attend to at least one key.

    Returns:
        (B, H, T, D): for each query the weighted mean of the values.
    """
    raise NotImplementedError


def multi_head_attention(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, n_heads: int) -> Tensor:
    """4 (hard). Causal self-attention with several heads, from the input to the output projection.

    Project x to queries, keys and values; give head h the features h·D … (h + 1)·D - 1 of each, where D = C / n_heads;
    let every head attend by itself, no position to a later one; put the heads' results side by side again, in the
    same order; project. You may use your `attention` and `causal_mask` (`.to(x.device)` brings the mask to x's device).

    Args:
        x: (B, T, C).
        w_q, w_k, w_v, w_o: (C, C). As in nn.Linear, the projection of x is x @ w.T (there is no bias).
        n_heads: divides C.

    Returns:
        (B, T, C).
    """
    raise NotImplementedError


def same_to_attention() -> tuple[Tensor, Tensor]:
    """5 (break it, and explain). Two different sentences that attention cannot tell apart.

    Consider self-attention of a sequence x (T, C) with itself, x being queries, keys and values at once, without a mask
    and without positions. Find two sequences a and b that consist of the same vectors in another order, end in the same
    vector, and get exactly the same output at their last position.

    Returns:
        a, b: each (T, C) with T at least 3; some row of a differs from the same row of b by 0.5 or more.

    Then say below, in WHY_SAME, why this happens to every such pair, what "the dog bit the man" has to do with it, and
    what can be done.
    """
    raise NotImplementedError


WHY_SAME = """
"""


# 6 (open). Change one thing about the attention of the lesson's model — the scale, what may be attended to, the softmax
# itself — and train it again: python -m lessons run 3 --mine, with your multi_head_attention changed as you like (keep
# the right one as a comment). Predict the validation loss first. Write down what you changed, what you predicted and
# why, what came out, and what you make of it.
EXPERIMENT = """
"""
