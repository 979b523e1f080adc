"""Byte-pair encoding: trainer and encoder against their definitions, the Rust trainer, tiktoken and transformers."""

import gc
import json
import os
import random
import warnings
from pathlib import Path

import pytest
import regex
import tiktoken
from tokenizer_helpers import PIECES, english, fuzzed_text, make
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers, trainers
from transformers import AutoTokenizer, GPT2TokenizerFast

from llmasos.tokenizers import END_OF_TEXT, BPETokenizer
from llmasos.tokenizers.bpe_trainer import learn_merges, learn_merges_naive, merge_pair
from llmasos.tokenizers.bytes_to_unicode import BYTES_BY_ID, bytes_to_unicode, from_visible, to_visible
from llmasos.tokenizers.tiktoken_backed import TiktokenTokenizer
from llmasos.tokenizers.word_counts import SPLIT, count_words

SHAKESPEARE = Path(os.environ.get("LLMASOS_DATA", "")) / "shakespeare" / "input.txt"


def rust_tokenizer(documents, vocab_size, min_frequency=2):
    """Train the `tokenizers` package's BPE on the same words. Its ids are ours + 1, as its special token is id 0."""
    tokenizer = RustTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def written_merges(tokenizer: BPETokenizer) -> list[list[str]]:
    return [[to_visible(tokenizer.token_bytes(id)) for id in pair] for pair in tokenizer.merges]


def repetitive_documents(seed: int) -> list[str]:
    """Return texts over two or three letters, where pairs overlap ("aaaa") and frequencies often tie."""
    chance = random.Random(seed)
    letters = chance.choice(["ab", "aab", "abc", "é日"])
    return ["".join(chance.choices(letters + " ", k=chance.randrange(1, 40))) for _ in range(chance.randrange(1, 8))]


@pytest.mark.parametrize("min_frequency", [1, 2, 3])
def test_the_fast_trainer_learns_what_the_definition_learns(min_frequency):
    texts = [[english(40)], [fuzzed_text(seed, 20) for seed in range(10)]]
    for documents in texts + [repetitive_documents(seed) for seed in range(150)]:
        counts = count_words(documents)
        expected = learn_merges_naive(counts, 80, min_frequency)
        assert learn_merges(counts, 80, min_frequency) == expected
        assert learn_merges(counts, 5, min_frequency) == expected[:5]


@pytest.mark.parametrize("min_frequency", [1, 2, 5])
def test_the_trainer_learns_what_the_rust_trainer_learns(min_frequency):
    texts = [[english(1000)], [fuzzed_text(seed) for seed in range(30)]]
    for documents in texts + [repetitive_documents(seed) for seed in range(40)]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = BPETokenizer.train(documents, 900, min_frequency=min_frequency)
        theirs = json.loads(rust_tokenizer(documents, 900, min_frequency).to_str())["model"]["merges"]
        assert written_merges(ours) == theirs


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason="LLMASOS_DATA names no folder with shakespeare/input.txt")
def test_the_trainer_learns_all_8192_tokens_of_shakespeare_as_the_rust_trainer_does():
    text = SHAKESPEARE.read_text(encoding="utf-8")
    ours, theirs = BPETokenizer.train([text], 8192), rust_tokenizer([text], 8192)
    assert written_merges(ours) == json.loads(theirs.to_str())["model"]["merges"]
    assert ours.vocab_size == 8192
    assert ours.encode(text[:100_000]) == [id - 1 for id in theirs.encode(text[:100_000]).ids]


def test_the_order_of_documents_does_not_change_the_merges():
    documents = [english(50, seed) for seed in range(5)] + PIECES
    shuffled = random.Random(0).sample(documents, len(documents))
    assert BPETokenizer.train(documents, 400).merges == BPETokenizer.train(shuffled, 400).merges


def test_ties_go_to_the_smaller_pair_of_ids():
    tokenizer = BPETokenizer.train(["zb zb ya ya zb ya"], 258)  # "ya" and "zb" three times, " y" and " z" twice
    assert written_merges(tokenizer) == [["y", "a"]]


def test_overlapping_pairs_are_merged_from_the_left():
    assert merge_pair([7, 7, 7, 8], (7, 7), 256) == [256, 7, 8]
    assert merge_pair([7, 8, 7, 8], (7, 8), 256) == [256, 256]
    tokenizer = BPETokenizer.train(["aaa aaa"], 258)
    assert [tokenizer.token_bytes(id) for id in tokenizer.encode("aaaaa")] == [b"aa", b"aa", b"a"]


def test_a_text_too_small_for_the_vocabulary_stops_early_and_says_so_in_one_line(capsys):
    tokenizer = BPETokenizer.train(["ab ab"], 5000)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("the text is too small for a vocabulary of 5000: ") and line.endswith("stopped at 258.")
    assert tokenizer.vocab_size == 258 and tokenizer.encode("ab") == [256]


def test_the_smallest_vocabulary_is_the_bytes():
    tokenizer = BPETokenizer.train(["hello hello"], 257)
    assert tokenizer.merges == [] and tokenizer.decode(tokenizer.encode("hé")) == "hé"


def test_encode_gives_the_ids_of_encode_naive():
    tokenizer = make("bpe")
    for text in [english(seed=5), *PIECES, *(fuzzed_text(seed) for seed in range(100))]:
        assert tokenizer.encode(text) == tokenizer.encode_naive(text)
    for seed in range(100):
        tokenizer = BPETokenizer(learn_merges(count_words(repetitive_documents(seed)), 40, 1))
        text = " ".join(repetitive_documents(seed + 1000) + repetitive_documents(seed))
        assert tokenizer.encode(text) == tokenizer.encode_naive(text)


def test_the_encoder_gives_the_ids_of_the_rust_encoder():
    documents = [english(1000), *PIECES]
    ours, theirs = BPETokenizer.train(documents, 700), rust_tokenizer(documents, 700)
    for text in [english(seed=9), *(fuzzed_text(seed) for seed in range(100))]:
        assert ours.encode(text) == [id - 1 for id in theirs.encode(text).ids]


def test_the_split_pattern_cuts_as_the_one_published_with_gpt2():
    published = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
    for seed in range(300):
        assert SPLIT.findall(fuzzed_text(seed)) == published.findall(fuzzed_text(seed))


def test_transformers_opens_the_saved_folder_with_the_same_ids(tmp_path):
    tokenizer = BPETokenizer.train([english(), *PIECES], 500, [END_OF_TEXT, "<|user|>"])
    tokenizer.save(tmp_path)
    for opened in (GPT2TokenizerFast.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        for seed in range(60):
            text = fuzzed_text(seed)
            assert opened.encode(text) == tokenizer.encode(text)
            assert opened.decode(tokenizer.encode(text)) == text
        text = f"Hello{END_OF_TEXT}<|user|> the cat"
        assert opened.encode(text) == tokenizer.encode(text, allow_special=True)
        assert len(opened) == tokenizer.vocab_size and opened.eos_token_id == tokenizer.end_of_text


def test_transformers_begins_a_text_like_a_tokenizer_that_does(tmp_path):
    tokenizer = BPETokenizer.train(PIECES, 300)
    tokenizer.begin_of_text = tokenizer.end_of_text
    tokenizer.save(tmp_path)
    for opened in (GPT2TokenizerFast.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert opened.encode("the cat") == tokenizer.encode_prompt("the cat") != tokenizer.encode("the cat")


def test_every_byte_has_its_own_visible_character():
    alphabet = bytes_to_unicode()
    assert sorted(alphabet) == list(range(256)) and len(set(alphabet.values())) == 256
    assert all(character.isprintable() and not character.isspace() for character in alphabet.values())
    assert list(alphabet) == BYTES_BY_ID and BYTES_BY_ID[:3] == [33, 34, 35]
    assert set(alphabet.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert to_visible(" thé\n".encode()) == "ĠthÃ©Ċ" and from_visible("ĠthÃ©Ċ") == " thé\n".encode()


WHITE_SPACE = [" ", "\n", "\r", "\t", "\u3000", "\r\n", "  \n", "\n  "]


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k_base"])
def test_splitting_long_runs_of_spaces_does_not_change_the_ids(pattern, monkeypatch):
    """With LONG_RUN at 4, almost every text is split; each must have the ids that tiktoken gives to the whole text."""
    monkeypatch.setattr("llmasos.tokenizers.tiktoken_backed.LONG_RUN", 4)
    monkeypatch.setattr("llmasos.tokenizers.tiktoken_backed._LONG_RUNS", regex.compile(r"(?<!\s)\s{4,}+(?=\S)"))
    expressions = {  # the second is cl100k_base's; blanks of every length are tokens, so that each cut shows in the ids
        "gpt2": SPLIT.pattern,
        "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"
        r"|\s*[\r\n]|\s+(?!\S)|\s",
    }
    ranks = {bytes([byte]): byte for byte in range(256)}
    for blank in (b" ", b"\n", b"\t", b"\r", b" \n", b"\n ", b"!\n", b".\n"):
        for length in range(1, 12):
            ranks.setdefault(blank * length, len(ranks))
    for left in (b" ", b"\n", b"\t", b"\r"):
        for right in (b" ", b"\n", b"\t", b"\r", b"a", b"!"):
            ranks.setdefault(left + right, len(ranks))
    encoding = tiktoken.Encoding(pattern, pat_str=expressions[pattern], mergeable_ranks=ranks, special_tokens={})

    class Plain(TiktokenTokenizer):
        newlines_end_words = pattern == "cl100k_base"

    tokenizer = Plain(encoding, list(ranks), {END_OF_TEXT: len(ranks)})
    chance = random.Random(0)
    n_cut = 0
    for _ in range(3000):
        text = "".join(
            chance.choice(["a", "b!", "!", "7", "."]) + "".join(chance.choices(WHITE_SPACE, k=chance.randrange(9)))
            for _ in range(4)
        ) + chance.choice(["", "x", "!"])  # fmt: skip
        parts = tokenizer._safe_parts(text)
        n_cut += len(parts) > 1
        assert "".join(parts) == text
        assert tokenizer.encode(text) == encoding.encode_ordinary(text), repr(text)
    assert n_cut > 1000


@pytest.mark.parametrize("unit", ["a", "ab", " ", "\n", "\t ", "!", "1", "'", "é", "😀"])
def test_a_long_text_without_a_word_boundary_is_encoded(unit):
    """Quadratic merging would take minutes here, and on a megabyte of blanks the regular expression engine gives up."""
    tokenizer = make("bpe")
    text = unit * ((1_000_000 if unit.isspace() else 100_000) // len(unit.encode()))
    for whole in (text, "x" + text + " x"):
        assert tokenizer.decode(tokenizer.encode_array(whole)) == whole
    if text.isspace():  # the last blank belongs to the word
        assert tokenizer.encode(text + "x") == tokenizer.encode(text[:-1]) + tokenizer.encode(text[-1] + "x")


def test_training_leaves_the_garbage_collector_as_it_was():
    for enabled in (False, True):
        (gc.enable if enabled else gc.disable)()
        learn_merges({"aba": 3}, 2)
        assert gc.isenabled() == enabled
