"""Where a student's own work lives, so that nothing of it is ever lost.

`exercise.py` of a lesson is a stub that belongs to the course and is never edited: a `git pull` of a new edition meets
no conflict. The student works in a copy, `lessons/mine/03_attention.py`, which is made by the first `check`. It is an
ordinary file: it can be committed, or handed in. Progress (what was passed, which hints were read) and pictures are in
`runs/lessons/`, outside git. `new-term` moves all of it into `lessons/mine/backup/` before it begins anew.

The environment variable LLMASOS_LESSONS_HOME names another place for both.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.machinery.discovery import LESSONS, ROOT, Lesson
from llmasos.errors import UserError
from llmasos.storage import read_json, write_json, write_text


@dataclass(frozen=True)
class Workspace:
    """A student's folder of solutions, and the folder with progress and pictures."""

    mine: Path
    runs: Path

    @classmethod
    def default(cls) -> "Workspace":
        """`lessons/mine` and `runs/lessons`, or what the environment says."""
        home = os.environ.get("LLMASOS_LESSONS_HOME")
        if home:
            return cls(Path(home) / "mine", Path(home) / "runs")
        return cls(LESSONS / "mine", ROOT / "runs" / "lessons")

    def file(self, lesson: Lesson) -> Path:
        """The student's file for a lesson."""
        return self.mine / f"{lesson.name}.py"

    def start(self, lesson: Lesson) -> bool:
        """Make the student's file from the stub, unless there is one. Returns whether it was made."""
        if self.file(lesson).exists():
            return False
        stub = lesson.stub
        self.mine.mkdir(parents=True, exist_ok=True)
        write_text(self.file(lesson), stub)
        return True

    def new_term(self) -> Path | None:
        """Move all solutions and the progress aside. Returns where they are now; None if there was nothing."""
        old = [*sorted(self.mine.glob("*.py")), *sorted(self.mine.glob("*.ipynb")), *self.runs.glob("progress.json")]
        if not old:
            return None
        name, n = time.strftime("%Y-%m-%d-%H%M%S"), 1
        while (backup := self.mine / "backup" / (name if n == 1 else f"{name}-{n}")).exists():
            n += 1
        backup.mkdir(parents=True)
        for path in old:
            os.replace(path, backup / path.name) if path.parent == self.mine else move(path, backup / path.name)
        return backup

    def progress(self) -> dict[str, Any]:
        """Lesson → {"passed": [exercise, …], "hints": {exercise: how many were read}}."""
        path = self.runs / "progress.json"
        if not path.exists():
            return {}
        try:
            found = read_json(path)
            return {name: {"passed": [*kept["passed"]], "hints": {**kept["hints"]}} for name, kept in found.items()}
        except (UserError, KeyError, TypeError, ValueError, AttributeError):
            move(path, path.with_suffix(".damaged.json"))  # progress is worth less than being able to go on
            return {}

    def of(self, lesson: Lesson) -> dict[str, Any]:
        """The progress in one lesson."""
        return self.progress().get(lesson.name, {"passed": [], "hints": {}})

    def note(self, lesson: Lesson, passed: dict[str, bool] | None = None, hint: str | None = None) -> int:
        """Note which exercises passed or failed now, and that one more hint was read; returns how many there were."""
        everything = self.progress()
        here = everything.setdefault(lesson.name, {"passed": [], "hints": {}})
        for name, is_right in (passed or {}).items():
            here["passed"] = [other for other in here["passed"] if other != name] + ([name] if is_right else [])
        before = int(here["hints"].get(hint, 0))
        if hint is not None:
            here["hints"][hint] = before + 1
        self.runs.mkdir(parents=True, exist_ok=True)
        write_json(self.runs / "progress.json", everything)
        return before


def move(source: Path, target: Path) -> None:
    """Move a file, also to another disk."""
    target.write_bytes(source.read_bytes())
    source.unlink()
