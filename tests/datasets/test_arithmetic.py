"""Questions with numbers, answered from memory or by a calculator."""

from llmasos.datasets import open_examples
from llmasos.datasets.arithmetic import DESCRIPTION, SIZES, arithmetic_conversations
from llmasos.datasets.tool_call_format import describe_tools
from llmasos.prompting import Tool, calculate, calculator, split_calls


def test_the_results_are_what_the_calculator_says_and_the_answers_repeat_them():
    n_calls = n_larger = 0
    for conversation in arithmetic_conversations("train", 400, tool=True):
        roles = [role for role, _ in conversation.messages if role != "system"]
        *_, last = (content for _, content in conversation.messages)
        if roles == ["user", "assistant"]:
            numbers = [int(word) for word in conversation.messages[-2][1].rstrip("?").split() if word.isdigit()]
            n_larger += last == str(max(numbers + [int(conversation.messages[-2][1].split()[3].rstrip(","))]))
            continue
        assert roles == ["user", "assistant", "tool", "assistant"]
        (_, question), (_, call), (_, outcome), _ = conversation.messages[-4:]
        [(name, arguments)] = split_calls(call)[1]
        assert name == "calculator" and calculate(arguments["expression"]) == outcome
        assert last.endswith(f" is {outcome}.")
        assert all(number in question for number in arguments["expression"].split()[::2])
        n_calls += 1
    assert n_calls + n_larger == 400 and 60 < n_larger < 140


def test_the_tool_is_described_as_the_sdk_describes_it_in_half_of_the_conversations():
    assert Tool.of(calculator).describe() == DESCRIPTION
    described = ("system", describe_tools([DESCRIPTION]))
    n = sum(chat.messages[0] == described for chat in arithmetic_conversations("train", 400, tool=True))
    assert 150 < n < 250
    assert all(chat.messages[0][0] == "user" for chat in arithmetic_conversations("train", 50, tool=False))


def test_both_datasets_ask_the_same_and_no_pair_of_numbers_is_in_both_splits():
    def asked(split: str, tool: bool) -> list[str]:
        return [
            next(text for role, text in chat.messages if role == "user")
            for chat in arithmetic_conversations(split, 500, tool)
        ]

    assert asked("train", True) == asked("train", False) and asked("val", True) == asked("val", False)
    pairs = {
        split: {tuple(sorted(word for word in text.replace(",", " ").replace(".", " ").replace("?", " ").split()
                             if word.isdigit())) for text in asked(split, True)}
        for split in SIZES
    }  # fmt: skip
    assert len(pairs["val"]) > 450 and all(len(pair) == 2 for pair in pairs["val"])
    assert not pairs["train"] & pairs["val"], "384 times 917 is the same as 917 times 384"


def test_the_lesson_asks_for_products_of_two_digits():
    options = {"operators": "*", "larger": 0.0, "described": 0.0, "smallest": 10, "largest": 99, "short": True}
    for conversation in arithmetic_conversations("val", 50, True, **options):
        (_, question), (_, call), (_, outcome), (_, answer) = conversation.messages
        assert answer == outcome and " * " in call and ("times" in question or "Multiply" in question)
        assert 100 <= int(answer) <= 99 * 99


def test_they_open_by_name():
    data = open_examples("conversations", "arithmetic")
    assert (len(data.train), len(data.val)) == (SIZES["train"], SIZES["val"]) and data.test is None
    assert data.fingerprint != open_examples("conversations", "calculator").fingerprint
