"""The suite for chat models of the small world, with fixed answers instead of models."""

import random

import numpy as np
import pytest

from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.dialogues import OUTSIDE, tell_turn
from llmasos.errors import UserError
from llmasos.evaluation.suite import SuiteResult
from llmasos.hub import load_pretrained
from llmasos.tasks import run_suite, storyworld_chat_suite
from llmasos.tasks.storyworld_chat_suite import declines, is_about, is_as_asked, request_nats

SAMPLE = list(stories("val", 12))


class Answers:
    """A chat whose answer is a function of the conversation."""

    def __init__(self, answer):
        self.answer = answer

    def answers(self, conversations):
        return [self.answer(conversation.messages) for conversation in conversations]

    def answer_each(self, prompts):
        return [self.answer([("user", prompt)]) for prompt in prompts]


def by_heart(messages):
    """Tell the requested held-out story, or answer with the expected answer."""
    prompt = messages[-1][1]
    return next((story.text for story in SAMPLE if tell_turn(story).prompt == prompt), "happy")


def scores(add, answer, *args):
    result = SuiteResult([])
    add(result, Answers(answer), *args)
    return {metric.name: metric.value for metric in result.metrics}


def test_whoever_knows_everything_has_ten_of_ten(monkeypatch):
    keys = {}
    dialogue = storyworld_chat_suite.dialogue

    def remembered(rng, story, split, n_turns, told=True):
        turns = dialogue(rng, story, split, n_turns, told)
        keys[story.text] = {turn.prompt: turn.answer for turn in turns}
        return turns

    monkeypatch.setattr(storyworld_chat_suite, "dialogue", remembered)

    def answer(messages):
        text = next((s.text for s in SAMPLE if any(s.text in content for _, content in messages)), None)
        return by_heart(messages) if text is None else keys[text][messages[-1][1]]

    add = storyworld_chat_suite.add_conversations
    values = scores(add, answer, SAMPLE, random.Random(0))
    assert values["right of ten turns"] == 10 and values["turns: german"] == values["turns: question"] == 1
    values = scores(add, lambda messages: "happy", SAMPLE, random.Random(0))  # no story: nothing is right after it
    assert values["turns: story"] == 0 and 0 < values["right of ten turns"] <= 0.5
    assert values["right of ten: told by the model"] == 0 < values["right of ten: given by the user"]
    values = scores(add, by_heart, SAMPLE, random.Random(0))  # right about the story and happy endings
    assert values["turns: story"] == 1 and 0.3 < values["turns: ending"] < 1 and values["turns: question"] == 0


def test_a_story_keeps_to_the_hero_and_the_thing_that_were_asked_for():
    values = scores(storyworld_chat_suite.add_told_stories, by_heart, SAMPLE)
    assert values["asked hero and thing"] == values["whole stories, as asked"] == 1
    assert values["declined in the world"] == 0
    values = scores(storyworld_chat_suite.add_told_stories, lambda messages: OUTSIDE, SAMPLE)
    assert values["asked hero and thing"] == values["whole stories, as asked"] == 0
    assert values["declined in the world"] == 1
    story = next(s for s in SAMPLE if s.combination[0] not in ("Max", "Leo"))
    hero, _, thing = story.combination
    assert is_about(story.text, story) and is_as_asked(story, story) and not is_as_asked(None, story)
    assert not is_about(story.text.replace(hero, "Max"), story)
    assert not is_about(story.text.replace(thing, "cloud"), story)
    assert not is_about(f"{story.text} Max met Leo.", story)
    other = next(s for s in SAMPLE if s.combination[0] != hero)
    assert not is_as_asked(other, story)


def test_requests_from_outside_are_counted_by_kind():
    def answer(messages):
        return OUTSIDE if any(digit in messages[-1][1] for digit in "0123456789") else "Mia was shy. I am sorry."

    values = scores(storyworld_chat_suite.add_declined, answer, 20, random.Random(0))
    assert values["declined: arithmetic"] == 1 and values["declined: people"] == 0
    assert values["declined"] == pytest.approx(np.mean([values[f"declined: {kind}"] for kind in
                                                        storyworld_chat_suite.KINDS]))  # fmt: skip
    assert declines("I’m sorry, no.") and not declines("Mia was shy. I cannot help her.")


def test_what_a_request_tells_about_a_story_is_the_information_in_hero_and_thing():
    counts = {}
    drawn = [story.combination[::2] for split in ("train", "val") for story in stories(split, 30)]
    for story in SAMPLE:
        counts[story.combination[::2]] = np.exp(-request_nats(story))
    assert drawn and all(1 / (24 * 14 * 8) - 1e-9 <= p <= 3 / (24 * 14 * 8) + 1e-9 for p in counts.values())


def test_the_shipped_chat_model_takes_the_suite_and_another_model_does_not():
    result = run_suite("storyworld-chat", *load_pretrained("storyworld-chat"), 2)
    names = [metric.name for metric in result.metrics]
    assert names[0] == "declined" and names[-1] == "nats above the floor" and "right of ten turns" in names
    assert "declined" in str(result) and len(result.outcomes["declined"]) == 12
    with pytest.raises(UserError, match="no chat template"):
        run_suite("storyworld-chat", *load_pretrained("storyworld-gpt"), 2)
    with pytest.raises(UserError, match="storyworld-chat has its own number"):
        run_suite("storyworld-chat", *load_pretrained("storyworld-chat"), 2, samples=3)
