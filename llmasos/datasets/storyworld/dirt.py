"""Dirt with known labels: typical problems of web corpora, added to the stories on purpose.

    typos           one word in twelve is misspelled
    duplicate       the document is an exact copy of an earlier clean one
    near duplicate  the same with a few words replaced
    boilerplate     a website's lines before and after the story
    german          the German version of the story
    private         a sentence with a name, an e-mail address and a telephone number

Each document records what was done to it, where, and what a perfect cleaner would leave of it, so precision, recall and
the loss that cleaning recovers are known exactly. Everything is a function of the seed. (The e-mail addresses and
telephone numbers are from ranges reserved for fiction.)
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmasos.datasets.storyworld.people import BOYS, GIRLS
from llmasos.datasets.storyworld.story import Story
from llmasos.errors import UserError

DIRT = ("typos", "duplicate", "near duplicate", "boilerplate", "german", "private")
TYPOS = 1 / 12  # fraction of the words
REPLACED = 3  # number of words replaced in a near duplicate
REMEMBERED = 1_000  # the last clean documents, from which copies are made
SURNAMES = "Miller Baker Fisher Weaver Cooper Fletcher Mason Turner".split()
BOILERPLATE = (
    ("Home | Stories | About us | Contact", "Accept all cookies to continue reading."),
    ("Advertisement. The story continues below.", "Share this page: Mail Print"),
    ("You are here: Home > Stories > Valley", "All rights reserved. Terms of use. Privacy policy."),
)


@dataclass(frozen=True)
class DirtyDocument:
    """A document of a dirty corpus.

    Attributes:
        text: the document.
        kind: one of `DIRT`; "" for a clean one.
        clean: the text that a perfect cleaner would leave; "" if none.
        spans: (start, end) in `text` of each misspelled or replaced word, each line of boilerplate, each private item.
    """

    text: str
    kind: str
    clean: str
    spans: tuple[tuple[int, int], ...] = ()


def dirty_documents(stories: Iterable[Story], dirt: float, seed: int = 0) -> Iterator[DirtyDocument]:
    """Turn stories into the documents of a dirty corpus, one document per story.

    Args:
        stories: clean stories.
        dirt: the probability that a document is dirty; the types of dirt are equally likely.
        seed: decides which documents are dirty, and how.

    Raises:
        UserError: dirt is not a fraction.
    """
    if not 0 <= dirt <= 1:
        raise UserError(f"dirt is {dirt!r}; it must be a fraction from 0 to 1.")
    earlier: deque[str] = deque(maxlen=REMEMBERED)
    for number, story in enumerate(stories):
        rng = random.Random(f"storyworld dirt {seed} {number}")
        kind = rng.choice(DIRT) if rng.random() < dirt else ""
        if "duplicate" in kind and not earlier:
            kind = ""  # there is nothing to copy before the first clean document
        yield _soiled(kind, story, earlier, rng)
        if not kind:  # only clean documents can be copied: a copy must equal a document of the corpus
            earlier.append(story.text)


def _soiled(kind: str, story: Story, earlier: deque[str], rng: random.Random) -> DirtyDocument:
    """Apply one type of dirt to a story."""
    text = story.text
    if kind == "typos":
        words = text.split(" ")
        typos = {i: _misspelled(word, rng) for i, word in enumerate(words) if len(word) > 3 and rng.random() < TYPOS}
        return _with_words_replaced(words, typos, kind, text)
    if kind == "duplicate":
        return DirtyDocument(rng.choice(earlier), kind, "")
    if kind == "near duplicate":
        words = rng.choice(earlier).split(" ")
        others = {i: rng.choice(words) for i in rng.sample(range(len(words)), REPLACED)}
        return _with_words_replaced(words, others, kind, "")
    if kind == "boilerplate":
        header, footer = rng.choice(BOILERPLATE)
        start = len(header) + 1 + len(text) + 1
        dirty = f"{header}\n{text}\n{footer}"
        return DirtyDocument(dirty, kind, text, ((0, len(header)), (start, start + len(footer))))
    if kind == "german":
        return DirtyDocument(story.german, kind, "")
    if kind == "private":
        return _with_private_data(story, rng)
    return DirtyDocument(text, kind, text)


def _misspelled(word: str, rng: random.Random) -> str:
    """Misspell a word: leave out one letter, double it, or swap it with the next one.

    >>> _misspelled("valley", random.Random(1))
    'vlaley'
    """
    i = rng.randrange(1, len(word) - 2)
    a, b = word[i], word[i + 1]
    middle = rng.choice([b, a + a + b, b + a if a != b else a])
    return word[:i] + middle + word[i + 2 :]


def _with_words_replaced(words: list[str], others: dict[int, str], kind: str, clean: str) -> DirtyDocument:
    """Join words to a text, with those replaced whose numbers are in `others`."""
    spans, length = [], 0
    for i, word in enumerate(words):
        new = others.get(i, word)
        if new != word:
            spans.append((length, length + len(new)))
        length += len(new) + 1
    text = " ".join(others.get(i, word) for i, word in enumerate(words))
    return DirtyDocument(text, kind, clean, tuple(spans))


def _with_private_data(story: Story, rng: random.Random) -> DirtyDocument:
    """Insert a sentence with contact details after one of the story's sentences."""
    first, last = rng.choice(GIRLS + BOYS), rng.choice(SURNAMES)
    items = (f"{first} {last}", f"{first}.{last}@example.org".lower(), f"555-01{rng.randrange(100):02}")
    pieces = ("Questions? Ask ", ", write to ", " or call ", ".")
    n = rng.randrange(1, len(story.sentences))
    text, spans = " ".join(story.sentences[:n]) + " ", []
    for piece, item in zip(pieces, items, strict=False):
        text += piece
        spans.append((len(text), len(text) + len(item)))
        text += item
    text += pieces[-1] + " " + " ".join(story.sentences[n:])
    return DirtyDocument(text, "private", story.text, tuple(spans))
