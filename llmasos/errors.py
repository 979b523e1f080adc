"""The one exception whose message is meant for the user.

For every mistake that a user can make (a file that does not exist, a flag out of range, a damaged checkpoint), the code
raises `UserError` with one sentence: what was wrong (with the value), what was expected, and what to do. The commands
print that sentence and exit with status 2. Any other exception is a bug in this library and keeps its traceback.

This module also has the phrases that these sentences share (what a value is, which name the user probably meant) and
explains an allocator's error (`explain_out_of_memory`). `check_number` is the one place that decides what counts as a
number: every size, rate and count that a user can set, in a flag, a file or an argument, passes through it.
"""

import difflib
import errno
import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

MEMORY_ERRORS = (
    "allocate memory",
    "out of memory",
    "not enough memory",
    "invalid buffer size",
    "bad_alloc",
    "can't start new thread",
)  # parts of the messages; a thread needs memory for its stack
MEMORY_ADVICE = "ask for less at once (fewer or shorter texts, smaller sizes), or close other programs"
OTHER_NAMES = {  # of settings in other libraries → ours
    "lr": "learning_rate",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "output_dir": "out_dir",
    "do_sample": "temperature",
    "max_length": "max_new_tokens",
    "max_tokens": "max_new_tokens",
    "num_beams": "beams",
    "num_return_sequences": "n",
}
COMPARISONS = {"at least": operator.ge, "above": operator.gt, "at most": operator.le, "below": operator.lt}


class UserError(ValueError):
    """A problem that the user can fix. The message says what was wrong, what was expected, and what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. Python, the system, and torch on each device raise different ones.

    >>> is_out_of_memory(RuntimeError("MPS backend out of memory")), is_out_of_memory(RuntimeError("size mismatch"))
    (True, False)
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    is_other = isinstance(error, RuntimeError | ImportError)  # libraries are loaded into memory, too
    return is_other and any(words in str(error) for words in MEMORY_ERRORS)


@contextmanager
def explain_out_of_memory(advice: Callable[[], str] = lambda: MEMORY_ADVICE) -> Iterator[None]:
    """Turn an allocator's error in this block into a UserError with advice."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"there is not enough memory: {advice()}.") from error


def in_words(value: object) -> str:
    """Describe a value in a word that needs no knowledge of Python.

    >>> in_words(None), in_words({}), in_words(3), in_words(b"")
    ('null', 'an object', 'a number', 'bytes')
    """
    for types, words in (
        (type(None), "null"),
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        (bytes, "bytes"),
        ((list, tuple), "a list"),
        (dict, "an object"),
        ((set, frozenset), "a set"),
    ):
        if isinstance(value, types):  # type: ignore[arg-type]
            return words
    return f"an object of the type {type(value).__name__}"


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "; did you mean 'NAME'?" with the most similar of the names, or "" if none is similar.

    >>> nearest("Storyword", ["shakespeare", "storyworld"]), nearest("--lr", ["--learning-rate"])
    ("; did you mean 'storyworld'?", "; did you mean '--learning-rate'?")
    """
    known = {known.lower(): known for known in names}
    dashes = "--" * name.startswith("--")
    ours = OTHER_NAMES.get(name[len(dashes) :].replace("-", "_"), "")
    if (other := dashes + (ours.replace("_", "-") if dashes else ours)) in known:
        return f"; did you mean {other!r}?"
    matches = difflib.get_close_matches(name[:100].lower(), known, n=1, cutoff=cutoff)
    return f"; did you mean {known[matches[0]]!r}?" if matches else ""


def check_number(
    name: str,
    value: Any,
    *,
    whole: bool = False,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    advice: str = "",
) -> None:
    """Raise UserError unless a value is a finite number within its limits. Texts, lists, null and true are not numbers.

    >>> check_number("learning_rate", float("inf"), above=0)
    Traceback (most recent call last):
    llmasos.errors.UserError: learning_rate is inf; it must be a number above 0.

    Args:
        name: the value's name, for the message.
        value: anything.
        whole: whether it must be an integer; 3.0 is not.
        at_least, above, at_most, below: its limits.
        advice: what to do, added to the message as a further clause.
    """
    limits = zip(COMPARISONS, (at_least, above, at_most, below), strict=True)
    given = {words: limit for words, limit in limits if limit is not None}
    is_finite = abs(value) <= sys.float_info.max if type(value) in (int, float) else False  # NaN is not
    if not (is_finite and (type(value) is int or not whole)) or not all(
        COMPARISONS[words](value, limit) for words, limit in given.items()
    ):
        expected = " and ".join(f"{words} {limit:,}" for words, limit in given.items())
        of = " of " if expected.startswith("at ") else " "
        kind = ("a whole number" if whole else "a number") + (of + expected if expected else "")
        raise UserError(f"{name} is {shown(value)}; it must be {kind}{advice and ': ' + advice}.")


def shown(value: Any) -> str:
    """Format a value for a message: in Python's notation, shortened if it is long.

    >>> shown("text"), shown(10**5000)
    ("'text'", 'a number of about 5,001 digits')
    """
    if type(value) is int and abs(value) >= 10**40:
        return f"a number of about {int(value.bit_length() * math.log10(2)) + 1:,} digits"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a list of such numbers, or a list in a list in a list …
        return in_words(value)
    return text if len(text) <= 200 else text[:200] + " …"
