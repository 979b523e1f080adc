"""A new lesson from the template has every protection without its author doing anything."""

import ast

import pytest

from lessons.machinery import discovery
from lessons.machinery.cells import read_cells
from lessons.machinery.commands import main
from lessons.machinery.discovery import Lesson
from lessons.machinery.exercises import Exercise
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


def test_what_a_hostile_or_lazy_submission_gets(lesson, tmp_path):
    exercise: Exercise = lesson.exercises[0]
    table = {tuple(case.inputs["x"].tolist()): exercise.reference(case.inputs["x"]).tolist() for case in exercise.cases}
    bodies = {
        "right": "return x.cummax(0).values",
        "table": f"return torch.tensor({table!r}.get(tuple(x.tolist()), [0.0]))",
        "frames": "f = sys._getframe()\n    while f:\n        for v in [*f.f_locals.values(), *f.f_globals.values()]:\n"
        "            if hasattr(v, 'reference'): return v.reference(x)\n        f = f.f_back\n    return x",
        "reads": f"return open({str(lesson.folder / 'checks.py')!r}).read()",
        "runs": "import os\n    os.system('true')",
        "one slip and another": "x = x.clone()\n    x[x < 0] = 0\n    return x.cummax(0).values + (len(x) > 5)",
        "imports nothing": "return np.maximum.accumulate(x)",
    }
    for student, body in bodies.items():
        (tmp_path / student).mkdir()
        text = f"import sys, torch\n\n\ndef largest_so_far(x):\n    {body}\n"
        (tmp_path / student / "99_made_up.py").write_text(text)
    verdicts = {item.student: item.verdicts[0] for item in grade(tmp_path, lesson, jobs=2, seed=3)}
    assert [student for student, verdict in verdicts.items() if verdict.score] == ["right"]
    assert "random, seed 3" in verdicts["table"].example
    assert verdicts["reads"].mistake == verdicts["runs"].mistake == "outside an exercise's limits"
    assert verdicts["one slip and another"].mistake == "perhaps “the search begins with 0”"
    assert "import numpy as np" in verdicts["imports nothing"].hint
