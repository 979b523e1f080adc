"""JSON schemas as grammars: JSON texts that match a schema.

The texts are compact JSON, with an optional space after each comma and colon. Two rules are stricter than the standard,
because a model should write what is wanted, not everything that is allowed: an object with named properties has no
others, and has them in this order; and a number has at most 15 digits on either side of the decimal point. An
unsupported keyword (`minimum`, `uniqueItems`, …) is rejected by name, and so is a combination that cannot be enforced
(`maxLength` with `pattern`).
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from llmasos.errors import UserError
from llmasos.generation.grammar import Choice, Grammar, Node, OneByte, Repeat, Rule, Sequence, literal, optional
from llmasos.generation.regular_expression import parse

MAX_DEPTH, MAX_ITEMS, MAX_CHARACTERS = 100, 1_000, 1_000
MAX_SIZE = 100_000  # characters and parts of a schema
SPECIAL = (0x22, 0x5C, *range(0x20))  # the bytes that JSON escapes in a string: ", \\ and control characters
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
        UserError: the schema is invalid, describes no finite text, or has an unsupported keyword.
    """
    builder = Builder(schema)
    start = builder.value(schema, 0)
    grammar = Grammar(start, builder.rules, "the JSON schema")
    if grammar.first_state < 0:
        raise UserError("the JSON schema describes no text that ever ends; give the recursion an end.")
    return grammar


def check_size(schema: Any) -> None:
    """Raise UserError if a schema is too large to read. That includes schemas that contain themselves, or a part 2⁶⁰
    times.
    """
    size, open_parts = 0, [schema]
    while open_parts:
        part = open_parts.pop()
        size += 1 + (len(part) if isinstance(part, str | Mapping | list | tuple) else 0)
        if size > MAX_SIZE:
            raise UserError(f"the JSON schema has more than {MAX_SIZE:,} characters; leave out what the text can do "
                            "without.")  # fmt: skip
        if isinstance(part, Mapping):
            open_parts += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            open_parts += part


class Builder:
    """Turns schemas into nodes, and the targets of `$ref` into rules.

    Args:
        root: the schema that `"$ref": "#/…"` is a path in.
        rules: the dictionary to which its rules are added, if it is one of several schemas in one grammar.
        prefix: the prefix of its rules' names, different for each of those schemas.

    Raises:
        UserError: the root is too large.
    """

    def __init__(self, root: Any, rules: dict[str, Node] | None = None, prefix: str = ""):
        check_size(root)
        self.root, self.prefix = root, prefix
        self.rules: dict[str, Node] = {} if rules is None else rules
        string = self.quoted(Repeat(parse(CHARACTER)))
        any_list = self.listed("[", Rule(ANY), "]", 0, None)
        any_object = self.listed("{", Sequence((string, COLON, Rule(ANY))), "}", 0, None)
        words = Choice(tuple(map(literal, ("true", "false", "null"))))
        self.rules[ANY] = Choice((string, parse(NUMBER), words, any_list, any_object))

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
        types = keywords.pop("type", None)
        for key in ("const", "enum"):
            if key in keywords:
                value = alone(keywords, key)
                return one_of(as_list(value, key) if key == "enum" else [value], types)
        if types is None:
            types = [name for name, known in KEYWORDS.items() if known & {*keywords}]
            if len(types) != 1:
                raise UserError(f"a part of the JSON schema has no type: {json.dumps(keywords)[:80]}.")
        if isinstance(types, list):
            names = dict.fromkeys(map(str, types))  # each once
            return Choice(tuple(self.of_type(name, keywords, depth) for name in names))
        return self.of_type(types, keywords, depth)

    def reference(self, path: Any, depth: int) -> Node:
        """The rule of `"$ref": "#/…"`."""
        if not isinstance(path, str) or not path.startswith("#"):
            raise UserError(f"the JSON schema refers to {path!r:.60}; only parts of itself, '#/…', can be found.")
        name = self.prefix + path
        if name not in self.rules:
            part = self.root
            for key in filter(None, unquote(path[1:]).split("/")):
                key = key.replace("~1", "/").replace("~0", "~")
                if isinstance(part, list) and key.isdecimal() and int(key) < len(part):
                    part = part[int(key)]
                elif isinstance(part, Mapping) and key in part:
                    part = part[key]
                else:
                    raise UserError(f"the JSON schema refers to {path!r:.60}, which it does not have.")
            self.rules[name] = Sequence()  # replaced below; until then, it may refer to itself
            self.rules[name] = self.value(part, depth + 1)
        return Rule(name)

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
                return self.quoted(escaped(parse(alone(keywords, "pattern"))))
            return self.quoted(Repeat(parse(CHARACTER), *bounds(keywords, "Length", MAX_CHARACTERS)))
        if name == "boolean":
            return Choice((literal("true"), literal("false")))
        return literal("null") if name == "null" else parse(NUMBER if name == "number" else r"-?(0|[1-9][0-9]{0,14})")

    def object(self, keywords: dict[str, Any], depth: int) -> Node:
        """An object with some properties, in their order; those that are not required may be left out."""
        properties, more = keywords.get("properties", {}), keywords.get("additionalProperties", not keywords)
        required = as_list(keywords.get("required", []), "required")
        if not all(isinstance(key, str) for key in required):
            raise UserError("required in the JSON schema must be a list of names.")
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
    try:
        return literal(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError):
        raise UserError(f"the JSON schema has the value {value!r:.60}, which JSON does not have.") from None


def one_of(values: list[Any], types: Any) -> Node:
    """The node of a few values, of these types only (None = any)."""
    names = types if isinstance(types, list) else [types]
    allowed = [value for value in values if types is None or any(is_of_type(value, name) for name in names)]
    if not allowed:
        raise UserError(f"none of the values {json.dumps(values)[:60]} in the JSON schema has its type {types!r}.")
    return Choice(tuple(map(exactly, allowed)))


def is_of_type(value: Any, name: Any) -> bool:
    """Whether a value has the type of this name in JSON."""
    if isinstance(value, bool) or value is None:
        return name == ("null" if value is None else "boolean")
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    types: dict[Any, Any] = {"object": dict, "array": list, "string": str, "number": int | float}
    return name in types and isinstance(value, types[name])


def escaped(node: Node, known: dict[Node, Node] | None = None) -> Node:
    """The node of the same texts inside a JSON string, where quotation marks and some others are written otherwise.

    >>> grammar = Grammar(escaped(parse('.|"')))
    >>> grammar.matches('a'), grammar.matches('"'), grammar.matches('\\\\"')
    (True, False, True)
    """
    known = {} if known is None else known
    if node not in known:
        if isinstance(node, OneByte):
            special = [literal(json.dumps(chr(b))[1:-1]) for b in SPECIAL if node.allowed >> b & 1]
            plain = OneByte(node.allowed & ~sum(1 << b for b in SPECIAL))
            known[node] = Choice((plain, *special)) if special else node
        elif isinstance(node, Sequence):
            known[node] = Sequence(tuple(escaped(part, known) for part in node.parts))
        elif isinstance(node, Choice):
            known[node] = Choice(tuple(escaped(option, known) for option in node.options))
        else:
            assert isinstance(node, Repeat)  # a regular expression has no rules
            known[node] = Repeat(escaped(node.part, known), node.least, node.most)
    return known[node]


def alone(keywords: dict[str, Any], key: str) -> Any:
    """The value of a keyword that cannot be combined with others."""
    if others := sorted({*keywords} - {key}):
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
