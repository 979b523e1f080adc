"""The field `response_format` of a chat: the required form of the reply, as a grammar that the model cannot violate."""

import functools
import json
from typing import Any

from llmasos.errors import UserError
from llmasos.generation import json_schema
from llmasos.generation.grammar import Grammar
from llmasos.serving.api.validators import Boolean, Choice, Field, Object, Text, Validator
from llmasos.serving.http.errors import RequestError

MAX_NAME = 64


class SchemaObject(Validator):
    """A JSON schema, checked when its grammar is made."""

    expected = "a JSON object"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict)

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


NAMED_SCHEMA = Object(
    Field("name", Text(0, MAX_NAME), "of the schema; ignored"),
    Field("description", Text(0, None), "for readers; ignored"),
    Field("strict", Boolean(), "ignored: a schema is always enforced"),
    Field("schema", SchemaObject(), "the JSON schema of the reply", required=True),
)
TEXT = Object(Field("type", Choice(("text",)), "any text", required=True))
JSON_OBJECT = Object(Field("type", Choice(("json_object",)), "any JSON object", required=True))
JSON_SCHEMA = Object(
    Field("type", Choice(("json_schema",)), "JSON that matches a schema", required=True),
    Field("json_schema", NAMED_SCHEMA, "the schema", required=True),
)
FORMATS = {"text": TEXT, "json_object": JSON_OBJECT, "json_schema": JSON_SCHEMA}


class ResponseFormat(Validator):
    """One of `FORMATS`, by its type. Becomes a grammar, or None for any text."""

    expected = "a JSON object with a type"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict)

    def convert(self, value: Any, where: str) -> Grammar | None:
        kind = Choice(tuple(FORMATS)).check(value.get("type"), f"{where}.type")
        values = FORMATS[kind].convert(value, where)
        if kind == "text":
            return None
        schema = {"type": "object"} if kind == "json_object" else values["json_schema"]["schema"]
        try:
            return grammar_of_text(json.dumps(schema))
        except UserError as error:
            raise RequestError(str(error), f"{where}.json_schema.schema") from error

    def schema(self) -> dict[str, Any]:
        return {"oneOf": [one.schema() for one in FORMATS.values()]}


@functools.lru_cache(maxsize=32)
def grammar_of_text(schema: str) -> Grammar:
    """The grammar of a schema as text: requests with the same schema share its automaton."""
    return json_schema(json.loads(schema))
