"""The messages of a conversation, as chat and look take them."""

from typing import Any

from llmasos.prompting.chat_template import ROLES
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Choice, Either, ListOf, Only, Text
from llmasos.serving.http.errors import Refused
from llmasos.serving.http.json_body import show

MAX_MESSAGES = 1000
DEVELOPER = "developer"  # what OpenAI calls the system since there are models that think
SILENT = ("system", DEVELOPER, "assistant")
"""Who may say nothing: many programs send an empty system message, and an answer may have been empty."""
PART = Object(
    Field("type", Choice(("text",)), "what kind of part; only text can be read", required=True),
    Field("text", Text(filled=True), "the text", required=True),
)
FILLED = {"properties": {"content": {"pattern": r"\S"}}}
"""In JSON Schema: a message that says something. (A pattern is about texts; of parts, each says something anyway.)"""


class Message(Object):
    """Who says what: a text, or one in parts, which becomes one. Only the user's must not be empty."""

    def __init__(self):
        content = Either((Text(), ListOf(PART, 1, 100)))
        super().__init__(
            Field("role", Choice((*ROLES, DEVELOPER)), f"who speaks; {DEVELOPER} is the same as system", required=True),
            Field("content", content, "what is said, as a text or in parts; an empty message is left out, unless it is "
                  "the user's", required=True),
            Field("name", Only(None, "the model is told the role alone; say in the content who speaks"), "not here"),
        )  # fmt: skip

    def take(self, value: Any, where: str) -> dict[str, str]:
        found = super().take(value, where)
        role, text = found["role"], text_of(found["content"])
        if not text.strip() and role not in SILENT:
            raise Refused(f"{where}.content is {show(text)}; it must be a text that is not empty.", f"{where}.content")
        return {"role": "system" if role == DEVELOPER else role, "content": text}

    def schema(self) -> dict[str, Any]:
        return super().schema() | {"if": {"properties": {"role": {"enum": list(SILENT)}}}, "else": FILLED}


def text_of(content: str | list[dict[str, str]]) -> str:
    """What is said, also if it comes in parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class Messages(ListOf):
    """Messages. Those that say nothing are left out, and one at least must be left."""

    def __init__(self):
        super().__init__(Message(), 1, MAX_MESSAGES)

    def take(self, value: Any, where: str) -> list[dict[str, str]]:
        found = [message for message in super().take(value, where) if message["content"].strip()]
        if not found:
            raise Refused(f"{where} holds nothing but empty messages; add one of the user.", where)
        return found

    def schema(self) -> dict[str, Any]:
        return super().schema() | {"contains": FILLED}
