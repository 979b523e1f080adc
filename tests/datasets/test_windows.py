"""Windows of a token array: which tokens occur, how often and in which order."""

import numpy as np
import pytest

from llmasos.datasets import Windows
from llmasos.errors import UserError

SIZES = [(65, 64), (100, 64), (129, 64), (1000, 64), (1003, 7), (12, 3), (2, 1), (50, 1)]


def _windows(n: int, context_length: int) -> Windows:
    """Return windows over the tokens 0, 1, 2, …, so that a token is its position."""
    return Windows(np.arange(n, dtype=np.uint16), context_length)


def _epoch(windows: Windows, seed: int, epoch: int) -> np.ndarray:
    return windows.batch(seed, epoch * windows.windows_per_epoch, windows.windows_per_epoch)


@pytest.mark.parametrize("n, context_length", SIZES)
def test_an_epoch_has_each_target_at_most_once_and_omits_few(n, context_length):
    windows = _windows(n, context_length)
    for epoch in range(5):
        rows = _epoch(windows, 0, epoch)
        assert rows.shape == (windows.windows_per_epoch, context_length + 1) and rows.dtype == np.int64
        assert (np.diff(rows, axis=1) == 1).all(), "a window is a stretch of the text"
        targets = rows[:, 1:].ravel()
        assert len(np.unique(targets)) == len(targets)
        assert n - 1 - len(targets) < 2 * context_length


@pytest.mark.parametrize("n, context_length", SIZES)
def test_over_many_epochs_every_token_is_a_target(n, context_length):
    windows = _windows(n, context_length)
    seen = {int(token) for epoch in range(800) for token in _epoch(windows, 0, epoch)[:, 1:].ravel()}
    assert seen == set(range(1, n))


def test_epochs_and_seeds_differ_in_order_and_in_grid():
    windows = _windows(10_000, 10)
    epochs = [_epoch(windows, seed, epoch) for seed in range(3) for epoch in range(10)]
    assert len({tuple(rows[:, 0]) for rows in epochs}) == 30
    assert len({int(rows[0, 0]) % 10 for rows in epochs}) >= 6, "of ten grids thirty draws miss five with chance < 1e-5"


def test_an_example_depends_on_seed_and_index_alone():
    windows, fresh = _windows(1000, 8), _windows(1000, 8)
    expected = [windows.example(3, index).tolist() for index in range(400)]
    assert windows.windows_per_epoch < 400, "the test must cross epochs"
    for index in np.random.default_rng(0).permutation(400):  # in any order, with other seeds in between
        fresh.example(4, int(index))
        assert fresh.example(3, int(index)).tolist() == expected[index]
    for size in (1, 7, 400):
        batches = [windows.batch(3, first, min(size, 400 - first)) for first in range(0, 400, size)]
        assert np.concatenate(batches).tolist() == expected


def test_the_order_is_the_same_on_every_machine_and_in_every_numpy():
    windows = _windows(1000, 10)
    starts = [int(windows.example(seed, index)[0]) for seed in (0, 1) for index in (0, 1, 500)]
    assert starts == [111, 921, 342, 927, 607, 945], "runs that were interrupted would continue on other data"


@pytest.mark.parametrize("n, context_length", [*SIZES, (2, 64), (64, 64)])
def test_validation_has_every_token_but_the_first_as_target_once(n, context_length):
    rows = list(Windows(np.arange(n), context_length, "val").validation_windows())
    assert np.concatenate([row[1:] for row in rows]).tolist() == list(range(1, n))
    assert all(len(row) == context_length + 1 for row in rows[:-1]) and 2 <= len(rows[-1]) <= context_length + 1
    assert all((np.diff(row) == 1).all() for row in rows)


@pytest.mark.parametrize(
    "n, split, message",
    [
        (64, "train", "the train text has 64 tokens, but a context length of 64 needs at least 65; .* at most 63"),
        (1, "train", "has 1 tokens.*; give more text"),
        (0, "val", "the val text has 0 tokens, but .* needs at least 2; give more text"),
    ],
)
def test_a_short_text_reports_the_number_of_tokens_needed(n, split, message):
    with pytest.raises(UserError, match=message):
        Windows(np.arange(n), 64, split)


def test_memory_maps_are_read_and_not_copied(tmp_path):
    np.arange(1000, dtype=np.uint16).tofile(tmp_path / "a.bin")
    tokens = np.memmap(tmp_path / "a.bin", np.uint16, mode="r")
    windows = Windows(tokens, 10)
    assert np.shares_memory(windows.tokens, tokens)
    assert windows.example(0, 0).flags.writeable, "an example is a copy of its own"
