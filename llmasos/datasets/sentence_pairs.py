"""Pairs of texts for next-sentence prediction, of which half really follow each other (Devlin et al. 2019, 3.1).

A *seam* is a place between two sentences of a document. Segment A is the sentences before the seam, as many as fit into
half the tokens; segment B is what follows the seam, as much as fits into the rest, or, half of the time, the sentences
after another seam, of another document. A model that could tell the two cases by length or by how far into a document B
begins would learn nothing about meaning. So both candidates for B are drawn each time, in the same way, and whichever
is taken has no more sentences than the other one could give.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.datasets.shuffling import random_order
from llmasos.errors import UserError


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
            remedy = ", or --negatives same to take them from the same document" if negatives == "other" else ""
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
