"""Pages of other sites: allowed ones can use the server from a browser, and no others can."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest
from serving_http_helpers import JSON, app_of, ask, request_bytes, send, server_of, tiny

from llmasos import LLMServing
from llmasos.cli.serve import main as serve
from llmasos.errors import UserError
from llmasos.serving.app import create_app

OWN, OTHER = "http://localhost:3000", "app://obsidian.md"
PATH, BODY = "/v1/completions", {"prompt": "abc", "max_tokens": 3, "seed": 1}
KEY = {"HTTP_AUTHORIZATION": "Bearer open-sesame"}
REFUSED = [
    "null", "http://localhost", "http://localhost:3001", "https://localhost:3000", "http://localhost:3000.evil.com",
    "http://evil.com", "http://a.localhost:3000", "http://localhost:30000", "http://127.0.0.1:3000", "app://obsidian",
    "app://obsidian.md.evil.com", "http://localhost:3000/", "http://localhost:3000 ", "", "*",
    "http://localhost:3000, http://evil.com",
]  # fmt: skip


@pytest.fixture(scope="module")
def app():
    """An application with a key and two allowed origins."""
    with app_of(tiny("gpt"), api_key="open-sesame", allow_origins=["HTTP://LocalHost:3000/", OTHER]) as app:
        yield app


def preflight(app, origin: str, path: str = PATH, headers: str = "authorization,content-type"):
    """Send the request that a browser sends before JSON or a key."""
    return ask(app, "OPTIONS", path, HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
               HTTP_ACCESS_CONTROL_REQUEST_HEADERS=headers)  # fmt: skip


def cors_headers(answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control")}


@pytest.mark.parametrize("origin", [OWN, OTHER])
@pytest.mark.parametrize("path", [PATH, "/v1/models", "/nowhere"])  # nor does it learn which routes exist
def test_a_preflight_is_answered_without_a_key(app, origin, path):
    answer = preflight(app, origin, path, "authorization, content-type, x-stainless-os")
    assert answer.status == 200 and answer.body == b""
    assert answer.headers["Access-Control-Allow-Origin"] == origin and answer.headers["Vary"] == "Origin"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type, x-stainless-os"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_header_names_that_are_none_are_not_repeated(app):
    for names in ("", "a\r\nSet-Cookie: b", "a b", "a,,b", "a: b", "a" + ", a" * 3000 + "\n"):
        assert (
            preflight(app, OWN, headers=names).headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
        )


@pytest.mark.parametrize("origin", REFUSED)
def test_no_other_origin_is_allowed(app, origin):
    answer = preflight(app, origin)
    assert answer.status == 403 and answer.error["code"] == "origin_not_allowed" and cors_headers(answer) == {}
    assert "--allow-origin" in answer.error["message"]
    answer = ask(app, "POST", PATH, BODY, HTTP_ORIGIN=origin, **KEY)
    assert cors_headers(answer) == {} and answer.headers["Vary"] == "Origin"


def test_every_response_can_be_read(app):
    """Complete responses, streams and all types of errors: the page must be able to show what went wrong."""
    for status, method, path, body, environ in (
        (200, "GET", "/", None, {}),
        (200, "GET", "/v1/models", None, KEY),
        (200, "POST", PATH, BODY, KEY),
        (200, "POST", PATH, BODY | {"stream": True}, KEY),
        (401, "POST", PATH, BODY, {}),
        (400, "POST", PATH, BODY | {"n": 99}, KEY),
        (404, "GET", "/nowhere", None, KEY),
        (405, "GET", PATH, None, KEY),
        (415, "POST", PATH, BODY, KEY | {"CONTENT_TYPE": "text/plain"}),
        (413, "POST", PATH, BODY, KEY | {"CONTENT_LENGTH": "9" * 9}),
        (403, "GET", "/v1/models", None, KEY | {"HTTP_HOST": "evil.example"}),
    ):
        if status == 403:
            app.hosts = ["localhost"]
        answer = ask(app, method, path, body, HTTP_ORIGIN=OWN, **environ)
        app.hosts = None
        assert answer.status == status and answer.headers["Access-Control-Allow-Origin"] == OWN, (status, answer)
        assert answer.headers["Vary"] == "Origin" and "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_what_the_server_rejects_itself_can_be_read_too(app):
    for status, data in (
        (413, request_bytes(PATH, None, headers=f"Origin: {OWN}\r\nContent-Length: 999999999\r\n")),
        (411, request_bytes(PATH, None, headers=f"Origin: {OWN}\r\n")),
        (400, request_bytes(PATH, b"", headers=f"Origin: {OWN}\r\nContent-Type: {JSON}\r\n")),
    ):
        with server_of(app) as server:
            answer = send(server.port, data)
            other = send(server.port, data.replace(OWN.encode(), b"http://evil.com"))
        assert answer.status == other.status == status and answer.error
        assert answer.headers["Access-Control-Allow-Origin"] == OWN and cors_headers(other) == {}


def test_any_origin_can_be_allowed():
    with app_of(tiny("gpt"), allow_origins=["*"]) as app:
        for origin in ("http://a.example", "null"):
            answer = preflight(app, origin)
            assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            answer = ask(app, "POST", PATH, BODY, HTTP_ORIGIN=origin)
            assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"


def test_no_origin_is_allowed_by_default(gpt):
    assert preflight(gpt, OWN).status == 403
    for method, path, body in (("OPTIONS", PATH, None), ("GET", "/v1/models", None), ("POST", PATH, BODY)):
        answer = ask(gpt, method, path, body, HTTP_ORIGIN=OWN)
        assert cors_headers(answer) == {} and "Vary" not in answer.headers
    assert ask(gpt, "OPTIONS", PATH, HTTP_ORIGIN=OWN).status == 405  # not a preflight


@pytest.mark.parametrize("origin", ["null", "", "localhost:3000", "http://", "http://*.example.com",
                                    "http://a/b", "http://a b", "http://user@a", "http://a:b", "//a", "http://a?b",
                                    3, None])  # fmt: skip
def test_what_is_no_origin_cannot_be_allowed(origin):
    with pytest.raises(UserError, match="is not an origin that can be allowed"):
        create_app(tiny("gpt"), allow_origins=[origin])


def test_one_origin_must_be_in_a_list():
    with pytest.raises(UserError, match=r"allow_origins is 'http://a'; it must be a list of names"):
        create_app(tiny("gpt"), allow_origins="http://a")


def test_the_command_and_the_service_pass_the_origins_on(monkeypatch):
    class Created(Exception):
        pass

    def create(model, **settings):
        raise Created(settings["allow_origins"], settings["page_size"])

    monkeypatch.setattr("llmasos.serving.create_app", create)
    for flags, expected in (([], []), (["--allow-origin", OWN, "--allow-origin", OTHER], [OWN, OTHER])):
        with pytest.raises(Created) as caught:
            serve(["a-model", "--port", "0", "--page-size", "16", *flags])
        assert caught.value.args == (expected, 16)
    engine = tiny("gpt")
    service = LLMServing(engine.model, engine.tokenizer, "tiny").create_service(allow_origins=[OWN])
    with service, urlopen(Request(f"{service.url}/v1/models", headers={"Origin": OWN})) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == OWN


@pytest.mark.slow
def test_a_browser_agrees(browser):
    """A page of another origin sends JSON and a key, and reads the response, a stream and an error; or cannot."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>another site</p>")

        def log_message(self, *args):
            pass

    script = """async ([url, body]) => {
        const headers = {"Content-Type": "application/json", "Authorization": "Bearer open-sesame"};
        try {
            const answer = await fetch(url, {method: "POST", headers, body: JSON.stringify(body)});
            return [answer.status, await answer.text()];
        } catch (error) { return [0, String(error)]; }
    }"""
    site = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    origin = f"http://localhost:{site.server_port}"
    for allowed in ([origin], ["*"], [], [f"{origin}0"[:-1].replace("localhost", "127.0.0.1")]):
        with app_of(tiny("gpt"), api_key="open-sesame", allow_origins=allowed) as app, server_of(app) as server:
            page = browser.new_page()
            page.goto(origin)
            results = [
                page.evaluate(script, [server.url + PATH, BODY | more])
                for more in ({}, {"stream": True}, {"n": 99}, {"prompt": "x" * 2_000_000})
            ]
            page.close()
        if origin in allowed or "*" in allowed:
            assert [status for status, _ in results] == [200, 200, 400, 413]
            assert json.loads(results[0][1])["usage"]["completion_tokens"] == 3 and "[DONE]" in results[1][1]
            assert "n is 99" in results[2][1] and "too large" in results[3][1]
        else:
            assert [status for status, _ in results] == [0, 0, 0, 0], results
    site.shutdown()
    site.server_close()
