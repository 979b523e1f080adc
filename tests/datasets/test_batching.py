"""Endless streams from lists: how often each item occurs, in which order, and how much padding bucketing saves."""

from collections import Counter

import numpy as np
import pytest
import torch

from llmasos.datasets.batching import Examples, by_length, pad
from llmasos.errors import UserError

SIZES = [(1, 1), (1, 8), (3, 8), (8, 8), (100, 7), (1000, 8), (1037, 4)]


def _skewed_lengths(n: int, seed: int = 0) -> np.ndarray:
    """Return lengths like those of sentences: many short ones and a few long ones."""
    return np.maximum(1, np.random.default_rng(seed).lognormal(2.5, 0.7, n)).astype(int)


def _stream(examples: Examples, seed: int, n: int, first: int = 0) -> list:
    return [examples.example(seed, index) for index in range(first, first + n)]


def _waste(lengths: np.ndarray, batch_size: int) -> float:
    """Return the fraction of padding in batches of these consecutive lengths."""
    batches = lengths[: len(lengths) // batch_size * batch_size].reshape(-1, batch_size)
    return float(1 - batches.sum() / (batches.max(axis=1) * batch_size).sum())


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_an_epoch_has_every_item_once_in_a_new_order(n):
    examples = Examples(range(n))
    epochs = [_stream(examples, 0, n, first=epoch * n) for epoch in range(6)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs) and len(examples) == n
    if n >= 10:
        assert len({tuple(epoch) for epoch in epochs}) == 6
        assert _stream(examples, 1, n) != epochs[0]


@pytest.mark.parametrize("n, batch_size", SIZES)
def test_a_bucketed_epoch_has_every_item_once_and_fewer_than_a_batch_twice(n, batch_size):
    examples = Examples(range(n), _skewed_lengths(n), batch_size)
    size = examples.examples_per_epoch
    assert size % batch_size == 0 and size - n < batch_size
    for epoch in range(4):
        times = Counter(_stream(examples, 0, size, first=epoch * size))
        assert set(times) == set(range(n))
        assert max(times.values()) <= -(-size // n), "the repeats are spread over the items"


def test_the_repeated_items_differ_between_epochs():
    examples = Examples(range(9), np.arange(9), 8)
    times = Counter(_stream(examples, 0, 200 * 16))
    assert all(250 < times[item] < 460 for item in range(9)), times  # 200 + 200 · 7 / 9 = 356 each


@pytest.mark.parametrize("n, batch_size", [(1000, 8), (1037, 8), (803, 4)])
def test_rows_of_a_step_are_one_bucket_in_every_epoch(n, batch_size):
    lengths = _skewed_lengths(n)
    examples = Examples(range(n), lengths, batch_size)
    size = examples.examples_per_epoch
    for epoch in range(3):
        rows = lengths[_stream(examples, 0, size, epoch * size)]
        assert _spread(rows, batch_size) < 0.2 * _spread(lengths, batch_size)


def _spread(lengths: np.ndarray, batch_size: int) -> float:
    """Return the mean difference between the longest and the shortest row of a batch."""
    batches = lengths[: len(lengths) // batch_size * batch_size].reshape(-1, batch_size)
    return float(np.ptp(batches, axis=1).mean())


def test_batches_are_in_random_order_of_length():
    lengths = _skewed_lengths(2000)
    examples = Examples(range(2000), lengths, 8)
    means = lengths[_stream(examples, 0, 2000)].reshape(-1, 8).mean(axis=1)
    position = np.arange(len(means))
    assert abs(np.corrcoef(position, means)[0, 1]) < 0.25, "sorted batches would train on short texts first"
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.25


def test_bucketing_removes_most_of_the_padding():
    lengths, batch_size = _skewed_lengths(6400), 32
    plain = lengths[_stream(Examples(range(6400)), 0, 6400)]
    bucketed = lengths[_stream(Examples(range(6400), lengths, batch_size), 0, 6400)]
    assert _waste(plain, batch_size) > 0.6, "72 % of a random batch is padding"
    assert _waste(bucketed, batch_size) < 0.1, "8 % of a bucketed one"
    assert _waste(np.array(by_length(lengths.tolist(), lengths)), batch_size) < 0.03


@pytest.mark.parametrize("lengths", [None, _skewed_lengths(103)])
def test_an_example_depends_on_seed_and_index_alone(lengths):
    examples, fresh = (Examples(range(103), lengths, 8) for _ in range(2))
    expected = _stream(examples, 3, 400)
    for index in np.random.default_rng(0).permutation(400):
        fresh.example(4, int(index))
        assert fresh.example(3, int(index)) == expected[index]


def test_the_order_is_the_same_on_every_machine_and_in_every_numpy():
    assert _stream(Examples(range(10)), 0, 12) == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9, 7, 4]
    assert _stream(Examples(range(10), range(10), 4), 0, 12) == [3, 3, 4, 5, 0, 1, 2, 2, 6, 7, 8, 9]


def test_equal_lengths_leave_random_batches():
    examples = Examples(range(400), [5] * 400, 4)
    batches = np.array(_stream(examples, 0, 400)).reshape(-1, 4)
    assert not any((np.diff(np.sort(batch)) == 1).all() for batch in batches)


def test_no_examples_and_wrong_lengths_are_refused():
    with pytest.raises(UserError, match="there are no examples to train on"):
        Examples([])
    with pytest.raises(ValueError, match="2 lengths for 3 items"):
        Examples("abc", [1, 2])


@pytest.mark.parametrize("make_row", [list, np.array, tuple, lambda row: np.array(row, dtype=np.uint16)])
def test_padding_keeps_the_rows_and_masks_the_rest(make_row):
    rows = [[1, 2, 3], [4], [0, 0, 0, 7, 0], [9, 9]]
    padded, attention_mask = pad([make_row(row) for row in rows], -100)
    assert (
        padded.shape == attention_mask.shape == (4, 5)
        and padded.dtype == torch.int64
        and attention_mask.dtype == torch.bool
    )
    assert [padded[i][attention_mask[i]].tolist() for i in range(4)] == rows
    assert (padded[~attention_mask] == -100).all()
    assert all(attention_mask[i].tolist() == [True] * len(row) + [False] * (5 - len(row)) for i, row in enumerate(rows))


def test_empty_rows_can_be_padded():
    padded, attention_mask = pad([[], [5]], 0)
    assert padded.tolist() == [[0], [5]] and attention_mask.tolist() == [[False], [True]]
    assert pad([[], []], 0)[0].shape == (2, 0)
