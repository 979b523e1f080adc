"""Examples from files that are not tables, and from the published datasets.

    train.de,train.en                                    line N of one file is the translation of line N of the other
    {"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}                      SQuAD, one `.json` file
    {"messages": [{"role": "user", "content": …}, {"role": "assistant", …}]}      one conversation per `.jsonl` line

A reader skips a bad example or stops at it, as `BadRows` says. `PUBLISHED` lists how each published dataset is read.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from llmasos.datasets.catalog import DATASETS, Dataset
from llmasos.datasets.examples import QA, Answer, Conversation, LabeledText, Pair, Splits, fingerprint_of
from llmasos.datasets.fetch import find_files
from llmasos.datasets.tables import cell, read_examples
from llmasos.datasets.text_io import parse_object, read_blocks, read_lines
from llmasos.datasets.values import BadRow, BadRows
from llmasos.errors import UserError

SHOWN = 40  # characters of an answer in an error message


def read_parallel(source: Path, target: Path, bad_rows: BadRows) -> list[Pair]:
    """Return the pairs of lines of two parallel text files, plain or `.gz`.

    Raises:
        UserError: a file cannot be read; the numbers of lines differ; an empty line is not skipped; no pair is left.
    """
    sides = [_text_lines(path) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise UserError(
            f"{source} has {len(sides[0]):,} lines, but {target} has {len(sides[1]):,}; parallel files need the same"
            " number of lines, each line the translation of the other."
        )
    pairs = []
    for number, (first, second) in enumerate(zip(*sides, strict=True), start=1):
        if not first or not second:
            bad_rows.add(f"{target if first else source}, line {number:,}", "the line is empty.")
        else:
            pairs.append(Pair(first, second, where=f"{source}, line {number:,}"))
    if not pairs:
        raise UserError(f"{source} and {target} hold no pair of lines; give files with text in them.")
    return pairs


def _text_lines(path: Path) -> list[str]:
    """Return the lines of a text file, plain or `.gz`, without surrounding white space."""
    if path.suffix.lower() == ".gz":
        try:
            text = gzip.decompress(path.read_bytes()).decode("utf-8")
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked ({error}); download it again.") from error
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 text at byte {error.start:,} of its unpacked content; convert it to UTF-8."
            ) from error
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    else:
        lines = list(read_lines(path))
    if lines and not lines[-1]:  # nothing follows the last line end
        lines.pop()
    return [line.strip() for line in lines]


def find_answer(context: str, text: str, start: int | None) -> Answer:
    """Return an answer with its position in the context; `start` None means its first occurrence.

    Raises:
        BadRow: it does not occur there.
    """
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    if start is None:
        if text not in context:
            raise BadRow(f"the answer {shown!r} does not occur in its context.")
        return Answer(text, context.index(text))
    if start < 0 or context[start : start + len(text)] != text:
        actual = context[start : start + min(len(text), SHOWN)] if start >= 0 else ""
        raise BadRow(f"the answer {shown!r} is not at character {start:,} of its context (which has {actual!r} there).")
    return Answer(text, start)


def check_question(question: QA) -> QA:
    """Return the question if neither it nor its context is empty, else raise `BadRow`."""
    if not question.context.strip():
        raise BadRow("the context is empty.")
    if not question.question:
        raise BadRow("the question is empty.")
    return question


def read_squad(path: Path, bad_rows: BadRows) -> list[QA]:
    """Return the questions of a file in SQuAD's format, 1.1 or 2.0.

    Raises:
        UserError: the file is not in that format, or a bad question is not skipped, or no question is left.
    """
    expected = '{"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}'
    try:
        articles = json.loads("".join(read_blocks(path)))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        entries = [
            (str(paragraph["context"]), str(entry["id"]), entry)
            for paragraph in paragraphs
            for entry in paragraph["qas"]
        ]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not in SQuAD's format, {expected} ({reason}); give another file.") from error
    questions = []
    for context, name, entry in entries:
        try:
            questions.append(_squad_question(context, name, entry))
        except BadRow as problem:
            bad_rows.add(f"{path}, question {name}", str(problem))
    if not questions:
        raise UserError(f"{path} holds no usable question; give another file.")
    return questions


def _squad_question(context: str, name: str, entry: dict) -> QA:
    try:
        question, is_impossible = str(entry["question"]).strip(), entry.get("is_impossible", False)
        records = [] if is_impossible else entry["answers"]
        answers = [find_answer(context, str(record["text"]), int(record["answer_start"])) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        raise BadRow(f"it is not in SQuAD's format ({type(error).__name__}: {error}).") from error
    if not answers and not is_impossible:
        raise BadRow("it has no answer and is not marked as impossible.")
    return check_question(QA(context, question, tuple(dict.fromkeys(answers)), name))


def has_messages(path: Path) -> bool:
    """Whether a file is a `.jsonl` file whose first line is an object with messages."""
    if path.suffix.lower() != ".jsonl":
        return False
    first = next((line for line in read_lines(path) if line.strip()), "")
    try:
        return "messages" in parse_object(first)
    except ValueError:
        return False


def read_messages(path: Path, bad_rows: BadRows) -> list[Conversation]:
    """Return the conversations of a `.jsonl` file with messages.

    Raises:
        UserError: the file cannot be read, or a bad conversation is not skipped, or none is left.
    """
    conversations = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            where = f"{path}, line {number:,}"
            try:
                conversations.append(_conversation(parse_object(line).get("messages"), where))
            except (BadRow, ValueError) as problem:
                bad_rows.add(where, str(problem))
    if not conversations:
        raise UserError(f"{path} holds no usable conversation; give another file.")
    return conversations


def _conversation(messages: Any, where: str) -> Conversation:
    """Make a conversation of objects with role and content; raise `BadRow` if there is nothing to learn from it."""
    try:
        pairs = tuple((str(message["role"]), str(message["content"])) for message in messages)
    except (TypeError, KeyError) as error:
        raise BadRow('messages is not a list of objects with "role" and "content".') from error
    for role, content in pairs:
        if role not in ("system", "user", "assistant"):
            raise BadRow(f"the role {role!r} is unknown; expected system, user or assistant.")
        if not content.strip():
            raise BadRow(f"a message of the {role} is empty.")
    if not any(role == "assistant" for role, _ in pairs):
        raise BadRow("it has no message of the assistant, so there is nothing to learn.")
    return Conversation(pairs, where)


# ---- Published datasets ---------------------------------------------------------------------------------------------

SST5_LABELS = ("very negative", "negative", "neutral", "positive", "very positive")
SST2_LABELS = ("negative", "negative", "", "positive", "positive")  # "": skipped


def open_sst(name: str, labels: tuple[str, ...]) -> Splits[LabeledText]:
    """Open the Stanford Sentiment Treebank in five or two classes.

    The file has escapes of the parser that once read it, `\\/` and `\\*` for `/` and `*`, and a blank before each
    sentence; these are removed. Everything else stays as published: blanks before punctuation, "-LRB-" for a bracket,
    quotes as `` and ''.

    Args:
        name: "sst5" or "sst2".
        labels: the label of each sentiment 0 … 4; "" skips its sentences.
    """
    dataset = DATASETS["sst"]
    paths = find_files(dataset)
    roles = {"sentence": True, "sentiment": True}

    def make_example(cells: dict[str, str]) -> LabeledText:
        text = cell(cells, "sentence").replace("\\/", "/").replace("\\*", "*")
        return LabeledText(text, labels[int(cells["sentiment"])])

    splits = {}
    for split, path in paths.items():
        examples = read_examples(path, roles, None, make_example, BadRows(skip=False))
        splits[split] = [example for example in examples if example.label]
    classes = ", ".join(dict.fromkeys(label for label in labels if label))
    return _published_splits(dataset, name, splits, paths, f"classes: {classes}")


def open_multi30k(languages: str) -> Splits[Pair]:
    """Open Multi30k from German to English ("de-en") or the other way ("en-de")."""
    dataset = DATASETS["multi30k"]
    paths = find_files(dataset)
    source, _, target = languages.partition("-")
    splits = {
        split: read_parallel(paths[f"{split}.{source}"], paths[f"{split}.{target}"], BadRows(skip=False))
        for split in ("train", "val", "test")
    }
    return _published_splits(dataset, dataset.name, splits, paths, f"{languages}; test is test_2016_flickr")


def open_squad(name: str) -> Splits[QA]:
    """Open SQuAD, version 1.1 ("squad") or 2.0 ("squad2")."""
    dataset = DATASETS[name]
    paths = find_files(dataset)
    bad_rows = BadRows(skip=True)  # the user cannot fix errors in the published file
    splits = {split: read_squad(path, bad_rows) for split, path in paths.items()}
    note = "the published dev set is held out"
    return _published_splits(dataset, name, splits, paths, note, bad_rows.sentences)


PUBLISHED: dict[str, Callable[..., Splits[Any]]] = {
    "sst5": partial(open_sst, "sst5", SST5_LABELS),
    "sst2": partial(open_sst, "sst2", SST2_LABELS),
    "multi30k": open_multi30k,
    "squad": partial(open_squad, "squad"),
    "squad2": partial(open_squad, "squad2"),
}


def _published_splits(
    dataset: Dataset,
    name: str,
    splits: dict[str, list[Any]],
    paths: dict[str, Path],
    note: str,
    skipped: Iterable[str] = (),
) -> Splits[Any]:
    """Return the splits ("train", "val" and perhaps "test") of a published dataset, with a description."""
    counts = ", ".join(f"{len(examples):,} {split}" for split, examples in splits.items())
    description = f"{dataset.title} ({dataset.license}); {counts}; {note}"
    fingerprint = fingerprint_of((name, note), list(paths.values()))
    return Splits(name, description, splits["train"], splits["val"], splits.get("test"), fingerprint, list(skipped))
