"""A handful of real mistakes to look at: they teach more about a model than another digit of its score.

With the model's confidences (or any number that says how bad a mistake is), the most confident mistakes come first:
either the model has learned something wrong, or the data is wrong. Without them, a random sample is drawn, so that you
do not always look at the beginning of the file.
"""

from collections.abc import Sequence

import numpy as np

from llmasos.datasets.batching import random_order
from llmasos.evaluation.metric import check_pairs


def choose_mistakes(
    wrong: Sequence[bool], confidences: Sequence[float] | None = None, n: int = 5, seed: int = 0
) -> list[int]:
    """The indices of up to n wrong examples, the same ones every time.

    >>> choose_mistakes([True, False, True, True], confidences=[0.5, 0.9, 0.8, 0.6], n=2)
    [2, 3]

    Args:
        wrong: (N,) True for a mistake.
        confidences: (N,) the larger the earlier it is shown; of equal ones the first. None = a random sample, in the
            order of the data.
        n: the maximum number of them.
        seed: the random seed of the sample.
    """
    indices = np.flatnonzero(wrong)
    if confidences is not None:
        check_pairs(confidences, wrong)
        return indices[np.argsort(-np.asarray(confidences)[indices], kind="stable")][:n].tolist()
    order = random_order(len(indices), np.random.PCG64(np.random.SeedSequence([seed])))
    return sorted(indices[order[:n]].tolist())


def show_mistakes(
    chosen: Sequence[int],
    texts: Sequence[str],
    references: Sequence[str],
    predictions: Sequence[str],
    confidences: Sequence[float] | None = None,
    width: int = 100,
) -> list[str]:
    """Each chosen mistake as three lines of text: the input, the expected output and the prediction.

    >>> texts, references, predictions = ["Fine.", "Not   bad at all."], ["good", "good"], ["good", "bad"]
    >>> print(show_mistakes([1], texts, references, predictions, confidences=[0.7, 0.93])[0])
    2. Not bad at all.
       expected:  good
       predicted: bad (0.93)

    Args:
        chosen: indices of examples, from `choose_mistakes`.
        texts: the model's inputs: sentences, questions with their contexts, sources.
        references, predictions: labels, answers or translations; empty ones are shown as "(nothing)".
        confidences: shown after the prediction.
        width: longer texts are cut to this many characters.
    """
    blocks = []
    for i in chosen:
        confidence = "" if confidences is None else f" ({confidences[i]:.2f})"
        blocks.append(
            f"{i + 1}. {_short(texts[i], width)}\n"
            f"   expected:  {_short(references[i], width)}\n"
            f"   predicted: {_short(predictions[i], width)}{confidence}"
        )
    return blocks


def _short(text: str, width: int) -> str:
    """In one line, with an ellipsis if it is too long."""
    text = " ".join(str(text).split()) or "(nothing)"
    return text if len(text) <= width else text[: width - 1] + "…"
