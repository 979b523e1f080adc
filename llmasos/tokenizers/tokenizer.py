"""What every tokenizer is: a table from ids to bytes, and a rule that cuts a text into those ids.

    text --encode--> ids --decode--> text

The table is a list `tokens` with `tokens[id]` = the bytes this id stands for, special tokens included. Everything that
follows from the table (decoding, fingerprints, special tokens, positions) is written here once; a tokenizer adds the
rule, in `_encode_plain`, and how it is saved.

**Special tokens** are ids that no ordinary text produces, such as `<|endoftext|>`, which stands between documents. A
user who types `<|endoftext|>` gets the ids of those thirteen characters: otherwise anybody who can write a prompt could
end a document, or speak for the system, in the middle of it. Only who trusts the text says `allow_special=True`.

**Text that is not Unicode**: a Python `str` can hold a surrogate on its own (from a damaged file name, say), which has
no UTF-8 form. Each becomes U+FFFD, the replacement character, and a high and a low one in a row become the character
that they spell; tiktoken does the same.

**Lower case.** With `lowercase=True` a tokenizer lower-cases every text before it looks at it: fewer different words to
learn, and capitals are lost. `encode_with_offsets` still speaks of the text as it was given.
"""

import hashlib
import json
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from llmasos.errors import UserError
from llmasos.storage import write_json
from llmasos.tokenizers.offsets import Encoding, characters_of_bytes, continues_word, origins
from llmasos.tokenizers.pair_template import EncodedInput, build_inputs

END_OF_TEXT = "<|endoftext|>"
PAD, CLS, SEP, MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"  # BERT's; other tokenizers may have them too
CONFIG_FILE = "tokenizer_config.json"


class Tokenizer(ABC):
    """Text to ids and back.

        >>> from llmasos.tokenizers import train_tokenizer
        >>> tokenizer = train_tokenizer("bpe", ["the cat sat on the mat", "the cat ate"], vocab_size=262)
        >>> ids = tokenizer.encode("the mat")
        >>> [(id, tokenizer.token_bytes(id)) for id in ids]
        [(258, b'the'), (220, b' '), (76, b'm'), (256, b'at')]
        >>> tokenizer.decode(ids)
        'the mat'

    Attributes:
        kind: the name `train_tokenizer` and the saved files know it by: char, byte, bpe, wordpiece, gpt2, cl100k_base.
        vocab_size: ids are 0 ... vocab_size - 1, special tokens included.
        special_tokens: name to id; always holds `<|endoftext|>` (of WordPiece: BERT's five).
        lowercase: whether texts are lower-cased before they are encoded.
    """

    kind: str
    begin_of_text: int | None = None  # the id that a model of this tokenizer expects before a text, if any
    split_pattern: str | None = None  # the regular expression that cuts a text into words, if the kind has one

    def __init__(self, tokens: Sequence[bytes], special_tokens: dict[str, int], lowercase: bool = False):
        """Take the table.

        Arguments:
            tokens: the bytes of every id, special tokens included (theirs is the UTF-8 of their name).
            special_tokens: name to id.
            lowercase: whether to lower-case texts before they are encoded.
        """
        self._tokens = list(tokens)
        self.special_tokens = dict(special_tokens)
        self.lowercase = lowercase
        self.vocab_size = len(self._tokens)
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        self._special_pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`, which ends every document."""
        return self.special_tokens[END_OF_TEXT]

    @property
    def start_of_target(self) -> int:
        """The id after which an encoder–decoder begins to write: the same as `end_of_text`, but in Marian's models."""
        return self.end_of_text

    @property
    def pad_id(self) -> int:
        """The id that fills up the shorter rows of a batch: `[PAD]` if there is one, else 0. No model looks at it."""
        return self.special_tokens.get(PAD, 0)

    @property
    def unknown_id(self) -> int | None:
        """The id that stands in for what the vocabulary cannot spell; None if it can spell everything."""
        return None

    @cached_property
    def special_mask(self) -> np.ndarray:
        """For each id, whether it is a special token: (V,) bool."""
        mask = np.zeros(self.vocab_size, dtype=bool)
        mask[list(self.special_tokens.values())] = True
        return mask

    @cached_property
    def continues(self) -> np.ndarray:
        """For each id, whether it continues the word of the token before it: (V,) bool; False for special tokens.

        WordPiece writes `##` before such tokens; in the others the token's beginning decides (`spans.continues_word`).
        """
        return np.array([continues_word(token) for token in self._tokens]) & ~self.special_mask

    @abstractmethod
    def _encode_plain(self, text: str) -> np.ndarray:
        """Return the ids of a text that `_prepare` made, without special tokens: 1-D, uint32."""

    def _prepare(self, text: str) -> str:
        """Return `text` as it is to be encoded: without surrogates and, if so decided, in lower case."""
        return prepare(text, self.lowercase)

    def encode_array(self, text: str) -> np.ndarray:
        """Return the ids of a whole document as one array, 1-D uint32: the same ids as `encode`, without the list."""
        return self._encode_plain(self._prepare(text))

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Return the ids of `text`.

        Arguments:
            text: any string. Lone surrogates become U+FFFD.
            allow_special: whether names of special tokens in the text become those tokens. False (the safe choice for
                text from a user) encodes them like any other characters.
        """
        if not allow_special:
            return self.encode_array(text).tolist()
        ids = []
        for part in self._special_pattern.split(text):  # plain, special, plain, ..., special, plain
            ids += [self.special_tokens[part]] if part in self.special_tokens else self.encode(part)
        return ids

    def encode_prompt(self, text: str) -> list[int]:
        """Return the ids that a model reads before it goes on with `text`: at least one.

        `begin_of_text` stands before them if the model expects it. Of an empty text without it `<|endoftext|>` is read,
        after which a document begins. Special tokens spelled out in the text are plain text.
        """
        begin = [] if self.begin_of_text is None else [self.begin_of_text]
        return [*begin, *self.encode(text)] or [self.end_of_text]

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids that `encode(text)` gives, with where in `text` each stands and the word it belongs to.

        >>> from llmasos.tokenizers import train_tokenizer
        >>> tokenizer = train_tokenizer("bpe", ["the cat sat on the mat", "the cat ate"], vocab_size=262)
        >>> tokenizer.encode_with_offsets("the mat")
        Encoding(ids=[258, 220, 76, 256], starts=[0, 3, 4, 5], ends=[3, 4, 5, 7], words=[0, 1, 1, 1])
        """
        ids, first, last = self._locate(self._prepare(text))
        starts, ends = self._origins(text)
        new_word = ~self.continues[ids]
        new_word[:1] = False  # the first word is number 0, however it begins
        return Encoding(ids.tolist(), starts[first].tolist(), ends[last].tolist(), np.cumsum(new_word).tolist())

    def _origins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return where in `text` each character of the prepared text comes from (`spans.origins`)."""
        return origins(text, self._prepare)

    def _locate(self, prepared: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of a prepared text, and the first and the last character of it that each covers: all 1-D."""
        ids = self._encode_plain(prepared)
        sizes = np.array([len(self._tokens[id]) for id in ids], dtype=np.int64)
        after = np.cumsum(sizes)  # the byte after each token
        character = characters_of_bytes(prepared)
        return ids, character[after - sizes], character[after - 1]

    def build_inputs(self, first: Sequence[int], second: Sequence[int] | None = None) -> EncodedInput:
        """Frame one or two encoded texts for a model that reads them.

        With `[CLS]` and `[SEP]` among the special tokens the frame is BERT's, `[CLS] first [SEP] second [SEP]`;
        otherwise it is `first <|endoftext|> second <|endoftext|>`. The second text, and what closes it, may be absent.

        Arguments:
            first, second: ids, as `encode` gives them.
        """
        return build_inputs(first, second, *self._brackets())

    def n_special_tokens(self, n_texts: int) -> int:
        """Return how many tokens `build_inputs` adds to `n_texts` texts (1 or 2)."""
        opening, _ = self._brackets()
        return len(opening) + n_texts

    def _brackets(self) -> tuple[list[int], int]:
        """Return the ids that open a frame (one or none), and the id that closes each text."""
        if CLS in self.special_tokens and SEP in self.special_tokens:
            return [self.special_tokens[CLS]], self.special_tokens[SEP]
        return [], self.end_of_text

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Return the text of `ids`; bytes that are not UTF-8 (a model may sample half a character) become U+FFFD.

        Arguments:
            ids: a list, a 1-D array or a 1-D tensor of integers.
            skip_special: leave special tokens out instead of writing their names.

        Raises:
            UserError: an id outside 0 ... vocab_size - 1.
        """
        ids = _to_list(ids)
        if skip_special:
            special_ids = set(self.special_tokens.values())
            ids = [id for id in ids if id not in special_ids]
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of the text that `ids` stand for. Raises `UserError` for an id outside the vocabulary."""
        ids = _to_list(ids)
        if ids:
            self._check_id(min(ids))
            self._check_id(max(ids))
        return self._join(ids)

    def _join(self, ids: list[int]) -> bytes:
        return b"".join([self._tokens[id] for id in ids])

    def added_bytes(self, id: int, previous: int | None) -> bytes:
        """Return the bytes that token `id` adds to a text whose last token is `previous` (None: at its beginning).

        They are the token's own; only WordPiece, whose tokens hold no spaces, looks at the token before.

        Raises:
            UserError: an id outside the vocabulary.
        """
        return self.token_bytes(id)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes of one token; they need not be whole characters. Raises `UserError` as `decode` does."""
        id = operator.index(id)
        self._check_id(id)
        return self._tokens[id]

    def token_text(self, id: int) -> str:
        """Return the text of one token by itself: U+FFFD for a piece of a character, a special token's is its name.

        Raises:
            UserError: an id outside the vocabulary.
        """
        return self.token_bytes(id).decode("utf-8", errors="replace")

    def save(self, folder: Path | str) -> None:
        """Write the tokenizer into `folder` (made if needed) as JSON and text; `load_tokenizer` reads it back."""
        write_json(Path(folder) / CONFIG_FILE, self._config())

    def fingerprint(self) -> str:
        """Return the SHA-256 (64 hex digits) of everything that decides the ids; equal tokenizers have equal ones."""
        digest = hashlib.sha256(json.dumps(self._rules()).encode())
        for token in self._tokens:
            digest.update(len(token).to_bytes(4, "little") + token)
        return digest.hexdigest()

    def _rules(self) -> list[object]:
        """Return what decides the ids besides the table of tokens."""
        rules = [self.kind, self.split_pattern, sorted(self.special_tokens.items())]
        return [*rules, "lowercase"] if self.lowercase else rules

    def _config(self) -> dict[str, object]:
        """Return what `tokenizer_config.json` says."""
        config = {"kind": self.kind, "special_tokens": self.special_tokens, "fingerprint": self.fingerprint()}
        return config | {"lowercase": True} if self.lowercase else config

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kind={self.kind!r}, vocab_size={self.vocab_size})"

    def _check_id(self, id: int) -> None:
        if not 0 <= id < self.vocab_size:
            raise UserError(
                f"token id {id} is not in this {self.kind} vocabulary: ids go from 0 to {self.vocab_size - 1}; "
                "use the tokenizer that was saved with the model"
            )


def replace_surrogates(text: str) -> str:
    """Return `text` with each lone surrogate replaced by U+FFFD and each pair of them by the character it spells.

    >>> replace_surrogates("a\\ud800b"), replace_surrogates("\\ud83d\\ude00")
    ('a�b', '😀')
    """
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")


def prepare(text: str, lowercase: bool) -> str:
    """Return `text` without surrogates (as `replace_surrogates`) and, if asked, in lower case."""
    text = replace_surrogates(text)
    return text.lower() if lowercase else text


def number_special_tokens(names: Iterable[str], first_id: int) -> dict[str, int]:
    """Give special tokens the ids `first_id`, `first_id + 1`, ... in the order of their names.

    Raises:
        UserError: `<|endoftext|>` is not among the names, or a name is empty, repeated, or not text.
    """
    names = list(names)
    if not all(isinstance(name, str) and name and replace_surrogates(name) == name for name in names):
        raise UserError(f"special tokens {names!r} are not all names: each must be a non-empty piece of text")
    if len(set(names)) < len(names) or END_OF_TEXT not in names:
        raise UserError(f"special tokens {names} must differ from each other and include {END_OF_TEXT!r}")
    return {name: first_id + offset for offset, name in enumerate(names)}


def _to_list(ids: Iterable[int]) -> list[int]:
    """Return a list of Python integers from a list, an array or a tensor."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    return [operator.index(id) for id in ids]
