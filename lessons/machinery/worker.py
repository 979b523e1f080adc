"""The process that runs a student's file (started by `worker_main.py`).

The job is JSON: the student's file, the exercises with the source of their cases, and limits of time and memory. The
worker runs each exercise on its cases and writes what it observes as JSON lines to its original standard output. It
does not grade, and has neither references nor misconceptions: the process that reads these lines decides what is
right, so nothing that a submission finds, prints, patches or invents here can make it pass, short of the right numbers.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lessons.machinery.execution import Observation, describe, observe
from lessons.machinery.exercises import WALL_CLOCK_FACTOR, Case
from lessons.machinery.forbidden import forbidden_at_runtime, guarded_import, places
from lessons.machinery.sandbox import confine, limit_resources

SDPA = "torch.nn.functional.scaled_dot_product_attention"
MAX_PRINTED = 2_000  # characters of a case's output that are kept


class TimeLimitExceeded(BaseException):
    """A case took too long. Not an Exception, so that `except Exception` does not swallow it."""


class CapturedOutput(io.TextIOBase):
    """A standard output that keeps only the beginning of the text."""

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

    The limit is on processor time, so nobody fails because the machine is busy; code that only waits is stopped after
    several times as long.
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
        signal.setitimer(timer, time, 0.5)  # and again every half second, in case the code has caught the first one
    try:
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)


@dataclass
class Assignment:
    """One exercise in a worker: its cases and rules, without solutions or misconceptions."""

    name: str
    cases: list[Case]
    forbidden: dict[str, str]
    gradients: bool
    seconds: float


def main(text: str, folder: Path) -> None:
    """Run one job: do everything that needs privileges, drop them, then run the student's code.

    Args:
        text: the job as JSON (see `runner.py`).
        folder: the worker's own folder.
    """
    send = open_result_channel()
    job = json.loads(text)
    file = str(folder / "exercise.py")
    for name, helper in {**job["helpers"], "exercise.py": job["source"]}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(helper, encoding="utf-8")

    torch.set_num_threads(1)
    with forbidden_at_runtime({SDPA: ""}):  # make torch do its lazy loading now: later it may not read these files
        torch.ones(2, requires_grad=True).sum().backward()
        torch.ones(2).to("meta") - torch.ones(2).to("meta")  # most operators on that device need what this one loads
    assignments = [unpack(exercise) for exercise in job["exercises"]]

    drop_privileges(folder, job)
    send(kind="ready")
    printed = CapturedOutput()
    try:
        with redirect_stdout(printed), redirect_stderr(printed), time_limit(job["load_seconds"]):
            student = load(job["source"], file, assignments)
    except BaseException as error:
        send(kind="import_failure", failure=vars(describe(error, file)), printed=printed.text)
    else:
        for assignment in assignments:
            run_exercise(assignment, getattr(student, assignment.name, None), file, send)
        send(kind="done")
    os._exit(0)  # skip the student's exit handlers and threads


def unpack(exercise: dict[str, Any]) -> Assignment:
    """Recreate an exercise from the job; its cases are made here, from their source."""
    module: dict[str, Any] = {"__name__": f"cases of {exercise['name']}"}
    exec(compile(exercise["cases"], module["__name__"], "exec"), module)
    cases, seed = module["CASES"], exercise["seed"]
    if seed is not None and module["random_cases"] is not None:
        cases = [*cases, *module["random_cases"](seed)]
    return Assignment(exercise["name"], cases, exercise["forbidden"], exercise["gradients"], exercise["seconds"])


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
    """Let the process only compute, read Python's own files, and write in its folder from now on."""
    os.chdir(folder)
    root = str(Path(__file__).resolve().parents[2])
    sys.dont_write_bytecode, sys.argv = True, [str(folder / "exercise.py")]
    if not job["allow_library"]:
        sys.path[:] = [path for path in sys.path if os.path.realpath(path or root) != root]
    sys.path.insert(0, str(folder))  # modules handed in beside the solution
    for name in [name for name in sys.modules if name.split(".")[0] == "lessons"]:
        del sys.modules[name]  # so that it is not used by accident
    limit_resources(job["memory"], job["processor_seconds"])
    confine(folder, job["allow_library"])


def load(source: str, file: str, assignments: list[Assignment]) -> types.ModuleType:
    """Run the student's file as a module, which cannot import the library unless an exercise allows it."""
    first, *others = [assignment.forbidden for assignment in assignments]
    rules = {name: why for name, why in first.items() if "." not in name and all(name in other for other in others)}
    student = types.ModuleType("exercise")
    student.__file__ = file
    student.__dict__["__builtins__"] = {**vars(builtins), "__import__": guarded_import(__import__, rules)}
    with forbidden_at_runtime(rules):
        exec(compile(source, file, "exec"), student.__dict__)
    places.cache_clear()
    return student


def run_exercise(assignment: Assignment, function: Any, file: str, send: Callable[..., None]) -> None:
    """Run one exercise on its cases, until one times out or turns out not to be done."""
    for number, case in enumerate(assignment.cases):
        send(kind="begin", exercise=assignment.name, case=number)
        printed = CapturedOutput()
        try:
            with redirect_stdout(printed), redirect_stderr(printed), forbidden_at_runtime(assignment.forbidden):
                with time_limit(assignment.seconds):
                    observation = observe(
                        function, case, assignment.gradients, file, True, partial(getattr, printed, "text")
                    )
        except BaseException as error:  # the alarm fired between two lines of this worker
            observation = Observation(failure=describe(error, file), printed=printed.text)
        try:
            message = observation.to_json()
        except Exception as error:  # inspecting the returned value failed
            message = Observation(failure=describe(error, file), printed=printed.text).to_json()
        send(kind="observation", exercise=assignment.name, case=number, observation=message)
        if observation.failure and observation.failure.kind in ("TimeLimitExceeded", "NotImplementedError"):
            break
