"""Asking a server over HTTP, with the standard library: one connection for each question, time-outs, and patience.

    ask      a question and its answer, both JSON
    events   a question whose answer comes piece by piece (server-sent events)

What can go wrong on the way becomes a `ServerError`, a sentence for a person:

    no connection, 429 (too busy), 503 (starting or going down)    asked again, `retries` times, after longer and longer
                                                                   waits or those that the server asks for
    any other status, or an answer that is not as it must be       said at once
    silence for `timeout` seconds                                  said at once: the server is at work, and to ask again
                                                                   would give it more
    the end of a stream before its end                             said at once: part of it has been used already

A key goes to the one server that it was given for: redirects are not followed.
"""

import http.client
import json
import math
import random
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from llmasos.errors import UserError

CONNECT_SECONDS = 10.0  # for a connection; the time-out for silence is the user's
FIRST_WAIT = 0.5  # seconds before asking again; each further wait is twice as long
LONGEST_WAIT = 60.0  # of a server that asks for more patience than this, the refusal is the answer
MAX_ANSWER = 100_000_000  # bytes of an answer
MAX_LINE = 10_000_000  # bytes of a line of a stream
ASK_AGAIN = (429, 503)


class ServerError(UserError):
    """A server's refusal, or no answer that can be used.

    Attributes:
        status: of HTTP; None if there was no answer, or it broke off.
        code: the server's word for programs, if it gave one, such as "invalid_api_key".
    """

    def __init__(self, message: str, status: int | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code


class Transport:
    """The way to one server. Several threads may use it at once.

    Args:
        url: "http://HOST:PORT" or "https://…", with a path before the server's own if it stands behind a proxy.
        api_key: shown to the server; None = none.
        timeout: how many seconds to wait while the server sends nothing.
        retries: how often to ask again where that may help.

    Raises:
        UserError: an argument is not as it must be.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 60.0, retries: int = 3):
        self.url, self.secure, self.host, self.port, self.prefix = parse_url(url)
        if api_key is not None and not re.fullmatch("[!-~]+", api_key):
            raise UserError("the API key is empty or holds a space or a letter that is not ASCII; give it as it is.")
        if not 0 < timeout < math.inf:
            raise UserError(f"timeout is {timeout!r}; it must be a number of seconds above 0.")
        if not isinstance(retries, int) or retries < 0:
            raise UserError(f"retries is {retries!r}; it must be a whole number, 0 for none.")
        self.api_key, self.timeout, self.retries = api_key, timeout, retries

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask, and wait for the whole answer: a JSON object. Raises ServerError."""
        response = self._open(method, path, body)
        with response:
            return self._json(self._read(response))

    def events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ask for a stream; each of its events is a JSON object. Closing the iterator closes the connection.

        Raises:
            ServerError: also in the middle, if the server breaks off or says that something has gone wrong.
        """
        response = self._open("POST", path, body | {"stream": True})
        with response:
            for data in self._lines(response):
                if data == "[DONE]":
                    return
                event = self._json(data)
                if "error" in event:
                    raise refusal(event, None, f"{self.url} broke off")
                yield event
        raise ServerError(f"{self.url} ended the connection in the middle of its answer; ask again.")

    def _open(self, method: str, path: str, body: dict[str, Any] | None) -> http.client.HTTPResponse:
        """Ask until there is an answer with status 200, as often as may help."""
        for attempt in range(self.retries + 1):
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25)  # or many clients would come back together
            try:
                response = self._send(method, path, body)
            except (ConnectionError, ConnectFailed) as error:
                problem = ServerError(f"there is no answer from {self.url} ({reason(error)}): is a server running "
                                      "there? One is started with  python -m llmasos serve MODEL")  # fmt: skip
            else:
                if response.status == 200:
                    return response
                with response:
                    problem = self._refusal(response)
                    asked = retry_after(response.headers.get("Retry-After"))
                if response.status not in ASK_AGAIN or (asked is not None and asked > LONGEST_WAIT):
                    raise problem
                wait = wait if asked is None else asked
            if attempt == self.retries:
                raise problem
            sleep(wait)
        raise AssertionError("the last attempt ends in the loop")

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> http.client.HTTPResponse:
        """Ask once. The answer's body is yet to be read; closing it closes the connection.

        Raises:
            ConnectFailed, ConnectionError: there is no connection, or it broke before an answer began.
            ServerError: silence, or something that is not HTTP.
            UserError: the question cannot be written as JSON.
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
                raise UserError(f"the question cannot be sent ({error}); give texts, numbers and lists.") from error
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=min(CONNECT_SECONDS, self.timeout))
        try:
            connection.connect()
        except ssl.SSLError as error:
            raise ServerError(f"{self.url} cannot be spoken to safely ({reason(error)}); check the address.") from error
        except OSError as error:
            raise ConnectFailed(reason(error)) from error
        connection.sock.settimeout(self.timeout)
        try:
            try:
                connection.request(method, self.prefix + path, data, headers)
            except ConnectionError:
                pass  # a server may refuse what it has not read to the end, and its refusal is there to be read
            return connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise self._silence() from error
        except http.client.HTTPException as error:
            connection.close()
            if isinstance(error, ConnectionError):  # it has closed without a word
                raise
            raise ServerError(f"{self.url} does not speak HTTP ({reason(error)}); check the address.") from error
        except OSError:
            connection.close()
            raise

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """All of an answer's body."""
        try:
            data = response.read(MAX_ANSWER + 1)
        except TimeoutError as error:
            raise self._silence() from error
        except (OSError, http.client.HTTPException) as error:
            raise self._cut(error) from error
        if len(data) > MAX_ANSWER:
            raise ServerError(f"{self.url} answers with more than {MAX_ANSWER:,} bytes, which are not read.")
        if response.length:  # http.client does not mind if fewer bytes come than were said
            raise self._cut(f"{response.length:,} bytes are missing")
        return data

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[str]:
        """The data of each event of a stream: what follows `data:`, until there is an empty line."""
        data: list[str] = []
        while True:
            try:
                line = response.readline(MAX_LINE)
            except TimeoutError as error:
                raise self._silence() from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._cut(error) from error
            if not line.endswith(b"\n"):  # the end, or a line that is too long
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if text.startswith("data:"):
                data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and data:
                yield "\n".join(data)
                data = []

    def _json(self, data: bytes | str) -> dict[str, Any]:
        """An object from its JSON. Raises ServerError if it is none."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            shown = data[:100].decode("utf-8", "replace") if isinstance(data, bytes) else data[:100]
            raise ServerError(f"{self.url} answers with {printable(shown)!r} where a JSON object was expected; is it a "
                              "server of llmasos, or of OpenAI's kind?")  # fmt: skip
        return value

    def _refusal(self, response: http.client.HTTPResponse) -> ServerError:
        """What an answer with another status than 200 says."""
        status = response.status
        if 300 <= status < 400:
            to = printable(response.headers.get("Location", "nowhere"))
            return ServerError(f"{self.url} sends to {to}, where a key must not follow by itself; if that is right, "
                               "give that address.", status)  # fmt: skip
        try:
            value = json.loads(self._read(response))
        except (ServerError, ValueError, RecursionError):
            value = None
        return refusal(value, status, f"{self.url} answers {status} {printable(response.reason)}")

    def _silence(self) -> ServerError:
        return ServerError(f"{self.url} has been silent for {self.timeout:g} seconds; it may have much to do: ask "
                           "later, for less, or with a longer timeout.")  # fmt: skip

    def _cut(self, why: object) -> ServerError:
        return ServerError(f"{self.url} broke off in the middle of its answer ({reason(why)}); ask again.")


class ConnectFailed(Exception):
    """There is no connection to be had."""


def parse_url(url: str) -> tuple[str, bool, str, int | None, str]:
    """An address in its parts: itself, whether it is https, host, port, and what stands before the server's paths.

    >>> parse_url("http://localhost:8000/v1/")
    ('http://localhost:8000', False, 'localhost', 8000, '')

    Raises:
        UserError: it is no such address.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except (ValueError, AttributeError):
        parts = port = None
    usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname
    if not usable or parts.username is not None or parts.query or parts.fragment or not re.fullmatch("[!-~]*", url):
        shown = "with a name or a password in it" if parts is not None and parts.username is not None else repr(url)
        raise UserError(f"the address is {shown}; it must be http://HOST:PORT or https://HOST, and nothing behind it.")
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{prefix}", parts.scheme == "https", parts.hostname, port, prefix


def refusal(value: Any, status: int | None, otherwise: str) -> ServerError:
    """The error that a server's JSON holds, in OpenAI's shape; if there is none in it, `otherwise`."""
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return ServerError(f"{otherwise}, and does not say why.", status)
    code = error.get("code")
    return ServerError(printable(error["message"]), status, code if isinstance(code, str) else None)


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After asks for, given as such or as a date; None if it says nothing.

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
    """Why, in a few words."""
    if isinstance(error, TimeoutError | socket.timeout):
        return "it took too long"
    words = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return printable(words)[:200]


def printable(text: str) -> str:
    """A server's words without characters that could do something to a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:1000]).strip()
