"""Maps over threads and processes: the results of `map` in the same order, without reading the whole input ahead."""

import os
import pickle
import subprocess
import sys

import pytest

from llmasos import parallel
from llmasos.errors import UserError
from llmasos.parallel import map_in_processes, map_in_threads, map_processes, python_processes, usable_cores

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def test_results_come_in_order_and_items_are_read_as_they_are_needed():
    read = []
    items = (read.append(number) or number for number in range(1000))
    results = map_in_threads(lambda number: number * number, items, 3)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16] and len(read) < 15
    assert list(results) == [number * number for number in range(5, 1000)]


def test_an_error_is_raised_where_its_result_would_be():
    results = map_in_threads(lambda number: 1 // number, [1, 2, 0, 3], 2)
    assert [next(results), next(results)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_processes_give_what_map_gives_even_if_items_and_results_fill_every_pipe():
    read = []
    items = (read.append(number) or bytes([number]) * 200_000 for number in range(40))
    results = map_in_processes(bytes.upper, items, 2)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2] and len(read) < 9
    assert list(results) == [(bytes([number]) * 200_000).upper() for number in range(3, 40)]


def test_a_process_is_out_of_reach_of_ctrl_c_and_none_is_left_behind(monkeypatch):
    started = []
    popen = parallel.subprocess.Popen
    monkeypatch.setattr(parallel.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    groups = list(map_in_processes(os.getpgid, [0, 0, 0], 2))
    assert os.getpgrp() not in groups and len(set(groups)) == 2
    with pytest.raises(KeyboardInterrupt), python_processes("input()", 2):
        raise KeyboardInterrupt
    assert len(started) == 4 and all(process.returncode is not None for process in started)


def test_the_same_processes_map_one_function_after_another():
    with map_processes(3) as map_in_them:
        pids = [set(map_in_them(os.getsid, [0] * 9)) for _ in range(2)]  # each process leads a session of its own
        assert len(pids[0]) == 3 and pids[0] == pids[1]
        assert list(map_in_them(abs, range(-4, 4))) == [4, 3, 2, 1, 0, 1, 2, 3]
        assert list(map_in_them(abs, [])) == []


@pytest.mark.skipif(not hasattr(fcntl, "F_GETPIPE_SZ"), reason="only Linux sets the size of a pipe")
def test_a_megabyte_can_be_sent_to_a_process_that_does_not_read_unless_there_are_many(monkeypatch):
    with python_processes("input()", 1) as [(stdin, stdout)]:
        assert [fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) for pipe in (stdin, stdout)] == [1 << 20] * 2
        stdin.write(bytes((1 << 20) - 1))  # without waiting
        stdin.flush()
    monkeypatch.setattr(parallel, "MOST_LARGE_PIPES", 3)  # a user's pipes may have 64 MiB together
    with python_processes("input()", 2) as [(stdin, _), _]:
        assert fcntl.fcntl(stdin, fcntl.F_GETPIPE_SZ) < 1 << 20


@pytest.mark.parametrize("kept", [0, 1, 20, -1])
def test_a_process_ends_with_its_sender_even_in_the_middle_of_a_message(kept):
    message = pickle.dumps((parallel.ITEM, "x" * 100_000))
    command = [sys.executable, "-c", parallel.WORKER]
    ended = subprocess.run(command, input=pickle.dumps((parallel.FUNCTION, str.upper)) + message[:kept], timeout=60)
    assert ended.returncode == 0


def test_a_process_that_dies_is_one_sentence():
    with pytest.raises(UserError, match="has ended too early; is there enough memory"):
        list(map_in_processes(os._exit, [3], 1))


def test_there_is_a_core():
    assert usable_cores() > 0
