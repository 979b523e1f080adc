"""What a request's JSON may hold. Said once, it does two things: it checks bodies, and it stands in `/openapi.json`.

    body = Object(
        Field("prompt", Text(), "what to continue", required=True),
        Field("n", Integer(1, 16), "how many texts", default=1),
    )
    body.check({"prompt": "One day"})               # {"prompt": "One day", "n": 1}
    body.check({"prompt": "One day", "N": 2})       # Refused: there is no field "N" here; did you mean "n"?
    body.schema()                                   # the same as JSON Schema

What a field may hold is one of the kinds of `kinds.py`, of which an object is one, too. A field that need not be given
may also be null, which is the same as leaving it out. So even a field that there is not may be null: OpenAI's client
sends an answer back with all its fields, and says null where there is nothing.
"""

import difflib
from dataclasses import dataclass
from typing import Any

from llmasos.serving.api.validators import Kind
from llmasos.serving.http.errors import Refused
from llmasos.serving.http.json_body import SHOWN, show


@dataclass(frozen=True)
class Field:
    """A named value in an object.

    Attributes:
        name: as it stands in the JSON.
        kind: what it must be.
        help: what it does, in a sentence or less.
        default: what it is if it is left out or null.
        required: whether it must be given.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    required: bool = False


class Object(Kind):
    """An object with these fields and no others, unless they are null."""

    expected = "a JSON object"

    def __init__(self, *fields: Field):
        self.fields = {field.name: field for field in fields}

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict)

    def take(self, value: Any, where: str) -> dict[str, Any]:
        before = f"{where}." if where else ""
        for name in value:
            if name not in self.fields and value[name] is not None:
                place = f"in {where}" if where else "here"
                raise Refused(f"there is no field {show(name)} {place}{self._near(name)}", before + name[:SHOWN])
        found = {}
        for name, field in self.fields.items():
            if value.get(name) is None:
                if field.required:
                    raise Refused(f"{before}{name} is missing; it must be {field.kind.expected}.", before + name)
                found[name] = field.default
            else:
                found[name] = field.kind.check(value[name], before + name)
        return found

    def _near(self, name: str) -> str:
        near = difflib.get_close_matches(name[:SHOWN].lower(), self.fields, n=1)
        return f"; did you mean {show(near[0])}?" if near else f"; the fields are {', '.join(self.fields)}."

    def schema(self) -> dict[str, Any]:
        properties = {}
        for name, field in self.fields.items():
            rules = field.kind.schema()
            if not field.required:
                rules = {"anyOf": [rules, {"type": "null"}]}
            properties[name] = rules | {"description": field.help}
            if field.default is not None:
                properties[name]["default"] = field.default
        required = [name for name, field in self.fields.items() if field.required]
        found = {"type": "object", "properties": properties, "additionalProperties": {"type": "null"}}
        return found | ({"required": required} if required else {})
