"""Exercises of lesson 07: BERT.

    python -m lessons check 7                     # what is right, what is wrong, and why
    python -m lessons check 7 --only choose_masked
    python -m lessons hint 7 choose_masked        # one more hint each time
    python -m lessons run 7 --mine                # the lesson's model, trained with your masks and your loss

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need. The ready-made
cross-entropies of torch and everything of llmasos are not allowed, for obvious reasons. Do not change the inputs, and
give every tensor that you make the `device` of the inputs. Nothing here draws random numbers of its own: where chance
is needed, uniform random numbers or a generator are passed in.

Letters: B batch, T length of a row, H heads, V size of the vocabulary.
"""

import random

from torch import Tensor


def padding_mask(attention_mask: Tensor) -> Tensor:
    """1 (easy). Say which positions each position of an encoder may attend to.

    The rows of a batch were padded with [PAD] to the same length. Everybody may look in both directions, and at
    itself, but nobody at padding.

    Args:
        attention_mask: (B, T) booleans, False = padding. Each row has at least one real token.

    Returns:
        Booleans, True = may attend, of a shape that broadcasts to (B, H, T, T), in which the last dimension is the
        position that is looked at (the key) and the one before it the position that looks (the query). The checks use
        it in attention, and look only at what comes out at real positions: padding may attend to what it likes.
    """
    raise NotImplementedError


def choose_masked(ids: Tensor, special: Tensor, uniform: Tensor, share: float = 0.15) -> Tensor:
    """2 (medium). Choose the tokens that are to be predicted.

    In each row by itself: let n be the number of its ordinary (not special) tokens. share · n of them are chosen,
    rounded to the nearest whole number (a half upwards: 2.5 becomes 3), but at least one; in a row without ordinary
    tokens none. Those are chosen whose number in `uniform` is smallest, the numbers of special tokens left aside.

    Args:
        ids: (B, T) token ids.
        special: (V,) booleans: special[i] says whether id i is a special token: [PAD], [UNK], [CLS], [SEP], [MASK].
        uniform: (B, T) random numbers from 0 to 1, all different.
        share: of the ordinary tokens of a row.

    Returns:
        (B, T) booleans, True = chosen.

    Example: with special ids 0 … 4 and share 0.5
        ids       2    7    8    9    6    3    0
        uniform  0.1  0.9  0.2  0.4  0.7  0.3  0.0     four ordinary tokens: two are chosen
        result    F    F    T    T    F    F    F
    """
    raise NotImplementedError


def apply_80_10_10(
    ids: Tensor, chosen: Tensor, fate: Tensor, dice: Tensor, mask_id: int, ordinary: Tensor
) -> tuple[Tensor, Tensor]:
    """3 (medium). Hide the chosen tokens, and note what is to be predicted.

    What becomes of a chosen token is decided by its own number in `fate`: below 0.8 it becomes [MASK]; from 0.8 on and
    below 0.9 it becomes a random token; from 0.9 on it stays as it is. Which random token is decided by its number in
    `dice`: of the N ordinary tokens that with the index ⌊dice · N⌋. Tokens that are not chosen stay as they are.

    All chosen tokens are to be predicted, whatever has become of them.

    Args:
        ids: (B, T) token ids.
        chosen: (B, T) booleans.
        fate, dice: (B, T) random numbers, at least 0 and below 1. Those at places that are not chosen mean nothing.
        mask_id: the id of [MASK].
        ordinary: (N,) the ids of all ordinary tokens.

    Returns:
        The ids that the model is shown, (B, T), and the labels, (B, T): at chosen places the id that stood there, at
        all others -100.

    Example: with mask_id 4 and ordinary tokens 5, 6, 7, 8, 9
        ids      2    7    8    9    6     3
        chosen   F    T    T    T    F     F
        fate    0.5  0.3  0.85 0.95 0.1   0.2
        dice    0.7  0.9  0.1  0.4  0.2   0.6
        shown    2    4    5    9    6     3
        labels -100   7    8    9  -100  -100
    """
    raise NotImplementedError


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """4 (medium). How surprised the model is by the tokens it had to predict, in nats.

    The mean of -log p(label) over all predicted positions of the batch, each of which counts the same. A position whose
    label is -100 is not predicted and does not count. p is the softmax of a position's logits; they may be as large as
    1000, and the result must not be NaN or infinite.

    If no position is predicted, the loss is 0. Also then it is computed from the logits, so that `backward()` can be
    called on it: the gradients are 0.

    Args:
        logits: (B, T, V).
        labels: (B, T) ids, or -100.

    Returns:
        A tensor without dimensions.
    """
    raise NotImplementedError


def next_sentence_pair(documents: list[list[str]], generator: random.Random) -> tuple[str, str, bool]:
    """5 (medium). Draw one example for next-sentence prediction.

    The first text is a sentence of some document, of those that are followed by another sentence. With probability one
    half the second text is the sentence that follows it. Else it is a sentence of another document: any other document,
    and any of its sentences, also its first or its last.

    Every sentence that has a successor must be able to be the first text, and every sentence of every other document
    must be able to stand beside it. Whether all of them are equally likely is up to you.

    Args:
        documents: at least two, each a list of at least two sentences. No sentence occurs twice.
        generator: all chance must come from it: `generator.random()` is a number from 0 to 1, `generator.randrange(n)`
            one of 0 … n - 1, `generator.choice(some_list)` one item of the list.

    Returns:
        The first text, the second text, and whether the second follows the first (True or False).
    """
    raise NotImplementedError


def better_than_it_is() -> Tensor:
    """6 (break it, and explain). A language about which pseudo-perplexity tells a lie.

    All sentences of the language have two words. p[i, j] is the probability of the sentence "i j". A perfect model,
    which knows p, is measured in two ways (section 7.10). Find a language for which its perplexity per word is 3 or
    more, and its pseudo-perplexity 1.01 or less.

    Returns:
        p: (V, V) probabilities, with V from 2 to 100: none negative, and their sum is 1.

    Then say below, in WHY_PSEUDO, why the two numbers are so far apart, in which direction they can differ, and what
    you would answer somebody who says: "My BERT has a (pseudo-)perplexity of 4, my GPT one of 12, so BERT is the better
    language model."
    """
    raise NotImplementedError


WHY_PSEUDO = """
"""


# 7 (open). Change one thing about what the lesson's BERT learns from — the fraction of hidden tokens, the 80/10/10,
# whole words instead of pieces, the same masks in every epoch, next sentences from the same story, no next sentences
# at all — and train it again: python -m lessons run 7 --mine, with your functions changed as you like (keep the right
# ones as a comment), or a copy of lesson.py. Predict first: which of the lesson's numbers will move, and which way?
# Write down what you changed, what you predicted and why, what came out with two seeds or more, and what you make of
# it.
EXPERIMENT = """
"""
