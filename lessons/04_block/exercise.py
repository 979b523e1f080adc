"""Exercises of lesson 04: the GPT block.

    python -m lessons check 4                     # what is right, what is wrong, and why
    python -m lessons check 4 --only layer_norm
    python -m lessons hint 4 layer_norm           # one more hint each time
    python -m lessons run 4 --mine                # the lesson's story model, built of your parts

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: `mean`, `sqrt`,
`sin`, `cos`, `torch.arange`, `log_softmax`, `gather`. The ready-made norms and blocks of torch and of llmasos are not
allowed. Import what you need at the top. Do not change the inputs, and give every tensor that you make the `device` of
the input tensors.

Letters: B batch, T length, C width of the model, V size of the vocabulary, L number of blocks, H number of heads.
"""

from collections.abc import Callable

from torch import Tensor


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """1 (easy). Give the features of every position mean 0 and variance 1, then a scale and an offset of their own.

    For each position by itself, over its C features: subtract the mean; divide by √(variance + eps), where the variance
    is the *mean* of the squared deviations (divide by C, not by C - 1) and eps stands inside the root; multiply feature
    c by gain[c]; add bias[c].

    Args:
        x: (…, C): any number of dimensions, the features last; (T, C) and (B, T, C) both occur.
        gain: (C,).
        bias: (C,).
        eps: a small number that keeps the root away from zero. Use the one that is passed in.

    Returns:
        (…, C), of the shape of x.

    Example: x = [[1, 1, 5, 5]] has mean 3 and variance 4. With gain 1, bias 0 and eps nearly 0 the result is
    [[-1, -1, 1, 1]].
    """
    raise NotImplementedError


def n_parameters(V: int, T: int, C: int, L: int, H: int, tied: bool) -> int:
    """2 (easy). How many numbers does a GPT learn?

    Count those of the GPT of section 4.8: token embeddings; learned positions; L blocks, each with two LayerNorms (gain
    and bias), an attention of H heads (four projections C → C: queries, keys, values, output; each with a bias) and a
    feed-forward C → 4C → C (both layers with a bias); one last LayerNorm (gain and bias); and the output layer C → V,
    which has no bias.

    Args:
        V: size of the vocabulary.
        T: the longest text, in tokens.
        C: width of the model.
        L: number of blocks.
        H: number of heads, each of width C / H.
        tied: whether the output layer's matrix *is* the token embedding, so that it adds nothing of its own.

    Returns:
        the number of parameters, an int. n_parameters(50257, 1024, 768, 12, 12, True), GPT-2, is 124,439,808.
    """
    raise NotImplementedError


def sinusoidal(T: int, C: int) -> Tensor:
    """3 (medium). A vector for each position, made of waves.

    Row p belongs to position p = 0, 1, …, T - 1. For i = 0, 1, …, C/2 - 1,

        feature 2i     is  sin(p / 10000^(2i / C))
        feature 2i + 1 is  cos(p / 10000^(2i / C))     (the same angle as its neighbor's)

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
    """4 (medium). One pre-norm block of a GPT, put together from parts that are given.

    First attention, then feed-forward. Each reads a *normed copy* of the stream (attention that of norm_1, feed_forward
    that of norm_2) and adds its result to the stream itself, which is never normed.

    Args:
        x: the residual stream (B, T, C).
        attention, feed_forward, norm_1, norm_2: functions of a (B, T, C), each returning a (B, T, C). The attention is
            causal by itself. Call each exactly once.

    Returns:
        (B, T, C): the stream after the block.
    """
    raise NotImplementedError


def next_token_loss(logits: Tensor, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """5 (hard). How surprised is a model by the tokens that really come next?

    logits[b, t] is the model's guess, before the softmax, at the token that *follows* position t. The loss of a guess
    is -ln p(the token that follows). Return the mean of these losses, in nats, over all the guesses of the batch that
    can be judged: there must be a next token in the row, and it must be real. Every such guess counts the same,
    whichever row it is in.

    Args:
        logits: (B, T, V), any real numbers.
        ids: (B, T) whole numbers, the tokens that the model has read.
        attention_mask: (B, T) booleans. False = padding, which fills short rows at the end. (Its id is an ordinary
            number, mostly 0, and means nothing.) At least one prediction has a real target.

    Returns:
        a tensor without dimensions, through which the gradient flows back to the logits.
    """
    raise NotImplementedError


def too_good(ids: Tensor, V: int) -> Tensor:
    """6 (break it, and explain). Logits that fool a loss whose labels are not shifted.

    A friend compares logits[t] with ids[t], the token at the *same* position, instead of the next one. Make logits for
    the text `ids` with which your friend's loss (the mean of -ln softmax(logits[t])[ids[t]] over all t) is below 0.01,
    although the real next-token loss of the same logits (logits[t] against ids[t + 1]) is above ln V: worse than
    knowing nothing.

    Args:
        ids: (T,) whole numbers from 0 to V - 1. No token stands twice in a row.
        V: size of the vocabulary, at least 2.

    Returns:
        logits (T, V), floating-point and finite.

    Then say below, in WHY_TOO_GOOD: how does a causal model, which sees no future, manage to reach your friend's loss
    of nearly 0? What does it write, when it is asked to tell a story? And by which two numbers of this lesson could
    your friend have noticed, one before the training and one after?
    """
    raise NotImplementedError


WHY_TOO_GOOD = """
"""


# 7 (open). Change one thing about the block: its order, its norm, its feed-forward (another activation, another width),
# what the residual adds. Write it into your `block` (keep the right one as a comment) and train the story model with
# it: python -m lessons run 4 --mine. Predict the validation loss first. Write down what you changed, what you predicted
# and why, what came out (with more than one seed), and what you make of it.
EXPERIMENT = """
"""
