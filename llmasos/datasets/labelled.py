"""Texts with labels: `open_labelled("storyworld")`, `open_labelled("sst5")`, `open_labelled("reviews.csv", ...)`.

The Stanford Sentiment Treebank comes with marks of the parser that once read it, `\\/` and `\\*` for `/` and `*`, and
with a blank before each sentence. These are artefacts of its file and taken back. All else stays as published: blanks
before punctuation, "-LRB-" for a bracket, quotes as `` and ''. Five classes are "sst5"; "sst2" leaves the neutral
sentences out and joins the others to "negative" and "positive".
"""

from pathlib import Path

from llmasos.datasets import catalog
from llmasos.datasets.examples import Labelled, Splits
from llmasos.datasets.registry import DATASETS, find_files
from llmasos.datasets.rows import (
    BadRow,
    BadRows,
    Columns,
    cell,
    data_splits,
    existing_path,
    file_splits,
    hold_out,
    read_examples,
    refuse_own_settings,
)
from llmasos.datasets.storyworld.task_examples import world_labelled
from llmasos.errors import UserError

ROLES = {"text": True, "label": True, "second": False}  # role of a column -> whether a table must have it
SST5_LABELS = ("very negative", "negative", "neutral", "positive", "very positive")
SST2_LABELS = ("negative", "negative", "", "positive", "positive")  # "": left out


def open_labelled(
    name_or_path: str | Path,
    columns: Columns | None = None,
    val: str | Path | None = None,
    skip_bad: bool = False,
    whole: bool = False,
) -> Splits[Labelled]:
    """Return the labelled texts that a name or a path stands for.

    Arguments:
        name_or_path: "storyworld", "storyworld:N", "sst5", "sst2", or the path of a `.csv`, `.tsv` or `.jsonl` file.
        columns: which columns play the roles "text", "label" and "second" (a second text), where they are not called
            so: `{"text": "review", "label": "stars"}`.
        val: a second file of the same form that is held out; without it a tenth of the first is, by a hash of the text.
            A label of which only held-out texts would have an example stays in training.
        skip_bad: leave unusable rows out, with a sentence each in `Splits.skipped`, instead of stopping at the first.
        whole: all of the user's file is held out, and nothing is left to train on; it is to be measured on.

    Raises:
        UserError: no such data set or file; a table that cannot be read or lacks a column; a row without text or label;
            only one label; a label in `val` that training never saw. Names the file and line.
    """
    name = str(name_or_path)
    if name in catalog.dataset_names("labelled") or catalog.story_count(name):
        refuse_own_settings(name, columns, val)
        if n_stories := catalog.story_count(name):
            return world_labelled(n_stories)
        return _open_sst(name, SST5_LABELS if name == catalog.SST5 else SST2_LABELS)
    bad = BadRows(skip_bad)
    path = existing_path(name, "labelled")
    train = read_examples(path, ROLES, columns, _make, bad)
    if whole:
        return file_splits([], train, [path], None, ("labelled", columns), "text", bad)
    if val is None:
        train, held_out = _hold_out_seen(*hold_out(train, _content, name), name)
        val_paths = None
    else:
        val_paths = [Path(val).expanduser()]
        labels = {example.label for example in train}
        held_out = read_examples(val_paths[0], ROLES, columns, lambda cells: _make_known(cells, labels, path), bad)
    if len({example.label for example in train}) < 2:
        raise UserError(f"all texts of {path} have the label {train[0].label!r}; a classifier needs two labels or more")
    return file_splits(train, held_out, [path], val_paths, ("labelled", columns), "text", bad)


def _make(cells: dict[str, str]) -> Labelled:
    return Labelled(cell(cells, "text"), cell(cells, "label"), cells["second"].strip() or None)


def _make_known(cells: dict[str, str], labels: set[str], path: Path) -> Labelled:
    example = _make(cells)
    if example.label not in labels:
        raise BadRow(f"the label {example.label!r} does not occur in {path}, so it cannot be learned")
    return example


def _content(example: Labelled) -> str:
    return f"{example.text}\0{example.second or ''}"


def _hold_out_seen(train: list[Labelled], val: list[Labelled], name: str) -> tuple[list[Labelled], list[Labelled]]:
    """Move held-out texts whose label training would never see back to training."""
    labels = {example.label for example in train}
    unseen = {_content(example) for example in val if example.label not in labels}
    seen = [example for example in val if _content(example) not in unseen]
    if not seen:
        raise UserError(f"{name} has too few examples of each label to hold some out; give more, or a second file")
    return train + [example for example in val if _content(example) in unseen], seen


def _open_sst(name: str, labels: tuple[str, ...]) -> Splits[Labelled]:
    """Return SST; `labels[sentiment]` is the label of a sentence, "" leaves it out."""
    dataset = DATASETS["sst"]
    paths = find_files(dataset)
    columns = {"text": "sentence", "label": "sentiment"}
    splits = {}
    for split, path in paths.items():
        rows = read_examples(path, ROLES, columns, _make, BadRows(skip=False))
        examples = [Labelled(_without_escapes(row.text), labels[int(row.label)], where=row.where) for row in rows]
        splits[split] = [example for example in examples if example.label]
    classes = ", ".join(dict.fromkeys(label for label in labels if label))
    return data_splits(dataset, name, splits, paths, f"classes: {classes}")


def _without_escapes(text: str) -> str:
    return text.replace("\\/", "/").replace("\\*", "*")
