"""Answers with tools: the model calls functions until it has all it needs, and then answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmasos.datasets.tool_call_format import CallFormat
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.generation.grammar import Grammar
from llmasos.generation.tool_calls import call_grammar, generate_with_tools
from llmasos.models import Model
from llmasos.prompting import Message, Tool, offer_tools, run_call, template_of
from llmasos.tokenizers import Tokenizer

MAX_CALLS = 8
AUTO, REQUIRED = "auto", "required"  # values of `tool_choice`


@dataclass(frozen=True)
class ToolReply:
    """The assistant's answer, and how it came about.

    Attributes:
        text: the answer; the unfinished text if a call never ends, or if there were too many calls.
        messages: the messages that the answer added to the conversation: calls, results, and the answer itself.
        warnings: sentences for the user, such as that the conversation has outgrown the model's context.
    """

    text: str
    messages: list[Message]
    warnings: list[str] = field(default_factory=list)


def reply_with_tools(
    model: Model,
    tokenizer: Tokenizer,
    chats: Sequence[Sequence[Message | Mapping]],
    tools: Sequence[Tool | Callable[..., Any]],
    options: SamplingOptions,
    max_calls: int = MAX_CALLS,
    describe: bool = True,
    tool_choice: str | Tool | Callable[..., Any] = AUTO,
) -> list[ToolReply]:
    """The assistant's next message in each conversation, with tools that it may call on the way.

    Args:
        model: a GPT that was trained to call tools.
        tokenizer: the one it was trained with; its special tokens determine the template.
        chats: the messages so far of each conversation.
        tools: functions with names, or `Tool`s.
        options: sampling options; `max_new_tokens` limits each message.
        max_calls: the maximum number of calls in each answer.
        describe: whether the tools are described to the model; False for one that has learned them.
        tool_choice: "auto": the model may call tools; "required": it begins with a call of one of them, with arguments
            that its JSON schema allows; a tool or its name: with a call of that one. After the result it may write
            anything.

    Raises:
        UserError: two tools have the same name, or one is not a function; tool_choice is not one of the tools, or a
            call of it cannot be forced.
    """
    known = [Tool.of(tool) for tool in tools]
    names = [tool.name for tool in known]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two tools are called {twice!r}; rename one of them.")
    template = template_of(tokenizer)
    forced = forced_call(known, tool_choice, template.call_format)
    if forced and (options.grammar or options.stop):
        raise UserError(
            f"a forced call and {'grammar' if options.grammar else 'stop'} contradict each other; leave one out."
        )
    warning, descriptions = "", [tool.describe() for tool in known] if describe else []
    offers = [offer_tools(template, messages, descriptions) for messages in chats]
    if offers:
        template, _, warning = offers[0]
        chats = [messages for _, messages, _ in offers]
    prompts = [template.encode(tokenizer, messages).ids for messages in chats]
    outcomes: list[list[str]] = [[] for _ in prompts]

    def respond(i: int, call: str) -> list[int]:
        outcomes[i].append(run_call(call, known))
        return template.encode_result(tokenizer, outcomes[i][-1])

    results = generate_with_tools(
        model, tokenizer, prompts, template.with_stops(options), respond, max_calls, forced, template.call_format
    )
    replies = []
    for result, answers in zip(results, outcomes, strict=True):
        messages = [Message("assistant", template.call_format.in_our_form(text).strip()) for text in result.texts]
        for n, answer in enumerate(answers):
            messages.insert(2 * n + 1, Message("tool", answer))
        warnings = list(dict.fromkeys([*([warning] if warning else []), *result.warnings]))
        replies.append(ToolReply(messages[-1].content, messages, warnings))
    return replies


def forced_call(
    tools: Sequence[Tool], tool_choice: str | Tool | Callable[..., Any], call_format: CallFormat
) -> Grammar | None:
    """The grammar of the call that `tool_choice` asks for; None if it forces none. Raises UserError as above."""
    if tool_choice == AUTO:
        return None
    name = tool_choice if isinstance(tool_choice, str) else Tool.of(tool_choice).name
    names = [tool.name for tool in tools]
    if not names:
        raise UserError(f"tool_choice is {name!r}, and there are no tools; pass some, or leave it out.")
    if name not in (REQUIRED, *names):
        raise UserError(
            f"tool_choice is {name!r}, and the tools are {', '.join(names)}; it must be {AUTO!r}, {REQUIRED!r} or one "
            "of them."
        )
    chosen = {tool.name: tool.parameters for tool in tools if name in (REQUIRED, tool.name)}
    return call_grammar(chosen, call_format)
