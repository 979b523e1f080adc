"""One process at a time: a file lock, held by the operating system and therefore released even after `kill -9`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmasos.storage.atomic import make_folder, write_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextmanager
def lock(path: Path | str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock at `path` during the block; wait while another process or thread holds it.

    The file is empty and remains when the lock is released: if it were removed, two processes could lock two files of
    the same name.

    Args:
        path: the lock file; created, with its folder, if it is missing.
        on_wait: called once before waiting, for example to print a message.

    Raises:
        UserError: the file cannot be created.
    """
    path = Path(path)
    locked = path.with_name(path.name.removeprefix(".").removesuffix(".lock"))  # what the user knows
    make_folder(path.parent)
    try:
        file = open(path, "a+b")
    except OSError as error:
        raise write_error(locked, error, whatever=True) from error
    with file:
        try:
            if not _try_to_lock(file.fileno()):
                if on_wait:
                    on_wait()
                _wait_for_lock(file.fileno())
        except OSError as error:
            raise write_error(locked, error, whatever=True) from error
        yield  # closing the file releases the lock


def _try_to_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _wait_for_lock(descriptor: int) -> None:
    if sys.platform == "win32":
        while True:  # LK_LOCK gives up after ten tries, a second apart
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                return
            except OSError:
                continue
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
