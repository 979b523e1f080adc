"""Text to ids and back.

Read `base` (what a tokenizer is), then `char` and `byte` (the two simple ones), `gpt2_alphabet`, `bpe_trainer` and
`bpe` (byte-pair encoding, learned here), `stock` (OpenAI's encodings), `published_bpe` (those of Llama, Qwen and the
like), `bert_text`, `wordpiece_trainer` and `wordpiece` (BERT's tokens), `sentencepiece_file`, `unigram` and `marian`
(those of translators), `frames` and `spans` (for models that read), and `streaming` (text while it is generated).
"""

from collections.abc import Iterable
from pathlib import Path

from llmasos.errors import UserError
from llmasos.storage import read_json
from llmasos.tokenizers.base import CONFIG_FILE, END_OF_TEXT, Tokenizer
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE, BPETokenizer
from llmasos.tokenizers.byte import ByteTokenizer
from llmasos.tokenizers.char import CharTokenizer
from llmasos.tokenizers.frames import Frame
from llmasos.tokenizers.marian import SOURCE, MarianTokenizer
from llmasos.tokenizers.published_bpe import JSON_FILE, PublishedBPETokenizer
from llmasos.tokenizers.spans import Spans
from llmasos.tokenizers.stock import FILES, StockTokenizer
from llmasos.tokenizers.streaming import StreamDecoder
from llmasos.tokenizers.wordpiece import VOCAB_FILE as WORDPIECE_FILE
from llmasos.tokenizers.wordpiece import WordPieceTokenizer

STOCK_KINDS = tuple(FILES)
KINDS = ("char", "byte", "bpe", "wordpiece", *STOCK_KINDS)  # those that can be made here
PUBLISHED_KINDS = ("published-bpe", "marian")  # and those that come with a published model

__all__ = [
    "END_OF_TEXT",
    "KINDS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Frame",
    "MarianTokenizer",
    "PublishedBPETokenizer",
    "Spans",
    "StockTokenizer",
    "StreamDecoder",
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
    """Make a tokenizer, learning from `documents` what there is to learn.

    Arguments:
        kind: char, byte, bpe, wordpiece, gpt2 or cl100k_base.
        documents: the training texts; byte, gpt2 and cl100k_base learn nothing and do not read them.
        vocab_size: for bpe and wordpiece, the number of ids to reach; for char, the largest number allowed (None: all
            characters). The others have a fixed vocabulary and do not look at it.
        special_tokens: names of the special tokens, `<|endoftext|>` among them. WordPiece and the stock kinds bring
            their own.
        lowercase: whether to lower-case texts, these and those to be encoded later. The stock kinds cannot.

    Raises:
        UserError: an unknown kind, a vocabulary too small, one text in place of a list, no text to learn from, special
            tokens or lower case for a kind that cannot have them, or a stock kind that is not on this machine and
            cannot be downloaded.
    """
    if isinstance(documents, str):  # it would be taken for a list of one-character documents
        raise UserError(f"documents is one text ({documents[:20]!r}...) and not a list of texts: pass [text]")
    special_tokens = tuple(special_tokens)
    if kind == "char":
        return CharTokenizer.train(documents, vocab_size, special_tokens, lowercase)
    if kind == "byte":
        return ByteTokenizer(special_tokens, lowercase)
    if kind in ("bpe", "wordpiece") and vocab_size is None:
        raise UserError(f"a {kind} tokenizer needs a vocab_size to train to: 4096 is good for a few megabytes of text")
    if kind in ("wordpiece", *STOCK_KINDS) and special_tokens != (END_OF_TEXT,):
        raise UserError(f"a {kind} tokenizer has its own special tokens, not {special_tokens}: choose bpe for those")
    if kind == "wordpiece":
        return WordPieceTokenizer.train(documents, vocab_size, lowercase)
    if kind == "bpe":
        return BPETokenizer.train(documents, vocab_size, special_tokens, lowercase=lowercase)
    if kind in STOCK_KINDS:
        if lowercase:
            raise UserError(f"the {kind} encoding was learned with capitals and cannot lower-case: choose bpe for that")
        return StockTokenizer(kind)
    raise UserError(f"there is no tokenizer {kind!r}: choose one of {', '.join(KINDS)}")


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Open what `Tokenizer.save` wrote, or the tokenizer of a published model: byte-level BPE (`tokenizer.json`, or
    `vocab.json` and `merges.txt`), BERT's (`vocab.txt`) or Marian's (`source.spm`).

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; says which file.
    """
    folder = Path(folder)
    config_file = folder / CONFIG_FILE
    config = read_json(config_file) if config_file.is_file() else {}
    if not isinstance(config, dict):
        raise UserError(f"{config_file} is damaged: expected a JSON object; copy the folder again")
    kind = _kind_by_files(folder, config)  # a Hugging Face folder names none
    if not config_file.is_file() and kind is None:
        raise UserError(f"there is no tokenizer in {folder}: expected {CONFIG_FILE}, as Tokenizer.save writes it")
    kind = config.get("kind", kind)
    if kind not in (known := (*KINDS, *PUBLISHED_KINDS)):
        raise UserError(f"{config_file} names a tokenizer {kind!r} that is not known: expected {', '.join(known)}")
    if kind in STOCK_KINDS:
        tokenizer = StockTokenizer(kind)
    else:
        try:
            tokenizer = _open(kind, folder, config)
        except UserError as error:
            raise UserError(f"could not open the tokenizer in {folder}: {error}") from error
    if tokenizer.fingerprint() != config.get("fingerprint", tokenizer.fingerprint()):
        raise UserError(
            f"the tokenizer in {folder} is damaged: its files do not have the fingerprint that {CONFIG_FILE} states; "
            "copy the folder again (or, if you changed the vocabulary on purpose, delete the fingerprint there)"
        )
    return tokenizer


def _kind_by_files(folder: Path, config: dict) -> str | None:
    """Return the kind of the tokenizer of a published model, by the files that lie in `folder`."""
    if (folder / SOURCE).is_file():
        return "marian"
    if (folder / WORDPIECE_FILE).is_file():
        return "wordpiece"
    if (folder / JSON_FILE).is_file():
        return "published-bpe"
    if not (folder / VOCAB_FILE).is_file() or not (folder / MERGES_FILE).is_file():
        return None
    return "bpe" if config.get("tokenizer_class", "GPT2Tokenizer").startswith("GPT2") else "published-bpe"


def _open(kind: str, folder: Path, config: dict) -> Tokenizer:
    """Build the tokenizer whose files lie in `folder`.

    Raises:
        UserError: they are damaged, or ask for what is not done here.
    """
    if kind in PUBLISHED_KINDS:
        return (MarianTokenizer if kind == "marian" else PublishedBPETokenizer).load(folder)
    if kind == "wordpiece":
        if not _read_flag(config, "tokenize_chinese_chars", True):
            raise UserError(f"{CONFIG_FILE} asks to leave Chinese text in one piece, which is not supported here")
        strip_accents = None if config.get("strip_accents") is None else _read_flag(config, "strip_accents", False)
        return WordPieceTokenizer.load(folder, _read_flag(config, "do_lower_case", True), strip_accents)
    lowercase = _read_flag(config, "lowercase", False)
    if kind == "bpe":
        return BPETokenizer.load(folder, lowercase)
    special_tokens = config.get("special_tokens")
    if not isinstance(special_tokens, dict) or not all(type(id) is int for id in special_tokens.values()):
        raise UserError(f"{CONFIG_FILE} is damaged: expected special_tokens with an id for each; copy the folder again")
    names = sorted(special_tokens, key=special_tokens.__getitem__)
    if kind == "byte":
        return ByteTokenizer(names, lowercase)
    return CharTokenizer.load(folder, names, lowercase)


def _read_flag(config: dict, name: str, default: bool) -> bool:
    """Return `config[name]`, or `default` if it is not there. Raises `UserError` if it is neither true nor false."""
    flag = config.get(name, default)
    if not isinstance(flag, bool):
        raise UserError(f"{CONFIG_FILE} is damaged: {name} is {flag!r}, expected true or false; copy it again")
    return flag
