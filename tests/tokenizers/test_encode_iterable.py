"""Encoding many texts: the ids of `encode`, in order, lazily, with any number of threads or processes."""

import itertools
import pickle

import pytest
from tokenizer_helpers import EVERY_KIND, english, fuzzed_text, make

from llmasos.errors import UserError
from llmasos.tokenizers import END_OF_TEXT, encode_iterable
from llmasos.tokenizers.encode_iterable import ALONE

TEXTS = ["", "Hello", f"a{END_OF_TEXT}b [SEP]", "", english()[:300], *map(fuzzed_text, range(20)), ""]


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("workers", [None, 1, 3])
def test_the_ids_are_those_of_encode_in_the_order_of_the_texts(kind, workers, monkeypatch):
    tokenizer = make(kind)
    monkeypatch.setattr(encode_iterable, "BATCH", 40)
    monkeypatch.setattr(encode_iterable, "ALONE", 10**6)  # in this process
    for allow_special in (False, True):
        arrays = list(tokenizer.encode_iterable(iter(TEXTS), allow_special, workers))
        assert all(array.dtype == "uint32" and array.ndim == 1 for array in arrays)
        assert [array.tolist() for array in arrays] == [tokenizer.encode(text, allow_special) for text in TEXTS]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_pickled_tokenizer_gives_the_same_ids(kind):
    tokenizer = make(kind)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint() == tokenizer.fingerprint()
    for text in TEXTS:
        ids = again.encode(text)
        assert ids == tokenizer.encode(text) and again.decode(ids) == tokenizer.decode(ids)


def test_a_tokenizer_in_python_encodes_in_other_processes_if_there_is_much(monkeypatch):
    tokenizer, batches = make("wordpiece"), []
    original = encode_iterable.map_in_processes
    monkeypatch.setattr(encode_iterable, "BATCH", 100)

    def counted(function, items, n):
        return original(function, (batches.append(item) or item for item in items), n)

    monkeypatch.setattr(encode_iterable, "map_in_processes", counted)
    texts = [f"{english()[i : i + 120]} {i}" for i in range(3 * ALONE)]
    arrays = tokenizer.encode_iterable(texts, workers=2)
    assert [array.tolist() for array in arrays] == list(map(tokenizer.encode, texts))
    assert len(batches) == 2 * ALONE


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_an_endless_iterable_is_read_only_as_far_as_needed(kind, monkeypatch):
    monkeypatch.setattr(encode_iterable, "ALONE", 10**6)
    monkeypatch.setattr(encode_iterable, "BATCH", BATCH := 3_000)
    tokenizer, read = make(kind), itertools.count()
    for text in ("the cat sat. " * 100, ""):
        before = next(read)
        arrays = tokenizer.encode_iterable((next(read) >= 0 and text for _ in itertools.count()), workers=2)
        assert [next(arrays).tolist() for _ in range(5)] == [tokenizer.encode(text)] * 5
        assert next(read) - before < 6 * (BATCH / (len(text) + 1) + 1)


def test_an_open_file_gives_its_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    with open(tmp_path / "a.txt") as file:
        arrays = list(make("bpe").encode_iterable(file))
    assert [make("bpe").decode(array) for array in arrays] == ["one\n", "\n", "two\n"]


@pytest.mark.parametrize("texts, workers, words", [
    ("a text", None, "texts is one text ('a text'...) and not several"), (["a"], 0, "workers is 0"),
])  # fmt: skip
def test_what_cannot_be_encoded_is_said_at_once(texts, workers, words):
    with pytest.raises(UserError) as error:
        make("byte").encode_iterable(texts, workers=workers)
    assert words in str(error.value)
