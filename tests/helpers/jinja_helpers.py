# ruff: noqa: E501 — programs are easier to read in their own lines
"""The oracle of the template interpreter: jinja2 with the settings of transformers, and data for templates."""

import json
from datetime import datetime
from typing import Any

from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmasos.prompting.jinja import Template, TemplateError, UnsupportedTemplate


class GenerationTag(Extension):
    """{% generation %} as a statement that writes its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return CallBlock(self.call_method("write"), [], [], body).set_lineno(line)

    def write(self, caller):
        return caller()


def raise_exception(message):
    raise JinjaError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def jinja_environment() -> ImmutableSandboxedEnvironment:
    """The environment in which `transformers` renders chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment


def by_jinja2(source: str, variables: dict[str, Any]) -> str | None:
    """What jinja2 writes; None if it refuses."""
    try:
        return jinja_environment().from_string(source).render(**variables)
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
        return None


def by_us(source: str, variables: dict[str, Any]) -> str | None:
    """What our interpreter writes; None if it refuses."""
    try:
        return Template(source).render(variables).text
    except (TemplateError, UnsupportedTemplate):
        return None


MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": " Be nice. "},
    {"role": "user", "content": "Hi\n<there>"},
    {
        "role": "assistant",
        "content": "<think>\nhm\n</think>\n\nHo",
        "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [1.5, None, "é'\""]}}}
        ],
    },
    {"role": "tool", "content": "42", "name": "f"},
    {"role": "user", "content": [{"type": "text", "text": "Q?"}]},
]
VARIABLES: dict[str, Any] = {
    "messages": MESSAGES, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", "n": 3, "x": 2.5,
    "word": "Some words", "items": ["b", "A", "c"], "numbers": [3, 1, 2], "nothing": None, "yes": True,
    "d": {"b": "x", "a": "Y", "k": {"z": [1, 2]}},
}  # fmt: skip


class RandomTemplate:
    """Random programs that use everything the interpreter knows, mostly in ways that make sense."""

    def __init__(self, rng):
        self.rng, self.depth = rng, 0
        self.names = {
            "text": ["word", "bos_token", "messages[0].content", "messages[1]['role']", "d.b", "missing"],
            "number": ["n", "x", "numbers[0]", "items | length", "messages|length"],
            "list": ["items", "numbers", "messages", "word.split()", "[]", "missing"],
            "any": ["nothing", "d", "yes", "missing", "messages[-1].content", "d.k.z", "messages[2].tool_calls"],
        }

    def pick(self, *options: str) -> str:
        return self.rng.choice(options)

    def text(self) -> str:
        """A value that is mostly a text."""
        self.depth += 1
        choices = [lambda: self.pick("'a'", '"b\\n"', "' c '", "'<x>'", "''"), lambda: self.pick(*self.names["text"])]
        if self.depth < 5:
            choices += [
                lambda: f"{self.text()} + {self.text()}",
                lambda: f"({self.text()} ~ {self.any()})",
                lambda: f"({self.text()}) | {self.pick('trim', 'upper', 'lower', 'title', 'capitalize', 'string')}",
                lambda: f"({self.text()}).{self.pick('strip()', 'upper()', 'lower()', 'lstrip()', 'title()')}",
                lambda: f"({self.text()})[{self.slice()}]",
                lambda: f"({self.text()}) | replace({self.text()}, {self.text()})",
                lambda: f"({self.list()}) | join({self.text()})",
                lambda: f"({self.any()}) | tojson{self.pick('', '(indent=2)', '()')}",
                lambda: f"({self.text()}).split({self.text()})[{self.pick('0', '-1')}]",
                lambda: f"({self.text()} if {self.test()} else {self.text()})",
                lambda: f"{self.any()} | default({self.text()}{self.pick('', ', true')})",
                lambda: f"({self.text()}) | indent({self.pick('2', '3, true', '2, blank=true')})",
            ]
        result = self.rng.choice(choices)()
        self.depth -= 1
        return result

    def number(self) -> str:
        self.depth += 1
        choices = [lambda: str(self.rng.randint(0, 5)), lambda: self.pick(*self.names["number"]), lambda: "2.5"]
        if self.depth < 5:
            choices += [
                lambda: f"{self.number()} {self.pick('+', '-', '*', '/', '//', '%')} {self.number()}",
                lambda: f"({self.number()})",
                lambda: f"-{self.number()}",
                lambda: f"{self.number()} ** {self.pick('0', '1', '2')}",
                lambda: f"({self.list()}) | list | {self.pick('length', 'count')}",
                lambda: f"({self.text()}) | {self.pick('length', 'int', 'float', 'wordcount')}",
                lambda: f"({self.number()}) | {self.pick('abs', 'int', 'float', 'round', 'round(1)')}",
                lambda: f"numbers | {self.pick('sum', 'max', 'min', 'first', 'last')}",
            ]
        result = self.rng.choice(choices)()
        self.depth -= 1
        return result

    def list(self) -> str:
        self.depth += 1
        choices = [lambda: self.pick(*self.names["list"]), lambda: f"[{self.any()}, {self.any()}]"]
        if self.depth < 4:
            choices += [
                lambda: f"({self.list()})[{self.slice()}]",
                lambda: f"{self.list()} | {self.pick('list', 'reverse', 'unique', 'select', 'reject')} | list",
                lambda: f"items | sort{self.pick('', '(reverse=true)', '(case_sensitive=true)')}",
                lambda: f"range({self.rng.randint(0, 4)})",
                lambda: (
                    f"messages | {self.pick('selectattr', 'rejectattr')}('role', {self.pick(*EQUAL)}, 'user') | list"
                ),
                lambda: (
                    f"messages | map(attribute='{self.pick('role', 'content', 'name', 'tool_calls.0.type')}') | list"
                ),
                lambda: f"items | map('{self.pick('upper', 'lower', 'length')}') | list",
                lambda: f"d.{self.pick('items()', 'keys()', 'values()')} | list",
                lambda: "d | dictsort",
                lambda: f"({self.list()}) + [{self.any()}]",
                lambda: (
                    f"messages | selectattr('{self.pick('tool_calls', 'name')}'{self.pick('', ', ' + repr('defined'))}) | list"
                ),
            ]
        result = self.rng.choice(choices)()
        self.depth -= 1
        return result

    def any(self) -> str:
        choices = [self.text, self.number, self.list, self.test, lambda: self.pick(*self.names["any"]),
                   lambda: f"{{'k': {self.pick('1', 'word', 'none')}, {self.pick(repr('q'), 'n')}: [{self.number()}]}}",
                   lambda: f"({self.pick('1', 'n')}, word)"]  # fmt: skip
        return self.rng.choice(choices)()

    def test(self) -> str:
        self.depth += 1
        choices = [lambda: self.pick("true", "false", "yes", "loop is defined", "messages[0].role == 'system'")]
        if self.depth < 5:
            choices += [
                lambda: f"{self.number()} {self.pick('<', '<=', '>', '>=', '==', '!=')} {self.number()}",
                lambda: f"{self.any()} {self.pick('==', '!=')} {self.any()}",
                lambda: f"{self.text()} {self.pick('in', 'not in')} {self.pick(self.text(), self.list())}",
                lambda: f"{self.any()} is {self.pick('', 'not ')}{self.pick(*SIMPLE_TESTS)}",
                lambda: f"({self.text()}).{self.pick('startswith', 'endswith')}({self.text()})",
                lambda: f"{self.number()} is {self.pick('odd', 'even', 'divisibleby 2', 'gt 1', 'eq(2)')}",
                lambda: f"{self.test()} {self.pick('and', 'or')} {self.test()}",
                lambda: f"not {self.test()}",
                lambda: f"({self.test()})",
                lambda: "1 < n < 4",
            ]
        result = self.rng.choice(choices)()
        self.depth -= 1
        return result

    def slice(self) -> str:
        number = lambda: self.pick("", "0", "1", "-1", "2", "n")  # noqa: E731
        return self.pick("0", "-1", f"{number()}:{number()}", "::-1", f"{number()}:{number()}:2")

    # Statements

    def tag(self, inside: str) -> str:
        return "{%" + self.pick("", "", "-", "+") + f" {inside} " + self.pick("", "", "-", "+") + "%}"

    def space(self) -> str:
        return self.pick("", "", "\n", "  ", "\n  ", " \n\n ", "x", " y\n", "<z> ")

    def body(self, n: int, in_loop: bool = False) -> str:
        self.depth += 1
        parts = [self.space()]
        for _ in range(self.rng.randint(1, n)):
            parts += [self.statement(in_loop), self.space()]
        self.depth -= 1
        return "".join(parts)

    def statement(self, in_loop: bool) -> str:
        choices = [lambda: "{{" + self.pick("", "-") + f" {self.any()} " + self.pick("", "-") + "}}",
                   lambda: "{#" + self.pick("", "-") + " note " + self.pick("", "-") + "#}"]  # fmt: skip
        if self.depth < 4:
            choices += [self.read_if, self.read_for, self.read_set, self.read_macro, self.read_raw, self.read_rest]
        if in_loop:
            choices += [lambda: "{{ loop." + self.pick("index", "index0", "first", "last", "length", "revindex") + " }}",
                        lambda: self.tag(f"if {self.test()}") + self.tag(self.pick("break", "continue")) + self.tag("endif"),
                        lambda: "{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.cycle('a', 'b') }}"]  # fmt: skip
        return self.rng.choice(choices)()

    def read_if(self) -> str:
        middle = self.tag(f"elif {self.test()}") + self.body(2) if self.rng.random() < 0.3 else ""
        middle += self.tag("else") + self.body(2) if self.rng.random() < 0.5 else ""
        return self.tag(f"if {self.test()}") + self.body(2) + middle + self.tag("endif")

    def read_for(self) -> str:
        head = self.pick(f"i in {self.list()}", "m in messages", "k, v in d.items()", "m in messages[1:]",
                         f"m in messages if {self.pick('m.role', 'm')} != 'user'", "i in range(n)")  # fmt: skip
        name = self.pick("i", "m.content", "m['role']", "k")
        inner = self.body(2, in_loop=True) + "{{ " + name + " }}"
        otherwise = self.tag("else") + self.body(1) if self.rng.random() < 0.2 else ""
        return self.tag(f"for {head}") + inner + otherwise + self.tag("endfor")

    def read_set(self) -> str:
        name = self.pick("word", "n", "new", "items")
        if self.rng.random() < 0.3:
            return self.tag(f"set ns = namespace(v={self.any()})") + self.tag("for i in range(2)") + self.tag(
                f"set ns.v = {self.any()}") + self.tag("endfor") + "{{ ns.v }}"  # fmt: skip
        if self.rng.random() < 0.3:
            filters = self.pick("", " | trim", " | upper")
            return self.tag(f"set new{filters}") + self.body(1) + self.tag("endset") + "{{ new }}"
        value = {"word": self.text, "n": self.number, "items": self.list}.get(name, self.any)()
        return self.tag(f"set {name} = {value}") + "{{ " + name + " }}"

    def read_macro(self) -> str:
        call = self.pick("f(1)", "f('a', 'b')", "f(b=2)", "f(n) | upper", "f(1, b=word)", "f() ~ f(2)")
        return (
            self.tag("macro f(a, b=word)")
            + "{{ a }}:"
            + self.body(1)
            + "{{ b }}"
            + self.tag("endmacro")
            + f"{{{{ {call} }}}}"
        )

    def read_raw(self) -> str:
        return self.tag("raw") + " {{ word }} {% if %}" + self.tag("endraw")

    def read_rest(self) -> str:
        return self.pick(
            self.tag("generation") + self.body(1) + self.tag("endgeneration"),
            self.tag("filter upper") + self.body(1) + self.tag("endfilter"),
            self.tag(f"with q = {self.any()}, word = 'w'") + self.body(1) + "{{ q }}" + self.tag("endwith"),
        )


EQUAL = ("'equalto'", "'=='", "'eq'", "'ne'", "'!='")
SIMPLE_TESTS = ("defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "boolean", "true",
                "false", "integer", "float", "callable")  # fmt: skip
