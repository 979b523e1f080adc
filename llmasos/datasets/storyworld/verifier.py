"""The world as an environment for experiments: exact facts about any text, from the generator.

    log_prob(text)              log p(text) in nats, summed over all ways to generate it; -inf if there is none
    prefix_log_prob(text)       log of the probability that a story begins with these words
    valid_prefix(text)          whether a story can begin like this; valid_prefix_length: how many characters can
    next_word_probs(prefix)     p(word | prefix) of every word that can follow; the same for characters and sentences:
                                next_char_probs, next_sentence_probs
    facts(text)                 who, what and how it ends, as recovered by the generator; summary_facts for a summary
    read_story(text)            the whole story, with its German version and its questions

The chain rule connects them: the product of the next words' probabilities is e^log_prob. A text is one English story in
the form of `Story.text`. There is no search in German: `Story.german` follows from the English text and is aligned with
it sentence by sentence. The answers of conversations (`Story.instructions`) follow from the story, too.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from llmasos.datasets.storyworld.lines import parse_start
from llmasos.datasets.storyworld.matching import Goal, Way
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.datasets.storyworld.proof import branches, information, readings, valid_prefix_length
from llmasos.datasets.storyworld.splits import log_probability
from llmasos.datasets.storyworld.story import Story
from llmasos.datasets.storyworld.world import DEFAULT_WORLD, World
from llmasos.errors import UserError


def log_prob(text: str, split: str | None = None, world: World = DEFAULT_WORLD) -> float:
    """Return log p(text) in nats; -inf for a text that is not a story.

    >>> from llmasos.datasets.storyworld import generate
    >>> story = generate(seed=0, index=7)
    >>> round(log_prob(story.text) + story.information, 9)
    0.0

    Args:
        text: a whole story.
        split: "train" or "val" for the distribution of that split alone: stories of the other split have -inf.
        world: the world that the story is from.

    Raises:
        UserError: there is no such split.
    """
    if split is None:
        return -information(text, world=world)
    check_split(split)
    own = [math.exp(-way.nats) for way in readings(text, world=world) if way.story.split == split]
    return math.log(math.fsum(own)) - log_probability(split, world) if own else -math.inf


def prefix_log_prob(prefix: str, world: World = DEFAULT_WORLD) -> float:
    """Return the log of the probability that a story begins with these words, in nats; -inf if none does.

    It is the sum of the logs of the next words' probabilities, in one search.

    >>> round(math.exp(prefix_log_prob("Once there was a")), 4)  # one of seven first sentences; "a" has 9/10
    0.1286

    Args:
        prefix: the first words of a story, the last one whole. Space at its ends does not matter.
        world: the world that the story is from.
    """
    prefix = prefix.strip(" ")
    if not prefix:
        return 0.0
    nats = [way.nats for way in _beyond(f"{prefix} ", lambda beyond, sentence_ends: True, world)]
    nats += [way.nats for way in readings(prefix, world=world)]  # the stories that end here
    return math.log(math.fsum(math.exp(-n) for n in nats)) if nats else -math.inf


def valid_prefix(text: str, world: World = DEFAULT_WORLD) -> bool:
    """Whether a story of the world begins with this text.

    >>> valid_prefix("Once there was a bra"), valid_prefix("Once there was a king")
    (True, False)
    """
    return valid_prefix_length(text, world) == len(text)


def next_word_probs(prefix: str, world: World = DEFAULT_WORLD) -> dict[str, float]:
    """Return p(word | prefix) of each word that can follow, the most likely first; "" stands for the story's end.

    Words are separated by spaces and include their punctuation.

    >>> probabilities = next_word_probs("Once there was")
    >>> f"{probabilities['a']:.2f} {probabilities['an']:.2f}"
    '0.90 0.10'

    Args:
        prefix: the first words of a story, "" for none. Space at its ends does not matter.
        world: the world that the story is from.

    Raises:
        UserError: no story begins with these words.
    """
    ways, ends = _after(prefix.strip(" "), lambda beyond, sentence_ends: sentence_ends or " " in beyond, world)
    words = [(way.beyond.split(" ")[0], way.nats) for way in ways]
    return _distribution([*words, *ends], prefix)


def next_sentence_probs(prefix: str, world: World = DEFAULT_WORLD) -> dict[str, float]:
    """Return p(sentence | prefix) of each sentence that can follow, the most likely first; "" stands for the end.

    A sentence is what the generator adds in one step: a line of direct speech may have several full stops. If the
    prefix ends within a sentence, the rest of that sentence comes next.

    >>> sentences = next_sentence_probs("")  # all first sentences
    >>> len(sentences), f"{sum(sentences.values()):.3f}"
    (14640, '1.000')

    Args:
        prefix, world: as for `next_word_probs`.

    Raises:
        UserError: no story begins with these words.
    """
    ways, ends = _after(prefix.strip(" "), lambda beyond, sentence_ends: sentence_ends, world)
    return _distribution([*((way.beyond, way.nats) for way in ways), *ends], prefix)


def next_char_probs(prefix: str, world: World = DEFAULT_WORLD) -> dict[str, float]:
    """Return p(character | prefix) of each character that can follow, the most likely first; "" stands for the end.

    >>> next_char_probs("Once there was a b")
    {'r': 1.0}

    Raises:
        UserError: no story begins with this text.
    """
    ways = _beyond(prefix, lambda beyond, sentence_ends: beyond != "", world)
    return _distribution([(way.beyond[:1], way.nats) for way in ways], prefix)


def _after(prefix: str, goal: Goal, world: World) -> tuple[Iterable[Way], list[tuple[str, float]]]:
    """Return the ways to continue whole words up to the goal, and ("", nats) of each way to end the story there."""
    ends = readings(prefix, world=world) if prefix else []
    return _beyond(f"{prefix} " if prefix else "", goal, world), [("", end.nats) for end in ends]


def _beyond(target: str, goal: Goal, world: World) -> Iterable[Way]:
    """Yield the ways to generate a text with a continuation up to the goal, or up to the end of the story."""
    for teller, whole in branches(target, goal, world=world):
        yield from teller.ways
        if whole:
            yield whole


def _distribution(outcomes: list[tuple[str, float]], prefix: str) -> dict[str, float]:
    """Return the normalized probability of each outcome, from the ways that lead to it, each an (outcome, nats)."""
    if not outcomes:
        raise UserError(
            f"no story begins with {prefix[-60:]!r}; valid_prefix_length says how much of a text is possible."
        )
    by_outcome: dict[str, list[float]] = defaultdict(list)
    for outcome, nats in outcomes:
        by_outcome[outcome].append(math.exp(-nats))
    sums = {outcome: math.fsum(summands) for outcome, summands in by_outcome.items()}
    total = math.fsum(sums.values())
    return {outcome: sums[outcome] / total for outcome in sorted(sums, key=lambda o: (-sums[o], o))}


def check_split(split: str) -> None:
    """Raise UserError unless `split` is the name of a split."""
    if split not in ("train", "val"):
        raise UserError(f"Storyworld has no split {split!r}; it has train and val.")


@dataclass(frozen=True)
class Facts:
    """The facts of a story.

    Attributes:
        hero, trait, home: who it is about. The home is "" in stories that do not mention it.
        plot, thing: the plot, and the thing that it is about.
        outcome, ending: the ending: one of the plot's outcomes, and "happy" or "sad".
        answers: label → answer of each question that the story answers ("friend", "where", …).
    """

    hero: str
    trait: str
    home: str
    plot: str
    thing: str
    outcome: str
    ending: str
    answers: dict[str, str]


def facts(text: str, world: World = DEFAULT_WORLD) -> Facts | None:
    """Return the facts of a story, as recovered by the generator; None for a text that is not a story of this world.

    >>> from llmasos.datasets.storyworld import generate
    >>> read = facts(generate(seed=0, index=7).text)
    >>> (read.hero, read.plot, read.thing, read.ending) == (*generate(seed=0, index=7).combination, read.ending)
    True
    """
    story = read_story(text, world)
    if story is None:
        return None
    hero, plot, thing = story.combination
    home = story.cast["home"].en if "home" in story.cast else ""
    answers = {question.label: question.answer for question in story.questions}
    return Facts(hero, story.cast["trait"].en, home, plot, thing, story.outcome, story.ending, answers)


def read_story(text: str, world: World = DEFAULT_WORLD) -> Story | None:
    """Return the `Story` with this text, with its German version and its questions; None if this world has no such one.

    >>> from llmasos.datasets.storyworld import generate
    >>> read_story(generate(seed=0, index=7).text).title == generate(seed=0, index=7).title
    True
    """
    ways = readings(text, world=world)
    return min(ways, key=lambda way: way.nats).story if ways else None  # no known story has more than one way


def summary_facts(summary: str) -> dict[str, str] | None:
    """Return who, what and the outcome of a one-sentence summary, by role; None if the text is not in that form.

    People and things can be any words, so a summary about a hero who is not in the story can be recognized as wrong.

    >>> summary_facts("Mia loses a scarf and never finds it again.")
    {'plot': 'lost', 'outcome': 'never', 'hero': 'Mia', 'thing': 'scarf'}
    """
    matches = [
        (plot, outcome, match)
        for plot in PLOTS
        for outcome, (_, template) in plot.outcomes.items()
        if (match := _pattern(template).fullmatch(summary.strip()))
    ]
    for plot, outcome, match in matches:
        roles = {role: re.sub("^(a|an|the) ", "", words) for role, words in match.groupdict().items()}
        # "Mia makes … for …, but it is ruined." fits a dish and a present: only the thing distinguishes them
        if len(matches) == 1 or roles.get("thing") in {thing.en for thing in plot.things}:
            return {"plot": plot.name, "outcome": outcome, **roles}
    return None


@cache
def _pattern(template: str) -> re.Pattern:
    """Return a regular expression for a summary, with a group for each role."""
    pattern, seen = "", set()
    for part in parse_start(template).flat:
        if isinstance(part, str):
            pattern += re.escape(part)
        else:
            pattern += f"(?P={part.role})" if part.role in seen else f"(?P<{part.role}>[^.,;]+?)"
            seen.add(part.role)
    return re.compile(pattern)
