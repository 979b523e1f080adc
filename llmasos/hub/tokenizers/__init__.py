"""Tokenizers that come with published models: byte-level BPE in `tokenizer.json`, and Marian's SentencePiece."""

from pathlib import Path

from llmasos import tokenizers
from llmasos.errors import UserError
from llmasos.hub.tokenizers.marian_tokenizer import SOURCE, MarianTokenizer
from llmasos.hub.tokenizers.published_bpe import JSON_FILE, PublishedBPETokenizer
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE
from llmasos.tokenizers.wordpiece import VOCAB_FILE as WORDPIECE_FILE

PUBLISHED = {"published-bpe": PublishedBPETokenizer, "marian": MarianTokenizer}


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Open any tokenizer: one that `Tokenizer.save` wrote, or that of a published model.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; says which file.
    """
    folder = Path(folder)
    config = tokenizers.read_config(folder)
    kind = config.get("kind", published_kind(folder, config))
    if kind not in PUBLISHED:
        return tokenizers.load_tokenizer(folder)
    try:
        tokenizer = PUBLISHED[kind].load(folder)
    except UserError as error:
        raise UserError(f"could not open the tokenizer in {folder}: {error}") from error
    return tokenizers.check_fingerprint(tokenizer, folder, config)


def published_kind(folder: Path, config: dict) -> str | None:
    """The kind of a published tokenizer by the files in a folder; None for the kinds of `llmasos.tokenizers`."""
    if (folder / SOURCE).is_file():
        return "marian"
    if (folder / WORDPIECE_FILE).is_file():
        return None
    if (folder / JSON_FILE).is_file():
        return "published-bpe"
    is_bpe = (folder / VOCAB_FILE).is_file() and (folder / MERGES_FILE).is_file()
    return "published-bpe" if is_bpe and not config.get("tokenizer_class", "GPT2Tokenizer").startswith("GPT2") else None
