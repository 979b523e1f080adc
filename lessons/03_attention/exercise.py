"""Exercises of lesson 03: attention.

    python -m lessons check 3                     # what is right, what is wrong, and why
    python -m lessons check 3 --only attention
    python -m lessons hint 3 attention            # one more hint each time
    python -m lessons run 3 --mine                # the lesson's model, with your attention

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: `@`, `softmax`,
`exp`, `view`, `transpose`, `masked_fill`, `torch.ones`, `tril`. The ready-made attentions of torch and of llmasos are
not allowed, for obvious reasons. Import what you need at the top. Do not modify the inputs, and create every tensor
on the `device` of the input tensors. An input may be a view of another tensor (a transposed one, for example), so do
not rely on its layout in memory.

Dimension letters: B batch, T number of queries, S number of keys, C width of the model, H heads, D = C / H head size.
"""

from torch import Tensor


def average_past(x: Tensor) -> Tensor:
    """1 (easy). Replace each position with the mean of all positions up to and including itself.

    Args:
        x: (B, T, C).

    Returns:
        (B, T, C): result[b, t] is the mean of x[b, 0], x[b, 1], …, x[b, t].

    Example: three positions with the single feature 2, 4, 9 become 2, 3, 5.
    """
    raise NotImplementedError


def causal_mask(T: int, S: int) -> Tensor:
    """2 (easy). Say which keys each query may attend to when no query may look into the future.

    There are S positions, 0 … S - 1, each with a key. The T queries are at the *last* T of them: query 0 at position
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
        mask: booleans, True = may attend, of any shape that broadcasts to (B, H, T, S); None = every key may be
            attended to. A masked key gets weight 0, and the other weights still sum to 1. Every query may attend to at
            least one key.

    Returns:
        (B, H, T, D): the weighted mean of the values for each query.
    """
    raise NotImplementedError


def multi_head_attention(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, n_heads: int) -> Tensor:
    """4 (hard). Causal self-attention with several heads, from the input to the output projection.

    Project x to queries, keys and values; give head h the features h·D … (h + 1)·D - 1 of each, where D = C / n_heads;
    let every head attend separately, with no position attending to a later one; concatenate the heads' outputs in the
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
    """5 (break it, and explain). Find two different sequences that attention cannot tell apart.

    Consider self-attention over a sequence x (T, C), which serves as queries, keys and values, without a mask and
    without positions. Find two sequences a and b that contain the same vectors in a different order, end in the same
    vector, and produce exactly the same output at their last position.

    Returns:
        a, b: each (T, C) with T at least 3; some row of a differs from the same row of b by at least 0.5.

    Then explain in WHY_SAME below why this happens to every such pair, what it has to do with "the dog bit the man",
    and what can be done about it.
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
