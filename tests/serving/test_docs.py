"""The page at `/docs`: it documents what the server does, and its examples work as written."""

import html
import json
import re
import shutil
import subprocess

import pytest
from api_cases import KINDS
from serving_http_helpers import app_of, ask, server_of, tiny

from llmasos.serving.api.docs import rows_of
from llmasos.serving.api.validators import Ignored, Unsupported
from llmasos.serving.http.errors import show

KEY = "open-sesame"


def page_of(app, **environ) -> str:
    answer = ask(app, "GET", "/docs", **environ)
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.body.decode()


def sections(page: str) -> dict[str, str]:
    """The sections by the heading of their route."""
    found = re.findall(r'<section id="[^"]+".*?</section>', page, re.DOTALL)
    return {re.search("<h2[^>]*><code>(.*?)</code>", section)[1]: section for section in found}


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_and_field_is_on_the_page(apps, kind):
    """With the words of its validator, and its default."""
    app, found = apps[kind], sections(page_of(apps[kind]))
    paths = {f"{route.method} {route.path}{'NAME' * route.is_prefix}" for route in app.routes}
    assert set(found) == paths and {"GET /docs", "GET /openapi.json"} <= paths
    for path, body in app._bodies.items():
        cells = [
            [html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall("<td>(.*?)</td>", row)]
            for row in re.findall("<tr>(.*?)</tr>", found[f"POST {path}"])
        ]
        rows = {row[0]: row[1:] for row in cells if row}
        for name, field in rows_of(body):
            expected, default, help = rows[name]
            assert expected == field.validator.expected.replace(show(app.served.name), "the model's name")
            assert default == (
                "required" if field.required else "" if field.default is None else json.dumps(field.default)
            )
            assert help == field.help
        assert len(rows) == len(list(rows_of(body)))
    if kind == "gpt":
        chat = found["POST /v1/chat/completions"]
        assert "messages[].content[].text" in chat and "a number from -2 to 2" in chat
        quiet = chat.partition("<details>")[2]
        inert = [name for name, field in app._bodies["/v1/chat/completions"].fields.items()
                 if isinstance(field.validator, Ignored | Unsupported)]  # fmt: skip
        assert all(f"<code>{name}</code>" in quiet for name in inert) and "<code>n</code>" not in quiet


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("kind", [*KINDS, "gpt with a key"])
def test_the_examples_work_as_they_are_written(kind, monkeypatch, capsys):
    monkeypatch.setenv("LLMASOS_API_KEY", KEY)
    key = KEY if "key" in kind else None
    model = "storyworld-de-en" if kind == "transformer" else tiny(kind.split()[0])  # the small one has a short context
    with app_of(model, api_key=key or None, max_tokens=64) as app, server_of(app) as server:
        app.api_key = key  # without one, that of the environment would be required
        page = page_of(app, HTTP_HOST=f"127.0.0.1:{server.port}")
        for title, section in sections(page).items():
            blocks = re.findall(r'aria-label="The request in (\w+)">(.*?)</pre>', section, re.DOTALL)
            code = {language: html.unescape(text) for language, text in blocks}
            assert set(code) == (set() if "NAME" in title else {"curl", "Python"})
            if code:
                command = ["sh", "-c", code["curl"].replace("curl", "curl --silent --fail", 1)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=120)
                assert done.returncode == 0 and done.stdout, (title, done)
                exec(compile(code["Python"], title, "exec"), {})
                printed = capsys.readouterr().out
                if "POST" in title:
                    assert set(json.loads(printed)) == set(json.loads(done.stdout))
                assert printed
    assert ("Authorization" in page) == (key is not None)


def test_the_page_is_public_and_tells_nothing_of_the_model():
    with app_of(tiny("gpt"), name="secret-project", api_key=KEY) as app:
        page = page_of(app)
        assert "secret-project" not in page and KEY not in page and "Requests need the API key" in page
        assert ask(app, "GET", "/openapi.json").status == 401
        assert "It needs no key." in sections(page)["GET /docs"]


def test_the_page_loads_nothing_and_has_no_script(gpt):
    answer = ask(gpt, "GET", "/docs", HTTP_HOST="localhost:8000")
    page = answer.body.decode()
    assert set(re.findall(r"https?://[^\s'\"`<>]+", html.unescape(page))) == {
        link for link in re.findall(r"http://localhost:8000[^\s'\"`<>]*", html.unescape(page))
    }
    for word in ("<script", "src=", "@import", " url(", "<link", "javascript:"):
        assert word not in page, word
    assert "<!-- " not in page.replace("<!-- The page at /docs", "")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src ;" in policy and answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("host", ["<script>alert(1)</script>", 'a"onload=x', "a b", "a';reboot;'", "a$(reboot)", ""])
def test_a_host_that_is_none_is_not_repeated(host):
    with app_of(tiny("gpt"), hosts=["*"]) as app:
        page = html.unescape(page_of(app, HTTP_HOST=host))
    assert "curl http://localhost/v1/completions" in page and "reboot" not in page and "<script" not in page


def test_the_page_links_to_it(gpt):
    assert 'href="docs"' in ask(gpt, "GET", "/").body.decode()


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280])
def test_a_browser_shows_it(visit, width):
    page = visit("gpt", "docs", width=width)
    assert page.get_by_role("heading", name="The API of this server").is_visible()
    page.get_by_role("link", name="POST /v1/chat/completions").click()
    assert page.get_by_role("heading", name="POST /v1/chat/completions").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
