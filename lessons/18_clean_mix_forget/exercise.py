"""Exercises of lesson 18: data: clean, mix, forget.

    python -m lessons check 18                      # what is right, what is wrong, and why
    python -m lessons check 18 --only jaccard
    python -m lessons hint 18 jaccard               # one more hint each time
    python -m lessons run 18 --mine                 # the lesson with your own code

Replace each `raise NotImplementedError` with your own code. Plain Python is all you need. Do not modify the inputs.
"""


def precision_recall(dropped: list[bool], guilty: list[bool]) -> tuple[float, float]:
    """1 (easy). How good is a filter?

    Args:
        dropped: for each of N documents whether the filter dropped it.
        guilty: for each of them whether it should be dropped; N may be 0.

    Returns:
        precision: of the dropped documents, the fraction that is guilty; 1.0 if none was dropped.
        recall: of the guilty documents, the fraction that was dropped; 1.0 if none is guilty.

    Example: dropped yes, yes, no, no; guilty yes, no, yes, yes: precision 1/2, recall 1/3.
    """
    raise NotImplementedError


def jaccard(first: list[str], second: list[str], n: int) -> float:
    """2 (easy). The Jaccard similarity of two texts.

    The shingles of a text are all runs of n successive words, each run counted once. A text with fewer than n words has
    one shingle: all of its words (of an empty text, the empty run). The similarity is the number of shingles that both
    texts have, divided by the number of shingles that at least one of them has.

    Args:
        first, second: the words of each text. Two words are equal if they are equal strings.
        n: at least 1.

    Returns:
        A number from 0 to 1.

    Example: "a b c" and "b c d" with n = 2 have the shingles ab, bc and bc, cd: 1/3.
    """
    raise NotImplementedError


def candidates(signatures: list[list[int]], rows: int) -> set[tuple[int, int]]:
    """3 (medium). Which texts have a band in common?

    A signature is cut into bands of `rows` successive numbers: the first band is numbers 0 … rows - 1, the second is
    rows … 2 · rows - 1, and so on. Two texts are candidates if they agree in all numbers of at least one band. A band
    is only compared with the band at the same place.

    Args:
        signatures: of N texts, N may be 0; all equally long, a multiple of `rows`.
        rows: at least 1.

    Returns:
        The pairs (i, j) with i < j, numbered from 0.

    Example: [1, 2, 3, 4], [1, 2, 9, 9], [9, 9, 3, 4] with rows = 2: {(0, 1), (0, 2)}.
    """
    raise NotImplementedError


def ngram_probability(text: str, context: str, letter: str) -> float:
    """4 (hard). The probability of a letter after a context, interpolated as Witten and Bell did.

    Begin with p = 1 / (number of different letters in the text + 1). Then for the contexts h of 0, 1, 2, … letters, up
    to the whole context, where h are the *last* letters of the context:

        p ← (n(h letter) + u(h) · p) / (n(h) + u(h))

    - n(h letter): the number of places in the text where h is followed by the letter. Places may overlap.
    - n(h): the number of places where h is followed by any letter.
    - u(h): the number of different letters that follow h.

    If h is nowhere followed by a letter, p stays as it is.

    Args:
        text: the reference; it may be empty, and upper and lower case are different letters, as are spaces.
        context: the letters before; it may be empty, or longer than the text.
        letter: one letter, which need not occur in the text.

    Returns:
        p. For a fixed context, the probabilities of all letters of the text, and of one other, add up to 1.

    Example: text "abab", context "a", letter "b". p = 1/3; the empty context has n = 2 for b, n = 4 in all, u = 2:
    p = (2 + 2/3) / 6 = 4/9; "a" occurs twice, each time before b, u = 1: p = (2 + 4/9) / 3 = 22/27.
    """
    raise NotImplementedError


def exposure(canary: float, others: list[float]) -> float:
    """5 (easy). The exposure of a canary, in bits.

    R = 1 + the number of other candidates. The rank of the canary is 1 for the most probable candidate, R for the least
    probable one; of others that are *equally* probable, half are counted as more probable (so a rank may be 1.5). The
    exposure is log₂ R - log₂ rank.

    Args:
        canary: its log-probability; a number, or minus infinity.
        others: the log-probabilities of all other candidates, without the canary; at least one.

    Returns:
        The exposure; not rounded.

    Example: canary -1, others -5, -6, -7: it is the most probable of four, log₂ 4 - log₂ 1 = 2.
    """
    raise NotImplementedError


def fooling_pair() -> tuple[list[str], list[str]]:
    """6 (break it, and explain). Two different texts whose Jaccard similarity is 1.

    Find two lists of words with the same set of runs of five words. They have equally many words, from 10 to 100, with
    at least three different words in each, and are not the same list.

    Returns:
        The two lists.

    Then explain in WHY_FOOLED below (at least 40 words) what a set of runs does not know about a text, and whether this
    can do harm when duplicates are removed.
    """
    raise NotImplementedError


WHY_FOOLED = """
"""


# 7 (open). Change one thing about the cleaning in the lesson's notebook (python -m lessons notebook 18) or in a copy of
# lesson.py: leave out one filter, change the threshold of near duplicates or of the perplexity, use a reference of ten
# stories, or mix the dirty and the clean corpus by weights. Predict first what it costs in nats per token. Then write
# down what you changed, what you predicted and why, what came out with three seeds, and what you make of it (at least
# 40 words).
EXPERIMENT = """
"""
