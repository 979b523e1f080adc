"""How to speak to a model: chat templates (who says what, as tokens)."""

from llmasos.prompting.chat import TEMPLATES, ChatTemplate, EncodedChat, Message, template_of

__all__ = ["TEMPLATES", "ChatTemplate", "EncodedChat", "Message", "template_of"]
