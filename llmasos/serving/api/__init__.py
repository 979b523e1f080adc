"""What can be asked over HTTP, a file for each group."""

from llmasos.serving.api import (
    chat_completions,
    completions,
    embeddings,
    inspect_route,
    status,
    translate,
    understanding,
)
from llmasos.serving.http.http_types import Route

ROUTES: list[Route] = [
    *status.ROUTES,
    *completions.ROUTES,
    *chat_completions.ROUTES,
    *embeddings.ROUTES,
    *understanding.ROUTES,
    *translate.ROUTES,
    *inspect_route.ROUTES,
]
