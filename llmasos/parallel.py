"""Work on several processor cores at once."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

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
    """Like `map`, in n threads, for a function that spends its time outside of Python (as tiktoken does).

    The results come in the order of the items, of which at most 2n are read ahead.
    """
    items = iter(items)
    with ThreadPoolExecutor(n) as pool:
        waiting = deque(pool.submit(function, item) for item in itertools.islice(items, 2 * n))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))


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
