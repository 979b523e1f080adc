"""How the client talks to a server: one connection per request, time-outs and retries, with the standard library only.

    request  a request and its response, both JSON
    events   a request whose response arrives piece by piece (server-sent events)

Every failure becomes a `ServerError`, a sentence for the user:

    no connection, 429 (too busy), 503 (starting or shutting down)    retried, `retries` times, after waits that double
                                                                      or that the server asks for (Retry-After)
    any other status, or a malformed response                         raised at once
    silence for `timeout` seconds                                     raised at once: the server is busy, and a retry
                                                                      would only add to its load
    a stream that breaks off                                          raised at once: part of it has been used already

An API key is sent only to the server it was given for: redirects are not followed.
"""

import http.client
import json
import math
import random
import re
import socket
import ssl
from collections.abc import Generator, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from llmasos.errors import UserError

CONNECT_SECONDS = 10.0  # to establish a connection; the user's timeout limits the silence on it
FIRST_WAIT = 0.5  # seconds before the first retry; each further wait is twice as long
MAX_WAIT = 60.0  # seconds; if the server asks for a longer wait, its error is raised
MAX_RESPONSE = 100_000_000  # bytes
MAX_LINE = 10_000_000  # bytes of a line of a stream
RETRY_STATUSES = (429, 503)


class ServerError(UserError):
    """The server returned an error, or no usable response.

    Attributes:
        status: the HTTP status; None if there was no response, or it broke off.
        code: the server's error code, if it sent one, such as "invalid_api_key".
    """

    def __init__(self, message: str, status: int | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code


class Transport:
    """Sends requests to one server. Several threads may use it at once.

    Args:
        url: "http://HOST:PORT" or "https://…", with a path prefix if the server is behind a proxy that adds one.
        api_key: the key to send as `Authorization: Bearer …`; None = none.
        timeout: the seconds to wait while the server sends nothing.
        retries: the number of retries where they may help.

    Raises:
        UserError: an argument is invalid.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 60.0, retries: int = 3):
        self.url, self.secure, self.host, self.port, self.prefix = parse_url(url)
        if api_key is not None and not re.fullmatch("[!-~]+", api_key):
            raise UserError("the API key is empty or has a space or a non-ASCII character; check how it was copied.")
        if not 0 < timeout < math.inf:
            raise UserError(f"timeout is {timeout!r}; it must be a number of seconds above 0.")
        if not isinstance(retries, int) or retries < 0:
            raise UserError(f"retries is {retries!r}; it must be an integer of at least 0.")
        self.api_key, self.timeout, self.retries = api_key, timeout, retries

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and wait for the whole response, a JSON object. Raises ServerError."""
        response = self._open(method, path, body)
        with response:
            return self._parse(self._read(response))

    def events(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Send a request and yield the events of its response, JSON objects. Closing the iterator disconnects.

        Raises:
            ServerError: also in the middle of the stream, if it breaks off or the server reports an error.
        """
        response = self._open("POST", path, body | {"stream": True})
        with response:
            for data in self._event_data(response):
                if data == "[DONE]":
                    return
                event = self._parse(data)
                if "error" in event:
                    raise error_from(event, None, f"{self.url} broke off")
                yield event
        raise ServerError(f"{self.url} closed the connection in the middle of its response; try again.")

    def _open(self, method: str, path: str, body: dict[str, Any] | None) -> http.client.HTTPResponse:
        """Send the request, with retries, until there is a response with status 200."""
        for attempt in range(self.retries + 1):
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25)  # so that clients do not all retry at once
            try:
                response = self._send(method, path, body)
            except (ConnectionError, ConnectFailed) as error:
                problem = ServerError(f"{self.url} does not answer ({reason(error)}). Is a server running there? Start "
                                      "one with  python -m llmasos serve MODEL")  # fmt: skip
            else:
                if response.status == 200:
                    return response
                with response:
                    problem = self._error(response)
                    requested = retry_after(response.headers.get("Retry-After"))
                if response.status not in RETRY_STATUSES or (requested is not None and requested > MAX_WAIT):
                    raise problem
                wait = wait if requested is None else requested
            if attempt == self.retries:
                raise problem
            sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> http.client.HTTPResponse:
        """Send the request once. The response's body is yet to be read; closing the response disconnects.

        Raises:
            ConnectFailed, ConnectionError: there is no connection, or it broke before the response.
            ServerError: the server is silent, or does not speak HTTP.
            UserError: the body cannot be written as JSON.
        """
        headers = {"Accept": "application/json, text/event-stream", "Connection": "close"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            try:
                data = json.dumps(body, allow_nan=False).encode("ascii")
            except (TypeError, ValueError) as error:
                raise UserError(f"the request is not JSON ({error}); pass strings, numbers and lists.") from error
        connection_class = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        connection = connection_class(self.host, self.port, timeout=min(CONNECT_SECONDS, self.timeout))
        try:
            connection.connect()
        except ssl.SSLError as error:
            raise ServerError(f"no secure connection to {self.url} ({reason(error)}); check the URL.") from error
        except OSError as error:
            raise ConnectFailed(reason(error)) from error
        connection.sock.settimeout(self.timeout)
        try:
            try:
                connection.request(method, self.prefix + path, data, headers)
            except ConnectionError:
                pass  # a server may reject a request before reading all of it, and its response can still be read
            return connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise self._silent() from error
        except http.client.HTTPException as error:
            connection.close()
            if isinstance(error, ConnectionError):  # the server closed the connection without a response
                raise
            raise ServerError(f"{self.url} does not speak HTTP ({reason(error)}); check the URL.") from error
        except OSError:
            connection.close()
            raise

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The whole body of a response."""
        try:
            data = response.read(MAX_RESPONSE + 1)
        except TimeoutError as error:
            raise self._silent() from error
        except (OSError, http.client.HTTPException) as error:
            raise self._broken_off(error) from error
        if len(data) > MAX_RESPONSE:
            raise ServerError(f"the response of {self.url} is above the limit of {MAX_RESPONSE:,} bytes.")
        if response.length:  # http.client does not mind if fewer bytes arrive than were announced
            raise self._broken_off(f"{response.length:,} bytes are missing")
        return data

    def _event_data(self, response: http.client.HTTPResponse) -> Iterator[str]:
        """Yield the data of each event of a stream: the text after `data:`, up to an empty line."""
        data: list[str] = []
        while True:
            try:
                line = response.readline(MAX_LINE)
            except TimeoutError as error:
                raise self._silent() from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._broken_off(error) from error
            if not line.endswith(b"\n"):  # the end, or a line that is too long
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if text.startswith("data:"):
                data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and data:
                yield "\n".join(data)
                data = []

    def _parse(self, data: bytes | str) -> dict[str, Any]:
        """Parse a JSON object. Raises ServerError if it is not one."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            start = data[:100].decode("utf-8", "replace") if isinstance(data, bytes) else data[:100]
            raise ServerError(f"{self.url} responds with {printable(start)!r} instead of a JSON object; is it a server "
                              "of llmasos, or one with OpenAI's API?")  # fmt: skip
        return value

    def _error(self, response: http.client.HTTPResponse) -> ServerError:
        """Make the error for a response with a status other than 200."""
        status = response.status
        if 300 <= status < 400:
            target = printable(response.headers.get("Location", "nowhere"))
            return ServerError(f"{self.url} redirects to {target}, and an API key must not follow a redirect; if that "
                               "is the right server, use its URL.", status)  # fmt: skip
        try:
            value = json.loads(self._read(response))
        except (ServerError, ValueError, RecursionError):
            value = None
        return error_from(value, status, f"{self.url} responds with status {status} {printable(response.reason)}")

    def _silent(self) -> ServerError:
        return ServerError(f"{self.url} has sent nothing for {self.timeout:g} seconds; it may be busy: try again "
                           "later, ask for less, or set a longer timeout.")  # fmt: skip

    def _broken_off(self, cause: object) -> ServerError:
        return ServerError(f"{self.url} broke off in the middle of its response ({reason(cause)}); try again.")


class ConnectFailed(Exception):
    """No connection could be established."""


def parse_url(url: str) -> tuple[str, bool, str, int | None, str]:
    """Split a server's URL into the URL itself, whether it is https, host, port, and path prefix.

    >>> parse_url("http://localhost:8000/v1/")
    ('http://localhost:8000', False, 'localhost', 8000, '')

    Raises:
        UserError: it is not a server's URL.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except (ValueError, AttributeError):
        raise UserError(f"the server's URL is {url!r}; it must be http://HOST:PORT or https://HOST.") from None
    is_plain = not (parts.username is not None or parts.query or parts.fragment) and re.fullmatch("[!-~]*", url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
        problem = f"is {url!r}" if parts.username is None else "has a user name or a password"
        raise UserError(f"the server's URL {problem}; it must be http://HOST:PORT or https://HOST.")
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{prefix}", parts.scheme == "https", parts.hostname, port, prefix


def error_from(value: Any, status: int | None, default: str) -> ServerError:
    """The error in a server's JSON, in OpenAI's shape; `default` if there is none."""
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return ServerError(f"{default}, without a message.", status)
    code = error.get("code")
    return ServerError(printable(error["message"]), status, code if isinstance(code, str) else None)


def retry_after(value: str | None) -> float | None:
    """The seconds in a Retry-After header, which may hold a number or a date; None if it holds neither.

    >>> retry_after("3"), retry_after("soon"), retry_after("Thu, 01 Jan 1970 00:00:00 GMT")
    (3.0, None, 0.0)
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())


def reason(error: object) -> str:
    """The cause of an error in a few words."""
    if isinstance(error, TimeoutError | socket.timeout):
        return "it took too long"
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return printable(text)[:200]


def printable(text: str) -> str:
    """A server's text without characters that could control a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:1000]).strip()
