"""The base of the tokenizers that encode with a `tiktoken.Encoding`, safe for any text.

tiktoken (in Rust) splits a text into words with a regular expression and applies the merges to each word. Its regular
expression engine panics, in a way that Python cannot catch as an `Exception`, on a run of a million spaces followed by
a letter. `_safe_parts` therefore splits a text inside such runs, where the expression ends a word anyway, so that the
ids stay the same.
"""

import itertools
from collections.abc import Iterable

import numpy as np
import regex
import tiktoken

from llmasos.errors import UserError
from llmasos.tokenizers.added_tokens import AddedToken
from llmasos.tokenizers.tokenizer import Tokenizer

LONG_RUN = 100_000  # characters; the engine can handle more than 600,000
_LONG_RUNS = regex.compile(rf"(?<!\s)\s{{{LONG_RUN},}}+(?=\S)")  # a whole run of Unicode white space


class TiktokenTokenizer(Tokenizer):
    """A tokenizer that encodes text with `self.encoding`.

    Attributes:
        encoding: the `tiktoken.Encoding`, for direct access to more of its methods.
    """

    newlines_end_words = False  # whether the split pattern ends a match of white space after its last newline

    def __init__(
        self,
        encoding: tiktoken.Encoding,
        tokens: list[bytes],
        special_tokens: dict[str, int],
        lowercase: bool = False,
        added_tokens: Iterable[AddedToken] = (),
    ):
        """Store the encoding and the token table.

        Args:
            encoding: splits a text into words and merges their bytes.
            tokens, special_tokens, lowercase, added_tokens: as for `Tokenizer`.
        """
        super().__init__(tokens, special_tokens, lowercase, added_tokens)
        self.encoding = encoding

    def _encode_ordinary(self, text: str) -> np.ndarray:
        parts = self._safe_parts(text)
        try:
            return np.concatenate([self.encoding.encode_to_numpy(part, disallowed_special=()) for part in parts])
        except ValueError as error:  # the engine of the regular expression has given up
            raise UserError(f"the tokenizer's pattern cannot split this text into words ({error}).") from error

    def _safe_parts(self, text: str) -> list[str]:
        """Split `text` so that no part has a very long run of spaces before a word.

        It is only split where the split pattern splits it too. The pattern ends a match before the last space of a run,
        since that space belongs to the next word. With `newlines_end_words` it also ends one after the run's last
        newline; then the first rule applies to the rest.
        """
        half = LONG_RUN // 2  # a long run fills at least one block of this size: most texts need no search
        if not any(text[start : start + half].isspace() for start in range(0, len(text), half)):
            return [text]
        cuts = {0, len(text)}
        for run in _LONG_RUNS.finditer(text):
            start, end = run.span()
            if self.newlines_end_words:
                start = max(start, text.rfind("\n", start, end) + 1, text.rfind("\r", start, end) + 1)
            cuts |= {start, max(start, end - 1)}
        return [text[start:end] for start, end in itertools.pairwise(sorted(cuts))]
