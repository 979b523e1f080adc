"""The meaning of a single value in the user's data: in a JSON file, a table's cell, or an object in memory.

    "fine", 3, 2.5, true, numpy.int64(3)                     the texts fine, 3, 2.5, true, 3
    null, None, NaN, pandas.NA                               nothing: an empty text
    [{"type": "text", "text": "Hi"}, …]                      content parts, as in chat APIs: the text Hi…
    anything else (other lists, objects, bytes, images)      a `BadRow`

`str(value)` would turn all of them into words, including "None", "nan" and "[{'type'…", and a model would learn to
write these. Truth values are not used either: the text "false" is true in Python.
"""

import json
import math
import numbers
from typing import Any

from llmasos.errors import UserError, in_words

PARTS_WITH_TEXT = ("text", "input_text", "output_text")


class BadRow(Exception):
    """A row cannot become an example; the message is a sentence that says why."""


class BadRows:
    """The policy for bad rows: the first one is an error, or (`skip`) all are skipped and reported in `sentences`."""

    def __init__(self, skip: bool):
        self.skip = skip
        self.sentences: list[str] = []

    def add(self, where: str, problem: str) -> None:
        """Report a bad row.

        Raises:
            UserError: bad rows are not skipped.
        """
        if not self.skip:
            raise UserError(f"{where}: {problem.removesuffix('.')}; fix it, or skip such rows with --skip-bad.")
        self.sentences.append(f"{where}: {problem}")


def to_plain(value: Any) -> Any:
    """Convert a value to a JSON type: numpy's and torch's numbers to Python's, and any missing value to None.

    >>> to_plain(float("nan")), to_plain(None), to_plain(0), to_plain("")
    (None, None, 0, '')
    """
    if not isinstance(value, str) and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # numpy.int64(3), torch.tensor(3)
    if isinstance(value, float) and math.isnan(value):
        return None
    return None if type(value).__name__ in ("NAType", "NaTType") else value  # pandas' own missing values


def is_missing(value: Any) -> bool:
    """Whether a value is missing: null, NaN, or a text of only white space."""
    value = to_plain(value)
    return value is None or (isinstance(value, str) and not value.strip())


def to_text(value: Any, name: str) -> str:
    """Return a value as a text, "" if it is missing.

    Args:
        value: any value.
        name: the value's name, for the message.

    Raises:
        BadRow: it is neither a text nor a number nor a list of content parts with only text.

    >>> [to_text(value, "answer") for value in ("fine", 3, True, None, [{"type": "text", "text": "Hi"}])]
    ['fine', '3', 'true', '', 'Hi']
    """
    value = to_plain(value)
    if value is None:
        return ""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise BadRow(f"the {name} holds half a character (a lone surrogate {half!r}).") from error
        return str(value)  # also converts numpy.str_
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple) and value and all(isinstance(part, dict) and "type" in part for part in value):
        return "".join(_text_of_part(part, name) for part in value)
    raise BadRow(f"the {name} is {in_words(value)}, expected a text.")


def _text_of_part(part: dict, name: str) -> str:
    if part["type"] not in PARTS_WITH_TEXT:
        raise BadRow(f"the {name} has a part of the type {part['type']!r}; the models here read text only.")
    return to_text(part.get("text"), name)


def filled_text(value: Any, name: str) -> str:
    """Return a value as a text without surrounding white space; raise `BadRow` if it is missing."""
    text = to_text(value, name).strip()
    if not text:
        raise BadRow(f"the {name} is empty.")
    return text


def to_whole_number(value: Any, name: str) -> int:
    """Return a whole number, also one written as a text or as 3.0; raise `BadRow` for anything else.

    >>> [to_whole_number(value, "start") for value in (3, 3.0, " 3 ", "3.0")]
    [3, 3, 3, 3]
    """
    value = to_plain(value)
    try:
        if isinstance(value, bool) or not isinstance(value, str | numbers.Real) or float(value) != int(float(value)):
            raise ValueError
        return int(value) if isinstance(value, int) else int(float(value))
    except (ValueError, OverflowError) as error:
        shown = repr(value) if isinstance(value, str | int | float) else in_words(value)
        raise BadRow(f"{name} is {shown:.60}, expected a whole number.") from error


def to_number(value: Any, name: str) -> float:
    """Return a finite number, also one written as a text; raise `BadRow` for anything else.

    >>> [to_number(value, "score") for value in (3, 0.5, " -2.5 ", "1e3")]
    [3.0, 0.5, -2.5, 1000.0]
    """
    value = to_plain(value)
    try:
        if isinstance(value, bool) or not isinstance(value, str | numbers.Real) or not math.isfinite(float(value)):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError) as error:
        shown = repr(value) if isinstance(value, str | int | float) else in_words(value)
        raise BadRow(f"the {name} is {shown:.60}, expected a number.") from error


def to_bool(value: Any, name: str) -> bool:
    """Return true or false, also written as a text; raise `BadRow` for anything else.

    >>> to_bool("false", "is_impossible"), to_bool(True, "is_impossible")
    (False, True)
    """
    value = to_plain(value)
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("true", "false"):
        return word == "true"
    if not isinstance(word, bool):
        shown = repr(value) if isinstance(value, str | int | float) else in_words(value)
        raise BadRow(f"{name} is {shown:.60}, expected true or false.")
    return word
