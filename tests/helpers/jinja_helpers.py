# ruff: noqa: E501 — programs are easier to read in their own lines
"""The oracle of chat templates: jinja2 with the settings of transformers, and data for templates."""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmasos.prompting.jinja import Template, TemplateError


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


jinja_program = lru_cache(maxsize=20)(jinja_environment().from_string)
our_program = lru_cache(maxsize=20)(Template)


def by_jinja2(source: str, variables: dict[str, Any]) -> str | None:
    """Render with jinja2; None if it raises an error."""
    try:
        return jinja_program(source).render(**variables)
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
        return None


def by_us(source: str, variables: dict[str, Any]) -> str | None:
    """Render with our sandbox; None if it raises an error."""
    try:
        return our_program(source).render(variables).text
    except TemplateError:
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
