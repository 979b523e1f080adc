"""`/v1/tokenize`: every available tokenizer, with the same ids, bytes and offsets as in the library."""

import pytest
from serving_http_helpers import app_of, ask, tiny

from llmasos.datasets.storyworld import stories
from llmasos.hub import load_tokenizer
from llmasos.serving.api import tokenize
from llmasos.tokenizers import train_tokenizer
from llmasos.tokenizers.openai import cache_folder, missing_files

TEXT = "Hé [MASK]<|endoftext|> 日本 🐕!"
NEEDS_FILES = pytest.mark.skipif(bool(missing_files("gpt2", cache_folder())), reason="the gpt2 encoding is not here")


def expected(name, app):
    if name == app.served.name:
        return app.served.tokenizer
    if name == "char":
        first = list(stories("train", 100))
        return train_tokenizer("char", [story.text for story in first] + [story.german for story in first])
    return train_tokenizer(name, []) if name in ("byte", "gpt2") else load_tokenizer(name)


@pytest.mark.parametrize("allow_special", [False, True])
@pytest.mark.parametrize("name", [
    "tiny-bert", "byte", "char", "storyworld-bert", "storyworld-gpt", pytest.param("gpt2", marks=NEEDS_FILES),
])  # fmt: skip
def test_a_text_is_cut_as_the_tokenizer_cuts_it(apps, name, allow_special):
    app, body = apps["bert"], {"input": TEXT, "tokenizer": name, "allow_special": allow_special}
    answer, tokenizer = ask(app, "POST", "/v1/tokenize", body).json, expected(name, apps["bert"])
    assert name in [entry["id"] for entry in ask(app, "GET", "/v1/tokenizers").json["data"]]
    assert [token["id"] for token in answer["tokens"]] == tokenizer.encode(TEXT, allow_special)
    assert (answer["n_tokens"], answer["n_characters"]) == (len(answer["tokens"]), 28)
    assert answer["n_bytes"] == 36 and answer["vocab_size"] == tokenizer.vocab_size
    for token in answer["tokens"]:
        assert bytes(token["bytes"]) == tokenizer.token_bytes(token["id"])
        assert token["special"] == (token["id"] in tokenizer.special_tokens.values())
    named = [TEXT[token["start"] : token["end"]] for token in answer["tokens"] if token["special"]]
    for special in ("[MASK]", "<|endoftext|>"):
        assert (special in named) == (allow_special and special in tokenizer.special_tokens)
    dog = [token for token in answer["tokens"] if token["start"] <= 26 < token["end"]]  # all of its pieces cover it
    if name in ("byte", "storyworld-gpt"):
        assert len(dog) == 4 and b"".join(bytes(token["bytes"]) for token in dog) == "🐕".encode()


def test_the_tokenizer_of_the_model_is_the_default_and_the_first(apps):
    for kind, app in apps.items():
        answer = ask(app, "POST", "/v1/tokenize", {"input": "the cat"}).json
        assert answer["tokenizer"] == f"tiny-{kind}" == ask(app, "GET", "/v1/tokenizers").json["data"][0]["id"]
        assert [token["id"] for token in answer["tokens"]] == app.served.tokenizer.encode("the cat")
    assert ask(apps["gpt"], "POST", "/v1/tokenize", {"input": ""}).json["tokens"] == []


def test_an_encoding_whose_files_are_missing_is_not_offered(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with app_of(tiny("gpt"), name="tiny") as app:
        assert "gpt2" not in [entry["id"] for entry in ask(app, "GET", "/v1/tokenizers").json["data"]]
        error = ask(app, "POST", "/v1/tokenize", {"input": "a", "tokenizer": "gpt2"}).error
    assert error["message"].startswith('tokenizer is "gpt2"; it must be "tiny" or "byte" or "char"')


def test_a_tokenizer_without_offsets_gives_its_ids(apps, monkeypatch):
    from llmasos.errors import UserError

    def none(text, allow_special=False):
        raise UserError("a Marian tokenizer has no offsets; use another model.")

    monkeypatch.setattr(apps["gpt"].served.tokenizer, "encode_with_offsets", none)
    tokens = ask(apps["gpt"], "POST", "/v1/tokenize", {"input": "ab"}).json["tokens"]
    assert [(token["id"], token["start"], token["end"]) for token in tokens] == [(97, None, None), (98, None, None)]


def test_a_text_that_is_too_long_is_refused(apps):
    error = ask(apps["gpt"], "POST", "/v1/tokenize", {"input": "a" * (tokenize.MAX_LENGTH + 1)}).error
    assert "of at most 10000 characters" in error["message"]
