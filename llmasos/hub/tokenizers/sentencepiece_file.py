"""Reading a SentencePiece model (`source.spm`, `spiece.model`): its pieces with their scores, and its normalization.

The file is a protocol buffer: a sequence of fields, each with a number and a length, some of which are such messages
themselves. The few field numbers that matter are in `read_sentencepiece`; they come from sentencepiece_model.proto
(Kudo & Richardson 2018).

**Normalization** is a table from strings to strings, compiled into a double-array trie (Aoe 1989): one array of 32-bit
units, where each byte of the text leads from one unit to the next. At each position of a text, the longest matching
string of the table is replaced.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmasos.errors import UserError

SPACE = "▁"  # replaces the space inside pieces
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # types of pieces
UNIGRAM = 1  # the type of model


@dataclass(frozen=True)
class SentencePieceFile:
    """The content of a SentencePiece file.

    Attributes:
        pieces: each with its score, the natural logarithm of its probability, and its type.
        charsmap: the table of replaced characters.
        dummy_prefix: whether a space is put before the text, so that the first word looks like the others.
        one_space: whether runs of spaces become one space, and spaces at both ends are removed.
    """

    pieces: list[tuple[str, float, int]]
    charsmap: "CharacterMap"
    dummy_prefix: bool
    one_space: bool

    def normalize(self, text: str) -> str:
        """Return the text in the form of the pieces, with ▁ for spaces.

        >>> file = SentencePieceFile([], CharacterMap(b""), dummy_prefix=True, one_space=True)
        >>> file.normalize("  two   words ")
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
    """A table of string replacements; at each position of a text the longest match is replaced.

    Args:
        compiled: the length of the trie in bytes (4 bytes), the trie, and the replacements, each ending with a zero
            byte; b"" for an empty table.
    """

    def __init__(self, compiled: bytes):
        n_bytes = int.from_bytes(compiled[:4], "little")
        if compiled and (n_bytes % 4 or 4 + n_bytes > len(compiled)):
            raise ValueError("its table of characters is truncated")
        self.compiled = compiled
        self.units = np.frombuffer(compiled[4 : 4 + n_bytes], dtype="<u4").tolist()
        self.replacements = compiled[4 + n_bytes :]

    def replace(self, text: str) -> str:
        """Return the text with all matches of the table replaced."""
        if not self.units:
            return text
        data, out, position = text.encode("utf-8", errors="replace"), [], 0
        while position < len(data):
            match = self.longest_match(data, position)
            if match is None:
                first = data[position]  # the first byte of a character determines its length
                size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
                out.append(data[position : position + size])
            else:
                size, start = match
                out.append(self.replacements[start : self.replacements.index(0, start)])
            position += size
        return b"".join(out).decode("utf-8", errors="replace")

    def shortest_match(self, data: bytes) -> str | None:
        """Return the replacement of the shortest known string with which the data begins; None if there is none."""
        for size in range(1, len(data) + 1):
            match = self.longest_match(data[:size], 0) if self.units else None
            if match is not None:
                return self.replacements[match[1] : self.replacements.index(0, match[1])].decode()
        return None

    def longest_match(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Return the length in bytes of the longest known string at `position`, and the start of its replacement."""
        match, node = None, child_offset(self.units[0])
        for size, byte in enumerate(data[position:], start=1):
            node ^= byte
            if node >= len(self.units) or self.units[node] & 0x8000_00FF != byte:  # the label of the edge
                break
            unit = self.units[node]
            node ^= child_offset(unit)
            if unit >> 8 & 1:  # a string ends here, and the next unit holds its value
                match = size, self.units[node] & 0x7FFF_FFFF
        return match


def child_offset(unit: int) -> int:
    """Return the offset from a unit of the trie to its children."""
    return (unit >> 10) << ((unit & 0x200) >> 6)


def read_sentencepiece(path: Path) -> SentencePieceFile:
    """Read a SentencePiece file.

    Raises:
        UserError: it is missing, damaged, or not a unigram model.
    """
    try:
        top = list(fields(path.read_bytes()))
        pieces = [read_piece(value) for number, value in top if number == 1]
        trainer = dict(fields(next((value for number, value in top if number == 2), b"")))
        normalizer = dict(fields(next((value for number, value in top if number == 3), b"")))
        charsmap = CharacterMap(normalizer.get(2, b""))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); fetch the model again.") from error
    except (ValueError, IndexError, struct.error, TypeError) as error:
        raise UserError(f"{path} is not a SentencePiece model, or it is damaged ({error}); fetch it again.") from error
    if not pieces or trainer.get(3, UNIGRAM) != UNIGRAM or trainer.get(35, 0):
        raise UserError(
            f"{path} does not hold a unigram model without byte fallback, the only type that llmasos supports."
        )
    return SentencePieceFile(pieces, charsmap, bool(normalizer.get(3, 1)), bool(normalizer.get(4, 1)))


def read_piece(data: bytes) -> tuple[str, float, int]:
    """Return one piece with its score and type."""
    values = dict(fields(data))
    return values[1].decode("utf-8"), struct.unpack("<f", values.get(2, bytes(4)))[0], values.get(3, NORMAL)


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a protocol buffer: the number and the content, an integer or bytes.

    Raises:
        ValueError: the data ends in the middle of a field, or is not a protocol buffer.
    """
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = varint(data, position)
            yield number, value
            continue
        if wire_type == 2:
            size, position = varint(data, position)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"a field of the unknown wire type {wire_type}")
        if position + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[position : position + size]
        position += size


def varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode an integer, seven bits per byte, lowest bits first; return it and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
