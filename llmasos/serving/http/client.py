"""A model behind an address, used like one at hand.

    client = Client("http://127.0.0.1:8000")
    print(client.predict("Once there was"))
    for piece in client.stream("Once there was", max_tokens=60, temperature=0.7):
        print(piece, end="", flush=True)

Options are the fields of the server's API (`/openapi.json` has them all): max_tokens, temperature, top_p, top_k, min_p,
stop, seed, n, beams, … How a server is asked, and asked again, is in `transport.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmasos.errors import UserError
from llmasos.prompting.chat_template import PLAIN
from llmasos.serving.http.transport import ServerError, Transport
from llmasos.tokenizers.tokenizer import MASK

PREDICTS = ("answer", "classify", "fill", "translate", "complete")
"""What `predict` does with a model, the first of these that it can."""

__all__ = ["Client", "Prediction", "ServerError"]


@dataclass(frozen=True)
class Prediction:
    """What a model says.

    Attributes:
        text: its words: the new text, the answer ("" if there is none), the label, the text with its gaps filled in.
        raw: all that the server said about it, as its JSON has it.
        line: for a person; None = the text.
    """

    text: str
    raw: dict[str, Any] = field(repr=False)
    line: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text if self.line is None else self.line


class Client:
    """Asks a server. Several threads may use it at once.

    Args:
        url: of the server, "http://HOST:PORT" or "https://…".
        api_key: what the server wants to see; None = nothing.
        timeout: after how many seconds without a word from the server to give up.
        retries: how often to ask again, if there is no connection or the server is busy or starting.

    Every method raises `ServerError` if the server refuses or cannot be reached, with its `status`.

    Raises:
        UserError: an argument is not as it must be.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 60.0, retries: int = 3):
        self.transport = Transport(url, api_key, timeout, retries)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.transport.url

    def model(self) -> dict[str, Any]:
        """What is served: its id, family, abilities, context_length, …"""
        models = self.transport.ask("GET", "/v1/models")
        with expected():
            return {**models["data"][0]}

    @cached_property
    def served(self) -> dict[str, Any]:
        """The same, asked for once."""
        return self.model()

    @property
    def abilities(self) -> tuple[str, ...]:
        """What the model can do."""
        with expected():
            return tuple(self.served["abilities"])

    @property
    def chats(self) -> bool:
        """Whether the model has learned to answer, so that `predict` lets it."""
        return "chat" in self.abilities and self.served.get("chat_template") not in (None, PLAIN)

    # Whatever the model is for

    def predict(self, text: str, context: str | None = None, **options: Any) -> Prediction:
        """What the model says to a text, by what it can do.

        A GPT goes on with it, a chat model answers it, a BERT fills in each [MASK], a classifier gives its label, a
        model for questions finds the answer in the context, and a translator translates it.

        Args:
            text: the prompt, what the user says, the question, …
            context: the text that holds the answer, for a model that answers questions.
            options: fields of the route that is asked.

        Raises:
            UserError: the model needs a context and there is none, or the other way round; or it can only embed; or the
                text is none.
        """
        if not isinstance(text, str):
            raise UserError(f"text is {text!r}; it must be a text.")
        kind = "chat" if self.chats else next((kind for kind in PREDICTS if kind in self.abilities), None)
        if kind is None:
            raise UserError(f"the model can {', '.join(self.abilities)} and nothing else; use that.")
        if kind == "answer" and context is None:
            raise UserError("the model answers questions about a text: give the text, too, as context=…")
        if kind != "answer" and context is not None:
            raise UserError("only a model that answers questions looks into a context; leave it out.")
        if kind == "answer":
            return self.answer(text, context, **options)
        return getattr(self, kind)(text, **options)

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """The same piece by piece while it is written, by a model that writes token by token."""
        if self.chats:
            yield from self.stream_chat(text, **options)
        elif "complete" in self.abilities:
            asked = asking({"prompt": text}, options)
            yield from self._pieces("/v1/completions", asked, lambda choice: choice["text"])
        else:
            raise UserError(f"the model can {', '.join(self.abilities)}, and none of it piece by piece; use predict.")

    # By what it can do

    def complete(self, text: str, **options: Any) -> Prediction:
        """Go on with a text."""
        raw = self.transport.ask("POST", "/v1/completions", asking({"prompt": text}, options))
        with expected():
            return Prediction(raw["choices"][0]["text"], raw)

    def chat(self, messages: str | Sequence[Any], **options: Any) -> Prediction:
        """What the assistant says next.

        Args:
            messages: what the user says, or the conversation so far: {"role": …, "content": …}, in order.
        """
        asked = asking({"messages": conversation(messages)}, options)
        raw = self.transport.ask("POST", "/v1/chat/completions", asked)
        with expected():
            return Prediction(raw["choices"][0]["message"]["content"] or "", raw)

    def stream_chat(self, messages: str | Sequence[Any], **options: Any) -> Iterator[str]:
        """The same piece by piece."""
        asked = asking({"messages": conversation(messages)}, options)
        yield from self._pieces("/v1/chat/completions", asked, lambda choice: choice["delta"].get("content"))

    def embed(self, texts: str | Sequence[str], **options: Any) -> list:
        """A vector for a text, as a list of numbers; a list of vectors for several texts."""
        raw = self.transport.ask("POST", "/v1/embeddings", asking({"input": as_list(texts)}, options))
        with expected():
            vectors = [entry["embedding"] for entry in raw["data"]]
            return vectors[0] if isinstance(texts, str) else vectors

    def classify(self, texts: str | Sequence[str], **options: Any) -> Any:
        """The label of a text; a list of that for several texts. `raw["scores"]` has the probability of each label."""
        raw = self.transport.ask("POST", "/v1/classify", asking({"input": as_list(texts)}, options))
        with expected():
            found = []
            for entry in raw["data"]:
                scores = sorted(entry["scores"].items(), key=lambda pair: -pair[1])
                line = ", ".join(f"{label} {score:.1%}" for label, score in scores)
                found.append(Prediction(entry["label"], entry, line))
            return found[0] if isinstance(texts, str) else found

    def answer(self, question: str, context: str, **options: Any) -> Prediction:
        """The piece of the context that answers a question; its text is "" if none does."""
        raw = self.transport.ask("POST", "/v1/answer", asking({"question": question, "context": context}, options))
        with expected():
            return Prediction(raw["answer"], raw, raw["answer"] or "(no answer in this text)")

    def fill(self, text: str, **options: Any) -> Prediction:
        """The text with the likeliest token in the place of each [MASK]. `raw["masks"]` has the others."""
        raw = self.transport.ask("POST", "/v1/fill", asking({"input": text}, options))
        with expected():
            filled, lines = text, []
            for choices in raw["masks"]:
                filled = filled.replace(MASK, choices[0]["token"], 1)
                said = ", ".join(f"{choice['token']} {choice['probability']:.1%}" for choice in choices)
                lines.append(f"{MASK} {said}")
            return Prediction(filled, raw, "\n".join(lines))

    def translate(self, texts: str | Sequence[str], **options: Any) -> Any:
        """The text that belongs to another; a list of that for several texts."""
        raw = self.transport.ask("POST", "/v1/translate", asking({"input": as_list(texts)}, options))
        with expected():
            found = [Prediction(entry["text"], entry) for entry in raw["data"]]
            return found[0] if isinstance(texts, str) else found

    def _pieces(self, path: str, asked: dict[str, Any], text_of: Callable[[dict], str | None]) -> Iterator[str]:
        """The texts of a stream as they come."""
        with closing(self.transport.events(path, asked)) as events:
            for event in events:
                with expected():
                    pieces = [text_of(choice) for choice in event["choices"]]
                yield from filter(None, pieces)


def asking(asked: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: what is asked, and the options that have a value; `max_new_tokens` means max_tokens."""
    names = {"max_new_tokens": "max_tokens"}  # the name that it has in the rest of the library
    return asked | {names.get(name, name): value for name, value in options.items() if value is not None}


def as_list(texts: str | Sequence[str]) -> list[str]:
    """One text or several, as several."""
    return [texts] if isinstance(texts, str) else list(texts)


def conversation(messages: str | Sequence[Any]) -> list[dict[str, str]]:
    """The messages as the server wants them: of a text, of dictionaries, or of `prompting.Message`s."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [dict(m) if isinstance(m, Mapping) else {"role": m[0], "content": m[1]} for m in messages]


@contextmanager
def expected() -> Iterator[None]:
    """While an answer is taken apart: what is not in it becomes a ServerError."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerError(f"the server answers in a shape that is not expected ({type(error).__name__}: {error}); is "
                          "it one of llmasos?") from error  # fmt: skip
