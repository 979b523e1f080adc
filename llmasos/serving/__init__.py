"""Serving: one model for many concurrent clients, over HTTP.

    browser, curl, openai, `http.client`  →  `http`  →  `app`  →  `api`  →  `engine`  →  the model

Read `engine` first: one thread owns the model and decodes all running requests together (the batch itself is
`generation/continuous_batching.py`; `requests` is what each client waits for). Then follow a request on its way in:
`http/server` accepts the connection, `http/connection` reads the bytes, `app` checks host, key, path and body, and a
function in `api` (one file per group of routes) asks the engine and writes the response. `service` puts a model, its
server and a client into one object.

Imports go one way: `requests`, `metrics`, `engine`, `served_model` know nothing of HTTP; `http` (connections, errors,
JSON, the client, the page) knows no routes; `api` builds on both; `app` joins them, and `service` comes last.
`tests/serving/test_layers.py` checks this order. The constants below are shared by the server and its command.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.serving.app import App, create_app
    from llmasos.serving.http.client import Client
    from llmasos.serving.http.server import HTTPServer, is_loopback, listen

__all__ = ["App", "Client", "HTTPServer", "create_app", "is_loopback", "listen"]
lazy_exports(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
API_KEY_VARIABLE = "LLMASOS_API_KEY"
MAX_TOKENS = 4096  # the longest text that a request may ask for
MAX_BODY = 1_000_000  # the most bytes of a request's body
