"""WordPiece tokenizers of published models: BERT, DistilBERT, MiniLM, MPNet and similar ones.

    vocab.txt             the pieces, in the order of their ids; tokenizer_config.json says how texts are normalized
    tokenizer.json        the same and more in one file; newer versions of `transformers` write nothing else

Both become a `WordPieceTokenizer`, which is saved with a `vocab.txt`. MPNet's has RoBERTa's special tokens besides
those of BERT: <s> a </s></s> b </s>.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.hub.tokenizers.tokenizer_json import JSON_FILE, read_added_tokens, read_names, token_name
from llmasos.storage import read_json
from llmasos.tokenizers.added_tokens import AddedToken
from llmasos.tokenizers.tokenizer import CLS, CONFIG_FILE, MASK, PAD, SEP
from llmasos.tokenizers.wordpiece import UNK, VOCAB_FILE, WordPieceTokenizer
from llmasos.tokenizers.wordpiece_trainer import CONTINUES, MAX_WORD

OPTIONS: dict[str, dict[str, Any]] = {  # what is done here: section of tokenizer.json → field → value
    "model": {"unk_token": UNK, "continuing_subword_prefix": CONTINUES, "max_input_chars_per_word": MAX_WORD},
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}


class MPNetTokenizer(WordPieceTokenizer):
    """A WordPiece tokenizer some of whose special tokens are others than BERT's.

    They are known by both names: here `[MASK]` is `<mask>`.
    """

    kind = "published-wordpiece"

    def use(self, names: Mapping[str, str]) -> "MPNetTokenizer":
        """Let BERT's names (`[CLS]`, …) stand for these of the vocabulary's tokens; returns the tokenizer itself.

        Raises:
            UserError: one of them is not in the vocabulary.
        """
        ids = {piece: id for id, piece in enumerate(self._pieces)}
        if missing := [name for name in names.values() if name not in ids]:
            raise UserError(f"the vocabulary has no {missing[0]!r}, which {CONFIG_FILE} names; fetch it again.")
        self._names = dict(names)
        self.special_tokens |= {alias: ids[name] for alias, name in names.items()}
        self.special_tokens |= {name: ids[name] for name in names.values()}
        added = {token.content: token for token in self.added_tokens}
        added |= {name: added.get(name) or AddedToken(name, ids[name]) for name in names.values()}
        added |= {alias: added[name]._replace(content=alias) for alias, name in names.items()}
        self.added_tokens = list(added.values())
        return self

    def _template(self) -> tuple[list[int], int, int]:
        prefix, separator, _ = super()._template()
        return prefix, separator, 2

    def _config(self) -> dict[str, object]:
        config = super()._config() | {"tokenizer_class": "MPNetTokenizer"}
        roles = {alias: f"{alias[1:-1].lower()}_token" for alias in self._names}
        config |= {roles[alias]: name for alias, name in self._names.items()}
        own = [token for token in self.added_tokens if token.content not in self._names]
        config["added_tokens_decoder"] = {str(token.id): token.to_dict() for token in own}
        return config | {"bos_token": self._names[CLS], "eos_token": self._names[SEP]}

    def without_ids_from(self, n: int) -> "MPNetTokenizer":
        """Return the same tokenizer without its added tokens with ids from n on."""
        kept = [token for token in self.added_tokens if token.id < n and token.content not in self._names]
        pieces = self._pieces[: self._n_ordinary]
        return MPNetTokenizer(pieces, self.lowercase, self.strip_accents, kept).use(self._names)


def other_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return BERT's names of special tokens → those of a `tokenizer_config.json`; {} if its [CLS] is BERT's."""
    roles = {CLS: "cls_token", SEP: "sep_token", PAD: "pad_token", MASK: "mask_token"}
    names = {alias: name for alias, role in roles.items() if (name := token_name(config.get(role)))}
    return names if names.get(CLS, CLS) != CLS else {}


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
        added, names = read_added_tokens(content, config, ids), other_names(config)
        kind = MPNetTokenizer if names else WordPieceTokenizer
        if (folder / VOCAB_FILE).is_file():
            tokenizer = kind.load(folder, lowercase, strip_accents, added)
        else:
            tokenizer = kind(sorted(ids, key=ids.__getitem__), lowercase, strip_accents, added)
        return tokenizer.use(names) if isinstance(tokenizer, MPNetTokenizer) else tokenizer
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
