"""A value in the user's data is interpreted by its type, never by its `str` or its truth value."""

import numpy as np
import pytest
import torch

from llmasos.datasets.values import BadRow, filled_text, is_missing, to_bool, to_text, to_whole_number

NAType = type("NAType", (), {})  # pandas.NA is an object of a type with this name
PARTS = [{"type": "text", "text": "Hi"}, {"type": "input_text", "text": " there"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" fine ", " fine "), ("None", "None"), ("", ""), (0, "0"), (2.5, "2.5"), (True, "true"), (False, "false"),
        (np.int64(3), "3"), (np.float32(0.5), "0.5"), (np.str_("s"), "s"), (np.bool_(False), "false"),
        (torch.tensor(7), "7"), (None, ""), (float("nan"), ""), (np.float64("nan"), ""), (NAType(), ""),
        (PARTS, "Hi there"),
    ],
)  # fmt: skip
def test_a_value_becomes_the_text_that_its_type_says(value, text):
    assert to_text(value, "text") == text and type(to_text(value, "text")) is str
    assert is_missing(value) == (not text.strip())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "is a list, expected a text"), (["a"], "is a list"), ({"a": 1}, "is an object"), (b"x", "is bytes"),
        ([{"type": "image_url", "image_url": {}}], "has a part of the type 'image_url'; .* text only"),
        ("\ud83d", "holds half a character"), (np.array([1]), "is an object of the type ndarray"),
        ([{"type": "text", "text": ["a"]}], "is a list"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_a_bad_row(value, words):
    with pytest.raises(BadRow, match=f"the answer {words}"):
        to_text(value, "answer")


@pytest.mark.parametrize("value", [None, "", " \u2028", float("nan")])
def test_nothing_is_not_a_filled_text(value):
    with pytest.raises(BadRow, match="the label is empty"):
        filled_text(value, "label")


def test_whole_numbers_and_booleans_may_be_written_as_texts():
    assert [to_whole_number(v, "n") for v in (3, "3", " 3.0", np.int32(3), 10**17 + 1)] == [3, 3, 3, 3, 10**17 + 1]
    assert [to_bool(v, "b") for v in (True, "False", " true ", np.bool_(False))] == [True, False, True, False]


@pytest.mark.parametrize("value", [None, "x", 2.5, "nan", float("inf"), True, [3], "1e999"])
def test_what_is_no_whole_number_is_a_bad_row(value):
    with pytest.raises(BadRow, match="n is .*, expected a whole number"):
        to_whole_number(value, "n")


@pytest.mark.parametrize("value", [None, "", "no", 1, 0, [], ["true"]])
def test_what_is_neither_true_nor_false_is_a_bad_row(value):
    with pytest.raises(BadRow, match="b is .*, expected true or false"):
        to_bool(value, "b")
