"""Run a student's file in a worker process, and come back with what was observed, whatever the file does.

The worker has a time limit for every case. A function that does not come back even when its alarm rings (one endless
call inside torch, or an `except` that swallows everything) is ended from here, with all its descendants, and a new
worker goes on with the exercises that are left. So one endless loop costs one exercise and not the others.
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
from dataclasses import dataclass, field
from pathlib import Path

from lessons.machinery.discovery import ROOT, Lesson
from lessons.machinery.execution import Failure, Observation
from lessons.machinery.exercises import WAITING

MEMORY = 2 * 2**30  # bytes, on top of what torch itself takes
START_SECONDS = 90  # to import torch on a busy machine
LOAD_SECONDS = 5  # to import the student's file
GRACE = 3.0  # seconds between the alarm inside the worker and the end from outside
SUBMISSION_SECONDS = 240  # for all exercises of one file together
LONGEST_ANSWER = 32 * 2**20  # characters


@dataclass
class Run:
    """What was observed of one file.

    Attributes:
        observations: exercise → the observation of each case, as far as it came.
        unloadable: why the file could not be imported, if it could not.
        printed: what the file printed while it was imported, if it could not.
    """

    observations: dict[str, list[Observation]] = field(default_factory=dict)
    unloadable: Failure | None = None
    printed: str = ""


def run_file(source: str, lesson: Lesson, names: list[str], memory: int = MEMORY) -> Run:
    """Try the named exercises of a student's source text on all their cases.

    Args:
        source: the text of the student's file.
        lesson: which lesson it belongs to.
        names: which of its exercises to try.
        memory: bytes that it may use on top of what torch takes.
    """
    run, waiting, deadline = Run(), list(names), time.monotonic() + SUBMISSION_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            for name in waiting:
                run.observations[name] = [Observation(failure=Failure("TimeUp", "the whole file took too long"))]
            break
        waiting = one_worker(source, lesson, waiting, memory, deadline, run)
        if run.unloadable:
            break
    return run


def one_worker(source: str, lesson: Lesson, names: list[str], memory: int, deadline: float, run: Run) -> list[str]:
    """Start one worker, add what it observes to `run`, and return the exercises that a next one has to do."""
    folder = Path(tempfile.mkdtemp(prefix="llmasos-check-")).resolve()
    try:
        (folder / "exercise.py").write_text(source, encoding="utf-8")
        job = {
            "lesson": str(lesson.folder), "exercises": names, "source": str(folder / "exercise.py"), "memory": memory,
            "load_seconds": LOAD_SECONDS, "processor_seconds": SUBMISSION_SECONDS,
        }  # fmt: skip
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        worker = subprocess.Popen(
            [sys.executable, "-m", "lessons.machinery.worker_main", str(folder / "job.json")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            env=clean_environment(folder), start_new_session=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        try:
            return listen(worker, lesson, names, deadline, run)
        finally:
            end(worker)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean_environment(folder: Path) -> dict[str, str]:
    """What the worker gets to know of our environment: where programs lie, and nothing personal."""
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "HOME": str(folder), "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder),
    }  # fmt: skip


def listen(worker: subprocess.Popen, lesson: Lesson, names: list[str], deadline: float, run: Run) -> list[str]:
    """Note the worker's messages in `run`; return the exercises it has not come to."""
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=read_lines, args=(worker, lines), daemon=True).start()
    patience, current, left = START_SECONDS, None, list(names)
    while True:
        try:
            line = lines.get(timeout=max(0.1, min(patience, deadline + GRACE - time.monotonic())))
        except queue.Empty:
            return gave_up(run, left, current, Failure("TimeUp", f"no answer after {patience:g} seconds"))
        if line is None:
            end(worker)
            return gave_up(run, left, current, Failure("Died", how_it_died(worker)))
        try:
            message = json.loads(line)
            kind = message["kind"]
            if kind == "done":
                return []
            if kind == "ready":
                patience = WAITING * LOAD_SECONDS + GRACE
            elif kind == "unloadable":
                seen = Observation.from_json({**vars(Observation()), **message})
                run.unloadable, run.printed = seen.failure or Failure("Died", "unreadable answer"), seen.printed[:2000]
                return []
            elif kind == "begin":
                if message["exercise"] != current and current in left:
                    left.remove(current)
                current = str(message["exercise"])
                patience = WAITING * lesson.exercise(current).seconds + GRACE
            elif kind == "observation":
                seen = Observation.from_json(message["seen"])
                run.observations.setdefault(str(message["exercise"]), []).append(seen)
        except (ValueError, KeyError, TypeError, RecursionError):
            return gave_up(run, left, current, Failure("Died", "the code disturbed the channel of the grader"))


def gave_up(run: Run, left: list[str], current: str | None, failure: Failure) -> list[str]:
    """Note the failure for the exercise at work, or, before there was one, for the whole file; return what is left."""
    if current is None:
        run.unloadable = failure
        return []
    run.observations.setdefault(current, []).append(Observation(failure=failure))
    return [name for name in left if name != current]


def read_lines(worker: subprocess.Popen, lines: "queue.Queue[str | None]") -> None:
    """Put the worker's lines into the queue, and None at the end or when it sends far too much."""
    budget = LONGEST_ANSWER
    try:
        while budget > 0 and (line := worker.stdout.readline(budget)):
            budget -= len(line)
            lines.put(line)
    except (OSError, ValueError):
        pass
    lines.put(None)


def how_it_died(worker: subprocess.Popen) -> str:
    """Why the process is no longer there, as far as its exit status tells."""
    code = worker.returncode
    if code in (-signal.SIGSEGV, 256 - signal.SIGSEGV, -signal.SIGABRT, 256 - signal.SIGABRT):
        return "the whole process crashed; often it ran out of memory"
    if code in (-9, 247):
        return "the whole process was ended by the system; often it ran out of memory or processor time"
    return f"the code ended the whole program (exit status {code}) instead of returning"


def end(worker: subprocess.Popen) -> None:
    """End the worker and everything that it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(worker.pid, signal.SIGKILL)
        else:
            worker.kill()
    except (ProcessLookupError, PermissionError):
        pass
    worker.wait()
