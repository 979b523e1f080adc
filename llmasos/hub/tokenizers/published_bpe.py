"""The byte-level BPE tokenizers of published models: GPT-2, Llama 3, Qwen, SmolLM2 and similar ones.

It is the same algorithm as in `bpe`, but four things vary: the id of each token (in `bpe` it is the rank of its merge;
here it can be anything), how a text is split into words, whether it is normalized first, and which tokens are special.
All of this is in a folder's `tokenizer.json` or, without that file, in `vocab.json` and `merges.txt`.

    text --NFC?--> text --split pattern--> words --tiktoken, by rank--> ranks --table--> ids

If such a file asks for anything else (models other than byte-level BPE, other normalizers, words that lose characters),
an error names it.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from llmasos.errors import UserError
from llmasos.hub.tokenizers.pattern_limits import check_pattern
from llmasos.storage import read_json, read_small_lines, write_json
from llmasos.tokenizers.bytes_to_unicode import BYTE_TO_CHARACTER, BYTES_BY_ID, from_visible
from llmasos.tokenizers.offsets import CLUSTER, origins
from llmasos.tokenizers.tiktoken_backed import TiktokenTokenizer
from llmasos.tokenizers.tokenizer import CONFIG_FILE, END_OF_TEXT, prepare, token_table
from llmasos.tokenizers.word_counts import SPLIT_PATTERN

JSON_FILE = "tokenizer.json"
# Qwen's words: GPT-4's, but each digit on its own.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# GPT-2's words after each digit has been split off: white space before a digit is then white space at an end, and no
# digit includes the space before it.
DIGITS_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++|\s++$|\s++(?=\p{N})|\s+(?!\S)|\s"


class PublishedBPETokenizer(TiktokenTokenizer):
    """Byte-level BPE with any ids, split pattern and special tokens."""

    kind = "published-bpe"

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: Sequence[tuple[str, str]],
        special_tokens: dict[str, int],
        pattern: str = SPLIT_PATTERN,
        nfc: bool = False,
        whole_words: bool = False,
        end: str = END_OF_TEXT,
        begin: str | None = None,
        files: dict[str, Any] | None = None,
    ):
        """Build the token table and the `tiktoken.Encoding`.

        Args:
            vocabulary: every token in GPT-2's visible alphabet (special ones may be among them) → its id.
            merges: pairs of tokens in that alphabet, in the order in which they were learned.
            special_tokens: their names → ids.
            pattern: the regular expression that splits a text into words.
            nfc: whether texts are composed first (Unicode's form C: é is one character, not two).
            whole_words: whether a word that is itself a token becomes that token, even if no merges lead to it.
            end: the special token that ends a text.
            begin: the special token at the start of a text; None = none.
            files: name → content of the original JSON files, to be saved again.

        Raises:
            UserError: a byte or a merge's token is not in the vocabulary, an id is impossible, the pattern could take
                for ever, or `end` or `begin` is not a special token.
        """
        check_pattern(pattern)
        for name in (end, *([begin] if begin else [])):
            if name not in special_tokens:
                raise UserError(f"the tokenizer's special token {name!r} is not in its vocabulary; fetch it again.")
        self.split_pattern, self.nfc, self.whole_words = pattern, nfc, whole_words
        self._end, self.begin_of_text = special_tokens[end], special_tokens[begin] if begin else None
        self._files = files or {}
        ordinary = {token: id for token, id in vocabulary.items() if token not in special_tokens}
        ranked = list(dict.fromkeys([*SINGLE_BYTES, *(left + right for left, right in merges)]))
        if missing := [token for token in ranked if token not in ordinary]:
            raise UserError(f"the tokenizer's vocabulary has no {missing[0]!r}, which its merges make; fetch it again.")
        if whole_words:  # tokens that no merge creates come last
            merged = set(ranked)
            ranked += [token for token in ordinary if token not in merged]
        as_bytes = [from_visible(token) for token in ranked]
        tokens = token_table(
            [(from_visible(token), id) for token, id in ordinary.items()]
            + [(name.encode(), id) for name, id in special_tokens.items()]
        )
        self._id_of_rank = np.array([ordinary[token] for token in ranked], dtype=np.uint32)
        encoding = tiktoken.Encoding(
            "published", pat_str=pattern, mergeable_ranks={token: rank for rank, token in enumerate(as_bytes)},
            special_tokens={},
        )  # fmt: skip
        super().__init__(encoding, tokens, dict(sorted(special_tokens.items(), key=lambda item: item[1])))
        self.newlines_end_words = r"[\r\n]" in pattern

    @property
    def end_of_text(self) -> int:
        """The id of the special token that ends a text."""
        return self._end

    def _encode_ordinary(self, text: str) -> np.ndarray:
        return self._id_of_rank[super()._encode_ordinary(text)]

    def _prepare(self, text: str) -> str:
        text = prepare(text, lowercase=False)
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def _origins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        return origins(text, self._prepare, CLUSTER) if self.nfc else super()._origins(text)

    def _rules(self) -> list[object]:
        return [*super()._rules(), self.nfc, self.whole_words, self._end, self.begin_of_text]

    def save(self, folder: Path | str) -> None:
        """Write the files from which the tokenizer was loaded, unchanged."""
        for name, content in self._files.items():
            if name != CONFIG_FILE:
                write_json(Path(folder) / name, content)
        super().save(folder)

    def _config(self) -> dict[str, object]:
        return {**self._files.get(CONFIG_FILE, {}), "kind": self.kind, "fingerprint": self.fingerprint()}

    @classmethod
    def load(cls, folder: Path | str) -> "PublishedBPETokenizer":
        """Read the tokenizer of a published model's folder.

        Raises:
            UserError: a file is missing or damaged, or asks for something that is not supported here.
        """
        folder = Path(folder)
        config = read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
        file = folder / JSON_FILE
        try:
            if file.is_file():
                content = read_json(file)
            else:
                file = folder / "vocab.json"
                content = to_tokenizer_json(read_json(file), read_merges(folder / "merges.txt"), config)
            return from_tokenizer_json(content, config)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{file} is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def from_tokenizer_json(content: dict[str, Any], config: dict[str, Any]) -> PublishedBPETokenizer:
    """Build the tokenizer of a `tokenizer.json`, with the special tokens of `tokenizer_config.json`.

    Raises:
        UserError: it asks for something that is not supported here.
    """
    model = content["model"]
    options = ("unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk")
    unsupported = [name for name in options if model.get(name)]
    if model.get("type", "BPE") != "BPE" or unsupported:
        raise UserError(
            f"its model is {model.get('type')!r}{f' with {unsupported[0]}' if unsupported else ''}; llmasos supports "
            "byte-level BPE only. Choose a model with another tokenizer."
        )
    special = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    merges = [(left, right) for left, right in pairs]
    end = token_name(config.get("eos_token")) or (END_OF_TEXT if END_OF_TEXT in special else None)
    if end is None:
        raise UserError(
            f"the {CONFIG_FILE} next to it names no eos_token, so a text would have no end; fetch it again."
        )
    return PublishedBPETokenizer(
        model["vocab"],
        merges,
        special,
        split_pattern(content.get("pre_tokenizer")),
        uses_nfc(content.get("normalizer")),
        bool(model.get("ignore_merges")),
        end,
        first_token(content.get("post_processor")),
        {JSON_FILE: content, CONFIG_FILE: config},
    )


def to_tokenizer_json(vocabulary: dict[str, int], merges: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """Return the equivalent `tokenizer.json` of an older folder with `vocab.json` and `merges.txt`.

    Raises:
        UserError: the split pattern of this tokenizer class is unknown here.
    """
    tokenizer_class = config.get("tokenizer_class", "GPT2Tokenizer").removesuffix("Fast")
    added = {int(id): token["content"] for id, token in config.get("added_tokens_decoder", {}).items()}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": tokenizer_class == "GPT2Tokenizer"}
    if tokenizer_class == "GPT2Tokenizer":
        pre_tokenizer, normalizer = byte_level, None
        added = added or {vocabulary[END_OF_TEXT]: END_OF_TEXT}
    elif tokenizer_class == "Qwen2Tokenizer":
        split = {"type": "Split", "pattern": {"Regex": QWEN_PATTERN}, "behavior": "Isolated", "invert": False}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, byte_level]}
        normalizer = {"type": "NFC"}
    else:
        raise UserError(
            f"the tokenizer is a {tokenizer_class}; without {JSON_FILE} llmasos knows GPT2Tokenizer, Qwen2Tokenizer."
        )
    return {
        "added_tokens": [{"id": id, "content": name, "special": True} for id, name in sorted(added.items())],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }


def read_merges(path: Path) -> list[str]:
    """Return the lines of a `merges.txt`, without its header."""
    try:
        lines = read_small_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again.") from error
    return [line for line in lines if line and not line.startswith("#version")]


def split_pattern(pre_tokenizer: dict[str, Any] | None) -> str:
    """Return the regular expression of a `pre_tokenizer`.

    Raises:
        UserError: it splits texts in a way that is not supported here.
    """
    parts: list[Any] = [pre_tokenizer]
    if pre_tokenizer and pre_tokenizer["type"] == "Sequence":
        parts = pre_tokenizer["pretokenizers"]
    types = [part and part["type"] for part in parts]
    last = parts[-1]
    if types[-1] == "ByteLevel" and not last.get("add_prefix_space", True):
        use_regex = last.get("use_regex", True)
        if types == ["ByteLevel"] and use_regex:
            return SPLIT_PATTERN
        if types == ["Digits", "ByteLevel"] and parts[0]["individual_digits"] and use_regex:
            return DIGITS_PATTERN
        if types == ["Split", "ByteLevel"] and not use_regex:
            split = parts[0]
            if split["behavior"] == "Isolated" and not split.get("invert") and "Regex" in split["pattern"]:
                return split["pattern"]["Regex"]
    raise UserError(
        f"it splits texts into words by {', '.join(map(str, types))} in a way that llmasos does not support; choose a "
        "model with another tokenizer."
    )


def uses_nfc(normalizer: dict[str, Any] | None) -> bool:
    """Whether texts are composed (NFC). Raises `UserError` for any other normalizer."""
    if normalizer is None or (normalizer["type"] == "Sequence" and not normalizer["normalizers"]):
        return False
    if normalizer["type"] != "NFC":
        raise UserError(f"its normalizer is {normalizer['type']!r}; llmasos supports NFC and none.")
    return True


def first_token(processor: dict[str, Any] | None) -> str | None:
    """Return the special token that a `post_processor` puts before a text, if any."""
    if processor is None:
        return None
    for part in processor.get("processors", [processor]):
        if part["type"] == "TemplateProcessing" and "SpecialToken" in part["single"][0]:
            return part["single"][0]["SpecialToken"]["id"]
    return None


def token_name(token: str | dict[str, Any] | None) -> str | None:
    """Return a special token's name, which `tokenizer_config.json` writes in two ways."""
    return token["content"] if isinstance(token, dict) else token


SINGLE_BYTES = tuple(map(BYTE_TO_CHARACTER.__getitem__, BYTES_BY_ID))
