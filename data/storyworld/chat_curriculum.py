"""Write the extra training data of the shipped chat model, used beside the instructions of storyworld.

    python data/storyworld/chat_curriculum.py [FOLDER]

writes two files that `train.py chat-storyworld --data` reads:

- `first_sentences.jsonl`: requests to tell a story, answered by its first sentence only. A name is one token of fifteen
  there, and one of a hundred and fifty in a whole story, so a model learns much sooner that it must copy the name.
- `conversations.jsonl`: for each of 12,000 stories, two of the instructions, a conversation of two to four turns about
  it, and a question about its first sentences alone; and now and then a greeting.
"""

import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that it also runs from a clone that is not installed

from llmasos.datasets import open_examples  # noqa: E402
from llmasos.datasets.storyworld import Story, stories  # noqa: E402
from llmasos.datasets.storyworld.task_examples import story_conversations  # noqa: E402

Turns = list[tuple[str, str]]  # (prompt, answer) of each turn
GREETINGS = ("Hello", "Hello!", "Hi", "Hi!", "Who are you?", "What can you do?", "Good morning", "How are you?", "Help")
ANSWER = "Hello! Ask me for a story about somebody and something, or give me a story and ask about it."


def first_sentences(n_stories: int) -> list[Turns]:
    """Return each request to tell a story with the story's first sentence as the answer."""
    conversations = (example.messages for example in open_examples("conversations", f"storyworld:{n_stories}").train)
    pairs = [(prompt, answer) for (_, prompt), (_, answer) in conversations if prompt.startswith("Tell me a story")]
    return [[(prompt, answer[: answer.index(".") + 1])] for prompt, answer in pairs]


def multi_turn(rng: random.Random, story: Story) -> Turns:
    """Return a conversation: a story or a question about one, then further questions about the same story."""
    tell, summarize, ending, *_ = story.instructions
    questions = [(question.question, question.answer) for question in story.questions]
    questions += [(summarize[0].split("\n\n")[0], story.summary), (ending[0].split("\n\n")[0], story.ending)]
    first = rng.choice([tell, tell, tell, rng.choice([summarize, ending])])
    if first is not tell:
        questions = [pair for pair in questions if pair[0] != first[0].split("\n\n")[0]]
    return [first, *rng.sample(questions, min(len(questions), rng.choice([1, 1, 2, 3])))]


def short_context(rng: random.Random, story: Story) -> Turns:
    """Return a question about the first sentences of a story: those up to the answer, or a few more."""
    question = rng.choice(story.questions)
    end = question.start + len(question.answer)
    lengths = [len(" ".join(story.sentences[:k])) for k in range(1, len(story.sentences) + 1)]
    shortest = next(k for k, length in enumerate(lengths, 1) if length >= end)
    k = min(len(lengths), rng.choice([shortest, shortest, shortest + 1, shortest + 2]))
    return [(f"{question.question}\n\n{' '.join(story.sentences[:k])}", question.answer)]


def as_typed(rng: random.Random, text: str) -> str:
    """Vary a prompt as people type: sometimes no empty line before the story, sometimes the American spelling."""
    if rng.random() < 0.3:
        text = text.replace("\n\n", " ", 1)
    return text.replace("Summarise", "Summarize", 1) if rng.random() < 0.3 else text


def chat_conversations(n_stories: int, seed: int = 0) -> list[Turns]:
    """Return the content of `conversations.jsonl`, made from this many stories."""
    rng = random.Random(seed)
    conversations: list[Turns] = []

    def add(turns: Turns) -> None:
        conversations.append([(as_typed(rng, prompt), answer) for prompt, answer in turns])

    for story in stories("train", n_stories):
        for example in story_conversations(story):
            add([(example.messages[0][1], example.messages[1][1])])
        add(multi_turn(rng, story))
        if story.questions:
            add(short_context(rng, story))
        if rng.random() < 0.05:
            add([(rng.choice(GREETINGS), ANSWER)])
    return conversations


def write(file: Path, conversations: list[Turns]) -> None:
    """Write one conversation per line."""
    if file.exists():
        sys.exit(f"{file} already exists; delete it or name another folder.")
    with file.open("w", encoding="utf-8") as out:
        for turns in conversations:
            pairs = [pair for prompt, answer in turns for pair in (("user", prompt), ("assistant", answer))]
            messages = [{"role": role, "content": content} for role, content in pairs]
            print(json.dumps({"messages": messages}), file=out)
    print(f"{file}: {len(conversations):,} conversations")


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    write(folder / "first_sentences.jsonl", first_sentences(48_000))
    write(folder / "conversations.jsonl", chat_conversations(12_000))
