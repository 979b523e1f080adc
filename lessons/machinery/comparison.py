"""The values that exercises return: how they are sent between processes, compared, and formatted for people.

Nothing here trusts the sender: a value arrives as JSON (never as a pickle), and anything other than a
number, string, list, dictionary, array or tensor arrives as an `Opaque` description, which equals nothing.
"""

import base64
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_NUMBERS = 100_000  # numbers in a tensor; no expected output of any exercise is larger
MAX_CHARACTERS = 1_000_000  # in a text
MAX_DEPTH = 6  # lists within lists
DTYPES = {
    str(dtype)[6:]: dtype
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Opaque:
    """The description of a value that cannot be compared."""

    description: str


@dataclass(frozen=True)
class Difference:
    """How a value differs from the expected one.

    Attributes:
        kind: "type", "length", "keys", "shape", "dtype" or "values".
        message: one sentence to the student.
    """

    kind: str
    message: str


# Sending


def encode(value: Any, depth: int = 0) -> Any:
    """Convert a value to JSON: numbers and strings as they are, everything else as a list that begins with its type."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return ["foreign", f"a text of {len(value):,} characters"]
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**18 else ["foreign", "an enormous whole number"]
    if depth > MAX_DEPTH:
        return ["foreign", "lists nested too deeply"]
    if isinstance(value, list | tuple):
        if len(value) > MAX_NUMBERS:
            return ["foreign", f"a list of {len(value):,} items"]
        return ["list", [encode(item, depth + 1) for item in value]]
    if isinstance(value, dict):
        items = list(value.items())[:MAX_NUMBERS]
        return ["dict", [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in items]]
    if isinstance(value, Tensor):
        return encode_tensor(value)
    if isinstance(value, np.ndarray) and str(value.dtype) in DTYPES:
        kind, *rest = encode_tensor(torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape))
        return [kind if kind == "foreign" else "array", *rest]
    if isinstance(value, bytes | bytearray):
        return ["bytes", base64.b64encode(value[:MAX_NUMBERS]).decode()]
    if isinstance(value, set | frozenset) and len(value) <= MAX_NUMBERS:
        return ["set", [encode(item, depth + 1) for item in value]]
    return ["foreign", f"an object of type {type(value).__name__}"]


def encode_tensor(x: Tensor) -> Any:
    """Convert a tensor to its dtype, shape and bytes."""
    dtype, shape = str(x.dtype)[6:], list(x.shape)
    if x.numel() > MAX_NUMBERS:
        return ["foreign", f"a tensor of shape {tuple(shape)}"]
    if dtype not in DTYPES or x.layout != torch.strided or x.device.type == "meta":
        return ["foreign", f"a tensor of dtype {dtype} on {x.device}"]
    if not x.numel():
        return ["tensor", dtype, shape, ""]
    data = x.detach().cpu().clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
    return ["tensor", dtype, shape, base64.b64encode(data.numpy().tobytes()).decode()]


def decode(message: Any, depth: int = 0) -> Any:
    """Reverse `encode`. Raises ValueError for anything that `encode` does not produce."""
    if message is None or isinstance(message, bool | int | float | str):
        return message
    if depth > MAX_DEPTH + 1 or not isinstance(message, list) or len(message) < 2:
        raise ValueError("not a value")
    kind, *rest = message
    if kind == "foreign" and isinstance(rest[0], str):
        return Opaque(rest[0][:200])
    if kind == "list" and isinstance(rest[0], list):
        return [decode(item, depth + 1) for item in rest[0]]
    if kind == "bytes":
        return base64.b64decode(rest[0])
    if kind == "set" and isinstance(rest[0], list):
        return {as_key(decode(item, depth + 1)) for item in rest[0]}
    if kind == "dict" and isinstance(rest[0], list):
        return {as_key(decode(key, depth + 1)): decode(item, depth + 1) for key, item in rest[0]}
    if kind == "array":
        return decode(["tensor", *rest]).numpy()
    if kind == "tensor" and len(rest) == 3:
        dtype, shape, data = DTYPES[rest[0]], [int(n) for n in rest[1]], bytearray(base64.b64decode(rest[2]))
        if min(shape, default=0) < 0:
            raise ValueError("not a tensor")
        return (torch.frombuffer(data, dtype=dtype) if data else torch.zeros(0, dtype=dtype)).reshape(shape)
    raise ValueError("not a value")


def as_key(key: Any) -> Any:
    """Make a dictionary's key hashable."""
    return tuple(map(as_key, key)) if isinstance(key, list) else key


# Comparing


def difference(expected: Any, got: Any, rtol: float, atol: float, what: str = "the result") -> Difference | None:
    """Return how `got` differs from `expected`, or None if they are equivalent.

    Any floating-point precision is accepted. Tuples equal lists, tensors and arrays without dimensions equal numbers,
    and for single numbers True equals 1 and 1 equals 1.0. But a mask must be boolean, a whole number must be exact and
    not a float, and a NumPy array or a list is not accepted as a tensor.
    """
    if is_number(expected) and is_number(got):
        return number_difference(as_number(expected), as_number(got), rtol, atol, what)
    if isinstance(expected, np.ndarray) and isinstance(got, np.ndarray):
        expected, got = torch.from_numpy(expected), torch.from_numpy(got)
    if isinstance(expected, Tensor):
        return tensor_difference(expected, got, rtol, atol, what)
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple):
            return Difference("type", f"{what} should be {describe_type(expected)}, but is {describe_type(got)}.")
        if len(expected) != len(got):
            return Difference("length", f"{what} should have {len(expected)} items, but has {len(got)}.")
        parts = [(f"item {i} of {what}", a, b) for i, (a, b) in enumerate(zip(expected, got, strict=True))]
    elif isinstance(expected, dict):
        if not isinstance(got, dict):
            return Difference("type", f"{what} should be {describe_type(expected)}, but is {describe_type(got)}.")
        if set(expected) != set(got):
            return Difference("keys", f"{what} should have the keys {list(expected)}, but has {list(got)[:20]}.")
        parts = [(f"{what}[{key!r}]", value, got[key]) for key, value in expected.items()]
    else:
        if describe_type(expected) != describe_type(got):
            return Difference("type", f"{what} should be {describe_type(expected)}, but is {describe_type(got)}.")
        same = not isinstance(expected, Opaque | np.ndarray) and expected == got
        return None if same else Difference("values", f"{what} has a different value.")
    differences = (difference(a, b, rtol, atol, name) for name, a, b in parts)
    return next((d for d in differences if d is not None), None)


def number_difference(expected: float, got: float, rtol: float, atol: float, what: str) -> Difference | None:
    """`difference` for two numbers."""
    are_whole = isinstance(expected, int) and isinstance(got, int)
    if are_whole or math.isinf(expected) or math.isinf(got):
        same = expected == got
    else:
        same = abs(expected - got) <= atol + rtol * abs(expected) or (math.isnan(expected) and math.isnan(got))
    if not same:
        return Difference("values", f"{what} " + ("is NaN." if math.isnan(got) else "has a different value."))
    rank = [bool, int, float]  # a narrower type than the expected one is accepted; for a boolean there is none
    if rank.index(type(got)) > rank.index(type(expected)):
        words = {bool: "a truth value", int: "a whole number", float: "a floating-point number"}
        message = f"{what} has the right value, but it is {words[type(got)]} where {words[type(expected)]} is expected."
        return Difference("dtype", message)
    return None


def tensor_difference(expected: Tensor, got: Any, rtol: float, atol: float, what: str) -> Difference | None:
    """`difference` for tensors and numbers."""
    if not isinstance(got, Tensor):
        return Difference("type", f"{what} should be {describe_type(expected)}, but is {describe_type(got)}.")
    if expected.shape != got.shape:
        detail = f"{what} should have shape {tuple(expected.shape)}, but has {tuple(got.shape)}"
        if sorted(expected.shape) == sorted(got.shape):
            detail += ": the same sizes in another order"
        elif [n for n in expected.shape if n != 1] == [n for n in got.shape if n != 1]:
            detail += ": the same up to dimensions of size 1 (squeeze, unsqueeze, keepdim)"
        return Difference("shape", detail + ".")
    if not (expected.is_floating_point() or got.is_floating_point()):
        rtol = atol = 0.0  # integers must be exact: 5,000 is not 5,001
    same = torch.allclose(got.double(), expected.double(), rtol=rtol, atol=atol, equal_nan=True)
    if same and dtype_class(expected) != dtype_class(got):
        message = f"{what} has the right numbers, but they are {dtype_class(got)} ({str(got.dtype)[6:]})"
        return Difference("dtype", f"{message} where {dtype_class(expected)} are expected.")
    if same:
        return None
    if got.is_floating_point() and got.isnan().any() and not (expected.is_floating_point() and expected.isnan().any()):
        return Difference("values", f"{what} contains NaN.")
    return Difference("values", f"{what} has different values.")


def is_number(value: Any) -> bool:
    """Whether the value is a Python number, or a tensor or array without dimensions."""
    return isinstance(value, bool | int | float) or (isinstance(value, Tensor | np.ndarray) and value.ndim == 0)


def as_number(value: Any) -> float:
    """The Python number of a value for which `is_number` holds."""
    return value.item() if isinstance(value, Tensor | np.ndarray | np.generic) else value


def dtype_class(x: Tensor) -> str:
    """The class of a dtype in words: booleans, whole numbers, or floating-point numbers."""
    if x.dtype == torch.bool:
        return "booleans"
    return "floating-point numbers" if x.is_floating_point() else "whole numbers"


def describe_type(value: Any) -> str:
    """The type of a value in words, to be used in a sentence."""
    if isinstance(value, Opaque):
        return value.description
    if value is None:
        return "None (is a return missing?)"
    if is_number(value):
        return "a number"
    names = {
        Tensor: "a tensor", np.ndarray: "a NumPy array", bytes: "bytes", set: "a set", list: "a list or tuple",
        tuple: "a list or tuple", dict: "a dictionary", str: "a string",
    }  # fmt: skip
    return next((name for kind, name in names.items() if isinstance(value, kind)), f"a {type(value).__name__}")


# Formatting

SIDE = 8  # the most rows and columns of a matrix that are shown
ITEMS = 12  # the most items of a list or dictionary
CHARACTERS = 300  # the most characters of a text
MORE_DIGITS = range(13)


def format_pair(expected: Any, got: Any, indent: str = "") -> tuple[str, str]:
    """Format two different values so that the difference is visible: never as the same text."""
    wanted, actual = format_value(expected, got, indent), format_value(got, expected, indent)
    same = re.sub(r"[\W_]+", "", wanted) == re.sub(r"[\W_]+", "", actual)
    if same and nature(expected) != nature(got):
        return f"{wanted}   ({nature(expected)})", f"{actual}   ({nature(got)})"
    return wanted, actual


def nature(value: Any) -> str:
    """Describe a value without its numbers."""
    if isinstance(value, list | tuple | dict) and value:
        parts = [nature(part) for part in (value.values() if isinstance(value, dict) else value)]
        return f"{describe_type(value)} of: {'; '.join(dict.fromkeys(parts))}"
    if isinstance(value, Tensor) and value.dim():
        return f"{dtype_class(value)}, shape {tuple(value.shape)}"
    return type(as_number(value)).__name__ if is_number(value) else describe_type(value)


def format_value(value: Any, other: Any = None, indent: str = "") -> str:
    """Format a value for people: whole numbers or two decimals, and the relevant part of a large value.

    Args:
        value: the value to show.
        other: the value that it differs from; it determines the part that is shown, and the number of digits.
        indent: the prefix of every line after the first.
    """
    if isinstance(value, Opaque):
        return value.description
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
        other = torch.from_numpy(other) if isinstance(other, np.ndarray) else other
    if isinstance(value, Tensor):
        return format_tensor(value, other, indent)
    if isinstance(value, float):
        return format_float(value, other)
    if isinstance(value, list | tuple):
        others = other if isinstance(other, list | tuple) else []
        chosen = window(len(value), first_unequal(value, others), ITEMS)
        pairs = [(value[i], others[i] if i < len(others) else None) for i in chosen]
        shown = [format_value(a, b, indent + "  ") for a, b in pairs]
        before = [f"… {chosen.start} items"] if chosen.start else []
        after = [f"… {len(value)} items"] if chosen.stop < len(value) else []
        if any("\n" in item for item in shown):
            return f"\n{indent}".join("- " + item for item in before + shown + after)
        return "[" + ", ".join(before + shown + after) + "]"
    if isinstance(value, dict):
        others = other if isinstance(other, dict) else {}
        differ = [key for key in value if others and (key not in others or differs(value[key], others[key]))]
        keys = list(dict.fromkeys([*differ, *value]))[:ITEMS] if len(value) > ITEMS else list(value)
        shown = {key: format_value(value[key], others.get(key), indent + "  ") for key in keys}
        more = f"… {len(value)} keys" if len(keys) < len(value) else ""
        if any("\n" in item for item in shown.values()):
            return f"\n{indent}".join(
                [f"{key}:\n{indent}  {item}" for key, item in shown.items()] + [more] * bool(more)
            )
        return "{" + ", ".join([f"{key!r}: {item}" for key, item in shown.items()] + [more] * bool(more)) + "}"
    if isinstance(value, str | bytes) and len(value) > CHARACTERS:
        chosen = window(len(value), first_unequal(value, other if type(other) is type(value) else value), CHARACTERS)
        return "…" * (chosen.start > 0) + repr(value[chosen.start : chosen.stop]) + "…" * (chosen.stop < len(value))
    text = repr(value)
    return text if len(text) <= 2 * CHARACTERS else text[: 2 * CHARACTERS] + "…"


def window(n: int, place: int, size: int) -> range:
    """Choose which of n items to show, at most `size`: the first ones, unless `place` is further on."""
    start = 0 if place < size else min(place - size // 2, n - size)
    return range(start, min(n, start + size))


def first_unequal(value: Any, other: Any) -> int:
    """The first index at which two sequences differ; 0 if they do not."""
    unequal = (i for i, (a, b) in enumerate(zip(value, other, strict=False)) if differs(a, b))
    return next(unequal, 0 if len(value) == len(other) or not other else max(0, min(len(value), len(other)) - 1))


def differs(a: Any, b: Any) -> bool:
    """Whether two parts of values are unequal, with the tolerance of most exercises."""
    return difference(a, b, 1e-3, 1e-4) is not None


def format_tensor(x: Tensor, other: Any, indent: str) -> str:
    """Format a tensor, one row per line: at most 8 rows and columns, and only one matrix of a larger tensor."""
    if x.dim() == 0:
        return format_number(x, digits_needed(x, as_tensor(other)))
    if 0 in x.shape:
        return f"an empty tensor of shape {tuple(x.shape)}"
    prefix, at = "", first_difference(x, other)
    digits = digits_needed(x[tuple(at)], other[tuple(at)]) if same_shape(x, other) else 0
    if x.dim() > 2:
        matrix, at = at[:-2], at[-2:]
        prefix = f"[{', '.join(map(str, matrix))}] of shape {tuple(x.shape)}:\n{indent}"
        x = x[tuple(matrix)]
    columns = window(x.size(-1), at[-1], SIDE)
    rows = window(x.size(0), at[0], SIDE) if x.dim() == 2 else range(1)
    texts = [[format_number(value, digits) for value in row[columns.start : columns.stop]]
             for row in x.reshape(-1, x.size(-1))[rows.start : rows.stop]]  # fmt: skip
    width = max(len(text) for row in texts for text in row) if x.dim() == 2 else 0
    left = "… " if columns.start else ""
    right = f" … {x.size(-1)} columns" if columns.stop < x.size(-1) else ""
    lines = [f"[{left}{' '.join(text.rjust(width) for text in row)}{right}]" for row in texts]
    if x.dim() == 2 and rows.start:
        lines.insert(0, f"… from row {rows.start}")
    if x.dim() == 2 and rows.stop < x.size(0):
        lines.append(f"… {x.size(0)} rows")
    return prefix + f"\n{indent}".join(lines)


def same_shape(x: Tensor, other: Any) -> bool:
    """Whether the other value is a tensor of the same shape."""
    return isinstance(other, Tensor) and other.shape == x.shape


def as_tensor(value: Any) -> Tensor | None:
    """Convert a number to a tensor without dimensions; return None for anything else."""
    return torch.as_tensor(as_number(value)) if is_number(value) else None


def first_difference(x: Tensor, other: Any) -> list[int]:
    """The index where two tensors first differ (or differ most, if all is within tolerance); else the first index."""
    if not same_shape(x, other) or not x.numel():
        return [0] * x.dim()
    a, b = x.double(), other.double()
    places = (~torch.isclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)).nonzero()
    if len(places):
        return places[0].tolist()
    return [int(i) for i in torch.unravel_index((a - b).nan_to_num(0.0).abs().argmax(), x.shape)]


def digits_needed(a: Tensor, b: Tensor | None) -> int:
    """How many more digits than usual distinguish two numbers; 0 if no number does."""
    if b is None or a.dtype == torch.bool or b.dtype == torch.bool or float(a) == float(b):
        return 0
    return next((n for n in MORE_DIGITS if float(format_number(a, n)) != float(format_number(b, n))), 0)


def format_number(value: Tensor, digits: int = 0) -> str:
    """Format a number in its shortest form: T or F, a whole number, or two decimals and `digits` more."""
    if value.dtype == torch.bool:
        return "T" if value else "F"
    if not value.is_floating_point():
        return str(int(value))
    x = float(value)
    if not math.isfinite(x):
        return str(x)
    if x == round(x):
        return str(int(x)) if abs(x) < 1e6 else f"{x:.{1 + digits}e}"
    return f"{x:.{2 + digits}f}" if 0.005 <= abs(x) < 1e5 else f"{x:.{1 + digits}e}"


def format_float(x: float, other: Any) -> str:
    """Format a Python number with four digits, or with as many as distinguish it from the other."""
    if not isinstance(other, float | int) or isinstance(other, bool) or x == other:
        return f"{x:.4g}"
    digits = (4 + n for n in MORE_DIGITS)
    return next((f"{x:.{n}g}" for n in digits if float(f"{x:.{n}g}") != float(f"{other:.{n}g}")), f"{x:.4g}")
