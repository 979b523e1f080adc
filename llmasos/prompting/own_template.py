"""A model's own chat template, a Jinja program, and the choice of the template for a model.

    template_of(tokenizer)          the model's own template if it runs, or else one of `TEMPLATES`
    own_template_note(tokenizer)    why the model's own template is not used; "" if it is, or if there is none

The program writes a whole conversation as one text, in which names of special tokens become these tokens. A user's text
cannot become one of them here either: before the program runs, a mark that occurs nowhere else is inserted into each
such name in a message, and names with a mark in the output stay ordinary text.

Training needs to know which tokens the assistant writes. A program can mark them with {% generation %}; for other
programs, they are found by rendering the conversation again with a different text in place of each answer.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from llmasos.datasets.tool_call_format import CALL_FORMATS, CallFormat, ToolCall, write_call
from llmasos.errors import UserError, shown
from llmasos.generation import SamplingOptions
from llmasos.prompting.chat_template import (
    ASSISTANT,
    PLAIN,
    TEMPLATES,
    TOOL,
    ChatTemplate,
    EncodedChat,
    Message,
    validated,
)
from llmasos.prompting.tools import split_calls, with_tools
from llmasos.tokenizers.tokenizer import CLS, END_OF_TEXT, Tokenizer

if TYPE_CHECKING:  # jinja2 is imported when there is a program to run
    from llmasos.prompting.jinja import Template

OWN = "own"  # the name of a model's own template
FIRST_MARK = 0xF0000  # a private character of Unicode
QUESTION, ANSWER, NEXT = "Wq7-question", "Wq7-answer", "Wq7-next"  # contents that are found again in a written text

CALLED = "Wq7-tool"
NO_TOOLS = (
    "the model's own chat template has no form for tools that is known here (Hermes's and Qwen's <tool_call>, Llama "
    "3.1's JSON), so the system message describes them; the model may not call them."
)


@dataclass(frozen=True)
class WrittenChat:
    """A conversation rendered by the program.

    Attributes:
        text: the whole conversation.
        ordinary: indices of characters that belong to no special token, whatever the text looks like there.
        generated: (start, end) of the parts that the program marks as the assistant's.
    """

    text: str
    ordinary: tuple[int, ...]
    generated: list[tuple[int, int]]


@dataclass(frozen=True)
class OwnTemplate(ChatTemplate):
    """The template of a model's own program, with the same methods as ours.

    Attributes:
        program: the program, run for each conversation.
        variables: further variables of the program: the names of special tokens.
        stops: texts that end an answer, if no special token does.
        knows_tools: whether the program writes tools, and calls of them in `call_format`.
        tools: descriptions of the tools that the model may call.
    """

    program: "Template" = field(default=None, compare=False)  # type: ignore[assignment]
    variables: Mapping[str, Any] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    knows_tools: bool = False
    tools: Sequence[Mapping[str, Any]] = ()

    def write(
        self, messages: Sequence[Message], special: Sequence[str] = (), add_generation_prompt: bool = True
    ) -> WrittenChat:
        """Run the program.

        Args:
            messages: the conversation.
            special: names that must not become special tokens where a message contains them.
            add_generation_prompt: as in `encode`.

        Raises:
            UserError: the program refuses the conversation, or cannot be run for it.
        """
        from llmasos.prompting.jinja import Refusal, TemplateError

        data = {"messages": list(map(self.message_data, messages)), "tools": list(self.tools) or None}
        mark = unused_character([json.dumps(data, ensure_ascii=False)])
        variables = {
            "documents": None,
            **self.variables,
            **marked_data(data, special, mark),
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            text, generated = self.program.render(variables)
        except Refusal as error:
            raise UserError(
                f"the model's own chat template refuses this conversation: {str(error.args[0]).rstrip('.')}. Change "
                "the messages."
            ) from error
        except TemplateError as error:
            raise UserError(f"the model's own chat template cannot be run for this conversation ({error}).") from error
        places = [match.start() for match in re.finditer(mark, text)]
        clean = text.replace(mark, "")
        before = lambda index: index - sum(place < index for place in places)  # noqa: E731
        return WrittenChat(
            clean,
            tuple(place - number for number, place in enumerate(places)),
            [(before(start), before(end)) for start, end in generated],
        )

    def message_data(self, message: Message) -> dict[str, Any]:
        """A message as the program gets it: an assistant's calls apart from its text, if the program knows calls."""
        text, calls = split_calls(message.content) if self.knows_tools and message.role == ASSISTANT else ("", [])
        if not calls:
            return message._asdict()
        functions = [{"type": "function", "function": call._asdict()} for call in calls]
        return {"role": ASSISTANT, "content": text, "tool_calls": functions}

    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message | Mapping[str, str]], add_generation_prompt: bool = True
    ) -> EncodedChat:
        messages, special = validated(messages), special_names(tokenizer)
        chat = self.write(messages, special, add_generation_prompt)
        if add_generation_prompt:
            ids = tokenizer.encode(chat.text, allow_special=True, ordinary=chat.ordinary)
            return EncodedChat(ids, [False] * len(ids))
        encoding = tokenizer.encode_with_offsets(chat.text, allow_special=True, ordinary=chat.ordinary)
        spans = chat.generated or self.find_answers(messages, chat.text)
        loss_mask = [
            any(first < end and last > start for start, end in spans)  # " Yes" is part of the answer "Yes"
            for first, last in zip(encoding.starts, encoding.ends, strict=True)
        ]
        return EncodedChat(encoding.ids, loss_mask)

    def find_answers(self, messages: Sequence[Message], text: str) -> list[tuple[int, int]]:
        """Where the assistant's messages are in the text of a conversation, each with the token that ends it.

        The conversation is rendered again with another text in place of a message; the part that differs is the
        message. The message is skipped if the text after it differs, too.

        Raises:
            UserError: none of them is found.
        """
        spans = []
        answers = [i for i, message in enumerate(messages) if message.role == ASSISTANT]
        for i in answers:
            changed = [*messages[:i], Message(ASSISTANT, ANSWER), *messages[i + 1 :]]
            other = self.write(changed, add_generation_prompt=False).text
            before, found, after = other.partition(ANSWER)
            start = len(os.path.commonprefix([before, text]))
            end = len(text) - len(after)
            if not found or end < start or not text.endswith(after):
                continue
            if after.lstrip().startswith(self.end):
                end += after.index(self.end) + len(self.end)
            spans.append((start, end))
        if answers and not spans:
            raise UserError(
                "the model's own chat template does not show what the assistant writes: it has no {% generation %}, "
                "and an answer changes what comes after it. Add {% generation %} to it, or delete chat_template.jinja, "
                "so that one of ours is used."
            )
        return spans

    def encode_result(self, tokenizer: Tokenizer, result: str) -> list[int]:
        special = special_names(tokenizer)
        messages = [Message("user", QUESTION), Message(ASSISTANT, ANSWER), Message(TOOL, result.strip())]
        chat = self.write(messages, special)
        start = chat.text.find(ANSWER) + len(ANSWER)
        ordinary = tuple(place - start for place in chat.ordinary if place >= start)
        return tokenizer.encode(chat.text[start:], allow_special=True, ordinary=ordinary)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return self.stops

    def with_stops(self, options: SamplingOptions) -> SamplingOptions:
        return replace(options, stop=(*options.stop, *self.stops))

    def token_counter(self, tokenizer: Tokenizer) -> Callable[[Sequence[Message]], int]:
        @cache
        def count(messages: tuple[Message, ...]) -> int:
            return len(self.encode(tokenizer, messages).ids)

        return lambda messages: count(tuple(messages))


def special_names(tokenizer: Tokenizer) -> list[str]:
    """The names of the special tokens of a tokenizer, the longest first."""
    return sorted((token.content for token in tokenizer.added_tokens if token.special), key=len, reverse=True)


def unused_character(texts: Sequence[str]) -> str:
    """A private character that is in none of the texts."""
    used = set().union(*texts) if texts else set()
    return next(chr(code) for code in range(FIRST_MARK, 0x10FFFF) if chr(code) not in used)


def marked(text: str, names: Sequence[str], mark: str) -> str:
    """A text with a mark inside each of these names.

    >>> marked("a<s>b", ["<s>"], "|")
    'a<|s>b'
    """
    if not any(name in text for name in names):
        return text
    pattern = re.compile("|".join(map(re.escape, names)))
    return pattern.sub(lambda match: match[0][: len(match[0]) > 1] + mark + match[0][len(match[0]) > 1 :], text)


def marked_data(value: Any, names: Sequence[str], mark: str) -> Any:
    """Data in whose texts a mark is inside each of these names."""
    if isinstance(value, str):
        return marked(value, names, mark)
    if isinstance(value, Mapping):
        return {marked(key, names, mark): marked_data(item, names, mark) for key, item in value.items()}
    return [marked_data(item, names, mark) for item in value] if isinstance(value, list | tuple) else value


def variables_of(tokenizer: Tokenizer) -> dict[str, str]:
    """The special tokens that a program may name: bos_token, eos_token, …"""
    names = {"eos_token": tokenizer.token_text(tokenizer.end_of_text)} if CLS not in tokenizer.special_tokens else {}
    if tokenizer.begin_of_text is not None:
        names["bos_token"] = tokenizer.token_text(tokenizer.begin_of_text)
    return {**names, **tokenizer.roles}


@lru_cache(maxsize=8)
def open_program(source: str, variables: tuple[tuple[str, str], ...], special: tuple[str, ...]) -> OwnTemplate:
    """A program as a template, which has been run once.

    Raises:
        UserError: it cannot be read, or not be run for a question and its answer, or does not write what was said.
    """
    from llmasos.prompting.jinja import Template

    template = OwnTemplate(OWN, "", "", "", program=Template(source), variables=dict(variables))
    conversation = [Message("user", QUESTION), Message(ASSISTANT, ANSWER)]
    prompt = template.write(conversation[:1]).text
    text = template.write(conversation, add_generation_prompt=False).text
    if QUESTION not in prompt or ANSWER not in text:
        raise UserError("it does not write the messages.")
    call_format = call_format_of(template)
    if call_format:
        template = replace(template, knows_tools=True, call_format=call_format)
    rest = text.partition(ANSWER)[2]
    found = [(rest.index(name), name) for name in special if name in rest]
    if found:
        return replace(template, end=min(found)[1])
    try:
        longer = template.write([*conversation, Message("user", NEXT)], add_generation_prompt=False).text
    except UserError:  # one question is all that it takes
        longer = ""
    between = longer.partition(ANSWER)[2].partition(NEXT)[0].strip() if NEXT in longer else ""
    return replace(template, stops=(between,) if len(between) > 2 else ())


def call_format_of(template: OwnTemplate) -> CallFormat | None:
    """The form in which a program writes calls; None if it writes no tools, or calls in a form that is not known."""
    tool = {"type": "function", "function": {"name": CALLED, "description": "", "parameters": {"type": "object"}}}
    asking = [Message("user", QUESTION)]
    calling = [*asking, Message(ASSISTANT, write_call(ToolCall(CALLED, {}))), Message(TOOL, ANSWER)]
    offering = replace(template, knows_tools=True, tools=(tool,))
    try:
        before, after = offering.write(asking).text, offering.write(calling).text.partition(QUESTION)[2]
    except UserError:  # it takes no tools, or no results of them
        return None
    if CALLED not in before or ANSWER not in after:
        return None
    return next((call_format for call_format in CALL_FORMATS if is_called(after, call_format)), None)


def is_called(text: str, call_format: CallFormat) -> bool:
    """Whether the tool `CALLED` is called in a text.

    >>> is_called('<tool_call> {"name": "Wq7-tool"} </tool_call>', CALL_FORMATS[0])
    True
    """
    if call_format.start:
        return CALLED in text.partition(call_format.start)[2].partition(call_format.end)[0]
    call = {"name": CALLED, call_format.arguments: {}}
    return json.dumps(call, separators=(",", ":")) in "".join(text.split())


def offer_tools(
    template: ChatTemplate, messages: Sequence[Any], descriptions: Sequence[Mapping[str, Any]]
) -> tuple[ChatTemplate, list[Any], str]:
    """Return a template and a conversation that describe the available tools to the model.

    A model's own program writes the tools in its own form, if it knows tools. For any other template, the system
    message describes them.

    Args:
        template: the model's template.
        messages: as `ChatTemplate.encode` takes them.
        descriptions: the tools' descriptions, from `Tool.describe`; without any, nothing changes.

    Returns:
        The template to encode the messages with, the messages, and a sentence for the user; "" if there is none.
    """
    if not descriptions:
        return template, list(messages), ""
    if not isinstance(template, OwnTemplate):
        return template, with_tools(messages, descriptions), ""
    if template.knows_tools:
        return replace(template, tools=tuple(descriptions)), list(messages), ""
    return template, with_tools(messages, descriptions), NO_TOOLS


def own_template(tokenizer: Tokenizer) -> tuple[OwnTemplate | None, str]:
    """Return a model's own template, or the reason why it cannot be used; (None, "") if there is none."""
    source = tokenizer.chat_template
    if source is None or source.strip() in [template.jinja.strip() for template in TEMPLATES.values()]:
        return None, ""
    try:
        variables = tuple(sorted(variables_of(tokenizer).items()))
        template = open_program(source, variables, tuple(special_names(tokenizer)))
    except UserError as error:
        return None, str(error).rstrip(".")
    end = template.end or tokenizer.token_text(tokenizer.end_of_text)
    return replace(template, end=end), ""


def template_of(tokenizer: Tokenizer) -> ChatTemplate:
    """Return the model's own template if it has one that runs; else the first of ours that its special tokens allow.

    The plain template ends a message with the token that ends a text, whatever its name is.

    Raises:
        UserError: the tokenizer has no end-of-text token, so it cannot even use the plain template.
    """
    own, _ = own_template(tokenizer)
    return our_template(tokenizer) if own is None else own


def our_template(tokenizer: Tokenizer) -> ChatTemplate:
    """The first of our templates for which the tokenizer has the special tokens. Raises UserError as `template_of`."""
    for template in TEMPLATES.values():
        if all(name in tokenizer.special_tokens for name in (*template.needs, template.end)):
            return template
    if CLS not in tokenizer.special_tokens:  # which a BERT's tokenizer has
        return replace(TEMPLATES[PLAIN], end=tokenizer.token_text(tokenizer.end_of_text))
    raise UserError(f"a {tokenizer.kind} tokenizer has no {END_OF_TEXT} token, so it cannot encode conversations; use "
                    "one that has.")  # fmt: skip


def own_template_note(tokenizer: Tokenizer) -> str:
    """A note for users of a model whose own template cannot be run; "" if there is no such template."""
    own, problem = own_template(tokenizer)
    if own is not None or not problem:
        return ""
    template = our_template(tokenizer)
    user, assistant = (template.before.format(role=role) for role in template.roles[1:3])
    form = f"{user}…{template.end}{template.after}{assistant}"
    return (
        f"the model brings a chat template of its own, which cannot be run here ({problem}); it is asked in the form "
        f"{shown(form)} ({template.name}) instead, so it may answer worse than it can."
    )
