"""Shared by all published tokenizers' files: added tokens, special tokens and their roles, the chat template.

    tokenizer.json              the whole tokenizer, as the `tokenizers` package writes it; or, in older folders:
    vocab.txt | vocab.json      the vocabulary alone, with merges.txt, added_tokens.json and special_tokens_map.json
    tokenizer_config.json       which tokens have a role (eos_token, pad_token, …), and the added tokens again
    chat_template.jinja         the program of the chat template; in older folders a field of tokenizer_config.json or
                                of chat_template.json

Where two of them disagree, the library follows the same one as `transformers`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.storage import read_json
from llmasos.tokenizers.added_tokens import AddedToken, added_tokens_of
from llmasos.tokenizers.tokenizer import CONFIG_FILE, END_OF_TEXT, TEMPLATE_FILE, read_tokenizer_config

JSON_FILE = "tokenizer.json"
ADDED_FILE, NAMES_FILE = "added_tokens.json", "special_tokens_map.json"  # of older folders
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ROBERTA = dict(zip(ROLES, ("<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"), strict=True))  # by default
FURTHER = ("additional_special_tokens", "extra_special_tokens")  # lists; the second is the name in transformers 5


def read_names(folder: Path) -> dict[str, Any]:
    """Return the content of `tokenizer_config.json`, with what only an older folder's other files say.

    Raises:
        UserError: a file is damaged.
    """
    config = dict(read_tokenizer_config(folder))
    for name in (NAMES_FILE, ADDED_FILE):
        content = read_json(folder / name) if (folder / name).is_file() else {}
        if not isinstance(content, dict):
            raise UserError(f"{folder / name} is damaged: expected a JSON object; fetch it again.")
        if name == NAMES_FILE:
            known = {key: value for key, value in content.items() if key in (*ROLES, *FURTHER)}
            is_roberta = (config.get("tokenizer_class") or "").startswith("RobertaTokenizer")
            config = (ROBERTA if is_roberta else {}) | known | config
        elif "added_tokens_decoder" not in config and content:
            special = special_names(config)
            config["added_tokens_decoder"] = {
                str(id): {"content": token, "special": token in special, "normalized": token not in special}
                for token, id in content.items()
            }
    return config


def token_name(token: str | dict[str, Any] | None) -> str | None:
    """Return a special token's name, which `tokenizer_config.json` writes in two ways."""
    return token["content"] if isinstance(token, dict) else token


def read_roles(folder: Path) -> dict[str, str]:
    """Read which special token has which role: {"bos_token": "<s>", …}."""
    names = {role: token_name(value) for role, value in read_names(folder).items() if role in ROLES}
    return {role: name for role, name in names.items() if isinstance(name, str)}


def special_names(config: Mapping[str, Any]) -> set[str]:
    """Return the names of all tokens that have a role."""
    tokens = [config.get(role) for role in ROLES]
    for name in FURTHER:
        further = config.get(name) or []
        tokens += further.values() if isinstance(further, dict) else further
    return {text for token in tokens if (text := token_name(token))}


def read_added_tokens(
    content: Mapping[str, Any], config: Mapping[str, Any], vocabulary: Mapping[str, int]
) -> list[AddedToken]:
    """Return the added tokens of a folder.

    Args:
        content: the content of `tokenizer.json`; {} if there is none.
        config: see `read_names`.
        vocabulary: token → id, in which tokens with a role may be as well.

    Raises:
        UserError: a token has no name, or an odd property.
    """
    special = special_names(config)
    listed = [
        AddedToken.from_dict(fields, fields["id"], fields.get("content") in special)
        for fields in content.get("added_tokens") or []
    ]
    added = {token.content: token for token in [*listed, *added_tokens_of(config, special)]}
    for name in sorted(special - added.keys()):
        if name in vocabulary:
            added[name] = AddedToken(name, vocabulary[name])
    return list(added.values())


def end_token(config: Mapping[str, Any], added: list[AddedToken]) -> str:
    """Return the name of the token that ends a text. Raises UserError if the folder names none."""
    name = token_name(config.get("eos_token"))
    if name is None and any(token.content == END_OF_TEXT for token in added):
        name = END_OF_TEXT
    if name is None:
        raise UserError(
            f"the {CONFIG_FILE} next to it names no eos_token, so a text would have no end; fetch it again."
        )
    return name


def first_token(processor: dict[str, Any] | None) -> str | None:
    """Return the special token that a `post_processor` puts before a text, if any."""
    if processor is None:
        return None
    for part in processor.get("processors", [processor]):
        if part["type"] == "TemplateProcessing" and "SpecialToken" in part["single"][0]:
            return part["single"][0]["SpecialToken"]["id"]
        if part["type"] in ("RobertaProcessing", "BertProcessing"):
            return part["cls"][0]
    return None


def begin_token(content: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Return the name of the token before a text: that of the post-processor, or of the config of Llama's class."""
    if (config.get("tokenizer_class") or "").startswith("LlamaTokenizer") and "add_bos_token" in config:
        return token_name(config.get("bos_token", "<s>")) if config["add_bos_token"] else None
    return first_token(content.get("post_processor"))


def with_begin_token(content: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `tokenizer.json` with a post-processor that puts `begin_token` before a text.

    Where the config disagrees with it, transformers 4 follows the config and 5 follows the post-processor. A folder
    saved with this content is read alike by both.
    """
    begin = begin_token(content, config)
    if begin == first_token(content.get("post_processor")):
        return content
    ids = content["model"]["vocab"] | {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    end = token_name(config.get("eos_token")) if config.get("add_eos_token") else None
    names = [name for name in (begin, end) if name in ids]
    texts = []
    for number, letter in enumerate("AB"):
        before, after = ([{"SpecialToken": {"id": name, "type_id": number}}] if name in ids else []
                         for name in (begin, end))  # fmt: skip
        texts.append([*before, {"Sequence": {"id": letter, "type_id": number}}, *after])
    tokens = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in names}
    template = {"type": "TemplateProcessing", "single": texts[0], "pair": texts[0] + texts[1], "special_tokens": tokens}
    return {**content, "post_processor": template}


def without_ids_from(n: int, content: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the contents of `tokenizer.json` and `tokenizer_config.json` without the added tokens from id n on."""
    added = content.get("added_tokens") or []
    dropped = {token["content"] for token in added if token["id"] >= n}
    vocabulary = {token: id for token, id in content["model"]["vocab"].items() if token not in dropped}
    kept = [token for token in added if token["id"] < n]
    content = {**content, "model": {**content["model"], "vocab": vocabulary}, "added_tokens": kept}
    decoder = {id: token for id, token in (config.get("added_tokens_decoder") or {}).items() if int(id) < n}
    return content, {**config, "added_tokens_decoder": decoder}


def read_chat_template(folder: Path) -> str | None:
    """Read the Jinja program of a model's chat template, wherever it is kept; None if there is none."""
    if (folder / TEMPLATE_FILE).is_file():
        return (folder / TEMPLATE_FILE).read_text(encoding="utf-8", errors="replace")
    template = read_tokenizer_config(folder).get("chat_template")
    if template is None and (folder / "chat_template.json").is_file():
        content = read_json(folder / "chat_template.json")
        template = content.get("chat_template") if isinstance(content, dict) else None
    if isinstance(template, list):  # several, by their names
        programs = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = programs.get("default", next(iter(programs.values()), None))
    return template if isinstance(template, str) else None
