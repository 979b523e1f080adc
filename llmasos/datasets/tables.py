"""Tables of the user's own examples: `.csv`, `.tsv` and `.jsonl` files, their rows, and examples made of the rows.

- **`.csv`**: the first line names the columns. The separator is the most frequent one in that line: comma, semicolon or
  tab (a European Excel writes semicolons). A cell in "quotes" may hold separators and line breaks.
- **`.tsv`**: separated by tabs; a quote is an ordinary character, so a cell holds neither a tab nor a line break.
- **`.jsonl`**: one JSON object per line. Numbers, true and false become their text; null and NaN become empty cells.

An unusable row (too few cells, not an object) is not an error in `read_table`: it carries its `problem`, and
`read_examples` stops at it or skips it (`BadRows`). A file that cannot be read any further is an error.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from llmasos.datasets.text_io import parse_object, read_lines
from llmasos.datasets.values import BadRow, BadRows, to_text
from llmasos.errors import UserError, nearest

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl")
SEPARATORS = ",;\t"
MAX_CELL = 1 << 30  # characters; the csv module's limit of 131,072 is less than a long document

Columns = dict[str, str]  # role → name of the column that plays it


@dataclass(frozen=True)
class Row:
    """One row: its location ("FILE, line N"), column → text, and what makes it unusable ("" if nothing does)."""

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
        UserError: the file has another ending, is missing, empty or not UTF-8, has no row, two columns of the same
            name, or a quote that is never closed. Names the file and, if possible, the line.
    """
    ending = path.suffix.lower()
    if path.is_dir() or ending not in TABLE_ENDINGS:
        problem = "is a folder" if path.is_dir() else f"ends in {ending!r}"
        raise UserError(f"{path} {problem}, expected a table ({', '.join(TABLE_ENDINGS)}); convert it or give another.")
    table = _read_jsonl(path) if ending == ".jsonl" else _read_separated(path, ending)
    if not table.rows:
        raise UserError(f"{path} holds no row below its header; give a file with examples in it.")
    if not table.columns:
        first = table.rows[0]
        raise UserError(f"{first.where}: {first.problem or 'the row names no column'}; no row of the file is usable.")
    return table


def _read_separated(path: Path, ending: str) -> Table:
    lines = (line + "\n" for line in read_lines(path))
    header = next(lines)
    separator = "\t" if ending == ".tsv" else max(SEPARATORS, key=header.count)
    quoting = csv.QUOTE_NONE if ending == ".tsv" else csv.QUOTE_MINIMAL
    numbered = _numbered_rows(path, chain([header], lines), separator, quoting)
    columns = [name.strip() for name in next(numbered)[1]]
    duplicates = [name for name, count in Counter(columns).items() if count > 1 and name]
    if duplicates:
        raise UserError(f"{path}, line 1: two columns are named {duplicates[0]!r}; rename one of them.")
    rows = []
    for number, cells in numbered:
        where = f"{path}, line {number:,}"
        if len(cells) == len(columns):
            rows.append(Row(where, dict(zip(columns, cells, strict=True))))
        elif cells:  # a blank line is not a row
            rows.append(Row(where, {}, f"the row has {len(cells)} cells, but the header names {len(columns)}."))
    return Table(path, [name for name in columns if name], rows)


def _numbered_rows(path: Path, lines: Iterator[str], separator: str, quoting: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of cells with the number of its first line."""
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
    first_line = 1
    with _long_cells():
        try:
            for cells in reader:
                yield first_line, cells
                first_line = reader.line_num + 1
        except csv.Error as error:
            remedy = 'write a quote inside a quoted cell twice (""), and close every quoted cell'
            raise UserError(f"{path}, line {first_line:,}: the row is not valid CSV ({error}); {remedy}.") from error


@contextmanager
def _long_cells() -> Iterator[None]:
    """Allow long cells while reading. The limit applies to the whole process, so it is restored afterwards."""
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
            cells[name] = to_text(value, name)
    except (BadRow, ValueError) as error:
        return Row(where, {}, str(error))
    return Row(where, cells)


def read_examples(
    path: Path,
    roles: dict[str, bool],
    columns: Columns | None,
    make_example: Callable[[dict[str, str]], Any],
    bad_rows: BadRows,
) -> list[Any]:
    """Return the examples in a `.csv`, `.tsv` or `.jsonl` file.

    Args:
        path: of the file.
        roles: the roles that columns play, and whether a table must have a column for each.
        columns: role → name of its column, if that is not the role itself.
        make_example: makes an example (`examples.py`) of role → text ("" for an optional column that is missing), or
            raises `BadRow`.
        bad_rows: the policy for bad rows.

    Raises:
        UserError: as `read_table`; a column is missing; a bad row that is not skipped; no usable row.
    """
    table = read_table(path)
    column_of = _choose_columns(table, roles, columns or {})
    examples = []
    for row in table.rows:
        try:
            if row.problem:
                raise BadRow(row.problem)
            example = make_example({role: row.cells.get(column, "") for role, column in column_of.items()})
            examples.append(replace(example, where=row.where))
        except BadRow as problem:
            bad_rows.add(row.where, str(problem))
    if not examples:
        first = bad_rows.sentences[-len(table.rows)]  # every row was bad, so each added its sentence
        raise UserError(f"{path} has no usable row ({first}); give another file.")
    return examples


def _choose_columns(table: Table, roles: dict[str, bool], columns: Columns) -> Columns:
    """Return role → column for all roles; by default a column has the name of its role."""
    for role in columns:
        if role not in roles:
            suggestion = nearest(role, list(roles))
            raise UserError(f"there is no column role {role!r}{suggestion} (the roles here are {', '.join(roles)}).")
    column_of = {role: columns.get(role, role) for role in roles}
    for role, column in column_of.items():
        if column not in table.columns and (roles[role] or role in columns):
            names = ", ".join(map(repr, table.columns)) or "none"
            remedy = nearest(column, table.columns) or f"; say which one it is, for example --columns {role}=NAME"
            raise UserError(f"{table.path} has no column {column!r} for the {role}{remedy} (its columns: {names}).")
    return column_of


def cell(cells: dict[str, str], role: str) -> str:
    """Return the text that plays a role, without surrounding white space.

    Raises:
        BadRow: it is empty.
    """
    text = cells[role].strip()
    if not text:
        raise BadRow(f"the {role} is empty.")
    return text
