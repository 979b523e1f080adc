"""Metrics: a number with its confidence interval.

A score over a few examples is a rough estimate of the score over all texts. So every metric here comes with a 95 %
confidence interval: exact for proportions (accuracy), by bootstrap for the rest, see `intervals.py`.

Scales are those of the literature: BLEU, chrF and the SQuAD metrics run from 0 to 100, accuracy, F1 and ROUGE from 0
to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmasos.errors import UserError


@dataclass(frozen=True)
class Metric:
    """One number with its 95 % confidence interval.

    >>> print(Metric("accuracy", 0.912, 0.893, 0.929, 1000))
    accuracy 0.912 (95 % interval 0.893–0.929, n = 1,000)

    Attributes:
        name: the metric's name.
        value: the number.
        low, high: the ends of its 95 % interval; NaN if the examples are too few for one.
        n: the number of examples (or tokens) it is computed from.
        note: how it was measured, if there are several ways.
        digits: how many decimals are printed.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    note: str = ""
    digits: int = 3

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The name, the value, its interval ("" if there is none), n and the note, as text."""
        value, low, high = (f"{number:.{self.digits}f}" for number in (self.value, self.low, self.high))
        dash = " to " if self.low < 0 else "–"  # a dash before a minus sign is hard to read
        return self.name, value, "" if math.isnan(self.low) else f"{low}{dash}{high}", f"{self.n:,}", self.note

    def to_dict(self) -> dict[str, Any]:
        """The fields, for a JSON file; the ends of an unknown interval are null."""
        return asdict(self) | {end: None for end in ("low", "high") if math.isnan(getattr(self, end))}

    def __str__(self) -> str:
        name, value, interval, n, note = self.cells
        interval = f"95 % interval {interval}" if interval else "too few for an interval"
        return f"{name} {value} ({interval}, n = {n}{f'; {note}' if note else ''})"


def check_pairs(predictions: Sequence, references: Sequence) -> None:
    """Raise a UserError unless there are as many predictions as references, and at least one."""
    if len(predictions) != len(references):
        raise UserError(
            f"there are {len(predictions):,} predictions but {len(references):,} references: give one reference (or"
            " list of references) for each prediction, in the same order."
        )
    if not len(predictions):
        raise UserError("there is nothing to score: the list of predictions is empty; give at least one.")


def reference_lists(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[list[str]]:
    """For each prediction the list of its references, of which a single one may be given as a plain string.

    Raises:
        UserError: unequal numbers, nothing at all, or a prediction without a reference.
    """
    check_pairs(predictions, references)
    lists = [[reference] if isinstance(reference, str) else list(reference) for reference in references]
    for i, several in enumerate(lists):
        if not several:
            raise UserError(f"prediction number {i + 1} has no reference: give at least one for each prediction.")
    return lists
