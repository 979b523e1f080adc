"""`pytest lessons/03_attention`: every exercise is a test, with the feedback of `python -m lessons check`.

It tests the student's file, `lessons/mine/03_attention.py`, or the stub if that file does not exist.
"""

from pathlib import Path

import pytest


def pytest_collect_file(file_path: Path, parent):
    """Collect a lesson's `checks.py` as a test file."""
    if file_path.name == "checks.py" and file_path.parent.name[:2].isdecimal():
        return LessonChecks.from_parent(parent, path=file_path)
    return None


class LessonChecks(pytest.File):
    """The exercises of one lesson; the student's file runs once for all of them."""

    def collect(self):
        from lessons.machinery.discovery import Lesson

        self.lesson, self.verdicts = Lesson(self.path.parent), None
        for task in self.lesson.tasks:
            yield ExerciseCheck.from_parent(self, name=task.name)

    def verdict(self, name: str):
        """The verdict on one exercise."""
        from lessons.machinery.check import check_source, read_student_file
        from lessons.machinery.workspace import Workspace

        if self.verdicts is None:
            path = Workspace.default().file(self.lesson)
            path = path if path.exists() else self.lesson.require("exercise.py")
            verdicts = check_source(self.lesson, read_student_file(path), path.name)
            self.verdicts = {verdict.task.name: verdict for verdict in verdicts}
        return self.verdicts[name]


class NotRight(Exception):
    """An exercise that is wrong or not done; the message is the feedback."""


class ExerciseCheck(pytest.Item):
    """One exercise as a test."""

    def runtest(self):
        from lessons.machinery.check import explain
        from lessons.machinery.grading import RIGHT

        verdict = self.parent.verdict(self.name)
        if verdict.status != RIGHT:
            raise NotRight(explain(self.parent.lesson, verdict))

    def repr_failure(self, excinfo):
        return str(excinfo.value) if isinstance(excinfo.value, NotRight) else super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, 0, f"{self.parent.lesson.name}: {self.name}"
