"""The floor: -log p of every story is exact, proven by replaying the generator with every possible decision."""

import math
import random
from types import SimpleNamespace

import pytest

from llmasos.datasets.storyworld import generate, splits, stories
from llmasos.datasets.storyworld.chooser import Chooser, ForcedChooser
from llmasos.datasets.storyworld.entropy import entropy, per_unit
from llmasos.datasets.storyworld.proof import information, possible, readings
from llmasos.datasets.storyworld.story import tell


def test_each_story_has_exactly_one_reading_and_its_nats_are_that_readings():
    for story in [generate(11, index) for index in range(60)] + list(stories("val", 20)):
        results = readings(story.text)
        assert len(results) == 1, f"{len(results)} readings of: {story.text}"
        assert results[0][1] == pytest.approx(story.information, abs=1e-9)


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
    for story in [generate(11, index) for index in range(10)]:
        assert possible(story.text) == len(story.text)
        beginning = " ".join(story.sentences[:3])
        assert possible(beginning) == len(beginning)
        assert possible(beginning + " And then they slept.") in (len(beginning), len(beginning) + 1)  # with the space
        assert possible(beginning.replace(story.combination[0], "Zoltan")) < len(story.sentences[0])
        assert possible(story.text + " The end.") == len(story.text)
    assert possible("") == 0


def test_the_proof_notices_a_second_reading_and_adds_the_probabilities():
    def ambiguous(chooser, target):  # "ab" comes about as a+b and as ab+nothing
        first = chooser.pick(["a", "ab", "c"], [1, 2, 1])
        return SimpleNamespace(text=first + chooser.pick(["b", ""]))

    assert len(readings("ab", ambiguous)) == 2
    assert information("ab", ambiguous) == pytest.approx(-math.log(1 / 4 * 1 / 2 + 1 / 2 * 1 / 2))
    assert information("c", ambiguous) == pytest.approx(-math.log(1 / 8))


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
        reading, _ = readings(generate(12, index).text)[0]
        beginning = reading[:-3]
        prefix = ForcedChooser(beginning)
        prefix_nats = []
        original = prefix._pick

        def counted(n, weights, original=original, prefix=prefix, beginning=beginning, prefix_nats=prefix_nats):
            if len(prefix.taken) == len(beginning):
                prefix_nats.append(prefix.nats)
            return original(n, weights)

        prefix._pick = counted
        tell(prefix)
        total, unexplored = 0.0, [beginning]
        while unexplored:
            chooser = ForcedChooser(unexplored.pop())
            tell(chooser)
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
