"""For the tests of the API: a valid body for each route, and the small models that have the route."""

from llmasos.serving.app import App

KINDS = ("gpt", "bert", "transformer", "classifier", "ner", "qa")
BODIES = {  # route → a body that is right
    "/v1/completions": {"prompt": "abc", "max_tokens": 6, "seed": 3},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 6, "seed": 3},
    "/v1/embeddings": {"input": "the cat"},
    "/v1/classify": {"input": "the cat"},
    "/v1/token-classification": {"input": "the cat"},
    "/v1/question-answering": {"question": "who ?", "context": "the cat sat on the mat"},
    "/v1/fill-mask": {"input": "the [MASK] sat"},
    "/v1/translate": {"input": "abc", "beams": 2, "max_tokens": 5},
    "/v1/tokenize": {"input": "abc"},
    "/v1/inspect": {"input": "abc"},  # and of a translator, the target
}


def has(app: App, path: str) -> bool:
    return any(route.path == path for route in app.routes)


def kinds_with(path: str) -> list[str]:
    families = {"/v1/completions": ["gpt"], "/v1/chat/completions": ["gpt"], "/v1/embeddings": list(KINDS),
                "/v1/classify": ["classifier"], "/v1/token-classification": ["ner"],
                "/v1/question-answering": ["qa"], "/v1/fill-mask": ["bert"],
                "/v1/translate": ["transformer"], "/v1/tokenize": list(KINDS),
                "/v1/inspect": ["gpt", "bert", "transformer"]}  # fmt: skip
    return families[path]
