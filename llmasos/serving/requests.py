"""A request for text while the engine works on it: the model's thread adds tokens, and a reader waits for them."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from llmasos.errors import UserError, is_out_of_memory
from llmasos.generation import SequenceState
from llmasos.generation.stop_strings import SequenceStream


class QueueFull(UserError):
    """The queue has no room for this request.

    Attributes:
        retry_after: the seconds after which it is worth trying again.
    """

    def __init__(self, message: str, retry_after: float):
        super().__init__(message)
        self.retry_after = retry_after


class ShuttingDown(UserError):
    """The engine is shutting down and accepts no more work."""


class RequestFailed(RuntimeError):
    """The forward pass failed; the message says why."""


def failure(error: Exception) -> Exception:
    """The exception that ends the requests of a batch whose step raised an error."""
    return error if is_out_of_memory(error) else RequestFailed(f"the forward pass failed: {error}.")


class GeneratedToken(NamedTuple):
    """One generated token, or one of a prompt.

    Attributes:
        id: the token.
        text: its own text; U+FFFD for a part of a character. A special token has its name, which is not part of the
            generated text.
        logprob: the natural logarithm of its probability under the model; None for the first token of a prompt.
        alternatives: the most likely tokens at this position, each (id, text, logprob), most likely first.
    """

    id: int
    text: str
    logprob: float | None
    alternatives: tuple[tuple[int, str, float], ...] = ()


class Event(NamedTuple):
    """The news since the last event.

    Attributes:
        text: the text that can be shown now. It may lag behind the tokens (an incomplete character, or a possible
            beginning of a stop string).
        tokens: the new token, or several if the reader is slower than the model.
        finish_reason: None while the request is running; at the end "stop" or "length", or "cancelled".
        warnings: sentences for the user.
    """

    text: str
    tokens: tuple[GeneratedToken, ...]
    finish_reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(eq=False)
class GenerationRequest(SequenceState):
    """A sequence that a client waits for. Made by `Engine.submit`; only the engine uses the fields of `SequenceState`.

    Attributes:
        stream: the stream that turns this request's tokens into text.
        n_alternatives: the number of alternatives to record for each token.
        deadline: the time by which the request must have ended, on the clock of `time.monotonic`.
        text, tokens, warnings, finish_reason: the result, complete once the request has ended.
        context_shift_reported: whether a warning about a full context has been sent.
    """

    stream: SequenceStream | None = None
    n_alternatives: int = 0
    deadline: float = float("inf")
    text: str = ""
    tokens: list[GeneratedToken] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    cancelled: bool = False
    context_shift_reported: bool = False
    submitted: float = field(default_factory=time.monotonic)

    def __post_init__(self):
        self._changed = threading.Condition()  # for readers of the stream
        self._ended = threading.Event()  # for readers of the whole result, which need not wake up for every token
        self._delivered = (0, 0, 0)  # how many characters, tokens and warnings the reader already has
        self._error: Exception | None = None

    @property
    def n_prompt_tokens(self) -> int:
        """How many tokens of the prompt the model reads."""
        return len(self.prompt)

    @property
    def ended(self) -> bool:
        """Whether the request has finished or failed."""
        return self.finish_reason is not None or self._error is not None

    # For the reader

    def events(self) -> Iterator[Event]:
        """Yield new text and tokens as they are generated, blocking in between. The last event has a finish_reason.

        Raises:
            QueueFull, ShuttingDown, RequestFailed: the request could not be carried out.
        """
        while True:
            with self._changed:
                self._changed.wait_for(self._has_event)
                n_characters, n_tokens, n_warnings = self._delivered
                self._delivered = len(self.text), len(self.tokens), len(self.warnings)
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

    def wait_for_event(self, seconds: float) -> bool:
        """Wait at most this long until `events` has something to yield. Returns whether it has."""
        with self._changed:
            return self._changed.wait_for(self._has_event, seconds)

    def _has_event(self) -> bool:
        return self.ended or len(self.tokens) > self._delivered[1]

    def wait(self, seconds: float) -> bool:
        """Wait at most this long for the end. Returns whether the request has ended."""
        return self._ended.wait(seconds)

    def result(self) -> "GenerationRequest":
        """Wait for the end and return the request, now complete. Raises as `events` does."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self

    def cancel(self) -> None:
        """Give up the rest: the engine evicts the request at its next step. May be called from any thread, any time."""
        self.cancelled = True

    # For the engine

    def add_token(
        self, token: GeneratedToken, text: str, finish_reason: str | None, warnings: tuple[str, ...] = ()
    ) -> None:
        """Append a token and the text that it completes; `finish_reason` is set if it is the last one."""
        with self._changed:
            self.tokens.append(token)
            self.text += text
            self.warnings += warnings
            self.finish_reason = finish_reason
            self._notify()

    def finish(self, finish_reason: str, warning: str | None = None) -> None:
        """End the request without another token."""
        with self._changed:
            if self.stream is not None:
                self.text += self.stream.close()
            self.warnings += [warning] if warning else []
            self.finish_reason = finish_reason
            self._notify()

    def fail(self, error: Exception) -> None:
        """End the request without a result; its readers get the error."""
        with self._changed:
            self._error = error
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        if self.ended:
            self._ended.set()
