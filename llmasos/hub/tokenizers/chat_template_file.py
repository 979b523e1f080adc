"""The chat template in a model's folder, and the names that it uses for special tokens."""

from pathlib import Path

from llmasos.hub.tokenizers.tokenizer_json import ROLES, read_names, token_name
from llmasos.storage import read_json
from llmasos.tokenizers.tokenizer import TEMPLATE_FILE, read_tokenizer_config


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


def read_roles(folder: Path) -> dict[str, str]:
    """Read which special token has which role: {"bos_token": "<s>", …}."""
    names = {role: token_name(value) for role, value in read_names(folder).items() if role in ROLES}
    return {role: name for role, name in names.items() if isinstance(name, str)}
