"""From what the user typed to a source of text: `open_text("storyworld")`, `open_text("my.txt")`.

A known name always means the data set; a file or folder of the same name is given as `./NAME`.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

from llmasos.datasets.files import JSONL_ENDING, open_file, open_folder
from llmasos.datasets.machine import PythonReference, python_source
from llmasos.datasets.registry import DATASETS, open_dataset
from llmasos.datasets.source import TextSource
from llmasos.datasets.world import StoryworldText
from llmasos.errors import UserError

MAX_STORIES = 100_000_000

_BUILT_IN: dict[str, Callable[[], TextSource]] = {
    "storyworld": StoryworldText,
    "python-reference": PythonReference,
    "python-source": python_source,
}


def dataset_names() -> list[str]:
    """Return the names that `open_text` knows."""
    return [*_BUILT_IN, *DATASETS]


def open_text(name_or_path: str | Path, field: str = "text") -> TextSource:
    """Return the source of text that a name or a path stands for.

    Arguments:
        name_or_path: a data set's name (`dataset_names`), `storyworld:N` for N training stories, or the path of a text
            file, a `.jsonl` file (also `file.jsonl:FIELD`) or a folder. See `llmasos/datasets/files.py` for how each is
            read and split.
        field: which field of a `.jsonl` line holds the text.

    Raises:
        UserError: no such data set or file, or one that is not text; suggests the nearest names.
    """
    name = str(name_or_path)
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    if name in DATASETS:
        return open_dataset(DATASETS[name])
    if name.startswith("storyworld:"):
        return StoryworldText(_story_count(name))

    path = Path(name).expanduser()
    front, colon, last = name.rpartition(":")
    if colon and not path.exists() and front.lower().endswith(JSONL_ENDING):
        path, field = Path(front).expanduser(), last
    if path.is_dir():
        return open_folder(path, field)
    if path.exists():
        return open_file(path, field)
    raise _unknown(name)


def _story_count(name: str) -> int:
    digits = name.partition(":")[2].replace("_", "")
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= MAX_STORIES:
        expected = f"write storyworld:N with N from 1 to {MAX_STORIES:,}"
        raise UserError(f"{name!r} asks for no usable number of stories; {expected}")
    return int(digits)


def _unknown(name: str) -> UserError:
    known = ", ".join(dataset_names())
    near = difflib.get_close_matches(name, dataset_names(), n=1)
    suggestion = f"; did you mean {near[0]!r}?" if near else "; check the path, or name one of the data sets"
    return UserError(f"there is no file, folder or data set {name!r}{suggestion} (data sets: {known})")
