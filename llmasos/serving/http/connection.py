"""One request and its answer on one connection: the standard library's handler of WSGI, with a limit on everything.

`wsgiref` reads the request line and the headers, calls the application and writes what it returns. Around that stands
here what it leaves open: how long and how large a request may be, and a client that is no longer there.
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

from llmasos.serving.http.errors import CLIENT_GONE, Refused, error_object, refusal, status_line
from llmasos.serving.http.http_types import JSON, json_response

MAX_LINE = 8_192  # bytes of the request line
MAX_HEAD = 16_384  # bytes of the whole head; the standard library takes at most 100 headers
LINGER = 2.0  # seconds for which what a client still sends after our answer is read and thrown away
TLS_HELLO = b"\x16\x03"  # how a browser begins that was told https
WHOLE_ADDRESS = re.compile("https?://([^/?]*)/?", re.IGNORECASE)  # up to the path
ONCE = ("Host", "Content-Length", "Content-Type", "Authorization")


class Slow(Refused):
    """The request does not arrive in time."""

    def __init__(self, seconds: float):
        super().__init__(f"the request was not there within {seconds:g} seconds.", status=408, code="late")


class Reader(io.RawIOBase):
    """Reads from a socket until a point in time, and no more than there is room for.

    The time is for all that is read, however many pieces it comes in: one byte every second does not earn more of it.
    """

    def __init__(self, connection: socket.socket, seconds: float, room: int):
        self.connection, self.seconds, self.deadline = connection, seconds, time.monotonic() + seconds
        self.room = room

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        """Raises Slow, and Refused (431) if there is no more room."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Slow(self.seconds)
        if self.room <= 0:
            raise Refused("the headers are too long.", status=431)
        self.connection.settimeout(left)
        try:
            n = self.connection.recv_into(memoryview(buffer)[: self.room])
        except TimeoutError:
            raise Slow(self.seconds) from None
        self.room -= n
        return n


class Writer:
    """Collects what is written until it is flushed, and sends it then at once, within the socket's time-out."""

    def __init__(self, connection: socket.socket):
        self.connection, self._parts = connection, []

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        return len(data)

    def flush(self) -> None:
        data, self._parts = b"".join(self._parts), []
        self.connection.sendall(data)


class Connection(WSGIRequestHandler):
    """Reads a request, has it answered, and is done: the next request is another connection."""

    protocol_version = "HTTP/1.1"  # so that `Expect: 100-continue` is understood
    disable_nagle_algorithm = True  # each piece of a stream is sent at once

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.started, self.command, self.path, self.logged = time.monotonic(), None, "", False
        self.reader = Reader(self.connection, self.server.read_seconds, MAX_HEAD)
        self.rfile, self.wfile = io.BufferedReader(self.reader), Writer(self.connection)

    def handle(self) -> None:
        """The whole of it."""
        try:
            if self.rfile.peek(2).startswith(TLS_HELLO):  # it may hold no end of a line to wait for
                raise Refused("this looks like the beginning of https; the server speaks http.")
            self.raw_requestline = self.first_line()
            if not self.raw_requestline:
                return
            if len(self.raw_requestline) > MAX_LINE:
                raise Refused("the address is too long.", status=414)
            if not self.parse_request():  # it has been refused by `send_error`
                return
            if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
                raise Refused("the first line is not one of HTTP/1.1: a method, a path, HTTP/1.1.")
            body = self.read_body()
        except Refused as refused:
            self.refuse(refused)
        else:
            if body is not None:
                self.connection.settimeout(self.server.write_seconds)
                answer = Answer(io.BytesIO(body), self.wfile, sys.stderr, self.get_environ())
                answer.request_handler = self
                answer.run(self.server.get_app())
                self.wfile.flush()  # the head of an answer without a body

    def finish(self) -> None:
        """The client is left the time to read its answer. If none has been logged, the client did not take it."""
        if self.logged:
            linger(self.connection)
        elif self.command:
            self.log_request(CLIENT_GONE)

    def first_line(self) -> bytes:
        """The first line that is not empty (RFC 9112, section 2.2); b"" if the client goes away before."""
        line = self.rfile.readline(MAX_LINE + 1)
        while line.decode("latin-1").isspace():
            line = self.rfile.readline(MAX_LINE + 1)
        return line

    def body_length(self) -> int:
        """How many bytes the body has. Raises Refused if that is not said clearly, or they are too many."""
        if self.headers.defects:
            raise Refused("the headers are not lines of a name, a colon and a value.")
        for name in ONCE:
            if len(self.headers.get_all(name, [])) > 1:
                raise Refused(f"the request has the header {name} twice.")
        given = self.headers.get("Content-Length")
        if "Transfer-Encoding" in self.headers or (given is None and self.command in ("POST", "PUT", "PATCH")):
            raise Refused("the request does not say how long its body is; send a Content-Length.",
                          status=411, code="length_required")  # fmt: skip
        given = (given or "0").strip()
        if not (given.isascii() and given.isdigit()):
            raise Refused("the Content-Length is not a number of bytes.")
        most = self.server.max_body
        if len(given) > 18 or int(given) > most:
            raise Refused(f"the body is too large; it may have up to {most:,} bytes.", status=413, code="too_large")
        return int(given)

    def read_body(self) -> bytes | None:
        """As many bytes as were said; None if the client goes away before. Raises Refused."""
        length = self.body_length()
        self.reader.room = length
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def handle_expect_100(self) -> bool:
        """Tell a client to send the body that it has announced, unless it need not try."""
        self.body_length()
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def get_environ(self) -> dict[str, Any]:
        """What WSGI says of a request, and on top whether the client has gone, and who can reach the server.

        An address may be whole, as in `GET http://localhost/health HTTP/1.1`. Its host is then the one that counts
        (RFC 9112, section 3.2.2).
        """
        ours = {
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "llmasos.client_gone": self.client_gone,
            "llmasos.host": self.server.host,
            "llmasos.host_given": self.server.host_given,
            "llmasos.public": self.server.public,
        }
        if whole := WHOLE_ADDRESS.match(self.path):
            ours["HTTP_HOST"], self.path = whole[1], "/" + self.path[whole.end() :]
        return super().get_environ() | ours

    def client_gone(self) -> bool:
        """Whether the client has closed the connection: then there is something to read, and it is the end.

        What it has sent after its request stands before the end, and is thrown away. (A client may have closed only
        its half, and wait. Such clients are rare, and cannot be told from the others.)
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
        """What the standard library does with a request that it cannot read."""
        words = (message or HTTPStatus(code).phrase)[:200]
        status = code if code < 500 else 400  # the other side's mistake, even where HTTP calls it the server's
        self.refuse(Refused(f"the request is not one of HTTP/1.1: {words}.", status=status))

    def refuse(self, refused: Refused) -> None:
        """Answer a request that could not be read."""
        self.server.count_answer(self.command, refused.status)
        self.connection.settimeout(self.server.write_seconds)
        self.wfile.write(answer_bytes(refused))
        self.wfile.flush()
        self.log_request(refused.status)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """When, what, how it went, and how long it took."""
        self.logged = True
        if self.server.log is not None:
            asked = f"{self.command or '-'} {self.path}"[:200]
            asked = asked.encode("unicode_escape").decode()  # nothing that could do something to a terminal
            seconds = time.monotonic() - self.started
            self.server.log(f"{time.strftime('%H:%M:%S')} {asked} {code} {seconds:.3f} s")


class Answer(ServerHandler):
    """Calls the application and writes what it says."""

    server_software = "llmasos"
    os_environ: dict[str, str] = {}  # the process's variables are nothing that a request should know

    def handle_error(self) -> None:
        """The application has failed, or the client has not taken a piece of its answer in time.

        (Of a client that has closed the connection the standard library says nothing, not even here.)
        """
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            return
        logging.getLogger(__name__).error("an answer failed", exc_info=error)
        self.request_handler.log_request(500)
        if not self.headers_sent:
            self.stdout.write(answer_bytes(refusal(error)))
            self.stdout.flush()


def linger(connection: socket.socket) -> None:
    """Read what a client still sends and throw it away, for it to read our answer.

    A socket that is closed while there is something unread in it cuts its other end off before that has seen the
    answer.
    """
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LINGER
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(65536):
            return


def answer_bytes(refused: Refused) -> bytes:
    """A whole answer that says why there is no other."""
    body = json_response(error_object(refused)).body
    headers = [("Content-Type", JSON), ("Content-Length", str(len(body))), ("Connection", "close"), *refused.headers]
    lines = [f"HTTP/1.1 {status_line(refused.status)}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
