"""Pairs of texts, to translate or to summarise: `open_pairs("multi30k")`, `open_pairs("train.de,train.en")`.

A user's own pairs come as a table with the columns "source" and "target", or as two parallel text files, plain or
`.gz`, whose lines belong together one to one. Two such files are given with a comma between them.
"""

import gzip
import zlib
from pathlib import Path

from llmasos.datasets import catalog
from llmasos.datasets.examples import Pair, Splits
from llmasos.datasets.registry import DATASETS, find_files
from llmasos.datasets.rows import (
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
from llmasos.datasets.storyworld.task_examples import LANGUAGES, world_pairs, world_summaries
from llmasos.datasets.tables import TABLE_ENDINGS
from llmasos.datasets.text_io import read_lines
from llmasos.errors import UserError

ROLES = {"source": True, "target": True}


def open_pairs(
    name_or_path: str | Path,
    columns: Columns | None = None,
    val: str | Path | None = None,
    languages: str | None = None,
    skip_bad: bool = False,
    whole: bool = False,
) -> Splits[Pair]:
    """Return the pairs of texts, mostly translations, that a name or a path stands for.

    Arguments:
        name_or_path: "storyworld", "storyworld:N", "multi30k", the path of a `.csv`, `.tsv` or `.jsonl` file, or the
            paths of two parallel text files, "SOURCE,TARGET".
        columns: which columns play the roles "source" and "target", where they are not called so.
        val: a second file (or pair of files) of the same form that is held out; without it a tenth of the first is,
            by a hash of the source.
        languages: of a data set: "de-en" (the default) or "en-de". One's own files have the direction they have.
        skip_bad: leave unusable rows out, with a sentence each in `Splits.skipped`, instead of stopping at the first.
        whole: all of the user's file is held out, and nothing is left to train on; it is to be measured on.

    Raises:
        UserError: no such data set, file or language; a table that cannot be read or lacks a column; parallel files
            with unequal numbers of lines; an empty source or target. Names the file and line.
    """
    name = str(name_or_path)
    if name in catalog.dataset_names("pairs") or catalog.story_count(name):
        refuse_own_settings(name, columns, val)
        languages = languages or LANGUAGES[0]
        if languages not in LANGUAGES:
            raise UserError(f"{name} has no translation {languages!r}; choose one of {', '.join(LANGUAGES)}")
        if n_stories := catalog.story_count(name):
            return world_pairs(n_stories, languages)
        return _open_multi30k(languages)
    if languages:
        raise UserError(f"languages is {languages!r}, but {name} is no data set with two directions; leave it out")
    return _open_own(name, "pairs", columns, val, skip_bad, whole)


def open_summaries(
    name_or_path: str | Path,
    columns: Columns | None = None,
    val: str | Path | None = None,
    skip_bad: bool = False,
    whole: bool = False,
) -> Splits[Pair]:
    """Return texts (source) with their summaries (target).

    Arguments:
        name_or_path: "storyworld", "storyworld:N", or files of one's own as for `open_pairs`.
        columns, val, skip_bad, whole: as for `open_pairs`.

    Raises:
        UserError: as `open_pairs`.
    """
    name = str(name_or_path)
    if n_stories := catalog.story_count(name):
        refuse_own_settings(name, columns, val)
        return world_summaries(n_stories)
    return _open_own(name, "summaries", columns, val, skip_bad, whole)


def _open_own(
    name: str, task: str, columns: Columns | None, val: str | Path | None, skip_bad: bool, whole: bool
) -> Splits[Pair]:
    bad = BadRows(skip_bad)
    paths = _own_paths(name, task)
    train = _read(paths, columns, bad)
    if whole:
        return file_splits([], train, paths, None, (task, columns), "source", bad)
    if val is None:
        val_paths = None
        train, held_out = hold_out(train, lambda pair: pair.source, name)
    else:
        val_paths = _own_paths(str(val), task)
        held_out = _read(val_paths, columns, bad)
    return file_splits(train, held_out, paths, val_paths, (task, columns), "source", bad)


def _own_paths(name: str, task: str) -> list[Path]:
    """Return the one path of a table or the two of parallel files. A path that exists as it stands has its comma."""
    source, comma, target = name.partition(",")
    if comma and not Path(name).expanduser().exists():
        return [existing_path(part.strip(), task) for part in (source, target)]
    path = existing_path(name, task)
    if path.is_file() and path.suffix.lower() not in TABLE_ENDINGS:
        endings = ", ".join(TABLE_ENDINGS)
        raise UserError(f"{path} is one text file; give two parallel ones as SOURCE,TARGET or a table ({endings})")
    return [path]


def _read(paths: list[Path], columns: Columns | None, bad: BadRows) -> list[Pair]:
    if len(paths) == 1:
        return read_examples(paths[0], ROLES, columns, _make, bad)
    if columns:
        raise UserError(f"{paths[0]} and {paths[1]} are parallel text files without columns; leave the columns out")
    return read_parallel(paths[0], paths[1], bad)


def _make(cells: dict[str, str]) -> Pair:
    return Pair(cell(cells, "source"), cell(cells, "target"))


def read_parallel(source: Path, target: Path, bad: BadRows) -> list[Pair]:
    """Return the pairs of lines of two parallel text files, plain or `.gz`.

    Raises:
        UserError: a file cannot be read; the numbers of lines differ; an empty line is not left out; no pair is left.
    """
    sides = [_text_lines(path) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise UserError(
            f"{source} has {len(sides[0]):,} lines, but {target} has {len(sides[1]):,}; parallel files need as many"
            " lines on both sides, each the translation of the other"
        )
    pairs = []
    for number, texts in enumerate(zip(*sides, strict=True), start=1):
        empty = [path for path, text in zip((source, target), texts, strict=True) if not text]
        if empty:
            bad.found(f"{empty[0]}, line {number:,}", "the line is empty")
        else:
            pairs.append(Pair(*texts, where=f"{source}, line {number:,}"))
    if not pairs:
        raise UserError(f"{source} and {target} hold no pair of lines; give files with text in them")
    return pairs


def _text_lines(path: Path) -> list[str]:
    """Return the lines of a text file, plain or `.gz`, without white space around them."""
    if path.suffix.lower() == ".gz":
        try:
            text = gzip.decompress(path.read_bytes()).decode("utf-8")
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked ({error}); fetch it again") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text at byte {error.start:,} of what it unpacks to") from error
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    else:
        lines = list(read_lines(path))
    if lines and not lines[-1]:  # what comes after the last line end is no line
        lines.pop()
    return [line.strip() for line in lines]


def _open_multi30k(languages: str) -> Splits[Pair]:
    dataset = DATASETS[catalog.MULTI30K]
    paths = find_files(dataset)
    source, _, target = languages.partition("-")
    splits = {
        split: read_parallel(paths[f"{split}.{source}"], paths[f"{split}.{target}"], BadRows(skip=False))
        for split in ("train", "val", "test")
    }
    return data_splits(dataset, dataset.name, splits, paths, f"{languages}; test is test_2016_flickr")
