"""Everything that is asked for with GET: the page, how the server is, what it serves, and how it is to be asked."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from llmasos.serving.api.openapi import WHOLE, WORDS, each, maybe, one_of, shape
from llmasos.serving.http.errors import RESTART_SECONDS, Refused, retry_after
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.http.json_body import show
from llmasos.serving.metrics import CONTENT_TYPE

PAGE = Path(__file__).parents[1] / "page" / "index.html"
HTML = "text/html; charset=utf-8"


@cache
def page() -> bytes:
    """The page; it does not change while the server runs."""
    return PAGE.read_bytes()


@cache
def page_headers() -> tuple[tuple[str, str], ...]:
    """What the page may do: run its own script, ask this server, and nothing else. No other page may show it."""
    scripts = re.findall(rb"<script>(.*?)</script>", page(), re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
    policy = (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    )


def get_page(request: Request) -> Response:
    return Response(page(), HTML, headers=page_headers())


def get_health(request: Request) -> Response:
    """That there is an answer is the answer."""
    return json_response({"status": "ok"})


def get_ready(request: Request) -> Response:
    """Whether work is taken. Raises Refused (503) while the server starts or goes down."""
    if not request.served.ready:
        raise Refused("the server takes no work now: it starts, or goes down.", status=503, code="not_ready",
                      headers=retry_after(RESTART_SECONDS))  # fmt: skip
    engine = request.served.engine
    return json_response({"status": "ready", "running": engine.n_running, "waiting": engine.n_waiting})


def get_metrics(request: Request) -> Response:
    return Response(request.served.metrics.text().encode(), CONTENT_TYPE)


def get_models(request: Request) -> Response:
    return json_response({"object": "list", "data": [request.served.describe()]})


def get_model(request: Request) -> Response:
    """The model of the name that ends the path."""
    if request.rest != request.served.name:
        raise Refused(f"there is no model {show(request.rest)} here; there is {show(request.served.name)}.",
                      "model", 404, "model_not_found")  # fmt: skip
    return json_response(request.served.describe())


MODEL = shape(
    id=WORDS,
    object=one_of("model"),
    created=WHOLE,
    owned_by=WORDS,
    family=one_of("gpt", "bert", "transformer"),
    abilities=each(WORDS),
    context_length=WHOLE,
    n_layers=WHOLE,
    n_heads=WHOLE,
    parameters=WHOLE,
    vocab_size=WHOLE,
    labels=each(WORDS),
    quantization=maybe(WORDS),
    chat_template=maybe(WORDS),
    max_tokens=WHOLE,
)
STATUS = shape(status=WORDS)
READY = shape(status=WORDS, running=WHOLE, waiting=WHOLE)
ROUTES = [
    Route("GET", "/", get_page, "A page to use the model and to look inside.", content_type=HTML, open=True),
    Route("GET", "/health", get_health, "Whether the server is there.", shape=STATUS, open=True),
    Route("GET", "/ready", get_ready, "Whether the server takes work (503: not now).", shape=READY, open=True),
    Route("GET", "/metrics", get_metrics, "Counts and times, for Prometheus.", content_type=CONTENT_TYPE),
    Route("GET", "/v1/models", get_models, "What is served.", shape=shape(object=one_of("list"), data=each(MODEL))),
    Route("GET", "/v1/models/", get_model, "One model.", shape=MODEL),
]
