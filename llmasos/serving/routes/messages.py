"""The messages of a conversation, as chat and look take them."""

from typing import Any

from llmasos.prompting.chat import ROLES
from llmasos.serving.body import show
from llmasos.serving.kinds import Choice, Either, ListOf, Text
from llmasos.serving.refusals import Refused
from llmasos.serving.schema import Field, Object

MAX_MESSAGES = 1000
SILENT = "system"  # who may say nothing: many programs send an empty system message
PART = Object(
    Field("type", Choice(("text",)), "what kind of part; only text can be read", required=True),
    Field("text", Text(filled=True), "the text", required=True),
)
FILLED = {"properties": {"content": {"pattern": r"\S"}}}
"""In JSON Schema: a message that says something. (A pattern is about texts; of parts, each says something anyway.)"""


class Message(Object):
    """Who says what: a text, or one in parts, which becomes one. Only the system's may be empty."""

    def __init__(self):
        content = Either((Text(), ListOf(PART, 1, 100)))
        help = f"what is said, as a text or in parts; an empty {SILENT} message is left out"
        super().__init__(
            Field("role", Choice(ROLES), "who speaks", required=True),
            Field("content", content, help, required=True),
        )

    def check(self, value: Any, where: str = "") -> dict[str, str]:
        found = super().check(value, where)
        text = text_of(found["content"])
        if not text.strip() and found["role"] != SILENT:
            raise Refused(f"{where}.content is {show(text)}; it must be a text that is not empty.", f"{where}.content")
        return found | {"content": text}

    def schema(self) -> dict[str, Any]:
        return super().schema() | {"if": {"properties": {"role": {"const": SILENT}}}, "else": FILLED}


def text_of(content: str | list[dict[str, str]]) -> str:
    """What is said, also if it comes in parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class Conversation(ListOf):
    """Messages. Those that say nothing are left out, and one at least must be left."""

    def __init__(self):
        super().__init__(Message(), 1, MAX_MESSAGES)

    def check(self, value: Any, where: str) -> list[dict[str, str]]:
        found = [message for message in super().check(value, where) if message["content"].strip()]
        if not found:
            raise Refused(f"{where} holds nothing but an empty {SILENT} message; add one of the user.", where)
        return found

    def schema(self) -> dict[str, Any]:
        return super().schema() | {"contains": FILLED}
