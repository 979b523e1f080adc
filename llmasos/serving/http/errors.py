"""Errors of requests, and how they are reported to the client: a status and a sentence, in OpenAI's format.

{"error": {"message": "n is 99; it must be an integer from 1 to 16.", "type": "invalid_request_error",
           "param": "n", "code": null}}
"""

import json
import logging
import math
import uuid
from http import HTTPStatus
from typing import Any

from llmasos.errors import MEMORY_ADVICE, UserError, is_out_of_memory
from llmasos.serving.requests import QueueFull, RequestFailed, ShuttingDown

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
"""Status → type. Other 4xx are an `invalid_request_error`, 5xx a `server_error`."""

CLIENT_CLOSED = 499  # no client reads this status; it is for the log and the metrics
PHRASES = {status.value: status.phrase for status in HTTPStatus} | {CLIENT_CLOSED: "Client Closed Request"}
RESTART_SECONDS = 5  # retry after this time while a server is starting or shutting down
MAX_SHOWN = 60  # characters of a wrong value in an error message
Headers = tuple[tuple[str, str], ...]


class RequestError(UserError):
    """A request that cannot be carried out.

    Attributes:
        param: the field at fault, such as "messages[0].role"; None for the request as a whole.
        status: the HTTP status.
        code: one word for programs.
        headers: the headers of the response.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        status: int = 400,
        code: str | None = None,
        headers: Headers = (),
    ):
        super().__init__(message)
        self.param, self.status, self.code, self.headers = param, status, code, headers


class DeadlineExceeded(RequestError):
    """The work on a request took too long. A retry would only start it again, so the status is not 503."""

    def __init__(self, seconds: float):
        super().__init__(
            f"this was not done within {seconds:g} seconds, the time limit of a request; ask for less at once.",
            status=504, code="timeout",
        )  # fmt: skip


class ClientDisconnected(Exception):
    """The client has closed its connection."""


def as_request_error(error: Exception) -> RequestError:
    """The error that the client receives for any exception. One that is not meant for users is a bug, and is logged."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, QueueFull):
        return RequestError(str(error), None, 429, "queue_full", retry_after(error.retry_after))
    if isinstance(error, ShuttingDown):
        return RequestError(str(error), None, 503, "shutting_down", retry_after(RESTART_SECONDS))
    if is_out_of_memory(error):
        return RequestError(f"there is not enough memory: {MEMORY_ADVICE}.", None, 503, "out_of_memory")
    if isinstance(error, UserError):
        return RequestError(str(error))
    if isinstance(error, RequestFailed):
        return RequestError(str(error), None, 500, "model_failed")
    if isinstance(error, ClientDisconnected):
        return RequestError("the client has disconnected.", None, CLIENT_CLOSED)
    number = uuid.uuid4().hex[:8]
    logging.getLogger(__name__).error("error %s", number, exc_info=error)
    return RequestError(f"an internal error occurred (number {number}); see the server's log.", None, 500, "internal")


def retry_after(seconds: float) -> Headers:
    """The Retry-After header."""
    return (("Retry-After", str(max(1, math.ceil(seconds)))),)


def error_object(error: RequestError) -> dict[str, Any]:
    """The error in OpenAI's JSON format."""
    type = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(error), "type": type, "param": error.param, "code": error.code}}


def status_line(status: int) -> str:
    """A status with its phrase.

    >>> status_line(404)
    '404 Not Found'
    """
    return f"{status} {PHRASES[status]}"


def show(value: Any) -> str:
    """A wrong value for an error message: short, on one line, and in ASCII if it is not printable.

    >>> show("hot"), show(True), show([1, 2, 3]), show({"a": 1}), show({})
    ('"hot"', 'true', 'a list of 3', 'an object', 'an empty object')
    """
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, str):
        short = value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 1] + "…"
        return json.dumps(short, ensure_ascii=not short.isprintable())
    return json.dumps(value)
