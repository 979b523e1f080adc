"""`python -m lessons …`: the command line for students and teachers."""

import os
import secrets
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from lessons.machinery.discovery import Lesson, find_lesson, lessons
from lessons.machinery.workspace import Workspace
from llmasos.arguments import user_path
from llmasos.cli.cli import ArgumentParser, run
from llmasos.errors import UserError, check_number
from llmasos.storage.atomic import set_aside, write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the given command; without one, show the syllabus. Returns the exit status."""
    return run(dispatch, sys.argv[1:] if arguments is None else arguments)


def dispatch(arguments: Sequence[str]) -> int:
    """Read the arguments and call one of the functions below."""
    options = make_parser().parse_args(arguments)
    if getattr(options, "seed", None) is not None:
        check_number("--seed", options.seed, whole=True, at_least=0, at_most=2**63 - 1)
    return options.function(options) if options.command else syllabus()


def make_parser() -> ArgumentParser:
    """All commands and their flags."""
    parser = ArgumentParser(prog="python -m lessons", description="The course. Without a command: the syllabus.")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(dest="command", parser_class=ArgumentParser)

    def command(name: str, function, help: str, lesson: bool = True):
        subparser = commands.add_parser(name, help=help, description=help)
        subparser.set_defaults(function=function)
        if lesson:
            subparser.add_argument("lesson", metavar="N", help="the lesson's number")
        return subparser

    subparser = command("run", run_command, "run a lesson: code, model and pictures")
    subparser.add_argument("--mine", action="store_true", help="use your own solutions instead of the library's code")
    subparser.add_argument("--seed", type=int, help="use this seed instead of the lesson's default")
    subparser = command("check", check_command, "check your solutions and explain what is wrong")
    subparser.add_argument("--only", metavar="NAME", help="check only this exercise")
    subparser = command("hint", hint_command, "show a hint for an exercise; one more each time")
    subparser.add_argument("name", metavar="NAME", help="the exercise")
    subparser = command("notebook", notebook_command, "write a lesson as a Jupyter notebook")
    subparser.add_argument("--out", type=user_path, help="output file (default: lessons/mine/NN_name.ipynb)")
    subparser = command("grade", grade_command, "grade a folder of submissions", lesson=False)
    subparser.add_argument(
        "folder", type=user_path, metavar="DIR", help="a folder with one folder (or .py file) per student"
    )
    subparser.add_argument("--lesson", metavar="N", help="grade only this lesson; files may then have any name")
    subparser.add_argument(
        "--format", default="table", choices=("table", "json", "csv", "gradescope"), help="output format"
    )
    subparser.add_argument(
        "--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="how many submissions to check in parallel"
    )
    subparser.add_argument(
        "--seed", type=int, help="seed of the random cases that are added to the visible ones (default: a new one)"
    )
    subparser.add_argument(
        "--out",
        type=user_path,
        help="output file; a folder for gradescope with several students; an existing file is renamed",
    )
    subparser = command("mutants", mutants_command, "for authors: which small changes of right solutions are accepted?")
    subparser.add_argument("--only", metavar="NAME", help="only this exercise")
    subparser = command("new", new_command, "for authors: begin a lesson with this number from the template")
    subparser.add_argument("name", metavar="NAME", help="the name of its folder, such as summaries")
    command("reset", reset_command, "start over; your solutions are kept in a backup", lesson=False)
    return parser


def syllabus() -> int:
    """Show the lessons, what each one teaches, and the student's progress."""
    workspace = Workspace.default()
    progress = workspace.progress()
    print("The course: from counting words to models that write, understand and translate.\n")
    for lesson in lessons():
        passed = len(progress.get(lesson.name, {"passed": []})["passed"])
        print(f"  {lesson.number:02d}  {lesson.title}   [{passed}/{lesson.n_tasks} exercises]")
        for fact in ("Question", "Teaches", "Minutes"):
            if fact in lesson.facts:
                print(textwrap.indent(textwrap.fill(f"{fact}: {lesson.facts[fact]}", 104), " " * 6))
        print()
    print("Read lessons/NN_name/lesson.py (or:  python -m lessons notebook N), then:")
    for line in ("run N", "check N", "hint N NAME", "run N --mine"):
        print(f"  python -m lessons {line}")
    return 0


def run_command(options) -> int:
    """Run a lesson."""
    lesson = find_lesson(options.lesson)
    from lessons.machinery.lesson_api import run_lesson  # here, so that a wrong number is reported without torch

    if options.mine:
        create_student_file(Workspace.default(), lesson)
    run_lesson(lesson, options.mine, options.seed)
    return 0


def check_command(options) -> int:
    """Check the student's file. Returns 1 if any exercise is wrong or could not be checked, otherwise 0."""
    lesson, workspace = find_lesson(options.lesson), Workspace.default()
    from lessons.machinery.check import check_source, explain, read_student_file  # here, as in `run_command`
    from lessons.machinery.grading import NOT_CHECKED, NOT_DONE, RIGHT, WRONG

    if options.only is not None:
        lesson.task(options.only)
    lesson.require("exercise.py")
    create_student_file(workspace, lesson)
    path = workspace.file(lesson)
    verdicts = check_source(lesson, read_student_file(path), path.name, options.only)
    for verdict in verdicts:
        print(explain(lesson, verdict) + "\n")
    workspace.record(lesson, {v.task.name: v.status == RIGHT for v in verdicts if v.status != NOT_CHECKED})
    n = {status: sum(v.status == status for v in verdicts) for status in (RIGHT, WRONG, NOT_DONE, NOT_CHECKED)}
    not_checked = f", {n[NOT_CHECKED]} not checked" if n[NOT_CHECKED] else ""
    print(f"{n[RIGHT]} right, {n[WRONG]} wrong, {n[NOT_DONE]} not done yet{not_checked}, in {path}")
    return 1 if n[WRONG] or n[NOT_CHECKED] else 0


def hint_command(options) -> int:
    """Show one more hint."""
    lesson, workspace = find_lesson(options.lesson), Workspace.default()
    task = lesson.task(options.name)
    before = min(workspace.record(lesson, hint=task.name), len(task.hints))
    for number, hint in enumerate(task.hints[: before + 1], 1):
        print(f"{number}. {hint}")
    if before + 1 < len(task.hints):
        print(f"\n({len(task.hints) - before - 1} more; run this again after you have tried.)")
    elif task.section in lesson.sections:
        print(f"\nThat was the last hint. Read again: {lesson.place(task.section)}")
    return 0


def notebook_command(options) -> int:
    """Write a notebook."""
    from lessons.machinery.notebook import write_notebook

    lesson = find_lesson(options.lesson)
    path = options.out or Workspace.default().mine / f"{lesson.name}.ipynb"
    write_notebook(lesson, path)
    print(f"Wrote {path}. Open it with Jupyter, VS Code or Colab.")
    return 0


def grade_command(options) -> int:
    """Grade submissions."""
    from lessons.machinery.grade import grade, render

    if options.jobs < 1:
        raise UserError(f"--jobs is {options.jobs}; it must be at least 1.")
    if options.out is not None and options.out.is_dir() and options.format != "gradescope":
        raise UserError(f"--out is {options.out}, a folder; it must be a file.")
    only = find_lesson(options.lesson) if options.lesson else None
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    graded = grade(options.folder, only, options.jobs, lambda line: print(line, file=sys.stderr), seed)
    texts = render(graded, options.format)
    if len(texts) > 1 and options.out is None:
        raise UserError(f"There are {len(texts)} submissions, and Gradescope needs one file each. Add --out FOLDER.")
    for student, text in texts.items():
        if options.out is None:
            print(text, end="")
            continue
        path = options.out / f"{student}.json" if len(texts) > 1 else options.out
        if (old := keep_old(path, text)) is not None:
            print(f"{path} existed; it is now {old}.", file=sys.stderr)
        write_text(path, text)
    return 0


def keep_old(path: Path, text: str) -> Path | None:
    """Rename a file that would be overwritten, unless it already has this text. Returns its new path, or None."""
    if not path.exists() or path.is_file() and path.read_bytes() == text.encode():
        return None
    return set_aside(path)


def mutants_command(options) -> int:
    """Change right solutions mechanically and show the mutants that all cases accept. Returns 1 if there are any."""
    lesson = find_lesson(options.lesson)
    from lessons.machinery.mutants import mutants, survivors  # here, as in `run_command`

    exercises = lesson.exercises if options.only is None else [lesson.exercise(lesson.task(options.only).name)]
    n_survivors = 0
    for exercise in exercises:
        alive = survivors(lesson, exercise)
        n_survivors += len(alive)
        print(
            f"{exercise.name}: {sum(1 for _ in mutants(lesson, exercise))} mutants, {len(alive)} unexplained survivors"
        )
        for mutant in alive:
            print(f"    {mutant.solution}:  {mutant.change}")
    return 1 if n_survivors else 0


def new_command(options) -> int:
    """Write a small lesson that has every part and protection, for an author to replace piece by piece."""
    from lessons.machinery.template import write_template

    folder = write_template(options.lesson, options.name)
    print(f"Wrote {folder}. Replace its example, as lessons/AUTHORS.md describes; then  python -m lessons mutants.")
    return 0


def reset_command(options) -> int:
    """Move all solutions to a backup and start over."""
    backup = Workspace.default().reset()
    print(
        f"Your solutions and your progress have been moved to {backup}." if backup else "There was nothing to back up."
    )
    print("The next  python -m lessons check N  starts from a fresh stub.")
    return 0


def create_student_file(workspace: Workspace, lesson: Lesson) -> None:
    """Create the student's file if it does not exist, and say so."""
    if workspace.start(lesson):
        print(f"Your file for this lesson is {workspace.file(lesson)}, just created from the stub. Solve it there.\n")
