"""From bytes to JSON, more strictly than Python's own reader: whatever could be read in two ways is an error."""

import json
import math
from typing import Any

from llmasos.serving.http.errors import RequestError

MAX_DIGITS = 25  # of an integer; converting a million digits would take minutes
MAX_SHOWN = 60  # characters of a wrong value in an error message


def read_json(data: bytes) -> Any:
    """Parse a request's body.

    Raises:
        RequestError: the body is empty, not UTF-8 or not JSON; an object has a field twice; or the body holds NaN, a
            number that is too large (1e999) or has too many digits, or lists nested too deeply.
    """
    if not data.strip():
        raise RequestError("the body is empty; it must be a JSON object.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 text (byte {error.start}); send JSON in UTF-8.") from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_finite_float,
            parse_constant=_reject_constant,
        )
    except json.JSONDecodeError as error:
        raise RequestError(
            f"the body is not JSON: {error.msg[:1].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise RequestError("the body is nested too deeply; no request needs more than three levels.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RequestError(f"the body has the field {show(name)} twice in one object; send it once.")
        fields[name] = value
    return fields


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise RequestError(f"the body has a number of {len(digits)} digits; the limit is {MAX_DIGITS}.")
    return int(digits)


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RequestError(f"the body has the number {text[:MAX_SHOWN]}, which is too large.")
    return value


def _reject_constant(name: str) -> None:
    raise RequestError(f"the body has the value {name}, which is not JSON; send a number or null.")


def show(value: Any) -> str:
    """A wrong value for an error message: short, on one line, and in ASCII if it is not printable.

    >>> show("hot"), show(True), show([1, 2, 3]), show({"a": 1}), show({})
    ('"hot"', 'true', 'a list of 3', 'an object', 'an empty object')
    """
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, str):
        short = value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 1] + "…"
        return json.dumps(short, ensure_ascii=not short.isprintable())
    return json.dumps(value)
