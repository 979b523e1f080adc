"""`/v1/chat/completions`: reply in a conversation, in the format of OpenAI's API of that name.

A request may contain the beginning of the reply (`prefix`), and the model continues from there. A prefix of token ids
is read exactly as it is; a prefix that is a string is tokenized first, perhaps differently than the model would have.

If a conversation is longer than the context, its oldest messages are left out, but never the system message at its
beginning or the last message; a warning says how many. If a `prefix` is too long, its end is read, as of any prompt.
"""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmasos.datasets.tool_call_format import calls_as_text
from llmasos.errors import UserError
from llmasos.prompting import ChatTemplate, Conversation, Message, offer_tools
from llmasos.prompting.chat_template import ASSISTANT, PLAIN, ROLES, TOOL
from llmasos.serving.api import ignored_openai_fields, tools
from llmasos.serving.api.fields import max_tokens_field, model_field, token_ids
from llmasos.serving.api.generation_fields import (
    DEFAULT_TOKENS,
    MAX_ALTERNATIVES,
    TOKEN,
    alternatives_of,
    generate,
    response_schema,
    sampling_fields,
    sampling_options,
    token_object,
)
from llmasos.serving.api.openapi import STRING, array_of, enum, nullable, object_of
from llmasos.serving.api.response_format import ResponseFormat
from llmasos.serving.api.validators import AnyOf, Boolean, Choice, Field, Integer, ListOf, Object, Text
from llmasos.serving.http.errors import RequestError, show
from llmasos.serving.http.http_types import Request, Response, Route
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import Tokenizer

NOT_A_CHAT_MODEL = "this model was not trained to chat: it continues the conversation like any other text."
MAX_DEFAULT_TOKENS = 1024  # of a reply, if the request sets no limit and the context has room; most replies end sooner

MAX_MESSAGES = 1000
NO_RESULT = "(nothing)"  # the model's input if a tool has returned nothing
DEVELOPER = "developer"  # OpenAI's newer name for the system role
MAY_BE_EMPTY = ("system", DEVELOPER, ASSISTANT, TOOL)
"""Roles whose messages may be empty or null: many programs send an empty system message, and a reply may have been
empty, which is null in OpenAI's API. A tool may have nothing to say."""

PART = Object(
    Field("type", Choice(("text",)), "the type of the part; only text is supported", required=True),
    Field("text", Text(), "the text", required=True),
    *ignored_openai_fields.PART,
)
UNNAMED = {
    "properties": {"name": ignored_openai_fields.AUTHOR.schema()}
}  # in JSON Schema: a message without an author's name
NOT_BLANK = {
    "required": ["content"],
    "properties": {
        "content": {
            "anyOf": [
                {"type": "string", "pattern": r"\S"},
                {"type": "array", "contains": {"properties": {"text": {"pattern": r"\S"}}}},
            ]
        }
    },
}
"""In JSON Schema: a message that is not blank."""


class MessageValidator(Object):
    """A message: its role and its content, a string or a list of parts, which are joined. Users' must not be blank."""

    def __init__(self):
        content = AnyOf((Text(), ListOf(PART, 0, 100)))
        super().__init__(
            Field("role", Choice((*ROLES, DEVELOPER)), f"whose message it is; {DEVELOPER} means system", required=True),
            Field("content", content, "the message, as a string or in parts; an empty one is left out, unless it is "
                  "the user's"),
            Field("name", Text(), f"of a tool's message: ignored, its function; of others, not supported: "
                  f"{ignored_openai_fields.AUTHOR.reason}"),
            *tools.MESSAGE_FIELDS,
            *ignored_openai_fields.MESSAGE,
        )  # fmt: skip

    def convert(self, value: Any, where: str) -> dict[str, str]:
        message = super().convert(value, where)
        role, content = message["role"], message["content"] or ""
        if role != TOOL and message["name"]:
            raise ignored_openai_fields.AUTHOR.error(message["name"], f"{where}.name")
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        if not text.strip() and role not in MAY_BE_EMPTY:
            problem = f"is {show(value['content'])}" if "content" in value else "is missing"
            raise RequestError(f"{where}.content {problem}; it must be a text that is not blank.", f"{where}.content")
        if message["tool_calls"]:
            text = self._with_calls(role, text, message["tool_calls"], f"{where}.tool_calls")
        if role == TOOL and not text.strip():
            text = NO_RESULT
        return {"role": "system" if role == DEVELOPER else role, "content": text}

    def _with_calls(self, role: str, text: str, calls: list[dict[str, Any]], where: str) -> str:
        """The assistant's text with its calls, as it wrote them. Raises RequestError for invalid calls."""
        if role != ASSISTANT:
            raise RequestError(
                f"{where} belongs to a message of the assistant, not of the {role}; leave it out.", where
            )
        try:
            return calls_as_text(text, calls)
        except UserError as error:
            raise RequestError(f"{where} cannot be read: {error}", where) from error

    def schema(self) -> dict[str, Any]:
        not_blank = {"if": {"properties": {"role": {"enum": list(MAY_BE_EMPTY)}}}, "else": NOT_BLANK}
        unnamed = {"if": {"properties": {"role": {"const": TOOL}}}, "else": UNNAMED}
        return super().schema() | {"allOf": [not_blank, unnamed]}


class MessagesValidator(ListOf):
    """The messages of a conversation. Empty ones are left out, and at least one must remain."""

    def __init__(self):
        super().__init__(MessageValidator(), 1, MAX_MESSAGES)

    def convert(self, value: Any, where: str) -> list[dict[str, str]]:
        messages = [message for message in super().convert(value, where) if message["content"].strip()]
        if not messages:
            raise RequestError(f"{where} has only empty messages; add one of the user.", where)
        return messages

    def schema(self) -> dict[str, Any]:
        return super().schema() | {"contains": NOT_BLANK}


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    prefix = AnyOf((Text(min_length=1), token_ids(served)), "a string or token ids, at least one")
    return Object(
        model_field(served),
        Field("messages", MessagesValidator(), "the conversation so far", required=True),
        Field(
            "prefix", prefix, "the beginning of the reply; the model continues from there, and only the rest is sent"
        ),
        max_tokens_field(served, "max_tokens", None),
        max_tokens_field(served, "max_completion_tokens", None),
        *sampling_fields(served),
        Field("logprobs", Boolean(), "return each token's log probability", False),
        Field("top_logprobs", Integer(0, MAX_ALTERNATIVES), "return this many alternatives, too (implies logprobs)"),
        Field("response_format", ResponseFormat(), "text, a JSON object, or JSON of a schema"),
        *tools.REQUEST_FIELDS,
        *ignored_openai_fields.CHAT_COMPLETIONS,
    )


def reply(request: Request) -> Response:
    """Generate the assistant's reply, n times."""
    values, served = request.values, request.served
    descriptions, callable_names = tools.descriptions_of(values), tools.callable_names(values)
    assert served.template is not None  # otherwise this model would not have the capability
    call_format = served.template.call_format
    forced = tools.forced_call(values, call_format)
    for field in ("prefix", "stop"):
        if values["response_format"] is not None and values[field]:
            raise RequestError(f"response_format and {field} would break the JSON together; leave one out.", field)
    tokenizer, prefix = served.tokenizer, values["prefix"] or []
    prefix_ids = tokenizer.encode(prefix) if isinstance(prefix, str) else prefix
    limits = [values[name] for name in ("max_tokens", "max_completion_tokens") if values[name] is not None]
    conversation = [Message(**message) for message in values["messages"]]
    template, conversation, warning = offer_tools(served.template, conversation, descriptions)
    n_wanted = min(limits, default=served.max_tokens)
    messages, warnings = fit_context(served, template, conversation, len(prefix_ids), n_wanted)
    warnings += [warning] if warning else []
    prompt = [*template.encode(tokenizer, messages).ids, *prefix_ids]
    room = max(DEFAULT_TOKENS, served.engine.context_length - len(prompt))
    options = sampling_options(values, min(limits, default=min(room, served.default_tokens(MAX_DEFAULT_TOKENS))))
    options = replace(template.with_stops(options), grammar=values["response_format"])
    if descriptions:
        if options.grammar is not None:
            raise RequestError("tools and response_format both say what the reply looks like; leave one of them out.",
                               "response_format")  # fmt: skip
        if forced:  # it ends with its JSON, whose strings may contain any stop string
            options = replace(options, grammar=forced, stop=())
        else:
            options = replace(options, stop=(*options.stop, *filter(None, [call_format.end])))
    readers: defaultdict[int, tools.CallReader] = defaultdict(  # one for each text
        lambda: tools.CallReader(callable_names, call_format)
    )
    with_logprobs = values["logprobs"] or values["top_logprobs"] is not None
    object, part = ("chat.completion.chunk", "delta") if values["stream"] else ("chat.completion", "message")
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": object}

    def render(index: int, result: GenerationRequest | Event, first: bool) -> dict[str, Any]:
        text, calls = readers[index].push(result.text, result.finish_reason) if descriptions else (result.text, [])
        message: dict[str, Any] = {"role": ASSISTANT, "content": text} if first else {"content": text}
        logprobs = {"content": logprobs_list(tokenizer, result.tokens)} if with_logprobs else None
        if not calls:
            return {part: message, "logprobs": logprobs}
        message |= {"content": text.strip() or None, "tool_calls": tools.calls_as_json(calls, values["stream"])}
        return {part: message, "logprobs": logprobs, "finish_reason": "tool_calls"}

    note = served.template_note or (NOT_A_CHAT_MODEL if served.template.name == PLAIN else "")
    warnings += [note] if note else []
    return generate(request, [prompt], options, values["top_logprobs"] or 0, head, render, warnings)


def fit_context(
    served: ServedModel, template: ChatTemplate, messages: Sequence[Message], n_prefix_tokens: int, max_new_tokens: int
) -> tuple[list[Message], list[str]]:
    """The messages that the model reads, and a warning if some were dropped.

    If all fit into the context, all are read. Otherwise the oldest are left out until there is also room for the new
    tokens, or for half a context of them if they are more.

    Args:
        served: the model.
        template: the template of the conversation.
        messages: the conversation, at least one message.
        n_prefix_tokens: the length of the reply's prefix.
        max_new_tokens: the number of new tokens that the request allows.

    Raises:
        RequestError: the last message does not fit, even without new tokens.
    """
    count, context_length = template.token_counter(served.tokenizer), served.engine.context_length
    n_tokens = count(messages) + n_prefix_tokens
    if n_tokens <= context_length:
        return list(messages), []
    conversation = Conversation.of(messages)
    room = context_length - n_prefix_tokens - min(max_new_tokens, context_length // 2)
    n_dropped = conversation.fit(count, room, exact=False).messages  # a message that cannot fit raises an error below
    if count(conversation.messages) > context_length:
        with_system = " with the system message" if conversation.system else ""
        raise RequestError(
            f"the last message has {count(conversation.messages)} tokens{with_system}, and the model's context has "
            f"{context_length}; shorten the message.",
            "messages", code="context_length_exceeded",
        )  # fmt: skip
    if n_dropped == 0:
        return conversation.messages, []
    return conversation.messages, [
        f"the conversation has {n_tokens} tokens and the model's context has {context_length}: the first {n_dropped} "
        f"messages{' after the system message' if conversation.system else ''} are not read."
    ]


def logprobs_list(tokenizer: Tokenizer, tokens: Sequence[GeneratedToken]) -> list[dict[str, Any]]:
    """Each token's log probability and its alternatives."""
    return [
        {
            **token_object(tokenizer, token.id, token.text, token.logprob),
            "top_logprobs": alternatives_of(tokenizer, token),
        }
        for token in tokens
    ]


RESPONSE = response_schema(
    "chat.completion",
    ("stop", "length", "tool_calls"),
    message=object_of(
        "tool_calls", role=enum(ASSISTANT), content=nullable(STRING), tool_calls=array_of(tools.CALL_SCHEMA)
    ),
    logprobs=nullable(object_of(content=array_of(object_of(**TOKEN, top_logprobs=array_of(object_of(**TOKEN)))))),
)
ROUTES = [
    Route("POST", "/v1/chat/completions", reply, "Reply in a conversation.", "chat", make_body, RESPONSE, streams=True)
]
