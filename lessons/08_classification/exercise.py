"""Exercises of lesson 08: text classification.

    python -m lessons check 8                     # what is right, what is wrong, and why
    python -m lessons check 8 --only label_scores
    python -m lessons hint 8 label_scores         # one more hint each time
    python -m lessons run 8 --mine                # the lesson, with your functions in it

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need: indexing,
`argmax`, `exp`, `log`, `sum`, `where`, `masked_fill`, and loops wherever you like. Ready-made losses and metrics are
not allowed. Do not modify the inputs, and create every tensor on the `device` of the inputs.

Notation: B texts in a batch, T positions, C model width, N texts, K labels, M bins.
"""

from torch import Tensor


def label_scores(truths: Tensor, predictions: Tensor, n_labels: int) -> dict:
    """1 (easy). Compute the confusion matrix, and precision, recall and F1 of every label.

    A ratio of 0 / 0 counts as 0: the precision of a label that was never predicted, and the recall of a label that
    never occurs. The macro-F1 is the mean of the labels' F1; only a label that occurs neither among the true labels
    nor among the predictions is left out of the mean.

    Args:
        truths: (N,) integers from 0 to K - 1, the true label of each text.
        predictions: (N,) integers, the predicted label of each text.
        n_labels: K, which may exceed the number of labels that occur.

    Returns:
        A dictionary with
            "confusion": a (K, K) tensor of int64; row i, column j counts the texts with true label i and predicted
                label j.
            "precision": a (K,) tensor of floats.
            "recall": a (K,) tensor of floats.
            "macro_f1": a float or a 0-dimensional tensor.

    Example: truths 0 0 0 1 and predictions 0 0 1 1 give
        confusion  [[2, 1], [0, 1]]     precision  1, 0.5     recall  0.667, 1     macro-F1  (0.8 + 0.667) / 2 = 0.733
    """
    raise NotImplementedError


def summaries(hidden_states: Tensor, attention_mask: Tensor, which: str) -> Tensor:
    """2 (medium). Pool the hidden states of each text into one vector, on whichever side the padding is.

    Every text has at least one real token. Its real tokens are contiguous: all padding is on the left, or all on the
    right, or there is none. The hidden states at padding are meaningless: they may contain any numbers, including
    infinities and NaN, and must not affect the result. At a real token an infinity or a NaN is the sign of a bug: it
    must show in the mean, and not be hidden.

    Args:
        hidden_states: (B, T, C).
        attention_mask: (B, T) booleans, False = padding.
        which: "first", the vector of the first real token (BERT's [CLS]); "last", that of the last real token (GPT);
            "mean", the mean over the real tokens.

    Returns:
        (B, C).
    """
    raise NotImplementedError


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """3 (medium). Cross-entropy with class weights.

    The weighted *mean* of the losses -log p(label | text): each text has the weight of its true label, and the sum of
    weight times loss is divided by the sum of the N texts' weights. Logits may be as large as 1,000 and as small as
    -1,000, and the loss must still be finite.

    Args:
        logits: (N, K).
        labels: (N,) int64, the true label of each text.
        weights: (K,) positive numbers, one per label.

    Returns:
        A 0-dimensional tensor, in nats.

    Example: two texts with the labels 0 and 1, weights 1 and 3, losses 0.2 and 0.6: (1·0.2 + 3·0.6) / (1 + 3) = 0.5.
    """
    raise NotImplementedError


def expected_calibration_error(probabilities: Tensor, labels: Tensor, n_bins: int) -> float:
    """4 (medium). Expected calibration error: the gap between confidence and accuracy (Guo et al. 2017, equation 3).

    A text's prediction is its most probable label, and its confidence is that label's probability. Bin m of the M bins,
    m = 0 … M - 1, contains the texts whose confidence is greater than m / M and at most (m + 1) / M. The gap of a
    non-empty bin is the absolute difference between its mean confidence and its accuracy, the fraction of correct
    predictions. The result is the mean of the gaps, weighted by the number of texts in each bin.

    Args:
        probabilities: (N, K), each row sums to 1; no row has a tie for the most probable label.
        labels: (N,) int64, the true labels.
        n_bins: M.

    Returns:
        A float or a 0-dimensional tensor.
    """
    raise NotImplementedError


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """5 (hard). Fit the temperature under which the true labels are most likely (Guo et al. 2017, section 4.2).

    All logits are divided by one positive number τ before the softmax. Find the τ between 0.05 and 20 with the smallest
    mean cross-entropy -log p(label | text), to within one percent. (As a function of 1/τ this mean is convex, so there
    is only one minimum. In all test cases it is well inside these bounds.) The logits may be in the thousands.

    You may use a fine grid, bisection, or gradient descent, as long as the result is accurate enough and takes less
    than five seconds. N is at most a few hundred.

    Args:
        logits: (N, K).
        labels: (N,) int64, the true labels.

    Returns:
        τ, a float or a 0-dimensional tensor. Above 1 it makes the classifier less confident, below 1 more confident.
    """
    raise NotImplementedError


def shortcut() -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """6 (break it, and explain). Write labeled texts on which a classifier is perfect, for the wrong reason.

    Write a small data set, as somebody might have collected it, in which one word gives the label away though it has
    nothing to do with how a story ends. The classifier is the bag of words of section 8.1: naive Bayes, trained on your
    `train`. It ignores case, and each punctuation mark is a word of its own; it ignores words that do not occur in
    `train`, and if both labels are equally likely it predicts "happy". It must get every text of your `val` right; and
    when your one word is deleted from the texts of `val`, with nothing else changed, at most half of them.

    Returns:
        train: at least 8 pairs (text, label), where the label is "happy" or "sad"; both must occur.
        val: at least 4 such pairs, as many happy as sad ones. No text may be in both `train` and `val`.
        word: the word, without spaces or punctuation.

    Then explain below, in WHY_SHORTCUT, how such a word gets into a data set in real life (one example of your own),
    why the score on held-out texts did not warn you, and what would have warned you.
    """
    raise NotImplementedError


WHY_SHORTCUT = """
"""


# 7 (open). Change one thing about the fine-tuning of section 8.5 in a copy of lesson.py or its notebook: which layers
# are trained (freeze the lowest two, say, or unfreeze them one after another, as Howard & Ruder did), what replaces
# [CLS] (your `summaries` with "mean"), how a long story is truncated, the learning rate, the weights of the loss.
# Predict what it does to accuracy and to macro-F1 with 100 labeled stories. Train with at least three seeds, and say
# whether the difference is more than luck. Write down what you changed, what you predicted and why, what came out, and
# what you conclude.
EXPERIMENT = """
"""
