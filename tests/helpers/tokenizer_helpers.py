"""Texts and tokenizers for the tokenizer tests."""

import os
import random
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from llmasos.tokenizers import Tokenizer, train_tokenizer

# Characters of many scripts, combining marks, emoji (with joiners and skin tones), digits and other numerals,
# all types of white space, control characters, and cases for the split pattern.
PIECES = [
    "the", " the", " cat", "Hello", "don't", "we'll", "I've", "'s", "'", "''", "naïve", "Straße", "ἀρχή", "привет",
    " мир", "日本語", "中文字", "한국어",
    "العربية", "עברית", "हिन्दी", "ไทย", "𝔘𝔫𝔦", "𐍈", "e\u0301", "a\u0300\u0323", "\u0301",
    "😀", "👩‍👩‍👧", "👍🏽", "🇩🇪", "12", "3.14", "²", "Ⅷ", "½", "!", "...", " ?!", "_", "__init__", "<|", "|>",
    " ", "  ", "     ", " " * 40, "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u2003", "\u3000", "\u2028",
    "\x00", "\x1b", "\x1c", "\x7f", "\x85", "\ufeff", "\u200b", "\ufffd",
]  # fmt: skip
GPT2_REASON = "TIKTOKEN_CACHE_DIR names no folder with the gpt2 files"


def fuzzed_text(seed: int, n_pieces: int = 60) -> str:
    """Return pieces of many languages in random order, occasionally with a random character between them."""
    chance = random.Random(seed)
    pieces = chance.choices(PIECES, k=n_pieces)
    return "".join(piece if chance.random() < 0.9 else piece + chr(chance.randrange(0x3000)) for piece in pieces)


def english(n_paragraphs: int = 300, seed: int = 0) -> str:
    """Return paragraphs of Python's language reference, in an order that depends on the seed."""
    paragraphs = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")
    return "\n\n".join(random.Random(seed).sample(paragraphs, n_paragraphs))


def has_gpt2_files() -> bool:
    """Whether the gpt2 encoding is available without a network (nothing is downloaded)."""
    from llmasos.tokenizers.openai import missing_files

    folder = os.environ.get("TIKTOKEN_CACHE_DIR")
    return bool(folder) and not missing_files("gpt2", Path(folder))


needs_gpt2_files = pytest.mark.skipif(not has_gpt2_files(), reason=GPT2_REASON)
LOSSLESS = ["char", "byte", "bpe", pytest.param("gpt2", marks=needs_gpt2_files)]
EVERY_KIND = [*LOSSLESS, "wordpiece"]


def make(kind: str, lowercase: bool = False) -> Tokenizer:
    """Return a tokenizer of this type, trained (if it is trained) on English and a little of everything else."""
    return train_tokenizer(kind, [english(), *PIECES], vocab_size=600, lowercase=lowercase)
