"""The model behind `llmasos chat`: in this process, or behind a server's URL."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields, replace
from typing import Any, Protocol

from llmasos.capabilities import CAPABILITIES
from llmasos.cli.terminal import note
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate, stream
from llmasos.generation.options import api_name
from llmasos.hub import card_examples, load_pretrained
from llmasos.prompting import Message, Tool, offer_tools, own_template_note, split_calls, template_of
from llmasos.serving import API_KEY_VARIABLE
from llmasos.serving.http.client import Client, ServerError, expected_shape
from llmasos.tasks.tool_use import MAX_CALLS, reply_with_tools
from llmasos.training.device import pick_device


class ChatBackend(Protocol):
    """A model that answers.

    Attributes:
        name: the model's name.
        template: the name of its chat template.
        template_note: a note about a template that comes with the model but is not executed; "" if there is none.
        recommended: options that the model recommends.
        context_length: the model's context length, in tokens.
        counts_exactly: whether `count` is exact, or an estimate.
        examples: messages to try, from the model's card.
        warnings: sentences about the last answer.
        calls: the tool calls before the last answer, and their results.
    """

    name: str
    template: str
    template_note: str
    recommended: Mapping[str, Any]
    context_length: int
    counts_exactly: bool
    examples: Sequence[str]
    warnings: list[str]
    calls: Sequence[Message]

    def count(self, messages: Sequence[Message]) -> int:
        """Count the tokens of a conversation."""

    def stream(self, messages: Sequence[Message], options: SamplingOptions) -> Generator[str, None, None]:
        """Generate the next answer, and yield it in pieces."""

    def sample(self, messages: Sequence[Message], options: SamplingOptions, n: int) -> list[str]:
        """Generate several possible next answers."""


class LocalModel:
    """A model in this process, with functions that it may call."""

    counts_exactly = True

    def __init__(
        self,
        name: str,
        device: str,
        quantize: str | None,
        adapter: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
    ):
        self.name, self.tools = name, [Tool.of(tool) for tool in tools]
        self.calls: Sequence[Message] = ()
        self.warnings: list[str] = []
        self.model, self.tokenizer = load_pretrained(name, pick_device(device), note, quantize, adapter)
        config = self.model.config
        if config.family != "gpt" or not config.is_pretraining:
            head = "" if config.is_pretraining else f" with the head {config.head!r}"
            raise UserError(f"{name} is a {config.family}{head} and cannot chat; choose a GPT, or use this model with "
                            "`python -m llmasos sample`.")  # fmt: skip
        self.context_length, self._template = config.context_length, template_of(self.tokenizer)
        self.recommended = self.model.generation_config.recommended
        self.examples: Sequence[str] = [texts[0] for texts in card_examples(name)]
        self.template_note = own_template_note(self.tokenizer)
        self.template, self._count = self._template.name, self._template.token_counter(self.tokenizer)

    def count(self, messages: Sequence[Message]) -> int:
        if not self.tools:
            return self._count(messages)
        template, messages, _ = offer_tools(self._template, messages, [tool.describe() for tool in self.tools])
        return template.token_counter(self.tokenizer)(messages)

    def stream(self, messages: Sequence[Message], options: SamplingOptions) -> Generator[str, None, None]:
        self.warnings = []
        if self.tools:  # the answer is complete only after the last tool call
            [reply] = reply_with_tools(self.model, self.tokenizer, [messages], self.tools, options)
            self.warnings, self.calls = reply.warnings, reply.messages[:-1]
            for written, result in zip(self.calls[::2], self.calls[1::2], strict=True):
                note(f"{call_in_words(written.content)} → {result.content}")
            yield reply.text
            return
        ids = self._template.encode(self.tokenizer, messages).ids
        with closing(stream(self.model, self.tokenizer, [ids], self._template.with_stops(options))) as events:
            for event in events:
                self.warnings += event.warnings
                yield event.text

    def sample(self, messages: Sequence[Message], options: SamplingOptions, n: int) -> list[str]:
        if self.tools:
            seeds = range(options.seed, options.seed + n * (MAX_CALLS + 1), MAX_CALLS + 1)  # each call takes the next
            settings = [replace(options, seed=seed) for seed in seeds]
            replies = [reply_with_tools(self.model, self.tokenizer, [messages], self.tools, s)[0] for s in settings]
            self.warnings, self.calls = [warning for reply in replies for warning in reply.warnings], ()
            return [reply.text for reply in replies]
        ids = self._template.encode(self.tokenizer, messages).ids
        generations = generate(self.model, self.tokenizer, [ids], self._template.with_stops(options), n)
        self.warnings = [warning for generation in generations for warning in generation.warnings]
        return [generation.text for generation in generations]


class ServerModel:
    """A model behind a URL. Only the server can count tokens; until its first response, their number is estimated."""

    counts_exactly = False
    calls: Sequence[Message] = ()

    def __init__(self, url: str, api_key: str | None):
        self.client = client = Client(url, api_key)
        self.warnings: list[str] = []
        self.recommended: Mapping[str, Any]
        self.examples: Sequence[str]
        try:
            capabilities = client.capabilities
        except ServerError as error:
            if error.status != 401:
                raise
            problem = "none was given" if client.transport.api_key is None else "the one given is wrong"
            raise UserError(f"the server at {client.url} requires an API key, and {problem}; pass it with --api-key "
                            f"KEY, or set {API_KEY_VARIABLE}.") from error  # fmt: skip
        if "chat" not in capabilities:
            raise UserError(f"the model at {client.url} cannot chat; it supports {', '.join(capabilities)}.")
        with expected_shape():
            served = client.served
            self.name = f"{served['id']} at {client.url}"
            self.template, self.context_length = str(served["chat_template"]), int(served["context_length"])
            self.template_note = str(served["chat_template_note"])
            self.examples = [str(texts[0]) for texts in served["examples"]]
            recommended = {api: option for api, option in served["sampling"].items() if option["recommended"]}
            self.recommended = {
                field.name: recommended[api_name(field)]["default"]
                for field in fields(SamplingOptions)
                if api_name(field) in recommended
            }
        self._tokens_per_character = 0.3  # typical; corrected after each answer

    def count(self, messages: Sequence[Message]) -> int:
        return round(self._tokens_per_character * n_characters(messages)) + 1

    def stream(self, messages: Sequence[Message], options: SamplingOptions) -> Generator[str, None, None]:
        self.warnings = []
        body = {"messages": as_dicts(messages), "stream_options": {"include_usage": True}, **api_fields(options)}
        with closing(self.client.transport.events(CAPABILITIES["chat"].route, body)) as events:
            for event in events:
                with expected_shape():
                    pieces = [choice["delta"].get("content") or "" for choice in event["choices"]]
                    self._update(messages, event)
                yield from pieces

    def sample(self, messages: Sequence[Message], options: SamplingOptions, n: int) -> list[str]:
        self.warnings = []
        response = self.client.chat(messages, n=n, **api_fields(options)).raw
        with expected_shape():
            self._update(messages, response)
            return [choice["message"]["content"] for choice in response["choices"]]

    def _update(self, messages: Sequence[Message], response: dict[str, Any]) -> None:
        """Collect a response's warnings, and update the token count from it."""
        new = [warning for choice in response["choices"] for warning in choice.get("warnings", [])]
        self.warnings += [warning for warning in new if warning != self.template_note]  # already shown at the start
        if response.get("usage"):
            self._tokens_per_character = response["usage"]["prompt_tokens"] / n_characters(messages)


def call_in_words(written: str) -> str:
    """The calls in a message in the form of function calls.

    >>> call_in_words('<tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}</tool_call>')
    'calculator(expression="17 * 25")'
    >>> call_in_words("<tool_call>17 * 25</tool_call>")
    '<tool_call>17 * 25</tool_call>'
    """
    text, calls = split_calls(written)
    arguments = [
        ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
        for call in calls
    ]
    return " ".join([text, *(f"{call.name}({a})" for call, a in zip(calls, arguments, strict=True))]).strip()


def n_characters(messages: Sequence[Message]) -> int:
    """The length of a conversation, including the template's text between messages."""
    return sum(len(message.content) + 30 for message in messages)


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages in their JSON form."""
    return [message._asdict() for message in messages]


def api_fields(options: SamplingOptions) -> dict[str, Any]:
    """Options as fields of the server's API."""
    values = {}
    for field in fields(options):
        if field.metadata:
            value = getattr(options, field.name)
            values[api_name(field)] = field.metadata["off"][0] if value is None else value
    stop = {"stop": list(options.stop)} if options.stop else {}
    return {**values, **stop, "seed": options.seed}
