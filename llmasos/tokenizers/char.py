"""The character tokenizer: one id per character (Unicode code point) of the training documents.

Ids follow the code points: the smallest character is 0. After the characters come the special tokens, including
`<|unknown|>`, which encodes every character that was not in the training documents. So any text can be encoded, but
such a character does not survive the round trip. Tiny Shakespeare has 65 characters, hence 67 ids.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from llmasos.errors import UserError
from llmasos.storage import read_json, write_json
from llmasos.tokenizers.tokenizer import END_OF_TEXT, Tokenizer, number_special_tokens, prepare, replace_surrogates

UNKNOWN = "<|unknown|>"
VOCAB_FILE = "vocab.json"


class CharTokenizer(Tokenizer):
    """One id for each known character, then the special tokens.

    >>> CharTokenizer("abc").encode("cab!")       # 4 is <|unknown|>; 3 would be <|endoftext|>
    [2, 0, 1, 4]
    """

    kind = "char"

    def __init__(
        self,
        characters: Iterable[str],
        special_tokens: Iterable[str] = (END_OF_TEXT, UNKNOWN),
        lowercase: bool = False,
    ):
        """Number the characters by code point, and the special tokens after them.

        Args:
            characters: the known characters; order and repetitions do not matter.
            special_tokens: their names, in the order of their ids; `<|unknown|>` is added if it is not among them.
            lowercase: whether to lower-case texts before they are encoded.

        Raises:
            UserError: no characters at all.
        """
        self.characters = "".join(sorted(set(characters)))
        if not self.characters:
            raise UserError("a character tokenizer needs text to learn its characters from, but the text is empty.")
        names = list(special_tokens)
        special = number_special_tokens(names if UNKNOWN in names else [*names, UNKNOWN], len(self.characters))
        super().__init__([token.encode() for token in [*self.characters, *special]], special, lowercase)
        # The id of every code point (1.1 million, 4 MB): encoding a document is a single array lookup.
        self._id_of_code_point = np.full(0x110000, special[UNKNOWN], dtype=np.uint32)
        self._id_of_code_point[_code_points(self.characters)] = np.arange(len(self.characters))

    @classmethod
    def train(
        cls,
        documents: Iterable[str],
        vocab_size: int | None = None,
        special_tokens: Iterable[str] = (END_OF_TEXT, UNKNOWN),
        lowercase: bool = False,
    ) -> "CharTokenizer":
        """Learn the characters of `documents`.

        Args:
            documents: the training texts, each read once.
            vocab_size: the maximum number of ids, including the special tokens; the most frequent characters are kept
                (ties: the smaller code point). None keeps all.
            special_tokens: their names, in the order of their ids.
            lowercase: whether to lower-case the training texts and all texts that are encoded later.

        Raises:
            UserError: there is no text, or the vocabulary has no room for a character.
        """
        counts: Counter[str] = Counter()
        for document in documents:
            counts.update(prepare(document, lowercase))
        names = list(special_tokens)
        n_special = len(names) + (UNKNOWN not in names)
        if vocab_size is not None and vocab_size <= n_special:
            raise UserError(
                f"vocab_size {vocab_size} is too small: {n_special} special tokens and at least one character "
                f"need {n_special + 1}."
            )
        most_frequent = sorted(counts, key=lambda character: (-counts[character], character))
        return cls(most_frequent if vocab_size is None else most_frequent[: vocab_size - n_special], names, lowercase)

    @property
    def unknown_id(self) -> int:
        """The id of `<|unknown|>`, which encodes every unknown character."""
        return self.special_tokens[UNKNOWN]

    def save(self, folder: Path | str) -> None:
        """Write `vocab.json` (character to id) and `tokenizer_config.json` into `folder`."""
        write_json(Path(folder) / VOCAB_FILE, {character: id for id, character in enumerate(self.characters)})
        super().save(folder)

    @classmethod
    def load(cls, folder: Path | str, special_tokens: Iterable[str], lowercase: bool = False) -> "CharTokenizer":
        """Read `vocab.json` from `folder`.

        Raises:
            UserError: the file is missing or was not written by `save`.
        """
        path = Path(folder) / VOCAB_FILE
        ids = read_json(path)
        is_valid = isinstance(ids, dict) and all(len(c) == 1 and replace_surrogates(c) == c for c in ids)
        if not is_valid or ids != {character: id for id, character in enumerate(sorted(ids))}:
            raise UserError(
                f"{path} is damaged: expected each character with its id, 0, 1, 2, ... in the order of their code "
                "points; copy it again or train the tokenizer again."
            )
        return cls(ids, special_tokens, lowercase)

    def _encode_ordinary(self, text: str) -> np.ndarray:
        return self._id_of_code_point[_code_points(text)]

    def _locate(self, prepared: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position = np.arange(len(prepared))  # every token is one character, `<|unknown|>` too
        return self._encode_ordinary(prepared), position, position


def _code_points(text: str) -> np.ndarray:
    """Return the code point of each character: 1-D, uint32."""
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
