"""Running a Jinja template: the tree of `syntax.py` and the variables in, a text out.

A chat template is a program from the internet, so it runs in a world of its own, in which there is nothing to reach:

- **Values are data**: texts, numbers, booleans, none, lists and dictionaries (copied in by `plain_data`), ranges,
  namespaces, and the functions of `values.py`. `value.name` is a key of a dictionary, or one of the methods in
  `METHODS`; it is never an attribute of a Python object, and nothing is ever evaluated as Python.
- **Everything is counted**: each step and each character made costs something (`MAX_COST`), and no value, no text and
  no nesting may be larger than its limit. So a program ends within seconds, whatever it does.
- **What is not supported says so** (`UnsupportedTemplate`, with the line), instead of computing something else.

The semantics are those of `jinja2`, with the settings of `transformers`: a missing variable is undefined, which is an
empty text when printed and false in a test, and an error in arithmetic. Names that are set in a loop or in a macro
belong to it; those of an `if` do not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from llmasos.prompting.jinja import syntax
from llmasos.prompting.jinja.syntax import ArgumentList, Body, Node, UnsupportedTemplate, parse
from llmasos.prompting.jinja.values import (
    FILTERS,
    FUNCTIONS,
    METHODS,
    TESTS,
    BoundMethod,
    Function,
    Namespace,
    TemplateError,
    Undefined,
    as_text,
    item_of,
    operate,
    size_of,
)

MAX_COST = 500_000  # steps, plus one for every CHARACTERS_PER_STEP characters that are read or made
CHARACTERS_PER_STEP = 50
MAX_OUTPUT = 2_000_000  # characters
MAX_VALUE = 1_000_000  # characters of a text, or items of a list
MAX_WEIGHT = 8_000_000  # characters of a value with all that is in it
MAX_DEPTH = 100  # of values within values, statements within statements, and macros that call macros
MAX_DATA_DEPTH = 50  # of lists and objects within each other


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
        self.body = parse(source)
        check_names(self.body)

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        """Run the program.

        Args:
            variables: name → JSON-like data.

        Raises:
            TemplateError: the program refuses these variables (`raise_exception`), cannot compute something, or
                exceeds a limit; with the line.
            UnsupportedTemplate: it comes to something that is not supported.
        """
        return Run({name: plain_data(value) for name, value in variables.items()}).render(self.body)


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


def check_names(part: Any) -> None:
    """Raise UnsupportedTemplate if there is a filter or a test that does not exist, whether it is reached or not."""
    pending = [part]
    while pending:
        part = pending.pop()
        if isinstance(part, syntax.Filter) and part.name not in FILTERS:
            raise UnsupportedTemplate(part.line, f"the filter {part.name!r} is not supported")
        if isinstance(part, syntax.Test) and part.name not in TESTS:
            raise UnsupportedTemplate(part.line, f"the test {part.name!r} is not supported")
        if isinstance(part, syntax.SetBlock | syntax.FilterBlock):
            for name, _ in part.filters:
                if name not in FILTERS:
                    raise UnsupportedTemplate(part.line, f"the filter {name!r} is not supported")
        if isinstance(part, Node):
            pending += [getattr(part, name) for name in type(part).__dataclass_fields__]
        elif isinstance(part, tuple):
            pending += part


class Break(Exception):
    """A `{% break %}` on its way to its loop."""


class Continue(Exception):
    """A `{% continue %}` on its way to its loop."""


class Scope:
    """Variables that belong together, and the scope around them, where others are looked up."""

    def __init__(self, outer: "Scope | None" = None, variables: Mapping[str, Any] | None = None):
        self.outer, self.variables = outer, dict(variables or {})

    def get(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            scope = scope.outer
        return Undefined(name)


class Run:
    """One run of a program: its variables, what it has written, and what it has cost."""

    def __init__(self, variables: dict[str, Any]):
        self.scope = Scope(Scope(None, FUNCTIONS), variables)
        self.output: list[str] = []
        self.length = 0  # of the output, in characters
        self.generated: list[tuple[int, int]] = []
        self.captures = 0  # how many texts are being captured, which are no output yet
        self.weights: dict[int, tuple[int, int, Any]] = {}  # id of a list or an object → weight, depth, itself
        self.cost = self.depth = self.line = 0

    def render(self, body: Body) -> Rendered:
        try:
            self.run(body)
        except TemplateError as error:
            raise error.at(self.line) from None
        except RecursionError as error:
            raise TemplateError("the program nests too much").at(self.line) from error
        return Rendered("".join(self.output), self.generated)

    # What things cost

    def charge(self, n: int = 1) -> None:
        """Count some steps. Raises TemplateError if they are too many."""
        self.cost += n
        if self.cost > MAX_COST:
            raise TemplateError(f"the program takes more than {MAX_COST:,} steps")

    def checked(self, value: Any) -> Any:
        """A value that was made, if it is not too large."""
        size = size_of(value)
        if size > MAX_VALUE:
            raise TemplateError(f"the program makes a value of more than {MAX_VALUE:,} characters or items")
        self.charge(1 + (size // CHARACTERS_PER_STEP if isinstance(value, str) else size))
        weight, depth = self.weigh(value)
        if weight > MAX_WEIGHT:
            raise TemplateError(f"the program makes a value of more than {MAX_WEIGHT:,} characters")
        if depth > MAX_DATA_DEPTH:
            raise TemplateError(f"the program puts more than {MAX_DATA_DEPTH} lists into each other")
        return value

    def weigh(self, value: Any) -> tuple[int, int]:
        """The characters of a value with all that is in it, and how many lists and objects are within each other.

        What occurs twice counts twice, as it does when the value is printed or compared: [[s, s], [s, s]] has four s.
        """
        if not isinstance(value, list | tuple | dict):
            return size_of(value) + 10, 0
        if id(value) not in self.weights:
            items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            parts = [self.weigh(item) for item in items]
            weight, depth = sum(part[0] for part in parts) + 10, max((part[1] for part in parts), default=0) + 1
            self.weights[id(value)] = weight, depth, value  # the value is kept, so that no other gets its id
        return self.weights[id(value)][:2]

    def steps(self, *values: Any) -> int:
        """How many steps it takes to read values with all that is in them."""
        return sum(self.weigh(value)[0] for value in values) // CHARACTERS_PER_STEP

    def deeper(self) -> None:
        """Go one level deeper; the caller goes back."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TemplateError(f"the program nests more than {MAX_DEPTH} levels deep")

    # Statements

    def run(self, body: Body) -> None:
        self.deeper()
        for node in body:
            self.charge()
            self.line = node.line
            STATEMENTS[type(node)](self, node)
        self.depth -= 1

    def write(self, text: str) -> None:
        self.length += len(text)
        if self.length > MAX_OUTPUT:
            raise TemplateError(f"the program writes more than {MAX_OUTPUT:,} characters")
        self.charge(len(text) // CHARACTERS_PER_STEP)
        self.output.append(text)

    def captured(self, body: Body) -> str:
        """The text that a body writes."""
        output, length, self.output = self.output, self.length, []
        self.captures += 1
        depth = self.depth
        try:
            self.run(body)
        finally:
            text, self.output, self.length = "".join(self.output), output, length
            self.captures -= 1
            self.depth = depth
        return self.checked(text)

    def within(self, scope: Scope, body: Body) -> None:
        """Run a body with variables of its own."""
        outer, self.scope = self.scope, scope
        depth = self.depth
        try:
            self.run(body)
        finally:
            self.scope, self.depth = outer, depth

    def run_text(self, node: syntax.Text) -> None:
        self.write(node.text)

    def run_print(self, node: syntax.Print) -> None:
        self.write(self.text(self.value(node.value)))

    def run_if(self, node: syntax.If) -> None:
        for test, body in node.branches:
            if self.value(test):
                return self.run(body)
        return self.run(node.otherwise)

    def run_for(self, node: syntax.For) -> None:
        items = self.items(self.value(node.iterable))
        outer = self.scope
        if node.test is not None:
            kept = []
            for item in items:
                self.scope = Scope(outer)
                self.assign(node.target, item)
                if self.value(node.test):
                    kept.append(item)
            items, self.scope = kept, outer
        is_finished = False  # whether the body has ever come to its end; in Jinja, else is for loops where it has not
        for index, item in enumerate(items):
            self.charge()
            scope = Scope(outer, {"loop": Loop(items, index)})
            self.scope = scope
            self.assign(node.target, item)
            self.scope = outer
            try:
                self.within(scope, node.body)
                is_finished = True
            except Continue:
                continue
            except Break:
                break
        if not is_finished:
            self.within(Scope(outer), node.otherwise)

    def run_jump(self, node: syntax.Jump) -> None:
        raise Break if node.kind == "break" else Continue

    def run_set(self, node: syntax.Set) -> None:
        self.assign(node.target, self.value(node.value))

    def run_set_block(self, node: syntax.SetBlock) -> None:
        outer, self.scope = self.scope, Scope(self.scope)
        try:
            text = self.captured(node.body)
        finally:
            self.scope = outer
        self.assign(node.target, self.filtered(text, node.filters))

    def run_filter_block(self, node: syntax.FilterBlock) -> None:
        outer, self.scope = self.scope, Scope(self.scope)
        try:
            text = self.captured(node.body)
        finally:
            self.scope = outer
        self.write(self.text(self.filtered(text, node.filters)))

    def filtered(self, value: Any, filters: Sequence[tuple[str, ArgumentList]]) -> Any:
        for name, arguments in filters:
            value = self.apply(FILTERS[name], value, arguments)
        return value

    def run_with(self, node: syntax.With) -> None:
        scope = Scope(self.scope)
        values = [self.value(value) for _, value in node.assignments]
        outer, self.scope = self.scope, scope
        for (target, _), value in zip(node.assignments, values, strict=True):
            self.assign(target, value)
        self.scope = outer
        self.within(scope, node.body)

    def run_generation(self, node: syntax.Generation) -> None:
        start = self.length
        self.run(node.body)
        if not self.captures:  # inside a captured text it has no place of its own
            self.generated.append((start, self.length))

    def run_macro(self, node: syntax.Macro) -> None:
        scope = self.scope

        def call(*positional: Any, **named: Any) -> str:
            if len(positional) > len(node.parameters):
                raise TemplateError(f"{node.name} takes at most {len(node.parameters)} arguments")
            names = [name for name, _ in node.parameters]
            if unknown := next((name for name in named if name not in names), None):
                raise TemplateError(f"{node.name} has no argument {unknown!r}")
            if twice := next((name for name in names[: len(positional)] if name in named), None):
                raise TemplateError(f"{node.name} got the argument {twice!r} twice")
            inner = Scope(scope)
            outer, self.scope = self.scope, inner
            try:
                for i, (name, default) in enumerate(node.parameters):
                    if i < len(positional):
                        inner.variables[name] = positional[i]
                    elif name in named:
                        inner.variables[name] = named[name]
                    else:
                        inner.variables[name] = Undefined(name) if default is None else self.value(default)
                return self.captured(node.body)
            finally:
                self.scope = outer

        scope.variables[node.name] = Function(node.name, call)

    def assign(self, target: Node, value: Any) -> None:
        """Give a value, or its parts, to a name, to names, or to an attribute of a namespace."""
        if isinstance(target, syntax.Name):
            self.scope.variables[target.name] = value
        elif isinstance(target, syntax.Attribute):
            namespace = self.value(target.value)
            if not isinstance(namespace, Namespace):
                raise TemplateError("an attribute can only be set of a namespace")
            namespace.values[target.name] = value
        else:
            assert isinstance(target, syntax.Sequence_)
            parts = self.items(value)
            if len(parts) != len(target.items):
                raise TemplateError(f"{len(parts)} values cannot be given to {len(target.items)} names")
            for name, part in zip(target.items, parts, strict=True):
                self.assign(name, part)

    def items(self, value: Any) -> list[Any]:
        """What a loop runs through."""
        if not isinstance(value, (Undefined, str, list, tuple, dict, range, Iterator, *VIEWS)):
            raise TemplateError(f"{describe(value)} has no items")
        items = list(cast(Iterable[Any], value))
        return self.checked(items)

    # Values

    def value(self, node: Node) -> Any:
        """Compute a value."""
        self.charge()
        self.deeper()
        result = VALUES[type(node)](self, node)
        self.depth -= 1
        return result

    def constant(self, node: syntax.Constant) -> Any:
        return node.value

    def name(self, node: syntax.Name) -> Any:
        return self.scope.get(node.name)

    def sequence(self, node: syntax.Sequence_) -> Any:
        return self.checked(node.make([self.value(item) for item in node.items]))

    def dictionary(self, node: syntax.Dictionary) -> Any:
        result = {}
        for key, value in node.pairs:
            name = self.value(key)
            if not isinstance(name, str | int | float | bool | None):
                raise TemplateError(f"{describe(name)} cannot be a key")
            result[name] = self.value(value)
        return self.checked(result)

    def attribute(self, node: syntax.Attribute) -> Any:
        value = self.value(node.value)
        if node.name.startswith("_"):
            raise UnsupportedTemplate(node.line, f"the attribute {node.name!r} is not supported")
        self.line = node.line
        if isinstance(value, Undefined):
            raise TemplateError(f"{value.name!r} is undefined, so it has no {node.name!r}")
        if isinstance(value, Namespace | Loop):
            return value.values.get(node.name, Undefined(node.name))
        if (method := method_of(value, node.name, node.line)) is not None:
            return method
        return item_of(value, node.name)

    def item(self, node: syntax.Item) -> Any:
        value, key = self.value(node.value), self.value(node.key)
        self.line = node.line
        if isinstance(value, Undefined):
            raise TemplateError(f"{value.name!r} is undefined, so it has no item {describe(key)}")
        if isinstance(value, Namespace | Loop):
            return value.values.get(key, Undefined(str(key))) if isinstance(key, str) else Undefined("item")
        found = item_of(value, key)
        if isinstance(found, Undefined) and isinstance(key, str):
            if key.startswith("_"):
                return found
            return method if (method := method_of(value, key, node.line)) is not None else found
        return self.checked(found) if isinstance(key, slice) else found

    def slice(self, node: syntax.Slice) -> slice:
        parts = [None if part is None else self.value(part) for part in (*node.parts, None, None)[:3]]
        if not all(part is None or isinstance(part, int) for part in parts):
            raise TemplateError("a slice goes from a whole number to another")
        return slice(*parts)

    def call(self, node: syntax.Call) -> Any:
        function = self.value(node.function)
        positional, named = self.arguments(node.arguments)
        self.line = node.line
        if isinstance(function, Undefined):
            raise TemplateError(f"{function.name!r} is undefined, so it cannot be called")
        if isinstance(function, Loop):
            raise UnsupportedTemplate(node.line, "a recursive loop is not supported")
        if not isinstance(function, Function | BoundMethod):
            raise TemplateError(f"{describe(function)} cannot be called")
        values = [*positional, *named.values(), *([function.value] if isinstance(function, BoundMethod) else [])]
        return self.computed(function.name, lambda: function.call(*positional, **named), *values)

    def arguments(self, node: ArgumentList) -> tuple[list[Any], dict[str, Any]]:
        return [self.value(item) for item in node.positional], {name: self.value(item) for name, item in node.named}

    def filter(self, node: syntax.Filter) -> Any:
        value = self.value(node.value)
        self.line = node.line
        return self.apply(FILTERS[node.name], value, node.arguments)

    def test(self, node: syntax.Test) -> Any:
        value = self.value(node.value)
        self.line = node.line
        return self.apply(TESTS[node.name], value, node.arguments)

    def apply(self, function: Function, value: Any, arguments: ArgumentList) -> Any:
        """Apply a filter or a test to a value."""
        positional, named = self.arguments(arguments)
        if isinstance(value, list | tuple | dict | range):  # each item may be a call of another function
            self.charge(2 * len(value))
        values = [value, *positional, *named.values()]
        return self.computed(function.name, lambda: function.call(value, *positional, **named), *values)

    def computed(self, name: str, compute: Callable[[], Any], *values: Any) -> Any:
        """The result of a function of Python's for some values, whose errors are those of the program."""
        self.charge(1 + self.steps(*values))
        try:
            return self.checked(compute())
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise TemplateError(f"{name} cannot be computed ({error})") from error

    def unary(self, node: syntax.Unary) -> Any:
        value = self.value(node.value)
        if node.operator == "not":
            return not value
        if not isinstance(value, int | float):
            raise TemplateError(f"{describe(value)} has no sign")
        return -value if node.operator == "-" else +value

    def binary(self, node: syntax.Binary) -> Any:
        left = self.value(node.left)
        if node.operator in ("and", "or"):
            return left if bool(left) == (node.operator == "or") else self.value(node.right)
        right = self.value(node.right)
        self.line = node.line
        return self.computed(
            f"{describe(left)} {node.operator} {describe(right)}",
            lambda: operate(node.operator, left, right, MAX_VALUE),
            left,
            right,
        )

    def compare(self, node: syntax.Compare) -> Any:
        left = self.value(node.first)
        for operator, other in node.rest:
            right = self.value(other)
            self.line = node.line
            name = f"{describe(left)} {operator} {describe(right)}"
            self.charge(len(right) if isinstance(right, list | tuple | range) else 1)
            if not self.computed(name, lambda: operate(operator, left, right, MAX_VALUE), left, right):  # noqa: B023
                return False
            left = right
        return True

    def concatenation(self, node: syntax.Concatenation) -> Any:
        return self.checked("".join([self.text(self.value(part)) for part in node.parts]))

    def conditional(self, node: syntax.Conditional) -> Any:
        if self.value(node.test):
            return self.value(node.yes)
        return Undefined("the value of an if without else") if node.no is None else self.value(node.no)

    def text(self, value: Any) -> str:
        """A value as it is printed."""
        self.charge(self.steps(value))
        return self.checked(as_text(value))


class Loop:
    """What `loop` knows: where a loop is."""

    def __init__(self, items: list[Any], index: int):
        n = len(items)
        self.values: dict[str, Any] = {
            "index": index + 1,
            "index0": index,
            "revindex": n - index,
            "revindex0": n - index - 1,
            "first": index == 0,
            "last": index == n - 1,
            "length": n,
            "depth": 1,
            "depth0": 0,
            "previtem": items[index - 1] if index else Undefined("previtem"),
            "nextitem": items[index + 1] if index + 1 < n else Undefined("nextitem"),
            "cycle": Function("cycle", lambda *values: values[index % len(values)]),
        }


VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


def method_of(value: Any, name: str, line: int) -> BoundMethod | None:
    """A method of a text, a list or a dictionary; None if it has none of this name."""
    methods = next((methods for kind, methods in METHODS if isinstance(value, kind)), {})
    if name not in methods:
        return None
    if (function := methods[name]) is None:
        raise UnsupportedTemplate(line, f"the method {name!r} is not supported")
    return BoundMethod(name, value, function)


def describe(value: Any) -> str:
    """A value in an error message."""
    if isinstance(value, Undefined):
        return f"the undefined {value.name!r}"
    if isinstance(value, str):
        return repr(value if len(value) <= 30 else value[:30] + "…")
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)[:30]
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, dict) else "a value that is no data"


STATEMENTS: dict[type, Callable[[Run, Any], None]] = {
    syntax.Text: Run.run_text,
    syntax.Print: Run.run_print,
    syntax.If: Run.run_if,
    syntax.For: Run.run_for,
    syntax.Jump: Run.run_jump,
    syntax.Set: Run.run_set,
    syntax.SetBlock: Run.run_set_block,
    syntax.FilterBlock: Run.run_filter_block,
    syntax.With: Run.run_with,
    syntax.Generation: Run.run_generation,
    syntax.Macro: Run.run_macro,
}
VALUES: dict[type, Callable[[Run, Any], Any]] = {
    syntax.Constant: Run.constant,
    syntax.Name: Run.name,
    syntax.Sequence_: Run.sequence,
    syntax.Dictionary: Run.dictionary,
    syntax.Attribute: Run.attribute,
    syntax.Item: Run.item,
    syntax.Slice: Run.slice,
    syntax.Call: Run.call,
    syntax.Filter: Run.filter,
    syntax.Test: Run.test,
    syntax.Unary: Run.unary,
    syntax.Binary: Run.binary,
    syntax.Compare: Run.compare,
    syntax.Concatenation: Run.concatenation,
    syntax.Conditional: Run.conditional,
}
