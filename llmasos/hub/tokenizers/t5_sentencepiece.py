"""T5's tokenizer in folders without a `tokenizer.json`, which only have a SentencePiece model, `spiece.model`.

It is converted to the content of a `tokenizer.json` as transformers converts it (`T5TokenizerFast`), so it is the same
tokenizer from then on, and is saved in the newer form. The names `<extra_id_0>`, … are in neither file: they follow the
pieces, the last one first.
"""

import base64
from pathlib import Path
from typing import Any

from llmasos.errors import UserError, check_number
from llmasos.hub.tokenizers.published_unigram import PublishedUnigramTokenizer, from_tokenizer_json
from llmasos.hub.tokenizers.sentencepiece_file import (
    CONTROL,
    SPACE,
    UNKNOWN,
    USER_DEFINED,
    SentencePieceFile,
    read_sentencepiece,
)
from llmasos.hub.tokenizers.tokenizer_json import read_names

SPIECE_FILE = "spiece.model"
DEFAULTS = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "tokenizer_class": "T5Tokenizer"}
N_EXTRA, MAX_EXTRA = 100, 10_000  # how many names <extra_id_…> there are by default, and at most


def load_t5(folder: Path | str) -> PublishedUnigramTokenizer:
    """Read the tokenizer of a T5's folder from its `spiece.model`.

    Raises:
        UserError: it is damaged, not a unigram model, or lacks a special token.
    """
    config = DEFAULTS | {name: value for name, value in read_names(Path(folder)).items() if value is not None}
    n_extra = config.get("extra_ids", N_EXTRA)
    check_number("extra_ids", n_extra, whole=True, at_least=0, at_most=MAX_EXTRA)
    extra = [f"<extra_id_{i}>" for i in range(n_extra)]
    config.setdefault("additional_special_tokens", extra)
    return from_tokenizer_json(as_tokenizer_json(read_sentencepiece(Path(folder) / SPIECE_FILE), extra), config)


def as_tokenizer_json(file: SentencePieceFile, extra: list[str]) -> dict[str, Any]:
    """Return the content of the `tokenizer.json` for a SentencePiece model, with further names after its pieces.

    Raises:
        UserError: the model has no piece for unknown characters.
    """
    unknown = next((id for id, (_, _, type) in enumerate(file.pieces) if type == UNKNOWN), None)
    if unknown is None:
        raise UserError(f"its {SPIECE_FILE} has no piece for unknown characters; fetch it again.")
    vocab = [(piece, score) for piece, score, _ in file.pieces] + [(name, 0.0) for name in reversed(extra)]
    added = [(id, piece, type == CONTROL) for id, (piece, _, type) in enumerate(file.pieces)
             if type in (CONTROL, USER_DEFINED)]  # fmt: skip
    added += [(id, name, True) for id, (name, _) in enumerate(vocab) if id >= len(file.pieces)]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    steps: list[dict[str, Any]] = [
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE},
    ]
    if file.charsmap.compiled:
        charsmap = base64.b64encode(file.charsmap.compiled).decode()
        steps.insert(0, {"type": "Precompiled", "precompiled_charsmap": charsmap})
    spaces = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    end = next((id for id, (piece, _, _) in enumerate(file.pieces) if piece == DEFAULTS["eos_token"]), unknown)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": name, **flags, "special": special} for id, name, special in added],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": spaces,
        "post_processor": ends_with(DEFAULTS["eos_token"], end),
        "decoder": spaces,
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": [list(entry) for entry in vocab],
            "byte_fallback": False,
        },
    }


def ends_with(name: str, id: int) -> dict[str, Any]:
    """Return the `post_processor` that puts a token after each text."""
    texts = [[{"Sequence": {"id": letter, "type_id": 0}}, {"SpecialToken": {"id": name, "type_id": 0}}]
             for letter in "AB"]  # fmt: skip
    tokens = {name: {"id": name, "ids": [id], "tokens": [name]}}
    return {"type": "TemplateProcessing", "single": texts[0], "pair": texts[0] + texts[1], "special_tokens": tokens}
