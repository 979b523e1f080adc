"""The files of a published dataset: found on this machine, or downloaded, unpacked and checked.

A file is looked for in `$LLMASOS_DATA`, then in the cache, and only then downloaded into the cache. Wherever it comes
from, its SHA-256 is checked, so a number measured on it is a number on the published data.

An archive is not trusted. It may hold names like `../../.bashrc`, absolute paths, links, or a few kilobytes that unpack
to a terabyte. So every name is checked before its file is written, and the unpacked bytes are counted against a limit.
"""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from llmasos.datasets.catalog import Dataset, File
from llmasos.datasets.paths import VARIABLE, cache_folder, user_data_folder
from llmasos.errors import UserError
from llmasos.storage import sha256_file, write_folder
from llmasos.storage.download import download

UNPACKED = "unpacked"  # the folder with an archive's content, next to the archive in the cache
BLOCK_BYTES = 1 << 20


def find_files(dataset: Dataset, progress: bool = True) -> dict[str, Path]:
    """Return split → path of a dataset's files, each with the right SHA-256. Downloads what is missing.

    Raises:
        UserError: a file is not on this machine and cannot be downloaded (says where it was looked for, and how to
            get it by hand), or a file in `$LLMASOS_DATA` is not the published one.
    """
    user_data, cache = user_data_folder(), cache_folder() / dataset.name
    if user_data and (paths := _paths(dataset, user_data / dataset.name)):
        for split, path in paths.items():
            _check(path, dataset.splits[split])
        return paths

    paths = _paths(dataset, cache)
    if paths and all(sha256_file(path) == dataset.splits[split].sha256 for split, path in paths.items()):
        return paths  # a damaged file in the cache is simply downloaded again

    sources = {}
    for source in dataset.sources:
        path = _find_source(dataset, source, user_data, cache, progress)
        if path.suffix == ".zip":
            unpack_zip(path, cache / UNPACKED, max_bytes=2 * sum(file.size for file in dataset.splits.values()))
        sources[source.name] = path
    for split, file in dataset.splits.items():
        unpacked = sources.get(file.name) or _path(cache, file)
        if unpacked is None:
            raise UserError(f"{sources[dataset.sources[0].name]} lacks {file.name}; delete it and try again.")
        _check(unpacked, file)
        paths[split] = unpacked
    return paths


def _find_source(dataset: Dataset, source: File, user_data: Path | None, cache: Path, progress: bool) -> Path:
    """Return the path of a downloadable file, after downloading it if it is not on this machine."""
    if user_data and (path := user_data / dataset.name / source.name).is_file():
        _check(path, source)
        return path
    path = cache / source.name
    try:
        download(source.addresses, path, source.sha256, source.size, progress=progress)
    except UserError as error:
        folders = f"{user_data / dataset.name} and {cache}" if user_data else f"{cache}; {VARIABLE} is not set"
        raise UserError(f"the dataset {dataset.name} is not on this machine (looked in {folders}): {error}") from error
    return path


def _paths(dataset: Dataset, folder: Path) -> dict[str, Path]:
    """Return split → path if all files of the dataset are in the folder (unpacked or not), else {}."""
    paths = {split: path for split, file in dataset.splits.items() if (path := _path(folder, file))}
    return paths if len(paths) == len(dataset.splits) else {}


def _path(folder: Path, file: File) -> Path | None:
    """Return the path of a file in the folder, unpacked or not; None if it is not there."""
    return next((path for path in (folder / file.name, folder / UNPACKED / file.name) if path.is_file()), None)


def _check(path: Path, file: File) -> None:
    """Raise `UserError` unless the file has the published content."""
    sha256 = sha256_file(path)
    if sha256 != file.sha256:
        raise UserError(
            f"{path} is not the published file (its SHA-256 is {sha256}, expected {file.sha256}); delete it to have the"
            " right one downloaded, or pass its path as the data to use it as it is."
        )


def unpack_zip(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip archive into `folder`, completely or not at all; other files in the folder are kept.

    Args:
        archive: the zip file.
        folder: the folder for its files.
        max_bytes: the size limit for all unpacked files together.

    Raises:
        UserError: the file is not a zip archive, is damaged or too large, or has a link or a name that leads out of
            the folder.
    """
    try:
        with zipfile.ZipFile(archive) as file, write_folder(folder, keep_others=True) as temporary:
            bytes_left = max_bytes
            for member in file.infolist():
                target = temporary / _checked_name(archive, member)
                if member.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, open(target, "xb") as sink:
                    bytes_left -= _copy(archive, source, sink, bytes_left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}); delete it and download it again.") from error


def _checked_name(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's name if it is a plain file or folder inside the folder that it is unpacked to."""
    name = PurePosixPath(member.filename)
    unsafe = name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in member.filename
    if unsafe or stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(
            f"{archive} contains the unsafe name {member.filename!r}; nothing was unpacked, do not trust it."
        )
    return name


def _copy(archive: Path, source: IO[bytes], sink: IO[bytes], max_bytes: int) -> int:
    """Copy all of `source` and return its number of bytes; reject more than `max_bytes`."""
    n_bytes = 0
    while block := source.read(BLOCK_BYTES):
        n_bytes += len(block)
        if n_bytes > max_bytes:
            raise UserError(f"{archive} unpacks to more than the expected size; nothing was unpacked, do not trust it.")
        sink.write(block)
    return n_bytes
