"""The API, called directly as a WSGI application: invalid requests, keys, hosts, limits, failures, and metrics."""

import json
import math
import random
import re
import threading
import time
import tracemalloc
from types import SimpleNamespace

import jsonschema_rs
import pytest
from api_cases import BODIES, kinds_with
from serving_http_helpers import ENDLESS, FOR_EVER, JSON, app_of, ask, begin, tiny, wait_until

from llmasos import __version__
from llmasos.errors import UserError
from llmasos.serving.api import ROUTES
from llmasos.serving.api.generation_fields import MAX_RECORDED
from llmasos.serving.app import create_app
from llmasos.serving.engine import Engine
from llmasos.serving.http.errors import RequestError
from llmasos.serving.http.http_types import read_json
from llmasos.serving.metrics import Counter, Histogram
from llmasos.serving.requests import QueueFull

WRONG = [None, True, False, 0, 1, -1, 2.5, 1e6, 10**18, 10**24, -1e300, "", " ", "abc", "true", "1", [], {}, [[]],
         [[1]], [{}], [None], [1, "a"], ["a", 1], ["a"], [-1], [10**6], [1.5], [True], ["x"] * 300, [[1], [2]], [["a"]],
         {"a": 1}, {"role": "user"}, [{"role": "user", "content": "a"}], [{"role": "me", "content": "a"}], "a" * 5000,
         [{"role": "system", "content": ""}], [{"role": "user", "content": ""}],
         [{"role": "assistant", "content": " "}], {"include_usage": True}, {"include_usage": 1}]  # fmt: skip
"""Values of every kind, to be put into every field."""


# Errors


@pytest.mark.parametrize("path", list(BODIES))
def test_a_body_is_taken_if_and_only_if_the_document_says_so(apps, path):
    """Every field gets values of all types; the result of our checks is compared with a JSON Schema validator."""
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
        (b'{"prompt": "a", "prompt": "b"}', 'has the field "prompt" twice'),
        (b'{"prompt": "a", "temperature": NaN}', "the value NaN"),
        (b'{"prompt": "a", "temperature": -Infinity}', "the value -Infinity"),
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
        (b'{"prompt": [1, 257]}', "prompt[1] is 257; it must be an integer from 0 to 256"),
        (b'{"prompt": [1, -1]}', "prompt[1] is -1"),
        (b'{"prompt": [[1], [2, 300]]}', "prompt[1][1] is 300"),
        (b'{"prompt": []}', "prompt is an empty list"),
        (b'{"prompt": "a", "temperature": 0.0001}', "temperature is 0.0001; it must be 0, or a number from 0.001"),
        (b'{"prompt": "a", "temperature": "hot"}', 'temperature is "hot"'),
        (b'{"prompt": "a", "n": true}', "n is true; it must be an integer from 1 to 16"),
        (b'{"prompt": "a", "n": 17}', "n is 17"),
        (b'{"prompt": "a", "presence_penalty": 3}', "presence_penalty is 3; it must be a number from -2 to 2"),
        (b'{"prompt": "a", "echo": 1}', "echo is 1; it must be"),
        (b'{"prompt": "a", "best_of": 2}', "best_of is 2; it must be 1"),
        (b'{"prompt": "a", "suffix": "b"}', 'suffix is "b"; it must be null or "": the models here'),
        (b'{"prompt": "a", "stop": [null]}', "stop is a list of 1; it must be"),
        (b'{"prompt": "a", "top_k": -2}', "top_k is -2; it must be an integer from -1"),
        (b'{"prompt": "a", "stream_options": {"x": 1}}', 'no field "x" in stream_options'),
        (b'{"prompt": "a", "stream_options": {"include_obfuscation": true}}', "it must be false: events are"),
        (b'{"prompt": "a", "logit_bias": {"50": 1}}', "logit_bias is an object; it must be an empty object: biases"),
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
        (
            [{"role": "user", "content": "a", "name": "Bob"}],
            'messages[0].name is "Bob"; it must be null or "": the model only',
        ),
        ([{"role": "user", "content": "a", "nam": "Bob"}], 'no field "nam" in messages[0]; did you mean "name"?'),
        (["hello"], 'messages[0] is "hello"; it must be a JSON object'),
        ([{"role": "user", "content": None}], "messages[0].content is null; it must be a text that is not blank"),
        ([{"role": "user", "content": []}], "messages[0].content is an empty list; it must be a text"),
        ([{"role": "user", "content": [{"type": "text", "text": " "}]}], "messages[0].content is a list of 1; it must"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}],
            'messages[0].content[0].type is "image_url"; it must be "text"',
        ),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], 'is "input_audio"; it must be'),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a", "image_url": {}}]}],
            "image_url is an empty object",
        ),
        (
            [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
            "messages[0].tool_calls[0].function is missing",
        ),
        ([{"role": "assistant", "content": None, "refusal": "No."}], 'messages[0].refusal is "No."; it must be null'),
        ([{"role": "tool", "content": "a", "tool_call_id": 1}], "messages[0].tool_call_id is 1; it must be a string"),
        ("hello", 'messages is "hello"'),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said(gpt, messages, words):
    answer = ask(gpt, "POST", "/v1/chat/completions", {"messages": messages})
    assert answer.status == 400 and words in answer.error["message"], answer.error


@pytest.mark.parametrize(
    "field, words",
    [
        ({"response_format": {"type": "xml"}}, 'response_format.type is "xml"; it must be "text" or "json_object"'),
        ({"response_format": {"type": "json_object"}, "prefix": "{"}, "response_format and prefix"),
        ({"response_format": {"type": "json_object"}, "stop": ["}"]}, "response_format and stop"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema is missing"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "integer", "minimum": 3}}}},
            "the JSON schema has 'minimum', which cannot be kept",
        ),
        (
            {
                "response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": ["x" * 500]}}},
                "max_tokens": 5,
            },
            "the text may have 5 tokens, and the JSON schema may need 503; allow more",
        ),
        ({"response_format": {"type": "text", "json_schema": {}}}, 'no field "json_schema" in response_format'),
        ({"functions": [{"name": "f"}]}, "functions is a list of 1; it must be an empty list: this is the old form"),
        ({"store": True}, "store is true; it must be false: replies are not stored here"),
        ({"modalities": ["text", "audio"]}, 'modalities is a list of 2; it must be ["text"]: the models here'),
        ({"audio": {"voice": "alloy"}}, "audio is an object; it must be null: the models here"),
        ({"web_search_options": {}}, "web_search_options is an empty object; it must be null: the models here do not"),
        ({"reasoning_effort": "hard"}, 'reasoning_effort is "hard"; it must be "none" or "minimal"'),
        ({"verbosity": "low"}, 'verbosity is "low"; it must be "medium": the models here have one style'),
        ({"metadata": "x"}, 'metadata is "x"; it must be a JSON object'),
        ({"parallel_tool_calls": 0}, "parallel_tool_calls is 0; it must be true or false"),
    ],
    ids=str,
)
def test_what_would_change_a_chat_elsewhere_is_refused(gpt, field, words):
    answer = ask(gpt, "POST", "/v1/chat/completions", BODIES["/v1/chat/completions"] | field)
    assert answer.status == 400 and words in answer.error["message"], answer.error


def nested(depth: int) -> str:
    return '{"type": "array", "items": ' * depth + "true" + "}" * depth


@pytest.mark.parametrize(
    "schema, words",
    [
        (nested(200), "nested more than 100 deep"),
        (nested(30_000), "nested too deep"),
        ('{"type": "string", "pattern": "' + "(" * 150 + 'a"}', "groups nested more than 100 deep"),
        ('{"type": "string", "pattern": "a{99999}"}', "a repetition of more than 1,000 times"),
        ('{"type": "string", "pattern": "((((a{1000}){1000}){1000}){1000}){1000}"}', "may need 1,000,000,000,000,00"),
        ('{"$ref": "#"}', "no text that ever ends"),
        ('{"enum": ["' + "x" * 200_000 + '"]}', "more than 100,000 characters"),
        ('{"enum": ["' + "x" * 10**7 + '"]}', "too large"),
    ],
    ids=lambda value: value[:40],
)
def test_a_hostile_schema_is_refused_by_name_in_bounded_time(gpt, schema, words):
    chat = json.dumps({"messages": [{"role": "user", "content": "a"}], "response_format": {
        "type": "json_schema", "json_schema": {"name": "x", "schema": "SCHEMA"}}})  # fmt: skip
    body = chat.replace('"SCHEMA"', schema).encode()
    start = time.thread_time()
    answer = ask(gpt, "POST", "/v1/chat/completions", body)
    assert answer.status in (400, 413) and words in answer.error["message"], answer.error
    assert time.thread_time() - start < 2


def test_a_source_that_is_too_long_is_named_before_any_is_translated(apps, monkeypatch):
    monkeypatch.setattr(apps["transformer"].engine, "run", lambda *args: pytest.fail("the model has begun"))
    for sources, place in (("x" * 100, "input"), (["a", "b", "x" * 100], "input[2]")):
        answer = ask(apps["transformer"], "POST", "/v1/translate", {"input": sources})
        assert answer.status == 400 and answer.error["param"] == place
        assert answer.error["message"].startswith(f"{place} has 101 tokens, its end included, and the model's")
        assert "context has 48" in answer.error["message"] and answer.error["code"] == "context_length_exceeded"


def test_what_only_the_model_can_find_wrong_is_said_too(apps):
    answer = ask(apps["gpt"], "POST", "/v1/inspect", {"input": "x" * 100})
    assert answer.status == 400 and "100 tokens" in answer.error["message"]


def test_only_json_is_read(gpt):
    """A form on another site can make a browser send text or form data here, but not JSON."""
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
            assert answer.status == 413 and "the limit is 1,000 bytes" in answer.error["message"]
        # a server that accepts chunks does not know the length before the end
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
            assert ask(app, method, path).status == 401  # nor does it learn which routes exist
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
    monkeypatch.setattr("llmasos.serving.app.openapi_document", lambda *args, **named: 1 // 0)
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
    with app_of(tiny("gpt"), api_key="k") as app:  # no browser has the key
        assert ask(app, "GET", "/v1/models", HTTP_HOST="anything", HTTP_AUTHORIZATION="Bearer k").status == 200


# How much may be asked for


def test_more_texts_than_can_ever_wait_are_too_many():
    """And not "busy", after which the client would retry forever."""
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
        assert "are 172,032 tokens, and a response may have 100,000" in answer.error["message"]


@pytest.mark.slow
def test_the_memory_for_one_answer(gpt):
    """The largest possible request takes less than 200 MB."""
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
        assert given == [1000, 600, 200]  # each has the memory that the others have left


def test_a_job_that_nobody_waits_for_any_more_is_not_done(apps):
    bodies = {"gpt": ["/v1/embeddings", "/v1/inspect"], "bert": ["/v1/fill-mask", "/v1/inspect"],
              "classifier": ["/v1/classify"], "qa": ["/v1/question-answering"],
              "transformer": ["/v1/translate"]}  # fmt: skip
    for kind, paths in bodies.items():
        model, n_calls = apps[kind].served.model, []
        hook = model.register_forward_pre_hook(lambda module, inputs, n_calls=n_calls: n_calls.append(1))
        for path in paths:
            assert ask(apps[kind], "POST", path, BODIES[path], **{"llmasos.client_gone": lambda: True}).status == 499
        hook.remove()
        assert not n_calls


def test_many_readings_let_others_in_between(apps):
    """BERT reads a text again for each token, a few times per job; the lens computes one layer per job."""
    for kind, show, n_pieces in (("bert", "tokens", 4), ("gpt", "logit_lens", 3)):
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
    assert answer.error["type"] == "rate_limit_error" and answer.error["code"] == "queue_full"


def test_a_bug_is_reported_without_its_insides(gpt, monkeypatch, caplog):
    def submit_all(*args):
        raise RuntimeError("the secret path /home/somebody")

    monkeypatch.setattr(gpt.engine, "submit_all", submit_all)
    answer = ask(gpt, "POST", "/v1/completions", {"prompt": "a"})
    assert answer.status == 500 and answer.error["type"] == "server_error" and "secret" not in answer.error["message"]
    number = re.search(r"number (\w{8})", answer.error["message"])[1]
    assert number in caplog.text and "secret" in caplog.text


def test_a_failure_in_mid_stream_is_an_event_and_the_end(gpt, monkeypatch):
    def sample(self):
        if len(self.sequences[0].ids) == 3:
            on_its_way.wait(60)
            raise RuntimeError("a kernel failed")
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
    assert "the forward pass failed" in error["message"] and error["type"] == "server_error"
    assert ask(gpt, "POST", "/v1/completions", {"prompt": "a", "max_tokens": 3}).status == 200


@pytest.fixture
def patient():
    """A server whose texts may be so long that they do not end during a test."""
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
        wait_until(lambda: app.engine.n_running == 0)  # the last token is sent a moment before the slot is free
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


def test_metrics_show_the_pages_of_the_cache():
    gpt = tiny("gpt")
    with app_of(Engine(gpt.model, gpt.tokenizer, page_size=4)) as app:
        pages = app.engine.pages.allocate(3)
        app.engine.pages.share(pages[:2])
        values = prometheus(ask(app, "GET", "/metrics").body.decode())
        assert (values["llmasos_cache_pages_in_use"], values["llmasos_cache_pages_shared"]) == (3, 2)
        app.engine.stop()
        assert prometheus(ask(app, "GET", "/metrics").body.decode())["llmasos_cache_pages_in_use"] == 0
    with app_of(tiny("gpt")) as app:
        assert b"cache_pages" not in ask(app, "GET", "/metrics").body


def prometheus(text: str) -> dict[str, float]:
    """Parse the values of a page of metrics, and check its format."""
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
    assert ask(gpt, "GET", "/openapi.json").json["info"]["version"] == __version__


def test_every_route_has_a_body_in_these_tests():
    assert {route.path for route in ROUTES if route.make_body} == set(BODIES)
