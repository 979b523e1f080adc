"""Self-consistency: sample several answers and take the most common one (Wang et al. 2022).

With a temperature above zero a model reaches its answer in different ways. Wrong reasoning leads to different wrong
answers, correct reasoning to the same correct one, so the most common answer is correct more often than a single one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple


class MajorityVote(NamedTuple):
    """The result of a vote.

    Attributes:
        answer: the most common answer, in the form in which it first occurred.
        fraction: its fraction of all answers, from 0 to 1.
        counts: each different answer with its votes, the most common first.
    """

    answer: str
    fraction: float
    counts: dict[str, int]


def normalize(answer: str) -> str:
    """An answer in lower case with single spaces, for comparison."""
    return " ".join(answer.lower().split())


def majority_vote(answers: Sequence[str], key: Callable[[str], str] = normalize) -> MajorityVote:
    """Find the most common answer. If several are equally common, the first one wins.

    >>> majority_vote(["Paris", "London", "paris "])
    MajorityVote(answer='Paris', fraction=0.6666666666666666, counts={'Paris': 2, 'London': 1})

    Args:
        answers: at least one.
        key: answers with the same key count as the same answer. It is only used to compare them.

    Raises:
        ValueError: there is no answer.
    """
    if not answers:
        raise ValueError("a vote needs at least one answer")
    first: dict[str, str] = {}
    for answer in answers:
        first.setdefault(key(answer), answer)
    counts = Counter(map(key, answers))
    winner, n = counts.most_common(1)[0]  # of equal counts, the first answer's key comes first
    return MajorityVote(first[winner], n / len(answers), {first[k]: n for k, n in counts.most_common()})
