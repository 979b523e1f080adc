"""Requests, responses and routes: the HTTP interface of the functions in `api`.

WSGI (PEP 3333) is how web servers call Python programs: the application is a function of a dictionary that describes
the request (`environ`) and of another function that starts the response.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from llmasos.serving.http.errors import MAX_SHOWN, ClientDisconnected, DeadlineExceeded, Headers, RequestError, show
from llmasos.serving.served_model import ServedModel

JSON = "application/json"
MAX_DIGITS = 25  # of an integer in a body; converting a million digits would take minutes
TEXTS_PER_JOB = 4  # the model reads this many texts before other requests get a turn
Environ = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Request:
    """The input of a route's handler.

    Attributes:
        served: the model.
        values: the validated body, by field name; {} if the route takes none.
        path_suffix: the part of the path after that of a route that ends in "/".
        environ: everything else about the request, in WSGI's form.
        deadline: the time by which the work on it must have ended, on the clock of `time.monotonic`.
    """

    served: ServedModel
    values: dict[str, Any]
    path_suffix: str
    environ: Environ
    deadline: float = field(init=False)

    def __post_init__(self):
        self.deadline = time.monotonic() + self.served.engine.request_seconds

    def run(self, job: Callable[[], Result]) -> Result:
        """Run a job on the model's thread, unless the client has disconnected or the deadline has passed by then.

        Raises:
            DeadlineExceeded, ClientDisconnected: for these two reasons.
            QueueFull, ShuttingDown: as `Engine.run`.
        """

        def checked_job() -> Result:
            self.check_client()
            self.seconds_left()
            return job()

        return self.served.engine.run(checked_job, self.seconds_left())

    def seconds_left(self) -> float:
        """The time until the deadline. Raises DeadlineExceeded if it has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(self.served.engine.request_seconds)
        return left

    def run_in_chunks(
        self, job: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item], chunk_size: int = TEXTS_PER_JOB
    ) -> list[Result]:
        """Map many items to results, a few per job, so that other requests can run in between. Raises as `run`."""
        results: list[Result] = []
        for start in range(0, len(items), chunk_size):
            results += self.run(partial(job, items[start : start + chunk_size]))
        return results

    def check_client(self) -> None:
        """Raise ClientDisconnected if the client has disconnected. Only the embedded server can detect that."""
        if self.environ.get("llmasos.client_gone", lambda: False)():
            raise ClientDisconnected


@dataclass
class Response:
    """An answer. A body that is not bytes is sent piece by piece; its `close` is called at the end."""

    body: bytes | Iterable[bytes]
    content_type: str = JSON
    status: int = 200
    headers: Headers = ()


def json_response(value: Any, status: int = 200, headers: Headers = ()) -> Response:
    """A response with a JSON body, which ends with a newline for readers in a terminal."""
    return Response(to_json(value) + b"\n", JSON, status, headers)


def to_json(value: Any) -> bytes:
    """Encode a value as JSON. Raises ValueError for NaN or infinity, which would be a bug."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8", "backslashreplace")


class BodySchema(Protocol):
    """Describes and validates a request's body (`api/validators.py`)."""

    def check(self, value: Any, where: str = "") -> Any: ...

    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes:
        method, path: the request's method and path. A path that ends in "/" matches all longer paths that begin with
            it ("/" itself does not).
        handler: the function that is called with the request.
        summary: the purpose of the route, in one sentence.
        capability: the capability that the model must have; None = any model will do.
        make_body: the function that makes the schema of the body for a model; None = the route takes no body.
        response_schema: the JSON Schema of the response; None = the response is not JSON.
        content_type: the type of a response that is not JSON.
        streams: whether the response can be a stream of events.
        public: whether the route needs no API key.
    """

    method: str
    path: str
    handler: Callable[[Request], Response]
    summary: str
    capability: str | None = None
    make_body: Callable[[ServedModel], BodySchema] | None = None
    response_schema: dict[str, Any] | None = field(default=None, compare=False)
    content_type: str = JSON
    streams: bool = False
    public: bool = False

    @property
    def is_prefix(self) -> bool:
        """Whether the route matches all paths that begin with its own."""
        return self.path.endswith("/") and self.path != "/"

    def matches(self, path: str) -> bool:
        """Whether a request's path belongs to this route."""
        return path == self.path or (self.is_prefix and path.startswith(self.path) and len(path) > len(self.path))


def parse_body(environ: Environ, max_body: int) -> Any:
    """Read and parse the JSON body of a request.

    Raises:
        RequestError: its Content-Type is not JSON (415), it is too large (413), or it is not valid JSON (400).
    """
    content_type = environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
    if content_type != JSON:
        # a page of another site can make a browser send forms and plain text here, but not JSON
        raise RequestError(
            f"the body's Content-Type is {content_type or 'missing'}; it must be {JSON} "
            f"(with curl: -H 'Content-Type: {JSON}').",
            status=415,
        )
    data = environ["wsgi.input"].read(content_length(environ, max_body))
    if len(data) > max_body:
        raise body_too_large(max_body)
    return read_json(data)


def content_length(environ: Environ, max_body: int) -> int:
    """The number of bytes to read: the Content-Length, or one more than the limit if the length is unknown."""
    length = environ.get("CONTENT_LENGTH", "")
    if not length:
        return max_body + 1 if environ.get("wsgi.input_terminated") else 0
    if not (length.isascii() and length.isdigit()):
        raise RequestError(f"the Content-Length is {length[:20]!r}; it must be a number of bytes.")
    if len(length) > 18 or int(length) > max_body:
        raise body_too_large(max_body)
    return int(length)


def body_too_large(max_body: int) -> RequestError:
    """The error for a body above the limit."""
    return RequestError(f"the body is too large; the limit is {max_body:,} bytes.", status=413, code="too_large")


def read_json(data: bytes) -> Any:
    """Parse a request's body, more strictly than Python's `json`: what could be read in two ways is an error.

    Raises:
        RequestError: the body is empty, not UTF-8 or not JSON; an object has a field twice; or the body holds NaN, a
            number that is too large (1e999) or has too many digits, or lists nested too deeply.
    """
    if not data.strip():
        raise RequestError("the body is empty; it must be a JSON object.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 text (byte {error.start}); send JSON in UTF-8.") from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_finite_float,
            parse_constant=_reject_constant,
        )
    except json.JSONDecodeError as error:
        raise RequestError(
            f"the body is not JSON: {error.msg[:1].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise RequestError("the body is nested too deeply; send one with fewer levels.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RequestError(f"the body has the field {show(name)} twice in one object; send it once.")
        fields[name] = value
    return fields


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise RequestError(f"the body has a number of {len(digits)} digits; the limit is {MAX_DIGITS}.")
    return int(digits)


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RequestError(f"the body has the number {text[:MAX_SHOWN]}, which is too large.")
    return value


def _reject_constant(name: str) -> None:
    raise RequestError(f"the body has the value {name}, which is not JSON; send a number or null.")
