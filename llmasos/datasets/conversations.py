"""Conversations to learn answers from: `open_conversations("storyworld")`, `open_conversations("mine.jsonl")`.

A file of one's own has a conversation a line, either as messages, the form that chat models are usually trained from,

    {"messages": [{"role": "user", "content": "Who was Anna?"}, {"role": "assistant", "content": "A curious girl."}]}

or, in a `.jsonl`, `.csv` or `.tsv` file, as a prompt with its answer, and perhaps with a system message before them:

    {"prompt": "Who was Anna?", "answer": "A curious girl."}
"""

import hashlib
import random
from pathlib import Path
from typing import Any

from llmasos.datasets import catalog
from llmasos.datasets.examples import Conversation, Splits
from llmasos.datasets.rows import (
    BadRow,
    BadRows,
    Columns,
    cell,
    existing_path,
    file_splits,
    hold_out,
    read_examples,
    refuse_own_settings,
)
from llmasos.datasets.storyworld import Story, stories
from llmasos.datasets.storyworld.text_source import StoryworldText
from llmasos.datasets.text_io import parse_object, read_lines
from llmasos.errors import UserError

ROLES = {"prompt": True, "answer": True, "system": False}  # role of a column -> whether a table must have it
PER_STORY = 2


def open_conversations(
    name_or_path: str | Path,
    columns: Columns | None = None,
    val: str | Path | None = None,
    skip_bad: bool = False,
    whole: bool = False,
) -> Splits[Conversation]:
    """Return the conversations that a name or a path stands for.

    Arguments:
        name_or_path: "storyworld", "storyworld:N", or the path of a `.jsonl`, `.csv` or `.tsv` file.
        columns: which columns play the roles "prompt", "answer" and "system", where they are not called so.
        val: a second file of the same form that is held out; without it a tenth of the first is.
        skip_bad: leave unusable rows out, with a sentence each in `Splits.skipped`, instead of stopping at the first.
        whole: all of the user's file is held out, and nothing is left to train on; it is to be measured on.

    Raises:
        UserError: no such data set or file, or a row without a usable conversation. Names the file and line.
    """
    name = str(name_or_path)
    if n_stories := catalog.story_count(name):
        refuse_own_settings(name, columns, val)
        return world_conversations(n_stories)
    bad = BadRows(skip_bad)
    path = existing_path(name, "conversations")
    train = read_conversations(path, columns, bad)
    settings = ("conversations", columns)
    if whole:
        return file_splits([], train, [path], None, settings, "question", bad)
    if val is None:
        train, held_out = hold_out(train, question_of, name)
        return file_splits(train, held_out, [path], None, settings, "question", bad)
    val_path = Path(val).expanduser()
    held_out = read_conversations(val_path, columns, bad)
    return file_splits(train, held_out, [path], [val_path], settings, "question", bad)


def question_of(chat: Conversation) -> str:
    """Everything that is said before the last message, by which conversations are told apart."""
    return "\n".join(content for _, content in chat.messages[:-1])


def read_conversations(path: Path, columns: Columns | None, bad: BadRows) -> list[Conversation]:
    """The conversations in a file, in either form."""
    if path.suffix.lower() != ".jsonl" or not has_messages(path):
        return read_examples(path, ROLES, columns, _make, bad)
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            where = f"{path}, line {number:,}"
            try:
                found.append(of_messages(parse_object(line).get("messages"), where))
            except (BadRow, ValueError) as problem:
                bad.found(where, str(problem))
    if not found:
        raise UserError(f"{path} holds no usable conversation; give another file")
    return found


def has_messages(path: Path) -> bool:
    """Whether the first line of a .jsonl file is an object with messages."""
    first = next((line for line in read_lines(path) if line.strip()), "")
    try:
        return "messages" in parse_object(first)
    except ValueError:
        return False


def of_messages(messages: Any, where: str) -> Conversation:
    """A conversation of a list of objects with role and content. Raises BadRow if it is none, or teaches nothing."""
    try:
        pairs = tuple((str(message["role"]), str(message["content"])) for message in messages)
    except (TypeError, KeyError) as error:
        raise BadRow('messages is no list of objects with "role" and "content"') from error
    for role, content in pairs:
        if role not in ("system", "user", "assistant"):
            raise BadRow(f"the role {role!r} is unknown; expected system, user or assistant")
        if not content.strip():
            raise BadRow(f"a message of the {role} is empty")
    if not any(role == "assistant" for role, _ in pairs):
        raise BadRow("the assistant says nothing in it, so there is nothing to learn")
    return Conversation(pairs, where)


def _make(cells: dict[str, str]) -> Conversation:
    system = cells["system"].strip()
    opening = (("system", system),) if system else ()
    return Conversation((*opening, ("user", cell(cells, "prompt")), ("assistant", cell(cells, "answer"))))


def world_conversations(n_train: int) -> Splits[Conversation]:
    """Instructions about the stories with their answers: `PER_STORY` of the kinds that there are for each story."""
    source = StoryworldText(n_train)
    train, val = (
        [chat for story in stories(split, source.counts[split]) for chat in story_conversations(story)]
        for split in source.counts
    )
    known = {question_of(chat) for chat in train}  # the first sentences of stories, to be translated, recur
    val = [chat for chat in val if question_of(chat) not in known]
    what = f"{len(train):,} and {len(val):,} instructions with answers about {source.description}"
    fingerprint = hashlib.sha256(f"conversations {PER_STORY} {source.fingerprint()}".encode()).hexdigest()
    return Splits(source.name, what, train, val, test=None, fingerprint=fingerprint)


def story_conversations(story: Story) -> list[Conversation]:
    """Some of a story's instructions, chosen by the story alone."""
    rng = random.Random(f"conversations {story.text}")
    chosen = rng.sample(story.instructions, PER_STORY)
    return [Conversation((("user", prompt), ("assistant", answer))) for prompt, answer in chosen]
