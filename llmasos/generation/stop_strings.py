"""Stop strings: which part of a growing text is final, and whether the text has ended.

Two things must be held back: bytes that are not yet a complete character (`tokenizers/incremental_detokenizer.py`), and
text that may be the beginning of a stop string. If the stop string is "\\n\\n", a newline can only be shown once the
next character is known and is not a newline. So a stop string is never shown, however it is split into tokens.
"""

from collections.abc import Sequence

from llmasos.generation.options import SamplingOptions
from llmasos.tokenizers.incremental_detokenizer import IncrementalDetokenizer
from llmasos.tokenizers.tokenizer import Tokenizer


class SequenceStream:
    """Turns the ids of one sequence into text, and detects its end.

    Args:
        tokenizer: decodes the ids.
        options: determine where to stop; see `prepare`, which adds the tokens that end the model's texts.
        prompt: the tokens before the sequence.
    """

    def __init__(self, tokenizer: Tokenizer, options: SamplingOptions, prompt: Sequence[int] = ()):
        self._text = TextStream(tokenizer, options.stop, prompt[-1] if prompt else None)
        self._stop_ids = frozenset(options.stop_token_ids)
        self._n_left = options.max_new_tokens

    def push(self, id: int) -> tuple[str, str | None]:
        """Add the next id.

        Returns:
            The text that is now final, and the finish reason: None while the sequence continues, "stop" (one of
            `stop_token_ids`, or a stop string) or "length" (max_new_tokens).
        """
        self._n_left -= 1
        text, reason = self._text.push(id), None
        if id in self._stop_ids or self._text.stopped:
            reason = "stop"
        elif self._n_left == 0:
            reason = "length"
        return text if reason is None else text + self._text.close(), reason

    def close(self) -> str:
        """End the sequence early: return the text that is still held back."""
        return self._text.close()


class TextStream:
    """Turns the ids of one sequence into pieces of text that never have to be retracted.

    The text ends just before the stop string that is complete first (of several that end at the same character, the
    longest). This depends on the text alone, not on how it is split into tokens.

        stream = TextStream(tokenizer, stop=("END",))
        [stream.push(id) for id in tokenizer.encode("to be E")]     # …, "b", "e", " ", "": the E is held back
        stream.close()                                             # "E": no stop string after all

    Args:
        tokenizer: decodes the ids. Special tokens have no text.
        stop: the stop strings, none of them empty.
        previous: the last token of the text that the sequence continues; None = it begins a text.

    Attributes:
        stopped: whether a stop string is complete.
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = (), previous: int | None = None):
        self.stopped = False
        self._detokenizer = IncrementalDetokenizer(tokenizer, skip_special=True, previous=previous)
        self._stop = stop
        self._held = ""

    def push(self, id: int) -> str:
        """Add the next id and return the text that is now final. Sets `stopped` when a stop string is complete."""
        return self._release(self._detokenizer.push(id))

    def close(self) -> str:
        """End the text: return what is still held back, with U+FFFD for a character that was cut off."""
        piece = self._release(self._detokenizer.flush())
        rest, self._held = self._held, ""
        return piece + rest

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        matches = [(start + len(stop), start) for stop in self._stop if (start := self._held.find(stop)) >= 0]
        if matches:
            self.stopped = True
            piece, self._held = self._held[: min(matches)[1]], ""
            return piece
        n_final = len(self._held) - self._n_ambiguous()
        piece, self._held = self._held[:n_final], self._held[n_final:]
        return piece

    def _n_ambiguous(self) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for n in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-n:]) for stop in self._stop):
                return n
        return 0
