"""Write conversations about stories that a chat model of the small world is trained on.

    python data/storyworld/chat_dialogues.py [FOLDER]

writes `chat_1.jsonl`, `chat_2.jsonl`, `chat_3.jsonl` and `chat_val.jsonl`, each conversation about another story. In
the first part nearly half of them are about an excerpt, the first sentences of a story: they are short, and teach a
model to find an answer in what it has read. In the other parts most are dialogues about a whole story, of one to ten
turns, in which about one turn in ten is a request from outside the small world. The others have one turn: the
beginning of a story, an instruction of storyworld, a request from outside, a question about a story that nobody has
told, a greeting. Stories of `chat_val.jsonl` have other combinations of hero, plot and thing, and requests from
outside have other wordings, topics and names.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that it also runs from a clone that is not installed

from llmasos.datasets.storyworld import Story, stories  # noqa: E402
from llmasos.datasets.storyworld.dialogues import (  # noqa: E402
    HELLO,
    NO_STORY,
    OTHER_WORDINGS,
    TELL,
    Turn,
    beginning_turn,
    dialogue,
    excerpt_dialogue,
    outside_turn,
    story_turns,
    tell_turn,
)

GREETINGS = ("Hello", "Hello!", "Hi", "Hi!", "Who are you?", "What can you do?", "Good morning", "How are you?", "Help")
N_TURNS = (1, 2, 3, 4, 6, 8, 10, 10, 10)
TYPES = "excerpt", "told", "given", "outside", "beginning", "instruction", "no story", "greeting", "greeted"
PARTS = (  # how often each type of conversation is in a part, in percent
    (40, 30, 12, 9, 5, 2, 1, 1, 0),
    (20, 40, 18, 13, 5, 2, 1, 1, 0),
    (12, 36, 20, 12, 3, 10, 1, 2, 4),
)
N_CONVERSATIONS = 64_000, 48_000, 48_000


def conversation(rng: random.Random, story: Story, split: str, percent: tuple[int, ...]) -> list[Turn]:
    """A conversation about a story, or one that has nothing to do with it."""
    [kind] = rng.choices(TYPES, percent)
    if kind in ("told", "given"):
        turns = dialogue(rng, story, split, rng.choice(N_TURNS), told=kind == "told")
        if kind == "told" and rng.random() < 0.15:
            turns[0] = tell_turn(story, rng.choice(OTHER_WORDINGS))
        return turns
    if kind == "greeted":
        greeting = Turn("greeting", rng.choice(GREETINGS), HELLO)
        return [greeting, tell_turn(story, rng.choice((TELL, *OTHER_WORDINGS))), *dialogue(rng, story, split, 3)[1:]]
    if kind == "excerpt":
        return excerpt_dialogue(rng, story, split)
    if kind == "outside":
        return [outside_turn(rng, split)]
    if kind == "beginning":
        return [beginning_turn(story)]
    if kind == "instruction":
        return [Turn(kind, *rng.choice(story.instructions[1:5]))]
    if kind == "no story":
        return [Turn(kind, rng.choice(story_turns(story)).prompt, NO_STORY)]
    return [Turn(kind, rng.choice(GREETINGS), HELLO)]


def as_typed(rng: random.Random, text: str) -> str:
    """Vary a prompt as people type: sometimes no empty line before the story, sometimes the American spelling."""
    if rng.random() < 0.3:
        text = text.replace("\n\n", " ", 1)
    return text.replace("Summarise", "Summarize", 1) if rng.random() < 0.3 else text


def chat_conversations(
    split: str, n_stories: int, seed: int = 0, percent: tuple[int, ...] = PARTS[0]
) -> Iterator[list[Turn]]:
    """Yield a conversation for each of this many stories of a split, of the corpus `seed`."""
    rng = random.Random(seed)
    for story in stories(split, n_stories, seed):
        turns = conversation(rng, story, split, percent)
        yield [turn._replace(prompt=as_typed(rng, turn.prompt)) for turn in turns]


def write(file: Path, conversations: Iterator[list[Turn]]) -> None:
    """Write one conversation per line."""
    if file.exists():
        sys.exit(f"{file} already exists; delete it or name another folder.")
    n = 0
    with file.open("w", encoding="utf-8") as out:
        for turns in conversations:
            n += 1
            pairs = [pair for turn in turns for pair in (("user", turn.prompt), ("assistant", turn.answer))]
            print(json.dumps({"messages": [{"role": role, "content": text} for role, text in pairs]}), file=out)
    print(f"{file}: {n:,} conversations")


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for part, (n, percent) in enumerate(zip(N_CONVERSATIONS, PARTS, strict=True)):
        write(folder / f"chat_{part + 1}.jsonl", chat_conversations("train", n, seed=part, percent=percent))
    write(folder / "chat_val.jsonl", chat_conversations("val", 300))
