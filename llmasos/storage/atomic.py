"""Atomic writes: after a crash, a file or folder is the old one or the new one, never half of either.

The classic procedure: write everything to a temporary name *next to* the final path (same file system), `fsync` it,
rename it into place, `fsync` the parent folder. POSIX makes the rename atomic; without the first `fsync`, a power
failure could leave the new name with empty contents (Pillai et al., "All File Systems Are Not Created Equal", OSDI
2014).

Temporary names are `.NAME.tmp-PID-N`. The next writer of the same name (or `clean_up`) removes the temporary files of a
killed process: they are stale once their process has ended. A folder cannot be renamed over a non-empty folder, so
replacing one takes two renames: `NAME` -> `.NAME.old-PID-N`, then the new one -> `NAME`. A crash between the two leaves
the complete old folder under the `.old` name, and `clean_up` restores it.

A symbolic link is followed: the file or folder that it names is replaced, not the link.
"""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from llmasos.errors import UserError

# Names like ".model.tmp-4711-0": the final name, the process, and its counter.
_TEMPORARY = re.compile(r"\.(?P<name>[^/\\]+)\.(?P<kind>tmp|old)-(?P<pid>\d+)-\d+")
_numbers = itertools.count()
_in_progress: set[str] = set()  # this process's own temporary files, so that a recycled PID cannot protect a stale one

# The reason for each error of the operating system, and the remedy when writing.
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose a folder on another disk"),
    errno.EDQUOT: ("your disk quota is used up", "delete something or choose a folder on another disk"),
    errno.EFBIG: ("the file grew larger than is allowed", "see `ulimit -f`, or choose a folder on another disk"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission is denied", "choose a folder that you may write"),
    errno.EPERM: ("permission is denied", "choose a folder that you may write"),
    errno.EIO: ("the disk reported an error", "check the disk and choose a folder on another one"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
    errno.EISDIR: ("a folder of that name is in the way", "choose another path"),
    errno.EEXIST: ("a file of that name is in the way", "choose another path"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose a shorter one"),
    errno.ELOOP: ("its symbolic links lead in a circle", "choose another path"),
    errno.EBUSY: ("the system is using it", "choose a folder inside it, or another one"),
    errno.ENOLCK: ("the file system has no locks", "choose a folder on another disk"),
    errno.EOPNOTSUPP: ("the file system does not support this", "choose a folder on another disk"),
    errno.ESTALE: ("the network drive has lost it", "mount the drive again"),
}


def write_error(path: Path, error: OSError, whatever: bool = False) -> Exception:
    """Return a `UserError` that says in one sentence why `path` could not be written and what to do.

    An error that is not about the disk or permissions is returned unchanged, unless `whatever` is set because nothing
    but writing can have raised it.
    """
    if error.errno not in _REASONS and not whatever:
        return error
    reason, remedy = explain(error)
    shown = _TEMPORARY.sub(r"\g<name>", str(path))  # show the final name of a file inside a temporary folder
    return UserError(f"could not write {shown}: {reason}; what was there before is intact; {remedy}.")


def explain(error: OSError) -> tuple[str, str]:
    """The reason for an error of the operating system when writing, and the remedy."""
    return _REASONS.get(error.errno or 0, ((error.strerror or str(error)).lower(), "choose another path"))


def read_error(path: Path | str, error: OSError) -> UserError:
    """Return a `UserError` that says in one sentence why `path` could not be read and what to do."""
    remedies = {
        errno.EACCES: "it is intact as far as is known: allow yourself to read it (chmod u+rX), or ask its owner",
        errno.EPERM: "it is intact as far as is known: allow yourself to read it (chmod u+rX), or ask its owner",
        errno.EISDIR: "a folder is in its place: move that away",
        errno.EIO: "the disk reported an error: check the disk",
    }
    remedy = remedies.get(error.errno or 0, "check the path")
    return UserError(f"could not read {path}: {error.strerror or error}; {remedy}.")


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if they are missing. Raises UserError, whatever the reason."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason, remedy = explain(error)
        raise UserError(f"could not write to {folder}, which cannot be made: {reason}; {remedy}.") from error


def set_aside(path: Path) -> Path:
    """Rename a file or folder that is in the way to `NAME.old`, `NAME.old-2`, …, and return that path."""
    names = (f"{path.name}.old" + (f"-{number}" if number > 1 else "") for number in itertools.count(1))
    free = next(other for name in names if not os.path.lexists(other := path.with_name(name)))
    os.rename(path, free)
    return free


@contextmanager
def write_file(final: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `final`; the file that the caller writes there becomes `final` at the block's end.

    If the block raises, the temporary file is removed and `final` is unchanged. Missing parent folders are created.

    Raises:
        UserError: the disk is full, over quota, read-only, not permitted, or similar.
    """
    final = _followed(final)
    with _temporary_beside(final) as temporary:
        yield temporary
        sync(temporary)
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
        os.replace(temporary, final)
        sync(final.parent)


@contextmanager
def write_folder(final: Path | str, keep_others: bool = False) -> Iterator[Path]:
    """Yield a new temporary folder next to `final`; it becomes `final` when the block ends.

        with write_folder("runs/a/checkpoint") as folder:
            write_json(folder / "state.json", {"step": 100})

    An existing folder is replaced, and deleted once the new one is in place. Missing parents are created.

    Args:
        final: the folder's path.
        keep_others: move along what the existing folder holds under other names than the new one, because it is not
            known to be ours. Without it, the caller knows that all of it is.

    Raises:
        UserError: the disk is full, over quota, read-only, not permitted, or similar; `final` is then unchanged.
    """
    final = _followed(final)
    with _temporary_beside(final) as temporary:
        temporary.mkdir()
        yield temporary
        if keep_others and final.is_dir():
            _copy_others(final, temporary)
        _sync_tree(temporary)
        _rename_folder(temporary, final)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path` atomically. Raises `UserError` as `write_file` does."""
    with write_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8, with unchanged newlines, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically.

    The name of a file may hold bytes that are not UTF-8, which Python has as lone surrogates; `read_json` returns them.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", "surrogatepass"))


def read_small_lines(path: Path) -> list[str]:
    """Return the lines of a small text file, such as a vocabulary. Only "\n" and "\r\n" end one, as in the user's data.

    `Path.read_text` would also cut at a lone "\r", and every later token would get another id.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    return path.read_bytes().decode("utf-8").replace("\r\n", "\n").split("\n")


def read_json(path: Path | str) -> Any:
    """Return the content of the JSON file at `path`.

    Raises:
        UserError: the file is missing, unreadable, or not JSON; names the file and the line.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise read_error(path, error) from error
    except json.JSONDecodeError as error:
        message = f"{path} is not valid JSON ({error.msg} at line {error.lineno}); it is damaged: write it again."
        raise UserError(message) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of 5,000 digits, or lists in lists in lists …
        raise UserError(f"{path} is not valid JSON ({error}); it is damaged: write it again.") from error


def sha256_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits, reading it in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def clean_up(final: Path | str) -> None:
    """Remove temporary files that dead processes left of `final`; restore the old folder after a crash between renames.

    Call this before reading a folder that is replaced in place. It is safe at any time, in any number of processes.
    """
    final = _followed(final)
    clean_up_folder(final.parent, final.name)


def clean_up_folder(folder: Path, name: str | None = None) -> None:
    """Do what `clean_up` does for everything in a folder of our own, or for one name in it."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return
    for path in sorted(folder.iterdir()):
        match = _TEMPORARY.fullmatch(path.name)
        if not match or match["name"] != (name or match["name"]):
            continue
        if os.path.abspath(path) in _in_progress or _is_alive(int(match["pid"])):
            continue
        final = folder / match["name"]
        if match["kind"] == "old" and not final.exists():
            with suppress(OSError):  # another process may be restoring it at this moment
                os.rename(path, final)
        else:
            _remove(path)


def sync(path: Path) -> None:
    """Make the operating system flush a file, or a folder's list of names, to the disk (`fsync`)."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders; its rename is journaled
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary_beside(final: Path) -> Iterator[Path]:
    """Yield an unused temporary path for `final`, remove it in any case, and explain errors of the operating system."""
    temporary = _temporary_name(final, "tmp")
    _in_progress.add(os.path.abspath(temporary))
    try:
        make_folder(final.parent)
        clean_up(final)
        yield temporary
    except OSError as error:
        raise write_error(final, error) from error
    finally:
        _remove(temporary)
        _in_progress.discard(os.path.abspath(temporary))


def _rename_folder(temporary: Path, final: Path) -> None:
    """Move a complete temporary folder to its final path, replacing an existing folder."""
    if final.exists() and not final.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
    old = _temporary_name(final, "old")
    _in_progress.add(os.path.abspath(old))
    try:
        if final.is_dir():
            os.rename(final, old)
        try:
            os.rename(temporary, final)
        except OSError:
            if old.is_dir() and not final.exists():
                os.rename(old, final)
            raise
        sync(final.parent)
        _remove(old)
    finally:
        _in_progress.discard(os.path.abspath(old))


def _copy_others(old: Path, new: Path) -> None:
    """Copy (as hard links where possible) the files of `old` into `new`, except those that `new` has, too."""
    for path in (path for path in sorted(old.rglob("*")) if path.is_symlink() or not path.is_dir()):
        target = new / path.relative_to(old)
        if target.is_file():
            continue
        blocked = next((part for part in (target, *target.parents) if part != new and os.path.lexists(part)), None)
        if blocked and (blocked == target or not blocked.is_dir()):  # a file of ours has the name of their folder
            target = blocked.with_name(f"{blocked.name}.old") / target.relative_to(blocked)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target, follow_symlinks=False)
        except (OSError, NotImplementedError):
            shutil.copy2(path, target, follow_symlinks=False)


def _sync_tree(folder: Path) -> None:
    """`sync` every file in `folder`, then every folder, innermost first."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(path, name))
        sync(Path(path))


def _followed(path: Path | str) -> Path:
    """The path that a symbolic link names."""
    return Path(os.path.realpath(path))


def _temporary_name(final: Path, kind: str) -> Path:
    return final.parent / f".{final.name}.{kind}-{os.getpid()}-{next(_numbers)}"


def _is_alive(pid: int) -> bool:
    """Whether another process with this PID is running on this machine; True when in doubt.

    Our own PID in a name that is not `_in_progress` belongs to an earlier process: in containers PIDs repeat.
    """
    if pid == os.getpid():
        return False
    if os.name == "nt":  # there, os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    """Delete a file or folder if it exists; never raise, since another error may be propagating."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
