"""Reading text files of any size, strictly: UTF-8 or one sentence that says where it is not.

A file is read in blocks and never held as a whole. On the way a byte-order mark at the start is dropped and line ends
become "\\n" (Windows' "\\r\\n" and the old Mac's "\\r"), so that the same text gives the same tokens wherever it was
saved.
"""

import codecs
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from llmasos.errors import UserError
from llmasos.storage import sha256_file

BLOCK_BYTES = 1 << 20
PIECE_CHARACTERS = 1 << 22  # long texts go to the tokenizer in pieces of about 4 million characters
LARGE_FILE = 256 << 20  # up to this many bytes a file's digest is that of its whole content
SAMPLES = 64

# No token of the GPT-2 or cl100k split patterns reaches across a single newline between two visible characters, so a
# text cut there gives the same ids as the whole text.
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
                    raise UserError(f"{path} is a binary file ({where}), expected UTF-8 text; give a text file")
                waiting = len(decoder.getstate()[0])  # bytes of a character that the last block cut in two
                try:
                    text = decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise _not_utf8(path, position - waiting + error.start) from error
                if position == 0:
                    text = text.removeprefix("\ufeff")
                position += len(block)
                yield newlines.decode(text)
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror or error}; check the path") from error
    if position == 0:
        raise UserError(f"{path} is empty; give a file with text in it")
    if waiting := len(decoder.getstate()[0]):
        raise _not_utf8(path, position - waiting)
    if last := newlines.decode("", final=True):
        yield last


def read_pieces(blocks: Iterator[str]) -> Iterator[str]:
    """Join blocks of text into pieces of about `PIECE_CHARACTERS`, each cut after a newline where there is one.

    The best place is a single newline between two visible characters (see `_SAFE_CUT`); then any newline; a text
    without newlines is cut anywhere. The pieces joined are the blocks joined.
    """
    waiting: list[str] = []
    n_waiting = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += len(block)
        if n_waiting >= 2 * PIECE_CHARACTERS:
            text = "".join(waiting)
            cut = _cut(text)
            yield text[:cut]
            waiting, n_waiting = [text[cut:]], len(text) - cut
    if n_waiting:
        yield "".join(waiting)


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
    """Return the JSON object that is written on a line of a `.jsonl` file.

    Raises:
        ValueError: it is none; says what it is instead.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({getattr(error, 'msg', error)}); every line must be one object") from error
    if not isinstance(record, dict):
        raise ValueError('not a JSON object; write lines like {"text": "..."}')
    return record


def read_jsonl(path: Path, field: str) -> Iterator[str]:
    """Yield the string `field` of each line's JSON object. Blank lines and empty strings are passed over.

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
            found = ", ".join(map(repr, record)) or "none"
            message = f"{path} line {number:,} has no field {field!r} (its fields: {found})"
            raise UserError(f"{message}; name another as {path}:FIELD")
        text = record[field]
        if not isinstance(text, str):
            raise UserError(f"{path} line {number:,}: field {field!r} is {type(text).__name__}, expected a string")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            message = f"{path} line {number:,} holds half a character (a lone surrogate {text[error.start]!r}); mend it"
            raise UserError(message) from error
        if text:
            yield text.replace("\r\n", "\n").replace("\r", "\n")


def file_digest(path: Path) -> bytes:
    """Return 32 bytes that stand for a file's content.

    They are its SHA-256; above 256 MiB, for speed, the SHA-256 of its size and of 64 blocks spread evenly over it, so
    an edit in place between them goes unnoticed here (`file_fingerprint` sees it by its time).
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
        raise UserError(f"could not read {path}: {error.strerror or error}; check the path") from error


def file_fingerprint(path: Path) -> str:
    """Return hexadecimal digits that change when the file changes: its digest and, if large, its time of writing."""
    digest = file_digest(path).hex()
    status = path.stat()
    return digest if status.st_size <= LARGE_FILE else f"{digest}{status.st_mtime_ns:x}"


def _cut(text: str) -> int:
    """Return where to cut `text`: after the first good newline from `PIECE_CHARACTERS` on, or what comes next to it."""
    if match := _SAFE_CUT.search(text, PIECE_CHARACTERS):
        return match.end()
    newline = text.rfind("\n")
    return newline + 1 if newline > 0 else PIECE_CHARACTERS


def _check_start(path: Path, block: bytes) -> None:
    """Recognise by their first bytes the files that people give most often by mistake."""
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{path} is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8 {path} > new.txt")
    for magic, kind, remedy in (
        (b"%PDF-", "a PDF", "convert it to text first (pdftotext)"),
        (b"PK\x03\x04", "a zip archive (or a .docx, .epub, ...)", "unpack or convert it first"),
        (b"\x1f\x8b", "gzip-compressed", "unpack it first (gunzip)"),
    ):
        if block.startswith(magic):
            raise UserError(f"{path} is {kind}, expected text; {remedy}")


def _not_utf8(path: Path, position: int) -> UserError:
    remedy = f"convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 {path} > new.txt"
    return UserError(f"{path} is not UTF-8 text at byte {position:,}; {remedy}")
