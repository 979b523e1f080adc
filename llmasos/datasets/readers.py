"""Examples from files that are not tables, conversations, and the published datasets.

    train.de,train.en                                    line N of one file is the translation of line N of the other
    {"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}                      SQuAD, one `.json` file

A reader skips a bad example or stops at it, as `BadRows` says. `PUBLISHED` lists how each published dataset is read.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from llmasos.datasets.arithmetic import open_arithmetic
from llmasos.datasets.catalog import DATASETS, Dataset
from llmasos.datasets.examples import QA, Answer, Conversation, LabeledText, Pair, Prompt, Splits, fingerprint_of
from llmasos.datasets.fetch import find_files
from llmasos.datasets.json_records import holds_lines
from llmasos.datasets.paths import title_of
from llmasos.datasets.sums import sum_prompts
from llmasos.datasets.tables import Role, RowFormat, read_examples
from llmasos.datasets.text_io import ending_of, read_blocks, read_lines
from llmasos.datasets.tool_call_format import calls_as_text
from llmasos.datasets.values import BadRow, BadRows, filled_text, to_bool, to_text, to_whole_number
from llmasos.errors import UserError

SHOWN = 40  # characters of an answer in an error message


def read_parallel(source: Path, target: Path, bad_rows: BadRows) -> list[Pair]:
    """Return the pairs of lines of two parallel text files.

    Raises:
        UserError: a file cannot be read; the numbers of lines differ; an empty line is not skipped; no pair is left.
    """
    sides = [[line.strip() for line in read_lines(path)] for path in (source, target)]
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


def read_prompts(path: Path, bad_rows: BadRows) -> list[Prompt]:
    """Return each line of a text file as a prompt, without blank lines. Raises UserError if no line is left."""
    lines = enumerate(read_lines(path), start=1)
    prompts = [Prompt(line.strip(), f"{title_of(path)}, line {number:,}") for number, line in lines if line.strip()]
    if not prompts:
        raise UserError(f"{path} has no line with text in it; write one prompt in each line.")
    return prompts


def find_answer(context: str, text: str, start: int | None) -> Answer:
    """Return an answer with its position in the context; `start` None means its first occurrence.

    Raises:
        BadRow: it does not occur there, or is blank.
    """
    if not text.strip():
        raise BadRow("the answer is blank; write the words that answer the question, or no answer at all.")
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    if start is None:
        if text not in context:
            raise BadRow(f"the answer {shown!r} does not occur in its context.")
        return Answer(text, context.index(text))
    if start < 0 or context[start : start + len(text)] != text:
        actual = context[start : start + min(len(text), SHOWN)] if start >= 0 else ""
        raise BadRow(f"the answer {shown!r} is not at character {start:,} of its context (which has {actual!r} there).")
    return Answer(text, start)


def to_context(value: object) -> str:
    """Return a context as a text, or raise `BadRow` if it is empty. It is not stripped: answers are positions in it."""
    context = to_text(value, "context")
    if not context.strip():
        raise BadRow("the context is empty.")
    return context


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
            (paragraph["context"], str(entry["id"]), entry) for paragraph in paragraphs for entry in paragraph["qas"]
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


def _squad_question(context: object, name: str, entry: dict) -> QA:
    text = to_context(context)
    is_impossible = to_bool(entry.get("is_impossible", False), "is_impossible")
    records = [] if is_impossible else entry.get("answers")
    if not isinstance(records, list) or not all(
        isinstance(r, dict) and {"text", "answer_start"} <= set(r) for r in records
    ):
        raise BadRow('"answers" is not a list of objects with "text" and "answer_start".')
    answers = [
        find_answer(text, to_text(record["text"], "answer"), to_whole_number(record["answer_start"], "answer_start"))
        for record in records
    ]
    if not answers and not is_impossible:
        raise BadRow("it has no answer and is not marked as impossible.")
    return QA(text, filled_text(entry.get("question"), "question"), tuple(dict.fromkeys(answers)), name)


def is_squad(path: Path) -> bool:
    """Whether a file is a single JSON object, as SQuAD's is, rather than a list or lines of them."""
    if ending_of(path) != ".json":
        return False
    block = next(read_blocks(path)).lstrip()
    return block.startswith("{") and ('"paragraphs"' in block or not holds_lines(path))


# ---- Conversations --------------------------------------------------------------------------------------------------

SPEAKERS = {  # name in files → role
    "human": "user",
    "gpt": "assistant",
    "developer": "system",
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
    **{role: role for role in ("system", "user", "assistant")},
}


def make_conversation(cells: dict[str, Any]) -> Conversation:
    """Make a conversation of a row whose messages are objects with role and content, or with from and value."""
    messages = cells["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRow('the messages are not a list of objects with "role" and "content".')
    pairs = [("system", to_text(cells["system"], "system")), *map(_message, messages)]
    pairs = [(role, content) for role, content in pairs if role != "system" or content.strip()]
    if blank := next((role for role, content in pairs if not content.strip()), ""):
        raise BadRow(f"a message of the {blank} is empty.")
    roles = [role for role, _ in pairs]
    if "assistant" not in roles:
        raise BadRow("it has no message of the assistant, so there is nothing to learn.")
    n = len(roles) - roles[::-1].index("assistant")  # messages after the assistant's last one have no targets
    if "user" not in roles[:n]:
        raise BadRow("the user says nothing before the assistant does, so there is nothing to answer.")
    return Conversation(tuple(pairs[:n]))


def _message(message: dict) -> tuple[str, str]:
    """Return the role and the content of a message."""
    speaker, content = ("role", "content") if "role" in message else ("from", "value")
    if message.get("tool_calls"):
        message = message | {content: message.get(content)}  # the content is optional then
    if not {speaker, content} <= set(message):
        raise BadRow('a message lacks "role" or "content" (or "from" and "value").')
    role = to_text(message[speaker], speaker)
    if role not in SPEAKERS:
        raise BadRow(f"the role {role!r} is unknown; expected system, user, assistant or tool.")
    if message.get("function_call"):
        raise BadRow("function_call is the old form of a tool call; write tool_calls.")
    text = to_text(message[content], "content")
    if not message.get("tool_calls"):
        return SPEAKERS[role], text
    try:
        return SPEAKERS[role], calls_as_text(text, message["tool_calls"])
    except UserError as error:
        raise BadRow(str(error)) from error


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

    def make_example(cells: dict[str, Any]) -> LabeledText:
        text = filled_text(cells["sentence"], "sentence").replace("\\/", "/").replace("\\*", "*")
        return LabeledText(text, labels[int(cells["sentiment"])])

    rows = RowFormat({name: Role((name,)) for name in ("sentence", "sentiment")}, make_example)

    splits = {}
    for split, path in paths.items():
        examples = read_examples(path, (rows,), None, BadRows(skip=False))
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
    "sums": sum_prompts,
    "arithmetic": partial(open_arithmetic, "arithmetic"),
    "calculator": partial(open_arithmetic, "calculator"),
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
