"""`map_in_threads` is `map`: the same results in the same order, without reading the whole input ahead."""

import pytest

from llmasos.parallel import map_in_threads, usable_cores


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


def test_there_is_a_core():
    assert usable_cores() > 0
