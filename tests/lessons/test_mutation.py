"""In every lesson, each misconception is rejected and named, and each unusual but right solution is accepted."""

import ast
import copy
import json
import re

import pytest

from lessons.machinery.check import check_source
from lessons.machinery.discovery import Lesson, lessons
from lessons.machinery.execution import Observation, judged, observe
from lessons.machinery.exercises import Case, Exercise
from lessons.machinery.forbidden import forbidden_at_runtime, resolve_name
from lessons.machinery.grading import (
    NOT_DONE,
    RIGHT,
    WRONG,
    grade_observations,
    observe_all,
    reference_observations,
)
from lessons.machinery.static_checks import top_level

EXERCISES = [(lesson, exercise) for lesson in lessons() for exercise in lesson.exercises]
MODEL = "03_attention"  # the lesson whose accepted solutions always run; the others' are slow tests
QUICK = [
    pytest.param(lesson, exercise, marks=() if lesson.name == MODEL else pytest.mark.slow)
    for lesson, exercise in EXERCISES
]
NAMES = [f"{lesson.name}-{exercise.name}" for lesson, exercise in EXERCISES]


@pytest.mark.slow
@pytest.mark.parametrize("lesson, exercise", EXERCISES, ids=NAMES)
def test_every_misconception_is_rejected_and_named(lesson: Lesson, exercise: Exercise):
    assert len({m.name for m in exercise.misconceptions}) == len(exercise.misconceptions)
    for misconception in exercise.misconceptions:
        for code in (misconception.code, *misconception.variants):
            verdict = grade_observations(exercise, observe_all(exercise, code))
            assert (verdict.status, verdict.mistake) == (WRONG, misconception.name), verdict


@pytest.mark.parametrize("lesson, exercise", QUICK, ids=NAMES)
def test_every_unusual_but_right_solution_is_accepted(lesson: Lesson, exercise: Exercise):
    assert grade_observations(exercise, observe_all(exercise, exercise.reference)).status == RIGHT
    for name, solution in exercise.accepted.items():
        with forbidden_at_runtime(exercise.forbidden):  # also proves that no case itself calls what is forbidden
            observations = observe_all(exercise, solution)
        verdict = grade_observations(exercise, observations)
        assert verdict.status == RIGHT, f"{name}: {verdict.mistake}: {verdict.why}\n{verdict.example}"


JUDGED = [
    pytest.param(exercise, case, id=f"{lesson.name}-{exercise.name}-{case.name}")
    for lesson, exercise in EXERCISES
    for case in exercise.cases
    if case.judge is not None
]


@pytest.mark.parametrize("exercise, case", JUDGED)
def test_a_judge_says_the_same_of_what_a_worker_sends(exercise: Exercise, case: Case):
    """Tuples arrive as lists."""
    in_the_worker = Case(case.name, case.run, **copy.deepcopy(case.inputs))
    sent = observe(exercise.reference, in_the_worker).to_json()
    received = Observation.from_json(json.loads(json.dumps(sent)))
    assert judged(case, received).output == case.call(exercise.reference, copy.deepcopy(case.inputs))


RANDOM = [
    pytest.param(lesson, exercise, id=f"{lesson.name}-{exercise.name}")
    for lesson, exercise in EXERCISES
    if exercise.random_cases is not None
]


@pytest.mark.parametrize("lesson, exercise", RANDOM)
def test_what_a_worker_sends_cannot_be_known_without_solving_the_exercise(lesson: Lesson, exercise: Exercise):
    """A property that is computed in the worker ("fine") is the same for all seeds: any submission can send it."""
    sent = set()
    for seed in range(4):
        cases = [Case(case.name, case.run, **case.inputs) for case in exercise.random_cases(seed)]
        sent.add(json.dumps([observe(exercise.reference, case).to_json()["output"] for case in cases]))
    assert len(sent) > 1, f"{lesson.name}, {exercise.name}: compute the property in judge= (see AUTHORS.md)"


@pytest.mark.parametrize("lesson, exercise", EXERCISES, ids=NAMES)
def test_a_mistake_that_nobody_knows_is_rejected_without_a_name(lesson: Lesson, exercise: Exercise):
    def imports_nothing(*arguments):
        return math.pi  # noqa: F821

    verdict = grade_observations(exercise, observe_all(exercise, imports_nothing))
    assert (verdict.status, verdict.mistake) == (WRONG, "exception (NameError)")
    assert verdict.hint == "`math` is not imported in your file; add `import math` at its top."


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_the_parts_of_a_lesson_fit_together(lesson: Lesson):
    assert set(lesson.facts) >= {"Question", "Teaches", "Minutes"}
    stub, first = ast.parse(lesson.stub), 0
    for task in lesson.tasks:
        node = top_level(stub)[task.name]
        assert node.lineno > first, "EXERCISES are in the order of exercise.py"
        first = node.lineno
        assert task.hints and task.section in lesson.sections, task.section
        if isinstance(task, Exercise):
            assert len(task.misconceptions) >= 6 and len(task.accepted) >= 2
            assert ast.get_docstring(node), "the docstring states the task"
            assert {m.section for m in task.misconceptions} <= set(lesson.sections)
            assert all(observation.failure is None for observation in reference_observations(task))
            missing = [name for name in task.forbidden if "." in name and resolve_name(name) is None]
            assert not missing, f"forbidden, but there is no such function: {missing}"
            for m in task.misconceptions:
                assert len(m.why.split()) >= 5 and m.why.rstrip().endswith((".", "?", ")")), m.name
    assert re.search(r"further reading", lesson.path.read_text(encoding="utf-8"), re.IGNORECASE)
    assert any("predict(" in cell.text for cell in lesson.cells if cell.kind == "code"), "a prediction to make"
    assert 3 <= len(lesson.exercises) <= 7


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_the_untouched_stub_is_not_done_rather_than_wrong(lesson: Lesson):
    assert {verdict.status for verdict in check_source(lesson, lesson.stub, "exercise.py")} == {NOT_DONE}
