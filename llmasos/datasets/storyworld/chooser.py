"""The only source of randomness in the generator.

Every decision of the generator is made by `Chooser.pick`, which adds the decision's information, -log p in nats, to
`nats`. A story's probability is the product over its decisions, so `nats` is exact when the story ends.

`ForcedChooser` has the same `pick`, but follows a script of option numbers. The proof (`proof.py`) uses it to
visit every story that the generator can produce.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any


class Chooser:
    """Draws decisions from a seeded generator and counts their information in nats."""

    def __init__(self, seed: int, index: int):
        """Start the stream of story number `index` of corpus `seed`; the same pair always gives the same decisions."""
        self._uniform = random.Random(f"storyworld {seed} {index}").random
        self.nats = 0.0

    def pick(self, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """Return one of `options`, drawn in proportion to `weights` (all equal if None); add -log p to `nats`."""
        return options[self._pick(len(options), weights)]

    def _pick(self, n: int, weights: Sequence[float] | None) -> int:
        if weights is None:
            self.nats += math.log(n)
            return int(self._uniform() * n)
        total = sum(weights)
        threshold = self._uniform() * total
        for i in range(n):
            threshold -= weights[i]
            if threshold < 0 and weights[i] > 0:
                break
        else:  # past the end by a rounding error: take the last possible option
            i = max(j for j in range(n) if weights[j] > 0)
        self.nats += math.log(total / weights[i])
        return i


def information_of(i: int, n: int, weights: Sequence[float] | None) -> float:
    """Return -log of the probability that option `i` of `n` is drawn, in nats."""
    return math.log(n) if weights is None else math.log(sum(weights) / weights[i])


class ForcedChooser(Chooser):
    """Follows `script` (option numbers), then takes the first possible option each time and records the others."""

    def __init__(self, script: Sequence[int] = ()):
        self.script = list(script)
        self.taken: list[int] = []
        self.open: list[tuple[int, ...]] = []  # scripts of the branches not taken after the end of `script`
        self.nats = 0.0

    def _pick(self, n: int, weights: Sequence[float] | None) -> int:
        position = len(self.taken)
        if position < len(self.script):
            i = self.script[position]
        else:
            possible = [j for j in range(n) if weights is None or weights[j] > 0]
            i = possible[0]
            self.open.extend((*self.taken, j) for j in possible[1:])
        self.taken.append(i)
        self.nats += information_of(i, n, weights)
        return i

    def skip_to(self, taken: Sequence[int], nats: float) -> None:
        """Take the decisions that are already known, all at once; `nats` is their information."""
        self.taken, self.nats = list(taken), nats
