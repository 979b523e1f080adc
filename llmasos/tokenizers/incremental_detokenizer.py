"""Incremental detokenization: text while it is generated, one id at a time, without partial characters.

A token is a string of bytes, and a character may span tokens: 😀 is four bytes and, in a small vocabulary, four ids.
Decoding each id on its own would print four replacement characters. The detokenizer buffers bytes until they are
complete UTF-8.
"""

import codecs

from llmasos.tokenizers.tokenizer import Tokenizer


class IncrementalDetokenizer:
    """Decode ids one by one; the pieces concatenated are what `tokenizer.decode` returns for all of them.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> detokenizer = IncrementalDetokenizer(ByteTokenizer())
    >>> [detokenizer.push(id) for id in (104, 195, 169)] + [detokenizer.flush()]
    ['h', '', 'é', '']
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False, previous: int | None = None):
        """Start with an empty buffer.

        Args:
            tokenizer: the tokenizer of the ids.
            skip_special: omit special tokens instead of writing their names.
            previous: the last token of the text that they continue; None = they begin a text.
        """
        self._tokenizer = tokenizer
        self._skipped = set(tokenizer.special_tokens.values()) if skip_special else set()
        is_special = previous is not None and tokenizer.special_mask[previous]
        self._previous = None if is_special else previous  # the last token that was not skipped
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Add one id and return the text that is now complete (often "", in the middle of a character).

        Raises:
            UserError: the id is not in the vocabulary.
        """
        if int(id) in self._skipped:
            return ""
        added = self._tokenizer.added_bytes(id, self._previous)
        self._previous = int(id)
        return self._utf8.decode(added)

    def flush(self) -> str:
        """Return an incomplete character still in the buffer as U+FFFD, and reset for a new text."""
        self._previous = None
        return self._utf8.decode(b"", final=True)
