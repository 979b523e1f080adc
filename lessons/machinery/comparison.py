"""The values that exercises return: sent between processes, compared, and formatted for people.

Nothing here trusts the sender: a value arrives as JSON (never as a pickle), and anything other than a
number, string, list, dictionary, array or tensor arrives as an `Opaque` description, which equals nothing.
"""

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_NUMBERS = 100_000  # numbers in a tensor; no expected output of any exercise is larger
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
    """The value as JSON: numbers and strings as they are, everything else as a list that begins with its type."""
    if isinstance(value, np.generic):
        value = value.item()
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
    """Its dtype, shape and bytes."""
    dtype, shape = str(x.dtype)[6:], list(x.shape)
    if x.numel() > MAX_NUMBERS:
        return ["foreign", f"a tensor of shape {tuple(shape)}"]
    if dtype not in DTYPES or x.layout != torch.strided or x.device.type == "meta":
        return ["foreign", f"a tensor of dtype {dtype} on {x.device}"]
    data = x.detach().cpu().contiguous().flatten().view(torch.uint8) if x.numel() else torch.zeros(0, dtype=torch.uint8)
    return ["tensor", dtype, shape, base64.b64encode(data.numpy().tobytes()).decode()]


def decode(message: Any, depth: int = 0) -> Any:
    """The reverse of `encode`. Raises ValueError for anything that `encode` does not write."""
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
    """A dictionary's key, made hashable."""
    return tuple(map(as_key, key)) if isinstance(key, list) else key


# Comparing


def difference(expected: Any, got: Any, rtol: float, atol: float, what: str = "the result") -> Difference | None:
    """How `got` differs from `expected`, or None if it is equivalent.

    Any floating-point precision is accepted; tuples equal lists, tensors and arrays without dimensions equal numbers,
    and as a single number True is 1 and 1 is 1.0. But a mask must be boolean, a whole number must be exact and not a
    float, and a NumPy array or a list is not a tensor.
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
    rank = [bool, int, float]  # a narrower type is accepted, except that a truth value must be one
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
        rtol = atol = 0.0  # 5,000 is not 5,001
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


def format_value(value: Any, other: Any = None, indent: str = "") -> str:
    """Format a value for people: whole numbers or two decimals, and the relevant part of a large tensor.

    Args:
        value: what to show.
        other: the value it differs from, which selects the matrix shown of a tensor with more than two dimensions.
        indent: the prefix of every line after the first.
    """
    if isinstance(value, Opaque):
        return value.description
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
        other = torch.from_numpy(other) if isinstance(other, np.ndarray) else None
    if isinstance(value, Tensor):
        return format_tensor(value, other, indent)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        others = other if isinstance(other, list | tuple) and len(other) == len(value) else [None] * len(value)
        shown = [format_value(a, b, indent + "  ") for a, b in zip(value[:12], others, strict=False)]
        more = [f"… {len(value)} items"] if len(value) > 12 else []
        if any("\n" in item for item in shown):
            return f"\n{indent}".join("- " + item for item in shown + more)
        return "[" + ", ".join(shown + more) + "]"
    if isinstance(value, dict):
        others = other if isinstance(other, dict) else {}
        shown = {key: format_value(item, others.get(key), indent + "  ") for key, item in list(value.items())[:12]}
        if any("\n" in item for item in shown.values()):
            return f"\n{indent}".join(f"{key}:\n{indent}  {item}" for key, item in shown.items())
        return "{" + ", ".join(f"{key!r}: {item}" for key, item in shown.items()) + "}"
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def format_tensor(x: Tensor, other: Any, indent: str) -> str:
    """Format a tensor, one row per line: one matrix if it has more dimensions, and at most 8 rows and columns."""
    place = ""
    if x.dim() > 2:
        at = first_difference(x, other)[:-2]
        place = f"[{', '.join(map(str, at))}] of shape {tuple(x.shape)}:\n{indent}"
        x = x[tuple(at)]
    if x.dim() == 0:
        return format_number(x)
    if x.dim() == 1:
        return place + format_row(x)
    if 0 in x.shape:
        return f"an empty tensor of shape {tuple(x.shape)}"
    width = max(len(format_number(value)) for value in x[:8, :8].flatten())
    lines = [format_row(values, width) for values in x[:8]]
    if x.size(0) > 8:
        lines.append(f"… {x.size(0)} rows")
    return place + f"\n{indent}".join(lines)


def first_difference(x: Tensor, other: Any) -> list[int]:
    """Where two tensors first differ; the first place of all if they cannot be compared."""
    if isinstance(other, Tensor) and other.shape == x.shape:
        places = (~torch.isclose(x.double(), other.double(), rtol=1e-3, atol=1e-4, equal_nan=True)).nonzero()
        if len(places):
            return places[0].tolist()
    return [0] * x.dim()


def format_row(values: Tensor, width: int = 0) -> str:
    """One row of numbers."""
    more = f" … {len(values)} columns" if len(values) > 8 else ""
    return "[" + " ".join(format_number(value).rjust(width) for value in values[:8]) + more + "]"


def format_number(value: Tensor) -> str:
    """A number in its shortest form: T or F, a whole number, or two decimals."""
    if value.dtype == torch.bool:
        return "T" if value else "F"
    if not value.is_floating_point():
        return str(int(value))
    x = float(value)
    if not math.isfinite(x):
        return str(x)
    if x == round(x):
        return str(int(x)) if abs(x) < 1e6 else f"{x:.1e}"
    return f"{x:.2f}" if 0.005 <= abs(x) < 1e5 else f"{x:.1e}"
