"""The same application under production servers: waitress in this process, gunicorn in another one."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from serving_http_helpers import FOR_EVER, JSON, app_of, connect, receive, request_bytes, wait_until

from llmasos.generation import SamplingOptions, generate, options_for
from llmasos.hub import load_pretrained

MODEL = "storyworld-gpt"
HOSTS = ["localhost", "127.0.0.1", "models.example.com"]
BODY = {"prompt": "One cold morning", "max_tokens": 25, "seed": 7}


@contextmanager
def waitress():
    """The application under waitress, and its port."""
    create_server = pytest.importorskip("waitress.server").create_server
    with app_of(MODEL, device="cpu", hosts=HOSTS, max_tokens=100_000) as app:
        server = create_server(app, listen="127.0.0.1:0", threads=16)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server.effective_port
        server.close()
        server.task_dispatcher.shutdown()


@contextmanager
def gunicorn():
    """The application under gunicorn, and its port."""
    pytest.importorskip("gunicorn")
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--worker-class",
        "gthread",
        "--threads",
        "16",
        "--bind",
        "127.0.0.1:0",
        "--timeout",
        "300",
        "--graceful-timeout",
        "120",
        f'llmasos.serving.app:create_app("{MODEL}", device="cpu", hosts={HOSTS}, max_tokens=100_000)',
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True)
        reader.start()
        try:
            wait_until(lambda: re.search(r"Listening at: \S+:\d+", "".join(lines)), 120)
            port = int(re.search(r"Listening at: \S+:(\d+)", "".join(lines))[1])
            wait_until(lambda: get(port, "/ready")[0] == 200, 240)  # torch has to be imported
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(200) == 0, "".join(lines)
            reader.join(60)
            assert "Traceback" not in "".join(lines), "".join(lines)


@pytest.fixture(scope="module", params=[waitress, gunicorn], ids=["waitress", "gunicorn"])
def port(request):
    with request.param() as port:
        yield port


def get(port: int, path: str, method: str = "GET", body=None, headers=None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=200)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": JSON} | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def running(port: int) -> int:
    return json.loads(get(port, "/ready")[1])["running"]


def test_answers_are_those_of_the_model(port):
    model, tokenizer = load_pretrained(MODEL)
    options = options_for(model, SamplingOptions, max_new_tokens=25, seed=7)  # the others as the model recommends
    [expected] = generate(model, tokenizer, [BODY["prompt"]], options)
    status, body = get(port, "/v1/completions", "POST", BODY)
    assert status == 200 and json.loads(body)["choices"][0]["text"] == expected.text
    status, body = get(port, "/v1/completions", "POST", BODY | {"stream": True})
    *events, done, end = body.decode().split("\n\n")
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["text"] for event in events]
    assert "".join(texts) == expected.text and done == "data: [DONE]"


def test_a_stream_arrives_while_it_is_written(port):
    with connect(port) as connection:
        connection.sendall(request_bytes("/v1/completions", FOR_EVER | {"stream": True}))
        received = b""
        while received.count(b"data: {") < 3:
            received += connection.recv(65536)
        assert b"text/event-stream" in received and b"[DONE]" not in received
        wait_until(lambda: running(port) == 1)  # it is still being written
    wait_until(lambda: running(port) == 0)  # and no longer, now that the client has gone


def test_sixteen_at_once(port):
    with ThreadPoolExecutor(14) as pool:
        answers = list(pool.map(lambda n: get(port, "/v1/completions", "POST", BODY | {"seed": n % 7}), range(28)))
    texts = [json.loads(body)["choices"][0]["text"] for status, body in answers]
    assert [status for status, _ in answers] == [200] * 28 and texts[:7] == texts[7:14] == texts[14:21] == texts[21:]


def test_refusals(port):
    assert get(port, "/v1/completions", "POST", {"prompt": 5})[0] == 400
    assert get(port, "/v1/completions", "POST", BODY, {"Content-Type": "text/plain"})[0] == 415
    assert get(port, "/v1/completions", "POST", {"prompt": "a" * 1_000_001})[0] == 413
    assert get(port, "/v1/completions")[0] == 405
    for path in ("/nowhere", "/../etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd", "/%00"):
        assert get(port, path)[0] == 404
    assert get(port, "/v1/models", headers={"Host": "evil.example"})[0] == 403
    assert get(port, "/v1/models", headers={"Host": "models.example.com"})[0] == 200  # as a proxy passes it on
    assert get(port, "/v1/models", "HEAD") == (200, b"")


def test_a_body_in_chunks_is_read(port):
    """These servers join the chunks; ours reports that it does not."""
    data = json.dumps(BODY).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:10], data[10:])) + b"0\r\n\r\n"
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode()  # fmt: skip
    with connect(port) as connection:
        connection.sendall(head + chunks)
        answer = receive(connection)
    assert answer.status == 200 and answer.json["usage"]["completion_tokens"] == 25


@pytest.mark.slow
def test_gunicorn_ends_what_runs_when_it_is_told_to_stop():
    with gunicorn() as port, ThreadPoolExecutor(4) as pool:
        body = BODY | {"max_tokens": 150, "stream": True}
        answers = [pool.submit(get, port, "/v1/completions", "POST", body) for _ in range(4)]
        wait_until(lambda: running(port) == 4)
        time.sleep(0.05)
    assert all(answer.result()[0] == 200 and b"data: [DONE]" in answer.result()[1] for answer in answers)


@pytest.mark.slow
def test_a_process_that_ends_without_closing_the_application_does_not_hang():
    code = f"from llmasos.serving.app import create_app; app = create_app('{MODEL}', device='cpu')\n" \
           "app.engine.submit('a', __import__('llmasos.generation').generation.SamplingOptions(100000))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == ""
