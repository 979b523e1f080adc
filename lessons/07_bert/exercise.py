"""Exercises of lesson 07: BERT.

    python -m lessons check 7                     # what is right, what is wrong, and why
    python -m lessons check 7 --only choose_masked
    python -m lessons hint 7 choose_masked        # one more hint each time
    python -m lessons run 7 --mine                # the lesson's model, trained with your masking and your loss

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need. The ready-made
cross-entropies of torch and everything in llmasos are not allowed, for obvious reasons. Do not modify the inputs, and
create every tensor on the `device` of the inputs. An input may be a view of another tensor (a transposed one, for
example), so do not rely on its layout in memory.
Do not draw random numbers of your own: where a function needs randomness, it gets uniform random numbers or a
generator as an argument.

Notation: B batch size, T sequence length, H heads, V vocabulary size.
"""

import random

from torch import Tensor


def padding_mask(attention_mask: Tensor) -> Tensor:
    """1 (easy). Return the attention mask of an encoder for padded sequences.

    The sequences of a batch were padded with [PAD] to the same length. Every position may attend in both directions,
    and to itself, but no position may attend to padding.

    Args:
        attention_mask: (B, T) booleans, False = padding, which may be anywhere. Each sequence has at least one real
            token.

    Returns:
        Booleans, True = may attend, of a shape that broadcasts to (B, H, T, T), where the last dimension is the key
        position (attended to) and the one before it the query position. The checks use the mask in attention and
        compare only the outputs at real tokens: what padding attends to does not matter.
    """
    raise NotImplementedError


def choose_masked(ids: Tensor, special: Tensor, uniform: Tensor, fraction: float = 0.15) -> Tensor:
    """2 (medium). Choose the tokens to predict.

    Treat each row separately. Let n be the number of its ordinary (not special) tokens. Choose fraction · n of them,
    rounded to the nearest integer (a half rounds up: 2.5 becomes 3), but at least one; in a row without ordinary tokens
    choose none. Choose the ordinary tokens with the smallest numbers in `uniform`, and ignore the numbers of special
    tokens.

    Args:
        ids: (B, T) token ids.
        special: (V,) booleans: special[i] says whether id i is a special token: [PAD], [UNK], [CLS], [SEP], [MASK].
            Special ids may be any.
        uniform: (B, T) random numbers from 0 to 1, all different.
        fraction: the fraction of a row's ordinary tokens to choose.

    Returns:
        (B, T) booleans, True = chosen.

    Example: with special ids 0 … 4 and fraction 0.5
        ids       2    7    8    9    6    3    0
        uniform  0.1  0.9  0.2  0.4  0.7  0.3  0.0     four ordinary tokens: two are chosen
        result    F    F    T    T    F    F    F
    """
    raise NotImplementedError


def apply_80_10_10(
    ids: Tensor, chosen: Tensor, fate: Tensor, dice: Tensor, mask_id: int, ordinary: Tensor
) -> tuple[Tensor, Tensor]:
    """3 (medium). Mask the chosen tokens, and return the labels.

    A chosen token's number in `fate` decides what happens to it: below 0.8 it becomes [MASK]; at 0.8 or above and below
    0.9 it becomes a random token; at 0.9 or above it stays the same. Its number in `dice` decides which random token:
    of the N ordinary tokens, the one with index ⌊dice · N⌋. Tokens that are not chosen stay the same.

    The model predicts all chosen tokens, whether masked, replaced or kept.

    Args:
        ids: (B, T) token ids.
        chosen: (B, T) booleans.
        fate, dice: (B, T) random numbers, at least 0 and below 1. Ignore them where no token is chosen.
        mask_id: the id of [MASK].
        ordinary: (N,) the ids of all ordinary tokens, in any order.

    Returns:
        The input ids of the model, (B, T), and the labels, (B, T): the original id at chosen positions, -100 at all
        others.

    Example: with mask_id 4 and ordinary tokens 5, 6, 7, 8, 9
        ids      2    7    8    9    6     3
        chosen   F    T    T    T    F     F
        fate    0.5  0.3  0.85 0.95 0.1   0.2
        dice    0.7  0.9  0.1  0.4  0.2   0.6
        input    2    4    5    9    6     3
        labels -100   7    8    9  -100  -100
    """
    raise NotImplementedError


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """4 (medium). Masked language modeling loss, in nats.

    The mean of -log p(label) over all predicted positions of the batch, with equal weights. A position whose label is
    -100 is not predicted and does not count. p is the softmax of a position's logits; they may be as large as 1000
    (or as small as -1000), and the result must not be NaN or infinite.

    If no position is predicted, the loss is 0. It must still be computed from the logits, so that `backward()` works:
    the gradients are 0.

    Args:
        logits: (B, T, V).
        labels: (B, T) ids, or -100.

    Returns:
        A 0-dimensional tensor.
    """
    raise NotImplementedError


def next_sentence_pair(documents: list[list[str]], generator: random.Random) -> tuple[str, str, bool]:
    """5 (medium). Draw one example for next-sentence prediction.

    The first text is a sentence of some document; it must have a successor. With probability one half, whatever the
    first text is, the second text is the sentence that follows it. Otherwise it is a sentence of another document: any
    other document, and any of its sentences, including its first and its last.

    Every sentence that has a successor must be possible as the first text, and every sentence of every other document
    must be possible as its second text. They need not all be equally likely.

    Args:
        documents: at least two, each a list of at least two sentences. No sentence occurs twice.
        generator: the only source of randomness: `generator.random()` is a number from 0 to 1, `generator.randrange(n)`
            one of 0 … n - 1, `generator.choice(some_list)` one item of the list.

    Returns:
        The first text, the second text, and whether the second follows the first (True or False).
    """
    raise NotImplementedError


def better_than_it_is() -> Tensor:
    """6 (break it, and explain). Find a language for which pseudo-perplexity is misleading.

    All sentences of the language have two words. p[i, j] is the probability of the sentence "i j". A perfect model,
    which knows p, is measured in two ways (section 7.10). Find a language for which its perplexity per word is at least
    3, and its pseudo-perplexity at most 1.01.

    Returns:
        p: (V, V) probabilities, with V from 2 to 100: non-negative, with sum 1 (to within 0.0001).

    Then explain below, in WHY_PSEUDO, why the two numbers are so far apart, in which direction they can differ, and
    what you would answer to: "My BERT has a (pseudo-)perplexity of 4, my GPT one of 12, so BERT is the better language
    model."
    """
    raise NotImplementedError


WHY_PSEUDO = """
"""


# 7 (open). Change one thing about what the lesson's BERT learns from: the fraction of masked tokens, the 80/10/10,
# whole words instead of subwords, the same masks in every epoch, negatives from the same story, or no next-sentence
# prediction at all. Train it again with python -m lessons run 7 --mine, with your functions changed as you like (keep
# the correct ones as a comment), or with a copy of lesson.py. Predict first: which of the lesson's numbers will change,
# and in which direction? Write down what you changed, what you predicted and why, what came out with at least two
# seeds, and what you conclude.
EXPERIMENT = """
"""
