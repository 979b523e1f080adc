"""Exercises of lesson 24: beyond the next word.

    python -m lessons check 24                     # what is right, what is wrong, and why
    python -m lessons check 24 --only to_patches
    python -m lessons hint 24 to_patches           # one more hint each time
    python -m lessons run 24 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. torch's elementary operations are all you need; the library
itself is not allowed. Import what you need at the top. Do not modify the inputs, and create every tensor on the
`device` of the input tensors. An input may be a view of another tensor, so do not rely on its layout in memory. Unless
stated otherwise, results have the dtype of the first input. All logarithms are natural.

Dimension letters: B pictures or texts, C channels, H and W height and width, P patch size, N patches, T positions of a
text, V size of the vocabulary, L tokens of a text that can be masked, k of them that are, S steps.
"""

from torch import Tensor


def to_patches(images: Tensor, patch_size: int) -> Tensor:
    """1 (medium). Cut pictures into squares.

    The patches are in reading order: row by row from the top, and from left to right within a row. Each patch is
    written as one vector: first all of channel 0, then all of channel 1, …; within a channel also in reading order.

    Args:
        images: (B, C, H, W) numbers of any dtype. H and W are multiples of the patch size, but may differ.
        patch_size: P, at least 1.

    Returns:
        (B, N, C·P·P), with N = (H / P) · (W / P).

    Example with B = C = 1 and P = 2: the picture [[0, 1, 2, 3], [4, 5, 6, 7]] becomes the two patches [0, 1, 4, 5] and
    [2, 3, 6, 7].
    """
    raise NotImplementedError


def caption_loss(logits: Tensor, ids: Tensor, attention_mask: Tensor, n_patches: int) -> Tensor:
    """2 (medium). The loss of captions after images.

    A GPT has read, for each picture, the vectors of its N patches, and then the T tokens of its caption, the first of
    which begins every caption and the last of which ends it. Its logits at each position are for the *next* token.
    What should the loss be? The caption is to be predicted, except its first token, which is always the same; the
    patches are not.

    Args:
        logits: (B, N + T, V).
        ids: (B, T) token ids, T at least 2.
        attention_mask: (B, T) booleans, True = a real token. Captions differ in length; padding is on the right. Each
            caption has at least one real token, and some caption has at least two.
        n_patches: N, which may be 0.

    Returns:
        One number: the mean of -log p over all tokens that are to be predicted, of all captions together. Logits may
        be as large as 1,000.

    Example: B = 1, N = 2, the ids [0, 5, 1], all real. There are two predictions: of token 5, by the logits at position
    2, and of token 1, by those at position 3.
    """
    raise NotImplementedError


def mask_tokens(ids: Tensor, special: Tensor, u: float, keys: Tensor, mask_id: int) -> tuple[Tensor, Tensor]:
    """3 (medium). Mask a random number of a text's tokens, given the random numbers.

    Let L be the number of tokens that are not special. The number of masked tokens is k = ⌊u · L⌋ + 1, which is uniform
    in 1 … L if u is uniform in [0, 1). Masked are those k tokens, of the L, that have the smallest keys.

    Args:
        ids: (T,) token ids.
        special: (T,) booleans, True = a special token, which is never masked. If all are, nothing is masked.
        u: a number, at least 0 and less than 1.
        keys: (T,) random numbers, all different, one for each position.
        mask_id: the id of [MASK].

    Returns:
        The masked ids (T,), and the targets (T,): the original id where a token was masked, and -100 elsewhere.

    Example: the ids [7, 8, 9] with special [True, False, False], u = 0.4, keys [0.1, 0.9, 0.5] and mask_id 3. L is 2,
    so k is 1, and the token 9 has the smaller key of the two. The result is [7, 8, 3] and [-100, -100, 9].
    """
    raise NotImplementedError


def text_bound(logits: Tensor, targets: Tensor, n_tokens: Tensor) -> Tensor:
    """4 (medium). The loss of masked diffusion: for each text, L / k times the sum over its k masked tokens.

    Args:
        logits: (B, T, V), of the original token at each position (nothing is shifted).
        targets: (B, T) token ids where a token was masked, -100 elsewhere. Each text has at least one masked token.
        n_tokens: (B,) whole numbers, the L of each text.

    Returns:
        (B,): for each text, L / k · Σ -log p(target), over its own k masked tokens. Logits may be as large as 1,000.

    Example: a text of L = 6 tokens, two of which are masked, and the model gives probability ½ to both of them. The
    result is 6 / 2 · 2 · log 2 = 4.16 nats.
    """
    raise NotImplementedError


def unmasking_step(ids: Tensor, logits: Tensor, mask_id: int, n: int) -> Tensor:
    """5 (medium). One step of unmasking in the order of confidence.

    At each masked position, the model's probabilities are the softmax of its logits, after [MASK] itself has been
    excluded (its probability is 0, and the others sum to 1). The confidence is the largest of them. The n masked
    positions with the greatest confidence get their most probable token; all other positions stay as they are. Of equal
    confidences, the leftmost comes first.

    Args:
        ids: (T,) token ids of any integer dtype, some of them mask_id.
        logits: (T, V). They may be anything at positions that are not masked.
        mask_id: from 0 to V - 1.
        n: at least 0; if fewer positions are masked, all of them are filled.

    Returns:
        (T,): the new ids.

    Example with V = 3 and mask_id 0: ids [0, 2, 0] and probabilities (without [MASK]) of tokens 1 and 2 of (0.4, 0.6)
    at the first position and (0.9, 0.1) at the last. With n = 1 the result is [0, 2, 1].
    """
    raise NotImplementedError


def valid_fraction(n_tokens: int, n_steps: int, languages: list[float]) -> float:
    """6 (medium). How often does a perfect model write a text in one language only?

    A world of texts of L tokens each: a language is drawn with the given probabilities, and then every token
    independently from the words of that language. No word is in two languages. A perfect model of this world writes a
    text by unmasking, in S steps: after step s, ⌊L (S - s) / S⌋ tokens are still masked. The positions are chosen at
    random. All tokens of one step are sampled independently, each from its exact distribution given the tokens that
    were written in *earlier* steps.

    Args:
        n_tokens: L, at least 1.
        n_steps: S, at least 1. It may be larger than L; in some steps nothing is written then.
        languages: their probabilities, above 0; their sum is 1.

    Returns:
        The probability that all L tokens of the text are in the same language.

    Example: L = 4, S = 2, two languages of probability ½. The first step writes two tokens, which are in the same
    language with probability ½. From then on the language is known. The result is 0.5.
    """
    raise NotImplementedError


def impossible_in_one_step() -> Tensor:
    """7 (break it, and explain). A world in which writing two tokens at once nearly always goes wrong.

    Build the joint distribution of two tokens: p (V, V), where p[a, b] is the probability of the text "a b". A perfect
    model of this world that unmasks one token at a time writes only possible texts. If it unmasks both in one step, it
    samples a and b independently, each from its own (marginal) distribution. Find a p for which a text that is written
    in this way is impossible (p[a, b] = 0) with a probability of at least 0.8.

    Returns:
        (V, V) floating-point numbers, none negative, sum 1, with V from 2 to 8.

    Then explain in WHY_STEPS below (at least 50 words) what a masked language model predicts and what it does not, why
    more training cannot help, and which texts could be written in one step without any loss.
    """
    raise NotImplementedError


WHY_STEPS = """
"""


# 8 (open). Change one thing about the lesson's experiments: the size of a patch, the pooling, the number of training
# pictures, the pairs that are held out, the channels of a picture, the number of languages, the length of a text, the
# order of unmasking. Change it in a copy of lesson.py. Predict first; where there is a formula, use it. Write down what
# you changed, what you predicted and why, what came out, and what you make of it (at least 60 words).
EXPERIMENT = """
"""
