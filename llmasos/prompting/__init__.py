"""How to speak to a model: chat templates, prompts with examples, and asking several times."""

from llmasos.prompting.chat_template import TEMPLATES, ChatTemplate, EncodedChat, Message, template_of
from llmasos.prompting.conversation import Conversation, Forgotten
from llmasos.prompting.few_shot import FewShot, FewShotPrompt
from llmasos.prompting.self_consistency import Vote, vote

__all__ = [
    "TEMPLATES", "ChatTemplate", "Conversation", "EncodedChat", "FewShot", "FewShotPrompt", "Forgotten", "Message",
    "Vote", "template_of", "vote",
]  # fmt: skip
