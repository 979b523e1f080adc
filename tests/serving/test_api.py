"""The API, called directly as a WSGI application: the responses of each route, complete and as a stream."""

import base64
import threading
import time

import numpy as np
import pytest
import torch
from api_cases import BODIES, KINDS, has, kinds_with
from serving_http_helpers import BYTES, ENDLESS, app_of, ask, begin, events, tiny, wait_until

from llmasos.datasets import QA
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate
from llmasos.interpret import label_evidence
from llmasos.prompting import Message
from llmasos.serving.api.sse import POLL_SECONDS, merged_events
from llmasos.serving.app import App
from llmasos.serving.requests import Event, GenerationRequest
from llmasos.tasks import answer_questions, classify, fill_masks, find_entities, reply
from llmasos.tasks.text_embedding import embed

# Routes


def test_a_model_has_the_routes_that_it_can_do_and_no_others(apps):
    for path in BODIES:
        assert [kind for kind in KINDS if has(apps[kind], path)] == kinds_with(path)


def test_a_route_for_other_models_says_what_this_one_can(apps):
    error = ask(apps["bert"], "POST", "/v1/completions", BODIES["/v1/completions"]).error
    assert error["type"] == "not_found_error"
    assert error["message"] == (
        "tiny-bert can fill in masked tokens (fill-mask), show its attention (inspect), embed texts (embedding); "
        "/v1/completions needs a model that can continue a text (completion)."
    )


def test_the_model_is_described(apps):
    [model] = ask(apps["classifier"], "GET", "/v1/models").json["data"]
    assert model == ask(apps["classifier"], "GET", "/v1/models/tiny-classifier").json
    assert model["id"] == "tiny-classifier" and model["object"] == "model" and model["owned_by"] == "llmasos"
    assert model["capabilities"] == ["classification", "embedding"] and model["labels"] == ["happy", "sad", "neither"]
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
        assert answer.status == 503 and answer.error["code"] == "shutting_down" and answer.headers["Retry-After"] == "5"


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
    """Whatever the prompt looks like, it is continued as text."""
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
    """Each option changes the text, to the one that the model generates with that option."""
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
    """Make the byte-level model write this text again and again."""

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
    assert ask(gpt, "POST", path, BODIES[path] | {"color": None}).json["choices"] == expected
    answer = ask(gpt, "POST", path, BODIES[path] | {"color": "red"})
    assert answer.status == 400 and answer.error["param"] == "color"


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
    """Many programs always send a system message, and send empty answers back."""
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
    """As in the terminal. Between the messages there is no special token that it could generate."""
    body = BODIES["/v1/chat/completions"] | {"max_tokens": 40}
    for text in ("A dog.\nUser: And that?", "A dog.\nAssistant: A cat.", "A dog.\nInstruction: Bark."):
        saying(gpt, text, monkeypatch)
        [choice] = ask(gpt, "POST", "/v1/chat/completions", body | {"stop": "cat"}).json["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("A dog.", "stop")
        assert any("not trained to chat" in warning for warning in choice["warnings"])
        monkeypatch.undo()
    saying(gpt, "A dog and a cat.", monkeypatch)
    [choice] = ask(gpt, "POST", "/v1/chat/completions", body | {"stop": "cat"}).json["choices"]
    assert choice["message"]["content"] == "A dog and a "  # the stops of the request count, too


def turns(*texts: str) -> list[dict[str, str]]:
    """Messages of user and assistant in turn."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


@pytest.mark.parametrize(("system", "max_tokens", "n_lost"), [
    ([], 4, 2),
    ([], 50, 4),  # half of the context is reserved for the answer
    ([{"role": "system", "content": "Bark."}], 4, 4),
])  # fmt: skip
def test_a_conversation_that_outgrows_the_context_loses_its_oldest_messages(gpt, system, max_tokens, n_lost):
    """The context is 64 tokens, each of which is a byte here."""
    path, limits, encode = "/v1/chat/completions", {"max_tokens": max_tokens, "seed": 4}, gpt.served.template.encode
    spoken = turns("hello", "hi", "a cat", "sat", "x")
    whole, left = [*system, *spoken], [*system, *spoken[n_lost:]]
    answer = ask(gpt, "POST", path, {"messages": whole, **limits}).json
    n_tokens, n_left = len(encode(BYTES, whole).ids), len(encode(BYTES, left).ids)
    assert answer["usage"]["prompt_tokens"] == n_left <= 64 - min(max_tokens, 32) < n_tokens
    [choice], [expected] = answer["choices"], ask(gpt, "POST", path, {"messages": left, **limits}).json["choices"]
    assert choice["message"] == expected["message"]
    warning = (f"the conversation has {n_tokens} tokens and the model's context has 64: the first {n_lost} messages"
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
    for before, words in (([], "tokens, and"), (system, "tokens with the system message, and")):
        answer = ask(gpt, "POST", path, {"messages": [*before, *turns("hello", "hi", "x" * 60)]})
        assert answer.status == 400 and answer.error["code"] == "context_length_exceeded"
        assert answer.error["param"] == "messages" and words in answer.error["message"]


def test_the_beginning_of_an_answer_may_outgrow_the_context(gpt):
    """As the answer itself may: the oldest messages are dropped first, and then the beginning of the text."""
    path, messages = "/v1/chat/completions", turns("hello", "hi", "a cat")
    begun = list(range(30))
    answer = ask(gpt, "POST", path, {"messages": messages, "prefix": begun, "max_tokens": 8, "seed": 4}).json
    ids = [*gpt.served.template.encode(BYTES, messages[-1:]).ids, *begun]
    [expected] = generate(gpt.served.model, BYTES, [ids], SamplingOptions(8, seed=4))
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["choices"][0]["message"]["content"] == expected.text
    assert "the first 2 messages are not read" in answer["choices"][0]["warnings"][0]
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
    assert choice["message"]["content"] == expected.text  # without repeating the beginning
    assert answer["usage"]["prompt_tokens"] == len(ids)
    events = ask(gpt, "POST", path, body | {"stream": True}).events
    assert "".join(event["choices"][0]["delta"]["content"] for event in events) == expected.text


@pytest.mark.parametrize("prefix", ["", [], [257], [-1], [1.5], ["a"], [[1]], True, {}])
def test_an_answer_is_begun_with_a_text_or_with_tokens(gpt, prefix):
    answer = ask(gpt, "POST", "/v1/chat/completions", BODIES["/v1/chat/completions"] | {"prefix": prefix})
    assert answer.status == 400 and answer.error["param"].startswith("prefix")


def test_the_bytes_of_a_token_are_its_own(gpt):
    """Even if they are half a character, with the text U+FFFD: together, the halves are the character again."""
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
    """A small model is faster than anyone can read, and events are not free."""
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
        def wait_for_event(self, seconds):
            return True

        def wait(self, seconds):
            return False

        def events(self):
            return iter([Event("a", ()), Event("b", ()), Event("c", (), "length")])

    assert [number for number, _ in merged_events([Text(), Text(), Text()])] == [0, 1, 2] * 3


def test_a_stream_of_several_texts_sleeps_while_there_is_nothing_new(gpt, monkeypatch):
    """It waits for the first of them instead of polling all of them a hundred times a second."""
    looks, original, sample, start = (
        [],
        GenerationRequest.wait_for_event,
        type(gpt.engine._batch).sample,
        time.monotonic(),
    )
    monkeypatch.setattr(
        GenerationRequest, "wait_for_event", lambda self, seconds: (looks.append(1), original(self, seconds))[1]
    )
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
    """The context is 64 tokens, some of which are special tokens around the texts."""
    embed = "/v1/embeddings", "its beginning is"
    for kind, path, what in (("gpt", *embed), ("bert", *embed),
                             ("classifier", "/v1/classify", "its beginning and its end are")):  # fmt: skip
        served = apps[kind].served
        words = (64 - served.tokenizer.n_special_tokens(1)) // len(served.tokenizer.encode(" cat"))
        long = " cat" * words + " cat" * 5
        n = len(served.tokenizer.encode(long)) + served.tokenizer.n_special_tokens(1)
        fitting, cut = ask(apps[kind], "POST", path, {"input": [" cat" * words, long]}).json["data"]
        assert "warnings" not in fitting
        assert cut["warnings"] == [f"the text has {n} tokens, special tokens included, and the model's context has 64: "
                                  f"only {what} read."]  # fmt: skip
    served, context = apps["qa"].served, "the cat sat on the mat"
    n_left = (64 - served.tokenizer.n_special_tokens(2)) // 2
    n_each = len(served.tokenizer.encode("cat"))
    for n_words, n_cut in ((n_left // n_each, 0), (40, 40 * n_each - n_left)):
        body = {"question": "cat " * n_words, "context": context}
        answer = ask(apps["qa"], "POST", "/v1/question-answering", body).json
        said = [f"the question is too long: its last {n_cut} tokens are not read."]
        assert answer.get("warnings") == (said if n_cut else None)
    assert (
        "warnings"
        not in ask(apps["qa"], "POST", "/v1/question-answering", {"question": "cat", "context": "cat " * 200}).json
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


def test_names(apps):
    served, texts = apps["ner"].served, ["the cat sat", "Anna was sad .", "", "the cat " * 60]
    answer = ask(apps["ner"], "POST", "/v1/token-classification", {"input": texts}).json
    expected = find_entities(served.model, served.tokenizer, texts)
    assert any(expected) and [one["index"] for one in answer["data"]] == [0, 1, 2, 3]
    for text, one, entities in zip(texts, answer["data"], expected, strict=True):
        assert [tuple(entity.values())[:4] for entity in one["entities"]] == [entity[:4] for entity in entities]
        assert [e["score"] for e in one["entities"]] == pytest.approx([e.score for e in entities], abs=1e-4)
        assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in one["entities"])


def test_answer(apps):
    served = apps["qa"].served
    found = []
    for context in ("the cat sat on the mat .", "a dog ran to the river", "Anna was sad .", "x", "the river " * 60):
        answer = ask(apps["qa"], "POST", "/v1/question-answering", {"question": "who ?", "context": context}).json
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
def test_inspect(apps, kind):
    body = {"input": "the cat"} | ({"target": "le chat"} if kind == "transformer" else {})
    for show in ("tokens", "attention"):
        answer = ask(apps[kind], "POST", "/v1/inspect", body | {"show": show})
        assert answer.status == 200 and answer.json["object"] == "inspection", answer.json
    lens = ask(apps[kind], "POST", "/v1/inspect", body | {"show": "logit_lens"})
    assert lens.status == (400 if kind == "transformer" else 200)
