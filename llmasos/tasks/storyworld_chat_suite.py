"""The suite "storyworld-chat": whether a chat model follows its requests and keeps to the world of its training.

Its stories are held out (other combinations of hero, plot and thing), and so are the wordings, topics and names of the
requests from outside the world (`datasets/storyworld/outside_requests.py`). All answers are decoded greedily.

declined                       of requests from outside the world, by kind, as judged by `declines`
declined in the world          of requests for stories of the world, which should be none
asked hero and thing           of told stories: the first child named is the requested hero, at most one other child is
                               named, as in every story of the world, and the thing is named
whole stories, as asked        of told stories: the generator can produce the text, with that hero and that thing
right of ten turns             per conversation: it begins with a story, told or given, and nine questions follow; also
                               separately for the half in which the model tells the story, and for the half in which
                               the user gives it
nats per token                 of the stories that answer "Tell me a story about …", each with its end
bits per byte                  the same, for a comparison with models that have another tokenizer
nats above the floor           per story: its nats minus the true information, given the hero and the thing

In a conversation the model reads its own earlier answers. Half of the conversations begin with a story that the model
tells itself; the generator recognizes it and provides the right answers. If the text is not a story of the world, there
are no right answers, so all ten turns are wrong.
"""

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llmasos import evaluation
from llmasos.datasets.storyworld import Story, read_story, stories
from llmasos.datasets.storyworld.dialogues import dialogue, outside_turn, tell_turn
from llmasos.datasets.storyworld.outside_requests import KINDS, KNOWN_NAMES
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.errors import UserError, check_number
from llmasos.evaluation.intervals import bootstrap, mean, mean_of_column, proportion
from llmasos.evaluation.likelihood import log_likelihoods
from llmasos.evaluation.metric import Metric
from llmasos.evaluation.refusal import is_refusal
from llmasos.evaluation.suite import STORYWORLD_CHAT, SuiteResult
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model
from llmasos.prompting import Message, template_of
from llmasos.prompting.chat_template import ASSISTANT, PLAIN
from llmasos.prompting.conversation import Conversation
from llmasos.tokenizers import Tokenizer

N_TURNS = 10
LONGEST = 256  # tokens of an answer


def run_suite(
    suite: str | Path, model: Model, tokenizer: Tokenizer, examples: int | None = None, samples: int = 1, seed: int = 0
) -> SuiteResult:
    """Test a model with this suite or with one of `evaluation.run_suite`, whose arguments these are.

    Raises:
        UserError: `evaluation.run_suite` raises it, or the suite is this one and the model has no chat template.
    """
    if str(suite) != STORYWORLD_CHAT:
        return evaluation.run_suite(suite, model, tokenizer, examples, samples, seed)
    if samples != 1:
        raise UserError(f"samples is {samples}, but the suite {STORYWORLD_CHAT} has its own number: leave it out.")
    if examples is not None:
        check_number("examples", examples, whole=True, at_least=1)
    return storyworld_chat_suite(model, tokenizer, examples or 100, seed)


def storyworld_chat_suite(model: Model, tokenizer: Tokenizer, n: int, seed: int = 0) -> SuiteResult:
    """Test a chat model with n outside requests of each kind, n stories, and n conversations.

    Raises:
        UserError: the model has no chat template.
    """
    if template_of(tokenizer).name == PLAIN:
        raise UserError(
            f"the suite {STORYWORLD_CHAT} is for chat models, and this one has no chat template: choose the suite "
            "storyworld."
        )
    held_out = list(stories("val", n))
    result = SuiteResult([], texts=[story.text for story in held_out])
    chat = Chat(model, tokenizer)
    add_declined(result, chat, n, random.Random(f"outside {seed}"))
    add_told_stories(result, chat, held_out)
    add_conversations(result, chat, held_out, random.Random(f"conversations {seed}"))
    add_losses(result, chat, held_out)
    return result


class Chat:
    """A chat model that answers greedily."""

    def __init__(self, model: Model, tokenizer: Tokenizer):
        self.model, self.tokenizer, self.template = model, tokenizer, template_of(tokenizer)
        self.count = self.template.token_counter(tokenizer)

    def answers(self, conversations: Sequence[Conversation]) -> list[str]:
        """The model's next answer in each conversation, whose beginning is dropped if it does not fit the context."""
        prompts = []
        for conversation in conversations:
            conversation.fit(self.count, max(self.model.config.context_length - 60, 1), exact=False)
            prompts.append(self.template.encode(self.tokenizer, conversation.messages).ids)
        options = self.template.with_stops(SamplingOptions(LONGEST, temperature=0.0))
        return [generation.text.strip() for generation in generate(self.model, self.tokenizer, prompts, options)]

    def answer_each(self, prompts: Sequence[str]) -> list[str]:
        """The answers to prompts, each in a separate conversation."""
        return self.answers([Conversation(history=[Message("user", prompt)]) for prompt in prompts])


def add_declined(result: SuiteResult, chat: Chat, n: int, rng: random.Random) -> None:
    """Add how many requests from outside the world are declined, n of each kind."""
    turns = [outside_turn(rng, "val", kind) for kind in KINDS for _ in range(n)]
    declined = np.array([declines(answer) for answer in chat.answer_each([turn.prompt for turn in turns])])
    result.add(proportion("declined", int(declined.sum()), len(declined), "of requests from outside"), declined)
    for kind, part in zip(KINDS, declined.reshape(len(KINDS), n), strict=True):
        result.add(proportion(f"declined: {kind}", int(part.sum()), n), part)


def declines(answer: str) -> bool:
    """Whether an answer is a refusal. Only its first sentence counts, because somebody in a story may be sorry, too.

    >>> declines("I cannot help with that."), declines("Mia was shy. She said she was sorry.")
    (True, False)
    """
    return is_refusal(re.split(r"(?<=[.!?])\s", answer, maxsplit=1)[0])


def add_told_stories(result: SuiteResult, chat: Chat, held_out: Sequence[Story]) -> None:
    """Ask for stories, and add how many are about the requested hero and thing."""
    n, texts = len(held_out), chat.answer_each([tell_turn(story).prompt for story in held_out])
    declined = np.array([declines(text) for text in texts])
    result.add(proportion("declined in the world", int(declined.sum()), n, "of requests for stories"), declined)
    kept = np.array([is_about(text, story) for text, story in zip(texts, held_out, strict=True)])
    result.add(proportion("asked hero and thing", int(kept.sum()), n, "of told stories"), kept)
    whole = np.array([is_as_asked(read_story(text), story) for text, story in zip(texts, held_out, strict=True)])
    result.add(proportion("whole stories, as asked", int(whole.sum()), n, "of told stories"), whole)


def is_about(text: str, story: Story) -> bool:
    """Whether a text is about the hero and the thing of a story, as defined in the docstring of this file."""
    hero, _, thing = story.combination
    names = [word for word in re.findall(r"\w+", text) if word in KNOWN_NAMES]
    return bool(names) and names[0] == hero and len({*names}) <= 2 and re.search(rf"\b{thing}\b", text) is not None


def is_as_asked(told: Story | None, story: Story) -> bool:
    """Whether a text is a story of the world with the same hero and the same thing."""
    return told is not None and told.combination[::2] == story.combination[::2]


def add_conversations(result: SuiteResult, chat: Chat, held_out: Sequence[Story], rng: random.Random) -> None:
    """Have a conversation of ten turns about each story, and add how many answers are right.

    The conversations advance together, one turn at a time.
    """
    dialogues = [dialogue(rng, story, "val", N_TURNS, told=i % 2 == 0) for i, story in enumerate(held_out)]
    conversations = [Conversation() for _ in held_out]
    right = np.zeros((len(held_out), N_TURNS), dtype=bool)
    kinds: dict[str, list[bool]] = {}
    for number in range(N_TURNS):
        for conversation, turns in zip(conversations, dialogues, strict=True):
            if number < len(turns):
                conversation.ask(turns[number].prompt)
        active = [i for i, turns in enumerate(dialogues) if number < len(turns)]
        for i, text in zip(active, chat.answers([conversations[i] for i in active]), strict=True):
            turn, story = dialogues[i][number], held_out[i]
            conversations[i].answer(text or "…")
            if turn.kind == "story":
                told = read_story(text)
                right[i, number] = is_as_asked(told, story)
                dialogues[i] = dialogue(rng, told, "val", N_TURNS) if told else [turn]
            else:
                right[i, number] = text == turn.answer
            kinds.setdefault(turn.kind, []).append(bool(right[i, number]))
    note = f"per conversation; {len(held_out) - len(held_out) // 2} stories told, the others given"
    n_right = right.sum(axis=1)  # of each conversation
    result.add(mean("right of ten turns", n_right, note, digits=2), n_right)
    for who, part in (("told by the model", n_right[::2]), ("given by the user", n_right[1::2])):
        if len(part):
            result.add(mean(f"right of ten: {who}", part, digits=2), part)
    for kind, values in sorted(kinds.items()):
        result.add(proportion(f"turns: {kind}", sum(values), len(values)), np.array(values))


def add_losses(result: SuiteResult, chat: Chat, held_out: Sequence[Story]) -> None:
    """Add how well the held-out stories are predicted after the request for them, each with the end of the message."""
    pairs = []
    for story in held_out:
        messages = [Message("user", tell_turn(story).prompt), Message(ASSISTANT, story.text)]
        ids, loss_mask = chat.template.encode(chat.tokenizer, messages, add_generation_prompt=False)
        start = loss_mask.index(True)
        pairs.append((ids[:start], ids[start : start + sum(loss_mask)]))
    nats = np.array([-values.sum() for values in log_likelihoods(chat.model, pairs)])
    n_tokens = np.array([len(answer) for _, answer in pairs])
    add_ratio(result, "nats per token", nats, n_tokens)
    add_ratio(result, "bits per byte", nats / math.log(2), np.array([len(story.text.encode()) for story in held_out]))
    above = nats - [story.information - request_nats(story) for story in held_out]
    result.add(mean("nats above the floor", above, "per story", digits=1), above)


def add_ratio(result: SuiteResult, name: str, values: np.ndarray, sizes: np.ndarray) -> None:
    """Add a ratio of two sums, with its bootstrap interval."""
    low, high = bootstrap(np.stack([values, sizes], axis=1), mean_of_column)
    metric = Metric(name, float(values.sum() / sizes.sum()), low, high, len(values), "of whole stories", 4)
    result.add(metric, values / sizes)


def request_nats(story: Story) -> float:
    """-log p(hero, thing) in nats: the information in a request for a story. Every thing belongs to a single plot."""
    plots = [plot.things[: story.world.things] for plot in PLOTS[: story.world.plots]]
    p_thing = sum(sum(thing.en == story.combination[2] for thing in things) / len(things) for things in plots)
    return math.log(len(story.world.children)) - math.log(p_thing / len(plots))
