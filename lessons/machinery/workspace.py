"""A student's files: where they are, so that no work is ever lost.

`exercise.py` of a lesson is a stub that belongs to the course and is never edited, so `git pull` never causes
conflicts. The student works in a copy, `lessons/mine/03_attention.py`, created by the first `check`. It is an
ordinary file that can be committed or handed in. Progress (passed exercises, hints read) and pictures are in
`runs/lessons/`, outside git. `reset` moves the files of the lessons into `lessons/mine/backup/`.

The environment variable LLMASOS_LESSONS_HOME overrides the location of both.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.machinery.discovery import LESSONS, ROOT, Lesson, lessons
from llmasos.errors import UserError
from llmasos.storage import read_json, write_json, write_text
from llmasos.storage.atomic import set_aside


@dataclass(frozen=True)
class Workspace:
    """A student's folder of solutions, and the folder with progress and pictures."""

    mine: Path
    runs: Path

    @classmethod
    def default(cls) -> "Workspace":
        """`lessons/mine` and `runs/lessons`, unless LLMASOS_LESSONS_HOME is set."""
        home = os.environ.get("LLMASOS_LESSONS_HOME")
        if home:
            return cls(Path(home) / "mine", Path(home) / "runs")
        return cls(LESSONS / "mine", ROOT / "runs" / "lessons")

    def file(self, lesson: Lesson) -> Path:
        """The student's file for a lesson."""
        return self.mine / f"{lesson.name}.py"

    def start(self, lesson: Lesson) -> bool:
        """Create the student's file from the stub unless it exists. Returns whether it was created."""
        if self.file(lesson).exists():
            return False
        stub = lesson.stub
        self.mine.mkdir(parents=True, exist_ok=True)
        write_text(self.file(lesson), stub)
        return True

    def reset(self) -> Path | None:
        """Move all solutions and the progress to a backup, but no other files that the student keeps with them.

        Returns:
            The backup folder, or None if there was nothing to move.
        """
        solutions = [self.mine / f"{lesson.name}{ending}" for lesson in lessons() for ending in (".py", ".ipynb")]
        old = [path for path in (*solutions, self.runs / "progress.json") if path.is_file()]
        if not old:
            return None
        name, n = time.strftime("%Y-%m-%d-%H%M%S"), 1
        while (backup := self.mine / "backup" / (name if n == 1 else f"{name}-{n}")).exists():
            n += 1
        backup.mkdir(parents=True)
        for path in old:
            shutil.move(path, backup / path.name)  # even across disks
        return backup

    def progress(self) -> dict[str, Any]:
        """Lesson → {"passed": [exercise, …], "hints": {exercise: number of hints read}}."""
        path = self.runs / "progress.json"
        if not path.exists():
            return {}
        try:
            stored = read_json(path)
            return {name: {"passed": [*entry["passed"]], "hints": {**entry["hints"]}} for name, entry in stored.items()}
        except (UserError, KeyError, TypeError, ValueError, AttributeError):
            damaged = path.with_suffix(".damaged.json")
            if damaged.exists():
                set_aside(damaged)
            path.rename(damaged)  # losing progress is better than not being able to continue
            return {}

    def lesson_progress(self, lesson: Lesson) -> dict[str, Any]:
        """The progress in one lesson."""
        return self.progress().get(lesson.name, {"passed": [], "hints": {}})

    def record(self, lesson: Lesson, passed: dict[str, bool] | None = None, hint: str | None = None) -> int:
        """Record which exercises passed, or that one more hint was read. Returns the number of hints read before."""
        progress = self.progress()
        entry = progress.setdefault(lesson.name, {"passed": [], "hints": {}})
        for name, is_right in (passed or {}).items():
            entry["passed"] = [other for other in entry["passed"] if other != name] + ([name] if is_right else [])
        before = int(entry["hints"].get(hint, 0))
        if hint is not None:
            entry["hints"][hint] = before + 1
        self.runs.mkdir(parents=True, exist_ok=True)
        write_json(self.runs / "progress.json", progress)
        return before
