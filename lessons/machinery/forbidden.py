"""Ready-made functions that would make an exercise pointless: rejected by reading the code, and again at run time.

Static analysis alone is fooled by `getattr(F, "scaled_" + "dot_product_attention")`; run-time checks alone miss code
that does not happen to run. Together they leave no easy workaround, and the student gets the reason and the line.
"""

import ast
import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lessons.machinery.exercises import Exercise
from lessons.machinery.sandbox import find_owner

LIBRARY = "llmasos"
LIBRARY_REASON = "it contains the solution; the exercise is to write it yourself"
INTERNALS = ("torch.ops", "torch._ops", "torch._C", "torch._VF", "torch._refs", "torch._decomp", "torch._prims",
             "torch.library", "torch.jit", "torch.compile", "torch._dynamo", "torch._inductor")  # fmt: skip
COURSE = {"lessons": "a solution must not use the course's own code"}


class Forbidden(Exception):
    """A forbidden function was called."""


def forbidden_names(exercise: Exercise) -> dict[str, str]:
    """Everything that the exercise forbids: full name → the reason. Torch's internal names are included."""
    library = {} if exercise.allow_library else {LIBRARY: LIBRARY_REASON}
    reasons = [reason for name, reason in exercise.forbidden.items() if name.startswith("torch.")]
    internals = {name: reasons[0] for name in INTERNALS} if reasons else {}
    return {**library, **COURSE, **internals, **exercise.forbidden}


# Reading the code


def find_forbidden(tree: ast.Module, exercise: Exercise) -> tuple[str, str, int] | None:
    """The first forbidden name that the exercise's code uses: the name, the reason, the line.

    Searches the function (or class) and everything in the same file that it uses, directly or indirectly.
    """
    rules = forbidden_names(exercise)
    full_names = imported_names(tree)
    for node in reachable_code(tree, exercise.name):
        for inner in ast.walk(node):
            for name in names_in(inner, full_names):
                for rule, reason in rules.items():
                    if name == rule or name.startswith(rule + ".") or is_same_function(name, rule):
                        return rule if "." in rule else name, reason, inner.lineno
    return None


def is_same_function(name: str, rule: str) -> bool:
    """Whether a dotted name ends like a forbidden function: `anything.scaled_dot_product_attention`.

    Short names such as `softmax` also belong to methods of tensors and much else: for these, only the full name counts.
    """
    last = rule.rsplit(".", 1)[-1]
    return "." in rule and "." in name and len(last) >= 12 and name.rsplit(".", 1)[-1] == last


def imported_names(tree: ast.Module) -> dict[str, str]:
    """The full name of each imported name: F → torch.nn.functional."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
    return names


def reachable_code(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The statement that defines `name`, and everything in the same file that it uses."""
    defined: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for target in defined_by(node):
            defined.setdefault(target, []).append(node)
    needed, statements, pending = set(), [], [name]
    while pending:
        current = pending.pop()
        if current in needed:
            continue
        needed.add(current)
        for node in defined.get(current, []):
            statements.append(node)
            pending += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    return statements


def defined_by(node: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement defines (imports aside)."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def names_in(node: ast.AST, full_names: dict[str, str]) -> Iterator[str]:
    """The full names that this one node mentions."""
    if isinstance(node, ast.Name):
        if node.id in full_names:
            yield full_names[node.id]
    elif isinstance(node, ast.Attribute):
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        parts.append(full_names.get(inner.id, inner.id) if isinstance(inner, ast.Name) else "")
        yield ".".join(reversed(parts))
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call):  # getattr(F, "scaled_dot_product_attention"), import_module("llmasos.nn")
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("getattr", "import_module", "__import__"):
            strings = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            yield from (text if called != "getattr" else f".{text}" for text in strings)


# At run time

# torch's functions and the internal operators through which other names reach them: name → operators.
INNER_NAMES = {
    "scaled_dot_product_attention": "_scaled_dot_product_attention_math _scaled_dot_product_flash_attention "
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_fused_attention_overrideable _flash_attention_forward _efficient_attention_forward",
    "multi_head_attention_forward": "_native_multi_head_attention",
    "layer_norm": "native_layer_norm _normalize",
    "softmax": "_softmax",
    "log_softmax": "_log_softmax",
    "cross_entropy": "cross_entropy_loss",
    "nll_loss": "nll_loss_nd nll_loss_forward nll_loss2d_forward nll_loss2d",
    "group_norm": "native_group_norm",
    "binary_cross_entropy": "binary_cross_entropy",
    "make_dual": "_make_dual",
    "AdamW": "_fused_adamw_",
    "Adam": "_fused_adam_",
}
# torch's own second versions of its functions, written in Python.
COPIES = ("torch._refs", "torch._refs.nn.functional", "torch._decomp.decompositions", "torch._prims")


@contextmanager
def forbidden_at_runtime(rules: dict[str, str]):
    """Make every forbidden function raise `Forbidden`, under whatever name it is called.

    Args:
        rules: the forbidden names and the reasons, as returned by `forbidden_names`.
    """
    functions = {name: reason for name, reason in rules.items() if "." in name and name not in INTERNALS}
    replaced: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, key: str, value: Any) -> None:
        replaced.append((owner, key, getattr(owner, key)))
        setattr(owner, key, value)

    def refuse_within(function: Any, refuse: Callable[..., Any]) -> None:
        for inner in unwrapped(function):  # its code, so that a reference which was kept refuses, too
            replace(inner, "__code__", refusing_code(len(inner.__code__.co_freevars), refuse))

    substitutes: dict[int, Callable[..., Any]] = {}
    names: dict[str, tuple[str, str]] = {}
    for name, reason in functions.items():
        owner, last = name.rsplit(".", 1)
        original = resolve_name(name) if name.split(".")[0] in sys.modules else None
        if name.startswith("torch."):
            names |= dict.fromkeys([last, *INNER_NAMES.get(last, "").split()], (name, reason))
        if original is None or isinstance(original, ModuleType):  # a module's name forbids only what is written
            continue
        substitutes[id(original)] = refuse = make_refusal(name, reason)
        refuse_within(original, refuse)
        if isinstance(find_owner(owner), type):
            replace(find_owner(owner), last, refuse)
    for module, key in places(frozenset(substitutes), tuple(sys.modules)):
        if id(found := vars(module).get(key)) in substitutes:
            replace(module, key, substitutes[id(found)])
    for module in filter(None, map(sys.modules.get, COPIES)):
        for inner in names.keys() & vars(module).keys():
            refuse_within(vars(module)[inner], make_refusal(*names[inner]))
    finder = ForbiddenImports({name: reason for name, reason in rules.items() if "." not in name})
    sys.meta_path.insert(0, finder)
    try:
        with (
            ForbiddenCallGuard(names),
            ForbiddenOperatorGuard(names) if needs_operators(names) else nullcontext(),
            guards_kept(),
        ):
            yield
    finally:
        sys.meta_path.remove(finder)
        for owner, key, value in reversed(replaced):
            setattr(owner, key, value)


@lru_cache(maxsize=256)
def places(functions: frozenset[int], modules: tuple[str, ...]) -> list[tuple[ModuleType, str]]:
    """Where these functions (their ids) are to be found: several modules may have the same one.

    That takes a search through everything in torch, so it is done again only when other modules are loaded (and after
    the import of a submission, see `worker.load`: until then, its code may have put functions elsewhere).
    """
    loaded = [sys.modules[name] for name in modules]
    ours = [m for m in loaded if (getattr(m, "__name__", "") or "").split(".")[0] in ("torch", LIBRARY)]
    return [(module, key) for module in ours for key, value in list(vars(module).items()) if id(value) in functions]


# torch's own ways of calling a function without its modes: the name in torch._C → the modules that have a copy.
SWITCHES = ("DisableTorchFunction", "_skip_one_hop_torch_function", "_set_skip_next_torch_function")
POPS = {"_pop_torch_function_stack": "torch.overrides", "_pop_torch_dispatch_stack": "torch.utils._python_dispatch"}
HELPERS = ("_pop_mode", "_pop_mode_temporarily", "_disable_current_modes")  # torch's functions that anybody may call


@contextmanager
def guards_kept() -> Iterator[None]:
    """Refuse to take the guards away, or to pass them by; torch itself may put them aside."""
    replaced = {(torch._C, name): make_refusal(f"torch._C.{name}", "it switches the checks off") for name in SWITCHES}
    for name, user in POPS.items():
        replaced |= dict.fromkeys([(torch._C, name), (sys.modules[user], name)], pop_of_others(getattr(torch._C, name)))
    originals = {(owner, name): getattr(owner, name) for owner, name in replaced if hasattr(owner, name)}
    for owner, name in originals:
        setattr(owner, name, replaced[owner, name])
    try:
        yield
    finally:
        for (owner, name), original in originals.items():
            setattr(owner, name, original)


def pop_of_others(pop: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that takes a mode from torch's stack, but no guard."""

    def guarded(*args: Any) -> Any:
        mode = pop(*args)
        if isinstance(mode, ForbiddenCallGuard | ForbiddenOperatorGuard):
            caller = sys._getframe(1)
            while caller.f_code.co_name in HELPERS or caller.f_globals is vars(contextlib):
                caller = caller.f_back
            name = str(caller.f_globals.get("__name__"))
            if name.split(".")[0] != "torch" or caller.f_globals is not vars(sys.modules[name]):
                mode.__enter__()
                raise Forbidden("torch's modes are not to be removed here: they are the grader's checks")
        return mode

    return guarded


def needs_operators(names: dict[str, tuple[str, str]]) -> bool:
    """Whether one of these functions has an internal operator of its own."""
    return any(name in inner.split() for inner in INNER_NAMES.values() for name in names)


def resolve_name(name: str) -> Any:
    """The object with this full name, or None."""
    path, attribute = name.rsplit(".", 1)
    return getattr(find_owner(path), attribute, None)


def unwrapped(function: Any) -> list[FunctionType]:
    """A function written in Python, and those that it wraps; empty for anything else."""
    found: list[FunctionType] = []
    while isinstance(function, FunctionType) and function not in found:
        found.append(function)
        function = getattr(function, "__wrapped__", None)
    return found


def refusing_code(n_free: int, refuse: Callable[..., Any]) -> CodeType:
    """The code of a function that only calls `refuse`, for a function with this many variables of enclosing ones."""
    code = empty_code(n_free)
    constants = (SimpleNamespace(refuse=refuse) if value == PLACE else value for value in code.co_consts)
    return code.replace(co_consts=tuple(constants))


PLACE = "the place of an object"


@cache
def empty_code(n_free: int) -> CodeType:
    """The code of `lambda *args, **kwargs: PLACE.refuse()`, with this many variables of enclosing functions."""
    names = [f"free_{i}" for i in range(n_free)]
    uses = "".join(f"{name}, " for name in names)
    source = f"lambda {', '.join(names)}: lambda *args, **kwargs: ({PLACE!r}.refuse(), ({uses}))[0]"
    return eval(source)(*names).__code__


def make_refusal(name: str, reason: str) -> Callable[..., Any]:
    """Make a function that only raises `Forbidden` with the reason."""

    def refuse(*args, **kwargs):
        raise Forbidden(f"{name} is not allowed here: {reason}")

    return refuse


class ForbiddenCallGuard(TorchFunctionMode):
    """Intercept every call of torch's functions, even through saved references, and reject the forbidden ones."""

    def __init__(self, names: dict[str, tuple[str, str]]):
        super().__init__()
        self.names = names

    def __torch_function__(self, function, types, args=(), kwargs=None):
        refuse_if_forbidden(self.names, function)
        return function(*args, **(kwargs or {}))


class ForbiddenOperatorGuard(TorchDispatchMode):
    """The same, one level deeper, which every call of an operator reaches."""

    def __init__(self, names: dict[str, tuple[str, str]]):
        super().__init__()
        self.names = {
            inner: names[inner] for inners in INNER_NAMES.values() for inner in inners.split() if inner in names
        }

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Otherwise torch loads its compiler, which takes a second, only to keep it away from this mode."""
        return False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        refuse_if_forbidden(self.names, function)
        return function(*args, **(kwargs or {}))


def refuse_if_forbidden(names: dict[str, tuple[str, str]], function: Any) -> None:
    """Raise `Forbidden` if the function has one of the names (that of an operator is, for example, "softmax.int")."""
    rule = names.get(getattr(function, "__name__", "").split(".")[0])
    if rule is not None:
        raise Forbidden(f"{rule[0]} is not allowed here: {rule[1]}")


class ForbiddenImports:
    """A finder that Python asks before all others, for every kind of import."""

    def __init__(self, rules: dict[str, str]):
        self.rules = rules

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Raise `Forbidden` for a module that is in the rules."""
        reason = self.rules.get(name.split(".")[0])
        if reason is not None:
            raise Forbidden(f"importing {name} is not allowed here: {reason}")


def guarded_import(original: Callable[..., Any], rules: dict[str, str]) -> Callable[..., Any]:
    """Make an `__import__` for the student's file that also refuses forbidden modules which are already loaded."""

    def guarded(name, globals=None, locals=None, fromlist=(), level=0):
        ForbiddenImports(rules).find_spec(name)
        return original(name, globals, locals, fromlist, level)

    return guarded
