"""One request and its response on one connection: the standard library's WSGI handler, with a limit on everything.

`wsgiref` reads the request line and the headers, calls the application and writes what it returns. This file adds what
`wsgiref` leaves open: how long and how large a request may be, and what happens when the client disconnects.
"""

import io
import logging
import re
import socket
import sys
import time
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler

from llmasos.serving.http.errors import (
    CLIENT_CLOSED,
    Headers,
    RequestError,
    as_request_error,
    error_object,
    status_line,
)
from llmasos.serving.http.http_types import JSON, body_too_large, to_json

MAX_REQUEST_LINE = 8_192  # bytes
MAX_HEAD = 16_384  # bytes of request line and headers; the standard library accepts at most 100 headers
LINGER = 2.0  # seconds for which data is still read (and dropped) that a client sends after the response
TLS_HELLO = b"\x16\x03"  # how a client that expects https begins
ABSOLUTE_URL = re.compile("https?://([^/?]*)/?", re.IGNORECASE)  # up to the path
ONCE = ("Host", "Content-Length", "Content-Type", "Authorization")


class RequestTimeout(RequestError):
    """The request has not arrived in time."""

    def __init__(self, seconds: float):
        super().__init__(f"the request did not arrive within {seconds:g} seconds.", status=408, code="request_timeout")


class LimitedReader(io.RawIOBase):
    """Reads from a socket until a deadline, and no more bytes than allowed.

    The deadline is for everything that is read: a client that sends one byte per second does not get more time for it.
    """

    def __init__(self, connection: socket.socket, seconds: float, max_bytes: int):
        self.connection, self.seconds, self.deadline = connection, seconds, time.monotonic() + seconds
        self.bytes_left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        """Raises RequestTimeout, and RequestError (431) if the limit is reached."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RequestTimeout(self.seconds)
        if self.bytes_left <= 0:
            raise RequestError("the headers are too long.", status=431)
        self.connection.settimeout(left)
        try:
            n = self.connection.recv_into(memoryview(buffer)[: self.bytes_left])
        except TimeoutError:
            raise RequestTimeout(self.seconds) from None
        self.bytes_left -= n
        return n


class BufferedWriter:
    """Collects what is written and sends all of it at the next flush, within the socket's time-out."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        return len(data)

    def flush(self) -> None:
        data, self._parts = b"".join(self._parts), []
        self.connection.sendall(data)


class Connection(WSGIRequestHandler):
    """Reads one request, has the application answer it, and closes."""

    server: Any  # our HTTPServer; the standard library's type allows any server
    command: Any  # None until the request line has been read
    rfile: Any
    wfile: Any

    protocol_version = "HTTP/1.1"  # so that `Expect: 100-continue` is understood
    disable_nagle_algorithm = True  # each piece of a stream is sent at once

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.started, self.path, self.logged = time.monotonic(), "", False
        self.command = None
        self.reader = LimitedReader(self.connection, self.server.read_seconds, MAX_HEAD)
        self.rfile, self.wfile = io.BufferedReader(self.reader), BufferedWriter(self.connection)

    def handle(self) -> None:
        """Read the request, call the application, write the response."""
        try:
            if self.rfile.peek(2).startswith(TLS_HELLO):  # such a client never sends the end of a line
                raise RequestError("this looks like the start of an https connection; the server speaks http.")
            self.raw_requestline = self.read_request_line()
            if not self.raw_requestline:
                return
            if len(self.raw_requestline) > MAX_REQUEST_LINE:
                raise RequestError("the URL is too long.", status=414)
            if not self.parse_request():  # `send_error` has answered
                return
            if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
                raise RequestError("the request line is not HTTP/1.1: it must be a method, a path, and HTTP/1.1.")
            body = self.receive_body()
        except RequestError as error:
            self.respond_with(error)
        else:
            if body is not None:
                self.connection.settimeout(self.server.write_seconds)
                handler = ApplicationHandler(io.BytesIO(body), self.wfile, sys.stderr, self.get_environ())
                handler.request_handler = self
                handler.run(self.server.get_app())
                self.wfile.flush()  # the head of a response without a body

    def finish(self) -> None:
        """Give the client time to read its response. If no response has been logged, the client did not receive it."""
        if self.logged:
            linger(self.connection)
        elif self.command:
            self.log_request(CLIENT_CLOSED)

    def read_request_line(self) -> bytes:
        """The first line that is not empty (RFC 9112, section 2.2); b"" if the client closes before sending one."""
        line = self.rfile.readline(MAX_REQUEST_LINE + 1)
        while line.decode("latin-1").isspace():
            line = self.rfile.readline(MAX_REQUEST_LINE + 1)
        return line

    def body_length(self) -> int:
        """The length of the body in bytes. Raises RequestError if it is not stated clearly, or is above the limit."""
        if self.headers.defects:
            raise RequestError("the headers are malformed; each line must be a name, a colon and a value.")
        for name in ONCE:
            if len(self.headers.get_all(name, [])) > 1:
                raise RequestError(f"the request has the header {name} twice; send it once.")
        length = self.headers.get("Content-Length")
        if "Transfer-Encoding" in self.headers or (length is None and self.command in ("POST", "PUT", "PATCH")):
            raise RequestError("the request does not say how long its body is; send a Content-Length.",
                               status=411, code="length_required")  # fmt: skip
        length = (length or "0").strip()
        if not (length.isascii() and length.isdigit()):
            raise RequestError("the Content-Length is not a number of bytes.")
        if len(length) > 18 or int(length) > self.server.max_body:
            raise body_too_large(self.server.max_body)
        return int(length)

    def receive_body(self) -> bytes | None:
        """The body; None if the client closes before sending all of it. Raises RequestError."""
        length = self.body_length()
        self.reader.bytes_left = length
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def handle_expect_100(self) -> bool:
        """Tell a client to send the body it has announced, unless that body would be rejected."""
        self.body_length()
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def get_environ(self) -> dict[str, Any]:
        """WSGI's description of the request, plus whether the client has disconnected and how public the server is.

        A request may have an absolute URL, as in `GET http://localhost/health HTTP/1.1`. Then the URL's host is the
        one that counts (RFC 9112, section 3.2.2).
        """
        extra = {
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "llmasos.client_gone": self.client_gone,
            "llmasos.host": self.server.host,
            "llmasos.requested_host": self.server.requested_host,
            "llmasos.public": self.server.public,
        }
        if url := ABSOLUTE_URL.match(self.path):
            extra["HTTP_HOST"], self.path = url[1], "/" + self.path[url.end() :]
        return super().get_environ() | extra

    def client_gone(self) -> bool:
        """Whether the client has closed the connection: reading from it then gives the end of the stream.

        Anything that the client has sent after its request comes before that end, and is dropped. (A client may have
        closed only its sending half and still be waiting. Such clients are rare and cannot be told apart.)
        """
        try:
            self.connection.setblocking(False)
            return not self.connection.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(self.server.write_seconds)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Called by the standard library for a request that it cannot parse."""
        phrase = (message or HTTPStatus(code).phrase)[:200]
        status = code if code < 500 else 400  # it is the client's mistake, even if HTTP counts it as the server's
        self.respond_with(RequestError(f"the request is not valid HTTP/1.1: {phrase}.", status=status))

    def respond_with(self, error: RequestError) -> None:
        """Answer a request that could not be read."""
        self.server.count_response(self.command, error.status)
        self.connection.settimeout(self.server.write_seconds)
        self.wfile.write(error_response(error, self.cors_headers()))
        self.wfile.flush()
        self.log_request(error.status)

    def cors_headers(self) -> Headers:
        """The application's CORS headers, for requests it does not answer itself; () if the headers have not been
        read.
        """
        headers = getattr(self, "headers", None)
        return () if headers is None else self.server.cors_headers(headers.get("Origin"))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log the time, the request, its status and how long it took."""
        self.logged = True
        if self.server.log is not None:
            request = f"{self.command or '-'} {self.path}"[:200]
            request = request.encode("unicode_escape").decode()  # without characters that control a terminal
            seconds = time.monotonic() - self.started
            self.server.log(f"{time.strftime('%H:%M:%S')} {request} {code} {seconds:.3f} s")


class ApplicationHandler(ServerHandler):
    """Calls the application and writes its response."""

    request_handler: Connection
    headers_sent: bool
    server_software = "llmasos"
    os_environ: dict[str, str] = {}  # requests must not see the process's environment variables

    def handle_error(self) -> None:
        """The application has failed, or the client has not read a piece of its response in time.

        (The standard library reports nothing about a client that has closed the connection, not even here.)
        """
        error = sys.exc_info()[1]
        if not isinstance(error, Exception) or isinstance(error, OSError):
            return
        logging.getLogger(__name__).error("a response failed", exc_info=error)
        self.request_handler.log_request(500)
        if not self.headers_sent:
            self.stdout.write(error_response(as_request_error(error), self.request_handler.cors_headers()))
            self.stdout.flush()


def linger(connection: socket.socket) -> None:
    """Read and drop what a client still sends, so that it can read our response.

    Closing a socket that holds unread bytes resets the connection, and the client may lose the response.
    """
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LINGER
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(65536):
            return


def error_response(error: RequestError, more: Headers = ()) -> bytes:
    """A whole HTTP response that reports an error, with additional headers."""
    body = to_json(error_object(error)) + b"\n"
    headers = [("Content-Type", JSON), ("Content-Length", str(len(body))), ("Connection", "close")]
    headers += [*error.headers, *more]
    lines = [f"HTTP/1.1 {status_line(error.status)}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
