"""The split of a story: combinations are held out, not samples.

A story's combination is (hero's name, plot, thing). A fixed hash assigns about one combination in ten to "val". No
combination of "val" ever occurs in "train", while every hero, every plot and every thing does. So a model must
generalize to new combinations of familiar parts.

Hero, plot and thing are drawn with fixed probabilities, so P(split) is an exact finite sum. The stories of a split
follow the generator's distribution divided by P(split): -log p_split(text) = -log p(text) + log P(split).
"""

from __future__ import annotations

import math
from functools import cache
from hashlib import sha256

from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.datasets.storyworld.world import DEFAULT_WORLD, World

SPLITS = ("train", "val")
HELD_OUT_ONE_IN = 10


@cache
def split_of(hero: str, plot: str, thing: str) -> str:
    """Return the split of a combination."""
    digest = sha256(f"{hero}/{plot}/{thing}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0 else "train"


@cache
def probability(split: str, world: World = DEFAULT_WORLD) -> float:
    """Return P(split): the probability that a story belongs to `split`, summed over all combinations."""
    return math.fsum(
        1 / (world.names * world.plots * len(plot.things[: world.things]))
        for hero in world.children
        for plot in PLOTS[: world.plots]
        for thing in plot.things[: world.things]
        if split_of(hero.en, plot.name, thing.en) == split
    )


@cache
def log_probability(split: str, world: World = DEFAULT_WORLD) -> float:
    """Return log P(split) in nats."""
    return math.log(probability(split, world))
