"""Instruction tuning on conversations with calls: in evaluation, the model has to make the calls itself."""

from pathlib import Path

import pytest
from generation_helpers import ScriptedModel

from llmasos.datasets import Conversation, Splits
from llmasos.datasets.tool_call_format import ToolCall, write_call
from llmasos.prompting import Message
from llmasos.prompting.chat_template import TEMPLATES, special_tokens_for
from llmasos.tasks.task import task_class
from llmasos.tokenizers import train_tokenizer
from llmasos.training.recipe import make_recipe

ASK = ("user", "What is 17 times 25?")


def call(name: str = "calculator") -> tuple[str, str]:
    return "assistant", write_call(ToolCall(name, {"expression": "17 * 25"}))


CHAT = Conversation((ASK, call(), ("tool", "425"), ("assistant", "It is 425.")))


def task_on(*chats: Conversation):
    """The task with these conversations for evaluation."""
    task = object.__new__(task_class("instruction-tuning"))
    object.__setattr__(task, "data", Splits("chats", "", [], list(chats), None, ""))
    object.__setattr__(task, "tokenizer", train_tokenizer("byte", [], 300, special_tokens_for("chatml")))
    object.__setattr__(task, "recipe", make_recipe(task="instruction-tuning"))
    return task


def scripted(tokenizer, chat: Conversation) -> ScriptedModel:
    messages = [Message(*message) for message in chat.messages]
    ids = TEMPLATES["chatml"].encode(tokenizer, messages, add_generation_prompt=False).ids
    return ScriptedModel([*ids, *[tokenizer.end_of_text] * 300], tokenizer.vocab_size)


def test_a_model_that_calls_is_right_and_one_that_does_not_is_wrong():
    task = task_on(CHAT)
    assert task.prompt(CHAT) == [Message(*ASK)], "the call is not given away"
    [messages] = task.replies(scripted(task.tokenizer, CHAT), [CHAT])
    assert [message.content for message in messages] == [content for _, content in CHAT.messages[1:]]
    assert task.next_command(Path("run")).endswith("chat run --tools calculator")
    guess = Conversation((ASK, ("assistant", "It is 400.")))
    assert task.replies(scripted(task.tokenizer, guess), [CHAT]) == [[Message("assistant", "It is 400.")]]


@pytest.mark.parametrize("other", [
    Conversation((ASK, call("weather"), ("tool", "425"), ("assistant", "It is 425."))),
    Conversation((ASK, ("assistant", "It is 425."))),
])  # fmt: skip
def test_calls_of_unknown_tools_stay_in_the_prompt(other):
    task = task_on(other)
    assert task.tools == [] and len(task.prompt(other)) == len(other.messages) - 1
