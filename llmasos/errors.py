"""The one exception whose message is meant for the user.

Where a user can do something wrong (a file that does not exist, a flag out of range, a damaged checkpoint) the code
raises `UserError` with one sentence: what was wrong (with the value), what was expected, and what to do. The commands
print that sentence and exit with status 2. Any other exception is a bug in this library and keeps its traceback.

Here are also the two phrases that such sentences share: what a value is, and which name the user probably meant.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A problem that the user can fix. The message says what was wrong, what was expected, and what to do."""


def in_words(value: object) -> str:
    """Return what a value is, in a word that needs no Python.

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

    >>> nearest("Storyword", ["shakespeare", "storyworld"])
    "; did you mean 'storyworld'?"
    """
    known = {known.lower(): known for known in names}
    matches = difflib.get_close_matches(name[:100].lower(), known, n=1, cutoff=cutoff)
    return f"; did you mean {known[matches[0]]!r}?" if matches else ""
