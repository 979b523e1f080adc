"""`/docs`: the routes, their fields and a request to try, as a page for people.

Everything on it comes from the server's own definitions: the routes, the validators of their bodies (`validators.py`)
and the examples of `capabilities.py`. So it cannot promise anything that the server does not do. It reveals nothing
about the model, because the page is public, like the one at `/`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

from llmasos.capabilities import CAPABILITIES
from llmasos.serving.api.validators import AnyOf, Field, Ignored, ListOf, Object, Unsupported, Validator
from llmasos.serving.http.errors import show
from llmasos.serving.http.http_types import Environ, Route
from llmasos.serving.http.page import read_file
from llmasos.serving.served_model import ServedModel

HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9A-Fa-f:]+\](:[0-9]+)?")
CURL_KEY = ' \\\n  -H "Authorization: Bearer $LLMASOS_API_KEY"'
PYTHON_KEY = ', "Authorization": "Bearer " + os.environ["LLMASOS_API_KEY"]'


class Row(NamedTuple):
    """A field of a body, named as in error messages: `messages[].role`."""

    name: str
    field: Field


def docs_page(served: ServedModel, routes: Sequence[Route], base_url: str, requires_key: bool) -> bytes:
    """The page.

    Args:
        served: the model, on which the bodies depend.
        routes: the routes that the model supports.
        base_url: the server's URL from the reader's point of view, for the examples.
        requires_key: whether requests need an API key.
    """
    routes = sorted(routes, key=lambda route: route.make_body is None)  # the model's capabilities first
    contents = "".join(f'<li><a href="#{anchor(route)}">{escape(title(route))}</a></li>' for route in routes)
    sections = "".join(section(served, route, base_url, requires_key) for route in routes)
    key = (
        "Requests need the API key of this server, except where a route says otherwise: "
        "<code>Authorization: Bearer KEY</code>."
        if requires_key
        else "No API key is needed."
    )
    template = read_file("docs.html")
    for marker, text in (
        ("style", f"<style>\n{read_file('style.css')}{read_file('docs.css')}</style>"),
        ("base-url", escape(base_url)),
        ("key", key),
        ("contents", contents),
        ("sections", sections),
    ):
        template = template.replace(f"<!-- {marker} -->", text)
    return template.encode("utf-8")


def base_url_of(environ: Environ) -> str:
    """The URL by which the reader reached the server; localhost if the Host header is not valid in a URL."""
    host = environ.get("HTTP_HOST", "")
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host if HOST.fullmatch(host) else 'localhost'}"


def title(route: Route) -> str:
    """The method and the path of a route."""
    return f"{route.method} {route.path}{'NAME' * route.is_prefix}"


def anchor(route: Route) -> str:
    """The name of a route's section in the page's URL."""
    return (route.method.lower() + route.path.replace("/", "-")).rstrip("-") + "-name" * route.is_prefix


def section(served: ServedModel, route: Route, base_url: str, requires_key: bool) -> str:
    """The page's section about one route."""
    name = f"{anchor(route)}-title"
    parts = [
        f'<section id="{anchor(route)}" class="stack" aria-labelledby="{name}">',
        f'<h2 id="{name}"><code>{escape(title(route))}</code></h2>',
        f"<p>{escape(route.summary)}{' It needs no key.' if requires_key and route.public else ''}"
        f"{' With <code>stream</code> it is answered by server-sent events.' if route.streams else ''}</p>",
    ]
    body: dict[str, Any] | None = None
    if route.make_body is not None:
        schema = route.make_body(served)
        assert isinstance(schema, Object)
        body = example_of(route, schema)
        rows = list(rows_of(schema))
        inert = [row for row in rows if isinstance(row.field.validator, Ignored | Unsupported)]
        parts.append(table(served, [row for row in rows if row not in inert]))
        if inert:
            parts.append("<details><summary>Fields of OpenAI’s API without an effect</summary>")
            parts.append(f"{table(served, inert)}</details>")
    if not route.is_prefix:
        with_key = requires_key and not route.public
        parts += [pre(as_curl(base_url, route, body, with_key), "curl"),
                  pre(as_python(base_url, route, body, with_key), "Python")]  # fmt: skip
    return "\n".join([*parts, "</section>"])


def rows_of(body: Object, prefix: str = "") -> Iterator[Row]:
    """Yield every field of a body, each followed by the fields of the objects in it."""
    for name, field in body.fields.items():
        yield Row(prefix + name, field)
        for inner, suffix in objects_in(field.validator):
            yield from rows_of(inner, f"{prefix}{name}{suffix}.")


def objects_in(validator: Validator, suffix: str = "") -> Iterator[tuple[Object, str]]:
    """The objects that a value may be or contain, each with its path: "[]" is an item of a list."""
    if isinstance(validator, Object):
        yield validator, suffix
    elif isinstance(validator, ListOf):
        yield from objects_in(validator.item, f"{suffix}[]")
    elif isinstance(validator, AnyOf):
        for option in validator.options:
            yield from objects_in(option, suffix)


def table(served: ServedModel, rows: Sequence[Row]) -> str:
    """The fields with their types, ranges and defaults."""
    lines = []
    for name, field in rows:
        expected = field.validator.expected.replace(show(served.name), "the model's name")
        default = "" if field.default is None else f"<code>{escape(json.dumps(field.default))}</code>"
        cells = (f"<code>{escape(name)}</code>", escape(expected), "required" if field.required else default,
                 escape(field.help))  # fmt: skip
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f'<th scope="col">{cell}</th>' for cell in ("field", "must be", "default", "what it does"))
    rows_html = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{rows_html}</table></div>'


def example_of(route: Route, body: Object) -> dict[str, Any]:
    """A body that the route accepts."""
    capability = CAPABILITIES.get(route.capability or "")
    if capability is not None and capability.route == route.path and capability.example:
        return json.loads(capability.example)
    return {name: field.example for name, field in body.fields.items() if field.required}


def as_curl(base_url: str, route: Route, body: dict[str, Any] | None, with_key: bool) -> str:
    """A request as a shell command."""
    command = f"curl {base_url}{route.path}{CURL_KEY * with_key}"
    if body is None:
        return command
    data = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return f"{command} \\\n  -H 'Content-Type: application/json' \\\n  -d '{data}'"


def as_python(base_url: str, route: Route, body: dict[str, Any] | None, with_key: bool) -> str:
    """The same request with Python's standard library."""
    lines = ["import json"] * (body is not None) + ["import os"] * with_key
    lines += ["from urllib.request import Request, urlopen", ""]
    arguments = [repr(base_url + route.path)]
    headers = PYTHON_KEY.removeprefix(", ") * with_key
    if body is not None:
        lines += [f"body = {body!r}"]
        arguments.append("json.dumps(body).encode()")
        headers = '"Content-Type": "application/json"' + PYTHON_KEY * with_key
    arguments += [f"headers={{{headers}}}"] * bool(headers)
    lines += [f"request = Request({', '.join(arguments)})", "print(urlopen(request).read().decode())"]
    return "\n".join(lines)


def pre(code: str, language: str) -> str:
    """A block of code."""
    return f'<pre tabindex="0" aria-label="The request in {language}">{escape(code)}</pre>'
