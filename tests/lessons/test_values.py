"""Values are sent between processes unchanged, hostile ones are rejected, and "equal" means what a teacher means."""

import json
import math

import numpy as np
import pytest
import torch

from lessons.machinery.comparison import Opaque, decode, difference, encode, format_value


def sent(value):
    """Encode and decode a value."""
    return decode(json.loads(json.dumps(encode(value))))


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([[1.5, -2.0], [float("inf"), 0.0]]), torch.tensor(3), torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.arange(6).view(2, 3).T, torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        [1, 2.5, "a", None, True],
        {"a": torch.ones(2), "b": [torch.zeros(1)]}, (1, (2, 3)), np.float64(2.5), {(1, (2, 3)): b"\xff"}, {1, 2},
        np.array([[1.5], [2.0]]),
        torch.tensor(1.0, requires_grad=True), torch.tensor(7.0).expand(1), torch.tensor([7.0]).expand(3, 1),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_sent_arrives(value):
    assert difference(value, sent(value), 0.0, 0.0) is None
    if isinstance(value, torch.Tensor):
        assert sent(value).dtype == value.dtype


@pytest.mark.parametrize(
    "value",
    [object(), np.array(["a"]), torch.zeros(500_000), 10**40, [[[[[[[[[1]]]]]]]]], torch.zeros(2, device="meta"), open],
)
def test_what_cannot_be_compared_arrives_as_its_description(value):
    assert "Opaque" in repr(sent(value))


@pytest.mark.parametrize(
    "message",
    [
        ["tensor", "float32", [10**9], ""], ["tensor", "float32", [2], "AAAA"], ["tensor", "float32", [-1], "AAAA"],
        ["tensor", "object", [1], "AAAA"], ["tensor"], ["pickle", "x"], {"a": 1}, [], ["list", 3], ["dict", [[1]]],
        ["tensor", "float32", [2**40, 0], ""],
    ],
)  # fmt: skip
def test_a_hostile_message_is_an_exception_and_nothing_else(message):
    try:
        decode(message)
    except (ValueError, KeyError, TypeError, RuntimeError):
        return
    assert message[1] == "float32", "an empty tensor of an absurd shape is harmless"


@pytest.mark.parametrize(
    "expected, got",
    [
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.tensor([1.0]), torch.tensor([1.00005])),
        (torch.tensor(2), 2),
        (2.0, torch.tensor(2.0)),
        ([1, 2], (1, 2)),
        (torch.tensor([3]), torch.tensor([3], dtype=torch.int32)),
        (2.0, np.array(2.0)),
        (torch.tensor(2.0), np.array(2.0)),
        (math.inf, np.array(math.inf)),
        (math.nan, math.nan),
        ([1, 0.5], (True, np.float64(0.5))),
        (0.0, 0),
        (1.0, True),
        (b"ab", bytearray(b"ab")),
    ],
)
def test_these_are_equal(expected, got):
    assert difference(sent(expected), sent(got), 1e-3, 1e-4) is None


@pytest.mark.parametrize(
    "expected, got, kind, words",
    [
        (torch.ones(2, 3), torch.ones(3, 2), "shape", "another order"),
        (torch.ones(2), torch.ones(2, 1), "shape", "size 1"),
        (torch.tensor([True]), torch.tensor([1]), "dtype", "booleans"),
        (torch.tensor([1]), torch.tensor([1.0]), "dtype", "whole numbers"),
        (torch.ones(2), [1.0, 1.0], "type", "a list"),
        (torch.ones(2), None, "type", "return"),
        (torch.ones(2), Opaque("a NumPy array of shape (2,)"), "type", "NumPy"),
        (torch.ones(2), torch.tensor([1.0, float("nan")]), "values", "NaN"),
        ([1, 2], [1], "length", "1"),
        ({"a": 1}, {"b": 1}, "keys", "'b'"),
        ({"a": torch.ones(1)}, {"a": torch.zeros(1)}, "values", "['a']"),
        ("fine", "no", "values", "a different value"),
        (5000, 5001, "values", "a different value"),
        (torch.tensor([5000]), torch.tensor([5001]), "values", "different values"),
        (math.inf, 1e300, "values", "a different value"),
        (3, 3.0, "dtype", "a whole number is expected"),
        (True, 1, "dtype", "a truth value is expected"),
        (1.0, math.nan, "values", "NaN"),
    ],
)  # fmt: skip
def test_these_are_not_and_the_message_says_why(expected, got, kind, words):
    found = difference(expected, got, 1e-3, 1e-4)
    assert found.kind == kind and words in found.message


def test_a_person_sees_whole_numbers_or_two_decimals_and_the_matrix_that_differs():
    assert format_value(torch.tensor([[1.0, 2.0], [-3.0, 0.5]])) == "[   1    2]\n[  -3 0.50]"
    a, b = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    b[1, 2, 0, 1] = 5.0
    assert format_value(b, a).startswith("[1, 2] of shape (2, 3, 2, 2)") and "5" in format_value(b, a)
    assert "… 50 rows" in format_value(torch.zeros(50, 2))
    assert format_value(torch.tensor([True, False])) == "[T F]"
