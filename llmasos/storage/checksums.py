"""Checksums inside a folder: which files we wrote there, and whether one has been damaged or changed since.

Each folder that is written as a whole has one JSON file that describes it (a checkpoint's `state.json`, a saved model's
`config.json`, …). `seal` writes it with a field "sha256": the checksums of the folder's files, and of the other fields
under the file's own stem. They serve two ends:

- A damaged file is found and named (`find_corruption`).
- What somebody else put there, or changed, is never mistaken for ours (`foreign_files`), and a folder with such files
  is neither replaced nor removed.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.storage.atomic import read_error, read_json, sha256_file, write_json

CHECKSUMS = "sha256"


def seal(path: Path, fields: dict[str, Any], files: Iterable[Path] | None = None) -> None:
    """Write the JSON file that describes a folder, with the checksums of the folder's files.

    Args:
        path: the path of the JSON file, in the folder.
        fields: its content.
        files: the files that belong to the folder; None = all that are in it now.
    """
    files = [file for file in path.parent.rglob("*") if file.is_file()] if files is None else files
    checksums = {file.relative_to(path.parent).as_posix(): sha256_file(file) for file in sorted(files) if file != path}
    write_json(path, {**fields, CHECKSUMS: {**checksums, path.stem: digest(fields)}})


def digest(fields: dict[str, Any]) -> str:
    """The SHA-256 of some fields, whatever their order."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def find_corruption(path: Path) -> str | None:
    """What is wrong with the folder of a sealed file, in words; None if all is as it was written.

    Raises:
        UserError: a file may not be read, which says nothing about its content.
    """
    try:
        if not path.is_file():
            return f"{path.name} is missing"
        fields = read_json(path)
        checksums = fields.pop(CHECKSUMS)
        if digest(fields) != checksums.pop(path.stem):
            return f"{path.name} is not as it was written (its checksum differs)"
        for name, expected in checksums.items():
            file = path.parent / name
            if not file.is_file():
                return f"{name} is missing"
            if sha256_file(file) != expected:
                return f"{name} is not as it was written (its checksum differs)"
    except PermissionError as error:
        raise read_error(Path(error.filename), error) from error
    except (UserError, OSError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return f"{path.name} cannot be read ({error})"
    except (KeyError, TypeError, AttributeError):
        return f"{path.name} has no checksums"
    return None


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The fields of a sealed file without the checksums; None if it is missing or not as it was written."""
    try:
        fields = read_json(path)
        checksums = fields.pop(CHECKSUMS)
        return fields if digest(fields) == checksums[path.stem] else None
    except (UserError, KeyError, TypeError, AttributeError):
        return None


def foreign_files(path: Path) -> list[Path]:
    """Files in the folder of a sealed file that we did not write, or that have changed since we wrote them.

    If the file is missing or damaged, nothing in the folder can be proven to be ours.
    """
    folder = path.parent
    ours = {path, *(folder / name for name in own_files(path))} if read_sealed(path) else set()
    ours |= {parent for file in ours for parent in file.parents}
    return [entry for entry in sorted(folder.rglob("*")) if entry not in ours]


def own_files(path: Path) -> list[str]:
    """The names of the files that are listed in a sealed file and are as we wrote them."""
    checksums = read_json(path)[CHECKSUMS]
    files = {name: path.parent / name for name in checksums if name != path.stem}
    return [name for name, file in files.items() if is_plain_file(file) and sha256_file(file) == checksums[name]]


def is_plain_file(path: Path) -> bool:
    """Whether a path is a file itself and not a link to one."""
    return path.is_file() and not path.is_symlink()


def remove_own(path: Path) -> bool:
    """Remove the folder of a sealed file if there is nothing in it but what we wrote. Returns whether it was removed.

    Raises:
        OSError: the file system refuses.
    """
    if path.parent.is_symlink() or not path.is_file() or foreign_files(path):
        return False
    folder = path.parent
    for file in [*(folder / name for name in own_files(path)), path]:
        file.unlink()
    for entry in sorted(folder.rglob("*"), reverse=True):
        entry.rmdir()
    folder.rmdir()
    return True
