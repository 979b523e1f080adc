"""Bilingual lines: the sentences of a story, with slots, in English and German.

A plot writes its sentences as a block of alternating lines, English above German:

    {Hero} hid {the thing} <hidden:under {his} bed>.
        {Hero} versteckte {den thing} unter {seinem} Bett.

- A slot `{words role}` is filled from the cast of the story (role → entity). A capital first letter in the slot gives
  a capital in the text. A lone pronoun (`{he}`, `{ihm}`, `{seine}`) refers to the hero.
- `{Hero~}` is the hero's name, or "he" or "she" if the previous sentence makes that unambiguous.
- `(a|b)` in the English is a choice of words; the German has a matching group `(c|d)`, or the same words for both.
- `<label:...>` marks an answer to the plot's question `label`; it does not appear in the text.

One line is one unit of the translation: its English and German have the same meaning.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from llmasos.datasets.storyworld import english, german
from llmasos.datasets.storyworld.entities import Entity

Cast = dict[str, Entity]  # role → entity
PATTERN = re.compile(r"\{([^{}]+)\}|<(\w+):|(>)")
ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")
LONE = {"he", "him", "his", "himself", "er", "ihn", "ihm"}  # a slot that is only one of these refers to the hero


class Slot:
    """One `{...}`: an entity and the form it takes."""

    def __init__(self, source: str):
        self.topical = source.endswith("~")
        words = source.removesuffix("~").split()
        self.capital = words[0][0].isupper()
        words[0] = words[0][0].lower() + words[0][1:]
        self.owner = "hero"
        if "of" in words:  # "{seinen thing of friend}": the possessor is not the hero
            self.owner = words[-1]
            words = words[:-2]
        self.possessive = words[-1].endswith("'s")
        words[-1] = words[-1].removesuffix("'s")
        self.owner_only = len(words) == 1 and words[0].startswith("sein")  # "{seine} Tasche": just the possessive
        if words[0] in LONE and len(words) == 1:
            words.append("hero")
        self.role, _, self.tag = words[-1].partition(".")  # "{hero.child}" is the entity in the hero's tag "child"
        self.determiner = words[0] if len(words) > 1 else ""
        self.adjective = words[1] if len(words) > 2 else ""
        # the roles whose words the slot shows, in the order of the text (an adjective need not be a role)
        self.roles = (self.adjective, self.role) if self.adjective else (self.role,)

    def _entity(self, cast: Cast) -> Entity:
        return cast[self.role].tags[self.tag] if self.tag else cast[self.role]

    def english(self, cast: Cast, pronoun: bool = False) -> str:
        """Return the English words; `pronoun`: whether a topical slot becomes "he" or "she"."""
        adjective = cast[self.adjective].en if self.adjective in cast else self.adjective
        determiner = "he" if self.topical and pronoun else self.determiner
        text = english.inflect(self._entity(cast), determiner, adjective, self.possessive)
        return text[0].upper() + text[1:] if self.capital else text

    def german(self, cast: Cast, pronoun: bool = False) -> str:
        """Return the German words; `pronoun` as in `english`."""
        owner = cast[self.owner]
        if self.owner_only:
            text = german.possessive(self.role, owner)
        else:
            adjective = cast[self.adjective].de if self.adjective in cast else self.adjective
            determiner = "er" if self.topical and pronoun else self.determiner
            text = german.inflect(self._entity(cast), determiner, adjective, self.possessive, owner)
        return text[0].upper() + text[1:] if self.capital else text


class Line:
    """One sentence of a story (or a short exchange) in both languages, before the cast is filled in."""

    def __init__(self, english_source: str, german_source: str):
        self.english_parts = _parse(english_source)
        self.german_parts = _parse(_german_quotes(german_source))
        self.labels = [label for kind, label in self.english_parts if kind == "open"]
        slots = [part for kind, part in self.english_parts if kind == "slot"]
        self.roles = {slot.role for slot in slots}
        self.names_hero = any(slot.role == "hero" and slot.determiner == "" and not slot.topical for slot in slots)
        self.topical = any(slot.topical for slot in slots)
        if self.topical != ("~}" in german_source):
            raise ValueError(
                f"both languages or neither must mark the hero (~): {english_source!r}, {german_source!r}."
            )
        self.flat = [part for kind, part in self.english_parts if kind in ("text", "slot")]  # str or Slot

    def english(self, cast: Cast, pronoun: bool = False) -> str:
        """Return the sentence in English; `pronoun`: whether it refers to the hero of the previous sentence."""
        return "".join([part if part.__class__ is str else part.english(cast, pronoun) for part in self.flat])

    def german(self, cast: Cast, pronoun: bool = False) -> str:
        """Return the sentence in German."""
        return "".join([part if kind == "text" else part.german(cast, pronoun) for kind, part in self.german_parts])

    def spans(self, cast: Cast, pronoun: bool = False) -> dict[str, tuple[int, int]]:
        """Return label -> (start, end) of the marked answers, in characters of the English sentence."""
        spans, open_spans, length = {}, [], 0
        for kind, part in self.english_parts:
            if kind == "open":
                open_spans.append((part, length))
            elif kind == "close":
                label, start = open_spans.pop()
                spans[label] = (start, length)
            else:
                length += len(part if kind == "text" else part.english(cast, pronoun))
        return spans

    def mentions(self, cast: Cast, pronoun: bool, types: dict[str, str]) -> list[tuple[str, int, int]]:
        """Return (type, start, end) of each mention of an entity by name, in characters of the English sentence.

        A mention is the noun without its article, in a slot of the entity or written out after "the" in the line.

        Args:
            cast: the story's cast.
            pronoun: as in `english`.
            types: role → type of the entities to find.
        """
        nouns = {cast[role].en: type for role, type in types.items() if role in cast}
        written = _written_out(tuple(nouns))
        mentions, length = [], 0
        for part in self.flat:
            is_text = part.__class__ is str
            text = part if is_text else part.english(cast, pronoun)
            if is_text:
                found = [(nouns[match[0]], *match.span()) for match in written.finditer(text)]
            elif not is_text and part.role in types and not part.tag:
                noun = cast[part.role].en
                start = text.find(noun) if noun in text else text.find(noun[0].upper() + noun[1:])
                found = [(types[part.role], start, start + len(noun))] if start >= 0 else []
            else:
                found = []
            mentions += [(type, length + start, length + end) for type, start, end in found]
            length += len(text)
        return mentions


@cache
def _written_out(nouns: tuple[str, ...]) -> re.Pattern:
    """Make a pattern that finds these nouns after "the"."""
    return re.compile(rf"(?<=\b[Tt]he )(?:{'|'.join(map(re.escape, nouns))})\b")


def _parse(source: str) -> list[tuple[str, Any]]:
    """Cut a source line into ("text", str), ("slot", Slot), ("open", label) and ("close", "") parts."""
    parts: list[tuple[str, Any]] = []
    position = 0
    for match in PATTERN.finditer(source):
        if match.start() > position:
            parts.append(("text", source[position : match.start()]))
        if match[1]:
            parts.append(("slot", Slot(match[1])))
        elif match[2]:
            parts.append(("open", match[2]))
        else:
            parts.append(("close", ""))
        position = match.end()
    if position < len(source):
        parts.append(("text", source[position:]))
    return parts


def _german_quotes(source: str) -> str:
    """Turn straight quotation marks into German ones, alternately opening and closing."""
    pieces = source.split('"')
    return "".join(piece + (("„", "“")[i % 2] if i < len(pieces) - 1 else "") for i, piece in enumerate(pieces))


def _expand(english_source: str, german_source: str) -> tuple[Line, ...]:
    """Make a line for each combination of the alternatives `(a|b)`; the i-th groups of both languages correspond."""
    group = ALTERNATIVES.search(english_source)
    if not group:
        return (Line(english_source, german_source),)
    lines: list[Line] = []
    german_group = ALTERNATIVES.search(german_source)
    for i, word in enumerate(group[1].split("|")):
        german = german_source
        if german_group:
            german = _replaced(german_source, german_group, german_group[1].split("|")[i])
        lines += _expand(_replaced(english_source, group, word), german)
    return tuple(lines)


def _replaced(source: str, group: re.Match, word: str) -> str:
    return source[: group.start()] + word + source[group.end() :]


@cache
def parse_block(block: str) -> tuple[tuple[Line, ...], ...]:
    """Parse the rows of `block` (English and German alternate), each into all its alternatives."""
    rows = [re.sub(" +", " ", row.strip()) for row in block.splitlines() if row.strip()]  # "\\" continues a long row
    if len(rows) % 2:
        raise ValueError(f"a block needs an even number of rows (English, German); got {len(rows)}: {rows[0]!r}.")
    return tuple(_expand(rows[i], rows[i + 1]) for i in range(0, len(rows), 2))


@cache
def parse_blocks(blocks: tuple[str, ...]) -> tuple[tuple[Line, ...], ...]:
    """Parse the rows of several blocks together."""
    return tuple(row for block in blocks for row in parse_block(block))


@cache
def parse_start(english_source: str) -> Line:
    """Parse the beginning of an English sentence."""
    return Line(english_source, "")
