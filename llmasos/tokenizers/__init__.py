"""Text to ids and back.

Read `base` (what a tokenizer is), then `char` and `byte` (the two simple ones), `gpt2_alphabet`, `bpe_trainer` and
`bpe` (byte-pair encoding, learned here), `stock` (OpenAI's encodings) and `streaming` (text while it is generated).
"""

from collections.abc import Iterable
from pathlib import Path

from llmasos.errors import UserError
from llmasos.storage import read_json
from llmasos.tokenizers.base import CONFIG_FILE, END_OF_TEXT, Tokenizer
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE, BPETokenizer
from llmasos.tokenizers.byte import ByteTokenizer
from llmasos.tokenizers.char import CharTokenizer
from llmasos.tokenizers.stock import FILES, StockTokenizer
from llmasos.tokenizers.streaming import StreamDecoder

STOCK_KINDS = tuple(FILES)
KINDS = ("char", "byte", "bpe", *STOCK_KINDS)

__all__ = [
    "END_OF_TEXT",
    "KINDS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "StockTokenizer",
    "StreamDecoder",
    "Tokenizer",
    "load_tokenizer",
    "train_tokenizer",
]


def train_tokenizer(
    kind: str,
    documents: Iterable[str],
    vocab_size: int | None = None,
    special_tokens: Iterable[str] = (END_OF_TEXT,),
) -> Tokenizer:
    """Make a tokenizer, learning from `documents` what there is to learn.

    Arguments:
        kind: char, byte, bpe, gpt2 or cl100k_base.
        documents: the training texts; byte, gpt2 and cl100k_base learn nothing and do not read them.
        vocab_size: for bpe, the number of ids to reach; for char, the largest number allowed (None: all characters).
            The others have a fixed vocabulary and do not look at it.
        special_tokens: names of the special tokens, `<|endoftext|>` among them. The stock kinds bring their own.

    Raises:
        UserError: an unknown kind, a vocabulary too small, one text in place of a list, no text to learn from, special
            tokens for a stock kind, or a stock kind that is not on this machine and cannot be downloaded.
    """
    if isinstance(documents, str):  # it would be taken for a list of one-character documents
        raise UserError(f"documents is one text ({documents[:20]!r}...) and not a list of texts: pass [text]")
    special_tokens = tuple(special_tokens)
    if kind == "char":
        return CharTokenizer.train(documents, vocab_size, special_tokens)
    if kind == "byte":
        return ByteTokenizer(special_tokens)
    if kind == "bpe":
        if vocab_size is None:
            raise UserError("a bpe tokenizer needs a vocab_size to train to: 4096 is good for a few megabytes of text")
        return BPETokenizer.train(documents, vocab_size, special_tokens)
    if kind in STOCK_KINDS:
        if special_tokens != (END_OF_TEXT,):
            raise UserError(
                f"the {kind} encoding has its own special tokens, not {special_tokens}: choose bpe for those"
            )
        return StockTokenizer(kind)
    raise UserError(f"there is no tokenizer {kind!r}: choose one of {', '.join(KINDS)}")


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Open what `Tokenizer.save` wrote, or the `vocab.json` and `merges.txt` of a Hugging Face GPT-2 folder.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; says which file.
    """
    folder = Path(folder)
    config_file = folder / CONFIG_FILE
    has_bpe_files = (folder / VOCAB_FILE).is_file() and (folder / MERGES_FILE).is_file()
    if not config_file.is_file() and not has_bpe_files:
        raise UserError(f"there is no tokenizer in {folder}: expected {CONFIG_FILE}, as Tokenizer.save writes it")
    config = read_json(config_file) if config_file.is_file() else {}
    if not isinstance(config, dict):
        raise UserError(f"{config_file} is damaged: expected a JSON object; copy the folder again")
    kind = config.get("kind", "bpe" if has_bpe_files else None)  # a Hugging Face folder names no kind
    if kind not in KINDS:
        raise UserError(f"{config_file} names a tokenizer {kind!r} that is not known: expected {', '.join(KINDS)}")
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


def _open(kind: str, folder: Path, config: dict) -> Tokenizer:
    """Build the char, byte or bpe tokenizer whose files lie in `folder`. Raises `UserError` if they are damaged."""
    if kind == "bpe":
        return BPETokenizer.load(folder)
    special_tokens = config.get("special_tokens")
    if not isinstance(special_tokens, dict) or not all(type(id) is int for id in special_tokens.values()):
        raise UserError(f"{CONFIG_FILE} is damaged: expected special_tokens with an id for each; copy the folder again")
    names = sorted(special_tokens, key=special_tokens.__getitem__)
    return ByteTokenizer(names) if kind == "byte" else CharTokenizer.load(folder, names)
