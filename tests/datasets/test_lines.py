"""Line ends, compression and encodings: every reader of the library sees the same lines."""

import bz2
import codecs
import gzip
import json
import lzma
import os
import shutil
import subprocess

import pytest

from llmasos.cli.sample import read_prompt_file
from llmasos.datasets import open_examples, open_text, text_io
from llmasos.datasets.infer import infer_format
from llmasos.datasets.tables import read_table
from llmasos.datasets.text_io import read_lines
from llmasos.errors import UserError

ODD = ["\r", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\ufeff", "\xa0"]
PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
ENCODINGS = ["utf-8-sig", "utf-16", "utf-32"]  # with a byte-order mark


def sides(n=12):
    """Lines of a source and a target, where each odd character is inside a line of the source."""
    characters = [*ODD, *"x" * (n - len(ODD))]
    return [f"Satz{c}{i} hier" for i, c in enumerate(characters)], [f"sentence {i} here" for i in range(n)]


@pytest.fixture(params=[7, 1 << 20], ids=["small blocks", "one block"], autouse=True)
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(text_io, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["", *PACKED, *ENCODINGS])
def test_only_a_line_feed_ends_a_line_in_parallel_files_of_every_form(tmp_path, form, end):
    paths = []
    for name, lines in zip(("a.de", "a.en"), sides(), strict=True):
        content = "".join(line + end for line in lines).encode(form if form in ENCODINGS else "utf-8")
        paths.append(tmp_path / (name + (form if form in PACKED else "")))
        paths[-1].write_bytes(PACKED[form](content) if form in PACKED else content)
    splits = open_examples("pairs", f"{paths[0]},{paths[1]}")
    pairs = {(pair.source, pair.target) for pair in splits.train + splits.val}
    assert pairs == set(zip(*sides(), strict=True))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json"])
def test_only_a_line_feed_ends_a_row_of_a_table(tmp_path, ending):
    rows = list(zip(*sides(), strict=True))
    if ending in (".jsonl", ".json"):
        lines = [json.dumps({"source": s, "target": t}, ensure_ascii=False) for s, t in rows]
        content = "\n".join(lines) if ending == ".jsonl" else "[" + ",\n".join(lines) + "]"
    else:
        content = "\r\n".join(("," if ending == ".csv" else "\t").join(row) for row in [("source", "target"), *rows])
    path = tmp_path / f"a{ending}"
    path.write_bytes(content.encode())
    splits = open_examples("pairs", path)
    assert {(pair.source, pair.target) for pair in splits.train + splits.val} == set(rows)
    first = 1 if "j" in ending else 2
    assert [row.where for row in read_table(path).rows] == [f"{path}, line {first + i}" for i in range(len(rows))]


@pytest.mark.parametrize("form", ["", *PACKED, *ENCODINGS])
def test_a_text_is_the_same_however_it_is_packed_or_encoded(tmp_path, form):
    text = "Grüße, 😀\r\nzwei\rdrei\u2028vier\r\n\r\nfünf\r"
    content = text.encode(form if form in ENCODINGS else "utf-8")
    path = tmp_path / f"a.txt{form if form in PACKED else ''}"
    path.write_bytes(PACKED[form](content) if form in PACKED else content)
    source = open_text(path)
    expected = text.replace("\r\n", "\n")
    assert "".join(source.documents("train")) + "".join(source.documents("val")) == expected
    assert list(read_lines(path)) == expected.split("\n")
    assert infer_format(path).formats == ("text", "prompts")


@pytest.mark.parametrize("form", ["", *PACKED, *ENCODINGS, "utf-16-be"])
def test_marks_between_documents_are_found_in_every_form(tmp_path, form):
    path = tmp_path / f"a.txt{form if form in PACKED else ''}"
    for text, documents in (("eins<|endoftext|>zwei\n", {"eins", "zwei"}), ("eins<|endoftext|\r\n>zwei drei", None)):
        content = text.encode(form) if form and form not in PACKED else text.encode()
        path.write_bytes(PACKED[form](content) if form in PACKED else content)
        if form == "utf-16-be":
            path.write_bytes(codecs.BOM_UTF16_BE + content)
        source = open_text(path)
        assert not documents or {*source.documents("train"), *source.documents("val")} == documents
        assert ("between them" in source.description) == bool(documents)


def test_tables_and_documents_may_be_packed_and_a_folder_has_them_too(tmp_path):
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert infer_format(tmp_path / "a.jsonl.gz").formats == ("labeled_text",)
    assert len(open_examples("labeled_text", tmp_path / "a.jsonl.gz", eval_only=True).val) == 20
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(b"a whole text"))
    source = open_text(tmp_path)
    documents = {*source.documents("train"), *source.documents("val")}
    assert documents == {"a whole text", *(row["text"] for row in rows)}


@pytest.mark.skipif(not all(map(shutil.which, ("iconv", "tr"))), reason="the remedies need iconv and tr")
@pytest.mark.parametrize(
    "content",
    [
        b"text,label\rone,a\rtwo,b\r",
        "text,label\ncafé,a\ntwo,b\n".encode("cp1252"),
        "text,label\n€,a\n".encode("utf-16-le"),
    ],
    ids=["old Mac", "cp1252", "UTF-16 without a mark"],
)  # fmt: skip
def test_the_command_in_a_message_makes_a_file_that_is_read(tmp_path, content):
    path = tmp_path / "my file.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="convert it: ") as caught:
        open_examples("labeled_text", path)
    command = str(caught.value).partition("convert it: ")[2].partition(", if")[0].removesuffix(".")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert read_table(tmp_path / "new.csv").rows[0].cells["label"] == "a"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.json"])
def test_a_pipe_is_refused_at_once_by_every_reader(tmp_path, name):
    """The first read would block, or consume what the second one needs."""
    path = tmp_path / name
    os.mkfifo(path)
    readers = [
        lambda: open_text(path),
        lambda: open_examples("pairs", f"{path},{path}"),
        lambda: read_prompt_file(path),
    ]
    if name != "a.txt":
        readers += [lambda: open_examples("labeled_text", path), lambda: infer_format(path)]
    for read in readers:
        with pytest.raises(UserError, match=f"{name} is a pipe or a device, which can be read only once; save"):
            read()


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a", "label": "b"}\r{"text": "c", "label": "d"}\r', "ends its lines with carriage returns alone"),
        (b'text,label\na\0b,c\n{"text": "a"}\n', "is a binary file"),
        (gzip.compress(b'{"text": "a\0"}\n'), "is a binary file"),
        (gzip.compress(b"\xff\xfe\xfd"[2:] + b"\n"), "is not UTF-8 text at byte 0"),
    ],
    ids=["old Mac", "zero", "packed zero", "packed bytes"],
)
def test_every_reader_refuses_the_same_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    readers = [lambda: list(open_text(path).documents("val")), lambda: open_examples("pairs", f"{path},{path}")]
    if name != "a.txt":
        readers.append(lambda: open_examples("labeled_text", path))
    for read in readers:
        with pytest.raises(UserError, match=f"{name} {message}"):
            read()
