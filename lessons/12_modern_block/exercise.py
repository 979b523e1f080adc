"""Exercises of lesson 12: the modern block, and longer texts.

    python -m lessons check 12                     # what is right, what is wrong, and why
    python -m lessons check 12 --only rotate
    python -m lessons hint 12 rotate               # one more hint each time
    python -m lessons run 12 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. Elementary operations of torch are all you need: `arange`,
`cos`, `sin`, `cat`, `where`, comparisons. Import what you need at the top. Do not modify the inputs. An input may be a
view of another tensor, so do not rely on its layout in memory.

Dimension letters: B batch, T positions of a text, S keys, H heads, Hkv key/value heads, D head size (even).
"""

from torch import Tensor


def window_mask(T: int, W: int) -> Tensor:
    """1 (easy). The mask of causal attention with a sliding window: each token sees W tokens, itself included.

    Args:
        T: the number of tokens, 1 or more.
        W: the window, 1 or more; it may be longer than the text.

    Returns:
        (T, T) booleans: row t says which keys the token at position t may attend to (True = it may). These are the
        last W up to and including its own; near the beginning there are fewer.

    Example: T = 3 and W = 2 give [[1, 0, 0], [1, 1, 0], [0, 1, 1]], as booleans.
    """
    raise NotImplementedError


def repeat_kv(x: Tensor, H: int) -> Tensor:
    """2 (easy). Give each of H query heads the keys (or values) of its group.

    Query heads 0, 1, … H/Hkv - 1 form the first group and use key/value head 0; the next group uses head 1, and so on.

    Args:
        x: keys or values (B, Hkv, S, D).
        H: the number of query heads, a multiple of Hkv.

    Returns:
        (B, H, S, D). Gradients flow back to x.

    Example: x with the heads a and b, and H = 4, gives the heads a, a, b, b.
    """
    raise NotImplementedError


def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """3 (medium). Rotary positions: rotate each plane of the vectors by an angle that is proportional to the position.

    Plane i, for i = 0 … D/2 - 1, consists of the features i and i + D/2. At position p it is rotated by
    p · base^(-2i/D) radians, counterclockwise: with the angle φ, (a, b) becomes (a cos φ - b sin φ, a sin φ + b cos φ).

    Args:
        x: queries or keys of one head, (T, D), of dtype float32; D is even.
        positions: of these vectors, (T,) whole numbers from 0 to 1000, in any order; some may be equal.
        base: above 1.

    Returns:
        (T, D), of dtype float32. Gradients flow back to x.

    Example: x = [[1, 0]] at position 1 gives [[0.5403, 0.8415]], whatever the base: the cosine and the sine of 1.
    """
    raise NotImplementedError


def scaled_frequencies(D: int, base: float, factor: float, method: str) -> Tensor:
    """4 (medium). The frequencies of the planes, in radians per position, for texts that are `factor` times as long.

    Args:
        D: head size, even, 4 or more.
        base: above 1; without scaling, plane i has the frequency base^(-2i/D).
        factor: 1 or more.
        method: "linear", where every frequency is divided by the factor; or "ntk", where the base is replaced by a
            larger one, such that the last plane is slowed down by exactly the factor, and plane 0 not at all.

    Returns:
        (D/2,), of dtype float32, from plane 0 to plane D/2 - 1.

    Example: D = 4, base = 10000 and factor = 4: "linear" gives [0.25, 0.0025], "ntk" [1, 0.0025].
    """
    raise NotImplementedError


def alibi_bias(H: int, T: int) -> Tensor:
    """5 (medium). What ALiBi adds to the scores of H heads, with the causal mask in it.

    For head h = 1, 2, … H, the score of a query at position t and a key at position s ≤ t is changed by
    -m · (t - s), with the slope m = 2^(-8h/H). A key after the query gets -∞.

    Args:
        H: the number of heads, a power of 2 (1 is one).
        T: the number of positions, 1 or more.

    Returns:
        (H, T, T), of dtype float32: head, query, key.

    Example: H = 8 and T = 2: the first head gets [[0, -inf], [-0.5, 0]], and the last one [[0, -inf], [-0.0039, 0]].
    """
    raise NotImplementedError


def cache_bytes(
    L: int, Hkv: int, D: int, S: int, window: int | None = None, latent: tuple[int, int] | None = None, size: int = 2
) -> int:
    """6 (medium). How many bytes of keys and values are kept for one text.

    Args:
        L: the number of layers.
        Hkv: the number of key/value heads.
        D: the head size, of keys and of values.
        S: the number of tokens so far, 0 or more.
        window: W, if attention has a sliding window and everything that has left it is overwritten (None = no window).
        latent: (N, R) of latent attention: the widths of the latent vector and of the key with positions that all heads
            share. Then Hkv and D do not matter (None = ordinary keys and values).
        size: bytes of one number.

    Returns:
        The number of bytes, an int. A window and latent attention may occur together.

    Example: L = 2, Hkv = 3, D = 4, S = 5 gives 480.
    """
    raise NotImplementedError


def stale_key() -> tuple[Tensor, Tensor, int, int, int, int]:
    """7 (break it, and explain). Show that dynamic NTK scaling spoils a key/value cache.

    With dynamic scaling, the frequencies depend on the length n of the text so far: within the context of pretraining,
    48 tokens, they are base^(-2i/D) with the base 10,000; beyond it they are those of "ntk" with the factor n / 48. A
    key is rotated with the frequencies of the moment when it is computed, and cached. Later the text is longer, and a
    query comes with other frequencies.

    Find a key k at position s, cached when the text had n tokens, and a query q at position t, when it has m tokens,
    such that their score q · k, *with* the cached key, is off by at least 0.5. It is compared with the score of the
    same two if both are rotated with the frequencies of m tokens.

    Returns:
        q (D,), k (D,), s, t, n, m: two vectors with an even D of 4 or more, both of length 1 at most, and four whole
        numbers with 0 ≤ s < n ≤ m, s ≤ t < m, and m at most 480.

    Then explain in WHY_STALE below (at least 40 words) why "linear" and "ntk" with a fixed factor do not have this
    problem, and what else could be cached instead.
    """
    raise NotImplementedError


WHY_STALE = """
"""


# 8 (open). Change one thing about the lesson's training: the number of steps, the context of 48 tokens, the base of the
# rotary frequencies, the number of layers, the window, the order of the ladder. Change it in a copy of lesson.py. Write
# down what you changed, what you predicted and why, what came out with at least two seeds, and what you make of it (at
# least 60 words).
EXPERIMENT = """
"""
