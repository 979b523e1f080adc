"""Sampling options are checked when they are created, and their errors say what is wrong."""

import math

import pytest

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions

BAD = [
    ("max_new_tokens", 0), ("max_new_tokens", 2.5), ("max_new_tokens", True),
    ("temperature", -0.5), ("temperature", math.nan), ("temperature", math.inf), ("temperature", 1e-9),
    ("top_k", -3), ("top_k", 1.5),
    ("top_p", 1.1), ("top_p", -0.1), ("top_p", math.nan),
    ("min_p", 1.5), ("min_p", math.nan),
    ("repetition_penalty", 0.0), ("repetition_penalty", -1.0), ("repetition_penalty", math.nan),
    ("presence_penalty", 2.1), ("frequency_penalty", -2.1), ("presence_penalty", math.nan),
    ("stop", ("",)), ("stop", ("ok", "")), ("stop", 3), ("stop", None), ("seed", 1.5),
]  # fmt: skip


@pytest.mark.parametrize("name, value", BAD)
def test_an_option_that_makes_no_sense_is_named_with_its_value(name, value):
    with pytest.raises(UserError) as error:
        SamplingOptions(**{name: value})
    assert name in str(error.value) and str(value) in str(error.value)


def test_the_ends_of_each_range_are_allowed():
    SamplingOptions(max_new_tokens=1, temperature=0, top_k=1, top_p=1, min_p=1, repetition_penalty=0.5, seed=-1)
    assert not SamplingOptions(temperature=0.001, top_p=1e-9, min_p=1e-9).greedy


@pytest.mark.parametrize("name, value", [("top_k", 0), ("top_k", -1), ("top_p", 1), ("min_p", 0), ("min_p", 0.0)])
def test_the_number_that_means_off_is_off(name, value):
    """As in transformers, vLLM and OpenAI's API, where these numbers come from."""
    assert SamplingOptions(**{name: value}) == SamplingOptions()


def test_one_stop_string_may_be_given_bare():
    assert SamplingOptions(stop="END").stop == ("END",)
    assert SamplingOptions(stop=["a", "b"]).stop == ("a", "b")
