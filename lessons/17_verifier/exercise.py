"""Exercises of lesson 17: a verifier as teacher.

    python -m lessons check 17                      # what is right, what is wrong, and why
    python -m lessons check 17 --only advantages
    python -m lessons hint 17 advantages            # one more hint each time
    python -m lessons run 17 --mine                 # the lesson's model, taught with your own code

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: `softmax`,
`exp`, `mean`, `sum`, `clamp`, `minimum`, `where`, `masked_fill`, `index_add`. Do not modify the inputs, and create
every tensor on the `device` of the inputs. An input may be a view of another tensor (a transposed one, for example), so
do not rely on its layout in memory.

Dimension letters: K possible answers, N prompts, G answers to each prompt (a group), B answers in a batch, T tokens in
an answer. Logarithms are natural, so log-probabilities and divergences are in nats.
"""

from torch import Tensor


def reinforce_gradient(logits: Tensor, answers: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    """1 (easy). Estimate the gradient of the expected reward from answers that were drawn.

    There are K possible answers, and the policy is p = softmax(logits). B answers were drawn from it and got rewards.
    The estimate is the mean over the B answers of

        (reward - baseline) · (the gradient of log p[answer] with respect to the logits)

    Work out that gradient with pen and paper; no `backward` is needed.

    Args:
        logits: (K,), K at least 1. They may be large: a thousand is possible, and minus a thousand, too.
        answers: (B,) whole numbers 0 … K - 1, B at least 1. The same answer may occur several times; each counts.
        rewards: (B,), the reward of each of these answers.
        baseline: is subtracted from every reward.

    Returns:
        (K,): the estimate. It points uphill, in the direction in which the expected reward *rises*.

    Example: two equally likely answers, logits 0 and 0. Answer 1 was drawn once, with reward 3; the baseline is 1. The
    gradient of log p[1] is (-0.5, 0.5), and the estimate is (-1, 1).
    """
    raise NotImplementedError


def advantages(rewards: Tensor, log_ratios: Tensor, beta: float) -> Tensor:
    """2 (easy). Compare each answer with the *other* answers to the same prompt.

    First the KL penalty: the return of an answer is R = reward - beta · log_ratio. Then the baseline: the advantage of
    an answer is its return minus the mean of the returns of the other G - 1 answers of its group.

    Args:
        rewards: (N, G), the rewards of G answers to each of N prompts, G at least 2.
        log_ratios: (N, G), log π(answer) - log π₀(answer) of each answer, positive or negative.
        beta: β, at least 0.

    Returns:
        (N, G).

    Example: rewards 1, 0, 0, all log-ratios 0. The first answer is 1 better than the mean of the other two, the others
    are 0.5 worse: (1, -0.5, -0.5).
    """
    raise NotImplementedError


def policy_gradient_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """3 (medium). The clipped loss of each token.

    With the ratio ρ = π(token) / π_old(token) of each token and the advantage A of its answer, the loss of the token is

        - min(ρ · A, clip(ρ, 1 - clip, 1 + clip) · A)

    where clip(ρ, low, high) is low if ρ is smaller, high if it is larger, and ρ otherwise.

    Args:
        log_probs: (B, T), log π of each token under the current policy. The loss must have a gradient with respect
            to it. Tokens may be very unlikely: a log-probability of -200 is possible.
        old_log_probs: (B, T), log π_old, under the policy that wrote the tokens. Constants.
        advantages: (B,), one for each answer: positive, negative or 0. Constants.
        clip: ε, above 0, below 1.

    Returns:
        (B, T): the loss of each token, to be minimized. The caller adds them up.

    Example: one token that has become 1.5 times as likely, ε = 0.2. With A = 1 the loss is -1.2, and its gradient is 0.
    With A = -1 the loss is 1.5, and its gradient is 1.5.
    """
    raise NotImplementedError


def kl_estimate(log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor) -> Tensor:
    """4 (medium). Estimate how far the policy is from its reference, from its own answers, without ever going below 0.

    For one token that the policy π wrote, let d = log π₀ - log π. The estimate for the token is (section 17.5)

        k3 = exp(d) - 1 - d

    and the estimate for an answer is the sum over its tokens.

    Args:
        log_probs: (B, T), log π of the tokens of B answers.
        reference_log_probs: (B, T), log π₀ of the same tokens.
        mask: (B, T) booleans, True = a token of the answer. Elsewhere the log-probabilities mean nothing and must not
            have any influence; they may be any number, minus infinity and NaN included. An answer may be empty.

    Returns:
        (B,), in nats per answer.

    Example: an answer of one token with π = 0.5 and π₀ = 0.25 has d = ln 0.5 = -0.69, and k3 = 0.5 - 1 + 0.69 = 0.19.
    """
    raise NotImplementedError


def pass_at_k(right: Tensor, k: int) -> float:
    """5 (medium). Estimate without bias how often at least one of k answers is right.

    A problem has n answers, c of them right. Choose k of the n answers at random, no answer twice, all choices equally
    likely: what is the probability that at least one of them is right? Return the mean of these probabilities over the
    problems.

    Args:
        right: (N, n) booleans: for each of N problems, which of its n answers are right. N and n are at least 1; n may
            be a thousand.
        k: 1 … n.

    Returns:
        A number from 0 to 1.

    Example: one problem, four answers, one of them right, k = 2. Of the 6 pairs of answers, 3 contain the right one:
    0.5.
    """
    raise NotImplementedError


def opposite_directions() -> tuple[list[float], list[float]]:
    """6 (break it, and explain). Find prompts for which dividing by the standard deviation turns the gradient around.

    A single weight w of a model changes its success at several prompts, each with reward 1 for a right answer and 0 for
    a wrong one. At prompt i the probability of a right answer is p[i], and a small increase of w changes it at the rate
    slope[i]. The mean reward therefore changes at the rate mean(slope). If advantages are divided by the standard
    deviation of the rewards of their group, as in GRPO, the expected update is in the direction of

        mean(slope[i] / sqrt(p[i] · (1 - p[i])))

    instead (for large groups; section 17.3). Find prompts for which the two have opposite signs.

    Returns:
        p: a list of 2 to 10 probabilities, each at least 0.01 and at most 0.99.
        slope: as many numbers from -1 to 1. Their mean is at least 0.05; the mean with the division is at most -0.05.

    Then explain in WHY_OPPOSITE below what happens to the mean reward if w follows the divided gradient, which prompts
    the division favors, and why somebody might still want it.
    """
    raise NotImplementedError


WHY_OPPOSITE = """
"""


# 7 (open). Change one thing about the teaching of section 17.8 and teach again: the reward (a bonus for something that
# you would like to read, say a rare word or a short sentence), the size of the group, β, or the number of updates from
# the same answers, in the lesson's notebook (python -m lessons notebook 17) or in a copy of lesson.py; or the
# advantages (python -m lessons run 17 --mine, with your own `advantages` changed as you like; keep the right version as
# a comment). Predict first: the reward, the entropy, and what the texts will look like. Then write
# down what you changed, what you predicted and why, what happened with three seeds, and whether the model found a way
# to earn your reward that you had not thought of.
EXPERIMENT = """
"""
