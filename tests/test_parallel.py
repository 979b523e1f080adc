"""Maps over threads and processes: the results of `map` in the same order, without reading the whole input ahead."""

import os

import pytest

from llmasos import parallel
from llmasos.errors import UserError
from llmasos.parallel import map_in_processes, map_in_threads, python_processes, usable_cores


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


def test_a_process_that_dies_is_one_sentence():
    with pytest.raises(UserError, match="has ended too early; is there enough memory"):
        list(map_in_processes(os._exit, [3], 1))


def test_there_is_a_core():
    assert usable_cores() > 0
