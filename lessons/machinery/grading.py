"""Right or wrong, and why: compare a student's function with the reference, case by case.

The first case that fails is the smallest, because authors put the small ones first. If a misconception produces the
student's output on every failing case, that misconception is the mistake. Otherwise `diagnosis` explains the first
failing case in general terms.
"""

import ast
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from torch import Tensor

from lessons.machinery.comparison import difference
from lessons.machinery.diagnosis import diagnose, diagnose_failure, format_example
from lessons.machinery.discovery import Lesson
from lessons.machinery.execution import Observation, judged, observe
from lessons.machinery.exercises import Exercise, Misconception, WrittenAnswer
from lessons.machinery.runner import RunResult
from lessons.machinery.static_checks import string_constant

RIGHT, WRONG, NOT_DONE = "right", "wrong", "not done"
NOT_CHECKED = "not checked"  # not the student's fault: the machine was too busy, or the grader failed
one_at_a_time = threading.Lock()  # references and misconceptions set the global random generators
CASES_COMPARED = 8  # at most this many failing cases are searched for a mistake that explains some of them
NUMBERS_ARE_RIGHT = ("inputs changed in place", "gradient does not flow", "wrong gradient")


@dataclass
class Verdict:
    """The result of one exercise.

    Attributes:
        task: the exercise.
        status: RIGHT, WRONG, NOT_DONE or NOT_CHECKED.
        mistake: the name of the mistake: a misconception's, or a general one ("wrong shape").
        why: what the code does, and the consequences.
        hint: what to think about next.
        section: the section of the lesson to read again.
        example: the smallest failing case, with the student's output and the expected one.
        failing, cases: the number of failing cases, and of all cases.
        notes: remarks that do not affect the score.
        printed: what the code printed for that case.
    """

    task: Exercise | WrittenAnswer
    status: str
    mistake: str = ""
    why: str = ""
    hint: str = ""
    section: str = ""
    example: str = ""
    failing: int = 0
    cases: int = 0
    notes: list[str] = field(default_factory=list)
    printed: str = ""

    @property
    def score(self) -> float:
        """The points earned."""
        return self.task.points if self.status == RIGHT else 0.0


@cache
def reference_observations(exercise: Exercise) -> list[Observation]:
    """Observe the reference on every case."""
    return observe_all(exercise, exercise.reference)


@cache
def misconception_observation(exercise: Exercise, code: Callable[..., Any], number: int) -> Observation:
    """Observe one variant of a misconception on one case. A single case is enough to rule most of them out."""
    return round_trip(observe(code, exercise.cases[number], exercise.gradients))


def observe_all(exercise: Exercise, function) -> list[Observation]:
    """Run trusted code on every case in this process, with observations encoded as if another process had sent them."""
    return [round_trip(observe(function, case, exercise.gradients)) for case in exercise.cases]


def round_trip(observation: Observation) -> Observation:
    """Encode and decode an observation."""
    return Observation.from_json(observation.to_json())


def grade_run(exercise: Exercise, run: RunResult, source: str, filename: str) -> Verdict:
    """Grade one exercise from the observations of a run.

    Args:
        exercise: the exercise.
        run: the observations from running the student's file.
        source: the file's text, for quoting a line of it.
        filename: the file's name in messages.
    """
    if run.import_failure is not None and run.import_failure.kind == "NotStarted":
        why = f"Python and torch did not start in time, so {filename} was not read. That is not your mistake."
        return Verdict(exercise, NOT_CHECKED, why=why, hint="Check again when the machine is less busy.")
    if run.import_failure is not None:
        fault = diagnose_failure(run.import_failure, source, filename)
        why = f"{filename} cannot be imported. {fault.why}"
        return Verdict(exercise, WRONG, fault.mistake, why, fault.hint, printed=run.printed)
    seen = run.observations.get(exercise.name, [])
    with one_at_a_time:
        observations = [judged(case, observation) for case, observation in zip(exercise.cases, seen, strict=False)]
        return grade_observations(exercise, observations, source, filename)


def grade_observations(
    exercise: Exercise, observations: list[Observation], source: str = "", filename: str = ""
) -> Verdict:
    """Grade one exercise from the observations of its cases, which may be incomplete."""
    faults = [
        diagnose(exercise, case, reference, observation, source, filename)
        for case, reference, observation in zip(
            exercise.cases, reference_observations(exercise), observations, strict=False
        )
    ]
    n_cases = len(exercise.cases)
    failing = [i for i, fault in enumerate(faults) if fault is not None]
    if not failing and len(observations) >= n_cases:
        notes = sorted({f"A note: {observation.device}" for observation in observations if observation.device})
        return Verdict(exercise, RIGHT, cases=n_cases, notes=notes)
    if not failing:
        return Verdict(exercise, WRONG, "no answer", "Its checks did not finish.", cases=n_cases)
    first = failing[0]
    if faults[first].mistake in NUMBERS_ARE_RIGHT:  # in every case, not only in the smallest
        first = next((i for i in failing if faults[i].mistake in ("wrong values", "wrong shape")), first)
    observation, fault = observations[first], faults[first]
    if observation.failure is not None and observation.failure.kind == "NotImplementedError":
        return Verdict(exercise, NOT_DONE, cases=n_cases)
    limits = observation.failure is not None and observation.failure.kind in (
        "Forbidden",
        "SandboxViolation",
        "ProcessDied",
    )
    verdict = Verdict(
        exercise, WRONG, fault.mistake, fault.why, fault.hint, exercise.section,
        failing=len(failing) + n_cases - len(observations), cases=n_cases,
    )  # fmt: skip
    misconception = match_misconception(exercise, observations, failing)
    if misconception is not None:
        verdict.mistake, verdict.why, verdict.hint, verdict.section = (
            misconception.name,
            misconception.why,
            misconception.hint,
            misconception.section,
        )
    elif observation.failure is None:
        wrong = [i for i in failing if faults[i].mistake not in NUMBERS_ARE_RIGHT]
        shown = name_in_part(verdict, exercise, observations, wrong)
        first = first if shown is None else shown
    verdict.printed = observations[first].printed
    if not limits:
        verdict.example = format_example(
            exercise, exercise.cases[first], reference_observations(exercise)[first], observations[first]
        )
    return verdict


def match_misconception(
    exercise: Exercise, observations: list[Observation], failing: list[int]
) -> Misconception | None:
    """Find the misconception whose outputs match the student's on every failing case.

    Among several, prefer one that also agrees where the student is right, then the first.
    """
    if any(was_stopped(observations[i]) for i in failing):
        return None
    candidates = []
    for misconception in exercise.misconceptions:
        for code in (misconception.code, *misconception.variants):
            if matches(exercise, code, observations, failing):
                agreeing = sum(same_case(exercise, code, observations, i) for i in range(len(observations)))
                candidates.append((-agreeing, len(candidates), misconception))
    return min(candidates)[2] if candidates else None


def matches(exercise: Exercise, code: Callable[..., Any], observations: list[Observation], failing: list[int]) -> bool:
    """Whether a wrong implementation does what the student's function does on every failing case."""
    if not all(same_case(exercise, code, observations, i) for i in failing):
        return False
    return any(is_distinctive(misconception_observation(exercise, code, i), observations[i]) for i in failing)


def same_case(exercise: Exercise, code: Callable[..., Any], observations: list[Observation], number: int) -> bool:
    """Whether a wrong implementation does what the student's function does on one case."""
    return same_outcome(exercise, misconception_observation(exercise, code, number), observations[number])


def was_stopped(observation: Observation) -> bool:
    """Whether the grader ended the call, so that there is nothing to compare."""
    stopped = ("TimeLimitExceeded", "ProcessDied", "Forbidden", "SandboxViolation", "MemoryError")
    return observation.failure is not None and observation.failure.kind in stopped


def name_in_part(
    verdict: Verdict, exercise: Exercise, observations: list[Observation], failing: list[int]
) -> int | None:
    """Name the known mistake that explains only some of the failing cases: often there are two mistakes.

    Args:
        verdict: the verdict, which gets the name (with "perhaps"), an explanation and a hint.
        exercise: the exercise.
        observations: the observations of the student's function.
        failing: the failing cases, whose values are wrong.

    Returns:
        The first case that the mistake explains, to be shown; None if no known mistake explains any.
    """
    found: list[tuple[Misconception, list[int]]] = []
    remaining = [i for i in failing if not was_stopped(observations[i])]
    while remaining and len(found) < 2:
        misconception, explained = explains_most(exercise, observations, remaining)
        if misconception is None or not (len(explained) > 1 or n_numbers(observations[explained[0]].output) > 2):
            break
        found.append((misconception, explained))
        remaining = [i for i in remaining if i not in explained]
    if not found:
        return None
    (first, explained), *others = found
    verdict.mistake = "perhaps " + " and ".join(f"“{misconception.name}”" for misconception, _ in found)
    verdict.why = f"In this example your result is exactly that of a known mistake: {first.why}"
    if others:
        verdict.why += f" In another case it is that of a second one: {others[0][0].why}"
    if remaining:
        n = len(failing) - len(remaining)
        verdict.why += (
            f" That explains {n} of the {len(failing)} cases with wrong values, so something else is wrong, too."
        )
    verdict.hint, verdict.section = first.hint, first.section
    return explained[0]


def explains_most(
    exercise: Exercise, observations: list[Observation], failing: list[int]
) -> tuple[Misconception | None, list[int]]:
    """The misconception that matches the student's output on the most failing cases (else the first), and the cases."""
    best: list[int] = []
    result: tuple[Misconception | None, Callable[..., Any] | None] = None, None
    for misconception in exercise.misconceptions:
        for code in (misconception.code, *misconception.variants):
            explained = [i for i in failing[:CASES_COMPARED] if explains(exercise, code, observations, i)]
            if len(explained) > len(best):
                best, result = explained, (misconception, code)
    misconception, code = result
    return misconception, [i for i in failing if misconception and explains(exercise, code, observations, i)]


def explains(exercise: Exercise, code: Callable[..., Any], observations: list[Observation], number: int) -> bool:
    """Whether a wrong implementation gives the student's wrong output on one case, and not just some exception."""
    if not same_case(exercise, code, observations, number):
        return False
    return is_distinctive(misconception_observation(exercise, code, number), observations[number])


def n_numbers(value: object) -> int:
    """How many numbers or texts a value consists of: a few may agree by chance."""
    if isinstance(value, list | tuple | set):
        return sum(map(n_numbers, value))
    if isinstance(value, dict):
        return sum(map(n_numbers, value.values())) + len(value)
    if isinstance(value, str | bytes):
        return len(value)
    return value.numel() if isinstance(value, Tensor) else getattr(value, "size", 1)


def is_distinctive(a: Observation, b: Observation) -> bool:
    """Whether a match is meaningful: many different mistakes end in some RuntimeError."""
    return a.failure is None or a.failure.message == b.failure.message


def same_outcome(exercise: Exercise, a: Observation, b: Observation) -> bool:
    """Whether two functions did the same thing on a case."""
    if (a.failure and a.failure.kind) != (b.failure and b.failure.kind):
        return False
    if a.failure:
        return True
    if a.changed != b.changed or a.unstable != b.unstable or a.flows != b.flows:
        return False
    return difference(a.output, b.output, exercise.rtol, exercise.atol) is None


def grade_written(task: WrittenAnswer, tree: ast.Module, stub: ast.Module, filename: str) -> Verdict:
    """Check that a written answer exists: long enough, and different from the stub."""
    text, before = string_constant(tree, task.name), string_constant(stub, task.name)
    if text is None:
        return Verdict(task, WRONG, "not there", f"{filename} has no string called {task.name}.")
    words = len(text.split())
    if text == before or not words:
        return Verdict(task, NOT_DONE)
    if words < task.words:
        why = f"Your answer has {words} words; about {task.words} are needed."
        return Verdict(task, WRONG, "too short", why, section=task.section)
    return Verdict(task, RIGHT, notes=["Your teacher reads this answer."])


def section_location(lesson: Lesson, section: str) -> str:
    """Where to read again, or an empty string."""
    return lesson.place(section) if section in lesson.sections else ""
