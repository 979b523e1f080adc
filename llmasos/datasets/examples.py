"""What one example of each task is, and a data set of them: the types that the `open_*` functions hand on.

Everything here is text as a person wrote it. Tokens come later (`llmasos/tasks/`, `llmasos/objectives/`), so one data
set serves any tokenizer and any family of models. An example remembers where in the user's files it stands, for what
may have to be said about it then; two examples that differ in nothing else are equal.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Example = TypeVar("Example")


@dataclass(frozen=True)
class Labelled:
    """A text, or two texts together, and the class it belongs to."""

    text: str
    label: str
    second: str | None = None
    where: str = field(default="", compare=False, repr=False)  # "FILE, line N"; empty in a data set


@dataclass(frozen=True)
class Pair:
    """A text and what it shall become: its translation, its summary."""

    source: str
    target: str
    where: str = field(default="", compare=False, repr=False)  # as for Labelled


@dataclass(frozen=True)
class Answer:
    """An answer as a span: `context[start : start + len(text)] == text`."""

    text: str
    start: int  # in characters


@dataclass(frozen=True)
class QA:
    """A question about a text. Any of `answers` is right; no answers means that the text does not answer it."""

    context: str
    question: str
    answers: tuple[Answer, ...]
    id: str = ""
    where: str = field(default="", compare=False, repr=False)  # as for Labelled


@dataclass(frozen=True)
class Conversation:
    """Messages in order, each as (role, content), the role being "system", "user" or "assistant"."""

    messages: tuple[tuple[str, str], ...]
    where: str = field(default="", compare=False, repr=False)  # as for Labelled


@dataclass
class Splits(Generic[Example]):
    """The examples of a data set, to train on and held out.

    Attributes:
        name: short, as the user gave it; goes into folder names.
        description: one line for a person: what it is and how it is split.
        train: what to learn from.
        val: held out: to choose by while training.
        test: held out for final numbers only; None where the data set has no such split.
        fingerprint: hexadecimal digits that change when the data changes.
        skipped: one sentence for each row that was left out because it is unusable.
    """

    name: str
    description: str
    train: list[Example]
    val: list[Example]
    test: list[Example] | None
    fingerprint: str
    skipped: list[str] = field(default_factory=list)
