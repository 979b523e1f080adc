"""Retrieval metrics: recall@k and the mean reciprocal rank (MRR; Voorhees 1999, section 3).

Both are functions of the rank of the right text among all texts, 1 for the first place:

    recall@k   the fraction of questions whose right text is among the first k
    MRR        the mean of 1 / rank; 1 if all are first, ½ if all are second

Texts with the same score as the right one rank before it, so that a model that gives all texts the same score is not
rewarded for the order of the file.
"""

from collections.abc import Sequence

import numpy as np

from llmasos.errors import UserError, check_number
from llmasos.evaluation.intervals import mean, proportion
from llmasos.evaluation.metric import Metric


def retrieval_ranks(scores: np.ndarray, right: Sequence[int]) -> np.ndarray:
    """The rank of the right text of each question: (Q,).

    >>> retrieval_ranks(np.array([[0.9, 0.1, 0.3], [0.5, 0.5, 0.2]]), [2, 0])
    array([2, 2])

    Args:
        scores: (Q, N), the score of each of N texts for each question.
        right: (Q,), the index of the right text.

    Raises:
        UserError: the shapes do not fit, a place is out of range, or a score of a right text is NaN.
    """
    places = np.asarray(right, dtype=np.int64)
    if scores.ndim != 2 or places.shape != scores.shape[:1] or not scores.size:
        raise UserError(f"the scores have the shape {scores.shape} for {len(places)} questions; it must be (questions, "
                        "texts), with at least one of each.")  # fmt: skip
    if ((places < 0) | (places >= scores.shape[1])).any():
        raise UserError(f"the right text must be one of 0 to {scores.shape[1] - 1}; give its place among the texts.")
    if np.isnan(scores).any():
        raise UserError("a score is NaN, so the texts cannot be ranked; look for NaN in their vectors.")
    own = np.take_along_axis(scores, places[:, None], axis=1)  # (Q, 1)
    return (scores >= own).sum(axis=1)


def recall_at_k(ranks: Sequence[int] | np.ndarray, k: int) -> Metric:
    """The fraction of questions whose right text is among the first k, with its exact interval.

    >>> print(recall_at_k([1, 3, 1, 2], 1))
    recall@1 0.500 (95 % interval 0.068–0.932, n = 4)
    """
    check_number("k", k, whole=True, at_least=1)
    ranks = _checked(ranks)
    return proportion(f"recall@{k}", int((ranks <= k).sum()), len(ranks))


def mean_reciprocal_rank(ranks: Sequence[int] | np.ndarray) -> Metric:
    """The mean of 1 / rank, with a bootstrap interval.

    >>> mean_reciprocal_rank([1, 2, 4]).value
    0.5833333333333334
    """
    return mean("MRR", 1 / _checked(ranks))


def _checked(ranks: Sequence[int] | np.ndarray) -> np.ndarray:
    array = np.asarray(ranks)
    if not len(array) or (array < 1).any():
        raise UserError("the ranks must be at least one number, each 1 or more; 1 is the first place.")
    return array
