"""In-memory data, in any form, converted to a list of examples that is read once.

    ["one document", "another"], an array or a column of texts       texts
    [("a fine film", "good"), …], zip(texts, labels)                  pairs
    [{"text": …, "label": …}, …], named tuples                        rows: their parts have names
    {"text": […], "label": […]}                                       rows, given by columns
    a DataFrame of pandas or polars, a table of pyarrow or datasets   rows, never the names of the columns
    a structured array of numpy                                       rows
    a generator, zip, map, any other iterable                         what it yields
    an open file                                                      the rest of its text; of a table, its path

Libraries are recognized by their methods, so none is needed here. Ambiguous data is rejected: a set has no order, bytes
are not text yet, and one example is not a list of examples.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmasos.arguments import as_python, shown
from llmasos.datasets.tables import TABLE_ENDINGS
from llmasos.datasets.text_io import ending_of
from llmasos.datasets.values import BadRow, to_plain, to_text
from llmasos.errors import UserError

EXPECTED = "a text, a list of examples, a table, a path or a dataset's name"
VALIDATION_NAMES = ("validation", "val", "valid", "dev", "eval", "test")  # names of the held-out part


def materialize(data: Any) -> str | Path | list[Any]:
    """Return data as a name or a text (str), as a path, or as a list of examples: texts, pairs or rows.

    >>> materialize(zip(["fine", "dull"], [1, 0])), materialize({"text": ["fine"], "label": [1]})
    ([('fine', 1), ('dull', 0)], [{'text': 'fine', 'label': 1}])

    Raises:
        UserError: the data is of another type, empty, or mixed; names the first example that differs.
    """
    if isinstance(data, str):
        return str(data)  # also converts numpy.str_
    if isinstance(data, os.PathLike):
        return Path(data)
    if callable(getattr(data, "read", None)):
        return _read_file(data)
    if isinstance(data, bytes | bytearray):
        raise UserError('the data is bytes, expected text; decode it first: data.decode("utf-8").')
    if isinstance(data, set | frozenset):
        raise UserError("the data is a set, which has no order, so a run could not be repeated; give sorted(data).")
    return examples_of(data)


def examples_of(data: Any) -> list[Any]:
    """Return the examples in a table or an iterable: all texts, all pairs, or all rows. Raises as `materialize`."""
    examples = [_example(number, item) for number, item in enumerate(_items(data), start=1)]
    if not any(example.strip() if isinstance(example, str) else example for example in examples):
        raise UserError(f"the data is empty or holds only empty texts ({len(examples):,}); give a few examples.")
    _check_same_form(examples)
    return examples


def split_by_name(data: Any, split: str | None = None) -> tuple[Any, Any]:
    """Return the parts of {"train": …, "validation": …} to train on and to hold out; None where there is none.

    Args:
        data: data of any form. If it has no part with such a name, all of it is for training.
        split: the name of the part to hold out, instead of the first one found.
    """
    names = [name for name in VALIDATION_NAMES if isinstance(data, Mapping) and name in data]
    if not names and not (isinstance(data, Mapping) and "train" in data):
        return data, None
    if split is not None and split not in data and not (split == "val" and names):
        raise UserError(f"the data has no part {split!r}; it has {', '.join(map(str, data))}.")
    return data.get("train"), data[split if split in data else names[0]] if names or split else None


def _items(data: Any) -> Iterable[Any]:
    """Return the items to iterate over: the rows of a table, or the items of any other iterable."""
    if callable(getattr(data, "to_dicts", None)):  # polars
        return data.to_dicts()
    if hasattr(data, "columns") and callable(getattr(data, "to_dict", None)):  # pandas
        return _pandas_rows(data)
    if names := getattr(getattr(data, "dtype", None), "names", None):  # numpy's structured arrays
        return [dict(zip(names, row, strict=True)) for row in data.tolist()]
    data = as_python(data)  # also for the rows of pyarrow tables and of datasets
    if isinstance(data, Mapping):
        return _rows_of_columns(data)
    if isinstance(data, type):
        raise UserError(f"the data is the class {data.__name__}, expected {EXPECTED}; make an object of it.")
    if isinstance(data, Iterable):
        return data
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):  # torch's Dataset
        return (data[number] for number in range(len(data)))
    raise UserError(f"the data is {shown(data)}; expected {EXPECTED}.")


def _pandas_rows(table: Any) -> list[Any]:
    """Return the rows of a DataFrame as dictionaries; one or two columns without names give texts or pairs."""
    names = list(table.columns)
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise UserError(f"the table has two columns {twice!r}; rename one of them.")
    rows = table.to_dict("records")
    if len(names) in (1, 2) and all(type(as_python(name)) is int for name in names):
        rows = [list(row.values()) if len(row) > 1 else next(iter(row.values())) for row in rows]
    return rows


def _rows_of_columns(columns: Mapping[Any, Any]) -> list[dict[str, Any]]:
    values = {str(name): as_python(column) for name, column in columns.items()}
    if single := next((name for name, column in values.items() if isinstance(column, str | Mapping)), None):
        raise UserError(
            f"the data is one dictionary, and its {single!r} is {shown(values[single])}; give a list of such "
            'dictionaries, or a list for each name: {"text": […], "label": […]}.'
        )
    if alone := next((name for name, column in values.items() if not isinstance(column, Iterable)), None):
        raise UserError(f"the column {alone!r} is {shown(values[alone])}; give a list with a value for each example.")
    lists = {name: list(column) for name, column in values.items()}
    if len({len(column) for column in lists.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column):,}" for name, column in lists.items())
        raise UserError(f"the columns have different lengths ({lengths}); give a value of each for every example.")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _read_file(file: Any) -> Path | list[Any]:
    """Read the rest of an open file as one text; for a table or a file of bytes, return its path."""
    name = getattr(file, "name", None)
    path = Path(name) if isinstance(name, str) and os.path.isfile(name) else None
    if path and ending_of(path) in TABLE_ENDINGS:
        return path
    try:
        text = file.read()
    except (OSError, ValueError) as error:  # closed, opened for writing, or not of this encoding
        raise UserError(f"the open file cannot be read ({error}); give its path.") from error
    if isinstance(text, str):
        return examples_of([text])
    if path:
        return path
    raise UserError('the file has bytes, expected text; open it as a text: open(…, encoding="utf-8").')


def _example(number: int, item: Any) -> Any:
    """Return an example as a text, a pair, or a row that can be written as JSON."""
    item = as_python(item)
    names = getattr(item, "_fields", ()) if isinstance(item, tuple) else ()
    if not all(name.startswith("_") for name in names):
        item = item._asdict()  # a named tuple, also a row of pandas' itertuples; without names, those are _0 and _1
    if isinstance(item, str):
        try:
            return to_text(item, "text")
        except BadRow as problem:
            raise UserError(f"example {number:,}: {problem}") from problem
    if isinstance(item, Mapping):
        return as_json(item)
    if isinstance(item, list | tuple) and item and all(isinstance(part, Mapping) for part in item):
        return {"messages": as_json(item)}
    if isinstance(item, list | tuple):
        first = to_plain(as_python(item[0])) if len(item) == 2 else None
        if isinstance(first, str):
            return (first, as_json(item[1]))
        parts = f"has {len(item)} parts" if len(item) != 2 else f"starts with {shown(first)}"
        hint = "; two lists are paired by zip(texts, labels)" if len(item) > 2 and isinstance(item[0], str) else ""
        raise UserError(f"example {number:,} {parts}; expected a text, or a text with its label or target{hint}.")
    if isinstance(item, os.PathLike):
        raise UserError(f"example {number:,} is a path; give one path: of a file, or of a folder with all the files.")
    raise UserError(f"example {number:,} is {shown(item)}; expected a text, a pair, or a dictionary.")


def as_json(value: Any) -> Any:
    """Convert a value of a row to JSON types. Values that JSON cannot represent stay objects, which examples cannot
    use.

    >>> as_json({"label": float("nan"), "date": object()})
    {'label': None, 'date': {'type': 'object'}}
    """
    value = to_plain(as_python(value))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return {"type": type(value).__name__}


def _check_same_form(examples: Sequence[Any]) -> None:
    """Raise UserError unless all examples are texts, or all pairs, or all dictionaries."""
    forms: dict[type, str] = {str: "a text", tuple: "a pair", dict: "a dictionary"}
    for number, example in enumerate(examples, start=1):
        if type(example) is not type(examples[0]):
            raise UserError(
                f"example {number:,} is {forms[type(example)]} and example 1 {forms[type(examples[0])]}; all must have "
                "the same form."
            )
