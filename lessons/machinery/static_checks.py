"""Problems that are visible in the text of a student's file before anything runs.

A syntax error, a missing or renamed function, a changed signature, a forbidden name, or an exercise that is not done
yet: all of these are found in the syntax tree.
"""

import ast
import difflib

from lessons.machinery.case_source import parse
from lessons.machinery.diagnosis import Diagnosis
from lessons.machinery.exercises import Exercise
from lessons.machinery.forbidden import find_forbidden


def parse_source(source: str, filename: str) -> ast.Module | Diagnosis:
    """Parse a student's file; return a diagnosis instead if Python cannot parse it."""
    try:
        return parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        shown = f"\n    {line}" if line else ""
        return Diagnosis("syntax error", f"Python cannot read {filename}, line {error.lineno}: {error.msg}.{shown}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Diagnosis("syntax error", f"Python cannot read {filename}: {error}.")


def find_static_problem(tree: ast.Module, stub: ast.Module, exercise: Exercise, filename: str) -> Diagnosis | None:
    """Find a problem that is visible before running: a missing function, a changed signature, or a forbidden name."""
    definitions = top_level(tree)
    if exercise.name not in definitions:
        new_names = [name for name in definitions if name not in top_level(stub)]
        close_names = difflib.get_close_matches(exercise.name, new_names, n=1, cutoff=0.5) or new_names[:1]
        rename_hint = f"; if you renamed it to {close_names[0]!r}, restore its old name" if close_names else ""
        return Diagnosis(
            "not there", f"{filename} has no {exercise.name!r}, the function that the checks call{rename_hint}."
        )
    wanted, got = top_level(stub).get(exercise.name), definitions[exercise.name]
    if isinstance(got, ast.FunctionDef) and isinstance(wanted, ast.FunctionDef):
        n, (min_args, max_args) = len(wanted.args.args), arity(got)
        if (
            not min_args <= n <= max_args
            or got.args.kwonlyargs
            and not all(d is not None for d in got.args.kw_defaults)
        ):
            expected_args, actual_args = ast.unparse(wanted.args), ast.unparse(got.args)
            return Diagnosis(
                "wrong signature",
                f"{exercise.name}({actual_args}) on line {got.lineno} cannot be called the way the checks call it, "
                f"{exercise.name}({expected_args}).",
                "Keep the function's signature as in the stub.",
            )
    match = find_forbidden(tree, exercise)
    if match is not None:
        name, reason, line = match
        return Diagnosis("not allowed", f"{filename}, line {line} uses {name}, which is not allowed here: {reason}.")
    return None


def top_level(tree: ast.Module) -> dict[str, ast.stmt]:
    """The top-level definitions of a file: name → statement."""
    names: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    names[target.id] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name): node for alias in node.names if alias.asname}
    return names


def arity(function: ast.FunctionDef) -> tuple[int, float]:
    """The minimum and maximum number of positional arguments."""
    arguments = function.args
    n = len(arguments.posonlyargs) + len(arguments.args)
    return n - len(arguments.defaults), float("inf") if arguments.vararg else n


def is_not_done(tree: ast.Module, name: str) -> bool:
    """Whether the function is still a stub that only raises NotImplementedError."""
    node = top_level(tree).get(name)
    if isinstance(node, ast.ClassDef):
        return any(is_not_done(ast.Module([inner], []), inner.name) for inner in node.body if hasattr(inner, "name"))
    if not isinstance(node, ast.FunctionDef):
        return False
    last = node.body[-1]
    raised = last.exc if isinstance(last, ast.Raise) else None
    raised = raised.func if isinstance(raised, ast.Call) else raised
    return len(node.body) <= 2 and isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def string_constant(tree: ast.Module, name: str) -> str | None:
    """The string that a file assigns to `name`."""
    node = top_level(tree).get(name)
    value = getattr(node, "value", None)
    return value.value.strip() if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
