"""Tool calls during generation: generation stops at a call, the result is inserted, and generation continues.

    prompt → "… <tool_call>{…}</tool_call>"   stop (where a call is a whole message: at its end)
           + what the caller of `generate_with_tools` inserts, such as the result   → "so the answer is 425."

All texts are generated together: in each round those that have called a tool continue, the others are finished.

A model can be forced to begin with a call: nothing before it, and valid arguments (`call_grammar`).

    <tool_call>{"name": "calculator", "arguments": {"expression": "17 * 25"}}

Such a call ends where its JSON ends. The closing tag carries no information then, and could not be distinguished from
the same characters inside an argument.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmasos.datasets.tool_call_format import HERMES, CallFormat
from llmasos.errors import UserError, check_number
from llmasos.generation.generate import generate
from llmasos.generation.grammar import DEAD, Choice, Grammar, Node, literal
from llmasos.generation.grammar import Sequence as SequenceNode
from llmasos.generation.json_schema import Builder
from llmasos.generation.options import SamplingOptions
from llmasos.models import Model
from llmasos.tokenizers.tokenizer import Tokenizer

NO_ARGUMENTS = {"type": "object", "additionalProperties": False}


@dataclass
class ToolGeneration:
    """One finished continuation.

    Attributes:
        texts: the generated pieces, without inserted results; all except the last end with a call.
        calls: the JSON of each answered call; one fewer than `texts`.
        finish_reason: the finish reason of the last piece: "stop", "length" (including a call that never ends), or
            "calls" (the model tried to make more calls than allowed).
        warnings: sentences for the user.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    finish_reason: str = ""
    warnings: list[str] = field(default_factory=list)


def generate_with_tools(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    respond: Callable[[int, str], Sequence[int]],
    max_calls: int = 8,
    forced: Grammar | None = None,
    call_format: CallFormat = HERMES,
) -> list[ToolGeneration]:
    """Continue each prompt; whenever the model has made a call, insert the result of `respond` and continue.

    Args:
        model: a causal language model.
        tokenizer: the one it was trained with.
        prompts: token ids.
        options: how to sample; `max_new_tokens` limits each piece between two calls.
        respond: maps the index of a prompt and the JSON of a call to the token ids that follow the call.
        max_calls: the maximum number of calls in each text.
        forced: the grammar of the call that each text must begin with (`call_grammar`); None = it may write anything.
        call_format: how the model writes a call.

    Returns:
        A continuation of each prompt. Without a call it is that of `generate`.

    Raises:
        UserError: as `generate`, or max_calls is negative.
    """
    check_number("max_calls", max_calls, whole=True, at_least=0)
    end = call_format.end
    contexts, results = [list(prompt) for prompt in prompts], [ToolGeneration() for _ in prompts]
    active, round = list(range(len(prompts))), 0
    while active:
        settings = replace(options, stop=(*options.stop, *filter(None, [end])), seed=options.seed + round)
        is_forced = forced is not None and round == 0
        if is_forced:
            settings = replace(settings, stop=(), grammar=forced)  # an argument may contain any text
        generations = generate(model, tokenizer, [contexts[i] for i in active], settings)
        calling = []
        for i, generation in zip(active, generations, strict=True):
            result, text = results[i], generation.text
            result.warnings += generation.warnings
            result.finish_reason = generation.finish_reason
            call = call_format.find(text, last=not is_forced)[1]
            is_whole = is_forced or not end or ending_stop(tokenizer, generation.ids, settings.stop) == end
            if call is None or not is_whole:
                result.texts.append(text)
                continue
            result.texts.append(text + end)
            if len(result.calls) == max_calls:
                result.finish_reason = "calls"
                continue
            result.calls.append(call)
            contexts[i] += [*tokenizer.encode(text + end), *respond(i, result.calls[-1])]
            calling.append(i)
        active, round = calling, round + 1
    return results


def ending_stop(tokenizer: Tokenizer, ids: Sequence[int], stops: Sequence[str]) -> str:
    """The stop string that ended a text of these ids, as `TextStream` decides: the one that is complete first.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> ending_stop(ByteTokenizer(), list(b"a} END"), ("END", "}")), ending_stop(ByteTokenizer(), list(b"a"), ("END",))
    ('}', '')

    Returns:
        One of the stop strings; "" if the text has another end.
    """
    text = tokenizer.decode(list(ids), skip_special=True)
    places = [(start + len(stop), start, stop) for stop in stops if (start := text.find(stop)) >= 0]
    return min(places)[2] if places else ""


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
    return Grammar(SequenceNode((literal(call_format.start), Choice(calls))), rules, "the call")


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
