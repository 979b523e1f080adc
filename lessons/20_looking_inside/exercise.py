"""Exercises of lesson 20: looking inside.

    python -m lessons check 20                     # what is right, what is wrong, and why
    python -m lessons check 20 --only induction_score
    python -m lessons hint 20 induction_score      # one more hint each time
    python -m lessons run 20 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. torch's elementary operations and `torch.linalg` are all
you need; the library itself is not allowed. Import what you need at the top. Do not modify the inputs, and create every
tensor on the `device` of the input tensors. An input may be a view of another tensor, so do not rely on its layout in
memory. Unless stated otherwise, results have the dtype of the first input.

Dimension letters: B texts, T positions, H heads, C width of the stream, D width of an activation, V size of the
vocabulary, N parts or examples, K labels, S keys.
"""

from torch import Tensor


def induction_score(weights: Tensor, ids: Tensor) -> Tensor:
    """1 (medium). How much attention does each head pay to what *followed* earlier occurrences of the current token?

    For a query at position t, the targets are all positions s + 1 with s < t and ids[s] = ids[t]. (So t itself is a
    target if the token before it is the same as the token at t.) The score of one query is the sum of its weights on
    its targets. The score of a head is the mean over those queries that have at least one target.

    Args:
        weights: (H, T, T) attention weights of H heads; row t is the distribution of query t over the keys. Everything
            above the diagonal is 0, since the attention is causal.
        ids: (T,) whole numbers, the tokens of one text.

    Returns:
        (H,): the scores; 0 for every head if no token occurs twice.

    Example: the ids [5, 6, 5] have one query with a target: position 2, where 5 occurs for the second time. Its only
    target is position 1. If row 2 of a head's weights is [0.1, 0.7, 0.2], the head's score is 0.7.
    """
    raise NotImplementedError


def mean_ablation(activations: Tensor, attention_mask: Tensor) -> Tensor:
    """2 (easy). Replace every real activation with the mean over all real activations.

    Args:
        activations: (B, T, D), what a part of the model puts out for B texts of at most T tokens.
        attention_mask: (B, T) booleans, True = a real token, False = padding. At least one is True.

    Returns:
        (B, T, D): at every real token, the same vector: the mean over the real tokens of all texts together. At
        padding, the activations as they were, whatever numbers are there (they may be infinite or NaN).

    Example with B = D = 1: the activations 1, 3, 100 of three positions, the last of which is padding, become 2, 2,
    100.
    """
    raise NotImplementedError


def patching_effect(clean: Tensor, corrupted: Tensor, patched: Tensor, right: int, wrong: int) -> Tensor:
    """3 (easy). Which fraction of the logit difference do patches restore?

    Args:
        clean: (V,), the logits of the next token after the clean text.
        corrupted: (V,), those after the corrupted text. Its logit difference is not that of the clean text.
        patched: (…, V), those after the corrupted text with one activation of the clean run put into it: one row for
            each patch, in any number of dimensions.
        right: the token that should follow the clean text, from 0 to V - 1.
        wrong: the token that should follow the corrupted text.

    Returns:
        (…): for each patch, 0 if the logit difference is that of the corrupted text, 1 if it is that of the clean text,
        and in proportion between them and beyond (it may be below 0 or above 1).

    Example: logits of (right, wrong) of (3, 1) in the clean run, (1, 3) in the corrupted one and (2, 2) in the patched
    one have the differences 2, -2 and 0. The effect is 0.5.
    """
    raise NotImplementedError


def logit_shares(parts: Tensor, norm_weight: Tensor, norm_bias: Tensor, reader: Tensor, eps: float) -> Tensor:
    """4 (hard). How much does each part of the residual stream contribute to a logit?

    The stream is the sum of its parts. The model computes the logit of a token from it by a LayerNorm and a dot
    product:

        y = (stream - its mean) / √(its variance + eps) * norm_weight + norm_bias        logit = y · reader

    The mean and the variance are those of the C numbers of the stream; the variance divides by C. Freeze the square
    root: take it as the constant that it is for this stream.

    Args:
        parts: (N, C), what the embedding and each head and feed-forward have written to the stream at one position.
        norm_weight, norm_bias: (C,), of the LayerNorm.
        reader: (C,), the row of the output layer that belongs to the token.
        eps: of the LayerNorm, above 0.

    Returns:
        (N + 1,): the share of each part, and last the share of norm_bias, which no part has written. Their sum is the
        logit. A part of zeros has the share 0, and so has a part with C equal numbers.

    Example with C = 2, norm_weight [1, 1], norm_bias [0, 0], reader [1, 0] and an eps near 0: the parts [3, 0] and
    [0, 1] sum to [3, 1], with the mean 2 and the standard deviation 1. The shares are 1.5, -0.5 and 0, the logit is 1.
    """
    raise NotImplementedError


def ridge_probe(activations: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    """5 (hard). Fit a linear probe in closed form.

    With e the one-hot vector (K,) of a label, find the weight and the bias that minimize

        Σ over the examples of ‖weight · x + bias - e‖²  +  l2 · (the sum of all squared numbers of weight)

    The bias is not penalized. There is one best solution, also with fewer examples than features.

    Args:
        activations: (N, D), one row x per example; N is at least 1.
        labels: (N,) whole numbers from 0 to K - 1. Some labels may not occur.
        n_labels: K.
        l2: above 0.

    Returns:
        weight (K, D) and bias (K,).

    Example with D = 1 and K = 2: the activations [-1] and [1] with the labels 0 and 1 and l2 = 2 give the weight
    [[-0.25], [0.25]] and the bias [0.5, 0.5].
    """
    raise NotImplementedError


def rank_one_edit(x: Tensor, direction: Tensor, value: Tensor) -> Tensor:
    """6 (medium). The shortest change of activations after which they have a given dot product with a direction.

    Args:
        x: (N, C) activations.
        direction: (N, C), a direction for each of them, of any length but 0.
        value: (N,), what the dot product of each activation with its direction should be.

    Returns:
        (N, C): of all vectors with that dot product, the one that is nearest to x.

    Example: x = [[1, 5]], direction [[2, 0]] and value [6] give [[3, 5]].
    """
    raise NotImplementedError


def looks_but_does_not_matter() -> tuple[Tensor, Tensor, Tensor]:
    """7 (break it, and explain). Build an attention head whose strongest weight explains nothing.

    One query of one head attends to S keys. Its weights are the softmax of the scores (S,); what it writes is the
    weighted sum of the values (S, C); and the logit is the dot product of that with a reader (C,). The contribution of
    key s to the logit is its weight times (its value · the reader).

    Find scores, values and a reader such that one key has a weight of at least 0.8, its contribution is at most 0.01
    (and at least -0.01), the logit is at least 1, and yet that key's value is not small: its length is at least 1.

    Returns:
        scores (S,), values (S, C) and the reader (C,), with S at least 2; no number above 20 or below -20.

    Then explain in WHY_WEIGHTS below (at least 50 words) why a map of attention weights can mislead in this way, what
    else in a real model it does not show, and which experiment would have found the truth.
    """
    raise NotImplementedError


WHY_WEIGHTS = """
"""


# 8 (open). Change one thing about the lesson's experiments: the position embeddings, the number of heads, the size of
# the vocabulary, the place where the edit is made, the size of the edit, the text that is patched. Change it in a copy
# of lesson.py. Predict first. Write down what you changed, what you predicted and why, what came out, and what you
# make of it (at least 60 words).
EXPERIMENT = """
"""
