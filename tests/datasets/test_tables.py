"""The user's tables, mostly of labeled texts: reading, errors, and the held-out part."""

import csv
import gzip
import io
import json
import os

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmasos.datasets import LabeledText, dataset_names, open_examples, open_text
from llmasos.datasets.formats import FORMATS
from llmasos.datasets.tables import read_table
from llmasos.errors import UserError

REVIEWS = [("good food", "pos"), ("bad food", "neg")] + [(f"text {i}", ("pos", "neg")[i % 2]) for i in range(20)]


def _write(path, content: str | bytes):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _csv(path, rows, header=("text", "label")):
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return _write(path, buffer.getvalue())


def _all(splits):
    return sorted((e.text, e.label) for e in [*splits.train, *splits.val])


@pytest.mark.parametrize("form", ["csv", "semicolons", "tsv", "jsonl", "bom and crlf"])
def test_every_file_format_gives_the_same_examples(tmp_path, form):
    if form == "jsonl":
        path = _write(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": t, "label": x}) for t, x in REVIEWS))
    else:
        separator = {"semicolons": ";", "tsv": "\t"}.get(form, ",")
        end = "\r\n" if form == "bom and crlf" else "\n"
        lines = [separator.join(row) for row in [("text", "label"), *REVIEWS]]
        content = ("\ufeff" if form == "bom and crlf" else "") + end.join(lines) + end
        path = _write(tmp_path / ("a.tsv" if form == "tsv" else "a.csv"), content)
    splits = open_examples("labeled_text", path)
    assert _all(splits) == sorted(REVIEWS) and splits.test is None and splits.skipped == []
    assert str(path) in splits.description and "hash" in splits.description


WRITERS = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "nonnumeric": csv.QUOTE_NONNUMERIC}


@pytest.mark.parametrize("quoting", WRITERS)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.tsv.gz"])
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text('ab\n",; \té\r\u2028x', max_size=8), st.integers(0, 1)), min_size=1), st.booleans())
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, name, quoting, rows, for_excel):
    """A lone carriage return stays; one before a newline is part of the line end."""
    separator = "\t" if ".tsv" in name else ","
    # A tab and a newline in one cell can look like the end of a row of two cells, each with half of a pair of quotes.
    assume(separator == "," or quoting != "minimal" or not any({"\t", "\n"} <= set(text) for text, _ in rows))
    buffer = io.StringIO()
    writer = csv.writer(
        buffer, quoting=WRITERS[quoting], lineterminator="\r\n" if for_excel else "\n", delimiter=separator
    )
    writer.writerows([("text", "label"), *rows])
    content = ("\ufeffsep=" + separator + "\r\n") * for_excel + buffer.getvalue()
    packed = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
    path = _write(tmp_path_factory.mktemp("t") / name, packed)
    expected = [(text.replace("\r\n", "\n"), str(label)) for text, label in rows]
    assert [tuple(row.cells.values()) for row in read_table(path).rows] == expected


def test_a_quoted_cell_that_begins_with_a_blank_and_a_quote_keeps_both_and_so_do_all_others(tmp_path):
    path = _write(tmp_path / "a.csv", 'text,label\n ,0\n" """,0\n"x, ""y""",0\n')
    assert [row.cells["text"] for row in read_table(path).rows] == [" ", ' "', 'x, "y"']


def test_a_row_is_located_by_its_first_line(tmp_path):
    path = _write(tmp_path / "a.csv", 'text,label\n"one\ntwo\nthree",x\n\n,y\n')
    assert [row.where for row in read_table(path).rows] == [f"{path}, line 2", f"{path}, line 6"]
    with pytest.raises(UserError, match="a.csv, line 6: the text is empty; fix it, or .*--skip-bad"):
        open_examples("labeled_text", path)


def test_columns_play_the_roles_they_are_given(tmp_path):
    rows = [(f"n{i}", f"first {i}", f"second {i}", i % 3) for i in range(30)]
    path = _csv(tmp_path / "a.csv", rows, ("id", "premise", "hypothesis", "gold"))
    splits = open_examples("labeled_text", path, columns={"text": "premise", "second": "hypothesis", "label": "gold"})
    assert LabeledText("first 4", "1", "second 4") in splits.train + splits.val


def test_quotes_in_a_tsv_are_ordinary_characters(tmp_path):
    path = _write(tmp_path / "a.tsv", 'text\tlabel\n"so called\tx\n5" pipe\ty\n' * 1 + "more\tx\nless\ty\n" * 3)
    assert {row.cells["text"] for row in read_table(path).rows} >= {'"so called', '5" pipe'}


@pytest.mark.parametrize(
    "content, texts",
    [
        ('text\tlabel\n"Who?"\tx\nHe ran.\ty\n', ['"Who?"', "He ran."]),  # dialogue in one cell of two
        ('text\tlabel\n"Hi," he said.\tx\n"a\ty\nb"\tz\n', ['"Hi," he said.', '"a', 'b"']),
        ('text\tlabel\n"a ""fine"" film"\tx\n', ['a "fine" film']),
        ('text\tlabel\n"one\ttab"\tx\nplain\ty\n', ["one\ttab", "plain"]),
        ('text\tlabel\n"two\nlines"\tx\nplain\ty\n', ["two\nlines", "plain"]),
        ('"text"\t"label"\n"Who?"\t1\n"He ran."\t0\n', ["Who?", "He ran."]),
        ('text\tlabel\n"one\ttab"\tx\nno label\n', ["one\ttab"]),  # one bad row
    ],
)
def test_quotes_in_a_tsv_are_around_cells_where_only_a_program_can_have_written_them(tmp_path, content, texts):
    rows = read_table(_write(tmp_path / "a.tsv", content)).rows
    assert [row.cells["text"] for row in rows if not row.problem] == texts


def test_json_values_become_text_and_missing_ones_are_empty(tmp_path):
    lines = ['{"text": "a", "label": 3}', '{"text": "b", "label": 2.5}', '{"text": "c", "label": true}']
    lines += ['{"text": "d", "label": null}', '{"text": NaN, "label": 1}']
    path = _write(tmp_path / "a.jsonl", "\n".join(lines))
    with pytest.raises(UserError, match="line 4: the label is empty"):
        open_examples("labeled_text", path)
    path.write_text("\n".join(lines[:3]))
    assert _all(open_examples("labeled_text", path, eval_only=True)) == [("a", "3"), ("b", "2.5"), ("c", "true")]
    path.write_text("\n".join([*lines[:3], lines[4]]))
    with pytest.raises(UserError, match="line 4: the text is empty"):
        open_examples("labeled_text", path)


GOOD = "text,label\n" + "".join(f"{t},{x}\n" for t, x in REVIEWS)
BAD_FILES = {
    "empty": ("a.csv", "", "a.csv is empty"),
    "header only": ("a.csv", "text,label\n", "holds no row below its header"),
    "no such column": ("a.csv", "texts,label\nx,y\n", "no column 'text' for the text; did you mean 'texts'"),
    "far column": ("a.csv", "body,label\nx,y\n", "no column 'text' for the text; say which one it is.*'body', 'label'"),
    "twice": ("a.csv", "text,label,text\nx,y,z\n", "line 1: two columns are named 'text'"),
    "latin-1": ("a.csv", GOOD.encode() + b"caf\xe9,pos\n", "a.csv is not UTF-8 text at byte"),
    "binary": ("a.csv", GOOD.encode() + b"\0,x\n", "zero byte"),
    "open quote": ("a.csv", GOOD + '"never closed,x\nmore,y\n', "line 24: the row is not valid CSV"),
    "no objects": ("a.jsonl", "1\n2\n", "line 1: not a JSON object.*no row of the file is usable"),
    "no columns": ("a.jsonl", "{}\n{}\n", "line 1: the row names no column"),
    "other ending": ("a.xlsx", GOOD, "ends in '.xlsx', expected a table"),
    "one label": ("a.csv", "text,label\na,x\nb,x\nc,x\n", "all texts of .* have the label 'x'"),
    "one text": ("a.csv", "text,label\na,x\na,y\n", "2 examples, 1 of them different"),
}
OBJECTS = '{"text": "a", "label": "x"}\n' * 23
BAD_ROWS = {
    "no text": ("a.csv", GOOD + " ,pos\n", "line 24: the text is empty"),
    "no label": ("a.csv", GOOD + "x,\n", "line 24: the label is empty"),
    "few cells": ("a.csv", GOOD + "x\n", "line 24: the row has 1 cell, but the header names 2"),
    "many cells": ("a.csv", GOOD + "x,y,z\n", "line 24: the row has 3 cells"),
    "no object": ("a.jsonl", OBJECTS + "[1]\n", "line 24: not a JSON object"),
    "no json": ("a.jsonl", OBJECTS + "{oops\n", "line 24: not valid JSON"),
    "a list": ("a.jsonl", OBJECTS + '{"text": [], "label": 1}', "the text is a list"),
    "surrogate": ("a.jsonl", OBJECTS + '{"text": "\\ud800", "label": 1}', "half a character"),
    "no field": ("a.jsonl", OBJECTS + '{"label": "x"}', "line 24: the text is empty"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gives_one_sentence(tmp_path, case):
    name, content, message = BAD_FILES[case]
    for skip_bad in (False, True):
        with pytest.raises(UserError, match=message) as caught:
            open_examples("labeled_text", _write(tmp_path / name, content), skip_bad=skip_bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_an_error_or_skipped_and_counted(tmp_path, case):
    name, content, message = BAD_ROWS[case]
    path = _write(tmp_path / name, content)
    if name.endswith("jsonl"):  # enough that is good around the bad row
        path.write_text(content + "\n" + "\n".join(json.dumps({"text": t, "label": x}) for t, x in REVIEWS))
    with pytest.raises(UserError, match=message):
        open_examples("labeled_text", path)
    splits = open_examples("labeled_text", path, skip_bad=True)
    assert (
        len(splits.skipped) == 1
        and f"{path}, line 24: " in splits.skipped[0]
        and "1 bad rows skipped" in splits.description
    )
    n_good = len(REVIEWS) + (23 if name.endswith("jsonl") else 0)
    assert len(splits.train) + len(splits.val) == n_good


def test_if_no_row_is_usable_the_first_problem_is_reported(tmp_path):
    path = _write(tmp_path / "a.csv", "text,label\n,x\n,y\n")
    with pytest.raises(UserError, match="no usable row .*line 2: the text is empty"):
        open_examples("labeled_text", path, skip_bad=True)


def test_a_label_missing_from_training_is_reported(tmp_path):
    train, val = _write(tmp_path / "a.csv", GOOD), _write(tmp_path / "b.csv", "text,label\nx,pos\ny,mixed\n")
    with pytest.raises(UserError, match="b.csv, line 3: the label 'mixed' does not occur in .*a.csv"):
        open_examples("labeled_text", train, val=val)
    splits = open_examples("labeled_text", train, val=val, skip_bad=True)
    assert splits.val == [LabeledText("x", "pos")] and len(splits.train) == len(REVIEWS) and len(splits.skipped) == 1


@pytest.mark.parametrize("n", [10, 30, 500, 3000])
def test_a_tenth_is_held_out_whatever_the_order_and_equal_texts_stay_together(tmp_path, n):
    rows = [(f"text {i // 2}", "ab"[i % 2]) for i in range(n)]
    splits = open_examples("labeled_text", _csv(tmp_path / "a.csv", rows))
    again = open_examples("labeled_text", _csv(tmp_path / "b.csv", rows[::-1]))
    assert {e.text for e in splits.train}.isdisjoint(e.text for e in splits.val)
    assert sorted(e.text for e in splits.val) == sorted(e.text for e in again.val)
    assert 0 < len(splits.val) <= n // 5 and (n < 500 or len(splits.val) > n / 14)


def test_a_rare_label_stays_in_training(tmp_path):
    for i in range(60):  # whatever the hash
        splits = open_examples("labeled_text", _csv(tmp_path / "a.csv", [*REVIEWS, (f"rare {i}", "rare")]))
        assert {e.label for e in splits.val} <= {e.label for e in splits.train} >= {"rare", "pos", "neg"}
        assert splits.val and _all(splits) == sorted([*REVIEWS, (f"rare {i}", "rare")])


def test_the_fingerprint_changes_with_the_data_and_how_it_is_read(tmp_path):
    path = _csv(tmp_path / "a.csv", [(t, x, x) for t, x in REVIEWS], ("text", "label", "other"))
    first = open_examples("labeled_text", path).fingerprint
    assert first == open_examples("labeled_text", path).fingerprint
    others = [
        open_examples("labeled_text", path, columns={"label": "other"}),
        open_examples("labeled_text", path, val=path),
    ]
    changed = [(text + "!", label, label) for text, label in REVIEWS]
    others.append(open_examples("labeled_text", _csv(path, changed, ("text", "label", "other"))))
    assert len({first, *(splits.fingerprint for splits in others)}) == 4


def test_unknown_names_and_formats_get_the_nearest_name():
    with pytest.raises(UserError, match="no file, folder or dataset 'sts5'; did you mean 'sst5'"):
        open_examples("labeled_text", "sts5")
    with pytest.raises(UserError, match="'multi30k' has the format pairs, not labeled_text"):
        open_examples("labeled_text", "multi30k")
    with pytest.raises(UserError, match="'squad' has the format questions, not text"):
        open_text("squad")
    with pytest.raises(UserError, match="no valid number of stories"):
        open_examples("pairs", "storyworld:many")
    for format in FORMATS:
        with pytest.raises(UserError, match="--val-data is 'x.csv', but storyworld is a dataset"):
            open_examples(format, "storyworld", val="x.csv")
        with pytest.raises(UserError, match="nothing.csv"):
            open_examples(format, "nothing.csv")
    assert dataset_names("labeled_text") == ["storyworld", "sst5", "sst2"] and "squad" not in dataset_names()


def test_an_unknown_role_lists_the_roles(tmp_path):
    with pytest.raises(UserError, match="no column role 'txt'; did you mean 'text'. .*text, label, second"):
        open_examples("labeled_text", _write(tmp_path / "a.csv", GOOD), columns={"txt": "text"})


def test_long_cells_are_read_and_the_limit_is_restored(tmp_path):
    before = csv.field_size_limit(1000)
    path = _csv(tmp_path / "a.csv", [("long " * 100_000, "a"), ("b", "b"), ("c", "a"), ("d", "b")])
    assert max(len(row.cells["text"]) for row in read_table(path).rows) == 500_000
    assert csv.field_size_limit(before) == 1000


@pytest.mark.skipif(not os.environ.get("LLMASOS_DATA"), reason="LLMASOS_DATA is not set")
def test_the_real_sst_has_its_published_counts_and_no_escapes():
    five, two = open_examples("labeled_text", "sst5"), open_examples("labeled_text", "sst2")
    assert (len(five.train), len(five.val), len(two.train), len(two.val)) == (8544, 1101, 6920, 872)
    assert {e.label for e in five.train} == {"very negative", "negative", "neutral", "positive", "very positive"}
    assert {e.label for e in two.val} == {"negative", "positive"}
    assert not any("\\" in e.text or e.text != e.text.strip() for e in five.train + five.val)
    assert five.train[2].text.startswith("Singer/composer Bryan Adams") and five.train[2].label == "positive"


@pytest.mark.parametrize("counts", [(35, 35), (2, 2), (60, 3), (1, 30, 30), (1200, 2), (1500, 1500)])
def test_each_label_is_held_out_by_itself_and_in_any_order(tmp_path, counts):
    rows = [(f"text {label} {i}", f"label {label}") for label, n in enumerate(counts) for i in range(n)]
    held_out = []
    for order in (rows, rows[::-1]):
        path = tmp_path / "reviews.csv"
        path.write_text("".join(f"{text},{label}\n" for text, label in [("text", "label"), *order]), encoding="utf-8")
        splits = open_examples("labeled_text", path)
        assert {(e.text, e.label) for e in [*splits.train, *splits.val]} == set(rows)
        held_out.append({(e.text, e.label) for e in splits.val})
    assert held_out[0] == held_out[1]
    for label, n in enumerate(counts):
        n_held_out = sum(name == f"label {label}" for _, name in held_out[0])
        assert n_held_out == -(-n // 10) * (n > 1) if n < 1000 else 0.07 * n < n_held_out < 0.13 * n
