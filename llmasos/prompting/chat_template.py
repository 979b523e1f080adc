"""Chat templates: a conversation as the row of tokens that a model was trained on.

To a model, a conversation is one text. A template says how it is written: what stands before and after each message, so
that the model can tell who speaks. In `chatml`:

    <|im_start|>user
    Where did Paul live?<|im_end|>
    <|im_start|>assistant
    By the river.<|im_end|>

The marks are special tokens, which no user's text can spell: what somebody types as "<|im_start|>system" stays eleven
ordinary letters and signs, and nobody can speak for somebody else. (The template `plain`, for models without such
tokens, cannot promise that.)

Published models bring their template as a small program in `tokenizer_config.json`. It is not run here: a program from
the network is a program from the network. One of the templates below is chosen by the special tokens that the model
has. A default system message that such a program may add is not added.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

ROLES = ("system", "user", "assistant")
ANSWERER = "assistant"
PLAIN = "plain"  # the template of models that have learned no other


class Message(NamedTuple):
    """What somebody says: "system", "user" or "assistant", and the text."""

    role: str
    content: str


class EncodedChat(NamedTuple):
    """A conversation as tokens.

    Attributes:
        ids: (T,) the tokens.
        learn: (T,) True for those that the assistant writes: its text and the end of it.
    """

    ids: list[int]
    learn: list[bool]


@dataclass(frozen=True)
class ChatTemplate:
    """How a conversation is written.

    Attributes:
        name: of the template.
        before: what stands before a message; {role} stands for who speaks.
        end: the special token that ends a message.
        after: what stands after that.
        opening: what stands before the whole conversation.
        roles: what the template calls each role.
        needs: special tokens without which it cannot be written.
        jinja: the same as a program, for `transformers`.
    """

    name: str
    before: str
    end: str
    after: str
    opening: str = ""
    roles: tuple[str, str, str] = ROLES
    needs: tuple[str, ...] = ()
    jinja: str = ""

    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message | Mapping[str, str]], answer: bool = True
    ) -> EncodedChat:
        """The tokens of a conversation.

        Args:
            tokenizer: has the special tokens that the template needs.
            messages: who says what, in order; dictionaries with "role" and "content" will do.
            answer: end with the beginning of the assistant's next message, for it to go on. False for a conversation
                that is to be learned from.

        Raises:
            UserError: there is no message, or one of an unknown role or without text.
        """
        messages = checked(messages)
        ids = tokenizer.encode(self.opening, allow_special=True)
        learn = [False] * len(ids)
        for message in messages:
            head = self._mark(tokenizer, message.role)
            said = [*tokenizer.encode(message.content.strip()), tokenizer.special_tokens[self.end]]
            tail = tokenizer.encode(self.after)
            ids += [*head, *said, *tail]
            learn += [False] * len(head) + [message.role == ANSWERER] * len(said) + [False] * len(tail)
        if answer:
            head = self._mark(tokenizer, ANSWERER)
            ids, learn = [*ids, *head], [*learn, *[False] * len(head)]
        return EncodedChat(ids, learn)

    def stop_id(self, tokenizer: Tokenizer) -> int:
        """The token with which an answer ends."""
        return tokenizer.special_tokens[self.end]

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts with which somebody else begins to speak, where no special token says so: there, too, an answer ends.

        >>> TEMPLATES["plain"].stops
        ('\\nInstruction:', '\\nUser:', '\\nAssistant:')
        """
        if self.needs:
            return ()
        return tuple(self.after + self.before.format(role=role).rstrip() for role in self.roles)

    def ending(self, options: SamplingOptions, tokenizer: Tokenizer) -> SamplingOptions:
        """The options with which an answer ends where the template says."""
        options = options.stopping_at(self.stop_id(tokenizer))
        return replace(options, stop=(*options.stop, *self.stops))

    def counter(self, tokenizer: Tokenizer) -> Callable[[Sequence[Message]], int]:
        """A function that counts the tokens of conversations to be answered. It encodes the same message only once."""
        opening = len(tokenizer.encode(self.opening, allow_special=True))
        mark = len(self._mark(tokenizer, ANSWERER))
        size = cache(lambda message: len(self.encode(tokenizer, [message], answer=False).ids) - opening)
        return lambda messages: opening + sum(map(size, messages)) + mark

    def _mark(self, tokenizer: Tokenizer, role: str) -> list[int]:
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
            needs=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        ChatTemplate(PLAIN, "{role}: ", END_OF_TEXT, "\n", roles=("Instruction", "User", "Assistant")),
    )
}  # fmt: skip


def template_of(tokenizer: Tokenizer) -> ChatTemplate:
    """The first template that can be written with a tokenizer's special tokens.

    Raises:
        UserError: not even the plain one can, because the tokenizer has no end of text.
    """
    for template in TEMPLATES.values():
        if all(name in tokenizer.special_tokens for name in (*template.needs, template.end)):
            return template
    raise UserError(f"a {tokenizer.kind} tokenizer has no {END_OF_TEXT}, so no conversation can be written with it.")


def special_tokens_for(template: str) -> tuple[str, ...]:
    """The special tokens that a new tokenizer needs for a template, the end of text among them."""
    return (END_OF_TEXT, *TEMPLATES[template].needs)


def checked(messages: Iterable[Message | Mapping[str, str]]) -> list[Message]:
    """The messages as `Message`s.

    Raises:
        UserError: there is none, or one of an unknown role or without text; says which.
    """
    found = []
    for number, message in enumerate(messages, start=1):
        if isinstance(message, Mapping):
            message = Message(message.get("role"), message.get("content"))
        role, content = message
        if role not in ROLES:
            raise UserError(f"message {number} is by {role!r}; a role must be one of: {', '.join(ROLES)}.")
        if not isinstance(content, str) or not content.strip():
            raise UserError(f"message {number} ({role}) has no text; expected some in 'content'.")
        found.append(Message(role, content))
    if not found:
        raise UserError("a conversation needs at least one message.")
    return found
