"""The German form of an entity in a sentence: gender, case, articles, adjective endings, pronouns.

German sentences are written as if everyone and everything in their slots were masculine, because the masculine forms
show the case: `{der thing}` is nominative, `{den thing}` accusative, `{dem thing}` dative. This file makes them agree
with the real gender: `{den thing}` becomes "den Ball", "die Puppe" or "das Buch"; `{seinen thing}` becomes "ihre Puppe"
for a heroine; `{einen rot thing}` "einen roten Ball", "eine rote Puppe", "ein rotes Buch".
"""

from __future__ import annotations

from llmasos.datasets.storyworld.entities import Noun, Place, Word

# case → gender → endings of der-words (dieser), of ein-words (kein), and of an adjective after either of them
ENDINGS = {
    "nominative": {"m": ("er", "", "e", "er"), "f": ("e", "e", "e", "e"), "n": ("es", "", "e", "es")},
    "accusative": {"m": ("en", "en", "en", "en"), "f": ("e", "e", "e", "e"), "n": ("es", "", "e", "es")},
    "dative": {"m": ("em", "em", "en", "en"), "f": ("er", "er", "en", "en"), "n": ("em", "em", "en", "en")},
}
DEFINITE = {
    "nominative": {"m": "der", "f": "die", "n": "das"},
    "accusative": {"m": "den", "f": "die", "n": "das"},
    "dative": {"m": "dem", "f": "der", "n": "dem"},
}
DEFINITE_CASE = {"der": "nominative", "den": "accusative", "dem": "dative"}
PRONOUN = {
    "er": {"m": "er", "f": "sie", "n": "es"},
    "ihn": {"m": "ihn", "f": "sie", "n": "es"},
    "ihm": {"m": "ihm", "f": "ihr", "n": "ihm"},
    "relativ": {"m": "der", "f": "die", "n": "das"},  # relative pronouns: nominative, accusative
    "den-": {"m": "den", "f": "die", "n": "das"},
}
# preposition + article in one word: (masculine and neuter, feminine, the bare preposition before a name)
CONTRACTED = {
    "zum": ("zum", "zur", "zu"),
    "vom": ("vom", "von der", "von"),
    "beim": ("beim", "bei der", "bei"),
    "im": ("im", "in der", "in"),
    "am": ("am", "an der", "an"),
}
CASE_OF_ENDING = {"": "nominative", "en": "accusative", "em": "dative"}


def possessive(word: str, owner: Noun) -> str:
    """Turn a form of "sein" into the owner's word with the same ending: "seine" → "ihre" for a woman."""
    ending = word.removeprefix("sein")
    return ("ihr" if owner.gender == "f" else "sein") + ending


def inflect(
    entity: Noun | Place | Word,
    determiner: str = "",
    adjective: str = "",
    genitive: bool = False,
    owner: Noun | None = None,
) -> str:
    """Return the German words for `entity`.

    Args:
        entity: the entity to name.
        determiner: a masculine form that shows the case (der, den, dem, ein, einen, kein, seinen, dieser, zum, …), a
            pronoun (er, ihn, ihm), "in" or "nach" for places (location, direction), or "".
        adjective: the stem of an adjective ("rot"), or "".
        genitive: whether to add a name's -s.
        owner: the possessor, for forms of "sein".
    """
    if isinstance(entity, Place):
        return {"in": entity.de_at, "nach": entity.de_to}[determiner]
    if isinstance(entity, Word):
        return entity.de
    if determiner in PRONOUN:
        return PRONOUN[determiner][entity.gender]
    if genitive:
        return entity.de + ("'" if entity.de[-1] in "sxzß" else "s")
    if determiner in CONTRACTED:
        masculine, feminine, bare = CONTRACTED[determiner]
        article = bare if entity.proper else feminine if entity.gender == "f" else masculine
        return f"{article} {_adjective(adjective, 'dative', entity.gender, 2)}{entity.oblique or entity.de}"
    if not determiner or entity.proper:
        return entity.de
    article, case, column = _determine(determiner, entity.gender, owner)
    noun = entity.de if case == "nominative" else entity.oblique or entity.de
    return f"{article} {_adjective(adjective, case, entity.gender, column)}{noun}"


def _determine(determiner: str, gender: str, owner: Noun | None) -> tuple[str, str, int]:
    """Make a masculine determiner agree with `gender`. Returns it, its case and the column of an adjective's ending."""
    if determiner in DEFINITE_CASE:
        case = DEFINITE_CASE[determiner]
        return DEFINITE[case][gender], case, 2
    for stem in ("dies", "jed"):
        if determiner.startswith(stem):
            case = {"er": "nominative", "en": "accusative", "em": "dative"}[determiner.removeprefix(stem)]
            return stem + ENDINGS[case][gender][0], case, 2
    for stem in ("sein", "kein", "mein", "dein", "ein"):
        if determiner.startswith(stem):
            case = CASE_OF_ENDING[determiner.removeprefix(stem)]
            word = stem + ENDINGS[case][gender][1]
            return (possessive(word, owner) if stem == "sein" and owner else word), case, 3
    raise ValueError(f"'{determiner}' is not a determiner of this grammar; use the masculine form, e.g. 'den'.")


def _adjective(stem: str, case: str, gender: str, column: int) -> str:
    return f"{stem}{ENDINGS[case][gender][column]} " if stem else ""
