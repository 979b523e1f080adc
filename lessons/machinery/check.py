"""Check a student's file: from its text to a verdict on every exercise, and from each verdict to feedback."""

import ast
import textwrap
from pathlib import Path, PurePosixPath

from lessons.machinery.case_source import parse
from lessons.machinery.discovery import Lesson
from lessons.machinery.exercises import Exercise, WrittenAnswer
from lessons.machinery.grading import (
    NOT_CHECKED,
    NOT_DONE,
    RIGHT,
    WRONG,
    Verdict,
    grade_run,
    grade_written,
    section_location,
)
from lessons.machinery.hand_in import File, read, text_of
from lessons.machinery.runner import MEMORY_LIMIT, run_file
from lessons.machinery.static_checks import find_static_problem, is_not_done, parse_source
from llmasos.errors import UserError

SIGNS = {RIGHT: "✓", WRONG: "✗", NOT_DONE: "·", NOT_CHECKED: "?"}


def check_source(
    lesson: Lesson,
    source: str,
    filename: str,
    only: str | None = None,
    memory: int = MEMORY_LIMIT,
    helpers: dict[str, str] | None = None,
) -> list[Verdict]:
    """Check the exercises of a lesson.

    Args:
        lesson: the lesson.
        source: the text of the student's file.
        filename: the file's name in messages.
        only: the only exercise to check; None checks all.
        memory: the bytes of memory that the code may use.
        helpers: the modules handed in with the file: file name → text.

    Raises:
        UserError: the lesson has no exercise with that name.
    """
    tasks = lesson.tasks if only is None else [lesson.task(only)]
    tree = parse_source(source, filename)
    if not isinstance(tree, ast.Module):
        return [Verdict(task, WRONG, tree.mistake, tree.why) for task in tasks]
    stub = parse(lesson.stub)
    verdicts: dict[str, Verdict] = {}
    for task in tasks:
        if isinstance(task, WrittenAnswer):
            verdicts[task.name] = grade_written(task, tree, stub, filename)
        elif is_not_done(tree, task.name):
            verdicts[task.name] = Verdict(task, NOT_DONE, cases=len(task.cases))
        elif (fault := find_static_problem(tree, stub, task, filename)) is not None:
            verdicts[task.name] = Verdict(task, WRONG, fault.mistake, fault.why, fault.hint, cases=len(task.cases))
    to_run = [task for task in tasks if task.name not in verdicts]
    if to_run:
        run = run_file(source, lesson, [task.name for task in to_run], memory, helpers)
        for task in to_run:
            verdicts[task.name] = grade_run(task, run, source, filename)
    return [verdicts[task.name] for task in tasks]


def read_student_file(path: Path) -> str:
    """Read a student's file as Python would.

    Raises:
        UserError: the file is missing, too large, or not text.
    """
    text = text_of(File(PurePosixPath(path.name), read(path)))
    if isinstance(text, UserError):
        raise text
    return text


def explain(lesson: Lesson, verdict: Verdict) -> str:
    """The verdict as feedback for the student."""
    task, lines = verdict.task, []
    title = f"{SIGNS[verdict.status]} {task.name}"
    if verdict.status == RIGHT:
        cases = f"right in all {verdict.cases} cases" if verdict.cases > 1 else "right"
        cases = cases if isinstance(task, Exercise) else "answered"
        return "\n".join([f"{title}: {cases}", *("    " + note for note in verdict.notes)])
    if verdict.status == NOT_DONE:
        return f"{title}: not done yet.  {task.asks}"
    several = verdict.failing and verdict.cases > 1
    failing = f"wrong in {verdict.failing} of {verdict.cases} cases" if several else verdict.status
    lines += [f"{title}: {failing}", wrap("Task", task.asks)]
    if verdict.mistake and verdict.status == WRONG:
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
    if place := section_location(lesson, verdict.section):
        lines.append(wrap("Read again", place))
    return "\n".join(lines)


def wrap(title: str, text: str) -> str:
    """A titled, indented paragraph; explicit line breaks are kept."""
    first, *rest = text.splitlines() or [""]
    body = textwrap.fill(f"{title}: {first}", 110, initial_indent="    ", subsequent_indent="      ")
    return "\n".join([body, *("    " + line for line in rest)])
