"""The teller of one story: the cast and the state of the small world, with methods for decisions and sentences.

A plot is a function that calls this class. It plans who or what plays each role (`plan`), moves them through the world
(`move`, `take`, `give` and `leave`, which raise an error for anything impossible, such as giving something to somebody
who is elsewhere), branches (`branch`, `chance`) and adds sentences (`say`). Every decision goes through the chooser, as
late as possible: only when the next words depend on it, so that the text reveals each decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmasos.datasets.storyworld.chooser import Chooser
from llmasos.datasets.storyworld.entities import Entity, Noun, Place
from llmasos.datasets.storyworld.lines import Cast, Line, Slot, parse_blocks
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.world import DEFAULT_WORLD, World


class Impossible(Exception):
    """A plot tried something that the world does not allow. This is always a bug in the plot."""


class Teller:
    """The state of one story while it is told."""

    def __init__(self, chooser: Chooser, world: World = DEFAULT_WORLD):
        """Start a story of a world."""
        self.chooser, self.world = chooser, world
        self.roles: Cast = {}
        self.planned: dict[str, Sequence[Entity]] = {}  # role that is not drawn yet → its options
        self.lines: list[tuple[Line, bool]] = []  # (line, whether it has "he" or "she" for the hero's name)
        self.sentences: list[str] = []
        self.hero_is_topic, self._since_name = False, 0
        self.days_passed = False  # whether the story has left its first day
        self.where: dict[str, str] = {"hero": "home"}  # role → key of its place, or the role of its holder
        self._watchers: dict[str, Callable[[], None]] = {}
        self._given: dict[str, tuple[str, Callable[[Entity], Sequence[float]]]] = {}

    # ---- decisions -------------------------------------------------------------------------------------------------
    def plan(
        self,
        role: str,
        options: Sequence[Entity],
        given: str = "",
        weights: Callable[[Entity], Sequence[float]] | None = None,
    ) -> None:
        """Let `role` be drawn from `options` when the text first names it.

        Args:
            role: the role to be drawn.
            options: the entities that can play it, equally likely unless there are `weights`.
            given: the role that this one depends on; it is drawn first.
            weights: the function from the entity that plays `given` to the probability of each option.
        """
        self.planned[role] = options
        if weights:
            self._given[role] = given, weights

    def watch(self, role: str, action: Callable[[], None]) -> None:
        """Call `action` as soon as `role` has been drawn."""
        self._watchers[role] = action

    def resolve(self, role: str) -> Entity:
        """Return the entity that plays `role`; draw it now if it is only planned."""
        if role in self.planned:
            weights = self.weights(role, self.roles)
            self.roles[role] = self.chooser.pick(self.planned.pop(role), weights)
            if role in self._watchers:
                self._watchers[role]()
        return self.roles[role]

    def weights(self, role: str, cast: Cast) -> Sequence[float] | None:
        """Return the weights of a planned role's options; None if they are equally likely."""
        if role not in self._given:
            return None
        given, weights = self._given[role]
        return weights(cast[given])

    def set(self, role: str, entity: Entity) -> None:
        """Give `role` to `entity` without a decision."""
        self.roles[role] = entity

    def branch(self, **weights: float) -> str:
        """Draw one of the named branches with probability proportional to its weight."""
        return self.chooser.pick(tuple(weights), tuple(weights.values()))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.chooser.pick((True, False), (probability, 1 - probability))

    def lean(self, quality: str) -> int:
        """Return the hero's "courage", "patience", "kindness" or "care": -1, 0 or 1."""
        return self.roles["trait"].tags.get(quality, 0)

    @property
    def weather(self) -> str:
        """The weather of the day ("sunny", "windy" …), or "" before the day is known."""
        return self.roles["day"].tags["weather"] if "day" in self.roles else ""

    # ---- sentences -------------------------------------------------------------------------------------------------
    def begins(self, *starts: str) -> None:
        """State how the next sentence may begin in English.

        This changes no story. It belongs before decisions that are made before the text shows them: the search for the
        ways to tell a text (`matching.py`) can then give up at once instead of trying all their options.
        """

    def say(self, *blocks: str) -> None:
        """Add one row of all `blocks`, drawn uniformly, with one of its alternatives."""
        rows = parse_blocks(blocks)
        row = rows[0] if len(rows) == 1 else self.chooser.pick(rows)
        line = row[0] if len(row) == 1 else self.chooser.pick(row)
        pronoun = line.topical and self.hero_is_topic
        pieces = []
        for part in line.flat:
            if part.__class__ is not str:
                if self.planned:
                    for role in self.undrawn(part, self.roles):
                        self.resolve(role)
                part = part.english(self.roles, pronoun)
            pieces.append(part)
        self.add(line, pronoun, "".join(pieces))

    def undrawn(self, slot: Slot, cast: Cast) -> list[str]:
        """Return the roles that must be drawn before the slot can be filled, in this order."""
        roles = [role for role in slot.roles if role in self.planned and role not in cast]
        if roles and self._given:
            before = [self._given[role][0] for role in roles if role in self._given]
            roles = [role for role in before if role not in cast] + [role for role in roles if role not in before]
        return roles

    def add(self, line: Line, pronoun: bool, sentence: str) -> None:
        """Add a sentence: the English of a line, with or without a pronoun for the hero's name."""
        self.lines.append((line, pronoun))
        self._update_topic(line, pronoun)
        self.sentences.append(sentence)

    def _update_topic(self, line: Line, pronoun: bool) -> None:
        """Decide whether the next sentence may call the hero "he" or "she".

        It may if this sentence mentions the hero and nobody else to whom the pronoun could refer, and the name is near.
        """
        if "hero" not in line.roles:
            self.hero_is_topic = False
            return
        named = line.names_hero or (line.topical and not pronoun)
        self._since_name = 0 if named else self._since_name + 1
        hero = self.roles["hero"]
        rivals = (self.roles.get(role) for role in line.roles if role != "hero")
        unique = not any(isinstance(other, Noun) and other.pronoun == hero.pronoun for other in rivals)
        self.hero_is_topic = unique and self._since_name < 3

    def maybe(self, block: str, probability: float = 0.5) -> bool:
        """Add one of the lines of `block` with this probability; return whether it was added."""
        if added := self.chance(probability):
            self.say(block)
        return added

    # ---- the world -------------------------------------------------------------------------------------------------
    def place(self, role: str) -> str:
        """Return the key of the place where `role` is, directly or in the hands of its holder."""
        position = self.where[role]
        while position in self.where:
            position = self.where[position]
        return position

    def put(self, role: str, position: str) -> None:
        """Set where somebody or something is at the start: a place's key or the holder's role."""
        self.where[role] = position

    def pass_time(self) -> None:
        """Let days pass: the story is no longer about a single day."""
        self.hero_is_topic, self._since_name = False, 0
        self.days_passed = True

    def move(self, role: str, place: str | Place) -> None:
        """Move somebody to a place, with everything they hold."""
        key = place if isinstance(place, str) else place.en
        if key not in PLACES:
            raise Impossible(f"there is no place '{key}'.")
        if self.where.get(role) in self.where:
            raise Impossible(f"{role} cannot walk while held by {self.where[role]}.")
        self.where[role] = key

    def meet(self, first: str, second: str) -> None:
        """Check that two people are in the same place."""
        if self.place(first) != self.place(second):
            raise Impossible(f"{first} is at {self.place(first)}, {second} at {self.place(second)}.")

    def take(self, role: str, item: str) -> None:
        """Let somebody pick up something in the same place."""
        self.meet(role, item)
        self.where[item] = role

    def give(self, giver: str, item: str, receiver: str) -> None:
        """Let somebody hand something that they hold to somebody in the same place."""
        if self.where[item] != giver:
            raise Impossible(f"{giver} does not have {item}.")
        self.meet(giver, receiver)
        self.where[item] = receiver

    def leave(self, role: str, item: str) -> None:
        """Let somebody put down, drop or lose something that they hold, in the place where they are."""
        if self.where[item] != role:
            raise Impossible(f"{role} does not have {item}.")
        self.where[item] = self.place(role)

    def gone(self, item: str) -> None:
        """Remove something from the world (eaten, burnt, sunk)."""
        del self.where[item]
