"""Requests, responses and routes: what stands between WSGI and the functions that answer.

WSGI (PEP 3333) is how web servers call Python programs: a function that is given a dictionary with everything about the
request, and another function to begin the answer with.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from llmasos.serving.api.schema import Object
from llmasos.serving.http.errors import ClientGone, Refused, TimedOut
from llmasos.serving.http.json_body import read_json
from llmasos.serving.served_model import Served

JSON = "application/json"
MAX_BODY = 1_000_000  # bytes
AT_ONCE = 4  # texts that the model reads while all others wait
Environ = dict[str, Any]
Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass
class Request:
    """What a route is asked.

    Attributes:
        served: the model.
        values: the checked body, by the names of its fields; {} if the route takes none.
        rest: what follows the path of a route that ends in "/".
        environ: everything else about the request, as WSGI has it.
        deadline: when the work on it must have ended, by `time.monotonic`.
    """

    served: Served
    values: dict[str, Any]
    rest: str
    environ: Environ
    deadline: float = field(init=False)

    def __post_init__(self):
        self.deadline = time.monotonic() + self.served.engine.request_seconds

    def run(self, job: Callable[[], Result]) -> Result:
        """Have the model's thread do something, unless, when its turn comes, nobody waits any more or it is too late.

        Raises:
            TimedOut, ClientGone: for these two reasons.
            as `Engine.run`.
        """

        def wanted() -> Result:
            self.check_client()
            self.seconds_left()
            return job()

        return self.served.engine.run(wanted, self.seconds_left())

    def seconds_left(self) -> float:
        """Until the request must be answered. Raises TimedOut if there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimedOut(self.served.engine.request_seconds)
        return left

    def run_in_pieces(
        self, job: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item], at_once: int = AT_ONCE
    ) -> list[Result]:
        """What a job makes of many items, some at a time, so that others get a turn in between. Raises as `run`."""
        found: list[Result] = []
        for start in range(0, len(items), at_once):
            found += self.run(partial(job, items[start : start + at_once]))
        return found

    def check_client(self) -> None:
        """Raise ClientGone if nobody waits any more. Only the embedded server can tell; others let us work on."""
        if self.environ.get("llmasos.client_gone", lambda: False)():
            raise ClientGone


@dataclass
class Response:
    """An answer. A body that is not bytes is sent piece by piece, and its `close` is called at the end."""

    body: bytes | Iterable[bytes]
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def json_response(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A value as the body of an answer, with a line's end for whoever reads it in a terminal."""
    return Response(to_json(value) + b"\n", JSON, status, headers)


def to_json(value: Any) -> bytes:
    """A value as JSON. NaN or infinity is a bug, and raises ValueError rather than being sent."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        method, path: of the request. A path that ends in "/" stands for all that begin with it, but for "/" itself.
        answer: what is called with the request.
        summary: what it is for, in a sentence.
        needs: what the model must be able to do; None = any will do.
        body: makes the description of the body for a model; None = the route takes none.
        shape: of the answer, as JSON Schema; None = it is no JSON.
        content_type: of an answer that is no JSON.
        streams: whether the answer can be a stream of events.
        open: whether it is answered without a key.
    """

    method: str
    path: str
    answer: Callable[[Request], Response]
    summary: str
    needs: str | None = None
    body: Callable[[Served], Object] | None = None
    shape: dict[str, Any] | None = field(default=None, compare=False)
    content_type: str = JSON
    streams: bool = False
    open: bool = False

    @property
    def prefix(self) -> bool:
        """Whether it stands for all paths that begin with its own."""
        return self.path.endswith("/") and self.path != "/"


def read_body(environ: Environ, max_body: int) -> Any:
    """The JSON that came with a request.

    Raises:
        Refused: it is not said to be JSON (415), too large (413), or not JSON (400).
    """
    kind = environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
    if kind != JSON:
        # a page of another site can make a browser send forms and plain text here, but not JSON
        raise Refused(
            f"the body's Content-Type is {kind or 'not given'}; it must be {JSON} "
            f"(with curl: -H 'Content-Type: {JSON}').",
            status=415,
        )
    data = environ["wsgi.input"].read(n_bytes(environ, max_body))
    if len(data) > max_body:
        raise too_large(max_body)
    return read_json(data)


def n_bytes(environ: Environ, max_body: int) -> int:
    """How many bytes to read: what the request says, or one more than may be if only its end will tell."""
    given = environ.get("CONTENT_LENGTH", "")
    if not given:
        return max_body + 1 if environ.get("wsgi.input_terminated") else 0
    if not (given.isascii() and given.isdigit()):
        raise Refused(f"the Content-Length is {given[:20]!r}; it must be a number of bytes.")
    if len(given) > 18 or int(given) > max_body:
        raise too_large(max_body)
    return int(given)


def too_large(max_body: int) -> Refused:
    """The refusal of a body that is too large."""
    return Refused(f"the body is too large; it may have up to {max_body:,} bytes.", status=413, code="too_large")
