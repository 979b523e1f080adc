"""Exercises of lesson 11: summaries, and what a score is worth.

    python -m lessons check 11                     # what is right, what is wrong, and why
    python -m lessons check 11 --only rouge_l
    python -m lessons hint 11 copy_distribution    # one more hint each time
    python -m lessons run 11 --mine                # the lesson's models and tests, with your own functions

Replace each `raise NotImplementedError` with your own code. Three of the functions need nothing but Python; the one on
tensors needs only plain tensor operations. Ready-made ROUGE and ready-made permutation tests are not allowed. Do not
modify the inputs, and create every tensor on the `device` of the inputs.

Letters: B batch, T target positions, S source positions, V size of the vocabulary.
"""

from torch import Tensor


def rouge_l(summary: list[str], reference: list[str]) -> tuple[float, float, float]:
    """1 (medium). Compute ROUGE-L of a summary: precision, recall and F1.

    The matches are the length of a longest common subsequence: the largest number of words that both texts contain in
    the same order, not necessarily next to each other. Words are compared as they are, with upper and lower case.

        precision = matches / words of the summary          recall = matches / words of the reference
        F1        = 2 · precision · recall / (precision + recall)

    Where a denominator is 0 (a text has no words, or nothing matches), the value is 0. Texts may have 200 words each,
    so trying every subsequence is too slow; filling a table of len(summary) · len(reference) numbers is not.

    Args:
        summary: its words.
        reference: its words.

    Returns:
        (precision, recall, F1), each from 0 to 1.

    Example: the summary "the cat slept on the mat" and the reference "the dog slept on a mat today" have a longest
    common subsequence of four words (the, slept, on, mat), so the result is (4/6, 4/7, 8/13).
    """
    raise NotImplementedError


def contaminated(texts: list[list[str]], training_texts: list[list[str]], n: int) -> list[float]:
    """2 (easy). For each test text, compute the fraction of its runs of n words that also occur in a training text.

    A run is n neighboring words, in order. A text with fewer than n words has a single run: all of its words; it counts
    as found if these words occur next to each other anywhere in a training text. A run that a text contains twice
    counts once. Runs do not cross from one training text into the next. Words are compared as they are.

    With `run 11 --mine` there are 200 test texts and 2,010 training texts, so collect the runs of the training texts
    once, not once for each test text.

    Args:
        texts: the test texts, each a list of words; a text without any words has the fraction 0.
        training_texts: the texts the model was trained on, each a list of words.
        n: at least 1.

    Returns:
        one fraction from 0 to 1 for each test text, in order.

    Example: the test text "a b c d" has, with n = 2, the runs "a b", "b c" and "c d". If the training texts are
    "x a b" and "c d", two of the three are found: 2/3.
    """
    raise NotImplementedError


def copy_distribution(p_gen: Tensor, vocabulary: Tensor, attention: Tensor, source: Tensor) -> Tensor:
    """3 (medium). The output distribution of a pointer-generator: write a token, or copy one from the source.

        P(w) = p_gen · vocabulary(w)  +  (1 - p_gen) · (sum of the attention to all source positions that hold w)

    If a token occurs several times in the source, all its positions count. The result is differentiable in p_gen,
    vocabulary and attention.

    Loops over all positions are accepted by the checks, but with `run 11 --mine` the function is called 500 times with
    B = 16, T = 14, S = 140 and V = 1600, and only operations on whole tensors are fast enough for that.

    Args:
        p_gen: (B, T), from 0 to 1: the probability of writing instead of copying.
        vocabulary: (B, T, V), a distribution over the vocabulary for each target position.
        attention: (B, T, S), a distribution over the source positions for each target position; padding has 0.
        source: (B, S) token ids of the source, int64.

    Returns:
        (B, T, V), a distribution over the vocabulary for each target position.

    Example with B = T = 1: p_gen 0.6, vocabulary [0.5, 0.5, 0.0], attention [0.7, 0.2, 0.1] and source [2, 0, 2] give
    [0.6 · 0.5 + 0.4 · 0.2,  0.6 · 0.5,  0.4 · 0.8] = [0.38, 0.30, 0.32].
    """
    raise NotImplementedError


def sign_flip_p(a: list[float], b: list[float]) -> float:
    """4 (medium). Compute the two-sided p-value of a paired sign-flip test, exactly.

    The differences are d_i = a_i - b_i. There are 2^n ways to choose a sign s_i = +1 or -1 for each of them. The
    p-value is the fraction of these ways for which |sum of s_i · d_i| is at least |sum of d_i|, the observed sum. Sums
    of the same numbers in another order may differ in their last digits: a sum that misses the observed one by less
    than one part in 10^9 of the sum of all |d_i| counts as equal.

    Args:
        a: n scores of system A, with n from 1 to 14.
        b: n scores of system B; a[i] and b[i] belong together (the same seed, or the same example).

    Returns:
        the p-value, above 0 and at most 1. If all differences are 0, it is 1.

    Example: a = [3, 5, 4] and b = [1, 2, 3] have the differences 2, 3 and 1. Of the 8 choices of signs, only +++ and
    --- reach a sum of 6 or -6, so p = 2/8 = 0.25.
    """
    raise NotImplementedError


STORY_FACTS = "the hero is Leo; he loses a key; in the end the miller brings it back"
REFERENCE = "Leo loses a key, and the miller brings it back."


def three_lies() -> tuple[str, str, str, str]:
    """5 (break it, and explain). Write summaries that lie about one fact each, and one that lies about nothing.

    `REFERENCE` is the reference summary of a story with the facts in `STORY_FACTS`. The generator's reader,
    `summary_facts` of section 11.4, reads off each of your four summaries who it is about (hero), what it is about
    (thing), and how it ends (outcome); a summary must have a form that it can read. ROUGE-L is its F1, between the
    lower-case words of a summary and of REFERENCE, without punctuation. The reader knows five endings of such a story.
    Each … is a gap, which holds one or more words of any sort, without a comma, semicolon or period:

        returned    … loses a …, and … brings it back.
        found       … loses a … and finds it again ….        (the last gap is a place, such as "in the garden")
        swapped     … loses a … and gets it back from a crow.
        stolen      … loses a … to a crow and never gets it back.
        never       … loses a … and never finds it again.

    Returns:
        who: wrong about the hero alone, with a ROUGE-L of 0.85 or more.
        what: wrong about the thing alone, with a ROUGE-L of 0.85 or more.
        outcome: wrong about the outcome alone (another ending of a story about something lost), with a ROUGE-L of
            0.6 or more.
        humble: right about hero, thing and outcome, but with a ROUGE-L *below* that of your `who`. The finder is not
            one of the three facts.

    Explain below, in WHY_LIES (at least 60 words), what the four scores have to do with the truth, why ROUGE was useful
    all the same when it was invented, and how you would notice such lies in summaries of real news, where no generator
    knows the facts.
    """
    raise NotImplementedError


WHY_LIES = """
"""


# 6 (open). Change one thing about the lesson's experiments and run it again: python -m lessons run 11 --mine. With your
# own `copy_distribution` you can forbid copying (p_gen = 1 for every token) or allow nothing else (p_gen = 0); or let
# only the single most attended position count; or copy from a shuffled source. Keep the right version as a comment.
# Predict ROUGE-L and the three facts first, on known and on new names. Then write down what you changed, what you
# predicted and why, what the result was (with several seeds: --seed 1), and how many seeds you would need to be sure
# (at least 60 words).
EXPERIMENT = """
"""
