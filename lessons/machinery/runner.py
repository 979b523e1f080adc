"""Run a student's file in a worker process and return the observations, whatever the file does.

The worker has a time limit for every case. A function that does not return even when the alarm fires (an endless
call inside torch, or an `except` that swallows everything) is killed from here with all its child processes, and a new
worker continues with the remaining exercises. So an endless loop costs one exercise, not the others.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lessons.machinery.discovery import ROOT, Lesson
from lessons.machinery.execution import Failure, Observation
from lessons.machinery.exercises import WALL_CLOCK_FACTOR, Exercise
from lessons.machinery.forbidden import LIBRARY, LIBRARY_REASON, forbidden_names

MEMORY_LIMIT = 2 * 2**30  # bytes, on top of what torch itself uses
START_SECONDS = 90  # to import torch on a busy machine
LOAD_SECONDS = 5  # to import the student's file
GRACE_SECONDS = 3.0  # seconds between the alarm inside the worker and the kill from outside
SUBMISSION_SECONDS = 240  # for all exercises of one file together
MAX_OUTPUT = 32 * 2**20  # characters

running: set[subprocess.Popen] = set()  # the workers of all threads
stopping = threading.Event()


@dataclass
class RunResult:
    """The observations from running one file.

    Attributes:
        observations: exercise → the observations of its cases, up to where it stopped.
        import_failure: the reason why the file could not be imported, or None.
        printed: what the file printed during a failed import.
    """

    observations: dict[str, list[Observation]] = field(default_factory=dict)
    import_failure: Failure | None = None
    printed: str = ""


def run_file(
    source: str,
    lesson: Lesson,
    names: list[str],
    memory: int = MEMORY_LIMIT,
    helpers: dict[str, str] | None = None,
) -> RunResult:
    """Run the given exercises of a student's file on all their cases.

    Args:
        source: the text of the student's file.
        lesson: the lesson.
        names: the names of the exercises to run.
        memory: the bytes that it may use on top of torch's own use.
        helpers: the modules handed in with it: path → text.
    """
    run, remaining, deadline = RunResult(), list(names), time.monotonic() + SUBMISSION_SECONDS
    while remaining:
        if time.monotonic() > deadline:
            for name in remaining:
                run.observations[name] = [
                    Observation(failure=Failure("TimeLimitExceeded", "the whole file took too long"))
                ]
            break
        remaining = run_worker(source, lesson, remaining, memory, deadline, run, helpers)
        if run.import_failure:
            break
    return run


def run_worker(
    source: str,
    lesson: Lesson,
    names: list[str],
    memory: int,
    deadline: float,
    run: RunResult,
    helpers: dict[str, str] | None = None,
) -> list[str]:
    """Start one worker, add its observations to `run`, and return the exercises left for the next worker."""
    folder = Path(tempfile.mkdtemp(prefix="llmasos-check-")).resolve()
    try:
        exercises = [lesson.exercise(name) for name in names]
        job = {
            "exercises": [pack(exercise, lesson) for exercise in exercises], "source": source, "helpers": helpers or {},
            "allow_library": any(exercise.allow_library for exercise in exercises), "memory": memory,
            "load_seconds": LOAD_SECONDS, "processor_seconds": SUBMISSION_SECONDS,
        }  # fmt: skip
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        worker = subprocess.Popen(
            [sys.executable, "-m", "lessons.machinery.worker_main", str(folder / "job.json")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            env=clean_environment(folder), start_new_session=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        running.add(worker)
        try:
            left = [] if stopping.is_set() else listen(worker, lesson, names, deadline, run)
        finally:
            kill_worker(worker)
            running.discard(worker)
        if stopping.is_set():
            raise KeyboardInterrupt
        return left
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pack(exercise: Exercise, lesson: Lesson) -> dict[str, Any]:
    """Prepare an exercise for a worker: its cases as source, what is forbidden, and its limits, but no solutions."""
    rules, module = forbidden_names(exercise), getattr(exercise.reference, "__module__", "")
    if not exercise.allow_library and module.startswith(LIBRARY + "."):
        rules[f"{module}.{exercise.reference.__qualname__}"] = LIBRARY_REASON
    return {
        "name": exercise.name, "cases": lesson.case_sources[exercise.name], "seed": lesson.seed, "forbidden": rules,
        "gradients": exercise.gradients, "seconds": exercise.seconds,
    }  # fmt: skip


@contextmanager
def no_more_workers() -> Iterator[None]:
    """Kill workers while this context is open; the threads that wait for them end with KeyboardInterrupt."""
    stopping.set()
    for worker in list(running):
        kill_worker(worker)
    try:
        yield
    finally:
        stopping.clear()


def clean_environment(folder: Path) -> dict[str, str]:
    """The worker's environment variables: program paths, but nothing private."""
    kept = (
        "PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "VIRTUAL_ENV", "LLMASOS_LESSONS_LAYERS",
    )  # fmt: skip
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "HOME": str(folder), "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder),
    }  # fmt: skip


def listen(worker: subprocess.Popen, lesson: Lesson, names: list[str], deadline: float, run: RunResult) -> list[str]:
    """Record the worker's messages in `run`; return the exercises that it did not reach."""
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=read_lines, args=(worker, lines), daemon=True).start()
    timeout, current, left, is_ready = START_SECONDS, None, list(names), False
    while True:
        try:
            line = lines.get(timeout=max(0.1, min(timeout, deadline + GRACE_SECONDS - time.monotonic())))
        except queue.Empty:
            kind = "TimeLimitExceeded" if is_ready or time.monotonic() >= deadline else "NotStarted"
            return record_failure(run, left, current, Failure(kind, f"still running after {timeout:g} seconds"))
        if line is None:
            kill_worker(worker)
            return record_failure(run, left, current, Failure("ProcessDied", exit_reason(worker)))
        try:
            message = json.loads(line)
            kind = message["kind"]
            if kind == "done":
                return []
            if kind == "ready":
                is_ready = True
                timeout = WALL_CLOCK_FACTOR * LOAD_SECONDS + GRACE_SECONDS
            elif kind == "import_failure":
                observation = Observation.from_json({**vars(Observation()), **message})
                run.import_failure, run.printed = (
                    observation.failure or Failure("ProcessDied", "unreadable answer"),
                    observation.printed[:2000],
                )
                return []
            elif kind == "begin":
                if message["exercise"] != current and current in left:
                    left.remove(current)
                current = str(message["exercise"])
                timeout = WALL_CLOCK_FACTOR * lesson.exercise(current).seconds + GRACE_SECONDS
            elif kind == "observation":
                observation = Observation.from_json(message["observation"])
                run.observations.setdefault(str(message["exercise"]), []).append(observation)
        except (ValueError, KeyError, TypeError, RecursionError):
            return record_failure(run, left, current, Failure("ProcessDied", "the code wrote to the grader's channel"))


def record_failure(run: RunResult, left: list[str], current: str | None, failure: Failure) -> list[str]:
    """Record a failure for the current exercise, or for the whole file if none has begun; return the remaining ones."""
    if current is None:
        run.import_failure = failure
        return []
    run.observations.setdefault(current, []).append(Observation(failure=failure))
    return [name for name in left if name != current]


def read_lines(worker: subprocess.Popen, lines: "queue.Queue[str | None]") -> None:
    """Put the worker's lines into the queue, and None at the end or when it sends too much."""
    budget = MAX_OUTPUT
    try:
        while budget > 0 and (line := worker.stdout.readline(budget)):
            budget -= len(line)
            lines.put(line)
    except (OSError, ValueError):
        pass
    lines.put(None)


def exit_reason(worker: subprocess.Popen) -> str:
    """Why the process ended, judging by its exit status."""
    code = worker.returncode
    if code in (-signal.SIGSEGV, 256 - signal.SIGSEGV, -signal.SIGABRT, 256 - signal.SIGABRT):
        return "the whole process crashed; often it ran out of memory"
    if code in (-9, 247):
        return "the whole process was killed by the system; often it ran out of memory or processor time"
    return f"the code ended the whole process (exit status {code}) instead of returning"


def kill_worker(worker: subprocess.Popen) -> None:
    """Kill the worker and every process it started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(worker.pid, signal.SIGKILL)
        else:
            worker.kill()
    except (ProcessLookupError, PermissionError):
        pass
    worker.wait()
