"""`python -m lessons …`: what a student and a teacher type."""

import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lessons.machinery.discovery import Lesson, find_lesson, lessons
from lessons.machinery.workspace import Workspace
from llmasos.cli.cli import ArgumentParser, run
from llmasos.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; without any, show the syllabus. Returns the exit status."""
    return run(dispatch, sys.argv[1:] if arguments is None else arguments)


def dispatch(arguments: Sequence[str]) -> int:
    """Read the arguments and call one of the functions below."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = make_parser().parse_args(arguments)
    return options.function(options) if options.command else syllabus()


def make_parser() -> ArgumentParser:
    """All commands and their flags."""
    parser = ArgumentParser(prog="python -m lessons", description="The course. Without a command: the syllabus.")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(dest="command", parser_class=ArgumentParser)

    def command(name: str, function, help: str, lesson: bool = True):
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(function=function)
        if lesson:
            made.add_argument("lesson", metavar="N", help="the lesson's number")
        return made

    made = command("run", run_command, "run a lesson: its code, its model, its pictures")
    made.add_argument("--mine", action="store_true", help="with your own parts in place of the library's")
    made.add_argument("--seed", type=int, help="another seed than the lesson's own")
    made = command("check", check_command, "check your solutions, and say what is wrong with them")
    made.add_argument("--only", metavar="NAME", help="one exercise only")
    made = command("hint", hint_command, "a hint for an exercise; one more each time")
    made.add_argument("name", metavar="NAME", help="the exercise")
    made = command("notebook", notebook_command, "write a lesson as a Jupyter notebook")
    made.add_argument("--out", type=Path, help="where to (default: lessons/mine/NN_name.ipynb)")
    made = command("grade", grade_command, "grade a folder of submissions", lesson=False)
    made.add_argument("folder", type=Path, metavar="DIR", help="a folder (or .py file) for each student")
    made.add_argument("--lesson", metavar="N", help="one lesson only; files may then have any name")
    made.add_argument("--format", default="table", choices=("table", "json", "csv", "gradescope"), help="of the result")
    made.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="how many at a time")
    made.add_argument("--out", type=Path, help="a file for the result; for gradescope and many students a folder")
    command("new-term", new_term_command, "begin anew; your solutions are kept in a backup", lesson=False)
    return parser


def syllabus() -> int:
    """The lessons, what each teaches, and how far the student is."""
    workspace = Workspace.default()
    progress = workspace.progress()
    print("The course, from counting words to models that write, understand and translate.\n")
    for lesson in lessons():
        passed = len(progress.get(lesson.name, {"passed": []})["passed"])
        print(f"  {lesson.number:02d}  {lesson.title}   [{passed}/{len(lesson.tasks)} exercises]")
        for fact in ("Question", "Teaches", "Minutes"):
            if fact in lesson.facts:
                print(textwrap.indent(textwrap.fill(f"{fact}: {lesson.facts[fact]}", 104), " " * 6))
        print()
    first = lessons()[0].number if lessons() else 1
    print("Read lessons/NN_name/lesson.py (or:  python -m lessons notebook N), then:")
    for line in ("run N", "check N", "hint N NAME", "run N --mine"):
        print(f"  python -m lessons {line.replace('N ', f'{first} ') if line.startswith('hint') else line}")
    return 0


def run_command(options) -> int:
    """Run a lesson."""
    from lessons.machinery.lesson_api import run_lesson

    lesson = find_lesson(options.lesson)
    if options.mine:
        say_if_started(Workspace.default(), lesson)
    run_lesson(lesson, options.mine, options.seed)
    return 0


def check_command(options) -> int:
    """Check the student's file. Returns 1 if something is wrong, 0 if not."""
    from lessons.machinery.check import check_source, explain, read_student_file
    from lessons.machinery.grading import NOT_DONE, RIGHT, WRONG

    lesson, workspace = find_lesson(options.lesson), Workspace.default()
    if options.only is not None:
        lesson.task(options.only)
    lesson.require("exercise.py")
    say_if_started(workspace, lesson)
    path = workspace.file(lesson)
    verdicts = check_source(lesson, read_student_file(path), path.name, options.only)
    for verdict in verdicts:
        print(explain(lesson, verdict) + "\n")
    workspace.note(lesson, {v.task.name: v.status == RIGHT for v in verdicts})
    n = {status: sum(v.status == status for v in verdicts) for status in (RIGHT, WRONG, NOT_DONE)}
    print(f"{n[RIGHT]} right, {n[WRONG]} wrong, {n[NOT_DONE]} not done yet, in {path}")
    return 1 if n[WRONG] else 0


def hint_command(options) -> int:
    """One more hint."""
    lesson, workspace = find_lesson(options.lesson), Workspace.default()
    task = lesson.task(options.name)
    before = min(workspace.note(lesson, hint=task.name), len(task.hints))
    for number, hint in enumerate(task.hints[: before + 1], 1):
        print(f"{number}. {hint}")
    if before + 1 < len(task.hints):
        print(f"\n({len(task.hints) - before - 1} more; ask again when you have tried.)")
    elif task.section in lesson.sections:
        print(f"\nThat was all. Read again: {lesson.place(task.section)}")
    return 0


def notebook_command(options) -> int:
    """Write a notebook."""
    from lessons.machinery.notebook import write_notebook

    lesson = find_lesson(options.lesson)
    path = options.out or Workspace.default().mine / f"{lesson.name}.ipynb"
    write_notebook(lesson, path)
    print(f"{path} is written; open it with Jupyter, VS Code or Colab.")
    return 0


def grade_command(options) -> int:
    """Grade submissions."""
    from lessons.machinery.grade import grade, written

    if options.jobs < 1:
        raise UserError(f"--jobs is {options.jobs}; it must be at least 1.")
    only = find_lesson(options.lesson) if options.lesson else None
    graded = grade(options.folder, only, options.jobs, say=lambda line: print(line, file=sys.stderr))
    texts = written(graded, options.format)
    if len(texts) > 1 and options.out is None:
        raise UserError(
            f"there are {len(texts)} submissions, and Gradescope wants a file for each: add --out FOLDER, or grade one."
        )
    for student, text in texts.items():
        if options.out is None:
            print(text, end="")
            continue
        path = options.out / f"{student}.json" if len(texts) > 1 else options.out
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def new_term_command(options) -> int:
    """Begin anew."""
    backup = Workspace.default().new_term()
    print(f"Your solutions and your progress are now in {backup}." if backup else "There was nothing to put away.")
    print("The next  python -m lessons check N  begins with a fresh stub.")
    return 0


def say_if_started(workspace: Workspace, lesson: Lesson) -> None:
    """Make the student's file if it is not there, and tell them."""
    if workspace.start(lesson):
        print(f"Your file for this lesson is {workspace.file(lesson)}; it was made from the stub. Solve it there.\n")
