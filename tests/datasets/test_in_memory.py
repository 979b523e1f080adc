"""Data in memory in all common forms: the same rows come out, or one sentence that says what is wrong."""

import gzip
import io
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from llmasos.datasets import infer, open_examples, open_text
from llmasos.datasets.in_memory import materialize, split_by_name
from llmasos.datasets.infer import infer_format
from llmasos.errors import UserError

TEXTS = [f"text {i}" for i in range(20)]
LABELS = [i % 2 for i in range(20)]
ROWS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
PAIRS = list(zip(TEXTS, LABELS, strict=True))
Unnamed = namedtuple("Pandas", ["0", "1"], rename=True)  # its fields are called _0 and _1


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(infer, "cache_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)


class Frame:
    """A table with the methods of pandas' DataFrame that matter; iterating over it yields the names of its columns."""

    def __init__(self, rows):
        self.rows, self.columns = rows, list(rows[0])

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return len(self.rows)

    def to_dict(self, how):
        assert how == "records"
        return self.rows


class Polars(Frame):
    to_dict = None

    def to_dicts(self):
        return self.rows


class Arrow(Frame):
    """pyarrow's Table: iterating over it yields columns; `to_list` is that of `datasets`."""

    to_dict = columns = None

    def __init__(self, rows, method="to_pylist"):
        self.rows = rows
        setattr(self, method, lambda: rows)


class MapDataset:
    """torch's map-style Dataset: it has a length and items, and no iterator."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, number):
        return ROWS[number]


def table_of(module: str, name: str, *args):
    """A table from a library that may not be installed."""
    library = pytest.importorskip(module)
    for part in name.split("."):
        library = getattr(library, part)
    return library(*args)


AS_ROWS = {
    "list": lambda: ROWS,
    "generator": lambda: (row for row in ROWS),
    "columns": lambda: {"text": TEXTS, "label": LABELS},
    "columns as arrays": lambda: {"text": np.array(TEXTS), "label": np.array(LABELS)},
    "columns as tensors": lambda: {"text": TEXTS, "label": torch.tensor(LABELS)},
    "numpy labels": lambda: [{"text": np.str_(row["text"]), "label": np.int64(row["label"])} for row in ROWS],
    "0-d tensors": lambda: [{"text": row["text"], "label": torch.tensor(row["label"])} for row in ROWS],
    "like pandas": lambda: Frame(ROWS),
    "like polars": lambda: Polars(ROWS),
    "like pyarrow": lambda: Arrow(ROWS),
    "like datasets": lambda: Arrow(ROWS, "to_list"),
    "map-style dataset": MapDataset,
    "named tuples": lambda: [namedtuple("Review", "text label")(**row) for row in ROWS],
    "a structured array": lambda: np.array(PAIRS, dtype=[("text", "U9"), ("label", int)]),
    "pandas": lambda: table_of("pandas", "DataFrame", {"text": TEXTS, "label": LABELS}),
    "polars": lambda: table_of("polars", "DataFrame", {"text": TEXTS, "label": LABELS}),
    "pyarrow": lambda: table_of("pyarrow", "table", {"text": TEXTS, "label": LABELS}),
    "datasets": lambda: table_of("datasets", "Dataset.from_dict", {"text": TEXTS, "label": LABELS}),
}
AS_PAIRS = {
    "list": lambda: PAIRS,
    "zip": lambda: zip(TEXTS, LABELS, strict=True),
    "map": lambda: map(lambda row: (row["text"], row["label"]), ROWS),
    "zip with an array": lambda: zip(TEXTS, np.array(LABELS), strict=True),
    "zip with a tensor": lambda: zip(TEXTS, torch.tensor(LABELS), strict=True),
    "lists": lambda: [list(pair) for pair in PAIRS],
    "an array of objects": lambda: np.array(PAIRS, dtype=object),
    "a table whose columns are numbers": lambda: Frame([{0: text, 1: label} for text, label in PAIRS]),
    "items of a dictionary": lambda: dict(PAIRS).items(),
    "rows of a table whose columns are numbers": lambda: [Unnamed(*pair) for pair in PAIRS],
}
AS_TEXTS = {
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: iter(TEXTS),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, dtype=object),
    "a column of pandas": lambda: table_of("pandas", "Series", TEXTS),
    "a column of polars": lambda: table_of("polars", "Series", TEXTS),
    "a column of pyarrow": lambda: table_of("pyarrow", "array", TEXTS),
    "keys of a dictionary": lambda: dict(PAIRS).keys(),
}


@pytest.mark.parametrize("form", AS_ROWS)
def test_rows_in_any_form_are_the_same_labeled_texts(form):
    spec = infer_format(AS_ROWS[form]())
    assert spec.formats == ("labeled_text",)
    assert [json.loads(line) for line in Path(spec.data).read_text().splitlines()] == ROWS
    splits = open_examples("labeled_text", spec.data)
    assert {(e.text, e.label) for e in splits.train + splits.val} == {(text, str(label)) for text, label in PAIRS}


@pytest.mark.parametrize("rows", [
    [namedtuple("Review", "label text")(row["label"], row["text"]) for row in ROWS],
    np.array([(label, text) for text, label in PAIRS], dtype=[("label", int), ("text", "U9")]),
], ids=["named tuples", "a structured array"])  # fmt: skip
def test_names_count_and_not_the_order_of_the_parts(rows):
    spec = infer_format(rows, ("text", "label"))
    splits = open_examples("labeled_text", spec.data)
    assert {(e.text, e.label) for e in splits.train + splits.val} == {(text, str(label)) for text, label in PAIRS}


@pytest.mark.parametrize("form", AS_PAIRS)
def test_pairs_in_any_form_are_the_same_pairs(form):
    assert materialize(AS_PAIRS[form]()) == PAIRS
    spec = infer_format(AS_PAIRS[form](), ("text", "label"))
    assert spec.formats == ("text_pairs",) and spec.labels_repeat
    assert [json.loads(line) for line in Path(spec.data).read_text().splitlines()] == ROWS


@pytest.mark.parametrize("form", AS_TEXTS)
def test_texts_in_any_form_are_the_same_documents(form):
    spec = infer_format(AS_TEXTS[form]())
    source = open_text(spec.data)
    assert spec.formats == ("text",)
    assert sorted([*source.documents("train"), *source.documents("val")]) == sorted(TEXTS)


@pytest.mark.parametrize("seconds, repeat", [
    (["good", "bad"] * 5, True), ([True, False] * 5, True), ([1, 2, 3, 4, 5] * 2, True), (["yes"] * 10, True),
    ([f"answer {i}" for i in range(10)], False), (list(range(10)), False), (["yes", "yes", *"abcdefgh"], False),
], ids=str)  # fmt: skip
def test_second_texts_are_labels_if_they_repeat(seconds, repeat):
    assert infer_format([(f"q{i}", second) for i, second in enumerate(seconds)]).labels_repeat == repeat


def test_an_open_file_is_the_rest_of_its_text_and_a_table_is_its_path(tmp_path):
    Path("book.txt").write_text("reviews.csv\nTwo.\n", encoding="cp1252")
    Path("reviews.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in PAIRS))
    with open("book.txt", encoding="cp1252") as file:
        assert materialize(file) == ["reviews.csv\nTwo.\n"]
    assert materialize(io.StringIO("One.")) == ["One."]
    with open("book.txt", "rb") as file:
        assert materialize(file) == Path("book.txt")
    with open("reviews.csv") as file:
        assert infer_format(file).formats == ("labeled_text",)
    with gzip.open("reviews.csv.gz", "wt") as file:
        file.write(Path("reviews.csv").read_text())
    with gzip.open("reviews.csv.gz", "rt") as file:
        assert infer_format(file).formats == ("labeled_text",)


@pytest.mark.parametrize("text, is_path", [
    ("book.txt", True), ("my book.txt", True), ("~/book.txt", True), ("nothing.csv", True), ("runs/nothing", True),
    ("Anna", True), (r"C:\books\a.txt", True), ("a.de,b.en", True),
    ("Anna met Ben.", False), ("Once there was a file a.txt\nand it was read.", False), ("эта кошка", False),
    ("猫在垫子上", False), ("A story. " * 100 + "book.txt", False), ("", False), ("a\0b.txt", False),
], ids=repr)  # fmt: skip
def test_what_a_string_is(text, is_path):
    assert infer.looks_like_path(text) == is_path


def test_a_path_may_start_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Path("book.txt").write_text("One. " * 50)
    for path in ("~/book.txt", Path("~/book.txt")):
        assert Path(infer_format(path).data) == tmp_path / "book.txt"


WRONG = {
    "bytes": (b"One.", r"the data is bytes, expected text; decode it first"),
    "a file of bytes": (io.BytesIO(b"One."), "the file has bytes, expected text; open it as a text"),
    "a set": ({"One.", "Two."}, r"a set, which has no order.*sorted\(data\)"),
    "nothing": (None, "the data is None; expected a text, a list of examples"),
    "a number": (7, "the data is 7; expected"),
    "a class": (Frame, "the data is the class Frame, expected"),
    "a text with a zero character": ("One.\n\0", r"zero character \(character 6\)"),
    "a text as Macs wrote it": ("One.\rTwo.\r", "carriage returns alone; replace each"),
    "an object": (object(), "the data is an object of the type object; expected"),
    "an empty list": ([], "the data is empty"),
    "an empty dictionary": ({}, "the data is empty"),
    "an empty generator": (iter(()), "the data is empty"),
    "empty texts": (["", " "], r"only empty texts \(2\)"),
    "an empty text": ("", "only empty texts"),
    "empty columns": ({"text": [], "label": []}, "the data is empty"),
    "one example": ({"text": "a", "label": "b"}, "the data is one dictionary, and its 'text' is 'a'; give a list of"),
    "a number for a column": ({"text": ["a"], "label": 1}, "the column 'label' is 1; give a list"),
    "columns of different lengths": ({"text": ["a", "b"], "label": [1]}, r"different lengths \(text 2, label 1\)"),
    "two columns of a name": (Frame([{"text": "a"}]), None),
    "texts and a pair": (["a", ("b", "c")], "example 2 is a pair and example 1 a text"),
    "a pair and a row": ([("b", "c"), {"text": "a"}], "example 2 is a dictionary and example 1 a pair"),
    "texts and nothing": (["a", None], "example 2 is None; expected a text"),
    "texts and a number": (["a", float("nan")], "example 2 is nan; expected a text"),
    "three parts": ([("a", "b"), ("a", "b", "c")], "example 2 has 3 parts; expected a text, or a text with its label"),
    "texts and labels, not zipped": ((TEXTS, LABELS), r"example 1 has 20 parts.*zip\(texts, labels\)"),
    "a pair without text": ([(1, "a")], "example 1 starts with 1; expected"),
    "numbers": ([1, 2], "example 1 is 1; expected"),
    "an array of numbers": (np.zeros(3), "example 1 is 0.0; expected"),
    "a list of paths": ([Path("a.txt")], "example 1 is a path; give one path"),
    "bytes in a list": ([b"a"], "example 1 is bytes; expected"),
    "half a character": (["a", "b\ud800"], "example 2: the text holds half a character"),
    "half a character alone": ("One two \ud800", "holds half a character"),
    "unknown columns": ([{"review": "a", "stars": 1}], "has the columns review, stars; expected"),
    "a file that is not there": (Path("nothing.txt"), "no file, folder or dataset 'nothing.txt'"),
    "a name that is not there": ("storyword", "did you mean 'storyworld'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_one_sentence(name):
    data, words = WRONG[name]
    if name == "two columns of a name":
        data.columns, words = ["text", "text"], "two columns 'text'"
    with pytest.raises(UserError, match=words) as error:
        infer_format(data)
    assert str(error.value).endswith((".", "?")) and "\n" not in str(error.value)


def test_what_json_cannot_say_in_a_column_that_is_not_used_is_no_matter_and_else_names_the_row():
    rows = [row | {"date": object(), "scores": np.ones(2), "n": np.float32(0.5)} for row in ROWS]
    assert len(open_examples("labeled_text", infer_format(rows).data).train) > 10
    rows[6]["label"] = object()
    with pytest.raises(UserError, match="line 7: the label is an object, expected a text"):
        open_examples("labeled_text", infer_format(rows).data)


@pytest.mark.parametrize("missing", [None, float("nan"), "", np.nan])
def test_a_missing_value_is_not_its_name(missing):
    rows = [*ROWS[:5], {"text": "a", "label": missing}]
    with pytest.raises(UserError, match="line 6: the label is (null|empty)"):
        open_examples("labeled_text", infer_format(rows).data)


def test_parts_by_name():
    assert split_by_name({"train": [1], "validation": [2]}) == ([1], [2])
    assert split_by_name({"train": [1], "test": [2], "unsupervised": [3]}) == ([1], [2])
    assert split_by_name({"train": [1], "test": [2], "val": [3]}) == ([1], [3])
    assert split_by_name({"train": [1], "test": [2], "val": [3]}, "test") == ([1], [2])
    assert split_by_name({"train": [1], "validation": [3]}, "val") == ([1], [3])
    assert split_by_name({"train": [1]}) == ([1], None)
    for other in (ROWS, {"text": [1]}, "train", None):
        assert split_by_name(other) == (other, None)
    with pytest.raises(UserError, match="no part 'test'; it has train"):
        split_by_name({"train": [1]}, "test")


@pytest.mark.parametrize("damage", [b"", b'{"text": "another"}\n', None])
def test_data_in_memory_is_never_read_from_a_damaged_cache(damage, capsys):
    path = Path(infer_format(ROWS).data)
    good = path.read_bytes()
    assert infer_format(ROWS).data == str(path) and capsys.readouterr().err == ""
    path.unlink()
    path.mkdir() if damage is None else path.write_bytes(damage)
    assert infer_format(ROWS).data == str(path) and path.read_bytes() == good
    assert "is damaged and written again" in capsys.readouterr().err
    kept = path.with_name(f"{path.name}.old")
    assert kept.is_dir() if damage is None else kept.read_bytes() == damage
