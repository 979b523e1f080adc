"""Self-consistency: ask several times, take the answer that comes most often (Wang et al. 2022).

With a temperature above zero a model reaches its answer on different ways. Wrong ways lead to different wrong answers,
right ones to the same right one, so the most frequent answer is right more often than a single one is.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Vote(NamedTuple):
    """The result of a vote.

    Attributes:
        answer: the most frequent one, as it was first written.
        share: of all that were cast, from 0 to 1.
        counts: each different answer with its votes, the most frequent first.
    """

    answer: str
    share: float
    counts: dict[str, int]


def vote(answers: Sequence[str], key: Callable[[str], str] = lambda answer: " ".join(answer.lower().split())) -> Vote:
    """Count answers; those with the same key are the same. Of equally frequent ones the first counts.

    >>> vote(["Paris", "London", "paris "])
    Vote(answer='Paris', share=0.6666666666666666, counts={'Paris': 2, 'London': 1})

    Args:
        answers: at least one.
        key: what two answers must have in common to be the same. Only for comparing: what is returned stays as it was.

    Raises:
        ValueError: there is no answer.
    """
    if not answers:
        raise ValueError("a vote needs at least one answer")
    first: dict[str, str] = {}
    for answer in answers:
        first.setdefault(key(answer), answer)
    counts = Counter(map(key, answers))
    winner, n = counts.most_common(1)[0]  # equal counts stand in the order of their first answer
    return Vote(first[winner], n / len(answers), {first[k]: n for k, n in counts.most_common()})
