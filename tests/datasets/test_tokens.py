"""Token arrays on disk: correct ids and counts, built once, and never an incomplete folder, whatever happens."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from disk_helpers import small_disk

from llmasos.datasets import build_tokens, open_text
from llmasos.datasets.source import Piece, TextSource
from llmasos.errors import UserError


class Bytes:
    """A byte tokenizer with the minimum that `build_tokens` needs."""

    kind = "byte"
    end_of_text = 256

    def __init__(self, vocab_size: int = 257):
        self.vocab_size = vocab_size
        self.calls = 0

    def encode_array(self, text: str) -> np.ndarray:
        self.calls += 1
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.uint32)

    def fingerprint(self) -> str:
        return f"bytes {self.vocab_size}"


class FixedSource(TextSource):
    """A source with fixed pieces."""

    name = "given: by a test/here"
    description = "pieces"

    def __init__(self, train: list[Piece], val: list[Piece]):
        self.splits = {"train": train, "val": val}

    def pieces(self, split):
        yield from self.splits[split]

    def fingerprint(self) -> str:
        return repr(self.splits)


SOURCE = FixedSource([Piece("aä", False), Piece("b", True), Piece("", True)], [Piece("c", False)])
LONG = FixedSource([Piece("x" * 10_000, True)] * 30, [Piece("y", True)])


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_documents_end_with_end_of_text_and_the_counts_are_those_of_the_text(tmp_path):
    data = build_tokens(SOURCE, Bytes(), tmp_path, progress=False)
    assert data.train.tokens.tolist() == [97, 195, 164, 98, 256, 256] and data.val.tokens.tolist() == [99]
    assert (data.train.n_bytes, data.train.n_characters, data.train.n_documents) == (4, 3, 2)
    assert (data.val.n_bytes, data.val.n_characters, data.val.n_documents) == (1, 1, 0)


def test_a_plain_text_has_exactly_its_own_tokens(tmp_path):
    text = "First Citizen:\nBefore we proceed\n" * 100
    (tmp_path / "a.txt").write_text(text)
    data = build_tokens(open_text(tmp_path / "a.txt"), Bytes(), tmp_path, progress=False)
    assert bytes(data.train.tokens.astype(np.uint8)) + bytes(data.val.tokens.astype(np.uint8)) == text.encode()
    assert len(data.train.tokens) == len(text) * 9 // 10


@pytest.mark.parametrize("vocab_size, dtype", [(257, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_two_bytes_if_the_vocabulary_fits(tmp_path, vocab_size, dtype):
    data = build_tokens(SOURCE, Bytes(vocab_size), tmp_path, progress=False)
    assert data.train.tokens.dtype == dtype and isinstance(data.train.tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.train.tokens[0] = 1


def test_tokens_are_built_once_for_a_text_and_a_tokenizer(tmp_path):
    tokenizer = Bytes()
    first = build_tokens(SOURCE, tokenizer, tmp_path, progress=False)
    calls = tokenizer.calls
    again = build_tokens(SOURCE, tokenizer, tmp_path, progress=False)
    assert tokenizer.calls == calls and again.folder == first.folder
    assert again.train.tokens.tolist() == first.train.tokens.tolist() and again.train.n_documents == 2
    other_text = build_tokens(FixedSource([Piece("x", True)], [Piece("y", True)]), Bytes(), tmp_path, progress=False)
    other_tokenizer = build_tokens(SOURCE, Bytes(300), tmp_path, progress=False)
    assert len({first.folder, other_text.folder, other_tokenizer.folder}) == 3


def test_an_empty_split_is_an_empty_array(tmp_path):
    data = build_tokens(FixedSource([Piece("a", True)], []), Bytes(), tmp_path, progress=False)
    assert data.val.tokens.shape == (0,) and data.val.tokens.dtype == np.uint16


def test_an_id_beyond_the_vocabulary_does_not_wrap_around_silently(tmp_path):
    with pytest.raises(ValueError, match="id 195, but its vocabulary has 150"):
        build_tokens(SOURCE, Bytes(150), tmp_path, progress=False)
    assert _names(tmp_path / "tokens") == []


@pytest.mark.parametrize("damage", ["a bit", "a count", "shorter", "missing", "no counts", "other counts"])
def test_a_damaged_folder_is_built_again(tmp_path, damage, capsys):
    folder = build_tokens(SOURCE, Bytes(), tmp_path, progress=False).folder
    (folder / "notes.txt").write_text("mine")
    if damage == "shorter":
        os.truncate(folder / "train.bin", 4)
    elif damage == "missing":
        (folder / "val.bin").unlink()
    elif damage == "a bit":
        (folder / "train.bin").write_bytes(b"\x60" + (folder / "train.bin").read_bytes()[1:])
    elif damage == "a count":
        counts = (folder / "counts.json").read_text()
        (folder / "counts.json").write_text(counts.replace('"bytes": 4', '"bytes": 5'))
    else:
        (folder / "counts.json").write_text('{"splits": 1}' if damage == "other counts" else "")
    data = build_tokens(SOURCE, Bytes(), tmp_path, progress=False)
    assert data.train.tokens.tolist() == [97, 195, 164, 98, 256, 256] and data.train.n_bytes == 4
    assert capsys.readouterr().err.count("is damaged; building it again") == 1
    assert (folder / "notes.txt").read_text() == "mine"
    assert _names(tmp_path / "tokens") == [folder.name]


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\noops\n')
    with pytest.raises(UserError, match="line 4"):
        build_tokens(open_text(tmp_path / "a.jsonl"), Bytes(), tmp_path, progress=False)
    assert _names(tmp_path / "tokens") == []


def test_a_killed_build_leaves_nothing_that_looks_complete_and_the_next_one_builds(tmp_path):
    code = """
import os, signal, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from test_tokens import LONG, Bytes, build_tokens

class Dying(Bytes):
    def encode_array(self, text):
        if self.calls == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_array(text)

build_tokens(LONG, Dying(), sys.argv[2], progress=False)
"""
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, f"{here}{os.pathsep}{here.parent / 'helpers'}", str(tmp_path)]
    assert subprocess.run(command, timeout=300).returncode == -signal.SIGKILL
    left = _names(tmp_path / "tokens")
    assert len(left) == 1 and ".tmp-" in left[0], "the kill came too early or too late"
    data = build_tokens(LONG, Bytes(), tmp_path, progress=False)
    assert len(data.train.tokens) == 300_030 and _names(tmp_path / "tokens") == [data.folder.name]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="could not write .*given-by-a-test-here.*the file grew"), small_disk():
        build_tokens(LONG, Bytes(), tmp_path, progress=False)
    assert _names(tmp_path / "tokens") == []
    assert len(build_tokens(LONG, Bytes(), tmp_path, progress=False).train.tokens) == 300_030


def test_concurrent_processes_build_once(tmp_path):
    """Four processes, like the ranks of one run: one builds, the others wait and map its files."""
    tokenizers = [Bytes() for _ in range(4)]
    source = FixedSource([Piece("x" * 1000, True)] * 200, [Piece("y", True)])
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda each: build_tokens(source, each, tmp_path, progress=False), tokenizers))
    assert sorted(tokenizer.calls for tokenizer in tokenizers) == [0, 0, 0, 201]
    assert {len(data.train.tokens) for data in results} == {200_200}


def test_the_progress_bar_reaches_the_size_of_the_source(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (tmp_path / "a.txt").write_text("0123456789" * 100)
    build_tokens(open_text(tmp_path / "a.txt"), Bytes(), tmp_path, progress=True)
    assert "tokenizing a.txt: 100%" in capsys.readouterr().err
