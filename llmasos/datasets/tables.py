"""Tables of the user's own examples: `.csv`, `.tsv`, `.jsonl` and `.json` files, their rows, and examples of the rows.

- **`.csv`**: the first line names the columns. The separator is the most frequent one in that line: comma, semicolon or
  tab (a European Excel writes semicolons), or the one that Excel's line `sep=;` names. A cell in "quotes" may hold
  separators and line breaks.
- **`.tsv`**: separated by tabs. A quote is an ordinary character, unless the file can only be one that a spreadsheet
  or pandas has written, with "quotes" around cells as in `.csv`: see `_tab_separated_rows`.
- **`.jsonl`, `.json`**: one JSON object per line, or a list of them (`json_records.py`).

A table without names is read with the columns' numbers: `--columns text=4,label=2`. Any of these may be compressed
(`reviews.csv.gz`).

An unusable row (too few cells, not an object) is not an error in `read_table`: it carries its `problem`, and
`read_examples` stops at it or skips it (`BadRows`). A file that cannot be read any further is an error.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from llmasos.datasets.json_records import JSON_ENDINGS, read_records
from llmasos.datasets.paths import title_of
from llmasos.datasets.text_io import ending_of, read_lines
from llmasos.datasets.values import BadRow, BadRows
from llmasos.errors import UserError, nearest

TABLE_ENDINGS = (".csv", ".tsv", *JSON_ENDINGS)
SEPARATORS = ",;\t|"
MAX_CELL = 1 << 30  # characters; the csv module's limit of 131,072 is less than a long document
EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_RETURN = "\udc0d"  # replaces a lone "\r" for the csv module, which would take it for a line end; it occurs in no text

Columns = dict[str, str]  # role → name of the column that plays it


@dataclass(frozen=True)
class Row:
    """One row: its location ("FILE, line N"), column → value, and why it is unusable ("" if it is usable)."""

    where: str
    cells: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of a file and the names of its columns, in the order of the file.

    Attributes:
        header: the cells of the line with the names; empty if the file has none.
    """

    path: Path
    columns: list[str]
    rows: list[Row]
    header: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Role:
    """The role of a column in an example: its usual names, and whether a table must have it."""

    names: tuple[str, ...]
    required: bool = True


@dataclass(frozen=True)
class RowFormat:
    """One way to write an example as a row.

    Attributes:
        roles: name of a role → how to find its column.
        make_example: the function from role → value to an example (`examples.py`); raises `BadRow`. A role without a
            column has the value None.
        remedy: the advice in an error about a missing column; "" = how to name it with `--columns`.
    """

    roles: dict[str, Role]
    make_example: Callable[[dict[str, Any]], Any]
    remedy: str = ""


def read_table(path: Path, has_names: bool = True) -> Table:
    """Read a `.csv`, `.tsv`, `.jsonl` or `.json` file.

    Args:
        path: the file's path.
        has_names: whether the first line of a `.csv` or `.tsv` file names the columns; else they are "1", "2", …

    Raises:
        UserError: the file has another ending, is missing, empty or not Unicode, has no row, or a quote that is never
            closed. Names the file and, if possible, the line.
    """
    ending = ending_of(path)
    if path.is_dir() or ending not in TABLE_ENDINGS:
        problem = "is a folder" if path.is_dir() else f"ends in {ending!r}"
        raise UserError(
            f"{path} {problem}, expected a table ({', '.join(TABLE_ENDINGS)}); rename it if it is one, or convert it."
        )
    table = _read_json(path) if ending in JSON_ENDINGS else _read_separated(path, has_names)
    if not table.rows:
        below = " below its header" if table.header else ""
        raise UserError(f"{path} holds no row{below}; give a file with examples in it.")
    if not table.columns:
        first = table.rows[0]
        problem = first.problem.removesuffix(".") or "the row names no column"
        raise UserError(f"{first.where}: {problem}; no row of the file is usable.")
    return table


def _read_separated(path: Path, has_names: bool) -> Table:
    numbered = _numbered_rows(path)
    _, first = next(numbered, (1, []))
    if has_names:
        header = names = [name.strip() for name in first]
    else:
        header, names = [], [str(number + 1) for number in range(len(first))]
        numbered = chain([(1, first)], numbered)
    rows = []
    for number, cells in numbered:
        where = f"{path}, line {number:,}"
        if len(cells) == len(names):
            rows.append(Row(where, dict(zip(names, cells, strict=True))))
        else:
            n = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            rows.append(Row(where, {}, f"the row has {n}, but the {'header names' if header else 'first row has'} "
                                       f"{len(names)}."))  # fmt: skip
    return Table(path, [name for name in names if name], rows, header)


def _numbered_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of cells with the number of its first line. Blank lines are skipped."""
    lines = read_lines(path)
    first = next(lines, "")
    n_skipped = 0
    excel = EXCEL_SEPARATOR.fullmatch(first.strip(" "))
    if excel:
        first, n_skipped = next(lines, ""), 1
    if ending_of(path) == ".tsv":
        yield from _tab_separated_rows(path, chain([first], lines), n_skipped)
        return
    unquoted = re.sub(r'"[^"]*"', "", first)
    separator = excel[1] if excel else max(SEPARATORS, key=unquoted.count)
    rows = list(_csv_rows(path, chain([first], lines), separator, n_skipped, skipinitialspace=False))
    after_blank = {cell for _, row in rows for cell in row if cell[:1] == " " and cell.lstrip(" ").startswith('"')}
    if after_blank and any(not after_blank.isdisjoint(line.split(separator)) for line in read_lines(path)):
        lines = islice(read_lines(path), n_skipped, None)  # "text", "label": a quote after a blank may open a cell
        with suppress(UserError):  # otherwise it is part of the text
            rows = list(_csv_rows(path, lines, separator, n_skipped, skipinitialspace=True))
    yield from rows


def _tab_separated_rows(path: Path, lines: Iterator[str], n_skipped: int) -> list[tuple[int, list[str]]]:
    """Return the rows of a `.tsv` file. Its quotes are ordinary characters, unless a program wrote them around cells.

    They did if reading them that way gives more rows the same number of cells as the first row, or if the quotes are
    where programs write them (`_are_around_cells`).
    """
    kept = list(lines)
    plain = [(number, line.split("\t")) for number, line in enumerate(kept, start=1 + n_skipped) if line]
    if not any(cell.startswith('"') for _, row in plain for cell in row):
        return plain
    try:
        quoted = list(_csv_rows(path, iter(kept), "\t", n_skipped, skipinitialspace=False))
    except UserError:
        return plain
    n_bad = [sum(len(row) != len(rows[0][1]) for _, row in rows) for rows in (plain, quoted)]
    if n_bad[0] != n_bad[1]:
        return plain if n_bad[0] < n_bad[1] else quoted
    if not n_bad[1] and all(len(name) > 1 and name[0] == name[-1] == '"' for name in plain[0][1]):
        return quoted  # a program that quotes the names quotes the texts
    return quoted if _are_around_cells([row for _, row in plain if len(row) == len(plain[0][1])]) else plain


def _are_around_cells(rows: list[list[str]]) -> bool:
    """Whether quotes are around all cells of a column, or only around those that contain a (doubled) quote.

    >>> _are_around_cells([["text"], ['"a ""fine"" film"']]), _are_around_cells([["text"], ['"Who?"'], ["He ran."]])
    (True, False)
    """
    start = all(cell.startswith('"') for cell in rows[0])  # names may have them even where numbers below do not
    columns = zip(*rows[start:], strict=True)
    return all(
        all(cell.startswith('"') for cell in column)
        or all(cell == '""' or '""' in cell[1:-1] or "\r" in cell for cell in column if cell.startswith('"'))
        for column in columns
    )


def _csv_rows(
    path: Path, lines: Iterator[str], separator: str, n_skipped: int, skipinitialspace: bool
) -> Iterator[tuple[int, list[str]]]:
    protected = (line.replace("\r", _RETURN) + "\n" for line in lines)
    reader = csv.reader(protected, delimiter=separator, strict=True, skipinitialspace=skipinitialspace)
    first_line = 1
    with _long_cells():
        try:
            for cells in reader:
                if cells:
                    yield first_line + n_skipped, [cell.replace(_RETURN, "\r") for cell in cells]
                first_line = reader.line_num + 1
        except csv.Error as error:
            where = f"{path}, line {first_line + n_skipped:,}"
            remedy = 'write a quote inside a quoted cell twice (""), and close every quoted cell'
            raise UserError(f"{where}: the row is not valid CSV ({error}); {remedy}.") from error


@contextmanager
def _long_cells() -> Iterator[None]:
    """Allow long cells while reading. The limit applies to the whole process, so it is restored afterwards."""
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json(path: Path) -> Table:
    columns: dict[str, None] = {}
    rows = []
    for record in read_records(path):
        is_object = isinstance(record.value, dict)
        problem = record.problem or ("" if is_object else 'not a JSON object; write lines like {"text": "..."}.')
        rows.append(Row(record.where, record.value if is_object else {}, problem))
        columns.update(dict.fromkeys(rows[-1].cells))
    return Table(path, list(columns), rows)


def read_examples(path: Path, formats: tuple[RowFormat, ...], columns: Columns | None, bad_rows: BadRows) -> list[Any]:
    """Return the examples in a table.

    Args:
        path: the file's path.
        formats: the ways in which its rows may be written; the first one whose columns it has is used.
        columns: role → name or number of its column, if that is not one of the role's usual names.
        bad_rows: the policy for bad rows.

    Raises:
        UserError: as `read_table`; a column is missing; a bad row that is not skipped; no usable row.
    """
    columns = columns or {}
    table = read_table(path)
    numbers = [name for name in columns.values() if name.isascii() and name.isdecimal()]
    by_number = table.header and numbers and len(numbers) == len(columns) and not set(numbers) <= set(table.header)
    if by_number:
        names = {name for format in formats for role in format.roles.values() for name in role.names}
        starts_with_names = any(
            int(number) <= len(table.header) and table.header[int(number) - 1].lower() in names
            for number in numbers
            if int(number)
        )
        table = read_table(path, has_names=False)
        if starts_with_names:
            del table.rows[0]
    format, column_of = choose_columns(table, formats, columns)
    examples = []
    for row in table.rows:
        try:
            if row.problem:
                raise BadRow(row.problem)
            example = format.make_example(
                {role: row.cells.get(column) if column else None for role, column in column_of.items()}
            )
            examples.append(replace(example, where=row.where))
        except BadRow as problem:
            bad_rows.add(row.where, str(problem))
    if not examples:
        first = bad_rows.sentences[-len(table.rows)]  # every row was bad, so each added its sentence
        raise UserError(f"{title_of(path)} has no usable row ({first.removesuffix('.')}); give another file.")
    return examples


def match_column(name: str, columns: Iterable[str]) -> str:
    """Return the column of this name, "" if there is none; "Text" counts as "text", unless that exists.

    >>> match_column("text", ["id", "Text"]), match_column("text", ["Text", "text"]), match_column("text", ["id"])
    ('Text', 'text', '')
    """
    columns = list(columns)
    return name if name in columns else next((column for column in columns if column.lower() == name.lower()), "")


def find_columns(format: RowFormat, names: list[str], columns: Columns) -> tuple[Columns, str]:
    """Return role → column for all roles ("" for an optional one that is missing), and the first role without one.

    Upper and lower case in the names of columns do not matter.

    Args:
        format: the format of the rows.
        names: the names of the table's columns.
        columns: the columns that the user named.
    """
    names = [name for name in names if name]  # pandas writes its index as a column without a name
    column_of = {role: columns[role] for role in format.roles if role in columns}
    for role, usual in format.roles.items():
        free = [name for name in names if name not in column_of.values()]
        column_of.setdefault(role, next(filter(None, (match_column(name, free) for name in usual.names)), ""))
    missing = (role for role, usual in format.roles.items() if column_of[role] not in names)
    return column_of, next((role for role in missing if format.roles[role].required or role in columns), "")


def choose_columns(table: Table, formats: tuple[RowFormat, ...], columns: Columns) -> tuple[RowFormat, Columns]:
    """Return the first format whose columns a table has, and role → column.

    Raises:
        UserError: there is none; says which column is missing and how to name it.
    """
    roles = list(dict.fromkeys(role for format in formats for role in format.roles))
    for role in columns:
        if role not in roles:
            suggestion = nearest(role, roles)
            raise UserError(f"there is no column role {role!r}{suggestion} (the roles here are {', '.join(roles)}).")
    able = [format for format in formats if set(columns) <= set(format.roles)]
    for format in able:
        column_of, missing = find_columns(format, table.columns, columns)
        if not missing:
            duplicate = next((name for name in column_of.values() if name and table.columns.count(name) > 1), "")
            if duplicate:
                raise UserError(
                    f"{title_of(table.path)}, line 1: two columns are named {duplicate!r}; rename one of them."
                )
            return format, column_of
    if not able:
        raise UserError(f"the columns {', '.join(columns)} belong to different forms of a row; name those of one form.")
    raise _missing_column(table, able[-1], columns)


def _missing_column(table: Table, format: RowFormat, columns: Columns) -> UserError:
    """Return the error for a table without the columns of a format."""
    _, role = find_columns(format, table.columns, columns)
    column = columns.get(role, role)
    if table.header and not columns and not format.remedy and _seems_to_be_data(table.header):
        required = [role for role in format.roles if format.roles[role].required]
        numbers = ",".join(
            f"{role}={number}" for role, number in zip(required, _guess(table.path, required), strict=True)
        )
        cells = ", ".join(f"{cell:.30}" for cell in table.header)
        return UserError(
            f"the first line of {table.path} seems to be data ({cells}), expected the names of the columns; say by "
            f"number which ones to use, for example --columns {numbers}, or add a line of names."
        )
    names = ", ".join(map(repr, table.columns)) or "none"
    number = ", or --columns by numbers (1, 2, …) if the first line is data already" if table.header else ""
    remedy = format.remedy or nearest(column, table.columns)
    remedy = remedy or f"; say which one it is, for example --columns {role}=NAME{number}"
    return UserError(f"{title_of(table.path)} has no column {column!r} for the {role}{remedy} (its columns: {names}).")


def _seems_to_be_data(header: list[str]) -> bool:
    """Whether the cells of a first line look like those of a row rather than names; pandas' index has the name ""."""
    names = header[1:] if not header[0] else header
    numbers = any(re.fullmatch(r"[\d.,+-]*", name) for name in names)
    return numbers or len(set(names)) < len(names) or any(len(name.split()) > 3 or len(name) > 40 for name in names)


def _guess(path: Path, roles: list[str]) -> list[int]:
    """Return the numbers of the columns that probably play the roles: labels are few, texts are long."""
    rows = read_table(path, has_names=False).rows[:1000]
    columns = {int(name): [row.cells[name] for row in rows if row.cells] for name in rows[0].cells}
    n_values = {number: len(set(cells)) for number, cells in columns.items() if all(cells)}
    labels = sorted((number for number, n in n_values.items() if n > 1), key=n_values.__getitem__)[: "label" in roles]
    longest = sorted(set(columns) - set(labels), key=lambda number: -sum(map(len, columns[number])))
    texts = iter(sorted(longest[: len(roles) - len(labels)]))
    return [labels[0] if role == "label" and labels else next(texts, 1) for role in roles]
