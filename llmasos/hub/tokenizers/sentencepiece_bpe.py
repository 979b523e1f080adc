"""BPE on characters with bytes to fall back on: TinyLlama, Llama 2, Mistral, Gemma and their relatives.

It comes from SentencePiece (Kudo & Richardson 2018): the space is an ordinary character, written ▁, that merges may
contain. There are no words, and what is split into pieces is the whole text. A character that is not in the vocabulary
becomes its UTF-8 bytes, each a token such as <0xE2>, or `<unk>` if there are no such tokens.

    "the cat é"  -->  ▁the▁cat▁é  --characters-->  ▁ t h e ▁ c a t ▁ é  --merges-->  ▁the ▁cat ▁ <0xC3> <0xA9>

Two details differ from model to model: whether a ▁ is put before a text, and whether that is done by the normalizer
(for every part of a text between two added tokens) or by the pre-tokenizer (mostly for the first part only).
"""

import dataclasses
import heapq
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import regex

from llmasos.errors import UserError
from llmasos.hub.tokenizers.nfc import nfc_origins
from llmasos.hub.tokenizers.published_bpe import check_options, read_pairs
from llmasos.hub.tokenizers.sentencepiece_file import SPACE
from llmasos.hub.tokenizers.tokenizer_json import (
    JSON_FILE,
    begin_token,
    end_token,
    read_added_tokens,
    read_names,
    with_begin_token,
    without_ids_from,
)
from llmasos.storage import read_json, write_json
from llmasos.tokenizers.added_tokens import AddedToken
from llmasos.tokenizers.offsets import characters_of_bytes, origins
from llmasos.tokenizers.tokenizer import CONFIG_FILE, Tokenizer, replace_surrogates, token_table

BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
MAX_CACHED, MAX_CACHED_LENGTH = 200_000, 100  # words whose tokens are cached, and their characters


@dataclass(frozen=True)
class Spaces:
    """How spaces become ▁ and back.

    Attributes:
        prefix: where a ▁ is put: "never", before "every" part of a text (by the normalizer), and by the pre-tokenizer
            before those parts that do not begin with one: "all" of them or the "first".
        split: whether each ▁ begins a word of its own, across whose border nothing is merged.
        strip: the maximum number of spaces removed from the first token of a decoded text.
        nfc: whether texts are composed first.
        early: whether the normalizer writes ▁, so that added tokens are looked for in a text that has no spaces.
    """

    prefix: str = "every"
    split: bool = False
    strip: int = 1
    nfc: bool = False
    early: bool = True


class SentencePieceBPETokenizer(Tokenizer):
    """BPE on characters, with bytes for those that are not in the vocabulary."""

    kind = "sentencepiece-bpe"
    encodes_in_python = True

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        added_tokens: Iterable[AddedToken],
        unknown: str | None,
        spaces: Spaces,
        end: str,
        begin: str | None = None,
        byte_fallback: bool = True,
        fuse_unknown: bool = True,
        whole_words: bool = False,
        files: dict[str, Any] | None = None,
    ):
        """Build the tables.

        Args:
            vocabulary: piece → id.
            merges: pairs of pieces, in the order of their priority.
            added_tokens: special tokens, and others that are looked for in a text first.
            unknown: the piece for a character that is neither in the vocabulary nor written in bytes.
            spaces: how spaces are written.
            end: the special token that ends a text.
            begin: the special token at the start of a text; None = none.
            byte_fallback: whether such a character is written in bytes, if all of them are in the vocabulary.
            fuse_unknown: whether several such characters in a row are one token.
            whole_words: whether a text that is itself a piece becomes that piece, even if no merges lead to it.
            files: name → content of the original JSON files, to be saved again.

        Raises:
            UserError: a merge's piece is not in the vocabulary, an id is impossible, or `end`, `begin` or `unknown` is
                not in the vocabulary.
        """
        added = {token.content: token for token in added_tokens}
        special = {name: token.id for name, token in added.items() if token.special}
        for name, known in ((end, special), (begin, special), (unknown, {**vocabulary, **special})):
            if name is not None and name not in known:
                raise UserError(f"the tokenizer's special token {name!r} is not in its vocabulary; fetch it again.")
        pieces = [piece for left, right in merges for piece in (left, right, left + right)]
        if missing := [piece for piece in pieces if piece not in vocabulary]:
            raise UserError(f"the tokenizer's vocabulary has no {missing[0]!r}, which its merges use; fetch it again.")
        self.spaces, self.byte_fallback, self.fuse_unknown, self.whole_words = (
            spaces, byte_fallback, fuse_unknown, whole_words
        )  # fmt: skip
        self._end, self.begin_of_text = special[end], special[begin] if begin else None
        self._unknown = None if unknown is None else {**special, **vocabulary}[unknown]
        self._files = files or {}
        self._id_of = dict(vocabulary)
        self._merges = {
            (vocabulary[left], vocabulary[right]): (rank, vocabulary[left + right])
            for rank, (left, right) in enumerate(merges)
        }
        has_bytes = byte_fallback and all(name in vocabulary for name in BYTE_TOKENS)
        self._byte_ids = [vocabulary[name] for name in BYTE_TOKENS] if has_bytes else None
        as_bytes = {name: bytes([byte]) for byte, name in enumerate(BYTE_TOKENS)} if byte_fallback else {}
        table = [
            (as_bytes.get(piece) or piece.replace(SPACE, " ").encode(), id)
            for piece, id in vocabulary.items()
            if piece not in added
        ]
        tokens = token_table(table + [(name.encode(), token.id) for name, token in added.items()])
        # If no piece has a ▁ after another character, no merge crosses the start of a word, and words can be cached.
        is_crossed = any(SPACE in piece.lstrip(SPACE) for piece in pieces) or SPACE not in vocabulary or whole_words
        words = ".+" if is_crossed else f"{SPACE}*[^{SPACE}]+|{SPACE}+"
        self._words = regex.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+" if spaces.split else words, regex.DOTALL)
        self._tokens_of: dict[str, tuple[list[int], list[int]]] = {}
        by_id = dict(sorted(special.items(), key=lambda item: item[1]))
        super().__init__(tokens, by_id, added_tokens=added.values())

    @property
    def end_of_text(self) -> int:
        """The id of the special token that ends a text."""
        return self._end

    @property
    def unknown_id(self) -> int | None:
        """The id of `<unk>`; None if every character can be written in bytes."""
        return None if self._byte_ids else self._unknown

    def _prepare(self, text: str) -> str:
        text = replace_surrogates(text)
        text = unicodedata.normalize("NFC", text) if self.spaces.nfc else text
        text = text.replace(" ", SPACE) if self.spaces.early else text
        return SPACE + text if text and self.spaces.prefix == "every" else text

    def _origins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        starts, ends = nfc_origins(text) if self.spaces.nfc else origins(text, replace_surrogates)
        if self.spaces.prefix == "every":  # the ▁ in front is of the first character
            starts, ends = np.concatenate([starts[:1], starts]), np.concatenate([ends[:1], ends])
        return starts, ends

    def _space_before(self, part: str, is_first: bool) -> str:
        wanted = self.spaces.prefix == "all" or (self.spaces.prefix == "first" and is_first)
        return SPACE if wanted and not part.startswith((SPACE, " ")) else ""

    def _encode_ordinary(self, text: str) -> np.ndarray:
        ids: list[int] = []
        for word in self._words.findall(text.replace(" ", SPACE)):
            ids += self._tokens_of_word(word)[0]
        return np.array(ids, dtype=np.uint32)

    def _locate(self, prepared: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        prepared = prepared.replace(" ", SPACE)
        words = [self._tokens_of_word(word) for word in self._words.findall(prepared)]
        sizes = np.array([size for _, sizes in words for size in sizes], dtype=np.int64)
        ends = np.cumsum(sizes)
        character = characters_of_bytes(prepared)
        ids = np.array([id for ids, _ in words for id in ids], dtype=np.uint32)
        return ids, character[ends - sizes], character[ends - 1]

    def _tokens_of_word(self, word: str) -> tuple[list[int], list[int]]:
        """Return (and cache) the tokens of a word, and the size in bytes of the text of each."""
        tokens = self._tokens_of.get(word)
        if tokens is None:
            if self.whole_words and word in self._id_of:
                tokens = [self._id_of[word]], [len(word.encode())]
            else:
                tokens = merge_pairs(*self._symbols(word), self._merges)
            if len(self._tokens_of) >= MAX_CACHED:
                self._tokens_of.clear()
            if len(word) <= MAX_CACHED_LENGTH:
                self._tokens_of[word] = tokens
        return tokens

    def _symbols(self, word: str) -> tuple[list[int], list[int]]:
        """Return the tokens before any merge, characters or bytes, and the size in bytes of each."""
        ids: list[int] = []
        sizes: list[int] = []
        was_unknown = False
        for character in word:
            data = character.encode()
            id = self._id_of.get(character)
            if id is not None:
                ids.append(id)
                sizes.append(len(data))
            elif self._byte_ids:
                ids += [self._byte_ids[byte] for byte in data]
                sizes += [1] * len(data)
            elif self._unknown is not None:
                if was_unknown and self.fuse_unknown:
                    sizes[-1] += len(data)
                else:
                    ids.append(self._unknown)
                    sizes.append(len(data))
            was_unknown = id is None and not self._byte_ids
        return ids, sizes

    def added_bytes(self, id: int, previous: int | None) -> bytes:
        """Return the bytes that token `id` adds to a text; the first one loses the space that was put before it."""
        token = self.token_bytes(id)
        if previous is not None or self.special_mask[id]:
            return token
        return token[min(self.spaces.strip, len(token) - len(token.lstrip(b" "))) :]

    def _join(self, ids: list[int], previous: int | None) -> bytes:
        return b"".join([self.added_bytes(id, before) for before, id in zip([previous, *ids], ids, strict=False)])

    def _rules(self) -> list[object]:
        spaces, options = self.spaces, (self.byte_fallback, self.fuse_unknown, self.whole_words)
        merges = [[*pair, *merge] for pair, merge in self._merges.items()]
        ends = (self._end, self.begin_of_text, self._unknown)
        return [*super()._rules(), *dataclasses.astuple(spaces), *options, *ends, merges]

    def save(self, folder: Path | str) -> None:
        """Write the files from which the tokenizer was loaded, unchanged."""
        write_json(Path(folder) / JSON_FILE, self._files[JSON_FILE])
        super().save(folder)

    def _config(self) -> dict[str, object]:
        return {**self._files[CONFIG_FILE], "kind": self.kind, "fingerprint": self.fingerprint()}

    def without_ids_from(self, n: int) -> "SentencePieceBPETokenizer":
        """Return the same tokenizer without its added tokens with ids from n on."""
        return from_tokenizer_json(*without_ids_from(n, self._files[JSON_FILE], self._files[CONFIG_FILE]))

    @classmethod
    def load(cls, folder: Path | str) -> "SentencePieceBPETokenizer":
        """Read the tokenizer of a published model's folder.

        Raises:
            UserError: a file is missing or damaged, or asks for something that is not supported here.
        """
        file = Path(folder) / JSON_FILE
        try:
            return from_tokenizer_json(read_json(file), read_names(Path(folder)))
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{file} is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def merge_pairs(
    ids: list[int], sizes: list[int], merges: Mapping[tuple[int, int], tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Merge the neighbors with the lowest rank, of several the leftmost, until no merge applies.

    The pairs are in a heap, so n tokens take n log n steps; a pair that has changed since it was put there is skipped.

    >>> merge_pairs([1, 2, 3], [1, 1, 1], {(2, 3): (0, 9), (1, 9): (1, 10), (1, 2): (2, 11)})
    ([10], [3])

    Args:
        ids: the tokens; a merged one takes the place of its left part.
        sizes: the sizes of their texts in bytes.
        merges: two tokens → the rank of their merge, and the token that it makes.
    """
    n = len(ids)
    after, before = list(range(1, n + 1)), list(range(-1, n - 1))  # the neighbors of each; n and -1: none
    pairs = enumerate(zip(ids, ids[1:], strict=False))
    heap = [(merges[pair][0], i, merges[pair][1]) for i, pair in pairs if pair in merges]
    heapq.heapify(heap)
    alive = [True] * n
    while heap:
        _, i, new = heapq.heappop(heap)
        j = after[i]
        if not alive[i] or j == n or merges.get((ids[i], ids[j]), (None, None))[1] != new:
            continue
        ids[i], alive[j] = new, False
        sizes[i] += sizes[j]
        after[i] = k = after[j]
        if k < n:
            before[k] = i
        for left in (before[i], i):
            right = after[left] if left >= 0 else n
            if right < n and (merge := merges.get((ids[left], ids[right]))):
                heapq.heappush(heap, (merge[0], left, merge[1]))
    return [id for id, here in zip(ids, alive, strict=True) if here], [
        size for size, here in zip(sizes, alive, strict=True) if here
    ]


def from_tokenizer_json(content: dict[str, Any], config: dict[str, Any]) -> SentencePieceBPETokenizer:
    """Build the tokenizer of a `tokenizer.json`, with the special tokens of `tokenizer_config.json`.

    Raises:
        UserError: it asks for something that is not supported here.
    """
    content = with_begin_token(content, config)
    model = content["model"]
    check_options(model, ("continuing_subword_prefix", "end_of_word_suffix", "dropout"))
    byte_fallback = bool(model.get("byte_fallback"))
    spaces = read_spaces(content, byte_fallback)
    added = read_added_tokens(content, config, model["vocab"])
    return SentencePieceBPETokenizer(
        model["vocab"],
        read_pairs(model["merges"]),
        added,
        model.get("unk_token"),
        spaces,
        end_token(config, added),
        begin_token(content, config),
        byte_fallback,
        bool(model.get("fuse_unk")),
        bool(model.get("ignore_merges")),
        {JSON_FILE: content, CONFIG_FILE: config},
    )


def is_sentencepiece_bpe(content: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` holds BPE on characters: spaces are written ▁, or bytes are tokens such as <0x0A>."""
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        return False
    return bool(model.get("byte_fallback")) or SPACE in str(content.get("decoder"))


def read_spaces(content: Mapping[str, Any], byte_fallback: bool) -> Spaces:
    """Read from a `tokenizer.json` how spaces become ▁ and back.

    Raises:
        UserError: its normalizer, pre-tokenizer or decoder does something else.
    """
    normalizers, prefix, nfc = parts_of(content.get("normalizer"), "normalizers"), "never", False
    is_replaced = False
    for part in normalizers:
        if part == {"type": "Prepend", "prepend": SPACE} and prefix == "never":
            prefix = "every"
        elif part == {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}:
            is_replaced = True
        elif part["type"] == "NFC" and part is normalizers[0]:
            nfc = True
        else:
            raise unsupported("normalizer", part)
    split, early = False, is_replaced
    for part in parts_of(content.get("pre_tokenizer"), "pretokenizers"):
        if part["type"] == "Metaspace" and part["replacement"] == SPACE and prefix == "never" and not is_replaced:
            old = "always" if part.get("add_prefix_space", True) else "never"
            prefix = {"always": "all", "first": "first", "never": "never"}[part.get("prepend_scheme", old)]
            split, is_replaced = part.get("split", True), True
        elif part["type"] != "Split" or part["pattern"] != {"String": " "} or not is_replaced:  # no spaces are left
            raise unsupported("pre_tokenizer", part)
    if not is_replaced:
        raise UserError(f"its normalizer does not write spaces as {SPACE}; choose a model with another tokenizer.")
    return Spaces(prefix, split, read_strip(content.get("decoder"), byte_fallback), nfc, early)


def read_strip(decoder: Mapping[str, Any] | None, byte_fallback: bool) -> int:
    """Return how many spaces the first token of a decoded text loses. Raises UserError for an unknown decoder."""
    strip, kinds = 0, []
    for part in parts_of(decoder, "decoders"):
        kinds.append(part["type"])
        if part["type"] == "Strip" and (part["content"], part["stop"]) == (" ", 0):
            strip = part["start"]
        elif part["type"] == "Metaspace":
            scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
            strip = 0 if scheme == "never" else 10**6  # all of the first token
        elif part["type"] not in ("ByteFallback", "Fuse") and part != REPLACE_BACK:
            raise unsupported("decoder", part)
    if byte_fallback != ("ByteFallback" in kinds) or not {"Replace", "Metaspace"} & set(kinds):
        raise UserError(f"its decoder is {kinds}, which does not fit its model; choose a model with another tokenizer.")
    return strip


def parts_of(section: Mapping[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Return the parts of a section of a `tokenizer.json`: those of a sequence, or the section itself, or none."""
    if section is None:
        return []
    return section[name] if section["type"] == "Sequence" else [section]  # type: ignore[list-item]


def unsupported(section: str, part: Mapping[str, Any]) -> UserError:
    """The error for a part of a `tokenizer.json` that is not supported."""
    return UserError(
        f"its {section} has {part['type']!r} in a form that llmasos does not support; choose another model."
    )


REPLACE_BACK = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
