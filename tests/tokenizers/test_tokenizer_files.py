"""Saved tokenizers: identity after loading, damaged files, GPT-2's own files; OpenAI's encodings without network."""

import json
import os
import shutil
from pathlib import Path

import pytest
import tiktoken
from tokenizer_helpers import EVERY_KIND, english, fuzzed_text, make, needs_gpt2_files

from llmasos.errors import UserError
from llmasos.tokenizers import END_OF_TEXT, BPETokenizer, WordPieceTokenizer, load_tokenizer, openai, train_tokenizer
from llmasos.tokenizers.tokenizer import CLS, MASK, PAD, SEP


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_saved_tokenizer_is_the_same_after_loading(kind, tmp_path):
    tokenizer = make(kind)
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = load_tokenizer(str(tmp_path / "new" / "folder"))
    assert type(loaded) is type(tokenizer) and loaded.kind == kind
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.special_tokens == tokenizer.special_tokens and loaded.vocab_size == tokenizer.vocab_size
    for seed in range(20):
        text = fuzzed_text(seed) + END_OF_TEXT
        assert loaded.encode(text, allow_special=True) == tokenizer.encode(text, allow_special=True)


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_own_special_tokens_and_their_order_survive_saving(kind, tmp_path):
    names = ["<|user|>", END_OF_TEXT, "<|é😀|>"]
    tokenizer = train_tokenizer(kind, [english()], 400, names)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert list(loaded.special_tokens)[:3] == names and loaded.special_tokens == tokenizer.special_tokens


def test_saved_files_are_readable_text(tmp_path):
    BPETokenizer.train(["the cat the hat é"], 259).save(tmp_path)
    assert (tmp_path / "merges.txt").read_text().splitlines() == ["#version: 0.2", "a t", "h e"]
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    assert vocabulary["at"] == 256 and vocabulary["Ġ"] == 220 and vocabulary[END_OF_TEXT] == 258
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["kind"] == "bpe"
    train_tokenizer("char", ["é 日\n"]).save(tmp_path / "char")
    assert '"日": 3' in (tmp_path / "char" / "vocab.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["char", "byte", "bpe", "wordpiece"])
def test_any_damage_to_a_file_is_found(kind, tmp_path):
    """Every file is truncated, emptied, removed, and has single bits flipped: a UserError, or the same ids."""
    tokenizer = make(kind, lowercase=kind == "wordpiece")  # as a Hugging Face BERT is that does not say
    tokenizer.save(tmp_path / "good")
    n_found = n_tried = 0
    for name in sorted(os.listdir(tmp_path / "good")):
        good = (tmp_path / "good" / name).read_bytes()
        positions = range(0, len(good), max(1, len(good) // 12))
        flipped = [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in positions]
        for bad in [None, b"", b"[]", b"{}", b"null", b'{"kind": []}', b"\xff\xfe", good[: len(good) // 2], *flipped]:
            folder = tmp_path / "bad"
            shutil.copytree(tmp_path / "good", folder, dirs_exist_ok=True)
            (folder / name).unlink() if bad is None else (folder / name).write_bytes(bad)
            n_tried += 1
            try:
                loaded = load_tokenizer(folder)
            except UserError as error:
                n_found += 1
                assert "\n" not in str(error) and str(folder) in str(error)
            else:  # a changed blank, the version line, or a field only for transformers
                assert loaded.fingerprint() == tokenizer.fingerprint()
    assert n_found > 0.6 * n_tried


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_line_feed_ends_a_line_of_a_vocabulary(tmp_path, end):
    tokens = [PAD, "[UNK]", CLS, SEP, MASK, "a\rb", "c\x85d", "e\u2028f", "g\x0ch", "cat"]
    (tmp_path / "vocab.txt").write_bytes(end.join([*tokens, ""]).encode())
    tokenizer = WordPieceTokenizer.load(tmp_path)
    assert tokenizer.encode("cat") == [9] and tokenizer.vocab_size == 10


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"there is no tokenizer in {folder}"):
            load_tokenizer(folder)


def test_an_unknown_type_is_an_error_that_lists_the_known_ones(tmp_path):
    config = {"kind": "unigram", "special_tokens": {END_OF_TEXT: 0}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="'unigram' that is not known: expected char, byte, bpe"):
        load_tokenizer(tmp_path)


def test_a_changed_vocabulary_is_accepted_when_its_fingerprint_is_deleted(tmp_path):
    train_tokenizer("char", ["abc"]).save(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "d": 2}')
    with pytest.raises(UserError, match="do not have the fingerprint"):
        load_tokenizer(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del config["fingerprint"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).encode("abd") == [0, 1, 2]


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_a_vocabulary_with_ids_out_of_order_is_refused_even_without_a_fingerprint(kind, tmp_path):
    make(kind).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"kind": kind, "special_tokens": {END_OF_TEXT: 9}}))
    vocabulary = json.loads((tmp_path / "vocab.json").read_bytes())
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(UserError, match="vocab.json (is damaged|does not belong to)"):
        load_tokenizer(tmp_path)


def test_impossible_merges_are_errors():
    with pytest.raises(UserError, match="256 \\+ 65 uses an id that no merge before it made"):
        BPETokenizer([(256, 65)])
    with pytest.raises(UserError, match="two merges make the same token"):
        BPETokenizer([(0, 0), (0, 256), (256, 0)])


@needs_gpt2_files
def test_gpt2_has_the_ids_of_tiktoken():
    tokenizer = train_tokenizer("gpt2", [])
    theirs = tiktoken.get_encoding("gpt2")
    assert tokenizer.vocab_size == 50257 and tokenizer.end_of_text == 50256
    assert tokenizer.encode("Hello world") == [15496, 995]
    for seed in range(100):
        text = fuzzed_text(seed) + END_OF_TEXT
        assert tokenizer.encode(text) == theirs.encode(text, disallowed_special=())
        assert tokenizer.encode(text, allow_special=True) == theirs.encode(text, allowed_special="all")
    assert all(tokenizer.token_bytes(id) == theirs.decode_single_token_bytes(id) for id in range(50257))


@needs_gpt2_files
def test_a_hugging_face_gpt2_folder_opens_as_bpe_with_gpt2s_ids(tmp_path):
    cached = [openai.cache_folder() / name for name in cached_names("gpt2")]
    shutil.copy(cached[0], tmp_path / "merges.txt")
    shutil.copy(cached[1], tmp_path / "vocab.json")
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1024}')  # as in GPT-2's own file
    tokenizer = load_tokenizer(tmp_path)
    theirs = tiktoken.get_encoding("gpt2")
    assert tokenizer.kind == "bpe" and tokenizer.special_tokens == {END_OF_TEXT: 50256}
    for seed in range(50):
        assert tokenizer.encode(fuzzed_text(seed)) == theirs.encode_ordinary(fuzzed_text(seed))


def cached_names(kind: str) -> list[str]:
    """Return the names of an OpenAI encoding's files in tiktoken's cache, in the order of `OPENAI_FILES`."""
    return openai.missing_files(kind, Path("no such folder"))


@pytest.mark.parametrize("kind", ["gpt2", "cl100k_base"])
def test_an_openai_encoding_without_files_and_network_says_where_it_looked_and_what_to_do(kind, tmp_path, monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(openai.socket, "create_connection", unreachable)
    with pytest.raises(UserError, match=f"the {kind} encoding is not in {tmp_path} and .* cannot be reached") as error:
        train_tokenizer(kind, [])
    assert all(name in str(error.value) for name in [*cached_names(kind), "TIKTOKEN_CACHE_DIR"])
    for name in cached_names(kind):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be reached"):  # tiktoken would delete the files and hang on a download
        train_tokenizer(kind, [])


def test_a_network_that_never_answers_times_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(openai, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(
        openai.socket, "create_connection", lambda *arguments, **options: openai.threading.Event().wait()
    )
    with pytest.raises(UserError, match="cannot be reached"):
        train_tokenizer("cl100k_base", [])
