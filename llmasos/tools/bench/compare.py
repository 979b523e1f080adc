"""`bench --compare A B`: what changed between two reports by more than the noise.

The noise of a measurement is the range of its repetitions. A change counts if the two ranges do not overlap: then every
repetition of one report is above every repetition of the other. (If nothing had changed, five repetitions against five
would fall apart like that by chance in 2 / C(10, 5) = 0.8 % of the cases, as in a rank test.)
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.tools.bench.measurement import Measurement, format_number

REPORT = {"machine", "quick", "seconds", "measurements"}  # the keys of a report
RATIOS = ("×", "%")  # units that mean the same on every machine


def read_report(file: Path) -> dict[str, Any]:
    """Read a report that `bench --json` wrote, with its measurements as `Measurement` by key.

    Raises:
        UserError: there is no such file, or it is no report.
    """
    try:
        report = json.loads(file.read_bytes())
        if {*report} != REPORT or not isinstance(report["machine"], dict):
            raise ValueError
        lines = {key: Measurement(key=key, **line) for key, line in report["measurements"].items()}
    except FileNotFoundError:
        raise UserError(f"--compare {file}: there is no such file; `bench --json {file}` writes one.") from None
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(f"--compare {file}: not a report of `bench --json`.") from None
    return {**report, "measurements": lines}


def compare(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield lines that describe how the report `new` differs from `old`, both from `read_report`."""
    machines = old["machine"], new["machine"]
    keys = dict.fromkeys(key for machine in machines for key in machine if key != "load")
    facts = {key: [machine.get(key, "unknown") for machine in machines] for key in keys}
    facts = {key: values for key, values in facts.items() if values[0] != values[1]}
    for key, values in facts.items():
        yield f"{key}: {values[0]} → {values[1]}"
    if old["quick"] or new["quick"]:
        yield "Warning: a report of --quick says nothing about speed."
    before, after = old["measurements"], new["measurements"]
    shared = [key for key in before if key in after]
    both = [key for key in shared if before[key].setup == after[key].setup]
    n_other_setups = len(shared) - len(both)
    if facts:
        yield "The machines differ, so only ratios are compared."
        both = [key for key in both if before[key].unit in RATIOS]
    changed = [key for key in both if differs(before[key], after[key])]
    for key in changed:
        a, b = before[key], after[key]
        word = "higher" if b.median > a.median else "lower"
        yield f"{word:<7} {key:<42} {in_words(a):>26} → {in_words(b)} {b.unit}"
    single = [key for key in both if before[key].low == before[key].high and before[key].best != after[key].best]
    for key in (key for key in single if key not in changed):
        yield f"{'once':<7} {key:<42} {in_words(before[key]):>26} → {in_words(after[key])} {after[key].unit}"
    yield f"{len(changed)} of {len(both)} measurements changed beyond the range of their repetitions."
    if single:
        yield f"{len(single)} marked 'once' were measured once, so how far they scatter is not known."
    if missing := {*before} ^ {*after}:
        yield f"{len(missing)} are in one report only."
    if n_other_setups:
        yield f"{n_other_setups} were measured with another setup and are not compared."


def differs(a: Measurement, b: Measurement) -> bool:
    """Whether the ranges of the repetitions do not overlap; False for single measurements."""
    repeated = a.low < a.high and b.low < b.high
    return repeated and (a.high < b.low or b.high < a.low)


def in_words(line: Measurement) -> str:
    """The median and the range.

    >>> in_words(Measurement("k", "", "", "ms", 3.0, 4.0, 3.0, 5.25))
    '4.00 (3.00 … 5.25)'
    """
    median, low, high = map(format_number, (line.median, line.low, line.high))
    return median if low == high else f"{median} ({low} … {high})"
