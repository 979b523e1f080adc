"""Reading text files of any size, strictly: UTF-8, or an error that says where the file is not.

A file is read in blocks and never held in memory as a whole. A byte-order mark at the start is dropped, and line ends
become "\\n" (from Windows' "\\r\\n" and the old Mac's "\\r"), so the same text gives the same tokens wherever it was
saved.
"""

import codecs
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from llmasos.errors import UserError
from llmasos.storage import sha256_file

BLOCK_BYTES = 1 << 20
PIECE_CHARACTERS = 1 << 22  # long texts are tokenized in pieces of about 4 million characters
LARGE_FILE = 256 << 20  # bytes; up to this size a file's digest is that of its whole content
SAMPLES = 64

# No match of the GPT-2 or cl100k split patterns crosses a single newline between two visible characters, so a text
# that is cut there gives the same ids as the whole text.
_SAFE_CUT = re.compile(r"(?<=\S)\n(?=\S)")


def read_blocks(path: Path) -> Iterator[str]:
    """Yield a text file's content in blocks of about 1 MiB.

    Raises:
        UserError: the file is missing or unreadable, empty, binary (holds a zero byte), or not UTF-8; names the byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    position = 0  # of the block in the file
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                if position == 0:
                    _check_start(path, block)
                if (zero := block.find(0)) >= 0:
                    where = f"a zero byte at byte {position + zero:,}"
                    raise UserError(f"{path} is a binary file ({where}), expected UTF-8 text; give a text file.")
                n_pending = len(decoder.getstate()[0])  # bytes of a character that the last block cut in two
                try:
                    text = decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise _not_utf8(path, position - n_pending + error.start) from error
                if position == 0:
                    text = text.removeprefix("\ufeff")
                position += len(block)
                yield newlines.decode(text)
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror or error}; check the path.") from error
    if position == 0:
        raise UserError(f"{path} is empty; give a file with text in it.")
    if n_pending := len(decoder.getstate()[0]):
        raise _not_utf8(path, position - n_pending)
    if last := newlines.decode("", final=True):
        yield last


def read_pieces(blocks: Iterator[str]) -> Iterator[str]:
    """Join blocks of text into pieces of about `PIECE_CHARACTERS`, each cut after a newline where there is one.

    The best place is a single newline between two visible characters (see `_SAFE_CUT`), the second best any newline; a
    text without newlines is cut anywhere. The joined pieces equal the joined blocks.
    """
    pending: list[str] = []
    n_pending = 0
    for block in blocks:
        pending.append(block)
        n_pending += len(block)
        if n_pending >= 2 * PIECE_CHARACTERS:
            text = "".join(pending)
            cut = _cut(text)
            yield text[:cut]
            pending, n_pending = [text[cut:]], len(text) - cut
    if n_pending:
        yield "".join(pending)


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file. Only "\\n" ends one: str.splitlines would also cut at U+2028, which JSON allows."""
    rest: list[str] = []
    for block in read_blocks(path):
        first, *others = block.split("\n")
        rest.append(first)
        for line in others:
            yield "".join(rest)
            rest = [line]
    yield "".join(rest)


def parse_object(line: str) -> dict:
    """Return the JSON object on a line of a `.jsonl` file.

    Raises:
        ValueError: the line is not a JSON object; says what it is instead.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({getattr(error, 'msg', error)}); every line must be one object.") from error
    if not isinstance(record, dict):
        raise ValueError('not a JSON object; write lines like {"text": "..."}.')
    return record


def read_jsonl(path: Path, field: str) -> Iterator[str]:
    """Yield the string `field` of each line's JSON object. Blank lines and empty strings are skipped.

    Raises:
        UserError: as `read_blocks`, or a line is not a JSON object with that field; names the line.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = parse_object(line)
        except ValueError as error:
            raise UserError(f"{path} line {number:,} is {error}") from error
        if field not in record:
            fields = ", ".join(map(repr, record)) or "none"
            raise UserError(
                f"{path} line {number:,} has no field {field!r} (its fields: {fields}); name another as {path}:FIELD."
            )
        text = record[field]
        if not isinstance(text, str):
            raise UserError(f"{path} line {number:,}: field {field!r} is {type(text).__name__}, expected a string.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            problem = f"half a character (a lone surrogate {text[error.start]!r})"
            raise UserError(f"{path} line {number:,} holds {problem}; fix this line.") from error
        if text:
            yield text.replace("\r\n", "\n").replace("\r", "\n")


def file_digest(path: Path) -> bytes:
    """Return a 32-byte digest of a file's content.

    It is the SHA-256 of the whole file; above 256 MiB, for speed, the SHA-256 of its size and of 64 blocks spread
    evenly over it. An edit in place between those blocks goes unnoticed here (`file_fingerprint` adds the file's time).
    """
    try:
        size = path.stat().st_size
        if size <= LARGE_FILE:
            return bytes.fromhex(sha256_file(path))
        digest = hashlib.sha256(str(size).encode())
        with open(path, "rb") as file:
            for sample in range(SAMPLES):
                file.seek((size - BLOCK_BYTES) * sample // (SAMPLES - 1))
                digest.update(file.read(BLOCK_BYTES))
        return digest.digest()
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror or error}; check the path.") from error


def file_fingerprint(path: Path) -> str:
    """Return hexadecimal digits that change when the file changes: its digest and, if large, its modification time."""
    digest = file_digest(path).hex()
    status = path.stat()
    return digest if status.st_size <= LARGE_FILE else f"{digest}{status.st_mtime_ns:x}"


def _cut(text: str) -> int:
    """Return where to cut `text`: after the first safe newline from `PIECE_CHARACTERS` on, or the next best place."""
    if match := _SAFE_CUT.search(text, PIECE_CHARACTERS):
        return match.end()
    newline = text.rfind("\n")
    return newline + 1 if newline > 0 else PIECE_CHARACTERS


def _check_start(path: Path, block: bytes) -> None:
    """Raise `UserError` for the files that are most often given by mistake, recognized by their first bytes."""
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{path} is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8 {path} > new.txt.")
    for magic, file_type, remedy in (
        (b"%PDF-", "a PDF", "convert it to text first (pdftotext)"),
        (b"PK\x03\x04", "a zip archive (or a .docx, .epub, ...)", "unpack or convert it first"),
        (b"\x1f\x8b", "gzip-compressed", "unpack it first (gunzip)"),
    ):
        if block.startswith(magic):
            raise UserError(f"{path} is {file_type}, expected text; {remedy}.")


def _not_utf8(path: Path, position: int) -> UserError:
    remedy = f"convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 {path} > new.txt"
    return UserError(f"{path} is not UTF-8 text at byte {position:,}; {remedy}.")


def find_text_files(folder: Path, endings: tuple[str, ...], skip: frozenset[str] = frozenset()) -> list[Path]:
    """Return the files in `folder` with one of the endings, sorted by path, without hidden names.

    Args:
        folder: where to look, also in its subfolders.
        endings: such as (".txt", ".md"), lower case.
        skip: names of folders to skip.
    """
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in skip]
        paths += [Path(parent, name) for name in names if name.lower().endswith(endings) and not name.startswith(".")]
    return sorted((path for path in paths if path.is_file()), key=lambda path: path.relative_to(folder).parts)
