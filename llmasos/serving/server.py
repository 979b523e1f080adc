"""The server that comes with the library: the standard library's sockets and threads, and a limit on everything.

    accept ── too many connections ──→ a short 503, and goodbye
       │
       └─ a thread for the connection: read the request → call the application → write the answer → close

One connection is one request. That costs a client a few packets more, and leaves nothing to get wrong about where one
request ends and the next begins. A thread that waits costs little; that a hundred of them may wait for the model is
what makes answers possible that are written while they are computed.

What a client can do to a server is hold on to something, so everything has an end:

    the header          16 KB and 100 lines             the body             1 MB
    sending a request   10 seconds for all of it        taking the answer    30 seconds for each piece
    connections         256 at once                     the model's work     see `engine.py`

For the open internet put a server in front that speaks TLS (nginx, Caddy), or use gunicorn (see `app.py`).
"""

import contextlib
import errno
import logging
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from llmasos.errors import UserError
from llmasos.serving.exchange import LINGER, Exchange, answer_bytes
from llmasos.serving.refusals import Refused, retry_after
from llmasos.serving.web import MAX_BODY
from llmasos.serving.wire import Gone

BACKLOG = 1024  # connections that the system keeps until we take them
MAX_FAREWELLS = 256  # refused connections that are waited for
LAST_CALL = 1.0  # seconds, at the end, to take those who have connected already
FULL = Refused("the server has as many connections as it can hold; ask again in a moment.",
               status=503, code="full", headers=retry_after(1.0))  # fmt: skip
"""What is said to a connection too many."""

Log = Callable[[str], None]


class HTTPServer:
    """A WSGI application behind a port.

        server = HTTPServer(create_app("storyworld-gpt"), port=0)
        server.start()
        print(server.url)
        server.stop()

    Attributes:
        host, port: where it listens; the port that was found, if 0 was asked for.
        url: the same as an address.
        public: whether other machines can reach it.
    """

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
        app: what answers (PEP 3333); its `max_body`, if it has one, is how many bytes a body may have.
        host, port: where to listen; 0 is any port that is free.
        max_connections: how many are served at once.
        read_seconds: how long a request may take to arrive, all of it.
        write_seconds: how long each piece of an answer may take to be taken.
        log: told a line for each request.
        listener: a socket made by `listen`, in place of host and port.

        Raises:
            UserError: the port is taken, or may not be used, or there is no such host.
        """
        self.app, self.log = app, log
        self.max_connections, self.max_body = max_connections, getattr(app, "max_body", MAX_BODY)
        self.read_seconds, self.write_seconds = read_seconds, write_seconds
        self._listener = listener or listen(host, port)
        self.host, self.port = self._listener.getsockname()[:2]
        self.url = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        self.public = not is_loopback(self.host)
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()  # guards the set
        self._thread: threading.Thread | None = None
        self._stopping, self._last_call = False, 0.0

    def start(self) -> None:
        """Serve from now on, in threads of its own."""
        self._listener.listen(BACKLOG)
        self._thread = threading.Thread(target=self._accept, name="llmasos server", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Take no more connections; those that are there have so many seconds to end, then they are cut."""
        self._last_call = time.monotonic() + LAST_CALL
        with contextlib.suppress(OSError):  # it has been stopped before
            self._listener.listen(0)  # the system lets nobody join the queue that we empty now
        self._stopping = True
        if self._thread is not None:
            self._thread.join()
        self._listener.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, seconds)
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def n_connections(self) -> int:
        """How many connections are served now."""
        return len(self._connections)

    def _accept(self) -> None:
        """Take connections, until told to stop. Those too many get their goodbye here, without a thread."""
        farewells = Farewells()
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while True:
                ready = selector.select(0.0 if self._stopping else 0.1)
                farewells.go_on()
                if self._stopping and (not ready or time.monotonic() > self._last_call):
                    break  # whoever had connected before has been taken
                if not ready:
                    continue
                try:
                    connection, _ = self._listener.accept()
                except OSError as error:  # the client has gone already, or there are no more file descriptors
                    if error.errno in (errno.EMFILE, errno.ENFILE):
                        time.sleep(0.05)
                    continue
                if not self._open(connection):
                    farewells.say(connection, answer_bytes(FULL))
        self._listener.close()
        farewells.end()

    def _open(self, connection: socket.socket) -> bool:
        """Give a connection its thread. Returns whether there was room."""
        with self._changed:
            if len(self._connections) >= self.max_connections:
                return False
            self._connections.add(connection)
        connection.setblocking(True)
        try:
            threading.Thread(target=self._serve, args=[connection], name="llmasos connection", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            self._close(connection)
            return False
        return True

    def _close(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _serve(self, connection: socket.socket) -> None:
        """One connection from its beginning to its end."""
        try:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # send each piece at once
            Exchange(self, connection).run()
        except (OSError, Gone):  # the client has gone, or did not take its answer in time
            pass
        except Exception:
            logging.getLogger(__name__).exception("a connection failed")
        finally:
            connection.close()
            self._close(connection)


class Farewells:
    """Connections that are refused without a thread: each is told so, and closed when it has read that.

    A socket that is closed while there is something unread in it cuts its other end off before that has seen the
    answer. So each is read from until it ends, or for some seconds.
    """

    def __init__(self):
        self._leaving: list[tuple[socket.socket, float]] = []
        self._looked = 0.0

    def say(self, connection: socket.socket, answer: bytes) -> None:
        """Send an answer, which is short enough for the socket's buffer, and begin to say goodbye."""
        connection.setblocking(False)
        try:
            connection.send(answer)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
        else:
            self._leaving.append((connection, time.monotonic() + LINGER))

    def go_on(self) -> None:
        """Let go of those that have ended or had their time, and of the first ones if there are too many."""
        now, staying = time.monotonic(), []
        if now < self._looked + 0.05:
            return
        for connection, deadline in reversed(self._leaving):
            if now < deadline and len(staying) < MAX_FAREWELLS and not self._ended(connection):
                staying.append((connection, deadline))
            else:
                connection.close()
        self._leaving, self._looked = staying[::-1], now

    def end(self) -> None:
        """Let go of all."""
        for connection, _ in self._leaving:
            connection.close()

    def _ended(self, connection: socket.socket) -> bool:
        try:
            return not connection.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            return True


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
            reason = "it is taken: another server, perhaps this one, runs there. Stop it, or choose another with --port"
        elif error.errno == errno.EACCES:
            reason = "ports below 1024 are for the system's administrator; choose one above, with --port"
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
