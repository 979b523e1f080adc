"""Prompting: chat templates, few-shot prompts, tools, and self-consistency."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.prompting.calculator import calculate
    from llmasos.prompting.chat_template import (
        TEMPLATES,
        ChatTemplate,
        EncodedChat,
        Message,
    )
    from llmasos.prompting.conversation import Conversation, Dropped
    from llmasos.prompting.few_shot import FewShot, FewShotPrompt
    from llmasos.prompting.own_template import offer_tools, own_template_note, template_of
    from llmasos.prompting.self_consistency import MajorityVote, majority_vote
    from llmasos.prompting.tools import BUILT_IN, Tool, calculator, run_call, split_calls, with_tools

__all__ = [
    "BUILT_IN", "TEMPLATES", "ChatTemplate", "Conversation", "Dropped", "EncodedChat", "FewShot", "FewShotPrompt",
    "MajorityVote", "Message", "Tool", "calculate", "calculator", "majority_vote", "offer_tools", "own_template_note",
    "run_call", "split_calls", "template_of", "with_tools",
]  # fmt: skip
lazy_exports(__name__)
