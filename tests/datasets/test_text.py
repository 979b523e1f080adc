"""From a name or a path to documents: how each type of file is read and split, and errors."""

import bz2
import codecs
import gzip
import json
import lzma
import os

import pytest
import regex

from llmasos.datasets import dataset_names, open_text, python_docs, text_io
from llmasos.datasets.source import Piece, PlainText
from llmasos.datasets.storyworld import DEFAULT_SIZES
from llmasos.errors import UserError

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
CL100K_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"""
    r"""\s+(?!\S)|\s"""
)


def _text(source, split: str) -> str:
    return "".join(source.documents(split))


def _write_jsonl(path, records) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


@pytest.fixture
def small_blocks(monkeypatch):
    """Use blocks of 7 bytes and pieces of 20 characters, so that everything is cut somewhere."""
    monkeypatch.setattr(text_io, "BLOCK_BYTES", 7)
    monkeypatch.setattr(text_io, "PIECE_CHARACTERS", 20)


# One plain text


@pytest.mark.parametrize("n", [10, 11, 19, 1003])
def test_the_last_tenth_of_a_plain_text_is_held_out_to_the_character(tmp_path, n):
    text = ("ä€😀\nab" * n)[:n]
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    source = open_text(tmp_path / "a.txt")
    cut = n * 9 // 10
    assert (_text(source, "train"), _text(source, "val")) == (text[:cut], text[cut:])
    assert not any(piece.ends_document for split in ("train", "val") for piece in source.pieces(split))


def test_torn_characters_and_line_ends_are_joined_again(tmp_path, small_blocks):
    text = "Grüße, 😀 mein Freund!\nWie geht's?\n\n" * 30
    (tmp_path / "a.md").write_bytes(codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode("utf-8"))
    source = open_text(tmp_path / "a.md")
    assert _text(source, "train") + _text(source, "val") == text
    assert len(list(source.pieces("train"))) > 20


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, CL100K_PATTERN])
def test_cutting_into_pieces_changes_no_pretoken(pattern, small_blocks):
    text = ("A line, and  more.\nNext\n\n  indented\n\tTab 12345\nend?!\n\n\nNew " * 50) + "x"
    pieces = list(text_io.read_pieces(iter([text[i : i + 13] for i in range(0, len(text), 13)])))
    assert "".join(pieces) == text and len(pieces) > 30
    whole = regex.findall(pattern, text)
    assert [token for piece in pieces for token in regex.findall(pattern, piece)] == whole


def test_text_without_newlines_is_cut_too(small_blocks):
    pieces = list(text_io.read_pieces(iter(["x" * 10] * 100)))
    assert "".join(pieces) == "x" * 1000 and max(map(len, pieces)) <= 50


def test_any_other_ending_is_read_as_plain_text(tmp_path):
    (tmp_path / "notes").write_text("some words here")
    assert isinstance(open_text(tmp_path / "notes"), PlainText)


# Documents


def test_each_line_of_a_jsonl_file_is_whole_in_one_split(tmp_path):
    texts = [f"document {i}\nwith two lines\u2028and a separator" for i in range(3000)]
    _write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    source = open_text(tmp_path / "a.jsonl")
    train, val = list(source.pieces("train")), list(source.pieces("val"))
    assert {piece.text for piece in train} | {piece.text for piece in val} == set(texts)
    assert all(piece.ends_document for piece in train + val)
    assert len(train) + len(val) == 3000 and 210 < len(val) < 390, "5 standard deviations around 300"


def test_copies_land_on_one_side_and_later_documents_move_none(tmp_path):
    texts = [f"document {i % 1500}" for i in range(3000)]
    _write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    _write_jsonl(tmp_path / "b.jsonl", [{"text": f"new {i}"} for i in range(500)] + [{"text": text} for text in texts])
    sides = {}
    for name in ("a", "b"):
        source = open_text(tmp_path / f"{name}.jsonl")
        sides[name] = {split: set(source.documents(split)) for split in ("train", "val")}
    assert not sides["a"]["train"] & sides["a"]["val"]
    assert sides["a"]["train"] < sides["b"]["train"] and sides["a"]["val"] < sides["b"]["val"]


@pytest.mark.parametrize("n, n_val", [(2, 1), (9, 1), (20, 2), (999, 100)])
def test_few_documents_still_leave_a_tenth_and_at_least_one_held_out(tmp_path, n, n_val):
    _write_jsonl(tmp_path / "a.jsonl", [{"text": f"document {i}"} for i in range(n)])
    source = open_text(tmp_path / "a.jsonl")
    assert (len(list(source.documents("train"))), len(list(source.documents("val")))) == (n - n_val, n_val)


@pytest.mark.parametrize("lengths", [(60_000, 6_000), (100, 1_000, 100_000), (50, 50, 50, 9_000), (7, 300, 300, 393)])
def test_few_documents_of_unequal_length_never_lose_most_of_the_text_to_validation(tmp_path, lengths):
    _write_jsonl(tmp_path / "a.jsonl", [{"text": f"{i}" * n} for i, n in enumerate(lengths)])
    held_out = sum(len(text) for text in open_text(tmp_path / "a.jsonl").documents("val"))
    assert 0 < held_out <= sum(lengths) / 5


@pytest.mark.parametrize("n_copies", [1, 2])
def test_of_a_single_document_or_its_copies_the_end_is_held_out(tmp_path, n_copies):
    _write_jsonl(tmp_path / "a.jsonl", [{"text": "0123456789" * 2}] * n_copies)
    source = open_text(tmp_path / "a.jsonl")
    assert list(source.pieces("train")) == [Piece("012345678901234567", True)] * n_copies
    assert list(source.pieces("val")) == [Piece("89", True)] * n_copies


def test_documents_without_text_are_refused(tmp_path):
    _write_jsonl(tmp_path / "a.jsonl", [{"text": ""}, {"text": ""}])
    with pytest.raises(UserError, match="no text in it"):
        list(open_text(tmp_path / "a.jsonl").documents("train"))


def test_another_field_is_named_in_the_path_or_as_an_argument(tmp_path):
    _write_jsonl(tmp_path / "a.jsonl", [{"body": f"document {i}", "text": "no"} for i in range(5)])
    for source in (open_text(f"{tmp_path}/a.jsonl:body"), open_text(tmp_path / "a.jsonl", field="body")):
        documents = {*source.documents("train"), *source.documents("val")}
        assert documents == {f"document {i}" for i in range(5)}


def test_blank_lines_and_empty_texts_are_skipped_and_the_last_newline_is_optional(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": ""}\n  \n{"text": "b\\r\\nc"}')
    source = open_text(tmp_path / "a.jsonl")
    assert {*source.documents("train"), *source.documents("val")} == {"a", "b\nc"}


def test_a_folder_is_read_with_subfolders_sorted_by_path(tmp_path, small_blocks):
    expected = {}
    for name in ("b.txt", "a/z.md", "a/b.PY", "c/d/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        expected[name] = f"the text of {name}, long enough to be cut\n" * 3
        path.write_text(expected[name])
    (tmp_path / "c" / "f.jsonl").write_text('{"text": "a line"}\n')
    for name in ("picture.png", ".hidden.txt", "empty.txt"):
        (tmp_path / name).write_bytes(b"" if name == "empty.txt" else b"\x00")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("not this")

    source = open_text(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in source.paths] == [
        "a/b.PY", "a/z.md", "b.txt", "c/d/e.txt", "c/f.jsonl", "empty.txt",
    ]  # fmt: skip
    documents = []
    for split in ("train", "val"):
        parts = []
        for piece in source.pieces(split):
            parts.append(piece.text)
            if piece.ends_document:
                documents.append("".join(parts))
                parts = []
        assert not parts, "the last piece of a split must end its document"
    assert sorted(documents) == sorted([*expected.values(), "a line"])


def test_a_folder_with_one_text_is_split_like_that_text(tmp_path):
    (tmp_path / "a.txt").write_text("0123456789")
    assert _text(open_text(tmp_path), "val") == "9"


# Fingerprints


def test_the_fingerprint_follows_the_content(tmp_path):
    path = tmp_path / "a.txt"
    prints = set()
    for text in ("one text", "two text", "one text"):
        path.write_text(text)
        prints.add(open_text(path).fingerprint())
    assert len(prints) == 2
    (tmp_path / "b.txt").write_text("more")
    first = open_text(tmp_path).fingerprint()
    (tmp_path / "b.txt").write_text("Mehr")
    assert open_text(tmp_path).fingerprint() != first


def test_the_fingerprint_of_a_large_file_sees_samples_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(text_io, "LARGE_FILE", 1000)
    monkeypatch.setattr(text_io, "BLOCK_BYTES", 10)
    path = tmp_path / "a.txt"
    prints = set()
    versions = [(b"x" * 5000, 1), (b"y" + b"x" * 4999, 1), (b"x" * 4999 + b"y", 1), (b"x" * 5001, 1), (b"x" * 5000, 2)]
    for content, time in versions:
        path.write_bytes(content)
        os.utime(path, (time, time))
        prints.add(open_text(path).fingerprint())
    assert len(prints) == 5


# Names


def test_every_known_name_is_listed_and_an_unknown_one_gets_the_nearest():
    assert {"storyworld", "shakespeare", "wikitext2", "python-reference", "python-source"} <= set(dataset_names())
    with pytest.raises(UserError, match="dataset 'shakespear'; did you mean 'shakespeare'.*wikitext2"):
        open_text("shakespear")
    with pytest.raises(UserError, match="no file, folder or dataset 'my/missing.txt'; check the path"):
        open_text("my/missing.txt")


def test_a_known_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "storyworld").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_text("storyworld").description.startswith("12,000 generated stories")
    with pytest.raises(UserError, match="holds no text file"):
        open_text("./storyworld")


def test_storyworld_gives_the_requested_number_of_stories_and_their_information():
    source = open_text("storyworld:30")
    stories = list(source.pieces("train"))
    assert len(stories) == 30 and all(piece.ends_document for piece in stories)
    assert source.information("train") > 0
    assert source.fingerprint() != open_text("storyworld:31").fingerprint()
    assert source.fingerprint() == open_text("storyworld:30").fingerprint()
    assert stories == list(source.pieces("train")), "the same stories every time"
    assert len(list(source.documents("val"))) == DEFAULT_SIZES["val"]


@pytest.mark.parametrize("count", ["", "0", "-3", "many", "999999999999"])
def test_an_invalid_number_of_stories_is_refused(count):
    with pytest.raises(UserError, match="storyworld:N with N from 1"):
        open_text(f"storyworld:{count}")


@pytest.mark.parametrize("name", ["python-reference", "python-source"])
def test_the_running_python_is_a_corpus(name):
    source = open_text(name)
    sizes = {split: sum(map(len, source.documents(split))) for split in ("train", "val")}
    assert sizes["train"] > 200_000 and 0.01 < sizes["val"] / sizes["train"] < 0.5
    assert source.fingerprint() == open_text(name).fingerprint()


def test_the_library_corpus_holds_no_tests_and_no_installed_packages():
    parts = {part for path in open_text("python-source").paths for part in path.parts[-4:]}
    assert not parts & {"site-packages", "dist-packages", "test", "tests"}


def test_a_python_without_its_reference_is_reported(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(python_docs.importlib, "import_module", missing)
    with pytest.raises(UserError, match="python-reference needs the module pydoc_data.topics"):
        open_text("python-reference")


# Bad input


BAD_BYTES = {
    "empty": (b"", "is empty"),
    "binary": (b"text" * 10 + b"\x00\x01", "is a binary file .a zero byte at byte 40."),
    "latin-1": ("Grüße".encode("latin-1"), "is not UTF-8 text at byte 2"),
    "cut at the end": ("Grüße 😀".encode()[:-1], "is not UTF-8 text at byte 8"),
    "UTF-16 without a mark": ("Text".encode("utf-16-be"), "seems to be UTF-16 without .*iconv -f UTF-16BE"),
    "UTF-16, cut": ("Text".encode("utf-16")[:-1], "is not UTF-16 text at byte 8"),
    "old Mac": (b"one\rtwo\r", "ends its lines with carriage returns alone"),
    "PDF": (b"%PDF-1.7 ...", "is a PDF"),
    "zip": (b"PK\x03\x04...", "is a zip archive"),
    "gzip, cut": (gzip.compress(b"text" * 99)[:-9], "cannot be unpacked"),
    "bzip2, cut": (bz2.compress(b"text" * 99)[:-9], "cannot be unpacked"),
    "xz, cut": (lzma.compress(b"text" * 99)[:-9], "cannot be unpacked"),
    "zstd": (b"\x28\xb5\x2f\xfd...", "(is compressed, and this Python has no|cannot be unpacked)"),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_a_file_that_is_not_text_is_refused(tmp_path, case):
    content, message = BAD_BYTES[case]
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"bad.txt {message}"):
        list(open_text(tmp_path / "bad.txt").documents("val"))


def test_an_invalid_byte_is_located_beyond_the_first_block(tmp_path, small_blocks):
    content = "ä€😀".encode() * 10
    (tmp_path / "bad.txt").write_bytes(content + b"\xe2\x82x")
    with pytest.raises(UserError, match=f"not UTF-8 text at byte {len(content)};"):
        list(open_text(tmp_path / "bad.txt").documents("train"))


BAD_LINES = {
    "no JSON": ("{oops", ", line 3: not valid JSON"),
    "deep": ("[" * 100_000, ", line 3: not valid JSON"),
    "no object": ("[1, 2]", ", line 3: it is a list, not a JSON object"),
    "no field": ('{"body": "x", "title": "y"}', ", line 3: it has no field 'text' .its fields: 'body', 'title'."),
    "no string": ('{"text": 5}', ", line 3: the field 'text' is a number, expected a text"),
    "half a character": ('{"text": "\\ud83d"}', ", line 3: the field 'text' holds half a character"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_reported_with_its_number(tmp_path, case):
    line, message = BAD_LINES[case]
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n\n' + line + "\n")
    with pytest.raises(UserError, match=f"a.jsonl{message}"):
        list(open_text(tmp_path / "a.jsonl").documents("train"))


def test_a_folder_without_text_lists_the_expected_endings(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds no text file \(looked for .txt, .md, .py, .jsonl"):
        open_text(tmp_path)


def test_an_unknown_split_is_an_error_of_the_caller(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match="unknown split 'test'"):
        list(open_text(tmp_path / "a.txt").pieces("test"))


def test_a_file_larger_than_memory_allows_is_streamed(tmp_path, monkeypatch):
    """No read asks for more than a block, and no piece is longer than a few of them."""
    monkeypatch.setattr(text_io, "PIECE_CHARACTERS", 1 << 16)
    monkeypatch.setattr(text_io, "BLOCK_BYTES", 1 << 14)
    (tmp_path / "a.txt").write_text("a line of text\n" * 200_000)
    longest = max(len(piece.text) for piece in open_text(tmp_path / "a.txt").pieces("train"))
    assert longest < 1 << 18


def test_a_second_text_is_held_out_as_a_whole(tmp_path):
    (tmp_path / "train.txt").write_text("One two three. " * 20)
    (tmp_path / "val.txt").write_text("Four five six. " * 20)
    _write_jsonl(tmp_path / "val.jsonl", [{"body": f"document {i}"} for i in range(5)])
    source = open_text(tmp_path / "train.txt", val=tmp_path / "val.txt")
    assert list(source.pieces("train")) == [Piece("One two three. " * 20, False)]
    assert list(source.pieces("val")) == [Piece("Four five six. " * 20, False)]
    documents = open_text(tmp_path / "val.jsonl", "body", tmp_path / "val.jsonl")
    for split in ("train", "val"):
        assert [*documents.documents(split)] == [f"document {i}" for i in range(5)]
    other = open_text(tmp_path / "train.txt", val=tmp_path / "train.txt")
    assert len({source.fingerprint(), other.fingerprint(), open_text(tmp_path / "train.txt").fingerprint()}) == 3
