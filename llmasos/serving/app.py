"""The WSGI application: a model behind HTTP, for any server that speaks WSGI.

    python -m llmasos serve storyworld-gpt                                     # the embedded server

    gunicorn --worker-class gthread --threads 32 'llmasos.serving.app:create_app("storyworld-gpt")'

    from waitress import serve
    serve(create_app("storyworld-gpt"), listen="127.0.0.1:8000", threads=32)

A thread answers one request at a time, so the number of threads limits how many requests are answered at once. Each
process has a model of its own: use one worker process with many threads, and do not use gunicorn's `--preload`, because
the engine's thread does not survive a fork.

A request passes these checks, each of which can reject it with a sentence:

    host → API key → path → method → Content-Type → size → JSON → fields → the route's handler

A page of another site can read the answers only if its origin is allowed (`http/cors.py`): `allow_origins=[…]`.

Behind a proxy that passes its public name on, `create_app` needs that name: `hosts=["models.example.com"]`.
"""

import atexit
import contextlib
import difflib
import hmac
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from llmasos import __version__, hub
from llmasos.capabilities import CAPABILITIES
from llmasos.errors import UserError, check_number
from llmasos.serving import API_KEY_VARIABLE, LOOPBACK, MAX_BODY, MAX_TOKENS
from llmasos.serving.api import ROUTES
from llmasos.serving.api.docs import base_url_of, docs_page
from llmasos.serving.api.openapi import openapi_document
from llmasos.serving.api.status import HTML, html_response
from llmasos.serving.engine import Engine
from llmasos.serving.http.cors import AllowedOrigins, is_preflight
from llmasos.serving.http.errors import Headers, RequestError, as_request_error, error_object, show, status_line
from llmasos.serving.http.http_types import Environ, Request, Response, Route, json_response, parse_body
from llmasos.serving.metrics import Metrics
from llmasos.serving.served_model import ServedModel, default_name
from llmasos.settings import LARGEST_COUNT
from llmasos.training.device import pick_device

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def create_app(
    model: str | Path | Engine,
    *,
    name: str | None = None,
    quantize: str | None = None,
    adapter: str | Path | None = None,
    device: str = "auto",
    api_key: str | None = None,
    hosts: Sequence[str] | None = None,
    allow_origins: Sequence[str] = (),
    max_batch: int | None = None,
    max_waiting: int = 64,
    max_tokens: int = MAX_TOKENS,
    max_body: int = MAX_BODY,
    request_seconds: float = 120.0,
    page_size: int | None = None,
    examples: Sequence[Sequence[str]] | None = None,
) -> "App":
    """Load a model, start its engine, and make the application.

    Args:
        model: a folder, the name of a shipped model or of one on the Hugging Face hub; or an engine.
        name: the model's name in requests (None = its own name, or the last part of its folder's).
        quantize: "int8" stores the weights in a quarter of the memory, "int4" in about a sixth.
        adapter: a LoRA adapter of the model, by its folder or its run; it is merged into the model.
        device: "auto", "cpu", "cuda" or "mps".
        api_key: the key that requests must send as `Authorization: Bearer …` (None = the environment variable
            LLMASOS_API_KEY, or no key if it is not set).
        hosts: the host names that requests may use, without port, or ["*"] for any. None = any if an API key is
            required, otherwise the names of this machine only: a page of another site could resolve its own name to
            this machine's address and read what the model writes ("DNS rebinding").
        allow_origins: the origins whose pages may use the server from a browser, for example
            ["http://localhost:3000"], or ["*"] for any web page, which without an API key means anyone whose page you
            visit.
        max_batch, max_waiting: the number of requests that are decoded at once (None: see `default_batch`), and the
            number of those that may wait.
        max_tokens: the maximum number of tokens that a request may ask for.
        max_body: the maximum size of a body in bytes.
        request_seconds: the time limit of a request.
        page_size: the number of tokens in a page of the KV cache (None = every request has a slot for a whole context).
        examples: inputs to try on the page, such as [["Once there was"]] (None = those of the model's card).

    Raises:
        UserError: there is no such model, it is damaged, or an argument is invalid.
    """
    api_key = os.environ.get(API_KEY_VARIABLE) if api_key is None else api_key
    if api_key is not None and not re.fullmatch("[!-~]+", api_key):
        raise UserError("the API key is empty or has a space or a non-ASCII character; choose another one.")
    for setting, names in (("hosts", hosts), ("allow_origins", allow_origins)):
        if isinstance(names, str):
            raise UserError(f"{setting} is {names!r}; it must be a list of names, for example [{names!r}].")
    origins = AllowedOrigins(allow_origins)
    for setting, value in (("max_tokens", max_tokens), ("max_body", max_body)):
        check_number(setting, value, whole=True, at_least=1, at_most=LARGEST_COUNT)
    if isinstance(model, str | Path):
        network, tokenizer = hub.load_pretrained(model, pick_device(device), quantize=quantize, adapter=adapter)
        engine = Engine(
            network, tokenizer, max_batch, max_waiting,
            request_seconds=request_seconds, metrics=Metrics(), page_size=page_size,
        )  # fmt: skip
        name = name or default_name(model if adapter is None else adapter)
        examples = hub.card_examples(model) if examples is None else examples
    else:
        engine = model
    app = App(ServedModel(name or "model", engine, max_tokens, examples or ()), api_key, hosts, origins, max_body)
    engine.start()
    return app


class App:
    """A served model as a WSGI application. Made by `create_app`.

    Attributes:
        served: the model under its name.
        engine: the engine that runs it.
        routes: the routes that the model supports.
    """

    def __init__(
        self,
        served: ServedModel,
        api_key: str | None,
        hosts: Sequence[str] | None,
        origins: AllowedOrigins,
        max_body: int,
    ):
        self.served, self.engine = served, served.engine
        self.api_key, self.origins, self.max_body = api_key, origins, max_body
        self.hosts = None if hosts is None else [normalize_host(host) for host in hosts]
        own_routes = [
            Route("GET", "/docs", self.get_docs, "The routes and their fields, for people.", content_type=HTML,
                  public=True),
            Route("GET", "/openapi.json", lambda request: json_response(self.document), "The same for programs "
                  "(OpenAPI 3.1)."),
        ]  # fmt: skip
        self.routes = [
            route for route in [*ROUTES, *own_routes]
            if route.capability is None or route.capability in served.capabilities
        ]  # fmt: skip
        self.document = openapi_document(served, self.routes, __version__, requires_key=api_key is not None)
        self._bodies = {route.path: route.make_body(served) for route in self.routes if route.make_body is not None}
        metrics, engine = served.metrics, served.engine
        metrics.add_gauge("llmasos_requests_running", "Requests in the batch.", lambda: engine.n_running)
        metrics.add_gauge("llmasos_requests_waiting", "Requests and jobs in the queue.", lambda: engine.n_waiting)
        metrics.add_gauge("llmasos_ready", "1 while work is accepted.", lambda: int(engine.alive))
        if engine.page_size is not None:
            in_use, shared = "Pages of the KV cache that requests use.", "Pages that several requests share."
            metrics.add_gauge("llmasos_cache_pages_in_use", in_use, lambda: getattr(engine.pages, "n_in_use", 0))
            metrics.add_gauge("llmasos_cache_pages_shared", shared, lambda: getattr(engine.pages, "n_shared", 0))
        atexit.register(self.close, 0.0)

    def close(self, drain_seconds: float = 30.0) -> None:
        """Accept no more work, and give running requests this long to finish. May be called again."""
        atexit.unregister(self.close)
        self.engine.stop(drain_seconds)

    def get_docs(self, request: Request) -> Response:
        """The page for people."""
        base_url = base_url_of(request.environ)
        return html_response(docs_page(self.served, self.routes, base_url, requires_key=self.api_key is not None))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")  # WSGI passes bytes
        route: Route | None = None
        try:
            self.check_host(environ)
            if is_preflight(environ):  # without a key: browsers send none here
                response = Response(b"", headers=self.origins.preflight_headers(environ))
            else:
                if not any(public.public and public.path == path for public in self.routes):
                    self.check_key(environ)
                route = self.find_route(method, path)
                body = self._bodies.get(route.path)
                values = {} if body is None else body.check(parse_body(environ, self.max_body))
                path_suffix = path[len(route.path) :] if route.is_prefix else ""
                response = route.handler(Request(self.served, values, path_suffix, environ))
        except Exception as exception:
            error = as_request_error(exception)
            response = json_response(error_object(error), error.status, error.headers)
        self.count_response(method, response.status, route)
        return send(response, self.cors_headers(environ.get("HTTP_ORIGIN")), method == "HEAD", start_response)

    def cors_headers(self, origin: str | None) -> Headers:
        """The headers that let a page of this origin read a response. A server adds them to requests that it rejects
        itself.
        """
        return self.origins.headers(origin)

    def count_response(self, method: str | None, status: int, route: Route | None = None) -> None:
        """Count a response. The server also calls this for requests that it rejects itself, even before it knows the
        method.
        """
        label = "other" if method not in METHODS else method
        self.served.metrics.http_requests.add(1, route.path if route else "other", label, status)

    def find_route(self, method: str, path: str) -> Route:
        """The route of a request. HEAD is a GET whose body is not sent.

        Raises:
            RequestError: there is no route with this path (404), or none with this method (405).
        """
        matching = [route for route in self.routes if route.matches(path)]
        for route in matching:
            if route.method == ("GET" if method == "HEAD" else method):
                return route
        if not matching:
            raise RequestError(self.explain_missing(path), status=404, code="no_such_route")
        allowed = ", ".join("GET, HEAD" if route.method == "GET" else route.method for route in matching)
        raise RequestError(f"{matching[0].path} does not support the method {show(method)}; use {allowed}.",
                           status=405, code="method_not_allowed", headers=(("Allow", allowed),))  # fmt: skip

    def explain_missing(self, path: str) -> str:
        """The message for a path without a route."""
        for route in ROUTES:
            if route.path == path and route.capability is not None:
                needed = CAPABILITIES[route.capability].summary
                return (f"{self.served.name} can {self.served.offered_in_words}; {path} needs a model that can "
                        f"{needed} ({route.capability}).")  # fmt: skip
        paths = [route.path + "NAME" * route.is_prefix for route in self.routes]
        near = difflib.get_close_matches(path[:100], paths, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the paths are {', '.join(paths)}."
        return f"there is no path {show(path)} here; {hint}"

    def check_host(self, environ: Environ) -> None:
        """Raise RequestError (403) if the request is meant for a server with another name."""
        host = environ.get("HTTP_HOST")
        if host is None:  # not from a browser
            return
        allowed = self.allowed_hosts(environ)
        if "*" not in allowed and normalize_host(host) not in allowed:
            raise RequestError(
                f"this server does not accept requests for the host {show(host)}, only for {', '.join(allowed)} "
                "(its administrator can allow more: hosts=… of create_app, --allow-host of serve).",
                status=403, code="host_not_allowed",
            )  # fmt: skip

    def allowed_hosts(self, environ: Environ) -> Collection[str]:
        """The host names that requests may use; "*" stands for any."""
        if self.hosts is not None:
            return self.hosts
        if self.api_key is not None or environ.get("llmasos.public"):
            return ("*",)
        listening = [environ[key] for key in ("llmasos.host", "llmasos.requested_host") if key in environ]
        return dict.fromkeys((*LOOPBACK, *map(normalize_host, listening)))

    def check_key(self, environ: Environ) -> None:
        """Raise RequestError (401) if the API key is missing or wrong. The comparison takes constant time, so it
        reveals nothing about the key.
        """
        if self.api_key is None:
            return
        scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        # WSGI passes bytes as Latin-1 characters
        sent, right = key.strip().encode("latin-1", "replace"), self.api_key.encode("ascii")
        if not hmac.compare_digest(sent, right) or scheme.lower() != "bearer":
            raise RequestError(
                "this server requires its API key, and the request has none or a wrong one; send it as "
                "Authorization: Bearer KEY.",
                status=401, code="invalid_api_key", headers=(("WWW-Authenticate", "Bearer"),),
            )  # fmt: skip


def normalize_host(host: str) -> str:
    """A host name for comparison: lower case, without port, an IPv6 address in brackets.

    >>> [normalize_host(host) for host in ("Example.COM.", "localhost:8000", "::1", "[::1]:8000", "[0:0::1]")]
    ['example.com', 'localhost', '[::1]', '[::1]', '[::1]']
    """
    host = host.strip().lower()
    bracketed = re.fullmatch(r"\[(.*)\](:[0-9]*)?", host)
    with contextlib.suppress(ValueError):
        return f"[{IPv6Address(bracketed[1] if bracketed else host)}]"
    return re.sub(":[0-9]*$", "", host).removesuffix(".")


def send(response: Response, more: Headers, head_only: bool, start_response: StartResponse) -> Iterable[bytes]:
    """Pass a response to the WSGI server, with additional headers."""
    headers = [("Content-Type", response.content_type), ("X-Content-Type-Options", "nosniff")]
    headers += [*response.headers, *more]
    if isinstance(response.body, bytes):
        headers.append(("Content-Length", str(len(response.body))))
    start_response(status_line(response.status), headers)
    if not isinstance(response.body, bytes):
        return response.body
    return [] if head_only else [response.body]
