"""Instruction tuning: a GPT learns to answer as an assistant (Ouyang et al. 2022, section 3.5).

    conversations → chat template → token ids, with a loss on the assistant's → GPT → answers

The metrics are the fraction of answers that equal the reference word for word, and ROUGE-L, which also gives partial
credit. If the conversations call tools that come with the library, the model has to call them, too: it gets everything
up to the user's last message, and its calls are run while it writes.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from llmasos.console import command
from llmasos.datasets import Conversation, Splits
from llmasos.datasets.tool_call_format import CALL_START
from llmasos.evaluation import choose_mistakes, proportion, rouge, show_mistakes
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model, ModelConfig, flops_per_token
from llmasos.objectives import Dialogue, SupervisedFineTuning
from llmasos.prompting import BUILT_IN, ChatTemplate, Message, Tool, split_calls, template_of
from llmasos.prompting.chat_template import ASSISTANT, TOOL, special_tokens_for
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report
from llmasos.tasks.tool_use import reply_with_tools
from llmasos.tokenizers import Tokenizer, train_tokenizer
from llmasos.training.recipe import Recipe

NEW_TEMPLATE = "chatml"  # of tokenizers that are trained here
MAX_EVALUATED = 300  # conversations; writing answers takes time


class InstructionTuning(ExampleTask):
    """Write the assistant's next message."""

    unit = "tokens"
    example_name = "conversations"

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        for example in data.train:
            yield from (content for _, content in example.messages)

    @classmethod
    def make_tokenizer(cls, recipe: Recipe, data: Any) -> Tokenizer:
        """A new tokenizer gets the special tokens of a chat template, a pretrained one if the recipe says so."""
        settings = recipe.data
        if recipe.model.init_from or recipe.training.teacher or settings.tokenizer not in ("bpe", "byte", "char"):
            tokenizer = super().make_tokenizer(recipe, data)
            if settings.chat_template is None:
                return tokenizer
            return tokenizer.with_special_tokens(special_tokens_for(settings.chat_template))
        special = special_tokens_for(NEW_TEMPLATE)
        return train_tokenizer(settings.tokenizer, cls.texts(data), settings.vocab_size, special, settings.lowercase)

    @classmethod
    def make_config(cls, recipe: Recipe, data: Any, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
        if recipe.data.chat_template is not None:
            changes["vocab_size"] = tokenizer.vocab_size
        return super().make_config(recipe, data, tokenizer, **changes)

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> SupervisedFineTuning:
        return SupervisedFineTuning()

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template whose special tokens the tokenizer has."""
        return template_of(self.tokenizer)

    @property
    def flops_per_token(self) -> float:
        return flops_per_token(self.config)

    def encode(self, example: Conversation) -> Dialogue:
        return Dialogue(*self.template.encode(self.tokenizer, messages_of(example), add_generation_prompt=False))

    def length(self, encoded: Dialogue) -> int:
        return len(encoded.ids)

    def problem(self, example: Conversation) -> str:
        n, context = len(self.encode(example).ids), self.config.context_length
        if n <= context:
            return ""
        return (
            f"the conversation has {n} tokens and the model's context {context}: shorten it, or use a longer context."
        )

    def summarize_data(self) -> list[str]:
        return [*super().summarize_data(), f"template {self.template.name}"]

    @cached_property
    def tools(self) -> list[Tool]:
        """The library's tools, if every call in the data is of one of them; else none."""
        chats = [*self.data.train, *self.data.val]
        texts = {content for chat in chats for role, content in chat.messages if role == ASSISTANT}
        names = {call.name for text in texts if CALL_START in text for call in split_calls(text)[1]}
        return [Tool.of(BUILT_IN[name]) for name in sorted(names)] if names <= set(BUILT_IN) else []

    def prompt(self, chat: Conversation) -> list[Message]:
        """The part of a conversation that the model sees in evaluation: everything before the last answer, including
        calls.
        """
        messages = messages_of(chat)[:-1]
        while self.tools and messages[-1].role in (ASSISTANT, TOOL):
            messages.pop()  # the model has to make this call itself
        return messages

    def replies(self, model: Model, chats: Sequence[Conversation]) -> list[list[Message]]:
        """The model's replacement for each conversation's last message: an answer, preceded by its calls."""
        prompts, options = [self.prompt(chat) for chat in chats], SamplingOptions(temperature=0)
        if not self.tools:
            return [[Message(ASSISTANT, text)] for text in reply(model, self.tokenizer, prompts, options)]
        replies = reply_with_tools(model, self.tokenizer, prompts, self.tools, options, describe=False)
        return [reply.messages for reply in replies]

    def sample(self, model: Model) -> str:
        chat = self.split("val")[0]
        return in_one_line([self.prompt(chat)[-1], *self.replies(model, [chat])[0]])

    def next_command(self, run: Path) -> str:
        return command("chat", run, *(word for tool in self.tools for word in ("--tools", tool.name)))

    def evaluate(self, model: Model, split: str = "val") -> Report:
        chats = [chat for chat in self.split(split) if chat.messages[-1][0] == ASSISTANT][:MAX_EVALUATED]
        references = [chat.messages[-1][1].strip() for chat in chats]
        replies = self.replies(model, chats)
        answers = [messages[-1].content for messages in replies]
        wrong = [answer != reference for answer, reference in zip(answers, references, strict=True)]
        questions = [self.prompt(chat)[-1].content for chat in chats]
        chosen = choose_mistakes(wrong, n=4)
        mistakes = show_mistakes(chosen, questions, references, list(map(in_one_line, replies)), width=300)
        exact = proportion("exact answers", len(wrong) - sum(wrong), len(wrong))
        return Report([exact, rouge(answers, references)["ROUGE-L"]], mistakes=mistakes)


def in_one_line(messages: Sequence[Message]) -> str:
    """Format messages, including calls and their results, in one line for a report."""
    return "  →  ".join(message.content for message in messages)


def messages_of(chat: Conversation) -> list[Message]:
    """A conversation's messages in the form that templates take."""
    return [Message(role, content) for role, content in chat.messages]


def reply(
    model: Model,
    tokenizer: Tokenizer,
    chats: Sequence[Sequence[Message | Mapping]],
    options: SamplingOptions,
    prefix: str = "",
) -> list[str]:
    """The assistant's next message in each conversation.

    Args:
        model: a GPT, preferably an instruction-tuned one.
        tokenizer: the one it was trained with; its special tokens determine the template.
        chats: the messages so far of each conversation.
        options: sampling options; generation stops at the end of the answer.
        prefix: the beginning of each message, which the model continues; it is not part of what is returned.
    """
    template, prefix_ids = template_of(tokenizer), tokenizer.encode(prefix)
    prompts = [[*template.encode(tokenizer, messages).ids, *prefix_ids] for messages in chats]
    generations = generate(model, tokenizer, prompts, template.with_stops(options))
    return [generation.text.strip() for generation in generations]


def reply_to_prompts(
    model: Model, tokenizer: Tokenizer, options: SamplingOptions, prompts: Sequence[str], prefix: str = ""
) -> list[str]:
    """The assistant's message after each prompt of a user, in separate conversations; arguments as in `reply`."""
    return reply(model, tokenizer, [[Message("user", prompt)] for prompt in prompts], options, prefix)
