"""Conversations about stories, and requests that have nothing to do with them."""

import importlib.util
import random
import re
from pathlib import Path

import pytest

from llmasos.datasets import open_examples
from llmasos.datasets.storyworld import read_story, stories
from llmasos.datasets.storyworld.dialogues import (
    ENDING,
    GERMAN,
    NO_STORY,
    NOT_TOLD,
    OTHER_WORDINGS,
    OUTSIDE,
    SUMMARIZE,
    beginning_turn,
    dialogue,
    excerpt_dialogue,
    not_told_turn,
    outside_turn,
    tell_turn,
)
from llmasos.datasets.storyworld.outside_requests import (
    FAMOUS,
    KINDS,
    KNOWN_NAMES,
    NAMES,
    OTHER_THINGS,
    PLACES,
    TOPICS,
    WORDINGS,
    known_things,
    made_up_name,
    outside_request,
)
from llmasos.evaluation import is_refusal

SPEC = importlib.util.spec_from_file_location(
    "chat_dialogues", Path(__file__).parents[2] / "data/storyworld/chat_dialogues.py"
)
chat_dialogues = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(chat_dialogues)
SAMPLE = list(stories("val", 120))


@pytest.mark.parametrize("told", [True, False])
def test_ten_turns_are_one_story_and_nine_questions_whose_answers_are_in_it(told):
    for story in SAMPLE:
        turns = dialogue(random.Random(story.text), story, "val", 10, told)
        assert len(turns) == 10 and len({turn.prompt for turn in turns}) >= 9
        assert (turns[0].answer == story.text) == told and (story.text in turns[0].prompt) == (not told)
        assert [turn.kind for turn in turns].count("story") == told
        for turn in turns[1:]:
            assert story.text not in turn.prompt
        kinds = [turn.kind for turn in turns]
        assert {"outside", "not told"} <= {*kinds} and kinds.count("outside") == 1
        for kind, prompt, answer in turns[told:]:
            if kind == "question":
                assert answer in story.text
            expected = {"ending": story.ending, "german": story.german_sentences[0], "summary": story.summary}
            expected |= {"outside": OUTSIDE, "not told": NOT_TOLD}
            assert answer == expected.get(kind, answer)
            wording = {"ending": ENDING, "german": GERMAN, "summary": SUMMARIZE}.get(kind, "")
            assert prompt.startswith(wording)


def test_shorter_conversations_have_the_length_that_was_asked_for():
    rng = random.Random(0)
    for story in SAMPLE:
        for n in range(1, 10):
            turns = dialogue(rng, story, "train", n, told=rng.random() < 0.5)
            assert 1 <= len(turns) <= n and len(turns) >= min(n, 2 + len(story.questions))


def test_a_conversation_about_an_excerpt_has_its_answers_in_it():
    rng, lengths = random.Random(0), set()
    for story in SAMPLE:
        turns = excerpt_dialogue(rng, story, "train")
        excerpt = turns[0].prompt.partition("\n\n")[2]
        assert excerpt and story.text.startswith(excerpt)
        assert all("\n" not in turn.prompt for turn in turns[1:])
        assert all(turn.answer in excerpt for turn in turns if turn.kind == "question")
        answers = {
            question.answer for question in story.questions if question.start + len(question.answer) <= len(excerpt)
        }
        assert {turn.answer for turn in turns if turn.kind == "question"} == answers
        lengths.add(excerpt.count(". "))
    assert len(lengths) > 3


def test_a_question_that_is_not_told_is_none_that_the_story_answers():
    rng = random.Random(0)
    for story in SAMPLE:
        turn = not_told_turn(rng, story)
        assert turn.prompt not in {question.question for question in story.questions} and "{" not in turn.prompt


def test_a_request_for_a_story_names_its_hero_and_its_thing():
    for story in SAMPLE:
        hero, _, thing = story.combination
        assert f" {hero} " in tell_turn(story).prompt and thing in tell_turn(story).prompt
        beginning = beginning_turn(story).answer
        assert story.text.startswith(beginning) and hero in beginning and thing in beginning
        assert all("{" not in tell_turn(story, wording).prompt for wording in OTHER_WORDINGS)


def test_requests_from_outside_name_nobody_and_nothing_of_the_world():
    rng = random.Random(0)
    for split in ("train", "val"):
        for kind in KINDS:
            for _ in range(300):
                drawn, text = outside_request(rng, split, kind)
                assert drawn == kind and "{" not in text and not re.search(r"\ba [aeio]", text)
                names = KNOWN_NAMES & {*re.findall(r"\w+", text)}
                assert not names or kind == "stories about other things"
                if kind == "stories about other things":
                    assert not any(re.search(rf"\b{thing}\b", text) for thing in known_things())
    assert {outside_request(rng, "train")[0] for _ in range(200)} == {*KINDS}


def test_held_out_requests_have_other_topics_names_and_wordings():
    for words in (NAMES, FAMOUS, PLACES, TOPICS, OTHER_THINGS):
        assert not {*words["train"]} & {*words["val"]} and len({*words["val"]}) == len(words["val"])
    for kind, wordings in WORDINGS.items():
        if kind in ("stories about strangers", "stories about other things"):
            continue  # same requests as for known people and things: only the stranger or thing is held out
        assert not {*wordings["train"]} & {*wordings["val"]}
    assert not KNOWN_NAMES & {*NAMES["train"], *NAMES["val"]} and not {*known_things()} & {*OTHER_THINGS["train"]}
    assert not {*known_things()} & {*OTHER_THINGS["val"]}
    made_up = {made_up_name(random.Random(seed)) for seed in range(3000)}
    assert len(made_up) > 2000 and not made_up & {*KNOWN_NAMES, *NAMES["val"]}


def test_some_names_topics_and_things_of_the_training_split_do_not_exist_so_that_no_list_of_them_is_complete():
    rng = random.Random(0)
    requests = [outside_request(rng, "train", "stories about other things")[1] for _ in range(400)]
    made_up = [
        text for text in requests if not any(re.search(rf"\b{thing}\b", text) for thing in OTHER_THINGS["train"])
    ]
    assert 0.3 < len(made_up) / len(requests) < 0.5
    for split, expected in (("train", True), ("val", False)):
        texts = [outside_request(rng, split, "real world")[1] for _ in range(400)]
        known = {
            word.lower() for words in (TOPICS, PLACES) for name in words[split] for word in re.findall(r"\w+", name)
        }
        common = {word for text in WORDINGS["real world"][split] for word in re.findall(r"\w+", text.lower())}
        unknown = {word for text in texts for word in re.findall(r"\w+", text.lower())} - known - common
        assert bool(unknown) == expected, unknown


def test_the_answer_to_a_request_from_outside_is_known_as_a_refusal():
    assert is_refusal(outside_turn(random.Random(0), "val").answer) and not is_refusal(NOT_TOLD)
    assert not any(is_refusal(text) for story in SAMPLE for text in (story.sentences[0], NOT_TOLD, NO_STORY))


def test_the_file_has_conversations_of_every_type_and_is_read_as_it_was_written(tmp_path):
    conversations = list(chat_dialogues.chat_conversations("train", 300))
    assert {len(turns) for turns in conversations} >= {1, 2, 3, 4, 10}
    kinds = {turn.kind for turns in conversations for turn in turns}
    assert {"story", "question", "german", "not told", "outside", "beginning", "no story", "greeting"} <= kinds
    parts = [list(chat_dialogues.chat_conversations("train", 300, 1, percent)) for percent in chat_dialogues.PARTS]
    whole = [sum(turns[0].kind in ("story", "greeting") for turns in part) for part in parts]  # or a story comes next
    assert whole[0] < min(whole[1:]) and all(sum(percent) == 100 for percent in chat_dialogues.PARTS)
    assert [any(turns[0].kind == "greeting" and len(turns) > 1 for turns in part) for part in parts] == [
        False,
        False,
        True,
    ]
    chat_dialogues.write(tmp_path / "chat.jsonl", iter(conversations))
    read = open_examples("conversations", tmp_path / "chat.jsonl", eval_only=True).val
    assert [[content for _, content in chat.messages] for chat in read] == [
        [text for turn in turns for text in (turn.prompt, turn.answer)] for turns in conversations
    ]
    with pytest.raises(SystemExit, match="already exists"):
        chat_dialogues.write(tmp_path / "chat.jsonl", iter(conversations))


def test_what_is_held_out_is_not_in_the_file():
    taught = {turn.prompt for turns in chat_dialogues.chat_conversations("train", 1000) for turn in turns}
    held_out = [turn for turns in chat_dialogues.chat_conversations("val", 300) for turn in turns]
    common = [turn.prompt for turn in held_out if turn.prompt in taught and turn.kind in ("story", "outside")]
    assert len(held_out) > 500 and len(common) <= 0.01 * len(held_out), common


def test_a_text_is_read_as_the_story_that_it_is():
    for story in SAMPLE[:20]:
        read = read_story(story.text)
        assert (read.text, read.german, read.summary) == (story.text, story.german, story.summary)
        assert [turn.answer for turn in dialogue(random.Random(1), read, "val", 10)] == [
            turn.answer for turn in dialogue(random.Random(1), story, "val", 10)
        ]
        assert read_story(story.text[:-1]) is None
