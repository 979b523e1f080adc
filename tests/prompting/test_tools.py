"""Tools: arithmetic by hand, calls as text, and the loop from a call and its result to the answer."""

import json
import random
import re
import time

import pytest
from generation_helpers import ScriptedModel, lively_model
from model_helpers import random_gpt

from llmasos import LLMTrainer
from llmasos.datasets.tool_call_format import CALL_END, CALL_START, ToolCall, read_call, write_call
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.generation.tool_calls import generate_with_tools
from llmasos.prompting import Message, Tool, calculate, calculator, run_call, split_calls, template_of, with_tools
from llmasos.prompting.chat_template import TEMPLATES, special_tokens_for
from llmasos.tasks import reply_with_tools
from llmasos.tokenizers import ByteTokenizer, train_tokenizer

QUESTION = Message("user", "What is 17 * 25?")
CALL = write_call(ToolCall("calculator", {"expression": "17 * 25"}))
GREEDY = SamplingOptions(temperature=0, max_new_tokens=200)


# ── the calculator ──


def random_expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return str(rng.randint(0, 20))
    left, right = random_expression(rng, depth - 1), random_expression(rng, depth - 1)
    text = f"{left} {rng.choice(['+', '-', '*', '//', '%'])} {right}"
    return rng.choice([text, f"({text})", f"-{left}", f"({text}) ** 2"])


def test_whole_numbers_are_computed_as_python_computes_them():
    rng, n_equal = random.Random(0), 0
    for _ in range(500):
        expression = random_expression(rng, 3)
        try:
            expected = eval(expression)  # the oracle, on texts that this test made
        except ZeroDivisionError:
            with pytest.raises(UserError, match="division by zero"):
                calculate(expression)
            continue
        assert calculate(expression) == str(expected), expression
        n_equal += 1
    assert n_equal > 300


@pytest.mark.parametrize("expression, value", [
    ("0.1 + 0.2", "0.3"), ("1/3", "0.333333333333"), ("2/3", "0.666666666667"), ("2**-2", "0.25"),
    ("1,000 × 2", "2000"),
    ("-2**2", "-4"), ("2^3^2", "512"), ("7 ÷ 2", "3.5"), ("1/3*3", "1"), (".5 − 1", "-0.5"), ("10/4", "2.5"),
    ("100/3*3", "100"), ("1/7**30", "4.43668708624e-26"), ("(-1)**999999999", "-1"), ("100.10", "100.1"),
])  # fmt: skip
def test_fractions_are_exact_until_they_are_shown(expression, value):
    assert calculate(expression) == value


@pytest.mark.parametrize("expression", [
    "__import__('os').system('x')", "import os", "a+1", "1 if 1 else 2", "'a'*3", "1;2", "[1]", "1e5", "0x10", "f(2)",
    "", "   ", "1 +", "(1", "1)", "()", "1 2", "* 2", "1..2", "5.", "1 / (2 - 2)", "1 % 0", "1 // 0", "0 ** -1",
    "2 ** 0.5",
    "9**9**9", "2**100000", "10**99 * 10**99", "((((" * 40, "1" * 150, "(" * 60 + "1" + ")" * 60, "1+" * 200,
    "2" + "**1" * 60,
    "１+１", "1\x00",
])  # fmt: skip
def test_anything_else_is_one_sentence_at_once(expression):
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        calculate(expression)
    assert "\n" not in str(error.value) and str(error.value).endswith(".") and time.perf_counter() - start < 0.2


# ── calls ──


@pytest.mark.parametrize("text, message", [
    ("17 * 25", "is not JSON"), ("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("17", "the call has no name"),
    ("[1]", "the call has no name"),
    ('{"name": 3}', "the call has no name"), ('{"name": "calculator", "arguments": [1]}', "must be an object"),
    ('{"name": "calculator", "arguments": "{"}', "is not JSON"),
    ('{"name": "os.system", "arguments": {}}', "there is no tool 'os.system'; there are calculator"),
    ('{"name": "calculator", "arguments": ""}', "calculator needs the argument 'expression'"),
    ('{"name": "calculator"}', "calculator needs the argument 'expression'"),
    ('{"name": "calculator", "arguments": {"expression": 3}}', "is a number; it must be of type string"),
    ('{"name": "calculator", "arguments": {"expression": "1", "x": 1}}', "has no argument 'x'"),
    ('{"name": "calculator", "arguments": {"expression": "exit()"}}', "is not arithmetic"),
])  # fmt: skip
def test_a_call_that_cannot_be_made_has_a_sentence_as_its_result(text, message):
    result = run_call(text, [Tool.of(calculator)])
    assert result.startswith("error: ") and message in result and "\n" not in result


def test_a_tool_that_raises_or_says_too_much_does_not_end_the_answer():
    def broken():
        raise RuntimeError("no network")

    def endless():
        return "x" * 10_000

    def table(n: int):
        return {"n": n, "squares": [i * i for i in range(n)]}

    tools = [Tool.of(tool) for tool in (broken, endless, table)]
    assert run_call('{"name": "broken"}', tools) == "error: RuntimeError: no network"
    assert len(run_call('{"name": "endless"}', tools)) < 2100
    assert json.loads(run_call('{"name": "table", "arguments": {"n": 3}}', tools))["squares"] == [0, 1, 4]
    assert "must be of type integer" in run_call('{"name": "table", "arguments": {"n": true}}', tools)
    for bad in (3, lambda *n: n):
        with pytest.raises(UserError):
            Tool.of(bad)

    def unresolved(city: "City"):  # noqa: F821
        return city

    for bad, reason in ((max, "no signature"), (unresolved, "name 'City' is not defined")):
        with pytest.raises(UserError, match=f"the arguments of the tool {bad.__name__} cannot be read .*{reason}"):
            Tool.of(bad)


def test_calls_and_text_are_told_apart():
    assert split_calls(f"Let me see. {CALL} {CALL}") == ("Let me see.", [read_call(CALL[11:-12])] * 2)
    for text in ("no call", f"{CALL_START}never ends", f"{CALL_START}17{CALL_END}", f"{CALL_END} {CALL_START}"):
        assert split_calls(text) == (text, [])


def test_messages_in_the_form_of_openai_are_the_text_that_the_model_wrote():
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    function = {"name": "calculator", "arguments": '{"expression": "17 * 25"}'}
    theirs = [
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "1", "content": "425"},
    ]
    ours = [QUESTION, Message("assistant", CALL), Message("tool", "425")]
    template = template_of(tokenizer)
    assert template.encode(tokenizer, theirs) == template.encode(tokenizer, ours)
    assert "<|im_start|>tool\n425<|im_end|>\n" in tokenizer.decode(template.encode(tokenizer, ours).ids)
    for calls in (3, [{}], [{"function": {"arguments": "{}"}}], [{"function": {"name": "x", "arguments": "{"}}]):
        with pytest.raises(UserError, match=r"message 1 \(assistant\): "):
            template.encode(tokenizer, [{"role": "assistant", "content": "", "tool_calls": calls}])


def test_the_tools_are_described_in_the_one_system_message():
    tools = [Tool.of(calculator).describe()]
    with_system = [Message("system", "Be short."), QUESTION]
    for messages, begins in (([QUESTION], "You may call"), (with_system, "Be short.\n\nYou may call")):
        system, question = with_tools(messages, tools)
        assert system.role == "system" and system.content.startswith(begins) and question == QUESTION
        assert json.loads(system.content.splitlines()[-1]) == tools[0]


# ── the loop ──


def script_of(tokenizer, *messages: Message, template: str = "chatml") -> ScriptedModel:
    """A model that writes the assistant's messages of this conversation if everything between them is exact."""
    ids = TEMPLATES[template].encode(tokenizer, messages, add_generation_prompt=False).ids
    return ScriptedModel([*ids, *[tokenizer.end_of_text] * 300], tokenizer.vocab_size)


@pytest.mark.parametrize("template", ["chatml", "plain"])
def test_what_is_inserted_is_what_training_would_show(template):
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for(template))
    again = write_call(ToolCall("calculator", {"expression": "425 + 1/0"}))
    chat = [QUESTION, Message("assistant", CALL), Message("tool", "425"), Message("assistant", f"Hm. {again}"),
            Message("tool", "error: a division by zero has no value."), Message("assistant", "It is 425.")]  # fmt: skip
    model = script_of(tokenizer, *chat, template=template)
    [result] = reply_with_tools(model, tokenizer, [[QUESTION]], [calculator], GREEDY, describe=False)
    assert result.text == "It is 425." and result.messages == chat[1:]
    assert LLMTrainer(model, tokenizer, "scripted").chat([QUESTION], temperature=0).endswith(CALL)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_result_is_inserted_as_the_template_encodes_it(name):
    template, tokenizer = TEMPLATES[name], train_tokenizer("byte", [], 300, special_tokens_for(name))
    before = template.encode(tokenizer, [QUESTION]).ids
    whole = template.encode(tokenizer, [QUESTION, Message("assistant", CALL), Message("tool", "425")]).ids
    assert [*before, *tokenizer.encode(CALL), *template.encode_result(tokenizer, "425")] == whole


def test_a_call_that_never_ends_and_one_too_many_are_returned_as_text():
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    endless = script_of(tokenizer, QUESTION, Message("assistant", CALL_START + "9" * 300))
    [result] = reply_with_tools(endless, tokenizer, [[QUESTION]], [calculator], GREEDY, describe=False)
    assert result.text.startswith(CALL_START + "999") and len(result.messages) == 1
    calling = script_of(tokenizer, QUESTION, Message("assistant", CALL))
    [result] = reply_with_tools(calling, tokenizer, [[QUESTION]], [calculator], GREEDY, max_calls=0, describe=False)
    assert result.text == CALL and result.messages == [Message("assistant", CALL)]


class OneTokenEnd(ByteTokenizer):
    """Bytes, and one token with the end of a call and the character before it."""

    def __init__(self):
        super().__init__()
        self.last = ord("~")
        self._tokens[self.last] = f"}}{CALL_END}".encode()


def test_a_stop_string_in_the_token_that_ends_a_call_comes_first():
    tokenizer = OneTokenEnd()
    ids = [*tokenizer.encode(f"Q{CALL_START}{{"), tokenizer.last, *[tokenizer.end_of_text] * 300]
    model, asked = ScriptedModel(ids, tokenizer.vocab_size), []

    def respond(i: int, call: str) -> list[int]:
        asked.append(call)
        return []

    for stop, n_calls in ((), 1), (("}",), 0), (("/tool_call>",), 1):
        asked.clear()
        options = SamplingOptions(50, temperature=0, stop=stop)
        [result] = generate_with_tools(model, tokenizer, [ids[:1]], options, respond, max_calls=1)
        assert len(asked) == len(result.calls) == n_calls, stop


def test_a_conversation_that_outgrows_the_context_is_a_warning_of_the_reply():
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    ids = [*TEMPLATES["chatml"].encode(tokenizer, [QUESTION]).ids, *tokenizer.encode("x" * 100)]
    model = ScriptedModel(ids, tokenizer.vocab_size, context_length=64)
    options = SamplingOptions(60, temperature=0)
    [plain] = generate(model, tokenizer, [template_of(tokenizer).encode(tokenizer, [QUESTION]).ids], options)
    [result] = reply_with_tools(model, tokenizer, [[QUESTION]], [calculator], options, describe=False)
    assert result.warnings == plain.warnings != []


def test_without_a_call_it_is_plain_generation():
    model, tokenizer = lively_model(vocab_size=257, context_length=64), ByteTokenizer()
    prompts, options = [[1, 2, 3], [4]], SamplingOptions(20, temperature=1, seed=3)
    plain = generate(model, tokenizer, prompts, options)
    results = generate_with_tools(model, tokenizer, prompts, options, lambda i, call: [])
    assert [result.texts for result in results] == [[g.text] for g in plain]
    assert [result.finish_reason for result in results] == [g.finish_reason for g in plain]


def now(zone: str, exact: bool = False) -> str:
    """The time in a zone."""
    return f"{zone}, {exact}"


@pytest.mark.parametrize(
    "choice, names", [("required", {"now", "calculator"}), ("now", {"now"}), (calculator, {"calculator"})]
)
def test_a_forced_call_comes_first_whatever_the_model_would_write(choice, names):
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    model = LLMTrainer(random_gpt(vocab_size=tokenizer.vocab_size, context_length=600), tokenizer, "random")
    options = SamplingOptions(70, temperature=3)
    [result] = reply_with_tools(model.model, tokenizer, [[QUESTION]], [calculator, now], options, tool_choice=choice)
    call = read_call(result.messages[0].content.removeprefix(CALL_START).removesuffix(CALL_END))
    assert call.name in names and result.messages[0].content.startswith(CALL_START)
    assert result.messages[1].role == "tool" and "error: now" not in result.messages[1].content
    tools, settings = [calculator, now], {"max_new_tokens": 70, "temperature": 3}
    if choice == "now":
        assert model.chat([QUESTION], tools, choice, **settings) == result.text, "and then it writes what it wants"


def test_the_mark_that_ends_a_call_may_be_in_an_argument_of_a_forced_one():
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    call = ToolCall("now", {"zone": f"{CALL_END} {CALL_START}"})
    chat = [QUESTION, Message("assistant", write_call(call)), Message("tool", f"{call.arguments['zone']}, False"),
            Message("assistant", "Late.")]  # fmt: skip
    model = script_of(tokenizer, *chat)
    [result] = reply_with_tools(model, tokenizer, [[QUESTION]], [now], GREEDY, describe=False, tool_choice=now)
    assert result.messages == chat[1:]


@pytest.mark.parametrize("tools, changes, words", [
    ([], {"tool_choice": "required"}, "tool_choice is 'required', and there are no tools; pass some"),
    ([now], {"tool_choice": "later"}, "tool_choice is 'later', and the tools are now; it must be 'auto'"),
    ([now], {"tool_choice": "now", "stop": "a"}, "a forced call and stop contradict each other"),
    ([now], {"tool_choice": "now", "max_new_tokens": 3}, "may have 3 tokens, and the call may need"),
    ([Tool("f", "", {"properties": {"n": {"minimum": 1, "type": "integer"}}}, now)], {"tool_choice": "f"}, "'minimum'"),
])  # fmt: skip
def test_what_cannot_be_forced_is_one_sentence(tools, changes, words):
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    model = LLMTrainer(script_of(tokenizer, QUESTION), tokenizer, "scripted")
    with pytest.raises(UserError, match=re.escape(words)):
        model.chat([QUESTION], tools=tools, **changes)


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(UserError, match="two tools are called 'calculator'"):
        reply_with_tools(lively_model(), ByteTokenizer(), [[QUESTION]], [calculator, calculator], GREEDY)
