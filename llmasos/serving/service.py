"""A model and its server in one object.

    model = LLMServing.from_pretrained("my_llm")
    service = model.create_service()
    service.start()
    response = service.predict(text="Hello, world!")
    service.stop()

A service is a `Client` of its own server: its calls take the same path as any other client's requests to
`service.url`, and wait in the same queue.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from llmasos import hub
from llmasos.arguments import checked, refuse_name_as_model
from llmasos.console import quiet, say
from llmasos.errors import UserError
from llmasos.models import Model
from llmasos.serving import MAX_BODY, MAX_TOKENS
from llmasos.serving.app import App, create_app
from llmasos.serving.engine import Engine
from llmasos.serving.http.client import Client
from llmasos.serving.http.server import HTTPServer, listen
from llmasos.serving.http.transport import Transport
from llmasos.serving.served_model import default_name
from llmasos.tokenizers import Tokenizer
from llmasos.training.device import pick_device


class LLMServing:
    """A model to serve. Made by `from_pretrained`.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: the one that the model was trained with.
        name: the name or folder that the model was loaded from.
        examples: inputs to try on the page.
    """

    def __init__(
        self,
        model: Model = None,  # type: ignore[assignment]
        tokenizer: Tokenizer = None,  # type: ignore[assignment]
        name: str = "",
        examples: Sequence[Sequence[str]] = (),
    ):
        refuse_name_as_model("LLMServing", model, tokenizer)
        self.model, self.tokenizer, self.name, self.examples = model, tokenizer, name, examples
        self._service: Service | None = None  # only one engine at a time may use the model
        self._lock = threading.RLock()

    @classmethod
    @checked
    def from_pretrained(
        cls,
        name: str | Path,
        device: str | torch.device = "auto",
        quantize: str | None = None,
        adapter: str | Path | None = None,
        verbose: bool = True,
    ) -> "LLMServing":
        """Load a model.

        Args:
            name: a folder (a model's or a run's), a shipped model (`python -m llmasos models`), or a model of the
                Hugging Face hub, which is downloaded if it is not in the cache.
            device: "auto", "cpu", "cuda", "cuda:1", "mps", or a `torch.device`.
            quantize: "int8" for a quarter of the memory, "int4" for about a sixth.
            adapter: the folder or the run of a LoRA adapter of the model, which is merged into it.
            verbose: False prints nothing.

        Raises:
            UserError: there is no such model, it cannot be downloaded, it is damaged or of an unknown format, or
                `quantize` is unknown.
        """
        with quiet(not verbose):
            model, tokenizer = hub.load_pretrained(name, pick_device(device), say, quantize, adapter)
        return cls(model, tokenizer, str(name if adapter is None else adapter), hub.card_examples(name))

    @checked
    def create_service(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        api_key: str | None = None,
        name: str | None = None,
        hosts: Sequence[str] | None = None,
        allow_origins: Sequence[str] = (),
        max_batch: int | None = None,
        max_waiting: int = 64,
        max_tokens: int = MAX_TOKENS,
        max_body: int = MAX_BODY,
        max_connections: int = 256,
        request_seconds: float = 120.0,
        page_size: int | None = None,
    ) -> "Service":
        """Make a service with this model; its `start` starts it.

        Args:
            host: the address where to listen; "127.0.0.1" can be reached from this machine only, "0.0.0.0" from
                everywhere.
            port: 0 chooses a free one; `service.url` then has it.
            max_connections: the number of clients that may be connected at once.
            api_key, name, hosts, allow_origins, max_batch, max_waiting, max_tokens, max_body, request_seconds,
                page_size: as in `create_app`.
        """

        def make_app() -> App:
            engine = Engine(
                self.model, self.tokenizer, max_batch, max_waiting, request_seconds=request_seconds, page_size=page_size
            )
            return create_app(
                engine,
                name=name or default_name(self.name),
                api_key=api_key,
                hosts=hosts,
                allow_origins=allow_origins,
                max_tokens=max_tokens,
                max_body=max_body,
                examples=self.examples,
            )

        return Service(self, make_app, host, port, max_connections, timeout=request_seconds + 10.0)

    def __repr__(self) -> str:
        return f"LLMServing({self.name}, {self.model.config.family})"


class Service(Client):
    """A server in the background of this program, with the methods of `Client`. Made by `LLMServing.create_service`.

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
        """Make a service; `start` starts it.

        Args:
            serving: the model.
            make_app: the function that makes the application, with a running engine.
            host, port, max_connections: as in `create_service`.
            timeout: the seconds that our own requests wait while nothing arrives. It is longer than a request may take,
                so that the server reports requests that take too long.
        """
        self.serving, self.host, self.port, self.max_connections = serving, host, port, max_connections
        self._make_app, self._timeout = make_app, timeout
        self._running: tuple[App, HTTPServer, Transport] | None = None

    @property
    def transport(self) -> Transport:  # type: ignore[override]
        """The connection to the server. Raises UserError if the service is not running."""
        running = self._running
        if running is None:
            raise UserError("the service is not running; call its start() first, or use it in a with statement.")
        return running[2]

    @property
    def running(self) -> bool:
        """Whether the service is running."""
        return self._running is not None

    def start(self) -> "Service":
        """Start the server, and return the service when it accepts work. Does nothing if it is already running.

        Raises:
            UserError: the port is taken, a setting is out of range, or the model is in another running service.
        """
        serving = self.serving
        with serving._lock:
            if self._running is not None:
                return self
            if serving._service is not None:
                raise UserError(f"{serving.name} is already served at {serving._service.url}, and a model can be in "
                                "one service at a time; stop that one first, or load the model again.")  # fmt: skip
            with ExitStack() as cleanup:  # if anything fails on the way
                listener = listen(self.host, self.port)
                cleanup.callback(listener.close)
                app = self._make_app()
                cleanup.callback(app.close, 0.0)
                server = HTTPServer(app, self.host, listener=listener, max_connections=self.max_connections)
                transport = Transport(server.url, app.api_key, self._timeout)
                server.start()
                cleanup.pop_all()
            if server.public and app.api_key is None:
                warnings.warn("anyone who can reach this machine can use the service; set an api_key.",
                              stacklevel=2)  # fmt: skip
            self._running, serving._service = (app, server, transport), self
        return self

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Accept no more work, give what is running this long to finish, and stop. Does nothing if not running."""
        with self.serving._lock:
            if self._running is None:
                return
            app, server, _ = self._running
            app.close(drain_seconds)  # meanwhile the server answers new requests with 503
            server.stop()
            self._running = self.serving._service = None

    def __enter__(self) -> "Service":
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Service({self.serving.name}, {self.url if self.running else 'not running'})"
