"""A source of text: it yields documents, split into training and validation text.

Two rules decide what is held out. Neither depends on the machine, the order of files, or chance:

- **One long text** (a single file): the last tenth of its characters is the validation text, as is the convention for
  Tiny Shakespeare. The cut is exact, so `train + val` is the text.
- **Many documents** (a folder, a `.jsonl` file): each document goes *whole* to one side, by a hash of its content. So
  nothing of a validation document is ever trained on, two copies of a document land on the same side, and documents
  that are added later do not move the others. The hash is uniform, hence a tenth is held out. Below 1,000 documents,
  chance and unequal lengths could leave nothing or nearly everything; there, documents are taken in the order of their
  hashes until they hold a tenth of the characters, skipping any that would make it more than a fifth. If all are
  that long, the shortest is held out.

A document may be larger than memory. It then comes in several `Piece`s, cut after a newline.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from llmasos.datasets.text_io import file_digest, file_fingerprint, read_blocks, read_jsonl, read_pieces
from llmasos.errors import UserError

SPLITS = ("train", "val")
JSONL_ENDING = ".jsonl"
VALIDATION_ONE_IN = 10
FEW_DOCUMENTS = 1_000  # below this many, the held-out tenth is measured instead of left to the hash


class Piece(NamedTuple):
    """A stretch of text, and whether a document ends with it (the tokens then get an end-of-text)."""

    text: str
    ends_document: bool


class TextSource(ABC):
    """A named source of documents, split into "train" and "val".

    Attributes:
        name: short, as the user gave it; part of folder names.
        description: one line for a person: what the text is and how it is split.
    """

    name: str
    description: str

    @abstractmethod
    def pieces(self, split: str) -> Iterator[Piece]:
        """Yield the text of one split ("train" or "val") in a fixed order.

        Raises:
            UserError: the text cannot be read (not UTF-8, not JSON, …); names the file and the byte or line.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return hexadecimal digits that change when the text changes; cheaper than reading a large text."""

    def documents(self, split: str) -> Iterator[str]:
        """Yield the texts of one split. A document that is too large for memory comes in several texts."""
        for piece in self.pieces(split):
            yield piece.text

    def size(self) -> int | None:
        """Return about how many bytes both splits have together, for a progress bar; None if unknown."""
        return None

    def information(self, split: str) -> float | None:
        """Return the information of a whole split in nats, -log p under the distribution it was drawn from.

        Divided by the tokens of the split, it is the lowest loss a model can reach without memorizing. None for real
        text, whose distribution is unknown.
        """
        return None


class PlainText(TextSource):
    """One text file as one long text: the last tenth of its characters is "val", everything before it "train"."""

    def __init__(self, path: Path | str, name: str | None = None):
        self.path = Path(path)
        self.name = name or self.path.name
        self.description = f"{self.path}, one text; the last tenth of its characters is held out"
        next(read_blocks(self.path))  # reports a problem in the first block at once

    @cached_property
    def n_train_characters(self) -> int:
        """The number of characters before the cut. Counting them reads the file once, in blocks."""
        n_characters = sum(map(len, read_blocks(self.path)))
        return n_characters * (VALIDATION_ONE_IN - 1) // VALIDATION_ONE_IN

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        for text in read_pieces(self._side(split)):
            yield Piece(text, False)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"plain text {file_fingerprint(self.path)}".encode()).hexdigest()

    def size(self) -> int:
        return self.path.stat().st_size

    def _side(self, split: str) -> Iterator[str]:
        """Yield the blocks of the file on one side of the cut."""
        n_left = self.n_train_characters
        for block in read_blocks(self.path):
            part = block[:n_left] if split == "train" else block[n_left:]
            n_left = max(0, n_left - len(block))
            if part:
                yield part
            if split == "train" and not n_left:
                return


class SplitText(TextSource):
    """Two text files, one per split, as in many published corpora. Each is one long text without end-of-text."""

    def __init__(self, train: Path, val: Path, name: str):
        self.paths = {"train": Path(train), "val": Path(val)}
        self.name = name
        self.description = f"{train} to train on, {val} held out"

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        for text in read_pieces(read_blocks(self.paths[split])):
            yield Piece(text, False)

    def fingerprint(self) -> str:
        both = " ".join(file_fingerprint(path) for path in self.paths.values())
        return hashlib.sha256(f"text pair {both}".encode()).hexdigest()

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.paths.values())


class ManyDocuments(TextSource):
    """A source of separate documents, split by the hash of each. Subclasses define the documents."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        """Yield, for each document, its `document_key` and its text in one or more parts, which are read lazily."""

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        is_held_out = self._held_out()
        for key, parts in self.entries():
            if is_held_out(key) == (split == "val"):
                yield from document_pieces(parts)

    def _held_out(self) -> Callable[[int], bool]:
        """Return the rule that says from a document's key whether it is held out."""
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
                " validation; give at least two, or one plain text file, of which the last tenth is held out."
            )
        return measured_tenth(sizes).__contains__


class FileDocuments(ManyDocuments):
    """Documents in files: each line of a `.jsonl` file is one, and each other file is one as a whole."""

    def __init__(self, paths: Iterable[Path], name: str, description: str, field: str = "text"):
        self.paths = list(paths)
        self.name = name
        self.description = f"{description}; about a tenth of it, in whole documents, is held out"
        self.field = field

    @cached_property
    def digests(self) -> list[bytes]:
        """One digest of each file's content."""
        return [file_digest(path) for path in self.paths]

    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        for path, digest in zip(self.paths, self.digests, strict=True):
            if path.suffix.lower() == JSONL_ENDING:
                for text in read_jsonl(path, self.field):
                    yield text_key(text), [text]
            elif path.stat().st_size:  # an empty file among many is not an error
                yield document_key(digest), read_pieces(read_blocks(path))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"documents {self.field}".encode())
        for path in self.paths:
            digest.update(f"{path.suffix} {file_fingerprint(path)}".encode())
        return digest.hexdigest()

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


def in_hashed_tenth(key: int) -> bool:
    """Whether a document is held out, from its `document_key` alone: one in ten is."""
    return key < 2**64 // VALIDATION_ONE_IN


def measured_tenth(sizes: dict[int, int]) -> set[int]:
    """Return the keys of a held-out tenth of few documents: in the order of the keys, until they hold a tenth.

    Args:
        sizes: `document_key` → size, of two documents or more.
    """
    tenth = sum(sizes.values()) / VALIDATION_ONE_IN
    held_out: set[int] = set()
    size = 0
    for key in sorted(sizes):
        if size < tenth and size + sizes[key] <= 2 * tenth:
            held_out.add(key)
            size += sizes[key]
    return held_out or {min(sizes, key=lambda key: (sizes[key], key))}


def document_key(digest: bytes) -> int:
    """Return the 64-bit number that decides a document's side, from the SHA-256 of its content."""
    return int.from_bytes(digest[:8], "big")


def text_key(text: str) -> int:
    """Return the `document_key` of a text."""
    return document_key(hashlib.sha256(text.encode("utf-8")).digest())


def document_pieces(parts: Iterable[str]) -> Iterator[Piece]:
    """Turn the parts of one document into pieces; the last one ends the document.

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
        raise ValueError(f"unknown split {split!r}; expected one of {SPLITS}.")
