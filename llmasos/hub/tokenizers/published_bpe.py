"""The byte-level BPE tokenizers of published models: GPT-2, Llama 3, Qwen, SmolLM2, RoBERTa and similar ones.

It is the same algorithm as in `bpe`, but five things vary: the id of each token (in `bpe` it is the rank of its merge;
here it can be anything), how a text is split into words, whether it is normalized first, whether a space is put before
it, and which tokens are added. All of this is in a folder's `tokenizer.json` or, without that file, in `vocab.json` and
`merges.txt`.

    text --NFC?--> text --split pattern--> words --tiktoken, by rank--> ranks --table--> ids

If such a file requires anything else (other normalizers, patterns that drop characters), an error names it.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from llmasos.errors import UserError
from llmasos.hub.tokenizers.nfc import nfc_origins
from llmasos.hub.tokenizers.pattern_limits import check_pattern
from llmasos.hub.tokenizers.tokenizer_json import (
    JSON_FILE,
    begin_token,
    end_token,
    read_added_tokens,
    read_names,
    token_name,
    with_begin_token,
    without_ids_from,
)
from llmasos.storage import read_json, read_small_lines, write_json
from llmasos.tokenizers.added_tokens import AddedToken
from llmasos.tokenizers.bytes_to_unicode import BYTE_TO_CHARACTER, BYTES_BY_ID, CHARACTER_TO_BYTE, from_visible
from llmasos.tokenizers.offsets import Encoding
from llmasos.tokenizers.tiktoken_backed import TiktokenTokenizer
from llmasos.tokenizers.tokenizer import CLS, CONFIG_FILE, END_OF_TEXT, MASK, PAD, SEP, prepare, token_table
from llmasos.tokenizers.word_counts import SPLIT_PATTERN

# Qwen's words: GPT-4's, but each digit on its own.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# GPT-2's words after each digit has been split off: white space before a digit is then white space at an end, and no
# digit includes the space before it.
DIGITS_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++|\s++$|\s++(?=\p{N})|\s+(?!\S)|\s"


class PublishedBPETokenizer(TiktokenTokenizer):
    """Byte-level BPE with any ids, split pattern and added tokens."""

    kind = "published-bpe"

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        added_tokens: Iterable[AddedToken],
        pattern: str = SPLIT_PATTERN,
        nfc: bool = False,
        whole_words: bool = False,
        prefix_space: bool = False,
        end: str = END_OF_TEXT,
        begin: str | None = None,
        trim_offsets: bool = False,
        aliases: Mapping[str, str] | None = None,
        files: dict[str, Any] | None = None,
    ):
        """Build the token table and the `tiktoken.Encoding`.

        Args:
            vocabulary: every token in GPT-2's visible alphabet (added ones may be among them) → its id.
            merges: pairs of tokens in that alphabet, in the order in which they were learned.
            added_tokens: special tokens, and others that are looked for in a text first.
            pattern: the regular expression that splits a text into words.
            nfc: whether texts are composed first (Unicode's form C: é is one character, not two).
            whole_words: whether a word that is itself a token becomes that token, even if no merges lead to it.
            prefix_space: whether a text without a space at its start gets one, as other words have.
            end: the special token that ends a text.
            begin: the special token at the start of a text; None = none.
            trim_offsets: whether the offsets of a token leave out its spaces.
            aliases: for an encoder, BERT's names ([CLS], [MASK], …) of some special tokens → their names here. A text
                can contain both, and two texts have two separators between them, as RoBERTa's have.
            files: name → content of the original JSON files, to be saved again.

        Raises:
            UserError: a byte or a merge's token is not in the vocabulary, an id is impossible, the pattern could take
                forever, or `end` or `begin` is not a special token.
        """
        check_pattern(pattern)
        added = {token.content: token for token in added_tokens}
        special = {name: token.id for name, token in added.items() if token.special}
        for name in (end, *([begin] if begin else [])):
            if name not in special:
                raise UserError(f"the tokenizer's special token {name!r} is not in its vocabulary; fetch it again.")
        self.split_pattern, self.nfc, self.whole_words, self.prefix_space = pattern, nfc, whole_words, prefix_space
        self._end, self.begin_of_text, self.trim_offsets = special[end], special[begin] if begin else None, trim_offsets
        self._files = files or {}
        ranked = list(dict.fromkeys([*SINGLE_BYTES, *(left + right for left, right in merges)]))
        if missing := [token for token in ranked if token not in vocabulary]:
            raise UserError(f"the tokenizer's vocabulary has no {missing[0]!r}, which its merges make; fetch it again.")
        if whole_words:  # tokens that no merge creates come last
            known = {*ranked, *added}
            ranked += [token for token in vocabulary if token not in known and CHARACTER_TO_BYTE.keys() >= {*token}]
        as_bytes = [from_visible(token) for token in ranked]
        ordinary = [(bytes_of(token), id) for token, id in vocabulary.items() if token not in added]
        tokens = token_table(ordinary + [(name.encode(), token.id) for name, token in added.items()])
        self._id_of_rank = np.array([vocabulary[token] for token in ranked], dtype=np.uint32)
        encoding = tiktoken.Encoding(
            "published", pat_str=pattern, mergeable_ranks={token: rank for rank, token in enumerate(as_bytes)},
            special_tokens={},
        )  # fmt: skip
        self._is_encoder = bool(aliases)
        for alias, name in (aliases or {}).items():
            if name in special and alias not in added:
                added[alias], special[alias] = added[name]._replace(content=alias), special[name]
        by_id = dict(sorted(special.items(), key=lambda item: item[1]))
        super().__init__(encoding, tokens, by_id, added_tokens=added.values())
        self.newlines_end_words = r"[\r\n]" in pattern

    @property
    def end_of_text(self) -> int:
        """The id of the special token that ends a text."""
        return self._end

    def _template(self) -> tuple[list[int], int, int]:
        prefix, separator, n_between = super()._template()
        return prefix, separator, 2 if self._is_encoder else n_between

    def _encode_ordinary(self, text: str) -> np.ndarray:
        return self._id_of_rank[super()._encode_ordinary(text)]

    def _prepare(self, text: str) -> str:
        text = prepare(text, lowercase=False)
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def _space_before(self, part: str, is_first: bool) -> str:
        return " " if self.prefix_space and not part.startswith(" ") else ""

    def _origins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        return nfc_origins(text) if self.nfc else super()._origins(text)

    def encode_with_offsets(self, text: str, allow_special: bool = False, ordinary: Sequence[int] = ()) -> Encoding:
        """See `Tokenizer.encode_with_offsets`; spaces may be left out."""
        encoding = super().encode_with_offsets(text, allow_special, ordinary)
        return self._trimmed(encoding, text) if self.trim_offsets else encoding

    def _trimmed(self, encoding: Encoding, text: str) -> Encoding:
        """Return an encoding whose offsets leave out the spaces of the tokens."""
        added = {token.id for token in self.added_tokens}
        starts, ends = [], []
        for id, start, end in zip(encoding.ids, encoding.starts, encoding.ends, strict=True):
            # An added token may have taken any white space; of other tokens only spaces are left out, not line ends.
            token = text[start:end] if id in added else self._tokens[id].decode("latin-1")
            spaces = None if id in added else " "
            n_before = len(token) - len(token.lstrip(spaces))
            n_after = len(token) - len(token.rstrip(spaces))
            if n_before == 1 and start == 0 and self.prefix_space:  # it was put there: the text has none
                n_before = 0
            start = min(start + n_before, end)
            starts.append(start)
            ends.append(max(end - n_after, start))
        return encoding._replace(starts=starts, ends=ends)

    def _rules(self) -> list[object]:
        rules = [*super()._rules(), self.nfc, self.whole_words, self._end, self.begin_of_text]
        return [*rules, "prefix_space"] if self.prefix_space else rules

    def save(self, folder: Path | str) -> None:
        """Write the files from which the tokenizer was loaded, unchanged."""
        for name, content in self._files.items():
            if name != CONFIG_FILE:
                write_json(Path(folder) / name, content)
        super().save(folder)

    def _config(self) -> dict[str, object]:
        return {**self._files.get(CONFIG_FILE, {}), "kind": self.kind, "fingerprint": self.fingerprint()}

    def without_ids_from(self, n: int) -> "PublishedBPETokenizer":
        """Return the same tokenizer without its added tokens with ids from n on."""
        return from_tokenizer_json(*without_ids_from(n, self._files[JSON_FILE], self._files[CONFIG_FILE]))

    @classmethod
    def load(cls, folder: Path | str) -> "PublishedBPETokenizer":
        """Read the tokenizer of a published model's folder.

        Raises:
            UserError: a file is missing or damaged, or asks for something that is not supported here.
        """
        folder = Path(folder)
        config, file = read_names(folder), folder / JSON_FILE
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
    content = with_begin_token(content, config)
    model = content["model"]
    check_options(model, ("unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk"))
    added = read_added_tokens(content, config, model["vocab"])
    pre_tokenizer, processor = content.get("pre_tokenizer"), content.get("post_processor")
    return PublishedBPETokenizer(
        model["vocab"],
        read_pairs(model["merges"]),
        added,
        split_pattern(pre_tokenizer),
        uses_nfc(content.get("normalizer")),
        bool(model.get("ignore_merges")),
        puts_space_before(pre_tokenizer, config),
        end_token(config, added),
        begin_token(content, config),
        trims_offsets(processor),
        encoder_names(processor, config),
        {JSON_FILE: content, CONFIG_FILE: config},
    )


def encoder_names(processor: dict[str, Any] | None, config: Mapping[str, Any]) -> dict[str, str]:
    """Return BERT's names of an encoder's special tokens → its own names; {} if it is not RoBERTa's kind."""
    if processor is None or processor["type"] != "RobertaProcessing":
        return {}
    roles = {PAD: token_name(config.get("pad_token")), MASK: token_name(config.get("mask_token"))}
    names = {CLS: processor["cls"][0], SEP: processor["sep"][0], **roles}
    return {alias: name for alias, name in names.items() if name}


def check_options(model: Mapping[str, Any], unsupported: Sequence[str]) -> None:
    """Raise UserError if a model of a `tokenizer.json` is not BPE, or has one of these options."""
    options = [name for name in unsupported if model.get(name)]
    if model.get("type", "BPE") != "BPE" or options:
        raise UserError(
            f"its model is {model.get('type')!r}{f' with {options[0]}' if options else ''}; llmasos supports "
            "byte-level BPE, BPE with byte fallback, WordPiece, and unigram models. Choose a model with another one."
        )


def read_pairs(merges: Iterable[str | Sequence[str]]) -> list[tuple[str, str]]:
    """Return merges as pairs; older files hold each as one text with a space."""
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in merges)
    return [(left, right) for left, right in pairs]


def bytes_of(token: str) -> bytes:
    """Return the bytes of a token: read in the visible alphabet, or its UTF-8 if a character is not in it."""
    return from_visible(token) if CHARACTER_TO_BYTE.keys() >= {*token} else token.encode()


def to_tokenizer_json(vocabulary: dict[str, int], merges: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """Return the equivalent `tokenizer.json` of an older folder with `vocab.json` and `merges.txt`.

    Raises:
        UserError: the split pattern of this tokenizer class is unknown here.
    """
    tokenizer_class = (config.get("tokenizer_class") or "GPT2Tokenizer").removesuffix("Fast")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": tokenizer_class != "Qwen2Tokenizer"}
    pre_tokenizer: dict[str, Any] = byte_level
    normalizer = processor = None
    added: list[str] = []
    if tokenizer_class == "RobertaTokenizer":
        added = [name for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>") if name in vocabulary]
        ends = {role: [name, vocabulary[name]] for role, name in (("cls", "<s>"), ("sep", "</s>"))}
        processor = {"type": "RobertaProcessing", **ends, "trim_offsets": True, "add_prefix_space": True}
    elif tokenizer_class == "GPT2Tokenizer":
        added = [END_OF_TEXT] if END_OF_TEXT in vocabulary else []
        if config.get("add_bos_token"):
            begin = {"SpecialToken": {"id": token_name(config.get("bos_token", END_OF_TEXT)), "type_id": 0}}
            processor = {"type": "TemplateProcessing", "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}]}
    elif tokenizer_class == "Qwen2Tokenizer":
        split = {"type": "Split", "pattern": {"Regex": QWEN_PATTERN}, "behavior": "Isolated", "invert": False}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, byte_level]}
        normalizer = {"type": "NFC"}
    else:
        raise UserError(
            f"the tokenizer is a {tokenizer_class}; without {JSON_FILE} llmasos knows GPT2Tokenizer, "
            "RobertaTokenizer, Qwen2Tokenizer."
        )
    return {
        "added_tokens": [{"id": vocabulary[name], "content": name, "special": True} for name in added],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": processor,
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
    use_regex = types[-1] == "ByteLevel" and last.get("use_regex", True)
    if types == ["ByteLevel"] and use_regex:
        return SPLIT_PATTERN
    if types[-1] == "ByteLevel" and not last.get("add_prefix_space", True):
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


def puts_space_before(pre_tokenizer: dict[str, Any] | None, config: Mapping[str, Any]) -> bool:
    """Whether a text without a space at its start gets one; `tokenizer_config.json` can turn it off."""
    return pre_tokenizer is not None and pre_tokenizer["type"] == "ByteLevel" and bool(config.get("add_prefix_space"))


def trims_offsets(processor: dict[str, Any] | None) -> bool:
    """Whether the offsets of a token leave out its spaces."""
    parts = processor.get("processors", [processor]) if processor else []
    return any(part.get("trim_offsets", True) for part in parts if part["type"] in ("ByteLevel", "RobertaProcessing"))


def uses_nfc(normalizer: dict[str, Any] | None) -> bool:
    """Whether texts are composed (NFC). Raises `UserError` for any other normalizer."""
    if normalizer is None or (normalizer["type"] == "Sequence" and not normalizer["normalizers"]):
        return False
    if normalizer["type"] != "NFC":
        raise UserError(f"its normalizer is {normalizer['type']!r}; llmasos supports NFC and none.")
    return True


SINGLE_BYTES = tuple(map(BYTE_TO_CHARACTER.__getitem__, BYTES_BY_ID))
