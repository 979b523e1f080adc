"""JSON files: one record per line (`.jsonl`), or a list of records over any number of lines (`.json`).

Many `.json` files contain lines and many `.jsonl` files a list, so the content decides. Each record comes with the
number of the line that it starts on, for messages.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from llmasos.datasets.paths import title_of
from llmasos.datasets.text_io import ending_of, read_blocks, read_lines
from llmasos.errors import UserError, in_words

JSON_ENDINGS = (".jsonl", ".json")
_BLANK = re.compile(r"\s*")


@dataclass(frozen=True)
class Record:
    """One record: where it is ("FILE, line N"), its value, and why it has none ("" if it has one)."""

    where: str
    value: Any
    problem: str = ""


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a `.jsonl` or `.json` file. Blank lines are skipped.

    Raises:
        UserError: the file cannot be read, or is a single JSON object or a damaged list.
    """
    title = title_of(path)
    if holds_lines(path):
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip():
                yield _record(f"{title}, line {number:,}", line)
        return
    text = "".join(read_blocks(path))
    try:
        for number, value in _list_items(text):
            yield Record(f"{title}, line {number:,}", value)
    except (ValueError, RecursionError) as error:
        reason = f"{path} is not a JSON list ({_reason(error)})"
        raise UserError(f"{reason}; write [{{…}}, {{…}}], or one object per line.") from error


def holds_lines(path: Path) -> bool:
    """Whether a JSON file has a record on each line: neither one list nor one object over several lines."""
    lines = list(islice((line for line in read_lines(path) if line.strip()), 2))
    if not lines or (ending_of(path) == ".jsonl" and not lines[0].lstrip().startswith("[")):
        return True
    return len(lines) == 2 and _is_json(lines[0])


def _record(where: str, line: str) -> Record:
    try:
        return Record(where, json.loads(line))
    except (ValueError, RecursionError) as error:
        return Record(where, None, f"not valid JSON ({_reason(error)}); every line must be one object.")


def _list_items(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each item of a JSON list with the number of its line, which `json.loads` would not say."""
    decoder = json.JSONDecoder()
    end = _skip_blank(text, 0)
    if not text.startswith("[", end):
        value = json.loads(text)
        raise ValueError(f"it is {in_words(value)}")
    end = _skip_blank(text, end + 1)
    line, counted = 1, 0
    while not text.startswith("]", end):
        line, counted = line + text.count("\n", counted, end), end
        value, end = decoder.raw_decode(text, end)
        yield line, value
        end = _skip_blank(text, end)
        if text.startswith(",", end):
            end = _skip_blank(text, end + 1)
        elif not text.startswith("]", end):
            raise json.JSONDecodeError("expected ',' or ']'", text, end)
    if _skip_blank(text, end + 1) != len(text):
        raise json.JSONDecodeError("something follows the list", text, end + 1)


def _skip_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _reason(error: Exception) -> str:
    """Return what is wrong and, in a file of several lines, where."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno:,}" if "\n" in error.doc else error.msg
    return str(error)
