"""Unpacking an archive without trusting it.

A zip archive may hold names like `../../.bashrc`, absolute paths, links, or a few kilobytes that unpack to a terabyte.
Here every name is checked before the first byte is written, and what comes out is counted against a limit.
"""

import gzip
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from llmasos.errors import UserError
from llmasos.storage import write_file, write_folder

BLOCK_BYTES = 1 << 20


def unpack_zip(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip archive into `folder`, which appears complete or not at all.

    Arguments:
        max_bytes: how large the unpacked files may be together.

    Raises:
        UserError: not a zip archive, damaged, a name that leads out of the folder, a link, or too large.
    """
    try:
        with zipfile.ZipFile(archive) as file, write_folder(folder) as temporary:
            left = max_bytes
            for member in file.infolist():
                target = temporary / _checked_name(archive, member)
                if member.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, open(target, "xb") as sink:
                    left -= _copy(archive, source, sink, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again") from error


def unpack_gzip(archive: Path, target: Path, max_bytes: int) -> None:
    """Unpack a gzip file to `target`, which appears complete or not at all.

    Arguments:
        max_bytes: how large the unpacked file may be.

    Raises:
        UserError: not a gzip file, damaged, or too large.
    """
    try:
        with gzip.open(archive) as source, write_file(target) as temporary, open(temporary, "wb") as sink:
            _copy(archive, source, sink, max_bytes)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again") from error


def _checked_name(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's name if it stays inside the folder it is unpacked to and is a plain file or folder."""
    name = PurePosixPath(member.filename)
    unsafe = name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in member.filename
    if unsafe or stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{archive} holds the unsafe name {member.filename!r}; nothing was unpacked, do not trust it")
    return name


def _copy(archive: Path, source: BinaryIO, sink: BinaryIO, max_bytes: int) -> int:
    """Copy all of `source` and return how many bytes it was; refuse more than `max_bytes`."""
    n_bytes = 0
    while block := source.read(BLOCK_BYTES):
        n_bytes += len(block)
        if n_bytes > max_bytes:
            raise UserError(f"{archive} unpacks to more than the expected size; nothing was unpacked, do not trust it")
        sink.write(block)
    return n_bytes
