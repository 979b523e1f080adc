"""Tools over HTTP: the loop that programs for OpenAI's API run, with a model whose replies are known."""

import json

import pytest
from generation_helpers import ScriptedModel
from serving_http_helpers import app_of, ask, server_of

from llmasos.datasets.tool_calls import CALL_START, ToolCall, write_call
from llmasos.prompting import Message, Tool, calculate, calculator, with_tools
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
    """An application whose model writes the assistant's messages of this conversation, if all before them is exact."""
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


@pytest.mark.parametrize("text", [f"{CALL_START}17 * 25</tool_call>", CALL_START + "9" * 59, "no call", "a <tool", "<"])
def test_what_is_no_call_is_sent_as_text(text):
    body = {"messages": [QUESTION], "tools": TOOLS, "temperature": 0, "max_tokens": 70}
    with served(Message("assistant", text)) as app:
        [choice] = ask(app, "POST", CHAT, body).json["choices"]
        assert choice["message"] == {"role": "assistant", "content": text.removesuffix("</tool_call>")}
        assert choice["finish_reason"] in ("stop", "length")
        deltas = [c for event in ask(app, "POST", CHAT, body | {"stream": True}).events for c in event["choices"]]
        assert "".join(delta["delta"]["content"] for delta in deltas) == choice["message"]["content"]


@pytest.mark.parametrize("choice, beginning", [
    ("required", CALL_START),
    ({"type": "function", "function": {"name": "calculator"}}, CALL_START + '{"name": "calculator", "arguments": '),
])  # fmt: skip
def test_a_call_that_is_asked_for_is_begun_for_the_model(choice, beginning):
    assert CALL.startswith(beginning)
    with served(Message("assistant", CALL)) as app:
        body = {"messages": [QUESTION], "tools": TOOLS, "tool_choice": choice, "temperature": 0}
        [reply] = ask(app, "POST", CHAT, body).json["choices"]
        [call] = reply["message"]["tool_calls"]
        assert reply["message"]["content"] is None and call["function"]["name"] == "calculator"
        assert json.loads(call["function"]["arguments"]) == {"expression": "17 * 25"}


def test_a_call_of_a_function_that_is_not_allowed_is_sent_as_text():
    now = {"type": "function", "function": {"name": "now"}}
    body = {"messages": [QUESTION], "temperature": 0}
    tricky = f'{CALL_START}{{"name": "now", "arguments": {{}}, "name": "calculator"}}'  # JSON takes the last name
    for text, tools, choice in ((tricky, [*TOOLS, now], now), (CALL, [now], "auto"), (CALL, [now], "required")):
        with served(Message("assistant", text + "</tool_call>"), tools=tools) as app:
            [reply] = ask(app, "POST", CHAT, body | {"tools": tools, "tool_choice": choice}).json["choices"]
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


@pytest.mark.parametrize("fields, message", [
    ({"tools": [{"type": "function"}]}, "tools[0].function is missing"),
    ({"tools": [{"type": "retrieval", "function": {"name": "x"}}]}, 'tools[0].type is "retrieval"'),
    ({"tools": 3}, "tools is 3"),
    ({"tool_choice": "required"}, "there are no tools"),
    ({"tool_choice": "maybe"}, 'tool_choice is "maybe"'),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "not among the tools"),
    ({"tools": TOOLS, "tool_choice": "required", "prefix": "a"}, "both say how the reply begins"),
    ({"messages": [QUESTION | {"tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]}]}, "not of the user"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]}]}, "not JSON"),
    ({"functions": [{"name": "x"}]}, "the old form of tools"),
    ({"tools": TOOLS, "response_format": {"type": "json_object"}}, "leave one of them out"),
], ids=str)  # fmt: skip
def test_what_cannot_be_a_tool_is_one_sentence(fields, message):
    with served(*DIALOGUE) as app:
        answer = ask(app, "POST", CHAT, {"messages": [QUESTION]} | fields)
        assert answer.status == 400 and message in answer.error["message"]


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
