"""From the rows of the user's files to examples: named columns, bad rows, and what is held out.

Every task reads its own files the same way. It says which roles its columns play (`text`, `label`) and how an example
is made of one row; the rest is here, once: finding the columns, stopping at a bad row or leaving it out (`BadRows`),
and holding out a tenth.

What is held out is decided by a hash of each example's content, as for documents (`source.py`): independent of the
machine, the order and the other rows; equal contents land on the same side. Below 1,000 different contents, where
chance could leave nothing, they are taken in the order of their hashes until they hold a tenth of the examples.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from llmasos.datasets.catalog import nearest, unknown_name
from llmasos.datasets.examples import Splits
from llmasos.datasets.registry import Dataset
from llmasos.datasets.source import FEW_DOCUMENTS, in_hashed_tenth, measured_tenth, text_key
from llmasos.datasets.tables import Table, read_table
from llmasos.datasets.text_io import file_fingerprint
from llmasos.errors import UserError

Example = TypeVar("Example")
Columns = dict[str, str]  # role -> name of the column that plays it


class BadRow(Exception):
    """A row that makes no example, with the reason in words."""


class BadRows:
    """What happens with bad rows: the first is an error, or (`skip`) all are left out and their sentences kept."""

    def __init__(self, skip: bool):
        self.skip = skip
        self.sentences: list[str] = []

    def found(self, where: str, problem: str) -> None:
        """Take note of a bad row.

        Raises:
            UserError: unless bad rows are left out.
        """
        if not self.skip:
            raise UserError(f"{where}: {problem}; mend it, or leave such rows out with --skip-bad")
        self.sentences.append(f"{where}: {problem}")


def read_examples(
    path: Path,
    roles: dict[str, bool],
    columns: Columns | None,
    make: Callable[[dict[str, str]], Example],
    bad: BadRows,
) -> list[Example]:
    """Return the examples in a `.csv`, `.tsv` or `.jsonl` file.

    Arguments:
        roles: what columns the task knows, and whether a table must have each.
        columns: role -> name of its column, where that is not the role itself.
        make: makes an example (`examples.py`) of role -> text ("" for a column that the table need not have and has
            not), or raises `BadRow`.
        bad: what happens with bad rows.

    Raises:
        UserError: as `read_table`; a column is missing; a bad row that is not left out; no good row.
    """
    table = read_table(path)
    chosen = _choose_columns(table, roles, columns or {})
    examples = []
    for row in table.rows:
        try:
            if row.problem:
                raise BadRow(row.problem)
            example = make({role: row.cells.get(column, "") for role, column in chosen.items()})
            examples.append(replace(example, where=row.where))
        except BadRow as problem:
            bad.found(row.where, str(problem))
    if not examples:
        first = bad.sentences[-len(table.rows)]  # none was usable, so each left its sentence
        raise UserError(f"{path} has no usable row ({first}); give another file")
    return examples


def _choose_columns(table: Table, roles: dict[str, bool], columns: Columns) -> Columns:
    """Return role -> column for all roles; a role that need not be there keeps its own name."""
    for role in columns:
        if role not in roles:
            hint = nearest(role, list(roles))
            raise UserError(f"there is no column role {role!r}{hint} (the roles here are {', '.join(roles)})")
    chosen = {role: columns.get(role, role) for role in roles}
    for role, column in chosen.items():
        if column not in table.columns and (roles[role] or role in columns):
            found = ", ".join(map(repr, table.columns)) or "none"
            remedy = nearest(column, table.columns) or f"; say which one it is, for example --columns {role}=NAME"
            raise UserError(f"{table.path} has no column {column!r} for the {role}{remedy} (its columns: {found})")
    return chosen


def cell(cells: dict[str, str], role: str) -> str:
    """Return the text that plays a role, without white space around it.

    Raises:
        BadRow: there is none.
    """
    text = cells[role].strip()
    if not text:
        raise BadRow(f"the {role} is empty")
    return text


def hold_out(
    examples: list[Example], content: Callable[[Example], str], name: str
) -> tuple[list[Example], list[Example]]:
    """Split examples into those to train on and a held-out tenth, by a hash of each one's content.

    Raises:
        UserError: all have the same content.
    """
    keys = [text_key(content(example)) for example in examples]
    sizes = Counter(keys)
    if len(sizes) < 2:
        raise UserError(
            f"{name} has {len(examples):,} examples, {len(sizes)} of them different, so none can be held out for"
            " validation; give more, or name a second file with --val-data"
        )
    held_out = in_hashed_tenth if len(sizes) >= FEW_DOCUMENTS else measured_tenth(sizes).__contains__
    train = [example for key, example in zip(keys, examples, strict=True) if not held_out(key)]
    val = [example for key, example in zip(keys, examples, strict=True) if held_out(key)]
    return train, val


def existing_path(name: str, task: str) -> Path:
    """Return the path of a user's file, or raise the `UserError` that says what the name may have meant."""
    path = Path(name).expanduser()
    if not path.exists():
        raise unknown_name(name, task)
    return path


def refuse_own_settings(name: str, columns: Columns | None, val: str | Path | None) -> None:
    """Raise `UserError` if columns or a second file are given with a data set, which has its own."""
    for flag, value in (("--columns", columns), ("--val-data", val)):
        if value:
            raise UserError(f"{flag} is {value!r}, but {name} is a data set with its own splits; leave {flag} out")


def file_splits(
    train: list[Example],
    val: list[Example],
    train_paths: list[Path],
    val_paths: list[Path] | None,
    settings: object,
    content: str,
    bad: BadRows,
) -> Splits[Example]:
    """Return the splits made of the user's own files, described for a person.

    Arguments:
        train: what to train on; empty if all is to be measured on.
        val_paths: the files that are held out; None if a tenth of the others is.
        settings: whatever else decides which examples come out of the files; enters the fingerprint.
        content: what the held-out tenth was chosen by, in words ("text").
    """
    paths = [*train_paths, *(val_paths or [])]
    fingerprint = _fingerprint((settings, bad.skip, val_paths is None), paths)
    if not train:
        how = f"{len(val):,} examples"
    elif val_paths is None:
        how = f"{len(train) + len(val):,} examples; {len(val):,} of them held out, by a hash of the {content}"
    else:
        how = f"{len(train):,} examples; the {len(val):,} of {_joined(val_paths)} are held out"
    skipped = f"; {len(bad.sentences):,} bad rows left out" if bad.sentences else ""
    description = f"{_joined(train_paths)}, {how}{skipped}"
    return Splits(paths[0].name, description, train, val, None, fingerprint, bad.sentences)


def data_splits(
    dataset: Dataset,
    name: str,
    splits: dict[str, list[Example]],
    paths: dict[str, Path],
    note: str,
    skipped: Iterable[str] = (),
) -> Splits[Example]:
    """Return the splits ("train", "val" and perhaps "test") of a registered data set, described for a person."""
    counts = ", ".join(f"{len(examples):,} {split}" for split, examples in splits.items())
    description = f"{dataset.title} ({dataset.licence}); {counts}; {note}"
    fingerprint = _fingerprint((name, note), list(paths.values()))
    train, val, test = (splits.get(split) for split in ("train", "val", "test"))
    return Splits(name, description, train, val, test, fingerprint, list(skipped))


def _fingerprint(settings: object, paths: list[Path]) -> str:
    together = hashlib.sha256(repr(settings).encode())
    for path in paths:
        together.update(file_fingerprint(path).encode())
    return together.hexdigest()


def _joined(paths: list[Path]) -> str:
    return " and ".join(map(str, paths))
