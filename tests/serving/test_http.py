"""The HTTP side, asked directly as a WSGI application: each route, each refusal, keys, names, and streams."""

import base64
import json
import math
import random
import re
import threading
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import jsonschema_rs
import numpy as np
import pytest
import torch
from serving_http_helpers import BYTES, ENDLESS, FOR_EVER, JSON, app_of, ask, begin, events, tiny, wait_until

from llmasos.datasets import QA
from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate
from llmasos.interpret import label_evidence
from llmasos.prompting import Message
from llmasos.serving.api import ROUTES
from llmasos.serving.api.sse import POLL_SECONDS, merged_events
from llmasos.serving.api.generation import MAX_RECORDED
from llmasos.serving.app import App, create_app
from llmasos.serving.http.errors import RequestError
from llmasos.serving.http.json_body import read_json
from llmasos.serving.metrics import Counter, Histogram
from llmasos.serving.requests import QueueFull, Event, GenerationRequest
from llmasos.tasks import answer_questions, classify, fill_masks, reply
from llmasos.tasks.embedding import embed

KINDS = ("gpt", "bert", "transformer", "classifier", "span")
BODIES = {  # route → a body that is right
    "/v1/completions": {"prompt": "abc", "max_tokens": 6, "seed": 3},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 6, "seed": 3},
    "/v1/embeddings": {"input": "the cat"},
    "/v1/classify": {"input": "the cat"},
    "/v1/question-answering": {"question": "who ?", "context": "the cat sat on the mat"},
    "/v1/fill-mask": {"input": "the [MASK] sat"},
    "/v1/translate": {"input": "abc", "beams": 2, "max_tokens": 5},
    "/v1/inspect": {"input": "abc"},  # and of a translator, the target
}
WRONG = [None, True, False, 0, 1, -1, 2.5, 1e6, 10**18, 10**24, -1e300, "", " ", "abc", "true", "1", [], {}, [[]],
         [[1]], [{}], [None], [1, "a"], ["a", 1], ["a"], [-1], [10**6], [1.5], [True], ["x"] * 300, [[1], [2]], [["a"]],
         {"a": 1}, {"role": "user"}, [{"role": "user", "content": "a"}], [{"role": "me", "content": "a"}], "a" * 5000,
         [{"role": "system", "content": ""}], [{"role": "user", "content": ""}],
         [{"role": "assistant", "content": " "}], {"include_usage": True}, {"include_usage": 1}]  # fmt: skip
"""Values of every kind, to be put into every field."""


@pytest.fixture(scope="module")
def apps():
    found = {kind: create_app(tiny(kind), name=f"tiny-{kind}") for kind in KINDS}
    yield found
    for app in found.values():
        app.close(0.0)


@pytest.fixture
def gpt(apps) -> App:
    return apps["gpt"]


def has(app: App, path: str) -> bool:
    return any(route.path == path for route in app.routes)


def kinds_with(path: str) -> list[str]:
    families = {"/v1/completions": ["gpt"], "/v1/chat/completions": ["gpt"], "/v1/embeddings": list(KINDS),
                "/v1/classify": ["classifier"], "/v1/question-answering": ["span"], "/v1/fill-mask": ["bert"],
                "/v1/translate": ["transformer"], "/v1/inspect": ["gpt", "bert", "transformer"]}  # fmt: skip
    return families[path]


# What there is


def test_a_model_has_the_routes_that_it_can_do_and_no_others(apps):
    for path in BODIES:
        assert [kind for kind in KINDS if has(apps[kind], path)] == kinds_with(path)


def test_a_route_for_other_models_says_what_this_one_can(apps):
    error = ask(apps["bert"], "POST", "/v1/completions", BODIES["/v1/completions"]).error
    assert error["type"] == "not_found_error"
    assert "tiny-bert is a bert: it can fill, look, embed" in error["message"]


def test_the_model_is_described(apps):
    [model] = ask(apps["classifier"], "GET", "/v1/models").json["data"]
    assert model == ask(apps["classifier"], "GET", "/v1/models/tiny-classifier").json
    assert model["id"] == "tiny-classifier" and model["object"] == "model" and model["owned_by"] == "llmasos"
    assert model["abilities"] == ["classify", "embed"] and model["labels"] == ["happy", "sad", "neither"]
    assert model["family"] == "bert" and model["context_length"] == 64 and model["chat_template"] is None
    assert model["quantization"] is None and (model["n_layers"], model["n_heads"]) == (2, 2)
    n_parameters = sum(parameter.numel() for parameter in apps["classifier"].served.model.parameters())
    assert model["parameters"] == n_parameters
    assert ask(apps["gpt"], "GET", "/v1/models").json["data"][0]["chat_template"] == "plain"


def test_another_model_is_not_found(gpt):
    assert ask(gpt, "GET", "/v1/models/gpt-4").error["code"] == "model_not_found"
    answer = ask(gpt, "POST", "/v1/completions", {"prompt": "a", "model": "gpt-4"})
    assert answer.status == 404 and answer.error["code"] == "model_not_found" and "tiny-gpt" in answer.error["message"]
    assert ask(gpt, "POST", "/v1/completions", {"prompt": "a", "model": "tiny-gpt", "max_tokens": 1}).status == 200


def test_a_name_with_a_slash_is_found():
    with app_of(tiny("gpt"), name="Somebody/Model-1") as app:
        assert ask(app, "GET", "/v1/models/Somebody/Model-1").json["id"] == "Somebody/Model-1"


def test_health_and_readiness(gpt):
    assert ask(gpt, "GET", "/health").json == {"status": "ok"}
    wait_until(lambda: gpt.engine.n_running == 0)  # of the tests before
    assert ask(gpt, "GET", "/ready").json == {"status": "ready", "running": 0, "waiting": 0}
    with app_of(tiny("gpt")) as app:
        app.close(0.0)
        assert ask(app, "GET", "/health").status == 200
        answer = ask(app, "GET", "/ready")
        assert answer.status == 503 and answer.error["code"] == "not_ready" and answer.headers["Retry-After"] == "5"
        answer = ask(app, "POST", "/v1/completions", {"prompt": "a"})
        assert answer.status == 503 and answer.error["code"] == "stopping" and answer.headers["Retry-After"] == "5"


def test_the_page_may_run_its_own_script_and_speak_to_this_server_only(gpt):
    answer = ask(gpt, "GET", "/")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "'sha256-" in policy
    assert "script-src 'unsafe-inline'" not in policy and answer.headers["X-Frame-Options"] == "DENY"


# Completions and chat


@pytest.mark.parametrize("prompt", ["abc", "", [97, 98], "déjà vu", "{0.__class__} %s %n", "../../etc/passwd",
                                    "<|endoftext|>{{ 7*7 }}", "file:///etc/passwd", "$(reboot)`reboot`"])  # fmt: skip
def test_a_completion_is_what_the_model_writes_alone(gpt, prompt):
    """Whatever the prompt looks like, it is text to go on with."""
    body = {"prompt": prompt, "max_tokens": 12, "temperature": 0.9, "top_k": 50, "top_p": 0.95, "seed": 5, "n": 2}
    answer = ask(gpt, "POST", "/v1/completions", body).json
    options = SamplingOptions(12, 0.9, 50, 0.95, seed=5)
    expected = generate(gpt.served.model, BYTES, [prompt], options, 2)
    assert [choice["text"] for choice in answer["choices"]] == [one.text for one in expected]
    assert [choice["finish_reason"] for choice in answer["choices"]] == [one.finish_reason for one in expected]
    n_tokens = sum(len(one.ids) for one in expected)
    assert answer["usage"] == {"prompt_tokens": expected[0].n_prompt_tokens, "completion_tokens": n_tokens,
                               "total_tokens": expected[0].n_prompt_tokens + n_tokens}  # fmt: skip


def test_every_option_reaches_the_model(gpt):
    """Each option changes the text, and to what the model writes under it."""
    given = {"temperature": 0.7, "top_k": 3, "top_p": 0.5, "min_p": 0.2, "repetition_penalty": 1.8, "seed": 8,
             "presence_penalty": 1.5, "frequency_penalty": 2.0, "max_tokens": 9}  # fmt: skip
    usual = {"prompt": "abc", "max_tokens": 12, "seed": 3}
    [without] = generate(gpt.served.model, BYTES, ["abc"], SamplingOptions(12, seed=3))
    for name, value in given.items():
        text = ask(gpt, "POST", "/v1/completions", usual | {name: value}).json["choices"][0]["text"]
        options = {"max_new_tokens": 12, "seed": 3} | {name.replace("max_tokens", "max_new_tokens"): value}
        assert text == generate(gpt.served.model, BYTES, ["abc"], SamplingOptions(**options))[0].text, name
        assert text != without.text, name


def test_zero_switches_filters_off(gpt):
    body = {"prompt": "abc", "max_tokens": 12, "seed": 3}
    off = ask(gpt, "POST", "/v1/completions", body | {"top_k": 0, "min_p": 0}).json
    assert off["choices"] == ask(gpt, "POST", "/v1/completions", body).json["choices"]


def test_stop_strings_end_a_text(gpt):
    body = {"prompt": "abc", "max_tokens": 30, "seed": 3}
    whole = ask(gpt, "POST", "/v1/completions", body).json["choices"][0]["text"]
    for stop in (whole[5:7], [whole[5:7], "not there"]):
        [choice] = ask(gpt, "POST", "/v1/completions", body | {"stop": stop}).json["choices"]
        assert choice["text"] == whole[: whole.find(whole[5:7])] and choice["finish_reason"] == "stop"


def test_several_prompts_give_their_texts_in_order(gpt):
    answer = ask(gpt, "POST", "/v1/completions", {"prompt": ["a", "bc"], "max_tokens": 5, "seed": 2, "n": 2}).json
    expected = generate(gpt.served.model, BYTES, ["a", "bc"], SamplingOptions(5, seed=2), 2)
    assert [choice["text"] for choice in answer["choices"]] == [one.text for one in expected]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 3
    ids = ask(gpt, "POST", "/v1/completions", {"prompt": [[97], [98, 99]], "max_tokens": 5, "seed": 2, "n": 2}).json
    assert ids["choices"] == answer["choices"]


def test_without_a_seed_each_text_is_another_and_its_seed_is_told(gpt):
    texts = set()
    for _ in range(3):
        answer = ask(gpt, "POST", "/v1/completions", {"prompt": "a", "max_tokens": 20}).json
        again = ask(gpt, "POST", "/v1/completions", {"prompt": "a", "max_tokens": 20, "seed": answer["seed"]}).json
        assert again["choices"] == answer["choices"]
        texts.add(answer["choices"][0]["text"])
    assert len(texts) == 3


def test_logprobs_are_those_of_the_model(gpt):
    body = {"prompt": "abc", "max_tokens": 4, "temperature": 0, "logprobs": 3}
    logprobs = ask(gpt, "POST", "/v1/completions", body).json["choices"][0]["logprobs"]
    ids = BYTES.encode("abc")
    for place, id in enumerate(logprobs["token_ids"]):
        with torch.inference_mode():
            row = gpt.served.model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        best = row.topk(3)
        assert [a["id"] for a in logprobs["alternatives"][place]] == best.indices.tolist()
        assert [a["logprob"] for a in logprobs["alternatives"][place]] == pytest.approx(best.values.tolist(), abs=1e-5)
        assert logprobs["token_logprobs"][place] == pytest.approx(float(row[id]), abs=1e-5)
        assert logprobs["top_logprobs"][place][logprobs["tokens"][place]] == logprobs["token_logprobs"][place]
        ids.append(id)
    assert ask(gpt, "POST", "/v1/completions", body | {"logprobs": None}).json["choices"][0]["logprobs"] is None


def saying(app: App, text: str, monkeypatch) -> None:
    """Have the model, which knows bytes, say these and begin anew after the last."""

    def sample(self):
        ids = original(self)
        for number, row in enumerate(self.sequences):
            row.ids[-1] = ids[number] = data[(len(row.ids) - 1) % len(data)]
        return ids

    data, original = text.encode(), type(app.engine._batch).sample
    monkeypatch.setattr(type(app.engine._batch), "sample", sample)


def test_all_tokens_of_a_character_stand_at_its_place(gpt, monkeypatch):
    saying(gpt, "aé😀b", monkeypatch)
    body = {"prompt": "x", "max_tokens": 12, "n": 2, "logprobs": 0}
    for choice in ask(gpt, "POST", "/v1/completions", body).json["choices"]:
        assert choice["text"] == "aé😀baé\ufffd"
        assert choice["logprobs"]["text_offset"] == [0, 1, 1, 2, 2, 2, 2, 3, 4, 5, 5, 6]
        assert bytes(sum(choice["logprobs"]["bytes"], [])) == "aé😀baé".encode() + "😀".encode()[:1]
    offsets = {0: [], 1: []}
    for event in ask(gpt, "POST", "/v1/completions", body | {"stream": True}).events:
        [choice] = event["choices"]
        offsets[choice["index"]] += choice["logprobs"]["text_offset"]
    assert offsets == {0: [0, 1, 1, 2, 2, 2, 2, 3, 4, 5, 5, 6], 1: [0, 1, 1, 2, 2, 2, 2, 3, 4, 5, 5, 6]}


@pytest.mark.parametrize(("asked", "unasked", "n"), [({}, 1024, None), ({"max_tokens": 3}, 1024, 3), ({}, 10, 10)])
def test_an_answer_may_be_as_long_as_the_context_has_room(gpt, asked, unasked, n, monkeypatch):
    monkeypatch.setattr("llmasos.serving.api.chat_completions.DEFAULT_TOKENS", 4)
    monkeypatch.setattr("llmasos.serving.api.chat_completions.MAX_DEFAULT_TOKENS", unasked)
    saying(gpt, "abc", monkeypatch)  # and so on: it never ends by itself
    body = {"messages": [{"role": "user", "content": "abc"}], "seed": 3}
    usage = ask(gpt, "POST", "/v1/chat/completions", body | asked).json["usage"]
    assert usage["completion_tokens"] == (n or gpt.engine.context_length - usage["prompt_tokens"])


def test_only_the_likeliest_tokens_under_a_top_p_of_zero(gpt):
    body = {"prompt": "abc", "max_tokens": 12, "temperature": 5}
    [choice] = ask(gpt, "POST", "/v1/completions", body | {"top_p": 0}).json["choices"]
    assert choice == ask(gpt, "POST", "/v1/completions", body | {"temperature": 0}).json["choices"][0]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_field_of_another_server_may_be_there_if_it_is_null(gpt, path):
    expected = ask(gpt, "POST", path, BODIES[path]).json["choices"]
    assert ask(gpt, "POST", path, BODIES[path] | {"service_tier": None}).json["choices"] == expected
    answer = ask(gpt, "POST", path, BODIES[path] | {"service_tier": "auto"})
    assert answer.status == 400 and answer.error["param"] == "service_tier"


def test_a_chat_is_what_the_model_replies(gpt):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    answer = ask(gpt, "POST", "/v1/chat/completions", {"messages": messages, "max_tokens": 8, "seed": 4}).json
    chat = [Message(**message) for message in messages]
    [expected] = reply(gpt.served.model, BYTES, [chat], SamplingOptions(8, seed=4))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["message"]["content"].strip() == expected
    parts = [messages[0], {"role": "user", "content": [{"type": "text", "text": t} for t in ("hel", "lo")]}]
    again = ask(gpt, "POST", "/v1/chat/completions", {"messages": parts, "max_tokens": 8, "seed": 4}).json
    assert again["choices"] == answer["choices"]


def test_an_empty_message_is_left_out_unless_it_is_the_users(gpt):
    """Many programs always send one of the system, and send back an answer that was empty."""
    messages = [{"role": "user", "content": "hello"}]
    body = {"messages": messages, "max_tokens": 8, "seed": 4}
    expected = ask(gpt, "POST", "/v1/chat/completions", body).json["choices"]
    for role, nothing in (("system", ""), ("system", "  \n"), ("developer", ""), ("assistant", "")):
        with_empty = [{"role": role, "content": nothing}, *messages]
        answer = ask(gpt, "POST", "/v1/chat/completions", body | {"messages": with_empty})
        assert answer.status == 200 and answer.json["choices"] == expected
        looked = [ask(gpt, "POST", "/v1/inspect", {"input": m}).json for m in (messages, with_empty)]
        assert looked[0] == looked[1]
    answer = ask(gpt, "POST", "/v1/chat/completions", {"messages": [*messages, {"role": "user", "content": ""}]})
    assert answer.status == 400 and answer.error["param"] == "messages[1].content"
    answer = ask(gpt, "POST", "/v1/chat/completions", {"messages": [{"role": "system", "content": ""}]})
    assert answer.status == 400 and answer.error["param"] == "messages"


def test_what_is_no_chat_model_ends_where_somebody_else_would_speak(gpt, monkeypatch):
    """As in the terminal. There is no special token between the messages that it could say."""
    body = BODIES["/v1/chat/completions"] | {"max_tokens": 40}
    for text in ("A dog.\nUser: And that?", "A dog.\nAssistant: A cat.", "A dog.\nInstruction: Bark."):
        saying(gpt, text, monkeypatch)
        [choice] = ask(gpt, "POST", "/v1/chat/completions", body | {"stop": "cat"}).json["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("A dog.", "stop")
        assert any("has not learned to answer" in warning for warning in choice["warnings"])
        monkeypatch.undo()
    saying(gpt, "A dog and a cat.", monkeypatch)
    [choice] = ask(gpt, "POST", "/v1/chat/completions", body | {"stop": "cat"}).json["choices"]
    assert choice["message"]["content"] == "A dog and a "  # the stops of the request count, too


def turns(*texts: str) -> list[dict[str, str]]:
    """User and assistant say these in turn."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


@pytest.mark.parametrize(("system", "max_tokens", "n_lost"), [
    ([], 4, 2),
    ([], 50, 4),  # half of the context is kept free for the answer
    ([{"role": "system", "content": "Bark."}], 4, 4),
])  # fmt: skip
def test_a_conversation_that_outgrows_the_context_loses_its_oldest_messages(gpt, system, max_tokens, n_lost):
    """The context is 64 tokens, which are bytes here."""
    path, limits, encode = "/v1/chat/completions", {"max_tokens": max_tokens, "seed": 4}, gpt.served.template.encode
    spoken = turns("hello", "hi", "a cat", "sat", "x")
    whole, left = [*system, *spoken], [*system, *spoken[n_lost:]]
    answer = ask(gpt, "POST", path, {"messages": whole, **limits}).json
    n_tokens, n_left = len(encode(BYTES, whole).ids), len(encode(BYTES, left).ids)
    assert answer["usage"]["prompt_tokens"] == n_left <= 64 - min(max_tokens, 32) < n_tokens
    [choice], [expected] = answer["choices"], ask(gpt, "POST", path, {"messages": left, **limits}).json["choices"]
    assert choice["message"] == expected["message"]
    warning = (f"the conversation is {n_tokens} tokens long and the model's context 64: its first {n_lost} messages"
              f"{' after the system message' * len(system)} are not read.")  # fmt: skip
    assert choice["warnings"] == [warning, *expected["warnings"]]
    first = ask(gpt, "POST", path, {"messages": whole, **limits, "stream": True}).events[0]
    assert first["choices"][0]["warnings"][0] == warning


def test_a_conversation_that_just_fits_is_read_whole(gpt):
    messages = turns("hello", "x" * 18, "y")
    assert len(gpt.served.template.encode(BYTES, messages).ids) == 64
    answer = ask(gpt, "POST", "/v1/chat/completions", {"messages": messages, "max_tokens": 2, "seed": 4}).json
    assert answer["usage"]["prompt_tokens"] == 64


def test_a_message_that_cannot_fit_is_refused_as_openai_refuses_it(gpt):
    path, system = "/v1/chat/completions", [{"role": "system", "content": "Bark."}]
    for before, words in (([], "tokens long, and"), (system, "tokens long with the system message, and")):
        answer = ask(gpt, "POST", path, {"messages": [*before, *turns("hello", "hi", "x" * 60)]})
        assert answer.status == 400 and answer.error["code"] == "context_length_exceeded"
        assert answer.error["param"] == "messages" and words in answer.error["message"]


def test_the_beginning_of_an_answer_may_outgrow_the_context(gpt):
    """As the answer itself may: of what has been said the oldest goes, and then the beginning of all."""
    path, messages = "/v1/chat/completions", turns("hello", "hi", "a cat")
    begun = list(range(30))
    answer = ask(gpt, "POST", path, {"messages": messages, "prefix": begun, "max_tokens": 8, "seed": 4}).json
    ids = [*gpt.served.template.encode(BYTES, messages[-1:]).ids, *begun]
    [expected] = generate(gpt.served.model, BYTES, [ids], SamplingOptions(8, seed=4))
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["choices"][0]["message"]["content"] == expected.text
    assert "its first 2 messages are not read" in answer["choices"][0]["warnings"][0]
    body = {"messages": messages, "prefix": "x" * 100, "max_tokens": 8, "seed": 4}
    answer = ask(gpt, "POST", path, body).json
    assert answer["usage"]["prompt_tokens"] == 64 - 8
    assert "only the last 56 are read" in " ".join(answer["choices"][0]["warnings"])


@pytest.mark.parametrize("prefix", ["One day ", [79, 110, 255, 101]])
def test_an_answer_that_is_begun_goes_on_from_there(gpt, prefix):
    path, messages = "/v1/chat/completions", [{"role": "user", "content": "hello"}]
    begun = BYTES.encode(prefix) if isinstance(prefix, str) else prefix  # ids, too, that are no text
    ids = [*gpt.served.template.encode(BYTES, messages).ids, *begun]
    [expected] = generate(gpt.served.model, BYTES, [ids], SamplingOptions(8, seed=4))
    body = {"messages": messages, "prefix": prefix, "max_tokens": 8, "seed": 4, "logprobs": True}
    answer = ask(gpt, "POST", path, body).json
    [choice] = answer["choices"]
    assert [token["id"] for token in choice["logprobs"]["content"]] == expected.ids
    assert choice["message"]["content"] == expected.text  # and not the beginning once more
    assert answer["usage"]["prompt_tokens"] == len(ids)
    events = ask(gpt, "POST", path, body | {"stream": True}).events
    assert "".join(event["choices"][0]["delta"]["content"] for event in events) == expected.text


@pytest.mark.parametrize("prefix", ["", [], [257], [-1], [1.5], ["a"], [[1]], True, {}])
def test_an_answer_is_begun_with_a_text_or_with_tokens(gpt, prefix):
    answer = ask(gpt, "POST", "/v1/chat/completions", BODIES["/v1/chat/completions"] | {"prefix": prefix})
    assert answer.status == 400 and answer.error["param"].startswith("prefix")


def test_the_bytes_of_a_token_are_its_own(gpt):
    """Also where it is half a character, whose text is U+FFFD: put together, the halves are the character again."""
    body = BODIES["/v1/chat/completions"] | {"max_tokens": 40, "top_logprobs": 5}
    tokens = ask(gpt, "POST", "/v1/chat/completions", body).json["choices"][0]["logprobs"]["content"]
    tokens += [other for token in tokens for other in token["top_logprobs"]]
    for token in tokens:
        assert bytes(token["bytes"]) == BYTES.token_bytes(token["id"])
    assert any(token["token"] == "\ufffd" for token in tokens)


def test_the_smaller_of_both_limits_of_a_chat_counts(gpt):
    body = BODIES["/v1/chat/completions"] | {"max_tokens": 5, "max_completion_tokens": 3}
    assert ask(gpt, "POST", "/v1/chat/completions", body).json["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_says_the_same_as_a_whole_answer(gpt, path):
    body = BODIES[path] | {"n": 3, "max_tokens": 15, "logprobs": 2 if path == "/v1/completions" else True}
    body |= {"top_logprobs": 2} if "chat" in path else {}
    whole = ask(gpt, "POST", path, body).json
    answer = ask(gpt, "POST", path, body | {"stream": True, "stream_options": {"include_usage": True}})
    assert answer.headers["Content-Type"] == "text/event-stream"
    *events, last = answer.events
    assert last["choices"] == [] and last["usage"] == whole["usage"]
    assert all(event["usage"] is None and event["id"] == last["id"] for event in events)
    for choice in whole["choices"]:
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == choice["index"]]
        assert [one["finish_reason"] for one in mine[:-1]] == [None] * (len(mine) - 1)
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        if "chat" in path:
            assert mine[0]["delta"]["role"] == "assistant" and not any("role" in one["delta"] for one in mine[1:])
            assert "".join(one["delta"]["content"] for one in mine) == choice["message"]["content"]
            assert sum([one["logprobs"]["content"] for one in mine], []) == choice["logprobs"]["content"]
        else:
            assert "".join(one["text"] for one in mine) == choice["text"]
            for name, values in choice["logprobs"].items():
                assert sum([one["logprobs"][name] for one in mine], []) == values, name
    assert "usage" not in ask(gpt, "POST", path, body | {"stream": True}).events[-1]


def test_the_events_of_a_stream_are_not_more_than_a_person_can_see(gpt):
    """A small model is faster than eyes, and events are not for nothing."""
    start = time.monotonic()
    body = ENDLESS | {"max_tokens": 300, "stream": True, "stream_options": {"include_usage": True}}
    *events, last = ask(gpt, "POST", "/v1/completions", body).events
    assert last["usage"]["completion_tokens"] == 300
    assert len(events) <= 2 + (time.monotonic() - start) / 0.03


def test_several_texts_of_a_stream_come_side_by_side(gpt, monkeypatch):
    seen, all_seen, sample = set(), threading.Event(), type(gpt.engine._batch).sample
    # no text ends before something of each has been read, unless that takes a minute
    monkeypatch.setattr(type(gpt.engine._batch), "sample", lambda self: (
        len(self.sequences[0].ids) < 10 or all_seen.wait(60), sample(self))[1])  # fmt: skip
    _, pieces = begin(gpt, "POST", "/v1/completions", ENDLESS | {"n": 3, "max_tokens": 20, "stream": True})
    for piece in pieces:
        for event in events(piece + b"data: [DONE]\n\n" * (b"[DONE]" not in piece)):
            [choice] = event["choices"]
            seen.add(choice["index"])
            assert choice["finish_reason"] is None or len(seen) == 3
        if len(seen) == 3:
            all_seen.set()
    assert len(seen) == 3


def test_texts_that_always_have_news_take_turns_in_a_stream():
    class Text:
        def news(self, seconds):
            return True

        def wait(self, seconds):
            return False

        def events(self):
            return iter([Event("a", ()), Event("b", ()), Event("c", (), "length")])

    assert [number for number, _ in merged_events([Text(), Text(), Text()])] == [0, 1, 2] * 3


def test_a_stream_of_several_texts_sleeps_while_there_is_nothing_new(gpt, monkeypatch):
    """It waits for the first of them, and does not go round all of them a hundred times a second."""
    looks, original, sample, start = [], GenerationRequest.wait_for_event, type(gpt.engine._batch).sample, time.monotonic()
    monkeypatch.setattr(GenerationRequest, "wait_for_event", lambda self, seconds: (looks.append(1), original(self, seconds))[1])
    monkeypatch.setattr(type(gpt.engine._batch), "sample", lambda self: (time.sleep(0.4), sample(self))[1])
    body = ENDLESS | {"n": 3, "max_tokens": 4, "stream": True}
    n_events = len(ask(gpt, "POST", "/v1/completions", body).events)
    n_rounds = 2 * n_events + (time.monotonic() - start) / POLL_SECONDS + 1  # at most: with news, and without
    assert len(looks) <= 4 * n_rounds  # about 170 in these two seconds; it was 300 in each


def test_what_a_person_should_know_stands_with_the_choice(gpt):
    [choice] = ask(gpt, "POST", "/v1/completions", {"prompt": "x" * 100, "max_tokens": 2}).json["choices"]
    assert "the prompt is 100 tokens long" in choice["warnings"][0]
    events = ask(gpt, "POST", "/v1/completions", {"prompt": "x" * 100, "max_tokens": 2, "stream": True}).events
    assert "the prompt is 100 tokens long" in events[0]["choices"][0]["warnings"][0]


# Models that read


def test_embeddings(apps):
    for kind in KINDS:
        served, texts = apps[kind].served, [f"the cat {n}" for n in range(20)]
        answer = ask(apps[kind], "POST", "/v1/embeddings", {"input": texts}).json
        expected = embed(served.model, served.tokenizer, texts).numpy()
        assert [one["index"] for one in answer["data"]] == list(range(20))
        np.testing.assert_allclose([one["embedding"] for one in answer["data"]], expected, atol=1e-6)
        coded = ask(apps[kind], "POST", "/v1/embeddings", {"input": texts[3], "encoding_format": "base64"}).json
        vector = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), dtype="<f4")
        np.testing.assert_allclose(vector, expected[3], atol=1e-6)
        n_tokens = len(served.tokenizer.encode(texts[3])) + served.tokenizer.n_special_tokens(1)
        assert coded["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}


def test_what_is_not_read_of_a_text_is_said(apps):
    """The context is 64 tokens, some of which frame the texts."""
    embed = "/v1/embeddings", "its beginning is"
    for kind, path, what in (("gpt", *embed), ("bert", *embed),
                             ("classifier", "/v1/classify", "its beginning and its end are")):  # fmt: skip
        served = apps[kind].served
        words = (64 - served.tokenizer.n_special_tokens(1)) // len(served.tokenizer.encode(" cat"))
        long = " cat" * words + " cat" * 5
        n = len(served.tokenizer.encode(long)) + served.tokenizer.n_special_tokens(1)
        fitting, cut = ask(apps[kind], "POST", path, {"input": [" cat" * words, long]}).json["data"]
        assert "warnings" not in fitting
        assert cut["warnings"] == [f"the text is {n} tokens long, its frame included, and the model's context 64: "
                                  f"only {what} read."]  # fmt: skip
    served, context = apps["span"].served, "the cat sat on the mat"
    n_left = (64 - served.tokenizer.n_special_tokens(2)) // 2
    n_each = len(served.tokenizer.encode("cat"))
    for n_words, n_cut in ((n_left // n_each, 0), (40, 40 * n_each - n_left)):
        body = {"question": "cat " * n_words, "context": context}
        answer = ask(apps["span"], "POST", "/v1/question-answering", body).json
        said = [f"the question is too long: its last {n_cut} tokens are not read."]
        assert answer.get("warnings") == (said if n_cut else None)
    assert (
        "warnings"
        not in ask(apps["span"], "POST", "/v1/question-answering", {"question": "cat", "context": "cat " * 200}).json
    )


def test_classify(apps):
    served, texts = apps["classifier"].served, ["the cat sat", "a dog"] * 10
    answer = ask(apps["classifier"], "POST", "/v1/classify", {"input": texts}).json
    rows = classify(served.model, served.tokenizer, texts)
    for number, (one, row) in enumerate(zip(answer["data"], rows, strict=True)):
        assert one["index"] == number and one["label"] == served.config.labels[row.argmax()]
        assert list(one["scores"].values()) == pytest.approx(row.tolist(), abs=1e-5) and "evidence" not in one
    [one] = ask(apps["classifier"], "POST", "/v1/classify", {"input": "the cat sat", "evidence": True}).json["data"]
    expected = label_evidence(served.model, served.tokenizer, "the cat sat")
    assert [(word["start"], word["end"], word["text"]) for word in one["evidence"]] == [e[:3] for e in expected]
    assert [word["influence"] for word in one["evidence"]] == pytest.approx([e.influence for e in expected], abs=1e-5)


def test_answer(apps):
    served = apps["span"].served
    found = []
    for context in ("the cat sat on the mat .", "a dog ran to the river", "Anna was sad .", "x", "the river " * 60):
        answer = ask(apps["span"], "POST", "/v1/question-answering", {"question": "who ?", "context": context}).json
        [best] = answer_questions(served.model, served.tokenizer, [QA(context, "who ?", ())])
        assert answer["answer"] == best.text and answer["answerable"] == bool(best.text)
        assert answer["score"] == pytest.approx(best.score, abs=1e-4)
        if best.text:
            assert context[answer["start"] : answer["end"]] == best.text
        found.append(answer["answerable"])
    assert any(found)


def test_fill(apps):
    served = apps["bert"].served
    body = {"input": "the [MASK] sat on the [MASK] .", "n": 3}
    masks = ask(apps["bert"], "POST", "/v1/fill-mask", body).json["masks"]
    expected = fill_masks(served.model, served.tokenizer, body["input"], 3)
    assert [[one["token"] for one in mask] for mask in masks] == [[token for token, _ in best] for best in expected]
    assert [[one["probability"] for one in mask] for mask in masks] == [
        pytest.approx([p for _, p in best], abs=1e-5) for best in expected
    ]
    assert [served.tokenizer.decode([one["id"]]).strip() for one in masks[0]] == [one["token"] for one in masks[0]]


def test_translate(apps):
    served = apps["transformer"].served
    sources = ["abc", "hello you"]
    body = {"input": sources, "beams": 3, "length_penalty": 1.0, "max_tokens": 6}
    answer = ask(apps["transformer"], "POST", "/v1/translate", body).json
    found = beam_search(served.model, served.tokenizer, sources, BeamOptions(3, 1.0, 6))
    assert [one["text"] for one in answer["data"]] == [best[0].text.strip() for best in found]
    n_tokens = sum(len(best[0].ids) for best in found)
    assert answer["usage"] == {"prompt_tokens": 14, "completion_tokens": n_tokens, "total_tokens": 14 + n_tokens}


@pytest.mark.parametrize("kind", ["gpt", "bert", "transformer"])
def test_look(apps, kind):
    body = {"input": "the cat"} | ({"target": "le chat"} if kind == "transformer" else {})
    for show in ("tokens", "attention"):
        answer = ask(apps[kind], "POST", "/v1/inspect", body | {"show": show})
        assert answer.status == 200 and answer.json["object"] == "look" and answer.json["tokens"], answer.json
    lens = ask(apps[kind], "POST", "/v1/inspect", body | {"show": "lens"})
    assert lens.status == (400 if kind == "transformer" else 200)


# Refusals


@pytest.mark.parametrize("path", list(BODIES))
def test_a_body_is_taken_if_and_only_if_the_document_says_so(apps, path):
    """Every field gets values of every kind; what our checks say is compared with a JSON Schema validator."""
    app = apps[kinds_with(path)[0]]
    schema = ask(app, "GET", "/openapi.json").json["paths"][path]["post"]["requestBody"]["content"][JSON]["schema"]
    validator, check = jsonschema_rs.validator_for(schema), app._bodies[path].check
    n_refused = 0
    for name in schema["properties"]:
        for value in WRONG:
            body = {**BODIES[path], name: value}
            try:
                check(read_json(json.dumps(body).encode()))
                refused = None
            except RequestError as error:
                refused = error
                n_refused += 1
                assert name in str(error) and name in error.param and len(str(error)) < 1000
            assert validator.is_valid(body) == (refused is None), (body, refused)
    n = len(schema["properties"]) * len(WRONG)
    print(f"\n{path}: {n} bodies with another value in one field, {n_refused} refused, 0 otherwise than documented")
    assert n_refused > 15 * len(schema["properties"])


@pytest.mark.parametrize("path", list(BODIES))
def test_wrong_types_are_refused_with_a_sentence(apps, path):
    app, draw = apps[kinds_with(path)[0]], random.Random(0)
    assert ask(app, "POST", path, BODIES[path]).status == 200
    for name in [*app._bodies[path].fields]:
        for value in draw.sample(WRONG, 6):
            body = {"max_tokens": 2} | BODIES[path] if "max_tokens" in app._bodies[path].fields else BODIES[path]
            answer = ask(app, "POST", path, {**body, name: value})
            assert answer.status in (200, 400, 404), (name, value, answer.body)
            if answer.status != 200:
                assert answer.error["param"] or "text" in answer.error["message"]


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"{", "the body is not JSON"),
        (b"{'prompt': 'a'}", "the body is not JSON"),
        (b'{"prompt": "a",}', "the body is not JSON"),
        (b'{"prompt": "a"} {}', "the body is not JSON"),
        (b'\xef\xbb\xbf{"prompt": "a"}', "the body is not JSON"),
        (b'{"prompt": "\xff"}', "not UTF-8 text (byte 12)"),
        ('{"prompt": "a"}'.encode("utf-16"), "not UTF-8"),
        (b'{"prompt": "a\nb"}', "the body is not JSON"),
        (b"[]", "the body is an empty list"),
        (b'"prompt"', 'the body is "prompt"'),
        (b"null", "the body is null"),
        (b"12", "the body is 12"),
        (b"{}", "prompt is missing"),
        (b'{"prompt": null}', "prompt is missing"),
        (b'{"prompt": "a", "prompt": "b"}', 'has "prompt" twice'),
        (b'{"prompt": "a", "temperature": NaN}', "holds NaN"),
        (b'{"prompt": "a", "temperature": -Infinity}', "holds -Infinity"),
        (b'{"prompt": "a", "temperature": 1e999}', "1e999, which is too large"),
        (b'{"prompt": "a", "seed": ' + b"9" * 100_000 + b"}", "a number of 100000 digits"),
        (b'{"prompt": "a", "seed": 99999999999999999999}', "seed is 99999999999999999999"),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
        (rb'{"prompt": "a\ud800b"}', "half a character"),
        (rb'{"\ud800": 1, "prompt": "a"}', r"there is no field"),
        (b'{"prompt": "a", "promt": "b"}', 'there is no field "promt" here; did you mean "prompt"?'),
        (b'{"prompt": "a", "max_token": 3}', 'did you mean "max_tokens"?'),
        (b'{"prompt": "a", "tools": []}', 'there is no field "tools" here; '),
        (b'{"prompt": [1, 257]}', "prompt[1] is 257; it must be a whole number from 0 to 256"),
        (b'{"prompt": [1, -1]}', "prompt[1] is -1"),
        (b'{"prompt": [[1], [2, 300]]}', "prompt[1][1] is 300"),
        (b'{"prompt": []}', "prompt is an empty list"),
        (b'{"prompt": "a", "temperature": 0.0001}', "temperature is 0.0001; it must be 0, or a number from 0.001"),
        (b'{"prompt": "a", "temperature": "hot"}', 'temperature is "hot"'),
        (b'{"prompt": "a", "n": true}', "n is true; it must be a whole number from 1 to 16"),
        (b'{"prompt": "a", "n": 17}', "n is 17"),
        (b'{"prompt": "a", "presence_penalty": 3}', "presence_penalty is 3; it must be a number from -2 to 2"),
        (b'{"prompt": "a", "echo": true}', "echo is true; it must be false"),
        (b'{"prompt": "a", "best_of": 2}', "best_of is 2; it must be 1"),
        (b'{"prompt": "a", "suffix": "b"}', 'suffix is "b"; it must be null'),
        (b'{"prompt": "a", "stop": [""]}', "stop[0] has 0 characters"),
        (b'{"prompt": "a", "stream_options": {"x": 1}}', 'no field "x" in stream_options'),
        (b'{"prompt": "a", "stream_options": {"include_obfuscation": true}}', "it must be false: events are"),
        (b'{"prompt": "a", "logit_bias": {"50": 1}}', "logit_bias is an object; it must be an empty object: no token"),
        (b'{"prompt": "a", "max_tokens": 100000}', "max_tokens is 100000"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_body_is_said(gpt, body, words):
    answer = ask(gpt, "POST", "/v1/completions", body)
    assert answer.status == 400 and words in answer.error["message"], answer.error
    assert answer.error["type"] == "invalid_request_error" and len(answer.body) < 1500


@pytest.mark.parametrize(
    "messages, words",
    [
        ([], "messages is an empty list"),
        ([{"role": "user"}], "messages[0].content is missing"),
        ([{"role": "robot", "content": "a"}], 'messages[0].role is "robot"; it must be "system" or "user"'),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": " "}], 'messages[1].content is " "'),
        ([{"role": "user", "content": "a", "name": "Bob"}], 'messages[0].name is "Bob"; it must be null: the model is'),
        ([{"role": "user", "content": "a", "nam": "Bob"}], 'no field "nam" in messages[0]; did you mean "name"?'),
        (["hello"], 'messages[0] is "hello"; it must be a JSON object'),
        ([{"role": "user", "content": [{"type": "image_url", "text": "a"}]}], 'type is "image_url"; it must be "text"'),
        ("hello", 'messages is "hello"'),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said(gpt, messages, words):
    answer = ask(gpt, "POST", "/v1/chat/completions", {"messages": messages})
    assert answer.status == 400 and words in answer.error["message"], answer.error


@pytest.mark.parametrize(
    "field, words",
    [
        ({"response_format": {"type": "json_object"}}, 'response_format.type is "json_object"; it must be "text"'),
        ({"response_format": {"type": "text", "json_schema": {}}}, 'no field "json_schema" in response_format'),
        ({"tools": [{"type": "function"}]}, "tools is a list of 1; it must be an empty list: the models"),
        ({"tool_choice": "required"}, 'tool_choice is "required"; it must be "none" or "auto"'),
        ({"store": True}, "store is true; it must be false: no answer is kept here"),
        ({"reasoning_effort": "low"}, 'there is no field "reasoning_effort" here'),
    ],
    ids=str,
)
def test_what_would_change_a_chat_elsewhere_is_refused(gpt, field, words):
    answer = ask(gpt, "POST", "/v1/chat/completions", BODIES["/v1/chat/completions"] | field)
    assert answer.status == 400 and words in answer.error["message"], answer.error


def test_a_source_that_is_too_long_is_named_before_any_is_translated(apps, monkeypatch):
    monkeypatch.setattr(apps["transformer"].engine, "run", lambda *args: pytest.fail("the model has begun"))
    for sources, place in (("x" * 100, "input"), (["a", "b", "x" * 100], "input[2]")):
        answer = ask(apps["transformer"], "POST", "/v1/translate", {"input": sources})
        assert answer.status == 400 and answer.error["param"] == place
        assert answer.error["message"].startswith(f"{place} is 101 tokens long, its end included, and the model's")
        assert "context is 48" in answer.error["message"] and answer.error["code"] == "context_length_exceeded"


def test_what_only_the_model_can_find_wrong_is_said_too(apps):
    answer = ask(apps["gpt"], "POST", "/v1/inspect", {"input": "x" * 100})
    assert answer.status == 400 and "100 tokens" in answer.error["message"]


def test_only_json_is_read(gpt):
    """A form of another site's page can be sent here by a browser as text or form data, but not as JSON."""
    body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"):
        answer = ask(gpt, "POST", "/v1/completions", body, CONTENT_TYPE=kind)
        assert answer.status == 415 and "application/json" in answer.error["message"]
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        assert ask(gpt, "POST", "/v1/completions", body, CONTENT_TYPE=kind).status == 200


def test_no_page_of_another_site_may_read_an_answer(gpt):
    for method, path in (("GET", "/v1/models"), ("OPTIONS", "/v1/completions"), ("GET", "/")):
        answer = ask(gpt, method, path, HTTP_ORIGIN="https://evil.example", HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST")
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_has_a_largest_size():
    with app_of(tiny("gpt"), max_body=1000) as app:
        fitting = json.dumps({"prompt": "a" * 900, "max_tokens": 1}).encode()
        assert ask(app, "POST", "/v1/completions", fitting.ljust(1000)).status == 200
        for length in ("1001", "9" * 30):
            answer = ask(app, "POST", "/v1/completions", fitting.ljust(1001), CONTENT_LENGTH=length)
            assert answer.status == 413 and "up to 1,000 bytes" in answer.error["message"]
        # a server that takes chunks does not know the length before the end
        chunked = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
        assert ask(app, "POST", "/v1/completions", fitting.ljust(1000), **chunked).status == 200
        assert ask(app, "POST", "/v1/completions", fitting.ljust(1001), **chunked).status == 413
        assert ask(app, "POST", "/v1/completions", fitting, CONTENT_LENGTH="-5").status == 400


def test_another_method_is_refused_with_those_that_there_are(gpt):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"):
        answer = ask(gpt, method, "/v1/completions")
        assert answer.status == 405 and answer.headers["Allow"] == "POST"
    assert ask(gpt, "POST", "/v1/models").headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/v1/models/tiny-gpt", "/metrics", "/openapi.json"])
def test_head_is_get_without_the_body(gpt, path):
    head, get = ask(gpt, "HEAD", path), ask(gpt, "GET", path)
    assert head.status == get.status == 200 and head.body == b"" and get.body
    if path != "/metrics":  # which counts its readers
        assert head.headers == get.headers


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/v1/../../etc/passwd", "/v1/models/../../../etc/passwd", "/v1/models/..\\..\\x", "//",
             "/page/index.html", "/v1", "/v1/models//etc/passwd", "/v1/models/", "", "/v1/completions/", "/\x00",
             "/\xff", "/v1/models/" + "a" * 10_000, "/.git/config", "/v1/models/{0.__class__}", "/static/../app.py"],
)  # fmt: skip
def test_no_path_leads_to_a_file(gpt, path):
    answer = ask(gpt, "GET", path)
    assert answer.status == 404 and answer.error["type"] == "not_found_error"
    assert b"root:" not in answer.body and len(answer.body) < 1000


def test_a_path_that_is_nearly_right_is_answered_with_the_right_one(gpt):
    assert "did you mean /v1/completions?" in ask(gpt, "POST", "/completions").error["message"]


# Who may ask


def test_a_key_is_asked_for():
    with app_of(tiny("gpt"), api_key="open-sesame") as app:
        for path in ("/", "/health", "/ready"):
            assert ask(app, "GET", path).status == 200
        for shown in (None, "", "Bearer", "Bearer ", "Bearer open-sesam", "Bearer open-sesame2", "Basic open-sesame",
                      "open-sesame", "Bearer \xff", "Bearer open-sesame open-sesame"):  # fmt: skip
            given = {} if shown is None else {"HTTP_AUTHORIZATION": shown}
            for method, path in (("POST", "/v1/completions"), ("GET", "/v1/models"), ("GET", "/metrics")):
                answer = ask(app, method, path, BODIES["/v1/completions"], **given)
                assert answer.status == 401 and answer.error["type"] == "authentication_error"
                assert answer.headers["WWW-Authenticate"] == "Bearer" and "open-sesame" not in answer.error["message"]
        for shown in ("Bearer open-sesame", "bearer open-sesame"):
            assert ask(app, "GET", "/v1/models", HTTP_AUTHORIZATION=shown).status == 200
        for method, path in (
            ("GET", "/nowhere"),
            ("POST", "/v1/fill-mask"),
            ("GET", "/v1/fill-mask"),
            ("GET", "/health/"),
        ):
            assert ask(app, method, path).status == 401  # nor is it told what there is
        document = ask(app, "GET", "/openapi.json", HTTP_AUTHORIZATION="Bearer open-sesame").json
        assert document["paths"]["/v1/completions"]["post"]["security"] == [{"key": []}]
        assert document["paths"]["/health"]["get"]["security"] == []


def test_the_key_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LLMASOS_API_KEY", "open-sesame")
    with app_of(tiny("gpt")) as app:
        assert ask(app, "GET", "/v1/models").status == 401


@pytest.mark.parametrize("key", ["", " ", "a b", "schlüssel", "a\n"])
def test_a_key_that_cannot_be_sent_is_refused(key):
    with pytest.raises(UserError, match="API key"):
        create_app(tiny("gpt"), api_key=key)


def test_an_application_that_cannot_be_made_leaves_no_thread(monkeypatch):
    engine = tiny("gpt")
    monkeypatch.setattr("llmasos.serving.app.document", lambda *args, **named: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        create_app(engine)
    assert not engine.alive


def test_a_page_that_gives_its_name_our_address_is_refused(gpt):
    for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST", "localhost."):
        assert ask(gpt, "GET", "/v1/models", HTTP_HOST=host).status == 200, host
    for host in ("evil.example", "localhost.evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]",
                 "evil.example@localhost", "[::1].evil.example"):  # fmt: skip
        for path in ("/", "/health", "/v1/models", "/nowhere"):
            answer = ask(gpt, "GET", path, HTTP_HOST=host)
            assert answer.status == 403 and answer.error["code"] == "host_not_allowed", host


def test_the_names_of_a_server_can_be_given(gpt):
    with app_of(tiny("gpt"), hosts=["models.example"]) as app:
        assert ask(app, "GET", "/v1/models", HTTP_HOST="models.example:80").status == 200
        assert ask(app, "GET", "/v1/models", HTTP_HOST="localhost").status == 403
    for given, asked in (("Example.com", "example.COM:80"), ("example.com.", "example.com"), ("::1", "[::1]:8000"),
                         ("fe80::0:1", "[fe80::1]"), ("10.0.0.7", "10.0.0.7:8000")):  # fmt: skip
        with app_of(tiny("gpt"), hosts=[given]) as app:
            assert ask(app, "GET", "/v1/models", HTTP_HOST=asked).status == 200, (given, asked)
            assert ask(app, "GET", "/v1/models", HTTP_HOST="evil.example").status == 403
    assert ask(gpt, "GET", "/v1/models", HTTP_HOST="[fe80::2]:80", **{"llmasos.host": "fe80::2"}).status == 200
    with pytest.raises(UserError, match="must be a list of names"):
        create_app(tiny("gpt"), hosts="models.example")
    with app_of(tiny("gpt"), hosts=["*"]) as app:
        assert ask(app, "GET", "/v1/models", HTTP_HOST="anything").status == 200
    with app_of(tiny("gpt"), api_key="k") as app:  # nobody's browser knows the key
        assert ask(app, "GET", "/v1/models", HTTP_HOST="anything", HTTP_AUTHORIZATION="Bearer k").status == 200


# How much may be asked for


def test_more_texts_than_can_ever_wait_are_too_many():
    """And not "busy", which would send the client away to try again for ever."""
    engine = tiny("gpt")
    engine.max_waiting = 8
    with app_of(engine) as app:
        body = {"prompt": ["a", "b", "c"], "max_tokens": 1, "n": 2}
        assert ask(app, "POST", "/v1/completions", body).status == 200
        answer = ask(app, "POST", "/v1/completions", body | {"n": 3})
        assert answer.status == 400 and answer.error["param"] == "n"
        assert "3 prompts with n = 3 are 9 texts" in answer.error["message"]
        assert "an n of at most 2" in answer.error["message"]


def test_what_one_answer_may_hold_is_bounded(gpt):
    chat = BODIES["/v1/chat/completions"] | {"max_tokens": 4096, "n": 2, "top_logprobs": 20}
    for path, body in (("/v1/completions", ENDLESS | {"n": 2, "logprobs": 20}), ("/v1/chat/completions", chat)):
        answer = ask(gpt, "POST", path, body)
        assert answer.status == 400 and answer.error["param"] == "max_tokens"
        assert "are 172,032 tokens to be told; one answer may hold 100,000" in answer.error["message"]


@pytest.mark.slow
def test_the_memory_for_one_answer(gpt):
    """The largest that may be asked for would take less than 200 MB."""
    n_tokens = 300
    for path, body in (
        ("/v1/completions", ENDLESS | {"logprobs": 20}),
        ("/v1/chat/completions", BODIES["/v1/chat/completions"] | ENDLESS | {"top_logprobs": 20, "prompt": None}),
    ):
        body = {name: value for name, value in body.items() if value is not None} | {"max_tokens": n_tokens}
        tracemalloc.start()
        answer = ask(gpt, "POST", path, body).json
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        n_told = 21 * answer["usage"]["completion_tokens"]
        print(f"\n{path}: {peak / n_told:.0f} bytes for each token and each alternative")
        assert n_told > 1000 and peak / n_told * MAX_RECORDED < 200e6


@pytest.mark.parametrize("path, kind", [("/v1/embeddings", "gpt"), ("/v1/classify", "classifier"),
                                        ("/v1/translate", "transformer"), ("/v1/inspect", "bert")])  # fmt: skip
def test_a_request_of_many_jobs_has_one_time_limit(path, kind, monkeypatch):
    engine, clock = tiny(kind), [0.0]
    monkeypatch.setattr("llmasos.serving.http.http_types.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with app_of(engine) as app:
        run, given = engine.run, []

        def slow(job, seconds):
            given.append(seconds)
            clock[0] += 400
            return run(job, seconds)

        monkeypatch.setattr(engine, "run", slow)
        engine.request_seconds = 1000
        body = {"input": "the cat sat on the mat ." * 2} if path == "/v1/inspect" else {"input": ["the cat"] * 30}
        answer = ask(app, "POST", path, body)
        assert answer.status == 504 and answer.error["code"] == "timeout" and "1000 seconds" in answer.error["message"]
        assert given == [1000, 600, 200]  # each has what the others have left


def test_a_job_that_nobody_waits_for_any_more_is_not_done(apps):
    bodies = {"gpt": ["/v1/embeddings", "/v1/inspect"], "bert": ["/v1/fill-mask", "/v1/inspect"], "classifier": ["/v1/classify"],
              "span": ["/v1/question-answering"], "transformer": ["/v1/translate"]}  # fmt: skip
    for kind, paths in bodies.items():
        model, n_calls = apps[kind].served.model, []
        hook = model.register_forward_pre_hook(lambda module, inputs, n_calls=n_calls: n_calls.append(1))
        for path in paths:
            assert ask(apps[kind], "POST", path, BODIES[path], **{"llmasos.client_gone": lambda: True}).status == 499
        hook.remove()
        assert not n_calls


def test_many_readings_let_others_in_between(apps):
    """A bert reads a text again for each token, a few times in a row; through the lens one layer is asked at a time."""
    for kind, show, n_pieces in (("bert", "tokens", 4), ("gpt", "lens", 3)):
        engine, n_jobs = apps[kind].engine, []
        run = engine.run
        engine.run = lambda job, seconds, run=run, n_jobs=n_jobs: (n_jobs.append(1), run(job))[1]
        try:
            body = {"input": "the cat sat on the mat . " * 2, "show": show}
            assert ask(apps[kind], "POST", "/v1/inspect", body).status == 200
        finally:
            del engine.run
        assert len(n_jobs) >= n_pieces


def test_evidence_is_asked_for_a_few_texts(apps):
    body = {"input": ["the cat"] * 8, "evidence": True}
    assert ask(apps["classifier"], "POST", "/v1/classify", body).status == 200
    answer = ask(apps["classifier"], "POST", "/v1/classify", body | {"input": ["the cat"] * 9})
    assert answer.status == 400 and answer.error["param"] == "input" and "at most 8" in answer.error["message"]


# When it goes wrong inside


def test_a_full_queue_is_told_with_a_time_to_come_back(gpt, monkeypatch):
    def submit_all(*args):
        raise QueueFull("the server is busy: it has enough to do; ask again in 3 s.", 2.5)

    monkeypatch.setattr(gpt.engine, "submit_all", submit_all)
    answer = ask(gpt, "POST", "/v1/completions", {"prompt": "a"})
    assert answer.status == 429 and answer.headers["Retry-After"] == "3"
    assert answer.error["type"] == "rate_limit_error" and answer.error["code"] == "busy"


def test_a_bug_is_reported_without_its_insides(gpt, monkeypatch, caplog):
    def submit_all(*args):
        raise RuntimeError("the secret path /home/somebody")

    monkeypatch.setattr(gpt.engine, "submit_all", submit_all)
    answer = ask(gpt, "POST", "/v1/completions", {"prompt": "a"})
    assert answer.status == 500 and answer.error["type"] == "server_error" and "secret" not in answer.error["message"]
    number = re.search(r"error (\w{8})", answer.error["message"])[1]
    assert number in caplog.text and "secret" in caplog.text


def test_a_failure_in_mid_stream_is_an_event_and_the_end(gpt, monkeypatch):
    def sample(self):
        if len(self.sequences[0].ids) == 3:
            on_its_way.wait(60)
            raise RuntimeError("out of memory")
        return original(self)

    on_its_way, original = threading.Event(), type(gpt.engine._batch).sample
    monkeypatch.setattr(type(gpt.engine._batch), "sample", sample)
    body = {"prompt": "a", "max_tokens": 10, "stream": True, "seed": 3}
    said, pieces = begin(gpt, "POST", "/v1/completions", body)
    assert said[0].startswith("200 ")
    on_its_way.set()
    received = b"".join(pieces)
    assert b"event: error\ndata: " in received and b"[DONE]" not in received
    error = json.loads(received.rsplit(b"data: ", 1)[1])["error"]
    assert "the model could not be computed" in error["message"] and error["type"] == "server_error"
    assert ask(gpt, "POST", "/v1/completions", {"prompt": "a", "max_tokens": 3}).status == 200


@pytest.fixture
def patient():
    """A server whose texts may become so long that they do not end while a test looks at them."""
    with app_of(tiny("gpt"), max_tokens=100_000) as app:
        yield app


def test_a_stream_that_is_closed_frees_its_place(patient):
    body = FOR_EVER | {"stream": True, "n": 2, "max_tokens": 50_000}
    _, pieces = begin(patient, "POST", "/v1/completions", body)
    next(iter(pieces))
    wait_until(lambda: patient.engine.n_running == 2)
    pieces.close()
    wait_until(lambda: patient.engine.n_running == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_has_gone_frees_its_place(patient, stream):
    def client_gone() -> bool:
        return patient.engine.n_running == 1

    body = FOR_EVER | {"stream": stream}
    assert ask(patient, "POST", "/v1/completions", body, **{"llmasos.client_gone": client_gone}).status == 499
    wait_until(lambda: patient.engine.n_running == 0)


# Metrics


def test_metrics_count_what_happens():
    with app_of(tiny("gpt")) as app:
        usage = ask(app, "POST", "/v1/completions", {"prompt": "abc", "max_tokens": 7, "n": 2, "seed": 3}).json["usage"]
        ask(app, "POST", "/v1/completions", {"prompt": 5})
        ask(app, "GET", '/nowhere/\n"}')
        wait_until(lambda: app.engine.n_running == 0)  # the last token is told a moment before the place is free
        answer = ask(app, "GET", "/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        values = prometheus(answer.body.decode())
    assert values['llmasos_http_requests_total{route="/v1/completions",method="POST",status="200"}'] == 1
    assert values['llmasos_http_requests_total{route="/v1/completions",method="POST",status="400"}'] == 1
    assert values['llmasos_http_requests_total{route="other",method="GET",status="404"}'] == 1
    assert values["llmasos_generated_tokens_total"] == usage["completion_tokens"]
    assert values["llmasos_prompt_tokens_total"] == 2 * usage["prompt_tokens"]
    assert values["llmasos_time_to_first_token_seconds_count"] == values["llmasos_request_seconds_count"] == 2
    assert values['llmasos_batch_size_bucket{le="2"}'] == values["llmasos_batch_size_count"] > 0
    assert values["llmasos_requests_running"] == values["llmasos_requests_waiting"] == 0
    assert values["llmasos_ready"] == 1 and values["llmasos_start_time_seconds"] > 1e9


def prometheus(text: str) -> dict[str, float]:
    """The values of a page of metrics, which is checked to be one."""
    values, kinds = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\})? (\S+)', line)
            assert match and re.sub("_(bucket|sum|count)$", "", match[1]) in kinds, line
            values[line.rsplit(" ", 1)[0]] = float(match[3])
    return values


def test_a_histogram_counts_up_to_each_bound():
    histogram = Histogram("h", "heights", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5, math.pi):
        histogram.observe(value)
    assert histogram.lines()[:3] == ['h_bucket{le="1"} 2', 'h_bucket{le="2"} 3', 'h_bucket{le="+Inf"} 5']
    assert histogram.lines()[4] == "h_count 5" and histogram.count == 5
    assert float(histogram.lines()[3].split()[1]) == pytest.approx(5.5 + math.pi)


def test_labels_cannot_break_out():
    counter = Counter("c", "things", ("what",))
    counter.add(2, 'a"\n\\b')
    assert counter.lines() == ['c{what="a\\"\\n\\\\b"} 2'] and counter.value('a"\n\\b') == 2


def test_the_document_tells_the_version_of_the_library(gpt):
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert f'version = "{ask(gpt, "GET", "/openapi.json").json["info"]["version"]}"' in project


def test_every_route_has_a_body_in_these_tests():
    assert {route.path for route in ROUTES if route.body} == set(BODIES)
