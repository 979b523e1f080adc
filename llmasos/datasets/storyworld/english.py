"""The English form of an entity in a sentence.

A slot in a sentence is written `{words role}`, for example `{the thing}`, `{a trait child}`, `{his friend}`,
`{at place}`, `{hero's}`. This file turns the words and the entity into text, with articles (a/an), pronouns and
possessives.
"""

from __future__ import annotations

from functools import cache

from llmasos.datasets.storyworld.entities import Noun, Place, Word

PRONOUNS = {
    "he": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
    "she": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "it": {"he": "it", "him": "it", "his": "its", "himself": "itself"},
}


def with_article(phrase: str) -> str:
    """Put the indefinite article before `phrase`: "a kite", "an old kite", "a unicycle"."""
    return ("an " if phrase[0] in "aeiou" and not phrase.startswith("uni") else "a ") + phrase


@cache
def inflect(entity: Noun | Place | Word, determiner: str, adjective: str, possessive: bool) -> str:
    """Return the English words for `entity`.

    Args:
        entity: the entity to name.
        determiner: "", "a", "the", "at", "to", or a pronoun in its masculine form ("he", "him", "his", "himself"),
            which replaces the noun.
        adjective: an English adjective or "".
        possessive: whether to add 's.
    """
    if determiner in ("at", "to"):
        return getattr(entity, determiner)
    if determiner in PRONOUNS["he"]:
        return PRONOUNS[entity.pronoun][determiner]
    phrase = f"{adjective} {entity.en}" if adjective else entity.en
    if determiner == "a":
        phrase = with_article(phrase)
    elif determiner == "the" and not entity.proper:
        phrase = "the " + phrase
    return phrase + "'s" if possessive else phrase
