"""The base class of all tokenizers: a table from ids to bytes, and a rule that splits a text into those ids.

    text --encode--> ids --decode--> text

The table is a list `tokens`, where `tokens[id]` holds the bytes of this id, special tokens included. Everything that
follows from the table (decoding, fingerprints, special tokens, offsets) is implemented here once; a subclass adds the
rule, in `_encode_ordinary`, and how it is saved.

**Special tokens** are ids that no ordinary text produces, such as `<|endoftext|>`, which separates documents. If a
user types `<|endoftext|>`, it is encoded as those thirteen characters: otherwise anyone who writes a prompt could end
the document, or impersonate the system, in the middle of it. Pass `allow_special=True` only for text you trust.

A tokenizer can also have **added tokens** that any text may contain (`added_tokens`): words that were added to a
published model's vocabulary after training. Both types are matched first, and the parts of the text between them are
encoded separately.

**Text that is not Unicode.** A Python `str` can hold a lone surrogate (from a damaged file name, say), which has no
UTF-8 encoding. Each becomes U+FFFD, the replacement character, and a high one followed by a low one becomes the
character that they encode; tiktoken does the same.

**Lower case.** With `lowercase=True` a tokenizer lower-cases every text first: there are fewer distinct words to learn,
but capitals are lost. The offsets of `encode_with_offsets` still refer to the original text.
"""

import hashlib
import json
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np

from llmasos.errors import UserError, check_number, shown
from llmasos.storage import read_json, write_json, write_text
from llmasos.tokenizers.added_tokens import AddedToken, AddedTokenMatcher
from llmasos.tokenizers.encode_iterable import encode_iterable
from llmasos.tokenizers.offsets import Encoding, characters_of_bytes, continues_word, origins
from llmasos.tokenizers.pair_template import EncodedInput, build_inputs

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>")  # in the chat formats of published models
PAD, CLS, SEP, MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"  # BERT's; other tokenizers may have them too
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"


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
        kind: the name used by `train_tokenizer` and in saved files: char, byte, bpe, wordpiece, gpt2, cl100k_base.
        vocab_size: ids are 0 ... vocab_size - 1, special tokens included.
        special_tokens: name to id; always includes `<|endoftext|>` (WordPiece: BERT's five instead).
        lowercase: whether texts are lower-cased before they are encoded.
        added_tokens: the special tokens and all others that are looked for in a text first (see `added_tokens`).
    """

    kind: str
    encodes_in_python = False  # and not in a library or by numpy: then more processes help, and threads do not
    begin_of_text: int | None = None  # the id that the model expects before a text, if any
    chat_template: str | None = None  # the Jinja template of a published model
    roles: Mapping[str, str] = MappingProxyType({})  # names of special tokens by their roles: bos_token, eos_token, …
    split_pattern: str | None = None  # the regular expression that splits a text into words, if any

    def __init__(
        self,
        tokens: Sequence[bytes],
        special_tokens: dict[str, int],
        lowercase: bool = False,
        added_tokens: Iterable[AddedToken] = (),
    ):
        """Store the token table.

        Args:
            tokens: the bytes of every id, special and added tokens included (for these, the UTF-8 of their name).
            special_tokens: name to id.
            lowercase: whether to lower-case texts before they are encoded.
            added_tokens: further names that are looked for in texts, and special tokens with further properties.
        """
        self._tokens = list(tokens)
        self.special_tokens = dict(special_tokens)
        self.lowercase = lowercase
        self.vocab_size = len(self._tokens)
        named = {name: AddedToken(name, id) for name, id in self.special_tokens.items()}
        named |= {token.content: token for token in added_tokens}
        self.added_tokens = list(named.values())

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`, which ends every document."""
        return self.special_tokens[END_OF_TEXT]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end a generated text: `end_of_text`, and in the tokenizer of a chat model its end of a turn."""
        turns = (self.special_tokens[name] for name in END_OF_TURN if name in self.special_tokens)
        return tuple(dict.fromkeys((self.end_of_text, *turns)))

    @property
    def start_of_target(self) -> int:
        """The id that starts a decoder's output in an encoder–decoder: `end_of_text`, except in Marian's models."""
        return self.end_of_text

    @property
    def pad_id(self) -> int:
        """The id that pads the shorter sequences of a batch: `[PAD]` if there is one, else 0. Models mask it out."""
        return self.special_tokens.get(PAD, 0)

    @property
    def unknown_id(self) -> int | None:
        """The id for text that the vocabulary cannot represent; None if it can represent everything."""
        return None

    @cached_property
    def special_mask(self) -> np.ndarray:
        """For each id, whether it is a special token: (V,) bool."""
        mask = np.zeros(self.vocab_size, dtype=bool)
        mask[list(self.special_tokens.values())] = True
        return mask

    @cached_property
    def continues(self) -> np.ndarray:
        """For each id, whether it continues the word of the previous token: (V,) bool; False for special tokens.

        WordPiece marks such tokens with `##`; elsewhere a token's first character decides (`offsets.continues_word`).
        """
        return np.array([continues_word(token) for token in self._tokens]) & ~self.special_mask

    @abstractmethod
    def _encode_ordinary(self, text: str) -> np.ndarray:
        """Return the ids of a text from `_prepare`, without special tokens: 1-D, uint32."""

    def _prepare(self, text: str) -> str:
        """Return `text` without surrogates and, if `lowercase` is set, in lower case."""
        return prepare(text, self.lowercase)

    @cached_property
    def _matcher(self) -> AddedTokenMatcher:
        """Finds the added tokens that are matched in the unmodified text."""
        return AddedTokenMatcher(token for token in self.added_tokens if not token.normalized)

    @cached_property
    def _normalized_matcher(self) -> AddedTokenMatcher:
        """Finds the others, in the prepared text."""
        return AddedTokenMatcher((token for token in self.added_tokens if token.normalized), self._prepare)

    def encode_array(self, text: str, allow_special: bool = False, ordinary: Sequence[int] = ()) -> np.ndarray:
        """Return the same ids as `encode` as an array, 1-D uint32, which suits whole documents."""
        parts: list[np.ndarray] = [np.zeros(0, dtype=np.uint32)]
        for start, end, id in self._matcher.split(text, allow_special, ordinary):
            if id is not None:
                parts.append(np.array([id], dtype=np.uint32))
                continue
            prepared = self._prepare(text[start:end])
            allowed = allow_special and not any(start <= place < end for place in ordinary)
            for first, last, id in self._normalized_matcher.split(prepared, allowed):
                if id is not None:
                    parts.append(np.array([id], dtype=np.uint32))
                else:
                    space = self._space_before(prepared[first:last], start == first == 0)
                    parts.append(self._encode_ordinary(space + prepared[first:last]))
        return np.concatenate(parts)

    def _space_before(self, part: str, is_first: bool) -> str:
        """Return what is put before an ordinary part of a prepared text: nothing, or the space of its first word."""
        return ""

    def encode(self, text: str, allow_special: bool = False, ordinary: Sequence[int] = ()) -> list[int]:
        """Return the ids of `text`.

        Args:
            text: any string. Lone surrogates become U+FFFD.
            allow_special: whether names of special tokens in the text become those tokens. False, the safe choice for
                a user's text, encodes them like any other characters.
            ordinary: indices of characters that never belong to a special token, even then.
        """
        return self.encode_array(text, allow_special, ordinary).tolist()

    def encode_iterable(
        self, texts: Iterable[str], allow_special: bool = False, workers: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the ids of each text in turn, on several cores: for more texts than fit into memory.

        >>> from llmasos.tokenizers import train_tokenizer
        >>> tokenizer = train_tokenizer("byte", [])
        >>> [ids.tolist() for ids in tokenizer.encode_iterable(["ab", "", "c"])]
        [[97, 98], [], [99]]

        Each text is encoded separately, so the lines of an open file are separate texts: if a token of the whole file
        would cross a line's end, such as a token of two line breaks, the ids differ.

        Args:
            texts: any iterable, read as far as needed: only a few hundred thousand characters ahead.
            allow_special: see `encode`.
            workers: the number of threads or processes; None = one per core. The ids do not depend on it.

        Returns:
            An iterator over arrays (T,) uint32, one for each text, the same ids as those of `encode`.

        Raises:
            UserError: `texts` is a single string, or `workers` is below 1.
        """
        return encode_iterable(self, texts, allow_special, workers)

    def encode_prompt(self, text: str) -> list[int]:
        """Return the ids of a prompt that a model continues: at least one.

        They start with `begin_of_text` if the model expects it. An empty prompt without it becomes `<|endoftext|>`,
        after which a new document starts. Names of special tokens in the text are encoded as ordinary text.
        """
        prefix = [] if self.begin_of_text is None else [self.begin_of_text]
        return [*prefix, *self.encode(text)] or [self.end_of_text]

    def encode_with_offsets(self, text: str, allow_special: bool = False, ordinary: Sequence[int] = ()) -> Encoding:
        """Return the ids of `encode(text, allow_special)`, each with its offsets in `text` and the index of its word.

        >>> from llmasos.tokenizers import train_tokenizer
        >>> tokenizer = train_tokenizer("bpe", ["the cat sat on the mat", "the cat ate"], vocab_size=262)
        >>> tokenizer.encode_with_offsets("the mat")
        Encoding(ids=[258, 220, 76, 256], starts=[0, 3, 4, 5], ends=[3, 4, 5, 7], words=[0, 1, 1, 1])
        """
        whole = Encoding([], [], [], [])
        for start, end, id in self._matcher.split(text, allow_special, ordinary):
            if id is not None:
                self._append_word(whole, [id], [start], [end], [0])
                continue
            segment = text[start:end]
            prepared, (starts, ends) = self._prepare(segment), self._origins(segment)
            starts, ends = starts + start, ends + start
            allowed = allow_special and not any(start <= place < end for place in ordinary)
            for first, last, id in self._normalized_matcher.split(prepared, allowed):
                if id is not None:
                    self._append_word(whole, [id], [int(starts[first])], [int(ends[last - 1])], [0])
                    continue
                space = self._space_before(prepared[first:last], start == first == 0)
                ids, left, right = self._locate(space + prepared[first:last])
                # A space that the text does not have belongs to the character after it.
                left, right = (np.maximum(index - len(space), 0) + first for index in (left, right))
                new_word = ~self.continues[ids]
                new_word[:1] = False  # the first word of a part has index 0, whatever its first token
                words = np.cumsum(new_word).tolist()
                self._append_word(whole, ids.tolist(), starts[left].tolist(), ends[right].tolist(), words)
        return whole

    def unknown_pieces(self, text: str) -> list[str]:
        """Return the distinct pieces of a text that are not in the vocabulary, in order of appearance.

        They are characters for a character tokenizer and words for WordPiece; most others can encode everything.

        >>> from llmasos.tokenizers import CharTokenizer
        >>> CharTokenizer("abc").unknown_pieces("a cab, Bob?")
        [' ', ',', 'B', 'o', '?']
        """
        if self.unknown_id is None:
            return []
        encoding = self.encode_with_offsets(text)
        tokens = zip(encoding.ids, encoding.starts, encoding.ends, strict=True)
        return list(dict.fromkeys(text[start:end] for id, start, end in tokens if id == self.unknown_id))

    @staticmethod
    def _append_word(whole: Encoding, ids: list[int], starts: list[int], ends: list[int], words: list[int]) -> None:
        """Append the tokens of a part of the text, which begins a new word."""
        n_words = whole.words[-1] + 1 if whole.words else 0
        whole.ids.extend(ids)
        whole.starts.extend(starts)
        whole.ends.extend(ends)
        whole.words.extend(n_words + word for word in words)

    def _origins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the original position in `text` of each character of the prepared text (`offsets.origins`)."""
        return origins(text, self._prepare)

    def _locate(self, prepared: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of a prepared text, and the first and last of its characters that each covers: all 1-D."""
        ids = self._encode_ordinary(prepared)
        sizes = np.array([len(self._tokens[id]) for id in ids], dtype=np.int64)
        ends = np.cumsum(sizes)  # the end of each token, in bytes
        character = characters_of_bytes(prepared)
        return ids, character[ends - sizes], character[ends - 1]

    def without_ids_from(self, n: int) -> "Tokenizer":
        """Return the same tokenizer without its added tokens with ids from n on; other tokens stay.

        Published tokenizers override it: the others have no tokens that were added after training.
        """
        return self

    def with_special_tokens(self, names: Iterable[str]) -> "Tokenizer":
        """Return the same tokenizer with these special tokens, too: new ones get the ids after all others.

        Raises:
            UserError: there are new ones, and the tokenizer's type cannot have them.
        """
        if missing := [name for name in names if name not in self.special_tokens]:
            raise UserError(f"a {self.kind} tokenizer cannot get the special token {missing[0]}; only bpe can.")
        return self

    def build_inputs(
        self, first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray | None = None
    ) -> EncodedInput:
        """Build the input of an encoder or a classifier from one or two encoded texts.

        If `[CLS]` and `[SEP]` are among the special tokens, it is BERT's `[CLS] first [SEP] second [SEP]`; otherwise
        `first <|endoftext|> second <|endoftext|>`. Without a second text, the part after the first separator is absent.

        Args:
            first, second: ids, as `encode` returns them.
        """
        return build_inputs(first, second, *self._template())

    def n_special_tokens(self, n_texts: int) -> int:
        """Return how many special tokens `build_inputs` adds to `n_texts` texts (1 or 2)."""
        prefix, _, n_between = self._template()
        return len(prefix) + n_texts + (n_texts - 1) * (n_between - 1)

    def _template(self) -> tuple[list[int], int, int]:
        """Return the ids before the first text (one or none), the id after each, and how often it is between two."""
        if CLS in self.special_tokens and SEP in self.special_tokens:
            return [self.special_tokens[CLS]], self.special_tokens[SEP], 1
        return [], self.end_of_text, 1

    def decode(self, ids: Iterable[int], skip_special: bool = False, previous: int | None = None) -> str:
        """Return the text of `ids`. Invalid UTF-8 (a model may sample half a character) becomes U+FFFD.

        Args:
            ids: a list, a 1-D array or a 1-D tensor of integers.
            skip_special: omit special tokens instead of writing their names.
            previous: the last token of the text that they continue; None = they are the whole text. It matters where
                the first token of a text loses its space (see `added_bytes`).

        Raises:
            UserError: an id outside 0 ... vocab_size - 1.
        """
        ids = _to_list(ids)
        if skip_special:
            special_ids = set(self.special_tokens.values())
            ids = [id for id in ids if id not in special_ids]
        return self.decode_bytes(ids, previous).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int], previous: int | None = None) -> bytes:
        """Return the bytes of the text of `ids`; see `decode`. Raises `UserError` for an id outside the vocabulary."""
        ids = _to_list(ids)
        if ids:
            self._check_id(min(ids))
            self._check_id(max(ids))
        return self._join(ids, None if previous is None or self.special_mask[previous] else previous)

    def _join(self, ids: list[int], previous: int | None) -> bytes:
        """Return the bytes of ids after an ordinary token (None: at the start of a text)."""
        return b"".join([self._tokens[id] for id in ids])

    def added_bytes(self, id: int, previous: int | None) -> bytes:
        """Return the bytes that token `id` adds to a text whose last token is `previous` (None: the text is empty).

        They are the token's own bytes. Two exceptions depend on the previous token: WordPiece, whose tokens hold no
        spaces, and SentencePiece, which puts a space before a text (see `hub/tokenizers`).

        Raises:
            UserError: an id outside the vocabulary.
        """
        return self.token_bytes(id)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes of one token, which may be part of a character. Raises `UserError` as `decode` does."""
        id = operator.index(id)
        self._check_id(id)
        return self._tokens[id]

    def token_text(self, id: int) -> str:
        """Return the text of one token by itself: U+FFFD for a part of a character, its name for a special token.

        Raises:
            UserError: an id outside the vocabulary.
        """
        return self.token_bytes(id).decode("utf-8", errors="replace")

    def save(self, folder: Path | str) -> None:
        """Write the tokenizer into `folder` (created if needed) as JSON and text; `load_tokenizer` reads it back."""
        write_json(Path(folder) / CONFIG_FILE, self._config())
        if self.chat_template is not None:
            write_text(Path(folder) / TEMPLATE_FILE, self.chat_template)

    def fingerprint(self) -> str:
        """Return the SHA-256 (64 hex digits) of everything that determines the ids: the same for equal tokenizers."""
        digest = hashlib.sha256(json.dumps(self._rules()).encode())
        for token in self._tokens:
            digest.update(len(token).to_bytes(4, "little") + token)
        return digest.hexdigest()

    def _rules(self) -> list[object]:
        """Return everything that determines the ids apart from the token table."""
        rules: list[object] = [self.kind, self.split_pattern, sorted(self.special_tokens.items())]
        rules += ["lowercase"] if self.lowercase else []
        return rules + sorted([*token] for token in self.added_tokens if not token.is_plain)

    def _config(self) -> dict[str, object]:
        """Return the content of `tokenizer_config.json`."""
        config: dict[str, object] = {
            "kind": self.kind,
            "special_tokens": self.special_tokens,
            "fingerprint": self.fingerprint(),
        }
        if self.begin_of_text is not None:  # of a tokenizer trained here it is always end_of_text
            config["add_bos_token"] = True
        return config | {"lowercase": True} if self.lowercase else config

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kind={self.kind!r}, vocab_size={self.vocab_size})"

    def _check_id(self, id: int) -> None:
        if not 0 <= id < self.vocab_size:
            raise UserError(
                f"token id {id} is not in this {self.kind} vocabulary: ids go from 0 to {self.vocab_size - 1}; "
                "use the tokenizer that was saved with the model."
            )


def token_table(tokens: Sequence[tuple[bytes, int]]) -> list[bytes]:
    """The table from ids to bytes of tokens with their ids; an id that no token has gets no bytes.

    >>> token_table([(b"a", 0), (b"c", 2)])
    [b'a', b'', b'c']

    Raises:
        UserError: an id is not a whole number, or far above the number of tokens: the table would fill the memory.
    """
    limit = 10 * len(tokens) + 1_000
    for token, id in tokens:
        check_number(f"the id of the token {shown(token)}", id, whole=True, at_least=0, below=limit)
    table = [b""] * (1 + max((id for _, id in tokens), default=-1))
    for token, id in tokens:
        table[id] = token
    return table


def read_tokenizer_config(folder: Path) -> dict:
    """Return the content of a folder's `tokenizer_config.json`, {} if there is none.

    Raises:
        UserError: the file is damaged.
    """
    config_file = folder / CONFIG_FILE
    config = read_json(config_file) if config_file.is_file() else {}
    if not isinstance(config, dict):
        raise UserError(f"{config_file} is damaged: expected a JSON object; copy the folder again.")
    return config


def check_fingerprint(tokenizer: Tokenizer, folder: Path, config: dict) -> None:
    """Raise `UserError` unless the tokenizer has the fingerprint in its `tokenizer_config.json`, if there is one."""
    if tokenizer.fingerprint() != config.get("fingerprint", tokenizer.fingerprint()):
        raise UserError(
            f"the tokenizer in {folder} is damaged: its files do not have the fingerprint that {CONFIG_FILE} states; "
            "copy the folder again (or, if you changed the vocabulary on purpose, delete the fingerprint there)."
        )


def replace_surrogates(text: str) -> str:
    """Return `text` with each lone surrogate replaced by U+FFFD and each pair of them by the character it encodes.

    >>> replace_surrogates("a\\ud800b"), replace_surrogates("\\ud83d\\ude00")
    ('a�b', '😀')
    """
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")


def prepare(text: str, lowercase: bool) -> str:
    """Return `text` without surrogates (see `replace_surrogates`) and, optionally, in lower case."""
    text = replace_surrogates(text)
    return text.lower() if lowercase else text


def number_special_tokens(names: Iterable[str], first_id: int) -> dict[str, int]:
    """Give special tokens the ids `first_id`, `first_id + 1`, ... in the order of their names.

    Raises:
        UserError: `<|endoftext|>` is not among the names, or a name is empty, repeated, or not text.
    """
    names = list(names)
    if not all(isinstance(name, str) and name and replace_surrogates(name) == name for name in names):
        raise UserError(f"special tokens {names!r} are not all names: each must be a non-empty piece of text.")
    if len(set(names)) < len(names) or END_OF_TEXT not in names:
        raise UserError(f"special tokens {names} must differ from each other and include {END_OF_TEXT!r}.")
    return {name: first_id + offset for offset, name in enumerate(names)}


def _to_list(ids: Iterable[int]) -> list[int]:
    """Return a list of Python integers from a list, an array or a tensor."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    return [operator.index(id) for id in ids]
