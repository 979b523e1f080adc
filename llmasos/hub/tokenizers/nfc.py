"""Where the characters of a composed text (Unicode's form C) come from, for the offsets of tokens.

    "e" U+0301 "a"   --decompose, sort the marks, compose-->   "é" "a"      at 0 and 2

The algorithm is that of Unicode Standard Annex #15, with a second number for each character: how many characters of the
text it replaces. The rules for that number are those of the Rust crate that `tokenizers` uses, so a composed character
has the offsets of its first part, and reordered marks keep the positions in their original order.
"""

import unicodedata

import numpy as np

from llmasos.tokenizers.offsets import origins
from llmasos.tokenizers.tokenizer import replace_surrogates


def nfc_origins(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the position in `text` of each character of its composed form: two 1-D arrays, starts and ends.

    >>> starts, ends = nfc_origins("e\\u0301a")
    >>> starts.tolist(), ends.tolist()
    ([0, 2], [1, 3])
    """
    starts, ends = origins(text, replace_surrogates)
    text = replace_surrogates(text)
    if unicodedata.is_normalized("NFC", text):
        return starts, ends
    places, place = [], 0  # of the next character of the text
    for _, change in composed(text):
        if change > 0:  # an additional character
            places.append(place - 1)
        else:
            places.append(place)
            place += 1 - change
    return starts[places], ends[places]


def composed(text: str) -> list[tuple[str, int]]:
    """Return the characters of a text's composed form, each with the change of length that it makes.

    >>> composed("e\\u0301a")                  # one character less
    [('é', -1), ('a', 0)]
    """
    result: list[tuple[str, int]] = []
    starter = None  # the index in `result` of the last character that is not a mark
    last_class = 0  # of the last character after it
    for character, change in sorted_marks(decomposed(text)):
        mark_class = unicodedata.combining(character)
        if starter is not None and (starter == len(result) - 1 or last_class < mark_class):
            first, first_change = result[starter]
            both = unicodedata.normalize("NFC", first + character)
            if len(both) == 1:
                result[starter] = both, first_change + change - 1
                continue
        result.append((character, change))
        if mark_class == 0:
            starter = len(result) - 1
        last_class = mark_class
    return result


def decomposed(text: str) -> list[tuple[str, int]]:
    """Return the characters of a text's decomposed form (D): the first of each with 0, any further one with 1."""
    parts = [unicodedata.normalize("NFD", character) for character in text]
    return [(part, int(i > 0)) for character in parts for i, part in enumerate(character)]


def sorted_marks(characters: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Sort each run of marks by their canonical combining class."""
    result: list[tuple[str, int]] = []
    run: list[tuple[str, int]] = []
    for item in characters:
        if unicodedata.combining(item[0]):
            run.append(item)
        else:
            result += [*sorted(run, key=mark_class_of), item]
            run = []
    return result + sorted(run, key=mark_class_of)


def mark_class_of(item: tuple[str, int]) -> int:
    """The canonical combining class of a character."""
    return unicodedata.combining(item[0])
