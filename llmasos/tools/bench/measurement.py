"""Measurements that are meaningful even on a machine that is never quite idle.

- Only results of the same run are compared, and their repetitions are interleaved: A B, B A, A B, … A disturbance then
  hits both, and neither always comes first.
- A disturbance can only add time, so the best repetition is closest to what the machine can do. The median, the lowest
  and the highest repetition say how far to trust it.
- Everything runs once before it is timed, so that no repetition pays for one-time work.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmasos.training.device import synchronize


@dataclass(frozen=True)
class Settings:
    """The device, and how thoroughly to measure.

    Attributes:
        device: the device to compute on; tokenizers always run on the CPU.
        quick: tiny sizes and two repetitions, to show that everything runs; the speeds are meaningless.
    """

    device: torch.device
    quick: bool = False

    def repetitions(self, thorough: int) -> int:
        """The number of repetitions; `thorough` unless it must be quick."""
        return 2 if self.quick else thorough

    def seconds(self, thorough: float) -> float:
        """How long one repetition should take."""
        return 0.0 if self.quick else thorough


@dataclass(frozen=True)
class Measurement:
    """One line of the report.

    Attributes:
        key: its name in the JSON file, such as "attention.T64.speedup".
        setup: the sizes it was measured with, printed as a heading; may be empty.
        what: its name in the table.
        unit: "ms", "tokens/s", "×" for a ratio, …
        best: the best repetition; for a ratio, the ratio of the best repetitions.
        median, low, high: over all repetitions; for a ratio, over the ratios of neighboring repetitions.
    """

    key: str
    setup: str
    what: str
    unit: str
    best: float
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        best, median, low, high = map(format_number, (self.best, self.median, self.low, self.high))
        spread = "" if low == high else f"   (median {median}, {low} … {high})"
        return f"    {self.what:<42} {best:>8} {self.unit:<8}{spread}".rstrip()


def summarize(key: str, setup: str, what: str, unit: str, values: Sequence[float], best: Callable = max) -> Measurement:
    """Summarize the repetitions of one measurement; `best` is max for rates and min for times."""
    return Measurement(key, setup, what, unit, best(values), statistics.median(values), min(values), max(values))


def ratio(
    key: str, setup: str, what: str, a: Sequence[float], b: Sequence[float], best: Callable = max, unit: str = "×"
) -> Measurement:
    """Summarize a / b, of two measurements whose repetitions were interleaved."""
    pairs = [x / y for x, y in zip(a, b, strict=True)]
    return Measurement(key, setup, what, unit, best(a) / best(b), statistics.median(pairs), min(pairs), max(pairs))


def interleave(measures: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Take each measurement `repetitions` times, in turn. Returns name → its values."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for repetition in range(repetitions):
        for name in list(measures) if repetition % 2 == 0 else reversed(list(measures)):
            values[name].append(measures[name]())
    return values


def timed(function: Callable[[], Any], device: torch.device, seconds: float) -> Callable[[], float]:
    """Return a function that measures the seconds one call of `function` takes.

    Args:
        function: the function to time. It is called once or twice right away, to warm up.
        device: the device it computes on.
        seconds: how long a measurement should take; a faster function is called repeatedly and averaged.
    """

    def measure(n_calls: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(n_calls):
            function()
        synchronize(device)
        return (time.perf_counter() - start) / n_calls

    # The first call may include one-time work, so the second decides how many calls fill the time; but if the first
    # takes far longer than that, one call is enough and a second would waste time.
    n_calls = 1 if measure(1) > 5 * seconds else max(1, math.ceil(seconds / measure(1)))
    return lambda: measure(n_calls)


def format_number(value: float) -> str:
    """A number with three significant digits, or all digits before the point.

    >>> format_number(0.012345), format_number(1.2345), format_number(123.45), format_number(12345.6)
    ('0.0123', '1.23', '123', '12,346')
    """
    if value == 0.0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"
