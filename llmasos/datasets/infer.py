"""The format of any data that a user passes: a name, a path, a text, or a list of examples.

    "storyworld", "reviews.csv", Path("book.txt")           a dataset's name, a file or a folder: used where it is
    "It was a dark and stormy night. …"                      a text
    ["one document", "another"]                              documents
    [("a fine film", "good"), …]                             labeled texts or pairs: the caller must know which
    [{"text": …, "label": …}, …]                             examples with named parts, as in a .jsonl file

Data in memory is written to a file that is named by its content, so that a run on it can be resumed and repeated like
any other.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.datasets.catalog import FORMATS, dataset_names, is_dataset, unknown_name
from llmasos.datasets.formats import FORMATS as EXAMPLE_FORMATS
from llmasos.datasets.json_records import JSON_ENDINGS, read_records
from llmasos.datasets.paths import cache_folder
from llmasos.datasets.readers import is_squad
from llmasos.datasets.tables import TABLE_ENDINGS, find_columns, read_table
from llmasos.datasets.text_io import ending_of
from llmasos.errors import UserError
from llmasos.storage import write_text

TEXT_PAIRS = "text_pairs"  # two texts in each example: labeled texts or pairs


@dataclass(frozen=True)
class DataSpec:
    """Data to learn from or to evaluate on.

    Attributes:
        data: a dataset's name or a path, as in a recipe's `data`.
        formats: the formats that it can be read as: those of `catalog.FORMATS`, or "text_pairs". None for a table
            whose columns say nothing, so that the caller must say what they mean.
        problem: the sentence to raise if the caller does not.
    """

    data: str
    formats: tuple[str, ...]
    problem: str = ""


def infer_format(data: Any, names: tuple[str, str] | None = None) -> DataSpec:
    """Infer the format of data, and write it to a file if it is in memory.

    Args:
        data: see the docstring of this file.
        names: of the two parts of text pairs: ("text", "label") or ("source", "target"); None = only infer the format
            of text pairs and write nothing.

    Raises:
        UserError: there is no such file, the data is empty, or its format is unknown.
    """
    if isinstance(data, Path):
        return infer_path(data)
    if isinstance(data, str):
        if not data.strip():
            raise UserError("the data is an empty text; give a text, a list of examples, a path or a dataset's name.")
        if is_dataset(data):
            name = data.partition(":")[0]  # "storyworld:2000" is "storyworld"
            return DataSpec(data, tuple(format for format in FORMATS if name in dataset_names(format)))
        if looks_like_path(data):
            return infer_path(Path(data))
        return DataSpec(write_to_cache(data, ".txt"), ("text",))
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise UserError(
            f"the data is a {type(data).__name__}; expected a text, a list of examples, a path or a dataset's name."
        )
    return infer_list(list(data), names)


def looks_like_path(text: str) -> bool:
    """Whether a string is meant as a path: it exists, or is one word with an ending or a separator."""
    try:
        if all(Path(part).exists() for part in text.split(",")):
            return True
    except (OSError, ValueError):  # too long for a file name, or with a zero byte: a text
        return False
    one_word = len(text.split()) == 1 and len(text) < 200
    return one_word and (bool(Path(text).suffix[1:]) or "/" in text or "\\" in text or text.isidentifier())


def infer_path(path: Path) -> DataSpec:
    """Infer the format of a file or folder from its ending and, for a table, its columns."""
    if "," in str(path) and not path.exists():
        return DataSpec(str(path), ("pairs", "summaries"))  # two parallel files
    if not path.exists():
        raise unknown_name(str(path))
    if path.is_dir() or ending_of(path) not in TABLE_ENDINGS:
        return DataSpec(str(path), ("text",))
    if is_squad(path):
        return DataSpec(str(path), ("questions",))
    if ending_of(path) in JSON_ENDINGS:
        first = next(read_records(path), None)
        if first is not None and isinstance(first.value, str):
            return DataSpec(str(path), ("text",))
    columns = read_table(path).columns
    formats = formats_of(columns)
    return DataSpec(str(path), formats, "" if formats else unknown_columns(columns, str(path)))


def formats_of(columns: list[str]) -> tuple[str, ...]:
    """Return the formats that examples with these columns can be read as; none if the columns have other names."""
    for format in ("questions", "labeled_text", "pairs", "conversations"):
        if any(not find_columns(row, columns, {})[1] for row in EXAMPLE_FORMATS[format].rows):
            return (format, "summaries") if format == "pairs" else (format,)
    return ("text",) if "text" in columns else ()


def unknown_columns(columns: list[str], where: str) -> str:
    """Return the sentence for examples whose columns have unknown names."""
    return (
        f"{where} has the columns {', '.join(columns)}; expected text; text and label; source and target; context, "
        "question and answer; messages; or prompt and answer. Rename them, or pass task= and "
        'columns="text=…,label=…", with names or, in a table without names, with numbers.'
    )


def infer_list(examples: list[Any], names: tuple[str, str] | None) -> DataSpec:
    """Infer the format of a list of examples."""
    if not examples:
        raise UserError("the data is an empty list; give at least a few examples.")
    first = examples[0]
    for number, example in enumerate(examples, start=1):
        if type(example) is not type(first):
            raise UserError(
                f"example {number} is a {type(example).__name__} and example 1 a {type(first).__name__}; all must have "
                "the same type."
            )
    if isinstance(first, str):
        return DataSpec(write_rows([{"text": text} for text in examples]), ("text",))
    if isinstance(first, Mapping):
        if not (formats := formats_of(list(first))):
            raise UserError(unknown_columns(list(map(str, first)), "example 1"))
        return DataSpec(write_rows(examples), formats)
    if isinstance(first, tuple | list):
        if bad := next((i for i, e in enumerate(examples, 1) if len(e) != 2 or not isinstance(e[0], str)), 0):
            raise UserError(f"example {bad} is {examples[bad - 1]!r:.80}; expected two texts, or a text and its label.")
        rows = [dict(zip(names, map(str, example), strict=True)) for example in examples] if names else None
        return DataSpec(write_rows(rows) if rows else "", (TEXT_PAIRS,))
    raise UserError(f"example 1 is a {type(first).__name__}; expected texts, pairs of texts, or dictionaries.")


def write_rows(rows: list[Any]) -> str:
    """Write examples to a .jsonl file in the cache and return its path."""
    try:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    except (TypeError, ValueError) as error:
        raise UserError(f"the examples cannot be written as JSON ({error}); give texts and numbers only.") from error
    return write_to_cache("".join(lines), ".jsonl")


def write_to_cache(text: str, ending: str) -> str:
    """Write a text to a file in the cache that is named by its content, and return its path."""
    encoded = text.encode("utf-8", errors="replace")
    path = cache_folder() / "in-memory" / f"{hashlib.sha256(encoded).hexdigest()[:20]}{ending}"
    if not path.is_file():
        write_text(path, encoded.decode("utf-8"))
    return str(path)
