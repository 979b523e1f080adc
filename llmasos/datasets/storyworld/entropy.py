"""The entropy of storyworld: an estimate of the mean information of a story, with a confidence interval.

The entropy H = E[-log p(text)] is the lowest mean loss per story that any language model can reach. Each story
comes with its exact -log p (see `proof.py`), so the mean over n independent stories is an unbiased estimate of H with
standard error s / sqrt(n). Per word and per character, the estimate is a ratio of two means; its standard error comes
from the residuals nats - ratio * length (the usual linearization).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.datasets.storyworld.story import Story

Z95 = 1.96  # a normal variable is within 1.96 standard deviations of its mean with probability 95 %


@dataclass(frozen=True)
class Estimate:
    """A mean in nats and the half-width of its 95 % confidence interval."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.half_width:.4f}"


def per_unit(nats: Sequence[float], units: Sequence[float]) -> Estimate:
    """Estimate E[nats] / E[units] from independent stories; with all units 1 this is the mean per story."""
    n = len(nats)
    ratio = math.fsum(nats) / math.fsum(units)
    squares = math.fsum((a - ratio * b) ** 2 for a, b in zip(nats, units, strict=True))
    standard_error = math.sqrt(squares / (n - 1) / n) / (math.fsum(units) / n)
    return Estimate(ratio, Z95 * standard_error)


def entropy(stories: Sequence[Story]) -> dict[str, Estimate]:
    """Estimate the entropy per "story", "word" and "character" of text (without its end) from stories of one split."""
    nats = [story.nats for story in stories]
    return {
        "story": per_unit(nats, [1.0] * len(stories)),
        "word": per_unit(nats, [float(len(story.text.split())) for story in stories]),
        "character": per_unit(nats, [float(len(story.text)) for story in stories]),
    }
