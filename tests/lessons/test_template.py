"""A new lesson from the template has every protection without its author doing anything."""

import ast

import pytest

from lessons.machinery import discovery
from lessons.machinery.cells import read_cells
from lessons.machinery.commands import main
from lessons.machinery.discovery import Lesson
from lessons.machinery.grade import grade
from lessons.machinery.grading import RIGHT, WRONG, grade_observations, observe_all
from lessons.machinery.lesson_api import run_lesson
from lessons.machinery.mutants import mutants, survivors
from lessons.machinery.static_checks import top_level


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Lesson 99, as `new` writes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "LESSONS", tmp_path_factory.mktemp("course"))
        assert main(["new", "99", "made_up"]) == 0
        assert main(["new", "99", "again"]) == main(["new", "9x", "a"]) == main(["new", "98", "Not a name"]) == 2
        return Lesson(discovery.LESSONS / "99_made_up")


def test_it_is_complete(lesson):
    assert set(lesson.facts) == {"Question", "Teaches", "Minutes"} and lesson.title == "Made up"
    assert set(lesson.sections) == {"99.1", "99.2"} and "NN" not in lesson.stub
    assert [cell.kind for cell in read_cells(lesson.path)][1] == "setup"
    assert list(top_level(ast.parse(lesson.stub)))[-2:] == [task.name for task in lesson.tasks]
    for exercise in lesson.exercises:
        assert len(exercise.misconceptions) >= 6 and len(exercise.accepted) >= 2 and exercise.random_cases


def test_its_lesson_runs_and_states_its_result(lesson, capsys):
    run_lesson(lesson)
    assert "as expected" in capsys.readouterr().out


def test_every_mistake_is_named_every_right_solution_accepted_and_no_mutant_survives(lesson):
    [exercise] = lesson.exercises
    for misconception in exercise.misconceptions:
        verdict = grade_observations(exercise, observe_all(exercise, misconception.code))
        assert (verdict.status, verdict.mistake) == (WRONG, misconception.name)
    for code in exercise.accepted.values():
        assert grade_observations(exercise, observe_all(exercise, code)).status == RIGHT
    assert len(list(mutants(lesson, exercise))) > 10
    assert [(m.solution, m.change) for m in survivors(lesson, exercise)] == []


def test_a_hostile_submission_reaches_nothing(lesson, tmp_path):
    text = f"""
import sys, torch
reached = []
def largest_so_far(x):
    f = sys._getframe()
    while f:
        reached.extend(v for v in [*f.f_locals.values(), *f.f_globals.values()] if hasattr(v, "reference"))
        f = f.f_back
    for attempt in (
        lambda: open({str(lesson.folder / "checks.py")!r}), lambda: open({str(tmp_path / "new")!r}, "w"),
        lambda: __import__("os").system("true"), lambda: __import__("les" + "sons"), lambda: __import__("llma" + "sos"),
        lambda: __import__("socket").socket(),
    ):
        try:
            reached.append(attempt())
        except Exception:
            pass
    return x if reached else x.cummax(0).values
WHY_LARGEST = {"word " * 20!r}
"""
    (tmp_path / "99_made_up.py").write_text(text)
    [graded] = grade(tmp_path, lesson, seed=3)
    assert [verdict.status for verdict in graded.verdicts] == [RIGHT, RIGHT], graded.verdicts[0].why


def test_a_table_two_slips_and_a_missing_import(lesson):
    [exercise] = Lesson(lesson.folder, seed=3).exercises
    table = {
        tuple(case.inputs["x"].tolist()): exercise.reference(case.inputs["x"]) for case in lesson.exercises[0].cases
    }
    found = {
        "table": lambda x: table.get(tuple(x.tolist()), x),
        "two slips": lambda x: x.cummax(0).values.clamp(min=0) + (len(x) > 5),
        "no import": lambda x: np.maximum.accumulate(x),  # noqa: F821
    }
    found = {name: grade_observations(exercise, observe_all(exercise, code)) for name, code in found.items()}
    assert "random, seed 3" in found["table"].example
    assert found["two slips"].mistake == "perhaps “the search begins with 0”"
    assert "import numpy as np" in found["no import"].hint
