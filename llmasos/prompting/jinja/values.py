"""What the values of a Jinja template can do: operators, methods, filters, tests and functions.

Each is a function of a few lines with the semantics of `jinja2`, entered in a table at the end. A name that is in none
of the tables does not exist for a program.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

MAX_RANGE = 100_000
MAX_DIGITS = 4_000  # bits of a whole number


class TemplateError(Exception):
    """A program cannot be run on the data it got. The message is a part of a sentence."""

    line = 0

    def at(self, line: int) -> "TemplateError":
        """The same with the line."""
        self.line = self.line or line
        return self

    def __str__(self) -> str:
        return f"line {self.line}: {self.args[0]}" if self.line else str(self.args[0])


class Refusal(TemplateError):
    """A program refuses the conversation itself (`raise_exception`), with a message for the user."""


class Undefined:
    """A variable or a key that does not exist: an empty text, and false."""

    def __init__(self, name: str):
        self.name = name

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Undefined)

    def __hash__(self) -> int:
        return 0

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "Undefined"  # as it is printed in a list


class Namespace:
    """`namespace(name=value, …)`: variables that a loop may change."""

    def __init__(self, values: dict[str, Any]):
        self.values = values


class Function(NamedTuple):
    """A function that a program may call."""

    name: str
    call: Callable[..., Any]


class BoundMethod(NamedTuple):
    """A method of a value."""

    name: str
    value: Any
    function: Callable[..., Any]

    def call(self, *positional: Any, **named: Any) -> Any:
        return self.function(self.value, *positional, **named)


def size_of(value: Any) -> int:
    """How large a value is: characters, items or bits."""
    if isinstance(value, str | list | tuple | dict | range):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() // 8
    return 0


def as_text(value: Any) -> str:
    """A value as it is printed.

    >>> as_text(3), as_text(None), as_text(["a"]), as_text(Undefined("x"))
    ('3', 'None', "['a']", '')

    Raises:
        TemplateError: it is no data.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Undefined):
        return ""
    check_data(value)
    return str(value)


def check_data(value: Any) -> None:
    """Raise TemplateError unless a value is data, with all that is in it."""
    if isinstance(value, int) and not isinstance(value, bool):
        check_number(value)
    elif isinstance(value, list | tuple):
        for item in value:
            check_data(item)
    elif isinstance(value, dict):
        for item in value.values():
            check_data(item)
    elif not (value is None or isinstance(value, str | float | bool | range | Undefined)):
        raise TemplateError("something that is no data cannot be printed (a function, a namespace, …)")


def check_number(value: int) -> int:
    """A whole number, if it has not too many digits."""
    if value.bit_length() > MAX_DIGITS:
        raise TemplateError("a number has too many digits")
    return value


def item_of(value: Any, key: Any) -> Any:
    """`value[key]`, undefined if there is none."""
    try:
        if isinstance(value, dict):
            return value[key]
        if isinstance(value, str | list | tuple | range) and isinstance(key, int | slice):
            return value[key]
    except (LookupError, TypeError):
        pass
    except ValueError as error:  # a step of 0
        raise TemplateError(str(error)) from error
    return Undefined(str(key)[:60])


# ---- Operators -------------------------------------------------------------------------------------------------------

NUMBER = (int, float)


def operate(operator: str, left: Any, right: Any, limit: int) -> Any:
    """`left operator right`.

    Raises:
        TemplateError: one of them is undefined, or the result would be too large.
        TypeError, ArithmeticError: as Python has them.
    """
    if operator in ("==", "!="):
        return (left == right) == (operator == "==")
    if operator in ("in", "not in"):
        return contains(right, left) == (operator == "in")
    for value in (left, right):
        if isinstance(value, Undefined):
            raise TemplateError(f"{value.name!r} is undefined, and there is no {operator!r} with it")
    if operator in ("<", "<=", ">", ">="):
        return COMPARISONS[operator](left, right)
    both_numbers = isinstance(left, NUMBER) and isinstance(right, NUMBER)
    if operator == "+" and not both_numbers:
        if type(left) is type(right) and isinstance(left, str | list | tuple):
            check_size(len(left) + len(right), limit)
            return left + right
        raise TypeError("only numbers, texts and lists are added, each to its own type")
    if operator == "*" and not both_numbers:
        for sequence, n in ((left, right), (right, left)):
            if isinstance(sequence, str | list | tuple) and isinstance(n, int):
                check_size(len(sequence) * max(n, 0), limit)
                return sequence * n
        raise TypeError("only numbers are multiplied, or a text with a whole number")
    if not both_numbers:
        raise TypeError("these are no numbers")
    if operator == "**" and isinstance(left, int) and isinstance(right, int) and right > 0:
        check_size(left.bit_length() * right, MAX_DIGITS)
    result = ARITHMETIC[operator](left, right)
    return check_number(result) if isinstance(result, int) else result


def check_size(size: int, limit: int) -> None:
    """Raise TemplateError if something would be larger than the limit."""
    if size > limit:
        raise TemplateError(f"a value would be larger than {limit:,}")


def contains(whole: Any, part: Any) -> bool:
    """`part in whole`."""
    if isinstance(whole, str):
        if not isinstance(part, str):
            raise TypeError("a text contains texts only")
        return part in whole
    if isinstance(whole, dict):
        return isinstance(part, str | int | float | bool | None) and part in whole
    if isinstance(whole, Namespace) or not isinstance(whole, Iterable):
        raise TypeError("it has no items")
    return any(part == item for item in whole)


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
}


# ---- Filters ---------------------------------------------------------------------------------------------------------


def default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


def trim(value: Any, chars: str | None = None) -> str:
    return as_text(value).strip(chars)


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = as_text(value), as_text(old), as_text(new)
    n = text.count(old)
    check_size(len(text) + n * max(len(new) - len(old), 0), MAX_TEXT)
    return text.replace(old, new, -1 if count is None else count)


def join(value: Any, d: Any = "", attribute: Any = None) -> str:
    items = list(iterate(value))
    if attribute is not None:
        items = [attribute_of(item, attribute) for item in items]
    separator, texts = as_text(d), [as_text(item) for item in items]
    check_size(sum(map(len, texts)) + len(separator) * len(texts), MAX_TEXT)
    return separator.join(texts)


def length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | dict | range | Undefined) and not is_view(value):
        raise TypeError("it has no length")
    return len(value)


def first(value: Any) -> Any:
    return next(iter(iterate(value)), Undefined("the first item"))


def last(value: Any) -> Any:
    return next(backwards(value), Undefined("the last item"))


def backwards(value: Any) -> Iterator[Any]:
    if isinstance(value, Undefined):
        return iter(())
    if not isinstance(value, str | list | tuple | dict | range) and not is_view(value):
        raise TypeError("it has no order")
    return iter(reversed(value))


def reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else backwards(value)


def capitalize(value: Any) -> str:
    return as_text(value).capitalize()


def title(value: Any) -> str:
    words = re.split(r"([-\s({\[<]+)", as_text(value))
    return "".join(word[0].upper() + word[1:].lower() for word in words if word)


def to_int(value: Any, default: Any = 0, base: int = 10) -> Any:
    check_defined(value)
    try:
        if isinstance(value, str):
            return check_number(int(value[:2000], base))
        return check_number(int(value))
    except (TypeError, ValueError, OverflowError):
        try:
            return check_number(int(float(value)))
        except (TypeError, ValueError, OverflowError):
            return default


def check_defined(value: Any) -> None:
    """Raise TemplateError if a value is undefined."""
    if isinstance(value, Undefined):
        raise TemplateError(f"{value.name!r} is undefined, so it is no number")


def to_float(value: Any, default: Any = 0.0) -> Any:
    check_defined(value)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def rounded(value: Any, precision: int = 0, method: str = "common") -> Any:
    if method != "common":
        raise TemplateError(f"the filter 'round' with the method {method!r} is not supported")
    check_size(abs(precision), 100)
    return round(value, precision)


def indent(value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    if not isinstance(value, str):
        raise TypeError("only a text is indented")
    text = value + "\n"  # so that the last line ends, too
    check_size(len(width) if isinstance(width, str) else width, 1000)
    space = width if isinstance(width, str) else " " * width
    check_size(len(text) + len(space) * text.count("\n"), MAX_TEXT)
    if blank:
        result = ("\n" + space).join(text.splitlines())
    else:
        head, *lines = text.splitlines()
        result = "".join([head, *("\n" + (space + line if line else line) for line in lines)])
    return space + result if first else result


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    check_json(value)
    check_size(len(indent) if isinstance(indent, str) else indent or 0, 20)
    return json.dumps(
        value,
        ensure_ascii=bool(ensure_ascii),
        indent=indent,
        separators=None if separators is None else tuple(separators),
        sort_keys=bool(sort_keys),
    )


def check_json(value: Any) -> None:
    check_data(value)


def iterate(value: Any) -> Iterable[Any]:
    """The items of a value."""
    if isinstance(value, str | list | tuple | dict | range | Undefined | Iterator) or is_view(value):
        return value
    raise TypeError("it has no items")


def is_view(value: Any) -> bool:
    return isinstance(value, type({}.keys()) | type({}.values()) | type({}.items()))


def attribute_of(value: Any, path: Any, default: Any = None) -> Any:
    """`value.a.b` for the path "a.b"; a part that is a number is an index."""
    parts = path.split(".") if isinstance(path, str) else [path]
    for part in parts:
        key = int(part) if isinstance(part, str) and part.isdecimal() and len(part) < 10 else part
        if isinstance(value, Undefined):
            raise TemplateError(f"{value.name!r} is undefined, so it has no {part!r}")
        if isinstance(value, Namespace):
            value = value.values.get(str(part), Undefined(str(part)))
        else:
            value = item_of(value, key)
        if isinstance(value, Undefined) and default is not None:
            value = default
    return value


def passes(name: Any, arguments: Sequence[Any]) -> Callable[[Any], bool]:
    """A test by its name, as a function of a value."""
    if name is None:
        return bool
    if name not in TESTS:
        raise TemplateError(f"the test {name!r} is not supported")
    return lambda value: bool(TESTS[name].call(value, *arguments))


def select(value: Any, test: Any = None, *arguments: Any) -> Iterator[Any]:
    check = passes(test, arguments)
    return iter([item for item in iterate(value) if check(item)])


def reject(value: Any, test: Any = None, *arguments: Any) -> Iterator[Any]:
    check = passes(test, arguments)
    return iter([item for item in iterate(value) if not check(item)])


def select_attribute(value: Any, attribute: Any, test: Any = None, *arguments: Any) -> Iterator[Any]:
    check = passes(test, arguments)
    return iter([item for item in iterate(value) if check(attribute_of(item, attribute))])


def reject_attribute(value: Any, attribute: Any, test: Any = None, *arguments: Any) -> Iterator[Any]:
    check = passes(test, arguments)
    return iter([item for item in iterate(value) if not check(attribute_of(item, attribute))])


def mapped(
    value: Any, name: Any = None, *arguments: Any, attribute: Any = None, default: Any = None, **named: Any
) -> Iterator[Any]:
    if attribute is not None:
        return iter([attribute_of(item, attribute, default) for item in iterate(value)])
    if name not in FILTERS:
        raise TemplateError(f"the filter {name!r} is not supported")
    results, size = [], 0
    for item in iterate(value):
        results.append(FILTERS[name].call(item, *arguments, **named))
        size += size_of(results[-1])
        check_size(size, MAX_TEXT)
    return iter(results)


def sort_key(case_sensitive: bool, attribute: Any) -> Callable[[Any], Any]:
    """What items are compared by: themselves or an attribute, without regard to case unless it matters."""
    paths = attribute.split(",") if isinstance(attribute, str) else [] if attribute is None else [attribute]

    def key(item: Any) -> Any:
        values = [attribute_of(item, path) for path in paths] or [item]
        values = [v.lower() if isinstance(v, str) and not case_sensitive else v for v in values]
        return values if len(paths) > 1 else values[0]

    return key


def sort(value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: Any = None) -> list[Any]:
    return sorted(iterate(value), key=sort_key(case_sensitive, attribute), reverse=bool(reverse))


def sort_dictionary(value: Any, case_sensitive: bool = False, by: str = "key", reverse: bool = False) -> list[Any]:
    if not isinstance(value, dict) or by not in ("key", "value"):
        raise TypeError("it is no object")
    key = sort_key(case_sensitive, None)
    return sorted(value.items(), key=lambda pair: key(pair[by == "value"]), reverse=bool(reverse))


def unique(value: Any, case_sensitive: bool = False, attribute: Any = None) -> Iterator[Any]:
    key = sort_key(case_sensitive, attribute)
    return iter(list({key(item): item for item in reversed(list(iterate(value)))}.values())[::-1])


def least(value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
    return min(iterate(value), key=sort_key(case_sensitive, attribute), default=Undefined("the least item"))


def greatest(value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
    return max(iterate(value), key=sort_key(case_sensitive, attribute), default=Undefined("the greatest item"))


def total(value: Any, attribute: Any = None, start: Any = 0) -> Any:
    result = start
    for item in iterate(value):
        number = item if attribute is None else attribute_of(item, attribute)
        if not isinstance(number, NUMBER) or not isinstance(result, NUMBER):
            raise TypeError("only numbers are summed")
        result += number
    return result


def pairs_of(value: Any) -> Iterator[Any]:
    if isinstance(value, Undefined):
        return iter(())
    if not isinstance(value, Mapping):
        raise TypeError("it is no object")
    return iter(value.items())


MAX_TEXT = 1_000_000  # characters of a text that a filter makes

FILTERS: dict[str, Function] = {
    name: Function(name, call)  # type: ignore[arg-type]
    for name, call in {
        "abs": abs,
        "capitalize": capitalize,
        "count": length,
        "d": default,
        "default": default,
        "dictsort": sort_dictionary,
        "first": first,
        "float": to_float,
        "indent": indent,
        "int": to_int,
        "items": pairs_of,
        "join": join,
        "last": last,
        "length": length,
        "list": lambda value: list(iterate(value)),
        "lower": lambda value: as_text(value).lower(),
        "map": mapped,
        "max": greatest,
        "min": least,
        "reject": reject,
        "rejectattr": reject_attribute,
        "replace": replace,
        "reverse": reverse,
        "round": rounded,
        "select": select,
        "selectattr": select_attribute,
        "sort": sort,
        "string": as_text,
        "sum": total,
        "title": title,
        "tojson": to_json,
        "trim": trim,
        "unique": unique,
        "upper": lambda value: as_text(value).upper(),
        "wordcount": lambda value: len(re.findall(r"\w+", as_text(value))),
    }.items()
}


# ---- Tests -----------------------------------------------------------------------------------------------------------


def is_sequence(value: Any) -> bool:
    return isinstance(value, str | list | tuple | dict | range | Undefined) and not isinstance(value, Undefined)


def is_iterable(value: Any) -> bool:
    return isinstance(value, str | list | tuple | dict | range | Undefined | Iterator) or is_view(value)


def comparison(operator: str) -> Callable[[Any, Any], bool]:
    return lambda value, other: operate(operator, value, other, MAX_TEXT)


TESTS: dict[str, Function] = {
    name: Function(name, call)  # type: ignore[arg-type]
    for name, call in {
        "defined": lambda value: not isinstance(value, Undefined),
        "undefined": lambda value: isinstance(value, Undefined),
        "none": lambda value: value is None,
        "string": lambda value: isinstance(value, str),
        "mapping": lambda value: isinstance(value, dict),
        "sequence": is_sequence,
        "iterable": is_iterable,
        "number": lambda value: isinstance(value, int | float),
        "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "float": lambda value: isinstance(value, float),
        "boolean": lambda value: isinstance(value, bool),
        "true": lambda value: value is True,
        "false": lambda value: value is False,
        "callable": lambda value: isinstance(value, Function | BoundMethod),
        "odd": lambda value: value % 2 == 1,
        "even": lambda value: value % 2 == 0,
        "divisibleby": lambda value, n: value % n == 0,
        "lower": lambda value: as_text(value).islower(),
        "upper": lambda value: as_text(value).isupper(),
        "in": lambda value, whole: contains(whole, value),
        "sameas": lambda value, other: value is other,
        "filter": lambda value: value in FILTERS,
        "test": lambda value: value in TESTS,
        **{name: comparison("==") for name in ("eq", "equalto", "==")},
        **{name: comparison("!=") for name in ("ne", "!=")},
        **{name: comparison("<") for name in ("lt", "lessthan", "<")},
        **{name: comparison("<=") for name in ("le", "<=")},
        **{name: comparison(">") for name in ("gt", "greaterthan", ">")},
        **{name: comparison(">=") for name in ("ge", ">=")},
    }.items()
}


# ---- Methods ---------------------------------------------------------------------------------------------------------


def joined(text: str, items: Any) -> str:
    parts = list(iterate(items))
    if not all(isinstance(part, str) for part in parts):
        raise TypeError("only texts are joined")
    return join(parts, text)


def replaced(text: str, old: str, new: str, count: int = -1) -> str:
    if not isinstance(old, str) or not isinstance(new, str):
        raise TypeError("a text is replaced by a text")
    return replace(text, old, new, None if count < 0 else count)


TEXT_METHODS: dict[str, Callable[..., Any] | None] = {
    **{
        name: getattr(str, name)
        for name in (
            "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii",
            "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle",
            "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rfind", "rindex", "rpartition",
            "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
        )
    },
    "join": joined,
    "replace": replaced,
    **dict.fromkeys(("center", "encode", "expandtabs", "format", "format_map", "ljust", "maketrans", "rjust",
                     "translate", "zfill")),
}  # fmt: skip
LIST_METHODS: dict[str, Callable[..., Any] | None] = {
    "count": lambda items, value: sum(item == value for item in items),
    "index": lambda items, value: items.index(value),
    **dict.fromkeys(("append", "clear", "copy", "extend", "insert", "pop", "remove", "reverse", "sort")),
}
DICTIONARY_METHODS: dict[str, Callable[..., Any] | None] = {
    "get": lambda pairs, key, default=None: pairs.get(key, default),
    "items": lambda pairs: pairs.items(),
    "keys": lambda pairs: pairs.keys(),
    "values": lambda pairs: pairs.values(),
    **dict.fromkeys(("clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update")),
}
# Each type with its methods; None marks one that exists in Python and not here.
METHODS: tuple[tuple[type, dict[str, Callable[..., Any] | None]], ...] = (
    (str, TEXT_METHODS),
    (list, LIST_METHODS),
    (dict, DICTIONARY_METHODS),
)


# ---- Functions -------------------------------------------------------------------------------------------------------


def raise_exception(message: Any = "") -> None:
    raise Refusal(as_text(message)[:500])


def make_range(*bounds: int) -> range:
    if not all(isinstance(bound, int) for bound in bounds):
        raise TypeError("a range goes from a whole number to another")
    numbers = range(*bounds)
    check_size(max(map(abs, bounds)), 2**60)
    check_size(len(numbers), MAX_RANGE)
    return numbers


def strftime_now(format: Any) -> str:
    if not isinstance(format, str) or len(format) > 200:
        raise TypeError("the format of a date is a short text")
    if re.search(r"%[^a-zA-Z%]|%$", format):
        raise TemplateError(f"the format {format!r} of a date is not supported")
    return datetime.now().strftime(format)


def make_namespace(*values: Any, **named: Any) -> Namespace:
    return Namespace(make_dictionary(*values, **named))


def make_dictionary(*values: Any, **named: Any) -> dict[str, Any]:
    return {**(dict(islice(values[0].items(), MAX_RANGE)) if values else {}), **named}


FUNCTIONS: dict[str, Function] = {
    name: Function(name, call)  # type: ignore[arg-type]
    for name, call in {
        "raise_exception": raise_exception,
        "range": make_range,
        "namespace": make_namespace,
        "dict": make_dictionary,
        "strftime_now": strftime_now,
    }.items()
}
