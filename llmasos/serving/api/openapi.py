"""`/openapi.json`: the requests and responses of this server, for programs that generate clients, tests or pages.

Bodies are described by their validators (`validators.py`), so the document cannot promise anything that the server does
not do. The schemas of responses are defined next to the handlers, with the few helpers below.
The format: https://spec.openapis.org/oas/v3.1.0
"""

from collections.abc import Sequence
from typing import Any

from llmasos.serving.http.http_types import JSON, Route
from llmasos.serving.served_model import ServedModel

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}


def object_of(*optional: str, **properties: Schema) -> Schema:
    """An object with these properties, all required except the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def array_of(item: Schema) -> Schema:
    """A list of such items."""
    return {"type": "array", "items": item}


def nullable(schema: Schema) -> Schema:
    """This or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def enum(*values: str) -> Schema:
    """One of these strings."""
    return {"enum": list(values)}


USAGE = object_of(prompt_tokens=INTEGER, completion_tokens=INTEGER, total_tokens=INTEGER)
ERROR = object_of(error=object_of(message=STRING, type=STRING, param=nullable(STRING), code=nullable(STRING)))
EVENT = object_of("event", data=STRING, event=STRING)  # of a stream; the last `data` is [DONE]
NO_KEY: list[Schema] = []
WITH_KEY: list[Schema] = [{"key": []}]


def openapi_document(served: ServedModel, routes: Sequence[Route], version: str, requires_key: bool) -> dict[str, Any]:
    """The description of a server.

    Args:
        served: the model, on which the bodies depend.
        routes: the routes that the model supports.
        version: the library's version.
        requires_key: whether requests need an API key.
    """
    paths: dict[str, Any] = {}
    for route in routes:
        path = f"{route.path}{{name}}" if route.is_prefix else route.path
        paths.setdefault(path, {})[route.method.lower()] = operation(served, route, requires_key)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"llmasos: {served.name}",
            "version": version,
            "description": "A language model over HTTP. Routes that OpenAI's API has work as they do there.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }
    if requires_key:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def operation(served: ServedModel, route: Route, requires_key: bool) -> dict[str, Any]:
    """The description of one route."""
    content = {route.content_type.split(";")[0]: {"schema": route.response_schema or STRING}}
    if route.streams:
        content["text/event-stream"] = {"schema": EVENT}
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    description: dict[str, Any] = {
        "summary": route.summary,
        "operationId": (route.method.lower() + route.path.replace("/", "_")).rstrip("_"),
        "responses": {
            "200": {"description": "the response", "content": content},
            "default": {"description": "an error, with a sentence that explains it", "content": error},
        },
    }
    if route.make_body is not None:
        body = {JSON: {"schema": route.make_body(served).schema()}}
        description["requestBody"] = {"required": True, "content": body}
    if route.is_prefix:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        description["parameters"] = [name | {"description": "of the model"}]
    if requires_key:
        description["security"] = NO_KEY if route.public else WITH_KEY
    return description
