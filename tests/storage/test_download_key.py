"""The access token of a download is sent to the scheme, host and port for which it was given, and to no other."""

import http.server
import itertools
import socket
import ssl
import threading
import urllib.parse
from pathlib import Path

import pytest

from llmasos.storage.download import make_request, open_address, origin_of

CERTIFICATE = Path(__file__).parents[1] / "helpers/localhost.pem"  # of localhost and 127.0.0.1, with its key: for tests


class BothSchemes(http.server.ThreadingHTTPServer):
    """A server for http and https on one port, so that two origins can differ only in the scheme."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Redirect)
        self.received: list[str | None] = []
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(CERTIFICATE)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        is_tls = connection.recv(1, socket.MSG_PEEK) == b"\x16"  # the first byte of a TLS handshake
        return self.tls.wrap_socket(connection, server_side=True) if is_tls else connection, address


class Redirect(http.server.BaseHTTPRequestHandler):
    """A handler that redirects to the address in the query, if there is one; otherwise it records the token."""

    def do_GET(self):
        target = urllib.parse.unquote(urllib.parse.urlsplit(self.path).query)
        if not target:
            self.server.received.append(self.headers.get("Authorization"))
        self.send_response(302 if target else 200)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def servers(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    servers = [BothSchemes(), BothSchemes()]
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_token_follows_a_redirect_to_the_same_origin_only(servers):
    ports = [server.server_port for server in servers]
    schemes_and_hosts = list(itertools.product(("http", "https"), ("127.0.0.1", "localhost")))
    origins = [f"{scheme}://{host}:{port}" for port in ports for scheme, host in schemes_and_hosts]
    arrived = {}
    for first, last in itertools.product(origins, origins):
        request = make_request(f"{first}/a?{urllib.parse.quote(f'{last}/b', safe='')}", "secret")
        open_address(request, timeout=30).close()
        arrived[first, last] = [server.received.pop() for server in servers if server.received]
    assert len(arrived) == 64
    expected = {pair: ["Bearer secret" if pair[0] == pair[1] else None] for pair in arrived}
    assert arrived == expected


def test_the_token_does_not_come_back_after_a_detour(servers):
    here, there = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    last = urllib.parse.quote(f"{there}/c", safe="")
    between = urllib.parse.quote(f"{there}/b?{last}", safe="")
    open_address(make_request(f"{here}/a?{between}", "secret"), timeout=30).close()
    assert servers[1].received == [None]


@pytest.mark.parametrize("other, same", [
    ("https://hub.example:443/x", True), ("HTTPS://Hub.Example", True), ("https://hub.example?a=1", True),
    ("http://hub.example", False), ("https://hub.example:80", False), ("https://hub.example.org", False),
    ("https://hub.example@evil.example", False), ("https://hub.example:port", False), ("//hub.example", False),
])  # fmt: skip
def test_an_origin_is_scheme_host_and_port(other, same):
    assert (origin_of(other) == origin_of("https://hub.example/models")) is same
