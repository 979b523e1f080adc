"""The examples of a model's card: `widget` in the front matter of its README.md, as on the Hugging Face hub.

    ---
    license: mit
    widget:
    - text: "Once there was a shy girl"
    ---

Only this much of YAML is read: a list of flat items whose values are strings.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from llmasos.errors import UserError
from llmasos.hub.resolve import find_model_folder

CARD = "README.md"
FIELDS = ("text", "question", "context")  # of an item, in this order
_ITEM = re.compile(r"(?P<dash>-)? +(?P<name>\w+): *(?P<value>.+)")


def card_examples(name: str | Path) -> list[list[str]]:
    """Load the examples in the card of the model of this name (see `read_examples`); none if there is no such model."""
    try:
        return read_examples(find_model_folder(name, say=lambda message: None))
    except UserError:
        return []


def read_examples(folder: Path) -> list[list[str]]:
    """The examples of the card in a model's folder: for each, its text, or its question and context.

    If there is no card, or it cannot be parsed, there are none.
    """
    try:
        lines = (folder / CARD).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    items: list[dict[str, str]] = []
    for line in widget_lines(lines):
        match = _ITEM.fullmatch(line.rstrip())
        if match is None:
            return []
        if match["dash"]:
            items.append({})
        if items and match["name"] in FIELDS:
            items[-1][match["name"]] = string(match["value"])
    return [[item[name] for name in FIELDS if name in item] for item in items if item]


def widget_lines(lines: list[str]) -> Iterator[str]:
    """The lines of `widget` in a front matter."""
    if not lines or lines[0].rstrip() != "---":
        return
    inside = False
    for line in lines[1:]:
        if line.startswith("---"):
            return
        if inside and not line.startswith((" ", "-")):
            return
        if inside:
            yield line.strip() if line.strip().startswith("-") else f" {line.strip()}"
        inside = inside or line.rstrip() == "widget:"


def string(value: str) -> str:
    """A string of YAML: in double quotes, in single quotes, or plain."""
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value.strip('"')
    return value[1:-1].replace("''", "'") if value.startswith("'") and value.endswith("'") else value
