"""The server that comes with the library: the standard library's threaded server, with a limit on everything.

    accept ── too many connections ──→ a short 503, and goodbye
       │
       └─ a thread for the connection: read the request → call the application → write the answer → close

One connection is one request. That costs a client a few packets more, and leaves nothing to get wrong about where one
request ends and the next begins. A thread that waits costs little, so a hundred of them may wait for the model, each
with an answer that is written while it is computed.

What a client can do to a server is hold on to something, so everything has an end:

    the head            16 KB and 100 headers           the body             1 MB
    sending a request   10 seconds for all of it        taking the answer    30 seconds for each piece
    connections         256 at once                     the model's work     see `engine.py`
    closing             2 seconds after the answer

For the open internet put a server in front that speaks TLS (nginx, Caddy), or use gunicorn (see `app.py`).
"""

import contextlib
import errno
import logging
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer

from llmasos.errors import UserError
from llmasos.serving.http.connection import LINGER, Connection, answer_bytes
from llmasos.serving.http.errors import Refused, retry_after
from llmasos.serving.http.http_types import MAX_BODY

BACKLOG = 1024  # connections that the system keeps until we take them
MAX_FAREWELLS = 256  # refused connections that are kept open for their answer to arrive
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all addresses of a machine → the one by which it reaches itself."""

LAST_CALL = 1.0  # seconds, at the end, to take those who have connected already
FULL = Refused("the server has as many connections as it can hold; ask again in a moment.",
               status=503, code="full", headers=retry_after(1.0))  # fmt: skip
"""What is said to a connection too many."""

Log = Callable[[str], None]


class HTTPServer(ThreadingMixIn, WSGIServer):
    """A WSGI application behind a port.

        server = HTTPServer(create_app("storyworld-gpt"), port=0)
        server.start()
        print(server.url)
        server.stop()

    Attributes:
        host, port: where it listens, as numbers; the port that was found, if 0 was asked for.
        host_given: the host as it was asked for, perhaps by a name.
        url: the address at which this machine itself finds it.
        public: whether other machines can reach it.
    """

    daemon_threads, block_on_close = True, False  # `stop` waits for the threads, and not for ever
    timeout = 0  # of `handle_request`, at the end: take who is there

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        max_connections: int = 256,
        read_seconds: float = 10.0,
        write_seconds: float = 30.0,
        log: Log | None = None,
        listener: socket.socket | None = None,
    ):
        """Args:
        app: what answers (PEP 3333). If it has a `max_body`, a body may have so many bytes; if it has a `count_answer`,
            that is told the method and the status of what is refused before it comes to the application.
        host, port: where to listen; 0 is any port that is free.
        max_connections: how many are served at once.
        read_seconds: how long a request may take to arrive, all of it.
        write_seconds: how long each piece of an answer may take to be taken.
        log: told a line for each request.
        listener: what `listen` has made of host and port, if that was called before.

        Raises:
            UserError: the port is taken, or may not be used, or there is no such host; or no connection is allowed.
        """
        if not isinstance(max_connections, int) or max_connections < 1:
            raise UserError(f"max_connections is {max_connections!r}; it must be a whole number of at least 1.")
        listener = listener or listen(host, port)
        self.host_given, (self.host, self.port) = host, listener.getsockname()[:2]
        super().__init__((self.host, self.port), Connection, bind_and_activate=False)
        self.socket.close()  # the one that the standard library has made, unbound
        self.socket, self.server_name, self.server_port = listener, self.host, self.port
        self.setup_environ()
        self.app = app
        self.set_app(app)
        itself = EVERYWHERE.get(self.host, self.host)
        self.url = f"http://{f'[{itself}]' if ':' in itself else itself}:{self.port}"
        self.public, self.log = not is_loopback(self.host), log
        self.max_connections, self.max_body = max_connections, getattr(app, "max_body", MAX_BODY)
        self.count_answer: Callable[[str | None, int], None] = getattr(app, "count_answer", lambda *answer: None)
        self.read_seconds, self.write_seconds = read_seconds, write_seconds
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()  # guards the set
        self._farewells: deque[tuple[float, socket.socket]] = deque()  # when to close, the first first
        self._thread: threading.Thread | None = None
        self._nobody_waits = False

    def start(self) -> None:
        """Serve from now on, in threads of its own."""
        self.socket.listen(BACKLOG)
        self._thread = threading.Thread(target=self.serve_forever, args=[0.1], name="llmasos server", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Take no more connections; those that are there have so many seconds to end, then they are cut."""
        if self._thread is None:
            self.server_close()
            return
        self.shutdown()
        self._thread.join()
        self._thread = None
        self.socket.listen(0)  # the system lets nobody join the queue that we empty now
        end = time.monotonic() + LAST_CALL
        while not self._nobody_waits and time.monotonic() < end:
            self.handle_request()
        self.server_close()
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, seconds)
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for _, connection in self._farewells:
            connection.close()

    @property
    def n_connections(self) -> int:
        """How many connections are served now."""
        return len(self._connections)

    # What the standard library's server calls

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        try:
            return super().get_request()
        except OSError as error:  # it has gone already, or there are no more file descriptors
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(0.05)
            raise

    def process_request(self, connection: socket.socket, client_address: Any) -> None:
        """Give a connection its thread, if there is room."""
        with self._changed:
            there_is_room = len(self._connections) < self.max_connections
            if there_is_room:
                self._connections.add(connection)
        try:
            if there_is_room:
                super().process_request(connection, client_address)
                return
        except RuntimeError:  # the system has no more threads
            self._forget(connection)
        self._say_goodbye(connection)

    def shutdown_request(self, connection: socket.socket) -> None:
        """A connection has ended."""
        super().shutdown_request(connection)
        self._forget(connection)

    def handle_error(self, connection: socket.socket, client_address: Any) -> None:
        """A connection has failed; most often the client has gone."""
        if not isinstance(sys.exc_info()[1], OSError):
            logging.getLogger(__name__).exception("a connection failed")

    def service_actions(self) -> None:
        """What is to be done now and then: let go of those who have been refused, and of the first if they are many."""
        while self._farewells and (self._farewells[0][0] < time.monotonic() or len(self._farewells) > MAX_FAREWELLS):
            self._farewells.popleft()[1].close()

    def handle_timeout(self) -> None:
        """`handle_request` has found nobody."""
        self._nobody_waits = True

    def _forget(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _say_goodbye(self, connection: socket.socket) -> None:
        """Refuse a connection without a thread.

        The answer is short enough for the socket's buffer. The socket is closed only later, because one that is closed
        while there is something unread in it cuts its other end off before that has seen the answer.
        """
        self.count_answer(None, FULL.status)
        try:
            connection.setblocking(False)
            connection.send(answer_bytes(FULL))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
        else:
            self._farewells.append((time.monotonic() + LINGER, connection))


def listen(host: str, port: int) -> socket.socket:
    """A socket that has the port, but takes no connections yet.

    Raises:
        UserError: the port is taken or may not be used, or there is no such host.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port is {port}; it must be from 0 to 65535 (0: any that is free).")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f"there is no host {host!r} on this machine ({error}); try 127.0.0.1.") from error
    try:
        if sys.platform != "win32":  # where it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)  # a port is only taken once somebody listens
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            reason = "it is taken, perhaps by another server of ours; choose another, or 0 for any that is free"
        elif error.errno == errno.EACCES:
            reason = "ports below 1024 are for the system's administrator; choose one above"
        else:
            reason = f"{error.strerror or error}"
        raise UserError(f"port {port} of {host} cannot be used: {reason}.") from error
    return listener


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return ip_address(host.partition("%")[0]).is_loopback
