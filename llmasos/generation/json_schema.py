"""JSON schemas as grammars: texts that are JSON, and have the form that a schema describes.

The texts are compact JSON, with an optional space after each comma and colon. Two rules are stricter than the
standard's, because a model should write what is wanted and not whatever is allowed: an object of which some properties
are named has no others, and has them in their order; and a number has at most 15 digits on either side of its point. A
keyword that cannot be kept (`minimum`, `uniqueItems`, …) is refused by its name.
"""

import json
from collections.abc import Mapping
from typing import Any

from llmasos.errors import UserError
from llmasos.generation.grammar import Choice, Grammar, Node, Repeat, Rule, Sequence, literal, optional
from llmasos.generation.regular_expression import parse

MAX_DEPTH, MAX_ITEMS, MAX_CHARACTERS = 50, 1_000, 1_000
COMMA, COLON = parse(", ?"), parse(": ?")
NUMBER = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?"
CHARACTER = r'([^"\\\x00-\x1f\x7f]|\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))'
ANY = "any value"  # a rule of every grammar here
ANNOTATIONS = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions",
               "deprecated", "readOnly", "writeOnly"}  # fmt: skip
KEYWORDS = {  # type → the keywords that it takes
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "number": set(),
    "integer": set(),
    "boolean": set(),
    "null": set(),
}


def json_schema(schema: Mapping[str, Any] | bool = True) -> Grammar:
    """The grammar of the JSON texts that a schema describes; of any JSON for the empty schema, or True.

    >>> grammar = json_schema({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})
    >>> grammar.matches('{"age": 7}'), grammar.matches('{"age": "seven"}')
    (True, False)

    Raises:
        UserError: the schema is damaged, describes no finite text, or has a keyword that cannot be kept.
    """
    builder = Builder(schema)
    start = builder.value(schema, 0)
    grammar = Grammar(start, builder.rules, "the JSON schema")
    if grammar.first_state < 0:
        raise UserError("the JSON schema describes no text that ever ends; give the recursion an end.")
    return grammar


class Builder:
    """Turns schemas into nodes, and remembers what `$ref` names as rules."""

    def __init__(self, root: Any):
        self.root = root
        string = self.quoted(Repeat(parse(CHARACTER)))
        any_list = self.listed("[", Rule(ANY), "]", 0, None)
        any_object = self.listed("{", Sequence((string, COLON, Rule(ANY))), "}", 0, None)
        words = Choice(tuple(map(literal, ("true", "false", "null"))))
        self.rules: dict[str, Node] = {ANY: Choice((string, parse(NUMBER), words, any_list, any_object))}

    def value(self, schema: Any, depth: int) -> Node:
        """The node of the values that a schema describes."""
        if depth > MAX_DEPTH:
            raise UserError(f"the JSON schema is nested more than {MAX_DEPTH} deep.")
        if schema is True or schema == {}:
            return Rule(ANY)
        if not isinstance(schema, Mapping):
            raise UserError(f"a part of the JSON schema is {schema!r:.60}; it must be an object.")
        keywords = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        if "$ref" in keywords:
            return self.reference(alone(keywords, "$ref"), depth)
        for key in ("anyOf", "oneOf"):
            if key in keywords:
                options = as_list(alone(keywords, key), key)
                return Choice(tuple(self.value(option, depth + 1) for option in options))
        if "const" in keywords:
            return exactly(keywords["const"])
        if "enum" in keywords:
            return Choice(tuple(map(exactly, as_list(keywords["enum"], "enum"))))
        types = keywords.pop("type", None)
        if types is None:
            types = [name for name, known in KEYWORDS.items() if known & {*keywords}]
            if len(types) != 1:
                raise UserError(f"a part of the JSON schema has no type: {json.dumps(keywords)[:80]}.")
        if isinstance(types, list):
            return Choice(tuple(self.of_type(name, keywords, depth) for name in types))
        return self.of_type(types, keywords, depth)

    def reference(self, path: Any, depth: int) -> Node:
        """The rule of `"$ref": "#/…"`."""
        if not isinstance(path, str) or not path.startswith("#"):
            raise UserError(f"the JSON schema refers to {path!r}; only parts of itself, '#/…', can be found.")
        if path not in self.rules:
            part = self.root
            for key in filter(None, path[1:].split("/")):
                key = key.replace("~1", "/").replace("~0", "~")
                if not isinstance(part, Mapping) or key not in part:
                    raise UserError(f"the JSON schema refers to {path!r}, which it does not have.")
                part = part[key]
            self.rules[path] = Sequence()  # replaced below; until then, it may refer to itself
            self.rules[path] = self.value(part, depth + 1)
        return Rule(path)

    def of_type(self, name: Any, keywords: dict[str, Any], depth: int) -> Node:
        """The node of the values of one type."""
        if not isinstance(name, str) or name not in KEYWORDS:
            raise UserError(f"a part of the JSON schema has the type {name!r}; it must be {', '.join(KEYWORDS)}.")
        unknown = {*keywords} - set().union(*KEYWORDS.values())
        if unknown:
            raise UserError(
                f"the JSON schema has {sorted(unknown)[0]!r}, which cannot be kept while a text is written."
            )
        if name == "object":
            return self.object(keywords, depth)
        if name == "array":
            least, most = bounds(keywords, "Items", MAX_ITEMS)
            return self.listed("[", self.value(keywords.get("items", True), depth + 1), "]", least, most)
        if name == "string":
            if "pattern" in keywords:
                return self.quoted(parse(keywords["pattern"]))
            return self.quoted(Repeat(parse(CHARACTER), *bounds(keywords, "Length", MAX_CHARACTERS)))
        if name == "boolean":
            return Choice((literal("true"), literal("false")))
        return literal("null") if name == "null" else parse(NUMBER if name == "number" else r"-?(0|[1-9][0-9]{0,14})")

    def object(self, keywords: dict[str, Any], depth: int) -> Node:
        """An object with some properties, in their order; those that are not required may be left out."""
        properties, more = keywords.get("properties", {}), keywords.get("additionalProperties", not keywords)
        required = as_list(keywords.get("required", []), "required")
        if not isinstance(properties, Mapping):
            raise UserError(f"properties in the JSON schema is {properties!r:.60}; it must be an object.")
        for missing in (key for key in required if key not in properties):
            raise UserError(f"the JSON schema requires {missing!r}, which is not among its properties.")
        if not properties:
            string = self.quoted(Repeat(parse(CHARACTER)))
            pair = Sequence((string, COLON, self.value(more or True, depth + 1)))
            return literal("{}") if more is False else self.listed("{", pair, "}", 0, None)
        rest_after: Node = Sequence()
        rest_first: Node = Sequence()  # what may follow, with and without a property before it
        for key, schema in reversed([*properties.items()]):
            pair = Sequence((exactly(key), COLON, self.value(schema, depth + 1)))
            after, first = Sequence((COMMA, pair, rest_after)), Sequence((pair, rest_after))
            if key in required:
                rest_after, rest_first = after, first
            else:
                rest_after, rest_first = Choice((after, rest_after)), Choice((first, rest_first))
        return Sequence((literal("{"), rest_first, literal("}")))

    def listed(self, start: str, item: Node, end: str, least: int, most: int | None) -> Node:
        """Items with commas between them, in brackets."""
        return Sequence((literal(start), self.inside(item, least, most), literal(end)))

    @staticmethod
    def inside(item: Node, least: int, most: int | None) -> Node:
        """Items with commas between them."""
        if most == 0:
            return Sequence()
        more = Repeat(Sequence((COMMA, item)), max(least - 1, 0), None if most is None else most - 1)
        return Sequence((item, more)) if least else optional(Sequence((item, more)))

    @staticmethod
    def quoted(content: Node) -> Node:
        """Content in quotation marks."""
        return Sequence((literal('"'), content, literal('"')))


def exactly(value: Any) -> Node:
    """The node of one value."""
    return literal(json.dumps(value, ensure_ascii=False))


def alone(keywords: dict[str, Any], key: str) -> Any:
    """The value of a keyword that cannot be combined with others."""
    if others := sorted({*keywords} - {key, "type"}):
        raise UserError(f"the JSON schema has {key!r} together with {others[0]!r}; only one of them can be kept.")
    return keywords[key]


def as_list(value: Any, key: str) -> list[Any]:
    """The value of a keyword that must be a list."""
    if not isinstance(value, list):
        raise UserError(f"{key} in the JSON schema is {value!r:.60}; it must be a list.")
    return value


def bounds(keywords: dict[str, Any], what: str, largest: int) -> tuple[int, int | None]:
    """The least and the greatest number of items or characters."""
    least, most = keywords.get(f"min{what}", 0), keywords.get(f"max{what}")
    for key, number in ((f"min{what}", least), (f"max{what}", most)):
        if number is not None and (
            isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= largest
        ):
            raise UserError(f"{key} in the JSON schema is {number!r:.40}; it must be a whole number up to {largest:,}.")
    if most is not None and most < least:
        raise UserError(f"max{what} {most} in the JSON schema is below min{what} {least}.")
    return least, most
