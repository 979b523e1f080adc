"""The search for every way to generate a text: the generator's decisions, restricted to those that fit the text.

The generator is a program with choices, and a text is the result of some sequence of them. The search visits every
sequence that results in the text. Two ideas make it fast without missing any:

- **A sentence is matched as a whole.** `MatchingTeller.say` compares every row and alternative with the text, draws
  only entities whose words fit, and keeps the complete matches: nearly always one or none.
- **A branch does not start over.** A plot is a function, so each option of a decision calls it again from its start.
  But the sentences up to that decision are known, and are repeated without comparing them again.

With a `goal`, the text is only the beginning of a story. Each way to tell it continues until the words after it reach
the goal, and ends there; this sums over all later decisions.
"""

from __future__ import annotations

import math
from bisect import bisect, bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from os.path import commonprefix
from typing import Any, NamedTuple

from llmasos.datasets.storyworld.chooser import ForcedChooser, information_of
from llmasos.datasets.storyworld.entities import Entity
from llmasos.datasets.storyworld.lines import Cast, Line, Slot, parse_blocks, parse_start
from llmasos.datasets.storyworld.teller import Teller
from llmasos.datasets.storyworld.world import DEFAULT_WORLD, World

# (the text beyond the target, whether a sentence ends with it) → whether to stop
Goal = Callable[[str, bool], bool]
Picks = tuple[tuple[int, float], ...]  # decisions within a sentence: (number of the option, its information in nats)


class Mismatch(Exception):
    """No sentence continues the story in agreement with the text, or every one that does has reached the goal."""


class Way(NamedTuple):
    """One way to tell a text.

    Attributes:
        script: the decisions, as numbers of options.
        nats: -log of its probability.
        story: the story; None if the way ended at the goal.
        beyond: the text after the target, up to the goal.
    """

    script: tuple[int, ...]
    nats: float
    story: Any
    beyond: str = ""


class Sentence(NamedTuple):
    """A sentence that fits the text.

    Attributes:
        line, pronoun, text: the line, whether it has "he" or "she" for the hero's name, and its English text.
        drawn: the roles first named in it, with their entities.
        script, nats: all decisions of the story up to the sentence's end, and their information.
        end: the number of characters of the story up to the sentence's end.
    """

    line: Line
    pronoun: bool
    text: str
    drawn: Cast
    script: tuple[int, ...]
    nats: float
    end: int


class MatchingTeller(Teller):
    """A teller that may only tell the sentences of a given text.

    Args:
        chooser: the chooser of the decisions that are not words: which plot, which branch.
        target: the text.
        known: the first sentences, matched in an earlier branch.
        goal: where to stop beyond the target; None = the story must end with it.
        world: the world whose stories may be told.

    Attributes:
        alternatives: (script, known) of the branches that `say` has not taken.
        ways: the ways that ended at the goal.
        furthest: the number of characters of the target that could be matched.
    """

    chooser: ForcedChooser

    def __init__(
        self,
        chooser: ForcedChooser,
        target: str,
        known: Sequence[Sentence] = (),
        goal: Goal | None = None,
        world: World = DEFAULT_WORLD,
    ):
        super().__init__(chooser, world)
        self.target, self.goal = target, goal
        self.known = list(known)
        self.alternatives: list[tuple[tuple[int, ...], list[Sentence]]] = []
        self.ways: list[Way] = []
        self.furthest = min(known[-1].end, len(target)) if known else 0
        self._first: dict[str, list[Entity]] = {}  # role → its possible entities, if the next sentence begins with it

    def say(self, *blocks: str) -> None:
        """Add the first sentence that fits the text. Raises Mismatch if there is none."""
        number = len(self.sentences)
        if number == len(self.known):
            fitting = list(self._fitting(parse_blocks(blocks)))
            if not fitting:
                raise Mismatch
            self.alternatives += ((other.script, [*self.known, other]) for other in fitting[1:])
            self.known.append(fitting[0])
        sentence = self.known[number]
        self.chooser.skip_to(sentence.script, sentence.nats)
        for role, entity in sentence.drawn.items():
            del self.planned[role]
            self.roles[role] = entity
        self.add(sentence.line, sentence.pronoun, sentence.text)

    def known_before(self, script: tuple[int, ...]) -> list[Sentence]:
        """Return the sentences that were told before the last decision of a script."""
        return self.known[: bisect_left(self.known, len(script), key=lambda sentence: len(sentence.script))]

    def begins(self, *starts: str) -> None:
        """Raise Mismatch unless the text continues with one of these beginnings of a sentence."""
        if len(self.sentences) == len(self.known):
            fitting = list(self._fitting([(parse_start(start),) for start in starts], whole=False))
            if not fitting:
                raise Mismatch
            for role in set.intersection(*({*sentence.drawn} for sentence in fitting)):
                self._first[role] = [sentence.drawn[role] for sentence in fitting]

    def resolve(self, role: str) -> Entity:
        """Return the entity that plays `role`: one that fits the text if the next sentence begins with it."""
        options, first_branch = self.planned.get(role), len(self.chooser.open)
        entity = super().resolve(role)
        if options and role in self._first:
            branches = self.chooser.open[first_branch:]
            self.chooser.open[first_branch:] = [s for s in branches if options[s[-1]] in self._first[role]]
            if entity not in self._first[role]:
                raise Mismatch
        return entity

    def _fitting(self, rows: Sequence[Sequence[Line]], whole: bool = True) -> Iterator[Sentence]:
        """Yield each way to tell one of these lines (if not `whole`, only its beginning) at this point of the text."""
        length = self.known[-1].end if self.known else 0
        space = " " if self.sentences else ""
        if not self._fits(space, length) or (space and whole and self._at_goal(length + 1, space, ())):
            return
        length += len(space)
        for i, row in enumerate(rows):
            for j, line in enumerate(row):
                first = line.flat[0]
                if first.__class__ is not str or self._fits(first, length):
                    picks: Picks = ((i, math.log(len(rows))),) if len(rows) > 1 else ()
                    picks += ((j, math.log(len(row))),) if len(row) > 1 else ()
                    pronoun = line.topical and self.hero_is_topic
                    yield from self._match(line, pronoun, whole, length, space, picks)

    def _match(
        self,
        line: Line,
        pronoun: bool,
        whole: bool,
        length: int,
        text: str,
        picks: Picks,
        first: int = 0,
        drawn: Cast | None = None,
    ) -> Iterator[Sentence]:
        """Yield each way to tell a line after `text`, from part number `first`; the roles in `drawn` are new."""
        drawn = drawn or {}
        cast = {**self.roles, **drawn} if drawn else self.roles
        for number in range(first, len(line.flat)):
            part = line.flat[number]
            if part.__class__ is not str:
                if self.planned and (undrawn := self.undrawn(part, cast)):
                    role, options = undrawn[0], self.planned[undrawn[0]]
                    weights = self.weights(role, cast)
                    words = None  # the slot's words for each option; unknown while another role must be drawn first
                    if undrawn == [role] and role in part.roles:
                        words = words_of(part, role, tuple(options), *(cast[r] for r in part.roles if r in cast))
                    draws = [
                        ((*picks, (i, information_of(i, len(options), weights))), {**drawn, role: options[i]})
                        for i in self._fitting_options(words, weights, len(options), length)
                    ]
                    if len(draws) != 1 or len(undrawn) > 1:
                        for picks, drawn in draws:
                            yield from self._match(line, pronoun, whole, length, text, picks, number, drawn)
                        return
                    [(picks, drawn)] = draws
                    cast = {**self.roles, **drawn}
                part = part.english(cast, pronoun)
            if not self._fits(part, length):
                return
            length, text = length + len(part), text + part
            if length >= len(self.target) and whole and self._at_goal(length, text, picks):
                return
        if not (whole and self._at_goal(length, text, picks, True)):
            yield Sentence(line, pronoun, text.removeprefix(" "), drawn, *self._decided(picks), length)

    def _fitting_options(
        self, words: Words | None, weights: Sequence[float] | None, n: int, length: int
    ) -> Sequence[int]:
        """Return which of n options have words that can continue the story after `length` characters.

        Nearly all options are equally likely, and at most one usually fits, so it is looked up instead of searched for.
        """
        possible = range(n) if weights is None else [i for i in range(n) if weights[i] > 0]
        if words is None:
            return possible
        rest = self.target[length : length + words.lengths[-1]]
        if weights is not None or len(rest) < words.lengths[-1]:
            return [i for i in possible if self._fits(words.texts[i], length)]
        place = bisect(words.ordered, rest)
        for text in words.ordered[max(place - 1, 0) : place + 1]:  # a neighbor has the longest common prefix
            self._fits(text, length)
        return sorted(i for size in words.lengths for i in words.numbers.get(rest[:size], ()))

    def _fits(self, piece: str, length: int) -> bool:
        """Whether the story can continue with this piece after `length` characters; updates `furthest`."""
        target = self.target
        if target.startswith(piece, length):
            end = length + len(piece)
            if end > self.furthest:
                self.furthest = end
            return True
        if length >= len(target):
            return self.goal is not None
        seen = self.furthest - length + 1  # only a piece that matches further than all earlier ones matters
        if target.startswith(piece[:seen], length):
            self.furthest = length + len(commonprefix((piece, target[length:])))
        return self.goal is not None and piece.startswith(target[length:])

    def _at_goal(self, length: int, text: str, picks: Picks, sentence_ends: bool = False) -> bool:
        """Whether the goal is reached after `length` characters that end with `text`; if so, record the way."""
        if self.goal is None or length < len(self.target):
            return False
        n_beyond = length - len(self.target)
        told = text if n_beyond <= len(text) else " ".join(self.sentences) + text
        beyond = told[len(told) - n_beyond :]
        if not self.goal(beyond, sentence_ends):
            return False
        self.ways.append(Way(*self._decided(picks), None, beyond))
        return True

    def _decided(self, picks: Picks) -> tuple[tuple[int, ...], float]:
        """Return the script and the nats of the story so far, extended by these decisions."""
        nats = self.chooser.nats
        for _, information in picks:
            nats += information
        return (*self.chooser.taken, *(number for number, _ in picks)), nats


class Words(NamedTuple):
    """The English of a slot for each entity that may play a role of it.

    Attributes:
        texts: the text of each option.
        ordered: the texts in alphabetical order.
        numbers: text → the numbers of the options with this text.
        lengths: the distinct lengths of the texts, the longest last.
    """

    texts: list[str]
    ordered: list[str]
    numbers: dict[str, list[int]]
    lengths: list[int]


@cache
def words_of(slot: Slot, role: str, options: tuple[Entity, ...], other: Entity = None) -> Words:
    """Return the English of a slot for each entity that may play `role` in it; `other` plays the slot's other role."""
    texts = [slot.english({**dict.fromkeys(slot.roles, other), role: entity}) for entity in options]
    numbers: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        numbers.setdefault(text, []).append(i)
    return Words(texts, sorted(texts), numbers, sorted({len(text) for text in texts}))
