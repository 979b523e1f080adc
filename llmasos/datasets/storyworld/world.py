"""The dials of the world: how many names, things and plots it has, and how traits are distributed.

    World()                                     the default corpus
    World(names=8, things=4, plots=3)           an easier one: fewer combinations to learn
    World(names=48)                             a harder one, with names that are not in the default world
    World(bias=(("brave", "boys", 0.8),))       P(brave | the hero is a boy) = 0.8, the other traits equally likely

Every probability (`log_prob`, the floor, the split) is exact for every setting. In a dataset's name the dials follow
the number of stories: `storyworld:60000:names=8:brave_boys=0.8`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property

from llmasos.datasets.storyworld.entities import Entity, Noun
from llmasos.datasets.storyworld.people import BOYS, GIRLS, MORE_BOYS, MORE_GIRLS, TRAITS, child
from llmasos.errors import UserError, nearest

LEAST = {"names": 2, "things": 1, "plots": 1}
MOST = {"names": 48, "things": 8, "plots": 14}
GROUPS = {"girls": "girl", "boys": "boy"}


@dataclass(frozen=True)
class World:
    """The dials of a world.

    Attributes:
        names: the number of children, 2 to 48, half of them girls (rounded up).
        things: the number of things that each plot can be about, 1 to 8.
        plots: the number of plots, 1 to 14.
        bias: the probabilities of heroes' traits, each (trait, "girls" or "boys", probability); the other traits share
            the rest equally.
    """

    names: int = 24
    things: int = 8
    plots: int = 14
    bias: tuple[tuple[str, str, float], ...] = ()

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not LEAST[name] <= value <= most:
                raise UserError(f"{name} is {value!r}; it must be a whole number from {LEAST[name]} to {most}.")
        for group in GROUPS:
            total = 0.0
            for trait, who, probability in self.bias:
                if trait not in {word.en for word in TRAITS} or who not in GROUPS:
                    known = ", ".join(word.en for word in TRAITS)
                    raise UserError(
                        f"there is no bias {trait}_{who}; write TRAIT_girls or TRAIT_boys (traits: {known})."
                    )
                if not isinstance(probability, int | float) or not 0 <= probability <= 1:
                    raise UserError(f"{trait}_{who} is {probability!r}; it must be a probability from 0 to 1.")
                total += probability if who == group else 0.0
            if total > 1 + 1e-9:
                raise UserError(
                    f"the probabilities of the {group}' traits add up to {total:g}; their sum must be at most 1."
                )
        if len({(trait, who) for trait, who, _ in self.bias}) < len(self.bias):
            raise UserError("a bias is stated twice; state each trait of girls and of boys once.")

    @cached_property
    def children(self) -> list[Noun]:
        """Every child, the girls first."""
        girls, boys = (*GIRLS, *MORE_GIRLS), (*BOYS, *MORE_BOYS)
        return [child(name) for name in (*girls[: (self.names + 1) // 2], *boys[: self.names // 2])]

    @cached_property
    def others(self) -> dict[Noun, list[Noun]]:
        """The other children, for each child."""
        return {child: [other for other in self.children if other is not child] for child in self.children}

    def trait_weights(self, hero: Entity) -> list[float]:
        """Return the probability of each of `TRAITS` for a hero."""
        stated = {trait: p for trait, who, p in self.bias if GROUPS[who] == hero.tags["child"].en}
        rest = max(0.0, 1 - sum(stated.values()))
        n_rest = len(TRAITS) - len(stated)
        if not n_rest:
            return [stated[trait.en] / (1 - rest) for trait in TRAITS]
        return [stated.get(trait.en, rest / n_rest) for trait in TRAITS]

    def __str__(self) -> str:
        """The dials that differ from their defaults, as in a dataset's name."""
        changed = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if f.name != "bias"]
        default = [f"{f.name}={f.default}" for f in fields(self) if f.name != "bias"]
        dials = [dial for dial in changed if dial not in default]
        return ":".join([*dials, *(f"{trait}_{who}={p:g}" for trait, who, p in self.bias)])


DEFAULT_WORLD = World()


def parse_dials(dials: list[str], name: str) -> tuple[World, float]:
    """Parse the dials in a dataset's name. Returns the world and the fraction of dirt.

    >>> parse_dials(["names=8", "brave_boys=0.8", "dirt=0.5"], "storyworld:names=8:…")
    (World(names=8, things=8, plots=14, bias=(('brave', 'boys', 0.8),)), 0.5)

    Args:
        dials: the dials, each NAME=VALUE.
        name: the dataset's name, for the message.

    Raises:
        UserError: there is no such dial, or it is out of range.
    """
    numbers: dict[str, int] = {}
    bias: list[tuple[str, str, float]] = []
    dirt = 0.0
    for dial in dials:
        key, _, text = dial.partition("=")
        trait, _, group = key.partition("_")
        if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", text) or (key in MOST and not text.isdigit()):
            raise UserError(
                f"{name!r} has the dial {dial!r}; write NAME=NUMBER, as in storyworld:names=8:brave_boys=0.8."
            )
        if key in MOST:
            numbers[key] = int(text)
        elif key == "dirt":
            dirt = float(text)
        elif group:
            bias.append((trait, group, float(text)))
        else:
            hint = nearest(key, [*MOST, "dirt"]) or f"; choose {', '.join([*MOST, 'dirt'])} or TRAIT_boys."
            raise UserError(f"storyworld has no dial {key!r}{hint}")
    if not 0 <= dirt <= 1:
        raise UserError(f"dirt is {dirt:g}; it must be a fraction from 0 to 1.")
    return World(**numbers, bias=tuple(bias)), dirt
