"""Exercises of lesson 13: experts.

    python -m lessons check 13                     # what is right, what is wrong, and why
    python -m lessons check 13 --only mixture
    python -m lessons hint 13 mixture              # one more hint each time
    python -m lessons run 13 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. torch's elementary operations and Python's `math` are all
you need. Import what you need at the top. Do not modify the inputs, and create every tensor on the `device` of the
input tensors. An input may be a view of another tensor, so do not rely on its layout in memory.

Letters: E experts, of which each token uses k; N tokens; B rows of T tokens; C width of the model.
"""

from collections.abc import Callable, Sequence

from torch import Tensor


def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """1 (easy). Choose k experts for each token, and the weights of their outputs.

    Args:
        logits: (…, E), the router's logits; p is their softmax. In any floating-point precision. If they are in half
            precision (float16 or bfloat16), compute in float32 from the first step on; if in float64, in float64.
        k: 1 to E.

    Returns:
        chosen (…, k), int64: the experts with the highest logits, the highest first. Of two experts with the same logit
        the one with the smaller number comes first.
        weights (…, k): with k > 1, p of the chosen experts divided by the sum of these k; with k = 1, p itself. They
            are differentiable in the logits, and logits may be as far apart as 1,000.

    Example: logits of log 4, log 3, log 2, log 1 and k = 2 give the experts 0, 1 with the weights 0.571, 0.429.
    """
    raise NotImplementedError


def within_capacity(chosen: Tensor, is_real: Tensor, n_experts: int, capacity: int) -> Tensor:
    """2 (medium). Which choices find room, if an expert takes at most `capacity` tokens of a row?

    Each row is by itself. The tokens of a row come one after the other, in their order, and all k choices of a token
    are made when it comes. A choice finds room if fewer than `capacity` earlier tokens of its row have gone to that
    expert. Padding finds no room, and takes none from others.

    Args:
        chosen: (B, T, k) int64, the numbers of the chosen experts, which are different for each token.
        is_real: (B, T) booleans, False = padding, which may be anywhere in a row.
        n_experts: E.
        capacity: of each expert in each row, 0 or more.

    Returns:
        (B, T, k) booleans: which choices find room. A token may lose one of its choices and keep another.

    Example: with k = 1, two experts and the capacity 2, the choices 0, 0, 1, 0 give True, True, True, False.
    """
    raise NotImplementedError


def mixture(
    x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts: Sequence[Callable[[Tensor], Tensor]]
) -> Tensor:
    """3 (medium). Dispatch and combine: send each token to its experts, and add their outputs with the weights.

    Call each expert at most once, with all the tokens that use it and no others; so the work grows with k and not with
    E. An expert that no token uses may be called with no tokens, or not at all.

    Args:
        x: (N, C), the tokens.
        chosen: (N, k) int64, the numbers of the chosen experts, which are different for each token.
        weights: (N, k), floats.
        kept: (N, k) booleans. A choice that is not kept has been dropped: it adds nothing, and its expert does not
            compute it.
        experts: E functions (n, C) → (n, C), each of which treats every token by itself.

    Returns:
        (N, C): for each token, the sum of weight · expert(x) over its kept choices; 0 if there are none.
        Differentiable in x and in the weights.
    """
    raise NotImplementedError


def load_balancing_loss(probs: Tensor, chosen: Tensor, is_real: Tensor) -> Tensor:
    """4 (medium). The load-balancing loss of one layer, E · Σ f_i · P_i, over all real tokens of the batch together.

    Args:
        probs: (B, T, E), the router's probabilities.
        chosen: (B, T, k) int64, the numbers of the chosen experts. They need not be those with the highest
            probabilities.
        is_real: (B, T) booleans, False = padding, which counts neither in f nor in P. At least one token is real.

    Returns:
        A scalar, differentiable in probs. f_i is the fraction of all choices, so the f_i sum to 1 for every k.

    Example: two tokens with the probabilities [0.75, 0.25] and [0.25, 0.75] that both chose expert 0 give 1.
    """
    raise NotImplementedError


def mixture_size(d_model: int, d_ff: int, n_experts: int, k: int, gated: bool) -> tuple[int, int, int]:
    """5 (easy). The size of a mixture of experts, and what it costs.

    An expert is a feed-forward layer without biases: d_model → d_ff → d_model with two matrices or, if it is gated (as
    SwiGLU is), with three of the same size. The router is one matrix, without bias. There is a router only if there is
    more than one expert.

    Returns:
        Three whole numbers: the weights of all matrices; the weights that one token is multiplied by; the FLOPs per
        token of a *training* step, forward and backward, counted as in section 13.9: a multiplication and an addition
        are two, and the backward pass costs twice as much as the forward pass. Only matrices count.

    Example: mixture_size(2, 3, 4, 1, gated=False) gives 56, 20, 120.
    """
    raise NotImplementedError


def expected_dropped(T: int, n_experts: int, capacity: int) -> float:
    """6 (medium). The fraction of a row's tokens that a fair router drops, on average.

    Each of T tokens chooses one of the experts at random, all with the same probability and independently of the other
    tokens; an expert takes at most `capacity` of them. Compute the expectation exactly, from the formula of section
    13.8; a simulation or a normal approximation is not exact enough.

    Args:
        T: 1 to 4,000.
        n_experts: E, 1 or more.
        capacity: 0 or more; it may be greater than T.

    Returns:
        The expected number of dropped tokens, divided by T: from 0 to 1.

    Example: T = 2, two experts and the capacity 1 give 0.25.
    """
    raise NotImplementedError


def below_one() -> Tensor:
    """7 (break it, and explain). Find a router whose load-balancing loss is less than 0.95, with k = 1.

    You decide the router's probabilities for N tokens. Each token goes to the expert with the highest one.

    Returns:
        probs (N, E), with 2 to 8 experts and 2 to 100 tokens: each row is a distribution (no number below 0, the sum
        1), whose largest probability is at least 0.01 above the second largest.

    Then explain in WHY_BELOW below (at least 50 words) how the loss can be less than that of an even load, whether the
    load of your router is even, which way the gradient pushes it, and why the loss works in practice all the same.
    """
    raise NotImplementedError


WHY_BELOW = """
"""


# 8 (open). Change one thing about the lesson's experiments: the weight of the balancing loss, the number of experts or
# of active ones, the width of an expert, the mixture of the languages, the capacity in training. Change it in a copy of
# lesson.py. Where the lesson has a formula, compute its prediction first. Write down what you changed, what you
# predicted and why, what came out, and what you make of it (at least 60 words).
EXPERIMENT = """
"""
