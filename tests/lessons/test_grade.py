"""Many submissions: a right table in bounded time, whatever they contain, and the formats for other programs."""

import csv
import gc
import io
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lessons_helpers import SOLUTION_03, tiny_lesson

from lessons.machinery import grade as grading
from lessons.machinery import runner
from lessons.machinery.case_source import parse
from lessons.machinery.commands import main
from lessons.machinery.discovery import ROOT, Lesson, find_lesson
from lessons.machinery.grade import as_csv, as_gradescope, as_json, as_table, find_submissions, grade, render
from llmasos.errors import UserError

DOUBLE = "def double(x):\n    return {}\n\n\ndef other(x):\n    return x + x\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Lesson(tiny_lesson(tmp_path_factory.mktemp("lesson")))


@pytest.fixture(scope="module")
def class_of_three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for name, double in (("anna", "2 * x"), ("bert", "x**2"), ("=cmd()", "open('/etc/passwd')")):
        (folder / name).mkdir()
        (folder / name / "90_tiny.py").write_text(DOUBLE.format(double))
    (folder / "dora").mkdir()  # handed in an empty folder
    (folder / "emil.py").write_bytes(b"\xff\xfe nonsense")
    (folder / ".git").mkdir()
    return folder


@pytest.fixture(scope="module")
def graded(tiny, class_of_three):
    return grade(class_of_three, tiny, jobs=2)


def test_the_table(graded):
    assert as_table(graded).splitlines() == [
        "90 Tiny:  double, other",
        "  =cmd()      ✗ ✓     1 / 2   outside an exercise's limits",
        "  anna        ✓ ✓     2 / 2",
        "  bert        ✗ ✓     1 / 2   squared",
        "  dora        ✗ ✗     0 / 2   not handed in",
        "  emil        ✗ ✗     0 / 2   not handed in",
    ]


def test_an_exception_adds_no_line_to_the_table(tiny, tmp_path):
    name = "E)\\n  bert   ✓ ✓     2 / 2"
    (tmp_path / "anna.py").write_text(
        f'def double(x):\n    raise type("{name}", (Exception,), {{}})\n\n\ndef other(x):\n    return x + x\n'
    )
    table = as_table(grade(tmp_path, tiny))
    assert len(table.splitlines()) == 2 and "E) bert" in table


def test_json_and_csv_say_the_same(graded):
    rows = list(csv.DictReader(io.StringIO(as_csv(graded))))
    everything = [(one["student"], e["name"], e["status"], e["mistake"])
                  for one in json.loads(as_json(graded)) for e in one["exercises"]]  # fmt: skip
    assert [(r["student"].lstrip("'"), r["exercise"], r["status"], r["mistake"]) for r in rows] == everything
    assert rows[0]["student"] == "'=cmd()", "no spreadsheet may run a student's name"


def test_gradescope_has_its_published_form(graded):
    """https://gradescope-autograders.readthedocs.io, "Output format"."""
    texts = render(graded, "gradescope")
    assert list(texts) == ["=cmd()", "anna", "bert", "dora", "emil"]
    result = json.loads(texts["bert"])
    top = {"score", "execution_time", "output", "visibility", "stdout_visibility", "extra_data", "tests", "leaderboard"}
    assert set(result) <= top
    assert result["score"] == sum(test["score"] for test in result["tests"]) == 1.0
    visibilities = {"hidden", "after_due_date", "after_published", "visible"}
    assert {result["visibility"], result["stdout_visibility"]} <= visibilities
    known = {"score", "max_score", "status", "name", "number", "output", "output_format", "tags", "visibility"}
    for test in result["tests"]:
        assert set(test) <= known and test["status"] in ("passed", "failed") and test["visibility"] in visibilities
        assert 0 <= test["score"] <= test["max_score"] and isinstance(test["output"], str) and test["name"]
    assert "squared" in result["tests"][0]["output"]
    assert as_gradescope([])["tests"] == []


@pytest.mark.slow
def test_the_result_does_not_depend_on_how_many_are_checked_at_a_time(tiny, class_of_three, graded):
    assert as_json(grade(class_of_three, tiny, jobs=1)) == as_json(graded)


@pytest.mark.slow
def test_a_bug_of_the_grader_costs_one_student_only(tiny, class_of_three, monkeypatch):
    original = grading.check_source

    def broken(lesson, source, where, helpers):
        if "x**2" in source:
            raise RuntimeError("a bug")
        return original(lesson, source, where, helpers=helpers)

    monkeypatch.setattr(grading, "check_source", broken)
    logged: list[str] = []
    table = as_table(grade(class_of_three, tiny, jobs=2, log=logged.append))
    assert any(line.startswith("bert") and "itself failed (RuntimeError: a bug)" in line for line in logged)
    assert "bert        ? ?     0 / 2   grader failed" in table and "anna        ✓ ✓" in table


def test_where_submissions_are_found(tmp_path):
    lesson = find_lesson(3)
    deep = tmp_path / "many" / "anna" / "repository" / "lessons" / "mine"
    deep.mkdir(parents=True)
    (deep / "03_attention.py").write_text("x")
    (deep / "backup").mkdir()
    (deep / "backup" / "03_attention.py").write_text("old")
    (tmp_path / "many" / "bert").mkdir()
    (tmp_path / "many" / "bert" / "homework.py").write_text("x")
    many = find_submissions(tmp_path / "many", None)
    assert [(student, hand_in.source) for student, _, hand_in in many][0] == ("anna", "x")
    assert "03_attention.py was not handed in; there are: homework.py." == str(many[1][2].source)
    assert find_submissions(tmp_path / "many", lesson)[1][2].name == "homework.py"
    assert [(student, where.name, hand_in.source) for student, where, hand_in in find_submissions(deep, None)] == [
        ("mine", "03_attention", "x")
    ]
    with pytest.raises(UserError, match="holds no submissions"):
        find_submissions(tmp_path / "many" / "bert", None)
    with pytest.raises(UserError, match="is not a folder"):
        find_submissions(tmp_path / "nowhere", None)


VARIANTS = {  # student → (the replaced text, its replacement, the signs in the table, the name of the mistake)
    "01-right": ("", "", "✓ ✓ ✓ ✓ ✓ ✓ ✓", ""),
    "02-unscaled": ("/ math.sqrt(q.size(-1))", "", "✓ ✓ ✗ ✗ ✓ ✓ ✓", "scores are not scaled"),
    "03-by-d": ("math.sqrt(q.size(-1))", "q.size(-1)", "✓ ✓ ✗ ✗ ✓ ✓ ✓", "scores are divided by D"),
    "04-inverted": ("masked_fill(~mask", "masked_fill(mask", "✓ ✓ ✗ ✗ ✓ ✓ ✓", "the mask is inverted"),
    "05-axis": ("softmax(dim=-1)", "softmax(dim=-2)", "✓ ✓ ✗ ✗ ✓ ✓ ✓", "softmax over the queries"),
    "06-leak": ("S - T, S)[:, None]", "S - T, S)[:, None] + 1", "✓ ✗ ✓ ✗ ✓ ✓ ✓", "one step into the future"),
    "07-strict": ("[None, :] <=", "[None, :] <", "✓ ✗ ✓ ✗ ✓ ✓ ✓", "no query sees itself"),
    "08-sum": ("total / (t + 1)", "total", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "a sum, not a mean"),
    "09-by-t": ("total / (t + 1)", "total / x.size(1)", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "divided by T everywhere"),
    "10-merge": ("out.transpose(1, 2).reshape", "out.reshape", "✓ ✓ ✓ ✗ ✓ ✓ ✓", "heads merged by view alone"),
    "11-no-output": ("reshape(B, T, C) @ w_o.T", "reshape(B, T, C)", "✓ ✓ ✓ ✗ ✓ ✓ ✓", "no output projection"),
    "12-x-at-w": ("x @ w.T)", "x @ w)", "✓ ✓ ✓ ✗ ✓ ✓ ✓", ""),
    "13-not-causal": ("attention(q, k, v, causal_mask(T, T))", "attention(q, k, v)", "✓ ✓ ✓ ✗ ✓ ✓ ✓", "not causal"),
    "14-same": ("a[[1, 0, 2]]", "a", "✓ ✓ ✓ ✓ ✗ ✓ ✓", "the same sequence twice"),
    "15-not-done": ("total, out = 0, []", "raise NotImplementedError", "· ✓ ✓ ✓ ✓ ✓ ✓", ""),
    "16-exception": ("total, out = 0, []", "total, out = 0", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "exception (TypeError)"),
    "17-syntax": ("total, out = 0, []", "total, out = (0, []", "✗ ✗ ✗ ✗ ✗ ✗ ✗", "syntax error"),
    "18-loops": ("total, out = 0, []", "while True: pass", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "it does not terminate"),
    "19-loops-first": ("import math", "import math\nwhile True: pass", "✗ ✗ ✗ ✗ ✗ ✓ ✓", "it does not terminate"),
    "20-forks": (
        "total, out = 0, []", "import os\n    while True: os.fork()", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "outside an exercise's limits",
    ),
    "21-reads": ("import math", "import math\nopen('/etc/passwd')", "✗ ✗ ✗ ✗ ✗ ✓ ✓", "outside an exercise's limits"),
    "22-prints": ("import math", "import math\nprint('x' * 2**20)", "✓ ✓ ✓ ✓ ✓ ✓ ✓", ""),
    "23-memory": ("total, out = 0, []", "torch.ones(10**10)", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "too much memory"),
    "24-exits": ("total, out = 0, []", "import os; os._exit(0)", "✗ ✓ ✓ ✓ ✓ ✓ ✓", "it ends the process"),
    "25-ready-made": (
        "scores = q @", "return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)\n    scores = q @",
        "✓ ✓ ✗ ✗ ✓ ✓ ✓", "not allowed",
    ),
    "26-library": ("import math", "import math\nimport llmasos", "✗ ✗ ✗ ✗ ✗ ✓ ✓", "not allowed"),
    "27-renamed": ("def causal_mask", "def my_causal_mask", "✓ ✗ ✓ ✗ ✓ ✓ ✓", "not there"),
    "28-detached": ("@ v\n", "@ v.detach()\n", "✓ ✓ ✗ ✗ ✓ ✓ ✓", "gradient does not flow"),
    "29-in-place": ("total, out = 0, []", "total, out = x[:, 0].mul_(0), []", "✗ ✓ ✓ ✓ ✓ ✓ ✓", ""),
    "30-silent": ("WHY_SAME =", "WHY =", "✓ ✓ ✓ ✓ ✓ ✗ ✓", "not there"),
}  # fmt: skip


def test_two_threads_may_parse_while_the_garbage_collector_runs_python():
    """`ast.parse` then fails in Python 3.11; Hypothesis, for one, has such a callback."""
    source = (ROOT / "lessons" / "03_attention" / "checks.py").read_text(encoding="utf-8")
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    gc.callbacks.append(switch := lambda *args: sum(range(1000)))
    sys.setswitchinterval(1e-5)
    gc.set_threshold(200)
    try:
        with ThreadPoolExecutor(2) as pool:
            trees = list(pool.map(parse, [source] * 100))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
        gc.callbacks.remove(switch)
    assert len(trees) == 100


@pytest.mark.lessons
def test_thirty_submissions(tmp_path, capsys):
    for student, (old, new, _, _) in VARIANTS.items():
        assert old in SOLUTION_03, student
        (tmp_path / student).mkdir()
        (tmp_path / student / "03_attention.py").write_text(SOLUTION_03.replace(old, new) if old else SOLUTION_03)
    start = time.monotonic()
    assert main(["grade", str(tmp_path), "--jobs", "2"]) == 0
    assert time.monotonic() - start < 30 * runner.SUBMISSION_SECONDS / 2
    captured = capsys.readouterr()
    lines = [line for line in captured.out.splitlines() if line[2:4].isdecimal()]
    assert len(lines) == 30 and "grader itself failed" not in captured.err, captured.err
    wrong = []
    for line, (student, (_, _, signs, mistake)) in zip(lines, VARIANTS.items(), strict=True):
        if not (student in line and signs in line and mistake in line):
            wrong.append(f"{line}   (expected {signs} {mistake})")
    assert not wrong, "\n".join(wrong)


def test_commands_of_a_teacher(tmp_path, capsys, class_of_three, tiny, graded, monkeypatch):
    assert main(["grade", str(tmp_path / "nowhere")]) == 2 and "is not a folder" in capsys.readouterr().err
    assert main(["grade", str(class_of_three), "--jobs", "0"]) == 2 and "at least 1" in capsys.readouterr().err
    assert main(["grade", str(class_of_three), "--format", "xml"]) == 2 and "xml" in capsys.readouterr().err
    monkeypatch.setattr("lessons.machinery.commands.find_lesson", lambda number: tiny)
    monkeypatch.setattr(grading, "grade", lambda folder, *_, **__: graded[1:2] if folder.name == "anna" else graded)
    arguments = ["grade", str(class_of_three), "--lesson", "90", "--format", "gradescope"]
    assert main(arguments) == 2 and "--out FOLDER" in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "anna.json").read_text())["score"] == 2.0
    one = ["grade", str(class_of_three / "anna"), "--lesson", "90", "--format", "gradescope"]
    assert main([*one, "--out", str(tmp_path / "results.json")]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["score"] == 2.0
    (tmp_path / "results.json").write_text("my notes")
    assert main([*one, "--out", str(tmp_path / "results.json")]) == 0
    assert (tmp_path / "results.json.old").read_text() == "my notes"
    assert "results.json.old" in capsys.readouterr().err
    assert main([*one, "--out", str(tmp_path / "results.json")]) == 0, "the same again"
    assert not (tmp_path / "results.json.old-2").exists()
    arguments = ["grade", str(class_of_three), "--out", str(tmp_path)]
    assert main(arguments) == 2 and "a folder; it must be a file" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals are those of POSIX")
def test_ctrl_c_ends_the_grading_and_its_workers(tmp_path, monkeypatch):
    codes = []

    def listen(worker, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        codes.append(worker.wait(60))
        return []

    monkeypatch.setattr(runner, "listen", listen)
    lesson = find_lesson("1")
    stub = (lesson.folder / "exercise.py").read_text(encoding="utf-8")
    for name in ("anna", "ben", "clara"):
        (tmp_path / f"{name}.py").write_text("while True:\n    pass\n" + stub.replace("raise NotImplementedError", "1"))
    with pytest.raises(KeyboardInterrupt):
        grade(tmp_path, lesson)
    assert codes == [-signal.SIGKILL], "the first worker was killed, and no other one was started"
    assert not runner.running and not runner.stopping.is_set()
