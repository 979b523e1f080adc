"""The entities of the stories: people, animals, things, places, times and qualities, each in English and German.

An entity holds its words, not its inflected forms: `english.py` and `german.py` produce the form that a sentence needs
("a kite", "the kite", "it"; "ein Drachen", "den Drachen", "ihn").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, eq=False)
class Noun:
    """A person, an animal or a thing.

    Attributes:
        en, de: the bare words ("kite", "Drachen").
        gender: German "m", "f" or "n".
        pronoun: English "he", "she" or "it".
        proper: whether the noun is used without an article (Mia, Grandmother).
        oblique: the German form in the other cases if it differs from the nominative (der Junge, den Jungen).
        tags: any properties that plots use (what it is made of, who repairs it, …).
    """

    en: str
    de: str
    gender: str
    pronoun: str = "it"
    proper: bool = False
    oblique: str = ""
    tags: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Place:
    """A place, with its location ("at") and direction ("to") in English and in German (dative; accusative or zu)."""

    en: str
    at: str
    to: str
    de_at: str
    de_to: str


@dataclass(frozen=True, eq=False)
class Word:
    """A word or fixed phrase with one form in each language (German adjectives are stems that take endings)."""

    en: str
    de: str
    tags: dict[str, Any] = field(default_factory=dict)


Entity: TypeAlias = Any  # a Noun, Place or Word: the plot determines which of them plays a role
