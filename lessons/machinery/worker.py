"""The process that runs a student's file (started by `worker_main.py`).

The job is a JSON file: lesson, exercises, the path of the student's file, and the limits of time and memory. The
worker runs each exercise on its cases and writes what it observes as JSON lines to its original standard output. It
does not grade: the process that reads these lines decides what is right, so nothing that a submission prints, patches
or invents here can make it pass, short of the right numbers.
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
from lessons.machinery.exercises import WALL_CLOCK_FACTOR, Exercise
from lessons.machinery.forbidden import forbidden_at_runtime, forbidden_names, guarded_import
from lessons.machinery.sandbox import install_audit_hook, limit_resources

MAX_PRINTED = 2_000  # characters of a case's output that are kept


class TimeLimitExceeded(BaseException):
    """A case took too long. Not an Exception, so that `except Exception` does not swallow it."""


class CapturedOutput(io.TextIOBase):
    """A standard output that keeps only the beginning."""

    def __init__(self):
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if len(self.text) < MAX_PRINTED:
            self.text = (self.text + text)[:MAX_PRINTED]
        return len(text)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimitExceeded in the running code when time is up (not on Windows, nor inside one long torch call).

    Processor time counts, so a busy machine fails nobody; code that only waits is stopped after several times as long.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number, frame):
        raise TimeLimitExceeded(f"still running after {seconds:g} seconds")

    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, WALL_CLOCK_FACTOR * seconds),
    )
    for timer, sign, time in timers:
        signal.signal(sign, ring)
        signal.setitimer(timer, time, 0.5)  # and again every half second, in case the code caught the first
    try:
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)


def main(job_file: str) -> None:
    """Run one job: first everything that needs privileges, then drop them, then run the student's code."""
    send = open_result_channel()
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    folder = Path(job_file).resolve().parent
    source, file = Path(job["source"]).read_text(encoding="utf-8"), str(folder / "exercise.py")

    torch.set_num_threads(1)
    torch.ones(2, requires_grad=True).sum().backward()  # make torch load now what it loads lazily
    lesson = Lesson(Path(job["lesson"]), job["seed"])
    exercises = [lesson.exercise(name) for name in job["exercises"]]

    drop_privileges(folder, job)
    send(kind="ready")
    printed = CapturedOutput()
    try:
        with redirect_stdout(printed), redirect_stderr(printed), time_limit(job["load_seconds"]):
            student = load(source, file, exercises)
    except BaseException as error:
        send(kind="import_failure", failure=vars(describe(error, file)), printed=printed.text)
    else:
        for exercise in exercises:
            run_exercise(exercise, getattr(student, exercise.name, None), file, send)
        send(kind="done")
    os._exit(0)  # skip the student's exit handlers and threads


def open_result_channel() -> Callable[..., None]:
    """Reserve the original standard output for results, and connect the code's input and output to the null device."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)

    def send(**message) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    return send


def drop_privileges(folder: Path, job: dict[str, Any]) -> None:
    """From here on, the process may only compute, read Python's own files, and write in its folder."""
    root = Path(__file__).resolve().parents[2]
    readable = [Path(path) for path in [sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)]]
    readable = [path for path in readable if path.resolve() != root]
    os.chdir(folder)
    sys.dont_write_bytecode, sys.argv = True, [str(folder / "exercise.py")]
    for name in [name for name in sys.modules if name.split(".")[0] == "lessons"]:
        del sys.modules[name]  # out of sight, so that it is not used by accident
    limit_resources(job["memory"], job["processor_seconds"])
    install_audit_hook(folder, [*readable, root / "llmasos"], hidden=[root / "lessons"])


def load(source: str, file: str, exercises: list[Exercise]) -> types.ModuleType:
    """Run the student's file as a module, which cannot import the library unless an exercise allows it."""
    rules = {name: why for exercise in exercises for name, why in forbidden_names(exercise).items() if "." not in name}
    rules = {
        name: why for name, why in rules.items() if all(name in forbidden_names(exercise) for exercise in exercises)
    }
    student = types.ModuleType("exercise")
    student.__file__ = file
    student.__dict__["__builtins__"] = {**vars(builtins), "__import__": guarded_import(__import__, rules)}
    exec(compile(source, file, "exec"), student.__dict__)
    return student


def run_exercise(exercise: Exercise, function: Any, file: str, send: Callable[..., None]) -> None:
    """Run one exercise on its cases, until one times out or turns out not to be done."""
    for number, case in enumerate(exercise.cases):
        send(kind="begin", exercise=exercise.name, case=number)
        printed = CapturedOutput()
        try:
            with redirect_stdout(printed), redirect_stderr(printed), forbidden_at_runtime(exercise):
                with time_limit(exercise.seconds):
                    observation = observe(
                        function, case, exercise.gradients, file, True, partial(getattr, printed, "text")
                    )
        except BaseException as error:  # the alarm fired between two lines of the grader
            observation = Observation(failure=describe(error, file), printed=printed.text)
        send(kind="observation", exercise=exercise.name, case=number, observation=observation.to_json())
        if observation.failure and observation.failure.kind in ("TimeLimitExceeded", "NotImplementedError"):
            break
