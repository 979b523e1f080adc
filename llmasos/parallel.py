"""Work on several processor cores at once: in threads, or in processes if the work is pure Python.

A process here is a new Python that reads from a pipe. `multiprocessing` would run the user's script again in each of
them, and each would print its own traceback on Ctrl-C.
"""

import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from llmasos.errors import UserError

WORKER = "from llmasos.parallel import work; work()"
FUNCTION, ITEM = "function", "item"  # what is sent to a worker
LARGE_PIPE = 1 << 20  # bytes; with the 64 KiB of Linux, a sender waits until the receiver has stopped computing
MOST_LARGE_PIPES = 32  # all pipes of a user may have 64 MiB in total
Pipes = tuple[IO[bytes], IO[bytes]]  # the standard input and output of a process

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> float:
    """How many cores this process may use: its affinity, limited by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else min(cores, round(int(quota) / int(period), 1))
    except (OSError, ValueError):
        return cores


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], n: int) -> Iterator[Result]:
    """Like `map`, in n threads, for a function that spends its time outside Python (as tiktoken does).

    The results come in the order of the items, of which at most 2n are read ahead.
    """
    items = iter(items)
    with ThreadPoolExecutor(n) as pool:
        waiting = deque(pool.submit(function, item) for item in itertools.islice(items, 2 * n))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))


def map_in_processes(function: Callable[[Item], Result], items: Iterable[Item], n: int) -> Iterator[Result]:
    """Like `map`, in n processes. Function, items and results are pickled.

    The results come in the order of the items, of which at most 2n are read ahead.

    Raises:
        UserError: a process has died, for example because the system ran out of memory.
    """
    with map_processes(n) as map_in_them:
        yield from map_in_them(function, items)


@contextmanager
def map_processes(n: int) -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]]:
    """While open, n processes and a `map` in them, for one function after another: starting them takes a while.

        with map_processes(2) as map_in_them:
            list(map_in_them(str.upper, texts)), list(map_in_them(len, texts))

    All results of a function must be read before the next one is mapped. Raises as `map_in_processes` does.
    """
    with python_processes(WORKER, n) as processes:

        def map_in_them(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            items = iter(items)
            for stdin, _ in processes:
                send((FUNCTION, function), stdin)
            waiting: deque[IO[bytes]] = deque()
            turns = itertools.cycle(processes)
            for item in itertools.islice(items, 2 * n):
                stdin, stdout = next(turns)
                send((ITEM, item), stdin)
                waiting.append(stdout)
            while waiting:
                yield pickle.load(waiting.popleft())
                for item in itertools.islice(items, 1):
                    stdin, stdout = next(turns)
                    send((ITEM, item), stdin)
                    waiting.append(stdout)

        yield map_in_them


@contextmanager
def python_processes(program: str, n: int) -> Iterator[list[Pipes]]:
    """A context manager for n processes that run a Python program; on exit, all of them are ended.

    Ctrl-C in the terminal does not reach them: it stops the process that reads their results, which then ends them.

    Args:
        program: reads from standard input and writes to standard output.
        n: the number of processes.

    Raises:
        UserError: one of them has died while something was read from it or written to it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program]
    pipe_size = LARGE_PIPE if 2 * n <= MOST_LARGE_PIPES else -1  # -1: the system's default
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "pipesize": pipe_size}
    processes: list[subprocess.Popen] = []
    try:
        for _ in range(n):
            processes.append(subprocess.Popen(command, env=environment, start_new_session=True, **pipes))
        yield [(process.stdin, process.stdout) for process in processes]  # type: ignore[misc]
    except (EOFError, BrokenPipeError) as error:
        raise UserError("a process that helps this one has ended too early; is there enough memory?") from error
    finally:
        for process in processes:
            process.kill()  # after Ctrl-C, for example, they have not finished
            with suppress(OSError), process:  # closes the pipes and waits
                pass


def send(value: Any, pipe: IO[bytes]) -> None:
    """Pickle a value into a pipe."""
    pickle.dump(value, pipe)
    pipe.flush()


def work() -> None:
    """In a process of `map_processes`: read functions, each with its arguments after it, and write its results.

    A thread reads ahead. Otherwise there could be a deadlock: this process waits until its result is read, and the
    other one until its next item is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows sends Ctrl-C to it anyway
    messages: queue.SimpleQueue = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                messages.put(pickle.load(sys.stdin.buffer))
        except (EOFError, pickle.UnpicklingError):  # the sender has ended, perhaps in the middle of a message
            pass
        finally:
            messages.put(None)

    threading.Thread(target=read, daemon=True).start()
    with suppress(BrokenPipeError):  # nobody reads the results any more
        while (message := messages.get()) is not None:
            content, value = message
            if content == FUNCTION:
                function = value
            else:
                send(function(value), sys.stdout.buffer)
    os._exit(0)


def in_batches(items: Iterable[Item], size: Callable[[Item], int], at_least: int) -> Iterator[list[Item]]:
    """Group items into lists with at least this total size (the last one may be smaller), worth sending to a process.

    >>> list(in_batches(["a", "bcd", "e"], len, 3))
    [['a', 'bcd'], ['e']]
    """
    batch: list[Item] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= at_least:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
