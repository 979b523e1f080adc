"""Validators for a request's JSON, used twice: to validate bodies, and to describe them in `/openapi.json`.

    body = Object(
        Field("prompt", Text(), "the text to continue", required=True),
        Field("n", Integer(1, 16), "how many texts to generate", default=1),
    )
    body.check({"prompt": "One day"})               # {"prompt": "One day", "n": 1}
    body.check({"prompt": "One day", "N": 2})       # RequestError: there is no field "N" here; did you mean "n"?
    body.schema()                                   # the same as JSON Schema

Each validator has a few parts: `check(value, where)` returns the value as the routes use it, or raises `RequestError`;
`expected` says in words what a value must be; `schema()` says it in JSON Schema (draft 2020-12, as in OpenAPI 3.1).
A check has two steps: does the value have the right type (`accepts`), and is it allowed (`convert`)?

An optional field may also be null, which means the same as leaving it out; a required one only if it has a default.
Even an unknown field may be null, because OpenAI's client sends a response's message back with all its fields, and null
where there is nothing.
"""

import difflib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

from llmasos.serving.http.errors import MAX_SHOWN, RequestError, show

JSON_TYPES = {
    "string": (str, "a string"),
    "boolean": (bool, "true or false"),
    "array": (list, "a list"),
    "object": (dict, "a JSON object"),
}
"""Types whose values `Ignored` takes: in Python, and in words."""


class Validator(ABC):
    """A type of value."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """The requirement on a value, in words that follow "it must be"."""

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether the value has the right type, so that an `AnyOf` chooses this validator."""

    @final
    def check(self, value: Any, where: str = "") -> Any:
        """Validate a value and return it as the routes use it.

        Args:
            value: the value, from JSON.
            where: the field, for the error message; "" for the body as a whole.

        Raises:
            RequestError: the value is invalid.
        """
        if not self.accepts(value):
            raise self.error(value, where)
        return self.convert(value, where)

    def convert(self, value: Any, where: str) -> Any:
        """Return an accepted value as the routes use it. Raises RequestError if it is not allowed."""
        return value

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The same rules as JSON Schema."""

    def error(self, value: Any, where: str) -> RequestError:
        """The error for an invalid value."""
        return RequestError(f"{where or 'the body'} is {show(value)}; it must be {self.expected}.", where or None)


@dataclass(frozen=True)
class Text(Validator):
    """A string.

    Attributes:
        min_length, max_length: the allowed length, in characters.
        not_blank: whether it must contain something other than white space.
        contains: a substring that it must contain.
    """

    min_length: int = 0
    max_length: int | None = None
    not_blank: bool = False
    contains: str = ""

    @property
    def expected(self) -> str:
        rules = ["that is not empty"] if self.not_blank or self.min_length == 1 else []
        rules += [f"of at most {self.max_length} characters"] if self.max_length else []
        rules += [f"that contains {self.contains}"] if self.contains else []
        return " ".join(["a string", *rules])

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def convert(self, value: Any, where: str) -> str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RequestError(
                f"{where} has half a character (a lone surrogate at position {error.start}); send whole characters.",
                where,
            ) from None
        n = len(value)
        if n < self.min_length or (self.max_length and n > self.max_length):
            raise RequestError(f"{where} has {n} characters; it must be {self.expected}.", where)
        if (self.not_blank and not value.strip()) or self.contains not in value:
            raise self.error(value, where)
        return value

    def schema(self) -> dict[str, Any]:
        rules: dict[str, Any] = {"type": "string"}
        rules |= {"minLength": self.min_length} if self.min_length else {}
        rules |= {"maxLength": self.max_length} if self.max_length else {}
        rules |= {"pattern": r"\S"} if self.not_blank else {}
        rules |= {"pattern": self.contains.replace("[", r"\[").replace("]", r"\]")} if self.contains else {}
        return rules


def is_number(value: Any) -> bool:
    """Whether it is a number in JSON, where true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Integer(Validator):
    """An integer. 1.0 is one, too: JSON does not distinguish them."""

    low: int
    high: int

    @property
    def expected(self) -> str:
        return f"an integer from {self.low} to {self.high}"

    def accepts(self, value: Any) -> bool:
        return is_number(value)

    def convert(self, value: Any, where: str) -> int:
        if not (value == int(value) and self.low <= value <= self.high):
            raise self.error(value, where)
        return int(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Number(Validator):
    """A number.

    Attributes:
        low, high: the range.
        or_value: another allowed value, outside the range.
    """

    low: float
    high: float
    or_value: float | None = None

    @property
    def expected(self) -> str:
        interval = f"a number from {self.low:g} to {self.high:g}"
        return interval if self.or_value is None else f"{self.or_value:g}, or {interval}"

    def accepts(self, value: Any) -> bool:
        return is_number(value)

    def convert(self, value: Any, where: str) -> float:
        if not (self.low <= value <= self.high or value == self.or_value):
            raise self.error(value, where)
        return float(value)

    def schema(self) -> dict[str, Any]:
        rules = {"type": "number", "minimum": self.low, "maximum": self.high}
        return rules if self.or_value is None else {"anyOf": [{"const": self.or_value}, rules]}


@dataclass(frozen=True)
class Boolean(Validator):
    """True or false; not 0, 1 or a string."""

    expected = "true or false"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Validator):
    """One of a few strings."""

    values: tuple[str, ...]

    @property
    def expected(self) -> str:
        return " or ".join(show(value) for value in self.values)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def convert(self, value: Any, where: str) -> str:
        if value not in self.values:
            raise self.error(value, where)
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class Unsupported(Validator):
    """A few values and no others: for a field that is not implemented here, the values that request the existing
    behavior.

    Attributes:
        harmless: the allowed values; (None,) = only null.
        reason: the reason why there are no others, or what to do instead.
    """

    harmless: tuple[Any, ...]
    reason: str

    @property
    def expected(self) -> str:
        values = (json.dumps(value) if value else show(value) for value in self.harmless)
        return f"{' or '.join(values)}: {self.reason}"

    def accepts(self, value: Any) -> bool:
        is_boolean = isinstance(value, bool)  # for 0 == False
        return any(value == harmless and is_boolean == isinstance(harmless, bool) for harmless in self.harmless)

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.harmless)}


@dataclass(frozen=True)
class Ignored(Validator):
    """Any value of a JSON type: for a field that cannot change the answer, whatever its value.

    Attributes:
        type: "string", "boolean", "array" or "object".
    """

    type: str

    @property
    def expected(self) -> str:
        return JSON_TYPES[self.type][1]

    def accepts(self, value: Any) -> bool:
        return isinstance(value, JSON_TYPES[self.type][0])

    def schema(self) -> dict[str, Any]:
        return {"type": self.type}


@dataclass(frozen=True)
class ModelName(Validator):
    """The name of the served model. There is only one, so the field may be left out."""

    name: str

    @property
    def expected(self) -> str:
        return f"{show(self.name)}, the model that is served here"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)

    def convert(self, value: Any, where: str) -> str:
        if value != self.name:
            raise RequestError(f"there is no model {show(value)} here; the model is {show(self.name)}.", where, 404,
                               "model_not_found")  # fmt: skip
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": [self.name]}


@dataclass(frozen=True)
class ListOf(Validator):
    """A list whose items all have one type."""

    item: Validator
    min_length: int = 0
    max_length: int | None = None

    @property
    def expected(self) -> str:
        length = f"{self.min_length} to {self.max_length}" if self.max_length else f"at least {self.min_length}"
        return f"a list of {length} values, each {self.item.expected}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list) and (not value or self.item.accepts(value[0]))

    def convert(self, value: Any, where: str) -> list[Any]:
        if len(value) < self.min_length or (self.max_length and len(value) > self.max_length):
            raise self.error(value, where)
        return [self.item.check(item, f"{where}[{i}]") for i, item in enumerate(value)]

    def error(self, value: Any, where: str) -> RequestError:
        if isinstance(value, list) and not self.accepts(value):  # the first item is the wrong one
            return self.item.error(value[0], f"{where}[0]")
        return super().error(value, where)

    def schema(self) -> dict[str, Any]:
        rules: dict[str, Any] = {"type": "array", "items": self.item.schema()}
        rules |= {"minItems": self.min_length} if self.min_length else {}
        return rules | ({"maxItems": self.max_length} if self.max_length else {})


@dataclass(frozen=True)
class AnyOf(Validator):
    """A value of one of several types; the first that accepts it is used.

    Attributes:
        options: the types, in the order in which they are tried.
        description: a description of all of them together (None = their own descriptions).
    """

    options: tuple[Validator, ...]
    description: str | None = None

    @property
    def expected(self) -> str:
        return self.description or ", or ".join(option.expected for option in self.options)

    def accepts(self, value: Any) -> bool:
        return any(option.accepts(value) for option in self.options)

    def convert(self, value: Any, where: str) -> Any:
        return next(option for option in self.options if option.accepts(value)).convert(value, where)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [option.schema() for option in self.options]}


@dataclass(frozen=True)
class Field:
    """A named value in an object.

    Attributes:
        name: the name in the JSON.
        validator: the validator of the value.
        help: the effect, in a sentence or less.
        default: the value if it is left out or null.
        required: whether it must be present. It may be null only if it has a default.
        example: an example of a required field's value, if `capabilities.py` has no example of the whole body.
    """

    name: str
    validator: Validator
    help: str
    default: Any = None
    required: bool = False
    example: Any = None

    @property
    def nullable(self) -> bool:
        """Whether null is allowed."""
        return not self.required or self.default is not None


class Object(Validator):
    """An object with these fields. Others are allowed only if they are null."""

    expected = "a JSON object"

    def __init__(self, *fields: Field):
        self.fields = {field.name: field for field in fields}

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict)

    def convert(self, value: Any, where: str) -> dict[str, Any]:
        prefix = f"{where}." if where else ""
        for name in value:
            if name not in self.fields and value[name] is not None:
                place = f"in {where}" if where else "here"
                message = f"there is no field {show(name)} {place}; {self._suggestion(name)}"
                raise RequestError(message, prefix + name[:MAX_SHOWN])
        values = {}
        for name, field in self.fields.items():
            if value.get(name) is None:
                if field.required and not (field.nullable and name in value):
                    message = f"{prefix}{name} is missing; it must be {field.validator.expected}."
                    raise RequestError(message, prefix + name)
                values[name] = field.default
            else:
                values[name] = field.validator.check(value[name], prefix + name)
        return values

    def _suggestion(self, name: str) -> str:
        near = difflib.get_close_matches(name[:MAX_SHOWN].lower(), self.fields, n=1)
        return f"did you mean {show(near[0])}?" if near else f"the fields are {', '.join(self.fields)}."

    def schema(self) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for name, field in self.fields.items():
            rules = field.validator.schema()
            if field.nullable:
                rules = {"anyOf": [rules, {"type": "null"}]}
            properties[name] = rules | {"description": field.help}
            if field.default is not None:
                properties[name]["default"] = field.default
        required = [name for name, field in self.fields.items() if field.required]
        rules = {"type": "object", "properties": properties, "additionalProperties": {"type": "null"}}
        return rules | ({"required": required} if required else {})
