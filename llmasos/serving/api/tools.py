"""Tools in the chat API, in OpenAI's format: the tools in a request, and the calls in a reply.

The client runs its own functions. The model reads their descriptions, in the system message or in the form of its own
chat template. When it writes a call, the reply ends, and the call is sent as `tool_calls` with the finish reason
"tool_calls". The client appends that message and one with the role "tool" and the result, and sends a new request. A
call that never ends, is not JSON, or is to a function that the request does not allow is sent as text.

If `tool_choice` is "required" or a function, the reply is always a call: tokens that would make it anything else, or
give it arguments that the function's JSON schema does not allow, are impossible.
"""

import functools
import json
import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.datasets.tool_call_format import HERMES, CallFormat, ToolCall, read_call
from llmasos.errors import UserError
from llmasos.generation.grammar import Grammar
from llmasos.generation.tool_calls import call_grammar
from llmasos.serving.api.openapi import STRING, Schema, enum, object_of
from llmasos.serving.api.validators import AnyOf, Boolean, Choice, Field, Ignored, Integer, ListOf, Object, Text
from llmasos.serving.http.errors import RequestError, show

MAX_TOOLS, MAX_NAME, MAX_CALLS = 128, 64, 128
FUNCTION = Choice(("function",))
NAME = Field("name", Text(1, MAX_NAME), "the name of the function", required=True)
TOOL = Object(
    Field("type", FUNCTION, "the only type of tool", required=True),
    Field("function", Object(
        NAME,
        Field("description", Text(), "what it does, for the model"),
        Field("parameters", Ignored("object"), "its arguments, as a JSON Schema, which the model reads"),
        Field("strict", Boolean(), "ignored: the arguments of a forced call always match; others may not"),
    ), "the function", required=True),
)  # fmt: skip
NAMED = Object(
    Field("type", FUNCTION, "the only type of tool", required=True),
    Field("function", Object(NAME), "which function", required=True),
)
CALL = Object(
    Field("id", Text(), "ties the result to the call"),
    Field("type", FUNCTION, "the only type of tool"),
    Field("function", Object(
        Field("name", Text(), "the name of the function", required=True),
        Field("arguments", Text(), "its arguments, as a JSON object in a string", required=True),
    ), "the function that was called", required=True),
    Field("index", Integer(0, MAX_CALLS), "ignored: the index of the call, in a stream"),
)  # fmt: skip
REQUEST_FIELDS = (
    Field("tools", ListOf(TOOL, 0, MAX_TOOLS), "functions of yours that the model may ask you to call"),
    Field("tool_choice", AnyOf((Choice(("none", "auto", "required")), NAMED)), "none: no calls; auto: the model "
          "may call one; required, or a function: the reply is a call of one of the functions, or of that one, with "
          "arguments that its parameters allow"),
    Field("parallel_tool_calls", Boolean(), "ignored: a reply has at most one call"),
)  # fmt: skip
MESSAGE_FIELDS = (
    Field("tool_calls", ListOf(CALL, 0, MAX_CALLS), "of an assistant's message: the calls in it"),
    Field("tool_call_id", Text(), "of a tool's message: the id of the call whose result it is"),
)


def descriptions_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools that the model may call, as the client describes them; none if it must not call any.

    Raises:
        RequestError: `tool_choice` names a tool that does not exist.
    """
    tools = [
        {"type": tool["type"], "function": {k: v for k, v in tool["function"].items() if v is not None}}
        for tool in values["tools"] or []
    ]
    choice, names = values["tool_choice"], [tool["function"]["name"] for tool in tools]
    if choice == "required" and not tools:
        raise RequestError(
            'tool_choice is "required", and there are no tools; send some, or leave it out.', "tool_choice"
        )
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        name = show(choice["function"]["name"])
        raise RequestError(f"tool_choice is the function {name}, which is not among the tools.", "tool_choice")
    return [] if choice == "none" else tools


def callable_names(values: dict[str, Any]) -> list[str]:
    """The names of the functions that a reply may call: all of them, or the one that `tool_choice` names."""
    choice = values["tool_choice"]
    return [tool["function"]["name"] for tool in ([choice] if isinstance(choice, dict) else values["tools"] or [])]


def forced_call(values: dict[str, Any], call_format: CallFormat) -> Grammar | None:
    """The grammar of the call that `tool_choice` asks for; None if it forces none.

    Raises:
        RequestError: another field contradicts the call, or a function's parameters cannot be enforced.
    """
    choice = values["tool_choice"]
    if choice != "required" and not isinstance(choice, dict):
        return None
    for field in ("prefix", "stop", "response_format"):
        if values[field]:
            raise RequestError(f"{field} and a tool_choice that forces a call contradict each other; leave one of "
                               "them out.", field)  # fmt: skip
    names = callable_names(values)
    functions = {f["name"]: f["parameters"] for tool in values["tools"] if (f := tool["function"])["name"] in names}
    try:
        return grammar_of_calls(json.dumps(functions), call_format)
    except UserError as error:
        raise RequestError(f"{error} Leave out what cannot be kept, or tool_choice.", "tools") from error


@functools.lru_cache(maxsize=32)
def grammar_of_calls(functions: str, call_format: CallFormat) -> Grammar:
    """The grammar of functions as JSON: requests with the same functions share its automaton."""
    return call_grammar(json.loads(functions), call_format)


class CallReader:
    """Separates a reply into its text and the call at its end, while it is generated.

    Args:
        names: the names of the functions that it may call; None = any.
        call_format: how the model writes a call.
    """

    def __init__(self, names: Sequence[str] | None = None, call_format: CallFormat = HERMES):
        self.text, self.n_sent, self.names, self.call_format = "", 0, names, call_format

    def push(self, piece: str, finish_reason: str | None) -> tuple[str, list[ToolCall]]:
        """Take the next piece of the reply.

        Returns:
            The text that is now known not to be a call, and, at the end, the calls.
        """
        self.text += piece
        if finish_reason is None:
            return self._send(self.call_format.n_certain(self.text)), []
        before, call = self.call_format.find(self.text)
        if call is not None and finish_reason == "stop":  # at the closing tag, which is not part of the text
            try:
                result = read_call(call)
            except UserError:
                return self._send(len(self.text)), []
            if self.names is None or result.name in self.names:
                return self._send(len(before)), [result]
        return self._send(len(self.text)), []

    def _send(self, end: int) -> str:
        text, self.n_sent = self.text[self.n_sent : end], max(end, self.n_sent)
        return text


def calls_as_json(calls: Sequence[ToolCall], streamed: bool) -> list[dict[str, Any]]:
    """Calls in OpenAI's format."""
    return [
        {
            **({"index": number} if streamed else {}),
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for number, call in enumerate(calls)
    ]


CALL_SCHEMA: Schema = object_of(
    id=STRING, type=enum("function"), function=object_of(name=STRING, arguments=STRING)
)  # of a reply
