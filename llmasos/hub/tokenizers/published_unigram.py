"""The tokenizer of T5 and flan-T5: a unigram model whose `tokenizer.json` also says how texts are normalized and split.

    "two  words"  --normalizer-->  two▁words  --▁ before words-->  ▁two ▁words  --most likely pieces-->  ▁two ▁word s

It comes from SentencePiece, as Marian's does, but is run by the `tokenizers` package, which differs in two details that
are followed here: it replaces characters cluster by cluster, and adds probabilities in 64 bits.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import regex

from llmasos.errors import UserError
from llmasos.hub.tokenizers.sentencepiece_bpe import parts_of, read_strip, unsupported
from llmasos.hub.tokenizers.sentencepiece_file import NORMAL, SPACE, CharacterMap
from llmasos.hub.tokenizers.tokenizer_json import (
    JSON_FILE,
    end_token,
    first_token,
    read_added_tokens,
    read_names,
    token_name,
)
from llmasos.hub.tokenizers.unigram import Unigram
from llmasos.storage import read_json, write_json
from llmasos.tokenizers.added_tokens import AddedToken
from llmasos.tokenizers.offsets import Encoding
from llmasos.tokenizers.tokenizer import CONFIG_FILE, Tokenizer, replace_surrogates, token_table

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)  # Unicode's
CLUSTERS = regex.compile(r"\X")
MAX_CLUSTER = 6  # bytes; from here on, a cluster is replaced character by character
WORDS = regex.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+", regex.DOTALL)
MAX_CACHED = 200_000

Step = Callable[[str], str]


class PublishedUnigramTokenizer(Tokenizer):
    """A published unigram tokenizer; create it with `load`, since it cannot be trained here."""

    kind = "published-unigram"
    encodes_in_python = True

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        unknown: int,
        added_tokens: Iterable[AddedToken],
        normalize: Step,
        split_words: bool,
        prefix: str,
        strip: int,
        end: str,
        pad: str,
        files: dict[str, Any],
    ):
        """Build the tables.

        Args:
            pieces: the pieces with their scores, ln p, in the order of their ids.
            unknown: the id for characters that are in no piece.
            added_tokens: special tokens, and others that are looked for in a text first.
            normalize: the function that is first applied to texts.
            split_words: whether texts are then split at white space, which is lost.
            prefix: where a ▁ is put: before "all" parts of a text between added tokens, the "first", or "never".
            strip: the maximum number of spaces removed from the first token of a decoded text.
            end, pad: the special tokens that end a text, and that fill up a batch.
            files: name → content of the original JSON files, to be saved again.

        Raises:
            UserError: an id is impossible, or `end` or `pad` is not in the vocabulary.
        """
        added = {token.content: token for token in added_tokens}
        special = {name: token.id for name, token in added.items() if token.special}
        if missing := [name for name in (end, pad) if name not in special]:
            raise UserError(f"the tokenizer's special token {missing[0]!r} is not in its vocabulary; fetch it again.")
        if not 0 <= unknown < len(pieces):
            raise UserError(f"its unk_id is {unknown}, which is not a piece of its vocabulary; fetch it again.")
        self._end, self._pad, self._unknown = special[end], special[pad], unknown
        self._normalize, self._split_words, self._prefix, self._strip = normalize, split_words, prefix, strip
        self._files = files
        ordinary = [(piece, float(score), id) for id, (piece, score) in enumerate(pieces) if piece not in added]
        self._id_of = {piece: id for piece, _, id in ordinary if id != unknown}
        self._unigram = Unigram([(piece, score, NORMAL) for piece, score, id in ordinary if id != unknown], 64)
        self._unigram.unknown_score = min(float(score) for _, score in pieces) - Unigram.UNKNOWN_PENALTY
        self._tokens_of: dict[str, list[int]] = {}
        table = [(piece.replace(SPACE, " ").encode(), id) for piece, _, id in ordinary]
        tokens = token_table(table + [(name.encode(), token.id) for name, token in added.items()])
        by_id = dict(sorted(special.items(), key=lambda item: item[1]))
        super().__init__(tokens, by_id, added_tokens=added.values())

    @property
    def end_of_text(self) -> int:
        """The id of the special token that ends a text."""
        return self._end

    @property
    def start_of_target(self) -> int:
        """The id of the padding, which starts a decoder's output."""
        return self._pad

    @property
    def pad_id(self) -> int:
        """The id of the padding."""
        return self._pad

    @property
    def unknown_id(self) -> int:
        """The id of `<unk>`."""
        return self._unknown

    def _prepare(self, text: str) -> str:
        return self._normalize(replace_surrogates(text))

    def _space_before(self, part: str, is_first: bool) -> str:
        if self._split_words or not part or part.startswith((SPACE, " ")):
            return ""
        return SPACE if self._prefix == "all" or (self._prefix == "first" and is_first) else ""

    def _encode_ordinary(self, text: str) -> np.ndarray:
        words = [text]
        if self._split_words:
            words = [word if word.startswith(SPACE) else SPACE + word for word in split_at_white_space(text)]
        ids: list[int] = []
        for part in words:
            for word in WORDS.findall(part.replace(" ", SPACE)):
                ids += self._tokens_of_word(word)
        return np.array(ids, dtype=np.uint32)

    def _tokens_of_word(self, word: str) -> list[int]:
        """Return (and cache) the tokens of a word."""
        ids = self._tokens_of.get(word)
        if ids is None:
            ids = [self._id_of.get(piece, self._unknown) for piece in self._unigram.segment(word)]
            if len(self._tokens_of) >= MAX_CACHED:
                self._tokens_of.clear()
            self._tokens_of[word] = ids
        return ids

    def encode_with_offsets(self, text: str, allow_special: bool = False, ordinary: Sequence[int] = ()) -> Encoding:
        """Raise `UserError`: normalization does not keep track of where a character came from."""
        raise UserError("a unigram tokenizer has no offsets; use another model.")

    def unknown_pieces(self, text: str) -> list[str]:
        """Return the distinct runs of characters of a text that are not in the vocabulary, in order of appearance."""
        words = WORDS.findall(self._prepare(text).replace(" ", SPACE))
        pieces = (piece for word in words for piece in self._unigram.segment(word))
        return list(dict.fromkeys(piece for piece in pieces if piece not in self._id_of and piece != SPACE))

    def added_bytes(self, id: int, previous: int | None) -> bytes:
        """Return the bytes that token `id` adds to a text; the first one loses the space that was put before it."""
        token = self.token_bytes(id)
        if previous is not None or self.special_mask[id]:
            return token
        return token[min(self._strip, len(token) - len(token.lstrip(b" "))) :]

    def _join(self, ids: list[int], previous: int | None) -> bytes:
        return b"".join([self.added_bytes(id, before) for before, id in zip([previous, *ids], ids, strict=False)])

    def _rules(self) -> list[object]:
        content = self._files[JSON_FILE]
        sections = [content.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")]
        return [*super()._rules(), sections, self._end, self._pad, self._unknown, content["model"]["vocab"]]

    def save(self, folder: Path | str) -> None:
        """Write the files from which the tokenizer was loaded, unchanged."""
        write_json(Path(folder) / JSON_FILE, self._files[JSON_FILE])
        super().save(folder)

    def _config(self) -> dict[str, object]:
        return {**self._files[CONFIG_FILE], "kind": self.kind, "fingerprint": self.fingerprint()}

    @classmethod
    def load(cls, folder: Path | str) -> "PublishedUnigramTokenizer":
        """Read the tokenizer of a published model's folder.

        Raises:
            UserError: a file is missing or damaged, or asks for something that is not supported here.
        """
        file = Path(folder) / JSON_FILE
        try:
            return from_tokenizer_json(read_json(file), read_names(Path(folder)))
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise UserError(f"{file} is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def is_unigram(content: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` holds a unigram model."""
    return isinstance(content.get("model"), dict) and content["model"].get("type") == "Unigram"


def from_tokenizer_json(content: dict[str, Any], config: dict[str, Any]) -> PublishedUnigramTokenizer:
    """Build the tokenizer of a `tokenizer.json`, with the special tokens of `tokenizer_config.json`.

    Raises:
        UserError: it asks for something that is not supported here.
    """
    model = content["model"]
    if model.get("byte_fallback"):
        raise UserError("its unigram model falls back on bytes, which llmasos does not support; choose another model.")
    if first_token(content.get("post_processor")) is not None:
        raise UserError("it puts a special token before a text, which llmasos does not support for a unigram model; "
                        "choose another model.")  # fmt: skip
    split_words, prefix = read_splitting(content.get("pre_tokenizer"))
    pieces = [(str(piece), score) for piece, score in model["vocab"]]
    added = read_added_tokens(content, config, {piece: id for id, (piece, _) in enumerate(pieces)})
    end = end_token(config, added)
    return PublishedUnigramTokenizer(
        pieces,
        model["unk_id"],
        added,
        read_normalizer(content.get("normalizer")),
        split_words,
        prefix,
        read_strip(content.get("decoder"), byte_fallback=False),
        end,
        token_name(config.get("pad_token")) or end,
        {JSON_FILE: content, CONFIG_FILE: config},
    )


def read_splitting(section: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Return whether texts are split at white space, and where a ▁ is put. Raises UserError for anything else."""
    split_words, prefix = False, None
    for part in parts_of(section, "pretokenizers"):
        if part["type"] == "WhitespaceSplit" and prefix is None:
            split_words = True
        elif (
            part["type"] == "Metaspace" and part["replacement"] == SPACE and prefix is None and part.get("split", True)
        ):
            scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
            prefix = {"always": "all", "first": "first", "never": "never"}[scheme]
        else:
            raise unsupported("pre_tokenizer", part)
    if prefix is None or (split_words and prefix != "all"):
        raise UserError(f"its pre_tokenizer does not put {SPACE} before each word; choose another model.")
    return split_words, prefix


def read_normalizer(section: Mapping[str, Any] | None) -> Step:
    """Return what normalizes a text. Raises UserError for a step that is not supported."""
    steps: list[Step] = []
    for part in parts_of(section, "normalizers"):
        if part["type"] == "Precompiled":
            charsmap = CharacterMap(base64.b64decode(part["precompiled_charsmap"]))
            steps.append(partial(replace_clusters, charsmap))
        elif part["type"] == "Strip":
            left, right = part["strip_left"], part["strip_right"]
            steps += [strip_left] * left + [strip_right] * right
        elif part["type"] == "Replace" and part["pattern"] in ({"Regex": " {2,}"}, {"String": " "}):
            pattern = regex.compile(next(iter(part["pattern"].values())))
            steps.append(partial(replace_pattern, pattern, part["content"]))
        else:
            raise unsupported("normalizer", part)

    return partial(apply_steps, steps)


def apply_steps(steps: Sequence[Step], text: str) -> str:
    """Apply one step after the other; a function with a name, so that a tokenizer can be pickled."""
    for step in steps:
        text = step(text)
    return text


def strip_left(text: str) -> str:
    """Remove white space at the start of a text."""
    return text.lstrip(WHITE_SPACE)


def strip_right(text: str) -> str:
    """Remove white space at the end of a text."""
    return text.rstrip(WHITE_SPACE)


def replace_pattern(pattern: regex.Pattern, new: str, text: str) -> str:
    """Replace what a pattern matches."""
    return pattern.sub(lambda match: new, text)


def replace_clusters(charsmap: CharacterMap, text: str) -> str:
    """Replace each cluster of characters (a letter with its accents) by the entry of the shortest string at its start.

    Long clusters, and those without an entry, are replaced character by character.
    """
    out = []
    for cluster in CLUSTERS.findall(text):
        new = charsmap.shortest_match(cluster.encode()) if len(cluster.encode()) < MAX_CLUSTER else None
        if new is not None:
            out.append(new)
            continue
        for character in cluster:
            new = charsmap.shortest_match(character.encode())
            out.append(character if new is None else new)
    return "".join(out)


def split_at_white_space(text: str) -> list[str]:
    """Return the words of a text.

    >>> split_at_white_space(" two\\u3000words ")
    ['two', 'words']
    """
    return [word for word in regex.split(f"[{WHITE_SPACE}]+", text) if word]
