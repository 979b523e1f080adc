"""Prompts with examples, within a budget of tokens; and voting."""

import pytest

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.generation.prompts import prepare_prompt
from llmasos.prompting import FewShot, majority_vote
from llmasos.tokenizers import train_tokenizer

TASK = FewShot("Give the opposite.", ("Word", "Opposite"))
EXAMPLES = [("hot", "cold"), ("tall", "short"), ("old", "young")]
BYTES = train_tokenizer("byte", [])  # a token is a byte, so budgets can be counted


def test_all_examples_stand_in_their_order_if_they_fit():
    prompt = TASK.fit(BYTES, EXAMPLES, "dark", budget=1000)
    assert prompt.text == TASK.render(EXAMPLES, "dark") and prompt.n_dropped == 0
    assert prompt.n_tokens == len(prompt.text)
    places = [prompt.text.index(f"Word: {word}") for word in ("hot", "tall", "old", "dark")]
    assert places == sorted(places)


def test_the_first_examples_are_left_out_and_counted():
    whole = len(TASK.render(EXAMPLES, "dark"))
    for budget, n_dropped in ((whole, 0), (whole - 1, 1), (len(TASK.render(EXAMPLES[1:], "dark")) - 1, 2)):
        prompt = TASK.fit(BYTES, EXAMPLES, "dark", budget)
        assert prompt.n_dropped == n_dropped and prompt.text == TASK.render(EXAMPLES[n_dropped:], "dark")
        assert prompt.n_tokens <= budget
    bare = len(TASK.render([], "dark"))
    assert TASK.fit(BYTES, EXAMPLES, "dark", bare).n_dropped == 3
    with pytest.raises(UserError, match=f"the question has {bare} tokens without any example.*room for {bare - 1}"):
        TASK.fit(BYTES, EXAMPLES, "dark", bare - 1)


def test_the_token_that_begins_a_text_is_within_the_budget():
    tokenizer = train_tokenizer("byte", [])
    tokenizer.begin_of_text = tokenizer.end_of_text  # as a Llama's tokenizer has one
    whole = len(TASK.render(EXAMPLES, "dark"))
    for budget, n_dropped in ((whole + 1, 0), (whole, 1)):
        prompt = TASK.fit(tokenizer, EXAMPLES, "dark", budget)
        assert prompt.n_dropped == n_dropped
        assert prompt.n_tokens == len(prepare_prompt(tokenizer, prompt.text, 1000, SamplingOptions()).ids) <= budget


def test_something_must_stand_between_examples():
    with pytest.raises(UserError, match="the separator is empty"):
        FewShot(separator="")


def test_the_answer_stops_where_the_next_example_would_begin():
    prompt = TASK.fit(BYTES, EXAMPLES, "dark", 1000)
    continuation = " light\n\nWord: big\nOpposite: small"
    cut = min(continuation.index(stop) for stop in prompt.stop if stop in continuation)
    assert continuation[:cut] == " light"
    assert not prompt.text.endswith(" "), "the space belongs to the answer's first token"


def test_without_an_instruction_the_examples_come_first():
    assert FewShot().render([("1", "2")], "3") == "Input: 1\nOutput: 2\n\nInput: 3\nOutput:"


def test_the_most_frequent_answer_wins_and_the_first_of_equals():
    assert majority_vote(["b", "a", "a"]).answer == "a"
    assert majority_vote(["b", "a"]).answer == "b" and majority_vote(["b", "a"]).fraction == 0.5
    result = majority_vote(
        ["It is 7.", "It is 8.", "So, 7."], key=lambda answer: "".join(c for c in answer if c.isdigit())
    )
    assert result.answer == "It is 7." and result.counts == {"It is 7.": 2, "It is 8.": 1}
    with pytest.raises(ValueError):
        majority_vote([])
