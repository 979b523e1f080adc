"""From what the user typed to a source of text: `open_text("storyworld")`, `open_text("my.txt")`.

A known name always means the data set; a file or folder of the same name is given as `./NAME`.
"""

from pathlib import Path

from llmasos.datasets import catalog
from llmasos.datasets.files import JSONL_ENDING, open_file, open_folder
from llmasos.datasets.python_docs import PythonReference, python_source
from llmasos.datasets.registry import DATASETS, open_dataset
from llmasos.datasets.source import TextSource
from llmasos.datasets.storyworld.text_source import StoryworldText


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
    if n_stories := catalog.story_count(name):
        return StoryworldText(n_stories)
    if name == catalog.PYTHON_REFERENCE:
        return PythonReference()
    if name == catalog.PYTHON_SOURCE:
        return python_source()
    if name in catalog.dataset_names("text"):
        return open_dataset(DATASETS[name])

    path = Path(name).expanduser()
    front, colon, last = name.rpartition(":")
    if colon and not path.exists() and front.lower().endswith(JSONL_ENDING):
        path, field = Path(front).expanduser(), last
    if path.is_dir():
        return open_folder(path, field)
    if path.exists():
        return open_file(path, field)
    raise catalog.unknown_name(name)
