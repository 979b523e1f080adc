"""The world as an environment: exact probabilities of texts and next words, facts, dials and dirt."""

import math
import random
from collections import Counter

import pytest

from llmasos.datasets import open_text
from llmasos.datasets.formats import open_examples
from llmasos.datasets.storyworld import (
    World,
    dirty_documents,
    facts,
    generate,
    log_prob,
    next_char_probs,
    next_sentence_probs,
    next_word_probs,
    prefix_log_prob,
    stories,
    summary_facts,
    valid_prefix,
    valid_prefix_length,
)
from llmasos.datasets.storyworld.dirt import DIRT
from llmasos.datasets.storyworld.people import TRAITS
from llmasos.datasets.storyworld.text_source import StoryworldText
from llmasos.errors import UserError

BIASED = World(names=6, things=3, plots=5, bias=(("brave", "boys", 0.8), ("shy", "boys", 0.1), ("proud", "girls", 0.0)))
HARDER = World(names=48)


@pytest.mark.parametrize("world", [World(), BIASED, HARDER], ids=str)
def test_the_log_probability_of_a_story_is_that_of_its_decisions(world):
    for index in range(12):
        story = generate(31, index, world)
        assert log_prob(story.text, world=world) == pytest.approx(-story.information, abs=1e-9)
        assert log_prob(story.text, story.split, world) == pytest.approx(-story.nats, abs=1e-9)
        assert valid_prefix(story.text[:60], world) and not valid_prefix(story.text + " The end.", world)
    other = {"train": "val", "val": "train"}[story.split]
    assert log_prob(story.text, other, world) == log_prob("No story.", "train", world) == -math.inf


@pytest.mark.parametrize("world", [World(), BIASED], ids=str)
def test_the_product_of_the_next_words_probabilities_is_that_of_the_story(world):
    story = min((generate(32, index, world) for index in range(60)), key=lambda story: len(story.text))
    words = [*story.text.split(" "), ""]
    total = 0.0
    for i, word in enumerate(words):
        probabilities = next_word_probs(" ".join(words[:i]), world)
        assert math.fsum(probabilities.values()) == pytest.approx(1)
        total += math.log(probabilities[word])
    assert total == pytest.approx(log_prob(story.text, world=world), abs=1e-9)


@pytest.mark.parametrize("world", [BIASED, HARDER], ids=str)
def test_the_probability_of_a_beginning_is_the_product_of_its_words(world):
    story = min((generate(35, index, world) for index in range(20)), key=lambda story: len(story.sentences[0]))
    words = story.sentences[0].split(" ")
    product = sum(math.log(next_word_probs(" ".join(words[:i]), world)[words[i]]) for i in range(len(words)))
    assert prefix_log_prob(f"{story.sentences[0]} ", world) == pytest.approx(product, abs=1e-9)
    assert prefix_log_prob(story.text, world) == pytest.approx(log_prob(story.text, world=world), abs=1e-9)
    assert (prefix_log_prob("", world), prefix_log_prob("Zoltan", world)) == (0.0, -math.inf)


def test_the_product_of_the_next_sentences_probabilities_is_that_of_the_story():
    world = BIASED
    story = min((generate(32, index, world) for index in range(60)), key=lambda story: len(story.text))
    total = 0.0
    for i, sentence in enumerate([*story.sentences, ""]):
        probabilities = next_sentence_probs(" ".join(story.sentences[:i]), world)
        assert math.fsum(probabilities.values()) == pytest.approx(1)
        total += math.log(probabilities[sentence])
    assert total == pytest.approx(log_prob(story.text, world=world), abs=1e-9)
    start, last_word = story.sentences[0].rsplit(" ", 1)
    assert last_word in next_sentence_probs(start, world)  # within a sentence, the rest of it


def test_the_product_of_the_next_characters_probabilities_is_that_of_the_story():
    text = min((generate(32, index).text for index in range(60)), key=len)
    total = 0.0
    for i in range(len(text) - 60, len(text) + 1):
        probabilities = next_char_probs(text[:i])
        assert math.fsum(probabilities.values()) == pytest.approx(1)
        total += math.log(probabilities[text[i : i + 1]])
    start = text[: len(text) - 60].rpartition(" ")[0]  # the words before, then the characters of a word that is cut
    words = start.split(" ")
    total += sum(math.log(next_word_probs(" ".join(words[:i]))[words[i]]) for i in range(len(words)))
    total += sum(math.log(next_char_probs(text[:i])[text[i]]) for i in range(len(start), len(text) - 60))
    assert total == pytest.approx(log_prob(text), abs=1e-9)


def test_the_next_word_after_the_first_words_is_counted_right():
    first = next_word_probs("")
    assert first["Everyone"] == pytest.approx(1 / 7) and first["Mia"] == pytest.approx(3 / 7 / 24)
    assert next_word_probs("Everyone in the valley")["knew"] == 1
    story = generate(33, 0)
    assert next_word_probs(story.text)[""] == pytest.approx(1)
    assert list(next_word_probs("Mia was ").items()) == list(next_word_probs("Mia was").items())


@pytest.mark.slow
@pytest.mark.parametrize("world", [World(), BIASED], ids=str)
def test_the_sampler_draws_next_words_with_these_probabilities(world):
    """χ² of the first sentence's words, in 20,000 stories: each prefix that occurs 500 times or more."""
    followers: dict[str, Counter] = {}
    for index in range(20_000):
        words = generate(34, index, world).text.split(" ")[:12]
        for i, word in enumerate(words):
            followers.setdefault(" ".join(words[:i]), Counter())[word] += 1
    chi_square, freedom = 0.0, 0
    for prefix, counts in followers.items():
        n = counts.total()
        if n >= 500:
            probabilities = next_word_probs(prefix, world)
            assert counts.keys() <= probabilities.keys()
            frequent = {word: p for word, p in probabilities.items() if n * p >= 5}
            rest = 1 - sum(frequent.values())
            cells = [(counts[word], n * p) for word, p in frequent.items()]
            if n * rest >= 5:
                cells.append((n - sum(counts[word] for word in frequent), n * rest))
            chi_square += sum((seen - expected) ** 2 / expected for seen, expected in cells)
            freedom += len(cells) - 1
    assert freedom > 50
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


def test_a_prefix_that_no_story_has_is_a_sentence():
    for function in (next_word_probs, next_char_probs):
        with pytest.raises(UserError, match="no story begins with 'Zoltan'"):
            function("Zoltan")


def test_the_facts_are_those_of_the_story():
    for index in range(8):
        story = generate(35, index)
        read = facts(story.text)
        assert (read.hero, read.plot, read.thing) == story.combination
        assert (read.outcome, read.ending) == (story.outcome, story.ending)
        assert read.trait == story.cast["trait"].en
        assert read.answers == {question.label: question.answer for question in story.questions}
    assert facts(story.text + " The end.") is None


def test_the_facts_of_a_summary_are_those_of_its_story():
    seen = set()
    for index in range(400):
        story = generate(36, index)
        read = summary_facts(story.summary)
        assert (read["hero"], read["plot"], read["outcome"]) == (story.combination[0], story.plot, story.outcome)
        if "thing" in read:
            assert read["thing"] == story.combination[2]
        if "friend" in read:
            assert read["friend"] == story.cast["friend"].en
        seen.add(story.outcome)
    assert len(seen) > 35
    assert summary_facts("Zoltan loses a scarf and never finds it again.")["hero"] == "Zoltan"
    assert summary_facts("It was a fine day.") is None


def test_the_dials_change_what_there_is_in_the_world():
    small = World(names=3, things=2, plots=2)
    seen = [generate(37, index, small) for index in range(200)]
    assert {story.combination[0] for story in seen} == {"Mia", "Anna", "Ben"}
    assert len({story.plot for story in seen}) == 2
    assert len({story.combination[1:] for story in seen}) == 4
    names = {child.en for child in HARDER.children}
    assert len(names) == 48 and {child.en for child in World().children} < names
    words = {word.strip('.,!?"') for index in range(300) for word in generate(38, index).text.split(" ")}
    assert not (names - {child.en for child in World().children}) & words, "a new name is a word of the world"


@pytest.mark.parametrize("group, child", [("boys", "boy"), ("girls", "girl")])
def test_the_bias_is_the_probability_of_a_trait_given_the_hero(group, child):
    n = 500
    drawn = [generate(39, index, BIASED).cast for index in range(n)]
    traits = Counter(cast["trait"].en for cast in drawn if cast["hero"].tags["child"].en == child)
    n = traits.total()
    hero = next(each for each in BIASED.children if each.tags["child"].en == child)
    expected = dict(zip([word.en for word in TRAITS], BIASED.trait_weights(hero), strict=True))
    assert math.fsum(expected.values()) == pytest.approx(1)
    assert expected[{"boys": "brave", "girls": "proud"}[group]] == {"boys": 0.8, "girls": 0.0}[group]
    for trait, p in expected.items():
        assert abs(traits[trait] / n - p) <= 4.5 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize(
    "name, message",
    [
        ("storyworld:names=1", "names is 1; it must be a whole number from 2 to 48"),
        ("storyworld:10:plots=15", "plots is 15"),
        ("storyworld:name=5", "storyworld has no dial 'name'; did you mean 'names'"),
        ("storyworld:brave_boys=1.5", "brave_boys is 1.5; it must be a probability"),
        ("storyworld:bold_boys=0.5", "there is no bias bold_boys"),
        ("storyworld:brave_boys=.6:shy_boys=.6", "the probabilities of the boys' traits add up to 1.2"),
        ("storyworld:brave_boys=.6:brave_boys=.1", "stated twice"),
        ("storyworld:names=x", "has the dial 'names=x'"),
        ("storyworld:dirt=2", "dirt is 2"),
        ("storyworld:names=2:things=1:plots=1", "has no story in the split"),
        ("storyworld:0", "has no valid number of stories"),
    ],
)
def test_a_dial_that_cannot_be_set_is_a_sentence(name, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        open_text(name)


def test_a_dataset_with_dials_has_a_name_a_floor_and_a_fingerprint_of_its_own():
    source = open_text("storyworld:40:names=8:brave_boys=0.8")
    assert source.name == "storyworld:40:names=8:brave_boys=0.8"
    assert open_text("storyworld:12000").name == "storyworld"
    assert source.fingerprint() != open_text("storyworld:40").fingerprint()
    own = list(stories("train", 40, world=source.world))
    assert list(source.documents("train")) == [story.text for story in own]
    assert source.information("train") == pytest.approx(sum(story.nats for story in own))
    examples = open_examples("labeled_text", "storyworld:40:names=8:brave_boys=0.8")
    assert [example.text for example in examples.train] == [story.text for story in own]
    with pytest.raises(UserError, match="dirt, which is for running text"):
        open_examples("labeled_text", "storyworld:40:dirt=0.5")


def test_the_truth_about_dirt():
    clean = list(stories("train", 160))
    documents = list(dirty_documents(clean, 0.5))
    kinds = Counter(document.kind for document in documents)
    assert abs(kinds[""] - 80) < 5 * math.sqrt(40) and kinds.keys() == {"", *DIRT}
    texts = [document.text for document in documents]
    for number, (story, document) in enumerate(zip(clean, documents, strict=True)):
        kept = document.text
        spans = [kept[start:end] for start, end in document.spans]
        if document.kind in ("", "typos", "boilerplate", "private"):
            assert document.clean == story.text
        else:
            assert document.clean == ""
        if document.kind == "":
            assert kept == story.text and not spans
        elif document.kind == "typos":
            assert [a for a, b in zip(kept.split(" "), story.text.split(" "), strict=True) if a != b] == spans != []
        elif document.kind == "duplicate":
            assert kept in [text.clean for text in documents[:number]]
        elif document.kind == "near duplicate":
            assert 0 < len(spans) <= 3
            assert any(
                sum(a != b for a, b in zip(kept.split(" "), each.split(" "), strict=False)) == len(spans)
                for each in {story.text for story in clean[:number]}
            )
        elif document.kind == "boilerplate":
            assert kept == "\n".join([spans[0], story.text, spans[1]])
        elif document.kind == "german":
            assert kept == story.german
        else:
            assert "@example.org" in spans[1] and spans[2].startswith("555-01")
            assert valid_prefix_length(kept) < len(kept)
    source = StoryworldText(160, dirt=0.5)
    assert list(source.documents("train")) == texts
    assert source.information("train") is None
    assert list(source.documents("val"))[:3] == [story.text for story in stories("val", 3)]


def test_a_word_is_misspelled_in_one_place():
    from llmasos.datasets.storyworld.dirt import _misspelled

    rng = random.Random(0)
    for _ in range(200):
        wrong = _misspelled("meadow", rng)
        assert wrong != "meadow" and wrong[0] == "m" and abs(len(wrong) - 6) <= 1


def test_a_story_is_valid_up_to_the_place_where_it_is_spoiled():
    """Also in the middle of a word that several people or things could fill."""
    text = next(iter(stories("val", 1))).text
    for place in range(0, 150, 7):
        assert valid_prefix_length(text[:place] + "§" * 60) == place
