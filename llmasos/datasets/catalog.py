"""Names of data sets as the user types them: which there are for each task, `storyworld:2000`, unknown ones."""

import difflib

from llmasos.datasets.registry import DATASETS
from llmasos.datasets.storyworld import DEFAULT_SIZES
from llmasos.errors import UserError

STORYWORLD = "storyworld"
PYTHON_REFERENCE = "python-reference"
PYTHON_SOURCE = "python-source"
SST5, SST2 = "sst5", "sst2"
MULTI30K = "multi30k"
SQUAD, SQUAD2 = "squad", "squad2"
MAX_STORIES = 100_000_000

_FOR_TASKS = {
    "labelled": [STORYWORLD, SST5, SST2],
    "pairs": [STORYWORLD, MULTI30K],
    "summaries": [STORYWORLD],
    "questions": [STORYWORLD, SQUAD, SQUAD2],
    "conversations": [STORYWORLD],
}


def dataset_names(task: str = "text") -> list[str]:
    """Return the names that `open_text`, `open_labelled`, `open_pairs`, `open_summaries` or `open_questions` knows.

    Arguments:
        task: "text", "labelled", "pairs", "summaries" or "questions".
    """
    if task == "text":
        texts = [dataset.name for dataset in DATASETS.values() if dataset.is_text]
        return [STORYWORLD, PYTHON_REFERENCE, PYTHON_SOURCE, *texts]
    return list(_FOR_TASKS[task])


def is_dataset(name: str) -> bool:
    """Whether a name stands for a data set of any task, and not for a file of the user's own.

    Raises:
        UserError: as `story_count`.
    """
    return story_count(name) is not None or any(name in dataset_names(task) for task in ("text", *_FOR_TASKS))


def story_count(name: str) -> int | None:
    """Return how many training stories "storyworld" or "storyworld:N" asks for; None for any other name.

    Raises:
        UserError: N is no usable number.
    """
    if name == STORYWORLD:
        return DEFAULT_SIZES["train"]
    if not name.startswith(f"{STORYWORLD}:"):
        return None
    digits = name.partition(":")[2].replace("_", "")
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= MAX_STORIES:
        expected = f"write storyworld:N with N from 1 to {MAX_STORIES:,}"
        raise UserError(f"{name!r} asks for no usable number of stories; {expected}")
    return int(digits)


def unknown_name(name: str, task: str = "text") -> UserError:
    """Return the error for what is neither a file nor a data set of this task; it names the nearest."""
    known = dataset_names(task)
    tasks = [other for other in ("text", *_FOR_TASKS) if name in dataset_names(other)]
    if tasks:
        what = f"the data set {name!r} is one of {' and '.join(tasks)}, not of {task}; name one that is"
    else:
        suggestion = nearest(name, known) or "; check the path, or name one of the data sets"
        what = f"there is no file, folder or data set {name!r}{suggestion}"
    return UserError(f"{what} (data sets: {', '.join(known)})")


def nearest(name: str, known: list[str]) -> str:
    """Return "; did you mean 'NAME'?" with the known name most like this one, or "" if none is like it.

    >>> nearest("storyword", ["shakespeare", "storyworld"])
    "; did you mean 'storyworld'?"
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
