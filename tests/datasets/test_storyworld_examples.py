"""Storyworld's examples: exact answers, unanswerable questions, and held-out sentences that never occur in training."""

import re

import pytest

from llmasos.datasets import open_examples
from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.people import CHILDREN

N = 400


@pytest.fixture(scope="module")
def questions():
    return open_examples("questions", f"storyworld:{N}")


@pytest.fixture(scope="module")
def corpus():
    return list(stories("train", N))


def test_endings_and_summaries_are_those_of_the_stories(corpus):
    labeled, summaries = (
        open_examples("labeled_text", f"storyworld:{N}"),
        open_examples("summaries", f"storyworld:{N}"),
    )
    assert [(e.text, e.label) for e in labeled.train] == [(story.text, story.ending) for story in corpus]
    assert [(e.source, e.target) for e in summaries.train] == [(story.text, story.summary) for story in corpus]
    assert len(labeled.val) == len(summaries.val) == 500
    assert labeled.fingerprint != summaries.fingerprint != open_examples("summaries", "storyworld:401").fingerprint


@pytest.mark.parametrize("languages", [None, "en-de"])
def test_held_out_sentences_are_new_and_each_counts_once(languages, corpus):
    splits = open_examples("pairs", f"storyworld:{N}", languages=languages)
    trained = {pair.source for pair in splits.train}
    assert len(set(splits.val)) == len(splits.val) > 500
    assert trained.isdisjoint(pair.source for pair in splits.val), "held out means never trained on"
    english = {sentence for story in corpus for sentence in story.sentences}
    assert {pair.source if languages else pair.target for pair in splits.train} == english
    held_out = {sentence for story in stories("val", 500) for sentence in story.sentences}
    assert {pair.source if languages else pair.target for pair in splits.val} <= held_out
    assert f"those {len(splits.val):,} of" in splits.description and (languages or "de-en") in splits.description


def test_answers_are_exact_and_complete(questions, corpus):
    answered = [q for q in questions.train if q.answers]
    assert all(q.context[a.start : a.start + len(a.text)] == a.text for q in answered for a in q.answers)
    expected = [(story.text, q.question, q.answer) for story in corpus for q in story.questions]
    assert [(q.context, q.question, q.answers[0].text) for q in answered] == expected
    assert len({q.id for q in questions.train}) == len(questions.train)


def test_one_question_in_five_has_no_answer_and_a_false_presupposition(questions):
    unanswerable = [q for q in questions.train if not q.answers]
    assert 0.17 < len(unanswerable) / len(questions.train) < 0.23  # three standard deviations are 0.024
    answered = {(q.context, q.question) for q in questions.train if q.answers}
    assert all((q.context, q.question) not in answered for q in unanswerable)
    names = {child.en for child in CHILDREN}
    about_children = 0
    for question in unanswerable:
        asked = names & set(re.findall(r"[A-Z][a-z]+", question.question))
        if re.search(r" (live|like)\?$", question.question):
            about_children += 1
            assert len(asked) == 1 and not asked & set(re.findall(r"\w+", question.context)), question
        else:
            assert all(name in question.context for name in asked), "an event is asked of this story's own people"
            words = re.findall(r"[a-z]{4,}", question.question)
            assert any(word not in question.context.lower() for word in words), question
    assert 0.4 < about_children / len(unanswerable) < 0.6


def test_the_examples_are_deterministic_and_do_not_depend_on_the_number_of_stories(questions):
    again = open_examples("questions", f"storyworld:{N}")
    assert again.train == questions.train and again.val == questions.val
    assert again.fingerprint == questions.fingerprint
    fewer = open_examples("questions", f"storyworld:{N // 2}")
    assert fewer.train == questions.train[: len(fewer.train)] and fewer.val == questions.val
