"""A request of HTTP/1.1 as it comes over the wire (RFC 9112), read strictly and with a limit on everything.

    POST /v1/completions HTTP/1.1        the request line: method, target, version
    Host: 127.0.0.1:8000                 headers: a name, a colon, a value
    Content-Type: application/json
    Content-Length: 20
                                         an empty line
    {"prompt": "One day"}                the body: as many bytes as were said

Where the standard leaves a choice, or is often read in two ways, the request is refused: two lengths, chunks, spaces
before a colon, lines that go on in the next. Whoever makes two servers in a row disagree about where a request ends can
slip a second one past the first ("request smuggling").
"""

import io
import re
import socket
import time
from typing import NamedTuple
from urllib.parse import unquote

from llmasos.serving.refusals import Refused

REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) (/[!-~]*) HTTP/1\.([01])")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
TLS_HELLO = b"\x16\x03"  # how a browser begins that was told https
ONCE = ("host", "content-length", "content-type", "authorization", "transfer-encoding")


class Late(Refused):
    """The time is over."""

    def __init__(self, seconds: float):
        super().__init__(f"the request was not there within {seconds:g} seconds.", status=408, code="late")


class Gone(Exception):
    """The connection has ended."""


class Head(NamedTuple):
    """What stands before the body.

    Attributes:
        method: such as "POST".
        target: what is asked for, as it was sent: a path, and perhaps a question mark and more.
        version: "HTTP/1.1" or "HTTP/1.0".
        headers: by their names in small letters.
    """

    method: str
    target: str
    version: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """The target's path, decoded, as bytes in Latin-1: that is how WSGI wants it."""
        return unquote(self.target.partition("?")[0], "latin-1")

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.target.partition("?")[2]


class Reader(io.RawIOBase):
    """Reads from a socket until a point in time, after which it raises Late.

    The time is for all that is read, however many pieces it comes in: one byte every second does not earn more of it.
    """

    def __init__(self, connection: socket.socket, seconds: float):
        self.connection, self.seconds, self.deadline = connection, seconds, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Late(self.seconds)
        self.connection.settimeout(left)
        try:
            return self.connection.recv_into(buffer)
        except TimeoutError:
            raise Late(self.seconds) from None


def read_head(stream: io.BufferedReader, max_bytes: int, max_headers: int) -> Head:
    """Read up to the empty line.

    Raises:
        Gone: there was nothing.
        Refused: it is no request of HTTP/1, or too long.
        Late: it did not come in time.
    """
    if stream.peek(2).startswith(TLS_HELLO):
        raise Refused("this looks like the beginning of https; the server speaks http.")
    line, left = read_line(stream, max_bytes, "the address", 414)
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refused("the first line is not one of HTTP/1.1: a method, a path that begins with /, HTTP/1.1.")
    method, target, minor = match.groups()
    headers: dict[str, str] = {}
    for _ in range(max_headers + 1):
        line, left = read_line(stream, left, "the header", 431)
        if not line:
            version = f"HTTP/1.{minor.decode()}"
            if version == "HTTP/1.1" and "host" not in headers:
                raise Refused("the request has no Host header, which HTTP/1.1 wants.")
            return Head(method.decode(), target.decode("ascii"), version, headers)
        match = HEADER.fullmatch(line)
        if match is None:
            raise Refused("a line of the header is not a name, a colon and a value.")
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1").strip(" \t")
        if name in headers and name in ONCE:
            raise Refused(f"the request has the header {name} twice.")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise Refused(f"the request has more than {max_headers} header lines.", status=431)


def read_line(stream: io.BufferedReader, left: int, what: str, status: int) -> tuple[bytes, int]:
    """One line without its end, of at most `left` bytes; and how many bytes are left after it."""
    line = stream.readline(left + 1)
    if not line:
        raise Gone
    if len(line) > left:
        raise Refused(f"{what} is too long.", status=status)
    if not line.endswith(b"\n"):
        raise Gone
    if not line.endswith(b"\r\n"):
        raise Refused("a line of the header does not end as HTTP wants it, with CR and LF.")
    return line[:-2], left - len(line)


def body_length(head: Head, max_body: int) -> int:
    """How many bytes the body has. Raises Refused if that is not said in the one way that is taken, or too many."""
    if "transfer-encoding" in head.headers:
        raise Refused("the body comes in chunks, which this server does not take; send it with a Content-Length.",
                      status=411, code="length_required")  # fmt: skip
    given = head.headers.get("content-length")
    if given is None:
        if head.method in ("POST", "PUT", "PATCH"):
            raise Refused("the request does not say how long its body is; send a Content-Length.",
                          status=411, code="length_required")  # fmt: skip
        return 0
    if not (given.isascii() and given.isdigit()):
        raise Refused("the Content-Length is not a number of bytes.")
    if len(given) > 18 or int(given) > max_body:
        raise Refused(f"the body is too large; it may have up to {max_body:,} bytes.", status=413, code="too_large")
    return int(given)


def read_body(stream: io.BufferedReader, length: int) -> bytes:
    """As many bytes as were said. Raises Gone if fewer come, and Late if they come too late."""
    data = stream.read(length)
    if len(data) < length:
        raise Gone
    return data
