"""The syntax of Jinja templates: from the text of a program to a tree of its parts.

    {% for m in messages %}{{ m.role }}: {{ m.content | trim }}{% endfor %}

    lexer     text → pieces: text, statements {% … %} and values {{ … }}, the latter two as tokens with line numbers
    parser    pieces → a tree: For(Name m, Name messages, [Print …, Text ": ", Print …])

White space around statements is removed as `transformers` asks for it (`trim_blocks` and `lstrip_blocks`): the line
break after a statement, and the blanks before it if nothing else is in front of it in its line. A minus sign at the
inner side of a brace ({%- … -%}) removes all white space there, a plus sign none.

What the language has and chat templates do not need (inheritance, inclusion, …) is an `UnsupportedTemplate`, which
names it and its line. Nothing here computes anything; `interpreter.py` does.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_SOURCE = 200_000  # characters of a program; the longest published ones have 20,000
MAX_NESTING = 60  # of brackets and statements within each other
MAX_CHAIN = 100  # operators in a row, which are also nested in the tree


class UnsupportedTemplate(Exception):
    """A program that cannot be read or run here. The message is a part of a sentence, with the line."""

    def __init__(self, line: int, problem: str):
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


# ---- The tree --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a program, and the line it begins in."""

    line: int


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """`'text'`, `3`, `none`."""

    value: Any


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A variable or a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Sequence_(Node):
    """`[a, b]` or `(a, b)`."""

    items: tuple[Node, ...]
    make: Callable[[list[Any]], Any]  # list or tuple


@dataclass(frozen=True, slots=True)
class Dictionary(Node):
    """`{a: b}`."""

    pairs: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`value.name`."""

    value: Node
    name: str


@dataclass(frozen=True, slots=True)
class Item(Node):
    """`value[key]`."""

    value: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`start:stop:step` in brackets; each may be left out."""

    parts: tuple[Node | None, ...]


@dataclass(frozen=True, slots=True)
class ArgumentList(Node):
    """What is passed to a function, a filter or a test."""

    positional: tuple[Node, ...] = ()
    named: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(arguments)`."""

    function: Node
    arguments: ArgumentList


@dataclass(frozen=True, slots=True)
class Filter(Node):
    """`value | name(arguments)`."""

    value: Node
    name: str
    arguments: ArgumentList


@dataclass(frozen=True, slots=True)
class Test(Node):
    """`value is name(arguments)`."""

    value: Node
    name: str
    arguments: ArgumentList


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`not value`, `-value`, `+value`."""

    operator: str
    value: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left operator right`, also `and` and `or`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`first < second <= third …`, each with its operator."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Concatenation(Node):
    """`a ~ b ~ c`: the texts of all."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`yes if test else no`; without `else` it may be undefined."""

    test: Node
    yes: Node
    no: Node | None


@dataclass(frozen=True, slots=True)
class Text(Node):
    """What is between the statements."""

    text: str


@dataclass(frozen=True, slots=True)
class Print(Node):
    """`{{ value }}`."""

    value: Node


@dataclass(frozen=True, slots=True)
class If(Node):
    """`{% if %} … {% elif %} … {% else %} … {% endif %}`."""

    branches: tuple[tuple[Node, "Body"], ...]
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class For(Node):
    """`{% for targets in iterable if test %} … {% else %} … {% endfor %}`."""

    target: Node
    iterable: Node
    test: Node | None
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Set(Node):
    """`{% set target = value %}`, where the target is a name, several, or an attribute of a namespace."""

    target: Node
    value: Node


@dataclass(frozen=True, slots=True)
class SetBlock(Node):
    """`{% set target | filters %} … {% endset %}`: the text of the body, filtered."""

    target: Node
    filters: tuple[tuple[str, ArgumentList], ...]
    body: "Body"


@dataclass(frozen=True, slots=True)
class FilterBlock(Node):
    """`{% filter name %} … {% endfilter %}`."""

    filters: tuple[tuple[str, ArgumentList], ...]
    body: "Body"


@dataclass(frozen=True, slots=True)
class Macro(Node):
    """`{% macro name(parameter, other=default) %} … {% endmacro %}`."""

    name: str
    parameters: tuple[tuple[str, Node | None], ...]
    body: "Body"


@dataclass(frozen=True, slots=True)
class With(Node):
    """`{% with name = value %} … {% endwith %}`."""

    assignments: tuple[tuple[Node, Node], ...]
    body: "Body"


@dataclass(frozen=True, slots=True)
class Generation(Node):
    """`{% generation %} … {% endgeneration %}`: around what the assistant writes."""

    body: "Body"


@dataclass(frozen=True, slots=True)
class Jump(Node):
    """`{% break %}` or `{% continue %}`."""

    kind: str


Body = tuple[Node, ...]


# ---- The lexer -------------------------------------------------------------------------------------------------------


class Token(NamedTuple):
    """A word of a statement or a value. Its kind is "name", "string", "number", an operator, "end" or "text"."""

    kind: str
    value: Any
    line: int


OPERATORS = (
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",",
)  # fmt: skip
WORD = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:_\d+)*(?:\.\d+(?:_\d+)*)?(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<operator>" + "|".join(map(re.escape, OPERATORS)) + ")",
    re.DOTALL,
)
OPENING = re.compile(r"\{%([-+]?)\s*raw\s*(?:-%\}\s*|%\})|(\{%|\{\{|\{#)([-+]?)", re.DOTALL)
ENDS = {  # the end of a tag, with the white space after it that belongs to it
    "{%": re.compile(r"\+%\}|-%\}\s*|%\}\n?"),
    "{{": re.compile(r"-\}\}\s*|\}\}"),
    "{#": re.compile(r"\+#\}|-#\}\s*|#\}\n?"),
}
END_RAW = re.compile(r"\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)")
BRACKETS = {"(": ")", "[": "]", "{": "}"}


def tokenize(source: str) -> list[Token]:
    """Cut a program into tokens: "text", then "{%" or "{{" with the tokens inside and an "end", and so on.

    Raises:
        UnsupportedTemplate: a tag or a text never ends, or there is a character that is none of the language's.
    """
    if len(source) > MAX_SOURCE:
        raise UnsupportedTemplate(1, f"the program has {len(source):,} characters, and the most that is read is "
                                     f"{MAX_SOURCE:,}")  # fmt: skip
    source = re.sub(r"\r\n|\r", "\n", source).removesuffix("\n")
    tokens: list[Token] = []
    position, line, starts_line = 0, 1, True
    while position < len(source):
        match = OPENING.search(source, position)
        end = match.start() if match else len(source)
        text = source[position:end]
        if match is None:
            tokens.append(Token("text", text, line))
            break
        kind = match[2] or "raw"
        stripped = without_space_before_tag(text, match[3] or match[1] or "", kind != "{{", starts_line)
        if stripped:
            tokens.append(Token("text", stripped, line))
        line += text.count("\n")
        position = match.end()
        if kind == "raw":
            closing = END_RAW.search(source, position)
            if closing is None:
                raise UnsupportedTemplate(line, "{% raw %} never ends")
            line += match[0].count("\n")
            raw = without_space_before_tag(source[position : closing.start()], closing[1], True, match[0][-1] == "\n")
            tokens.append(Token("text", raw, line))
            line += source[position : closing.end()].count("\n")
            position, last = closing.end(), closing[0]
        elif kind == "{#":
            closing = ENDS[kind].search(source, position)
            if closing is None:
                raise UnsupportedTemplate(line, "a comment never ends")
            line += source[position : closing.end()].count("\n")
            position, last = closing.end(), closing[0]
        else:
            tokens.append(Token(kind, kind, line))
            position, line, last = tokenize_tag(source, position, line, kind, tokens)
        starts_line = last.endswith("\n")
    return tokens


def without_space_before_tag(text: str, sign: str, is_statement: bool, starts_line: bool) -> str:
    """The text before a tag without the white space that the tag removes."""
    if sign == "-":
        return text.rstrip()
    begin = text.rfind("\n") + 1
    if is_statement and sign != "+" and (begin > 0 or starts_line) and not text[begin:].strip():
        return text[:begin]
    return text


def tokenize_tag(source: str, position: int, line: int, kind: str, tokens: list[Token]) -> tuple[int, int, str]:
    """Append the tokens of a statement or a value; return the position and the line after it, and its end."""
    expected: list[str] = []  # the closing brackets
    while True:
        if not expected and (match := ENDS[kind].match(source, position)):
            tokens.append(Token("end", "", line))
            return match.end(), line + match[0].count("\n"), match[0]
        match = WORD.match(source, position)
        if match is None:
            what = "the program ends inside a tag" if position >= len(source) else f"{source[position]!r} is unexpected"
            raise UnsupportedTemplate(line, what)
        group, value = str(match.lastgroup), match[0]
        if group == "operator":
            if value in BRACKETS:
                expected.append(BRACKETS[value])
                if len(expected) > MAX_NESTING:
                    raise UnsupportedTemplate(line, f"more than {MAX_NESTING} brackets are nested")
            elif value in BRACKETS.values() and (not expected or expected.pop() != value):
                raise UnsupportedTemplate(line, f"{value!r} closes nothing")
            tokens.append(Token(value, value, line))
        elif group == "string":
            tokens.append(Token("string", unescaped(value[1:-1], line), line))
        elif group == "number":
            digits = value.replace("_", "")
            if len(digits) > 50:
                raise UnsupportedTemplate(line, "a number has more than 50 digits")
            tokens.append(Token("number", int(digits) if digits.isdecimal() else float(digits), line))
        elif group == "name":
            tokens.append(Token("name", value, line))
        line += value.count("\n")
        position = match.end()


def unescaped(text: str, line: int) -> str:
    r"""A string without its escapes (`\n`, `\'`, `\u00e9`), as Python writes them."""
    if "\\" not in text:
        return text
    try:
        return text.encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError as error:
        raise UnsupportedTemplate(line, f"the text {text[:40]!r} has an escape that is none") from error


# ---- The parser ------------------------------------------------------------------------------------------------------

CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "none": None, "None": None}
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
BINARY = (("+", "-"), ("~",), ("*", "/", "//", "%"), ("**",))  # from what binds least to what binds most


def parse(source: str) -> Body:
    """The tree of a program. Raises UnsupportedTemplate."""
    return Parser(tokenize(source)).program()


class Parser:
    """Reads tokens from the first to the last; each method reads one type of thing and returns its node."""

    def __init__(self, tokens: Sequence[Token]):
        last = tokens[-1].line if tokens else 1
        self.tokens, self.position = [*tokens, Token("eof", "", last)], 0
        self.depth = 0
        self.loops = 0  # how many loops the current statement is in

    # Tokens

    @property
    def current(self) -> Token:
        return self.tokens[self.position]

    def next(self) -> Token:
        """The current token; the one after it becomes the current one."""
        token = self.current
        self.position += 1
        return token

    def at(self, kind: str, value: str | None = None) -> bool:
        """Whether the current token is of a kind, and perhaps is a certain name."""
        return self.current.kind == kind and (value is None or self.current.value == value)

    def skip(self, kind: str, value: str | None = None) -> bool:
        """Skip the current token if it is of a kind; return whether it was."""
        if found := self.at(kind, value):
            self.position += 1
        return found

    def expect(self, kind: str, value: str | None = None) -> Token:
        """The current token, which must be of a kind."""
        if not self.at(kind, value):
            raise self.unexpected(repr(value or {"end": "the end of the tag"}.get(kind, kind)))
        return self.next()

    def unexpected(self, expected: str) -> UnsupportedTemplate:
        token = self.current
        shown = {"end": "the end of the tag", "eof": "the end of the program"}.get(token.kind, repr(token.value))
        return UnsupportedTemplate(token.line, f"{shown} is unexpected; expected {expected}")

    def nested(self, line: int) -> None:
        """Go one level deeper; the caller goes back."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise UnsupportedTemplate(line, f"more than {MAX_NESTING} statements or brackets are nested")

    # Statements

    def program(self) -> Body:
        body = self.body()
        if not self.at("eof"):
            raise self.unexpected("the end of the program")
        return body

    def body(self, *ends: str) -> Body:
        """Everything up to a statement with one of these names, of which the current token is then the name."""
        parts: list[Node] = []
        self.nested(self.current.line)
        while not self.at("eof"):
            token = self.next()
            if token.kind == "text":
                parts.append(Text(token.line, token.value))
            elif token.kind == "{{":
                parts.append(Print(token.line, without_safe(self.tuple())))
                self.expect("end")
            elif self.at("name") and self.current.value in ends:
                self.depth -= 1
                return tuple(parts)
            else:
                parts.append(self.statement())
        if ends:
            raise UnsupportedTemplate(self.current.line, f"{{% {ends[-1]} %}} is missing")
        self.depth -= 1
        return tuple(parts)

    def statement(self) -> Node:
        token = self.expect("name")
        read = getattr(self, f"read_{token.value}", None) if token.value in STATEMENTS else None
        if read is None:
            raise UnsupportedTemplate(token.line, f"the statement {{% {token.value} %}} is not supported")
        return read(token.line)

    def closed_body(self, *ends: str) -> Body:
        """A body with the statement that closes it."""
        self.expect("end")
        body = self.body(*ends)
        self.next()
        return body

    def read_if(self, line: int) -> Node:
        branches: list[tuple[Node, Body]] = []
        otherwise: Body = ()
        ending = "if"
        while ending in ("if", "elif"):
            test = self.tuple(with_condition=False)
            branches.append((test, self.closed_body("elif", "else", "endif")))
            ending = self.tokens[self.position - 1].value
        if ending == "else":
            otherwise = self.closed_body("endif")
        self.expect("end")
        return If(line, tuple(branches), otherwise)

    def read_for(self, line: int) -> Node:
        target = self.target()
        self.expect("name", "in")
        iterable = self.tuple(with_condition=False)
        test = self.expression() if self.skip("name", "if") else None
        if self.at("name", "recursive"):
            raise UnsupportedTemplate(self.current.line, "a recursive loop is not supported")
        self.loops += 1
        body = self.closed_body("else", "endfor")
        otherwise: Body = ()
        self.loops -= 1
        if self.tokens[self.position - 1].value == "else":
            otherwise = self.closed_body("endfor")
        self.expect("end")
        return For(line, target, iterable, test, body, otherwise)

    def read_break(self, line: int) -> Node:
        return self.jump(line, "break")

    def read_continue(self, line: int) -> Node:
        return self.jump(line, "continue")

    def jump(self, line: int, kind: str) -> Node:
        if not self.loops:
            raise UnsupportedTemplate(line, f"{{% {kind} %}} is not in a loop")
        self.expect("end")
        return Jump(line, kind)

    def read_set(self, line: int) -> Node:
        target = self.target(with_attribute=True)
        if self.skip("="):
            value = self.tuple()
            self.expect("end")
            return Set(line, target, value)
        filters = self.filters()
        body = self.closed_body("endset")
        self.expect("end")
        return SetBlock(line, target, filters, body)

    def read_filter(self, line: int) -> Node:
        filters = ((str(self.expect("name").value), self.optional_arguments()), *self.filters())
        body = self.closed_body("endfilter")
        self.expect("end")
        return FilterBlock(line, filters, body)

    def filters(self) -> tuple[tuple[str, ArgumentList], ...]:
        filters = []
        while self.skip("|"):
            filters.append((str(self.expect("name").value), self.optional_arguments()))
        return tuple(filters)

    def read_macro(self, line: int) -> Node:
        name = str(self.expect("name").value)
        parameters: list[tuple[str, Node | None]] = []
        self.expect("(")
        while not self.skip(")"):
            if parameters:
                self.expect(",")
            parameter = str(self.expect("name").value)
            default = self.expression() if self.skip("=") else None
            if default is None and parameters and parameters[-1][1] is not None:
                raise UnsupportedTemplate(line, f"the parameter {parameter!r} without a default follows one with it")
            parameters.append((parameter, default))
        loops, self.loops = self.loops, 0
        body = self.closed_body("endmacro")
        self.loops = loops
        self.expect("end")
        return Macro(line, name, tuple(parameters), body)

    def read_with(self, line: int) -> Node:
        assignments: list[tuple[Node, Node]] = []
        while not self.at("end"):
            if assignments:
                self.expect(",")
            target = self.target()
            self.expect("=")
            assignments.append((target, self.expression()))
        body = self.closed_body("endwith")
        self.expect("end")
        return With(line, tuple(assignments), body)

    def read_generation(self, line: int) -> Node:
        body = self.closed_body("endgeneration")
        self.expect("end")
        return Generation(line, body)

    def target(self, with_attribute: bool = False) -> Node:
        """What is assigned to: a name, several, or `namespace.attribute`."""
        first = self.expect("name")
        node: Node = Name(first.line, first.value)
        if with_attribute and self.skip("."):
            return Attribute(first.line, node, str(self.expect("name").value))
        if not self.at(","):
            return node
        names = [node]
        while self.skip(","):
            name = self.expect("name")
            names.append(Name(name.line, name.value))
        return Sequence_(first.line, tuple(names), tuple)

    # Values

    def tuple(self, with_condition: bool = True, in_brackets: bool = False) -> Node:
        """One value, or several with commas between them."""
        line, items, has_comma = self.current.line, [], False
        while not (self.at("end") or self.at(")")):
            items.append(self.expression() if with_condition else self.binary_or())
            if not self.skip(","):
                break
            has_comma = True
        if has_comma or (in_brackets and not items):
            return Sequence_(line, tuple(items), tuple)
        if not items:
            raise self.unexpected("a value")
        return items[0]

    def expression(self) -> Node:
        """A value, perhaps with `if … else …`."""
        self.nested(self.current.line)
        node = self.binary_or()
        while self.at("name", "if"):
            line = self.next().line
            test = self.binary_or()
            node = Conditional(line, test, node, self.expression() if self.skip("name", "else") else None)
        self.depth -= 1
        return node

    def chain(self, read: Callable[[], Node], is_operator: Callable[[Token], bool]) -> Node:
        """`a op b op c …`, which is (a op b) op c."""
        node = read()
        for _ in range(MAX_CHAIN):
            if not is_operator(self.current):
                return node
            operator = self.next()
            node = Binary(operator.line, operator.value, node, read())
        raise UnsupportedTemplate(self.current.line, f"there are more than {MAX_CHAIN} operators in a row")

    def binary_or(self) -> Node:
        return self.chain(self.binary_and, lambda token: token.kind == "name" and token.value == "or")

    def binary_and(self) -> Node:
        return self.chain(self.negation, lambda token: token.kind == "name" and token.value == "and")

    def negation(self) -> Node:
        n, line = 0, self.current.line
        while self.skip("name", "not"):
            n += 1
        node = self.comparison()
        if n == 0:
            return node
        return Unary(line, "not", node if n % 2 else Unary(line, "not", node))

    def comparison(self) -> Node:
        first, rest = self.arithmetic(0), []
        while True:
            if self.current.kind in COMPARISONS:
                rest.append((self.next().kind, self.arithmetic(0)))
            elif self.skip("name", "in"):
                rest.append(("in", self.arithmetic(0)))
            elif self.at("name", "not") and self.tokens[self.position + 1][:2] == ("name", "in"):
                self.position += 2
                rest.append(("not in", self.arithmetic(0)))
            else:
                return Compare(first.line, first, tuple(rest)) if rest else first

    def arithmetic(self, level: int) -> Node:
        """`+ -`, then `~`, then `* / // %`, then `**`: each level's operands are those of the next."""
        if level == len(BINARY):
            return self.signed()
        if BINARY[level] == ("~",):
            line, parts = self.current.line, [self.arithmetic(level + 1)]
            while self.skip("~"):
                parts.append(self.arithmetic(level + 1))
            return Concatenation(line, tuple(parts)) if len(parts) > 1 else parts[0]
        return self.chain(lambda: self.arithmetic(level + 1), lambda token: token.kind in BINARY[level])

    def signed(self, with_filters: bool = True) -> Node:
        """A value with its sign, what is read from it, and its filters and tests."""
        self.nested(self.current.line)
        if self.at("-") or self.at("+"):
            sign = self.next()
            node: Node = Unary(sign.line, sign.kind, self.signed(with_filters=False))
        else:
            node = self.primary()
        node = self.postfix(node)
        self.depth -= 1
        return self.filters_and_tests(node) if with_filters else node

    def primary(self) -> Node:
        token = self.next()
        if token.kind == "name":
            return (
                Constant(token.line, CONSTANTS[token.value])
                if token.value in CONSTANTS
                else Name(token.line, token.value)
            )
        if token.kind == "string":
            text = token.value
            while self.at("string"):  # 'a' 'b' is 'ab'
                text += self.next().value
            return Constant(token.line, text)
        if token.kind == "number":
            return Constant(token.line, token.value)
        if token.kind == "(":
            node = self.tuple(in_brackets=True)
            self.expect(")")
            return node
        if token.kind == "[":
            return Sequence_(token.line, tuple(self.listed("]", self.expression)), list)
        if token.kind == "{":
            return Dictionary(token.line, tuple(self.listed("}", self.pair)))
        self.position -= 1
        raise self.unexpected("a value")

    def pair(self) -> Any:
        key = self.expression()
        self.expect(":")
        return key, self.expression()

    def listed(self, end: str, read: Callable[[], Any]) -> list[Any]:
        """Things with commas between them, up to a closing bracket."""
        items: list[Any] = []
        while not self.skip(end):
            if items:
                self.expect(",")
                if self.skip(end):
                    break
            items.append(read())
        return items

    def postfix(self, node: Node) -> Node:
        """`.name`, `[key]` and `(arguments)` after a value."""
        for _ in range(MAX_CHAIN):
            if self.skip("."):
                token = self.next()
                if token.kind == "name":
                    node = Attribute(token.line, node, token.value)
                elif token.kind == "number" and isinstance(token.value, int):
                    node = Item(token.line, node, Constant(token.line, token.value))
                else:
                    self.position -= 1
                    raise self.unexpected("a name")
            elif self.at("["):
                line = self.next().line
                node = Item(line, node, self.key())
                self.expect("]")
            elif self.at("("):
                node = Call(self.current.line, node, self.arguments())
            else:
                return node
        raise UnsupportedTemplate(self.current.line, f"there are more than {MAX_CHAIN} attributes in a row")

    def key(self) -> Node:
        """What is in square brackets: a value or a slice."""
        line = self.current.line
        parts: list[Node | None] = []
        if not self.at(":"):
            node = self.expression()
            if not self.at(":"):
                return node
            parts.append(node)
        else:
            parts.append(None)
        while len(parts) < 3 and self.skip(":"):
            parts.append(None if self.at(":") or self.at("]") else self.expression())
        return Slice(line, tuple(parts))

    def arguments(self) -> ArgumentList:
        line = self.expect("(").line
        positional: list[Node] = []
        named: list[tuple[str, Node]] = []
        while not self.skip(")"):
            if positional or named:
                self.expect(",")
                if self.skip(")"):
                    break
            if self.at("*") or self.at("**"):
                raise UnsupportedTemplate(
                    self.current.line, f"{self.current.value} before an argument is not supported"
                )
            if self.at("name") and self.tokens[self.position + 1].kind == "=":
                name = str(self.next().value)
                self.next()
                named.append((name, self.expression()))
            elif named:
                raise UnsupportedTemplate(self.current.line, "an argument without a name follows one with a name")
            else:
                positional.append(self.expression())
        return ArgumentList(line, tuple(positional), tuple(named))

    def optional_arguments(self) -> ArgumentList:
        return self.arguments() if self.at("(") else ArgumentList(self.current.line)

    def filters_and_tests(self, node: Node) -> Node:
        for _ in range(MAX_CHAIN):
            if self.skip("|"):
                name = self.expect("name")
                node = Filter(name.line, node, name.value, self.optional_arguments())
            elif self.at("name", "is"):
                self.next()
                node = self.test(node)
            elif self.at("("):
                node = Call(self.current.line, node, self.arguments())
            else:
                return node
        raise UnsupportedTemplate(self.current.line, f"there are more than {MAX_CHAIN} filters in a row")

    def test(self, value: Node) -> Node:
        """What follows `is`."""
        is_negated = self.skip("name", "not")
        name = self.next()
        if name.kind != "name":
            self.position -= 1
            raise self.unexpected("the name of a test")
        arguments = ArgumentList(name.line)
        if self.at("("):
            arguments = self.arguments()
        elif self.current.kind in ("name", "string", "number", "[", "{") and not (
            self.at("name") and self.current.value in ("else", "or", "and")
        ):
            if self.at("name", "is"):
                raise UnsupportedTemplate(self.current.line, "there are two tests in a row; put and between them")
            arguments = ArgumentList(name.line, (self.postfix(self.primary()),))
        node = Test(name.line, value, name.value, arguments)
        return Unary(name.line, "not", node) if is_negated else node


def without_safe(node: Node) -> Node:
    """A printed value without `| safe` at its end, which changes nothing there. Elsewhere, `safe` is not supported."""
    while isinstance(node, Filter) and node.name == "safe":
        node = node.value
    return node


STATEMENTS = ("if", "for", "break", "continue", "set", "filter", "macro", "with", "generation")
