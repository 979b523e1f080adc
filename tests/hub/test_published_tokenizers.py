"""Tokenizers of published models: equal to the `tokenizers` package and to SentencePiece on all types of text.

The vocabularies are small and made here; the forms (split patterns, order of ids, special tokens, files) are those of
GPT-2, Llama 3, Qwen2 and SmolLM2, and of Marian.
"""

import json
import random
import shutil
import unicodedata

import pytest
import sentencepiece
import tokenizers as rust
from tokenizer_helpers import PIECES, english, fuzzed_text
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import MarianTokenizer, PreTrainedTokenizerFast

from llmasos.errors import UserError
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.hub.tokenizers.published_bpe import QWEN_PATTERN
from llmasos.hub.tokenizers.sentencepiece_file import read_sentencepiece

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
N_FUZZED = 2_000  # by default; the slow test has 10,000


def split(pattern):
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), in_bytes])


def train_rust(words, special, normalizer=None, special_first=False, **model):
    """Train a byte-level BPE with the `tokenizers` package, with special tokens before or after the others."""
    tokenizer = rust.Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer, tokenizer.decoder = words, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special if special_first else [], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([english(), *PIECES], trainer)
    tokenizer.add_special_tokens(special)
    return tokenizer


def gpt2_like():
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return train_rust(words, ["<|endoftext|>"]), {"eos_token": "<|endoftext|>"}


def smollm_like():
    words = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    ])  # fmt: skip
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return train_rust(words, special, special_first=True), {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}


def qwen_like():
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return train_rust(split(QWEN_PATTERN), special, normalizers.NFC()), {"eos_token": "<|im_end|>"}


def llama3_like():
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = train_rust(split(LLAMA3_PATTERN), special, ignore_merges=True)
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]),
    ])  # fmt: skip
    return tokenizer, {
        "eos_token": {
            "__type": "AddedToken",
            "content": "<|end_of_text|>",
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
        }
    }


FORMS = {"gpt2": gpt2_like, "smollm": smollm_like, "qwen": qwen_like, "llama3": llama3_like}


@pytest.fixture(scope="module", params=FORMS)
def pair(request, tmp_path_factory):
    """Ours and theirs, and the folder with the files."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs, config = FORMS[request.param]()
    theirs.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_any_tokenizer(folder), theirs, folder


def long_runs(seed):
    """Texts with runs of blanks, of line ends and of one character."""
    rng = random.Random(seed)
    return "".join(rng.choice([" ", "\n", "\t", "a", "é", "1", "!", "\r\n"]) * rng.randrange(1, 60) for _ in range(6))


def same(ours, theirs, text):
    expected = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text) == expected, repr(text)
    assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=False), repr(text)


def test_ids_and_texts_equal_those_of_the_rust_package(pair):
    ours, theirs, _ = pair
    assert ours.vocab_size == theirs.get_vocab_size()
    for text in ["", "hello", english(20)]:
        same(ours, theirs, text)
    for seed in range(N_FUZZED):
        same(ours, theirs, fuzzed_text(seed, 1 + seed % 20))
        if seed % 10 == 0:
            same(ours, theirs, long_runs(seed))


@pytest.mark.slow
def test_three_thousand_more_texts(pair):
    """Texts that the two normalize differently are skipped: Python has marks that are newer than Rust's tables."""
    ours, theirs, _ = pair
    n_left_out = 0
    for seed in range(N_FUZZED, N_FUZZED + 3_000):
        text = fuzzed_text(seed, 1 + seed % 40)
        if theirs.normalizer and theirs.normalizer.normalize_str(text) != unicodedata.normalize("NFC", text):
            n_left_out += 1
        else:
            same(ours, theirs, text)
        same(ours, theirs, long_runs(seed))
    assert n_left_out < 30


def test_special_tokens_need_allow_special(pair):
    ours, theirs, _ = pair
    for name, id in ours.special_tokens.items():
        expected = theirs.encode(f"a {name} b", add_special_tokens=False).ids
        assert ours.encode(f"a {name} b", allow_special=True) == expected
        assert id not in ours.encode(f"a {name} b")
        assert ours.decode(ours.encode(f"a {name} b")) == f"a {name} b"
        assert ours.decode([id], skip_special=True) == ""


def test_offsets_are_those_of_the_rust_package(pair):
    ours, theirs, _ = pair
    for seed in range(200):
        text = fuzzed_text(seed, 8)
        spans, expected = ours.encode_with_offsets(text), theirs.encode(text, add_special_tokens=False)
        assert spans.ids == ours.encode(text) == expected.ids
        assert list(zip(spans.starts, spans.ends, strict=True)) == expected.offsets


def test_a_saved_tokenizer_is_unchanged_for_us_and_for_transformers(pair, tmp_path):
    ours, theirs, _ = pair
    ours.save(tmp_path)
    again = load_any_tokenizer(tmp_path)
    assert again.fingerprint() == ours.fingerprint() and again.end_of_text == ours.end_of_text
    opened = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for seed in range(50):
        text = fuzzed_text(seed)
        assert (
            again.encode(text)
            == opened.encode(text, add_special_tokens=False)
            == theirs.encode(text, add_special_tokens=False).ids
        )


def test_the_first_and_the_last_special_token(tmp_path):
    for name, end, begin in (("llama3", "<|end_of_text|>", "<|begin_of_text|>"), ("smollm", "<|im_end|>", None)):
        theirs, config = FORMS[name]()
        theirs.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        ours = load_any_tokenizer(tmp_path)
        assert ours.end_of_text == theirs.token_to_id(end)
        assert ours.begin_of_text == (begin and theirs.token_to_id(begin))


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "Qwen2Tokenizer"])
def test_older_folders_with_vocabulary_and_merges(kind, tmp_path):
    theirs, _ = gpt2_like() if kind == "GPT2Tokenizer" else qwen_like()
    theirs.model.save(str(tmp_path))
    end = theirs.token_to_id("<|endoftext|>")
    config = {
        "tokenizer_class": kind,
        "eos_token": "<|endoftext|>",
        "added_tokens_decoder": {str(end): {"content": "<|endoftext|>"}},
    }
    if kind == "GPT2Tokenizer":  # GPT-2's own vocabulary holds its special token
        vocabulary = json.loads((tmp_path / "vocab.json").read_text()) | {"<|endoftext|>": end}
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = load_any_tokenizer(tmp_path)
    for seed in range(200):
        same(ours, theirs, fuzzed_text(seed, 10))
    (tmp_path / "again").mkdir()
    ours.save(tmp_path / "again")
    assert load_any_tokenizer(tmp_path / "again").fingerprint() == ours.fingerprint()


@pytest.mark.parametrize("changes, words", [
    ({"model": {"type": "WordLevel", "vocab": {}}}, "'WordLevel'; llmasos supports byte-level BPE, "),
    ({"model": {"continuing_subword_prefix": "##"}}, "'BPE' with continuing_subword_prefix"),
    ({"model": {"byte_fallback": True}}, "pre_tokenizer has 'ByteLevel' in a form"),
    ({"normalizer": {"type": "Lowercase"}}, "normalizer is 'Lowercase'"),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "into words by Whitespace"),
    ({"pre_tokenizer": None}, "into words by None"),
    ({"model": {"merges": [["q", "ζ"]]}}, "has no 'qζ'"),
    ({"model": {"vocab": {}}}, "has no '!'"),
    ({"model": None}, "damaged"),
    ({"added_tokens": []}, "'<|endoftext|>' is not in its vocabulary"),
], ids=str)  # fmt: skip
def test_unsupported_parts_are_errors_that_name_them(changes, words, tmp_path):
    theirs, config = gpt2_like()
    content = json.loads(theirs.to_str())
    for name, value in changes.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) and content[name] else value
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        load_any_tokenizer(tmp_path)


# ── Marian ──


@pytest.fixture(scope="module", params=["nmt_nfkc", "identity", "nmt_nfkc_cf"])
def marian(request, tmp_path_factory):
    """A folder like those of Marian models, with small SentencePiece models."""
    folder = tmp_path_factory.mktemp("marian")
    (folder / "text").write_text("\n".join([*english().splitlines(), *PIECES]))
    for name in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text"), model_prefix=str(folder / name), vocab_size=700, model_type="unigram",
            normalization_rule_name=request.param, character_coverage=0.98, minloglevel=2, num_threads=1,
        )  # fmt: skip
        (folder / f"{name}.model").rename(folder / f"{name}.spm")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    order = ["</s>", "<unk>", *(p for p in pieces if p not in ("</s>", "<unk>", "<s>")), ">>fra<<", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: id for id, piece in enumerate(order)}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    return folder, processor


def test_marian_pieces_equal_those_of_sentencepiece(marian):
    folder, processor = marian
    ours = load_any_tokenizer(folder)
    for seed in range(N_FUZZED):
        for text in (fuzzed_text(seed, 1 + seed % 12), long_runs(seed) if seed % 20 == 0 else ""):
            assert ours.pieces(text) == processor.encode(text, out_type=str), repr(text)


def test_marian_names_the_pieces_that_it_does_not_know(marian):
    ours = load_any_tokenizer(marian[0])
    assert [piece.strip("▁") for piece in ours.unknown_pieces("the ꙮꙮ cat ꙮꙮ")] == ["ꙮꙮ"]
    assert ours.unknown_pieces("the cat") == []


def test_marian_ids_and_texts_equal_those_of_transformers(marian):
    folder, _ = marian
    ours, theirs = load_any_tokenizer(folder), MarianTokenizer.from_pretrained(folder)
    assert (ours.end_of_text, ours.start_of_target) == (theirs.eos_token_id, theirs.pad_token_id)
    for seed in range(300):
        text = (">>fra<< " if seed % 5 == 0 else "") + fuzzed_text(seed, 1 + seed % 12)
        ids = ours.encode(text)
        assert [*ids, ours.end_of_text] == theirs(text).input_ids, repr(text)
        known = [id for id in ids if id != ours.unknown_id]
        assert ours.decode(known, skip_special=True).strip() == theirs.decode(known, skip_special_tokens=True).strip()


def test_a_marian_tokenizer_is_saved_unchanged(marian, tmp_path):
    folder, _ = marian
    ours = load_any_tokenizer(folder)
    ours.save(tmp_path)
    assert load_any_tokenizer(tmp_path).fingerprint() == ours.fingerprint()
    theirs = MarianTokenizer.from_pretrained(tmp_path)
    assert theirs("hello there").input_ids == [*ours.encode("hello there"), 0]


@pytest.mark.parametrize("damage", ["cut", "bpe", "missing", "no pad", "two vocabularies"])
def test_a_damaged_marian_tokenizer_has_a_clear_error(marian, damage, tmp_path):
    folder, _ = marian
    for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    words = {
        "cut": "is not a SentencePiece model, or it is damaged",
        "bpe": "does not hold a unigram model",
        "no pad": "no <pad>",
        "missing": "target.spm is missing",
        "two vocabularies": "two vocabularies",
    }[damage]
    if damage == "cut":
        data = (tmp_path / "source.spm").read_bytes()
        (tmp_path / "source.spm").write_bytes(data[: len(data) // 2])
    elif damage == "bpe":
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text"), model_prefix=str(tmp_path / "bpe"), vocab_size=700, model_type="bpe",
            character_coverage=0.98, minloglevel=2, num_threads=1,
        )  # fmt: skip
        (tmp_path / "bpe.model").rename(tmp_path / "source.spm")
    elif damage == "missing":
        (tmp_path / "target.spm").unlink()
    elif damage == "no pad":
        vocabulary = json.loads((tmp_path / "vocab.json").read_text())
        del vocabulary["<pad>"]
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    else:
        (tmp_path / "target_vocab.json").write_text("{}")
    with pytest.raises(UserError, match=words):
        load_any_tokenizer(tmp_path)


def test_the_pieces_of_a_model_have_their_scores(marian):
    folder, processor = marian
    for id, (piece, score, _) in enumerate(read_sentencepiece(folder / "source.spm").pieces):
        assert piece == processor.id_to_piece(id) and score == pytest.approx(processor.get_score(id))
