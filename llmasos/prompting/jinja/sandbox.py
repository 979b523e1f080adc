"""The sandbox: the filters, tests, functions and methods that a program can use, each with its cost.

jinja2 asks its environment for attributes, calls and arithmetic, so `Sandbox` answers with data alone: `value.name` is
a key, or one of a few methods without side effects, never an attribute of a Python object.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache, wraps
from operator import add, floordiv, length_hint, mod, mul, sub, truediv
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import Undefined, filters, nodes, pass_context, pass_environment, pass_eval_context
from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

from llmasos.prompting.jinja.cost import (
    MAX_BITS,
    MAX_WEIGHT,
    OPAQUE,
    RUN,
    VIEWS,
    Refusal,
    TemplateError,
    UnsupportedTemplate,
    fits,
)


def text_of(value: Any) -> str:
    """A value as it is printed."""
    if type(value) is not str:
        RUN.get().weigh(value)
        value = str(value)
    return RUN.get().made(value)


@pass_eval_context
def join(context: nodes.EvalContext, value: Any, d: Any = "", attribute: Any = None) -> str:
    """The texts of a list as one text, with `d` between them."""
    items = RUN.get().listed(value)
    fits(RUN.get().weigh(items)[0] + len(items) * len(text_of(d)), MAX_WEIGHT)
    return filters.sync_do_join(context, items, d, attribute)


def replace(s: Any, old: Any, new: Any, count: Any = None) -> str:
    """A text with `new` in the place of `old`, `count` times at most."""
    text, old, new = text_of(s), text_of(old), text_of(new)
    fits(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def indent(s: str, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    """A text whose lines after the first are moved to the right, by a number of spaces or by a text."""
    fits(len(s) + (1 + len(s.splitlines())) * (len(width) if isinstance(width, str) else width))
    return filters.do_indent(s, width, first, blank)


def trim(value: Any, chars: str | None = None) -> str:
    """A text without white space, or without these characters, at its ends."""
    RUN.get().spend(len(text_of(value)) * len(chars or "") // 1000)
    return text_of(value).strip(chars)


def rounded(value: Any, precision: int = 0, method: Any = "common") -> Any:
    """A number with this many digits after the point; `method` is "common", "ceil" or "floor"."""
    fits(abs(precision), 100)
    return filters.do_round(number(value), precision, method)


@pass_environment
def total(environment: Any, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    """The sum of a list's numbers, or of an attribute of its items."""
    get = filters.make_attrgetter(environment, attribute, postprocess=number)
    return sum(map(get, RUN.get().listed(iterable)), number(start))


def to_json(
    value: Any, ensure_ascii: Any = False, indent: Any = None, separators: Any = None, sort_keys: Any = False
) -> str:
    """A value as JSON, with letters outside ASCII as they are, as transformers writes it."""
    weight, depth = RUN.get().weigh(value)
    width = len(indent) if isinstance(indent, str) else indent or 0
    fits(max(width, *map(len, separators or ("",)), 1), 20)
    fits(weight + weight // 10 * width * depth, MAX_WEIGHT)
    RUN.get().spend(weight // 20 if width else 0)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: Any = "") -> None:
    """Refuse the conversation: a program says why it cannot be written."""
    raise Refusal(text_of(message))


def strftime_now(format: str) -> str:
    """The date and time of now in a format of `datetime.strftime`."""
    fits(len(format), 200)
    if re.search(r"%[^a-zA-Z%]|%$", format):
        raise TemplateError(f"the format {format!r} of a date is not supported")
    return datetime.now().strftime(format)


def make_dictionary(*values: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """The function `dict`: an object of another one's entries, and of named values."""
    return {**(values[0] if values else {}), **named}


def make_namespace(*values: Mapping[str, Any], **named: Any) -> Namespace:
    """The function `namespace`: an object whose attributes a program can set, also inside a loop."""
    return Namespace(make_dictionary(*values, **named))


def number(value: Any) -> Any:
    """A number, and no text, with which Python's % and * mean something else."""
    return value + 0


def words(value: Any) -> str:
    """A text that is cut into words."""
    RUN.get().spend(len(text_of(value)) // 5)
    return text_of(value)


def of(convert: Callable[[Any], Any], function: Any) -> Any:
    """A function whose first argument is converted."""
    return lambda value, *others: function(convert(value), *others)


class Mark(str):
    """An empty text that keeps its identity in the output: where {% generation %} begins or ends."""

    def __str__(self) -> "Mark":
        return self


BEGIN, END = Mark(), Mark()


class GenerationTag(Extension):
    """{% generation %} … {% endgeneration %}: around what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        begin, end = (nodes.Output([nodes.EnvironmentAttribute(name)], lineno=line) for name in ("begin", "end"))
        return [begin, nodes.Scope(body, lineno=line), end]


@pass_context
def written(context: Any, value: Any) -> str:
    """What `{{ value }}` writes."""
    return value if type(value) is Mark else text_of(value)


def items(value: Any, steps: int) -> list[Any]:
    """What a loop runs through, which takes this many steps for each item."""
    if type(value) not in (str, list, tuple, dict, range, *VIEWS) and not isinstance(value, Undefined | Iterator):
        raise TypeError(f"{type(value).__name__} has no items")
    RUN.get().spend(1 + length_hint(value) * max(1, steps))
    return list(value)


FUNCTIONS: dict[str, Any] = {"range": safe_range, "dict": make_dictionary, "namespace": make_namespace,
             "raise_exception": raise_exception, "strftime_now": strftime_now}  # fmt: skip
FILTERS = {
    **{name: DEFAULT_FILTERS[name] for name in (
        "abs", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length", "list", "map",
        "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort",
    )},
    **{name: of(text_of, DEFAULT_FILTERS[name]) for name in ("capitalize", "lower", "upper")},
    **{name: of(words, DEFAULT_FILTERS[name]) for name in ("title", "wordcount")},
    "indent": indent, "join": join, "replace": replace, "round": rounded, "string": text_of, "sum": total,
    "tojson": to_json, "trim": trim,
}  # fmt: skip
TESTS = {
    **{name: test for name, test in DEFAULT_TESTS.items() if name != "escaped"},
    **{name: of(text_of, DEFAULT_TESTS[name]) for name in ("lower", "upper")},
    **{name: of(number, DEFAULT_TESTS[name]) for name in ("odd", "even", "divisibleby")},
}
AT_ONCE = frozenset((
    "boolean", "callable", "count", "d", "default", "defined", "first", "integer", "iterable", "last", "length",
    "mapping", "none", "number", "sequence", "string", "undefined",
))  # fmt: skip  # filters and tests that read nothing as a whole
METHODS: dict[type, frozenset[str]] = {
    str: frozenset((
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
        "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join",
        "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition",
        "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
    )),
    list: frozenset(("count", "index")),
    dict: frozenset(("get", "items", "keys", "values")),
}  # fmt: skip
SQUARE = ("strip", "lstrip", "rstrip", "rfind", "rindex", "rpartition", "rsplit")  # look for each in each
LOOP = ("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem",
        "nextitem", "cycle", "changed")  # fmt: skip
OPERATORS: dict[str, Any] = {"+": add, "-": sub, "*": mul, "/": truediv, "//": floordiv, "%": mod, "**": pow}


class Sandbox(ImmutableSandboxedEnvironment):
    """What a program can do: what it gets for `value.name`, `value[key]`, `function(…)`, arithmetic, and printing."""

    intercepted_binops = frozenset(OPERATORS)
    begin, end = BEGIN, END

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, finalize=written,
            extensions=[GenerationTag, loopcontrols],
        )  # fmt: skip
        hooks = {"#read": lambda value: RUN.get().read(value), "#made": lambda value: RUN.get().made(value),
                 "#text": text_of, "#items": items, "#pay": lambda steps: RUN.get().spend(max(1, steps))}  # fmt: skip
        self.globals = dict(FUNCTIONS)
        self.filters = {**{name: counted(name, function) for name, function in FILTERS.items()}, **hooks}
        self.tests = {name: counted(name, test) for name, test in TESTS.items()}

    def getattr(self, obj: Any, attribute: str) -> Any:
        method = self.method(obj, attribute)
        return self.item(obj, attribute) if method is None else method

    def getitem(self, obj: Any, argument: Any) -> Any:
        item = self.item(obj, argument)
        method = self.method(obj, argument) if isinstance(item, Undefined) and type(argument) is str else None
        return item if method is None else method

    def item(self, obj: Any, key: Any) -> Any:
        """What a key, an index or the attribute of a namespace or a loop stands for; undefined if nothing."""
        RUN.get().spend(1)
        kind = type(obj)
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        if kind is dict and type(key) in (str, int, float, bool, type(None)) and key in obj:
            return obj[key]
        if kind in (str, list, tuple, range) and isinstance(key, int) and -len(obj) <= key < len(obj):
            return obj[key]
        if isinstance(key, str) and (kind is Namespace and key[:1] != "_" or kind is LoopContext and key in LOOP):
            return getattr(obj, key, self.undefined(obj=obj, name=key))
        return self.undefined(obj=obj, name=key)

    def method(self, obj: Any, name: str) -> Any:
        """A method of a text, a list or an object; None if it has none of this name."""
        names = METHODS.get(type(obj), ())
        if name in names:
            return getattr(obj, name)
        if names and name[:1] != "_" and hasattr(obj, name) and (type(obj) is not dict or name not in obj):
            raise UnsupportedTemplate(f"the method {name!r} is not supported")
        return None

    def call(self, context: Any, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """What `function(…)` returns: of a macro, a loop, a method in `METHODS`, or one of `FUNCTIONS`."""
        run, kind = RUN.get(), type(function)
        run.spend(1 + len(arguments) + len(named))
        if kind in (Macro, LoopContext):
            lists = map(run.listed, arguments) if kind is LoopContext else arguments
            return run.made(context.call(function, *lists, **named))
        named = {name: run.read(value) for name, value in named.items() if name not in ("_loop_vars", "_block_vars")}
        arguments = tuple(map(run.read, arguments))
        owner: Any = getattr(function, "__self__", None)
        name = getattr(function, "__name__", "")
        if kind is BuiltinMethodType and name in METHODS.get(type(owner), ()):
            if type(owner) is not dict:  # in which a key is found at once
                run.read(owner)
            if name == "replace":
                return run.made(replace(owner, *arguments, **named))
            if name == "join" and arguments:
                items = run.listed(arguments[0])
                fits(run.weigh(items)[0] + len(items) * len(owner), MAX_WEIGHT)
                arguments = (items, *arguments[1:])
            if name in SQUARE and arguments and isinstance(arguments[0], str):
                run.spend(len(owner) * len(arguments[0]) // 1000)
        elif isinstance(function, Undefined):
            function()  # which raises jinja2's error
        elif not (function in FUNCTIONS.values() or kind is MethodType and type(owner) is LoopContext):
            raise TemplateError("something that is not a function is called")
        return run.made(function(*arguments, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        run = RUN.get()
        run.read(left), run.read(right)
        for value, n in ((left, right), (right, left)):
            if operator == "*" and isinstance(value, str | list | tuple) and isinstance(n, int):
                fits(len(value) * n)
        if operator == "%" and isinstance(left, str):
            raise UnsupportedTemplate("% with a text is not supported")
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            fits(left.bit_length() * right, MAX_BITS)
        return run.made(OPERATORS[operator](left, right))


@cache
def sandbox() -> Sandbox:
    """The one sandbox that all programs are compiled in."""
    return Sandbox()


def counted(name: str, function: Any) -> Any:
    """A filter or a test that pays for what it reads and makes."""
    first = int(hasattr(function, "jinja_pass_arg"))  # what jinja2 passes before the value

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        run, value = RUN.get(), arguments[first]
        if name not in AT_ONCE:
            if type(value) in OPAQUE and type(value) not in VIEWS:
                raise TemplateError(f"{name} takes data")
            run.spend(0 if isinstance(value, str) else length_hint(value))
            for argument in (*arguments[first:], *named.values()):
                run.read(argument)
        return run.made(function(*arguments, **named))

    return call
