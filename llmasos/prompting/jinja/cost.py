"""The cost of a program: each step, and each character and item that it reads or creates."""

from collections.abc import Iterator
from contextvars import ContextVar
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from jinja2 import Undefined
from jinja2.runtime import LoopContext, Macro
from jinja2.utils import Namespace

from llmasos.errors import UserError

MAX_COST = 200_000  # steps
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
    """A program rejects the conversation itself (`raise_exception`), with a message for the user."""


class UnsupportedTemplate(TemplateError):
    """A program cannot be read, or uses something that is not supported."""


VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
OPAQUE = {Namespace, Macro, LoopContext, BuiltinMethodType, FunctionType, MethodType, *VIEWS}  # are not data


class Run:
    """The cost of one run of a program so far."""

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

        A value that occurs twice counts twice, as it does when printed or compared: [[s, s], [s, s]] has four s.

        Raises:
            TemplateError: it is not data, or too large.
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
            raise TemplateError("something that is not data cannot be used here (a function, a namespace, …)")
        if id(value) not in self.weights:
            fits(len(value), MAX_VALUE)
            parts = [self.weigh(item) for item in ([*value, *value.values()] if kind is dict else value)]
            weight, depth = 10 + sum(part[0] for part in parts), 1 + max((part[1] for part in parts), default=0)
            fits(weight, MAX_WEIGHT)
            fits(depth, MAX_DATA_DEPTH)
            self.weights[id(value)] = weight, depth, value  # the value is kept alive, so that its id is not reused
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
