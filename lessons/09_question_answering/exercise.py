"""Exercises of lesson 09: question answering.

    python -m lessons check 9                     # what is right, what is wrong, and why
    python -m lessons check 9 --only best_span
    python -m lessons hint 9 best_span            # one more hint each time
    python -m lessons run 9 --mine                # the lesson, with your parts in it

Replace each `raise NotImplementedError` with your own code. Python's strings and lists and plain tensor operations are
all you need, and loops wherever you like them. Do not change the inputs.

Letters: T tokens in a window, n tokens in a context.
"""

from torch import Tensor


def exact_and_f1(prediction: str, answers: list[str]) -> tuple[int, float]:
    """1 (easy). Compare a predicted answer with the right ones, as SQuAD's official script does.

    **Normalise** both sides first, in this order: lower case; take away every character of `string.punctuation`; take
    away the words a, an and the (as whole words only); join what is left, split at white space, with single spaces.

    **Exact match** is 1 if the two normalized texts are equal, else 0.

    **F1** is 2PR / (P + R). P is the fraction of the prediction's words that are shared, R the fraction of the answer's
    words that are; a word that one side has twice and the other once is shared once. If no word is shared, F1 is 0.
    If one side has no words at all, F1 is 1 if the other has none either, else 0.

    If there are several right answers, each of the two numbers is the best that any of them gives. An empty list means
    that the question has no answer: it counts as the one right answer "".

    Args:
        prediction: the predicted text; "" says that there is no answer.
        answers: the right answers.

    Returns:
        (exact match, F1): 0 or 1, and a number from 0 to 1.

    Example: the prediction "the red house" and the answers ["a big red house"] give (0, 0.8): two words, both of them
    shared, against three.
    """
    raise NotImplementedError


def windows(n: int, room: int, stride: int) -> list[tuple[int, int]]:
    """2 (easy). Cut a context of n tokens into overlapping windows.

    The first window begins at token 0. Each window has `room` tokens, the last one fewer if the context ends before.
    Neighboring windows share `stride` tokens. There is no window more than is needed: the first that reaches the end
    of the context is the last. There is always at least one, for an empty context the window (0, 0).

    Args:
        n: number of tokens in the context, 0 or more.
        room: how many of them fit into a window, at least 2.
        stride: how many tokens two neighboring windows share, at least 1 and less than `room`.

    Returns:
        (begin, end) of each window in order; the window holds the tokens begin … end - 1.

    Example: windows(10, 5, 2) is [(0, 5), (3, 8), (6, 10)].
    """
    raise NotImplementedError


def token_span(starts: list[int], ends: list[int], begin: int, end: int) -> tuple[int, int]:
    """3 (medium). Which tokens hold an answer that is given in characters?

    Token i stands at the characters starts[i] … ends[i] - 1 of the context; tokens stand in their order and do not
    overlap, and between two of them there may be characters that belong to none (spaces). The answer is the characters
    begin … end - 1, at least one of which belongs to a token. Find the first and the last token that share a character
    with the answer. An answer may begin or end in the middle of a token: that token is then in.

    Args:
        starts, ends: for each token, both of the same length.
        begin, end: of the answer, begin < end.

    Returns:
        (first, last): numbers of tokens, first ≤ last.

    Example: "at the old mill" in the tokens at, the, old, mill has starts 0 3 7 11 and ends 2 6 10 15. The answer "the
    old" is characters 3 … 9, so begin = 3, end = 10, and the tokens are (1, 2).
    """
    raise NotImplementedError


def best_span(start_logits: Tensor, end_logits: Tensor, max_length: int) -> tuple[int, int]:
    """4 (medium). The best answer in one window.

    A span from token i to token j (both included) is possible if i ≤ j and it has at most `max_length` tokens. Its
    score is start_logits[i] + end_logits[j]. Find the possible span of the highest score; of several with the same
    score the one that begins first, and of these the one that ends first.

    Args:
        start_logits, end_logits: (T,), T at least 1.
        max_length: at least 1.

    Returns:
        (i, j) as Python whole numbers.
    """
    raise NotImplementedError


def answer_over_windows(logits: list[Tensor], max_length: int, threshold: float) -> tuple[int, int, int] | None:
    """5 (hard). The best answer over all windows of a question, or that there is none.

    In every window token 0 is [CLS]. Pointing at it with start and end says "the answer is not here", with the score
    start_logits[0] + end_logits[0]. The other tokens are the context's; spans of them are possible, and scored, as in
    best_span ([CLS] belongs to no span).

    The best span is the one of the highest score over all windows, the first window if there are several (you may use
    your best_span). "There is no answer" is decided by the window that says so *least*: its score is the lowest of the
    windows' "not here". There is no answer if that score exceeds the score of the best span by *more* than `threshold`.

    Args:
        logits: for each window (T, 2): start logits in column 0, end logits in column 1; T at least 2, and it may
            differ between windows.
        max_length: the longest possible answer, in tokens.
        threshold: in nats; the higher it is, the more often an answer is given.

    Returns:
        (window, i, j): the number of the window, and first and last token *as numbered in the window* (so i is at
        least 1), or None if there is no answer.
    """
    raise NotImplementedError


def fool_f1() -> tuple[str, str, str]:
    """6 (break it, and explain). Answers that F1 judges otherwise than a reader would.

    Find a right answer with a prediction that any reader would call *wrong*, and whose F1 is 0.8 or more all the same;
    and for the same right answer a prediction that any reader would call *right*, and whose F1 is 0.

    Returns:
        (answer, wrong, right): three texts of at least one word each (after normalization), of which "wrong" is not
        an exact match.

    Then say in WHY_F1 why a count of words can be fooled in both directions, and what one could do about it.
    """
    raise NotImplementedError


WHY_F1 = """
"""


# 7 (open). Change one thing about how the lesson's model answers or learns: the size of the windows or how much they
# share, how many windows without the answer it is trained on, the threshold, the longest answer. Do it in the lesson's
# notebook (`python -m lessons notebook 9`) or in a copy of lesson.py beside it. (The windows can become smaller, not
# larger: this BERT has 64 positions.) Predict the exact match with and without an answer first. Write down what you
# changed, what you predicted and why, what came out, and what you make of it.
EXPERIMENT = """
"""
