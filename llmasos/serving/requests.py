"""One request for text while it is worked on: what the model's thread writes into it, and what its reader waits for."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from llmasos.errors import UserError
from llmasos.generation import SequenceState
from llmasos.generation.stop_strings import RowStream


class Busy(UserError):
    """There is more to do than can be done now.

    Attributes:
        retry_after: after how many seconds it is worth asking again.
    """

    def __init__(self, message: str, retry_after: float):
        super().__init__(message)
        self.retry_after = retry_after


class Stopping(UserError):
    """The server is going down and takes no more work."""


class RequestFailed(RuntimeError):
    """The model could not be computed; the message says why."""


class GeneratedToken(NamedTuple):
    """One token that was written.

    Attributes:
        id: the token.
        text: its own text, U+FFFD for a part of a character. A special token's is its name, which belongs to no text.
        logprob: ln of the probability that the model gave it.
        alternatives: the likeliest tokens at this place, each (id, text, logprob), the likeliest first.
    """

    id: int
    text: str
    logprob: float
    alternatives: tuple[tuple[int, str, float], ...] = ()


class Event(NamedTuple):
    """What is new since the last event.

    Attributes:
        text: what can be shown now. It may lag behind the tokens (half a character, perhaps the beginning of a stop
            string).
        tokens: one or, if the reader is slower than the model, several.
        finish_reason: None while it goes on; "stop" or "length" at the end, "cancelled" if nobody wanted it any more.
        warnings: sentences for a person.
    """

    text: str
    tokens: tuple[GeneratedToken, ...]
    finish_reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(eq=False)
class GenerationRequest(SequenceState):
    """A row that somebody waits for. Made by `Engine.submit`; the attributes of `SequenceState` are for the engine alone.

    Attributes:
        stream: turns tokens into text; made for this request.
        n_alternatives: how many alternatives to note for each token.
        deadline: when it must have ended, by `time.monotonic`.
        text, tokens, warnings, finish_reason: the result, complete when it has ended.
    """

    stream: RowStream | None = None
    n_alternatives: int = 0
    deadline: float = float("inf")
    text: str = ""
    tokens: list[GeneratedToken] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    cancelled: bool = False
    told_full: bool = False  # whether its reader has been told that the context is full
    submitted: float = field(default_factory=time.monotonic)

    def __post_init__(self):
        self._changed = threading.Condition()  # for those who read along
        self._end = threading.Event()  # for those who wait for the end, and need not wake up before
        self._shown = (0, 0, 0)  # how many characters, tokens and warnings the reader has
        self._error: Exception | None = None

    @property
    def n_prompt_tokens(self) -> int:
        """How many tokens of the prompt the model reads."""
        return len(self.prompt)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.finish_reason is not None or self._error is not None

    # For whoever asked

    def events(self) -> Iterator[Event]:
        """What is written, as it is written; blocks until there is something. The last event has a finish_reason.

        Raises:
            Busy, Stopping, RequestFailed: the request could not be carried out.
        """
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
                n_characters, n_tokens, n_warnings = self._shown
                self._shown = len(self.text), len(self.tokens), len(self.warnings)
                event = Event(
                    self.text[n_characters:],
                    tuple(self.tokens[n_tokens:]),
                    self.finish_reason,
                    tuple(self.warnings[n_warnings:]),
                )
                error = self._error
            if error is not None:
                raise error
            yield event
            if event.finish_reason is not None:
                return

    def news(self, seconds: float) -> bool:
        """Wait until `events` has something to tell, but no longer than this. Returns whether it has."""
        with self._changed:
            return self._changed.wait_for(self._has_news, seconds)

    def _has_news(self) -> bool:
        return self.ended or len(self.tokens) > self._shown[1]

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but no longer than this. Returns whether it has come."""
        return self._end.wait(seconds)

    def result(self) -> "GenerationRequest":
        """Wait for the end; then the result is complete. Raises as `events` does."""
        self._end.wait()
        if self._error is not None:
            raise self._error
        return self

    def cancel(self) -> None:
        """Nobody wants the rest: it leaves the batch at the next step. From any thread, at any time."""
        self.cancelled = True

    # For the engine

    def write(self, token: GeneratedToken, text: str, finish_reason: str | None, warnings: tuple[str, ...] = ()) -> None:
        """One more token, and how it ends with it."""
        with self._changed:
            self.tokens.append(token)
            self.text += text
            self.warnings += warnings
            self.finish_reason = finish_reason
            self._tell()

    def end(self, finish_reason: str, warning: str | None = None) -> None:
        """It ends without another token."""
        with self._changed:
            self.text += self.stream.close()
            self.warnings += [warning] if warning else []
            self.finish_reason = finish_reason
            self._tell()

    def fail(self, error: Exception) -> None:
        """It ends without a result."""
        with self._changed:
            self._error = error
            self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        if self.ended:
            self._end.set()
