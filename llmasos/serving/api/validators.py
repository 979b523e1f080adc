"""Kinds of values that a request's JSON may hold. Read `schema.py` first, which makes objects of them.

Each kind has these sides: `check(value, where)` gives the value as the routes use it or raises `Refused`, `expected`
says in words what it must be, and `schema()` says it in JSON Schema (draft 2020-12, which OpenAPI 3.1 uses). A check
has two steps: is it of the right type (`fits`), and may it have this value (`take`)?
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

from llmasos.serving.http.errors import Refused
from llmasos.serving.http.json_body import show


class Kind(ABC):
    """A kind of value.

    Attributes:
        expected: what a value must be, in words that follow "it must be".
    """

    expected: str

    @abstractmethod
    def fits(self, value: Any) -> bool:
        """Whether it is at least of the right type, so that this kind is meant and not another."""

    @final
    def check(self, value: Any, where: str = "") -> Any:
        """The value as the routes use it. Raises Refused, with `where` in the sentence, if it is not as it must be."""
        if not self.fits(value):
            raise self.refuse(value, where)
        return self.take(value, where)

    def take(self, value: Any, where: str) -> Any:
        """The same for a value that fits: here any is taken as it is. Raises Refused for one that is not allowed."""
        return value

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""

    def refuse(self, value: Any, where: str) -> Refused:
        """What to raise for a value that is not as it must be. The body as a whole stands nowhere: `where` is ""."""
        return Refused(f"{where or 'the body'} is {show(value)}; it must be {self.expected}.", where or None)


@dataclass(frozen=True)
class Text(Kind):
    """A text.

    Attributes:
        shortest, longest: how many characters it may have.
        filled: whether it must hold something else than white space.
        holds: something that must stand in it.
    """

    shortest: int = 0
    longest: int | None = None
    filled: bool = False
    holds: str = ""

    @property
    def expected(self) -> str:
        rules = ["that is not empty"] if self.filled or self.shortest == 1 else []
        rules += [f"of at most {self.longest} characters"] if self.longest else []
        rules += [f"that holds {self.holds}"] if self.holds else []
        return " ".join(["a text", *rules])

    def fits(self, value: Any) -> bool:
        return isinstance(value, str)

    def take(self, value: Any, where: str) -> str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Refused(
                f"{where} holds half a character (a lone surrogate, place {error.start}); send whole ones.", where
            ) from None
        n = len(value)
        if n < self.shortest or (self.longest and n > self.longest):
            raise Refused(f"{where} has {n} characters; it must be {self.expected}.", where)
        if (self.filled and not value.strip()) or self.holds not in value:
            raise self.refuse(value, where)
        return value

    def schema(self) -> dict[str, Any]:
        rules: dict[str, Any] = {"type": "string"}
        rules |= {"minLength": self.shortest} if self.shortest else {}
        rules |= {"maxLength": self.longest} if self.longest else {}
        rules |= {"pattern": r"\S"} if self.filled else {}
        rules |= {"pattern": self.holds.replace("[", r"\[").replace("]", r"\]")} if self.holds else {}
        return rules


def is_number(value: Any) -> bool:
    """Whether it is a number in JSON, where true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Integer(Kind):
    """A whole number. 1.0 is one, too: JSON does not know the difference."""

    low: int
    high: int

    @property
    def expected(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def fits(self, value: Any) -> bool:
        return is_number(value)

    def take(self, value: Any, where: str) -> int:
        if not (value == int(value) and self.low <= value <= self.high):
            raise self.refuse(value, where)
        return int(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Number(Kind):
    """A number.

    Attributes:
        low, high: the range.
        also: a value outside the range that is allowed.
    """

    low: float
    high: float
    also: float | None = None

    @property
    def expected(self) -> str:
        rest = f"a number from {self.low:g} to {self.high:g}"
        return rest if self.also is None else f"{self.also:g}, or {rest}"

    def fits(self, value: Any) -> bool:
        return is_number(value)

    def take(self, value: Any, where: str) -> float:
        if not (self.low <= value <= self.high or value == self.also):
            raise self.refuse(value, where)
        return float(value)

    def schema(self) -> dict[str, Any]:
        rules = {"type": "number", "minimum": self.low, "maximum": self.high}
        return rules if self.also is None else {"anyOf": [{"const": self.also}, rules]}


@dataclass(frozen=True)
class Boolean(Kind):
    """True or false, and nothing that looks like it."""

    expected = "true or false"

    def fits(self, value: Any) -> bool:
        return isinstance(value, bool)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words."""

    values: tuple[str, ...]

    @property
    def expected(self) -> str:
        return " or ".join(show(value) for value in self.values)

    def fits(self, value: Any) -> bool:
        return isinstance(value, str)

    def take(self, value: Any, where: str) -> str:
        if value not in self.values:
            raise self.refuse(value, where)
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class Only(Kind):
    """One value and no other: for fields of OpenAI's that exist here only at their usual value.

    Attributes:
        value: the one.
        instead: what to do in place of another.
    """

    value: Any
    instead: str

    @property
    def expected(self) -> str:
        return f"{show(self.value)}: {self.instead}"

    def fits(self, value: Any) -> bool:
        return value == self.value and isinstance(value, bool) == isinstance(self.value, bool)  # for 0 == False

    def schema(self) -> dict[str, Any]:
        return {"const": self.value}


@dataclass(frozen=True)
class ModelName(Kind):
    """The name of the model that is served: there is one, so it may be left out."""

    name: str

    @property
    def expected(self) -> str:
        return f"{show(self.name)}, which is the model served here"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str)

    def take(self, value: Any, where: str) -> str:
        if value != self.name:
            raise Refused(f"there is no model {show(value)} here; there is {show(self.name)}.", where, 404,
                          "model_not_found")  # fmt: skip
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": [self.name]}


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of values of one kind."""

    kind: Kind
    shortest: int = 0
    longest: int | None = None

    @property
    def expected(self) -> str:
        length = f"{self.shortest} to {self.longest}" if self.longest else f"at least {self.shortest}"
        return f"a list of {length} values, each {self.kind.expected}"

    def fits(self, value: Any) -> bool:
        return isinstance(value, list) and (not value or self.kind.fits(value[0]))

    def take(self, value: Any, where: str) -> list[Any]:
        if len(value) < self.shortest or (self.longest and len(value) > self.longest):
            raise self.refuse(value, where)
        return [self.kind.check(item, f"{where}[{i}]") for i, item in enumerate(value)]

    def refuse(self, value: Any, where: str) -> Refused:
        if isinstance(value, list) and not self.fits(value):  # it is the first item that is wrong
            return self.kind.refuse(value[0], f"{where}[0]")
        return super().refuse(value, where)

    def schema(self) -> dict[str, Any]:
        rules: dict[str, Any] = {"type": "array", "items": self.kind.schema()}
        rules |= {"minItems": self.shortest} if self.shortest else {}
        return rules | ({"maxItems": self.longest} if self.longest else {})


@dataclass(frozen=True)
class Either(Kind):
    """A value of the first of these kinds that it fits.

    Attributes:
        kinds: to be tried in this order.
        words: what to call them all together (None = what each is called).
    """

    kinds: tuple[Kind, ...]
    words: str | None = None

    @property
    def expected(self) -> str:
        return self.words or ", or ".join(kind.expected for kind in self.kinds)

    def fits(self, value: Any) -> bool:
        return any(kind.fits(value) for kind in self.kinds)

    def take(self, value: Any, where: str) -> Any:
        return next(kind for kind in self.kinds if kind.fits(value)).take(value, where)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.schema() for kind in self.kinds]}
