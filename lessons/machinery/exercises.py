"""What an author declares in a lesson's `checks.py`: exercises, the cases they run on, and the known mistakes.

A **case** is a set of inputs. The grader passes them to the student's function and to the reference, and compares. A
**misconception** is a small wrong implementation with a name: when a student's outputs match it, the
feedback names the mistake. `accepted` holds right solutions in an unusual style. The tests run both for every lesson:
each misconception must be rejected and named, and each accepted solution must pass.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WALL_CLOCK_FACTOR = 4  # a case may take this many times its `seconds` of processor time in wall-clock time


class Case:
    """The inputs of one run of an exercise. Put small cases first: the first one that fails is shown to the student.

    Args:
        name: what is special about the case, in a few words: "two keys, one of them masked".
        run: the way to use the student's function, called as run(function, *inputs); None = function(*inputs). It must
            neither call what the exercise forbids nor use a reference, because it runs in the student's process.
        judge: a check of a property instead of a value. It runs in the grader, so it may use references, and nothing
            that a submission does in its own process changes its result, which is compared. It is called as
            judge(get, *inputs), where get() returns what the function, or `run`, has returned.
        inputs: the arguments by name, in the order in which they are passed (they are passed by position).

    >>> Case("three numbers", x=[1, 2, 3])
    Case('three numbers', x)
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., Any] | None = None,
        judge: Callable[[Callable[[], Any]], Any] | None = None,
        **inputs: Any,
    ):
        self.name, self.run, self.judge, self.inputs = name, run, judge, inputs

    def call(self, function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
        """Use the function on these inputs (a fresh copy of `self.inputs`), and judge the result."""
        return self.verdict(function(*inputs.values()) if self.run is None else self.run(function, *inputs.values()))

    def verdict(self, value: Any) -> Any:
        """What the judge says of a value; the value itself if there is no judge."""
        if self.judge is None:
            return value
        try:
            return self.judge(lambda: value, *copy.deepcopy(list(self.inputs.values())))
        except Exception as error:
            return f"it cannot be judged: {type(error).__name__}: {error}"

    def __repr__(self) -> str:
        return f"Case({self.name!r}, {', '.join(self.inputs)})"


@dataclass(frozen=True, eq=False)
class Misconception:
    """A mistake that students actually make.

    Attributes:
        name: a short name: "scores are not scaled".
        code: the wrong implementation, used exactly like the student's function.
        why: what the student ("you") did and its consequences, in one or two sentences.
        hint: what to think about next; not the solution.
        section: the number of the section of the lesson to read again, "3.4".
        variants: other versions of the same mistake that give different numbers (hidden by -inf, or by -1e9).
    """

    name: str
    code: Callable[..., Any]
    why: str
    hint: str
    section: str
    variants: tuple[Callable[..., Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Exercise:
    """One function (or class) that the student writes in `exercise.py`.

    Attributes:
        name: the name in `exercise.py`.
        asks: the task in one sentence; shown as "Task".
        reference: the right implementation; the library's own where it has one.
        cases: the cases to run it on, small ones first.
        misconceptions: at least six known mistakes.
        hints: the hints of `hint N NAME`, one more each time, from a nudge to almost the solution.
        section: the number of the section of the lesson that explains it.
        accepted: correct solutions in an unusual style, by a descriptive name.
        forbidden: full names of ready-made functions that would make the exercise pointless, each with the reason. The
            library and the course itself are always forbidden unless `allow_library`.
        allow_library: whether the student may import llmasos.
        random_cases: random_cases(seed) makes more cases for `grade`, in sizes that differ from the visible ones, so
            that an answer which only memorizes the visible cases earns nothing.
        gradients: whether to compare the gradients of all floating-point inputs, too.
        points: the exercise's points.
        seconds: the time limit of a case, in processor time.
        rtol, atol: the tolerance for differences from the reference's numbers.
    """

    name: str
    asks: str
    reference: Callable[..., Any]
    cases: list[Case]
    misconceptions: list[Misconception]
    hints: list[str]
    section: str
    accepted: dict[str, Callable[..., Any]] = field(default_factory=dict)
    forbidden: dict[str, str] = field(default_factory=dict)
    allow_library: bool = False
    random_cases: Callable[[int], list[Case]] | None = None
    gradients: bool = False
    points: float = 1.0
    seconds: float = 5.0
    rtol: float = 1e-3
    atol: float = 1e-4


@dataclass(frozen=True, eq=False)
class WrittenAnswer:
    """A written answer, a string in `exercise.py`. The grader checks that it exists; a teacher reads it.

    Attributes:
        name: the name of the variable that holds it.
        asks: the question in one sentence.
        words: the minimum number of words.
        hints, section: as in `Exercise`.
    """

    name: str
    asks: str
    words: int
    hints: list[str]
    section: str
    points: float = 0.0
