"""Grade many submissions, each in its own processes: none can stop the others, and the results are reproducible.

A submission is a folder (or a single file) with a student's files under their usual names, `03_attention.py`, at
any depth (see `hand_in.py`). With `--lesson N` a file may also be called `exercise.py` or anything else.
"""

import csv
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.machinery import confinement
from lessons.machinery.check import SIGNS, check_source, explain
from lessons.machinery.discovery import Lesson, lessons
from lessons.machinery.exercises import Exercise
from lessons.machinery.grading import (
    NOT_CHECKED,
    RIGHT,
    WRONG,
    Verdict,
    grade_observations,
    reference_observations,
)
from lessons.machinery.hand_in import ENDINGS, File, HandIn, by_student, files_of, find_hand_in
from lessons.machinery.runner import no_more_workers
from lessons.machinery.static_checks import parse_source, string_constant
from llmasos.errors import UserError

GRADER_FAILED = "grader failed"
FORMATS = ("table", "json", "csv", "gradescope")


@dataclass
class GradedSubmission:
    """One submission's verdicts in one lesson."""

    student: str
    lesson: Lesson
    verdicts: list[Verdict]
    source: str

    @property
    def score(self) -> float:
        return sum(verdict.score for verdict in self.verdicts)

    @property
    def max_score(self) -> float:
        return sum(verdict.task.points for verdict in self.verdicts)


def find_submissions(folder: Path, only: Lesson | None) -> list[tuple[str, Lesson, HandIn]]:
    """Read the submissions to grade into memory: (student, lesson, hand-in), sorted.

    Args:
        folder: a single submission if it directly contains a lesson's file; otherwise every entry is a submission.
        only: the one lesson to grade; None = every lesson that at least one student handed in.

    Raises:
        UserError: the folder does not exist or holds no submissions.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; pass the folder that holds the submissions.")
    wanted = [only] if only else lessons()
    here = [path.name for path in folder.iterdir() if path.is_file()]
    is_one = any(f"{lesson.name}{ending}" in here for lesson in wanted for ending in ENDINGS)
    is_one = is_one or only is not None and "exercise.py" in here
    entries = [folder] if is_one else [path for path in sorted(folder.iterdir()) if path.name[0] not in "._"]
    entries = [path for path in entries if path.is_dir() or path.name.lower().endswith((*ENDINGS, ".zip"))]
    students = by_student(entries, wanted)
    files = {student: [file for path in paths for file in files_of(path)] for student, paths in students.items()}
    found = {(student, lesson.name): find_hand_in(those, lesson, only is not None)
             for student, those in files.items() for lesson in wanted}  # fmt: skip
    present = [lesson for lesson in wanted if only or any(found[student, lesson.name] for student in files)]
    submissions = [
        (student, lesson, found[student, lesson.name] or HandIn("", not_handed_in(lesson, files[student])))
        for student in files
        for lesson in present
    ]
    if not submissions:
        names = ", ".join(f"{lesson.name}.py" for lesson in wanted[:3])
        raise UserError(f"{folder} holds no submissions: expected files such as {names}, one folder for each student.")
    return submissions


def not_handed_in(lesson: Lesson, files: list[File]) -> UserError:
    """The error for a student without a file for a lesson, which lists the files that are there instead."""
    names = ", ".join(str(file.path) for file in files[:5])
    return UserError(f"{lesson.name}.py was not handed in" + (f"; there are: {names}." if names else "."))


def grade(
    folder: Path,
    only: Lesson | None = None,
    jobs: int = 1,
    log: Callable[[str], None] = lambda line: None,
    seed: int | None = None,
) -> list[GradedSubmission]:
    """Grade all submissions of a folder, `jobs` at a time; the result depends on the seed, but not on `jobs`.

    Args:
        folder: the folder with the submissions.
        only: the lesson; None = every lesson that was handed in.
        jobs: the number of submissions to check in parallel.
        log: a function that is called with a line for every graded submission.
        seed: the seed of the random cases, which are the same for everybody; None = only the visible cases.
    """
    if lacking := confinement.missing():
        names = " and no ".join(lacking)
        log(f"Warning: this system has no {names}: only Python restricts submissions. See lessons/README.md.")
    submissions = find_submissions(folder, only)  # reads everything before any of it runs
    seeded = {lesson.name: Lesson(lesson.folder, seed) for _, lesson, _ in submissions}
    for lesson in seeded.values():
        for exercise in lesson.exercises:  # the reference results, computed once for all submissions
            reference_observations(exercise)
            grade_observations(exercise, [])

    def grade_item(item: tuple[str, Lesson, HandIn]) -> GradedSubmission:
        student, lesson, hand_in = item
        graded = grade_submission(student, seeded[lesson.name], hand_in)
        log(f"{student}, {lesson.name}: {graded.score:g} of {graded.max_score:g}")
        if graded.verdicts[0].mistake == GRADER_FAILED:  # so are all others
            log(f"{student}, {lesson.name}: {graded.verdicts[0].why}")
        return graded

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        try:
            return list(pool.map(grade_item, submissions))
        except BaseException:  # Ctrl-C, which only the main thread receives
            with no_more_workers():
                pool.shutdown(cancel_futures=True)
            raise


def grade_submission(student: str, lesson: Lesson, hand_in: HandIn) -> GradedSubmission:
    """Grade one hand-in. Every problem becomes a verdict; nothing is raised."""
    source = "" if isinstance(hand_in.source, UserError) else hand_in.source
    try:
        if isinstance(hand_in.source, UserError):
            raise hand_in.source
        verdicts = check_source(lesson, source, hand_in.name, helpers=hand_in.helpers)
    except UserError as error:
        verdicts = [Verdict(task, WRONG, "not handed in", str(error)) for task in lesson.tasks]
    except Exception as error:  # a bug in the grader must not cost the other students their grades
        why = f"the grader itself failed ({type(error).__name__}: {error}); please grade this one by hand."
        verdicts = [Verdict(task, NOT_CHECKED, GRADER_FAILED, why) for task in lesson.tasks]
    return GradedSubmission(student, lesson, verdicts, source)


# The four formats


def as_table(graded: list[GradedSubmission]) -> str:
    """Format one line per submission: a sign for each exercise, the points, and the names of the mistakes."""
    lines = []
    for lesson in {item.lesson.name: item.lesson for item in graded}.values():
        rows = [item for item in graded if item.lesson.name == lesson.name]
        width = max(10, *(len(item.student) for item in rows))
        lines.append(f"{lesson.number:02d} {lesson.title}:  " + ", ".join(task.name for task in lesson.tasks))
        for item in rows:
            marks = " ".join(SIGNS[verdict.status] for verdict in item.verdicts)
            faults = [v for v in item.verdicts if v.status in (WRONG, NOT_CHECKED)]
            remarks = dict.fromkeys(v.mistake or v.status for v in faults if v.mistake or v.status == NOT_CHECKED)
            points = f"{item.score:>4g} / {item.max_score:g}"
            lines.append(f"  {item.student:<{width}}  {marks}  {points}   {'; '.join(remarks)}".rstrip())
        lines.append("")
    if seeds := {item.lesson.seed for item in graded} - {None}:
        lines.append(f"With random cases; --seed {min(seeds)} repeats them.")
    return "\n".join(lines).rstrip() + "\n"


def as_csv(graded: list[GradedSubmission]) -> str:
    """Format one line per submission and exercise."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["student", "lesson", "exercise", "status", "score", "max_score", "mistake"])
    for item in graded:
        for v in item.verdicts:
            points = [f"{v.score:g}", f"{v.task.points:g}"]
            row = [item.student, item.lesson.name, v.task.name, v.status, *points, v.mistake]
            writer.writerow([defused(cell) for cell in row])
    return out.getvalue()


def defused(cell: str) -> str:
    """Make sure that no spreadsheet takes a cell for a formula: students control part of these texts."""
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def as_json(graded: list[GradedSubmission]) -> str:
    """Format all verdicts as JSON, with the feedback and the written answers."""
    return json.dumps([submission_as_json(item) for item in graded], indent=1, ensure_ascii=False) + "\n"


def submission_as_json(item: GradedSubmission) -> dict[str, Any]:
    """One submission as a JSON object."""
    exercises = [
        {
            "name": v.task.name, "status": v.status, "score": v.score, "max_score": v.task.points, "mistake": v.mistake,
            "feedback": explain(item.lesson, v), **written_answer(item, v),
        }
        for v in item.verdicts
    ]  # fmt: skip
    return {
        "student": item.student, "lesson": item.lesson.name, "seed": item.lesson.seed, "score": item.score,
        "max_score": item.max_score, "exercises": exercises,
    }  # fmt: skip


def written_answer(item: GradedSubmission, verdict: Verdict) -> dict[str, str]:
    """The student's written answer, for the teacher to read."""
    if isinstance(verdict.task, Exercise):
        return {}
    tree = parse_source(item.source, "")
    return {"answer": (string_constant(tree, verdict.task.name) or "") if hasattr(tree, "body") else ""}


def as_gradescope(items: list[GradedSubmission]) -> dict[str, Any]:
    """One submission (all its lessons) in the form of Gradescope's `results.json`."""
    tests = []
    with_seed = f" with --seed {items[0].lesson.seed}" if items and items[0].lesson.seed is not None else ""
    for item in items:
        for number, v in enumerate(item.verdicts, 1):
            answer = written_answer(item, v).get("answer", "")
            tests.append({
                "name": f"{item.lesson.number:02d} {v.task.name}",
                "number": f"{item.lesson.number}.{number}",
                "score": v.score,
                "max_score": v.task.points,
                "status": "passed" if v.status == RIGHT else "failed",
                "output": explain(item.lesson, v) + (f"\n\nYour answer:\n{answer}" if answer else ""),
                "output_format": "text",
                "visibility": "visible",
            })  # fmt: skip
    return {
        "score": sum(item.score for item in items),
        "output": f"Checked by llmasos{with_seed}. "
        "Each test states the exercise, the first failing case, and what to read again.",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def render(graded: list[GradedSubmission], format: str) -> dict[str, str]:
    """Render the results: {"": text}, or for Gradescope {student: text of results.json}."""
    if format != "gradescope":
        return {"": {"table": as_table, "json": as_json, "csv": as_csv}[format](graded)}
    texts = {}
    for student in dict.fromkeys(item.student for item in graded):
        results = as_gradescope([item for item in graded if item.student == student])
        texts[student] = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    return texts
