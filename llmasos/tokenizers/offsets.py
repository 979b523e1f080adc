"""Where in a text each token stands, in characters: what a task needs whose answer is a piece of the text.

Tokens are made from bytes and, where a tokenizer lower-cases, from a text that may be longer than the one it was given
('İ' becomes an 'i' and a dot above). So positions go through three steps:

    bytes of the prepared text  --characters_of_bytes-->  its characters  --origins-->  characters of the text itself

A token covers every character of which it holds a byte: two tokens that share the four bytes of 😀 both cover it.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import regex

# Two surrogates in a row spell one character.
CHARACTER = re.compile("[\ud800-\udbff][\udc00-\udfff]|.", re.DOTALL)
CLUSTER = regex.compile(r"\X")  # a character with all that combines with it


class Encoding(NamedTuple):
    """A text's tokens and where they stand in it: token i covers `text[starts[i]:ends[i]]`.

    Attributes:
        ids: the tokens, as `encode` gives them.
        starts, ends: in characters of the text.
        words: the number of the word each token belongs to, from 0. A token for which `Tokenizer.continues` is False
            begins a new one.
    """

    ids: list[int]
    starts: list[int]
    ends: list[int]
    words: list[int]


def characters_of_bytes(text: str) -> np.ndarray:
    """Return, for each byte of the text's UTF-8, the number of the character it belongs to: 1-D integers.

    >>> characters_of_bytes("aéb").tolist()
    [0, 1, 1, 2]
    """
    values = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    begins = (values & 0b1100_0000) != 0b1000_0000  # all bytes of a character but its first are 10xxxxxx
    return np.cumsum(begins) - 1


def origins(text: str, prepare: Callable[[str], str], pieces: re.Pattern = CHARACTER) -> tuple[np.ndarray, np.ndarray]:
    """Return where in `text` each character of `prepare(text)` comes from: two 1-D arrays, starts and ends.

    >>> starts, ends = origins("aİb", str.lower)             # "a", "i", a dot above, "b"
    >>> starts.tolist(), ends.tolist()
    ([0, 1, 1, 2], [1, 2, 2, 3])

    Arguments:
        text: any string.
        prepare: joins surrogates, changes case, composes: what it makes of each piece has the same length alone and in
            company.
        pieces: cuts the text into the pieces of which that is true.
    """
    if text.isascii():  # the usual case
        position = np.arange(len(text))
        return position, position + 1
    matches = [match for match in pieces.finditer(text) for _ in prepare(match[0])]
    return np.array([match.start() for match in matches]), np.array([match.end() for match in matches])


def continues_word(token: bytes) -> bool:
    """Whether a token, seen on its own, continues the word before it.

    It does if it begins with a letter, a digit, a combining mark, or a piece of a character. It does not if it begins
    with white space, punctuation or any other sign.

    >>> [continues_word(token) for token in (b"ing", b" the", b"'t", b"42", "é".encode(), b"\\xa9", "—".encode())]
    [True, False, False, True, True, True, False]
    """
    first = token.decode("utf-8", errors="replace")[:1]  # U+FFFD for a piece of a character
    return first == "\ufffd" or (first != "" and unicodedata.category(first)[0] in "LNM")
