"""Answers from a list of frequently asked questions: the best entry, or none, but never generated text.

    question ──► words (BM25) ──┐
         └─────► vector of a  ──┴─► the best entry ──► sure enough? ──► its answer, word for word
                 model, if any                              └─ no ────► a person

**The best entry.** Without a model, the one with the greatest BM25 score. With a model, each entry has two ranks, r by
BM25 and s by the cosine of the vectors, and the best has the greatest 1/(60 + r) + 1/(60 + s) (reciprocal rank fusion,
Cormack et al. 2009, which needs no common scale).

**Sure enough.** BM25 scores have no fixed scale, so the *confidence* is defined differently: how much of the question's
words the entry covers (`BM25.coverage`); with a model, the mean of that and the cosine. An entry is the answer if its
confidence reaches the threshold. The confidence is not a probability, so a threshold must be chosen on real questions;
`data/faq/README.md` shows such a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmasos.arguments import user_path
from llmasos.datasets.faq import FAQEntry, read_faq
from llmasos.errors import UserError, check_number, in_words
from llmasos.retrieval.bm25 import BM25

if TYPE_CHECKING:  # without a model, no answer waits for torch
    from torch import Tensor

THRESHOLD = 0.35
RANK_OFFSET = 60  # of reciprocal rank fusion, as in the paper


@dataclass(frozen=True)
class FAQAnswer:
    """The result of a search.

    Attributes:
        entry: the best entry; None if the confidence is below the threshold, so that a person should answer.
        confidence: the confidence of the best entry, from 0 (nothing in common) to 1.
        candidates: the best entries, the best first, for a person to choose from.
    """

    entry: FAQEntry | None
    confidence: float
    candidates: tuple[FAQEntry, ...]


class FAQ:
    """A searchable list of frequently asked questions.

    >>> entries = [FAQEntry("When are you open?", "From 9 to 6."), FAQEntry("Can I pay by card?", "Yes.")]
    >>> faq = FAQ(entries)
    >>> faq.answer("Is paying by card possible?").entry.answer, faq.answer("Who is the king of Spain?").entry
    ('Yes.', None)

    Args:
        entries: at least one.
        embed: texts (N) → vectors (N, C) of unit length, such as `LLMTrainer.embed`; None = compare words only.
        threshold: the lowest confidence, from 0 to 1, with which an entry is given as the answer.

    Raises:
        UserError: there is no entry, one is not an `FAQEntry`, or the threshold is out of range.
    """

    def __init__(
        self,
        entries: Sequence[FAQEntry],
        embed: Callable[[list[str]], Tensor] | None = None,
        threshold: float = THRESHOLD,
    ):
        check_number("threshold", threshold, at_least=0, at_most=1)
        if not entries:
            raise UserError("the FAQ is empty; give at least one question with its answer.")
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, FAQEntry):
                raise UserError(
                    f"entry {number} of the FAQ is {in_words(entry)}; it must be FAQEntry(question, answer)."
                )
        self.entries, self.threshold, self.embed = list(entries), threshold, embed
        texts = [f"{entry.question}\n{entry.answer}" for entry in entries]
        self.bm25 = BM25(texts)
        self.vectors = embed(texts) if embed else None  # (N, C)

    @classmethod
    def open(
        cls, file: str | Path, embed: Callable[[list[str]], Tensor] | None = None, threshold: float = THRESHOLD
    ) -> FAQ:
        """Read a file (`datasets/faq.py` shows the formats). Raises UserError if it is not an FAQ."""
        return cls(read_faq(user_path(file)), embed, threshold)

    def answer(self, question: str, k: int = 3) -> FAQAnswer:
        """Find the entry that answers a question.

        Args:
            question: a text.
            k: how many candidates to list.

        Raises:
            UserError: the question is empty or not a text, or k is not positive.
        """
        check_number("k", k, whole=True, at_least=1)
        if not isinstance(question, str):
            raise UserError(f"the question is {in_words(question)}; it must be a text.")
        if not question.strip():
            raise UserError("the question is empty; write it in a sentence or in a few words.")
        scores, confidence = self.bm25.scores(question), self.bm25.coverage(question)  # (N,) each
        if self.embed and self.vectors is not None:
            cosines = (self.embed([question]) @ self.vectors.T)[0].numpy()
            scores = 1 / (RANK_OFFSET + ranks(scores)) + 1 / (RANK_OFFSET + ranks(cosines))
            confidence = (confidence + cosines.clip(0, 1)) / 2
        order = (-scores).argsort(kind="stable")
        best = int(order[0])
        sure = bool(confidence[best] >= self.threshold and confidence[best] > 0)
        candidates = tuple(self.entries[i] for i in order[:k] if confidence[i] > 0)
        return FAQAnswer(self.entries[best] if sure else None, float(confidence[best]), candidates)


def ranks(scores: np.ndarray) -> np.ndarray:
    """The rank of each score, 1 for the greatest; equal scores have equal ranks.

    >>> ranks(np.array([0.5, 0.9, 0.5, 0.1]))
    array([2, 1, 2, 4])
    """
    ascending = np.sort(scores)
    return 1 + len(scores) - np.searchsorted(ascending, scores, side="right")
