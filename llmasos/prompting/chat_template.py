"""Chat templates: a conversation as the sequence of tokens that a model was trained on.

For a model, a conversation is one text. A template defines what comes before and after each message, so that the model
knows who wrote it. In `chatml`:

    <|im_start|>user
    Where did Paul live?<|im_end|>
    <|im_start|>assistant
    By the river.<|im_end|>

The markers are special tokens, which no user's text can produce: a user who types "<|im_start|>system" gets ordinary
characters, and cannot write a message in another role. (The template `plain`, for models without such tokens, cannot
guarantee that.)

Published models come with their template, a program in the Jinja language (`own_template.py`). The templates below are
for models without one, and for programs that cannot be run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from llmasos.datasets.tool_call_format import HERMES, CallFormat, calls_as_text
from llmasos.datasets.values import BadRow, is_missing, to_text
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

ROLES = ("system", "user", "assistant", "tool")
ASSISTANT, TOOL = "assistant", "tool"
PLAIN = "plain"  # the template of models that were trained on no other


class Message(NamedTuple):
    """A message: its role ("system", "user", "assistant" or "tool") and its text, which holds an assistant's calls."""

    role: str
    content: str


class EncodedChat(NamedTuple):
    """A conversation as tokens.

    Attributes:
        ids: (T,) the tokens.
        loss_mask: (T,) True for the assistant's tokens: its text and the token that ends it.
    """

    ids: list[int]
    loss_mask: list[bool]


@dataclass(frozen=True)
class ChatTemplate:
    """The format of a conversation.

    Attributes:
        name: the template's name.
        before: the text before a message; {role} is replaced by its role.
        end: the special token that ends a message.
        after: the text after that token.
        opening: the text before the whole conversation.
        roles: the template's names for `ROLES`.
        needs: the special tokens that the template uses.
        jinja: the same template as a Jinja program, for `transformers`.
        call_format: how the model writes a call of a tool.
    """

    name: str
    before: str
    end: str
    after: str
    opening: str = ""
    roles: tuple[str, str, str, str] = ROLES
    needs: tuple[str, ...] = ()
    jinja: str = ""
    call_format: CallFormat = HERMES

    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message | Mapping[str, str]], add_generation_prompt: bool = True
    ) -> EncodedChat:
        """Encode a conversation.

        Args:
            tokenizer: a tokenizer with the special tokens that the template needs.
            messages: in order; dictionaries with "role" and "content" are fine, too, and for the assistant with
                "tool_calls" as OpenAI's API has them.
            add_generation_prompt: end with the beginning of the assistant's next message, for the model to continue.
                False for a conversation to train on.

        Returns:
            The tokens, and which of them the loss is computed on.

        Raises:
            UserError: there is no message, or one has an unknown role or no text.
        """
        messages = validated(messages)
        ids = tokenizer.encode(self.opening, allow_special=True)
        loss_mask = [False] * len(ids)
        for message in messages:
            header = self._header(tokenizer, message.role)
            content = [*tokenizer.encode(message.content.strip()), tokenizer.special_tokens[self.end]]
            tail = tokenizer.encode(self.after)
            ids += [*header, *content, *tail]
            loss_mask += [False] * len(header) + [message.role == ASSISTANT] * len(content) + [False] * len(tail)
        if add_generation_prompt:
            header = self._header(tokenizer, ASSISTANT)
            ids, loss_mask = [*ids, *header], [*loss_mask, *[False] * len(header)]
        return EncodedChat(ids, loss_mask)

    def encode_result(self, tokenizer: Tokenizer, result: str) -> list[int]:
        """What follows an assistant's call of a tool: its end, the result, and the beginning of the next message.

        The call followed by these tokens equals the `encode`d conversation.
        """
        end, after = tokenizer.special_tokens[self.end], tokenizer.encode(self.after)
        message = [*self._header(tokenizer, TOOL), *tokenizer.encode(result.strip()), end, *after]
        return [end, *after, *message, *self._header(tokenizer, ASSISTANT)]

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The beginnings of further messages, where no special token marks them: an answer ends there, too.

        >>> TEMPLATES["plain"].stop_strings
        ('\\nInstruction:', '\\nUser:', '\\nAssistant:', '\\nTool:')
        """
        if self.needs:
            return ()
        return tuple(self.after + self.before.format(role=role).rstrip() for role in self.roles)

    def with_stops(self, options: SamplingOptions) -> SamplingOptions:
        """Return the options with stop strings added, so that generation also stops where another message begins.

        The special token that ends a message is one of `Tokenizer.stop_ids`, and always stops it.
        """
        return replace(options, stop=(*options.stop, *self.stop_strings))

    def token_counter(self, tokenizer: Tokenizer) -> Callable[[Sequence[Message]], int]:
        """Return a function that counts the tokens of a conversation to be answered. It encodes each message only
        once.
        """
        opening = len(tokenizer.encode(self.opening, allow_special=True))
        header = len(self._header(tokenizer, ASSISTANT))
        size = cache(lambda message: len(self.encode(tokenizer, [message], add_generation_prompt=False).ids) - opening)
        return lambda messages: opening + sum(map(size, messages)) + header

    def _header(self, tokenizer: Tokenizer, role: str) -> list[int]:
        text = self.before.format(role=self.roles[ROLES.index(role)])
        return tokenizer.encode(text, allow_special=True)


TEMPLATES = {  # in the order in which they are tried
    template.name: template
    for template in (
        ChatTemplate(
            "chatml", "<|im_start|>{role}\n", "<|im_end|>", "\n", needs=("<|im_start|>", "<|im_end|>"),
            jinja="{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim "
            "+ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
            "{% endif %}",
        ),
        ChatTemplate(
            "llama3", "<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>", "", opening="<|begin_of_text|>",
            roles=("system", "user", "assistant", "ipython"),
            needs=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        ChatTemplate(PLAIN, "{role}: ", END_OF_TEXT, "\n", roles=("Instruction", "User", "Assistant", "Tool")),
    )
}  # fmt: skip


def special_tokens_for(template: str) -> tuple[str, ...]:
    """The special tokens that a new tokenizer needs for a template, including the end-of-text token."""
    return (END_OF_TEXT, *TEMPLATES[template].needs)


def validated(messages: Iterable[Message | Mapping[str, str]]) -> list[Message]:
    """The messages as `Message`s.

    Raises:
        UserError: there is none, or one has an unknown role or no text; an empty one of the system or the assistant is
            left out.
    """
    results = []
    for number, message in enumerate(messages, start=1):
        is_dict = isinstance(message, Mapping)
        role, content = (message.get("role"), message.get("content")) if is_dict else message
        where = f"message {number} ({role})"
        if isinstance(message, Mapping) and role == ASSISTANT and message.get("tool_calls"):
            try:
                content = calls_as_text(content, message["tool_calls"])
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
        role = "system" if role == "developer" else role  # OpenAI's newer name
        if role not in ROLES:
            raise UserError(f"message {number} has the role {role!r}; it must be one of {', '.join(ROLES)}.")
        if role in ("system", ASSISTANT) and is_missing(content) and (not is_dict or "content" in message):
            continue  # as in the API: many programs send an empty system message, and a reply may have been empty
        try:
            text = to_text(content, "content") if isinstance(content, str | list | tuple) else ""
        except BadRow as problem:
            raise UserError(f"{where}: {problem}") from problem
        if not text.strip():
            raise UserError(f"{where} has no text; put it into 'content'.")
        results.append(Message(role, text))
    if not results:
        raise UserError("a conversation needs at least one message.")
    return results
