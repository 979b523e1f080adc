"""Tokenizers of published models, distinguished by the contents of their files.

Read `tokenizer_json` (what all of them share), `published_bpe` (byte-level BPE: GPT-2, Llama 3, Qwen, SmolLM2),
`sentencepiece_bpe` (BPE on characters: Llama 2, Mistral, Gemma), `published_wordpiece` (BERT), then
`sentencepiece_file`, `unigram`, `marian_tokenizer`, `published_unigram` (T5) and `t5_sentencepiece` (older T5s).
"""

from pathlib import Path

from llmasos import tokenizers
from llmasos.errors import UserError
from llmasos.hub.tokenizers.marian_tokenizer import SOURCE_FILE, MarianTokenizer
from llmasos.hub.tokenizers.published_bpe import PublishedBPETokenizer
from llmasos.hub.tokenizers.published_unigram import PublishedUnigramTokenizer, is_unigram
from llmasos.hub.tokenizers.published_wordpiece import is_wordpiece, load_wordpiece
from llmasos.hub.tokenizers.sentencepiece_bpe import SentencePieceBPETokenizer, is_sentencepiece_bpe
from llmasos.hub.tokenizers.t5_sentencepiece import SPIECE_FILE, load_t5
from llmasos.hub.tokenizers.tokenizer_json import JSON_FILE, read_chat_template, read_roles
from llmasos.storage import read_json
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.bpe import MERGES_FILE, VOCAB_FILE
from llmasos.tokenizers.tokenizer import check_fingerprint, read_tokenizer_config
from llmasos.tokenizers.wordpiece import VOCAB_FILE as WORDPIECE_FILE

PUBLISHED_TOKENIZERS = {
    "published-bpe": PublishedBPETokenizer.load,
    "sentencepiece-bpe": SentencePieceBPETokenizer.load,
    "published-wordpiece": load_wordpiece,
    "published-unigram": PublishedUnigramTokenizer.load,
    "t5-sentencepiece": load_t5,
    "marian": MarianTokenizer.load,
}


def load_any_tokenizer(folder: Path | str) -> Tokenizer:
    """Open any tokenizer: one written by `Tokenizer.save`, or that of a published model.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; names the file.
    """
    folder = Path(folder)
    config = read_tokenizer_config(folder)
    kind = config["kind"] if "kind" in config else _detect_published_kind(folder)
    if not isinstance(kind, str) or kind not in PUBLISHED_TOKENIZERS:
        tokenizer = tokenizers.load_tokenizer(folder)
    else:
        try:
            tokenizer = PUBLISHED_TOKENIZERS[kind](folder)
        except UserError as error:
            raise UserError(f"could not open the tokenizer in {folder}: {error}") from error
        check_fingerprint(tokenizer, folder, config)
    tokenizer.chat_template, tokenizer.roles = read_chat_template(folder), read_roles(folder)
    return tokenizer


def _detect_published_kind(folder: Path) -> str | None:
    """Return the type of a published tokenizer, judging by its files; None if there is none."""
    if (folder / SOURCE_FILE).is_file():
        return "marian"
    if (folder / JSON_FILE).is_file():
        content = read_json(folder / JSON_FILE)
        if isinstance(content, dict):
            if is_wordpiece(content):
                return "published-wordpiece"
            if is_unigram(content):
                return "published-unigram"
            if is_sentencepiece_bpe(content):
                return "sentencepiece-bpe"
        return "published-bpe"
    if (folder / SPIECE_FILE).is_file():
        return "t5-sentencepiece"
    if (folder / WORDPIECE_FILE).is_file():
        return "published-wordpiece"
    return "published-bpe" if (folder / VOCAB_FILE).is_file() and (folder / MERGES_FILE).is_file() else None
