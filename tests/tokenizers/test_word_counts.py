"""Word counts are the same for any number of processes, in texts of any length, with either of the two patterns."""

import itertools
import random
from collections import Counter

import pytest
from tokenizer_helpers import PIECES, english, fuzzed_text

from llmasos.errors import UserError
from llmasos.tokenizers import word_counts
from llmasos.tokenizers.bpe_trainer import learn_merges
from llmasos.tokenizers.word_counts import ASCII_SPLIT, SPLIT, count_words, divided

ASCII = [chr(code) for code in range(128)]


@pytest.fixture
def documents(monkeypatch):
    """Texts that fill several batches each, so that they are divided."""
    monkeypatch.setattr(word_counts, "BATCH", 300)
    monkeypatch.setattr(word_counts, "ALONE", 1)
    return [english(1000), "", *PIECES, *(fuzzed_text(seed, 400) for seed in range(20)), "x" * 1000, " " * 1000]


def counted(documents):
    """The word counts by definition."""
    return Counter(word for document in documents for word in SPLIT.findall(document))


def test_both_patterns_find_the_same_words_in_ascii():
    texts = ["".join(pair) for pair in itertools.product(ASCII, repeat=2)]
    texts += ["".join(letters) for letters in itertools.product("a1.' \n\x1c", "s_t \t", "la3' ", " \x1f\ne", "re a")]
    chance = random.Random(0)
    texts += ["".join(chance.choices(ASCII, k=60)) for _ in range(500)]
    for text in texts:
        assert ASCII_SPLIT.findall(text) == SPLIT.findall(text), text


def test_a_long_document_is_divided_between_two_words(documents):
    parts = list(divided(documents))
    assert len(parts) > 30 + len(documents) and "".join(parts) == "".join(documents)
    assert counted(parts) == counted(documents)


def test_any_number_of_processes_counts_the_same(documents):
    expected = counted(documents)
    alone, together = count_words(documents, processes=1), count_words(iter(documents), processes=2)
    assert alone == together == expected
    assert learn_merges(alone, 300) == learn_merges(together, 300)  # in another order


def test_a_process_that_dies_is_reported_in_one_sentence(documents, monkeypatch):
    monkeypatch.setattr(word_counts, "WORKER", "import os; os._exit(3)")
    with pytest.raises(UserError, match="has ended too early"):
        count_words(documents, processes=2)
