"""Reading a SentencePiece model (`source.spm`): its pieces with their scores, and how it normalises texts.

The file is a protocol buffer: a row of fields, each with a number and a length, some of which hold such rows again. The
few numbers that matter stand in `read_model`; they are those of sentencepiece_model.proto (Kudo & Richardson 2018).

**Normalisation** is a table from strings to strings, compiled into a double-array trie (Aoe 1989): a walk through one
array of 32-bit units, in which each byte of the text leads from one unit to the next. At each place of a text the
longest string of the table that stands there is replaced.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmasos.errors import UserError

SPACE = "▁"  # stands for a space inside pieces
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # kinds of pieces
UNIGRAM = 1  # the kind of model


@dataclass(frozen=True)
class SentencePieceFile:
    """What is in the file.

    Attributes:
        pieces: each with its score, the natural logarithm of its probability, and its kind.
        charsmap: how characters are replaced.
        dummy_prefix: whether a space is put before the text, so that the first word looks like all others.
        one_space: whether runs of spaces become one, and those at the ends none.
    """

    pieces: list[tuple[str, float, int]]
    charsmap: "CharacterMap"
    dummy_prefix: bool
    one_space: bool

    def normalise(self, text: str) -> str:
        """The text as the pieces spell it, with ▁ for spaces.

        >>> file = SentencePieceFile([], CharacterMap(b""), dummy_prefix=True, one_space=True)
        >>> file.normalise("  two   words ")
        '▁two▁words'
        """
        replaced = self.charsmap.replace(text)
        if self.one_space:
            words = [word for word in replaced.split(" ") if word]
            replaced = " ".join(words)
        if not replaced:
            return ""
        return (SPACE if self.dummy_prefix else "") + replaced.replace(" ", SPACE)


class CharacterMap:
    """Replaces strings by strings, at each place the longest that the table holds.

    Args:
        compiled: the length of the trie in bytes (4 bytes), the trie, and the replacements, each ended by a zero byte;
            b"" for a table that replaces nothing.
    """

    def __init__(self, compiled: bytes):
        n_bytes = int.from_bytes(compiled[:4], "little")
        if compiled and (n_bytes % 4 or 4 + n_bytes > len(compiled)):
            raise ValueError("its table of characters is cut off")
        self.units = np.frombuffer(compiled[4 : 4 + n_bytes], dtype="<u4").tolist()
        self.replacements = compiled[4 + n_bytes :]

    def replace(self, text: str) -> str:
        """The text with everything replaced that the table knows."""
        if not self.units:
            return text
        data, out, at = text.encode("utf-8", errors="replace"), [], 0
        while at < len(data):
            found = self.longest(data, at)
            if found is None:
                first = data[at]  # of a character: its first bits say how long it is
                size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
                out.append(data[at : at + size])
            else:
                size, start = found
                out.append(self.replacements[start : self.replacements.index(0, start)])
            at += size
        return b"".join(out).decode("utf-8", errors="replace")

    def longest(self, data: bytes, at: int) -> tuple[int, int] | None:
        """How many bytes from `at` on the longest known string has, and where its replacement begins."""
        found, node = None, step(self.units[0])
        for size, byte in enumerate(data[at:], start=1):
            node ^= byte
            if node >= len(self.units) or self.units[node] & 0x8000_00FF != byte:  # the label of the way that was taken
                break
            unit = self.units[node]
            node ^= step(unit)
            if unit >> 8 & 1:  # a string ends here, and the next unit holds its value
                found = size, self.units[node] & 0x7FFF_FFFF
        return found


def step(unit: int) -> int:
    """How far a unit of the trie lies from the units that follow it."""
    return (unit >> 10) << ((unit & 0x200) >> 6)


def read_model(path: Path) -> SentencePieceFile:
    """Read a SentencePiece file.

    Raises:
        UserError: it is missing, damaged, or not of a unigram model.
    """
    try:
        top = list(fields(path.read_bytes()))
        pieces = [read_piece(value) for number, value in top if number == 1]
        trainer = dict(fields(next((value for number, value in top if number == 2), b"")))
        normaliser = dict(fields(next((value for number, value in top if number == 3), b"")))
        charsmap = CharacterMap(normaliser.get(2, b""))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); fetch the model again.") from error
    except (ValueError, IndexError, struct.error, TypeError) as error:
        raise UserError(f"{path} is no SentencePiece model, or a damaged one ({error}); fetch it again.") from error
    if not pieces or trainer.get(3, UNIGRAM) != UNIGRAM or trainer.get(35, 0):
        raise UserError(f"{path} holds no unigram model without bytes, and llmasos reads no other kind.")
    return SentencePieceFile(pieces, charsmap, bool(normaliser.get(3, 1)), bool(normaliser.get(4, 1)))


def read_piece(data: bytes) -> tuple[str, float, int]:
    """One piece with its score and kind."""
    found = dict(fields(data))
    return found[1].decode("utf-8"), struct.unpack("<f", found.get(2, bytes(4)))[0], found.get(3, NORMAL)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: number and content, which is a whole number or bytes.

    Raises:
        ValueError: the data ends in the middle of a field, or is no such data.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number, seven bits a byte, the lowest first; returns it and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
