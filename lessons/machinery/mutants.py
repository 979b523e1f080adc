"""Mutation testing: make one small change in a right solution, to find out what the cases of an exercise miss.

Every solution that is known to be right, the reference and the accepted ones, is changed in one place: an operator, a
constant, an axis, a slice bound, a line that is left out or swapped with the next. A mutant that the cases accept
**survives**: either it breaks no promise of the docstring, or a case is missing. Survivors that break no promise are
listed, each with the reason, in the lesson's `equivalent_mutants.json`: {exercise: {reason: [changes]}}.

DeMillo, Lipton, Sayward (1978), Hints on test data selection; Jia, Harman (2011), An analysis and survey of the
development of mutation testing.
"""

import ast
import copy
import importlib
import inspect
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lessons.machinery.diagnosis import diagnose
from lessons.machinery.discovery import Lesson
from lessons.machinery.execution import observe
from lessons.machinery.exercises import Exercise
from lessons.machinery.grading import observe_all, reference_observations, round_trip

CONTEXT = 16  # characters of source text that show a reader where a change is
SECONDS = 1  # of processor time per case: a change may make a loop endless
MEMORY = 8 * 2**30  # bytes of address space: a change may make a size enormous

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip
OPPOSITES = [
    ("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all"), ("floor", "ceil"), ("sum", "mean"),
    ("tril", "triu"), ("log", "log2"), ("exp", "exp2"), ("sin", "cos"), ("zeros", "ones"), ("cumsum", "cumprod"),
    ("lower", "upper"), ("startswith", "endswith"), ("find", "rfind"), ("append", "insert"), ("union", "intersection"),
]  # fmt: skip
RENAMES = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
OPTIONAL_CALLS = {"clone", "sort", "sorted", "strip", "lower", "detach", "float", "double", "abs", "reversed", "copy"}
FLAGS = {"stable", "descending", "keepdim", "reverse", "right", "unbiased"}  # keywords that may be left out


@dataclass(frozen=True)
class Mutant:
    """A right solution with one change.

    Attributes:
        solution: "reference", or the name of an accepted solution.
        change: "before → after", as source text.
        function: the changed solution.
    """

    solution: str
    change: str
    function: Callable[..., Any]


def survivors(lesson: Lesson, exercise: Exercise) -> list[Mutant]:
    """The mutants of an exercise that all its cases accept and that are not listed as equivalent."""
    known = equivalent_changes(lesson).get(exercise.name, set())
    for solution in (exercise.reference, *exercise.accepted.values()):  # do all lazy loading now,
        observe_all(exercise, solution)  # so that it does not count towards a mutant's time
    return [m for m in mutants(lesson, exercise) if m.change not in known and survives(exercise, m.function)]


def survives(exercise: Exercise, function: Callable[..., Any]) -> bool:
    """Whether a function is right in every case; the first failing case ends the search."""
    for case, reference in zip(exercise.cases, reference_observations(exercise), strict=True):
        try:
            with limits():
                observation = round_trip(observe(function, case, exercise.gradients))
        except TooSlow:  # the alarm fired between two lines of `observe` itself
            return False
        if diagnose(exercise, case, reference, observation, "", "") is not None:
            return False
    return True


def equivalent_changes(lesson: Lesson) -> dict[str, set[str]]:
    """Exercise → the changes that break no promise."""
    path = lesson.folder / "equivalent_mutants.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: {change for changes in reasons.values() for change in changes} for name, reasons in listed.items()}


# From a solution to its mutants


def mutants(lesson: Lesson, exercise: Exercise) -> Iterator[Mutant]:
    """Yield all mutants of the reference and the accepted solutions of an exercise, without duplicates."""
    seen = set()
    for name, (entry, definitions, namespace) in solutions(lesson, exercise).items():
        for change, mutated_entry, mutated in changed_sources(entry, definitions):
            program = ast.unparse(ast.Module([*mutated, ast.Expr(mutated_entry)], []))
            if program in seen:
                continue
            seen.add(program)
            function = build(mutated_entry, mutated, namespace)
            if function is not None:
                yield Mutant(name, change, function)


def solutions(lesson: Lesson, exercise: Exercise) -> dict[str, tuple[ast.expr, list[ast.stmt], dict[str, Any]]]:
    """The right solutions of an exercise: name → expression, the functions that it uses, and their namespace."""
    call = exercise_call(lesson.checks, exercise)
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    wrong = ast.List([keywords.get("misconceptions") or call.args[4]], ast.Load())
    shared = {node.name for node in definitions_used(wrong, lesson.checks)}  # wrong only with certain parameters
    expressions = {"reference": keywords.get("reference") or call.args[2]}
    if isinstance(accepted := keywords.get("accepted"), ast.Dict):
        expressions |= {
            ast.literal_eval(k): v for k, v in zip(accepted.keys, accepted.values, strict=True) if k is not None
        }
    found = {}
    for name, expression in expressions.items():
        function = exercise.reference if name == "reference" else exercise.accepted[name]
        if isinstance(expression, ast.Attribute) and inspect.isfunction(function):  # a function of the library
            module = importlib.import_module(function.__module__)
            expression = ast.Name(function.__name__, ast.Load())
        else:
            module = lesson.checks
        own = [
            node
            for node in definitions_used(expression, module)
            if node.name not in shared or getattr(expression, "id", "") == node.name
        ]
        found[name] = expression, own, vars(module)
    return found


def exercise_call(checks: ModuleType, exercise: Exercise) -> ast.Call:
    """The call `Exercise(…)` in checks.py that defines this exercise."""
    for node in ast.walk(parse(checks)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Exercise":
            names = [k.value for k in node.keywords if k.arg == "name"] + node.args[:1]
            if any(isinstance(name, ast.Constant) and name.value == exercise.name for name in names):
                return node
    raise LookupError(f"{checks.__file__} has no Exercise named {exercise.name!r}.")


@cache
def parse(module: ModuleType) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(Path(module.__file__).read_text(encoding="utf-8"))


def definitions_used(expression: ast.expr, module: ModuleType) -> list[ast.stmt]:
    """The functions and classes of a module that an expression uses, directly or through others."""
    available = {n.name: n for n in parse(module).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    used, queue = {}, [expression]
    while queue:
        for node in ast.walk(queue.pop()):
            if isinstance(node, ast.Name) and node.id in available and node.id not in used:
                used[node.id] = available[node.id]
                queue.append(available[node.id])
    return [node for name, node in available.items() if name in used]


def build(entry: ast.expr, definitions: list[ast.stmt], namespace: dict[str, Any]) -> Callable[..., Any] | None:
    """Compile a mutated solution; None if it does not even define a function."""
    scope = dict(namespace)
    try:
        module = ast.fix_missing_locations(ast.Module(definitions, []))
        exec(compile(module, "<mutant>", "exec"), scope)
        return eval(compile(ast.fix_missing_locations(ast.Expression(entry)), "<mutant>", "eval"), scope)
    except Exception:
        return None


# The changes


def changed_sources(entry: ast.expr, definitions: list[ast.stmt]) -> Iterator[tuple[str, ast.expr, list[ast.stmt]]]:
    """Yield every change of a solution: its description, the new expression, the new functions."""
    whole = ast.Module([*definitions, ast.Expr(entry)], [])
    for number, place in enumerate(ast.walk(whole)):
        if place is whole.body[-1] or is_annotation(whole, place):
            continue
        for option in range(len(changes(place))):
            changed = copy.deepcopy(whole)
            target = list(ast.walk(changed))[number]
            context = enclosing(changed, target)
            before, replacement = source_lines(context), changes(target)[option]
            substitute(changed, target, replacement)
            change = describe_change(before, source_lines(replacement if context is target else context))
            if change:
                *functions, last = changed.body
                yield change, last.value, functions


def enclosing(tree: ast.AST, node: ast.AST) -> ast.AST:
    """The smallest expression around a node that shows where it is, or the node itself if it is a statement."""
    small = ast.expr | ast.Slice | ast.keyword | ast.Assign | ast.AugAssign | ast.Return
    while isinstance(node, ast.expr | ast.Slice | ast.keyword) and len(ast.unparse(node)) < CONTEXT:
        parent = next(p for p in ast.walk(tree) if any(child is node for child in ast.iter_child_nodes(p)))
        if not isinstance(parent, small):
            return node
        node = parent
    return node


def is_annotation(tree: ast.AST, node: ast.AST) -> bool:
    """Whether a node belongs to a type annotation."""
    for parent in ast.walk(tree):
        for name in ("annotation", "returns"):
            part = getattr(parent, name, None)
            if part is not None and any(inner is node for inner in ast.walk(part)):
                return True
    return False


def independent(first: ast.stmt, second: ast.stmt) -> bool:
    """Whether the order of two assignments cannot matter, because neither uses or calls anything from the other."""
    if not all(isinstance(line, ast.Assign) for line in (first, second)):
        return False
    written, used = [], []
    for line in (first, second):
        names = [node for node in ast.walk(line) if isinstance(node, ast.Name)]
        written.append({node.id for node in names if isinstance(node.ctx, ast.Store)})
        used.append({node.id for node in names})
    return not (written[0] & used[1] or written[1] & used[0])


def source_lines(node: ast.AST | list[ast.stmt]) -> list[str]:
    """Convert a node to lines of source text."""
    nodes = node if isinstance(node, list) else [node]
    texts = ["(nothing)" if isinstance(n, ast.Pass) else ast.unparse(n) for n in nodes]
    return [line.strip() for text in texts for line in text.splitlines()]


def describe_change(before: list[str], after: list[str]) -> str:
    """Format the lines that differ as "before → after"; empty if none do."""
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while len(before) > 1 and len(after) > 1 and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return f"{'; '.join(before)} → {'; '.join(after)}" if before or after else ""


def substitute(tree: ast.AST, old: ast.AST, new: Any) -> None:
    """Replace a node by another one, or by a list of statements."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                position = next(i for i, item in enumerate(value) if item is old)
                value[position : position + 1] = new if isinstance(new, list) else [new]
                return


def changes(node: ast.AST) -> list[Any]:
    """The changed versions of one node; a list of statements replaces a statement."""
    options: list[Any] = []

    def variant(**fields: Any) -> None:
        other = copy.copy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        options.append(other)

    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in COMPARISONS:
                variant(ops=[*node.ops[:i], COMPARISONS[type(op)](), *node.ops[i + 1 :]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not is_text(node):
        variant(op=OPERATORS[type(node.op)]())
        options += [node.left, node.right]
    elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        variant(op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        options.append(node.operand)
    elif isinstance(node, ast.BoolOp):
        variant(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        options += node.values
    elif isinstance(node, ast.Constant):
        options += [ast.Constant(value) for value in other_constants(node.value)]
    elif isinstance(node, ast.IfExp):
        options += [node.body, node.orelse]
    elif isinstance(node, ast.Slice):
        for part in ("lower", "upper", "step"):
            if getattr(node, part) is not None:
                variant(**{part: None})
    elif isinstance(node, ast.Call):
        options += changed_calls(node)
    elif isinstance(node, ast.comprehension):
        for i in range(len(node.ifs)):
            variant(ifs=[*node.ifs[:i], *node.ifs[i + 1 :]])
    elif isinstance(node, ast.If):
        options += [node.body, node.orelse or [ast.Pass()]]
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Break | ast.Continue) and not is_docstring(node):
        options.append(ast.Pass())
    body = getattr(node, "body", None)
    if isinstance(body, list) and not isinstance(node, ast.Module | ast.ClassDef):
        for i in range(len(body) - 1):
            if not is_docstring(body[i]) and not independent(body[i], body[i + 1]):
                variant(body=[*body[:i], body[i + 1], body[i], *body[i + 2 :]])
    return options


def changed_calls(node: ast.Call) -> list[ast.expr]:
    """The changed versions of a call: a related function, without a flag, or left out."""
    options: list[ast.expr] = []
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in RENAMES:
        other = copy.copy(node)
        other.func = copy.copy(node.func)
        setattr(other.func, "attr" if isinstance(node.func, ast.Attribute) else "id", RENAMES[name])
        options.append(other)
    for keyword in node.keywords:
        if keyword.arg in FLAGS:
            other = copy.copy(node)
            other.keywords = [k for k in node.keywords if k is not keyword]
            options.append(other)
    if name in OPTIONAL_CALLS:
        if isinstance(node.func, ast.Attribute) and not node.args:
            options.append(node.func.value)
        elif isinstance(node.func, ast.Name) and len(node.args) == 1:
            options.append(node.args[0])
    return options


def other_constants(value: Any) -> list[Any]:
    """Return the neighbors of a constant."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):  # large ones stand for infinity
        return [1.0] if value == 0 else [2 * value, 0.0] if abs(value) < 1e6 else []
    return []


def is_text(node: ast.BinOp) -> bool:
    """Whether an operator concatenates strings."""
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", None), str) for side in sides)


def is_docstring(node: ast.AST) -> bool:
    """Whether a statement is only a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


# Limits


class TooSlow(BaseException):
    """A mutant that takes too long. Not an Exception, so that no `except Exception` swallows it."""


@contextmanager
def limits() -> Iterator[None]:
    """Stop a mutant that does not end, or (where the system supports it) allocates enormous amounts of memory."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    import resource

    def stop(number, frame):
        raise TooSlow

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
