"""The text of one row while it grows: what may be shown already, and whether a stop string has ended it.

Two things must be held back: bytes that are not yet a whole character (that is `tokenizers/streaming.py`), and text
that may turn out to be the beginning of a stop string. If the stop string is "\\n\\n", a newline can only be shown when
the next character is there and is not a newline. So a stop string is never seen, however it is cut into tokens.
"""

from llmasos.tokenizers.base import Tokenizer
from llmasos.tokenizers.streaming import StreamDecoder


class TextStream:
    """Turns the ids of one row into pieces of text that never have to be taken back.

    The text ends just before the stop string that is complete first (of several that end at the same character, the
    longest). This depends on the text alone, not on how it was cut into tokens.

        stream = TextStream(tokenizer, stop=("END",))
        [stream.push(id) for id in tokenizer.encode("to be E")]     # …, "b", "e", " ", "": the E is held back
        stream.close()                                             # "E": no stop string after all
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()):
        """Args:
        tokenizer: what the ids belong to. Special tokens have no text.
        stop: the stop strings, none of them empty.
        """
        self.stopped = False
        self._decoder = StreamDecoder(tokenizer, skip_special=True)
        self._stop = stop
        self._held = ""

    def push(self, id: int) -> str:
        """Take the next id and return the text that is now certain. Sets `stopped` when a stop string is complete."""
        return self._release(self._decoder.push(id))

    def close(self) -> str:
        """There are no more ids: return what is still held back, with U+FFFD for a character that was cut off."""
        piece = self._release(self._decoder.flush())
        rest, self._held = self._held, ""
        return piece + rest

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        found = [(start + len(stop), start) for stop in self._stop if (start := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            piece, self._held = self._held[: min(found)[1]], ""
            return piece
        certain = len(self._held) - self._n_doubtful()
        piece, self._held = self._held[:certain], self._held[certain:]
        return piece

    def _n_doubtful(self) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for n in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-n:]) for stop in self._stop):
                return n
        return 0
