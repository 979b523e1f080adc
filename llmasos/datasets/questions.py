"""Questions about texts: `open_questions("storyworld")`, `open_questions("squad2")`, `open_questions("mine.jsonl")`.

A user's own questions come as a table with the columns "context", "question", "answer" (empty where the context does
not answer it) and perhaps "answer_start", the answer's first character in the context, counted from 0; without it the
first place where the answer stands is taken. Or they come as SQuAD's own `.json`: articles with paragraphs with
questions.
"""

import json
from pathlib import Path

from llmasos.datasets import catalog
from llmasos.datasets.examples import QA, Answer, Splits
from llmasos.datasets.registry import DATASETS, find_files
from llmasos.datasets.rows import (
    BadRow,
    BadRows,
    Columns,
    data_splits,
    existing_path,
    file_splits,
    hold_out,
    read_examples,
    refuse_own_settings,
)
from llmasos.datasets.storyworld.task_examples import world_questions
from llmasos.datasets.text_io import read_blocks
from llmasos.errors import UserError

ROLES = {"context": True, "question": True, "answer": True, "answer_start": False}
SQUAD_ENDING = ".json"
SHOWN = 40  # characters of an answer that an error shows


def open_questions(
    name_or_path: str | Path,
    columns: Columns | None = None,
    val: str | Path | None = None,
    skip_bad: bool = False,
    whole: bool = False,
) -> Splits[QA]:
    """Return the questions, with their contexts and answers, that a name or a path stands for.

    Arguments:
        name_or_path: "storyworld", "storyworld:N", "squad", "squad2", or the path of a `.csv`, `.tsv`, `.jsonl` or
            SQuAD `.json` file.
        columns: which columns play the roles "context", "question", "answer" and "answer_start", where they are not
            called so.
        val: a second file that is held out; without it a tenth of the first is, by a hash of the context.
        skip_bad: leave unusable rows out, with a sentence each in `Splits.skipped`, instead of stopping at the first.
        whole: all of the user's file is held out, and nothing is left to train on; it is to be measured on.

    Raises:
        UserError: no such data set or file; a file that cannot be read or lacks a column; an empty context or question;
            an answer that does not stand in its context. Names the file and the line or the question's id.
    """
    name = str(name_or_path)
    if name in catalog.dataset_names("questions") or catalog.story_count(name):
        refuse_own_settings(name, columns, val)
        return world_questions(n) if (n := catalog.story_count(name)) else _open_squad(name)
    bad = BadRows(skip_bad)
    path = existing_path(name, "questions")
    train = _read(path, columns, bad)
    if whole:
        return file_splits([], train, [path], None, ("questions", columns), "context", bad)
    if val is None:
        val_paths = None
        train, held_out = hold_out(train, lambda question: question.context, name)
    else:
        val_paths = [Path(val).expanduser()]
        held_out = _read(val_paths[0], columns, bad)
    return file_splits(train, held_out, [path], val_paths, ("questions", columns), "context", bad)


def _read(path: Path, columns: Columns | None, bad: BadRows) -> list[QA]:
    if path.suffix.lower() != SQUAD_ENDING:
        return read_examples(path, ROLES, columns, _make, bad)
    if columns:
        raise UserError(f"{path} is a SQuAD file, which has no columns; leave the columns out")
    return read_squad(path, bad)


def _make(cells: dict[str, str]) -> QA:
    """Make an example of a row. The context stays as it is to the character: answers are counted in it."""
    start = cells["answer_start"].strip()
    try:
        number = int(float(start)) if start else None
    except (ValueError, OverflowError) as error:
        raise BadRow(f"answer_start is {start!r}, expected a whole number") from error
    answer = cells["answer"].strip() if number is None else cells["answer"]
    answers = (find_answer(cells["context"], answer, number),) if answer.strip() else ()
    return checked(QA(cells["context"], cells["question"].strip(), answers))


def find_answer(context: str, text: str, start: int | None) -> Answer:
    """Return an answer with where it stands in its context; `start` None means its first place.

    Raises:
        BadRow: it does not stand there.
    """
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    if start is None:
        if text not in context:
            raise BadRow(f"the answer {shown!r} does not stand in its context")
        return Answer(text, context.index(text))
    if start < 0 or context[start : start + len(text)] != text:
        there = context[start : start + min(len(text), SHOWN)] if start >= 0 else ""
        raise BadRow(f"the answer {shown!r} does not stand at character {start:,} of its context (there: {there!r})")
    return Answer(text, start)


def checked(question: QA) -> QA:
    """Return the question if neither it nor its context is empty, else raise `BadRow`."""
    if not question.context.strip():
        raise BadRow("the context is empty")
    if not question.question:
        raise BadRow("the question is empty")
    return question


def read_squad(path: Path, bad: BadRows) -> list[QA]:
    """Return the questions of a file in SQuAD's format, 1.1 or 2.0.

    Raises:
        UserError: the file is not of that format, or a bad question that is not left out.
    """
    not_squad = f'{path} is not in SQuAD\'s format, {{"data": [{{"paragraphs": [{{"context": …, "qas": […]}}]}}]}}'
    try:
        articles = json.loads("".join(read_blocks(path)))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        entries = [(str(paragraph["context"]), entry) for paragraph in paragraphs for entry in paragraph["qas"]]
        named = [(context, str(entry["id"]), entry) for context, entry in entries]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{not_squad} ({type(error).__name__}: {error}); give another file") from error
    questions = []
    for context, name, entry in named:
        try:
            questions.append(_squad_question(context, name, entry))
        except BadRow as problem:
            bad.found(f"{path}, question {name}", str(problem))
    if not questions:
        raise UserError(f"{path} holds no usable question; give another file")
    return questions


def _squad_question(context: str, name: str, entry: dict) -> QA:
    try:
        question, impossible = str(entry["question"]).strip(), entry.get("is_impossible", False)
        given = [] if impossible else entry["answers"]
        answers = [find_answer(context, str(answer["text"]), int(answer["answer_start"])) for answer in given]
    except (KeyError, TypeError, ValueError) as error:
        raise BadRow(f"it is not in SQuAD's format ({type(error).__name__}: {error})") from error
    if not answers and not impossible:
        raise BadRow("it has no answer and is not marked as impossible")
    return checked(QA(context, question, tuple(dict.fromkeys(answers)), name))


def _open_squad(name: str) -> Splits[QA]:
    dataset = DATASETS[name]
    paths = find_files(dataset)
    bad = BadRows(skip=True)  # the file is the published one: what is wrong in it is not the user's to mend
    splits = {split: read_squad(path, bad) for split, path in paths.items()}
    return data_splits(dataset, name, splits, paths, "the published dev set is held out", bad.sentences)
