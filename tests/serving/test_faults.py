"""The embedded server under attack: broken requests, slow and vanishing clients, floods, signals.

With -s, each test prints how many requests were sent, how many failed in an unexpected way, and how many were lost (no
response, or an incomplete one).
"""

import contextlib
import http.client
import json
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving_http_helpers import (
    BYTES,
    FOR_EVER,
    OURS,
    app_of,
    ask,
    connect,
    events,
    receive,
    request_bytes,
    send,
    server_of,
    tiny,
    wait_until,
)

from llmasos.cli.cli import run
from llmasos.cli.serve import main as serve
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.hub.resolve import SHIPPED
from llmasos.serving.http.server import HTTPServer, listen

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"prompt": "abc", "max_tokens": 4, "seed": 3}


@pytest.fixture(scope="module")
def app():
    with app_of(tiny("gpt"), name="tiny-gpt", max_tokens=100_000) as app:
        yield app


@pytest.fixture
def server(app):
    with server_of(app) as server:
        yield server
    wait_until(lambda: server.n_connections == 0)


@pytest.fixture(scope="module")
def expected(app):
    """The text in the response to every good request."""
    [one] = generate(app.served.model, BYTES, [GOOD["prompt"]], SamplingOptions(4, seed=3))
    return one.text


def check_alive(server: HTTPServer, expected: str) -> None:
    """Check that the server still answers correctly, and that nothing is left of earlier requests."""
    answer = send(server.port, request_bytes("/v1/completions", GOOD))
    assert answer.status == 200 and answer.json["choices"][0]["text"] == expected
    wait_until(lambda: server.app.engine.n_running == server.app.engine.n_waiting == 0)
    wait_until(lambda: server.n_connections == 0)


def report(what: str, statuses: Counter, lost: int = 0, failed: int = 0) -> None:
    """Print what happened in one line."""
    shown = ", ".join(f"{status} × {n}" for status, n in sorted(statuses.items(), key=str))
    print(f"\n{what}: {sum(statuses.values()) + lost} sent ({shown}), {failed} failed, {lost} lost")


# Wrong requests


ODD_PIECES = [b"NaN", b"1e999", b"\\ud800", b"[" * 2000, b"9" * 5000, b"null"]


def mutated(draw: random.Random, data: bytes) -> bytes:
    """Put an error into a body, often a small one."""
    place, other = draw.randrange(len(data)), draw.randrange(len(data))
    piece = data[min(place, other) : max(place, other)]
    return draw.choice(
        [
            data[:place] + data[place + 1 :],
            data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :],
            data[:place] + bytes([draw.choice(b'{}[]",:0\\ntf-e.\x00\xff\xed')]) + data[place:],
            data[:place],
            data.replace(piece, b"", 1),
            data[:place] + piece * draw.randrange(1, 30) + data[place:],
            data[:place] + draw.choice(ODD_PIECES) + data[place:],
        ]
    )


def test_mutated_bodies(app, server, expected):
    """Several hundred bodies with errors in them give 200, 400 or 404, and a sentence."""
    body = {"model": "tiny-gpt", "prompt": ["ab", "c"], "max_tokens": 2, "temperature": 0.5, "stop": ["x"], "n": 1,
            "logprobs": 1, "stream": False, "stream_options": {"include_usage": True}, "seed": 5}  # fmt: skip
    draw, statuses = random.Random(0), Counter()
    for _ in range(800):
        answer = ask(app, "POST", "/v1/completions", mutated(draw, json.dumps(body).encode()))
        statuses[answer.status] += 1
        if answer.status != 200:
            assert answer.error["message"]
    report("mutated bodies", statuses)
    assert set(statuses) <= {200, 400, 404} and statuses[400] > 500
    check_alive(server, expected)


POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
BROKEN = [  # bytes sent → status; None = closed without a response
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400),
    (b"GET / HTTP/1.1\n\n", 200),
    (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n", 200),
    (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"GET HTTP://LocalHost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"GET http://localhost/health?a=http://b/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200),
    (b"GET http://localhost//health HTTP/1.1\r\n\r\n", 404),
    (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
    (b"GET http:///health HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
    (b"GET /http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"\n \x85\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"\r\n" * 20_000, 431),
    (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n", 403),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\rc\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 200),
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b" " * 15_000 + b"\x01\r\n\r\n", 200),
    (POST + b"\r\n{}", 411),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 411),
    (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    (POST + b"Content-Length: -2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    (POST + b"Content-Length: 9999999\r\n\r\n{}", 413),
    (POST + b"Content-Length: " + b"9" * 500 + b"\r\n\r\n{}", 413),
    (b"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /%2e%2e/%2e%2e/etc/passwd%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    (b"GET /health HTTP/1.0\r\n\r\n", 200),
    (b"GET /health?a=b HTTP/1.1\r\nHost: localhost\r\nX_A: 1\r\nX-A: 2\r\n\r\n", 200),
    (b"", None),
    (b"\r\n", None),
    (b"GET / HT", 408),
]  # fmt: skip


def test_broken_requests(server, expected):
    """Unreadable requests are rejected with a sentence. Ambiguous ones do no harm, because a connection has only one
    request: there is no second one to smuggle in."""
    statuses = Counter()
    for data, status in BROKEN:
        server.read_seconds = 0.3 if status == 408 else 600.0
        with connect(server.port) as connection:
            connection.sendall(data)
            if status is None:
                connection.shutdown(socket.SHUT_WR)
            answer = receive(connection)
        statuses[answer and answer.status] += 1
        assert (answer and answer.status) == status, (data[:80], answer)
        if status and status >= 400:
            assert answer.error["message"]
            assert b"root:" not in answer.body
    report("broken requests", statuses)
    check_alive(server, expected)


def test_a_browser_that_was_told_https_is_answered_at_once(server):
    """A TLS handshake has no end of line; the server does not wait for one, although a request has 600 s here."""
    answer = send(server.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(100, 256)))
    assert answer.status == 400 and "https" in answer.error["message"]


def logged(app, lines: list[str], **settings):
    """A server that logs into a list."""
    return server_of(app, log=lines.append, **settings)


def test_what_is_logged_is_one_printable_line(app):
    lines = []
    with logged(app, lines) as server:
        send(server.port, b"GET /\x1b]0;owned\x07\xff\x9b31m HTTP/1.1\r\nHost: localhost\r\n\r\n")
        send(server.port, b"\x1b[2J / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        send(server.port, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: len(lines) == 3)
    assert all(line.isprintable() and line.isascii() and len(line) < 300 for line in lines)
    assert r"GET /\x1b]0;owned\x07\xff\x9b31m 404" in lines[0] and r"\x1b[2J / 40" in lines[1]


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_vanishes_is_logged_once(app, reset):
    lines = []
    with logged(app, lines) as server:
        with connect(server.port) as connection:
            connection.sendall(request_bytes("/v1/completions", FOR_EVER | {"stream": True}))
            connection.recv(1000)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        wait_until(lambda: lines)
        with connect(server.port) as connection:
            connection.sendall(request_bytes("/v1/completions", GOOD)[:-5])
        wait_until(lambda: len(lines) == 2)
        with connect(server.port):  # without a request there is nothing to log
            pass
        assert send(server.port, request_bytes("/health", method="GET")).status == 200
        wait_until(lambda: server.n_connections == 0)
    assert [line.split(" ", 1)[1].rsplit(" ", 2)[0] for line in lines] == [
        "POST /v1/completions 499", "POST /v1/completions 499", "GET /health 200"
    ]  # fmt: skip


def test_an_application_that_fails_is_logged_as_such():
    lines = []

    def failing(environ, start_response):
        raise RuntimeError("no")

    with logged(failing, lines) as server:
        assert send(server.port, request_bytes("/", method="GET")).status == 500
        wait_until(lambda: lines)
    assert len(lines) == 1 and "GET / 500" in lines[0]


def test_garbage(server, expected):
    """Random bytes, and good requests with random bytes in them: no response has status 5xx, and nothing hangs."""
    draw, statuses, lost = random.Random(1), Counter(), 0
    good = request_bytes("/v1/completions", GOOD)
    for number in range(150):
        data = draw.randbytes(draw.randrange(1, 400)) if number % 2 else mutated(draw, good)
        with connect(server.port) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = receive(connection)
        statuses[answer and answer.status] += 1
        assert answer is None or answer.status < 500, (data, answer)
    report("garbage", statuses, lost)
    check_alive(server, expected)


def test_a_second_request_on_a_connection_is_not_answered(server):
    with connect(server.port) as connection:
        connection.sendall(request_bytes("/health", method="GET") + request_bytes("/v1/models", method="GET"))
        answer = receive(connection)
    assert answer.json == {"status": "ok"}


def test_an_answer_is_whole_although_more_was_sent_than_was_read(monkeypatch):
    """The client reads only after the server has closed: data that is then on its way must not be lost."""
    monkeypatch.setattr("llmasos.serving.http.connection.LINGER", 0.2)
    asked, more_is_there = threading.Event(), threading.Event()

    def application(environ, start_response):
        asked.set()
        more_is_there.wait(60)
        start_response("200 OK", [("Content-Length", "100000")])
        return [bytes(100_000)]

    with server_of(application) as server, socket.socket() as connection:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)  # room for the whole response here,
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # and not there
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request_bytes("/", method="GET"))
        assert asked.wait(60)
        connection.sendall(request_bytes("/second", method="GET"))
        more_is_there.set()
        wait_until(lambda: server.n_connections == 0)
        assert len(receive(connection).body) == 100_000


def test_what_the_server_refuses_itself_is_counted(app, server):
    """Also if the application never sees the request."""

    def counted(method: str, status: int) -> float:
        return app.served.metrics.http_requests.value("other", method, status)

    for data, method, status in [
        (POST + b"Content-Length: 9999999\r\n\r\n", "POST", 413),
        (POST + b"\r\n", "POST", 411),
        (b"nonsense\r\n\r\n", "other", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", "GET", 431),
    ]:
        before = counted(method, status)
        assert send(server.port, data).status == status
        assert counted(method, status) == before + 1, status
    server.max_connections, before = 0, counted("other", 503)
    assert send(server.port, request_bytes("/health", method="GET")).status == 503
    assert counted("other", 503) == before + 1


def test_a_head_is_the_head_of_the_answer(server):
    for path in ("/", "/health", "/v1/models"):
        with connect(server.port) as connection:
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            data = connection.makefile("rb").read()
        assert data.startswith(b"HTTP/1.0 200 OK\r\n") and b"Content-Length: " in data and data.endswith(b"\r\n\r\n")


def test_huge_bodies(server, expected, monkeypatch):
    """They are rejected by their length. A typical client sends all before it reads, and is not cut off meanwhile."""
    monkeypatch.setattr("llmasos.serving.http.connection.LINGER", 600.0)
    statuses, data = Counter(), json.dumps({"prompt": "a" * 20_000_000}).encode()
    for _ in range(3):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            connection.request("POST", "/v1/completions", data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            statuses[answer.status] += 1
            assert b"the limit is 1,000,000 bytes" in answer.read()
    report("bodies of 20 MB", statuses)
    assert set(statuses) == {413}
    check_alive(server, expected)


def test_a_client_that_waits_to_be_told_to_go_on(server, expected):
    """`curl` does so if the body is large."""
    data = request_bytes("/v1/completions", GOOD, headers="Expect: 100-continue\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    with connect(server.port) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert receive(connection).json["choices"][0]["text"] == expected
    too_large = head.replace(b"Content-Length: ", b"Content-Length: 9999999")
    assert send(server.port, too_large + b"\r\n\r\n").status == 413


# Slow and vanishing clients


SLOW_BODY = POST + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"


@pytest.mark.parametrize("where", ["before", "line", "header", "body"])
def test_a_byte_now_and_then_does_not_hold_a_place(server, expected, where):
    """The time limit is for the whole request: 0.6 s here, 10 s otherwise."""
    begun = {"before": b"", "line": b"GET /", "header": b"GET / HTTP/1.1\r\nHost: ", "body": SLOW_BODY}[where]
    server.read_seconds = 0.6
    with connect(server.port) as connection:
        connection.sendall(begun)
        end = time.monotonic() + 60
        while begun and not select.select([connection], [], [], 0.05)[0]:  # until there is an answer
            assert time.monotonic() < end, "every byte earns more time"
            with contextlib.suppress(OSError):  # it has been closed just now
                connection.sendall(b"a")
        answer = receive(connection)
    assert answer.status == 408 and "0.6 seconds" in answer.error["message"]
    server.read_seconds = 600.0
    check_alive(server, expected)


@pytest.mark.parametrize("n_events", [0, 1, 5])
def test_clients_that_vanish_in_mid_stream_free_their_places(app, server, expected, n_events):
    for reset in (False, True):
        connections = [connect(server.port) for _ in range(8)]
        for connection in connections:
            connection.sendall(request_bytes("/v1/completions", FOR_EVER | {"stream": True}))
        for connection in connections:
            received = b""
            while received.count(b"data: ") < n_events:
                received += connection.recv(4096)
        wait_until(lambda: app.engine.n_running == 8)
        for connection in connections:
            if reset:  # as when the machine at the other end is switched off
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.close()
        start = time.monotonic()
        wait_until(lambda: app.engine.n_running == 0)
        print(f"\n8 clients vanished after {n_events} events: their places free after {time.monotonic() - start:.2f} s")
    check_alive(server, expected)


@pytest.mark.parametrize("more", ["", "an end of a line"])
def test_clients_that_vanish_while_they_wait_free_their_places(app, server, expected, more):
    connections = [connect(server.port) for _ in range(24)]  # more than are worked on at once
    for connection in connections:
        connection.sendall(request_bytes("/v1/completions", FOR_EVER))
    wait_until(lambda: app.engine.n_running == 16 and app.engine.n_waiting == 8)
    for connection in connections:
        if more:
            connection.sendall(b"\r\n")  # before the end that the server looks for
        connection.close()
    start = time.monotonic()
    wait_until(lambda: app.engine.n_running == app.engine.n_waiting == 0)
    print(f"\n24 clients vanished while they waited: all places free after {time.monotonic() - start:.2f} s")
    check_alive(server, expected)


def test_streaming_clients_that_vanish_from_the_queue_leave_it(app, server, expected):
    running = [connect(server.port) for _ in range(16)]
    for connection in running:
        connection.sendall(request_bytes("/v1/completions", FOR_EVER))
    wait_until(lambda: app.engine.n_running == 16)
    waiting = [connect(server.port) for _ in range(8)]
    for connection in waiting:
        connection.sendall(request_bytes("/v1/completions", FOR_EVER | {"stream": True}))
    wait_until(lambda: app.engine.n_waiting == 8)
    for connection in waiting:
        connection.close()
    wait_until(lambda: app.engine.n_waiting == 0)
    wait_until(lambda: app.engine.n_running == 16)  # fewer for a moment, when a row's context is full
    for connection in running:
        connection.close()
    check_alive(server, expected)


@pytest.mark.parametrize("looks", [False, True])
def test_a_client_that_does_not_read_is_let_go(looks):
    """When the socket's buffers are full, it has 0.6 s here (30 s otherwise); then the application is notified, too."""
    closed = threading.Event()

    def endless(environ, start_response):
        start_response("200 OK", [])
        try:
            while True:
                yield bytes(65536)
                if looks:  # which must not change how long sending may take
                    environ["llmasos.client_gone"]()
        finally:
            closed.set()

    with server_of(endless, write_seconds=0.6) as server, connect(server.port) as connection:
        connection.sendall(request_bytes("/", method="GET"))
        assert closed.wait(60)
        wait_until(lambda: server.n_connections == 0)


def test_a_slow_reader_gets_all(app, server, expected):
    body = {"prompt": "abc", "max_tokens": 30, "seed": 1, "stream": True, "logprobs": 5}
    with connect(server.port) as connection:
        connection.sendall(request_bytes("/v1/completions", body))
        received = b""
        while piece := connection.recv(200):
            received += piece
            time.sleep(0.002)
    tokens = [event["choices"][0]["logprobs"]["token_ids"] for event in events(received.partition(b"\r\n\r\n")[2])]
    assert sum(map(len, tokens)) == 30
    check_alive(server, expected)


# Floods


def flood(server: HTTPServer, n: int, body: dict) -> tuple[Counter, int, list[str]]:
    """Open n connections before the first of them sends its request."""
    connections = [connect(server.port, 60.0) for _ in range(n)]
    wait_until(lambda: server.n_connections == min(n, server.max_connections))
    if n > server.max_connections:
        connections[-1].recv(1, socket.MSG_PEEK)  # the last has been refused by now, and all before it
    data = request_bytes("/v1/completions", body)

    def one(connection: socket.socket):
        with connection:
            try:
                connection.sendall(data)
            except OSError:  # refused already; the answer is there
                pass
            return receive(connection)

    with ThreadPoolExecutor(n) as pool:
        answers = list(pool.map(one, connections))
    texts = [answer.json["choices"][0]["text"] for answer in answers if answer and answer.status == 200]
    return Counter(answer.status for answer in answers if answer), answers.count(None), texts


def test_more_connections_than_there_may_be(app, expected):
    with server_of(app, max_connections=20) as server:
        statuses, lost, texts = flood(server, 60, GOOD)
        report("60 connections, 20 allowed", statuses, lost)
        assert lost == 0 and statuses == {200: 20, 503: 40} and set(texts) == {expected}
        check_alive(server, expected)


def test_a_refused_connection_is_told_when_to_come_back(app):
    with server_of(app, max_connections=1) as server, connect(server.port):
        wait_until(lambda: server.n_connections == 1)
        answer = send(server.port, request_bytes("/v1/models", method="GET"))
        assert (
            answer.status == 503
            and answer.headers["Retry-After"] == "1"
            and answer.error["code"] == "too_many_connections"
        )


@pytest.mark.slow
@pytest.mark.parametrize("n_tokens", [4, 60])
def test_five_hundred_connections_at_once(app, n_tokens):
    body = GOOD | {"max_tokens": n_tokens}
    [one] = generate(app.served.model, BYTES, [GOOD["prompt"]], SamplingOptions(n_tokens, seed=3))
    expected = one.text
    with server_of(app) as server:
        start = time.monotonic()
        statuses, lost, texts = flood(server, 500, body)
        report(f"500 connections at once, {time.monotonic() - start:.1f} s", statuses, lost)
        assert lost == 0 and set(statuses) <= {200, 429, 503} and set(texts) == {expected}
        assert statuses[503] >= 1
        expected = ask(app, "POST", "/v1/completions", GOOD).json["choices"][0]["text"]
        check_alive(server, expected)


# As a process


@contextlib.contextmanager
def process(*arguments: str):
    """Run `python -m llmasos serve` with a shipped model; yields its address and the process."""
    command = [sys.executable, "-m", "llmasos", "serve", "storyworld-gpt", "--port", "0", "--device", "cpu", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        try:
            said = ""
            while "Ctrl-C" not in said:
                line = running.stdout.readline()
                assert line, running.stderr.read()
                said += line
            running.welcome = said
            yield running, int(re.search(r"http://127.0.0.1:(\d+)/", said)[1])
        finally:
            running.kill()


def listens(port: int) -> bool:
    """Whether connections to this port are accepted."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.slow
def test_told_to_stop_under_load():
    """Every accepted request gets a complete response or a clean 503, and the exit status is 0."""
    answers, errors, told = Counter(), [], threading.Event()
    with process("--max-batch", "4", "--drain-seconds", "300") as (server, port):
        assert "curl http://127.0.0.1" in server.welcome and "/v1/completions" in server.welcome

        def client(number: int) -> None:
            body = {"prompt": "One cold morning", "max_tokens": 30, "seed": number, "stream": number % 2 == 0}
            while True:
                before = not told.is_set()
                try:
                    connection = connect(port)
                except (ConnectionRefusedError, ConnectionResetError):  # nobody listens any more, or stopped just now
                    assert told.is_set()
                    return
                with connection:
                    try:
                        connection.sendall(request_bytes("/v1/completions", body))
                        answer = receive(connection)
                        if answer is None and (before or listens(port)):  # else after the last accept
                            answers["lost"] += 1
                        if answer is None:
                            return
                        if answer.status == 200 and body["stream"]:
                            events(answer.body)  # asserts that it is whole
                        answers[answer.status] += 1
                        time.sleep(0.03 if answer.status == 503 else 0.0)
                    except Exception as error:
                        errors.append(error)
                        return

        with ThreadPoolExecutor(12) as pool:
            clients = [pool.submit(client, number) for number in range(12)]
            wait_until(lambda: answers[200] >= 12 or errors, 300)
            told.set()
            server.send_signal(signal.SIGTERM)
            assert server.wait(400) == 0
        [client.result() for client in clients]
        assert "Traceback" not in server.stderr.read()
    report("SIGTERM under load", answers, failed=len(errors))
    assert not errors and answers["lost"] == 0 and set(answers) <= {200, 503} and answers[200] >= 12


def test_while_it_stops_it_says_so_and_a_second_signal_ends_it():
    long = ("--drain-seconds", "600", "--request-seconds", "600", "--max-tokens", "100000")
    with process(*long, "--host", "127.1") as (server, port), connect(port) as connection:
        assert send(port, b"GET /health HTTP/1.1\r\nHost: 127.1\r\n\r\n").status == 200  # the host as given
        connection.sendall(request_bytes("/v1/completions", FOR_EVER | {"stream": True}))
        connection.recv(1000)
        assert send(port, request_bytes("/ready", method="GET")).status == 200
        server.send_signal(signal.SIGINT)
        wait_until(lambda: send(port, request_bytes("/ready", method="GET")).status == 503)
        answer = send(port, request_bytes("/v1/completions", GOOD))
        assert answer.status == 503 and "shutting down" in answer.error["message"] and "Retry-After" in answer.headers
        assert send(port, request_bytes("/health", method="GET")).status == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130


# Problems at the start


def test_a_taken_port_is_a_sentence(server, capsys):
    assert run(serve, ["storyworld-gpt", "--port", str(server.port)]) == 2
    said = capsys.readouterr().err
    assert f"error: port {server.port} of 127.0.0.1 cannot be used: it is already in use" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments, words", [
    (["--port", "70000"], "it must be from 0 to 65535"),
    (["--host", "no.such.host.example.invalid"], "this machine has no host"),
    (["--host", "203.0.113.7"], "cannot be used"),
    (["--max-batch", "0"], "max_batch is 0"),
    (["--max-tokens", "0"], "max_tokens is 0"),
    (["--max-tokens", "9" * 30], "max_tokens is 9"),
    (["--max-connections", "9" * 30], "max_connections is 9"),
    (["--threads", "0"], "--threads is 0"),
    (["--threads", "100000"], "--threads is 100000; it must be from 1 to"),
    (["--max-connections", "0"], "max_connections is 0"),
    (["--request-seconds", "nan"], "request_seconds is nan"),
    (["--drain-seconds", "-5"], "--drain-seconds is -5"),
    (["--drain-seconds", "inf"], "--drain-seconds is inf"),
    (["--api-key", ""], "API key is empty"),
    (["--colour"], "unrecognized arguments"),
])  # fmt: skip
def test_a_wrong_flag_is_a_sentence(arguments, words, capsys):
    assert run(serve, ["storyworld-gpt", "--port", "0", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("error: ") and said.count("\n") == 1


@pytest.mark.parametrize("damage", ["missing", "config", "cut", "flipped", "tokenizer"])
def test_a_damaged_model_is_a_sentence(damage, tmp_path, capsys):
    folder = tmp_path / "model"
    if damage != "missing":
        shutil.copytree(SHIPPED / "storyworld-gpt", folder)
    weights = folder / "model.safetensors"
    if damage == "config":
        (folder / "config.json").write_text("{")
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "flipped":
        weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])
    elif damage == "tokenizer":
        (folder / "vocab.json").write_text("[]")
    assert run(serve, [str(folder), "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and str(folder) in said and "Traceback" not in said


def test_a_server_on_other_addresses_answers_to_any_name(app):
    with server_of(app, host="0.0.0.0") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"  # the address by which this machine reaches it
        assert send(server.port, b"GET /v1/models HTTP/1.1\r\nHost: my.machine\r\n\r\n").status == 200
    with server_of(app, host="127.0.0.2") as server:
        assert server.url == f"http://127.0.0.2:{server.port}"


def test_a_server_answers_to_the_host_that_it_was_given(app):
    """ "127.1" is a way to write 127.0.0.1 that is in no list of ours. It represents any name of a machine."""
    with server_of(app, host="127.1") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        for host, status in {"127.1": 200, "127.0.0.1": 200, "localhost": 200, "evil.example": 403}.items():
            request = f"GET /health HTTP/1.1\r\nHost: {host}:{server.port}\r\n\r\n"
            assert send(server.port, request.encode()).status == status, host


def test_a_port_that_was_let_go_can_be_taken_again(app):
    with server_of(app, host=OURS) as server:
        port = server.port
        with socket.create_connection((OURS, port)) as connection:
            connection.sendall(request_bytes("/health", method="GET"))
            assert receive(connection).status == 200
        with pytest.raises(UserError, match="it is already in use"):
            listen(OURS, port)
    listen(OURS, port).close()
