"""Solutions that a teacher has judged: subtly wrong ones are rejected, unusual right ones accepted, mistakes named.

They are in `submissions_NN.py`, one file for each lesson, with up to three tables {exercise: {name: source text}}:

- WRONG: the name says what is wrong. Each breaks one promise of the docstring, often only on an unusual input.
- RIGHT: the name says what is unusual.
- NAMED: the name is the misconception that the feedback must mention.
"""

import runpy
from pathlib import Path

import pytest

from lessons.machinery.discovery import Lesson, find_lesson
from lessons.machinery.exercises import Exercise
from lessons.machinery.grading import RIGHT, WRONG, grade_observations, observe_all

SEED = 1  # of the random cases

FILES = sorted(Path(__file__).parent.glob("submissions_*.py"))
SUBMISSIONS = [
    pytest.param(file.stem[-2:], table, exercise, name, source, id=f"{file.stem[-2:]}-{exercise}-{table}-{name}")
    for file in FILES
    for table, exercises in runpy.run_path(str(file)).items()
    if table in ("WRONG", "RIGHT", "NAMED")
    for exercise, sources in exercises.items()
    for name, source in sources.items()
]
LESSONS = {file.stem[-2:]: Lesson(find_lesson(file.stem[-2:]).folder, SEED) for file in FILES}


@pytest.mark.parametrize("number, table, exercise_name, name, source", SUBMISSIONS)
def test_a_judged_solution_gets_its_verdict(number: str, table: str, exercise_name: str, name: str, source: str):
    exercise: Exercise = LESSONS[number].exercise(exercise_name)
    namespace: dict = {}
    exec(compile(source, name, "exec"), namespace)
    verdict = grade_observations(exercise, observe_all(exercise, namespace[exercise_name]))
    if table == "RIGHT":
        assert verdict.status == RIGHT, f"{verdict.mistake}: {verdict.why}\n{verdict.example}"
    else:
        assert verdict.status == WRONG, "accepted"
    if table == "NAMED":
        assert verdict.mistake == name, f"{verdict.why}\n{verdict.example}"
