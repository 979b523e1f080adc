"""What stories are made of: people, animals, things, places, times and qualities, each with its English and German.

An entity knows its words, not its sentences: `english.py` and `german.py` put it into the form a sentence asks for
("a kite", "the kite", "it"; "ein Drachen", "den Drachen", "ihn").
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Noun:
    """Somebody or something that can be named.

    en, de: the bare words ("kite", "Drachen"). gender: German "m", "f" or "n". pronoun: English "he", "she" or "it".
    proper: used without an article (Mia, Grandmother). oblique: German form outside the nominative where it differs
    (der Junge, den Jungen). tags: free marks that plots look at (what it is made of, who mends it …).
    """

    en: str
    de: str
    gender: str
    pronoun: str = "it"
    proper: bool = False
    oblique: str = ""
    tags: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Place:
    """Somewhere to be: `at` and `to` in English, where (dative) and whither (accusative or zu) in German."""

    en: str
    at: str
    to: str
    de_at: str
    de_to: str


@dataclass(frozen=True, eq=False)
class Word:
    """A word or fixed phrase with one form in each language (German adjectives as stems that take endings)."""

    en: str
    de: str
    tags: dict[str, object] = field(default_factory=dict)
