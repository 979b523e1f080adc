"""Exercises of lesson 19: bias and refusal.

    python -m lessons check 19                      # what is right, what is wrong, and why
    python -m lessons check 19 --only sharpen
    python -m lessons hint 19 sharpen               # one more hint each time
    python -m lessons run 19 --mine                 # the lesson, with your own functions in it

Replace each `raise NotImplementedError` with your own code. Do not modify the inputs. An input may be a view of another
tensor (a transposed one, for example), so do not rely on its layout in memory.

Dimension letters: K possible words, G groups. Logarithms are natural, so information is in nats.
"""

from torch import Tensor


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """1 (easy). What sampling at a temperature makes of probabilities.

    A word with probability p is drawn with a probability proportional to p^(1/τ), where τ is the temperature.

    Args:
        probs: (N, K), each row a distribution over K words, K at least 1. Some probabilities may be 0; such a word is
            never drawn. Others may be as small as 1e-30.
        temperature: τ, from 0.001 to 1000.

    Returns:
        (N, K): the distributions from which the words are drawn.

    Example: (0.8, 0.2) at τ = 0.5 becomes (0.64, 0.04) / 0.68 = (0.941, 0.059).
    """
    raise NotImplementedError


def log_odds_interval(counts: Tensor) -> tuple[float, float, float]:
    """2 (medium). The difference of the log odds of two groups, from counts, with its 95 % interval.

    counts[g, k] texts were about group g and had the word k. Add ½ to each of the four counts first, so that a count of
    0 does no harm (Haldane 1956). Then

        difference = ln(odds of group 0) - ln(odds of group 1),   odds = counts[g, 0] / counts[g, 1]

    Its standard error is the square root of the sum of 1 / count over the four counts, and the interval reaches 1.96
    standard errors to either side (Woolf 1955).

    Args:
        counts: (2, 2), whole numbers, at least 0.

    Returns:
        (difference, low end, high end), three numbers.

    Example: counts ((9, 3), (1, 1)) become ((9.5, 3.5), (1.5, 1.5)). The difference is ln(9.5 / 3.5) - ln 1 = 0.9985,
    the standard error is √(1/9.5 + 1/3.5 + 2/1.5) = 1.3132, and the interval is from -1.575 to 3.572.
    """
    raise NotImplementedError


def swap_words(text: str, pairs: list[tuple[str, str]]) -> str:
    """3 (medium). The counterfactual of a text: each word of a pair becomes the other one.

    A word is a run of letters (a-z, A-Z) with none before or after it, so "he" does not occur in "the", and "Ben's" is
    the word "Ben", an apostrophe, and the word "s". The words of the pairs are in lower case. In the text, a word may
    be in lower case or begin with a capital letter; then its counterpart begins with a capital letter, too. A word in
    any other case, such as "BEN", stays as it is. So does everything that is not in a pair.

    Args:
        text: any text in ASCII, perhaps empty.
        pairs: pairs of different words in lower case. No word is in two pairs. There may be none.

    Returns:
        The text with all words swapped, in both directions.

    Example: "He saw Mia, and she saw him." with (he, she), (him, her), (ben, mia) becomes "She saw Ben, and he saw
    her."
    """
    raise NotImplementedError


def price_of_blindness(joint: Tensor) -> float:
    """4 (medium). What it costs to ignore the group.

    Texts are about a group g and have a word k, with the probabilities joint[g, k]. A model that sees the group can
    predict the word with p(k | g). A model that must treat all groups alike can do no better than p(k), whatever the
    group. Return the difference of their mean losses, blind minus seeing, in nats per text:

        Σ over g and k of joint[g, k] · ln(p(k | g) / p(k))

    Args:
        joint: (G, K), probabilities that sum to 1. Some may be 0: words that a group never has, groups or words that
            do not occur at all. They contribute nothing.

    Returns:
        A number, 0 or more (up to rounding).

    Example: two equally frequent groups, the word with probabilities (0.8, 0.2) in one and (0.2, 0.8) in the other:
    joint = ((0.4, 0.1), (0.1, 0.4)). The price is 0.8 ln(0.8 / 0.5) + 0.2 ln(0.2 / 0.5) = 0.1927.
    """
    raise NotImplementedError


def recovery_example(prompt: list[int], answer: list[int], refusal: list[int], n: int) -> tuple[list[int], list[bool]]:
    """5 (medium). A conversation in which the assistant has begun to answer, and stops.

    The tokens are the prompt, then the first n tokens of the answer, then the whole refusal. The model should learn to
    write the refusal after such a beginning; it should not learn to write the beginning. So only the refusal's tokens
    are targets.

    The last token of the answer ends the message, and nothing can follow it. So at most len(answer) - 1 tokens of the
    answer are used, even if n is larger.

    Args:
        prompt: the tokens up to where the assistant's message begins, at least one.
        answer: the tokens of the helpful answer with the token that ends it, at least that one.
        refusal: the tokens of the refusal with the token that ends it, at least that one.
        n: how many tokens of the answer come first, at least 0.

    Returns:
        ids: the tokens, a list.
        mask: a list of as many booleans, True = this token is a target.

    Example: prompt (1, 2), answer (5, 6, 9), refusal (7, 9), n = 1: ids (1, 2, 5, 7, 9), mask (no, no, no, yes, yes).
    """
    raise NotImplementedError


def reversed_in_every_town() -> list[list[list[int]]]:
    """6 (break it, and explain). Make up counts that say the opposite together of what they say apart.

    There are two towns. In each of them, count the brave and the shy boys, and the brave and the shy girls. In *each*
    town, the fraction of girls who are brave is larger than that of boys, by at least 0.05. In both towns *together*,
    the fraction of boys who are brave is larger than that of girls, by at least 0.05.

    Returns:
        A list of two towns. Each is a list of two groups, the boys first, then the girls; each group is a list of two
        whole numbers, how many are brave and how many are shy. All numbers are from 0 to 1,000, and each group has at
        least 10 members in each town.

    Then explain in WHY_REVERSED below (at least 40 words) how this is possible, and what it means for somebody who
    measures the bias of a model by counting in its texts, and for somebody who measures it with counterfactual pairs.
    """
    raise NotImplementedError


WHY_REVERSED = """
"""


# 7 (open). Change one thing in the second half of the lesson and train again, in the lesson's notebook
# (python -m lessons notebook 19) or in a copy of lesson.py: how long the beginnings in the recovery examples are; the
# words of the refusal (what if it begins with "Sure"?); how many plain requests are mixed in; or undo it: fine-tune the
# model that refuses on a few harmful requests with answers, and count how many it takes. Predict first, all three
# fractions. Then write down what you changed, what you predicted and why, and what happened with three seeds (at least
# 60 words).
EXPERIMENT = """
"""
