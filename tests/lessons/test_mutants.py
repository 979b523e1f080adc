"""Mechanical mutants of right solutions, and random cases: what the cases of an exercise miss."""

import ast
import json

import pytest

from lessons.machinery import mutants as machinery
from lessons.machinery.commands import main
from lessons.machinery.discovery import Lesson, lessons
from lessons.machinery.grade import as_json, as_table, grade
from lessons.machinery.grading import RIGHT, WRONG, grade_observations, observe_all
from lessons.machinery.mutants import changed_sources, mutants, survivors

CHECKS = """
import random
import torch
from lessons.machinery.exercises import Case, Exercise, Misconception


def last(x, n):
    start = len(x) - n
    return x[start:]


def some(seed):
    size = random.Random(seed).randint(5, 9)
    return [Case("more", x=list(range(size)), n=3)]


wrong = [Misconception("all of it", lambda x, n: x, "You returned everything there is.", "Cut.", "1.1")]
EXERCISES = [
    Exercise("last", "The last n.", last, [Case("one of two", x=[1, 2], n=1)CASES], wrong, ["Slice."], "1.1",
             accepted={"negative": lambda x, n: x[-n:], "with an end": lambda x, n: x[len(x) - n:len(x)]},
             random_cases=some)]
"""
STUB = 'def last(x, n):\n    """1. The last n."""\n    raise NotImplementedError\n'


def lesson_in(folder, cases: str = "") -> Lesson:
    path = folder / "91_slices"
    path.mkdir(exist_ok=True)
    (path / "checks.py").write_text(CHECKS.replace("CASES", cases))
    (path / "exercise.py").write_text(STUB)
    (path / "lesson.py").write_text("# %% [markdown]\n# # 91 Slices\n#\n# ## 1.1 Cut\n")
    return Lesson(path)


@pytest.mark.parametrize("source, expected", [
    ("a < b", ["a < b → a <= b"]),
    ("x[1:n]", ["x[1:n] → x[2:n]", "x[1:n] → x[0:n]", "x[1:n] → x[:n]", "x[1:n] → x[1:]"]),
    ("a + b", ["a + b → a - b", "a + b → a", "a + b → b"]),
    ("-x", ["-x → x"]),
    ("a and b", ["a and b → a or b", "a and b → a", "a and b → b"]),
    ("x.sum(dim=0)", ["x.sum(dim=0) → x.mean(dim=0)", "x.sum(dim=0) → x.sum(dim=1)", "x.sum(dim=0) → x.sum(dim=-1)"]),
    ("sorted(x, reverse=True)", [
        "sorted(x, reverse=True) → x",
        "sorted(x, reverse=True) → sorted(x)", "sorted(x, reverse=True) → sorted(x, reverse=False)",
    ]),
    ("[a for a in x if a]", ["for a in x if a → for a in x"]),
    ("a if b else c", ["a if b else c → a", "a if b else c → c"]),
    ("0.5 * x", ["0.5 * x → 0.5 / x", "0.5 * x → 0.5", "0.5 * x → x", "0.5 * x → 1.0 * x", "0.5 * x → 0.0 * x"]),
])  # fmt: skip
def test_changes_of_an_expression(source, expected):
    entry = ast.parse(f"lambda: ({source})", mode="eval").body
    changes = [change.replace("lambda: ", "") for change, _, _ in changed_sources(entry, [])]
    assert sorted(changes) == sorted(expected)


def test_changes_of_statements():
    """Lines are left out or swapped, except two that cannot influence each other."""
    source = "def f(x):\n    a = x[0]\n    b = x[1]\n    a += b\n    return a\n"
    changes = [change for change, _, _ in changed_sources(ast.Name("f", ast.Load()), ast.parse(source).body)]
    assert {"a += b → (nothing)", "a += b → a -= b", "b = x[1]; a += b → a += b; b = x[1]"} <= set(changes)
    assert not any(change.startswith("a = x[0]; b = x[1] →") for change in changes)


def test_a_missing_case_is_a_survivor_until_it_is_there_or_explained(tmp_path, monkeypatch, capsys):
    lesson = lesson_in(tmp_path)
    [exercise] = lesson.exercises
    alive = {(mutant.solution, mutant.change) for mutant in survivors(lesson, exercise)}
    assert {
        ("negative", "lambda x, n: x[-n:] → lambda x, n: x[n:]"),
        ("with an end", "len(x) - n:len(x) → len(x) - n:"),
    } <= alive
    assert len(list(mutants(lesson, exercise))) > len(alive) > 0
    fuller = lesson_in(tmp_path, ', Case("one of four", x=[1, 2, 3, 4], n=1)')
    remaining = survivors(fuller, fuller.exercises[0])
    assert {(m.solution, m.change) for m in remaining} < alive
    listed = {"last": {"the end is the default": [m.change for m in remaining]}}
    (fuller.folder / "equivalent_mutants.json").write_text(json.dumps(listed))
    assert survivors(fuller, fuller.exercises[0]) == []
    monkeypatch.setattr("lessons.machinery.commands.find_lesson", lambda number: fuller)
    assert main(["mutants", "91"]) == 0 and "0 unexplained survivors" in capsys.readouterr().out


def test_what_is_loaded_on_first_use_does_not_count_as_time_of_a_mutant(tmp_path, monkeypatch):
    lesson = lesson_in(tmp_path)
    [exercise] = lesson.exercises
    before = len(survivors(lesson, exercise))
    slow = "def last(x, n):\n    while not loaded and time.process_time() < END: pass\n    loaded.append(1)"
    checks = CHECKS.replace("CASES", "").replace("def last(x, n):", slow)
    (lesson.folder / "checks.py").write_text(f"import time\nloaded, END = [], time.process_time() + 0.1\n{checks}")
    monkeypatch.setattr(machinery, "SECONDS", 0.05)
    lesson = Lesson(lesson.folder)
    assert len(survivors(lesson, lesson.exercises[0])) >= before


def test_random_cases_find_a_table_of_the_visible_ones_and_are_the_same_for_a_seed(tmp_path):
    lesson, folder = lesson_in(tmp_path), tmp_path / "class"
    by_heart = {(1, 2): [2]}
    for one, status in ((lesson, RIGHT), (Lesson(lesson.folder, seed=7), WRONG)):
        [exercise] = one.exercises
        verdict = grade_observations(exercise, observe_all(exercise, lambda x, n: by_heart.get(tuple(x), x)))
        assert verdict.status == status, "the visible case is not enough"
    cases = [[case.inputs for case in Lesson(lesson.folder, seed).exercises[0].cases] for seed in (7, 7, 8)]
    assert cases[0] == cases[1] != cases[2]
    (folder / "table").mkdir(parents=True)
    (folder / "table" / "91_slices.py").write_text(f"def last(x, n):\n    return {by_heart}.get(tuple(x), x)\n")
    graded = grade(folder, lesson, seed=7)
    assert graded[0].score == 0 and "random, seed 7: more" in graded[0].verdicts[0].example
    assert "--seed 7" in as_table(graded) and json.loads(as_json(graded))[0]["seed"] == 7


@pytest.mark.slow
@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_every_mutant_that_breaks_a_promise_is_rejected(lesson: Lesson):
    alive = {exercise.name: [m.change for m in survivors(lesson, exercise)] for exercise in lesson.exercises}
    assert not any(alive.values()), alive
