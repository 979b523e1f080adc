"""Tokenizers that come with published models: byte-level BPE in `tokenizer.json`, and Marian's SentencePiece.

Read `published_bpe` (GPT-2, Llama 3, Qwen, SmolLM2), then `sentencepiece_file`, `unigram` and `marian_tokenizer`.
"""

from pathlib import Path

from llmasos import tokenizers
from llmasos.errors import UserError
from llmasos.hub.tokenizers.marian_tokenizer import SOURCE_FILE, MarianTokenizer
from llmasos.hub.tokenizers.published_bpe import JSON_FILE, PublishedBPETokenizer
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE
from llmasos.tokenizers.tokenizer import check_fingerprint, read_tokenizer_config
from llmasos.tokenizers.wordpiece import VOCAB_FILE as WORDPIECE_FILE

PUBLISHED_TOKENIZERS: dict[str, type[PublishedBPETokenizer] | type[MarianTokenizer]] = {
    "published-bpe": PublishedBPETokenizer,
    "marian": MarianTokenizer,
}


def load_any_tokenizer(folder: Path | str) -> Tokenizer:
    """Open any tokenizer: one written by `Tokenizer.save`, or that of a published model.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; names the file.
    """
    folder = Path(folder)
    config = read_tokenizer_config(folder)
    kind = config.get("kind", _detect_published_kind(folder, config))
    if kind not in PUBLISHED_TOKENIZERS:
        return tokenizers.load_tokenizer(folder)
    try:
        tokenizer = PUBLISHED_TOKENIZERS[kind].load(folder)
    except UserError as error:
        raise UserError(f"could not open the tokenizer in {folder}: {error}") from error
    check_fingerprint(tokenizer, folder, config)
    return tokenizer


def _detect_published_kind(folder: Path, config: dict) -> str | None:
    """Return the type of a published tokenizer, judging by its files; None for the types of `llmasos.tokenizers`."""
    if (folder / SOURCE_FILE).is_file():
        return "marian"
    if (folder / WORDPIECE_FILE).is_file():
        return None
    if (folder / JSON_FILE).is_file():
        return "published-bpe"
    is_bpe = (folder / VOCAB_FILE).is_file() and (folder / MERGES_FILE).is_file()
    return "published-bpe" if is_bpe and not config.get("tokenizer_class", "GPT2Tokenizer").startswith("GPT2") else None
