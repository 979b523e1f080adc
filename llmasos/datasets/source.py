"""What a source of text is: something that yields documents, split into training and validation text.

Two rules decide what is held out, and neither depends on the machine, the order of files, or chance:

- **One long text** (a single file): the last tenth of its characters is the validation text, as is the convention for
  Tiny Shakespeare. The cut is exact, so `train + val` is the text.
- **Many documents** (a folder, a `.jsonl` file): each document goes *whole* to one side, by a hash of its content. So
  nothing of a validation document is ever trained on, two copies of a document land on the same side, and documents
  that are added later do not move the others. The hash is uniform, hence a tenth is held out; below 1,000 documents
  chance and unequal lengths could leave nothing or nearly all, so there documents are taken in the order of their
  hashes until they hold a tenth of the characters, passing over any that would make it more than a fifth. If all are
  that long, the shortest is held out.

A document may be larger than memory. It then comes in several `Piece`s, cut after a newline.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from llmasos.errors import UserError

SPLITS = ("train", "val")
VALIDATION_SHARE = 10  # one in ten
FEW_DOCUMENTS = 1_000  # below this many, the held-out tenth is measured instead of left to the hash


class Piece(NamedTuple):
    """A stretch of text, and whether a document ends with it (the tokens then get an end-of-text)."""

    text: str
    ends_document: bool


class TextSource(ABC):
    """A named source of documents, split into "train" and "val".

    Attributes:
        name: short, as the user gave it; goes into folder names.
        description: one line for a person: what it is and how it is split.
    """

    name: str
    description: str

    @abstractmethod
    def pieces(self, split: str) -> Iterator[Piece]:
        """Yield the text of one split ("train" or "val") in a fixed order.

        Raises:
            UserError: the text cannot be read (not UTF-8, not JSON, ...); names the file and the byte or line.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return hexadecimal digits that change when the text changes; much cheaper than reading it all where large."""

    def documents(self, split: str) -> Iterator[str]:
        """Yield the texts of one split. A document that is too large for memory comes in several texts."""
        for piece in self.pieces(split):
            yield piece.text

    def size(self) -> int | None:
        """Return about how many bytes both splits have together, for a progress bar; None if not known."""
        return None

    def information(self, split: str) -> float | None:
        """Return the nats of the whole split under the distribution it was drawn from, or None where nobody knows it.

        Divided by the tokens of the split, it is the loss below which no model can get by anything but memorising.
        """
        return None


class ManyDocuments(TextSource):
    """A source of separate documents, split by the hash of each. Subclasses say what the documents are."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        """Yield, for each document, its `document_key` and its text in one or more parts, read only when asked for."""

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        is_held_out = self._held_out()
        for key, parts in self.entries():
            if is_held_out(key) == (split == "val"):
                yield from document_pieces(parts)

    def _held_out(self) -> Callable[[int], bool]:
        """Return the rule that tells from a document's key whether it is held out."""
        sizes: dict[int, int] = {}  # characters of each document; copies share a key
        n_documents = 0
        for key, parts in islice(self.entries(), FEW_DOCUMENTS):
            sizes[key] = sum(len(part) for part in parts)
            n_documents += 1
        if n_documents == FEW_DOCUMENTS:
            return in_hashed_tenth
        if len(sizes) < 2:
            raise UserError(
                f"{self.name} has {n_documents} documents, {len(sizes)} of them different, so none can be held out for"
                " validation; give at least two, or one plain text file, of which the last tenth is held out"
            )
        return measured_tenth(sizes).__contains__


def in_hashed_tenth(key: int) -> bool:
    """Say whether a document is held out, from its `document_key` alone: one in ten is."""
    return key < 2**64 // VALIDATION_SHARE


def measured_tenth(sizes: dict[int, int]) -> set[int]:
    """Return the keys of what is held out where there is little: in the order of the keys until they hold a tenth.

    Arguments:
        sizes: `document_key` -> its size, of two documents or more.
    """
    tenth, chosen, held = sum(sizes.values()) / VALIDATION_SHARE, set(), 0
    for key in sorted(sizes):
        if held < tenth and held + sizes[key] <= 2 * tenth:
            chosen.add(key)
            held += sizes[key]
    return chosen or {min(sizes, key=lambda key: (sizes[key], key))}


def document_key(digest: bytes) -> int:
    """Return the 64-bit number that decides a document's side, from the SHA-256 of its content."""
    return int.from_bytes(digest[:8], "big")


def text_key(text: str) -> int:
    """Return the `document_key` of a text."""
    return document_key(hashlib.sha256(text.encode("utf-8")).digest())


def document_pieces(parts: Iterable[str]) -> Iterator[Piece]:
    """Turn the parts of one document into pieces, of which the last ends the document.

    >>> list(document_pieces(["Once ", "upon a time."]))
    [Piece(text='Once ', ends_document=False), Piece(text='upon a time.', ends_document=True)]
    """
    previous = None
    for part in parts:
        if previous is not None:
            yield Piece(previous, False)
        previous = part
    if previous is not None:
        yield Piece(previous, True)


def check_split(split: str) -> None:
    """Raise `ValueError` unless `split` is "train" or "val"."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
