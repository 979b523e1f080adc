"""Shared by the tests of HTTP: small models of every type behind a server, and two ways to send requests."""

import io
import json
import re
import socket
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from wsgiref.util import setup_testing_defaults

from generation_helpers import lively_model, lively_transformer
from model_helpers import randomize

from llmasos.models import ModelConfig, build_model
from llmasos.serving.app import App, create_app
from llmasos.serving.engine import Engine
from llmasos.serving.http.server import HTTPServer
from llmasos.tokenizers import ByteTokenizer, train_tokenizer

BYTES = ByteTokenizer()
SENTENCES = ["the cat sat on the mat .", "a dog ran to the river and was happy .", "Anna was sad ."] * 3
JSON = "application/json"
ENDLESS = {"prompt": "abc", "max_tokens": 4096, "temperature": 0, "frequency_penalty": -2}
"""A text that does not end by itself: what has been said becomes likelier every time."""
FOR_EVER = ENDLESS | {"max_tokens": 100_000}
"""The same for a server that lets a text become so long: it is still being written when a slow machine looks."""
OURS = "127.0.0.2"
"""An address of this machine that other programs hardly use: none takes a port of it that a test has just let go."""
PATIENT = {"read_seconds": 600.0, "write_seconds": 600.0}
"""How long a server waits for its clients where that is not what is tested: a busy machine can hold anybody up."""


def tiny(kind: str) -> Engine:
    """A small model with random weights, and its engine: gpt, bert, transformer, classifier, ner or qa."""
    if kind == "gpt":
        return Engine(lively_model("llama-laptop", vocab_size=257, context_length=64), BYTES, max_batch=16)
    if kind == "transformer":
        return Engine(lively_transformer(context_length=48), BYTES)
    tokenizer = train_tokenizer("wordpiece", SENTENCES, 120)
    head = {"bert": "pretraining", "ner": "token_classifier", "qa": "question_answering"}.get(kind, kind)
    labels = {"classifier": ("happy", "sad", "neither"), "token_classifier": ("O", "B-PER", "I-PER")}.get(head, ())
    config = ModelConfig(family="bert", vocab_size=tokenizer.vocab_size, context_length=64, n_layers=2, n_heads=2,
                         d_model=32, norm_position="post", head=head, labels=labels)  # fmt: skip
    return Engine(randomize(build_model(config), scale=0.3).eval(), tokenizer)


@dataclass
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error in the response, after checking that it is a sentence in OpenAI's format."""
        assert self.status >= 400 and self.headers["Content-Type"] == JSON, (self.status, self.body)
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert re.fullmatch(r"\S.*[.?]", error["message"]), error
        return error

    @property
    def events(self) -> list[Any]:
        """The events of a stream, without the [DONE] that must end it."""
        return events(self.body)


def events(body: bytes) -> list[Any]:
    """The events of a stream, without the [DONE] that must end it."""
    *found, done, end = body.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in found]


def begin(app: App, method: str, path: str, body: Any = None, **environ: Any) -> tuple[list[Any], Iterable[bytes]]:
    """Send a request directly to an application: returns status and headers, and the unread pieces of the response.

    `body` is bytes, or becomes JSON; environ is added to that of the request.
    """
    given: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": "localhost"}
    setup_testing_defaults(given)
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given |= {"CONTENT_TYPE": JSON, "CONTENT_LENGTH": str(len(data)), "wsgi.input": io.BytesIO(data)}
    given |= environ
    said: list[Any] = []
    pieces = app(given, lambda status, headers: said.extend([status, headers]))
    return said, pieces


def ask(app: App, method: str, path: str, body: Any = None, **environ: Any) -> Answer:
    """Send a request directly to an application, and read the whole response."""
    said, pieces = begin(app, method, path, body, **environ)
    try:
        received = b"".join(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    answer = Answer(int(said[0].split()[0]), dict(said[1]), received)
    if "Content-Length" in answer.headers and method != "HEAD":
        assert int(answer.headers["Content-Length"]) == len(received)
    return answer


@contextmanager
def server_of(app: App, **settings: Any):
    """A running server, stopped at the end."""
    server = HTTPServer(app, **{"port": 0} | PATIENT | settings)
    server.start()
    try:
        yield server
    finally:
        server.stop(1.0)


@contextmanager
def app_of(model: Any, **settings: Any):
    """An application, closed at the end."""
    app = create_app(model, **settings)
    try:
        yield app
    finally:
        app.close(0.0)


def connect(port: int, seconds: float = 60.0) -> socket.socket:
    """A connection to a server on this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=seconds)


def request_bytes(path: str, body: Any = None, method: str = "POST", headers: str = "") -> bytes:
    """The bytes of a request on the wire."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    length = "" if body is None else f"Content-Type: {JSON}\r\nContent-Length: {len(data)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}{headers}\r\n".encode() + data


def send(port: int, data: bytes, seconds: float = 60.0) -> Answer | None:
    """Send bytes to a server and read until it closes. None if it closed without a response."""
    with connect(port, seconds) as connection:
        connection.sendall(data)
        return receive(connection)


def receive(connection: socket.socket) -> Answer | None:
    """Read the response on a connection and check that it is complete; None if there is none."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    if not received:
        return None
    head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if "Content-Length" in headers:
        assert len(body) == int(headers["Content-Length"]), "the answer is cut off"
    return Answer(int(first.split()[1]), headers, body)


def wait_until(condition, seconds: float = 60.0) -> None:
    """Wait until a condition is true. The limit is far above what a busy machine needs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
