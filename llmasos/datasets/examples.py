"""The example types of each format, and datasets of them, as returned by `open_examples`.

Everything here is plain text. Tokens come later (`llmasos/tasks/`, `llmasos/objectives/`), so one dataset serves any
tokenizer and any family of models. An example records where it is in the user's files, for messages about it; this does
not count when examples are compared.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from llmasos.datasets.source import FEW_DOCUMENTS, in_hashed_tenth, measured_tenth, text_key
from llmasos.datasets.text_io import file_fingerprint
from llmasos.errors import UserError

Example = TypeVar("Example")


@dataclass(frozen=True)
class LabeledText:
    """A text, or two texts together, and the class they belong to."""

    text: str
    label: str
    second: str | None = None
    where: str = field(default="", compare=False, repr=False)  # "FILE, line N"; empty in a built-in dataset


@dataclass(frozen=True)
class TaggedText:
    """A text whose words have labels that say which of them are names (see `tagging.py`).

    Attributes:
        text: the words and the text between them.
        words: (start, end) of each word, in characters of the text.
        labels: the label of each word: O, or B- or I- and a type.
    """

    text: str
    words: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]
    where: str = field(default="", compare=False, repr=False)  # "FILE, sentence N, line M"; else as in LabeledText


@dataclass(frozen=True)
class ScoredText:
    """A text, or two texts together, and a number that belongs to it."""

    text: str
    score: float
    second: str | None = None
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText


@dataclass(frozen=True)
class Pair:
    """A text and its target: its translation or its summary."""

    source: str
    target: str
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText


@dataclass(frozen=True)
class Answer:
    """An answer as a span: `context[start : start + len(text)] == text`."""

    text: str
    start: int  # in characters


@dataclass(frozen=True)
class QA:
    """A question about a text. Any of `answers` is right; an empty tuple means that the text does not answer it."""

    context: str
    question: str
    answers: tuple[Answer, ...]
    id: str = ""
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText


@dataclass(frozen=True)
class Conversation:
    """Messages in order, each as (role, content); a role is "system", "user", "assistant" or "tool"."""

    messages: tuple[tuple[str, str], ...]
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText

    @property
    def prompt(self) -> str:
        """Everything before the last message."""
        return "\n".join(content for _, content in self.messages[:-1])


@dataclass(frozen=True)
class Preference:
    """Two answers to a prompt, which may be empty, and which of them was preferred."""

    prompt: str
    chosen: str
    rejected: str
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText


@dataclass(frozen=True)
class Query:
    """A query and the passage that answers it."""

    query: str
    passage: str
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText


@dataclass(frozen=True)
class Prompt:
    """A text to be continued or answered; empty = begin a new one."""

    text: str
    where: str = field(default="", compare=False, repr=False)  # as in LabeledText


@dataclass
class Splits(Generic[Example]):
    """The examples of a dataset, split into training, validation and test examples.

    Attributes:
        name: short, as the user gave it; part of folder names.
        description: one line for a person: what the data is and how it is split.
        train: the examples to learn from.
        val: held out: for choices during training, such as when to stop.
        test: held out for final numbers only; None if the dataset has no such split.
        fingerprint: hexadecimal digits that change when the data changes.
        skipped: one sentence for each unusable row that was skipped.
    """

    name: str
    description: str
    train: list[Example]
    val: list[Example]
    test: list[Example] | None
    fingerprint: str
    skipped: list[str] = field(default_factory=list)


def split_off_validation(
    examples: list[Example], key: Callable[[Example], str], name: str, label: Callable[[Example], str] | None = None
) -> tuple[list[Example], list[Example]]:
    """Split examples into training and validation, a tenth of them, by a hash of each example's key.

    The rule is that of documents (`source.py`): it depends on neither the machine, nor the order, nor the other rows,
    and examples with equal keys go to the same side. Below 1,000 different keys, where chance could leave nothing,
    they are taken in the order of their hashes until they hold a tenth of the examples.

    With labels the rule is applied to each label by itself (a stratified split), so that every label that has two
    different examples is held out, too.

    Args:
        examples: all of them.
        key: the text that decides an example's side, for instance its context.
        name: the name of the data, for the message.
        label: the label of an example; None = there are none.

    Raises:
        UserError: all examples have the same key.
    """
    keys = [text_key(key(example)) for example in examples]
    sizes = Counter(keys)
    if len(sizes) < 2:
        raise UserError(
            f"{name} has {len(examples):,} example{'s' * (len(examples) != 1)}, {len(sizes)} of them different, so "
            "none can be held out for validation; add examples, or name a second file with --val-data."
        )
    label_of = {} if label is None else dict(sorted(zip(keys, map(label, examples), strict=True), reverse=True))
    strata: dict[
        str | None, dict[int, int]
    ] = {}  # label → key → size; equal texts with two labels have the first in the alphabet
    for hashed, size in sizes.items():
        strata.setdefault(label_of.get(hashed), {})[hashed] = size
    held_out = set().union(*map(held_out_keys, strata.values()))
    train = [example for hashed, example in zip(keys, examples, strict=True) if hashed not in held_out]
    val = [example for hashed, example in zip(keys, examples, strict=True) if hashed in held_out]
    return train, val


def held_out_keys(sizes: dict[int, int]) -> set[int]:
    """A tenth of some keys (key → size), by their hashes; none of a single one."""
    if len(sizes) >= FEW_DOCUMENTS:
        return set(filter(in_hashed_tenth, sizes))
    return measured_tenth(sizes) if len(sizes) > 1 else set()


def fingerprint_of(settings: object, paths: list[Path]) -> str:
    """Return hexadecimal digits that change when one of the files changes, or the settings they are read with."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in paths:
        digest.update(file_fingerprint(path).encode())
    return digest.hexdigest()
