"""A server whose output is lost or has a poor encoding keeps serving, and reports the problem at the end."""

import errno
import io
import signal
import sys

import pytest
from serving_http_helpers import request_bytes, send

from llmasos.cli import serve
from llmasos.cli.cli import run

NAME = "Füße → 人"


class Lost(io.TextIOBase):
    """An output that has been lost."""

    def __init__(self, number: int):
        self.number = number

    def write(self, text):
        raise OSError(self.number, "lost")


def served(monkeypatch) -> int:
    """Serve a model until two requests have been answered, then ask the server to stop; returns the exit status."""
    ports, answers = [], []
    welcome = serve.welcome

    def note_port(app, server):
        ports.append(server.port)
        return welcome(app, server)

    def ask_and_stop(seconds):
        for path in (b"/ready", "/Füße/人".encode()):
            request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
            answers.append(send(ports[0], request).status)
        answers.append(send(ports[0], request_bytes("/v1/completions", {"prompt": NAME, "max_tokens": 2})).status)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(serve, "welcome", note_port)
        patch.setattr(serve.time, "sleep", ask_and_stop)
        status = run(serve.main, ["storyworld-gpt", "--device", "cpu", "--port", "0", "--verbose", "--name", NAME])
    assert answers == [200, 404, 200]
    return status


@pytest.mark.parametrize("number, status", [(errno.EPIPE, 0), (errno.ENOSPC, 2), (errno.EIO, 2)])
@pytest.mark.parametrize("names", [["stdout"], ["stderr"], ["stdout", "stderr"]])
def test_serving_does_not_depend_on_being_watched(names, number, status, monkeypatch):
    for name in names:
        monkeypatch.setattr(sys, name, Lost(number))
    assert served(monkeypatch) == (status if "stdout" in names else 0)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_serving_in_another_encoding(encoding, monkeypatch):
    out, error = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(error, encoding=encoding))
    assert served(monkeypatch) == 0
    assert b"\\u4eba" in out.getvalue() and b"POST /v1/completions" in error.getvalue()
