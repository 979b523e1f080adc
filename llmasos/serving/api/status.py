"""The GET routes: the page, the server's health and metrics, and the served model."""

from llmasos.serving.api.openapi import INTEGER, NUMBER, STRING, array_of, enum, nullable, object_of
from llmasos.serving.http.errors import RESTART_SECONDS, RequestError, retry_after, show
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.http.page import page_headers, page_html
from llmasos.serving.metrics import CONTENT_TYPE

HTML = "text/html; charset=utf-8"


def html_response(html: bytes) -> Response:
    """A page that may run its own script and nothing else."""
    return Response(html, HTML, headers=page_headers(html))


def get_page(request: Request) -> Response:
    """The page: one response that loads nothing else."""
    return html_response(page_html())


def get_health(request: Request) -> Response:
    """Liveness: the process responds."""
    return json_response({"status": "ok"})


def get_ready(request: Request) -> Response:
    """Readiness: work is accepted. Raises RequestError (503) while the server is starting or shutting down."""
    engine = request.served.engine
    if not engine.alive:
        raise RequestError("the server is not accepting work: it is starting or shutting down.", status=503,
                           code="not_ready", headers=retry_after(RESTART_SECONDS))  # fmt: skip
    return json_response({"status": "ready", "running": engine.n_running, "waiting": engine.n_waiting})


def get_metrics(request: Request) -> Response:
    """Counters and gauges in the text format of Prometheus."""
    return Response(request.served.metrics.text().encode(), CONTENT_TYPE)


def get_models(request: Request) -> Response:
    """The served model as a list of one, in the format of OpenAI's API."""
    return json_response({"object": "list", "data": [request.served.describe()]})


def get_model(request: Request) -> Response:
    """The model whose name ends the path."""
    if request.path_suffix != request.served.name:
        message = f"there is no model {show(request.path_suffix)} here; the model is {show(request.served.name)}."
        raise RequestError(message, "model", 404, "model_not_found")
    return json_response(request.served.describe())


OPTION = object_of(
    default=NUMBER,
    recommended={"type": "boolean"},
    min=NUMBER,
    max=NUMBER,
    step=NUMBER,
    off=nullable(NUMBER),
    help=STRING,
)
MODEL = object_of(
    id=STRING,
    object=enum("model"),
    created=INTEGER,
    owned_by=STRING,
    family=enum("gpt", "bert", "transformer"),
    capabilities=array_of(STRING),
    context_length=INTEGER,
    n_layers=INTEGER,
    n_heads=INTEGER,
    parameters=INTEGER,
    vocab_size=INTEGER,
    labels=array_of(STRING),
    quantization=nullable(STRING),
    chat_template=nullable(STRING),
    chat_template_note=STRING,
    max_tokens=INTEGER,
    examples=array_of(array_of(STRING)),
    sampling={"type": "object", "additionalProperties": OPTION},
)
MODELS = object_of(object=enum("list"), data=array_of(MODEL))
STATUS = object_of(status=STRING)
READY = object_of(status=STRING, running=INTEGER, waiting=INTEGER)
ROUTES = [
    Route("GET", "/", get_page, "A page to use the model and look inside it.", content_type=HTML, public=True),
    Route("GET", "/health", get_health, "Whether the server responds.", response_schema=STATUS, public=True),
    Route("GET", "/ready", get_ready, "Whether the server accepts work (503: not now).", response_schema=READY,
          public=True),
    Route("GET", "/metrics", get_metrics, "Counts and latencies, for Prometheus.", content_type=CONTENT_TYPE),
    Route("GET", "/v1/models", get_models, "The served model, as a list.", response_schema=MODELS),
    Route("GET", "/v1/models/", get_model, "The served model.", response_schema=MODEL),
]  # fmt: skip
