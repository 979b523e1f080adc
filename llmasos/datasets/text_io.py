"""Reading text files of any size, strictly: valid Unicode, or an error that says where it is not.

A file is read in blocks and never held in memory as a whole. It may be compressed (gzip, bzip2, xz; with Python 3.14
also zstd) and may be UTF-16 or UTF-32 if it starts with a byte-order mark; else it is UTF-8. The mark is dropped.

**Line ends** are "\\n" and "\\r\\n" (read as "\\n"), and nothing else. So lines are the same as in `wc -l` and editors,
and the two files of a translation stay aligned. `str.splitlines` and Python's text files would also split at a lone
"\\r", the former also at U+0085, U+2028 and six more, which occur inside lines of real corpora.
"""

import codecs
import hashlib
import importlib
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from llmasos.errors import UserError
from llmasos.storage import sha256_file

BLOCK_BYTES = 1 << 20
PIECE_CHARACTERS = 1 << 22  # long texts are tokenized in pieces of about 4 million characters
LARGE_FILE = 256 << 20  # bytes; up to this size a file's digest is that of its whole content
SAMPLES = 64
COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz", ".zst")
UNPACKERS = {  # module with an `open` → the first bytes of the files that it unpacks
    "gzip": rb"\x1f\x8b",
    "bz2": rb"BZh\d1AY&SY",
    "lzma": rb"\xfd7zXZ\0",
    "compression.zstd": rb"\x28\xb5\x2f\xfd",
}
BYTE_ORDER_MARKS = (  # UTF-32 first, because its mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# No match of the GPT-2 or cl100k split patterns crosses a single newline between two visible characters, so cutting a
# text there does not change its ids.
_SAFE_CUT = re.compile(r"(?<=\S)\n(?=\S)")


def ending_of(path: Path) -> str:
    """Return a file's ending in lower case, ignoring that of a compressed file.

    >>> ending_of(Path("reviews.CSV")), ending_of(Path("reviews.csv.gz"))
    ('.csv', '.csv')
    """
    ending = path.suffix.lower()
    return Path(path.stem).suffix.lower() if ending in COMPRESSED_ENDINGS else ending


def read_blocks(path: Path) -> Iterator[str]:
    """Yield a text file's content in blocks of about 1 MiB.

    Raises:
        UserError: the file is missing or unreadable, empty, binary (holds a zero character), not Unicode (names the
            byte of the unpacked content), or has lone carriage returns instead of line ends.
    """
    encoding, position = "", 0  # of the block in the unpacked content
    held_back = ""  # a "\r" at the end of a block, which may belong to a "\n" in the next one
    has_newline = has_return = False
    with _open_unpacked(path) as file:
        while block := file.read(BLOCK_BYTES):
            if not encoding:
                encoding = _encoding_of(path, block)
                decoder = codecs.getincrementaldecoder(encoding)()
            n_pending = len(decoder.getstate()[0])  # bytes of a character that the last block cut in two
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                if encoding == "utf-8" and b"\0" in block:
                    raise _binary(path, block, position) from error
                raise _not_unicode(path, encoding, position - n_pending + error.start) from error
            if "\0" in text:
                raise _binary(path, block, position)
            if position == 0:
                text = text.removeprefix("\ufeff")
            position += len(block)
            text = held_back + text
            held_back = "\r" if text.endswith("\r") else ""
            text = text.removesuffix("\r").replace("\r\n", "\n")
            has_newline, has_return = has_newline or "\n" in text, has_return or "\r" in text
            yield text
    if not encoding:
        raise UserError(f"{path} is empty; give a file with text in it.")
    if n_pending := len(decoder.getstate()[0]):
        raise _not_unicode(path, encoding, position - n_pending)
    if (has_return or held_back) and not has_newline:
        remedy = _convert(path, r"tr '\r' '\n' <")
        problem = "ends its lines with carriage returns alone, as Macs did before 2001, expected line feeds"
        raise UserError(f"{path} {problem}; {remedy}.")
    if held_back:
        yield held_back


def contains(path: Path, text: str) -> bool:
    """Whether a text file contains an ASCII text. Bytes are searched, several times as fast as reading the text."""
    wanted, tail = b"", b""
    with _open_unpacked(path) as file:
        while block := file.read(BLOCK_BYTES):
            wanted = wanted or text.encode(_encoding_of(path, block))
            if wanted in block or wanted in tail + block[: len(wanted)]:
                return True
            tail = (tail + block)[1 - len(wanted) :]  # the end of a block may hold the start of the wanted text
    return False


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
    """Yield the lines of a file without their ends; nothing follows the last line end."""
    rest: list[str] = []
    for block in read_blocks(path):
        first, *others = block.split("\n")
        rest.append(first)
        for line in others:
            yield "".join(rest)
            rest = [line]
    if last := "".join(rest):
        yield last


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


def check_readable_twice(path: Path) -> None:
    """Raise UserError for a pipe or a device: reading it again gives nothing, other text, or no end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a pipe or a device, which can be read only once; save its content as a file first.")


@contextmanager
def _open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked if it is compressed. Its first bytes decide: names are wrong too often."""
    unpacker = ""
    check_readable_twice(path)
    try:
        with open(path, "rb") as file:
            start = file.read(10)
        unpacker = next((module for module, magic in UNPACKERS.items() if re.match(magic, start, re.DOTALL)), "")
        with importlib.import_module(unpacker).open(path, "rb") if unpacker else open(path, "rb") as file:
            yield file
    except ImportError as error:
        raise UserError(f"{path} is compressed, and this Python has no {unpacker}; unpack it first.") from error
    except UserError:
        raise
    except Exception as error:  # each module has its own
        if unpacker:
            raise UserError(f"{path} cannot be unpacked ({error}); download it again.") from error
        if not isinstance(error, OSError):
            raise
        raise UserError(f"could not read {path}: {error.strerror or error}; check the path.") from error


def _encoding_of(path: Path, block: bytes) -> str:
    """Return the encoding that a file's byte-order mark names, or UTF-8.

    Raises:
        UserError: the first bytes are those of a type of file that is often given by mistake.
    """
    for magic, file_type, remedy in (
        (b"%PDF-", "a PDF", "convert it to text first (pdftotext)"),
        (b"PK\x03\x04", "a zip archive (or a .docx, .xlsx, .epub, ...)", "unpack or convert it first"),
        (b"PAR1", "a Parquet file", "convert it to .jsonl or .csv first"),
    ):
        if block.startswith(magic):
            raise UserError(f"{path} is {file_type}, expected text; {remedy}.")
    if block[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive, expected text; unpack it first (tar -xf).")
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if block.startswith(mark)), "utf-8")
    n_high, n_low = block[::2].count(0), block[1::2].count(0)  # most letters of most languages are below 256
    if encoding == "utf-8" and max(n_high, n_low) > len(block) // 4 and 4 * min(n_high, n_low) < max(n_high, n_low):
        remedy = _convert(path, f"iconv -f UTF-16{'LE' if n_low > n_high else 'BE'} -t UTF-8")
        raise UserError(f"{path} seems to be UTF-16 without a byte-order mark, expected UTF-8; {remedy}.")
    return encoding


def _binary(path: Path, block: bytes, position: int) -> UserError:
    """Return the error for a file with a zero character in this block."""
    where = f"a zero byte at byte {position + block.find(0):,}"
    return UserError(f"{path} is a binary file ({where}), expected UTF-8 text; give a text file.")


def _convert(path: Path, command: str) -> str:
    """Return the advice to convert a file into one with the same ending."""
    unpacked = "unpack it and convert it" if path.suffix.lower() in COMPRESSED_ENDINGS else "convert it"
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED_ENDINGS else path
    return f"{unpacked}: {command} {shlex.quote(str(name))} > new{name.suffix}"


def _not_unicode(path: Path, encoding: str, position: int) -> UserError:
    remedy = _convert(path, "iconv -f WINDOWS-1252 -t UTF-8") + ", if that is its encoding"
    return UserError(f"{path} is not {encoding[:6].upper()} text at byte {position:,}; {remedy}.")


def find_text_files(folder: Path, endings: tuple[str, ...], skip: frozenset[str] = frozenset()) -> list[Path]:
    """Return the files in `folder` with one of the endings, sorted by path, without hidden names.

    Args:
        folder: the folder to search, including its subfolders.
        endings: the endings in lower case, such as (".txt", ".md").
        skip: names of folders to skip.
    """
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in skip]
        paths += [Path(parent, name) for name in names if ending_of(Path(name)) in endings and not name.startswith(".")]
    return sorted((path for path in paths if path.is_file()), key=lambda path: path.relative_to(folder).parts)
