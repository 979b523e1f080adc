"""Paths as users write them, with ~ for their home folder."""

import os
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """A path with the home folder in place of a leading ~, which shells leave in `--json=~/x`, and programs everywhere.

    Unlike `Path.expanduser`, this takes a name that only begins with ~, as backups do, for what it is.

    >>> user_path("~backup.txt").name
    '~backup.txt'
    """
    return Path(os.path.expanduser(path))
