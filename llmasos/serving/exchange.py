"""One request and its answer on one connection: from the wire to WSGI, and back."""

import io
import socket
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from llmasos.serving.refusals import CLIENT_GONE, Refused, error_object, status_line
from llmasos.serving.web import JSON, json_response
from llmasos.serving.wire import Head, Reader, body_length, read_body, read_head

if TYPE_CHECKING:  # the server makes exchanges
    from llmasos.serving.server import HTTPServer

MAX_HEAD, MAX_HEADERS = 16_384, 100  # bytes, and lines
LINGER = 2.0  # seconds for which what a refused client still sends is read and thrown away


class Exchange:
    """One request and its answer on one connection."""

    def __init__(self, server: "HTTPServer", connection: socket.socket):
        self.server, self.connection = server, connection
        self.started = time.monotonic()
        self.head: Head | None = None
        self.status = CLIENT_GONE
        self._headers: list[tuple[str, str]] = []
        self._sent = False  # whether the headers are out

    def run(self) -> None:
        """Read, answer, log."""
        try:
            try:
                environ = self.read()
            except Refused as refused:
                self.refuse(refused)
            else:
                self.answer(environ)
        finally:
            if self.server.log is not None:
                self.server.log(self.line())

    def read(self) -> dict[str, Any]:
        """The request as WSGI wants it. Raises Refused, Late and Gone."""
        stream = io.BufferedReader(Reader(self.connection, self.server.read_seconds))
        self.head = read_head(stream, MAX_HEAD, MAX_HEADERS)
        length = body_length(self.head, self.server.max_body)
        if length and self.head.version == "HTTP/1.1" and self.head.headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = read_body(stream, length)
        self.connection.settimeout(self.server.write_seconds)
        return self.environ(body)

    def environ(self, body: bytes) -> dict[str, Any]:
        """What PEP 3333 says, and on top whether the client has gone, where we listen, and if others can reach that."""
        head, server = self.head, self.server
        environ: dict[str, Any] = {
            "REQUEST_METHOD": head.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": head.path,
            "QUERY_STRING": head.query,
            "SERVER_NAME": server.host,
            "SERVER_PORT": str(server.port),
            "SERVER_PROTOCOL": head.version,
            "CONTENT_TYPE": head.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "llmasos.client_gone": self.client_gone,
            "llmasos.host": server.host,
            "llmasos.public": server.public,
        }
        for name, value in head.headers.items():
            if "_" not in name and name not in ("content-type", "content-length"):  # a-b and a_b would be the same
                environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ

    def answer(self, environ: dict[str, Any]) -> None:
        """Call the application and send what it says."""
        pieces = self.server.app(environ, self.start_response)
        try:
            for piece in pieces:
                if piece:
                    self.send(piece)
            if not self._sent:
                self.send(b"")
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable:
        """What the application calls before its first piece (PEP 3333)."""
        if exc_info is not None and self._sent:
            raise exc_info[1]
        self.status, self._headers = int(status.split()[0]), headers
        return self.send

    def send(self, piece: bytes) -> None:
        """Send a piece, before the first one the headers. It fails if the client does not take it in time."""
        if not self._sent:
            piece, self._sent = head_bytes(self.status, self._headers) + piece, True
        self.connection.sendall(piece)  # its time-out is for the whole piece

    def refuse(self, refused: Refused) -> None:
        """Answer a request that could not be read."""
        self.status = refused.status
        self.connection.settimeout(self.server.write_seconds)
        self.connection.sendall(answer_bytes(refused))
        linger(self.connection)

    def client_gone(self) -> bool:
        """Whether the client has closed the connection: then there is something to read, and it is the end.

        (It may have closed only its half, and wait. Such clients are rare, and cannot be told from the others.)
        """
        try:
            self.connection.setblocking(False)
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(self.server.write_seconds)

    def line(self) -> str:
        """What there is to log: when, what, how it went, and how long it took."""
        asked = "-" if self.head is None else f"{self.head.method} {self.head.target[:200]}"
        return f"{time.strftime('%H:%M:%S')} {asked} {self.status} {time.monotonic() - self.started:.3f} s"


def linger(connection: socket.socket) -> None:
    """Read what a client still sends and throw it away, for it to read our answer (see `Farewells`)."""
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LINGER
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(65536):
            return


def head_bytes(status: int, headers: list[tuple[str, str]]) -> bytes:
    """The head of an answer."""
    common = [("Date", formatdate(usegmt=True)), ("Server", "llmasos"), ("Connection", "close")]
    lines = [f"HTTP/1.1 {status_line(status)}", *(f"{name}: {value}" for name, value in [*headers, *common])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer_bytes(refused: Refused) -> bytes:
    """A whole answer that says why there is no other."""
    response = json_response(error_object(refused))
    headers = [("Content-Type", JSON), ("Content-Length", str(len(response.body))), *refused.headers]
    return head_bytes(refused.status, headers) + response.body
