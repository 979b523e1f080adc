"""Requests from programs for OpenAI's API: harmless values change nothing, and no field is unknown."""

from typing import get_args, get_type_hints

import pytest
from api_cases import BODIES
from serving_http_helpers import ask

COMPLETIONS, CHAT, EMBEDDINGS = "/v1/completions", "/v1/chat/completions", "/v1/embeddings"
USER = {"role": "user", "content": "abc"}
VLLM = {"min_p": 0.0, "repetition_penalty": 1.0, "ignore_eos": False, "min_tokens": 0, "stop_token_ids": [],
        "include_stop_str_in_output": False, "skip_special_tokens": True, "spaces_between_special_tokens": True,
        "length_penalty": 1.0, "use_beam_search": False}  # fmt: skip
HARMLESS = {
    CHAT: [
        {"parallel_tool_calls": False}, {"parallel_tool_calls": True}, {"metadata": {}}, {"metadata": {"app": "x"}},
        {"service_tier": "auto"}, {"service_tier": "flex"}, {"modalities": ["text"]}, {"audio": None},
        {"prediction": None}, {"prediction": {"type": "content", "content": "a"}}, {"user": "me"}, {"store": False},
        {"safety_identifier": "me"}, {"prompt_cache_key": "k"}, {"prompt_cache_retention": "24h"},
        {"prompt_cache_options": {}}, {"reasoning_effort": "none"}, {"reasoning_effort": "high"},
        {"verbosity": "medium"},
        {"logit_bias": {}}, {"tools": []}, {"tool_choice": "none"}, {"tool_choice": "auto"},
        {"functions": []}, {"function_call": "none"}, {"response_format": {"type": "text"}}, {"moderation": None},
        {"web_search_options": None}, {"max_tokens": None, "max_completion_tokens": 6}, {"stream_options": None},
        {"stop": ""}, {"stop": []}, {"stop": None}, {"stop": [""]}, {"top_k": -1}, {"top_k": 0}, {"top_p": 1},
        {"max_completion_tokens": -1},
        {"stream_options": {"include_usage": False, "include_obfuscation": False}}, {"best_of": 1},
        {"add_generation_prompt": True, "continue_final_message": False, "chat_template_kwargs": {}}, VLLM,
    ],
    COMPLETIONS: [
        {"best_of": 1}, {"suffix": None}, {"suffix": ""}, {"echo": False}, {"user": "me"}, {"logit_bias": {}},
        {"logprobs": None}, {"stop": ""}, {"stop": ["", ""]}, {"top_k": -1}, {"n": 1}, {"stream": None}, VLLM,
    ],
    EMBEDDINGS: [{"dimensions": None}, {"user": "me"}, {"encoding_format": "float"}],
}  # fmt: skip


@pytest.mark.parametrize("path", list(HARMLESS))
def test_a_harmless_value_changes_nothing(gpt, path):
    answer = ask(gpt, "POST", path, BODIES[path]).json
    result = "data" if path == EMBEDDINGS else "choices"
    for fields in [*HARMLESS[path], *({name: None} for name in gpt._bodies[path].fields if name not in BODIES[path])]:
        body = {"max_tokens": 6} | BODIES[path] | fields if path == CHAT else BODIES[path] | fields
        expected = answer[result] if fields != {"max_tokens": None} else None  # then another number is the default
        received = ask(gpt, "POST", path, body)
        assert received.status == 200, (fields, received.body)
        assert expected is None or received.json[result] == expected, fields


@pytest.mark.parametrize("path, name", [(COMPLETIONS, "max_tokens"), (CHAT, "max_tokens"),
                                        (CHAT, "max_completion_tokens")])  # fmt: skip
def test_no_limit_may_be_written_as_minus_one(gpt, path, name):
    """As in programs for llama.cpp's server and LM Studio; no other negative number is a limit."""
    body = {key: value for key, value in BODIES[path].items() if key != "max_tokens"} | {"temperature": 0}
    expected = ask(gpt, "POST", path, body).json["choices"]
    assert ask(gpt, "POST", path, body | {name: -1}).json["choices"] == expected
    assert f"{name} is -2; it must be an integer from" in ask(gpt, "POST", path, body | {name: -2}).error["message"]


def test_the_vectors_may_be_asked_for_with_the_dimension_they_have(gpt):
    d_model = gpt.served.config.d_model
    body = BODIES[EMBEDDINGS]
    assert ask(gpt, "POST", EMBEDDINGS, body | {"dimensions": d_model}).json == ask(gpt, "POST", EMBEDDINGS, body).json
    error = ask(gpt, "POST", EMBEDDINGS, body | {"dimensions": d_model + 1}).error
    assert f"dimensions is {d_model + 1}; it must be {d_model}: the vectors have" in error["message"]


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_texts_to_embed_may_be_token_ids(apps, kind):
    """OpenAI's type allows them; they belong to the model's own tokenizer."""
    app, texts = apps[kind], ["the cat sat", "a dog"]
    ids = [app.served.tokenizer.encode(text) for text in texts]
    for as_text, as_ids in ((texts, ids), (texts[0], ids[0]), (["the cat " * 80], [ids[0] * 80])):
        expected, received = (ask(app, "POST", EMBEDDINGS, {"input": value}) for value in (as_text, as_ids))
        assert received.status == 200, received.body
        if as_text in (texts, texts[0]):
            assert received.json == expected.json
        else:
            assert "only its beginning is read" in received.json["data"][0]["warnings"][0]
    n_ids = app.served.vocab_size
    error = ask(app, "POST", EMBEDDINGS, {"input": [n_ids]}).error
    assert f"input[0] is {n_ids}; it must be an integer from 0 to {n_ids - 1}" in error["message"]


def test_null_is_an_empty_prompt(gpt):
    """OpenAI's type is nullable, and means the beginning of a new document."""
    body = {"max_tokens": 6, "seed": 3}
    expected = ask(gpt, "POST", COMPLETIONS, body | {"prompt": ""}).json["choices"]
    assert ask(gpt, "POST", COMPLETIONS, body | {"prompt": None}).json["choices"] == expected


@pytest.mark.parametrize("role", ["assistant", "system", "developer"])
@pytest.mark.parametrize("empty", [{"content": None}, {}, {"content": []}, {"content": ""},
                                   {"content": [{"type": "text", "text": ""}]}], ids=str)  # fmt: skip
def test_an_empty_message_is_left_out(gpt, role, empty):
    body = {"max_tokens": 6, "seed": 3}
    expected = ask(gpt, "POST", CHAT, body | {"messages": [USER, USER]}).json["choices"]
    messages = [USER, {"role": role, **empty}, USER]
    assert ask(gpt, "POST", CHAT, body | {"messages": messages}).json["choices"] == expected
    seen = [ask(gpt, "POST", "/v1/inspect", {"input": one}).json for one in ([USER, USER], messages)]
    assert seen[0] == seen[1]


@pytest.mark.parametrize("message", [
    {"annotations": []}, {"annotations": [{"type": "url_citation"}]}, {"audio": None}, {"refusal": None},
    {"refusal": ""}, {"tool_calls": []}, {"tool_calls": None}, {"function_call": None}, {"name": None},
    {"content": [{"type": "text", "text": ""}, {"type": "text", "text": "abc"}]},
    {"content": [{"type": "text", "text": "ab"}, {"type": "text", "text": " "}, {"type": "text", "text": "c"}]},
    {"content": [{"type": "text", "text": "abc", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("role", ["assistant", "user"])
def test_a_message_may_have_what_openais_messages_have(gpt, role, message):
    text = "ab c" if any(part == {"type": "text", "text": " "} for part in message.get("content", [])) else "abc"
    body = {"max_tokens": 6, "seed": 3}
    plain = [{"role": role, "content": text}, USER]
    expected = ask(gpt, "POST", CHAT, body | {"messages": plain}).json["choices"]
    messages = [{"role": role, "content": text, **message}, USER]
    assert ask(gpt, "POST", CHAT, body | {"messages": messages}).json["choices"] == expected


def fields_of(type) -> set[str]:
    """The fields of one of OpenAI's typed dictionaries, or of a union of them."""
    types = get_args(type) or (type,)
    return set().union(*(get_type_hints(type) for type in types))


def test_every_field_of_openais_types_has_been_decided(gpt):
    """A field of the `openai` package's types is accepted, or rejected by name with a reason, but is never unknown."""
    pytest.importorskip("openai")
    from openai.types import completion_create_params, embedding_create_params
    from openai.types.chat import (
        ChatCompletionAssistantMessageParam,
        ChatCompletionContentPartParam,
        ChatCompletionMessage,
        ChatCompletionStreamOptionsParam,
        ChatCompletionSystemMessageParam,
        ChatCompletionToolMessageParam,
        ChatCompletionUserMessageParam,
    )
    from openai.types.chat import (
        completion_create_params as chat_create_params,
    )

    chat = gpt._bodies[CHAT]
    message = chat.fields["messages"].validator.item
    part = message.fields["content"].validator.options[1].item
    messages = (ChatCompletionAssistantMessageParam, ChatCompletionSystemMessageParam, ChatCompletionToolMessageParam,
                ChatCompletionUserMessageParam)  # fmt: skip
    for types, ours in (
        (completion_create_params.CompletionCreateParams, gpt._bodies[COMPLETIONS]),
        (chat_create_params.CompletionCreateParams, chat),
        (embedding_create_params.EmbeddingCreateParams, gpt._bodies[EMBEDDINGS]),
        (ChatCompletionStreamOptionsParam, chat.fields["stream_options"].validator),
        (ChatCompletionContentPartParam, part),
        *((type, message) for type in messages),
    ):
        assert fields_of(types) - set(ours.fields) == set(), types
    assert set(ChatCompletionMessage.model_fields) - set(message.fields) == set()  # a reply that is sent back


def test_a_refused_value_is_named_with_the_reason(gpt):
    """For every field that is not implemented: one sentence with the field's name and the reason."""
    for path in (CHAT, COMPLETIONS):
        for field in gpt._bodies[path].fields.values():
            if field.help.startswith("not supported"):
                answer = ask(gpt, "POST", path, BODIES[path] | {field.name: {"a": 1}})
                assert answer.status == 400 and answer.error["param"] == field.name
                reason = field.help.removeprefix("not supported: ")
                expected = f"{field.name} is an object; it must be {field.validator.expected}."
                assert answer.error["message"] == expected and expected.endswith(f": {reason}.")
