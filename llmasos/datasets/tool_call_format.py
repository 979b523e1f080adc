"""Calls of tools as the text that a model writes.

    <tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}</tool_call>     Hermes, Qwen, and ours
    {"name": "calculator", "parameters": {"expression": "17 * 25"}}                           Llama 3.1 … 3.3

In the second form, a call is a whole message. Only the model's input and output are in its own form; the messages of a
conversation always contain calls in the first form.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Parse the text between the marks of a call.

    >>> read_call('{"name": "calculator", "arguments": {"expression": "1+1"}}')
    ToolCall(name='calculator', arguments={'expression': '1+1'})

    Raises:
        UserError: it is not JSON, or not an object with a name and arguments.
    """
    try:
        value = json.loads(text)
        if isinstance(value, dict) and "arguments" not in value and "parameters" in value:
            value["arguments"] = value["parameters"]  # Llama's name
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


@dataclass(frozen=True)
class CallFormat:
    """How a model writes a call: JSON between two marks, or JSON that is the whole message.

    Attributes:
        start: the mark before the JSON; "" if a call is a whole message.
        end: the mark after it; "" likewise.
        arguments: the name of the arguments in the JSON.
        tag: a text that may precede a call that is a whole message.
    """

    start: str
    end: str
    arguments: str = "arguments"
    tag: str = ""

    def find(self, text: str, last: bool = False) -> tuple[str, str | None]:
        """The text before a call, and the call's JSON; None instead of it if there is no call.

        >>> HERMES.find('So: <tool_call>{"name": "now"}')
        ('So: ', '{"name": "now"}')
        >>> LLAMA3.find(' {"name": "now", "parameters": {}}')
        ('', '{"name": "now", "parameters": {}}')
        >>> LLAMA3.find('So: {"name": "now", "parameters": {}}'), LLAMA3.find('{"name": "Mia"}')
        (('So: {"name": "now", "parameters": {}}', None), ('{"name": "Mia"}', None))

        Args:
            text: the model's output, up to the mark after a call or the end of the message.
            last: whether to look for the last mark instead of the first.
        """
        if self.start:
            before, mark, call = text.rpartition(self.start) if last else text.partition(self.start)
            return (before, call) if mark else (text, None)
        call = text.strip().removeprefix(self.tag).strip()
        try:
            read_call(call)
        except UserError:
            return text, None
        return ("", call) if {"arguments", self.arguments} & json.loads(call).keys() else (text, None)

    def n_certain(self, text: str) -> int:
        """How many characters of a text that is still being written belong to no call, whatever comes after them.

        >>> HERMES.n_certain("So: <tool"), LLAMA3.n_certain(' {"name'), LLAMA3.n_certain("So: {")
        (4, 0, 5)
        """
        if self.start:
            before, mark, _ = text.partition(self.start)
            n_held = 0 if mark else max(n for n in range(len(self.start)) if before.endswith(self.start[:n]))
            return len(before) - n_held
        begun = text.lstrip()
        may_be_a_call = begun.removeprefix(self.tag).lstrip().startswith("{") or self.tag.startswith(begun.rstrip())
        return 0 if may_be_a_call else len(text)

    def in_our_form(self, text: str) -> str:
        """The text of a message in which a call is written as `write_call` writes it.

        >>> LLAMA3.in_our_form('{"name": "now", "parameters": {}}')
        '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
        """
        before, call = self.find(text)
        return text if self.start or call is None else before + write_call(read_call(call))


HERMES = CallFormat(CALL_START, CALL_END)
LLAMA3 = CallFormat("", "", arguments="parameters", tag="<|python_tag|>")
CALL_FORMATS = (HERMES, LLAMA3)


def describe_tools(descriptions: Sequence[Mapping[str, Any]]) -> str:
    """The text for the system message that describes the available tools."""
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
