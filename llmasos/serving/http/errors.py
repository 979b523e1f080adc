"""What can be wrong with a request, and how it is said: a status, and a sentence in the shape that OpenAI gives it.

{"error": {"message": "n is 99; it must be a whole number from 1 to 16.", "type": "invalid_request_error",
           "param": "n", "code": null}}
"""

import logging
import math
import uuid
from http import HTTPStatus
from typing import Any

from llmasos.errors import UserError
from llmasos.serving.requests import Busy, RequestFailed, Stopping

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
"""Status → type; other 4xx are an `invalid_request_error`, 5xx a `server_error`."""

CLIENT_GONE = 499  # nobody reads this one; it is for the log and the metrics
PHRASES = {status.value: status.phrase for status in HTTPStatus} | {CLIENT_GONE: "Client Closed Request"}
RESTART_SECONDS = 5  # after which it is worth asking again a server that is going down


class Refused(UserError):
    """A request that is not carried out.

    Attributes:
        param: which field is meant, such as "messages[0].role"; None for the request as a whole.
        status: of HTTP.
        code: one word for programs.
        headers: that the answer needs.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        status: int = 400,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ):
        super().__init__(message)
        self.param, self.status, self.code, self.headers = param, status, code, headers


class TimedOut(Refused):
    """The work on a request takes longer than it may. To ask again would only begin it anew, so it is no 503."""

    def __init__(self, seconds: float):
        super().__init__(
            f"this was not done within {seconds:g} seconds, the longest that a request may take; ask for less at once.",
            status=504, code="timeout",
        )  # fmt: skip


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


def refusal(error: Exception) -> Refused:
    """What to tell a client about any exception. One that is not meant for a person is a bug: it goes to the log."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, Busy):
        return Refused(str(error), None, 429, "busy", retry_after(error.retry_after))
    if isinstance(error, Stopping):
        return Refused(str(error), None, 503, "stopping", retry_after(RESTART_SECONDS))
    if isinstance(error, UserError):
        return Refused(str(error))
    if isinstance(error, RequestFailed):
        return Refused(str(error), None, 500, "model_failed")
    if isinstance(error, ClientGone):
        return Refused("the client has gone.", None, CLIENT_GONE)
    number = uuid.uuid4().hex[:8]
    logging.getLogger(__name__).error("error %s", number, exc_info=error)
    return Refused(f"something went wrong in the server (error {number}); its log says what.", None, 500, "internal")


def retry_after(seconds: float) -> tuple[tuple[str, str], ...]:
    """The header that says after how many seconds to ask again."""
    return (("Retry-After", str(max(1, math.ceil(seconds)))),)


def error_object(refused: Refused) -> dict[str, Any]:
    """The sentence in OpenAI's shape."""
    kind = TYPES.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(refused), "type": kind, "param": refused.param, "code": refused.code}}


def status_line(status: int) -> str:
    """A status with its name.

    >>> status_line(404)
    '404 Not Found'
    """
    return f"{status} {PHRASES[status]}"
