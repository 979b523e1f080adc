"""Offsets: which characters of a text each token covers, for tasks whose answer is a span of the text.

Tokens are made of bytes and, if the tokenizer lower-cases, of a text that may be longer than the original ('İ' becomes
an 'i' and a dot above). So positions are mapped in two steps:

    bytes of the prepared text  --characters_of_bytes-->  its characters  --origins-->  characters of the original text

A token covers every character of which it holds a byte: two tokens that share the four bytes of 😀 both cover it.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Two surrogates in a row encode one character.
CHARACTER = re.compile("[\ud800-\udbff][\udc00-\udfff]|.", re.DOTALL)


class Encoding(NamedTuple):
    """A text's tokens with their offsets: token i covers `text[starts[i]:ends[i]]`.

    Attributes:
        ids: the tokens, as `encode` returns them.
        starts, ends: offsets in characters of the text.
        words: the index of each token's word, from 0. A token starts a new word if `Tokenizer.continues` is False.
    """

    ids: list[int]
    starts: list[int]
    ends: list[int]
    words: list[int]


def characters_of_bytes(text: str) -> np.ndarray:
    """Return, for each byte of the text's UTF-8, the index of its character: 1-D integers.

    >>> characters_of_bytes("aéb").tolist()
    [0, 1, 1, 2]
    """
    values = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    is_first = (values & 0b1100_0000) != 0b1000_0000  # all bytes of a character except its first are 10xxxxxx
    return np.cumsum(is_first) - 1


def origins(text: str, prepare: Callable[[str], str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the original position in `text` of each character of `prepare(text)`: two 1-D arrays, starts and ends.

    >>> starts, ends = origins("aİb", str.lower)             # "a", "i", a dot above, "b"
    >>> starts.tolist(), ends.tolist()
    ([0, 1, 1, 2], [1, 2, 2, 3])

    Args:
        text: any string.
        prepare: joins surrogates, changes case, or removes characters. The result for each character must have the same
            length alone and in context.
    """
    if text.isascii() and len(prepare(text)) == len(text):  # the common case
        position = np.arange(len(text))
        return position, position + 1
    matches = [match for match in CHARACTER.finditer(text) for _ in prepare(match[0])]
    return np.array([match.start() for match in matches]), np.array([match.end() for match in matches])


def continues_word(token: bytes) -> bool:
    """Whether a token, seen on its own, continues the previous word.

    It does if it starts with a letter, a digit, a combining mark, or a part of a character. It does not if it starts
    with white space, punctuation or any other symbol.

    >>> [continues_word(token) for token in (b"ing", b" the", b"'t", b"42", "é".encode(), b"\\xa9", "—".encode())]
    [True, False, False, True, True, True, False]
    """
    first = token.decode("utf-8", errors="replace")[:1]  # U+FFFD for a part of a character
    return first == "\ufffd" or (first != "" and unicodedata.category(first)[0] in "LNM")
