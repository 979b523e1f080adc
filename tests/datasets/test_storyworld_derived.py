"""The data derived from a story: questions, German, summaries, pairs and instructions."""

import re
from collections import Counter

import pytest

from llmasos.datasets.storyworld import german, stories, things
from llmasos.datasets.storyworld.entities import Noun
from llmasos.datasets.storyworld.people import CHILDREN, FAMILY, GRANDMOTHER, NEIGHBORS
from llmasos.datasets.storyworld.places import PLACES


@pytest.fixture(scope="module")
def sample():
    return list(stories("train", 1500)) + list(stories("val", 200))


def test_the_sentences_make_up_the_text(sample):
    for story in sample:
        assert " ".join(story.sentences) == story.text
        assert len(story.sentence_pairs) == len(story.sentences) - 1
        assert all(f"{first} {second}" in story.text for first, second in story.sentence_pairs)


def test_the_offset_of_an_answer_cuts_the_answer_out_of_the_text(sample):
    for story in sample:
        assert story.questions
        for question in story.questions:
            assert question.answer
            assert story.text[question.start : question.start + len(question.answer)] == question.answer
            assert question.answer == question.answer.strip(" .,!?")
            assert re.match(r"[A-Z].*\?$", question.question)
            assert not re.search(r"[{}<>~|]", question.question)


def test_each_question_is_asked_once_and_its_answer_is_not_in_it(sample):
    for story in sample:
        asked = [question.question for question in story.questions]
        assert len(set(asked)) == len(asked)
        for question in story.questions:
            assert question.answer.lower() not in question.question.lower(), question


def test_the_position_of_an_answer_is_not_predictable(sample):
    """No sentence holds most of the answers, and the same question is answered at different positions."""
    where = Counter()
    starts = {}
    for story in sample:
        for question in story.questions:
            sentence = len(story.text[: question.start].split(". "))
            where[min(sentence, 8)] += 1
            starts.setdefault(question.question.split()[0], set()).add(question.start)
    assert max(where.values()) < 0.5 * sum(where.values())
    assert len(starts) >= 5 and all(len(offsets) > 20 for offsets in starts.values())


def test_ending_and_summary_agree_with_the_outcome(sample):
    for story in sample:
        assert story.ending in ("happy", "sad")
        assert story.combination[0] in story.summary and story.summary.endswith(".")
        assert "\n" not in story.summary and not re.search(r"[{}<>~|]", story.summary)
        assert len(story.summary) < 0.5 * len(story.text)


def test_instructions_are_answered_from_the_story(sample):
    for story in sample[:200]:
        pairs = story.instructions
        assert (pairs[0][0].startswith("Tell me a story about")) and pairs[0][1] == story.text
        assert all(prompt and answer for prompt, answer in pairs)
        assert story.ending in [answer for _, answer in pairs]


def test_the_german_story_is_aligned_sentence_by_sentence_and_deterministic(sample):
    for story, again in zip(sample[:100], stories("train", 100), strict=True):
        assert story.german == again.german
    for story in sample:
        assert len(story.german_sentences) == len(story.sentences)
        assert " ".join(story.german_sentences) == story.german
        for sentence in story.german_sentences:
            assert re.match(r"„?[A-ZÄÖÜ]", sentence) and re.search(r"[.!?]“?$", sentence), sentence
            assert not re.search(r"[{}<>|()~_\"]|\s\s|\s[.,!?]", sentence), sentence
            assert sentence.count("„") == sentence.count("“"), sentence


def test_both_languages_name_the_same_people_in_each_sentence(sample):
    names = {child.en: child.de for child in CHILDREN}
    names |= {relative.en: relative.de for relative in FAMILY}
    names |= {f"the {person.en}": person.de for person in NEIGHBORS}
    for story in sample:
        for english, translated in zip(story.sentences, story.german_sentences, strict=True):
            for name, german_name in names.items():
                in_english = re.search(rf"\b{name}\b", english, re.IGNORECASE) is not None
                in_german = re.search(rf"\b{german_name}(s|')?(?!\w)", translated) is not None
                assert in_english == in_german, (name, english, translated)


def test_german_articles_agree_with_the_gender_of_their_noun(sample):
    """An oracle independent of the grammar: no article before a noun of another gender."""
    allowed = {
        "m": {"der", "den", "dem", "ein", "einen", "einem", "kein", "keinen", "zum", "vom"},
        "f": {"die", "der", "eine", "einer", "keine", "zur"},
        "n": {"das", "dem", "ein", "einem", "kein", "zum", "vom"},
    }
    nouns = [thing for table in vars(things).values() if isinstance(table, tuple) for thing in table]
    genders = {noun.de: noun.gender for noun in [*nouns, *NEIGHBORS] if isinstance(noun, Noun)}
    articles = set().union(*allowed.values())
    seen = 0
    for story in sample:
        for article, noun in re.findall(r"\b(\w+) ([A-ZÄÖÜ][a-zäöüß]+)\b", story.german):
            if noun in genders and article.lower() in articles:
                assert article.lower() in allowed[genders[noun]], (article, noun, story.german)
                seen += 1
    assert seen > 2000


BALL = Noun("ball", "Ball", "m")
DOLL = Noun("doll", "Puppe", "f")
BOOK = Noun("book", "Buch", "n")
MIA, BEN = (next(child for child in CHILDREN if child.en == name) for name in ("Mia", "Ben"))


@pytest.mark.parametrize(
    ("determiner", "masculine", "feminine", "neuter"),
    [
        ("der", "der rote Ball", "die rote Puppe", "das rote Buch"),
        ("den", "den roten Ball", "die rote Puppe", "das rote Buch"),
        ("dem", "dem roten Ball", "der roten Puppe", "dem roten Buch"),
        ("ein", "ein roter Ball", "eine rote Puppe", "ein rotes Buch"),
        ("einen", "einen roten Ball", "eine rote Puppe", "ein rotes Buch"),
        ("einem", "einem roten Ball", "einer roten Puppe", "einem roten Buch"),
        ("kein", "kein roter Ball", "keine rote Puppe", "kein rotes Buch"),
        ("keinen", "keinen roten Ball", "keine rote Puppe", "kein rotes Buch"),
        ("dieser", "dieser rote Ball", "diese rote Puppe", "dieses rote Buch"),
        ("diesen", "diesen roten Ball", "diese rote Puppe", "dieses rote Buch"),
        ("diesem", "diesem roten Ball", "dieser roten Puppe", "diesem roten Buch"),
        ("zum", "zum roten Ball", "zur roten Puppe", "zum roten Buch"),
        ("vom", "vom roten Ball", "von der roten Puppe", "vom roten Buch"),
    ],
)
def test_german_articles_and_adjectives_agree_in_gender_and_case(determiner, masculine, feminine, neuter):
    for noun, expected in ((BALL, masculine), (DOLL, feminine), (BOOK, neuter)):
        assert german.inflect(noun, determiner, "rot") == expected


@pytest.mark.parametrize(
    ("determiner", "his", "her"),
    [
        ("sein", "sein Ball, seine Puppe, sein Buch", "ihr Ball, ihre Puppe, ihr Buch"),
        ("seinen", "seinen Ball, seine Puppe, sein Buch", "ihren Ball, ihre Puppe, ihr Buch"),
        ("seinem", "seinem Ball, seiner Puppe, seinem Buch", "ihrem Ball, ihrer Puppe, ihrem Buch"),
    ],
)
def test_german_possessives_agree_with_owner_and_thing(determiner, his, her):
    for owner, expected in ((BEN, his), (MIA, her)):
        assert ", ".join(german.inflect(noun, determiner, owner=owner) for noun in (BALL, DOLL, BOOK)) == expected


def test_german_pronouns_weak_nouns_names_and_places():
    assert [german.inflect(noun, "ihn") for noun in (BALL, DOLL, BOOK)] == ["ihn", "sie", "es"]
    assert [german.inflect(noun, "ihm") for noun in (BALL, DOLL, BOOK)] == ["ihm", "ihr", "ihm"]
    boy = BEN.tags["child"]
    assert german.inflect(boy, "ein", "klug") == "ein kluger Junge"
    assert german.inflect(boy, "dem", "klug") == "dem klugen Jungen"
    assert german.inflect(MIA, "den") == "Mia" and german.inflect(GRANDMOTHER, "zum") == "zu Großmutter"
    assert german.inflect(MIA, genitive=True) == "Mias"
    max_ = next(child for child in CHILDREN if child.en == "Max")
    assert german.inflect(max_, genitive=True) == "Max'"
    assert german.inflect(PLACES["hill"], "in") == "auf dem Hügel"
    assert german.inflect(PLACES["hill"], "nach") == "auf den Hügel"
