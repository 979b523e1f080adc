"""Exercises of lesson 16: preferences.

    python -m lessons check 16                     # what is right, what is wrong, and why
    python -m lessons check 16 --only dpo_loss
    python -m lessons hint 16 dpo_loss             # one more hint each time
    python -m lessons run 16 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. torch's elementary operations are all you need: `exp`,
`log`, `logsigmoid`, `log_softmax`, `gather`, `where`, `cumsum`. Ready-made divergences such as `kl_div` are not
allowed. Import what you need at the top. Do not modify the inputs, and create every tensor on the `device` of the input
tensors. An input may be a view of another tensor, so do not rely on its layout in memory. All logarithms are natural:
everything is in nats.

Dimension letters: B pairs, T tokens of the longest text, V size of the vocabulary, N possible answers, D features.
"""

from torch import Tensor


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """1 (easy). The loss of a reward model for each pair: -log of the probability that the chosen answer wins.

    Args:
        chosen: rewards of the answers that were preferred, (B,); any finite numbers, so that the difference of two may
            be 10,000 either way.
        rejected: rewards of the others, (B,).

    Returns:
        (B,), in nats, finite: the loss of each pair.

    Example: the rewards 3 and 1 give 0.1269; 1 and 3 give 2.1269; two equal rewards give log 2.
    """
    raise NotImplementedError


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """2 (easy). KL(p ‖ q) of distributions over N answers: how far p is from q, seen from p.

    Args:
        p, q: probabilities (…, N) of the same shape; along the last dimension each sums to 1. Some may be 0: an answer
            with p = 0 contributes nothing, whatever q is. One with p > 0 and q = 0 makes the KL infinite.

    Returns:
        (…), in nats: one number for each distribution.

    Example: p = [0.75, 0.25], q = [0.5, 0.5] gives 0.1308.
    """
    raise NotImplementedError


def optimal_policy(reference: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """3 (medium). The distribution with the highest E[reward] - β · KL(it ‖ reference): π* ∝ π₀ · e^(r/β).

    Args:
        reference: π₀, probabilities (…, N) that sum to 1 along the last dimension; some may be 0.
        rewards: r, of the same shape; any finite numbers.
        beta: β, above 0. It may be so small that e^(r/β) is too large, or too small, for a floating-point number; the
            result is right all the same.

    Returns:
        (…, N): π*, which sums to 1 along the last dimension.

    Example: the reference [0.5, 0.5] with the rewards [1, 0] and β = 1 gives [0.731, 0.269].
    """
    raise NotImplementedError


def best_of_n_probabilities(reference: Tensor, rewards: Tensor, n: int) -> Tensor:
    """4 (medium). The distribution of the best of n answers, drawn independently from a model.

    If several draws have the highest reward, one of these draws is kept at random. Compute the probabilities exactly,
    from the formula of section 16.4; a simulation is not exact enough.

    Args:
        reference: the model's probabilities of all N answers, (N,), each above 0, with the sum 1.
        rewards: the rewards of these answers, (N,), in no particular order. Some may be equal, exactly.
        n: the number of draws, 1 or more.

    Returns:
        (N,): the probability that each answer is the one that is kept.

    Example: the reference [0.5, 0.25, 0.25] with the rewards [0, 1, 1] and n = 2 gives [0.25, 0.375, 0.375].
    """
    raise NotImplementedError


def dpo_loss(logits: Tensor, reference_logits: Tensor, targets: Tensor, beta: float) -> Tensor:
    """5 (hard). The loss of direct preference optimization for each pair, from the logits of two models.

    Row i is the chosen answer of pair i, and row B + i its rejected answer.

    Args:
        logits: of the model that is trained, (2B, T, V): at position t those of the token that follows.
        reference_logits: of the model that it started from, (2B, T, V). They are constants: the loss is differentiable
            in `logits` alone.
        targets: (2B, T) whole numbers: at position t the token that does follow, or -100 where no token of the answer
            follows: in the prompt, and beyond the end of the answer. Every row has at least one target.
        beta: β, above 0.

    Returns:
        (B,), in nats: the loss of each pair. The log-probability of an answer is that of all its tokens together.

    Example with B = T = 1, V = 2 and β = 1: the logits [[[1, 0]], [[1, 0]]], reference logits of 0 and the targets
    [[0], [1]] give 0.3133: log π/π₀ of the chosen answer is greater by 1, and -log σ(1) = 0.3133.
    """
    raise NotImplementedError


def chosen_falls() -> tuple[Tensor, Tensor]:
    """6 (break it, and explain). Find a model in which a step of DPO makes the chosen answer *less* probable.

    There are three answers to one prompt: answer 0 was chosen, answer 1 rejected, answer 2 never shown. Each has D
    features, a row of a matrix X (3, D), and the model is the smallest there is: w (D,) are its weights, X w the logits
    of the three answers, and their softmax the probabilities. It is its own reference when training starts. The check
    takes one step of gradient descent on the DPO loss of this one pair, with β = 1 and the learning rate 0.1.

    Find X and w such that the loss falls, and yet the log-probability of answer 0 falls by at least 0.01.

    Returns:
        X (3, D) and w (D,), with D at least 1; no number above 10 or below -10. Before the step, each of the three
        answers has a probability of at least 0.05.

    Then explain in WHY_FALLS below (at least 50 words) why the loss allows this, where the probability goes, and what
    could be done.
    """
    raise NotImplementedError


WHY_FALLS = """
"""


# 7 (open). Change one thing about the lesson's training: β, the number of pairs, how often each is repeated, how
# decided the reader is, the reward. Change it in a copy of lesson.py, or in your dpo_loss with `run 16 --mine`. Where
# the lesson has a formula, compute its prediction first. Write down what you changed, what you predicted and why, what
# came out, and what you make of it (at least 60 words).
EXPERIMENT = """
"""
