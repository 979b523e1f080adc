"""A conversation in a limited context: what is dropped, in which order, and how it is reported."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.errors import UserError
from llmasos.prompting import Conversation, Dropped, Message

SHOWN = [[Message("user", "2+2"), Message("assistant", "4")], [Message("user", "1+1"), Message("assistant", "2")]]


def n_letters(messages) -> int:
    return sum(len(message.content) for message in messages)


def talk(*said: str, system: str = "", examples=()) -> Conversation:
    """A conversation in which user and assistant take turns."""
    found = Conversation(system, list(examples))
    for number, text in enumerate(said):
        (found.answer if number % 2 else found.ask)(text)
    return found


def texts(conversation: Conversation) -> list[str]:
    return [message.content for message in conversation.messages]


def test_what_fits_stays():
    one = talk("aaa", "bbb", "ccc", system="s", examples=SHOWN)
    assert texts(one) == ["s", "2+2", "4", "1+1", "2", "aaa", "bbb", "ccc"]
    assert [message.role for message in one.messages] == ["system", *["user", "assistant"] * 3, "user"]
    assert one.fit(n_letters, 18) == Dropped(0, 0) and len(one.messages) == 8


def test_the_oldest_goes_first_a_question_with_its_answer():
    one = talk("aaa", "bbb", "ccc", "ddd", "eee", system="s", examples=SHOWN)
    assert one.fit(n_letters, 23) == Dropped(2, 0) and texts(one)[5:] == ["ccc", "ddd", "eee"]
    assert one.fit(n_letters, 23) == Dropped(0, 0)  # reported once
    one.answer("fff")
    one.ask("ggg")
    assert one.fit(n_letters, 23) == Dropped(2, 0) and texts(one)[5:] == ["eee", "fff", "ggg"]
    assert [message.content for message in one.history] == [
        "aaa",
        "bbb",
        "ccc",
        "ddd",
        "eee",
        "fff",
        "ggg",
    ]  # for /save


def test_then_the_first_examples_and_never_the_system_message_or_the_question():
    one = talk("aaa", "bbb", "ccc", system="s", examples=SHOWN)
    assert one.fit(n_letters, 8) == Dropped(2, 1) and texts(one) == ["s", "1+1", "2", "ccc"]
    assert one.fit(n_letters, 4) == Dropped(0, 1) and texts(one) == ["s", "ccc"]
    with pytest.raises(UserError, match="your message has 4 tokens with the system message, and there is room for 3"):
        one.fit(n_letters, 3)


def test_examples_come_back_when_what_has_been_said_is_forgotten():
    one = talk("aaa", "bbb", "ccc", system="s", examples=SHOWN)
    assert one.fit(n_letters, 8) == Dropped(2, 1) and one.fit(n_letters, 8) == Dropped(0, 0)
    one.reset()
    one.ask("ddd")
    assert texts(one) == ["s", "2+2", "4", "1+1", "2", "ddd"]
    assert one.fit(n_letters, 8) == Dropped(0, 1) and texts(one) == ["s", "1+1", "2", "ddd"]


def test_a_conversation_of_messages_has_the_first_as_its_system_message():
    said = [Message("user", "aaa"), Message("system", "bbb"), Message("user", "ccc")]
    assert Conversation.of(said) == Conversation("", history=said)
    assert Conversation.of([Message("system", "s"), *said]) == Conversation("s", history=said)
    assert Conversation.of([Message("system", "s"), *said]).messages == [Message("system", "s"), *said]
    assert Conversation.of([]).messages == []


def test_what_cannot_fit_makes_nothing_forgotten_and_can_be_taken_back():
    one = talk("aaa", "bbb", "c" * 50, examples=SHOWN)
    with pytest.raises(UserError, match="your message has 50 tokens, and there is room for 20"):
        one.fit(n_letters, 20)
    one.undo()
    assert texts(one) == ["2+2", "4", "1+1", "2", "aaa", "bbb"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9).filter(lambda sizes: len(sizes) % 2 == 1),
       st.integers(9, 40), st.integers(0, 2))  # fmt: skip
def test_it_fits_afterwards_with_as_much_as_can_be(sizes, room, n_examples):
    one = talk(*("x" * size for size in sizes), examples=SHOWN[:n_examples])
    forgotten = one.fit(n_letters, room)
    assert n_letters(one.messages) <= room and one.messages[-1].content == "x" * sizes[-1]
    assert len(one.messages) == len(sizes) + 2 * n_examples - forgotten.messages - 2 * forgotten.examples
    assert one.messages[0].role == "user" and forgotten.messages % 2 == 0
    if forgotten.messages:  # one more exchange would not have fit, together with the examples
        more = sum(sizes[forgotten.messages - 2 :])
        assert more + sum(map(n_letters, SHOWN[:n_examples])) > room


def test_a_guess_forgets_but_refuses_nothing():
    one = talk("aaa", "bbb", "c" * 50, system="s", examples=SHOWN)
    assert one.fit(n_letters, 20, exact=False) == Dropped(2, 2) and texts(one) == ["s", "c" * 50]
