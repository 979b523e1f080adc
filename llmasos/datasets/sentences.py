"""Sentences: where a text is cut into them, and pairs of them for next-sentence prediction (Devlin et al. 2019, 3.1).

**Cutting** goes by rules for English and German. A sentence ends at a blank line, and at `.`, `!`, `?` or `…` (with the
closing quotes and brackets after it) before white space, if what follows starts like a sentence: with a capital letter,
a digit or an opening quote. A single full stop ends none after a known abbreviation (`Dr.`, `z. B.`), a letter on its
own (`J. R. Tolkien`; but `I` is a word), letters with stops between them (`U.S.`), and in a German ordinal
(`am 3. Mai`). What such rules cannot know: whether `etc.` or `…` before a capital ends the sentence (here it does), or
`U.S.` (here it does not), that `"Who?" Mary asked.` is one sentence (here it is two), and where the sentences of verse,
headings without a blank line, or other languages end.

**Pairs.** A *seam* is a place between two sentences of a document. Segment A is the sentences before the seam, as many
as fit into half the tokens; segment B is what follows the seam, as much as fits into the rest, or, half of the time,
the sentences after another seam, of another document. A model that could tell the two cases by length or by how far
into a document B begins would learn nothing about meaning. So both candidates for B are drawn alike, each time, both
are cut to the same number of sentences, and only then is the coin tossed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.datasets.bucketing import random_order
from llmasos.datasets.source import TextSource
from llmasos.errors import UserError

# --- Cutting a text into sentences

# These stand before something that belongs to them; a sentence that ends with one goes unnoticed.
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st mt messrs gen col capt cpt lt sgt maj adm rev hon sen rep gov pres vs cf ca approx viz "
    "hr fr hrn frl dipl ing bzw vgl evtl ggf inkl exkl sog bspw beisp allg abb bes geb gest str nachm vorm zzgl".split()
)
# These do so only where a number follows: "No. 5", but "No. He stayed."
BEFORE_NUMBERS = frozenset(
    "no nos nr nrn fig figs eq sec ch vol pp art abs bd kap tel jan feb mar apr jun jul aug sep sept oct okt nov dec "
    "dez".split()
)
MONTHS = frozenset(
    "januar jänner februar märz april mai juni juli august september oktober november dezember".split()
)
BEFORE_ORDINALS = frozenset("am der die das des dem den vom zum zur im beim bis ab seit jeder jede jedes".split())

_OPENING = "\"'([„“‚‘«»–—-"
_END = re.compile(r"""(?P<mark>[.!?…]+)["')\]“”‘’«»]*(?:\s+|$)""")
_LAST_WORD = re.compile(r"(?P<before>\w*)\W*\b(?P<word>\w[\w.]*)$")
_LETTERS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # one letter, or several with full stops between
_BLANK_LINE = re.compile(r"\n\s*\n")
_WINDOW = 60  # characters before a full stop that are looked at


def split_sentences(text: str) -> list[str]:
    """Return the sentences of an English or German text in order, without the white space between them.

    >>> split_sentences('Dr. Smith paid $3.50. "Why?" He did not say... Then he left at 5 p.m. Nobody saw it!')
    ['Dr. Smith paid $3.50.', '"Why?"', 'He did not say...', 'Then he left at 5 p.m.', 'Nobody saw it!']
    >>> split_sentences("Am 3. Mai kam z. B. Herr K. an. Er blieb.")
    ['Am 3. Mai kam z. B. Herr K. an.', 'Er blieb.']
    """
    sentences = []
    for paragraph in _BLANK_LINE.split(text):
        start = 0
        for end in _END.finditer(paragraph):
            if _ends_sentence(paragraph, end):
                sentences.append(paragraph[start : end.end()].strip())
                start = end.end()
        sentences.append(paragraph[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(text: str, end: re.Match) -> bool:
    """Return whether the sentence ends at this `_END`."""
    after = text[end.end() : end.end() + _WINDOW].lstrip(_OPENING)
    if not after:
        return end.end() == len(text)
    if not (after[0].isupper() or after[0].isdigit()):
        return False
    last = _LAST_WORD.search(text[max(0, end.start() - _WINDOW) : end.start()])
    if end["mark"] != "." or last is None:
        return True
    word, lower = last["word"], last["word"].lower()
    if word.isdigit():
        next_word = re.match(r"\w*", after)[0].lower()
        return len(word) > 2 or not (next_word in MONTHS or last["before"].lower() in BEFORE_ORDINALS)
    if _LETTERS.fullmatch(word):
        return word == "I" or lower in ("a.m", "p.m")
    return not (lower in ABBREVIATIONS or (lower in BEFORE_NUMBERS and after[0].isdigit()))


def documents_of_sentences(source: TextSource, split: str) -> Iterator[list[str]]:
    """Yield the documents of one split, each as its sentences; a document of one sentence is passed over.

    A text that is not divided into documents (a single file) is cut at its blank lines, and each paragraph is a
    document.
    """
    for document in _documents(source, split):
        sentences = split_sentences(document)
        if len(sentences) >= 2:
            yield sentences


def _documents(source: TextSource, split: str) -> Iterator[str]:
    parts: list[str] = []
    for text, ends_document in source.pieces(split):
        parts.append(text)
        if ends_document:
            yield "".join(parts)
            parts = []
    yield from _BLANK_LINE.split("".join(parts))


# --- Pairs


class SentencePair(NamedTuple):
    """Two segments, and whether the second really follows the first."""

    first: np.ndarray  # token ids
    second: np.ndarray
    follows: bool


class SentencePairs:
    """Pairs of segments for next-sentence prediction: half of them really follow each other.

    If the two together are too long, because single sentences are, the longer one is cut: the first segment at its
    beginning and the second at its end, so that they still meet at the seam.

    An epoch goes through the documents in random order, each as often as it fills `max_tokens` (at least once); the
    seam is drawn anew each time. An example is a function of (seed, index) alone.

    Args:
        documents: each a list of sentences, each of which is an array of token ids. Sentences without tokens and
            documents with fewer than two sentences (three if negatives is "same") are passed over.
        max_tokens: how many tokens both segments have together at most, special tokens not counted.
        negatives: where a segment that does not follow comes from. "other": another document. "same": elsewhere in
            the same document, not overlapping the first segment; this asks about order instead of topic.

    Attributes:
        documents: those that are used.
        n_truncated: how many sentences do not fit into `max_tokens` beside another token, and are always cut.

    Raises:
        UserError: there are too few documents, or max_tokens is less than 2.
    """

    def __init__(self, documents: Sequence[Sequence[np.ndarray]], max_tokens: int, negatives: str = "other"):
        if negatives not in ("other", "same"):
            raise UserError(f"negatives is {negatives!r}; it must be 'other' or 'same'.")
        if max_tokens < 2:
            raise UserError(f"max_tokens is {max_tokens}; two sentences need room for 2 or more: use a longer context.")
        self.max_tokens, self.negatives = max_tokens, negatives
        needed = 2 if negatives == "other" else 3
        filled = ([np.asarray(sentence) for sentence in document if len(sentence)] for document in documents)
        self.documents = [document for document in filled if len(document) >= needed]
        if len(self.documents) < (2 if negatives == "other" else 1):
            remedy = ", or negatives='same' to take them from the same document" if negatives == "other" else ""
            raise UserError(
                f"there are {len(self.documents)} documents with at least {needed} sentences, too few to find sentences"
                f" that do not follow each other with negatives={negatives!r}: give more text{remedy}."
            )
        self.n_truncated = sum(len(sentence) >= max_tokens for document in self.documents for sentence in document)
        sizes = np.array([sum(map(len, document)) for document in self.documents])
        self._turns = np.repeat(np.arange(len(sizes)), np.maximum(1, sizes // max_tokens))  # document of each turn
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    @property
    def examples_per_epoch(self) -> int:
        """How many examples go through the documents once."""
        return len(self._turns)

    def example(self, seed: int, index: int) -> SentencePair:
        """Return training example number `index` (0, 1, … without end) in the order of `seed`."""
        return self._pair(seed, index, None)

    def validation(self, seed: int, n: int | None = None) -> list[SentencePair]:
        """Return `n` pairs (None = an epoch), the same for the same seed, of which every second one really follows."""
        return [self._pair(seed, index, index % 2 == 0) for index in range(self.examples_per_epoch if n is None else n)]

    def _pair(self, seed: int, index: int, follows: bool | None) -> SentencePair:
        """Return pair number `index`; whether it follows is drawn if it is None."""
        epoch, position = divmod(index, self.examples_per_epoch)
        if self._order is None or self._order[0] != (seed, epoch):
            bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
            self._order = ((seed, epoch), self._turns[random_order(self.examples_per_epoch, bits)])
        document = int(self._order[1][position])
        bits = np.random.PCG64(np.random.SeedSequence([seed, index, 0, 1]))  # another stream than any epoch's order

        def draw(n: int) -> int:
            return int(bits.random_raw()) % n

        if follows is None:
            follows = draw(2) == 0
        first, following, other = self._candidates(document, draw)
        second = following if follows else other
        n_sentences = min(len(following), len(other))  # so that their number tells nothing
        second = second[: fitting(second[:n_sentences], self.max_tokens - sum(map(len, first)))]
        return SentencePair(*fit(np.concatenate(first), np.concatenate(second), self.max_tokens), follows)

    def _candidates(self, document: int, draw: Callable[[int], int]) -> tuple[list, list, list]:
        """Draw the sentences of segment A, those that follow it, and some that do not."""
        sentences = self.documents[document]
        for _ in range(1000):
            seam = 1 + draw(len(sentences) - 1)
            start = seam - fitting(sentences[seam - 1 :: -1], self.max_tokens // 2)  # of segment A
            if self.negatives == "other":
                other = self.documents[self._turns[draw(self.examples_per_epoch)]]
                if other is sentences:
                    continue
                other = other[1 + draw(len(other) - 1) :]
            else:
                place = draw(len(sentences))
                if start <= place <= seam:
                    continue
                other = sentences[place : start if place < start else None]
            if not np.array_equal(other[0], sentences[seam]):  # stock phrases do return: then it would follow
                return sentences[start:seam], sentences[seam:], other
        raise UserError(
            "the documents are too alike: in a thousand draws every sentence that should not follow was the one that "
            "does; give text with more variety."
        )


def fitting(sentences: Sequence[np.ndarray], max_tokens: int) -> int:
    """Return how many of the sentences, from the first on, fit into `max_tokens` together; at least 1."""
    total = np.cumsum([len(sentence) for sentence in sentences])
    return max(1, int(np.searchsorted(total, max_tokens, side="right")))


def fit(first: np.ndarray, second: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the end of `first` and the beginning of `second`, cut so that they have `max_tokens` together.

    Only the longer one is cut, until both are equally long; then both.

    >>> fit(np.arange(8), np.arange(20, 22), 6)
    (array([4, 5, 6, 7]), array([20, 21]))
    """
    n_first = min(len(first), max(max_tokens // 2, max_tokens - len(second)))
    return first[len(first) - n_first :], second[: max_tokens - n_first]
