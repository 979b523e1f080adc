"""A source of text: it yields documents, split into training and validation text.

Two rules decide what is held out. Neither depends on the machine, the order of files, or chance:

- **One long text** (a single file): the last tenth of its characters is the validation text, as is the convention for
  Tiny Shakespeare. The cut is exact, so `train + val` is the text.
- **Many documents** (a folder, a `.jsonl` or `.json` file, a text with `<|endoftext|>` between its documents, as in
  TinyStories): each document goes *whole* to one side, by a hash of its content. So nothing of a validation document
  is ever trained on, two copies of a document land on the same side, and documents that are added later do not move
  the others. The hash is uniform, hence a tenth is held out. Below 1,000 documents, chance and unequal lengths could
  leave nothing or nearly everything; there, documents are taken in the order of their hashes until they hold a tenth
  of the characters, skipping any that would make it more than a fifth. If all are that long, the shortest is held
  out. A single document (or copies of it) is cut like one long text.

A document may be larger than memory. It then comes in several `Piece`s, cut after a newline.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from llmasos.datasets.paths import title_of
from llmasos.datasets.table_texts import read_texts
from llmasos.datasets.tables import TABLE_ENDINGS
from llmasos.datasets.text_io import (
    COMPRESSED_ENDINGS,
    contains,
    ending_of,
    file_digest,
    file_fingerprint,
    read_blocks,
    read_pieces,
)
from llmasos.errors import UserError

SPLITS = ("train", "val")
END_OF_TEXT = "<|endoftext|>"  # separates the documents of a text file, whatever the tokenizer's own end-of-text is
UNMARKED_ENDINGS = (".py", ".md")  # of texts that may mention the mark without using it
VALIDATION_ONE_IN = 10
FEW_DOCUMENTS = 1_000  # with fewer, the held-out tenth is measured exactly instead of left to the hash


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

    def streams(self, split: str) -> list[Iterator[Piece]]:
        """Return the text of one split in parts that no window crosses; here there is only one."""
        return [self.pieces(split)]

    def all_pieces(self) -> Iterator[Piece]:
        """Yield the text of both splits."""
        for split in SPLITS:
            yield from self.pieces(split)

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
        self.name = name or Path(title_of(self.path)).name
        self.description = f"{title_of(self.path)}, one text; the last tenth of its characters is held out"
        next(read_blocks(self.path))  # reports a problem in the first block at once

    @cached_property
    def n_train_characters(self) -> int:
        """The number of characters before the cut. Counting them reads the file once, in blocks."""
        sizes = [(len(block), block.isspace()) for block in read_blocks(self.path)]
        if all(is_space for _, is_space in sizes):
            raise UserError(f"{self.name} holds nothing but white space; give a file with text in it.")
        return n_before_cut(sum(n for n, _ in sizes), self.name)

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        for text in read_pieces(one_side(read_blocks(self.path), self.n_train_characters, split)):
            yield Piece(text, False)

    def all_pieces(self) -> Iterator[Piece]:
        for text in read_pieces(read_blocks(self.path)):
            yield Piece(text, False)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"plain text {file_fingerprint(self.path)}".encode()).hexdigest()

    def size(self) -> int | None:
        return size_of([self.path])


class SplitText(TextSource):
    """Two sources, one per split: a corpus published that way, or a second source that the user names for
    validation.
    """

    def __init__(self, train: TextSource, val: TextSource, name: str):
        self.sources = {"train": train, "val": val}
        self.name = name
        train_name, val_name = (source.description.partition(",")[0] for source in (train, val))
        self.description = f"{train_name} to train on, {val_name} held out"

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        return self.sources[split].all_pieces()

    def fingerprint(self) -> str:
        both = " ".join(source.fingerprint() for source in self.sources.values())
        return hashlib.sha256(f"text pair {both}".encode()).hexdigest()

    def size(self) -> int | None:
        sizes = [source.size() for source in self.sources.values()]
        return None if None in sizes else sum(size for size in sizes if size)


class ManyDocuments(TextSource):
    """A source of separate documents, split by the hash of each. Subclasses define the documents."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        """Yield, for each document, its `document_key` and its text in one or more parts, which are read lazily."""

    def pieces(self, split: str) -> Iterator[Piece]:
        check_split(split)
        sizes = self._sizes()
        is_held_out = in_hashed_tenth if sizes is None else measured_tenth(sizes).__contains__
        for key, parts in self.entries():
            if sizes is not None and len(sizes) == 1:
                yield from document_pieces(one_side(parts, n_before_cut(sizes[key], self.name), split))
            elif is_held_out(key) == (split == "val"):
                yield from document_pieces(parts)

    def all_pieces(self) -> Iterator[Piece]:
        for _, parts in self.entries():
            yield from document_pieces(parts)

    def _sizes(self) -> dict[int, int] | None:
        """Return key → number of characters of each document (copies share a key); None if there are many documents."""
        sizes: dict[int, int] = {}
        n_documents = 0
        for key, parts in islice(self.entries(), FEW_DOCUMENTS):
            sizes[key] = sum(len(part) for part in parts)
            n_documents += 1
        if not n_documents:
            raise UserError(f"{self.name} has no text in it; give at least one document.")
        return None if n_documents == FEW_DOCUMENTS else sizes


class FileDocuments(ManyDocuments):
    """Documents in files: each row of a table is one, and each other file is one as a whole.

    Where there is an `END_OF_TEXT` inside, it ends a document.
    """

    def __init__(self, paths: Iterable[Path], name: str, description: str, field: str = "text"):
        self.paths = list(paths)
        self.name = name
        self.description = f"{description}; about a tenth of it, in whole documents, is held out"
        self.field = field

    @cached_property
    def digests(self) -> list[bytes]:
        """One digest of each file's content."""
        return [file_digest(path) for path in self.paths]

    @cached_property
    def marked(self) -> set[Path]:
        """The files with an `END_OF_TEXT` inside."""
        return {path for path in self.paths if has_marks(path)}

    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        for path, digest in zip(self.paths, self.digests, strict=True):
            if ending_of(path) in TABLE_ENDINGS:
                for text in read_texts(path, self.field):
                    for document in split_at_marks([text]) if END_OF_TEXT in text else [text]:
                        yield text_key(document), [document]
            elif path in self.marked:
                for document in split_at_marks(read_blocks(path)):
                    yield text_key(document), [document]
            elif path.stat().st_size:  # an empty file among many is not an error
                yield document_key(digest), read_pieces(read_blocks(path))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"documents {self.field}".encode())
        for path in self.paths:
            digest.update(f"{path.suffix} {file_fingerprint(path)}".encode())
        return digest.hexdigest()

    def size(self) -> int | None:
        return size_of(self.paths)


def has_marks(path: Path) -> bool:
    """Whether a text file has an `END_OF_TEXT` inside."""
    return ending_of(path) not in (*UNMARKED_ENDINGS, *TABLE_ENDINGS) and contains(path, END_OF_TEXT)


def split_at_marks(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the documents of a text with an `END_OF_TEXT` between them, without the newlines next to it.

    >>> list(split_at_marks(["One.\\n<|endof", "text|>\\nTwo.", "\\n<|endoftext|>\\n"]))
    ['One.', 'Two.']
    """
    parts: list[str] = []  # of the current document
    tail = ""
    for block in blocks:
        *ended, last = (tail + block).split(END_OF_TEXT)
        for text in ended:
            if document := "".join([*parts, text]).strip("\n"):
                yield document
            parts = []
        cut = max(0, len(last) - len(END_OF_TEXT) + 1)  # the rest may be the start of a mark
        parts.append(last[:cut])
        tail = last[cut:]
    if document := "".join([*parts, tail]).strip("\n"):
        yield document


def size_of(paths: Iterable[Path]) -> int | None:
    """Return how many bytes some files have together; None if that of their text is unknown."""
    paths = list(paths)
    if any(path.suffix.lower() in COMPRESSED_ENDINGS for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)


def one_side(blocks: Iterable[str], n_train: int, split: str) -> Iterator[str]:
    """Yield the part of a text that is in one split, if its first `n_train` characters are to train on."""
    for block in blocks:
        part = block[:n_train] if split == "train" else block[n_train:]
        n_train = max(0, n_train - len(block))
        if part:
            yield part
        if split == "train" and not n_train:
            return


def n_before_cut(n_characters: int, name: str) -> int:
    """Return how many characters of a text come before the tenth that is held out; `name` is for the message."""
    if n_characters < 2:
        raise UserError(f"{name} has a single character, so none can be held out for validation; give a longer text.")
    return n_characters * (VALIDATION_ONE_IN - 1) // VALIDATION_ONE_IN


def in_hashed_tenth(key: int) -> bool:
    """Whether a document is held out, from its `document_key` alone: one in ten is."""
    return key < 2**64 // VALIDATION_ONE_IN


def measured_tenth(sizes: dict[int, int]) -> set[int]:
    """Return the keys of a held-out tenth of few documents: in the order of the keys, until they contain a tenth of the
    text.

    Args:
        sizes: `document_key` → size, of one document or more.
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
    """Return the 64-bit number that determines a document's split, from the SHA-256 of its content."""
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
