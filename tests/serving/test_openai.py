"""The official client of OpenAI's API, unmodified, against this server."""

import json
import math
from contextlib import contextmanager

import pytest
from serving_http_helpers import app_of, server_of

from llmasos.generation import SamplingOptions, generate
from llmasos.hub import load_pretrained
from llmasos.prompting import Message
from llmasos.serving.requests import QueueFull
from llmasos.tasks import reply
from llmasos.tasks.text_embedding import embed

openai = pytest.importorskip("openai")
KEY = "a-key"


@contextmanager
def served(name: str):
    """A shipped model behind the embedded server, and a client for it."""
    with app_of(name, api_key=KEY, device="cpu") as app, server_of(app) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=60) as client:
            yield app.served, client


@pytest.fixture(scope="module")
def gpt():
    with served("storyworld-gpt") as both:
        yield both


@pytest.fixture(scope="module")
def chat():
    with served("storyworld-chat") as both:
        yield both


@pytest.fixture(scope="module")
def bert():
    with served("storyworld-bert") as both:
        yield both


@pytest.mark.parametrize("kind", ["gpt", "chat", "bert"])
def test_models(kind, request):
    model, client = request.getfixturevalue(kind)
    assert [one.id for one in client.models.list()] == [model.name]
    found = client.models.retrieve(model.name)
    assert found.owned_by == "llmasos" and found.family == model.config.family and found.created == model.created


def test_a_completion(gpt):
    served, client = gpt
    answer = client.completions.create(
        model=served.name, prompt="One cold morning", max_tokens=20, n=2, seed=7, temperature=0.8, top_p=0.9, user="me"
    )
    options = SamplingOptions(20, temperature=0.8, top_p=0.9, seed=7)
    expected = generate(served.model, served.tokenizer, ["One cold morning"], options, 2)
    assert [choice.text for choice in answer.choices] == [one.text for one in expected]
    assert [choice.finish_reason for choice in answer.choices] == [one.finish_reason for one in expected]
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-") and answer.model == served.name
    assert answer.usage.completion_tokens == sum(len(one.ids) for one in expected)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_completion_as_a_stream(gpt):
    served, client = gpt
    asked = {"model": served.name, "prompt": "One cold morning", "max_tokens": 20, "n": 2, "seed": 7}
    whole = client.completions.create(**asked)
    texts, reasons, usages = {0: "", 1: ""}, {}, []
    for chunk in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason
        usages += [chunk.usage] if chunk.usage else []
    assert texts == {choice.index: choice.text for choice in whole.choices}
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usages == [whole.usage]


def test_logprobs_of_a_completion(gpt):
    served, client = gpt
    answer = client.completions.create(model=served.name, prompt="One", max_tokens=5, temperature=0, logprobs=3)
    logprobs = answer.choices[0].logprobs
    assert "".join(logprobs.tokens) == answer.choices[0].text
    assert logprobs.text_offset == [len("".join(logprobs.tokens[:n])) for n in range(5)]
    for token, value, best in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert len(best) == 3 and max(best.values()) == best[token] == value
        assert sum(map(math.exp, best.values())) <= 1.0 + 1e-6


def test_a_completion_stops(gpt):
    served, client = gpt
    asked = {"model": served.name, "prompt": "One cold morning", "max_tokens": 60, "seed": 7}
    whole = client.completions.create(**asked).choices[0].text
    stopped = client.completions.create(**asked, stop=["nowhere", "."]).choices[0]
    assert stopped.text == whole[: whole.index(".")] and stopped.finish_reason == "stop"


def test_the_client_can_leave_a_stream(gpt):
    served, client = gpt
    asked = {"model": served.name, "prompt": "One", "max_tokens": 4000, "frequency_penalty": -2, "stream": True}
    with client.completions.create(**asked) as stream:
        next(iter(stream))
    assert client.completions.create(model=served.name, prompt="One", max_tokens=2).choices[0].finish_reason == "length"


def test_a_chat(chat):
    served, client = chat
    messages = [{"role": "system", "content": "You tell stories."},
                {"role": "user", "content": "Tell me a story about Anna and a kite."}]  # fmt: skip
    asked = {"model": served.name, "messages": messages, "max_completion_tokens": 30, "seed": 3, "temperature": 0.7}
    answer = client.chat.completions.create(**asked)
    options = SamplingOptions(30, temperature=0.7, seed=3)
    [expected] = reply(served.model, served.tokenizer, [[Message(**message) for message in messages]], options)
    assert answer.choices[0].message.content.strip() == expected and answer.choices[0].message.role == "assistant"
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].object == "chat.completion.chunk"
    text = "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content and chunks[-1].usage == answer.usage


def test_an_answer_goes_back_as_the_client_has_it(chat):
    """As an object with all its fields, most of which are null."""
    served, client = chat
    asked = {"model": served.name, "max_tokens": 8, "seed": 3}
    first = {"role": "user", "content": "Tell me a story about Anna and a kite."}
    said = client.chat.completions.create(**asked, messages=[first]).choices[0].message
    assert said.model_dump()["refusal"] is None
    plain = {"role": "assistant", "content": said.content}
    then = {"role": "user", "content": "And then?"}
    texts = [
        client.chat.completions.create(**asked, messages=[first, one, then]).choices[0].message.content
        for one in (plain, said, said.model_dump(), said.to_dict())
    ]
    assert len(set(texts)) == 1


def test_what_programs_send_although_it_changes_nothing(chat):
    served, client = chat
    asked = {"model": served.name, "max_tokens": 8, "seed": 3, "messages": [{"role": "user", "content": "Hello!"}]}
    expected = client.chat.completions.create(**asked).choices[0].message
    for usual in (
        {"response_format": {"type": "text"}}, {"tools": []}, {"tool_choice": "none"}, {"logit_bias": {}},
        {"logit_bias": None}, {"store": False}, {"service_tier": None}, {"stop": None}, {"n": None},
        {"messages": [*asked["messages"], {"role": "assistant", "content": ""}]},
        {"messages": [{"role": "user", "content": "Hello!", "name": None}]},
    ):  # fmt: skip
        assert client.chat.completions.create(**asked | usual).choices[0].message == expected, usual
    for usual in ({"include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}):
        stream = client.chat.completions.create(**asked, stream=True, stream_options=usual)
        text = "".join(choice.delta.content for chunk in stream for choice in chunk.choices)
        assert text == expected.content
    greedy = client.chat.completions.create(**asked | {"temperature": 0}).choices[0].message
    assert client.chat.completions.create(**asked | {"top_p": 0}).choices[0].message == greedy
    [said] = client.completions.create(model=served.name, prompt="a", max_tokens=2, logit_bias={}, suffix=None).choices
    assert said.text


def test_a_reply_is_json_of_the_schema_that_is_asked_for(chat):
    served, client = chat
    schema = {"type": "object", "properties": {"name": {"enum": ["Anna", "Paul"]}, "brave": {"type": "boolean"}},
              "required": ["name", "brave"], "additionalProperties": False}  # fmt: skip
    asked = {"model": served.name, "max_tokens": 60, "messages": [{"role": "user", "content": "Who?"}], "n": 4}
    named = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
    for choice in client.chat.completions.create(**asked, response_format=named).choices:
        person = json.loads(choice.message.content)
        assert person.keys() == {"name", "brave"} and person["name"] in ("Anna", "Paul")
    for choice in client.chat.completions.create(**asked, response_format={"type": "json_object"}).choices:
        assert isinstance(json.loads(choice.message.content), dict)
    stream = client.chat.completions.create(**asked | {"n": 1}, response_format=named, stream=True)
    assert {"name", "brave"} == json.loads("".join(chunk.choices[0].delta.content for chunk in stream)).keys()


STORY = "Tell me a story about Anna and a kite."


def test_the_developer_is_the_system(chat):
    served, client = chat
    texts = [
        client.chat.completions.create(
            model=served.name, max_tokens=40, seed=3, temperature=2,
            messages=[{"role": role, "content": "You tell stories."}, {"role": "user", "content": STORY}],
        ).choices[0].message.content
        for role in ("system", "developer", "user")
    ]  # fmt: skip
    assert texts[0] == texts[1] != texts[2]


def test_a_conversation_that_is_too_long(chat):
    served, client = chat
    asked = {"model": served.name, "max_tokens": 8}
    long = [{"role": role, "content": "It is windy. " * 40} for role in ("user", "assistant") * 4]
    answer = client.chat.completions.create(**asked, messages=[*long, {"role": "user", "content": "Hello!"}])
    assert (
        "messages are not read" in answer.choices[0].warnings[0]
        and answer.usage.prompt_tokens <= served.config.context_length - 8
    )
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**asked, messages=[{"role": "user", "content": "It is windy. " * 300}])
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "messages"


def test_the_clients_own_way_of_streaming_a_chat(chat):
    served, client = chat
    asked = {"model": served.name, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 400, "seed": 3}
    with client.chat.completions.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds and kinds[-1] == "content.done"
    assert final.choices[0].message.content == client.chat.completions.create(**asked).choices[0].message.content


def test_logprobs_of_a_chat(chat):
    served, client = chat
    asked = {"model": served.name, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 8, "seed": 1}
    answer = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    content = answer.choices[0].logprobs.content
    assert "".join(one.token for one in content) == answer.choices[0].message.content
    assert all(bytes(one.bytes).decode() == one.token and len(one.top_logprobs) == 2 for one in content)
    chunks = list(client.chat.completions.create(**asked, logprobs=True, top_logprobs=2, stream=True))
    assert [one for chunk in chunks for one in chunk.choices[0].logprobs.content] == content


def test_embeddings(bert):
    served, client = bert
    texts = ["the old boat", "a kite in the wind"]
    answer = client.embeddings.create(model=served.name, input=texts)  # the client asks for base64 by itself
    expected = embed(served.model, served.tokenizer, texts).tolist()
    floats = client.embeddings.create(model=served.name, input=texts, encoding_format="float")
    for one, other, vector in zip(answer.data, floats.data, expected, strict=True):
        assert one.embedding == pytest.approx(vector, abs=1e-6) == other.embedding
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


def test_errors_arrive_as_the_clients_own_exceptions(gpt):
    served, client = gpt
    asked = {"model": served.name, "prompt": "a", "max_tokens": 2}
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**asked | {"temperature": -1})
    assert caught.value.param == "temperature" and "temperature is -1" in caught.value.message
    with pytest.raises(openai.BadRequestError, match="no field"):
        client.completions.create(**asked, extra_body={"color": "red"})
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(**asked | {"model": "gpt-4"})
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError, match='no path "/v1/images/generations" here'):
        client.images.generate(prompt="a cat")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="another").completions.create(**asked)
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model=served.name, messages=[])


def test_a_busy_server_is_a_rate_limit_error_and_asked_again(gpt, monkeypatch):
    served, client = gpt
    submit_all, refusals = served.engine.submit_all, []

    def busy_twice(*args):
        if len(refusals) < 2:
            refusals.append(args)
            raise QueueFull("the server is busy.", 0.2)
        return submit_all(*args)

    monkeypatch.setattr(served.engine, "submit_all", busy_twice)
    asked = {"model": served.name, "prompt": "a", "max_tokens": 2}
    with pytest.raises(openai.RateLimitError, match="busy"):
        client.completions.create(**asked)
    answer = client.with_options(max_retries=2).completions.create(**asked)
    assert len(refusals) == 2 and answer.usage.completion_tokens == 2


def test_an_error_in_mid_stream_is_an_api_error(gpt, monkeypatch):
    served, client = gpt

    def sample(self):
        if len(self.sequences[0].ids) == 3:
            raise RuntimeError("out of memory")
        return original(self)

    original = type(served.engine._batch).sample
    monkeypatch.setattr(type(served.engine._batch), "sample", sample)
    stream = client.completions.create(model=served.name, prompt="a", max_tokens=20, stream=True, seed=1)
    with pytest.raises(openai.APIError, match="there is not enough memory"):
        list(stream)


def test_the_model_is_the_one_of_the_library(gpt):
    """The text over HTTP is the same as without a server."""
    served, client = gpt
    model, tokenizer = load_pretrained("storyworld-gpt")
    answer = client.completions.create(model=served.name, prompt="Anna", max_tokens=30, temperature=0)
    [expected] = generate(model, tokenizer, ["Anna"], SamplingOptions(30, temperature=0.0))
    assert answer.choices[0].text == expected.text


def test_a_completion_of_a_chat_model_ends_at_the_end_of_a_turn(chat):
    """Two at once, complete and streamed: the same as from the library, with the model's recommendations."""
    served, client = chat
    asked = {"model": served.name, "prompt": "Once there was", "n": 2, "seed": 5}
    answer = client.completions.create(**asked)
    expected = generate(served.model, served.tokenizer, ["Once there was"], SamplingOptions(240, 0.3, seed=5), 2)
    assert [choice.text for choice in answer.choices] == [one.text for one in expected]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    assert not any("<|" in choice.text for choice in answer.choices)
    with client.completions.create(**asked, stream=True) as stream:
        texts = {0: "", 1: ""}
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].text
    assert list(texts.values()) == [one.text for one in expected]


@pytest.mark.parametrize("kind, temperature", [("gpt", 0.5), ("chat", 0.3)])
def test_what_a_model_recommends_is_the_default_of_the_api_and_told_to_the_page(kind, temperature, request):
    served, client = request.getfixturevalue(kind)
    sampling = client.models.retrieve(served.name).sampling
    assert sampling["temperature"]["default"] == temperature and sampling["temperature"]["recommended"]
    assert sampling["max_tokens"]["default"] == 240 and not sampling["min_p"]["recommended"]
    assert all(s["min"] <= s["default"] <= s["max"] and s["help"] and s["step"] > 0 for s in sampling.values())
    asked = {"model": served.name, "prompt": "One cold morning", "max_tokens": 9, "seed": 5}
    texts = [
        client.completions.create(**asked, **body).choices[0].text
        for body in ({}, {"temperature": temperature}, {"temperature": 1.0, "extra_body": {"top_k": 40, "min_p": 0}})
    ]
    options = (SamplingOptions(9, temperature, seed=5), SamplingOptions(9, 1.0, top_k=40, seed=5))
    expected = [generate(served.model, served.tokenizer, ["One cold morning"], o)[0].text for o in options]
    assert texts == [expected[0], expected[0], expected[1]]
