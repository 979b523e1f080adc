"""`/openapi.json`: what can be asked and what comes back, for programs that make clients, tests or pages of it.

The bodies are described by what checks them (`schema.py`), so the document cannot promise what the server does not do.
The shapes of the answers stand beside the functions that give them, written with the few words below.
https://spec.openapis.org/oas/v3.1.0 describes the form.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmasos.serving.served_model import Served

if TYPE_CHECKING:  # routes describe their answers with the words below
    from llmasos.serving.http.http_types import Route

Shape = dict[str, Any]
WORDS: Shape = {"type": "string"}
WHOLE: Shape = {"type": "integer"}


def shape(*optional: str, **properties: Shape) -> Shape:
    """An object with these properties; all of them are always there but the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def each(item: Shape) -> Shape:
    """A list of these."""
    return {"type": "array", "items": item}


def maybe(one: Shape) -> Shape:
    """This or null."""
    return {"anyOf": [one, {"type": "null"}]}


def one_of(*values: str) -> Shape:
    """One of these words."""
    return {"enum": list(values)}


USAGE = shape(prompt_tokens=WHOLE, completion_tokens=WHOLE, total_tokens=WHOLE)
ERROR = shape(error=shape(message=WORDS, type=WORDS, param=maybe(WORDS), code=maybe(WORDS)))
EVENT = shape("event", data=WORDS, event=WORDS)  # each of a stream; the last `data` is [DONE]
IN_JSON = "application/json"
NO_KEY, WITH_KEY = [], [{"key": []}]


def document(served: Served, routes: Sequence["Route"], version: str, secured: bool) -> dict[str, Any]:
    """The description of a server.

    Args:
        served: the model; what may be asked depends on it.
        routes: those that there are for it.
        version: of the library.
        secured: whether a key is asked for.
    """
    paths: dict[str, Any] = {}
    for route in routes:
        path = f"{route.path}{{name}}" if route.prefix else route.path
        paths.setdefault(path, {})[route.method.lower()] = operation(served, route, secured)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"llmasos: {served.name}",
            "version": version,
            "description": "A language model over HTTP. The routes that OpenAI's API has work as they do there.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }
    if secured:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return found


def operation(served: Served, route: "Route", secured: bool) -> dict[str, Any]:
    """The description of one route."""
    content = {route.content_type.split(";")[0]: {"schema": route.shape or WORDS}}
    if route.streams:
        content["text/event-stream"] = {"schema": EVENT}
    error = {IN_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    found: dict[str, Any] = {
        "summary": route.summary,
        "operationId": (route.method.lower() + route.path.replace("/", "_")).rstrip("_"),
        "responses": {
            "200": {"description": "the answer", "content": content},
            "default": {"description": "why there is none, as a sentence", "content": error},
        },
    }
    if route.body is not None:
        body = {IN_JSON: {"schema": route.body(served).schema()}}
        found["requestBody"] = {"required": True, "content": body}
    if route.prefix:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        found["parameters"] = [name | {"description": "of the model"}]
    if secured:
        found["security"] = NO_KEY if route.open else WITH_KEY
    return found
