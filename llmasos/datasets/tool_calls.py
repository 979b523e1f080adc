"""Calls of tools as the text that a model writes: JSON between two marks, as the Hermes and Qwen models write it.

<tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}</tool_call>
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmasos.errors import UserError, in_words

CALL_START, CALL_END = "<tool_call>", "</tool_call>"
INTRODUCTION = (
    f"You may call functions. To call one, write only {CALL_START}"
    '{"name": NAME, "arguments": {…}}'
    f"{CALL_END}; then you get its result. The functions, as JSON:"
)


class ToolCall(NamedTuple):
    """A call that a model wrote: the tool's name, and its arguments by name."""

    name: str
    arguments: dict[str, Any]


def write_call(call: ToolCall) -> str:
    """A call as the text that a model writes.

    >>> write_call(ToolCall("calculator", {"expression": "17 * 25"}))
    '<tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}</tool_call>'
    """
    return f"{CALL_START}{json.dumps(call._asdict(), ensure_ascii=False)}{CALL_END}"


def read_call(text: str) -> ToolCall:
    """Read what is between the marks of a call.

    >>> read_call('{"name": "calculator", "arguments": {"expression": "1+1"}}')
    ToolCall(name='calculator', arguments={'expression': '1+1'})

    Raises:
        UserError: it is not JSON, or not an object with a name and arguments.
    """
    try:
        value = json.loads(text)
        if isinstance(value, dict) and isinstance(value.get("arguments"), str):
            value["arguments"] = json.loads(value["arguments"].strip() or "{}")  # OpenAI's form: JSON within JSON
    except (ValueError, RecursionError) as error:
        form = '{"name": …, "arguments": {…}}'
        raise UserError(f"the call {text.strip()[:60]!r} is not JSON; write {form}.") from error
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise UserError('the call has no name; write {"name": …, "arguments": {…}}.')
    arguments = value.get("arguments", {})
    if not isinstance(arguments, dict):
        raise UserError(f"the arguments of {value['name']} are {in_words(arguments)}; they must be an object.")
    return ToolCall(value["name"], arguments)


def describe_tools(descriptions: Sequence[Mapping[str, Any]]) -> str:
    """The text that tells a model which tools there are, for its system message."""
    return "\n".join([INTRODUCTION, *(json.dumps(tool, ensure_ascii=False) for tool in descriptions)])


def calls_as_text(content: Any, calls: Any) -> str:
    """An assistant's text and its tool calls, in the form of OpenAI's API, as the one text that a model writes.

    >>> calls_as_text(None, [{"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}])
    '<tool_call>{"name": "now", "arguments": {}}</tool_call>'

    Raises:
        UserError: a call is not of that form.
    """
    texts = [content.strip()] if isinstance(content, str) and content.strip() else []
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise UserError('a tool call is not of the form {"function": {"name": …, "arguments": "…"}}.')
        texts.append(write_call(read_call(json.dumps(dict(function)))))
    return "\n".join(texts)
