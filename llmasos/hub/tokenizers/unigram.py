"""Cutting a text into the likeliest row of pieces: the unigram model (Kudo 2018, section 3.1).

Each piece has a probability, and a row of pieces has the product of theirs. Of all ways to cut a text the likeliest is
found by dynamic programming (Viterbi 1967): the best way to reach a place is the best way to reach some earlier place,
and then one piece.

    ▁walk ing     log p = -6.1 - 4.0 = -10.1     ← the likeliest
    ▁wal king     log p = -9.2 - 7.7 = -16.9
"""

from collections.abc import Sequence

import numpy as np

from llmasos.hub.tokenizers.sentencepiece_file import NORMAL, USER_DEFINED

UNKNOWN_PENALTY = 10.0  # an unknown character is that much less likely than the unlikeliest piece


class Unigram:
    """The model.

    >>> model = Unigram([("▁", -2.0, 1), ("a", -3.0, 1), ("b", -3.0, 1), ("ab", -4.0, 1)])
    >>> model.cut("▁abaq")
    ['▁', 'ab', 'a', 'q']

    Args:
        pieces: each with its score, ln p, and its kind (`sentencepiece_file`); only those that texts are made of count.
    """

    def __init__(self, pieces: Sequence[tuple[str, float, int]]):
        normal = {piece: score for piece, score, kind in pieces if kind == NORMAL}
        highest = max(normal.values(), default=0.0)
        own = {piece: len(piece.encode()) * highest - 0.1 for piece, _, kind in pieces if kind == USER_DEFINED}
        self.scores = normal | own
        self.unknown = float(np.float32(min(normal.values(), default=0.0) - UNKNOWN_PENALTY))
        self.longest = max(map(len, self.scores), default=1)

    def cut(self, text: str) -> list[str]:
        """The likeliest pieces of a text, which together are the text. Unknown characters in a row are one piece.

        Sums are rounded to 32 bits, as in the reference implementation: of two ways that are equally likely (II I and
        I II), the last digit decides. (After a piece that a user has added to a model the reference may round
        otherwise, and take the other of two such ways.)
        """
        best: list[float | None] = [0.0] + [None] * len(text)  # ln p of the best way to each place
        back = [0] * (len(text) + 1)  # where its last piece begins
        for start in range(len(text)):
            for end in range(start + 1, min(len(text), start + self.longest) + 1):
                score = self.scores.get(text[start:end])
                if score is None:
                    if end > start + 1 or text[start] in self.scores:
                        continue
                    score = self.unknown
                total = float(np.float32(best[start] + score))
                if best[end] is None or total > best[end]:
                    best[end], back[end] = total, start
        pieces, end = [], len(text)
        while end:
            pieces.append(text[back[end] : end])
            end = back[end]
        return self.join_unknown(pieces[::-1])

    def join_unknown(self, pieces: list[str]) -> list[str]:
        """Put unknown pieces that stand side by side together."""
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
