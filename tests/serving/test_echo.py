"""`echo` and `logprobs` of `/v1/completions` score a text with the model's exact log-softmax at every token."""

import pytest
import torch
from serving_http_helpers import BYTES, ask

PATH = "/v1/completions"
PROMPTS = {
    "text": "abc",
    "other characters": "déjà 😀",
    "texts": ["abc", "é", "a b"],
    "ids": [97, 195, 169, 98],
    "lists of ids": [[97, 98], [240, 159, 152, 128]],
}


def as_ids(prompt) -> list[list[int]]:
    """The ids of each prompt."""
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        prompt = [prompt]
    return [BYTES.encode(one) if isinstance(one, str) else one for one in prompt]


def offsets(text: str) -> list[int]:
    """The position of each byte's character."""
    return [place for place, character in enumerate(text) for _ in character.encode()]


@pytest.mark.parametrize("max_tokens", [0, 2])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_each_token_of_the_prompt_has_the_models_own_log_probability(gpt, prompt, max_tokens):
    body = {"prompt": prompt, "echo": True, "logprobs": 3, "max_tokens": max_tokens, "temperature": 0}
    answer = ask(gpt, "POST", PATH, body).json
    assert len(answer["choices"]) == len(as_ids(prompt))
    for choice, ids in zip(answer["choices"], as_ids(prompt), strict=True):
        logprobs = choice["logprobs"]
        assert logprobs["token_ids"][: len(ids)] == ids and len(logprobs["token_ids"]) == len(ids) + max_tokens
        assert choice["text"] == BYTES.decode(logprobs["token_ids"]) and choice["finish_reason"] == "length"
        assert bytes(sum(logprobs["bytes"], [])) == bytes(logprobs["token_ids"])
        assert logprobs["text_offset"][: len(ids)] == offsets(BYTES.decode(ids))
        assert logprobs["text_offset"][len(ids) :][:1] == [len(BYTES.decode(ids))][:max_tokens]
        assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
        with torch.inference_mode():
            rows = gpt.served.model(torch.tensor([logprobs["token_ids"]]))[0].log_softmax(-1)  # (T, V)
        for place, id in enumerate(logprobs["token_ids"][1:], start=1):
            row, best = rows[place - 1], rows[place - 1].topk(3)
            assert logprobs["token_logprobs"][place] == pytest.approx(float(row[id]), abs=1e-5)
            alternatives = logprobs["alternatives"][place]
            assert [one["id"] for one in alternatives] == best.indices.tolist()
            assert [one["logprob"] for one in alternatives] == pytest.approx(best.values.tolist(), abs=1e-5)
            top = logprobs["top_logprobs"][place]
            assert top[logprobs["tokens"][place]] >= logprobs["token_logprobs"][place]  # of tokens with the same text
            assert (max(top.values()) == logprobs["token_logprobs"][place]) == (id == best.indices[0])
    n_read = sum(map(len, as_ids(prompt)))
    assert answer["usage"]["prompt_tokens"] == n_read
    assert answer["usage"]["completion_tokens"] == max_tokens * len(as_ids(prompt))


def test_the_continuation_is_the_same_as_without_echo(gpt):
    body = {"prompt": ["abc", "de"], "n": 2, "seed": 3, "max_tokens": 5, "logprobs": 1}
    plain = ask(gpt, "POST", PATH, body).json["choices"]
    for text, choice, own in zip(
        ("abc", "abc", "de", "de"), ask(gpt, "POST", PATH, body | {"echo": True}).json["choices"], plain, strict=True
    ):
        assert choice["text"] == text + own["text"] and choice["index"] == own["index"]
        assert choice["logprobs"]["token_logprobs"][len(text) :] == own["logprobs"]["token_logprobs"]
        assert choice["logprobs"]["text_offset"][len(text) :] == [len(text) + n for n in own["logprobs"]["text_offset"]]
    short = ask(gpt, "POST", PATH, body | {"echo": True, "logprobs": None}).json["choices"]
    assert [choice["text"] for choice in short] == [
        text + own["text"] for text, own in zip(("abc", "abc", "de", "de"), plain, strict=True)
    ]
    assert all(choice["logprobs"] is None for choice in short)


@pytest.mark.parametrize("max_tokens", [0, 6])
def test_a_stream_begins_with_the_prompt(gpt, max_tokens):
    body = {"prompt": ["abc", "de"], "echo": True, "logprobs": 2, "seed": 3, "max_tokens": max_tokens}
    whole = ask(gpt, "POST", PATH, body).json
    *events, last = ask(gpt, "POST", PATH, body | {"stream": True, "stream_options": {"include_usage": True}}).events
    assert last["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [event["choices"][0] for event in events if event["choices"][0]["index"] == choice["index"]]
        assert "".join(one["text"] for one in own) == choice["text"]
        for name, values in choice["logprobs"].items():
            assert sum([one["logprobs"][name] for one in own], []) == values, name


def test_nothing_is_scored_of_an_empty_prompt(gpt):
    [choice] = ask(gpt, "POST", PATH, {"prompt": "", "echo": True, "logprobs": 1, "max_tokens": 0}).json["choices"]
    assert choice["text"] == "" and choice["logprobs"]["token_logprobs"] == []


def test_a_prompt_that_is_scored_must_fit_the_context(gpt):
    body = {"echo": True, "logprobs": 1, "max_tokens": 1}
    fitting = ask(gpt, "POST", PATH, body | {"prompt": "x" * 64}).json["choices"][0]["logprobs"]
    assert len(fitting["token_logprobs"]) == 65
    for prompt, name in (("x" * 65, "prompt"), (["a", "x" * 65], "prompt[1]"), ([97] * 65, "prompt")):
        answer = ask(gpt, "POST", PATH, body | {"prompt": prompt})
        assert answer.status == 400 and answer.error["code"] == "context_length_exceeded"
        assert answer.error["param"] == name and f"{name} has 65 tokens, and the model's" in answer.error["message"]
    [choice] = ask(gpt, "POST", PATH, {"prompt": "x" * 65, "echo": True, "max_tokens": 1}).json["choices"]
    assert choice["text"].startswith("x" * 65) and "the prompt is 65 tokens long" in choice["warnings"][0]


def test_no_tokens_may_be_asked_for_without_echo_too(gpt):
    answer = ask(gpt, "POST", PATH, {"prompt": "abc", "max_tokens": 0}).json
    assert answer["choices"][0]["text"] == "" and answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_the_scores_count_towards_the_size_of_a_response(gpt, monkeypatch):
    monkeypatch.setattr("llmasos.serving.api.generation_fields.MAX_RECORDED", 50)
    body = {"prompt": "x" * 20, "echo": True, "max_tokens": 1}
    assert ask(gpt, "POST", PATH, body | {"logprobs": 0}).status == 200
    answer = ask(gpt, "POST", PATH, body | {"logprobs": 2})
    assert answer.status == 400 and "1 texts of up to 21 tokens with 2 alternatives" in answer.error["message"]


def test_a_begin_of_text_token_is_read_but_not_repeated(gpt, monkeypatch):
    """As with Llama: then the first token of the text has a log probability, too."""
    monkeypatch.setattr(BYTES, "begin_of_text", 7)
    body = {"prompt": "abc", "echo": True, "logprobs": 1, "max_tokens": 0}
    logprobs = ask(gpt, "POST", PATH, body).json["choices"][0]["logprobs"]
    with torch.inference_mode():
        rows = gpt.served.model(torch.tensor([[7, 97, 98, 99]]))[0].log_softmax(-1)
    expected = [float(rows[place, id]) for place, id in enumerate([97, 98, 99])]
    assert logprobs["tokens"] == ["a", "b", "c"] and logprobs["text_offset"] == [0, 1, 2]
    assert logprobs["token_logprobs"] == pytest.approx(expected, abs=1e-5)


def test_a_special_token_before_a_scored_text_is_that_token_and_its_name_elsewhere_is_text(gpt):
    """Evaluation harnesses that send no token ids score the first token of a text this way."""
    end = BYTES.end_of_text

    def scores(prompt, **more):
        body = {"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0, **more}
        [choice] = ask(gpt, "POST", PATH, body).json["choices"]
        return choice

    as_text, as_ids = scores("<|endoftext|>aé"), scores([end, *BYTES.encode("aé")])
    for field in ("token_ids", "token_logprobs", "tokens"):
        assert as_text["logprobs"][field] == as_ids["logprobs"][field]
    assert as_text["text"].startswith("<|endoftext|>aé") and as_text["logprobs"]["text_offset"] == [0, 13, 14, 14, 15]
    inside = scores("a<|endoftext|>")["logprobs"]["token_ids"]
    assert end not in inside[:-1] and inside[:-1] == BYTES.encode("a<|endoftext|>")
    plain = ask(gpt, "POST", PATH, {"prompt": "<|endoftext|>a", "echo": True, "max_tokens": 0}).json
    assert plain["usage"]["prompt_tokens"] == len(BYTES.encode("<|endoftext|>a"))  # nothing is scored
