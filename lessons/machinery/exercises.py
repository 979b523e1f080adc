"""What an author declares in a lesson's `checks.py`: exercises, the cases they are tried on, and the known mistakes.

A **case** is a set of inputs. The grader hands them to the student's function and to the reference, and compares. A
**misconception** is a small wrong implementation with a name: a student whose outputs are wrong in the same way as the
misconception's is told so. `accepted` holds right solutions in an unusual style. Tests try both on every lesson: each
misconception must be rejected and named, each accepted solution must pass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WAITING = 4  # how many times as long as `seconds` of computing a case may take by the clock on the wall


class Case:
    """Inputs on which an exercise is tried. Small ones first: the first that fails is shown to the student.

    Args:
        name: what is special about it, in a few words: "two keys, one of them masked".
        run: how the student's function is used, called as run(function, *inputs); None = function(*inputs). It must not
            itself call what the exercise forbids.
        inputs: the arguments by name, in the order in which they are passed (they are passed by position).

    >>> Case("three numbers", x=[1, 2, 3])
    Case('three numbers', x)
    """

    def __init__(self, name: str, run: Callable[..., Any] | None = None, **inputs: Any):
        self.name, self.run, self.inputs = name, run, inputs

    def call(self, function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
        """Use the function on these inputs (a fresh copy of `self.inputs`)."""
        return function(*inputs.values()) if self.run is None else self.run(function, *inputs.values())

    def __repr__(self) -> str:
        return f"Case({self.name!r}, {', '.join(self.inputs)})"


@dataclass(frozen=True, eq=False)
class Misconception:
    """A mistake that students really make.

    Attributes:
        name: what it is called, in a few words: "scores are not scaled".
        code: the wrong implementation, used exactly like the student's function.
        why: what was done and what follows from it, in one or two sentences to the student ("you").
        hint: what to think about next; not the solution.
        section: the number of the section of the lesson to read again, "3.4".
        variants: other code of the same mistake that gives other numbers (hidden by -inf, or by -1e9).
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
        name: its name there.
        asks: the task in one sentence.
        reference: the right implementation; the library's own where it has one.
        cases: what it is tried on, small ones first.
        misconceptions: at least six known mistakes.
        hints: for `hint N NAME`, one more each time, from a nudge to nearly the solution.
        section: the number of the section of the lesson that explains it.
        accepted: right solutions in an unusual style, by a name that says which.
        forbidden: full names of ready-made functions that would make the exercise pointless, each with the reason. The
            library and the course itself are always forbidden unless `allow_library`.
        allow_library: whether the student may import llmasos.
        gradients: compare the gradients of all floating-point inputs too.
        points: what it is worth.
        seconds: how long one case may take, in processor time.
        rtol, atol: how far a number may be from the reference's.
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
    gradients: bool = False
    points: float = 1.0
    seconds: float = 5.0
    rtol: float = 1e-3
    atol: float = 1e-4


@dataclass(frozen=True, eq=False)
class Written:
    """An answer in words, a string in `exercise.py`. That it is there is checked; a person reads it.

    Attributes:
        name: the name of the variable that holds it.
        asks: the question in one sentence.
        words: how many words make an answer.
        hints, section: as of an `Exercise`.
    """

    name: str
    asks: str
    words: int
    hints: list[str]
    section: str
    points: float = 0.0
