"""Running a chat template: a program in Jinja from the internet, in a world in which there is nothing to reach.

`jinja2` reads and runs it, with the settings of `transformers`, so it writes what `transformers` writes. Its sandbox
keeps a program from changing things. Two things are added, because a program may come from anybody:

- **Only data.** `value.name` is a key, or one of a few methods without side effects; never an attribute of a Python
  object. Filters, tests and functions are those in the tables below. The variables are copied by `plain_data`.
- **Everything is counted.** What a program reads and makes costs steps (`MAX_COST`), and what would be too large is
  refused before it is made. jinja2 asks its environment for attributes, calls and arithmetic (`Sandbox`); for the rest,
  `bound` puts filters of ours around what loops run through, what is compared, and lists and texts that are made.

So every program ends within about a second, with a text or a sentence.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import cache, wraps
from operator import add, floordiv, length_hint, mod, mul, sub, truediv
from traceback import walk_tb
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, NamedTuple

from jinja2 import TemplateSyntaxError, Undefined, filters, nodes, pass_context, pass_environment, pass_eval_context
from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from llmasos.errors import UserError

MAX_SOURCE, MAX_PARTS = 60_000, 12_000  # characters and parts of a program; the longest published ones have a third
MAX_NESTING = 100  # of the parts of a program
MAX_COST = 200_000  # steps
MAX_OUTPUT = 2_000_000  # characters
MAX_VALUE = 1_000_000  # characters of a text, or items of a list
MAX_WEIGHT = 8_000_000  # characters of a value with all that is in it
MAX_BITS = 4_000  # of a whole number
MAX_DATA_DEPTH = 50  # of lists and objects within each other
READ, MADE = 200, 50  # characters that are one step


class TemplateError(UserError):
    """A program cannot be run on the data it got. The message is a part of a sentence, with the line."""

    def __init__(self, problem: str, line: int = 0):
        super().__init__(problem if len(problem) <= 160 else problem[:160] + " …")
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}: {self.args[0]}" if self.line else str(self.args[0])


class Refusal(TemplateError):
    """A program refuses the conversation itself (`raise_exception`), with a message for the user."""


class UnsupportedTemplate(TemplateError):
    """A program cannot be read, or uses something that is not supported."""


class Rendered(NamedTuple):
    """What a template writes.

    Attributes:
        text: of the whole conversation.
        generated: (start, end), in characters, of what is inside {% generation %}: what the assistant writes.
    """

    text: str
    generated: list[tuple[int, int]]


class Template:
    """A program that is ready to run.

    >>> Template("{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\\n{% endfor %}").render(
    ...     {"messages": [{"role": "user", "content": " Hi! "}]}
    ... ).text
    '[user] Hi!\\n'

    Args:
        source: the program.

    Raises:
        UnsupportedTemplate: it cannot be read, or uses something that is not supported.
    """

    def __init__(self, source: str):
        if len(source) > MAX_SOURCE:
            raise UnsupportedTemplate(f"the program has more than {MAX_SOURCE:,} characters", 1)
        environment = sandbox()
        try:
            tree = bound(environment.parse(source))
            code = environment.compile(tree)
        except TemplateError:
            raise
        except TemplateSyntaxError as error:
            raise UnsupportedTemplate(error.message or "it is no Jinja", error.lineno) from error
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            problem = "it nests too much" if isinstance(error, RecursionError | MemoryError) else str(error)
            raise UnsupportedTemplate(f"the program cannot be read ({problem})", 1) from error
        self.template = environment.template_class.from_code(environment, code, environment.make_globals(None))

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        """Run the program.

        Args:
            variables: name → JSON-like data.

        Raises:
            TemplateError: the program refuses these variables (`raise_exception`), cannot compute something, or
                exceeds a limit; with the line.
        """
        context = self.template.new_context({name: plain_data(value) for name, value in variables.items()})
        token = RUN.set(Run())
        pieces, length, starts, generated = [], 0, [], []
        try:
            for piece in self.template.root_render_func(context):
                if piece is BEGIN:
                    starts.append(length)
                elif piece is END:
                    generated.append((starts.pop(), length))
                pieces.append(piece)
                length += len(piece)
                if length > MAX_OUTPUT:
                    raise TemplateError(f"the program writes more than {MAX_OUTPUT:,} characters")
            return Rendered("".join(pieces), generated)
        except Exception as error:  # whatever jinja2 and Python say about the program
            words = "the program nests too much" if isinstance(error, RecursionError) else str(error)
            problem = error if isinstance(error, TemplateError) else TemplateError(words or type(error).__name__)
            problem.line = self.line_of(error)
            raise problem from None
        finally:
            RUN.reset(token)

    def line_of(self, error: Exception) -> int:
        """The line of the program that was running when an error was raised."""
        lines = [n for frame, n in walk_tb(error.__traceback__) if "__jinja_template__" in frame.f_globals]
        return self.template.get_corresponding_lineno(lines[-1]) if lines else 1


def plain_data(value: Any, depth: int = 0) -> Any:
    """A copy of data that holds nothing but plain texts, numbers, booleans, none, lists and dictionaries.

    Raises:
        TemplateError: it holds something else, or too much nesting.
    """
    if depth > MAX_DATA_DEPTH:
        raise TemplateError(f"the data has more than {MAX_DATA_DEPTH} lists and objects within each other")
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item, depth + 1) for item in value]
    raise TemplateError(f"the data holds a {type(value).__name__}; a template takes text, numbers, lists and objects")


# ---- What things cost ------------------------------------------------------------------------------------------------

VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
OPAQUE = {Namespace, Macro, LoopContext, BuiltinMethodType, FunctionType, MethodType, *VIEWS}  # are no data


class Run:
    """What one run of a program has cost."""

    def __init__(self) -> None:
        self.cost = 0
        self.weights: dict[int, tuple[int, int, Any]] = {}  # id of a list or an object → weight, depth, itself

    def spend(self, steps: int) -> None:
        """Count some steps. Raises TemplateError if they are too many."""
        self.cost += steps
        if self.cost > MAX_COST:
            raise TemplateError(f"the program takes more than {MAX_COST:,} steps")

    def weigh(self, value: Any) -> tuple[int, int]:
        """The characters of a value with all that is in it, and how many lists and objects are within each other.

        What occurs twice counts twice, as it does when it is printed or compared: [[s, s], [s, s]] has four s.

        Raises:
            TemplateError: it is no data, or too large.
        """
        kind = type(value)
        if kind is str:
            return len(value) + 10, 0
        if kind is int:
            fits(value.bit_length(), MAX_BITS)
            return value.bit_length() // 3 + 10, 0
        if value is None or kind in (bool, float, range) or isinstance(value, Undefined):
            return 10, 0
        if kind not in (list, tuple, dict):
            raise TemplateError("something that is no data cannot be used here (a function, a namespace, …)")
        if id(value) not in self.weights:
            fits(len(value), MAX_VALUE)
            parts = [self.weigh(item) for item in ([*value, *value.values()] if kind is dict else value)]
            weight, depth = 10 + sum(part[0] for part in parts), 1 + max((part[1] for part in parts), default=0)
            fits(weight, MAX_WEIGHT)
            fits(depth, MAX_DATA_DEPTH)
            self.weights[id(value)] = weight, depth, value  # the value is kept, so that no other gets its id
        return self.weights[id(value)][:2]

    def read(self, value: Any) -> Any:
        """A value that is about to be read as a whole."""
        kind = type(value)
        if kind is str:
            self.spend(1 + len(value) // READ)
        elif kind is range:
            self.spend(1 + len(value) // 20)
        elif kind in VIEWS:
            parts = [*value.mapping, *value.mapping.values()]
            self.spend(1 + len(parts) + sum(self.weigh(part)[0] for part in parts) // READ)
        elif kind in OPAQUE or isinstance(value, Iterator):
            self.spend(1)
        else:
            self.spend(1 + self.weigh(value)[0] // READ)
        return value

    def made(self, value: Any) -> Any:
        """A value that was made."""
        kind = type(value)
        if kind is str:
            fits(len(value), MAX_VALUE)
            self.spend(1 + len(value) // MADE)
        elif kind in (list, tuple, dict):
            self.spend(1 + len(value))
            self.weigh(value)
        elif isinstance(value, Iterator):
            return iter(self.listed(value))
        elif kind not in OPAQUE:
            self.weigh(value)
            self.spend(1)
        return value

    def listed(self, value: Any) -> list[Any]:
        """The items of a value."""
        items, weight = [], 0
        for item in value:
            self.spend(1)
            weight += 0 if type(item) in OPAQUE else self.weigh(item)[0]
            fits(weight, MAX_WEIGHT)
            items.append(item)
        return items


def fits(size: int, limit: int = MAX_VALUE) -> None:
    """Raise TemplateError if something is, or would be, larger than a limit."""
    if size > limit:
        raise TemplateError(f"a value would be larger than {limit:,}")


RUN: ContextVar[Run] = ContextVar("RUN")


# ---- Filters, tests, functions and methods --------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """A value as it is printed."""
    if type(value) is not str:
        RUN.get().weigh(value)
        value = str(value)
    return RUN.get().made(value)


@pass_eval_context
def join(context: nodes.EvalContext, value: Any, d: Any = "", attribute: Any = None) -> str:
    items = RUN.get().listed(value)
    fits(RUN.get().weigh(items)[0] + len(items) * len(text_of(d)), MAX_WEIGHT)
    return filters.sync_do_join(context, items, d, attribute)


def replace(s: Any, old: Any, new: Any, count: Any = None) -> str:
    text, old, new = text_of(s), text_of(old), text_of(new)
    fits(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def indent(s: str, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    fits(len(s) + (1 + len(s.splitlines())) * (len(width) if isinstance(width, str) else width))
    return filters.do_indent(s, width, first, blank)


def trim(value: Any, chars: str | None = None) -> str:
    RUN.get().spend(len(text_of(value)) * len(chars or "") // 1000)
    return text_of(value).strip(chars)


def rounded(value: Any, precision: int = 0, method: Any = "common") -> Any:
    fits(abs(precision), 100)
    return filters.do_round(number(value), precision, method)


@pass_environment
def total(environment: Any, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    get = filters.make_attrgetter(environment, attribute, postprocess=number)
    return sum(map(get, RUN.get().listed(iterable)), number(start))


def to_json(
    value: Any, ensure_ascii: Any = False, indent: Any = None, separators: Any = None, sort_keys: Any = False
) -> str:
    weight, depth = RUN.get().weigh(value)
    width = len(indent) if isinstance(indent, str) else indent or 0
    fits(max(width, *map(len, separators or ("",)), 1), 20)
    fits(weight + weight // 10 * width * depth, MAX_WEIGHT)
    RUN.get().spend(weight // 20 if width else 0)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: Any = "") -> None:
    raise Refusal(text_of(message))


def strftime_now(format: str) -> str:
    fits(len(format), 200)
    if re.search(r"%[^a-zA-Z%]|%$", format):
        raise TemplateError(f"the format {format!r} of a date is not supported")
    return datetime.now().strftime(format)


def make_dictionary(*values: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    return {**(values[0] if values else {}), **named}


def make_namespace(*values: Mapping[str, Any], **named: Any) -> Namespace:
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
            raise TemplateError("something that is no function is called")
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


# ---- The tree of a program -------------------------------------------------------------------------------------------

STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With,
              nodes.Assign, nodes.AssignBlock, nodes.Scope, nodes.Break, nodes.Continue)  # fmt: skip
TAGS = {"FromImport": "from", "ScopedEvalContextModifier": "autoescape"}


def bound(tree: nodes.Template) -> nodes.Template:
    """A program that pays for what it does.

    Raises:
        UnsupportedTemplate: there is something in it, whether it is reached or not, that is not supported.
    """
    pending: list[tuple[nodes.Node, int, bool]] = [(child, 1, False) for child in tree.body]
    for node, depth, in_loop in pending:  # which grows
        name, problem = getattr(node, "name", ""), ""
        if depth > MAX_NESTING or len(pending) > MAX_PARTS:
            problem = f"the program has more than {MAX_PARTS:,} parts, or {MAX_NESTING} within each other"
        elif isinstance(node, nodes.Stmt) and not isinstance(node, STATEMENTS):
            tag = type(node).__name__
            problem = f"the statement {{% {TAGS.get(tag, tag.lower())} %}} is not supported"
        elif isinstance(node, nodes.Filter | nodes.Test) and name not in (FILTERS, TESTS)[isinstance(node, nodes.Test)]:
            problem = f"the {type(node).__name__.lower()} {name!r} is not supported"
        elif isinstance(node, nodes.Break | nodes.Continue) and not in_loop:
            problem = f"{{% {type(node).__name__.lower()} %}} is not in a loop"
        if problem:
            raise UnsupportedTemplate(problem, node.lineno)
        in_loop = isinstance(node, nodes.For) or in_loop and not isinstance(node, nodes.Macro | nodes.CallBlock)
        pending += [(child, depth + 1, in_loop) for child in node.iter_child_nodes()]
    return Bound().visit(tree)


def filtered(node: Any, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    """An expression with a filter of ours around it."""
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=getattr(node, "lineno", 1))


def size(node: nodes.Node | None) -> nodes.Const:
    """About how many steps a part of a program takes."""
    parts = [] if node is None else [node, *node.find_all(nodes.Node)]
    n_characters = sum(len(getattr(part, "data", "")) for part in parts)
    return nodes.Const(1 + len(parts) // 6 + n_characters // MADE)


class Bound(NodeTransformer):
    """Puts our filters into a tree."""

    def unless_constant(self, node: nodes.Expr, name: str) -> nodes.Expr:
        return node if isinstance(node, nodes.Const) else filtered(node, name)

    def pay(self, node: Any) -> Any:
        steps = nodes.ExprStmt(filtered(size(node), "#pay"), lineno=node.lineno)
        self.generic_visit(node)
        node.body.insert(0, steps)
        return node

    visit_Macro = visit_CallBlock = pay

    def visit_For(self, node: nodes.For) -> nodes.For:
        n = size(node.test)
        self.pay(node).iter = filtered(node.iter, "#items", n)
        return node

    def make(self, node: Any) -> Any:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else filtered(node, "#made")

    visit_List = visit_Tuple = visit_Dict = make

    def visit_Getitem(self, node: nodes.Getitem) -> Any:  # jinja2 does not ask the environment for slices
        return self.make(node) if isinstance(node.arg, nodes.Slice) else self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        node.nodes = [self.unless_constant(part, "#text") for part in node.nodes]
        return filtered(node, "#made")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        parts: list[Any] = [node, *node.ops]
        for part in parts:
            part.expr = self.unless_constant(part.expr, "#read")
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        self.generic_visit(node)
        node.key = self.unless_constant(node.key, "#read")
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.AssignBlock:
        self.generic_visit(node)
        node.filter = filtered(node.filter, "#made")
        return node
