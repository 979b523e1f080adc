"""Conversations about a story, which is told or given, with questions about it, some of them unanswerable.

    for turn in dialogue(random.Random(0), story, "train", n_turns=10):
        print(turn.kind, turn.prompt, turn.answer)

A story that begins a conversation is read once and asked about often, so most of what a model has to write is short:
of ten turns, one is a story.
"""

import random
from typing import NamedTuple

from llmasos.datasets.storyworld.lines import Line
from llmasos.datasets.storyworld.outside_requests import outside_request
from llmasos.datasets.storyworld.story import Story
from llmasos.datasets.storyworld.task_examples import absent_questions

OUTSIDE = "I only know the valley and its stories, so I cannot help with that."
NOT_TOLD = "The story does not say."
NO_STORY = "I have no story yet. Ask me for one, or give me one."
HELLO = "Hello! Ask me for a story about somebody and something, or give me a story and ask about it."
TELL = "Tell me a story about {hero} and {a thing}."
OTHER_WORDINGS = (  # of TELL
    "Please tell me a story about {hero} and {a thing}.",
    "Can you tell me a story about {hero} and {a thing}?",
    "I would like a story about {hero} and {a thing}.",
    "A story about {hero} and {a thing}, please.",
    "Tell me a story about {hero}.",
    "Tell me a story about {a thing}.",
    "Tell me a story about {a trait hero.child}.",
    "Tell me a story.",
)
BEGIN = "Begin a story about {hero} and {a thing}."
SUMMARIZE = "Summarise this story in one sentence."
ENDING = "Does this story have a happy or a sad ending?"
GERMAN = "Translate the first sentence into German."
TRANSLATE = "Translate into German."


class Turn(NamedTuple):
    """What the user says, the right answer, and what kind of turn it is."""

    kind: str
    prompt: str
    answer: str


def fill(wording: str, story: Story) -> str:
    """A wording with the words of a story in its slots."""
    return Line(wording, "").english(story.cast)


def tell_turn(story: Story, wording: str = TELL) -> Turn:
    """The request for a story."""
    return Turn("story", fill(wording, story), story.text)


def beginning_turn(story: Story) -> Turn:
    """The request for the beginning of a story: its sentences up to the one that names the thing.

    A name is one token of thirty there, and one of two hundred in a whole story, so a model soon learns to copy it.
    """
    thing = story.cast["thing"].en
    end = next((i for i, sentence in enumerate(story.sentences) if thing in sentence), 0)
    return Turn("beginning", fill(BEGIN, story), " ".join(story.sentences[: end + 1]))


def story_turns(story: Story) -> list[Turn]:
    """All turns that ask about a story and have an answer in it."""
    turns = [Turn("question", question.question, question.answer) for question in story.questions]
    turns.append(Turn("summary", SUMMARIZE, story.summary))
    turns.append(Turn("ending", ENDING, story.ending))
    return [*turns, Turn("german", GERMAN, story.german_sentences[0])]


def not_told_turn(rng: random.Random, story: Story) -> Turn:
    """A question that the story does not answer."""
    return Turn("not told", fill(rng.choice(absent_questions(story)), story), NOT_TOLD)


def outside_turn(rng: random.Random, split: str, kind: str = "") -> Turn:
    """A request that has nothing to do with the world."""
    return Turn("outside", outside_request(rng, split, kind)[1], OUTSIDE)


def with_story(turn: Turn, story: str) -> Turn:
    """The same turn with a story given to it."""
    return turn._replace(prompt=f"{turn.prompt}\n\n{story}")


def excerpt_dialogue(rng: random.Random, story: Story, split: str) -> list[Turn]:
    """A conversation about the first sentences of a story: all questions that they answer, and at times another.

    To answer, a model has to find the place in what it has read, and copy. It learns that much sooner from a few
    sentences than from a whole story.
    """
    n_sentences = rng.choice((1, 1, 2, 2, 3, 4, 6))
    excerpt = " ".join(story.sentences[:n_sentences])
    turns = [
        Turn("question", question.question, question.answer)
        for question in story.questions
        if question.start + len(question.answer) <= len(excerpt)
    ]
    if not turns or rng.random() < 0.3:
        turns.append(Turn("german", GERMAN, story.german_sentences[0]))
    if rng.random() < 0.3:
        turns.append(not_told_turn(rng, story))
    if rng.random() < 0.1:
        turns.append(outside_turn(rng, split))
    rng.shuffle(turns)
    return [with_story(turns[0], excerpt), *turns[1:]]


def dialogue(rng: random.Random, story: Story, split: str, n_turns: int, told: bool = True) -> list[Turn]:
    """A conversation about a story.

    Args:
        rng: makes all choices.
        story: the story that it is about.
        split: of the requests that have nothing to do with it.
        n_turns: at least one; of ten, one is outside the world and one is not told in the story, the others have an
            answer (or fewer, if the story answers fewer questions).
        told: whether the first turn asks for the story; else the user gives the story and asks about it.
    """
    others = [not_told_turn(rng, story), outside_turn(rng, split)]
    known = story_turns(story)
    rng.shuffle(known)
    n_others = sum(rng.random() < n_turns / 10 for _ in others)
    if n_turns >= 10:
        n_others = max(2, n_turns - 1 - len(known) + (not told))
        others += [not_told_turn(rng, story) for _ in range(n_others - 2)]
    rng.shuffle(others)
    first = tell_turn(story) if told else with_story(known.pop(0), story.text)
    turns = [*others[:n_others], *known[: max(0, n_turns - 1 - n_others)]]
    rng.shuffle(turns)
    return [first, *turns[: n_turns - 1]]
