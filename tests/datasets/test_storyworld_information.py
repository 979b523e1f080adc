"""The floor: -log p of every story is exact, proven by replaying the generator with every possible decision."""

import math
import random
from types import SimpleNamespace

import pytest
from storyworld_naive import search_naive

from llmasos.datasets.storyworld import generate, splits, stories
from llmasos.datasets.storyworld.chooser import Chooser, ForcedChooser
from llmasos.datasets.storyworld.entropy import entropy, per_unit
from llmasos.datasets.storyworld.lines import parse_start
from llmasos.datasets.storyworld.proof import information, readings, valid_prefix_length
from llmasos.datasets.storyworld.story import tell
from llmasos.datasets.storyworld.teller import Teller


def test_each_story_has_exactly_one_reading_and_its_nats_are_that_readings():
    for story in [generate(11, index) for index in range(60)] + list(stories("val", 20)):
        results = readings(story.text)
        assert len(results) == 1, f"{len(results)} readings of: {story.text}"
        assert results[0].nats == pytest.approx(story.information, abs=1e-9)


@pytest.mark.slow
def test_every_third_story_of_the_default_val_split_has_exactly_one_reading():
    some = [story for number, story in enumerate(stories("val", 500)) if number % 3 == 0]
    assert all(len(readings(story.text)) == 1 for story in some)


def test_a_text_that_the_generator_cannot_produce_has_no_reading():
    story = generate(11, 0)
    assert information(story.text + " And then they slept.") == math.inf
    assert information(" ".join(story.sentences[:-1])) == math.inf
    assert information(story.text.replace(story.combination[0], "Zoltan")) == math.inf


def test_how_far_a_text_is_possible():
    for story in [generate(11, index) for index in range(3)]:
        assert valid_prefix_length(story.text) == len(story.text)
        for n in range(0, len(story.text), 41):
            assert valid_prefix_length(story.text[:n]) == n
        beginning = " ".join(story.sentences[:3])
        assert valid_prefix_length(beginning + " Zoltan slept.") == len(beginning) + 1  # with the space
        assert valid_prefix_length(beginning + "\nThen") == len(beginning)
        assert valid_prefix_length(beginning.replace(story.combination[0], "Zoltan")) < len(story.sentences[0])
        assert valid_prefix_length(story.text + " The end.") == len(story.text)
    assert valid_prefix_length("") == 0
    assert valid_prefix_length("Oscar lives") == len("Oscar live")  # as in "Oscar lived"


def damaged(text: str, rng: random.Random) -> str:
    """Return a text with a word replaced, two words swapped, the end cut off, or another text's words at its end."""
    words = text.split()
    i, j = rng.randrange(len(words)), rng.randrange(len(words))
    fate = rng.randrange(4)
    if fate == 0:
        words[i] = words[j]
    elif fate == 1:
        words[i], words[j] = words[j], words[i]
    elif fate == 2:
        return text[: rng.randrange(len(text))]
    else:
        words[i:] = generate(5, rng.randrange(99)).text.split()[i:]
    return " ".join(words)


def check_against_naive(n: int, seed: int) -> None:
    rng = random.Random(seed)
    for story in (generate(seed, index) for index in range(n)):
        for text in (story.text, damaged(story.text, rng)):
            expected_readings, expected_length = search_naive(text)
            assert sorted((way.script, way.nats) for way in readings(text)) == sorted(expected_readings), text
            assert valid_prefix_length(text) == expected_length, text


def test_the_search_finds_what_the_naive_search_finds():
    check_against_naive(4, seed=20)


@pytest.mark.slow
def test_the_search_finds_what_the_naive_search_finds_in_many_texts():
    check_against_naive(200, seed=21)


@pytest.mark.parametrize("seed", range(3))
def test_every_sentence_begins_as_its_plot_states(seed, monkeypatch):
    """`Teller.begins` is a promise of the plot that the search relies on."""
    checked = []

    def begins(teller, *starts):
        teller.promised = starts

    def add(teller, line, pronoun, sentence, original=Teller.add):
        if starts := vars(teller).pop("promised", ()):
            checked.append(sentence)
            assert any(sentence.startswith(parse_start(start).english(teller.roles)) for start in starts), sentence
        original(teller, line, pronoun, sentence)

    monkeypatch.setattr(Teller, "begins", begins)
    monkeypatch.setattr(Teller, "add", add)
    for index in range(300):
        generate(seed, index)
    assert len(checked) > 30


def test_the_proof_notices_a_second_reading_and_adds_the_probabilities():
    def ambiguous(teller):  # "ab" comes about as a+b and as ab+nothing
        first = teller.chooser.pick(["a", "ab", "c"], [1, 2, 1])
        return SimpleNamespace(text=first + teller.chooser.pick(["b", ""]))

    assert len(readings("ab", ambiguous)) == 2
    assert information("ab", ambiguous) == pytest.approx(-math.log(1 / 4 * 1 / 2 + 1 / 2 * 1 / 2))
    assert information("c", ambiguous) == pytest.approx(-math.log(1 / 8))


def test_lines_with_the_same_words_are_several_readings():
    def rainy(teller):
        for _ in range(2):
            teller.say("Rain fell.\n Es regnete.\n Rain fell.\n Regen fiel.\n It snowed.\n Es schneite.\n")
        return SimpleNamespace(text=" ".join(teller.sentences))

    assert sorted(way.script for way in readings("Rain fell. Rain fell.", rainy)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert information("Rain fell. It snowed.", rainy) == pytest.approx(-math.log(2 / 9))


def test_a_chooser_draws_with_the_stated_probabilities():
    draws = [Chooser(1, index) for index in range(6000)]
    picks = [chooser.pick("abc", [1, 0, 3]) for chooser in draws]
    frequency = picks.count("a") / len(picks)
    assert "b" not in picks
    assert abs(frequency - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(picks))
    for chooser, pick in zip(draws, picks, strict=True):
        assert chooser.nats == pytest.approx(-math.log({"a": 0.25, "c": 0.75}[pick]))


def test_the_probabilities_of_all_stories_with_a_prefix_add_up_to_that_of_the_prefix():
    """Follow a story's decisions except the last three, then every branch: the probabilities must sum to one."""
    for index in range(8):
        reading = readings(generate(12, index).text)[0].script
        beginning = reading[:-3]
        prefix = ForcedChooser(beginning)
        prefix_nats = []
        original = prefix._pick

        def counted(n, weights, original=original, prefix=prefix, beginning=beginning, prefix_nats=prefix_nats):
            if len(prefix.taken) == len(beginning):
                prefix_nats.append(prefix.nats)
            return original(n, weights)

        prefix._pick = counted
        tell(Teller(prefix))
        total, unexplored = 0.0, [beginning]
        while unexplored:
            chooser = ForcedChooser(unexplored.pop())
            tell(Teller(chooser))
            total += math.exp(prefix_nats[0] - chooser.nats)
            unexplored += chooser.open
        assert total == pytest.approx(1.0)


def test_a_forced_chooser_follows_the_script_and_offers_the_rest():
    chooser = ForcedChooser([2])
    assert chooser.pick("abc") == "c"
    assert chooser.pick("xyz", [0, 1, 3]) == "y"
    assert chooser.open == [(2, 2)]
    assert chooser.nats == pytest.approx(math.log(3) + math.log(4))


def test_the_split_probabilities_sum_to_one_and_match_the_observed_frequencies():
    assert math.fsum(splits.probability(split) for split in splits.SPLITS) == pytest.approx(1.0)
    n = 3000
    seen = sum(generate(2, index).split == "val" for index in range(n)) / n
    expected = splits.probability("val")
    assert abs(seen - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_within_a_split_the_floor_is_lower_by_the_information_of_the_split():
    for split in splits.SPLITS:
        for story in stories(split, 20):
            assert story.split == split
            assert story.nats == pytest.approx(story.information + math.log(splits.probability(split)))
            assert story.nats < story.information


def test_the_combination_is_drawn_with_the_probability_used_for_the_split():
    """Each story's first draw of name, plot and thing costs log 24, log 14 and log 8: compare observed frequencies."""
    n = 4000
    heroes, plots = {}, {}
    for index in range(n):
        hero, plot, _ = generate(5, index).combination
        heroes[hero] = heroes.get(hero, 0) + 1
        plots[plot] = plots.get(plot, 0) + 1
    for counts in (heroes, plots):
        expected = n / len(counts)
        chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
        freedom = len(counts) - 1
        assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def test_the_confidence_interval_has_its_nominal_coverage():
    source = random.Random(0)
    covered = 0
    for _ in range(400):
        units = [source.uniform(50, 150) for _ in range(60)]
        nats = [0.4 * unit + source.gauss(0, 5) for unit in units]
        estimate = per_unit(nats, units)
        covered += abs(estimate.mean - 0.4) < estimate.half_width
    assert 0.90 < covered / 400 < 0.99


def test_the_entropy_of_a_story_is_its_words_times_the_entropy_of_a_word():
    sample = list(stories("val", 300))
    result = entropy(sample)
    words = sum(len(story.text.split()) for story in sample) / len(sample)
    assert result["story"].mean == pytest.approx(result["word"].mean * words)
    assert result["story"].mean == pytest.approx(sum(story.nats for story in sample) / len(sample))
