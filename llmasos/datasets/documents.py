"""Rows that begin where a document begins: examples of a causal language model that never miss a beginning.

A window anywhere in a text (windows.py) mostly starts in the middle of a document, so a name may be out of sight, and
part of its context is wasted on the end of another document. Here each row is one document, between the token that
begins every text and the end-of-text, which is its last target. With T = 4 and the documents "a b c" and "d e f g h"
(. is the beginning, | the end-of-text):

    . a b c |
    . d e f g     g h |        (longer than T: cut after every T targets, as windows are)

So each token of the array, end-of-texts included, is the target of exactly one row. If the array was drawn from a known
distribution over documents, the mean loss over these targets has the entropy of a document, divided by its mean number
of tokens, as its floor. A model can reach it if every document fits into one row: the prediction of a token then sees
all of its document that came before, and nothing else.

Rows differ in length. In training, `Examples` puts those of similar length into one batch (batching.py), so that
little of it is padding (0.5 % on storyworld).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHUNK = 2**24  # tokens that are searched for the end-of-text at a time


class DocumentRows(Sequence[np.ndarray]):
    """The rows of an array of tokens, cut lazily.

    >>> rows = DocumentRows(np.array([1, 2, 3, 0, 4, 5, 6, 7, 8, 0]), end_of_text=0, begin_of_text=9, context_length=4)
    >>> [row.tolist() for row in rows]
    [[9, 1, 2, 3, 0], [9, 4, 5, 6, 7], [7, 8, 0]]

    Args:
        tokens: (N,) integers, usually a memory map; never copied.
        end_of_text: the token that ends each document. Tokens after the last one are an incomplete document.
        begin_of_text: the token that each document is predicted from, often the same.
        context_length: T, the number of tokens that the model sees.
    """

    def __init__(self, tokens: np.ndarray, end_of_text: int, begin_of_text: int, context_length: int):
        self.tokens, self.begin_of_text = np.asarray(tokens), begin_of_text
        chunks = range(0, len(tokens), CHUNK)
        ends = [np.flatnonzero(self.tokens[i : i + CHUNK] == end_of_text) + i + 1 for i in chunks]
        stops = np.unique(np.concatenate([*ends, [len(tokens)]]))[: len(tokens)]  # (documents,), one past the last
        starts = np.concatenate([[0], stops[:-1]])
        n_rows = -(-(stops - starts) // context_length)  # for each document, rounded up
        nth = np.arange(n_rows.sum()) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)  # 0, 1, … within its document
        self.starts = np.repeat(starts, n_rows) + nth * context_length  # (rows,): the first target
        self.stops = np.minimum(self.starts + context_length, np.repeat(stops, n_rows))
        self.begins_document = nth == 0

    @property
    def lengths(self) -> np.ndarray:
        """The number of targets of each row, 1 … T: (rows,)."""
        return self.stops - self.starts

    def by_length(self) -> DocumentRows:
        """The same rows from the shortest to the longest: for validation, where the order does not matter."""
        rows, order = object.__new__(DocumentRows), np.argsort(self.lengths, kind="stable")
        rows.tokens, rows.begin_of_text = self.tokens, self.begin_of_text
        rows.starts, rows.stops = self.starts[order], self.stops[order]
        rows.begins_document = self.begins_document[order]
        return rows

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # no slices
        start, stop = self.starts[i], self.stops[i]
        row = np.empty(stop - start + 1, np.int64)
        row[0] = self.begin_of_text if self.begins_document[i] else self.tokens[start - 1]
        row[1:] = self.tokens[start:stop]
        return row
