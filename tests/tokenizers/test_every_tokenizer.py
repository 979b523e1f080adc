"""Properties of every tokenizer: round trips, safe special tokens, equal results for lists and arrays, fingerprints."""

import re

import numpy as np
import pytest
import torch
from tokenizer_helpers import EVERY_KIND, LOSSLESS, PIECES, english, fuzzed_text, make

from llmasos.errors import UserError
from llmasos.tokenizers import (
    END_OF_TEXT,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    IncrementalDetokenizer,
    WordPieceTokenizer,
    load_tokenizer,
    train_tokenizer,
)
from llmasos.tokenizers.char import UNKNOWN
from llmasos.tokenizers.wordpiece import SPECIAL_TOKENS

every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_any_text_survives_the_round_trip(kind):
    tokenizer = make(kind)
    known = set("".join(PIECES) + english())
    for seed in range(60):
        text = fuzzed_text(seed)
        if kind == "char":  # it knows the characters it was trained on
            text = "".join(character for character in text if character in known)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode() == b"".join(map(tokenizer.token_bytes, ids))
        assert all(0 <= id < tokenizer.vocab_size for id in ids)


@every_kind
def test_encode_array_gives_the_ids_of_encode_as_uint32(kind):
    tokenizer = make(kind)
    for text in ["", " ", "Hello", fuzzed_text(7), f"a{END_OF_TEXT}b", english()]:
        array = tokenizer.encode_array(text)
        assert array.dtype == np.uint32 and array.ndim == 1
        assert array.tolist() == tokenizer.encode(text)


@every_kind
def test_a_special_token_typed_by_a_user_is_plain_text_unless_allowed(kind):
    tokenizer = make(kind)
    text = f"one{END_OF_TEXT}two {END_OF_TEXT}{END_OF_TEXT}"
    plain = tokenizer.encode(text)
    assert not set(plain) & ({tokenizer.end_of_text})
    assert kind in ("char", "wordpiece") or tokenizer.decode(plain) == text

    text = text.replace(END_OF_TEXT, name := "[SEP]" if kind == "wordpiece" else END_OF_TEXT)
    assert tokenizer.special_tokens[name] == tokenizer.end_of_text
    allowed = tokenizer.encode(text, allow_special=True)
    end = [tokenizer.end_of_text]
    assert allowed == tokenizer.encode("one") + end + tokenizer.encode("two ") + end + end
    if kind == "wordpiece":
        assert tokenizer.decode(allowed, skip_special=True) == "one two"
        return
    assert tokenizer.decode(allowed) == text
    assert tokenizer.decode(allowed, skip_special=True) == "onetwo "


@every_kind
def test_only_bpe_gets_special_tokens_later_and_its_own_ids_stay(kind, tmp_path):
    tokenizer = make(kind)
    assert tokenizer.with_special_tokens([next(iter(tokenizer.special_tokens))]).vocab_size == tokenizer.vocab_size
    if kind != "bpe":
        with pytest.raises(UserError, match="cannot get the special token <\\|im_end\\|>; only bpe can"):
            tokenizer.with_special_tokens(["<|im_end|>"])
        return
    longer = tokenizer.with_special_tokens([END_OF_TEXT, "<|im_end|>"])
    assert longer.special_tokens == {**tokenizer.special_tokens, "<|im_end|>": tokenizer.vocab_size}
    assert longer.encode(english()) == tokenizer.encode(english())
    longer.save(tmp_path)
    assert load_tokenizer(tmp_path).fingerprint() == longer.fingerprint() != tokenizer.fingerprint()


@every_kind
def test_the_unknown_id_encodes_unknown_text(kind):
    tokenizer = make(kind)
    assert (tokenizer.unknown_id is None) == (kind not in ("char", "wordpiece"))
    assert tokenizer.unknown_id is None or tokenizer.encode("ꙮ") == [tokenizer.unknown_id]


def test_of_special_names_that_contain_each_other_the_longest_is_found():
    tokenizer = ByteTokenizer([END_OF_TEXT, "<|a|>", "<|a|><|b|>"])
    assert tokenizer.encode("<|a|><|b|><|a|>x", allow_special=True) == [258, 257, ord("x")]


@every_kind
def test_lone_surrogates_become_the_replacement_character_and_pairs_their_character(kind):
    tokenizer = make(kind)
    assert tokenizer.encode("a\ud800 \udfff") == tokenizer.encode("a\ufffd \ufffd")
    assert tokenizer.encode("\ud83d\ude00") == tokenizer.encode("😀") != []
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00", allow_special=True)) == "😀"


def test_the_text_of_a_token_stands_for_itself():
    tokenizer = make("byte")
    assert [tokenizer.token_text(id) for id in tokenizer.encode("aé")] == ["a", "�", "�"]
    assert tokenizer.token_text(tokenizer.end_of_text) == END_OF_TEXT


@every_kind
def test_ids_outside_the_vocabulary_are_errors_that_name_them(kind):
    tokenizer = make(kind)
    for bad in (-1, tokenizer.vocab_size):
        for decode in (tokenizer.decode, tokenizer.decode_bytes, lambda ids: tokenizer.token_bytes(ids[0])):
            with pytest.raises(UserError, match=f"token id {bad} is not in this {kind} vocabulary"):
                decode([bad, 0])


@every_kind
def test_decoding_takes_lists_arrays_and_tensors(kind):
    tokenizer = make(kind)
    ids = tokenizer.encode("Hello the cat")
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(torch.tensor(ids)) == tokenizer.decode(iter(ids))
    assert tokenizer.decode(np.array(ids, dtype=np.uint32)) == "Hello the cat"
    assert tokenizer.decode([]) == ""


@every_kind
def test_incremental_detokenization_has_no_partial_characters_and_equals_decode(kind):
    tokenizer = make(kind)
    chance = np.random.default_rng(0)
    texts = [tokenizer.encode(fuzzed_text(seed)) for seed in range(30)]
    noise = [chance.integers(0, tokenizer.vocab_size, size=50).tolist() for _ in range(60)]  # broken UTF-8 in plenty
    for ids in texts + noise:
        for skip_special in (False, True):
            decoder = IncrementalDetokenizer(tokenizer, skip_special)
            pieces = [decoder.push(id) for id in ids]
            assert "".join([*pieces, decoder.flush()]) == tokenizer.decode(ids, skip_special)


def test_the_detokenizer_buffers_bytes_of_incomplete_characters_and_resets_after_flush():
    decoder = IncrementalDetokenizer(ByteTokenizer())
    assert [decoder.push(byte) for byte in "é😀".encode()] == ["", "é", "", "", "", "😀"]
    assert decoder.push(0xF0) == "" and decoder.flush() == "\ufffd"
    assert decoder.push(ord("x")) == "x" and decoder.flush() == ""


def test_fingerprints_differ_when_anything_that_decides_ids_differs():
    text = [english()]
    tokenizers = [
        ByteTokenizer(),
        ByteTokenizer([END_OF_TEXT, "<|user|>"]),
        ByteTokenizer(["<|user|>", END_OF_TEXT]),
        CharTokenizer("abc"),
        CharTokenizer("abd"),
        CharTokenizer("ab", ["c", END_OF_TEXT]),  # the table of CharTokenizer("abc"), but c is special
        BPETokenizer.train(text, 300),
        BPETokenizer.train(text, 301),
        BPETokenizer.train([english(seed=1)], 300, ["<|bos|>", END_OF_TEXT]),
        BPETokenizer.train(text, 300, [END_OF_TEXT, "<|user|>"]),
        ByteTokenizer(lowercase=True),
        CharTokenizer("abc", lowercase=True),
        train_tokenizer("wordpiece", ["ab"], 9),
        train_tokenizer("wordpiece", ["ab"], 9, lowercase=True),
        WordPieceTokenizer.train(["ab"], 9, lowercase=True, strip_accents=False),
        WordPieceTokenizer([*SPECIAL_TOKENS, "ab", "c"]),
        WordPieceTokenizer([*SPECIAL_TOKENS, "a", "bc"]),  # the same letters, cut elsewhere
    ]
    prints = [tokenizer.fingerprint() for tokenizer in tokenizers]
    assert len(set(prints)) == len(prints)
    assert all(re.fullmatch("[0-9a-f]{64}", print) for print in prints)
    assert BPETokenizer.train(text, 300).fingerprint() == prints[6]


def test_characters_are_numbered_by_code_point_and_unknown_ones_say_so():
    tokenizer = train_tokenizer("char", ["cab", "a!"])
    assert tokenizer.special_tokens == {END_OF_TEXT: 4, UNKNOWN: 5} and tokenizer.vocab_size == 6
    assert tokenizer.encode("!abcé😀") == [0, 1, 2, 3, 5, 5]
    assert tokenizer.decode([1, 5]) == "a<|unknown|>"


def test_a_character_vocabulary_that_is_too_small_keeps_the_most_frequent():
    tokenizer = train_tokenizer("char", ["aaa bb cc d"], vocab_size=5)
    assert tokenizer.characters == " ab"  # a and the space three times; of b and c, twice each, the smaller
    assert tokenizer.vocab_size == 5


def test_byte_ids_are_the_bytes():
    tokenizer = ByteTokenizer([END_OF_TEXT, "<|user|>"])
    assert tokenizer.encode("hé") == [104, 195, 169]
    assert tokenizer.special_tokens == {END_OF_TEXT: 256, "<|user|>": 257} and tokenizer.vocab_size == 258


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("word", ["a"], 300), "no tokenizer 'word': choose one of char, byte, bpe, wordpiece, gpt2, cl100k_base"),
        (("bpe", ["a"], 256), "vocab_size 256 is too small for BPE: .* need at least 257"),
        (("bpe", ["a"], -1), "vocab_size -1 is too small"),
        (("bpe", ["a"]), "needs a vocab_size"),
        (("wordpiece", ["a"]), "a wordpiece tokenizer needs a vocab_size"),
        (("wordpiece", ["ab!"], 9), "4 pieces is too small for WordPiece: the 3 characters of this text, .* are 5"),
        (("wordpiece", [" \x00"], 300), "the text is empty"),
        (("wordpiece", ["a"], 300, ["[SEP]"]), "has its own special tokens"),
        (("gpt2", [], None, [END_OF_TEXT], True), "cannot lower-case: choose bpe"),
        (("bpe", [], 300), "the text is empty"),
        (("bpe", ["", ""], 300), "the text is empty"),
        (("bpe", "one text", 300), "documents is one text"),
        (("char", [""]), "the text is empty"),
        (("char", ["abc"], 2), "vocab_size 2 is too small: 2 special tokens and at least one character need 3"),
        (("byte", [], None, ["<|user|>"]), "must differ from each other and include '<|endoftext|>'"),
        (("byte", [], None, [END_OF_TEXT, END_OF_TEXT]), "must differ from each other"),
        (("bpe", ["a"], 300, [END_OF_TEXT, ""]), "must be a non-empty piece of text"),
        (("bpe", ["a"], 300, [END_OF_TEXT, "!"]), "special token '!' is also an ordinary token"),
        (("gpt2", [], None, [END_OF_TEXT, "<|user|>"]), "has its own special tokens"),
    ],
)
@pytest.mark.filterwarnings("ignore:the text is too small")
def test_impossible_training_has_a_clear_error(arguments, message):
    with pytest.raises(UserError, match=message.replace("|", r"\|")) as error:
        train_tokenizer(*arguments)
    assert "\n" not in str(error.value)
