"""Text from the user's own files: one text file, a `.jsonl` file, or a folder of them.

- **A text file** (`.txt`, `.md`, `.py`, or any other ending) is one long text. Its last tenth of characters is the
  validation text, and no end-of-text is added: Tiny Shakespeare at character level has as many tokens as characters.
- **A `.jsonl` file** has one document a line, `{"text": "..."}`; another field is named as `file.jsonl:field`.
- **A folder** is read with all that is below it: each `.txt`, `.md` and `.py` file is a document, each line of a
  `.jsonl` file is one. The order is that of the paths. Names that start with a dot are passed over, and links to
  folders are not followed.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from llmasos.datasets.source import (
    VALIDATION_SHARE,
    ManyDocuments,
    Piece,
    TextSource,
    check_split,
    document_key,
    text_key,
)
from llmasos.datasets.text_io import file_digest, file_fingerprint, read_blocks, read_jsonl, read_pieces
from llmasos.errors import UserError

TEXT_ENDINGS = (".txt", ".md", ".py")
JSONL_ENDING = ".jsonl"


class PlainText(TextSource):
    """One text file as one long text: the last tenth of its characters is "val", what comes before is "train"."""

    def __init__(self, path: Path | str, name: str | None = None):
        self.path = Path(path)
        self.name = name or self.path.name
        self.description = f"{self.path}, one text; the last tenth of its characters is held out"
        next(read_blocks(self.path))  # what can be wrong at the start is said at once

    @cached_property
    def n_train_characters(self) -> int:
        """How many characters come before the cut. Counting them reads the file once, in blocks."""
        n_characters = sum(map(len, read_blocks(self.path)))
        return n_characters * (VALIDATION_SHARE - 1) // VALIDATION_SHARE

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
        left = self.n_train_characters
        for block in read_blocks(self.path):
            part = block[:left] if split == "train" else block[left:]
            left = max(0, left - len(block))
            if part:
                yield part
            if split == "train" and not left:
                return


class TextPair(TextSource):
    """Two text files, one a split, as many published corpora come. Each is one long text without end-of-text."""

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
            elif path.stat().st_size:  # an empty file among many is no error
                yield document_key(digest), read_pieces(read_blocks(path))

    def fingerprint(self) -> str:
        together = hashlib.sha256(f"documents {self.field}".encode())
        for path in self.paths:
            together.update(f"{path.suffix} {file_fingerprint(path)}".encode())
        return together.hexdigest()

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


def open_file(path: Path, field: str = "text") -> TextSource:
    """Return the text of a file, as `PlainText` or, for `.jsonl`, as one document a line."""
    if path.suffix.lower() == JSONL_ENDING:
        next(read_blocks(path))
        return FileDocuments([path], path.name, f"{path}, one document a line", field)
    return PlainText(path)


def open_folder(folder: Path, field: str = "text") -> TextSource:
    """Return the text of all text files below a folder. A single text file in it is split like one given by name.

    Raises:
        UserError: the folder holds no file with a known ending.
    """
    paths = find_text_files(folder, (*TEXT_ENDINGS, JSONL_ENDING))
    if not paths:
        endings = ", ".join((*TEXT_ENDINGS, JSONL_ENDING))
        raise UserError(f"the folder {folder} holds no text file (looked for {endings}, in all folders below it too)")
    if len(paths) == 1:
        return open_file(paths[0], field)
    return FileDocuments(paths, folder.resolve().name, f"{folder}, {len(paths):,} text files", field)


def find_text_files(folder: Path, endings: tuple[str, ...], skip: frozenset[str] = frozenset()) -> list[Path]:
    """Return the files below `folder` with one of the endings, sorted by path, without hidden names.

    Arguments:
        folder: where to look, in all folders below it too.
        endings: such as (".txt", ".md"), lower case.
        skip: names of folders to pass over.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in skip]
        found += [Path(place, name) for name in names if name.lower().endswith(endings) and not name.startswith(".")]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.relative_to(folder).parts)
