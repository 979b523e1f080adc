"""A part of the held-out data: enough to see a small difference between two models within seconds."""

from dataclasses import dataclass

import numpy as np

from llmasos.tasks import Task
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.language_modeling import LanguageModeling, text_splits

MAX_TOKENS, MAX_EXAMPLES = 20_000, 100


@dataclass(frozen=True)
class Tokens:
    """The beginning of a text.

    Attributes:
        ids: (N,) its token ids.
        n_bytes: the number of UTF-8 bytes they encode.
        truncated: whether the text continues after them.
    """

    ids: np.ndarray
    n_bytes: int
    truncated: bool


def take_subset(task: Task, split: str) -> tuple[Tokens | None, str]:
    """Restrict a task to a part of a split.

    Returns:
        The tokens if the data is running text, else None; and a description of the size, to print.

    Raises:
        UserError: the data has no such split.
    """
    if isinstance(task, LanguageModeling):
        tokens = first_tokens(task, split, MAX_TOKENS)
        return tokens, f", {'its first ' if tokens.truncated else ''}{len(tokens.ids):,} tokens"
    if not isinstance(task, ExampleTask):
        return None, ""
    n_before = 0
    for name in ("train", "val", "test") if split == "all" else (split,):
        if examples := getattr(task.data, name):
            step = -(-len(examples) // MAX_EXAMPLES)  # evenly spaced, because some data is sorted
            setattr(task.data, name, examples[::step])
            n_before += len(examples)
    n = len(task.split(split))  # only usable examples
    return None, f", {n:,} of its {n_before:,} examples" if n < n_before else f", {n:,} examples"


def first_tokens(task: LanguageModeling, split: str, n: int) -> Tokens:
    """The first n tokens of a split, equal to those of the array on disk, without building that array."""
    ids: list[int] = []
    n_bytes, tokenizer = 0, task.tokenizer
    for text, ends_document in (piece for name in text_splits(split) for piece in task.data.pieces(name)):
        new = tokenizer.encode_array(text).tolist() + [tokenizer.end_of_text] * ends_document
        n_missing = n - len(ids)
        if len(new) > n_missing:
            n_bytes += len(tokenizer.decode(new[:n_missing]).encode("utf-8"))
            return Tokens(np.array(ids + new[:n_missing]), n_bytes, truncated=True)
        ids += new
        n_bytes += len(text.encode("utf-8"))
    return Tokens(np.array(ids), n_bytes, truncated=False)
