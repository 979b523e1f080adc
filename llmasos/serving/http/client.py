"""A client for the server: the model behind a URL, with the same methods as a local one.

    client = Client("http://127.0.0.1:8000")
    print(client.predict("Once there was"))
    for piece in client.stream("Once there was", max_tokens=60, temperature=0.7):
        print(piece, end="", flush=True)

Options are the fields of the server's API (`/openapi.json` lists them all): max_tokens, temperature, top_p, top_k,
min_p, stop, seed, n, beams, … How requests are sent and retried is in `transport.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from llmasos.capabilities import CAPABILITIES
from llmasos.errors import UserError
from llmasos.generation.options import SamplingOptions, api_name
from llmasos.prompting.chat_template import PLAIN
from llmasos.serving.http.transport import ServerError, Transport
from llmasos.tokenizers.tokenizer import MASK

PREDICTS = ("question-answering", "classification", "token-classification", "fill-mask", "translation", "completion")
"""What `predict` uses: the first of these capabilities that the model has."""

__all__ = ["Client", "Prediction", "ServerError"]


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for a text.

    Attributes:
        text: the generated text, the answer ("" if there is none), the label, or the text with its masks filled in.
        raw: the server's JSON.
        line: the prediction in a readable form; None = the text.
    """

    text: str
    raw: dict[str, Any] = field(repr=False)
    line: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text if self.line is None else self.line


class Client:
    """Sends requests to a server. Several threads may use it at once.

    Args:
        url: the server's URL, "http://HOST:PORT" or "https://…".
        api_key: the API key, if the server requires one.
        timeout: the seconds of silence after which to give up.
        retries: the number of retries if there is no connection, or the server is busy or starting.

    Every method raises `ServerError`, with the HTTP `status`, if the server returns an error or cannot be reached.

    Raises:
        UserError: an argument is invalid.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 60.0, retries: int = 3):
        self.transport = Transport(url, api_key, timeout, retries)

    @property
    def url(self) -> str:
        """The server's URL."""
        return self.transport.url

    def model(self) -> dict[str, Any]:
        """The served model: its id, family, capabilities, context_length, …"""
        models = self.transport.request("GET", "/v1/models")
        with expected_shape():
            return {**models["data"][0]}

    @cached_property
    def served(self) -> dict[str, Any]:
        """The same, requested only once."""
        return self.model()

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the model can do (`llmasos/capabilities.py` lists the names)."""
        with expected_shape():
            return tuple(self.served["capabilities"])

    @property
    def is_chat_model(self) -> bool:
        """Whether the model was trained to chat; then `predict` and `stream` chat with it."""
        return "chat" in self.capabilities and self.served.get("chat_template") not in (None, PLAIN)

    # For every model

    def predict(self, text: str, context: str | None = None, **options: Any) -> Prediction:
        """Use the model for what it was trained for.

        A GPT continues the text, a chat model replies to it, a BERT fills in each [MASK], a classifier predicts a
        label, a token classifier finds names, a question-answering model finds the answer in the context, and a
        translator translates.

        Args:
            text: the prompt, the user's message, the question, …
            context: the text that holds the answer, for question answering.
            options: fields of the route.

        Raises:
            UserError: the model needs a context and there is none, or the other way round; the model can only embed;
                or the text is not a string.
        """
        if not isinstance(text, str):
            raise UserError(f"text is {text!r}; it must be a string.")
        name = "chat" if self.is_chat_model else next((name for name in PREDICTS if name in self.capabilities), None)
        if name is None:
            raise UserError(f"predict cannot use this model; it only supports {', '.join(self.capabilities)}.")
        if name == "question-answering":
            if context is None:
                raise UserError("this model answers questions about a text; pass the text as context=….")
            return self.answer(text, context, **options)
        if context is not None:
            raise UserError("only a question-answering model takes a context; leave it out.")
        return getattr(self, CAPABILITIES[name].method)(text, **options)

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """The same for a GPT, yielding pieces of text as they are generated."""
        if self.is_chat_model:
            yield from self.stream_chat(text, **options)
        elif "completion" in self.capabilities:
            body = with_options({"prompt": text}, options)
            yield from self._stream("completion", body, lambda choice: choice["text"])
        else:
            raise UserError(f"this model supports {', '.join(self.capabilities)}, none of which streams; use predict.")

    # By capability

    def generate(self, text: str, **options: Any) -> Prediction:
        """Continue a text."""
        raw = self._post("completion", {"prompt": text}, options)
        with expected_shape():
            return Prediction(raw["choices"][0]["text"], raw)

    def chat(self, messages: str | Sequence[Any], **options: Any) -> Prediction:
        """The assistant's reply.

        Args:
            messages: the user's message, or the conversation so far: {"role": …, "content": …}, in order.
        """
        raw = self._post("chat", {"messages": as_messages(messages)}, options)
        with expected_shape():
            return Prediction(raw["choices"][0]["message"]["content"] or "", raw)

    def stream_chat(self, messages: str | Sequence[Any], **options: Any) -> Iterator[str]:
        """The same, yielding pieces of text as they are generated."""
        body = with_options({"messages": as_messages(messages)}, options)
        yield from self._stream("chat", body, lambda choice: choice["delta"].get("content"))

    def embed(self, texts: str | Sequence[str], **options: Any) -> list:
        """The embedding of a text, as a list of numbers; a list of embeddings for several texts."""
        raw = self._post("embedding", {"input": as_list(texts)}, options)
        with expected_shape():
            vectors = [entry["embedding"] for entry in raw["data"]]
            return vectors[0] if isinstance(texts, str) else vectors

    def classify(self, texts: str | Sequence[str], **options: Any) -> Any:
        """The label of a text; a list for several texts. `raw["scores"]` has the probability of each label."""
        raw = self._post("classification", {"input": as_list(texts)}, options)
        with expected_shape():
            predictions = []
            for entry in raw["data"]:
                scores = sorted(entry["scores"].items(), key=lambda pair: -pair[1])
                line = ", ".join(f"{label} {score:.1%}" for label, score in scores)
                predictions.append(Prediction(entry["label"], entry, line))
            return predictions[0] if isinstance(texts, str) else predictions

    def find_entities(self, texts: str | Sequence[str], **options: Any) -> Any:
        """The names in a text, as one line; a list for several texts.

        `raw["entities"]` has for each name its text, label, start and end in characters, and score.
        """
        raw = self._post("token-classification", {"input": as_list(texts)}, options)
        with expected_shape():
            predictions = []
            for entry in raw["data"]:
                names = [f"{entity['text']} ({entity['label']})" for entity in entry["entities"]]
                scores = [f"{entity['text']} {entity['label']} {entity['score']:.1%}" for entity in entry["entities"]]
                predictions.append(Prediction(", ".join(names), entry, ", ".join(scores) or "(no name)"))
            return predictions[0] if isinstance(texts, str) else predictions

    def answer(self, question: str, context: str, **options: Any) -> Prediction:
        """The span of the context that answers a question; its text is "" if there is no answer."""
        raw = self._post("question-answering", {"question": question, "context": context}, options)
        with expected_shape():
            return Prediction(raw["answer"], raw, raw["answer"] or "(no answer in this text)")

    def fill_mask(self, text: str, **options: Any) -> Prediction:
        """The text with the most likely token in the place of each [MASK]. `raw["masks"]` has the alternatives."""
        raw = self._post("fill-mask", {"input": text}, options)
        with expected_shape():
            filled, lines = text, []
            for choices in raw["masks"]:
                filled = filled.replace(MASK, choices[0]["token"], 1)
                tokens = ", ".join(f"{choice['token']} {choice['probability']:.1%}" for choice in choices)
                lines.append(f"{MASK} {tokens}")
            return Prediction(filled, raw, "\n".join(lines))

    def translate(self, texts: str | Sequence[str], **options: Any) -> Any:
        """The translation (or summary) of a text; a list for several texts."""
        raw = self._post("translation", {"input": as_list(texts)}, options)
        with expected_shape():
            predictions = [Prediction(entry["text"], entry) for entry in raw["data"]]
            return predictions[0] if isinstance(texts, str) else predictions

    def _post(self, capability: str, body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request for a capability of the model, and return the response."""
        return self.transport.request("POST", CAPABILITIES[capability].route, with_options(body, options))

    def _stream(self, capability: str, body: dict[str, Any], text_of: Callable[[dict], str | None]) -> Iterator[str]:
        """The texts of a stream as they arrive."""
        with closing(self.transport.events(CAPABILITIES[capability].route, body)) as events:
            for event in events:
                with expected_shape():
                    pieces = [text_of(choice) for choice in event["choices"]]
                yield from filter(None, pieces)


def with_options(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body with those options that have a value; `max_new_tokens` means max_tokens."""
    names = {field.name: api_name(field) for field in fields(SamplingOptions)}
    return body | {names.get(name, name): value for name, value in options.items() if value is not None}


def as_list(texts: str | Sequence[str]) -> list[str]:
    """One text or several, as a list."""
    return [texts] if isinstance(texts, str) else list(texts)


def as_messages(messages: str | Sequence[Any]) -> list[dict[str, str]]:
    """The messages in the server's form, from a string, from dictionaries, or from `prompting.Message`s."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [dict(m) if isinstance(m, Mapping) else {"role": m[0], "content": m[1]} for m in messages]


@contextmanager
def expected_shape() -> Iterator[None]:
    """While a response is parsed, turn a missing field into a ServerError."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerError(f"the server's response has an unexpected shape ({type(error).__name__}: {error}); is it a "
                          "server of llmasos?") from error  # fmt: skip
