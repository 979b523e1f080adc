"""Cells, notebooks, the student's files and progress, the commands, and pytest on a lesson."""

import json
import os
import re
import subprocess
import sys

import pytest
from lessons_helpers import SOLUTION_03, tiny_lesson

from lessons.machinery import discovery, lesson_api, pictures, runner
from lessons.machinery.cells import read_cells
from lessons.machinery.commands import main
from lessons.machinery.discovery import ROOT, Lesson, find_lesson, lessons
from lessons.machinery.notebook import notebook, write_notebook
from lessons.machinery.workspace import Workspace
from llmasos.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The home of a test student."""
    monkeypatch.setenv("LLMASOS_LESSONS_HOME", str(tmp_path / "home"))
    for name in (lesson_api.SEED, lesson_api.MINE, lesson_api.RESULTS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path / "home"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The tiny lesson as the only one in a course."""
    lesson = Lesson(tiny_lesson(tmp_path / "course"))
    monkeypatch.setattr(discovery, "LESSONS", tmp_path / "course")
    return lesson


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    """The exit status of a command, and its output and errors."""
    status = main(arguments)
    out = capsys.readouterr()
    return status, out.out, out.err


# A lesson's text


def test_cells(tmp_path):
    path = tmp_path / "lesson.py"
    path.write_text("# %% [markdown]\n# # Title\n#\n# text\n\n# %% [setup]\nx = 1\n# %%\n# a comment\nprint(x)\n")
    cells = read_cells(path)
    assert [(cell.kind, cell.text, cell.line) for cell in cells] == [
        ("markdown", "# Title\n\ntext", 2), ("setup", "x = 1", 7), ("code", "# a comment\nprint(x)", 9),
    ]  # fmt: skip
    path.write_text("# %% [markdown]\n# fine\nnot a comment\n")
    with pytest.raises(UserError, match="line 3: prose must be a comment"):
        read_cells(path)
    path.write_text("import os\n# %%\n")
    with pytest.raises(UserError, match="line 1"):
        read_cells(path)


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_no_line_in_the_middle_of_a_paragraph_looks_like_a_list_item(lesson):
    """Markdown would start a list at a line that happens to begin with a minus sign, or with "7."."""
    for cell in lesson.cells:
        before = ""
        for line in cell.text.split("\n") if cell.kind == "markdown" else ():
            in_list = not before or re.match(r" {2,}|[-+*] |\d+\. ", before)
            assert in_list or not re.match(r" {0,3}([-+*]|\d+[.)]) ", line), f"{before}\n{line}"
            before = line


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_a_lesson_states_the_number_and_the_sections_of_its_exercises(lesson):
    """Its last paragraph counts the exercises, and every "section N.M" in its files exists."""
    numbers = re.findall(
        r'(?:"""|# )(\d)(?= \((?:easy|medium|hard|break|open))', lesson.require("exercise.py").read_text("utf-8")
    )
    word = ("six", "seven", "eight")[len(numbers) - 6]
    assert re.search(rf"{word}\s+exercises", lesson.cells[-1].text), f"there are {word} exercises"
    for name in ("lesson.py", "exercise.py", "checks.py"):
        text = lesson.require(name).read_text("utf-8")
        for section in re.findall(rf"section\s(?:#\s)?({lesson.number}\.\d+)", text):
            assert section in lesson.sections, f"{name} mentions section {section}"


def test_header_and_sections(tiny):
    assert tiny.title == "Tiny" and tiny.facts["Question"] == "Why not?" and tiny.facts["Minutes"] == "1"
    assert tiny.sections == {"1.1": ("Twice", 9)}


def test_a_notebook_is_what_nbformat_4_5_wants(tiny, tmp_path):
    path = tmp_path / "tiny.ipynb"
    write_notebook(tiny, path)
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made == notebook(tiny) and (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in made["cells"]]
    assert len(set(ids)) == len(ids) and all(1 <= len(id) <= 64 for id in ids)
    for cell in made["cells"]:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | code
        assert all(line.endswith("\n") for line in cell["source"][:-1])
    text = "".join(line for cell in made["cells"] for line in cell["source"])
    assert "another setup" not in text and "google.colab" in text and "## 1.1 Twice" in text
    with pytest.raises(UserError, match="ends in .ipynb"):
        write_notebook(tiny, tmp_path / "tiny.txt")
    path.write_text("notes of a student")
    with pytest.raises(UserError, match="may contain your work"):
        write_notebook(tiny, path)
    assert path.read_text() == "notes of a student"


# The student's files


def test_work_is_never_lost(tiny, home):
    workspace = Workspace.default()
    assert workspace.start(tiny) and not workspace.start(tiny)
    file = workspace.file(tiny)
    assert file.read_text() == tiny.stub
    file.write_text("my work")
    file.with_suffix(".ipynb").write_text("my notes")
    assert not workspace.start(tiny) and file.read_text() == "my work"
    workspace.record(tiny, {"double": True})
    (workspace.mine / "helpers.py").write_text("my own file")
    first = workspace.reset()
    assert (workspace.mine / "helpers.py").read_text() == "my own file"
    assert (first / file.name).read_text() == "my work" and (first / "progress.json").exists()
    assert (first / "90_tiny.ipynb").read_text() == "my notes"
    assert not file.exists() and workspace.progress() == {} and workspace.reset() is None
    workspace.start(tiny)
    second = workspace.reset()
    assert second != first and (first / file.name).read_text() == "my work"


def test_progress(tiny, home):
    workspace = Workspace.default()
    workspace.record(tiny, {"double": True, "other": False})
    assert workspace.lesson_progress(tiny)["passed"] == ["double"]
    workspace.record(tiny, {"double": False})
    assert workspace.lesson_progress(tiny)["passed"] == []
    assert [workspace.record(tiny, hint="double") for _ in range(3)] == [0, 1, 2]
    (workspace.runs / "progress.json").write_text("{ damaged")
    assert workspace.progress() == {} and (workspace.runs / "progress.damaged.json").exists()
    (workspace.runs / "progress.json").write_text("[1]")
    assert workspace.progress() == {}
    assert {path.read_text() for path in workspace.runs.iterdir()} == {"{ damaged", "[1]"}


# The commands


def test_syllabus_check_and_hints(tiny, capsys, home):
    status, out, _ = said(capsys)
    assert status == 0 and "90  Tiny   [0/2 exercises]" in out and "Why not?" in out
    status, out, _ = said(capsys, "check", "90")
    assert status == 0 and "just created from the stub" in out and "2 not done yet" in out
    (home / "mine" / "90_tiny.py").write_text("def double(x):\n    return x + x\n\n\ndef other(x):\n    return x * x\n")
    status, out, _ = said(capsys, "check", "90")
    assert status == 1 and "✓ double" in out and "Mistake: squared" in out and "1 right, 1 wrong" in out
    assert "[1/2 exercises]" in said(capsys)[1]
    status, out, _ = said(capsys, "check", "90", "--only", "double")
    assert status == 0 and "other" not in out
    assert "1. Add it" in (out := said(capsys, "hint", "90", "double")[1]) and "x + x" not in out
    assert "2. x + x" in said(capsys, "hint", "90", "double")[1]
    assert "Read again" in said(capsys, "hint", "90", "double")[1]
    assert "backup" in said(capsys, "reset")[1] and "[0/2 exercises]" in said(capsys)[1]


def test_what_could_not_be_checked_is_neither_wrong_nor_forgotten(tiny, capsys, home, monkeypatch):
    """On a machine that is too busy to start Python in time, an exercise that was right before stays right."""
    Workspace.default().record(tiny, {"double": True})
    (home / "mine").mkdir(exist_ok=True)
    (home / "mine" / "90_tiny.py").write_text("def double(x):\n    return x + x\n\n\ndef other(x):\n    ...\n")
    monkeypatch.setattr(runner, "START_SECONDS", 0)
    status, out, _ = said(capsys, "check", "90", "--only", "double")
    assert "? double: not checked" in out and "Mistake" not in out and "less busy" in out
    assert status == 1 and "0 right, 0 wrong, 0 not done yet, 1 not checked, in" in out
    assert Workspace.default().lesson_progress(tiny)["passed"] == ["double"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["run", "99"], "there is no lesson 99; the lessons are 90"),
        (["check", "nonsense"], "there is no lesson nonsense"),
        (["check", "90", "--only", "doubel"], "has no exercise 'doubel'; did you mean 'double'?"),
        (["hint", "90", "x"], "has no exercise 'x'; it has: double, other"),
        (["chek", "90"], "command is 'chek'; it must be one of: "),
        (["chek", "90"], "did you mean 'check'?"),
        (["chekc", "90"], "chekc"),
        (["check"], "N"),
        (["run", "90", "--seed", "x"], "--seed"),
        (["run", "90", "--seed", "-1"], "--seed is -1; it must be a whole number"),
        (["grade", ".", "--seed", "9" * 30], "--seed is 9"),
    ],
)
def test_bad_input_is_one_sentence(tiny, capsys, arguments, words):
    status, out, err = said(capsys, *arguments)
    assert status == 2 and words in err and err.count("\n") == 1 and "Traceback" not in err


def test_files_that_are_gone_or_broken(tiny, capsys, home):
    tiny.path.write_text(tiny.path.read_text().replace("raise SystemExit", "print"))
    (home / "mine").mkdir(parents=True)
    mine = home / "mine" / "90_tiny.py"
    mine.write_bytes(b"\xff")
    assert "is not text that Python can read" in said(capsys, "check", "90")[2]
    mine.write_text("def double(x:\n    return x\n")
    status, out, err = said(capsys, "check", "90")
    assert status == 1 and "90_tiny.py, line 1" in out and "def double(x:" in out and not err
    assert "line 1" in said(capsys, "run", "90", "--mine")[2]
    mine.unlink()
    (tiny.folder / "exercise.py").unlink()
    status, _, err = said(capsys, "check", "90")
    assert status == 2 and "exercise.py is missing; restore it with:  git checkout" in err


# Running


def test_a_lesson_runs_with_the_students_parts(home, tmp_path, capsys, monkeypatch):
    lesson = Lesson(tiny_lesson(tmp_path / "course"))
    (home / "mine").mkdir(parents=True)
    mine, results = home / "mine" / "90_tiny.py", tmp_path / "results.jsonl"
    text = lesson.path.read_text().replace('raise SystemExit("the notebook has another setup")', "")
    lesson.path.write_text(text)
    lesson_api.run_lesson(lesson, results=results)
    assert "1.1 Twice\n─────" in (out := capsys.readouterr().out) and "4.000   (as expected: 4 ± 0.1)" in out
    mine.write_text("def double(x):\n    return 3 * x\n")
    lesson_api.run_lesson(lesson, mine=True)
    out = capsys.readouterr().out
    assert "double: using yours (it has not passed the checks" in out and "6.000   (NOT as expected" in out
    mine.write_text("def double(x):\n    raise NotImplementedError\n")
    lesson_api.run_lesson(lesson, mine=True)
    assert "using the library's (yours is not done yet)" in capsys.readouterr().out
    assert json.loads(results.read_text().splitlines()[0]) == {
        "name": "twice two", "value": 4, "expected": 4.0, "spread": 0.1,
    }  # fmt: skip


def test_pictures_as_text_and_as_png(home, capsys, monkeypatch):
    monkeypatch.setenv("LLMASOS_TEXT_PICTURES", "1")
    pictures.heatmap([[1.0, 0.0], [0.5, 0.5]], "ab", "ab", "Two by two", "map")
    assert "a  ██  " in (out := capsys.readouterr().out) and "Two by two" in out
    pictures.heatmap([[1.0, 0.0], [0.5, 0.5]], ["the", "a"], ["der", "Ei"], "Words", "words")
    assert "\n     d\n     e E\n     r i\nthe  ██  \n" in capsys.readouterr().out
    pictures.curves({"up": [(0, 1), (10, 3)], "down": [(0, 3), (10, 1)]}, "Two lines", "x", "y", "lines")
    out = capsys.readouterr().out
    assert "● up  ○ down" in out and "3.00 │○" in out
    pictures.choices(["cat", "dog"], [0.75, 0.25], {"one": [True, False], "both": [True, True]}, "Kept", "choices")
    assert "cat  0.75     ●     ●  ███" in (out := capsys.readouterr().out) and "dog  0.25     ·     ●  █" in out
    pictures.curves({str(i): [(0, i), (1, i)] for i in range(7)}, "Seven lines", "x", "y", "lines")
    assert len(set(capsys.readouterr().out.splitlines()[-1]) - set("0123456 ")) == 7, "a mark of its own for each"
    pictures.pieces({"one": ["The", "·mat"], "two": ["T", "he·mat"]}, "Cut twice", "cut")
    assert "one  The|·mat\ntwo  T|he·mat\n" in capsys.readouterr().out
    assert not home.exists()
    monkeypatch.delenv("LLMASOS_TEXT_PICTURES")
    pytest.importorskip("matplotlib")
    (home / "runs").mkdir(parents=True)
    (home / "runs" / "map.png").write_bytes(b"a picture of another program")
    pictures.heatmap([[1.0, 0.0], [0.5, 0.5]], "ab", "ab", "Two by two", "map")
    old = home / "runs" / "map.png.old"
    assert old.read_bytes() == b"a picture of another program" and "map.png.old" in capsys.readouterr().out
    old.unlink()
    pictures.heatmap([[1.0, 0.0], [0.5, 0.5]], "ab", "ab", "Two by two", "map")
    pictures.curves({"up": [(0, 1), (10, 3)]}, "A line", "x", "y", "lines")
    pictures.choices(["cat", "dog"], [0.75, 0.25], {"one": [True, False]}, "Kept", "choices")
    pictures.pieces({"one": ["The", "·mat"], "two": ["T", "he·mat"]}, "Cut twice", "cut")
    assert {path.name for path in (home / "runs").iterdir()} == {"map.png", "lines.png", "cut.png", "choices.png"}


@pytest.mark.slow
def test_pytest_on_a_lesson_gives_the_feedback(home):
    (home / "mine").mkdir(parents=True)
    wrong = SOLUTION_03.replace("/ math.sqrt(q.size(-1))", "")
    (home / "mine" / "03_attention.py").write_text(wrong, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "lessons/03_attention", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, text=True)
    assert "Mistake: scores are not scaled" in done.stdout and "2 failed, 5 passed" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout


# The lessons themselves


def stated_results(command, results, **options):
    """Run a lesson and compare each number that it states with the measured one. Returns its output."""
    environment = {**os.environ, lesson_api.RESULTS: str(results), "PYTHONUTF8": "1"} | options.pop("environment", {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert found, "a lesson states results"
    for one in found:
        assert abs(one["value"] - one["expected"]) <= one["spread"], one
    return done.stdout


@pytest.mark.lessons
@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_a_lesson_gives_the_numbers_that_it_states(lesson, tmp_path):
    """Run it like a notebook, from start to end, with all cells in one namespace."""
    cells = [cell for cell in notebook(lesson)["cells"] if cell["cell_type"] == "code"]
    script = tmp_path / "notebook.py"
    sources = ["".join(cell["source"]) for cell in cells]
    script.write_text(f"names = {{}}\nfor cell in {sources!r}:\n    exec(cell, names)\n", encoding="utf-8")
    said = stated_results([sys.executable, str(script)], tmp_path / "results.jsonl", cwd=ROOT / "lessons")
    assert "not done yet, in" in said, "the last cell checks the exercises"


@pytest.mark.lessons
def test_a_lesson_runs_as_a_script_too(tmp_path):
    lesson = find_lesson(3)
    text = {"environment": {"LLMASOS_TEXT_PICTURES": "1"}}
    stated_results([sys.executable, str(lesson.path)], tmp_path / "results.jsonl", cwd=tmp_path, **text)


@pytest.mark.lessons
def test_lesson_3_learns_with_the_attention_of_a_student(home, tmp_path):
    (home / "mine").mkdir(parents=True)
    (home / "mine" / "03_attention.py").write_text(SOLUTION_03, encoding="utf-8")
    results = tmp_path / "results.jsonl"
    lesson_api.run_lesson(find_lesson(3), mine=True, results=results)
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert all(abs(one["value"] - one["expected"]) <= one["spread"] for one in found) and len(found) == 4
