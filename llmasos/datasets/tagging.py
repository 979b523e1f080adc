"""Words and their labels: texts whose words are marked as parts of names, and the schemes of such labels.

    text     Anna    saw    the   old   mill   in   New     York
    labels   B-PER   O      O     O     O      O    B-LOC   I-LOC

In this scheme, BIO, a name begins with B- and continues with I-, and every other word has O (Ramshaw & Marcus 1995).
Files with other schemes are converted to it (`to_bio`):

| scheme | a name of one word | a longer one |
|---|---|---|
| BIO (IOB2) | B- | B- I- I- |
| IOB1 | I-, but B- right after a name of the same type | I- I- I- |
| IOBES | S- | B- I- E- |
| BILOU | U- | B- I- L- |

A name of a type is the same in all: it begins where the label says so, or where the type changes (Tjong Kim Sang & De
Meulder 2003, whose scorer `conlleval` reads labels like this, wrong ones included).
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from llmasos.datasets.examples import TaggedText
from llmasos.datasets.values import BadRow
from llmasos.errors import shown

OUTSIDE = "O"
LABEL = re.compile(r"O|[BIESLU]-\S+")
BEGINS, ENDS = "BSU", "ESLU"  # prefixes of labels that mark the first and the last word of a name
WORD = re.compile(r"['’]s\b|\w+(?:['’-](?!s\b)\w+)*|[^\w\s]")


class Span(NamedTuple):
    """A name: its type, the index of its first word, and that of the first word after it."""

    type: str
    start: int
    end: int


def entity_spans(labels: Sequence[str]) -> list[Span]:
    """The names that labels mark, in order.

    An I- that follows no name of its type begins a new one, as in `conlleval`.

    >>> [tuple(span) for span in entity_spans(["B-PER", "O", "I-LOC", "I-LOC", "B-LOC", "I-PER"])]
    [('PER', 0, 1), ('LOC', 2, 4), ('LOC', 4, 5), ('PER', 5, 6)]

    Args:
        labels: the label of each word, in any of the schemes above; anything else counts as O.
    """
    spans: list[Span] = []
    is_open = False  # whether the last span may continue
    for i, label in enumerate(labels):
        prefix, _, type = label.partition("-")
        if not type or prefix not in tuple("BIESLU"):
            is_open = False
            continue
        if is_open and prefix not in BEGINS and spans[-1].type == type:
            spans[-1] = spans[-1]._replace(end=i + 1)
        else:
            spans.append(Span(type, i, i + 1))
        is_open = prefix not in ENDS
    return spans


def to_bio(labels: Sequence[str]) -> list[str]:
    """The same names in the scheme BIO.

    >>> to_bio(["I-PER", "I-PER", "O", "S-LOC", "B-ORG", "E-ORG"])
    ['B-PER', 'I-PER', 'O', 'B-LOC', 'B-ORG', 'I-ORG']

    Raises:
        BadRow: a label of none of the schemes.
    """
    wrong = next((label for label in labels if not LABEL.fullmatch(label)), None)
    if wrong is not None:
        raise BadRow(
            f"the label {shown(wrong)} is neither O nor B- or I- with a type, such as B-PER; write labels like that."
        )
    bio = [OUTSIDE] * len(labels)
    for type, start, end in entity_spans(labels):
        bio[start:end] = [f"B-{type}", *[f"I-{type}"] * (end - start - 1)]
    return bio


def bio_labels(types: Iterable[str]) -> tuple[str, ...]:
    """All labels for some types of names, in the order of a model's outputs.

    >>> bio_labels({"PER", "LOC"})
    ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """
    return (OUTSIDE, *(f"{prefix}-{type}" for type in sorted(set(types)) for prefix in "BI"))


def types_of(labels: Iterable[str]) -> set[str]:
    """The types of names in labels.

    >>> sorted(types_of(["O", "B-PER", "I-LOC"]))
    ['LOC', 'PER']
    """
    return {label.partition("-")[2] for label in labels if label != OUTSIDE}


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text are: (start, end) in characters. A punctuation mark is a word, and so is an 's.

    >>> [text[start:end] for text in ["Anna's well-known mill."] for start, end in word_spans(text)]
    ['Anna', "'s", 'well-known', 'mill', '.']
    """
    return [match.span() for match in WORD.finditer(text)]


def tagged_words(words: Sequence[str], labels: Sequence[str], where: str = "") -> TaggedText:
    """A text of words with one space between them, and their labels as BIO.

    Raises:
        BadRow: a word is empty, there are more or fewer labels than words, or a label is of no known scheme.
    """
    if len(words) != len(labels):
        raise BadRow(f"it has {len(words)} words and {len(labels)} labels; give each word one.")
    if not words or not all(word.strip() for word in words):
        raise BadRow("it has an empty word." if words else "it has no word.")
    words = [" ".join(word.split()) for word in words]
    spans, position = [], 0
    for word in words:
        spans.append((position, position + len(word)))
        position += len(word) + 1
    return TaggedText(" ".join(words), tuple(spans), tuple(to_bio(labels)), where)


def tagged_spans(text: str, entities: Iterable[tuple[str, int, int]]) -> TaggedText:
    """A text with its words' labels, from the names in it as (type, start, end) in characters.

    >>> tagged_spans("Anna ran.", [("PER", 0, 4)]).labels
    ('B-PER', 'O', 'O')

    A word that a name covers in part is not part of the name.
    """
    spans, labels = [], []
    open_entities = sorted(entities, key=lambda entity: entity[1])
    for start, end in word_spans(text):
        while open_entities and open_entities[0][2] <= start:
            del open_entities[0]
        type, first, last = open_entities[0] if open_entities else ("", len(text), 0)
        if first <= start and end <= last:
            labels.append(f"{'B' if first == start else 'I'}-{type}")
        else:
            labels.append(OUTSIDE)
        spans.append((start, end))
    return TaggedText(text, tuple(spans), tuple(labels))
