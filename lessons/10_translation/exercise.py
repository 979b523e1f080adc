"""Exercises of lesson 10: translation.

    python -m lessons check 10                     # what is right, what is wrong, and why
    python -m lessons check 10 --only bleu
    python -m lessons hint 10 cross_attention      # one more hint each time
    python -m lessons run 10 --mine                # the lesson's model, with your own functions

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are enough for the three functions
on tensors, and `collections.Counter` helps with the two that count words. Ready-made attention, cross-entropy and BLEU
are not allowed. Do not modify the inputs, and create every tensor on the `device` of the inputs.

Letters: B batch, T target positions (queries), S source positions (keys), C width of the model, H heads, D = C / H
width of one head, V size of the vocabulary.
"""

from torch import Tensor

IGNORE_INDEX = -100  # marks positions in `targets` that the loss ignores


def shift_right(targets: Tensor, start: int, pad: int) -> Tensor:
    """1 (easy). Make the decoder's input from its targets.

    At every position, the decoder's input is the token before the one it must predict there; at the first position,
    where there is no token before, it is the start token. `IGNORE_INDEX` (-100) is not a token and has no embedding:
    wherever it would appear in the result, put `pad` instead.

    Args:
        targets: token ids (B, T), int64. Each row is a sentence, its end token, and then IGNORE_INDEX up to length T.
        start: the id of the start token.
        pad: the id of the padding token.

    Returns:
        (B, T) int64.

    Example with start 1, pad 0 and end token 9:
            7   8     9  -100  -100         becomes         1   7   8   9   0
            5   6     7     8     9                         1   5   6   7   8
    """
    raise NotImplementedError


def clipped_matches(hypothesis: list[str], references: list[list[str]], n: int) -> tuple[int, int]:
    """2 (easy). Count the n-grams of a translation, and how many of them match its references.

    An n-gram is a run of n words, in order; words are compared as they are, with upper and lower case. If it occurs c
    times in the hypothesis, and at most m times in any *single* reference, it gives min(c, m) matches. The total is the
    number of n-grams in the hypothesis, counting repetitions.

    Args:
        hypothesis: the words of the translation.
        references: one or several correct translations, each a list of words.
        n: at least 1.

    Returns:
        (matches, total), two integers; (0, 0) if the hypothesis has fewer than n words.

    Example: for the hypothesis "the the cat" and the reference "the cat sat", n = 1 gives (2, 3), and n = 2 gives
    (1, 2).
    """
    raise NotImplementedError


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """3 (medium). Compute the mean cross-entropy with label smoothing, over all tokens that are not padding.

    With ε = smoothing, the target distribution q gives ε / V to every token of the vocabulary, and an additional 1 - ε
    to the right one. The loss of a position is -Σ q(token) · ln p(token), where p is the softmax of its logits.
    Positions whose target is IGNORE_INDEX (-100) do not count at all: neither in the sum nor in the number that you
    divide by.

    Args:
        logits: (B, T, V).
        targets: (B, T) int64, with at least one position that is not IGNORE_INDEX.
        smoothing: ε, at least 0 and less than 1.

    Returns:
        one number (a tensor without dimensions), in nats per token: the sum over all positions that count, of the whole
        batch, divided by their number.
    """
    raise NotImplementedError


def cross_attention(
    x: Tensor, memory: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, n_heads: int, attention_mask: Tensor
) -> Tensor:
    """4 (medium). Multi-head attention from the target to the source, without biases.

    Queries come from the target, keys and values from the source. Head h uses the features h·D … (h + 1)·D - 1 of each,
    with D = C / n_heads; its scores are divided by √D. Every target position may attend to every real source position,
    but never to padding: the weight of padding is 0, and the weights of the real positions sum to 1. The outputs of the
    heads are concatenated in order and projected by w_o. There is no residual connection here: the block adds it.

    Args:
        x: the target's hidden states (B, T, C).
        memory: the encoder's output for the source (B, S, C).
        w_q, w_k, w_v, w_o: (C, C). As in nn.Linear, the projection of x is x @ w.T.
        n_heads: divides C.
        attention_mask: (B, S) booleans, False = padding. Every source has at least one real position.

    Returns:
        (B, T, C).
    """
    raise NotImplementedError


def bleu(hypotheses: list[list[str]], references: list[list[list[str]]]) -> float:
    """5 (hard). Compute the BLEU of a whole corpus, with n-grams of one to four words and without smoothing.

        p_n  = matches of order n, summed over all sentences / n-grams of order n, summed over all sentences
        BLEU = 100 · BP · (p_1 · p_2 · p_3 · p_4)^(1/4),      BP = 1 if h ≥ r, else exp(1 - r / h)

    Matches and n-grams are those of `clipped_matches`, which you may use. h is the total number of words in all
    hypotheses. r is the sum of one reference length per sentence: the length of the reference that is closest in length
    to the hypothesis; in a tie, the shorter one. If some order has no match in the whole corpus, or there is no n-gram
    of that order, BLEU is 0.

    Args:
        hypotheses: N translations, each a list of words.
        references: for each of them one or several correct translations.

    Returns:
        a number from 0 to 100.
    """
    raise NotImplementedError


REFERENCE = "Rosa told the baker that she had not broken the blue jug ."


def fool_bleu() -> tuple[str, str, str]:
    """6 (break it, and explain). Write three candidates that show what BLEU measures, and what it does not.

    Each candidate is a translation of the (unknown) German sentence behind `REFERENCE`. Words are separated by spaces,
    the period is a word, and comparison is case-sensitive.

    Returns:
        parrot: 5 words or more, each of which occurs in REFERENCE, so that its precision without clipping is 1; but
            at most one in four of its words is matched with clipping (`clipped_matches` with n = 1).
        liar: says the opposite of REFERENCE, or something else, with a BLEU of 60 or more against it.
        poet: says the same as REFERENCE in other words, 8 or more of them, with a BLEU of 10 or less.

    The checks compute the numbers (BLEU of the one sentence, as in `bleu`). They cannot know whether the liar lies and
    the poet tells the truth: that is the point. Explain below, in WHY_FOOLED, why BLEU rates the liar so high and the
    poet so low, why people trusted BLEU for twenty years all the same, and for which comparison of two systems you
    would not trust it.
    """
    raise NotImplementedError


WHY_FOOLED = """
"""


# 7 (open). Change one thing about how the lesson's model reads, learns or writes, and train it again: python -m lessons
# run 10 --mine. With your own `cross_attention` you can let it see only one position of the source (the last real one,
# say), which is how translation worked before Bahdanau; or let each target position see only the source positions near
# its own; or use one head instead of four. With your own `shift_right` you can replace one input token in ten by a
# random one. Keep the right version as a comment. Predict BLEU first. Then write down what you changed, what you
# predicted and why, what the result was (with several seeds: --seed 1), and which new mistakes the model makes.
EXPERIMENT = """
"""
