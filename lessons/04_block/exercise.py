"""Exercises of lesson 04: the GPT block.

    python -m lessons check 4                     # what is right, what is wrong, and why
    python -m lessons check 4 --only layer_norm
    python -m lessons hint 4 layer_norm           # one more hint each time
    python -m lessons run 4 --mine                # the lesson's story model, built from your parts

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: `mean`, `sqrt`,
`sin`, `cos`, `torch.arange`, `log_softmax`, `gather`. The ready-made norms and blocks of torch and llmasos are not
allowed. Import what you need at the top. Do not modify the inputs, and create every new tensor on the `device` of the
input tensors.

Letters: B batch, T length, C width of the model, V size of the vocabulary, L number of blocks, H number of heads.
"""

from collections.abc import Callable

from torch import Tensor


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """1 (easy). Normalize the features of every position to mean 0 and variance 1, then scale and shift them.

    For each position on its own, over its C features: subtract the mean; divide by √(variance + eps), where the
    variance is the *mean* of the squared deviations (divide by C, not by C - 1) and eps is inside the root; multiply
    feature c by gain[c]; add bias[c].

    Args:
        x: (…, C): any number of dimensions, the features last; (C,), (T, C) and (B, T, C) occur. Not necessarily
            contiguous in memory (it may be a transposed tensor).
        gain: (C,).
        bias: (C,).
        eps: a small number that keeps the root away from zero. Use the one that is passed in.

    Returns:
        (…, C), the same shape as x.

    Example: x = [[1, 1, 5, 5]] has mean 3 and variance 4. With gain 1, bias 0 and eps nearly 0 the result is
    [[-1, -1, 1, 1]].
    """
    raise NotImplementedError


def n_parameters(V: int, T: int, C: int, L: int, H: int, tied: bool) -> int:
    """2 (easy). Count the parameters of a GPT.

    Count those of the GPT in section 4.8: token embeddings; learned positions; L blocks, each with two LayerNorms (gain
    and bias), an attention with H heads (four projections C → C: queries, keys, values, output; each with a bias) and a
    feed-forward C → 4C → C (both layers with a bias); one final LayerNorm (gain and bias); and the output layer C → V,
    which has no bias.

    Args:
        V: size of the vocabulary.
        T: the maximum length of a text, in tokens.
        C: width of the model.
        L: number of blocks.
        H: number of heads, each of width C / H.
        tied: whether the output layer's matrix *is* the token embedding, so that it adds no parameters.

    Returns:
        The number of parameters, an int. n_parameters(50257, 1024, 768, 12, 12, True), GPT-2, is 124,439,808.
    """
    raise NotImplementedError


def sinusoidal(T: int, C: int) -> Tensor:
    """3 (medium). Compute a vector for each position from sine and cosine waves.

    Row p belongs to position p = 0, 1, …, T - 1. For i = 0, 1, …, C/2 - 1,

        feature 2i     is  sin(p / 10000^(2i / C))
        feature 2i + 1 is  cos(p / 10000^(2i / C))     (the same angle)

    Args:
        T: number of positions.
        C: number of features, even.

    Returns:
        (T, C), floating-point. sinusoidal(2, 2) is [[0, 1], [0.8415, 0.5403]].
    """
    raise NotImplementedError


def block(
    x: Tensor,
    attention: Callable[[Tensor], Tensor],
    feed_forward: Callable[[Tensor], Tensor],
    norm_1: Callable[[Tensor], Tensor],
    norm_2: Callable[[Tensor], Tensor],
) -> Tensor:
    """4 (medium). Assemble a pre-norm GPT block from its parts.

    First attention, then feed-forward. Each reads a *normalized copy* of the stream (attention reads norm_1's output,
    feed_forward norm_2's) and adds its result to the stream itself, which is never normalized.

    Args:
        x: the residual stream (B, T, C).
        attention, feed_forward, norm_1, norm_2: functions that take and return (B, T, C). The attention is already
            causal. Call each exactly once.

    Returns:
        (B, T, C): the stream after the block.
    """
    raise NotImplementedError


def next_token_loss(logits: Tensor, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """5 (hard). Compute how surprised a model is by the tokens that actually come next.

    logits[b, t] is the model's prediction, before the softmax, of the token that *follows* position t. The loss of a
    prediction is -ln p(the token that follows). Return the mean of these losses, in nats, over all predictions of the
    batch that have a target: the row must have a next token, and that token must be real. Every such prediction has
    the same weight, whichever row it is in.

    Args:
        logits: (B, T, V), any real numbers.
        ids: (B, T) integers, the tokens that the model has read.
        attention_mask: (B, T) booleans. False = padding, at the end of short rows. (Its id is an ordinary number,
            usually 0, and means nothing.) A row may be padding only, but at least one prediction of the batch has a
            real target.

    Returns:
        A tensor without dimensions, through which the gradient flows back to the logits.
    """
    raise NotImplementedError


def too_good(ids: Tensor, V: int) -> Tensor:
    """6 (break it, and explain). Find logits that fool a loss whose labels are not shifted.

    A friend compares logits[t] with ids[t], the token at the *same* position, instead of the next one. Make logits for
    the text `ids` for which your friend's loss (the mean of -ln softmax(logits[t])[ids[t]] over all t) is below 0.01,
    although the true next-token loss of the same logits (logits[t] against ids[t + 1]) is above ln V: worse than
    knowing nothing.

    Args:
        ids: (T,) integers from 0 to V - 1. No token occurs twice in a row.
        V: size of the vocabulary, at least 2.

    Returns:
        logits (T, V), floating-point and finite.

    Then explain below, in WHY_TOO_GOOD: how can a causal model, which sees no future, reach a loss of nearly 0 by your
    friend's measure? What does it write when you let it tell a story? And which two numbers from this lesson, one
    before training and one after, could have revealed the mistake?
    """
    raise NotImplementedError


WHY_TOO_GOOD = """
"""


# 7 (open). Change one thing about the block: its order, its norm, its feed-forward (another activation, another width),
# or what the residual connection adds. Write it into your `block` (keep the correct version as a comment) and train the
# story model with it: python -m lessons run 4 --mine. Predict the validation loss first. Write down what you changed,
# what you predicted and why, what you measured (with more than one seed), and what you conclude.
EXPERIMENT = """
"""
