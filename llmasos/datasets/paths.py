"""Locations of data: the user's data folder, and the cache for downloads and derived files.

- `$LLMASOS_DATA`, if set, is searched first for files that are already there (`shakespeare/input.txt`). Nothing is
  ever written to it.
- Downloads and caches go to `data/cache/` of the clone that this code runs from. Without a clone (an installed
  package), or if that folder is not writable, they go to `~/.cache/llmasos`.
"""

import os
from pathlib import Path

from llmasos.arguments import user_path
from llmasos.errors import UserError

VARIABLE = "LLMASOS_DATA"
IN_MEMORY = "in-memory"


def user_data_folder() -> Path | None:
    """Return the folder that `$LLMASOS_DATA` names, or None if it is not set.

    Raises:
        UserError: it names something that is not a folder.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    folder = user_path(value)
    if not folder.is_dir():
        raise UserError(
            f"{VARIABLE} is {value!r}, which is not a folder; set it to the folder with your data or unset it."
        )
    return folder


def cache_folder() -> Path:
    """Return the folder for downloads and caches. It may not exist yet; code that writes to it creates it."""
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file() and (clone / "data").is_dir() and os.access(clone / "data", os.W_OK):
        return clone / "data" / "cache"
    return user_path("~/.cache/llmasos")


def title_of(path: Path) -> str:
    """Return what a file is called in messages: its path, unless its name is an internal hash.

    >>> title_of(Path("reviews.csv")), title_of(Path("data/cache/in-memory/0a1b2c.jsonl"))
    ('reviews.csv', 'the data in memory')
    """
    return "the data in memory" if path.parent.name == IN_MEMORY else str(path)
