"""Find out what is wrong in one case, in general terms, when no known misconception explains it.

An exception, a wrong shape, dtype or value, an input changed in place, a gradient that does not flow: each becomes a
`Diagnosis` with a name, an explanation and a hint.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lessons.machinery.comparison import (
    Opaque,
    decode,
    difference,
    encode,
    format_number,
    format_pair,
    format_value,
)
from lessons.machinery.execution import Failure, Observation, is_float
from lessons.machinery.exercises import Case, Exercise

# What students use without importing it: name → the missing line.
IMPORTS = {
    **{name: f"import {name}" for name in "bisect collections copy functools heapq itertools math operator random re "
       "statistics string torch unicodedata".split()},
    **{name: f"from collections import {name}" for name in ("Counter", "OrderedDict", "defaultdict", "deque")},
    **{name: f"from itertools import {name}" for name in ("accumulate", "chain", "islice", "pairwise", "product")},
    **{name: f"from math import {name}" for name in ("ceil", "cos", "exp", "floor", "inf", "log", "pi", "sin", "sqrt")},
    "F": "import torch.nn.functional as F", "nn": "from torch import nn", "np": "import numpy as np",
    "numpy": "import numpy", "Tensor": "from torch import Tensor", "Callable": "from collections.abc import Callable",
    "partial": "from functools import partial", "reduce": "from functools import reduce",
    "dataclass": "from dataclasses import dataclass",
    "Any": "from typing import Any", "Optional": "from typing import Optional",
}  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong in one case: the mistake's name, an explanation, and a hint."""

    mistake: str
    why: str
    hint: str = ""


def diagnose(
    exercise: Exercise, case: Case, reference: Observation, observation: Observation, source: str, filename: str
) -> Diagnosis | None:
    """Return what is wrong in one case, or None."""
    if reference.failure is not None:
        if observation.failure is not None and observation.failure.kind == reference.failure.kind:
            return None
        if observation.failure is None:
            return Diagnosis("no exception", f"It should raise {reference.failure.kind} here, but it returned a value.")
    if observation.failure is not None:
        return diagnose_failure(observation.failure, source, filename)
    value_difference = difference(reference.output, observation.output, exercise.rtol, exercise.atol)
    if value_difference is not None and observation.unstable and not reference.unstable:
        return Diagnosis(
            "uncontrolled randomness",
            "Called twice with the same inputs, it gives two different results.",
            "Something draws from the global random generator, or keeps state between calls. Use only the generator "
            "that is passed in.",
        )
    if value_difference is not None:
        sentence = value_difference.message[0].upper() + value_difference.message[1:]
        if value_difference.kind == "shape":
            return Diagnosis("wrong shape", sentence, "Write the shape of every intermediate result next to its line.")
        if value_difference.kind == "dtype":
            return Diagnosis("wrong dtype", sentence)
        if value_difference.kind == "type":
            return Diagnosis("wrong type", sentence)
        return Diagnosis("wrong values", sentence, "Work through this example by hand, and compare it step by step.")
    if set(observation.changed) - set(reference.changed):
        names = " and ".join(sorted(set(observation.changed) - set(reference.changed)))
        return Diagnosis(
            "inputs changed in place",
            f"The result is right, but your code modified its input {names}, which belongs to the caller.",
            "`x += …`, `x[…] = …`, `del x[…]`, tensor methods that end in an underscore and list methods such as "
            "`append` and `pop` modify the input. Create a new object instead.",
        )
    if observation.unstable and not reference.unstable:
        return Diagnosis(
            "uncontrolled randomness", "Called twice with the same inputs, it gives two different results."
        )
    return diagnose_gradients(exercise, case, reference, observation, source, filename)


def diagnose_gradients(
    exercise: Exercise, case: Case, reference: Observation, observation: Observation, source: str, filename: str
) -> Diagnosis | None:
    """Return what is wrong with the gradients of one case, or None."""
    if reference.gradients is None:
        return None
    if observation.gradient_failure is not None:
        if observation.gradient_failure.kind == "NotImplementedError":
            return None
        fault = diagnose_failure(observation.gradient_failure, source, filename)
        return Diagnosis("gradient does not flow", f"The numbers are right, but with gradients it fails: {fault.why}")
    hint = "`.detach()`, `.data`, `.item()`, `torch.no_grad()`, NumPy and `torch.tensor(x)` stop the gradient."
    if not observation.flows:
        why = "The numbers are right, but no gradient flows back from the result: a model that uses it cannot learn."
        return Diagnosis("gradient does not flow", why, hint)
    for name, _, actual in differing_gradients(exercise, case, reference, observation):
        if actual is None:
            return Diagnosis("gradient does not flow", f"The numbers are right, but no gradient reaches {name}.", hint)
        return Diagnosis("wrong gradient", f"The numbers are right, but the gradient of {name} is not.", hint)
    return None


def diagnose_failure(failure: Failure, source: str, filename: str) -> Diagnosis:
    """Explain an exception, with the student's own line."""
    lines = source.split("\n")  # as Python counts them: a form feed does not end a line
    at = ""
    if failure.line is not None and 0 < failure.line <= len(lines):
        at = f"\n    line {failure.line} of {filename}:  {lines[failure.line - 1].strip()}"
    message = failure.message.rstrip(".")
    if failure.kind == "TimeLimitExceeded":
        return Diagnosis("it does not terminate", f"It was {message}, so it was stopped.{at}", "Which loop never ends?")
    if failure.kind == "ProcessDied":
        return Diagnosis("it ends the process", f"There was no result: {message}.{at}")
    if failure.kind == "Forbidden":
        return Diagnosis("not allowed", f"{message[0].upper()}{message[1:]}.{at}")
    if failure.kind == "SandboxViolation":
        return Diagnosis("outside an exercise's limits", f"It was stopped because {message}.{at}")
    if failure.kind == "MemoryError" or "can't allocate memory" in message:
        return Diagnosis("too much memory", f"It asked for more memory than an exercise gets.{at}")
    if failure.kind == "NotImplementedError" and not at:
        return Diagnosis("exception", f"PyTorch reports: {message}.")
    hint = import_hint(message) if failure.kind == "NameError" else ""
    if not at:
        why = f"Its return value cannot be used: {failure.kind}: {message}."
        return Diagnosis(f"exception ({failure.kind})", why, hint)
    return Diagnosis(f"exception ({failure.kind})", f"It raises {failure.kind}: {message}.{at}", hint)


def import_hint(message: str) -> str:
    """What to do about a name that is not defined."""
    match = re.search(r"name '(\w+)' is not defined", message)
    if match is None:
        return ""
    name = match[1]
    if line := IMPORTS.get(name):
        return f"`{name}` is not imported in your file; add `{line}` at its top."
    return f"Your file defines no `{name}`: is it misspelled, or is an import missing at its top?"


def format_example(exercise: Exercise, case: Case, reference: Observation, observation: Observation) -> str:
    """Format a case: its inputs, the expected output and the student's; the gradients instead if only they differ."""
    lines = [f"case: {case.name}"]
    width = max([8, *map(len, case.inputs)])
    pad = " " * (width + 3)

    def show(name: str, sign: str, text: str) -> None:
        lines.append(f"{name:>{width}} {sign} {text}")

    for name, value in case.inputs.items():
        show(name, "=", format_input(value, pad))
    if reference.failure:
        show("expected", ":", f"an exception, {reference.failure.kind}")
        if observation.failure is None:
            show("yours", ":", format_value(observation.output, None, pad))
        return "\n".join(lines)
    if observation.failure is not None:
        show("expected", ":", format_value(reference.output, None, pad))
        return "\n".join(lines)
    right = difference(reference.output, observation.output, exercise.rtol, exercise.atol) is None
    if right:
        show("yours", ":", format_value(observation.output, None, pad) + "   (as expected)")
    else:
        wanted, got = format_pair(reference.output, observation.output, pad)
        show("expected", ":", wanted)
        show("yours", ":", got)
    if observation.unstable:
        show("again", ":", format_pair(observation.second, observation.output, pad)[0])
    if not right:
        return "\n".join(lines)
    for name, wanted, got in differing_gradients(exercise, case, reference, observation):
        texts = format_pair(wanted, got, pad)
        lines.append(f"the gradient of {name}:")
        show("expected", ":", texts[0])
        show("yours", ":", texts[1] if got is not None else "none")
    return "\n".join(lines)


def differing_gradients(exercise: Exercise, case: Case, reference: Observation, observation: Observation) -> list:
    """The gradients that differ from the reference's: (input, expected, the student's or None)."""
    names = [name for name, value in case.inputs.items() if is_float(value)]
    actual = observation.gradients or [None] * len(names)
    return [
        (name, a, b)
        for name, a, b in zip(names, reference.gradients or [], actual, strict=False)
        if a is not None and (bool((a.abs() > exercise.atol).any()) if b is None else gradient_differs(exercise, a, b))
    ]


def gradient_differs(exercise: Exercise, expected: Any, actual: Any) -> bool:
    """Whether two gradients are unequal, with ten times the tolerance for values."""
    return difference(expected, actual, 10 * exercise.rtol, 10 * exercise.atol) is not None


def format_input(value: Any, pad: str) -> str:
    """Format an input for people; describe a constant matrix or an identity matrix in words."""
    value = decode(encode(value))
    if isinstance(value, Tensor) and value.dim() == 2 and value.size(0) == value.size(1) >= 3:
        if torch.equal(value, torch.eye(len(value), dtype=value.dtype)):
            return f"the identity matrix, {len(value)} × {len(value)}"
    if isinstance(value, Tensor) and value.numel() > 16 and bool((value == value.flatten()[0]).all()):
        return f"{format_number(value.flatten()[0])} everywhere, of shape {tuple(value.shape)}"
    return format_value(value, None, pad) if not isinstance(value, Opaque) else value.description
