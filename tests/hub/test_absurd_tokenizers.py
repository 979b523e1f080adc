"""Absurd tokenizers: impossible ids, traps for regular expressions, wrong types; each gives one sentence at once."""

import json

import pytest

from llmasos.errors import UserError
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.hub.tokenizers.pattern_limits import check_pattern
from llmasos.hub.tokenizers.published_bpe import DIGITS_PATTERN, QWEN_PATTERN
from llmasos.tokenizers import BPETokenizer
from llmasos.tokenizers.bytes_to_unicode import BYTE_TO_CHARACTER
from llmasos.tokenizers.word_counts import SPLIT_PATTERN

O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])  # fmt: skip
REAL_PATTERNS = {
    "GPT-2": SPLIT_PATTERN,
    "digits": DIGITS_PATTERN,
    "Qwen": QWEN_PATTERN,
    "GPT-4": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s",
    "Llama 3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "o200k": O200K,
    "DeepSeek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"
    r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "BLOOM": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "Han apart": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}|\s+(?!\S)|\s+",
}
TRAPS = [
    "(a+)+b", "(?:a|a)*b(?!c)", "(a*)*", "(?!x)(?:a?){50}a{50}", "((a)+)+", "(?:(?:a|b)c)+x", "(a+){2,}", "a*a*a*a*b",
    "a?a?a?a?a?a?a?aaaaaaa", "a{1000}{1000}{1000}", "a{1,100000}", "a{99999999999}", r"(.)\1", r"(?<x>a)\k<x>",
    "(?(1)a|b)", "(?>a+)+(?=b)", r"(\p{L}+\s?)+$", "(?i:(a+)|b)+", "[a-z[b]](c+)*d", "+", "a|*", "x" * 100_000,
    None, 7, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("name", REAL_PATTERNS)
def test_patterns_of_real_tokenizers_are_allowed(name):
    check_pattern(REAL_PATTERNS[name])


@pytest.mark.parametrize("pattern", TRAPS, ids=lambda pattern: str(pattern)[:20])
def test_a_pattern_that_could_take_for_ever_is_refused(pattern):
    with pytest.raises(UserError, match="^its pattern .*, which can take forever; choose another model.$"):
        check_pattern(pattern)


def write(folder, pattern=SPLIT_PATTERN, vocabulary=None, **changes):
    """A byte-level tokenizer.json without merges."""
    ids = {character: byte for byte, character in enumerate(BYTE_TO_CHARACTER.values())}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    in_bytes = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    content = {
        "added_tokens": [{"id": 256, "content": "<|endoftext|>"}],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, in_bytes]},
        "model": {"type": "BPE", "vocab": ids | (vocabulary or {}), "merges": []},
        **changes,
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def test_a_trap_in_a_file_is_refused_when_the_file_is_read(tmp_path):
    assert load_any_tokenizer(write(tmp_path)).encode("a b") == load_any_tokenizer(write(tmp_path)).encode("a b")
    with pytest.raises(UserError, match=r"tokenizer.json: its pattern '\(a\+\)\+b' repeats a repetition"):
        load_any_tokenizer(write(tmp_path, "(a+)+b"))


@pytest.mark.parametrize("id", [10**9, 10**12, 10**400, -1, 1.5, "5", None, True, [], float("nan")], ids=str)
@pytest.mark.parametrize("place", ["vocabulary", "added_tokens"])
def test_an_impossible_id_is_named_before_a_table_is_made_for_it(place, id, tmp_path):
    if place == "vocabulary":
        write(tmp_path, vocabulary={"odd": id})
    else:
        write(tmp_path, added_tokens=[{"id": 256, "content": "<|endoftext|>"}, {"id": id, "content": "odd"}])
    with pytest.raises(UserError, match=r"tokenizer.json: the id of the token b'odd' is .*; it must be a whole number"):
        load_any_tokenizer(tmp_path)


def test_a_gap_in_the_ids_is_no_harm(tmp_path):
    tokenizer = load_any_tokenizer(write(tmp_path, vocabulary={"odd": 3000}))
    assert tokenizer.vocab_size == 3001 and tokenizer.decode([3000]) == "odd" and tokenizer.decode([2000]) == ""


def test_merges_that_double_a_token_forty_times_are_refused():
    doubling = [(71, 71)] + [(256 + i, 256 + i) for i in range(39)]
    with pytest.raises(UserError, match="merge 271 \\+ 271 makes a token of more than 65,536 bytes"):
        BPETokenizer(doubling)


def test_a_text_that_the_engine_gives_up_on_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("llmasos.hub.tokenizers.published_bpe.check_pattern", lambda pattern: None)
    tokenizer = load_any_tokenizer(write(tmp_path, "(?:a|a)*b(?!c)|."))
    with pytest.raises(UserError, match="the tokenizer's pattern cannot split this text into words"):
        tokenizer.encode("a" * 40 + "c")
