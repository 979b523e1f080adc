"""Documents from a table: the texts of one column, or in JSON also a list of texts."""

import re
from collections.abc import Iterator
from pathlib import Path

from llmasos.datasets.json_records import JSON_ENDINGS, Record, read_records
from llmasos.datasets.tables import EXCEL_SEPARATOR, SEPARATORS, TABLE_ENDINGS, match_column, read_table
from llmasos.datasets.text_io import ending_of, read_lines
from llmasos.datasets.values import BadRow, to_text
from llmasos.errors import UserError, in_words


def read_texts(path: Path, field: str) -> Iterator[str]:
    """Yield the text in each row of a table: a text itself, or its `field`. Empty ones are skipped.

    Args:
        path: the file's path.
        field: the name of the column, or its number in a table without names.

    Raises:
        UserError: the file cannot be read, or a row has no such text; names the line.
    """
    is_json = ending_of(path) in JSON_ENDINGS
    for record in read_records(path) if is_json else _separated_records(path, has_names=not field.isdecimal()):
        try:
            text = _text_of(record, field, path)
        except BadRow as problem:
            raise UserError(f"{record.where}: {problem}") from problem
        if text:
            yield text.replace("\r\n", "\n")


def _separated_records(path: Path, has_names: bool) -> Iterator[Record]:
    for row in read_table(path, has_names).rows:
        yield Record(row.where, row.cells, row.problem)


def has_column(path: Path, field: str) -> bool:
    """Whether a table has a column of this name or number, by its first line; in JSON, other lines may have it."""
    if ending_of(path) in JSON_ENDINGS:
        return True
    if ending_of(path) not in TABLE_ENDINGS:
        return False
    lines = (line for line in read_lines(path) if line.strip() and not EXCEL_SEPARATOR.fullmatch(line.strip(" ")))
    names = re.split(f"[{SEPARATORS}]", next(lines, ""))
    return field.isdecimal() or bool(match_column(field, [name.strip(' "') for name in names]))


def _text_of(record: Record, field: str, path: Path) -> str:
    value = record.value
    if record.problem:
        raise BadRow(record.problem)
    if not isinstance(value, dict | str):
        raise BadRow(f'it is {in_words(value)}, not a JSON object; write lines like {{"text": "..."}}.')
    if isinstance(value, dict):
        name = match_column(field, value)
        if not name:
            fields = ", ".join(map(repr, value)) or "none"
            raise BadRow(f"it has no field {field!r} (its fields: {fields}); name another as {path}:FIELD.")
        value = value[name]
    if value is None or isinstance(value, bool | int | float):  # fine in a table, but a mistake here
        raise BadRow(f"the field {field!r} is {in_words(value)}, expected a text; fix it, or remove this line.")
    return to_text(value, f"field {field!r}")
