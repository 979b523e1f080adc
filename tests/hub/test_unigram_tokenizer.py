"""The unigram tokenizer of T5: ids and texts equal those of transformers in both directions; odd files give errors."""

import json
import pickle

import pytest
from hub_helpers import t5_tokenizer
from tokenizer_helpers import fuzzed_text
from transformers import PreTrainedTokenizerFast  # reads tokenizer.json; T5Tokenizer of version 5 computes half of it

from llmasos.errors import UserError
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.tokenizers.tokenizer import Tokenizer

TEXTS = ["", " ", "a <extra_id_0> b </s>  c<extra_id_5>d", "tab\tnew\nline\u3000wide", "e\u0301 é ﬁ ﬀ ① Ⅷ 한국 ｶﾞ",
         "▁x ▁ y", "it iſ\u0307 ſ\u0307o", "  two   blanks  ", "👩‍👩‍👧 🇩🇪 न्दी", "a" * 500]  # fmt: skip


@pytest.fixture(
    scope="module", params=[(False, "nmt_nfkc"), (True, "nmt_nfkc"), (False, "identity"), (True, "nfkc_cf")]
)
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    theirs = t5_tokenizer(folder, *request.param)
    theirs.save_pretrained(folder / "theirs")
    return load_any_tokenizer(folder / "theirs"), theirs


def compare(ours: Tokenizer, theirs, n_texts: int, first_seed: int = 0) -> None:
    for text in [*TEXTS, *(fuzzed_text(seed, 1 + seed % 12) for seed in range(first_seed, first_seed + n_texts))]:
        ids = theirs(text).input_ids
        assert [*ours.encode(text, allow_special=True), ours.end_of_text] == ids, repr(text)
        assert ours.decode(ids) == theirs.decode(ids), repr(text)


def test_ids_and_texts_equal_those_of_transformers(pair):
    compare(*pair, 300)


@pytest.mark.slow
def test_ids_and_texts_equal_those_of_transformers_on_three_thousand(pair):
    compare(*pair, 3_000, first_seed=300)


def test_it_is_saved_as_it_was(pair, tmp_path):
    ours, theirs = pair
    ours.save(tmp_path)
    assert load_any_tokenizer(tmp_path).fingerprint() == ours.fingerprint()
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in TEXTS:
        assert again(text, text).input_ids == theirs(text, text).input_ids
    assert (again.eos_token_id, again.pad_token_id) == (ours.end_of_text, ours.start_of_target) == (1, 0)


def test_names_of_special_tokens_in_a_text_are_ordinary_text(pair):
    ours, _ = pair
    assert not {0, 1} & set(ours.encode("a </s> <pad> b"))
    assert ours.unknown_pieces("a ☃☃ b ☃☃ ♞") == ["☃☃", "♞"]
    with pytest.raises(UserError, match="no offsets"):
        ours.encode_with_offsets("a", allow_special=True, ordinary=[0])


def test_other_processes_can_encode(pair):
    """The tokenizer is written in Python, where threads do not help, so processes get a pickled copy."""
    ours, _ = pair
    assert ours.encodes_in_python
    again = pickle.loads(pickle.dumps(ours))
    assert [again.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]


@pytest.fixture(scope="module")
def old_folder(tmp_path_factory):
    """A folder like flan-T5's without its tokenizer.json, with the tokenizer to which transformers converts it."""
    folder = tmp_path_factory.mktemp("flan-t5")
    theirs = t5_tokenizer(folder)
    (folder / "text").unlink()
    (folder / "spiece.vocab").unlink()
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    extra = {"extra_ids": 10, "additional_special_tokens": [f"<extra_id_{i}>" for i in range(10)]}
    config = {**names, **extra, "model_max_length": 512, "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(names | extra))
    return folder, theirs


def test_a_sentencepiece_model_alone_is_the_tokenizer_that_transformers_makes_of_it(old_folder, tmp_path):
    folder, theirs = old_folder
    ours = load_any_tokenizer(folder)
    compare(ours, theirs, 300)
    ours.save(tmp_path)
    compare(load_any_tokenizer(tmp_path), theirs, 10)
    compare(ours, PreTrainedTokenizerFast.from_pretrained(tmp_path), 50)


@pytest.mark.slow
def test_a_sentencepiece_model_alone_equals_on_three_thousand(old_folder):
    folder, theirs = old_folder
    compare(load_any_tokenizer(folder), theirs, 3_000, first_seed=300)


def test_without_a_config_there_are_a_hundred_extra_names_and_odd_files_are_sentences(old_folder, tmp_path):
    model = (old_folder[0] / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(model)
    ours = load_any_tokenizer(tmp_path)
    assert ours.vocab_size == 490 and (ours.end_of_text, ours.start_of_target) == (1, 0)
    assert ours.encode("<extra_id_0><extra_id_99>", allow_special=True) == [489, 390]
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": -1}')
    with pytest.raises(UserError, match="extra_ids is -1"):
        load_any_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "spiece.model").write_bytes(model[:-7])
    with pytest.raises(UserError, match=r"spiece.model is not a SentencePiece model, or it is damaged"):
        load_any_tokenizer(tmp_path)


@pytest.mark.parametrize("section, value, words", [
    ("normalizer", {"type": "Lowercase"}, "its normalizer has 'Lowercase'"),
    ("pre_tokenizer", {"type": "ByteLevel"}, "its pre_tokenizer has 'ByteLevel'"),
    ("pre_tokenizer", None, "its pre_tokenizer does not put ▁"),
    ("decoder", {"type": "ByteLevel"}, "decoder"),
    ("model", {"byte_fallback": True}, "falls back on bytes"),
    ("model", {"unk_id": None}, "is damaged"),
    ("model", {"unk_id": 10**6}, "unk_id is 1000000"),
    ("model", {"vocab": [["a"]]}, "is damaged"),
    ("post_processor", {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]},
     "a special token before a text"),
])  # fmt: skip
def test_what_is_not_supported_is_a_sentence_that_names_the_file(section, value, words, pair, tmp_path):
    pair[0].save(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    content[section] = {**content[section], **value} if section == "model" else value
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words) as error:
        load_any_tokenizer(tmp_path)
    assert "tokenizer.json" in str(error.value)
