"""Bytes to JSON, more strictly than Python does it: what could be read in two ways is refused."""

import json
import math
from typing import Any

from llmasos.serving.http.errors import Refused

MAX_DIGITS = 25  # of a whole number; turning a million digits into a number takes a computer minutes
SHOWN = 60  # characters of a wrong value that its sentence shows


def read_json(data: bytes) -> Any:
    """Read a body, more strictly than Python does.

    Raises:
        Refused: it is empty, not UTF-8, not JSON, names a field twice, or holds NaN, a number that is too large
            (1e999) or has too many digits, half a character, or lists in lists without end.
    """
    if not data.strip():
        raise Refused("the body is empty; it must be a JSON object.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"the body is not UTF-8 text (byte {error.start}); send JSON in UTF-8.") from None
    try:
        return json.loads(
            text, object_pairs_hook=_pairs, parse_int=_whole, parse_float=_finite, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise Refused(
            f"the body is not JSON: {error.msg[:1].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise Refused("the body is nested too deeply; nothing here needs more than three levels.") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(f"the body has {show(name)} twice in one object; which of the two is meant?")
        found[name] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Refused(f"the body holds a number of {len(digits)} digits; no number here needs more than {MAX_DIGITS}.")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refused(f"the body holds the number {text[:SHOWN]}, which is too large.")
    return value


def _constant(name: str) -> None:
    raise Refused(f"the body holds {name}, which JSON does not have; send a number, or null.")


def show(value: Any) -> str:
    """A wrong value as a sentence shows it: short, on one line, and in ASCII where it is not printable.

    >>> show("hot"), show(True), show([1, 2, 3]), show({"a": 1}), show({})
    ('"hot"', 'true', 'a list of 3', 'an object', 'an empty object')
    """
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, str):
        short = value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
        return json.dumps(short, ensure_ascii=not short.isprintable())
    return json.dumps(value)
