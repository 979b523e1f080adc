"""What tokenizers run by tiktoken share: encoding by a `tiktoken.Encoding`, whatever the text.

tiktoken (in Rust) cuts a text into words with a regular expression and applies the merges to each word. Its regular
expression engine gives up, with a panic that Python cannot catch as an `Exception`, on a run of a million blanks that
is followed by a letter. `_safe_parts` therefore cuts a text inside such runs, at places where the expression ends a
word anyway, so that the ids stay the same.
"""

import itertools

import numpy as np
import regex
import tiktoken

from llmasos.tokenizers.tokenizer import Tokenizer

LONG_RUN = 100_000  # characters; the engine copes with more than 600,000
_LONG_BLANKS = regex.compile(rf"(?<!\s)\s{{{LONG_RUN},}}+(?=\S)")  # a whole run, of the blanks that Unicode calls such


class TiktokenTokenizer(Tokenizer):
    """A tokenizer whose text is encoded by `self.encoding`.

    Attributes:
        encoding: the `tiktoken.Encoding`, for those who want more of it than a `Tokenizer` offers.
    """

    newlines_end_words = False  # whether the split pattern ends a piece of white space after its last newline

    def __init__(
        self,
        encoding: tiktoken.Encoding,
        tokens: list[bytes],
        special_tokens: dict[str, int],
        lowercase: bool = False,
    ):
        """Take an encoding and its table.

        Arguments:
            encoding: what cuts a text into words and merges their bytes.
            tokens, special_tokens, lowercase: as for `Tokenizer`.
        """
        super().__init__(tokens, special_tokens, lowercase)
        self.encoding = encoding

    def _encode_plain(self, text: str) -> np.ndarray:
        parts = self._safe_parts(text)
        return np.concatenate([self.encoding.encode_to_numpy(part, disallowed_special=()) for part in parts])

    def _safe_parts(self, text: str) -> list[str]:
        """Cut `text`, only where the split pattern cuts too, so that no part has endless blanks before a word.

        The pattern ends a piece before the last blank of a run, as this one belongs to the word that follows. With
        `newlines_end_words` it also ends one after the run's last newline; then that rule holds for the rest of it.
        """
        half = LONG_RUN // 2  # a long run covers one of the blocks of this size completely: most texts need no search
        if not any(text[start : start + half].isspace() for start in range(0, len(text), half)):
            return [text]
        cuts = {0, len(text)}
        for run in _LONG_BLANKS.finditer(text):
            start, end = run.span()
            if self.newlines_end_words:
                start = max(start, text.rfind("\n", start, end) + 1, text.rfind("\r", start, end) + 1)
            cuts |= {start, max(start, end - 1)}
        return [text[start:end] for start, end in itertools.pairwise(sorted(cuts))]
