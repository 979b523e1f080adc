"""A plot: one type of story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmasos.datasets.storyworld.entities import Noun
from llmasos.datasets.storyworld.teller import Teller


@dataclass(frozen=True)
class Plot:
    """A type of story.

    Attributes:
        name: the plot's name, part of the combination that determines a story's split.
        things: the things that the story can be about (the role "thing").
        tell: the function that tells the story after the opening and returns the name of its outcome.
        outcomes: outcome → ("happy" or "sad", one-line summary with English slots).
        questions: label → question with English slots, for the answers marked `<label:...>` in the plot's lines.
    """

    name: str
    things: tuple[Noun, ...]
    tell: Callable[[Teller], str]
    outcomes: dict[str, tuple[str, str]]
    questions: dict[str, str]
