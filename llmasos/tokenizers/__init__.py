"""Tokenizers: text to ids and back.

Read `tokenizer` (the base class) and `added_tokens`, then `char` and `byte` (the two simple tokenizers),
`bytes_to_unicode`, `word_counts`, `bpe_trainer` and `bpe` (byte-pair encoding, trained here), `openai` (OpenAI's
encodings), `bert_pretokenizer`, `wordpiece_trainer` and `wordpiece` (BERT's tokenizer), `pair_template` and `offsets`
(inputs of encoders and extractive tasks), `encode_iterable` (a corpus, on all cores), and `incremental_detokenizer`
(text while it is generated). The tokenizers
that come with published models are in `llmasos.hub.tokenizers`.
"""

from collections.abc import Iterable
from pathlib import Path

from llmasos.errors import UserError
from llmasos.tokenizers.added_tokens import added_tokens_of
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE, BPETokenizer
from llmasos.tokenizers.byte import ByteTokenizer
from llmasos.tokenizers.char import CharTokenizer
from llmasos.tokenizers.incremental_detokenizer import IncrementalDetokenizer
from llmasos.tokenizers.offsets import Encoding
from llmasos.tokenizers.openai import OPENAI_FILES, OpenAITokenizer
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import (
    CONFIG_FILE,
    END_OF_TEXT,
    Tokenizer,
    check_fingerprint,
    read_tokenizer_config,
)
from llmasos.tokenizers.wordpiece import VOCAB_FILE as WORDPIECE_FILE
from llmasos.tokenizers.wordpiece import WordPieceTokenizer

OPENAI_ENCODINGS = tuple(OPENAI_FILES)
TOKENIZERS = ("char", "byte", "bpe", "wordpiece", *OPENAI_ENCODINGS)

__all__ = [
    "END_OF_TEXT",
    "TOKENIZERS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "EncodedInput",
    "Encoding",
    "IncrementalDetokenizer",
    "OpenAITokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "load_tokenizer",
    "train_tokenizer",
]


def train_tokenizer(
    kind: str,
    documents: Iterable[str],
    vocab_size: int | None = None,
    special_tokens: Iterable[str] = (END_OF_TEXT,),
    lowercase: bool = False,
) -> Tokenizer:
    """Train a tokenizer on `documents`, if this type is trained.

    Args:
        kind: the type: char, byte, bpe, wordpiece, gpt2 or cl100k_base.
        documents: the training texts; byte, gpt2 and cl100k_base are not trained and do not read them.
        vocab_size: for bpe and wordpiece, the number of ids; for char, the maximum number (None: all characters). The
            others have a fixed vocabulary and ignore it.
        special_tokens: names of the special tokens, including `<|endoftext|>`. WordPiece and OpenAI's encodings have
            their own.
        lowercase: whether to lower-case the training texts and all texts that are encoded later. OpenAI's encodings
            cannot.

    Raises:
        UserError: the type is unknown, the vocabulary is too small, `documents` is a single string, there is no text to
            learn from, the type cannot have these special tokens or lower case, or one of OpenAI's encodings is not on
            this machine and cannot be downloaded.
    """
    if isinstance(documents, str):  # it would be read as a list of one-character documents
        raise UserError(f"documents is one text ({documents[:20]!r}...) and not a list of texts: pass [text].")
    special_tokens = tuple(special_tokens)
    if kind == "char":
        return CharTokenizer.train(documents, vocab_size, special_tokens, lowercase)
    if kind == "byte":
        return ByteTokenizer(special_tokens, lowercase)
    if kind in ("wordpiece", *OPENAI_ENCODINGS) and special_tokens != (END_OF_TEXT,):
        raise UserError(f"a {kind} tokenizer has its own special tokens, not {special_tokens}: choose bpe for those.")
    if kind in ("bpe", "wordpiece"):
        if vocab_size is None:
            raise UserError(f"a {kind} tokenizer needs a vocab_size: 4096 is good for a few megabytes of text.")
        if kind == "wordpiece":
            return WordPieceTokenizer.train(documents, vocab_size, lowercase)
        return BPETokenizer.train(documents, vocab_size, special_tokens, lowercase=lowercase)
    if kind in OPENAI_ENCODINGS:
        if lowercase:
            raise UserError(
                f"the {kind} encoding was trained with capitals and cannot lower-case: choose bpe for that."
            )
        return OpenAITokenizer(kind)
    raise UserError(f"there is no tokenizer {kind!r}: choose one of {', '.join(TOKENIZERS)}.")


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Open a folder written by `Tokenizer.save`, or a BERT's `vocab.txt`, or GPT-2's `vocab.json` and `merges.txt`.

    `llmasos.hub.tokenizers` also opens the tokenizers of other published models.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; names the file.
    """
    folder = Path(folder)
    config = read_tokenizer_config(folder)
    kind = config.get("kind", _detect_kind(folder))
    if kind is None:
        raise UserError(f"there is no tokenizer in {folder}: expected {CONFIG_FILE}, as written by Tokenizer.save.")
    if kind not in TOKENIZERS:
        raise UserError(
            f"{folder / CONFIG_FILE} names a tokenizer {kind!r} that is not known: expected {', '.join(TOKENIZERS)}."
        )
    tokenizer = OpenAITokenizer(kind) if kind in OPENAI_ENCODINGS else _load(kind, folder, config)
    check_fingerprint(tokenizer, folder, config)
    if kind != "wordpiece" and _read_flag(config, "add_bos_token", False):
        tokenizer.begin_of_text = tokenizer.end_of_text
    return tokenizer


def _detect_kind(folder: Path) -> str | None:
    """Return the type of a tokenizer whose config does not name it, judging by the files in `folder`."""
    if (folder / WORDPIECE_FILE).is_file():
        return "wordpiece"
    return "bpe" if (folder / VOCAB_FILE).is_file() and (folder / MERGES_FILE).is_file() else None


def _load(kind: str, folder: Path, config: dict) -> Tokenizer:
    """Build a tokenizer from the files in `folder`.

    Raises:
        UserError: the files are damaged, or ask for something that is not supported here.
    """
    try:
        if kind == "wordpiece":
            if not _read_flag(config, "tokenize_chinese_chars", True):
                raise UserError(f"{CONFIG_FILE} asks to leave Chinese text in one piece, which is not supported here.")
            strip_accents = None if config.get("strip_accents") is None else _read_flag(config, "strip_accents", False)
            added = added_tokens_of(config)
            return WordPieceTokenizer.load(folder, _read_flag(config, "do_lower_case", True), strip_accents, added)
        lowercase = _read_flag(config, "lowercase", False)
        if kind == "bpe":
            return BPETokenizer.load(folder, lowercase)
        special_tokens = config.get("special_tokens")
        if not isinstance(special_tokens, dict) or not all(type(id) is int for id in special_tokens.values()):
            raise UserError(
                f"{CONFIG_FILE} is damaged: expected special_tokens with an id for each; copy the folder again."
            )
        names = sorted(special_tokens, key=special_tokens.__getitem__)
        if kind == "byte":
            return ByteTokenizer(names, lowercase)
        return CharTokenizer.load(folder, names, lowercase)
    except UserError as error:
        raise UserError(f"could not open the tokenizer in {folder}: {error}") from error


def _read_flag(config: dict, name: str, default: bool) -> bool:
    """Return `config[name]`, or `default` if it is missing. Raises `UserError` if it is neither true nor false."""
    flag = config.get(name, default)
    if not isinstance(flag, bool):
        raise UserError(f"{CONFIG_FILE} is damaged: {name} is {flag!r}, expected true or false; copy it again.")
    return flag
