"""Fixtures for the tests of the API (`apps`) and of the page (`visit`, which needs Chromium and playwright)."""

import os
import shutil
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

import pytest
from api_cases import KINDS
from serving_http_helpers import app_of, tiny

from llmasos.hub import load_pretrained
from llmasos.interpret import train_story_probes
from llmasos.serving.api import probe
from llmasos.serving.app import App, create_app
from llmasos.serving.engine import Engine
from llmasos.serving.http.server import HTTPServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
IN_THE_BACKGROUND = "Object.defineProperty(document, 'visibilityState', {get: () => 'hidden', configurable: true})"


@pytest.fixture(scope="module")
def apps():
    found = {kind: create_app(tiny(kind), name=f"tiny-{kind}") for kind in KINDS}
    yield found
    for app in found.values():
        app.close(0.0)


@pytest.fixture
def gpt(apps) -> App:
    return apps["gpt"]


@pytest.fixture(scope="module")
def browser():
    """A browser with an empty profile."""
    lacking = None if CHROMIUM else "there is no chromium on this machine"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking = "playwright is not installed (requirements-dev.txt)"
    if lacking is not None:
        if os.environ.get("LLMASOS_BROWSER") == "required":
            pytest.fail(f"LLMASOS_BROWSER=required, but {lacking}")
        pytest.skip(f"{lacking}; the page is not tested")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def engines():
    """Name → engine, each created once, for the name of a model or of a `tiny` one. Their probes read few stories."""
    made = {}

    def engine(name):
        if name not in made:
            made[name] = Engine(*load_pretrained(name)) if name.startswith("storyworld") else tiny(name)
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "train_story_probes", partial(train_story_probes, n_train=12, n_held_out=8))
        yield engine
    for one in made.values():
        one.stop(0.0)


@pytest.fixture
def visit(browser, engines):
    """Open the page of a model: visit("storyworld-gpt", width=400). At the end, no page may have had an error.

    With `examples=True` each tab runs its example when it is opened.
    """
    pages = []
    with ExitStack() as closing:

        def open_page(model, path="", expected=(), app_settings=None, **settings):
            engine = engines(model) if isinstance(model, str) else model
            app = closing.enter_context(app_of(engine, name=str(model), **app_settings or {}))
            server = HTTPServer(app)
            server.start()
            stop = once(server.stop)
            closing.callback(stop, 1.0)
            width, height = settings.pop("width", 1100), settings.pop("height", 900)
            runs_examples = settings.pop("examples", False)
            context = browser.new_context(viewport={"width": width, "height": height}, **settings)
            if not runs_examples:  # a page in the background runs none
                context.add_init_script(IN_THE_BACKGROUND)
            closing.callback(context.close)
            page = context.new_page()
            page.app, page.url_asked, page.port, page.stop_server = app, server.url, server.port, stop
            page.expected, page.said, page.asked = expected, [], []
            page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.on("request", lambda request: page.asked.append(request))
            page.set_default_timeout(20_000)
            page.goto(f"{server.url}/{path}")
            pages.append(page)
            return page

        yield open_page
        for page in pages:
            assert [said for said in page.said if not any(known in said for known in page.expected)] == []
            hosts = {urlsplit(request.url).netloc for request in page.asked if not request.url.startswith("data:")}
            assert hosts == {urlsplit(page.url_asked).netloc}, "the page has asked somebody else"


def once(function):
    """Make a function that does something only when it is first called."""
    calls = []

    def call(*arguments):
        calls.append(arguments)
        return function(*arguments) if len(calls) == 1 else None

    return call
