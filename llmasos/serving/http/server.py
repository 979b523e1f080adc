"""The embedded server: the standard library's threaded server, with a limit on everything.

    accept ── too many connections ──→ a short 503, then close
       │
       └─ a thread per connection: read the request → call the application → write the response → close

One connection carries one request. That costs a client a few more packets, but where one request ends and the next
begins cannot be misunderstood. A waiting thread costs little, so hundreds of them may wait for the model, each with a
response that is written while it is generated.

A client can harm a server by holding on to its resources, so everything is limited:

    the head            16 KB and 100 headers           the body               1 MB
    sending a request   10 seconds in total             reading the response   30 seconds per piece
    connections         256 at once                     the model's work       see `engine.py`
    closing             2 seconds after the response

On the open internet, put a reverse proxy with TLS in front (nginx, Caddy), or use gunicorn (see `app.py`).
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

from llmasos.errors import UserError, check_number
from llmasos.serving import MAX_BODY
from llmasos.serving.http.connection import LINGER, Connection, error_response
from llmasos.serving.http.errors import Headers, RequestError, retry_after
from llmasos.settings import LARGEST_COUNT

BACKLOG = 1024  # connections that the system queues until they are accepted
MAX_REJECTED = 256  # rejected connections that are kept open until their response has arrived
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all addresses of a machine → the one by which it reaches itself."""

LAST_ACCEPT_SECONDS = 1.0  # at shutdown, for clients that have already connected
TOO_MANY_CONNECTIONS = RequestError("the server has reached its limit of connections; try again in a moment.",
                                    status=503, code="too_many_connections", headers=retry_after(1.0))  # fmt: skip

Log = Callable[[str], None]


class HTTPServer(ThreadingMixIn, WSGIServer):
    """A WSGI application behind a port.

        server = HTTPServer(create_app("storyworld-gpt"), port=0)
        server.start()
        print(server.url)
        server.stop()

    Attributes:
        host, port: the address where it listens, as numbers; the chosen port if the argument was 0.
        requested_host: the host as it was passed, perhaps a name.
        url: the URL by which this machine reaches it.
        public: whether other machines can reach it.
    """

    daemon_threads, block_on_close = True, False  # `stop` waits for the threads itself, with a time limit
    timeout = 0  # of `handle_request`, at shutdown: accept pending connections

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
        """Make a server; `start` starts it.

        Args:
            app: the application (PEP 3333). Its attribute `max_body`, if it has one, limits the size of a body; its
                methods `count_response`, called with the method and the status of every request that is rejected
                before it reaches the application, and `cors_headers`, called with its Origin, may be missing, too.
            host, port: the address where to listen; port 0 means any free one.
            max_connections: the number of connections that are served at once.
            read_seconds: the time limit for the whole request to arrive.
            write_seconds: the time limit for the client to read each piece of the response.
            log: a function that is called with a line for each request.
            listener: the result of `listen(host, port)`, if that was called before.

        Raises:
            UserError: the port is taken or not allowed, there is no such host, or max_connections is below 1.
        """
        check_number("max_connections", max_connections, whole=True, at_least=1, at_most=LARGEST_COUNT)
        listener = listener or listen(host, port)
        self.requested_host, (self.host, self.port) = host, listener.getsockname()[:2]
        super().__init__((self.host, self.port), Connection, bind_and_activate=False)
        self.socket.close()  # the standard library made this one, unbound
        self.socket, self.server_name, self.server_port = listener, self.host, self.port
        self.setup_environ()
        self.app = app
        self.set_app(app)
        reachable = WILDCARDS.get(self.host, self.host)
        self.url = f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{self.port}"
        self.public, self.log = not is_loopback(self.host), log
        self.max_connections, self.max_body = max_connections, getattr(app, "max_body", MAX_BODY)
        self.count_response: Callable[[str | None, int], None] = getattr(app, "count_response", lambda *response: None)
        self.cors_headers: Callable[[str | None], Headers] = getattr(app, "cors_headers", lambda origin: ())
        self.read_seconds, self.write_seconds = read_seconds, write_seconds
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()  # guards the set
        self._rejected: deque[tuple[float, socket.socket]] = deque()  # (time to close, connection), in order
        self._thread: threading.Thread | None = None
        self._backlog_empty = False

    def start(self) -> None:
        """Serve in the background, on threads of its own."""
        self.socket.listen(BACKLOG)
        self._thread = threading.Thread(target=self.serve_forever, args=[0.1], name="llmasos server", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Accept no more connections, and close those that are still open after this many seconds."""
        if self._thread is None:
            self.server_close()
            return
        self.shutdown()
        self._thread.join()
        self._thread = None
        self.socket.listen(0)  # accept no new connections into the backlog, which is emptied now
        end = time.monotonic() + LAST_ACCEPT_SECONDS
        while not self._backlog_empty and time.monotonic() < end:
            self.handle_request()
        self.server_close()
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, seconds)
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for _, connection in self._rejected:
            connection.close()

    @property
    def n_connections(self) -> int:
        """How many connections are being served."""
        return len(self._connections)

    # Called by the standard library's server

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept the next connection."""
        try:
            return super().get_request()
        except OSError as error:  # the client has disconnected already, or no file descriptors are left
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(0.05)
            raise

    def process_request(self, connection: Any, client_address: Any) -> None:
        """Give a connection its thread, or reject it."""
        with self._changed:
            has_room = len(self._connections) < self.max_connections
            if has_room:
                self._connections.add(connection)
        try:
            if has_room:
                super().process_request(connection, client_address)
                return
        except (RuntimeError, MemoryError):  # the system has no more threads, or no memory for one
            self._forget(connection)
        self._reject(connection)

    def shutdown_request(self, connection: Any) -> None:
        """Called when a connection has ended."""
        super().shutdown_request(connection)
        self._forget(connection)

    def handle_error(self, connection: Any, client_address: Any) -> None:
        """Called when a connection has failed, usually because the client disconnected."""
        if not isinstance(sys.exc_info()[1], OSError):
            logging.getLogger(__name__).exception("a connection failed")

    def service_actions(self) -> None:
        """Called regularly: close rejected connections after a while, the oldest at once if there are too many."""
        while self._rejected and (self._rejected[0][0] < time.monotonic() or len(self._rejected) > MAX_REJECTED):
            self._rejected.popleft()[1].close()

    def handle_timeout(self) -> None:
        """Called if `handle_request` finds no connection."""
        self._backlog_empty = True

    def _forget(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _reject(self, connection: socket.socket) -> None:
        """Respond to a connection with 503, without a thread.

        The response is short enough for the socket's buffer. The socket is closed only later: closing one that holds
        unread bytes resets the connection, and the client may lose the response.
        """
        self.count_response(None, TOO_MANY_CONNECTIONS.status)
        try:
            connection.setblocking(False)
            connection.send(error_response(TOO_MANY_CONNECTIONS))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
        else:
            self._rejected.append((time.monotonic() + LINGER, connection))


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket to the port; it accepts no connections yet.

    Raises:
        UserError: the port is taken or not allowed, or there is no such host.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port is {port}; it must be from 0 to 65535 (0 chooses a free one).")
    try:
        family, type, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, type, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f"this machine has no host {host!r} ({error}); try 127.0.0.1.") from error
    try:
        if sys.platform != "win32":  # on Windows it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)  # binding alone does not reserve the port
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            reason = "it is already in use, perhaps by another server; choose another one, or 0 for any free one"
        elif error.errno == errno.EACCES:
            reason = "ports below 1024 need administrator rights; choose a higher one"
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
