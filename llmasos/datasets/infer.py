"""What somebody hands to a program to learn from, recognised: a name, a path, a text, or a list of examples.

    "storyworld", "reviews.csv", Path("book.txt")           a data set's name, a file or a folder: used where it is
    "It was a dark and stormy night. …"                      a text
    ["one document", "another"]                              documents
    [("a fine film", "good"), …]                             labelled texts, or pairs: which, the asker must know
    [{"text": …, "label": …}, …]                             examples with named parts, as in a .jsonl file

What lies in memory is written to a file of its own, named by its content, so that a run on it can be resumed and
repeated like any other.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.datasets.catalog import dataset_names, is_dataset, unknown_name
from llmasos.datasets.paths import cache_folder
from llmasos.datasets.tables import TABLE_ENDINGS, read_table
from llmasos.datasets.text_io import parse_object, read_lines
from llmasos.errors import UserError
from llmasos.storage import write_text

KINDS = {  # kind of data → the columns by which it is known
    "questions": ({"context", "question"},),
    "labelled": ({"text", "label"},),
    "pairs": ({"source", "target"},),
    "conversations": ({"messages"}, {"prompt", "answer"}),
    "text": ({"text"},),
}
TWOS = "twos"  # two texts in each example: labelled texts or pairs


@dataclass(frozen=True)
class Given:
    """Data to learn from or to measure on.

    Attributes:
        data: a data set's name or a path, as a recipe's `data` has it.
        kinds: what it can be used as: text, labelled, pairs, summaries, questions, conversations, or twos.
    """

    data: str
    kinds: tuple[str, ...]


def recognise(data: Any, two: tuple[str, str] | None = None) -> Given:
    """Find out what kind of data this is, and put it into a file if it lies in memory.

    Args:
        data: see the module's text.
        two: how to call the two parts of examples of two texts: ("text", "label") or ("source", "target"); None = find
            out only, and write nothing.

    Raises:
        UserError: there is no such file, the data is empty, or it is of no known kind.
    """
    if isinstance(data, Path):
        return recognise_path(data)
    if isinstance(data, str):
        if not data.strip():
            raise UserError("the data is an empty text; give a text, a list of examples, a path or a data set's name.")
        if is_dataset(data):
            tasks = ("text", "labelled", "pairs", "summaries", "questions", "conversations")
            return Given(data, tuple(task for task in tasks if is_of(data, task)))
        if looks_like_a_path(data):
            return recognise_path(Path(data))
        return Given(keep(data, ".txt"), ("text",))
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise UserError(
            f"the data is a {type(data).__name__}; expected a text, a list of examples, a path or a data set's name."
        )
    return recognise_list(list(data), two)


def is_of(name: str, task: str) -> bool:
    """Whether a data set serves a task; "storyworld:2000" is "storyworld"."""
    return name.partition(":")[0] in dataset_names(task)


def looks_like_a_path(text: str) -> bool:
    """Whether a string is meant as a path: it exists, or is one word with an ending or a separator."""
    try:
        if all(Path(part).exists() for part in text.split(",")):
            return True
    except (OSError, ValueError):  # too long for a name, or with a zero byte: a text
        return False
    one_word = len(text.split()) == 1 and len(text) < 200
    return one_word and (bool(Path(text).suffix[1:]) or "/" in text or "\\" in text or text.isidentifier())


def recognise_path(path: Path) -> Given:
    """What a file or folder holds, by its ending and, of a table, by its columns."""
    if "," in str(path) and not path.exists():
        return Given(str(path), ("pairs", "summaries"))  # two parallel files
    if not path.exists():
        raise unknown_name(str(path))
    if path.suffix.lower() == ".json":
        return Given(str(path), ("questions",))
    if path.is_dir() or path.suffix.lower() not in TABLE_ENDINGS:
        return Given(str(path), ("text",))
    columns = columns_of(path)
    return Given(str(path), kinds_of(columns, str(path)))


def columns_of(path: Path) -> set[str]:
    """The names of a table's columns; of a .jsonl file, whose lines may hold lists, those of its first line."""
    if path.suffix.lower() != ".jsonl":
        return set(read_table(path).columns)
    first = next((line for line in read_lines(path) if line.strip()), "")
    try:
        return set(parse_object(first))
    except ValueError as error:
        raise UserError(f"{path}, line 1: {error}") from error


def kinds_of(columns: set[str], where: str) -> tuple[str, ...]:
    """What examples with these parts can be used as."""
    for kind, alternatives in KINDS.items():
        if any(names <= columns for names in alternatives):
            return (kind, "summaries") if kind == "pairs" else (kind,)
    known = "; ".join(" and ".join(sorted(names)) for alternatives in KINDS.values() for names in alternatives)
    raise UserError(
        f"{where} has the columns {', '.join(sorted(columns))}; expected {known}. Rename them, or say objective= and "
        'columns="text=…,label=…".'
    )


def recognise_list(examples: list[Any], two: tuple[str, str] | None) -> Given:
    """What a list of examples holds."""
    if not examples:
        raise UserError("the data is an empty list; give at least a few examples.")
    first = examples[0]
    for number, example in enumerate(examples, start=1):
        if type(example) is not type(first):
            raise UserError(
                f"example {number} is a {type(example).__name__} and example 1 a {type(first).__name__}; all must be "
                "of one kind."
            )
    if isinstance(first, str):
        return Given(keep_rows([{"text": text} for text in examples]), ("text",))
    if isinstance(first, Mapping):
        return Given(keep_rows(examples), kinds_of(set(first), "example 1"))
    if isinstance(first, tuple | list):
        if bad := next((i for i, e in enumerate(examples, 1) if len(e) != 2 or not isinstance(e[0], str)), 0):
            raise UserError(f"example {bad} is {examples[bad - 1]!r:.80}; expected two texts, or a text and its label.")
        data = keep_rows([dict(zip(two, map(str, example), strict=True)) for example in examples]) if two else ""
        return Given(data, (TWOS,))
    raise UserError(f"example 1 is a {type(first).__name__}; expected texts, pairs of texts, or dictionaries.")


def keep_rows(rows: list[Mapping[str, Any]]) -> str:
    """Write examples to a .jsonl file and return its path."""
    try:
        return keep("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), ".jsonl")
    except (TypeError, ValueError) as error:
        raise UserError(f"the examples cannot be written as JSON ({error}); give texts and numbers only.") from error


def keep(text: str, ending: str) -> str:
    """Write a text to a file that is named by its content, and return its path."""
    encoded = text.encode("utf-8", errors="replace")
    path = cache_folder() / "given" / f"{hashlib.sha256(encoded).hexdigest()[:20]}{ending}"
    if not path.is_file():
        write_text(path, encoded.decode("utf-8"))
    return str(path)
