"""The functions for a `lesson.py`: the student's own code, predictions, and results next to the stated ones."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessons.machinery.discovery import Lesson
from lessons.machinery.static_checks import is_not_done, parse_source
from lessons.machinery.workspace import Workspace
from llmasos.errors import UserError

SEED, MINE, RESULTS = "LLMASOS_LESSON_SEED", "LLMASOS_LESSON_MINE", "LLMASOS_LESSON_RESULTS"


def seed(default: int = 0) -> int:
    """The seed of this run of the lesson: `python -m lessons run 3 --seed 5`."""
    return int(os.environ.get(SEED, default))


def part(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
    """Return the student's own function in `run N --mine`, if it is done; otherwise the library's.

    Args:
        name: the name of an exercise of the running lesson.
        ours: the library's function, with the same arguments and results.
    """
    lesson_name = os.environ.get(MINE)
    if not lesson_name:
        return ours
    workspace = Workspace.default()
    path = workspace.mine / f"{lesson_name}.py"
    if not path.exists():
        print(f"{name}: using the library's ({path} does not exist yet; python -m lessons check creates it).")
        return ours
    source = path.read_text(encoding="utf-8")
    tree = parse_source(source, str(path))
    if not hasattr(tree, "body"):
        raise UserError(tree.why)
    if is_not_done(tree, name):
        print(f"{name}: using the library's (yours is not done yet).")
        return ours
    spec = importlib.util.spec_from_file_location("exercise", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise UserError(f"{path} has no {name!r}; restore the function's old name.")
    passed = name in workspace.progress().get(lesson_name, {"passed": []})["passed"]
    print(f"{name}: using yours" + ("." if passed else " (it has not passed the checks; let us see what happens)."))
    return getattr(module, name)


def predict(question: str) -> None:
    """Ask for a prediction. At a terminal, wait for an answer; the next cell shows the result."""
    print(f"\n? Predict: {question}")
    if sys.stdin is not None and sys.stdin.isatty() and "ipykernel" not in sys.modules:
        try:
            answer = input("  your prediction (Enter to continue): ").strip()
        except EOFError:  # Ctrl-D
            answer = ""
        if answer:
            print(f"  You predicted: {answer}")


def result(name: str, value: float, expected: float, spread: float) -> float:
    """Print a number next to the one the lesson states; the tests compare them.

    Args:
        name: what was measured, with its unit.
        value: the measured value.
        expected: the mean over several seeds, as stated in the lesson's text.
        spread: the largest allowed distance from it, slightly more than the differences between seeds.
    """
    verdict = "as expected" if abs(value - expected) <= spread else "NOT as expected"
    stated = f"{expected:.4g}" if abs(expected) < 10_000 else f"{expected:g}"
    print(f"{name:<50} {value:.3f}   ({verdict}: {stated} ± {spread:g})")
    if os.environ.get(RESULTS):
        with open(os.environ[RESULTS], "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "value": value, "expected": expected, "spread": spread}) + "\n")
    return value


def run_lesson(lesson: Lesson, mine: bool = False, seed: int | None = None, results: Path | None = None) -> None:
    """Run a lesson's cells in order and print the section headings.

    Args:
        lesson: the lesson to run.
        mine: whether to use the student's functions.
        seed: the seed instead of the lesson's default.
        results: the file to which the lesson's results are appended.
    """
    settings = {MINE: lesson.name if mine else "", SEED: seed, RESULTS: results}
    os.environ.update({name: str(value) for name, value in settings.items() if value is not None})
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(lesson.path)}
    for cell in lesson.cells:
        if cell.kind == "markdown":
            for line in cell.text.splitlines():
                if line.startswith("#"):
                    heading = line.lstrip("# ")
                    print(f"\n{heading}\n{'─' * len(heading)}")
        else:  # with the line breaks before it, line numbers in errors are those of the file
            code = compile("\n" * (cell.line - 1) + cell.text, str(lesson.path), "exec")
            exec(code, namespace)
