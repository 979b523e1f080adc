"""Solutions that a teacher has judged: subtly wrong ones are rejected, unusual right ones accepted, mistakes named.

They are in `submissions_NN.py`, one file for each lesson, with up to three tables {exercise: {name: source text}}:

- WRONG: the name says what is wrong. Each breaks one promise of the docstring, often only on an unusual input.
- RIGHT: the name says what is unusual.
- NAMED: the name is the misconception that the feedback must mention.
"""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessons.machinery.discovery import Lesson, find_lesson
from lessons.machinery.exercises import Exercise
from lessons.machinery.grading import RIGHT, WRONG, grade_observations, observe_all
from lessons.machinery.mutants import survives

SEED = 1  # of the random cases

FILES = sorted(Path(__file__).parent.glob("submissions_*.py"))
LESSONS = {file.stem[-2:]: Lesson(find_lesson(file.stem[-2:]).folder, SEED) for file in FILES}


HEAVY = {"fit_temperature"}  # exercises whose solutions search for something: slow tests


def submissions(table: str) -> list:
    """All solutions of one table: lesson, exercise, name, source text."""
    return [
        pytest.param(
            file.stem[-2:],
            exercise,
            name,
            source,
            id=f"{file.stem[-2:]}-{exercise}-{name}",
            marks=pytest.mark.slow if exercise in HEAVY else (),
        )  # fmt: skip
        for file in FILES
        for exercise, sources in runpy.run_path(str(file)).get(table, {}).items()
        for name, source in sources.items()
    ]


def load(number: str, exercise_name: str, name: str, source: str) -> tuple[Exercise, Callable[..., Any]]:
    """The exercise, and the function that a solution defines."""
    namespace: dict[str, Any] = {}
    exec(compile(source, name, "exec"), namespace)
    return LESSONS[number].exercise(exercise_name), namespace[exercise_name]


@pytest.mark.parametrize("number, exercise_name, name, source", submissions("WRONG"))
def test_a_wrong_solution_is_rejected(number: str, exercise_name: str, name: str, source: str):
    exercise, function = load(number, exercise_name, name, source)
    assert not survives(exercise, function), "accepted"


@pytest.mark.parametrize("number, exercise_name, name, source", submissions("RIGHT"))
def test_a_right_solution_is_accepted(number: str, exercise_name: str, name: str, source: str):
    exercise, function = load(number, exercise_name, name, source)
    verdict = grade_observations(exercise, observe_all(exercise, function))
    assert verdict.status == RIGHT, f"{verdict.mistake}: {verdict.why}\n{verdict.example}"


@pytest.mark.slow  # every misconception runs on every case
@pytest.mark.parametrize("number, exercise_name, name, source", submissions("NAMED"))
def test_a_typical_mistake_is_named(number: str, exercise_name: str, name: str, source: str):
    exercise, function = load(number, exercise_name, name, source)
    verdict = grade_observations(exercise, observe_all(exercise, function))
    assert (verdict.status, verdict.mistake) == (WRONG, name), f"{verdict.why}\n{verdict.example}"
