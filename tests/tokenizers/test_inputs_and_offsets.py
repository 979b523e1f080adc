"""Inputs of encoders, offsets, word indices and lower case, for every tokenizer."""

import numpy as np
import pytest
from tokenizer_helpers import EVERY_KIND, LOSSLESS, PIECES, english, fuzzed_text, make

from llmasos.errors import UserError
from llmasos.tokenizers import ByteTokenizer, EncodedInput, load_tokenizer, train_tokenizer
from llmasos.tokenizers.offsets import continues_word, origins
from llmasos.tokenizers.tokenizer import prepare

every_kind = pytest.mark.parametrize("kind", EVERY_KIND)
SURROGATES = "\ud83d\ude00a\ud800\ud800\udc00b\udfff\ud83dΣ"


def test_inputs_of_bert_and_of_other_tokenizers():
    bert = make("wordpiece")
    cls, sep = bert.special_tokens["[CLS]"], bert.special_tokens["[SEP]"]
    assert bert.build_inputs([10, 11]) == EncodedInput([cls, 10, 11, sep], [0, 0, 0, 0], 0, 4)
    assert bert.build_inputs([10, 11], [12]) == EncodedInput([cls, 10, 11, sep, 12, sep], [0, 0, 0, 0, 1, 1], 0, 4)
    assert bert.build_inputs([10], []) == EncodedInput([cls, 10, sep, sep], [0, 0, 0, 1], 0, 3)
    plain = ByteTokenizer()
    assert plain.build_inputs([10, 11]) == EncodedInput([10, 11, 256], [0, 0, 0], 2, 3)
    assert plain.build_inputs([10, 11], [12]) == EncodedInput([10, 11, 256, 12, 256], [0, 0, 0, 1, 1], 4, 3)
    custom = ByteTokenizer(["<|endoftext|>", "[SEP]", "[CLS]", "[PAD]"])
    assert custom.build_inputs([1]).ids == [258, 1, 257] and custom.pad_id == 259 and plain.pad_id == 0 == bert.pad_id


@every_kind
def test_build_inputs_adds_n_special_tokens(kind):
    tokenizer = make(kind)
    for texts in ([[5, 6]], [[5], [6, 7]], [[], []]):
        inputs = tokenizer.build_inputs(*texts)
        assert len(inputs.ids) == len(inputs.segments) == sum(map(len, texts)) + tokenizer.n_special_tokens(len(texts))
        assert tokenizer.special_mask[inputs.ids[inputs.cls_index]]


@every_kind
@pytest.mark.parametrize("lowercase", [False, True])
def test_encodings_have_the_ids_of_encode_and_ordered_offsets_in_the_text(kind, lowercase):
    if kind == "gpt2" and lowercase:
        return
    tokenizer = make(kind, lowercase)
    for text in ["", " ", "İ", SURROGATES, *(fuzzed_text(seed) + "İx" + SURROGATES for seed in range(40))]:
        ids, starts, ends, words = tokenizer.encode_with_offsets(text)
        assert ids == tokenizer.encode(text)
        assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True))
        assert starts == sorted(starts) and ends == sorted(ends)
        assert words == [sum(~tokenizer.continues[ids[1 : i + 1]]) for i in range(len(ids))]


@every_kind
def test_names_of_special_tokens_have_offsets_too(kind):
    tokenizer = make(kind)
    name = next(iter(tokenizer.special_tokens))
    assert tokenizer.encode_with_offsets(name).ids != [tokenizer.special_tokens[name]]  # only if they are allowed
    for text in (name, f"{name}{name}", f"é {name} 😀 b{name}", f"a{name}b", "", "no name"):
        ids, starts, ends, words = tokenizer.encode_with_offsets(text, allow_special=True)
        assert ids == tokenizer.encode(text, allow_special=True)
        named = [text[start:end] for id, start, end in zip(ids, starts, ends, strict=True)
                 if id == tokenizer.special_tokens[name]]  # fmt: skip
        assert named == [name] * text.count(name)
        assert starts == sorted(starts) and words == sorted(words)
        assert words[:1] in ([], [0]) and set(words) == set(range(len(set(words))))


@pytest.mark.parametrize("kind", LOSSLESS)
def test_the_offsets_of_a_lossless_tokenizer_cover_the_text_and_each_character_its_bytes(kind):
    tokenizer = make(kind)
    for text in [english(20), *(fuzzed_text(seed) for seed in range(40))]:
        ids, starts, ends, _ = tokenizer.encode_with_offsets(text)
        assert starts[0] == 0 and ends[-1] == len(text)
        for id, start, end in zip(ids, starts, ends, strict=True):
            covered, token = text[start:end].encode(), tokenizer.token_bytes(id)
            if kind != "char" or not tokenizer.special_mask[id]:
                assert token in covered and len(covered) - len(token) <= 2 * 3  # at most 3 foreign bytes at each end
        for before, after in zip(ends, starts[1:], strict=False):
            assert after in (before, before - 1)  # the next token begins there, or inside the same character


def test_tokens_that_share_a_character_all_cover_it():
    assert ByteTokenizer().encode_with_offsets("a😀b")[1:3] == ([0, 1, 1, 1, 1, 2], [1, 2, 2, 2, 2, 3])
    lower = ByteTokenizer(lowercase=True)
    assert lower.encode_with_offsets("aİB")[:3] == ([97, 105, 0xCC, 0x87, 98], [0, 1, 1, 1, 2], [1, 2, 2, 2, 3])


def test_a_pair_of_surrogates_is_two_characters_of_the_original_text():
    assert make("char").encode_with_offsets("a\ud83d\ude00b")[1:3] == ([0, 1, 3], [1, 3, 4])


def test_origins_has_one_entry_for_each_prepared_character():
    for seed in range(100):
        chance = np.random.default_rng(seed)
        text = "".join(chance.choice([*"aΣİß\ud800\ud83d\udfff\ude00é"], size=12))
        for lowercase in (False, True):
            prepared = prepare(text, lowercase)
            starts, ends = origins(text, lambda part: prepare(part, lowercase))  # noqa: B023
            assert len(starts) == len(ends) == len(prepared)
            for start, end, character in zip(starts, ends, prepared, strict=True):
                assert character in prepare(text[start:end], lowercase).replace("σ", "ςσ")


@pytest.mark.parametrize(
    "token, expected",
    [
        (b"ing", True), (b" the", False), (b"\n", False), (b"", False), (b"7", True), (b"'s", False), (b"_x", False),
        ("é".encode(), True), ("e\u0301".encode()[1:], True), ("日".encode(), True), ("—".encode(), False),
        ("😀".encode(), False), ("😀".encode()[:2], True), ("😀".encode()[2:], True), ("\u00a0a".encode(), False),
    ],
)  # fmt: skip
def test_what_continues_a_word(token, expected):
    assert continues_word(token) is expected


@every_kind
def test_special_tokens_are_marked_and_continue_nothing(kind):
    tokenizer = make(kind)
    special = sorted(tokenizer.special_tokens.values())
    for table in (tokenizer.special_mask, tokenizer.continues):
        assert table.shape == (tokenizer.vocab_size,) and table.dtype == bool
    assert np.flatnonzero(tokenizer.special_mask).tolist() == special
    assert not tokenizer.continues[special].any() and tokenizer.continues.any()
    assert not ByteTokenizer(["<|endoftext|>", "user"]).continues[257], "a special token may begin with a letter"


def test_words_of_gpt2_include_the_space_before_them():
    tokenizer = make("bpe")
    text = "The tokenizer isn't 42?"
    words: dict[int, str] = {}
    for start, end, word in zip(*tokenizer.encode_with_offsets(text)[1:], strict=True):
        words[word] = words.get(word, "") + text[start:end]
    assert list(words.values()) == ["The", " tokenizer", " isn", "'t", " 42", "?"]


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_a_lower_casing_tokenizer_is_lower_case_throughout_and_survives_saving(kind, tmp_path):
    tokenizer = make(kind, lowercase=True)
    known = set("".join(PIECES).lower() + english().lower())
    for seed in range(40):
        text = "".join(c for c in fuzzed_text(seed) + "İΣΑΣ" if kind != "char" or set(c.lower()) <= known)
        assert tokenizer.decode(tokenizer.encode(text)) == text.lower()
        assert tokenizer.encode(text) == tokenizer.encode(text.lower())
    if kind != "byte":
        learned = [tokenizer.token_bytes(id) for id in np.flatnonzero(~tokenizer.special_mask)[256 * (kind == "bpe") :]]
        assert len(learned) > 100 and all(token == token.lower() for token in learned)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.lowercase and loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.encode("THE CAT İ") == tokenizer.encode("the cat İ")


def test_lower_case_that_is_neither_true_nor_false_is_named(tmp_path):
    ByteTokenizer(lowercase=True).save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": "yes"'))
    with pytest.raises(UserError, match="lowercase is 'yes', expected true or false"):
        load_tokenizer(tmp_path)


def test_fingerprints_of_tokenizers_that_keep_capitals_are_those_of_before():
    """Models and token arrays from before the option `lowercase` must still match."""
    assert ByteTokenizer().fingerprint().startswith("b69c8c90d4dc7f26")
    assert train_tokenizer("char", ["abc"]).fingerprint().startswith("0a55d290e4074426")
    assert train_tokenizer("bpe", ["the cat the hat"], 258).fingerprint().startswith("9fa87747a7165d4d")
