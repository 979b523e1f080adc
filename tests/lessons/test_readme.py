"""The lessons' README: every command in it can be run, and the syllabus lists every lesson."""

import re
import shlex

import pytest
from lessons_helpers import tiny_lesson

from lessons.machinery import discovery
from lessons.machinery.commands import main, make_parser
from lessons.machinery.discovery import LESSONS, Lesson, lessons

README = (LESSONS / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|bash)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    (language, line)
    for language, block in BLOCKS
    for line in block.splitlines()
    if line.startswith("python -m lessons")
]


@pytest.mark.parametrize("line", [line for _, line in COMMANDS])
def test_the_parser_accepts_every_command(line):
    make_parser().parse_args(shlex.split(line, comments=True)[3:])


def test_every_command_runs_in_order(tmp_path, monkeypatch, capsys):
    """On a tiny lesson in place of lesson 3; the Gradescope command has absolute paths and is only parsed."""
    lesson = Lesson(tiny_lesson(tmp_path / "course", ["attention"]))
    lesson.path.write_text(
        lesson.path.read_text().replace("raise SystemExit", "print").replace('"double"', '"attention"')
    )
    monkeypatch.setattr(discovery, "LESSONS", tmp_path / "course")
    monkeypatch.setenv("LLMASOS_LESSONS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "submissions" / "anna").mkdir(parents=True)
    (tmp_path / "submissions" / "anna" / "90_tiny.py").write_text("def attention(x):\n    return x + x\n")
    for language, line in COMMANDS:
        arguments = [{"3": "90"}.get(word, word) for word in shlex.split(line, comments=True)[3:]]
        if language == "sh":
            assert main(arguments) == 0, line + capsys.readouterr().err
    assert "anna,90_tiny,attention,right" in (tmp_path / "grades.csv").read_text()
    assert list((tmp_path / "home" / "mine" / "backup").glob("*/90_tiny.py"))


def test_the_syllabus_lists_every_lesson():
    for lesson in lessons():
        assert f"| {lesson.number:02d} | [{lesson.title}]({lesson.name}/lesson.py)" in README
