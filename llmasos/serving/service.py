"""A model and the server in front of it, in one object.

    model = LLMServing.from_pretrained("my_llm")
    service = model.create_service()
    service.start()
    response = service.predict(text="Hello, world!")
    service.stop()

A service is a `Client` of its own server: whatever is asked of it takes the same way as the question of anybody else
who knows `service.url`, and stands in the same queue.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from llmasos import hub
from llmasos.errors import UserError
from llmasos.serving.engine import Engine
from llmasos.serving.http.app import MAX_TOKENS, App, create_app
from llmasos.serving.http.client import Client
from llmasos.serving.http.http_types import MAX_BODY
from llmasos.serving.http.server import HTTPServer, listen
from llmasos.serving.http.transport import Transport
from llmasos.serving.served_model import name_of
from llmasos.tokenizers import Tokenizer
from llmasos.training.device import pick_device


class LLMServing:
    """A model that is to be served. Made by `from_pretrained`.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: what turns text into its token ids and back.
        name: where it came from.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, name: str):
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self._served_by: Service | None = None  # one engine at a time may use the model
        self._guard = threading.RLock()

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "auto", quantize: str | None = None) -> "LLMServing":
        """Open a model.

        Args:
            name: a folder (a model's or a run's), a shipped model (`python -m llmasos models`), or a model of the
                Hugging Face hub: from its cache, or downloaded.
            device: "auto", "cpu", "cuda" or "mps".
            quantize: "int8" for a quarter of the memory.

        Raises:
            UserError: there is no such model, it cannot be fetched, or it is damaged or of an unknown kind; or there is
                no such way to quantise.
        """
        model, tokenizer = hub.load_pretrained(name, pick_device(device), say=print, quantize=quantize)
        return cls(model, tokenizer, str(name))

    def create_service(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        api_key: str | None = None,
        name: str | None = None,
        hosts: Sequence[str] | None = None,
        max_batch: int = 16,
        max_waiting: int = 64,
        max_tokens: int = MAX_TOKENS,
        max_body: int = MAX_BODY,
        max_connections: int = 256,
        request_seconds: float = 120.0,
    ) -> "Service":
        """A service with this model, yet to be started.

        Args:
            host: where to listen; "127.0.0.1" can be reached from this machine only, "0.0.0.0" from everywhere.
            port: 0 takes any that is free; `service.url` then has it.
            max_connections: how many may ask at the same time.
            others: as in `app.create_app` and `Engine`.
        """

        def make_app() -> App:
            engine = Engine(self.model, self.tokenizer, max_batch, max_waiting, request_seconds=request_seconds)
            return create_app(
                engine,
                name=name or name_of(self.name),
                api_key=api_key,
                hosts=hosts,
                max_tokens=max_tokens,
                max_body=max_body,
            )

        return Service(self, make_app, host, port, max_connections, timeout=request_seconds + 10.0)

    def __repr__(self) -> str:
        return f"LLMServing({self.name}, {self.model.config.family})"


class Service(Client):
    """A server that runs in the background of this program, and the calls of `Client` to ask it. See `create_service`.

    with model.create_service() as service:
        for piece in service.stream("Once there was"):
            print(piece, end="")
    """

    def __init__(
        self,
        serving: LLMServing,
        make_app: Callable[[], App],
        host: str,
        port: int,
        max_connections: int,
        timeout: float,
    ):
        """Args:
        make_app: makes the application, with its engine at work.
        timeout: how many seconds our own questions wait while nothing comes; longer than a request may take, so that
            it is the server who says that it took too long.
        others: as in `create_service`.
        """
        self.serving, self.host, self.port, self.max_connections = serving, host, port, max_connections
        self._make_app, self._timeout = make_app, timeout
        self._running: tuple[App, HTTPServer, Transport] | None = None

    @property
    def transport(self) -> Transport:
        """The way to the server. Raises UserError if it does not run."""
        running = self._running
        if running is None:
            raise UserError("the service does not run: call its start() first, or use it in a with statement.")
        return running[2]

    @property
    def running(self) -> bool:
        """Whether it has been started, and not stopped since."""
        return self._running is not None

    def start(self) -> "Service":
        """Serve from now on; returns the service itself as soon as it takes work. Once it runs, this does nothing.

        Raises:
            UserError: the port is taken, a setting is out of range, or another service has the model.
        """
        serving = self.serving
        with serving._guard:
            if self._running is not None:
                return self
            if serving._served_by is not None:
                raise UserError(f"{serving.name} is served at {serving._served_by.url} already, and a model can be in "
                                "one service at a time: stop that one first, or open the model once more.")  # fmt: skip
            with ExitStack() as undo:  # should anything fail on the way
                listener = listen(self.host, self.port)
                undo.callback(listener.close)
                app = self._make_app()
                undo.callback(app.close, 0.0)
                server = HTTPServer(app, self.host, listener=listener, max_connections=self.max_connections)
                transport = Transport(server.url, app.api_key, self._timeout)
                server.start()
                undo.pop_all()
            if server.public and app.api_key is None:
                warnings.warn("everybody who can reach this machine can use the service; give it an api_key.",
                              stacklevel=2)  # fmt: skip
            self._running, serving._served_by = (app, server, transport), self
        return self

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no more work; what is running may take so many seconds to end. Then this does nothing until `start`."""
        with self.serving._guard:
            if self._running is None:
                return
            app, server, _ = self._running
            app.close(drain_seconds)  # meanwhile the server says 503 to whoever comes
            server.stop()
            self._running = self.serving._served_by = None

    def __enter__(self) -> "Service":
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Service({self.serving.name}, {self.url if self.running else 'not running'})"
