"""Exercises of lesson 09: question answering.

    python -m lessons check 9                     # what is right, what is wrong, and why
    python -m lessons check 9 --only best_span
    python -m lessons hint 9 best_span            # one more hint each time
    python -m lessons run 9 --mine                # the lesson, with your own functions

Replace each `raise NotImplementedError` with your own code. Python's strings and lists and plain tensor operations are
all you need; use loops wherever you like. Do not change the inputs.

Letters: T tokens in a window, n tokens in a context.
"""

from torch import Tensor


def exact_and_f1(prediction: str, answers: list[str]) -> tuple[int, float]:
    """1 (easy). Compare a predicted answer with the right answers, as SQuAD's official script does.

    First **normalize** both sides, in this order: convert to lower case; remove every character of
    `string.punctuation`; remove the words a, an and the (whole words only); split the rest at white space and join it
    with single spaces.

    **Exact match** is 1 if the two normalized texts are equal, else 0.

    **F1** is 2PR / (P + R). P is the fraction of the prediction's words that are shared, R the fraction of the answer's
    words that are; a word that one side has twice and the other once is shared once. If no word is shared, F1 is 0.
    If one side has no words at all, F1 is 1 if the other has none either, else 0.

    With several right answers, each of the two numbers is the best that any of them gives. An empty list means that
    the question has no answer: then the only right answer is "".

    Args:
        prediction: the predicted text; "" means "no answer".
        answers: the right answers.

    Returns:
        (exact match, F1): 0 or 1, and a number from 0 to 1.

    Example: the prediction "the red house" and the answers ["a big red house"] give (0, 0.8): the prediction has two
    words, both shared, and the answer has three.
    """
    raise NotImplementedError


def windows(n: int, room: int, stride: int) -> list[tuple[int, int]]:
    """2 (easy). Cut a context of n tokens into overlapping windows.

    The first window begins at token 0. Each window has `room` tokens; the last one has fewer if the context ends
    earlier. Neighboring windows share `stride` tokens. There are no unnecessary windows: the first one that reaches the
    end of the context is the last. There is always at least one: for an empty context it is (0, 0).

    Args:
        n: the number of tokens in the context, 0 or more.
        room: the number of context tokens that fit into a window, at least 2.
        stride: the number of tokens that two neighboring windows share, at least 1 and less than `room`.

    Returns:
        (begin, end) of each window, in order; the window holds the tokens begin … end - 1.

    Example: windows(10, 5, 2) is [(0, 5), (3, 8), (6, 10)].
    """
    raise NotImplementedError


def token_span(starts: list[int], ends: list[int], begin: int, end: int) -> tuple[int, int]:
    """3 (medium). Convert an answer from characters to tokens.

    Token i covers the characters starts[i] … ends[i] - 1 of the context. Tokens are in order and do not overlap;
    between two of them there may be characters that belong to no token (spaces). The answer is the characters
    begin … end - 1, at least one of which belongs to a token. Find the first and the last token that share a character
    with the answer. If the answer begins or ends in the middle of a token, include that token.

    Args:
        starts, ends: the offsets of each token, two lists of the same length.
        begin, end: the offsets of the answer, begin < end.

    Returns:
        (first, last): the indices of two tokens, first ≤ last.

    Example: "at the old mill" with the tokens at, the, old, mill has starts 0 3 7 11 and ends 2 6 10 15. The answer
    "the old" is characters 3 … 9, so begin = 3, end = 10, and the tokens are (1, 2).
    """
    raise NotImplementedError


def best_span(start_logits: Tensor, end_logits: Tensor, max_length: int) -> tuple[int, int]:
    """4 (medium). Find the best answer in one window.

    A span from token i to token j (both included) is valid if i ≤ j and it has at most `max_length` tokens. Its
    score is start_logits[i] + end_logits[j]. Find the valid span with the highest score. If several have the same
    score, take the one that begins first, and among these the one that ends first.

    Args:
        start_logits, end_logits: (T,), T at least 1.
        max_length: at least 1.

    Returns:
        (i, j) as Python integers.
    """
    raise NotImplementedError


def answer_over_windows(logits: list[Tensor], max_length: int, threshold: float) -> tuple[int, int, int] | None:
    """5 (hard). Find the best answer over all windows of a question, or decide that there is none.

    In every window, token 0 is [CLS]. Pointing at it with both start and end means "the answer is not here", with the
    score start_logits[0] + end_logits[0]. The other tokens belong to the context. Their spans are valid and scored as
    in best_span ([CLS] belongs to no span).

    The best span is the one with the highest score over all windows; if there are several, the one in the first window
    (you may use your best_span). The window with the *lowest* "not here" score decides whether there is an answer:
    there is none if that score exceeds the score of the best span by *more* than `threshold`.

    Args:
        logits: for each window (T, 2): start logits in column 0, end logits in column 1. T is at least 2 and may
            differ between windows.
        max_length: the maximum length of an answer, in tokens.
        threshold: in nats; the higher it is, the more questions get an answer.

    Returns:
        (window, i, j): the index of the window, and the indices of the first and last token *in that window* (so i is
        at least 1); or None if there is no answer.
    """
    raise NotImplementedError


def fool_f1() -> tuple[str, str, str]:
    """6 (break it, and explain). Find answers for which F1 and a human reader disagree.

    Find a right answer and a prediction that any reader would call *wrong*, although its F1 is 0.8 or more. Then, for
    the same right answer, find a prediction that any reader would call *right*, although its F1 is 0.

    Returns:
        (answer, wrong, right): three texts of at least one word each (after normalization); "wrong" is not an exact
        match.

    Then explain in WHY_F1 why a count of words can be fooled in both directions, and what one could do about it.
    """
    raise NotImplementedError


WHY_F1 = """
"""


# 7 (open). Change one thing about how the lesson's model answers or learns: the size of the windows or their overlap,
# the number of windows without the answer in training, the threshold, the maximum length of an answer. Do it in the
# lesson's notebook (`python -m lessons notebook 9`) or in a copy of lesson.py beside it. (You can make the windows
# smaller, not larger: this BERT has 64 positions.) First predict the exact match with and without an answer. Then write
# down what you changed, what you predicted and why, what the result was, and what you conclude.
EXPERIMENT = """
"""
