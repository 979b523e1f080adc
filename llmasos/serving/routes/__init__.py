"""What can be asked over HTTP, a file for each group."""

from llmasos.serving.routes import chat, completions, embeddings, looking, status, translate, understanding
from llmasos.serving.web import Route

ROUTES: list[Route] = [
    *status.ROUTES,
    *completions.ROUTES,
    *chat.ROUTES,
    *embeddings.ROUTES,
    *understanding.ROUTES,
    *translate.ROUTES,
    *looking.ROUTES,
]
