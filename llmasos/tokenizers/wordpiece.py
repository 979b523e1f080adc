"""WordPiece: BERT's tokenizer. Words are split into the longest pieces in the vocabulary.

    "Unaffable, isn't it?"  --pre-tokenizer-->  unaffable | , | isn | ' | t | it | ?
                            --pieces-->         un ##aff ##able | , | isn | ' | t | it | ?

A piece that does not start its word is written with the prefix `##`. Splitting is greedy, from left to right: take the
longest known piece, then the longest that continues from there. If no piece matches, or the word has more than 100
characters, the whole word becomes one `[UNK]`.

**Not lossless.** Unlike the other tokenizers, WordPiece loses information: white space, control characters, unknown
words and, optionally, capitals and accents. `decode` puts a space between words, but none before , . ; : ! ? ) ] } and
the apostrophe, none after ( [ { and none between an apostrophe and s, t, m, d, ll, re, ve. To quote the original text,
slice it with the offsets of `encode_with_offsets`.

A saved tokenizer is a Hugging Face BERT folder: `vocab.txt`, one token per line, line 0 is id 0. BERT's own files open
here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from llmasos.console import say
from llmasos.errors import UserError, check_number
from llmasos.storage import read_small_lines, write_text
from llmasos.tokenizers.added_tokens import AddedToken
from llmasos.tokenizers.bert_pretokenizer import CharacterTable
from llmasos.tokenizers.tokenizer import CLS, MASK, PAD, SEP, Tokenizer, replace_surrogates
from llmasos.tokenizers.wordpiece_trainer import CONTINUES, MAX_WORD, count_bert_words, learn_pieces

VOCAB_FILE = "vocab.txt"
UNK = "[UNK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)  # in the order of their ids in a vocabulary trained here
MAX_CACHED = 200_000  # words whose ids are cached; 100 MB of English prose has about this many
NO_SPACE_BEFORE = frozenset(",.;:!?)]}'")
NO_SPACE_AFTER = frozenset("([{")
AFTER_APOSTROPHE = frozenset(["s", "t", "m", "d", "ll", "re", "ve"])
_WORD = re.compile("[^ ]+")


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer, defined by its vocabulary.

    >>> tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, "un", "##aff", "##able", "!"], lowercase=True)
    >>> tokenizer.encode("Unaffable!!")
    [5, 6, 7, 8, 8]
    >>> tokenizer.decode([5, 6, 7, 8, 8])
    'unaffable!!'

    Attributes:
        strip_accents: whether accents are dropped.
    """

    kind = "wordpiece"
    encodes_in_python = True

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool = False,
        strip_accents: bool | None = None,
        added_tokens: Iterable[AddedToken] = (),
    ):
        """Build the lookup tables from a vocabulary.

        Args:
            vocabulary: every token in the order of the ids, including BERT's five special tokens.
            lowercase: whether to lower-case texts before they are encoded.
            strip_accents: whether to drop accents; None: the same as `lowercase`, as in BERT.
            added_tokens: further tokens, in the vocabulary or with ids from its end on.

        Raises:
            UserError: a special token is missing, two tokens are the same, or the ids of added tokens leave a gap.
        """
        added = {token.content: token for token in added_tokens}
        self._n_ordinary = len(vocabulary)
        vocabulary = extended(vocabulary, added)
        id_of = {token: id for id, token in enumerate(vocabulary)}
        if missing := [name for name in SPECIAL_TOKENS if name not in id_of]:
            raise UserError(f"the vocabulary has no {missing[0]}: BERT needs {' '.join(SPECIAL_TOKENS)}.")
        if len(id_of) < len(vocabulary):
            duplicate = next(token for id, token in enumerate(vocabulary) if id_of[token] != id)
            raise UserError(
                f"the vocabulary has {duplicate!r} twice, so ids would be ambiguous: each token needs one line."
            )
        names = {*SPECIAL_TOKENS, *(name for name, token in added.items() if token.special)}
        special = {name: id_of[name] for name in sorted(names, key=id_of.__getitem__)}
        super().__init__([token.encode() for token in vocabulary], special, lowercase, added.values())
        self.strip_accents = lowercase if strip_accents is None else strip_accents
        self._pieces = list(vocabulary)
        self._id_of = {token: id for token, id in id_of.items() if token not in special and id < self._n_ordinary}
        self._n_characters = [len(token.removeprefix(CONTINUES)) for token in vocabulary]
        self._longest = max(self._n_characters)
        self._table = CharacterTable(lowercase, self.strip_accents)
        self._normalizer = CharacterTable(lowercase, self.strip_accents, split_punctuation=False)
        self._is_normalized_first = any(token.normalized for token in self.added_tokens)
        self._ids_of_word: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        documents: Iterable[str],
        vocab_size: int,
        lowercase: bool = False,
        strip_accents: bool | None = None,
        min_frequency: int = 2,
    ) -> "WordPieceTokenizer":
        """Learn a vocabulary from `documents`.

        Args:
            documents: the training texts, each read once.
            vocab_size: the number of ids: the five special tokens, the alphabet, the merged pieces. If the text is
                too small for this many, training stops when no pair occurs `min_frequency` times, with a warning.
            lowercase, strip_accents: as for `WordPieceTokenizer`; they apply to the training texts too.
            min_frequency: pairs rarer than this are not merged.

        Raises:
            UserError: a vocabulary too small for the characters of the text, documents without any text, or a
                `min_frequency` below 1.
        """
        check_number("min_frequency", min_frequency, whole=True, at_least=1)
        table = CharacterTable(lowercase, lowercase if strip_accents is None else strip_accents)
        word_counts = count_bert_words(documents, table)
        if not word_counts:
            raise UserError("WordPiece needs text to learn from, but the text is empty.")
        pieces = learn_pieces(word_counts, vocab_size - len(SPECIAL_TOKENS), min_frequency)
        vocabulary = [*SPECIAL_TOKENS, *pieces]
        if len(vocabulary) < vocab_size:
            say(
                f"the text is too small for a vocabulary of {vocab_size}: no pair of pieces occurs {min_frequency} "
                f"times any more, so training stopped at {len(vocabulary)}.",
                error=True,
            )
        return cls(vocabulary, lowercase, strip_accents)

    @property
    def end_of_text(self) -> int:
        """The id of `[SEP]`, which ends every text."""
        return self.special_tokens[SEP]

    @property
    def unknown_id(self) -> int:
        """The id of `[UNK]`, which replaces an unknown word."""
        return self.special_tokens[UNK]

    @cached_property
    def continues(self) -> np.ndarray:
        """For each id, whether it has the prefix `##`, and so continues the word of the previous token: (V,) bool."""
        return np.array([token.startswith(CONTINUES) for token in self._pieces]) & ~self.special_mask

    def added_bytes(self, id: int, previous: int | None) -> bytes:
        """Return the bytes that token `id` adds to a text whose last token is `previous`, including the space between.

        Raises:
            UserError: an id outside the vocabulary.
        """
        token = self.token_bytes(id).decode()
        if self.continues[id]:
            return token.removeprefix(CONTINUES).encode()
        last = None if previous is None else self._pieces[previous]
        contraction = last == "'" and token in AFTER_APOSTROPHE
        no_space = last is None or last in NO_SPACE_AFTER or token in NO_SPACE_BEFORE or contraction
        return token.encode() if no_space else b" " + token.encode()

    def save(self, folder: Path | str) -> None:
        """Write `vocab.txt` and `tokenizer_config.json` into `folder`, in the format of Hugging Face."""
        write_text(Path(folder) / VOCAB_FILE, "\n".join(self._pieces[: self._n_ordinary]) + "\n")
        super().save(folder)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        added_tokens: Iterable[AddedToken] = (),
    ) -> "WordPieceTokenizer":
        """Read `vocab.txt`, ours or a published BERT's.

        Args:
            folder: the folder that holds it.
            lowercase, strip_accents, added_tokens: as for `WordPieceTokenizer`.

        Raises:
            UserError: the file is missing or damaged.
        """
        path = Path(folder) / VOCAB_FILE
        try:
            lines = read_small_lines(path)
        except OSError as error:
            raise UserError(
                f"could not read {path}: {error.strerror}; a WordPiece tokenizer needs this file."
            ) from error
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is damaged: it is not UTF-8; copy it again or train the tokenizer again."
            ) from error
        try:
            return cls(lines[:-1] if lines[-1] == "" else lines, lowercase, strip_accents, added_tokens)
        except UserError as error:
            raise UserError(
                f"{path} is damaged: {str(error).rstrip('.')}; copy it again or train the tokenizer again."
            ) from error

    def without_ids_from(self, n: int) -> "WordPieceTokenizer":
        """Return the same tokenizer without its added tokens with ids from n on."""
        kept = [token for token in self.added_tokens if token.id < n]
        return WordPieceTokenizer(self._pieces[: self._n_ordinary], self.lowercase, self.strip_accents, kept)

    def _prepare(self, text: str) -> str:
        text = replace_surrogates(text)  # the `CharacterTable` does the rest, but for added tokens, which come first
        return text.translate(self._normalizer) if self._is_normalized_first else text

    def _encode_ordinary(self, text: str) -> np.ndarray:
        ids: list[int] = []
        for word in text.translate(self._table).split():
            ids += self._ids_of_word.get(word) or self._split_word(word)
        return np.array(ids, dtype=np.uint32)

    def _split_word(self, word: str) -> list[int]:
        """Return (and cache) the ids of a word: the longest known pieces, or `[UNK]` if at some point none matches."""
        ids: list[int] = []
        start = 0
        while start < len(word) <= MAX_WORD:
            prefix = CONTINUES if start else ""
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._id_of), None)
            if end is None:
                break
            ids.append(self._id_of[prefix + word[start:end]])
            start = end
        if start < len(word):
            ids = [self.unknown_id]
        if len(self._ids_of_word) >= MAX_CACHED:
            self._ids_of_word.clear()
        self._ids_of_word[word] = ids
        return ids

    def _locate(self, prepared: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = self._table
        origin = [position for position, character in enumerate(prepared) for _ in table[ord(character)]]
        ids, first, last = [], [], []
        for match in _WORD.finditer(prepared.translate(table)):
            start = match.start()
            for id in self._ids_of_word.get(match[0]) or self._split_word(match[0]):
                end = match.end() if id == self.unknown_id else start + self._n_characters[id]
                ids.append(id)
                first.append(origin[start])
                last.append(origin[end - 1])
                start = end
        return np.array(ids, np.uint32), np.array(first, np.int64), np.array(last, np.int64)

    def _join(self, ids: list[int], previous: int | None) -> bytes:
        return b"".join([self.added_bytes(id, before) for before, id in zip([previous, *ids], ids, strict=False)])

    def _rules(self) -> list[object]:
        return [*super()._rules(), self.strip_accents]

    def _config(self) -> dict[str, object]:
        config = super()._config() | {
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
        }
        config |= {f"{name[1:-1].lower()}_token": name for name in SPECIAL_TOKENS}  # "pad_token": "[PAD]", ...
        config.pop("lowercase", None)  # the same as do_lower_case
        if not all(token.is_plain and token.content in SPECIAL_TOKENS for token in self.added_tokens):
            config["added_tokens_decoder"] = {str(token.id): token.to_dict() for token in self.added_tokens}
        return config


def extended(vocabulary: Sequence[str], added: Mapping[str, AddedToken]) -> list[str]:
    """Return the vocabulary with the added tokens at their ids.

    Raises:
        UserError: an id is that of another token, or between it and the vocabulary there are ids without a token.
    """
    tokens = list(vocabulary)
    for token in sorted(added.values(), key=lambda token: token.id):
        if token.id == len(tokens):
            tokens.append(token.content)
        elif not 0 <= token.id < len(tokens) or tokens[token.id] != token.content:
            raise UserError(
                f"the added token {token.content!r} has the id {token.id}, but the vocabulary has "
                f"{len(tokens)} tokens and not this one there."
            )
    return tokens
