"""Examples of every format from a dataset or from files: `open_examples("pairs", "multi30k")`.

| format | a row of a table has the columns | or another type of file | built-in datasets |
|---|---|---|---|
| `labeled_text` | text, label, perhaps second (a second text) | | storyworld, sst5, sst2 |
| `scored_text` | text, score (a number), perhaps second | | storyworld |
| `tagged_text` | tokens, tags: lists of words and labels | CoNLL: a word and its label in each line | storyworld |
| `pairs` | source, target | two parallel text files, "SOURCE,TARGET" | storyworld, multi30k |
| `summaries` | source, target | the same | storyworld |
| `questions` | context, question, answer, perhaps answer_start | SQuAD's `.json` | storyworld, squad, squad2 |
| `conversations` | messages; or prompt, answer, perhaps input and system | | storyworld, arithmetic, calculator |
| `preferences` | chosen, rejected, perhaps prompt | | storyworld |
| `prompts` | prompt | a text file with a prompt in each line | storyworld, sums |
| `queries` | query, passage | | storyworld |

The columns may also have the names that published files give them (`table_examples.ROLES`): sentence and gold_label;
instruction, input and output; conversations with "from" and "value". Each format is one entry of `FORMATS`; everything
else is shared. An empty answer means that the context does not answer the question; answer_start counts characters from
0, and without it the first occurrence of the answer is taken.

**To add a dataset** of examples: an entry in `catalog.DATASETS`, and in `readers.PUBLISHED` the function that reads
its files. **To add a format**: its type in `examples.py`, its name in `catalog.FORMATS`, an entry in `FORMATS`; how a
row becomes an example in `table_examples.py` and, for files that are not tables, a reader in `readers.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llmasos.arguments import user_path
from llmasos.datasets import catalog
from llmasos.datasets.conll import is_conll, read_conll
from llmasos.datasets.examples import LabeledText, Splits, TaggedText, fingerprint_of, split_off_validation
from llmasos.datasets.paths import title_of
from llmasos.datasets.readers import PUBLISHED, is_squad, make_conversation, read_parallel, read_prompts, read_squad
from llmasos.datasets.storyworld.task_examples import (
    LANGUAGES,
    storyworld_conversations,
    storyworld_labeled_texts,
    storyworld_pairs,
    storyworld_preferences,
    storyworld_prompts,
    storyworld_queries,
    storyworld_questions,
    storyworld_scored_texts,
    storyworld_summaries,
    storyworld_tagged_texts,
)
from llmasos.datasets.table_examples import (
    make_instruction,
    make_labeled_text,
    make_pair,
    make_preference,
    make_prompt,
    make_query,
    make_question,
    make_question_with_answers,
    make_scored_text,
    make_tagged_text,
    roles,
)
from llmasos.datasets.tables import TABLE_ENDINGS, Columns, RowFormat, read_examples
from llmasos.datasets.tagging import types_of
from llmasos.datasets.text import mixture_of
from llmasos.datasets.text_io import ending_of
from llmasos.datasets.values import BadRows
from llmasos.errors import UserError

Reader = Callable[[BadRows], list[Any]]  # reads the files that it was made for


# ---- Files that are not tables ---------------------------------------------------------------------------------------


def _one_file(name: str, format: str) -> list[Path]:
    """Return the path of a file, or raise the `UserError` that suggests what the name may have meant."""
    path = user_path(name)
    if not path.exists():
        raise catalog.unknown_name(name, format)
    return [path]


def _table_or_parallel_files(name: str, format: str) -> list[Path]:
    """Return the path of a table or those of two parallel files. If a path with a comma exists, it is one file."""
    source, comma, target = name.partition(",")
    if comma and not user_path(name).exists():
        return [path for part in (source, target) for path in _one_file(part.strip(), format)]
    [path] = _one_file(name, format)
    if path.is_file() and ending_of(path) not in TABLE_ENDINGS:
        endings = ", ".join(TABLE_ENDINGS)
        raise UserError(f"{path} is one text file; give two parallel ones as SOURCE,TARGET or a table ({endings}).")
    return [path]


def _conll_reader(paths: list[Path]) -> Reader | None:
    return None if ending_of(paths[0]) in TABLE_ENDINGS and not is_conll(paths[0]) else partial(read_conll, paths[0])


def _no_table(paths: list[Path]) -> None:
    return None


def _parallel_reader(paths: list[Path]) -> Reader | None:
    return partial(read_parallel, paths[0], paths[1]) if len(paths) == 2 else None


def _squad_reader(paths: list[Path]) -> Reader | None:
    return partial(read_squad, paths[0]) if is_squad(paths[0]) else None


def _line_reader(paths: list[Path]) -> Reader | None:
    return None if ending_of(paths[0]) in TABLE_ENDINGS else partial(read_prompts, paths[0])


# ---- The table of formats --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """How to read examples of one format.

    Attributes:
        rows: the ways in which a row of a table may be written.
        split_by: the role by whose text examples are split into training and validation.
        split_key: an example → that text.
        label: an example → its label, each of which is split by itself; None = there are no labels.
        storyworld: source of stories → its examples.
        paths: what the user typed and the name of the format → the files.
        reader: files → how to read them if they are not a table, else None.
    """

    rows: tuple[RowFormat, ...]
    split_by: str
    split_key: Callable[[Any], str]
    storyworld: Callable[..., Splits]
    label: Callable[[Any], str] | None = None
    paths: Callable[[str, str], list[Path]] = _one_file
    reader: Callable[[list[Path]], Reader | None] = _no_table


FORMATS = {
    "labeled_text": Format(
        rows=(RowFormat(roles("text", "label", optional=("second",)), make_labeled_text),),
        split_by="text",
        split_key=lambda example: f"{example.text}\0{example.second or ''}",
        storyworld=storyworld_labeled_texts,
        label=lambda example: example.label,
    ),
    "scored_text": Format(
        rows=(RowFormat(roles("text", "score", optional=("second",)), make_scored_text),),
        split_by="text",
        split_key=lambda example: f"{example.text}\0{example.second or ''}",
        storyworld=storyworld_scored_texts,
    ),
    "tagged_text": Format(
        rows=(RowFormat(roles("tokens", "tags"), make_tagged_text),),
        split_by="text",
        split_key=lambda example: example.text,
        storyworld=storyworld_tagged_texts,
        reader=_conll_reader,
    ),
    "pairs": Format(
        rows=(RowFormat(roles("source", "target"), make_pair),),
        split_by="source",
        split_key=lambda pair: pair.source,
        storyworld=storyworld_pairs,
        paths=_table_or_parallel_files,
        reader=_parallel_reader,
    ),
    "summaries": Format(
        rows=(RowFormat(roles("source", "target"), make_pair),),
        split_by="source",
        split_key=lambda pair: pair.source,
        storyworld=storyworld_summaries,
        paths=_table_or_parallel_files,
        reader=_parallel_reader,
    ),
    "questions": Format(
        rows=(
            RowFormat(roles("context", "question", "answers"), make_question_with_answers),
            RowFormat(roles("context", "question", "answer", optional=("answer_start",)), make_question),
        ),
        split_by="context",
        split_key=lambda question: question.context,
        storyworld=storyworld_questions,
        reader=_squad_reader,
    ),
    "conversations": Format(
        rows=(
            RowFormat(roles("messages", optional=("system",)), make_conversation),
            RowFormat(roles("prompt", "answer", optional=("input", "system")), make_instruction),
        ),
        split_by="prompt",
        split_key=lambda conversation: conversation.prompt,
        storyworld=storyworld_conversations,
    ),
    "preferences": Format(
        rows=(RowFormat(roles("chosen", "rejected", "prompt", optional=("prompt",)), make_preference),),
        split_by="prompt",
        split_key=lambda preference: preference.prompt or preference.chosen,
        storyworld=storyworld_preferences,
    ),
    "prompts": Format(
        rows=(RowFormat(roles("prompt"), make_prompt),),
        split_by="prompt",
        split_key=lambda prompt: prompt.text,
        storyworld=storyworld_prompts,
        reader=_line_reader,
    ),
    "queries": Format(
        rows=(RowFormat(roles("query", "passage"), make_query),),
        split_by="passage",
        split_key=lambda query: query.passage,
        storyworld=storyworld_queries,
    ),
}


# ---- Opening ---------------------------------------------------------------------------------------------------------


def open_examples(
    format: str,
    name_or_path: str | Path,
    columns: Columns | None = None,
    val: str | Path | None = None,
    skip_bad: bool = False,
    eval_only: bool = False,
    languages: str | None = None,
) -> Splits[Any]:
    """Open the examples of a dataset or of the user's own files.

    Args:
        format: a key of `FORMATS`.
        name_or_path: a dataset's name (see `dataset_names(format)`), "storyworld:N" for N training stories, the path
            of a `.csv`, `.tsv`, `.jsonl` or `.json` file, or another type of file that the format allows.
        columns: role → name of its column, or its number in a table without names, if it is not one of
            `table_examples.ROLES`: `{"text": "review", "label": "stars"}`.
        val: a second file (or pair of files) that is held out; without it a tenth of the first is (of each label), by a
            hash of the examples. A label that only held-out texts would have stays in training.
        skip_bad: skip unusable rows, with a sentence each in `Splits.skipped`, instead of stopping at the first.
        eval_only: hold out all of the user's file, for evaluation; nothing is left to train on.
        languages: the direction of a dataset with translations: "de-en" (the default) or "en-de".

    Raises:
        UserError: there is no such dataset, file or language; a file cannot be read or lacks a column; a row is
            unusable; labels are missing or unknown. Names the file and line.
    """
    spec, name = FORMATS[format], str(name_or_path)
    if mixture_of(name):
        raise UserError(f"{name!r} is a mixture, which only text without labels can be; join the files instead.")
    if name in catalog.dataset_names(format) or catalog.open_storyworld(name):
        return _open_dataset(format, name, columns, val, languages)
    if languages is not None:
        raise UserError(f"languages is {languages!r}, but {name} has only one direction; leave languages out.")
    bad_rows = BadRows(skip_bad)
    paths = spec.paths(name, format)
    train = _read(spec, paths, columns, bad_rows)
    if eval_only:
        return _file_splits(format, [], train, paths, None, columns, bad_rows)
    val_paths = None if val is None else spec.paths(str(val), format)
    if val_paths is None:
        train, held_out = split_off_validation(train, spec.split_key, _joined(paths), spec.label)
    else:
        held_out = _read(spec, val_paths, columns, bad_rows)
    if format == "labeled_text":
        train, held_out = _check_labels(train, held_out, paths[0], val_paths, bad_rows)
    if format == "tagged_text" and val_paths is None:
        train, held_out = _keep_types(train, held_out, paths[0])
    return _file_splits(format, train, held_out, paths, val_paths, columns, bad_rows)


def _open_dataset(
    format: str, name: str, columns: Columns | None, val: str | Path | None, languages: str | None
) -> Splits[Any]:
    """Open a built-in dataset, which has its own columns and splits."""
    for flag, value in (("--columns", columns), ("--val-data", val)):
        if value:
            raise UserError(f"{flag} is {value!r}, but {name} is a dataset with its own splits; leave {flag} out.")
    options = {}
    if format == "pairs":
        options["languages"] = languages or LANGUAGES[0]
        if options["languages"] not in LANGUAGES:
            raise UserError(f"{name} has no translation {languages!r}; choose one of {', '.join(LANGUAGES)}.")
    elif languages is not None:
        raise UserError(f"languages is {languages!r}, but {name} is not translated here; leave languages out.")
    if stories := catalog.open_storyworld(name):
        return FORMATS[format].storyworld(stories, **options)
    return PUBLISHED[name](**options)


def _read(spec: Format, paths: list[Path], columns: Columns | None, bad_rows: BadRows) -> list[Any]:
    """Return the examples of a table or of another type of file."""
    reader = spec.reader(paths)
    if reader is None:
        return read_examples(paths[0], spec.rows, columns, bad_rows)
    if columns:
        raise UserError(f"{_joined(paths)}: this type of file has no columns; leave the columns out.")
    return reader(bad_rows)


def _check_labels(
    train: list[LabeledText], val: list[LabeledText], path: Path, val_paths: list[Path] | None, bad_rows: BadRows
) -> tuple[list[LabeledText], list[LabeledText]]:
    """Return both splits, without validation texts whose labels are missing in training.

    In a second file such a text is a bad row. If the validation texts were split off, it moves back to training.
    """
    labels = {example.label for example in train}
    known = [example for example in val if example.label in labels]
    unknown = [example for example in val if example.label not in labels]
    if val_paths is not None:
        for example in unknown:
            bad_rows.add(
                example.where,
                f"the label {example.label!r} does not occur in {title_of(path)}, so it cannot be learned.",
            )
        if not known:
            last = bad_rows.sentences[-1].removesuffix(".")
            raise UserError(f"{_joined(val_paths)} has no usable row ({last}); give another file.")
    else:
        keys = {(example.text, example.second) for example in unknown}  # equal texts stay on one side
        known = [example for example in val if (example.text, example.second) not in keys]
        train = train + [example for example in val if (example.text, example.second) in keys]
    if not known:
        raise UserError(
            f"{title_of(path)} has too few examples of each label to hold some out; add examples or a second file."
        )
    if len({example.label for example in train}) < 2:
        raise UserError(
            f"all texts of {title_of(path)} have the label {train[0].label!r}; a classifier needs at least two labels."
        )
    return train, known


def _keep_types(
    train: list[TaggedText], val: list[TaggedText], path: Path
) -> tuple[list[TaggedText], list[TaggedText]]:
    """Return both splits, with validation texts whose name types are missing in training moved back to training."""
    types = {type for example in train for type in types_of(example.labels)}
    known = [example for example in val if types_of(example.labels) <= types]
    back = [example for example in val if not types_of(example.labels) <= types]
    if not known:
        raise UserError(f"{title_of(path)} has too few names of each type; add examples, or give a second file.")
    return train + back, known


def _file_splits(
    format: str,
    train: list[Any],
    val: list[Any],
    train_paths: list[Path],
    val_paths: list[Path] | None,
    columns: Columns | None,
    bad_rows: BadRows,
) -> Splits[Any]:
    """Return the splits of the user's own files, with a description; `val_paths` None: `val` was split off."""
    paths = [*train_paths, *(val_paths or [])]
    fingerprint = fingerprint_of((format, columns, bad_rows.skip, val_paths is None), paths)
    if not train:
        counts = f"{len(val):,} examples"
    elif val_paths is None:
        split_by = FORMATS[format].split_by + (" within each label" if FORMATS[format].label else "")
        counts = f"{len(train) + len(val):,} examples; {len(val):,} of them held out, by a hash of the {split_by}"
    else:
        counts = f"{len(train):,} examples; the {len(val):,} of {_joined(val_paths)} are held out"
    skipped = f"; {len(bad_rows.sentences):,} bad rows skipped" if bad_rows.sentences else ""
    description = f"{_joined(train_paths)}, {counts}{skipped}"
    return Splits(Path(title_of(paths[0])).name, description, train, val, None, fingerprint, bad_rows.sentences)


def _joined(paths: list[Path]) -> str:
    return " and ".join(map(title_of, paths))
