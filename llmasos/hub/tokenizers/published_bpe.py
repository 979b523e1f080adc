"""Byte-level byte-pair encoding as published models bring it: GPT-2, Llama 3, Qwen, SmolLM2 and their like.

It is the same algorithm as in `bpe`, with four things left open: which id a token has (in `bpe` it is the rank of its
merge; elsewhere anything), how a text is cut into words, whether it is normalised first, and which tokens are special.
All of it stands in a folder's `tokenizer.json`, or, without that, in `vocab.json` and `merges.txt`.

    text --NFC?--> text --split pattern--> words --tiktoken, by rank--> ranks --table--> ids

What such a file can ask for beyond that (other models than byte-level BPE, other normalisers, words that lose
characters) is refused by name.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from llmasos.errors import UserError
from llmasos.storage import read_json, write_json
from llmasos.tokenizers.bpe_trainer import SPLIT_PATTERN
from llmasos.tokenizers.bytes_to_unicode import BYTE_TO_CHARACTER, BYTES_BY_ID, from_visible
from llmasos.tokenizers.offsets import CLUSTER, origins
from llmasos.tokenizers.tiktoken_backed import TiktokenTokenizer
from llmasos.tokenizers.tokenizer import CONFIG_FILE, END_OF_TEXT, prepare

JSON_FILE = "tokenizer.json"
# Qwen's words: GPT-4's, but digits one by one.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# GPT-2's words in a text whose digits have been taken out one by one before: white space before a digit is then white
# space at an end, and no digit takes a space along.
DIGITS_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++|\s++$|\s++(?=\p{N})|\s+(?!\S)|\s"


class PublishedBPETokenizer(TiktokenTokenizer):
    """Byte-level BPE with ids, words and special tokens of any model."""

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
        """Build the table of tokens and the `tiktoken.Encoding`.

        Arguments:
            vocabulary: every token in GPT-2's visible alphabet (special ones may be among them) → its id.
            merges: pairs of tokens in that alphabet, in the order in which they were learned.
            special_tokens: their names → ids.
            pattern: cuts a text into words.
            nfc: whether texts are composed first (é as one character, not two; Unicode's form C).
            whole_words: whether a word that is a token itself becomes it at once, even where no merges lead to it.
            end: the special token that ends a text.
            begin: the special token that a text begins with; None = none.
            files: name → content of the JSON files that say all this, to be saved again.

        Raises:
            UserError: a byte or a merge's token is not in the vocabulary, or `end` or `begin` not among the special
                tokens.
        """
        for name in (end, *([begin] if begin else [])):
            if name not in special_tokens:
                raise UserError(f"the tokenizer's special token {name!r} is not in its vocabulary; fetch it again.")
        self.split_pattern, self.nfc, self.whole_words = pattern, nfc, whole_words
        self._end, self.begin_of_text = special_tokens[end], special_tokens[begin] if begin else None
        self._files = files or {}
        plain = {token: id for token, id in vocabulary.items() if token not in special_tokens}
        ranked = list(dict.fromkeys([*SINGLE_BYTES, *(left + right for left, right in merges)]))
        if missing := [token for token in ranked if token not in plain]:
            raise UserError(f"the tokenizer's vocabulary has no {missing[0]!r}, which its merges make; fetch it again.")
        if whole_words:  # what no merge makes comes last
            made = set(ranked)
            ranked += [token for token in plain if token not in made]
        as_bytes = [from_visible(token) for token in ranked]
        self._id_of_rank = np.array([plain[token] for token in ranked], dtype=np.uint32)
        encoding = tiktoken.Encoding(
            "published", pat_str=pattern, mergeable_ranks={token: rank for rank, token in enumerate(as_bytes)},
            special_tokens={},
        )  # fmt: skip
        tokens = [b""] * (1 + max([*vocabulary.values(), *special_tokens.values()]))
        for token, id in plain.items():
            tokens[id] = from_visible(token)
        for name, id in special_tokens.items():
            tokens[id] = name.encode()
        super().__init__(encoding, tokens, dict(sorted(special_tokens.items(), key=lambda item: item[1])))
        self.newlines_end_words = r"[\r\n]" in pattern

    @property
    def end_of_text(self) -> int:
        """The id of the special token that ends a text."""
        return self._end

    def _encode_plain(self, text: str) -> np.ndarray:
        return self._id_of_rank[super()._encode_plain(text)]

    def _prepare(self, text: str) -> str:
        text = prepare(text, lowercase=False)
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def _origins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        return origins(text, self._prepare, CLUSTER) if self.nfc else super()._origins(text)

    def _rules(self) -> list[object]:
        return [*super()._rules(), self.nfc, self.whole_words, self._end, self.begin_of_text]

    def save(self, folder: Path | str) -> None:
        """Write the files that the tokenizer came in, as they were."""
        for name, content in self._files.items():
            if name != CONFIG_FILE:
                write_json(Path(folder) / name, content)
        super().save(folder)

    def _config(self) -> dict[str, object]:
        ours = {"kind": self.kind, "fingerprint": self.fingerprint()}
        return {**self._files.get(CONFIG_FILE, {}), **ours}

    @classmethod
    def load(cls, folder: Path | str) -> "PublishedBPETokenizer":
        """Read the tokenizer of a published model's folder.

        Raises:
            UserError: a file is missing or damaged, or asks for what is not done here.
        """
        folder = Path(folder)
        config = read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
        file = folder / JSON_FILE
        try:
            if file.is_file():
                content = read_json(file)
            else:
                file = folder / "vocab.json"
                content = as_json(read_json(file), read_merges(folder / "merges.txt"), config)
            return of_json(content, config)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{file} is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def of_json(content: dict[str, Any], config: dict[str, Any]) -> PublishedBPETokenizer:
    """The tokenizer that a `tokenizer.json` describes, with what `tokenizer_config.json` says of its special tokens.

    Raises:
        UserError: it asks for what is not done here.
    """
    model = content["model"]
    odd = [name for name in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix") if model.get(name)]
    odd += [name for name in ("byte_fallback", "fuse_unk") if model.get(name)]
    if model.get("type", "BPE") != "BPE" or odd:
        raise UserError(
            f"its model is {model.get('type')!r}{f' with {odd[0]}' if odd else ''}; of such files llmasos knows "
            "byte-level BPE alone. Choose a model with another tokenizer."
        )
    special = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    end = name_of(config.get("eos_token")) or (END_OF_TEXT if END_OF_TEXT in special else None)
    if end is None:
        raise UserError(f"{CONFIG_FILE} beside it names no eos_token, so a text would have no end; fetch it again.")
    return PublishedBPETokenizer(
        model["vocab"],
        merges,
        special,
        split_pattern(content.get("pre_tokenizer")),
        normalises(content.get("normalizer")),
        bool(model.get("ignore_merges")),
        end,
        first_token(content.get("post_processor")),
        {JSON_FILE: content, CONFIG_FILE: config},
    )


def as_json(vocabulary: dict[str, int], merges: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """What `tokenizer.json` would say for an older folder with `vocab.json` and `merges.txt`.

    Raises:
        UserError: the tokenizer is of a class whose words are not known here.
    """
    kind = config.get("tokenizer_class", "GPT2Tokenizer").removesuffix("Fast")
    added = {int(id): token["content"] for id, token in config.get("added_tokens_decoder", {}).items()}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": kind == "GPT2Tokenizer"}
    if kind == "GPT2Tokenizer":
        words, normaliser = byte_level, None
        added = added or {vocabulary[END_OF_TEXT]: END_OF_TEXT}
    elif kind == "Qwen2Tokenizer":
        split = {"type": "Split", "pattern": {"Regex": QWEN_PATTERN}, "behavior": "Isolated", "invert": False}
        words, normaliser = {"type": "Sequence", "pretokenizers": [split, byte_level]}, {"type": "NFC"}
    else:
        raise UserError(f"the tokenizer is a {kind}; without {JSON_FILE} llmasos knows GPT2Tokenizer, Qwen2Tokenizer.")
    return {
        "added_tokens": [{"id": id, "content": name, "special": True} for id, name in sorted(added.items())],
        "normalizer": normaliser,
        "pre_tokenizer": words,
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }


def read_merges(path: Path) -> list[str]:
    """The lines of a `merges.txt`, without its heading."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again.") from error
    return [line for line in lines if line and not line.startswith("#version")]


def split_pattern(words: dict[str, Any] | None) -> str:
    """The regular expression that a `pre_tokenizer` stands for.

    Raises:
        UserError: it cuts texts in a way that is not known here.
    """
    parts = words["pretokenizers"] if words and words["type"] == "Sequence" else [words]
    kinds = [part and part["type"] for part in parts]
    last = parts[-1]
    if kinds[-1] == "ByteLevel" and not last.get("add_prefix_space", True):
        by_itself = last.get("use_regex", True)
        if kinds == ["ByteLevel"] and by_itself:
            return SPLIT_PATTERN
        if kinds == ["Digits", "ByteLevel"] and parts[0]["individual_digits"] and by_itself:
            return DIGITS_PATTERN
        if kinds == ["Split", "ByteLevel"] and not by_itself:
            split = parts[0]
            if split["behavior"] == "Isolated" and not split.get("invert") and "Regex" in split["pattern"]:
                return split["pattern"]["Regex"]
    raise UserError(
        f"it cuts texts into words by {', '.join(map(str, kinds))} in a way that llmasos does not know; choose a model "
        "with another tokenizer."
    )


def normalises(normaliser: dict[str, Any] | None) -> bool:
    """Whether texts are to be composed (NFC). Raises UserError for any other normaliser."""
    if normaliser is None or (normaliser["type"] == "Sequence" and not normaliser["normalizers"]):
        return False
    if normaliser["type"] != "NFC":
        raise UserError(f"its normaliser is {normaliser['type']!r}; llmasos knows NFC and none.")
    return True


def first_token(processor: dict[str, Any] | None) -> str | None:
    """The special token that a `post_processor` puts before a text."""
    if processor is None:
        return None
    for part in processor.get("processors", [processor]):
        if part["type"] == "TemplateProcessing" and "SpecialToken" in part["single"][0]:
            return part["single"][0]["SpecialToken"]["id"]
    return None


def name_of(token: str | dict[str, Any] | None) -> str | None:
    """A special token's name, which `tokenizer_config.json` writes in two ways."""
    return token["content"] if isinstance(token, dict) else token


SINGLE_BYTES = tuple(map(BYTE_TO_CHARACTER.__getitem__, BYTES_BY_ID))
