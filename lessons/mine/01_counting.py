"""Exercises of lesson 01: counting and perplexity.

    python -m lessons check 1                     # what is right, what is wrong, and why
    python -m lessons check 1 --only perplexity
    python -m lessons hint 1 perplexity           # one more hint each time
    python -m lessons run 1 --mine                # the lesson, with your own functions

Replace each `raise NotImplementedError` with your own code. Python and plain tensor operations are all you need. Do not
change the inputs, and give every tensor that you make the `device` of the inputs.

Letters: N number of tokens, V size of the vocabulary; token ids are whole numbers from 0 to V - 1. "ln" is the natural
logarithm (`math.log`, `torch.log`).
"""

from torch import Tensor


def bigram_table(ids: Tensor, V: int, k: float) -> Tensor:
    """1 (easy). Count neighboring pairs, add k to every count, and turn each row into a probability distribution.

    Args:
        ids: (N,) whole numbers from 0 to V - 1, N at least 2: one text. It has N - 1 overlapping neighboring pairs: 5,
            7, 9 has the pairs (5, 7) and (7, 9). The text does not wrap around.
        V: size of the vocabulary; some of its tokens may not occur in ids.
        k: added to every count, including those that are 0. Greater than 0.

    Returns:
        (V, V) floating-point numbers: result[a, b] is the probability that b follows a. Every row sums to 1.

    Example: ids 0, 0, 1, 0, 1 and V = 2 have the counts (rows a, columns b)
        1 2
        1 0
    With k = 1 row 0 becomes 2/5, 3/5 and row 1 becomes 2/3, 1/3.
    """
    raise NotImplementedError


def perplexity(P: Tensor, texts: list[list[int]]) -> float:
    """2 (easy). The perplexity of a bigram model on some texts: e to the power of the mean surprise of a token.

    Every token of a text except the first is predicted from the token before it, and costs -ln p nats. The mean is over
    all predicted tokens of all texts together, each token counting the same. Nothing predicts the first token of a
    text: it adds no surprise and is not counted. Nothing is predicted from one text to the next.

    Args:
        P: (V, V), as returned by `bigram_table`: P[a, b] is the probability of b after a. Some may be 0.
        texts: token ids, at least two per text. A text may have thousands of tokens.

    Returns:
        The perplexity, a number; infinity (math.inf) if a token has probability 0.

    Example: P = [[1/2, 1/2], [1/8, 7/8]] and the one text 0, 1, 0: the probabilities are 1/2 and 1/8, the mean
    surprise is (ln 2 + ln 8) / 2 = ln 4, and the perplexity is 4.
    """
    raise NotImplementedError


def bits_per_byte(nats_per_token: float, n_tokens: int, text: str) -> float:
    """3 (easy). Convert nats per token to bits per byte, which makes models with different tokens comparable.

    Args:
        nats_per_token: the mean surprise of the predicted tokens.
        n_tokens: the number of predicted tokens. (You do not need to know how long a token is.)
        text: the text that these tokens make up. Its bytes are those of its UTF-8 encoding: "für" has four.

    Returns:
        The total bits of the text, divided by its bytes. One bit is ln 2 nats.

    Example: 2 tokens of ln 16 nats each cost 8 bits together. If they make up the text "read", of four bytes, that is
    2 bits per byte.
    """
    raise NotImplementedError


def table_gradient(Z: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """4 (medium). The gradient of the mean cross-entropy with respect to a table of logits, by hand.

    Row a of Z holds the logits of what comes next after a: the model's probabilities are the softmax of that row. Its
    loss is L = mean over the pairs i of -ln softmax(Z[before[i]])[after[i]].

    Args:
        Z: (V, V) floating-point logits. Some may be large: e to the power of 90 overflows float32, but `torch.softmax`
        handles that.
        before, after: (N,) whole numbers: pair i is the token before[i], followed by after[i]. Pairs may repeat.

    Returns:
        (V, V): result[a, b] = ∂L / ∂Z[a, b]. Rows of tokens that do not occur in `before` are 0.

    Automatic differentiation (`backward`, `torch.autograd`, `torch.func`) is not allowed here: this exercise is about
    understanding it.

    Example: Z is (2, 2) all zeros, and the only pair is (0, 1). The gradient is
         1/2 -1/2
          0    0
    """
    raise NotImplementedError


def impossible() -> tuple[str, str]:
    """5 (break it, and explain). Find two texts that give a pure counting model an infinite perplexity.

    The model counts pairs of neighboring characters in `train`, without smoothing (k = 0), and divides by the sum of
    the row. Find a training text and a test text such that

    - the test text has at least 10 characters;
    - every character of the test text is followed by something somewhere in the training text, so that no row
      the model needs is empty;
    - exactly one neighboring pair in the test text has probability 0, and it occurs only once.

    Returns:
        train, test: two strings.

    Then explain in WHY_IMPOSSIBLE below: why does one pair ruin the perplexity of a whole text, however long and well
    predicted the rest is? What does smoothing do about it, and at what cost? And why is it cheating to fix it by adding
    the test text's pairs to the counts, although the perplexity becomes much better?
    """
    raise NotImplementedError


WHY_IMPOSSIBLE = """
"""


def mix(count: Tensor, total: Tensor, n_types: Tensor, lower: Tensor) -> Tensor:
    """6 (hard, and open). Your own way to combine the predictions of a long context and a shorter one.

    The lesson's n-gram model goes from short contexts to long ones. At each step it knows, for a context c and a token
    w, the numbers below, and needs p(w | c). The lesson's mix gives the two fixed weights. Do better.
    There are many right answers; the checks test what they all have in common:

    - For one context, the results for all w of the vocabulary sum to 1, if those of `lower` do.
    - Every result is greater than 0, if `lower` is.
    - A context that was never seen (total 0; then count and n_types are also 0) gives `lower`.
    - Of two tokens with the same `lower`, the one with the larger count gets more; of two with the same count, the one
      with the larger `lower` gets more.
    - Trust grows: if all counts of a context are doubled, the results move closer to count / total. If the context was
      seen a million times, they are within 0.01 of count / total.

    Args:
        count: (M,) how often w came after c in training, for M different pairs (c, w).
        total: (M,) how often c was followed by anything: the sum of its counts over all w.
        n_types: (M,) the number of different tokens that followed c. You may use it or ignore it.
        lower: (M,) the probability of w given c without its first token.
            All four are float64, on the same device.

    Returns:
        (M,) float64: p(w | c) for each of the pairs.

    `python -m lessons run 1 --mine` then compares your n-gram model with the floor. First predict how many nats
    per token you gain over fixed weights. In EXPERIMENT below, describe two designs, what you predicted for each and
    why, what came out, and what you conclude.
    """
    raise NotImplementedError


EXPERIMENT = """
"""
