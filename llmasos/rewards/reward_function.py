"""A reward function: any Python function that scores a text with a number.

    def reward(prompt, text):              # one answer at a time …
        return float(text.count("kite"))

    def reward(prompts, texts):            # … or all at once, by the names of its parameters
        return [len(text) for text in texts]

It is user code in the middle of a training run. If it raises an exception, returns something that is not a finite
number, or never returns, the run ends with one sentence, before the model is changed.
"""

import importlib.util
import inspect
import math
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.arguments import as_python, user_path
from llmasos.errors import UserError, shown
from llmasos.signals import Terminated

FUNCTION = "reward"  # its name in a file
LISTS = ("prompts", "texts")  # the parameters of a function that takes all texts at once
SECONDS = 10.0  # without a result, after which a function counts as hanging


@dataclass(frozen=True)
class Reward:
    """A reward function, called with checks.

    Attributes:
        name: its name in messages.
        function: the function of a prompt and a text, or of lists of both.
        takes_lists: whether it takes lists.
        seconds: the time limit for one text (if it takes lists, for all of them).
    """

    name: str
    function: Callable[..., Any]
    takes_lists: bool = False
    seconds: float = SECONDS

    def __call__(self, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        """The reward of each text.

        Args:
            prompts, texts: N prompts with an answer to each.

        Raises:
            UserError: the function raised an exception, returned something that is not a finite number, or took too
                long.
        """
        results: list[Any] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                if self.takes_lists:
                    results.append(self.function(list(prompts), list(texts)))
                else:
                    results.extend(self.function(*pair) for pair in zip(prompts, texts, strict=True))
            except BaseException as error:  # no exception, not even a SystemExit, may end the program
                errors.append(error)

        # On every system, a hanging thread can be abandoned; it ends with the program.
        thread = threading.Thread(target=work, daemon=True, name=f"reward {self.name}")
        thread.start()
        while thread.is_alive():
            n_before = len(results)
            thread.join(self.seconds)
            if thread.is_alive() and len(results) == n_before:
                raise UserError(
                    f"{self.name} has not returned after {self.seconds:g} seconds{self.about(texts, n_before)}; make "
                    "it faster, or allow it more with --reward-seconds."
                )
        if errors:
            raise UserError(f"{self.name} raised {described(errors[0])}{self.about(texts, len(results))}; correct it.")
        return self.numbers(as_list(results[0]) if self.takes_lists and results else results, texts)

    def numbers(self, values: Any, texts: Sequence[str]) -> list[float]:
        """The values that a function returned, as floats. Raises UserError if one is not a finite number."""
        if not isinstance(values, list) or len(values) != len(texts):
            what = f"{len(values)} values" if isinstance(values, list) else shown(values)
            raise UserError(
                f"{self.name} returned {what} for {len(texts)} texts; it must return a list with one number for each."
            )
        numbers = []
        for text, value in zip(texts, values, strict=True):
            number = as_python(value)
            if not isinstance(number, int | float) or not math.isfinite(number):
                raise UserError(
                    f"{self.name} returned {shown(number)} for the text {shown(text)}; it must return a finite number."
                )
            numbers.append(float(number))
        return numbers

    def about(self, texts: Sequence[str], n_done: int) -> str:
        """For a message: the text that it was called with."""
        return "" if self.takes_lists or n_done >= len(texts) else f" for the text {shown(texts[n_done])}"


def reward_of(function: Callable[..., Any], name: str | None = None, seconds: float = SECONDS) -> Reward:
    """A function as a `Reward`.

    Args:
        function: the function of (prompt, text), or of lists if its parameters are called (prompts, texts).
        name: its name in messages; None = "the reward function" and its name.
        seconds: see `Reward`.

    Raises:
        UserError: it is not a function, or does not take two arguments.
    """
    name = name or f"the reward function {getattr(function, '__name__', type(function).__name__)}"
    if not callable(function):
        raise UserError(f"the reward is {shown(function)}; it must be a function of a prompt and a text.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return Reward(name, function, False, seconds)
    try:
        signature.bind("", "")
    except TypeError:
        raise UserError(
            f"{name} has the parameters {signature}; it must take two: def {FUNCTION}(prompt, text)."
        ) from None
    return Reward(name, function, tuple(signature.parameters)[:2] == LISTS, seconds)


def load_reward(path: str | Path, seconds: float = SECONDS) -> Reward:
    """The function `reward` in a Python file.

    Raises:
        UserError: there is no such file, it cannot be run, or it has no such function.
    """
    path = user_path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}; name a Python file with a function {FUNCTION}(prompt, text).")
    spec = importlib.util.spec_from_file_location(f"llmasos_reward_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; its name must end with .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # also a SystemExit
        raise UserError(f"{path} cannot be run: {described(error)}; correct it.") from error
    if not hasattr(module, FUNCTION):
        raise UserError(f"{path} has no function {FUNCTION}; define one: def {FUNCTION}(prompt, text).")
    return reward_of(getattr(module, FUNCTION), f"the function {FUNCTION} in {path}", seconds)


def as_list(values: Any) -> Any:
    """Convert an array, a tensor or a tuple of numbers to a list."""
    values = as_python(values)
    if hasattr(values, "tolist"):
        return values.tolist()
    return list(values) if isinstance(values, tuple) else values


def described(error: BaseException) -> str:
    """Describe an exception in words, with the line of the function that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    line = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if len(frames) > 1 else ""
    message = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' + message[0][:200] if message else ''}{line}"
