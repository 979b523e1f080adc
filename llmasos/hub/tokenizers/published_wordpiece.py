"""WordPiece tokenizers of published models: BERT, DistilBERT, MiniLM and similar ones.

    vocab.txt             the pieces, in the order of their ids; tokenizer_config.json says how texts are normalized
    tokenizer.json        the same and more in one file; newer versions of `transformers` write nothing else

Both become a `WordPieceTokenizer`, which is saved with a `vocab.txt`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.hub.tokenizers.tokenizer_json import JSON_FILE, read_added_tokens, read_names
from llmasos.storage import read_json
from llmasos.tokenizers.wordpiece import UNK, VOCAB_FILE, WordPieceTokenizer
from llmasos.tokenizers.wordpiece_trainer import CONTINUES, MAX_WORD

OPTIONS: dict[str, dict[str, Any]] = {  # what is done here: section of tokenizer.json → field → value
    "model": {"unk_token": UNK, "continuing_subword_prefix": CONTINUES, "max_input_chars_per_word": MAX_WORD},
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}


def load_wordpiece(folder: Path) -> WordPieceTokenizer:
    """Read the tokenizer of a published BERT's folder.

    Raises:
        UserError: a file is missing or damaged, or asks for something that is not supported here.
    """
    config, file = read_names(folder), folder / JSON_FILE
    try:
        content = read_json(file) if file.is_file() else {}
        if not file.is_file():
            file = folder / VOCAB_FILE
        lowercase, strip_accents = read_normalization(content, config)
        if (folder / VOCAB_FILE).is_file():
            ids = {}
        else:
            ids = content["model"]["vocab"]
            check_numbers(ids)
        added = read_added_tokens(content, config, ids)
        if (folder / VOCAB_FILE).is_file():
            return WordPieceTokenizer.load(folder, lowercase, strip_accents, added)
        return WordPieceTokenizer(sorted(ids, key=ids.__getitem__), lowercase, strip_accents, added)
    except UserError as error:
        raise error if str(folder) in str(error) else UserError(f"{file}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}: {error}); fetch it again.") from error


def is_wordpiece(content: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` holds a WordPiece model."""
    return isinstance(content.get("model"), dict) and content["model"].get("type") == "WordPiece"


def read_normalization(content: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[bool, bool | None]:
    """Return whether texts become lower case, and whether they lose their accents (None: if they become lower case).

    `tokenizer_config.json` comes first, as in the class BertTokenizer.

    Raises:
        UserError: one of the two files asks for something that is not supported here.
    """
    for section, options in (OPTIONS if content else {}).items():
        found = content.get(section) or {}
        for name, value in options.items():
            if found.get(name, value if name != "type" else None) != value:
                raise UserError(
                    f"its {section} has {name} = {found.get(name)!r}, and llmasos supports WordPiece with {value!r} "
                    "only; choose a model with another tokenizer."
                )
    normalizer = content.get("normalizer") or {}
    fields = {
        "do_lower_case": normalizer.get("lowercase", True),
        "tokenize_chinese_chars": True,
        "strip_accents": normalizer.get("strip_accents"),
    }
    fields |= {name: config[name] for name in fields if name in config}
    for name, value in fields.items():
        if not isinstance(value, bool) and (name, value) != ("strip_accents", None):
            raise UserError(f"tokenizer_config.json is damaged: {name} is {value!r}, expected true or false.")
    if not fields["tokenize_chinese_chars"]:
        raise UserError(
            "tokenizer_config.json asks to leave Chinese text in one piece, which is not supported here; choose "
            "another model."
        )
    return fields["do_lower_case"], fields["strip_accents"]


def check_numbers(ids: Mapping[str, int]) -> None:
    """Raise UserError unless the ids of a vocabulary are 0, 1, 2, …, each once."""
    if not all(type(id) is int for id in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        raise UserError("the ids of its vocabulary are not 0, 1, 2, …, each once; fetch it again.")
