"""Conversations that the shipped chat model was taught with, beside the usual instructions.

    python data/storyworld/talks.py [FOLDER]

writes two files that `train.py chat-storyworld --data` reads:

- `beginnings.jsonl`: to tell a story, but only its first sentence. A name is one token of fifteen there, and one of a
  hundred and fifty in a whole story: that it must be copied is learned much sooner.
- `talks.jsonl`: for each of 12,000 stories two of the usual instructions, a conversation of two to four turns about it,
  and a question about its first sentences alone; and now and then a greeting.
"""

import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that it runs from anywhere, installed or not

from llmasos.datasets import open_examples  # noqa: E402
from llmasos.datasets.storyworld import Story, stories  # noqa: E402
from llmasos.datasets.storyworld.task_examples import story_conversations  # noqa: E402

Turns = list[tuple[str, str]]  # what is said, and the answer
GREETINGS = ("Hello", "Hello!", "Hi", "Hi!", "Who are you?", "What can you do?", "Good morning", "How are you?", "Help")
ANSWER = "Hello! Ask me for a story about somebody and something, or give me a story and ask about it."


def beginnings(n_stories: int) -> list[Turns]:
    """Each story that is to be told, up to its first full stop."""
    chats = (chat.messages for chat in open_examples("conversations", f"storyworld:{n_stories}").train)
    pairs = [(ask, answer) for (_, ask), (_, answer) in chats if ask.startswith("Tell me a story")]
    return [[(ask, answer[: answer.index(".") + 1])] for ask, answer in pairs]


def talk(draw: random.Random, story: Story) -> Turns:
    """First a story, or something about one; then more about the same story."""
    tell, summarise, ending, *_ = story.instructions
    about = [(q.question, q.answer) for q in story.questions]
    about += [(summarise[0].split("\n\n")[0], story.summary), (ending[0].split("\n\n")[0], story.ending)]
    first = draw.choice([tell, tell, tell, draw.choice([summarise, ending])])
    if first is not tell:
        about = [pair for pair in about if pair[0] != first[0].split("\n\n")[0]]
    return [first, *draw.sample(about, min(len(about), draw.choice([1, 1, 2, 3])))]


def short(draw: random.Random, story: Story) -> Turns:
    """A question about the first sentences of a story, as few as hold the answer or some more."""
    question = draw.choice(story.questions)
    end = question.start + len(question.answer)
    lengths = [len(" ".join(story.sentences[:k])) for k in range(1, len(story.sentences) + 1)]
    least = next(k for k, length in enumerate(lengths, 1) if length >= end)
    k = min(len(lengths), draw.choice([least, least, least + 1, least + 2]))
    return [(f"{question.question}\n\n{' '.join(story.sentences[:k])}", question.answer)]


def as_typed(draw: random.Random, text: str) -> str:
    """As people type: sometimes without the empty line before a story, sometimes with an American z."""
    if draw.random() < 0.3:
        text = text.replace("\n\n", " ", 1)
    return text.replace("Summarise", "Summarize", 1) if draw.random() < 0.3 else text


def talks(n_stories: int, seed: int = 0) -> list[Turns]:
    """All of `talks.jsonl`, for so many stories."""
    draw, found = random.Random(seed), []

    def add(turns: Turns) -> None:
        found.append([(as_typed(draw, said), answer) for said, answer in turns])

    for story in stories("train", n_stories):
        for chat in story_conversations(story):
            add([(chat.messages[0][1], chat.messages[1][1])])
        add(talk(draw, story))
        if story.questions:
            add(short(draw, story))
        if draw.random() < 0.05:
            add([(draw.choice(GREETINGS), ANSWER)])
    return found


def write(file: Path, conversations: list[Turns]) -> None:
    """One conversation a line."""
    with file.open("w", encoding="utf-8") as out:
        for turns in conversations:
            pairs = [pair for said, answer in turns for pair in (("user", said), ("assistant", answer))]
            messages = [{"role": role, "content": content} for role, content in pairs]
            print(json.dumps({"messages": messages}), file=out)
    print(f"{file}: {len(conversations):,} conversations")


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    write(folder / "beginnings.jsonl", beginnings(48_000))
    write(folder / "talks.jsonl", talks(12_000))
