"""Conversations that may grow beyond the model's context.

    system message    stays
    examples          conversations that show how to answer; they stay as long as there is room
    history           the oldest messages are dropped first, a question together with its answer
    last question     must fit

Nothing is dropped silently: `fit` reports how much was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmasos.errors import UserError
from llmasos.prompting.chat_template import ASSISTANT, TOOL, Message


class Dropped(NamedTuple):
    """What was dropped to make room.

    Attributes:
        messages: the number of messages dropped from the history.
        examples: the number of examples dropped.
    """

    messages: int
    examples: int


@dataclass
class Conversation:
    """The messages of a conversation, in order.

    Attributes:
        system: how the assistant should behave; "" for nothing.
        examples: conversations that come before this one, including those that were dropped.
        history: all messages of this conversation, including those that were dropped.
        n_dropped: the number of messages at the start of the history that the model no longer sees.
        n_examples_dropped: the number of examples, from the first on, that it no longer sees.
    """

    system: str = ""
    examples: list[Sequence[Message]] = field(default_factory=list)
    history: list[Message] = field(default_factory=list)
    n_dropped: int = 0
    n_examples_dropped: int = 0

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Conversation":
        """A conversation with these messages. If the first has the role system, it is the system message."""
        if messages and messages[0].role == "system":
            return cls(messages[0].content, history=list(messages[1:]))
        return cls(history=list(messages))

    @property
    def messages(self) -> list[Message]:
        """The messages that the model sees."""
        return self._from(self.n_dropped, self.n_examples_dropped)

    def ask(self, text: str) -> None:
        """Add a message of the user."""
        self.history.append(Message("user", text))

    def answer(self, text: str) -> None:
        """Add a message of the assistant."""
        self.history.append(Message(ASSISTANT, text))

    def undo(self) -> None:
        """Remove the last message."""
        self.history.pop()
        self.n_dropped = min(self.n_dropped, len(self.history))

    def reset(self) -> None:
        """Clear the history. The system message and all the examples are kept."""
        self.history, self.n_dropped, self.n_examples_dropped = [], 0, 0

    def fit(self, count: Callable[[Sequence[Message]], int], room: int, exact: bool = True) -> Dropped:
        """Drop as many messages as necessary for the rest to fit, but never the system message or the last question.

        Args:
            count: counts the tokens of some messages.
            room: the maximum number of tokens.
            exact: whether `count` is exact; if it is an estimate, the last question is kept, whatever its estimated
                length.

        Returns:
            What was dropped by this call.

        Raises:
            UserError: the system message and the last question alone do not fit; nothing is dropped then.
        """
        start, example = self.n_dropped, self.n_examples_dropped
        while (n_tokens := count(self._from(start, example))) > room:
            if start < len(self.history) - 1:
                start += 1
                while start < len(self.history) - 1 and self.history[start].role in (ASSISTANT, TOOL):
                    start += 1
            elif example < len(self.examples):
                example += 1
            elif not exact:
                break
            else:
                raise UserError(
                    f"your message has {n_tokens} tokens{' with the system message' if self.system else ''}, and there "
                    f"is room for {room}; shorten it, or ask for fewer new tokens."
                )
        dropped = Dropped(start - self.n_dropped, example - self.n_examples_dropped)
        self.n_dropped, self.n_examples_dropped = start, example
        return dropped

    def _from(self, start: int, example: int) -> list[Message]:
        """All messages from the given places on."""
        system = [Message("system", self.system)] if self.system else []
        examples = [message for messages in self.examples[example:] for message in messages]
        return [*system, *examples, *self.history[start:]]
