"""Check a student's file: from its text to a verdict for every exercise, and the verdict in words."""

import ast
import textwrap
from pathlib import Path

from lessons.machinery.discovery import Lesson
from lessons.machinery.exercises import Exercise, Written
from lessons.machinery.grading import (
    NOT_DONE,
    RIGHT,
    WRONG,
    Verdict,
    before_running,
    explain_place,
    is_not_done,
    judge,
    judge_written,
    read_source,
)
from lessons.machinery.runner import MEMORY, run_file
from llmasos.errors import UserError

LARGEST_FILE = 1_000_000  # characters in a student's file
SIGNS = {RIGHT: "✓", WRONG: "✗", NOT_DONE: "·"}


def check_source(
    lesson: Lesson, source: str, where: str, only: str | None = None, memory: int = MEMORY
) -> list[Verdict]:
    """The verdict on every exercise of a lesson.

    Args:
        lesson: which lesson.
        source: the text of the student's file.
        where: what to call the file.
        only: the one exercise to check; None = all.
        memory: bytes that the code may use.

    Raises:
        UserError: there is no exercise of that name.
    """
    tasks = lesson.tasks if only is None else [lesson.task(only)]
    tree = read_source(source, where)
    if not isinstance(tree, ast.Module):
        return [Verdict(task, WRONG, tree.mistake, tree.why) for task in tasks]
    stub = ast.parse(lesson.stub)
    verdicts: dict[str, Verdict] = {}
    for task in tasks:
        if isinstance(task, Written):
            verdicts[task.name] = judge_written(task, tree, stub, where)
        elif is_not_done(tree, task.name):
            verdicts[task.name] = Verdict(task, NOT_DONE, cases=len(task.cases))
        elif (fault := before_running(tree, stub, task, where)) is not None:
            verdicts[task.name] = Verdict(task, WRONG, fault.mistake, fault.why, fault.hint, cases=len(task.cases))
    to_run = [task for task in tasks if task.name not in verdicts]
    if to_run:
        run = run_file(source, lesson, [task.name for task in to_run], memory)
        for task in to_run:
            verdicts[task.name] = judge(task, run, source, where)
    return [verdicts[task.name] for task in tasks]


def read_student_file(path: Path) -> str:
    """The text of a student's file. Raises UserError if there is none, or it is no text."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes; a solution has a few thousand.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8 (byte {error.start}); save it again as UTF-8.") from None


def explain(lesson: Lesson, verdict: Verdict) -> str:
    """The verdict in words, as a student reads it."""
    task, lines = verdict.task, []
    title = f"{SIGNS[verdict.status]} {task.name}"
    if verdict.status == RIGHT:
        cases = f"right in all {verdict.cases} cases" if verdict.cases > 1 else "right"
        cases = cases if isinstance(task, Exercise) else "answered"
        return "\n".join([f"{title}: {cases}", *("    " + note for note in verdict.notes)])
    if verdict.status == NOT_DONE:
        return f"{title}: not done yet.  {task.asks}"
    several = verdict.failing and verdict.cases > 1
    failing = f"wrong in {verdict.failing} of {verdict.cases} cases" if several else "wrong"
    lines += [f"{title}: {failing}", wrap("Asked", task.asks)]
    if verdict.mistake:
        lines.append(wrap("Mistake", verdict.mistake))
    lines.append(wrap("Why", verdict.why))
    if verdict.example:
        lines.append("    The smallest example:")
        lines.append(textwrap.indent(verdict.example, "        "))
    if verdict.printed:
        lines.append("    Your code printed:")
        lines.append(textwrap.indent(verdict.printed.rstrip()[:500], "        | "))
    if verdict.hint:
        lines.append(wrap("Hint", verdict.hint))
    if place := explain_place(lesson, verdict.section):
        lines.append(wrap("Read again", place))
    return "\n".join(lines)


def wrap(title: str, text: str) -> str:
    """A titled paragraph, indented; what follows a line break stays a line of its own."""
    first, *rest = text.splitlines() or [""]
    body = textwrap.fill(f"{title}: {first}", 110, initial_indent="    ", subsequent_indent="      ")
    return "\n".join([body, *("    " + line for line in rest)])
