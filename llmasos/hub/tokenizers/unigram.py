"""The unigram language model: the most likely segmentation of a text (Kudo 2018, section 3.1).

Each piece has a probability, and a segmentation has the product of its pieces' probabilities. The most likely of all
segmentations is found by dynamic programming (Viterbi 1967): the best path to a position is the best path to some
earlier position, plus one piece.

    ▁walk ing     log p = -6.1 - 4.0 = -10.1     ← the most likely
    ▁wal king     log p = -9.2 - 7.7 = -16.9
"""

import math
from collections.abc import Sequence

import numpy as np

from llmasos.hub.tokenizers.sentencepiece_file import NORMAL, USER_DEFINED


class Unigram:
    """A unigram model, defined by its pieces.

    >>> model = Unigram([("▁", -2.0, 1), ("a", -3.0, 1), ("b", -3.0, 1), ("ab", -4.0, 1)])
    >>> model.segment("▁abaq")
    ['▁', 'ab', 'a', 'q']

    Args:
        pieces: each with its score, ln p, and its type (see `sentencepiece_file`); unused types are ignored.
        bits: the precision of the sums, 32 as in SentencePiece or 64 as in the `tokenizers` package.
    """

    UNKNOWN_PENALTY = 10.0  # of an unknown character's ln p, below that of the least likely piece

    def __init__(self, pieces: Sequence[tuple[str, float, int]], bits: int = 32):
        self.rounded: type[float] = np.float32 if bits == 32 else float  # type: ignore[assignment]
        normal = {piece: score for piece, score, type in pieces if type == NORMAL}
        highest = max(normal.values(), default=0.0)
        user_defined = {piece: len(piece.encode()) * highest - 0.1 for piece, _, type in pieces if type == USER_DEFINED}
        self.scores = normal | user_defined
        self.unknown_score = float(self.rounded(min(normal.values(), default=0.0) - self.UNKNOWN_PENALTY))
        self.longest = max(map(len, self.scores), default=1)

    def segment(self, text: str) -> list[str]:
        """Return the most likely pieces of a text; consecutive unknown characters form one piece.

        Sums are rounded as in the reference implementation: between two equally likely segmentations (II I
        and I II), the last digit decides. (After a user-defined piece the reference may round differently, and choose
        the other one of such a pair.)
        """
        best = [0.0] + [-math.inf] * len(text)  # ln p of the best path to each position
        back = [0] * (len(text) + 1)  # where its last piece starts
        for start in range(len(text)):
            for end in range(start + 1, min(len(text), start + self.longest) + 1):
                score = self.scores.get(text[start:end])
                if score is None:
                    if end > start + 1 or text[start] in self.scores:
                        continue
                    score = self.unknown_score
                total = float(self.rounded(best[start] + score))
                if total > best[end]:
                    best[end], back[end] = total, start
        pieces, end = [], len(text)
        while end:
            pieces.append(text[back[end] : end])
            end = back[end]
        return self._join_unknown(pieces[::-1])

    def _join_unknown(self, pieces: list[str]) -> list[str]:
        """Concatenate adjacent unknown pieces."""
        joined: list[str] = []
        was_unknown = False
        for piece in pieces:
            is_unknown = piece not in self.scores
            if is_unknown and was_unknown:
                joined[-1] += piece
            else:
                joined.append(piece)
            was_unknown = is_unknown
        return joined
