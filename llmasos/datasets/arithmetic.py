"""Questions with numbers, as conversations: with answers from memory, or with answers from a calculator.

    user        What is 384 times 917?                    the dataset "arithmetic":
    assistant   384 times 917 is 352128.                  the assistant has to compute it

    user        What is 384 times 917?                    the dataset "calculator":
    assistant   <tool_call>{"name": "calculator", "arguments": {"expression": "384 * 917"}}</tool_call>
    tool        352128
    assistant   384 times 917 is 352128.                  the assistant calls, and repeats the result

Three questions in four are about a product, a sum or a difference of two numbers from 10 to 999, in different words.
One in four only asks which number is larger; that needs no calculator, and is answered at once. So a model has to learn
*when* to call the tool, and with what (Schick et al. 2023, "Toolformer").

Both datasets have the same questions. Questions about one pair of numbers in ten are held out, by a hash of the pair in
either order. In half of the conversations of "calculator", a system message describes the tool, as in
`LLMTrainer.chat(…, tools=calculator)` and the API; the other half has none.
"""

import hashlib
import random
from collections.abc import Iterator
from typing import Any

from llmasos.datasets.examples import Conversation, Splits
from llmasos.datasets.source import in_hashed_tenth, text_key
from llmasos.datasets.tool_call_format import ToolCall, describe_tools, write_call

SMALLEST, LARGEST = 10, 999
SIZES = {"train": 20_000, "val": 500}
LARGER = "Which is larger, {a} or {b}?"
WORDINGS = {  # operator → the questions, and the answer
    "*": (
        ("What is {a} times {b}?", "Multiply {a} by {b}.", "{a} * {b} = ?", "How many pens are in {a} boxes of {b}?"),
        "{a} times {b} is {result}.",
    ),
    "+": (
        ("What is {a} plus {b}?", "Add {a} and {b}.", "{a} + {b} = ?", "I have {a} pens and get {b} more. How many?"),
        "{a} plus {b} is {result}.",
    ),
    "-": (
        ("What is {a} minus {b}?", "Take {b} from {a}.", "{a} - {b} = ?", "I have {a} pens and lose {b}. How many?"),
        "{a} minus {b} is {result}.",
    ),
}  # fmt: skip
DESCRIPTION: dict[str, Any] = {  # as OpenAI's API describes the tool `prompting.calculator`
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Compute an arithmetic expression such as (17 + 3) * 25 exactly.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    },
}


def arithmetic_conversations(
    split: str,
    n: int,
    tool: bool,
    operators: str = "*+-",
    larger: float = 0.25,
    described: float = 0.5,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
    short: bool = False,
) -> Iterator[Conversation]:
    """Yield the first n conversations of a split, always the same ones.

    Args:
        split: "train" or "val"; no pair of numbers is in both.
        n: the number of conversations.
        tool: whether the assistant calls the calculator.
        operators: the operators of the questions, from "*+-".
        larger: the fraction of questions that need no calculator.
        described: the fraction of conversations whose system message describes the calculator, if there is one.
        smallest, largest: the range of the numbers.
        short: whether to use only the first two wordings of each question, and the bare result as the last message.
    """
    rng = random.Random(f"arithmetic {split}")
    while n:
        a, b = (rng.randint(smallest, largest) for _ in range(2))
        u, operator, wording = rng.random(), rng.choice(operators), rng.randrange(2 if short else 4)
        has_system = rng.random() < described
        if a == b or in_hashed_tenth(text_key(f"{min(a, b)} {max(a, b)}")) != (split == "val"):
            continue
        n -= 1
        system = [("system", describe_tools([DESCRIPTION]))] if tool and has_system else []
        if u < larger:
            yield Conversation((*system, ("user", LARGER.format(a=a, b=b)), ("assistant", str(max(a, b)))))
            continue
        questions, answer = WORDINGS[operator]
        result = {"*": a * b, "+": a + b, "-": a - b}[operator]
        call = write_call(ToolCall("calculator", {"expression": f"{a} {operator} {b}"}))
        tool_turns = [("assistant", call), ("tool", str(result))] if tool else []
        reply = str(result) if short else answer.format(a=a, b=b, result=result)
        yield Conversation((*system, ("user", questions[wording].format(a=a, b=b)), *tool_turns, ("assistant", reply)))


def open_arithmetic(name: str) -> Splits[Conversation]:
    """Open the conversations with answers from memory ("arithmetic") or from a calculator ("calculator")."""
    train, val = (list(arithmetic_conversations(split, n, name == "calculator")) for split, n in SIZES.items())
    how = "that a calculator answers" if name == "calculator" else "to be answered from memory"
    description = (
        f"{len(train):,} and {len(val):,} questions about numbers from {SMALLEST} to {LARGEST} {how}; one pair of "
        "numbers in ten is held out"
    )
    fingerprint = hashlib.sha256(repr((name, train[:100], SIZES)).encode()).hexdigest()
    return Splits(name, description, train, val, test=None, fingerprint=fingerprint)
