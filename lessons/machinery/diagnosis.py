"""What is wrong in one case, in general terms, when no known misconception explains it.

An exception, a wrong shape, dtype or value, an input changed in place, a gradient that does not flow: each becomes a
`Diagnosis` with a name, an explanation and a hint.
"""

from dataclasses import dataclass

from lessons.machinery.comparison import Opaque, decode, difference, encode, format_value
from lessons.machinery.execution import Failure, Observation, is_float
from lessons.machinery.exercises import Case, Exercise


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong in one case: the mistake's name, an explanation, and a hint."""

    mistake: str
    why: str
    hint: str = ""


def diagnose(
    exercise: Exercise, case: Case, reference: Observation, observation: Observation, source: str, filename: str
) -> Diagnosis | None:
    """What is wrong in one case, or None."""
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
    """What is wrong with the gradients of one case, or None."""
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
    names = [name for name, value in case.inputs.items() if is_float(value)]
    for name, expected, actual in zip(
        names, reference.gradients, observation.gradients or [None] * len(names), strict=False
    ):
        if expected is None:
            continue
        is_missing = actual is None
        if is_missing and bool((expected.abs() > exercise.atol).any()):
            return Diagnosis("gradient does not flow", f"The numbers are right, but no gradient reaches {name}.", hint)
        if not is_missing and difference(expected, actual, 10 * exercise.rtol, 10 * exercise.atol) is not None:
            return Diagnosis("wrong gradient", f"The numbers are right, but the gradient of {name} is not.", hint)
    return None


def diagnose_failure(failure: Failure, source: str, filename: str) -> Diagnosis:
    """Explain an exception, with the student's own line."""
    lines = source.split("\n")  # as Python counts them: a form feed ends no line
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
    if not at:
        return Diagnosis(f"exception ({failure.kind})", f"Its return value cannot be used: {failure.kind}: {message}.")
    return Diagnosis(f"exception ({failure.kind})", f"It raises {failure.kind}: {message}.{at}")


def format_example(case: Case, reference: Observation, observation: Observation) -> str:
    """Format a case: its inputs, the expected output, and the student's output."""
    wanted, got = reference.output, observation.output
    lines = [f"case: {case.name}"]
    width = max([8, *map(len, case.inputs)])
    pad = " " * (width + 3)
    for name, value in case.inputs.items():
        lines.append(f"{name:>{width}} = {format_input(value, pad)}")
    expectation = f"an exception, {reference.failure.kind}" if reference.failure else format_value(wanted, got, pad)
    lines.append(f"{'expected':>{width}} : {expectation}")
    if observation.failure is None:
        lines.append(f"{'yours':>{width}} : {format_value(got, wanted, pad)}")
    return "\n".join(lines)


def format_input(value, pad: str) -> str:
    """Format an input for people."""
    value = decode(encode(value))
    return format_value(value, None, pad) if not isinstance(value, Opaque) else value.description
