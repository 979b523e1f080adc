"""The part of a `checks.py` that a worker gets: the cases and what they need, never a reference.

The process that runs a student's code must not contain the answers: Python hides nothing from code in the same process
(frames, `sys.modules`, closures). So the parent parses `checks.py` and extracts, for each exercise, the
expressions `cases=…` and `random_cases=…` and exactly the top-level functions, constants and imports they use. A
constant that comes from the library ("the merges learned from this text") is sent as its value; judges are not sent.
"""

import ast
import base64
import pickle
import threading
from collections.abc import Iterable
from dataclasses import fields
from types import ModuleType

from lessons.machinery.exercises import Exercise

LIBRARY = "llmasos"
parser = threading.Lock()


def parse(source: str) -> ast.Module:
    """`ast.parse`, one thread at a time.

    Python 3.11 counts the depth of the tree that it builds in one variable for all threads. If the garbage collector
    runs Python code meanwhile (a callback in `gc.callbacks`, say), another thread may begin a tree, and both fail with
    "AST constructor recursion depth mismatch".
    """
    with parser:
        return ast.parse(source)


def case_source(checks: ModuleType, text: str, name: str) -> str:
    """Return Python source that defines CASES (a list) and random_cases (a function or None) of one exercise.

    Args:
        checks: the module `checks.py`, for the values of its constants.
        text: the source of `checks.py`.
        name: the name of the exercise.
    """
    tree = parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Case":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "judge"]
    parts = exercise_parts(tree, name)
    wanted = [
        ast.Assign([ast.Name("CASES", ast.Store())], parts["cases"]),
        ast.Assign([ast.Name("random_cases", ast.Store())], parts.get("random_cases", ast.Constant(None))),
    ]
    statements = [statement for node in tree.body for statement in one_import_each(node)]
    uses = [names_used([statement]) for statement in statements]
    from_library = library_names(statements, uses)
    kept: dict[int, ast.stmt] = {}
    pending, seen = names_used(wanted), set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for number, statement in enumerate(statements):
            if current not in names_defined(statement):
                continue
            if isinstance(statement, ast.Assign) and current in from_library:
                kept[number] = as_value(current, getattr(checks, current))
            else:
                kept[number] = statement
                pending |= uses[number]
    body = [kept[number] for number in sorted(kept)] + wanted
    return ast.unparse(ast.fix_missing_locations(ast.Module(body, []))) + "\n"


def exercise_parts(tree: ast.Module, name: str) -> dict[str | None, ast.expr]:
    """The arguments of `Exercise(name=…)` of one exercise: name → expression."""
    order = [field.name for field in fields(Exercise)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Exercise":
            by_name = {keyword.arg: keyword.value for keyword in node.keywords}
            parts = {**dict(zip(order, node.args, strict=False)), **by_name}
            if getattr(parts.get("name"), "value", None) == name:
                return parts
    raise LookupError(f"checks.py has no Exercise(name={name!r}, …) that can be read off its text.")


def one_import_each(node: ast.stmt) -> Iterable[ast.stmt]:
    """Split an import of several names into one import per name; any other statement is returned unchanged."""
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
    return [node]


def names_used(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name in these statements."""
    return {inner.id for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def names_defined(node: ast.stmt) -> set[str]:
    """The names that a top-level statement defines or changes: x = …, x[0] = …, def x, import x."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", ast.Pass())]
    names = set()
    for target in targets:
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        names |= {part.id for part in parts if isinstance(part, ast.Name)}
    return names


def library_names(statements: list[ast.stmt], uses: list[set[str]]) -> set[str]:
    """The top-level names that come from the library or are computed with it, directly or indirectly."""
    names: set[str] = set()
    before = -1
    while len(names) > before:
        before = len(names)
        for statement, used in zip(statements, uses, strict=True):
            imported = isinstance(statement, ast.Import | ast.ImportFrom)
            module = (getattr(statement, "module", None) or statement.names[0].name) if imported else ""
            if module.split(".")[0] == LIBRARY or used & names:
                names |= names_defined(statement)
    return names


def as_value(name: str, value: object) -> ast.stmt:
    """The statement `name = …` that restores a value."""
    data = base64.b64encode(pickle.dumps(value)).decode()
    return parse(f"{name} = __import__('pickle').loads(__import__('base64').b64decode({data!r}))").body[0]
