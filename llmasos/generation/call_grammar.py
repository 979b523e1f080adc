"""The grammar of a tool call, for a model that must make one: nothing before it, and valid arguments.

    <tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}

It ends where the JSON ends. The closing tag carries no information then, and could not be distinguished from the same
characters inside an argument.
"""

from collections.abc import Mapping
from typing import Any

from llmasos.datasets.tool_call_format import HERMES, CallFormat
from llmasos.errors import UserError
from llmasos.generation.grammar import DEAD, Choice, Grammar, Node, Sequence, literal
from llmasos.generation.json_schema import Builder

NO_ARGUMENTS = {"type": "object", "additionalProperties": False}


def call_grammar(functions: Mapping[str, Mapping[str, Any] | None], call_format: CallFormat = HERMES) -> Grammar:
    """The grammar of one call of one of these functions, up to the end of its JSON.

    >>> grammar = call_grammar({"now": None, "wait": {"type": "object", "properties": {"days": {"type": "integer"}}}})
    >>> grammar.matches('<tool_call>{"name": "now", "arguments": {}}')
    True
    >>> grammar.matches('<tool_call>{"name": "now", "arguments": {"days": 3}}')
    False

    Args:
        functions: at least one; by name, the JSON schema of its arguments, or None if it has none.
        call_format: how the model writes a call.

    Raises:
        UserError: there is no function; or a schema allows values other than objects, or `json_schema` does not support
            it.
    """
    if not functions:
        raise UserError("there is no function to call; name at least one, or leave the call to the model.")
    rules: dict[str, Node] = {}
    calls = tuple(one_call(name, schema, call_format.arguments, rules) for name, schema in functions.items())
    return Grammar(Sequence((literal(call_format.start), Choice(calls))), rules, "the call")


def one_call(name: str, schema: Mapping[str, Any] | None, arguments: str, rules: dict[str, Node]) -> Node:
    """The node of a call of one function. Its rules are added to those of the others."""
    schema = NO_ARGUMENTS if schema is None else schema or {"type": "object"}
    builder = Builder(schema, rules, prefix=f"{name} ")
    call = {"properties": {"name": {"const": name}, arguments: schema}, "required": ["name", arguments]}
    try:
        grammar, node = Grammar(builder.value(schema, 0), builder.rules), builder.value(call, 0)
    except UserError as error:
        raise UserError(f"a call of {name} cannot be forced: {error}") from error
    if grammar.first_state == DEAD:
        raise UserError(f"a call of {name} cannot be forced: its JSON schema describes no arguments that ever end.")
    if any(grammar.read(grammar.first_state, bytes([b])) != DEAD for b in range(256) if b != ord("{")):
        raise UserError(f"the arguments of {name} are an object by name; its JSON schema describes other values, too.")
    return node
