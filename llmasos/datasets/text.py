"""Running text from a name, a file or a folder: `open_text("storyworld")`, `open_text("my.txt")`.

A known name always means the dataset; write `./NAME` for a file or folder with the same name. Files are read like this:

- **A text file** (`.txt`, `.md`, `.py`, or any other ending) is one long text. Its last tenth of characters is the
  validation text, and no end-of-text is added: Tiny Shakespeare at character level has one token for each character.
- **A text file with `<|endoftext|>`** between its documents, as in TinyStories, is split there; the tokenizer's
  own end-of-text follows each document. In `.py` and `.md` files, it is part of the text.
- **A `.jsonl` file** has one document per line, `{"text": "..."}`; write `file.jsonl:field` for another field. A
  `.json` file is a list of such objects, or of texts. A `.csv` or `.tsv` file with such a column has one per row.
- **A folder** is read with all its subfolders: each `.txt`, `.md` and `.py` file is a document, and so is each line of
  a `.jsonl` file. They are sorted by path. Names that start with a dot are skipped, and links to folders are not
  followed.

Any of these may be compressed (`book.txt.gz`).
"""

import re
from pathlib import Path

from llmasos.arguments import user_path
from llmasos.datasets import catalog
from llmasos.datasets.catalog import DATASETS, Dataset
from llmasos.datasets.fetch import find_files
from llmasos.datasets.json_records import JSON_ENDINGS, holds_lines
from llmasos.datasets.mixture import MixedText
from llmasos.datasets.paths import title_of
from llmasos.datasets.python_docs import PythonReference, python_source
from llmasos.datasets.source import END_OF_TEXT, FileDocuments, PlainText, SplitText, TextSource, has_marks
from llmasos.datasets.table_texts import has_column
from llmasos.datasets.tables import TABLE_ENDINGS
from llmasos.datasets.text_io import ending_of, find_text_files
from llmasos.errors import UserError

TEXT_ENDINGS = (".txt", ".md", ".py")


def open_text(name_or_path: str | Path, field: str = "text", val: str | Path | None = None) -> TextSource:
    """Open a dataset, a file or a folder as a source of text.

    Args:
        name_or_path: a dataset's name (`dataset_names`), `storyworld:N` for N training stories (and dials,
            `storyworld/world.py`), or the path of a text file, a table (also `file.jsonl:FIELD`) or a folder; several
            of them with weights are a mixture: "a.txt=0.7,b.txt=0.3".
        field: the column of a table that holds the text.
        val: a second file or folder, all of which is held out; without it, a part of the first is.

    Raises:
        UserError: there is no such dataset or file, or it is not text; suggests the nearest names.
    """
    name = str(name_or_path)
    if parts := mixture_of(name):
        if val is not None:
            for text, _ in parts:
                check_no_dataset(text, str(val))
        texts = [open_text(text, field) for text, _ in parts]
        return MixedText(texts, [w for _, w in parts], None if val is None else open_text(val, field))
    if val is not None:
        return open_both(name, str(val), field)
    if storyworld := catalog.open_storyworld(name):
        return storyworld
    if name == catalog.PYTHON_REFERENCE:
        return PythonReference()
    if name == catalog.PYTHON_SOURCE:
        return python_source()
    if name == catalog.SUMS:
        from llmasos.datasets.sums import SumsText  # needs numpy, for which no --help should wait

        return SumsText()
    if name in catalog.dataset_names("text"):
        return open_published(DATASETS[name])

    path, last = split_field(user_path(name))
    field = last or field
    if path.is_dir():
        return open_folder(path, field)
    if path.exists():
        return open_file(path, field)
    raise catalog.unknown_name(name)


def mixture_of(name: str) -> list[tuple[str, float]]:
    """The texts and weights in "a.txt=0.7,b.txt=0.3"; none if it is not a mixture. The weights are normalized to 1.

    >>> mixture_of("a.txt=3,b.txt=1"), mixture_of("storyworld:dirt=0.5"), mixture_of("a.txt,b.txt")
    ([('a.txt', 0.75), ('b.txt', 0.25)], [], [])

    Raises:
        UserError: a weight is missing or not positive, or a text is named twice.
    """
    parts = [part.strip() for part in name.split(",")]
    matches = [re.fullmatch(r"(.+)=(\d+\.?\d*|\.\d+)", part) for part in parts]
    if len(parts) < 2 or not any(matches) or user_path(name).exists():
        return []
    texts, weights = [], []
    for part, match in zip(parts, matches, strict=True):
        if not match or float(match[2]) <= 0:
            raise UserError(f"{part!r} in a mixture has no weight; write TEXT=WEIGHT, a number above 0, for each text.")
        texts.append(match[1])
        weights.append(float(match[2]))
    if len({*texts}) < len(texts):
        raise UserError(f"the mixture {name!r} has a text twice; name each text once.")
    return [(text, weight / sum(weights)) for text, weight in zip(texts, weights, strict=True)]


def split_field(path: Path) -> tuple[Path, str]:
    """Return the path of a table and the name of the column that holds the text, "" if there is none.

    >>> [str(part) for part in split_field(Path("books.jsonl:body"))]
    ['books.jsonl', 'body']
    """
    front, _, field = str(path).rpartition(":")
    return (path, "") if path.exists() or ending_of(Path(front)) not in TABLE_ENDINGS else (Path(front), field)


def open_both(name: str, val: str, field: str = "text") -> TextSource:
    """Open one text to train on and another to validate on.

    Raises:
        UserError: as `open_text`, or one of them is a dataset, which has its own splits.
    """
    check_no_dataset(name, val)
    train = open_text(name, field)
    return SplitText(train, open_text(val, field), train.name)


def check_no_dataset(name: str, val: str) -> None:
    """Raise UserError if one of two texts is a dataset, which has its own splits."""
    for flag, dataset in (("--data", name), ("--val-data", val)):
        if catalog.is_dataset(dataset):
            raise UserError(f"{flag} is {dataset!r}, a dataset with its own splits; leave --val-data out.")


def open_published(dataset: Dataset, progress: bool = True) -> TextSource:
    """Open the text of a published dataset, and download it if it is not on this machine.

    Raises:
        UserError: as `find_files`.
    """
    paths = find_files(dataset, progress)
    source: TextSource
    if "all" in paths:
        source = PlainText(paths["all"], name=dataset.name)
    else:
        source = SplitText(PlainText(paths["train"]), PlainText(paths["val"]), name=dataset.name)
    source.description = f"{dataset.title} ({dataset.license}); {source.description}"
    return source


def open_file(path: Path, field: str = "text") -> TextSource:
    """Open a file as documents if it holds several, else as `PlainText`."""
    title = title_of(path)
    if has_column(path, field):
        per = "item of its list" if ending_of(path) in JSON_ENDINGS and not holds_lines(path) else "row"
        return FileDocuments([path], Path(title).name, f"{title}, one document per {per}", field)
    if field != "text":
        raise UserError(f"{title} has no field {field!r}, because it is one text; leave the columns out.")
    if has_marks(path):
        return FileDocuments([path], Path(title).name, f"{title}, documents with {END_OF_TEXT} between them")
    source = PlainText(path)
    if ending_of(path) in TABLE_ENDINGS:
        source.description += f"; it has no column {field!r}; {Path(title).name}:NAME reads another"
    return source


def open_folder(folder: Path, field: str = "text") -> TextSource:
    """Open all text files in a folder and its subfolders. A single text file is split like one given by its path.

    Raises:
        UserError: the folder has no file with a known ending.
    """
    endings = (*TEXT_ENDINGS, ".jsonl")
    paths = find_text_files(folder, endings)
    if not paths:
        raise UserError(
            f"the folder {folder} holds no text file (looked for {', '.join(endings)}, also in subfolders); give"
            " another folder."
        )
    if len(paths) == 1:
        return open_file(paths[0], field)
    return FileDocuments(paths, folder.resolve().name, f"{folder}, {len(paths):,} text files", field)
