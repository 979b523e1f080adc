"""Tools over HTTP: the loop of programs for OpenAI's API, with a model whose replies are known."""

import json

import pytest
from generation_helpers import ScriptedModel
from model_helpers import random_gpt
from serving_http_helpers import app_of, ask, server_of
from template_families import CHATML, FAMILIES

from llmasos.datasets.tool_call_format import CALL_START, LLAMA3, ToolCall, write_call
from llmasos.prompting import Message, Tool, calculate, calculator, offer_tools, template_of, with_tools
from llmasos.prompting.chat_template import TEMPLATES, special_tokens_for
from llmasos.serving.api.tools import CallReader
from llmasos.serving.engine import Engine
from llmasos.tokenizers import train_tokenizer

CHAT = "/v1/chat/completions"
TOKENIZER = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
TOOLS = [Tool.of(calculator).describe()]
QUESTION = {"role": "user", "content": "What is 17 * 25?"}
CALL = write_call(ToolCall("calculator", {"expression": "17 * 25"}))
DIALOGUE = [Message("assistant", f"Let me see. {CALL}"), Message("tool", "425"), Message("assistant", "It is 425.")]


def served(*messages: Message, tools=TOOLS):
    """An application whose model writes the assistant's messages of this conversation if everything before is exact."""
    conversation = with_tools([Message(**QUESTION)], tools) if tools else [Message(**QUESTION)]
    ids = TEMPLATES["chatml"].encode(TOKENIZER, [*conversation, *messages], add_generation_prompt=False).ids
    model = ScriptedModel([*ids, *[TOKENIZER.end_of_text] * 300], TOKENIZER.vocab_size, context_length=2000)
    return app_of(Engine(model, TOKENIZER))


@pytest.mark.parametrize("stream", [False, True])
def test_the_loop_of_the_unmodified_client(stream):
    openai = pytest.importorskip("openai")
    with served(*DIALOGUE) as app, server_of(app) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
            messages, asked = [QUESTION], {"model": app.served.name, "tools": TOOLS, "temperature": 0}
            for _ in range(5):  # as a program does: until there is no call
                if stream:
                    with client.chat.completions.stream(messages=messages, **asked) as events:
                        choice = events.get_final_completion().choices[0]
                else:
                    choice = client.chat.completions.create(messages=messages, **asked).choices[0]
                messages.append(choice.message.model_dump(exclude_none=True, exclude={"parsed"}))
                if not choice.message.tool_calls:
                    break
                assert choice.finish_reason == "tool_calls" and choice.message.content.strip() == "Let me see."
                for call in choice.message.tool_calls:
                    result = calculate(json.loads(call.function.arguments)["expression"])
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert choice.message.content == "It is 425." and choice.finish_reason == "stop" and len(messages) == 4


OWN_FORMS = {
    CHATML: '\n<tool_call>\n{"name": "calculator", "arguments": {"expression": "17 * 25"}}\n</tool_call>',
    FAMILIES["llama3"]: '{"name": "calculator", "parameters": {"expression": "17 * 25"}}',
}


@pytest.mark.parametrize("program", OWN_FORMS)
def test_a_model_with_a_template_of_its_own_reads_tools_and_writes_calls_in_its_own_form(program):
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    tokenizer.chat_template = program
    template, messages, _ = offer_tools(template_of(tokenizer), [Message(**QUESTION)], TOOLS)
    wrote, end = OWN_FORMS[program], tokenizer.end_of_text
    ids = [*template.encode(tokenizer, messages).ids, *tokenizer.encode(wrote), *[end] * 300]
    body = {"messages": [QUESTION], "tools": TOOLS, "temperature": 0, "max_tokens": 100}
    with app_of(Engine(ScriptedModel(ids, tokenizer.vocab_size, context_length=2000), tokenizer)) as app:
        for choice in ("auto", "required"):
            [reply] = ask(app, "POST", CHAT, body | {"tool_choice": choice}).json["choices"]
            [call] = reply["message"]["tool_calls"]
            assert choice == "required" or json.loads(call["function"]["arguments"]) == {"expression": "17 * 25"}
            assert reply["message"]["content"] is None and "warnings" not in reply
        events = ask(app, "POST", CHAT, body | {"stream": True}).events
        deltas = [c["delta"] for event in events for c in event["choices"]]
        assert not any(delta["content"].strip() for delta in deltas if delta["content"]) and deltas[-1]["tool_calls"], (
            "no part is shown as text"
        )


def test_the_warning_of_a_program_that_knows_no_tools():
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    ids, body = [tokenizer.end_of_text] * 2000, {"messages": [QUESTION], "tools": TOOLS, "max_tokens": 5}
    tokenizer.chat_template = FAMILIES["phi3"]
    with app_of(Engine(ScriptedModel(ids, tokenizer.vocab_size, context_length=2000), tokenizer)) as app:
        assert "has no form for tools" in ask(app, "POST", CHAT, body).json["choices"][0]["warnings"][0]


@pytest.mark.parametrize("text", [f"{CALL_START}17 * 25</tool_call>", CALL_START + "9" * 59, "no call", "a <tool", "<"])
def test_what_is_no_call_is_sent_as_text(text):
    body = {"messages": [QUESTION], "tools": TOOLS, "temperature": 0, "max_tokens": 70}
    with served(Message("assistant", text)) as app:
        [choice] = ask(app, "POST", CHAT, body).json["choices"]
        assert choice["message"] == {"role": "assistant", "content": text.removesuffix("</tool_call>")}
        assert choice["finish_reason"] in ("stop", "length")
        deltas = [c for event in ask(app, "POST", CHAT, body | {"stream": True}).events for c in event["choices"]]
        assert "".join(delta["delta"]["content"] for delta in deltas) == choice["message"]["content"]


WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 12},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "unit"],
}
FUNCTIONS = {"weather": WEATHER, "now": None, 'say "ä"': {"type": "object", "properties": {}}}
OTHERS = [{"type": "function", "function": {"name": n, "parameters": p}} for n, p in FUNCTIONS.items()]


@pytest.mark.parametrize("choice", ["required", *({"type": "function", "function": {"name": n}} for n in FUNCTIONS)])
def test_a_call_is_forced_whatever_the_model_would_write(choice):
    jsonschema = pytest.importorskip("jsonschema_rs")
    body = {"messages": [QUESTION], "tools": OTHERS, "tool_choice": choice, "n": 2, "max_tokens": 80}
    model = random_gpt(vocab_size=TOKENIZER.vocab_size, context_length=2000)
    with app_of(Engine(model, TOKENIZER)) as app:
        for more in ({"temperature": 0}, {"temperature": 5, "seed": 1}):
            whole = ask(app, "POST", CHAT, body | more).json["choices"]
            events = ask(app, "POST", CHAT, body | more | {"stream": True}).events
            chunks = [c for event in events for c in event["choices"]]
            assert not any(chunk["delta"]["content"] for chunk in chunks), "no part of a call is shown as text"
            streamed = sorted((c for c in chunks if c["delta"].get("tool_calls")), key=lambda c: c["index"])
            for reply, chunk in zip(whole, streamed, strict=True):
                [call], [again] = reply["message"]["tool_calls"], chunk["delta"]["tool_calls"]
                name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
                assert reply["message"]["content"] is None and again["function"] == call["function"]
                assert reply["finish_reason"] == chunk["finish_reason"] == "tool_calls"
                assert choice == "required" or name == choice["function"]["name"]
                assert jsonschema.is_valid(FUNCTIONS[name] or {"maxProperties": 0}, arguments)


def test_a_forced_call_is_the_model_s_own_where_it_is_one():
    tricky = ToolCall(
        "calculator", {"expression": "</tool_call> \\ \nUser: <tool_call>{}"}
    )  # the marks inside an argument
    for call in (ToolCall("calculator", {"expression": "17 * 25"}), tricky):
        with served(Message("assistant", write_call(call))) as app:
            for choice in ("required", {"type": "function", "function": {"name": "calculator"}}):
                body = {"messages": [QUESTION], "tools": TOOLS, "tool_choice": choice, "temperature": 0}
                [reply] = ask(app, "POST", CHAT, body).json["choices"]
                [written] = reply["message"]["tool_calls"]
                assert json.loads(written["function"]["arguments"]) == call.arguments


def test_the_unmodified_client_gets_the_call_that_it_forces():
    openai = pytest.importorskip("openai")
    with served(Message("assistant", "I would rather not.")) as app, server_of(app) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
            asked = {"model": app.served.name, "messages": [QUESTION], "tools": TOOLS, "temperature": 0}
            assert client.chat.completions.create(**asked).choices[0].message.content == "I would rather not."
            for choice in ("required", {"type": "function", "function": {"name": "calculator"}}):
                reply = client.chat.completions.create(**asked, tool_choice=choice, max_tokens=99).choices[0]
                [call] = reply.message.tool_calls
                assert call.function.name == "calculator" and reply.finish_reason == "tool_calls"
                assert [*json.loads(call.function.arguments)] == ["expression"]


def test_a_call_of_a_function_that_is_not_allowed_is_sent_as_text():
    now = {"type": "function", "function": {"name": "now"}}
    body = {"messages": [QUESTION], "temperature": 0}
    tricky = f'{CALL_START}{{"name": "now", "arguments": {{}}, "name": "calculator"}}</tool_call>'  # the last name
    for text in (tricky, CALL):
        with served(Message("assistant", text), tools=[now]) as app:
            [reply] = ask(app, "POST", CHAT, body | {"tools": [now]}).json["choices"]
            assert reply["message"] == {"role": "assistant", "content": text.removesuffix("</tool_call>")}
            assert reply["finish_reason"] == "stop"


def test_the_message_of_a_tool_may_have_its_name_and_a_call_without_arguments_may_be_empty():
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    asked, answered = {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "12"}
    with served(*DIALOGUE) as app:
        expected, *others = (
            ask(app, "POST", CHAT, {"messages": [QUESTION, *messages], "max_tokens": 3}).json["usage"]["prompt_tokens"]
            for messages in (
                [asked, answered],
                [asked, answered | {"name": "now", "tool_call_id": "1"}],
                [asked | {"tool_calls": [call | {"function": {"name": "now", "arguments": ""}}]}, answered],
            )
        )
    assert others == [expected, expected]


def test_without_tools_a_call_is_text_and_the_prompt_is_what_it_was():
    with served(Message("assistant", CALL), tools=[]) as app:
        for fields in ({}, {"tools": []}, {"tools": TOOLS, "tool_choice": "none"}):
            [reply] = ask(app, "POST", CHAT, {"messages": [QUESTION], "temperature": 0} | fields).json["choices"]
            assert reply["message"] == {"role": "assistant", "content": CALL}


def with_parameters(schema):
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


@pytest.mark.parametrize("fields, message", [
    ({"tools": [{"type": "function"}]}, "tools[0].function is missing"),
    ({"tools": [{"type": "retrieval", "function": {"name": "x"}}]}, 'tools[0].type is "retrieval"'),
    ({"tools": 3}, "tools is 3"),
    ({"tool_choice": "required"}, "there are no tools"),
    ({"tool_choice": "maybe"}, 'tool_choice is "maybe"'),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "not among the tools"),
    ({"tools": TOOLS, "tool_choice": "required", "prefix": "a"}, "prefix and a tool_choice that forces a call"),
    ({"tools": TOOLS, "tool_choice": "required", "stop": "a"}, "stop and a tool_choice that forces a call"),
    ({"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}}, "response_format and"),
    ({"tools": TOOLS, "tool_choice": "required", "max_tokens": 9}, "the text may have 9 tokens, and the call may need"),
    ({"tools": [with_parameters({"type": "integer"})], "tool_choice": "required"}, "describes other values, too"),
    ({"tools": [with_parameters({"properties": {"n": {"type": "integer", "minimum": 1}}})], "tool_choice": "required"},
     "a call of f cannot be forced: the JSON schema has 'minimum'"),
    ({"messages": [QUESTION | {"tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]}]}, "not of the user"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]}]}, "not JSON"),
    ({"functions": [{"name": "x"}]}, "the old form of tools"),
    ({"tools": TOOLS, "response_format": {"type": "json_object"}}, "leave one of them out"),
], ids=str)  # fmt: skip
def test_what_cannot_be_a_tool_is_one_sentence(fields, message):
    with served(*DIALOGUE) as app:
        answer = ask(app, "POST", CHAT, {"messages": [QUESTION]} | fields)
        assert answer.status == 400 and message in answer.error["message"]


def test_a_stream_of_a_model_whose_calls_are_whole_messages_shows_everything_else_at_once():
    for text in ("So: {", "I would rather not.", "[1, 2]"):
        assert CallReader(call_format=LLAMA3).push(text, None) == (text, [])
    for text in ("", " ", "{", ' {"name": "now"', "<|pyth", "<|python_tag|>", '<|python_tag|> {"name"'):
        assert CallReader(call_format=LLAMA3).push(text, None) == ("", [])
    reader = CallReader(["now"], LLAMA3)
    assert reader.push('{"name": "later", ', None) == ("", []), "perhaps a call"
    assert reader.push('"parameters": {}}', "stop") == ('{"name": "later", "parameters": {}}', []), "not of this one"


def test_a_stream_never_shows_a_part_of_a_call():
    text = f"Let me <b>see</b> <tool. {CALL[: -len('</tool_call>')]}"
    for cut in range(1, 12):
        reader, shown, calls = CallReader(), "", []
        for start in range(0, len(text), cut):
            piece = text[start : start + cut]
            new, calls = reader.push(piece, "stop" if start + cut >= len(text) else None)
            shown += new
        assert shown == "Let me <b>see</b> <tool. " and calls == [ToolCall("calculator", {"expression": "17 * 25"})]
    assert CallReader().push(text, "length") == (text, [])  # a call that never ends is no call
