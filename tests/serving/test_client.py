"""The client against a server that follows a script exactly, and against the real one."""

import contextlib
import json
import re
import socket
import socketserver
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from serving_http_helpers import FOR_EVER, app_of, server_of, tiny, wait_until

from llmasos.errors import UserError
from llmasos.prompting import Message
from llmasos.serving.http import transport
from llmasos.serving.http.client import Client, Prediction, ServerError

GPT = {
    "id": "m",
    "family": "gpt",
    "capabilities": ["completion", "chat", "inspect", "embedding"],
    "chat_template": "plain",
}


class ScriptedServer(socketserver.ThreadingTCPServer):
    """A server that responds to each request with the next part of a script: bytes, or a function of the connection."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, *script):
        self.script, self.asked, self.go_on = list(script), [], threading.Event()
        super().__init__(("127.0.0.1", 0), Conversation)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.readline() or b"\r\n\r\n"
        length = re.search(rb"content-length: (\d+)", head.lower())
        body = self.rfile.read(int(length[1])) if length else b""
        first, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.server.asked.append((first, headers, json.loads(body) if body else None))
        part = self.server.script.pop(0) if self.server.script else b""
        if callable(part):
            part(self)
        else:
            self.wfile.write(part)


def answer(value, status: str = "200 OK", *headers: str) -> bytes:
    """The bytes of a response on the wire."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error(message: str, status: str, *headers: str, code=None) -> bytes:
    return answer({"error": {"message": message, "type": "x", "param": None, "code": code}}, status, *headers)


def streamed(*events: str, end: str = "data: [DONE]\n\n") -> bytes:
    """The bytes of a stream that ends with its connection."""
    body = "".join(f"data: {event}\n\n" for event in events) + end
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body.encode()


def piece(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "text": text}]})


@pytest.fixture
def serve():
    """Start servers with a script; they are stopped at the end."""
    servers = []

    def start(*script) -> ScriptedServer:
        servers.append(ScriptedServer(*script))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Record how long the client waits before each retry, without really waiting."""
    found: list[float] = []
    monkeypatch.setattr(transport, "sleep", found.append)
    return found


OK = answer({"choices": [{"text": "yes"}]})


# Asking


def test_what_is_sent(serve):
    server = serve(OK)
    said = Client(server.url + "/", api_key="secret").generate("a \ud800 ä", max_new_tokens=3, stop=None, top_p=0.5)
    assert isinstance(said, Prediction) and said.text == str(said) == "yes" and said.raw["choices"]
    [(first, headers, body)] = server.asked
    assert first == "POST /v1/completions HTTP/1.1"
    assert body == {"prompt": "a \ud800 ä", "max_tokens": 3, "top_p": 0.5}
    assert headers["authorization"] == "Bearer secret" and headers["content-type"] == "application/json"
    assert headers["connection"] == "close" and headers["host"] in server.url


def test_without_a_key_none_is_shown_and_a_path_before_the_servers_own_is_kept(serve):
    server = serve(answer({"data": [GPT]}))
    assert Client(server.url + "/behind/a/proxy/v1/").model() == GPT
    [(first, headers, body)] = server.asked
    assert first == "GET /behind/a/proxy/v1/models HTTP/1.1" and "authorization" not in headers and body is None


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_server_is_asked_again_after_growing_waits(serve, waits, status):
    server = serve(*[error("full.", status)] * 3, OK)
    assert Client(server.url, retries=3).generate("a").text == "yes"
    assert len(server.asked) == 4 and len({json.dumps(asked) for asked in server.asked}) == 1
    for number, wait in enumerate(waits):
        assert 0.75 <= wait / (0.5 * 2**number) <= 1.25


@pytest.mark.parametrize("retries", [0, 2])
def test_after_so_many_times_the_refusal_is_the_answer(serve, waits, retries):
    server = serve(*[error("the queue is full.", "429 Too Many Requests", code="busy")] * 9)
    with pytest.raises(ServerError, match="the queue is full.") as caught:
        Client(server.url, retries=retries).generate("a")
    assert (caught.value.status, caught.value.code) == (429, "busy")
    assert len(server.asked) == retries + 1 and len(waits) == retries


def test_retry_after_is_honoured_in_seconds_and_as_a_date(serve, waits):
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=50), usegmt=True)
    server = serve(*(error("full.", "503 Full", f"Retry-After: {value}") for value in ("7", date, "soon")), OK)
    assert Client(server.url).generate("a").text == "yes"
    assert waits[0] == 7 and 20 < waits[1] <= 50 and 1.5 <= waits[2] <= 2.5


def test_who_asks_for_too_much_patience_is_not_waited_for(serve, waits):
    server = serve(error("come back tomorrow.", "503 Full", "Retry-After: 86400"))
    with pytest.raises(ServerError, match="tomorrow"):
        Client(server.url).generate("a")
    assert len(server.asked) == 1 and waits == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", None),
        ("401 Unauthorized", "invalid_api_key"),
        ("404 Not Found", None),
        ("500 Internal Server Error", "internal"),
    ],
)
def test_other_refusals_are_said_at_once(serve, waits, status, code):
    server = serve(error("this is\x1b[2J wrong.", status, code=code))
    with pytest.raises(ServerError) as caught:
        Client(server.url).generate("a")
    assert str(caught.value) == "this is [2J wrong."  # nothing that a terminal would obey
    assert (caught.value.status, caught.value.code) == (int(status[:3]), code)
    assert len(server.asked) == 1 and waits == []


def test_a_refusal_of_another_shape_is_told_by_its_status(serve, waits):
    server = serve(answer(b"<html>", "502 Bad Gateway"), answer({"error": "no"}, "418 Teapot"))
    for said in ("responds with status 502 Bad Gateway, without a message", "responds with status 418 Teapot"):
        with pytest.raises(ServerError, match=said):
            Client(server.url).generate("a")


def test_a_refusal_is_read_even_if_the_server_does_not_read_all(serve):
    """A large body is rejected after its head: sending fails, but the response can still be read."""

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one():
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(error("the body is too large.", "413 Too Large"))
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
            connection.close()

        thread = threading.Thread(target=serve_one, daemon=True)
        thread.start()
        with pytest.raises(ServerError, match="too large|does not answer"):
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=0).generate("a" * 20_000_000)
        thread.join()


def test_a_key_follows_no_redirect(serve):
    other = serve(OK)
    server = serve(answer(b"", "307 Temporary Redirect", f"Location: {other.url}/v1/completions"))
    with pytest.raises(ServerError, match=f"redirects to {other.url}/v1/completions, and an API key must not follow"):
        Client(server.url, api_key="secret").generate("a")
    assert other.asked == []


# No answer


@pytest.fixture
def deaf():
    """A socket that is bound to a port but does not listen: nobody else gets the port, and connections are refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


def test_no_server_is_asked_again_and_then_said(waits, deaf):
    url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
    with pytest.raises(ServerError, match=rf"{url} does not answer \(Connection refused\). Is a server running"):
        Client(url).generate("a")
    assert len(waits) == 3


def test_a_server_that_starts_meanwhile_is_found(monkeypatch, deaf):
    def start_it(seconds):
        deaf.listen()
        threading.Thread(target=lambda: deaf.accept()[0].sendall(OK), daemon=True).start()

    monkeypatch.setattr(transport, "sleep", start_it)
    assert Client(f"http://127.0.0.1:{deaf.getsockname()[1]}").generate("a").text == "yes"


def test_a_connection_that_closes_without_a_word_is_tried_again(serve, waits):
    server = serve(b"", lambda conversation: conversation.connection.close(), OK)
    assert Client(server.url).generate("a").text == "yes"
    assert len(waits) == 2


def test_silence_ends_after_the_time_out_and_is_not_repeated(serve, waits):
    server = serve(lambda conversation: conversation.server.go_on.wait(60))
    started = time.monotonic()
    with pytest.raises(ServerError, match="has sent nothing for 0.2 seconds"):
        Client(server.url, timeout=0.2).generate("a")
    assert time.monotonic() - started >= 0.2 and waits == []
    wait_until(lambda: server.asked)  # its thread may be late
    server.go_on.set()
    assert len(server.asked) == 1


def test_a_slow_server_is_borne_as_long_as_it_says_something(serve):
    def slowly(conversation):
        for fifth in range(0, len(OK), len(OK) // 5):
            conversation.wfile.write(OK[fifth : fifth + len(OK) // 5])
            time.sleep(0.8)  # at least four times, which together is more than 3 seconds

    server = serve(slowly)
    assert Client(server.url, timeout=3).generate("a").text == "yes"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (answer(b"{"), "responds with '{' instead of a JSON object"),
        (answer(b"[1]"), "instead of a JSON object"),
        (answer(b"[" * 100_000), "instead of a JSON object"),
        (answer({"choices": []}), "an unexpected shape"),
        (answer({"choices": [{"texts": 1}]}), "an unexpected shape"),
        (answer({"choices": 7}), "an unexpected shape"),
        (OK[:-5], "broke off in the middle of its response"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "broke off in the middle"),
    ],
)
def test_answers_that_cannot_be_used(serve, waits, sent, said):
    server = serve(sent)
    with pytest.raises(ServerError, match=re.escape(said)) as caught:
        Client(server.url).generate("a")
    assert caught.value.status is None and waits == [] and len(server.asked) == 1


def test_an_endless_answer_is_not_read_to_its_end(serve, monkeypatch):
    monkeypatch.setattr(transport, "MAX_RESPONSE", 1000)
    server = serve(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000)
    with pytest.raises(ServerError, match="above the limit of 1,000 bytes"):
        Client(server.url).generate("a")


# Streams


def test_a_stream_comes_piece_by_piece_while_it_is_written(serve):
    told = []
    server = serve(answer({"data": [GPT]}), streamed(piece("one "), piece("two")))
    client = Client(server.url)
    assert list(client.stream("a", temperature=0.5)) == ["one ", "two"]
    assert server.asked[1][2] == {"prompt": "a", "temperature": 0.5, "stream": True}

    def slowly(conversation):
        whole = streamed(piece("one "), piece(""), '{"choices": [], "usage": {}}')
        head, _, rest = whole.partition(b"\n\n")
        conversation.wfile.write(head + b"\n\n: a comment\n\nevent: other\r\n")
        told.append(server.go_on.wait(30))
        conversation.wfile.write(rest.replace(b"\n", b"\r\n"))

    server.script.append(slowly)
    pieces = client.stream("a")
    assert next(pieces) == "one " and told == []
    server.go_on.set()
    assert list(pieces) == [] and told == [True]


def test_a_stream_is_never_asked_for_again_once_it_has_begun(serve, waits):
    refused = error("full.", "503 Full")
    server = serve(answer({"data": [GPT]}), refused, streamed(piece("one"), end=""), OK, OK)
    pieces = Client(server.url).stream("a")
    assert next(pieces) == "one" and len(waits) == 1  # before, it may be
    with pytest.raises(ServerError, match="closed the connection in the middle of its response"):
        next(pieces)
    assert len(server.asked) == 3 and len(waits) == 1


def reset(conversation):
    """Send a piece, and reset the connection after it has been read."""
    conversation.wfile.write(streamed(piece("one"), end=""))
    conversation.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    conversation.server.go_on.wait(60)


def chunked(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


ONE = f"data: {piece('one')}\n\n".encode()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (reset, "broke off|closed the connection"),
        (chunked(ONE), "broke off|closed the connection"),
        (chunked(ONE, b""), "closed the connection"),  # ended correctly, except that the last event is missing
        (streamed(piece("one"), "{"), "responds with '{' instead of a JSON object"),
        (streamed(piece("one"), '{"error": {"message": "the model failed.", "code": "x"}}'), "the model failed."),
        (streamed(piece("one"), '{"error": 1}'), "broke off, without a message"),
        (streamed(piece("one"), '{"choices": [{"index": 0}]}'), "an unexpected shape"),
        (streamed(piece("one"), end="data: " + "x" * 200), "closed the connection"),
    ],
)
def test_streams_that_go_wrong(serve, waits, sent, said):
    server = serve(answer({"data": [GPT]}), sent)
    pieces = Client(server.url).stream("a")
    assert next(pieces) == "one"
    server.go_on.set()
    with pytest.raises(ServerError, match=said):
        list(pieces)
    assert waits == [] and len(server.asked) == 2


def test_a_stream_that_falls_silent(serve):
    def fall_silent(conversation):
        conversation.wfile.write(streamed(piece("one"), end=""))
        conversation.server.go_on.wait(60)

    server = serve(answer({"data": [GPT]}), fall_silent)
    pieces = Client(server.url, timeout=3).stream("a")
    assert next(pieces) == "one"
    with pytest.raises(ServerError, match="has sent nothing for 3 seconds"):
        next(pieces)
    server.go_on.set()


def test_chunks_may_cut_events_anywhere(serve):
    whole = ONE + f"data: {piece('zwöi')}\n\ndata: [DONE]\n\n".encode()
    server = serve(answer({"data": [GPT]}), chunked(*(whole[i : i + 7] for i in range(0, len(whole), 7)), b""))
    assert list(Client(server.url).stream("a")) == ["one", "zwöi"]


@pytest.mark.parametrize("how", ["close", "drop", "raise"])
def test_who_reads_on_no_longer_closes_the_connection(serve, how):
    closed = threading.Event()

    def write_for_ever(conversation):
        conversation.wfile.write(streamed(end=""))
        with contextlib.suppress(OSError):
            while True:
                conversation.wfile.write(ONE)
                time.sleep(0.005)
        closed.set()

    server = serve(answer({"data": [GPT]}), write_for_ever)
    pieces = Client(server.url).stream("a")
    assert next(pieces) == "one"
    if how == "close":
        pieces.close()
    elif how == "drop":
        del pieces
    else:
        with contextlib.suppress(RuntimeError), contextlib.closing(pieces):
            raise RuntimeError
    assert closed.wait(60)


# Arguments of the client


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://", "http://a:b", "http://a?x=1", "http://a#b", "",
                                 "http://a b", "http://a/\n", None, "http://h:99999"])  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(UserError, match="it must be http://HOST:PORT or https://HOST"):
        Client(url)


def test_a_password_in_an_address_is_not_repeated():
    with pytest.raises(UserError) as caught:
        Client("http://me:hunter2@example.org")
    assert "hunter2" not in str(caught.value) and "a user name or a password" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"api_key": ""}, "the API key"), ({"api_key": "a\nb"}, "the API key"), ({"timeout": 0}, "timeout is 0"),
     ({"timeout": float("nan")}, "timeout is nan"), ({"retries": -1}, "retries is -1"),
     ({"retries": 1.5}, "retries is 1.5")],
)  # fmt: skip
def test_settings_that_are_none(settings, said):
    with pytest.raises(UserError, match=said):
        Client("http://127.0.0.1:1", **settings)


def test_what_cannot_be_sent(waits):
    for value in ({1, 2}, float("nan"), object()):
        with pytest.raises(UserError, match="is not JSON"):
            Client("http://127.0.0.1:1", retries=0).generate("a", stop=value)


# Against the real server


@pytest.fixture(scope="module")
def clients():
    """A client for a small model of each type."""
    with contextlib.ExitStack() as stack:
        found = {}
        for kind in ("gpt", "bert", "transformer", "classifier", "ner", "qa"):
            app = stack.enter_context(app_of(tiny(kind), name=kind, api_key="key"))
            found[kind] = Client(stack.enter_context(server_of(app)).url, api_key="key", timeout=200)
        yield found


def test_predict_takes_the_route_that_fits(clients):
    few = {"max_tokens": 5, "seed": 1}
    said = clients["gpt"].predict("abc", **few)
    assert said.raw["object"] == "text_completion" and said.text == clients["gpt"].generate("abc", **few).text
    assert "".join(clients["gpt"].stream("abc", **few)) == str(said)

    said = clients["classifier"].predict("the cat")
    assert said.text in ("happy", "sad", "neither") and str(said).startswith(f"{said.text} ") and "%" in str(said)
    assert sum(said.raw["scores"].values()) == pytest.approx(1, abs=1e-4)

    said = clients["ner"].predict("the cat sat on the mat")
    names = said.raw["entities"]
    assert said.text == ", ".join(f"{name['text']} ({name['label']})" for name in names) and str(said)

    said = clients["bert"].predict("the [MASK] sat on [MASK] mat", n=3)
    assert "[MASK]" not in said.text and said.text.startswith("the ") and said.text.endswith(" mat")
    assert re.fullmatch(r"(\[MASK\] (\S+ \d+\.\d%(, )?){3}\n?){2}", str(said))

    assert clients["transformer"].predict("abc", max_tokens=5).raw.keys() == {"index", "text"}

    said = clients["qa"].predict("who ?", context="the cat sat on the mat")
    assert said.text == said.raw["answer"] and str(said) == (said.text or "(no answer in this text)")


def test_several_texts_give_several_answers(clients):
    assert [type(one) for one in clients["classifier"].classify(["a", "b"])] == [Prediction, Prediction]
    assert [one.raw["index"] for one in clients["ner"].find_entities(["a", "b"])] == [0, 1]
    assert len(clients["transformer"].translate(["abc", "ab"], max_tokens=4)) == 2
    vectors = clients["bert"].embed(["the cat", "a dog"])
    assert len(vectors) == 2 and sum(x * x for x in vectors[0]) == pytest.approx(1, abs=1e-3)
    assert clients["bert"].embed("the cat") == pytest.approx(vectors[0], abs=1e-5)  # rounding differs with the batch


def test_conversations_in_every_form(clients):
    forms = "hi", [Message("user", "hi")], [("user", "hi")], [{"role": "user", "content": "hi"}]
    said = [clients["gpt"].chat(messages, max_tokens=5, seed=2).text for messages in forms]
    assert len(set(said)) == 1
    assert "".join(clients["gpt"].stream_chat("hi", max_tokens=5, seed=2)) == said[0]


def test_a_chat_model_answers_and_abilities_are_asked_for_once(serve):
    chat = answer({"choices": [{"message": {"role": "assistant", "content": "Paris."}}]})
    delta = '{"choices": [{"delta": {"role": "assistant", "content": "Par"}}, {"delta": {}}]}'
    server = serve(answer({"data": [GPT | {"chat_template": "chatml"}]}), chat, streamed(delta))
    client = Client(server.url)
    assert str(client.predict("Where?", max_tokens=9)) == "Paris." and list(client.stream("Where?")) == ["Par"]
    assert [first.split()[1] for first, _, _ in server.asked] == ["/v1/models", *["/v1/chat/completions"] * 2]
    assert server.asked[1][2] == {"messages": [{"role": "user", "content": "Where?"}], "max_tokens": 9}


def test_what_the_model_cannot_do_gets_a_sentence(clients, serve):
    with pytest.raises(UserError, match="pass the text as context"):
        clients["qa"].predict("who ?")
    with pytest.raises(UserError, match="only a question-answering model takes a context"):
        clients["gpt"].predict("who ?", context="a text")
    with pytest.raises(UserError, match="supports translation, inspect, embedding, none of which streams"):
        next(clients["transformer"].stream("abc"))
    with pytest.raises(ServerError, match="/v1/classify needs a model that can classify texts") as caught:
        clients["gpt"].classify("a")
    assert caught.value.status == 404
    with pytest.raises(ServerError, match="temprature") as caught:
        clients["gpt"].predict("a", temprature=1)
    assert caught.value.status == 400
    with pytest.raises(UserError, match="it only supports embedding"):
        Client(serve(answer({"data": [{"capabilities": ["embedding"]}]})).url).predict("a")


def test_the_wrong_key(clients):
    for key in (None, "another"):
        with pytest.raises(ServerError, match="requires its API key") as caught:
            Client(clients["gpt"].url, api_key=key).predict("a")
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_closing_a_stream_ends_the_work(clients):
    engine = tiny("gpt")
    with app_of(engine, max_tokens=100_000) as app, server_of(app) as server:
        pieces = Client(server.url).stream(FOR_EVER["prompt"], **{k: v for k, v in FOR_EVER.items() if k != "prompt"})
        next(pieces)
        wait_until(lambda: engine.n_running == 1)
        pieces.close()
        wait_until(lambda: engine.n_running == 0)


def test_many_threads_may_share_a_client(clients):
    said: dict[int, str] = {}

    def ask(seed: int) -> None:
        said[seed] = clients["gpt"].predict("abc", seed=seed, max_tokens=8).text

    threads = [threading.Thread(target=ask, args=[seed], daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {seed: clients["gpt"].predict("abc", seed=seed, max_tokens=8).text for seed in range(8)}
