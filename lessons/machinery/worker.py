"""The process in which a student's file is run (started by `alone.py`).

JOB is a JSON file: which lesson, which exercises, where the student's file lies, how much time and memory there is. The
worker tries each exercise on its cases and writes what it observes, one line of JSON after another, to what was its
standard output when it began. It does not judge: right and wrong are decided by the process that reads these lines, so
that nothing a submission prints, patches or invents here can make it pass, short of the right numbers.
"""

import builtins
import io
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lessons.machinery.discovery import Lesson
from lessons.machinery.execution import Observation, describe, observe
from lessons.machinery.exercises import WAITING, Exercise
from lessons.machinery.forbidden import guarded_import, refused_at_run_time, rules_of
from lessons.machinery.sandbox import limit_resources, watch

MOST_PRINTED = 2_000  # characters of a case's output that are kept


class TimeUp(BaseException):
    """The time for a case is over. Not an Exception, so that `except Exception` does not swallow it."""


class Printed(io.TextIOBase):
    """A standard output that keeps the beginning only."""

    def __init__(self):
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if len(self.text) < MOST_PRINTED:
            self.text = (self.text + text)[:MOST_PRINTED]
        return len(text)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeUp in the code that runs when the time is over (not on Windows, nor inside one long torch call).

    What counts is processor time, so that a busy machine makes nobody fail; code that only waits is stopped too, after
    several times as long.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number, frame):
        raise TimeUp(f"still running after {seconds:g} seconds")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, WAITING * seconds))
    for timer, sign, time in timers:
        signal.signal(sign, ring)
        signal.setitimer(timer, time, 0.5)  # and again every half second, should the code have caught the first
    try:
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)


def main(job_file: str) -> None:
    """Carry out one job: first whatever needs rights, then give them up, then the student's code."""
    say = answer_channel()
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    folder = Path(job_file).resolve().parent
    source, file = Path(job["source"]).read_text(encoding="utf-8"), str(folder / "exercise.py")

    torch.set_num_threads(1)
    torch.ones(2, requires_grad=True).sum().backward()  # what torch loads at its first use, it loads now
    lesson = Lesson(Path(job["lesson"]))
    exercises = [lesson.exercise(name) for name in job["exercises"]]

    give_up_rights(folder, job)
    say(kind="ready")
    printed = Printed()
    try:
        with redirect_stdout(printed), redirect_stderr(printed), time_limit(job["load_seconds"]):
            student = load(source, file, exercises)
    except BaseException as error:
        say(kind="unloadable", failure=vars(describe(error, file)), printed=printed.text)
    else:
        for exercise in exercises:
            try_exercise(exercise, getattr(student, exercise.name, None), file, say)
        say(kind="done")
    os._exit(0)  # whatever the student's code has left behind ends here


def answer_channel() -> Callable[..., None]:
    """Keep what was standard output for answers, and give the code an output and an input that lead nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)

    def say(**message) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    return say


def give_up_rights(folder: Path, job: dict[str, Any]) -> None:
    """From here on this process may compute, read Python's own files, and write in its folder."""
    root = Path(__file__).resolve().parents[2]
    readable = [Path(path) for path in [sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)]]
    readable = [path for path in readable if path.resolve() != root]
    os.chdir(folder)
    sys.dont_write_bytecode, sys.argv = True, [str(folder / "exercise.py")]
    for name in [name for name in sys.modules if name.split(".")[0] == "lessons"]:
        del sys.modules[name]  # what is out of sight is not used by accident
    limit_resources(job["memory"], job["processor_seconds"])
    watch(folder, [*readable, root / "llmasos"], hidden=[root / "lessons"])


def load(source: str, file: str, exercises: list[Exercise]) -> types.ModuleType:
    """Run the student's file as a module, in which the library cannot be imported unless some exercise allows it."""
    rules = {name: why for exercise in exercises for name, why in rules_of(exercise).items() if "." not in name}
    rules = {name: why for name, why in rules.items() if all(name in rules_of(exercise) for exercise in exercises)}
    student = types.ModuleType("exercise")
    student.__file__ = file
    student.__dict__["__builtins__"] = {**vars(builtins), "__import__": guarded_import(__import__, rules)}
    exec(compile(source, file, "exec"), student.__dict__)
    return student


def try_exercise(exercise: Exercise, function: Any, file: str, say: Callable[..., None]) -> None:
    """Try one exercise on its cases, until the time is over or it turns out not to be done."""
    for number, case in enumerate(exercise.cases):
        say(kind="begin", exercise=exercise.name, case=number)
        printed = Printed()
        try:
            with redirect_stdout(printed), redirect_stderr(printed), refused_at_run_time(exercise):
                with time_limit(exercise.seconds):
                    seen = observe(function, case, exercise.gradients, file, True, partial(getattr, printed, "text"))
        except BaseException as error:  # the alarm rang between two lines of ours
            seen = Observation(failure=describe(error, file), printed=printed.text)
        say(kind="observation", exercise=exercise.name, case=number, seen=seen.to_json())
        if seen.failure and seen.failure.kind in ("TimeUp", "NotImplementedError"):
            break
