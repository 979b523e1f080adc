"""Reading tables: `.csv`, `.tsv` and `.jsonl` files with named columns, each row with the line it stands on.

- **`.csv`**: the first line names the columns. They are separated by whichever of comma, semicolon and tab that line
  has most of (a European Excel writes semicolons). A cell in "quotes" may hold separators and line breaks.
- **`.tsv`**: separated by tabs; quotes are letters like any other, so a cell holds neither a tab nor a line break.
- **`.jsonl`**: one JSON object a line. Numbers, true and false become what is written there; null and NaN are empty.

A row that is not usable (too few cells, not an object) is not an error here: it comes with its `problem`, and whoever
asked for the table decides whether to stop or to leave it out. Where a file cannot be read on, that is an error.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from llmasos.datasets.text_io import parse_object, read_lines
from llmasos.errors import UserError

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl")
SEPARATORS = ",;\t"
MAX_CELL = 1 << 30  # characters; csv's own limit of 131,072 is less than a long document


@dataclass(frozen=True)
class Row:
    """One row: column -> text, where it stands ("FILE, line N"), and what makes it unusable ("" if nothing does)."""

    where: str
    cells: dict[str, str]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of a file and the names of its columns, in the order of the file."""

    path: Path
    columns: list[str]
    rows: list[Row]


def read_table(path: Path) -> Table:
    """Read a `.csv`, `.tsv` or `.jsonl` file.

    Raises:
        UserError: another ending; a file that is missing, empty or not UTF-8; no row; a column named twice; a quote
            that is never closed. Names the file and, where there is one, the line.
    """
    ending = path.suffix.lower()
    if path.is_dir() or ending not in TABLE_ENDINGS:
        what = "is a folder" if path.is_dir() else f"ends in {ending!r}"
        raise UserError(f"{path} {what}, expected a table ({', '.join(TABLE_ENDINGS)}); convert it or give another")
    table = _read_jsonl(path) if ending == ".jsonl" else _read_separated(path, ending)
    if not table.rows:
        raise UserError(f"{path} holds no row below its header; give a file with examples in it")
    if not table.columns:
        first = table.rows[0]
        raise UserError(f"{first.where}: {first.problem or 'the row names no column'}; no row of the file is usable")
    return table


def _read_separated(path: Path, ending: str) -> Table:
    lines = (line + "\n" for line in read_lines(path))
    header = next(lines)
    separator = "\t" if ending == ".tsv" else max(SEPARATORS, key=header.count)
    quoting = csv.QUOTE_NONE if ending == ".tsv" else csv.QUOTE_MINIMAL
    numbered = _numbered_rows(path, chain([header], lines), separator, quoting)
    columns = [name.strip() for name in next(numbered)[1]]
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise UserError(f"{path}, line 1: two columns are named {twice[0]!r}; rename one of them")
    rows = []
    for number, cells in numbered:
        where = f"{path}, line {number:,}"
        if len(cells) == len(columns):
            rows.append(Row(where, dict(zip(columns, cells, strict=True))))
        elif cells:  # a blank line is no row
            rows.append(Row(where, {}, f"the row has {len(cells)} cells, but the header names {len(columns)}"))
    return Table(path, [name for name in columns if name], rows)


def _numbered_rows(path: Path, lines: Iterator[str], separator: str, quoting: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of cells with the number of the line on which it begins."""
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
    begins = 1
    with _long_cells():
        try:
            for cells in reader:
                yield begins, cells
                begins = reader.line_num + 1
        except csv.Error as error:
            remedy = 'a quote inside a quoted cell is written twice (""), and every quoted cell must be closed'
            raise UserError(f"{path}, line {begins:,}: the row is not valid CSV ({error}); {remedy}") from error


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let cells be long while reading; the limit is one for the whole process, so it is put back."""
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_jsonl(path: Path) -> Table:
    columns: dict[str, None] = {}
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            row = _json_row(f"{path}, line {number:,}", line)
            rows.append(row)
            columns.update(dict.fromkeys(row.cells))
    return Table(path, list(columns), rows)


def _json_row(where: str, line: str) -> Row:
    cells = {}
    try:
        for name, value in parse_object(line).items():
            cells[name] = _json_cell(name, value)
    except ValueError as error:
        return Row(where, {}, str(error))
    return Row(where, cells)


def _json_cell(name: str, value: object) -> str:
    """Return a JSON value as the text of a cell, or raise `ValueError` with what is wrong."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"{name!r} holds half a character (a lone surrogate {value[error.start]!r})") from error
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise ValueError(f"{name!r} is a {type(value).__name__}, expected a text or a number")
