"""The WSGI application: a model behind HTTP, for any server that speaks WSGI.

    python -m llmasos serve storyworld-gpt                                     # the server that comes with the library

    gunicorn --worker-class gthread --threads 32 'llmasos.serving.http.app:create_app("storyworld-gpt")'

    from waitress import serve
    serve(create_app("storyworld-gpt"), listen="127.0.0.1:8000", threads=32)

Each thread answers one request at a time, so their number limits how many are answered at once. There is one model in
each process: one worker process with many threads is right, and gunicorn's `--preload` is not, because the engine's
thread does not survive a fork.

On its way in, a request passes these doors, each of which can refuse it with a sentence:

    host → key → path → method → Content-Type → size → JSON → fields → the route's own function

Behind a proxy that passes the public name on, `create_app` must be told this name: `hosts=["models.example.com"]`.
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

from llmasos import hub
from llmasos.errors import UserError
from llmasos.serving.api import ROUTES
from llmasos.serving.api.openapi import document
from llmasos.serving.engine import Engine
from llmasos.serving.http.errors import Refused, error_object, refusal, status_line
from llmasos.serving.http.http_types import MAX_BODY, Environ, Request, Response, Route, json_response, read_body
from llmasos.serving.http.json_body import show
from llmasos.serving.metrics import Metrics
from llmasos.serving.served_model import Served, name_of
from llmasos.training.device import pick_device

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
KEY_VARIABLE = "LLMASOS_API_KEY"
MAX_TOKENS = 4096
VERSION = "0.1.0"
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def create_app(
    model: str | Path | Engine,
    *,
    name: str | None = None,
    quantize: str | None = None,
    device: str = "auto",
    api_key: str | None = None,
    hosts: Sequence[str] | None = None,
    max_batch: int = 16,
    max_waiting: int = 64,
    max_tokens: int = MAX_TOKENS,
    max_body: int = MAX_BODY,
    request_seconds: float = 120.0,
) -> "App":
    """Open a model, start its engine, and make the application.

    Args:
        model: a folder, a shipped model's name or one of the Hugging Face hub; or an engine.
        name: what requests call the model (None = its name, or the last part of its folder's).
        quantize: "int8" stores the weights in a quarter of the memory.
        device: "auto", "cpu", "cuda" or "mps".
        api_key: what requests must show as `Authorization: Bearer …` (None = what the environment variable
            LLMASOS_API_KEY says; nothing if there is none).
        hosts: the names under which the server may be asked, without port, or ["*"] for any. None = the names of this
            machine itself, as long as no key is asked for: a page of another site could otherwise give its own name
            this machine's address, and read what the model says ("DNS rebinding").
        max_batch, max_waiting: how many requests are worked on at once, and how many more may wait.
        max_tokens: how many tokens a request may ask for.
        max_body: how many bytes a body may have.
        request_seconds: how long a request may take.

    Raises:
        UserError: there is no such model, it is damaged, or an argument is not as it must be.
    """
    api_key = os.environ.get(KEY_VARIABLE) if api_key is None else api_key
    if api_key is not None and not re.fullmatch("[!-~]+", api_key):
        raise UserError("the API key is empty or holds a space or a letter that is not ASCII; choose one without.")
    if isinstance(hosts, str):
        raise UserError(f"hosts is {hosts!r}; it must be a list of names, for example [{hosts!r}].")
    for what, value in (("max_tokens", max_tokens), ("max_body", max_body)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{what} is {value!r}; it must be a whole number of at least 1.")
    if isinstance(model, str | Path):
        opened, tokenizer = hub.load_pretrained(model, pick_device(device), quantize=quantize)
        engine = Engine(opened, tokenizer, max_batch, max_waiting, request_seconds=request_seconds, metrics=Metrics())
        name = name or name_of(model)
    else:
        engine = model
    app = App(Served(name or "model", engine, max_tokens), api_key, hosts, max_body)
    engine.start()
    return app


class App:
    """A served model as a WSGI application. Made by `create_app`.

    Attributes:
        served: the model under its name.
        engine: what works for it.
        routes: what can be asked of it.
    """

    def __init__(self, served: Served, api_key: str | None, hosts: Sequence[str] | None, max_body: int):
        self.served, self.engine = served, served.engine
        self.api_key, self.max_body = api_key, max_body
        self.hosts = None if hosts is None else [host_name(host) for host in hosts]
        document_route = Route("GET", "/openapi.json", lambda request: json_response(self.document), "This document.")
        self.routes = [r for r in [*ROUTES, document_route] if r.needs is None or r.needs in served.abilities]
        self.document = document(served, self.routes, VERSION, secured=api_key is not None)
        self._bodies = {route.path: route.body(served) for route in self.routes if route.body is not None}
        metrics, engine = served.metrics, served.engine
        metrics.gauge("llmasos_requests_running", "Requests in the batch.", lambda: engine.n_running)
        metrics.gauge("llmasos_requests_waiting", "Requests and jobs that wait.", lambda: engine.n_waiting)
        metrics.gauge("llmasos_ready", "1 while work is taken.", lambda: int(engine.alive))
        atexit.register(self.close, 0.0)

    def close(self, drain: float = 30.0) -> None:
        """Take no more work; what is running may finish within so many seconds. May be called again."""
        atexit.unregister(self.close)
        self.engine.stop(drain)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")  # WSGI's are bytes
        route: Route | None = None
        try:
            self.check_host(environ)
            if not any(there.open and there.path == path for there in self.routes):
                self.check_key(environ)
            route = self.find(method, path)
            values = self._bodies[route.path].check(read_body(environ, self.max_body)) if route.body else {}
            rest = path[len(route.path) :] if route.prefix else ""
            response = route.answer(Request(self.served, values, rest, environ))
        except Exception as error:
            refused = refusal(error)
            response = json_response(error_object(refused), refused.status, refused.headers)
        self.count_answer(method, response.status, route)
        return send(response, method == "HEAD", start_response)

    def count_answer(self, method: str | None, status: int, route: Route | None = None) -> None:
        """Count an answer. A server may do so for what it refuses itself, even before there is a method."""
        self.served.metrics.http_requests.add(1, route.path if route else "other", known(method), status)

    def find(self, method: str, path: str) -> Route:
        """The route for a request; HEAD is a GET whose answer is not sent.

        Raises:
            Refused: there is none of this path (404), or none of this method (405).
        """
        fitting = [
            r for r in self.routes
            if path == r.path or (r.prefix and path.startswith(r.path) and len(path) > len(r.path))
        ]  # fmt: skip
        for route in fitting:
            if route.method == ("GET" if method == "HEAD" else method):
                return route
        if not fitting:
            raise Refused(self.what_there_is(path), status=404, code="no_such_route")
        allowed = ", ".join("GET, HEAD" if route.method == "GET" else route.method for route in fitting)
        raise Refused(f"{fitting[0].path} cannot be asked with {show(method)}; use {allowed}.", status=405,
                      code="method_not_allowed", headers=(("Allow", allowed),))  # fmt: skip

    def what_there_is(self, path: str) -> str:
        """What to say about a path that is not there."""
        others = [route for route in ROUTES if route.path == path]
        if others:
            config = self.served.config
            kind = config.family if config.head == "none" else f"{config.family} with the head {config.head!r}"
            can = ", ".join(self.served.abilities)
            return f"{self.served.name} is a {kind}: it can {can}, and {path} is for models that {others[0].needs}."
        there = [route.path + "NAME" * route.prefix for route in self.routes]
        near = difflib.get_close_matches(path[:100], there, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(there)}."
        return f"there is no {show(path)} here; {hint}"

    def check_host(self, environ: Environ) -> None:
        """Raise Refused (403) if the request is meant for a server of another name."""
        host = environ.get("HTTP_HOST")
        if host is None:  # no browser, then
            return
        names = self.names(environ)
        if "*" not in names and host_name(host) not in names:
            raise Refused(
                f"this server does not answer to the name {show(host)}; it is called {', '.join(names)} "
                "(whoever runs it can give it more names: hosts=… of create_app, --allow-host of serve).",
                status=403, code="host_not_allowed",
            )  # fmt: skip

    def names(self, environ: Environ) -> Collection[str]:
        """What the server may be called; "*" stands for everything."""
        if self.hosts is not None:
            return self.hosts
        if self.api_key is not None or environ.get("llmasos.public"):
            return ("*",)
        listening = [environ[key] for key in ("llmasos.host", "llmasos.host_given") if key in environ]
        return dict.fromkeys((*LOOPBACK, *map(host_name, listening)))

    def check_key(self, environ: Environ) -> None:
        """Raise Refused (401) if a key is needed and not shown. The time it takes tells nothing about the key."""
        if self.api_key is None:
            return
        scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        # WSGI hands over bytes as Latin-1 characters
        shown, right = key.strip().encode("latin-1", "replace"), self.api_key.encode("ascii")
        if not hmac.compare_digest(shown, right) or scheme.lower() != "bearer":
            raise Refused(
                "this server asks for its API key, and the request shows none or another; send it as "
                "Authorization: Bearer KEY.",
                status=401, code="invalid_api_key", headers=(("WWW-Authenticate", "Bearer"),),
            )  # fmt: skip


def host_name(host: str) -> str:
    """The name of a host as names are compared: in lower case, without port, an IPv6 address in brackets.

    >>> [host_name(host) for host in ("Example.COM.", "localhost:8000", "::1", "[::1]:8000", "[0:0::1]")]
    ['example.com', 'localhost', '[::1]', '[::1]', '[::1]']
    """
    host = host.strip().lower()
    in_brackets = re.fullmatch(r"\[(.*)\](:[0-9]*)?", host)
    with contextlib.suppress(ValueError):
        return f"[{IPv6Address(in_brackets[1] if in_brackets else host)}]"
    return re.sub(":[0-9]*$", "", host).removesuffix(".")


def known(method: str | None) -> str:
    """A method as the metrics count it: whatever else somebody makes up is one kind."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH") else "other"


def send(response: Response, head_only: bool, start_response: StartResponse) -> Iterable[bytes]:
    """Hand an answer to the WSGI server."""
    whole = isinstance(response.body, bytes)
    headers = [("Content-Type", response.content_type), ("X-Content-Type-Options", "nosniff"), *response.headers]
    if whole:
        headers.append(("Content-Length", str(len(response.body))))
    start_response(status_line(response.status), headers)
    if not whole:
        return response.body
    return [] if head_only else [response.body]
