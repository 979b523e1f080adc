"""The unigram tokenizer of T5: ids and texts equal those of transformers, there and back; odd files are sentences."""

import json
import pickle

import pytest
from hub_helpers import t5_tokenizer
from tokenizer_helpers import fuzzed_text
from transformers import AutoTokenizer

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
    again = AutoTokenizer.from_pretrained(tmp_path)
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
    """It is written in Python, where threads do not help: they get a pickled copy."""
    ours, _ = pair
    assert ours.encodes_in_python
    again = pickle.loads(pickle.dumps(ours))
    assert [again.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]


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
