"""The other one in a conversation: a model in this process, or one behind an address."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

from llmasos.cli.terminal import note
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate, stream
from llmasos.hub import load_pretrained
from llmasos.prompting import Message, template_of
from llmasos.serving.http.app import KEY_VARIABLE
from llmasos.serving.http.client import Client, ServerError, expected
from llmasos.training.device import pick_device


class Speaker(Protocol):
    """Whoever answers.

    Attributes:
        name: of the model.
        template: the name of its chat template.
        context_length: of the model, in tokens.
        exact: whether it can count tokens, or only guess.
        warnings: sentences about the last answer.
    """

    name: str
    template: str
    context_length: int
    exact: bool
    warnings: list[str]

    def count(self, messages: Sequence[Message]) -> int:
        """How many tokens a conversation has."""

    def pieces(self, messages: Sequence[Message], options: SamplingOptions) -> Iterator[str]:
        """What it says next, while it says it."""

    def several(self, messages: Sequence[Message], options: SamplingOptions, n: int) -> list[str]:
        """What it could say next, n times."""


class Local:
    """A model in this process."""

    exact = True

    def __init__(self, name: str, device: str, quantize: str | None):
        self.name, self.warnings = name, []
        self.model, self.tokenizer = load_pretrained(name, pick_device(device), say=note, quantize=quantize)
        config = self.model.config
        if config.family != "gpt" or not config.is_pretraining:
            head = "" if config.is_pretraining else f" with the head {config.head!r}"
            raise UserError(f"{name} is a {config.family}{head}, and that cannot talk: choose a gpt, or use this one "
                            "with  python -m llmasos sample")  # fmt: skip
        self.context_length, self._template = config.context_length, template_of(self.tokenizer)
        self.template, self._count = self._template.name, self._template.counter(self.tokenizer)

    def count(self, messages: Sequence[Message]) -> int:
        return self._count(messages)

    def pieces(self, messages: Sequence[Message], options: SamplingOptions) -> Iterator[str]:
        self.warnings = []
        ids = self._template.encode(self.tokenizer, messages).ids
        with closing(stream(self.model, self.tokenizer, [ids], self._ending(options))) as events:
            for event in events:
                self.warnings += event.warnings
                yield event.text

    def several(self, messages: Sequence[Message], options: SamplingOptions, n: int) -> list[str]:
        ids = self._template.encode(self.tokenizer, messages).ids
        found = generate(self.model, self.tokenizer, [ids], self._ending(options), n)
        self.warnings = [warning for generation in found for warning in generation.warnings]
        return [generation.text for generation in found]

    def _ending(self, options: SamplingOptions) -> SamplingOptions:
        return self._template.ending(options, self.tokenizer)


class Remote:
    """A model behind an address. Only its server can count tokens: what it has not counted yet is estimated."""

    exact = False

    def __init__(self, client: Client):
        self.client, self.warnings = client, []
        try:
            abilities = client.abilities
        except ServerError as error:
            if error.status != 401:
                raise
            given = "none was given" if client.transport.api_key is None else "another was given"
            raise UserError(f"the server at {client.url} asks for its API key, and {given}; give it with --api-key "
                            f"KEY, or set {KEY_VARIABLE}.") from error  # fmt: skip
        if "chat" not in abilities:
            can = ", ".join(abilities)
            raise UserError(f"the model at {client.url} can {can}, and that is not talking; ask it in another way.")
        with expected():
            served = client.served
            self.name = f"{served['id']} at {client.url}"
            self.template, self.context_length = str(served["chat_template"]), int(served["context_length"])
        self._tokens_per_character = 0.3  # of most texts; corrected after each answer

    def count(self, messages: Sequence[Message]) -> int:
        return round(self._tokens_per_character * n_characters(messages)) + 1

    def pieces(self, messages: Sequence[Message], options: SamplingOptions) -> Iterator[str]:
        self.warnings = []
        asked = {"messages": as_objects(messages), "stream_options": {"include_usage": True}, **fields_of(options)}
        with closing(self.client.transport.events("/v1/chat/completions", asked)) as events:
            for event in events:
                with expected():
                    pieces = [choice["delta"].get("content") or "" for choice in event["choices"]]
                    self._take_note(messages, event)
                yield from pieces

    def several(self, messages: Sequence[Message], options: SamplingOptions, n: int) -> list[str]:
        self.warnings = []
        raw = self.client.chat(messages, n=n, **fields_of(options)).raw
        with expected():
            self._take_note(messages, raw)
            return [choice["message"]["content"] for choice in raw["choices"]]

    def _take_note(self, messages: Sequence[Message], said: dict[str, Any]) -> None:
        """Of the warnings in an answer or a piece of one, and of how many tokens the messages had."""
        self.warnings += [warning for choice in said["choices"] for warning in choice.get("warnings", [])]
        if said.get("usage"):
            self._tokens_per_character = said["usage"]["prompt_tokens"] / n_characters(messages)


def n_characters(messages: Sequence[Message]) -> int:
    """The length of a conversation, with what stands between its messages."""
    return sum(len(message.content) + 30 for message in messages)


def as_objects(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as JSON has them."""
    return [message._asdict() for message in messages]


def fields_of(options: SamplingOptions) -> dict[str, Any]:
    """Options as the server wants them."""
    found = {"max_tokens": options.max_new_tokens, "temperature": options.temperature, "seed": options.seed}
    found |= {"stop": list(options.stop)} if options.stop else {}
    return found | ({"top_p": options.top_p} if options.top_p else {})
