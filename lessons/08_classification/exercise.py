"""Exercises of lesson 08: text classification.

    python -m lessons check 8                     # what is right, what is wrong, and why
    python -m lessons check 8 --only label_scores
    python -m lessons hint 8 label_scores         # one more hint each time
    python -m lessons run 8 --mine                # the lesson, with your parts in it

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: indexing,
`argmax`, `exp`, `log`, `sum`, `where`, `masked_fill`, and loops wherever you like. Ready-made losses and metrics are
not allowed. Do not modify the inputs, and create every tensor on the `device` of the inputs.

Letters: B texts in a batch, T positions, C width of the model, N texts, K labels, M bins.
"""

from torch import Tensor


def label_scores(truths: Tensor, predictions: Tensor, n_labels: int) -> dict:
    """1 (easy). Count who was taken for whom, and score every label.

    Where nothing is to be divided (a label that was never predicted has no precision, one that never occurs has no
    recall) the score is 0. The macro-F1 is the mean of the labels' F1; only a label that occurs neither among the
    truths nor among the predictions is left out of the mean.

    Args:
        truths: (N,) whole numbers from 0 to K - 1, the true label of each text.
        predictions: (N,) the label that the classifier gave it.
        n_labels: K, which may be larger than the largest label that occurs.

    Returns:
        A dictionary with
            "confusion": a tensor (K, K) of int64; row i, column j: how many texts of the true label i were predicted
                to be j.
            "precision": a tensor (K,) of floating-point numbers.
            "recall": a tensor (K,) of floating-point numbers.
            "macro_f1": one number, a float or a tensor without dimensions.

    Example: truths 0 0 0 1 and predictions 0 0 1 1 give
        confusion  [[2, 1], [0, 1]]     precision  1, 0.5     recall  0.667, 1     macro-F1  (0.8 + 0.667) / 2 = 0.733
    """
    raise NotImplementedError


def summaries(features: Tensor, attention_mask: Tensor, which: str) -> Tensor:
    """2 (medium). One vector for each text, whatever is padded.

    Every text has at least one real position. Its real positions stand in one piece: the padding is all on the left or
    all on the right, and a text may have none. What stands at padded positions is of no meaning: it may be any numbers,
    infinities and NaN among them, and must not reach the result.

    Args:
        features: (B, T, C).
        attention_mask: (B, T) booleans, False = padding.
        which: "first", the vector of the first real position (BERT's [CLS]); "last", that of the last real position
            (GPT); "mean", the mean over the real positions.

    Returns:
        (B, C).
    """
    raise NotImplementedError


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """3 (medium). The cross-entropy in which a text counts as much as its true label's weight.

    It is the weighted *mean* of the texts' losses -log p(label | text): the sum of weight times loss, divided by the
    sum of these same weights, one for each text. Logits may be as large as 1,000 and as small as -1,000; the loss is
    finite all the same.

    Args:
        logits: (N, K).
        labels: (N,) int64, the true label of each text.
        weights: (K,) positive, one for each label.

    Returns:
        A tensor without dimensions, in nats.

    Example: two texts with the labels 0 and 1, weights 1 and 3, losses 0.2 and 0.6: (1·0.2 + 3·0.6) / (1 + 3) = 0.5.
    """
    raise NotImplementedError


def expected_calibration_error(probabilities: Tensor, labels: Tensor, n_bins: int) -> float:
    """4 (medium). How far the confidence of a classifier lies from its accuracy (Guo et al. 2017, equation 3).

    A text's prediction is its most probable label, and its confidence is that label's probability. Bin m of the M bins,
    m = 0 … M - 1, holds the texts whose confidence is more than m / M and at most (m + 1) / M. In each bin that is not
    empty: the gap between the mean confidence and the fraction of right predictions, without its sign. The result is
    the mean of the gaps, in which every bin counts as much as it holds texts.

    Args:
        probabilities: (N, K), each row sums to 1; no row has two labels that are equally the most probable.
        labels: (N,) int64, the true labels.
        n_bins: M.

    Returns:
        One number, a float or a tensor without dimensions.
    """
    raise NotImplementedError


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """5 (hard). The temperature that makes the true labels most likely (Guo et al. 2017, section 4.2).

    All logits are divided by one positive number τ before the softmax. Find the τ between 0.05 and 20 with the smallest
    mean cross-entropy -log p(label | text), to within one per cent. (As a function of 1/τ this mean is convex, so that
    there is one valley only. In all our cases it lies well inside these bounds.)

    You may use a fine grid, a search that halves an interval, or gradients, as long as the result is exact enough and
    takes less than five seconds. N is at most a few hundred.

    Args:
        logits: (N, K).
        labels: (N,) int64, the true labels.

    Returns:
        τ, one number, a float or a tensor without dimensions. Above 1 it makes the classifier less sure, below 1 surer.
    """
    raise NotImplementedError


def shortcut() -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """6 (break it, and explain). Labelled texts on which a classifier is perfect, for a wrong reason.

    Write a little data set, as it might have been collected, in which one word gives the label away though it has
    nothing to do with how a story ends. The classifier is the bag of words of section 8.1: naive Bayes, trained on your
    `train`. To it, capital and small letters are the same, and a mark of punctuation is a word of its own; a word that
    `train` does not have is passed over, and of two labels that are equally likely it takes "happy". It must get every
    text of your `val` right; and when your one word is deleted from the texts of `val`, and nothing else is changed, at
    most half of them.

    Returns:
        train: at least 8 pairs (text, label), the label "happy" or "sad", both of which occur.
        val: at least 4 such pairs, as many happy as sad ones. No text of `val` is also one of `train`.
        word: the word, without spaces or punctuation.

    Then say below, in WHY_SHORTCUT, how such a word gets into a data set in real life (one example of your own), why
    the score on held-out texts did not warn you, and what would have.
    """
    raise NotImplementedError


WHY_SHORTCUT = """
"""


# 7 (open). Change one thing about the fine-tuning of section 8.5 — which layers learn (freeze the lowest two, say, or
# unfreeze them one after another, as Howard & Ruder did), what is read instead of [CLS] (your `summaries` with "mean"),
# how a long story is cut, the learning rate, the weights of the loss — in a copy of lesson.py or its notebook. Predict
# what it does to accuracy and to macro-F1 with 100 labeled stories. Train with three seeds at least, and say whether
# the difference is more than luck. Write down what you changed, what you predicted and why, what came out, and what you
# make of it.
EXPERIMENT = """
"""
