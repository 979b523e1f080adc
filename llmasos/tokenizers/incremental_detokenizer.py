"""Text as it is generated: a decoder that is fed one id at a time and never shows half a character.

A token is bytes, and a character may span tokens: 😀 is four bytes and, in a small vocabulary, four ids. Decoding each
id on its own would print four replacement characters. The stream decoder holds bytes back until they are complete
UTF-8.
"""

import codecs

from llmasos.tokenizers.tokenizer import Tokenizer


class IncrementalDetokenizer:
    """Decodes ids one by one; the pieces, joined, are what `tokenizer.decode` returns for all of them.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> decoder = IncrementalDetokenizer(ByteTokenizer())
    >>> [decoder.push(id) for id in (104, 195, 169)] + [decoder.flush()]
    ['h', '', 'é', '']
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False):
        """Begin with nothing held back.

        Arguments:
            tokenizer: what the ids belong to.
            skip_special: leave special tokens out instead of writing their names.
        """
        self._tokenizer = tokenizer
        self._skipped = set(tokenizer.special_tokens.values()) if skip_special else set()
        self._previous: int | None = None  # the last token that was not skipped
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Take one id and return the text that is now complete (often "", in the middle of a character).

        Raises:
            UserError: the id is not in the vocabulary.
        """
        if int(id) in self._skipped:
            return ""
        added = self._tokenizer.added_bytes(id, self._previous)
        self._previous = int(id)
        return self._utf8.decode(added)

    def flush(self) -> str:
        """Return what is still held back, as U+FFFD, and be ready for a new stream."""
        self._previous = None
        return self._utf8.decode(b"", final=True)
