"""The routes: what can be requested over HTTP, one file per group, all listed in `ROUTES` below.

Each file of routes has, for each route, a function that makes the schema of its body (`validators.py`), a handler, and
the schema of its response (`openapi.py`). `fields.py` has the fields that several bodies share, `generation_fields.py`
what completions and chat share.
"""

from llmasos.serving.api import (
    chat_completions,
    completions,
    embeddings,
    inspect,
    predictions,
    status,
    tokenize,
    translate,
)
from llmasos.serving.http.http_types import Route

ROUTES: list[Route] = [
    *status.ROUTES,
    *completions.ROUTES,
    *chat_completions.ROUTES,
    *embeddings.ROUTES,
    *predictions.ROUTES,
    *translate.ROUTES,
    *inspect.ROUTES,
    *tokenize.ROUTES,
]
