r"""Tools: functions that a model may call while it answers.

    <|im_start|>assistant
    <tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}</tool_call><|im_end|>
    <|im_start|>tool
    425<|im_end|>
    <|im_start|>assistant
    17 * 25 is 425.<|im_end|>

A call is text that the model writes, JSON between two marks (the form of the Hermes and Qwen models). The program that
runs the model reads it, calls the function, and adds the result as a message of the role "tool"; then the model
continues. (Models can learn when to call which tool: Schick et al. 2023, "Toolformer".)

Arguments are data: they are parsed as JSON and passed by name, and nothing the model writes is ever evaluated.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from llmasos.capabilities import BUILT_IN_TOOLS
from llmasos.datasets.tool_call_format import CALL_END, CALL_START, ToolCall, describe_tools, read_call
from llmasos.errors import UserError, in_words
from llmasos.prompting.calculator import calculate
from llmasos.prompting.chat_template import Message

JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}
MAX_RESULT = 2000  # characters of a result that the model reads


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: the name that the model uses to call it.
        description: its purpose, for the model.
        parameters: a JSON Schema of an object, whose properties are the arguments.
        function: the function that takes the arguments by name and returns a text or a JSON-serializable value.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]

    @classmethod
    def of(cls, function: "Callable[..., Any] | Tool") -> "Tool":
        """A Python function as a tool: its name, the first line of its docstring, and its arguments.

        >>> def weather(city: str, days: int = 1):
        ...     "The weather in a city."
        >>> Tool.of(weather).parameters["required"], Tool.of(weather).parameters["properties"]["days"]
        (['city'], {'type': 'integer'})

        Raises:
            UserError: it is not a function, does not state its arguments, or has one that cannot be given by name.
        """
        if isinstance(function, Tool):
            return function
        if not callable(function) or not hasattr(function, "__name__"):
            raise UserError(f"a tool is {in_words(function)}; it must be a function with a name, or a Tool.")
        try:
            hints, parameters = get_type_hints(function), inspect.signature(function).parameters
        except Exception as error:  # evaluating annotations may raise anything
            problem = f"the arguments of the tool {function.__name__} cannot be read ({error})"
            raise UserError(f"{problem}; wrap it in a function whose arguments have simple types.") from error
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in parameters.values()):
            raise UserError(f"the tool {function.__name__} has arguments that cannot be given by name; name each one.")
        properties = {
            name: {"type": JSON_TYPES[hints[name]]} if hints.get(name) in JSON_TYPES else {} for name in parameters
        }
        required = [name for name, p in parameters.items() if p.default is p.empty]
        schema = {"type": "object", "properties": properties, "required": required}
        return cls(function.__name__, (inspect.getdoc(function) or "").partition("\n")[0], schema, function)

    def describe(self) -> dict[str, Any]:
        """The tool as OpenAI's API describes it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


def calculator(expression: str) -> str:
    """Compute an arithmetic expression such as (17 + 3) * 25 exactly."""
    return calculate(expression)


BUILT_IN = dict(zip(BUILT_IN_TOOLS, (calculator,), strict=True))  # the tools that come with the library, by name


def with_tools(messages: Sequence[Message | Mapping[str, Any]], descriptions: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return a conversation whose system message also describes the tools.

    Args:
        messages: as `ChatTemplate.encode` takes them.
        descriptions: the tools' descriptions, from `Tool.describe`.
    """
    text, rest = describe_tools(descriptions), list(messages)
    if rest:
        first = rest[0]
        role, content = (first.get("role"), first.get("content")) if isinstance(first, Mapping) else first
        if role == "system":
            text, rest = f"{content}\n\n{text}", rest[1:]
    return [Message("system", text), *rest]


def split_calls(text: str) -> tuple[str, list[ToolCall]]:
    """Split a model's output into text and calls. An incomplete or invalid call stays text.

    >>> split_calls('So: <tool_call>{"name": "now"}</tool_call>')
    ('So:', [ToolCall(name='now', arguments={})])
    >>> split_calls("<tool_call>17 * 25</tool_call>"), split_calls("<tool_call>{")
    (('<tool_call>17 * 25</tool_call>', []), ('<tool_call>{', []))
    """
    kept, calls = [], []
    rest = text
    while CALL_START in rest and CALL_END in rest.partition(CALL_START)[2]:
        before, _, after = rest.partition(CALL_START)
        inside, _, rest = after.partition(CALL_END)
        kept.append(before)
        try:
            calls.append(read_call(inside))
        except UserError:
            kept.append(f"{CALL_START}{inside}{CALL_END}")
    return "".join([*kept, rest]).strip(), calls


def run_call(text: str, tools: Sequence[Tool]) -> str:
    """Run a call and return its result for the model; if the call or the tool fails, a sentence that says why.

    >>> run_call('{"name": "calculator", "arguments": {"expression": "17 * 25"}}', [Tool.of(calculator)])
    '425'
    >>> run_call('{"name": "calculator", "arguments": {"expression": "import os"}}', [Tool.of(calculator)])
    "error: 'import os' is not arithmetic; write numbers, + - * / // % ** and brackets."

    Args:
        text: the text between the marks of the call.
        tools: the available tools.
    """
    try:
        call = read_call(text)
        tool = next((tool for tool in tools if tool.name == call.name), None)
        if tool is None:
            raise UserError(f"there is no tool {call.name[:60]!r}; there are {', '.join(tool.name for tool in tools)}.")
        check_arguments(tool, call.arguments)
        result = tool.function(**call.arguments)
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    except UserError as error:
        text = f"error: {error}"
    except Exception as error:  # of the tool: the model reads it, and can try something else
        text = f"error: {type(error).__name__}: {error}"
    text = text.strip() or "(nothing)"
    return text if len(text) <= MAX_RESULT else text[:MAX_RESULT] + " …"


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raise UserError unless a call has all arguments of the tool, and no others, of the types of its schema."""
    properties = tool.parameters.get("properties", {})
    for name in tool.parameters.get("required", ()):
        if name not in arguments:
            raise UserError(f"{tool.name} needs the argument {name!r}.")
    for name, value in arguments.items():
        if name not in properties:
            raise UserError(f"{tool.name} has no argument {name!r}; it has {', '.join(properties) or 'none'}.")
        expected = properties[name].get("type")
        if expected in JSON_TYPES.values() and expected not in types_of(value):
            problem = f"the argument {name!r} of {tool.name} is {in_words(value)}"
            raise UserError(f"{problem}; it must be of type {expected}.")


def types_of(value: Any) -> list[str]:
    """The types of JSON Schema that a value has.

    >>> types_of(3), types_of(True), types_of("3")
    (['integer', 'number'], ['boolean'], ['string'])
    """
    if isinstance(value, bool):
        return ["boolean"]
    names = [name for kind, name in JSON_TYPES.items() if isinstance(value, kind)]
    return [*names, "number"] if isinstance(value, int) else names
