"""Judge generated answers by rule: the same words, or a number within a tolerance."""

import re

from llmasos.evaluation.squad import exact_match

NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+−]?\.\d+")


def last_number(text: str) -> float | None:
    """The last number in a text, which is where a worked answer has its result; None if there is none.

    >>> last_number("3 boxes of 4 make 12, and 1,000 of them −12,000.5.")
    -12000.5
    """
    numbers = NUMBER.findall(text)
    return float(numbers[-1].replace(",", "").replace("−", "-")) if numbers else None


def is_right(prediction: str, answer: str | float, tolerance: float = 0.0) -> bool:
    """Whether a written answer is right.

    >>> is_right("It was the red house.", "it was a red house"), is_right("about 3.14", 3.14159, tolerance=0.01)
    (True, True)

    Args:
        prediction: the generated answer.
        answer: a text, which has to be equal after SQuAD's normalization, or a number, with which the last number of
            the prediction is compared.
        tolerance: the largest allowed difference of a number.
    """
    if isinstance(answer, str):
        return bool(exact_match(prediction, answer))
    number = last_number(prediction)
    return number is not None and abs(number - answer) <= tolerance + 1e-12 * abs(answer)
