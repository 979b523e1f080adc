"""The byte tokenizer: a text is its UTF-8 bytes. Nothing is learned, and nothing can be unknown.

Id b is the byte b (0 ... 255), and the special tokens follow from 256. English takes one id per character, as with the
character tokenizer; other scripts take two to four ids per character, which BPE then shortens.
"""

from collections.abc import Iterable

import numpy as np

from llmasos.tokenizers.tokenizer import END_OF_TEXT, Tokenizer, number_special_tokens


class ByteTokenizer(Tokenizer):
    """The 256 bytes and the special tokens.

    >>> ByteTokenizer().encode("hé")
    [104, 195, 169]
    """

    kind = "byte"

    def __init__(self, special_tokens: Iterable[str] = (END_OF_TEXT,), lowercase: bool = False):
        """Number the special tokens from 256.

        Args:
            special_tokens: their names, in the order of their ids.
            lowercase: whether to lower-case texts before they are encoded.
        """
        special = number_special_tokens(special_tokens, first_id=256)
        tokens = [bytes([value]) for value in range(256)] + [name.encode() for name in special]
        super().__init__(tokens, special, lowercase)

    def _encode_ordinary(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.uint32)
