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
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE, BPETokenizer
from llmasos.tokenizers.byte import ByteTokenizer
from llmasos.tokenizers.char import CharTokenizer
from llmasos.tokenizers.incremental_detokenizer import IncrementalDetokenizer
from llmasos.tokenizers.offsets import Encoding
from llmasos.tokenizers.openai import FILES, OpenAITokenizer
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import CONFIG_FILE, END_OF_TEXT, Tokenizer
from llmasos.tokenizers.wordpiece import VOCAB_FILE as WORDPIECE_FILE
from llmasos.tokenizers.wordpiece import WordPieceTokenizer

OPENAI_ENCODINGS = tuple(FILES)
KINDS = ("char", "byte", "bpe", "wordpiece", *OPENAI_ENCODINGS)  # those that can be made here

__all__ = [
    "END_OF_TEXT",
    "KINDS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "EncodedInput",
    "Encoding",
    "OpenAITokenizer",
    "IncrementalDetokenizer",
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
    if kind in ("wordpiece", *OPENAI_ENCODINGS) and special_tokens != (END_OF_TEXT,):
        raise UserError(f"a {kind} tokenizer has its own special tokens, not {special_tokens}: choose bpe for those")
    if kind == "wordpiece":
        return WordPieceTokenizer.train(documents, vocab_size, lowercase)
    if kind == "bpe":
        return BPETokenizer.train(documents, vocab_size, special_tokens, lowercase=lowercase)
    if kind in OPENAI_ENCODINGS:
        if lowercase:
            raise UserError(f"the {kind} encoding was learned with capitals and cannot lower-case: choose bpe for that")
        return OpenAITokenizer(kind)
    raise UserError(f"there is no tokenizer {kind!r}: choose one of {', '.join(KINDS)}")


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Open what `Tokenizer.save` wrote, or a BERT's `vocab.txt`, or GPT-2's `vocab.json` and `merges.txt`.

    The tokenizers of other published models are read by `llmasos.hub.tokenizers`.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; says which file.
    """
    folder = Path(folder)
    config = read_config(folder)
    kind = config.get("kind", _kind_by_files(folder))
    if kind is None:
        raise UserError(f"there is no tokenizer in {folder}: expected {CONFIG_FILE}, as Tokenizer.save writes it")
    if kind not in KINDS:
        raise UserError(
            f"{folder / CONFIG_FILE} names a tokenizer {kind!r} that is not known: expected {', '.join(KINDS)}"
        )
    return check_fingerprint(
        OpenAITokenizer(kind) if kind in OPENAI_ENCODINGS else opened(kind, folder, config), folder, config
    )


def opened(kind: str, folder: Path, config: dict) -> Tokenizer:
    """The tokenizer in a folder; an error names the folder."""
    try:
        return _open(kind, folder, config)
    except UserError as error:
        raise UserError(f"could not open the tokenizer in {folder}: {error}") from error


def read_config(folder: Path) -> dict:
    """The `tokenizer_config.json` of a folder, {} if there is none."""
    config_file = folder / CONFIG_FILE
    config = read_json(config_file) if config_file.is_file() else {}
    if not isinstance(config, dict):
        raise UserError(f"{config_file} is damaged: expected a JSON object; copy the folder again")
    return config


def check_fingerprint(tokenizer: Tokenizer, folder: Path, config: dict) -> Tokenizer:
    """Raise UserError unless the tokenizer has the fingerprint that was saved with it; return it."""
    if tokenizer.fingerprint() != config.get("fingerprint", tokenizer.fingerprint()):
        raise UserError(
            f"the tokenizer in {folder} is damaged: its files do not have the fingerprint that {CONFIG_FILE} states; "
            "copy the folder again (or, if you changed the vocabulary on purpose, delete the fingerprint there)"
        )
    return tokenizer


def _kind_by_files(folder: Path) -> str | None:
    """The kind of a tokenizer whose config names none, by the files that lie in `folder`."""
    if (folder / WORDPIECE_FILE).is_file():
        return "wordpiece"
    return "bpe" if (folder / VOCAB_FILE).is_file() and (folder / MERGES_FILE).is_file() else None


def _open(kind: str, folder: Path, config: dict) -> Tokenizer:
    """Build the tokenizer whose files lie in `folder`.

    Raises:
        UserError: they are damaged, or ask for what is not done here.
    """
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
