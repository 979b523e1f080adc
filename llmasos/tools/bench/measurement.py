"""How things are timed so that the figures mean something on a machine that is not quite quiet.

- Two things are only ever compared within one run, and their repetitions take turns: A B, B A, A B, … What disturbs one
  then disturbs the other, and neither always comes first.
- A disturbance can only add time. So the best repetition is nearest to what the machine can do; the median, and the
  lowest and highest, stand beside it and tell how much to trust it.
- Whatever is measured is done once beforehand, so that no repetition pays for what happens only the first time.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmasos.training.device import synchronise

SHARE = "share"  # the unit of a part of a whole, shown in per cent


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        key: its name for programs, such as "attention.T64.speedup".
        at: the sizes at which it was measured, for a heading; may be empty.
        what: its name for people.
        unit: "ms", "tokens/s", …; "×" for a ratio, SHARE for a part of a whole.
        best: of the best repetition; of a ratio, the ratio of the best repetitions.
        median, low, high: over all repetitions; of a ratio, over the ratios of repetitions that stood side by side.
    """

    key: str
    at: str
    what: str
    unit: str
    best: float
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """The figure as a line of text."""
        scale, unit = (100.0, "%") if self.unit == SHARE else (1.0, self.unit)
        best, median, low, high = (show(scale * x) for x in (self.best, self.median, self.low, self.high))
        around = "" if low == high else f"   (median {median}, {low} … {high})"
        return f"    {self.what:<42} {best:>8} {unit:<8}{around}".rstrip()


def figure(key: str, at: str, what: str, unit: str, values: Sequence[float], best: Callable = max) -> Figure:
    """Sum up the repetitions of one measurement; `best` is max for rates and min for times."""
    return Figure(key, at, what, unit, best(values), statistics.median(values), min(values), max(values))


def ratio(
    key: str, at: str, what: str, over: Sequence[float], under: Sequence[float], best: Callable = max, unit: str = "×"
) -> Figure:
    """Sum up over / under, of two measurements whose repetitions took turns."""
    pairs = [a / b for a, b in zip(over, under, strict=True)]
    return Figure(key, at, what, unit, best(over) / best(under), statistics.median(pairs), min(pairs), max(pairs))


def take_turns(contestants: dict[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Let each contestant measure itself `repetitions` times, in turns. Returns name → its measurements."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for repetition in range(repetitions):
        names = list(contestants) if repetition % 2 == 0 else list(reversed(contestants))
        for name in names:
            measured[name].append(contestants[name]())
    return measured


def timed(function: Callable[[], Any], device: torch.device, seconds: float) -> Callable[[], float]:
    """Make a contestant that measures the seconds of one call.

    Args:
        function: what to time. It is called once or twice here already, to warm up.
        device: what it computes on.
        seconds: how long a measurement should take; a shorter function is called as often as fits, and averaged.
    """

    def measure(calls: int) -> float:
        synchronise(device)
        start = time.perf_counter()
        for _ in range(calls):
            function()
        synchronise(device)
        return (time.perf_counter() - start) / calls

    # The first call may pay for much that comes only once, so only the second one tells how many calls fill the time;
    # but where the first is far above it, one call is enough and a second would be a waste.
    calls = 1 if measure(1) > 5 * seconds else max(1, math.ceil(seconds / measure(1)))
    return lambda: measure(calls)


def show(value: float) -> str:
    """A number with three digits that count, or all digits before the point.

    >>> show(0.012345), show(1.2345), show(123.45), show(12345.6)
    ('0.0123', '1.23', '123', '12,346')
    """
    if value == 0.0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"
