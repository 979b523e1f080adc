"""The format of any data that a user passes: a name, a path, a text, or examples in memory.

    "storyworld", "reviews.csv", Path("book.txt")           a dataset's name, a file or a folder: used where it is
    "It was a dark and stormy night. …"                      a text
    ["one document", "another"]                              documents
    [("a fine film", "good"), …]                             labeled texts, pairs, or prompts with their answers
    [{"text": …, "label": …}, …], a table, …                 examples with named parts (see `in_memory.py`)

A string is a path if there is such a file or folder, or if it can hardly be anything else: one word that is a name or
has a separator, or a single line that ends like a file (`my book.txt`). Any other string is the text itself.

Of two texts, the second is a label if such labels repeat: on average, each occurs twice or more. Else they are a prompt
and its answer, or a source and its target.

Data in memory is written to a file that is named by its content, so that a run on it can be resumed and repeated like
any other.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.arguments import user_path
from llmasos.console import say
from llmasos.datasets.catalog import FORMATS, dataset_names, is_dataset, unknown_name
from llmasos.datasets.conll import CONLL_ENDINGS, is_conll
from llmasos.datasets.formats import FORMATS as EXAMPLE_FORMATS
from llmasos.datasets.in_memory import examples_of, materialize
from llmasos.datasets.json_records import JSON_ENDINGS, read_records
from llmasos.datasets.paths import IN_MEMORY, cache_folder
from llmasos.datasets.readers import is_squad
from llmasos.datasets.tables import TABLE_ENDINGS, find_columns, match_column, read_table
from llmasos.datasets.text import split_field
from llmasos.datasets.text_io import COMPRESSED_ENDINGS, ending_of
from llmasos.errors import UserError
from llmasos.storage import write_text
from llmasos.storage.atomic import set_aside
from llmasos.storage.checksums import is_plain_file

MAX_PATH = 260  # the most characters of a path on Windows
TEXT_PAIRS = "text_pairs"  # two texts in each example; the task determines their roles
TEXT_FILES = (".txt", ".md", ".py", *COMPRESSED_ENDINGS, *TABLE_ENDINGS, *CONLL_ENDINGS)


@dataclass(frozen=True)
class DataSpec:
    """Data to learn from or to evaluate on.

    Attributes:
        data: a dataset's name or a path, as in a recipe's `data`.
        formats: the formats that it can be read as: those of `catalog.FORMATS`, or "text_pairs".
        labels_repeat: whether the second texts of text pairs repeat as labels do.
    """

    data: str
    formats: tuple[str, ...]
    labels_repeat: bool = False


def infer_format(data: Any, names: tuple[str, str] | None = None, roles: Iterable[str] = ()) -> DataSpec:
    """Infer the format of data, and write it to a file if it is in memory.

    Args:
        data: see the docstring of this file.
        names: the names of the two parts of text pairs, such as ("text", "label"); None = only infer the format of text
            pairs and write nothing.
        roles: the roles whose columns are named by the setting `columns`.

    Raises:
        UserError: there is no such file, the data is empty, or its format is unknown.
    """
    data = materialize(data)
    if isinstance(data, list):
        return infer_list(data, names, roles)
    if isinstance(data, Path):
        return infer_path(data, roles)
    if is_dataset(data):
        name = data.partition(":")[0]  # "storyworld:2000" is "storyworld"
        return DataSpec(data, tuple(format for format in FORMATS if name in dataset_names(format)))
    if looks_like_path(data):
        return infer_path(Path(data), roles)
    [text] = examples_of([data])
    if (zero := text.find("\0")) >= 0:
        raise UserError(f"the text has a zero character (character {zero + 1:,}), which is not text; remove it.")
    if "\r" in text and "\n" not in text:
        raise UserError('the text ends its lines with carriage returns alone; replace each with a line feed, "\\n".')
    return DataSpec(write_to_cache(text, ".txt"), ("text",))


def looks_like_path(text: str) -> bool:
    """Whether a string is meant as a path; see the docstring of this file.

    >>> [looks_like_path(text) for text in ("reviews.csv", "my book.txt", "Anna met Ben.", "from a.txt to b.txt\\n")]
    [True, True, False, False]
    """
    if all(os.path.exists(os.path.expanduser(part.strip())) for part in text.split(",")):
        return True
    is_line = len(text) < MAX_PATH and "\n" not in text and "\0" not in text
    if is_line and len(text.split()) == 1:
        is_name = text.isascii() and text.isidentifier()
        return is_name or bool(Path(text).suffix[1:]) or "/" in text or "\\" in text
    return is_line and text.lower().endswith(TEXT_FILES)


def infer_path(path: Path, roles: Iterable[str] = ()) -> DataSpec:
    """Infer the format of a file or folder from its ending and, for a table, its columns."""
    path = user_path(path)
    if "," in str(path) and not path.exists():
        return DataSpec(str(path), ("pairs", "summaries"))  # two parallel files
    if not path.exists() and not split_field(path)[0].exists():
        raise unknown_name(str(path))
    if path.is_file() and ending_of(path) not in (*JSON_ENDINGS, ".csv") and is_conll(path):
        return DataSpec(str(path), ("tagged_text",))
    if path.is_dir() or ending_of(path) not in TABLE_ENDINGS:  # also books.jsonl:body
        return DataSpec(str(path), ("text", "prompts") if path.is_file() else ("text",))
    if is_squad(path):
        return DataSpec(str(path), ("questions",))
    if ending_of(path) in JSON_ENDINGS:
        first = next(read_records(path), None)
        if first is not None and isinstance(first.value, str):
            return DataSpec(str(path), ("text",))
    return DataSpec(str(path), formats_of(read_table(path).columns, roles, str(path)))


def formats_of(columns: list[str], roles: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the formats that examples can be read as, by the names of their columns and the roles given by the user.

    Raises:
        UserError: the columns have other names.
    """
    known = [*columns, *roles]
    order = ["scored_text"] if "score" in roles else []  # the label was given as a score
    order += ["questions", "labeled_text", "scored_text", "tagged_text", "pairs", "preferences", "conversations",
              "queries", "prompts"]  # fmt: skip
    for format in order:
        if any(not find_columns(row, known, {})[1] for row in EXAMPLE_FORMATS[format].rows):
            return (format, "summaries") if format == "pairs" else (format,)
    if match_column("text", known):
        return ("text",)
    raise UserError(
        f"{where} has the columns {', '.join(columns)}; expected text; text and label; text and score; tokens and "
        "tags; source and target; context, question and answer; query and passage; messages; prompt and answer; "
        "prompt, chosen and rejected; or prompt. "
        'Rename them, or pass columns="text=…,label=…", with names or, in a table without names, with numbers.'
    )


def infer_list(examples: list[Any], names: tuple[str, str] | None, roles: Iterable[str] = ()) -> DataSpec:
    """Infer the format of a list of examples that are all texts, all pairs, or all rows."""
    first = examples[0]
    if isinstance(first, str):
        return DataSpec(write_rows([{"text": text} for text in examples]), ("text",))
    if isinstance(first, dict):
        columns = list(dict.fromkeys(name for example in examples for name in example))
        return DataSpec(write_rows(examples), formats_of(columns, roles, "the data"))
    seconds = {json.dumps(second) for _, second in examples}
    rows = [dict(zip(names, example, strict=True)) for example in examples] if names else None
    return DataSpec(write_rows(rows) if rows else "", (TEXT_PAIRS,), 2 * len(seconds) <= len(examples))


def write_rows(rows: list[dict[str, Any]]) -> str:
    """Write examples to a .jsonl file in the cache and return its path."""
    return write_to_cache("".join(json.dumps(row) + "\n" for row in rows), ".jsonl")


def write_to_cache(text: str, ending: str) -> str:
    """Write a text to a file in the cache that is named by its content, and return its path.

    A file of that name with other content is damaged; it is kept next to the new one.
    """
    path = cache_folder() / IN_MEMORY / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}{ending}"
    if os.path.lexists(path):
        if is_plain_file(path) and path.read_bytes() == text.encode():
            return str(path)
        say(f"{path} is damaged and written again; what was there is now {set_aside(path).name}.", error=True)
    write_text(path, text)
    return str(path)
