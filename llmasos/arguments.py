"""The arguments of public functions, checked before anything else happens; and paths as users write them.

    @checked
    def translate(self, text: str | Iterable[str]) -> …

The signature is the only list of what is allowed. A wrong name, a missing argument, or a value of the wrong type raises
a `UserError` with one sentence. Equivalent types of other libraries are converted: numpy and torch numbers to Python
numbers, and arrays, tuples and generators to lists where several values are expected. `user_path` reads ~ as a shell
does, in every path of a user.
"""

import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from llmasos.errors import UserError, explain_out_of_memory, in_words, nearest

P = ParamSpec("P")
R = TypeVar("R")

WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "True or False", Path: "a path",
         Mapping: "a dictionary", Callable: "a function", type(None): "None"}  # fmt: skip
LISTS = (Iterable, Sequence)  # annotations that take any iterable, as a list
NOT_LISTS = (str, bytes, Mapping, set, frozenset)  # whose items are not a list of values, or have no order


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of every call against the function's signature, and rephrase its UserErrors for Python."""
    parameters, hints = inspect.signature(function).parameters, functools.cache(typing.get_type_hints)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = _bind(function, args, kwargs)
        for name, value in bound.arguments.items():
            if parameters[name].kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                annotation = hints(function).get(name, Any)  # not earlier: it may be the class that is being defined
                bound.arguments[name] = convert(value, annotation, name)
        try:
            with explain_out_of_memory():
                return function(*bound.args, **bound.kwargs)
        except UserError as error:
            error.args = (with_argument_names(str(error)), *error.args[1:])
            raise

    return call


def with_argument_names(message: str) -> str:
    """Replace flags by the names of arguments in a message, unless it is about a command to type.

    >>> with_argument_names("fix it, or skip such rows with --skip-bad; or choose --no-next-sentence.")
    'fix it, or skip such rows with skip_bad; or choose next_sentence=False.'
    """
    if re.search(r"\bpython |--resume\b", message):
        return message
    flag = r"(?<![\w-])--(no-)?([a-z]+(?:-[a-z]+)*)"
    return re.sub(flag, lambda match: match[2].replace("-", "_") + "=False" * bool(match[1]), message)


def refuse_name_as_model(cls: str, model: Any, tokenizer: Any) -> None:
    """Raise UserError if a class was called with a model's name, or nothing, instead of a model and its tokenizer.

    >>> refuse_name_as_model("LLMTrainer", "gpt2", None)
    Traceback (most recent call last):
    llmasos.errors.UserError: LLMTrainer takes a model and its tokenizer; LLMTrainer.from_pretrained('gpt2') opens both.
    """
    if model is None or tokenizer is None or isinstance(model, str | os.PathLike):
        name = repr(str(model)) if isinstance(model, str | os.PathLike) else "NAME"
        raise UserError(f"{cls} takes a model and its tokenizer; {cls}.from_pretrained({name}) opens both.")


def convert(value: Any, annotation: Any, name: str) -> Any:
    """Convert a value to the type of an annotation.

    >>> convert(("Anna", "Ben"), str | Iterable[str], "text")
    ['Anna', 'Ben']

    Args:
        value: the value that was passed.
        annotation: a class, `Iterable[…]` or `Sequence[…]`, `Callable[…]`, `Any`, or a union of them.
        name: the argument's name, for the message.

    Raises:
        UserError: the value has a different type.
    """
    if annotation in (Any, inspect.Parameter.empty):
        return value
    value = as_python(value)
    options = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    for option in options:
        if typing.get_origin(option) not in LISTS and _accepts(option, value):
            return Path(value) if option is Path else value
    items = next((typing.get_args(option)[0] for option in options if typing.get_origin(option) in LISTS), None)
    if items is not None and isinstance(value, Iterable) and not isinstance(value, NOT_LISTS):
        return [convert(item, items, f"{name} {number}") for number, item in enumerate(value, start=1)]
    raise UserError(f"{name} is {shown(value)}; it must be {expected(options)}.")


def shown(value: Any) -> str:
    """Format a value for a message: as it is if it is short and simple, else a description in words.

    >>> shown("Anna"), shown(3), shown(None), shown(["Anna"])
    ("'Anna'", '3', 'None', 'a list')
    """
    return f"{value!r:.100}" if value is None or isinstance(value, str | Real) else in_words(value)


def as_python(value: Any) -> Any:
    """Convert numpy or torch numbers and arrays, and columns of tables, to Python numbers and lists.

    >>> import numpy as np
    >>> as_python(np.int64(7)), as_python(np.array(["a", "b"])), as_python("text")
    (7, ['a', 'b'], 'text')
    """
    for method in ("tolist", "to_pylist", "to_list"):  # numpy, torch, pandas; pyarrow; polars
        if not isinstance(value, type) and callable(convert := getattr(value, method, None)):
            return convert()
    return value


def expected(options: Iterable[Any]) -> str:
    """Return the types that an argument may have, in words.

    >>> expected((str, Iterable[str])), expected((int, type(None)))
    ('a text or a list of texts', 'a whole number or None')
    """
    words = []
    for option in options:
        if typing.get_origin(option) in LISTS:
            item = typing.get_args(option)[0]
            one = expected(typing.get_args(item) if _is_union(item) else (item,))
            words.append("a list of texts" if one == "a text" else f"a list, each item {one}")
        else:
            words.append(WORDS.get(typing.get_origin(option) or option) or _with_article(option.__name__))
    return " or ".join(words)


def user_path(path: str | Path) -> Path:
    """A path with the home folder in place of a leading ~, which shells leave in `--json=~/x`, and programs everywhere.

    Unlike `Path.expanduser`, this takes a name that only begins with ~, as backups do, for what it is.

    >>> user_path("~backup.txt").name
    '~backup.txt'
    """
    return Path(os.path.expanduser(path))


def _with_article(name: str) -> str:
    return f"{'an' if name.startswith(('A', 'E', 'I', 'O', 'LLM')) else 'a'} {name}"


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _accepts(option: Any, value: Any) -> bool:
    if option in (int, float):
        return isinstance(value, Integral if option is int else Real) and not isinstance(value, bool)
    return isinstance(value, os.PathLike if option is Path else typing.get_origin(option) or option)


def _bind(function: Callable, args: tuple, kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """Return the arguments by name. Raises UserError if one is unknown or missing, or if there are too many."""
    signature = inspect.signature(function)
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [name for name in signature.parameters if name not in ("self", "cls")]
        if unknown := next((name for name in kwargs if name not in names), None):
            hint = nearest(unknown, names) or f"; it has {', '.join(names)}."
            raise UserError(f"{function.__name__} has no argument {unknown!r}{hint}") from error
        raise UserError(f"{function.__name__}({', '.join(names)}): {error}.") from error
