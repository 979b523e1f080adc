"""A conversation that grows, while the model's context does not.

    system message      stays
    examples            conversations that show how to answer; they stay as long as there is room for them
    what has been said  the oldest is forgotten first, a question together with its answer
    the last question   must fit

Nothing is dropped silently: `fit` says how much had to be forgotten.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmasos.errors import UserError
from llmasos.prompting.chat_template import ANSWERER, Message


class Forgotten(NamedTuple):
    """What had to go to make room.

    Attributes:
        messages: how many of what has been said.
        examples: how many of the examples.
    """

    messages: int
    examples: int


@dataclass
class Conversation:
    """What is said, in order.

    Attributes:
        system: how the assistant shall be; "" for nothing.
        examples: conversations that stand before this one, also those that are forgotten.
        said: everything that has been said, also what is forgotten.
        n_forgotten: how many of these messages, from the first on, the model no longer sees.
        n_examples_forgotten: how many of the examples, from the first on, it no longer sees.
    """

    system: str = ""
    examples: list[Sequence[Message]] = field(default_factory=list)
    said: list[Message] = field(default_factory=list)
    n_forgotten: int = 0
    n_examples_forgotten: int = 0

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Conversation":
        """One in which these messages have been said. If the first is the system's, it is the system message."""
        if messages and messages[0].role == "system":
            return cls(messages[0].content, said=list(messages[1:]))
        return cls(said=list(messages))

    @property
    def messages(self) -> list[Message]:
        """What the model is given."""
        return self._from(self.n_forgotten, self.n_examples_forgotten)

    def ask(self, text: str) -> None:
        """The user says something."""
        self.said.append(Message("user", text))

    def answer(self, text: str) -> None:
        """The assistant says something."""
        self.said.append(Message(ANSWERER, text))

    def take_back(self) -> None:
        """The last question has not been asked."""
        self.said.pop()
        self.n_forgotten = min(self.n_forgotten, len(self.said))

    def reset(self) -> None:
        """Nothing has been said. The system message and all the examples are there."""
        self.said, self.n_forgotten, self.n_examples_forgotten = [], 0, 0

    def fit(self, count: Callable[[Sequence[Message]], int], room: int, exact: bool = True) -> Forgotten:
        """Forget as much as must be for the rest to fit, but never the system message or the last question.

        Args:
            count: how many tokens some messages have.
            room: how many tokens there may be.
            exact: whether `count` counts; if it only guesses, the last question is left, however long it seems.

        Returns:
            What has been forgotten now.

        Raises:
            UserError: not even the system message and the last question fit; nothing is forgotten then.
        """
        start, example = self.n_forgotten, self.n_examples_forgotten
        while (n_tokens := count(self._from(start, example))) > room:
            if start < len(self.said) - 1:
                start += 1
                while start < len(self.said) - 1 and self.said[start].role == ANSWERER:
                    start += 1
            elif example < len(self.examples):
                example += 1
            elif not exact:
                break
            else:
                raise UserError(
                    f"what you say has {n_tokens} tokens{' with the system message' if self.system else ''}, and there "
                    f"is room for {room}: say it shorter, or ask for fewer new tokens."
                )
        forgotten = Forgotten(start - self.n_forgotten, example - self.n_examples_forgotten)
        self.n_forgotten, self.n_examples_forgotten = start, example
        return forgotten

    def _from(self, start: int, example: int) -> list[Message]:
        """All but so many messages and examples."""
        system = [Message("system", self.system)] if self.system else []
        shown = [message for messages in self.examples[example:] for message in messages]
        return [*system, *shown, *self.said[start:]]
