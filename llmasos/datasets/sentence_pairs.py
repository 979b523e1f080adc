"""Pairs of segments for next-sentence prediction, half of which follow each other (Devlin et al. 2019, section 3.1).

A *boundary* is a position between two sentences of a document. Segment A consists of the sentences before the
boundary, as many as fit into half the tokens. Segment B consists of the sentences after it, as many as fit into the
rest, or, half of the time, of the sentences after a boundary in another document. If a model could distinguish the two
cases by length or by how far into a document B begins, it would learn nothing about meaning. So both candidates for B
are drawn each time, in the same way, and the chosen one gets no more sentences than the other has.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.datasets.batching import random_order
from llmasos.errors import UserError


class SentencePair(NamedTuple):
    """Two segments, and whether the second one follows the first in the text."""

    first: np.ndarray  # token ids
    second: np.ndarray
    follows: bool


class SentencePairs:
    """Pairs of segments for next-sentence prediction: half of them follow each other.

    If the two together are too long, because single sentences are, the longer one is truncated: the first segment at
    its beginning and the second at its end, so that they still meet at the boundary.

    An epoch goes through the documents in random order, each as often as it fills `max_tokens` (at least once), with a
    new random boundary each time. An example is a function of (seed, index) alone.

    Args:
        documents: lists of sentences, each sentence an array of token ids. Sentences without tokens and documents with
            fewer than two sentences (three if negatives is "same") are skipped.
        max_tokens: maximum number of tokens in both segments together, without special tokens.
        negatives: the origin of segments that do not follow. "other": another document. "same": elsewhere in the same
            document, not overlapping the first segment; this tests order instead of topic.

    Attributes:
        documents: the documents that are used.
        n_truncated: the number of sentences that leave no room for another token and are always truncated.

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
        non_empty = ([np.asarray(sentence) for sentence in document if len(sentence)] for document in documents)
        self.documents = [document for document in non_empty if len(document) >= needed]
        n_expected = 2 if negatives == "other" else 1
        if len(self.documents) < n_expected:
            n = len(self.documents)
            raise UserError(
                f"pairs that do not follow each other need {n_expected} document{'s' * (n_expected > 1)} of {needed} "
                f"sentences or more, and there {'is 1' if n == 1 else f'are {n}'}; give more text."
            )
        self.n_truncated = sum(len(sentence) >= max_tokens for document in self.documents for sentence in document)
        sizes = np.array([sum(map(len, document)) for document in self.documents])
        # Example of an epoch → document.
        self._turns = np.repeat(np.arange(len(sizes)), np.maximum(1, sizes // max_tokens))
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    @property
    def examples_per_epoch(self) -> int:
        """The number of examples in one pass through the documents."""
        return len(self._turns)

    def example(self, seed: int, index: int) -> SentencePair:
        """Return training example number `index` (0, 1, … without end) in the order of `seed`."""
        return self._pair(seed, index, None)

    def validation(self, seed: int, n: int | None = None) -> list[SentencePair]:
        """Return `n` pairs (None = an epoch), the same for the same seed; every second one follows."""
        return [self._pair(seed, index, index % 2 == 0) for index in range(self.examples_per_epoch if n is None else n)]

    def _pair(self, seed: int, index: int, follows: bool | None) -> SentencePair:
        """Return pair number `index`; if `follows` is None, it is drawn at random."""
        epoch, position = divmod(index, self.examples_per_epoch)
        if self._order is None or self._order[0] != (seed, epoch):
            bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
            self._order = ((seed, epoch), self._turns[random_order(self.examples_per_epoch, bits)])
        document = int(self._order[1][position])
        bits = np.random.PCG64(np.random.SeedSequence([seed, index, 0, 1]))  # a different stream from any epoch's order

        def draw(n: int) -> int:
            return int(bits.random_raw()) % n

        if follows is None:
            follows = draw(2) == 0
        first, following, other = self._candidates(document, draw)
        second = following if follows else other
        n_sentences = min(len(following), len(other))  # so that the number of sentences reveals nothing
        second = second[: fitting(second[:n_sentences], self.max_tokens - sum(map(len, first)))]
        return SentencePair(*truncate_pair(np.concatenate(first), np.concatenate(second), self.max_tokens), follows)

    def _candidates(self, document: int, draw: Callable[[int], int]) -> tuple[list, list, list]:
        """Draw the sentences of segment A, those after it, and sentences from elsewhere."""
        sentences = self.documents[document]
        for _ in range(1000):
            boundary = 1 + draw(len(sentences) - 1)
            start = boundary - fitting(sentences[boundary - 1 :: -1], self.max_tokens // 2)  # of segment A
            if self.negatives == "other":
                other = self.documents[self._turns[draw(self.examples_per_epoch)]]
                if other is sentences:
                    continue
                other = other[1 + draw(len(other) - 1) :]
            else:
                position = draw(len(sentences))
                if start <= position <= boundary:
                    continue
                other = sentences[position : start if position < start else None]
            if not np.array_equal(other[0], sentences[boundary]):  # else B would follow A: phrases recur
                return sentences[start:boundary], sentences[boundary:], other
        raise UserError(
            "the documents are too alike: in a thousand draws, every candidate for a sentence that does not follow was "
            "the one that does; give text with more variety."
        )


def fitting(sentences: Sequence[np.ndarray], max_tokens: int) -> int:
    """Return how many of the first sentences fit into `max_tokens` together; at least 1."""
    totals = np.cumsum([len(sentence) for sentence in sentences])
    return max(1, int(np.searchsorted(totals, max_tokens, side="right")))


def truncate_pair(first: np.ndarray, second: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Truncate `first` at its beginning and `second` at its end, so that they have `max_tokens` together.

    Only the longer one is truncated, until both are equally long; then both.

    >>> truncate_pair(np.arange(8), np.arange(20, 22), 6)
    (array([4, 5, 6, 7]), array([20, 21]))
    """
    n_first = min(len(first), max(max_tokens // 2, max_tokens - len(second)))
    return first[len(first) - n_first :], second[: max_tokens - n_first]
