"""Find the lessons and read their files.

A lesson is a folder `lessons/NN_name/` with `lesson.py`, `exercise.py` and `checks.py` (see AUTHORS.md).
"""

import ast
import importlib.util
import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import ModuleType

from lessons.machinery.case_source import case_source, parse
from lessons.machinery.cells import Cell, read_cells
from lessons.machinery.exercises import Exercise, WrittenAnswer
from llmasos.errors import UserError, nearest

LESSONS = Path(__file__).resolve().parents[1]
ROOT = LESSONS.parent
FACTS = ("Question", "Teaches", "Minutes")  # each is a line of the lesson's first cell: - **Question:** …


class Lesson:
    """One lesson; its files are read on demand.

    Args:
        folder: the lesson's folder, `lessons/NN_name`.
        seed: the seed of the random cases that are added to each exercise with `random_cases`; None = add none.
    """

    def __init__(self, folder: Path, seed: int | None = None):
        self.folder, self.seed = folder, seed
        self.name = folder.name  # "03_attention"
        self.number = int(folder.name[:2])

    @property
    def path(self) -> Path:
        """`lesson.py`."""
        return self.folder / "lesson.py"

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells of `lesson.py`."""
        return read_cells(self.require("lesson.py"))

    @cached_property
    def title(self) -> str:
        """The heading of the first cell, without its number."""
        matches = re.search(r"^# (?:\d+\W*)?(.+)$", self.cells[0].text, re.MULTILINE)
        return matches[1].strip() if matches else self.name[3:]

    @cached_property
    def facts(self) -> dict[str, str]:
        """Question, Teaches and Minutes, from the first cell."""
        pattern = r"^- \*\*(\w+):\*\* (.+?)(?=^- \*\*|^\s*$|^#|\Z)"
        matches = re.findall(pattern, self.cells[0].text, re.MULTILINE | re.DOTALL)
        return {name: " ".join(text.split()) for name, text in matches}

    @cached_property
    def sections(self) -> dict[str, tuple[str, int]]:
        """Number of a section → its heading and its line in `lesson.py`."""
        matches = {}
        for line_number, line in enumerate(self.path.read_text(encoding="utf-8").split("\n"), 1):
            if match := re.match(r"# #{2,3} (\d+\.\d+)\s+(.+)", line):
                matches[match[1]] = (match[2].strip(), line_number)
        return matches

    @cached_property
    def stub(self) -> str:
        """The text of `exercise.py`."""
        return self.require("exercise.py").read_text(encoding="utf-8")

    @cached_property
    def checks(self) -> ModuleType:
        """`checks.py` as a module."""
        path = self.require("checks.py")
        spec = importlib.util.spec_from_file_location(f"lessons_{self.name}_checks", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @cached_property
    def case_sources(self) -> dict[str, str]:
        """The part of `checks.py` that a worker gets: exercise → the source of its cases (see `case_source.py`)."""
        text = self.require("checks.py").read_text(encoding="utf-8")
        return {exercise.name: case_source(self.checks, text, exercise.name) for exercise in self.exercises}

    @cached_property
    def tasks(self) -> list[Exercise | WrittenAnswer]:
        """The EXERCISES of `checks.py`, in the order of `exercise.py`."""
        return [task if self.seed is None else add_random_cases(task, self.seed) for task in self.checks.EXERCISES]

    @cached_property
    def n_tasks(self) -> int:
        """The number of tasks. `checks.py` is only parsed, because running it would import torch."""
        text = self.require("checks.py").read_text(encoding="utf-8")
        listed = parse(text[text.index("\nEXERCISES = [") :]).body[0]
        assert isinstance(listed, ast.Assign) and isinstance(listed.value, ast.List)
        return len(listed.value.elts)

    @property
    def exercises(self) -> list[Exercise]:
        """The code exercises."""
        return [task for task in self.tasks if isinstance(task, Exercise)]

    def task(self, name: str) -> Exercise | WrittenAnswer:
        """The exercise with this name. Raises UserError if there is none."""
        for task in self.tasks:
            if task.name == name:
                return task
        names = [task.name for task in self.tasks]
        hint = nearest(name, names) or f"; it has: {', '.join(names)}."
        raise UserError(f"lesson {self.number:02d} has no exercise {name!r}{hint}")

    def exercise(self, name: str) -> Exercise:
        """The code exercise with this name."""
        return next(exercise for exercise in self.exercises if exercise.name == name)

    def require(self, name: str) -> Path:
        """The path of one of the lesson's files. Raises UserError if it is missing."""
        path = self.folder / name
        if not path.is_file():
            place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            raise UserError(f"{place} is missing; restore it with:  git checkout -- {place}")
        return path

    def place(self, section: str) -> str:
        """Where to find a section: file, line and heading."""
        heading, line = self.sections[section]
        return f"lessons/{self.name}/lesson.py, line {line}: {section} {heading}"


def add_random_cases(task: Exercise | WrittenAnswer, seed: int) -> Exercise | WrittenAnswer:
    """Append an exercise's random cases to its visible ones."""
    if not isinstance(task, Exercise) or task.random_cases is None:
        return task
    cases = task.random_cases(seed)
    for case in cases:
        case.name = f"random, seed {seed}: {case.name}"
    return replace(task, cases=[*task.cases, *cases])


def lessons() -> list[Lesson]:
    """All lessons by number."""
    folders = [path for path in LESSONS.iterdir() if re.fullmatch(r"\d\d_\w+", path.name) and path.is_dir()]
    return [Lesson(folder) for folder in sorted(folders)]


def find_lesson(number: str | int) -> Lesson:
    """The lesson with this number ("3", "03") or name ("03_attention", "attention").

    Raises:
        UserError: no lesson matches.
    """
    wanted, matches = str(number).strip().rstrip("/"), lessons()
    for lesson in matches:
        same_number = wanted.isdecimal() and int(wanted) == lesson.number
        if same_number or wanted in (lesson.name, lesson.name[3:]):
            return lesson
    numbers = ", ".join(f"{lesson.number:02d}" for lesson in matches)
    raise UserError(
        f"there is no lesson {wanted}; the lessons are {numbers}. Run  python -m lessons  to see what each is about."
    )
