"""Answering instructions: a GPT learns what an assistant says (Ouyang et al. 2022, section 3.5).

    conversations → chat template → token ids, of which the assistant's are learned → GPT → answers

How good the answers are is told by how many are the expected one word for word, and by ROUGE-L, which counts what is
right in longer ones.
"""

from collections.abc import Iterable, Sequence

from torch import nn

from llmasos.datasets import Conversation
from llmasos.evaluation import choose_mistakes, proportion, rouge, show_mistakes
from llmasos.generation import SamplingOptions, generate
from llmasos.models import ModelConfig, flops_per_token
from llmasos.objectives import Dialogue, SupervisedFineTuning
from llmasos.prompting import Message, template_of
from llmasos.prompting.chat_template import ASSISTANT, special_tokens_for
from llmasos.tasks.example_task import ExamplesTask
from llmasos.tasks.task import Report
from llmasos.tokenizers import Tokenizer, train_tokenizer
from llmasos.training.recipe import Recipe

NEW_TEMPLATE = "chatml"  # of tokenizers that are trained here
MEASURED = 300  # of the held-out conversations; writing answers takes time


class InstructionTuning(ExamplesTask):
    """Say what the assistant would say."""

    families = ("gpt",)
    unit = "tokens"

    def __init__(self, recipe: Recipe, whole: bool = False):
        self.set_data(recipe, "conversations", eval_only=whole)

    def texts(self) -> Iterable[str]:
        for example in self.data.train:
            yield from (content for _, content in example.messages)

    def make_tokenizer(self, recipe: Recipe) -> Tokenizer:
        """A new tokenizer gets the special tokens of a chat template."""
        if recipe.init_from is not None or recipe.tokenizer not in ("bpe", "byte", "char"):
            return super().make_tokenizer(recipe)
        special = special_tokens_for(NEW_TEMPLATE)
        return train_tokenizer(recipe.tokenizer, self.texts(), recipe.vocab_size, special, recipe.lowercase)

    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        self.tokenizer, self.template = tokenizer, template_of(tokenizer)
        self.config = config or self.model_config(self.recipe, tokenizer)
        self.objective = SupervisedFineTuning()

    def prepare(self) -> None:
        train, val = self.encoded("train"), self.encoded("val")
        self.set_examples(train, val, lambda dialogue: len(dialogue.ids), "conversations")
        self.flops_per_token = flops_per_token(self.config)
        self.lines.append(f"template {self.template.name}")

    def encode(self, chat: Conversation) -> Dialogue:
        """A conversation as token ids."""
        return Dialogue(*self.template.encode(self.tokenizer, messages_of(chat), answer=False))

    def problem(self, example: Conversation) -> str:
        n, room = len(self.encode(example).ids), self.config.context_length
        if n <= room:
            return ""
        return f"the conversation has {n} tokens and the model's context {room}: shorten it, or use a longer context."

    def answers(self, model: nn.Module, chats: Sequence[Conversation]) -> list[str]:
        """What the model says in the place of each conversation's last message."""
        return reply(model, self.tokenizer, [messages_of(chat)[:-1] for chat in chats], SamplingOptions(temperature=0))

    def sample(self, model: nn.Module) -> str:
        chat = self.split("val")[0]
        return f"{chat.messages[-2][1]}  →  {self.answers(model, [chat])[0]}"

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        chats = [chat for chat in self.split(split) if chat.messages[-1][0] == ASSISTANT][:MEASURED]
        expected = [chat.messages[-1][1].strip() for chat in chats]
        said = self.answers(model, chats)
        wrong = [one != other for one, other in zip(said, expected, strict=True)]
        questions = [chat.messages[-2][1] for chat in chats]
        shown = show_mistakes(choose_mistakes(wrong, n=4), questions, expected, said, width=300)
        scores = [proportion("exact answers", len(wrong) - sum(wrong), len(wrong)), rouge(said, expected)["ROUGE-L"]]
        return Report(metrics, mistakes=shown)


def messages_of(chat: Conversation) -> list[Message]:
    """A conversation's messages as the templates want them."""
    return [Message(role, content) for role, content in chat.messages]


def reply(
    model: nn.Module, tokenizer: Tokenizer, chats: Sequence[Sequence[Message]], options: SamplingOptions
) -> list[str]:
    """What the assistant says next in each conversation.

    Args:
        model: a GPT, preferably one that has learned to answer.
        tokenizer: the one it was trained with; its special tokens decide the template.
        chats: the messages so far of each conversation.
        options: how to choose tokens; the end of an answer stops it.
    """
    template = template_of(tokenizer)
    prompts = [template.encode(tokenizer, messages).ids for messages in chats]
    options = template.with_stops(options, tokenizer)
    return [generation.text.strip() for generation in generate(model, tokenizer, prompts, options)]
