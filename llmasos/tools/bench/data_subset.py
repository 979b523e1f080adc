"""Some of the held-out data instead of all of it: enough to see a small difference between two models, in seconds."""

from dataclasses import dataclass

import numpy as np

from llmasos.tasks import Task
from llmasos.tasks.example_task import ExamplesTask
from llmasos.tasks.language_modeling import LanguageModeling, text_splits

SOME_TOKENS, SOME_EXAMPLES = 20_000, 100


@dataclass(frozen=True)
class Tokens:
    """The beginning of a text.

    Attributes:
        ids: (N,) its tokens.
        n_bytes: their UTF-8 bytes.
        cut: whether the text goes on.
    """

    ids: np.ndarray
    n_bytes: int
    cut: bool


def shorten(task: Task, split: str) -> tuple[Tokens | None, str]:
    """Take some of the held-out data.

    Returns:
        The tokens, if they are of running text, and words that say how much it is.

    Raises:
        UserError: the data has no such split.
    """
    if isinstance(task, LanguageModeling):
        tokens = first_tokens(task, split, SOME_TOKENS)
        return tokens, f", {'its first ' if tokens.cut else ''}{len(tokens.ids):,} tokens"
    if not isinstance(task, ExamplesTask):
        return None, ""
    before = 0
    for name in ("train", "val", "test") if split == "all" else (split,):
        if examples := getattr(task.data, name):
            step = -(-len(examples) // SOME_EXAMPLES)  # spread evenly, as some data is sorted
            setattr(task.data, name, examples[::step])
            before += len(examples)
    after = len(task.split(split))  # of them, those that are usable
    return None, f", {after:,} of its {before:,} examples" if after < before else f", {after:,} examples"


def first_tokens(task: LanguageModeling, split: str, n: int) -> Tokens:
    """The first n tokens of a split, the same as in the array on disk, without building all of that."""
    ids, n_bytes, tokenizer = [], 0, task.tokenizer
    for text, ends_document in (piece for name in text_splits(split) for piece in task.source.pieces(name)):
        new = tokenizer.encode_array(text).tolist()
        new += [tokenizer.end_of_text] * ends_document
        if len(new) > (room := n - len(ids)):
            n_bytes += len(tokenizer.decode(new[:room]).encode("utf-8"))
            return Tokens(np.array(ids + new[:room]), n_bytes, cut=True)
        ids += new
        n_bytes += len(text.encode("utf-8"))
    return Tokens(np.array(ids), n_bytes, cut=False)
