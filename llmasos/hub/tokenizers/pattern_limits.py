r"""Limits on the regular expressions of published tokenizers, so that they cannot take forever.

Words are split by a backtracking engine. On `(a+)+b` it tries every way to divide a run of n letters among the two
repetitions before it gives up: 2ⁿ ways. A tokenizer.json may come from anyone, so its pattern is analyzed first, and
rejected if it has the form of such a trap. Patterns of real tokenizers are far from that: alternatives such as `
?\p{L}+` with an optional character and one or two repetitions, not nested.
"""

import re
from dataclasses import dataclass

from llmasos.errors import UserError, shown

MAX_LENGTH = 5_000  # characters
MAX_COUNT = 1_000  # of {m,n}
MAX_UNBOUNDED = 2  # repetitions without limit in one alternative: then n letters cost at most n² steps
MAX_VARIABLE = 6  # repetitions of variable length in one alternative, with those that are optional

_ESCAPE = re.compile(r"\\(?:[pPxu]\{[^}]*\}|[pP].|.)", re.S)
_CLASS = re.compile(r"\[\^?\]?")
_GROUP = re.compile(r"\((?:\?(?:P?<\w+>|<?[=!]|>|[a-zA-Z-]*:|[a-zA-Z-]+(?=\))))?")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d*)(,?)(\d*)\})[?+]?")


@dataclass
class _Part:
    """What has been read of a group: repetitions in the present alternative, the most in any, whether there are any."""

    unbounded: int = 0
    variable: int = 0
    most_unbounded: int = 0
    most_variable: int = 0
    alternatives: bool = False

    def end_alternative(self) -> None:
        self.most_unbounded = max(self.most_unbounded, self.unbounded)
        self.most_variable = max(self.most_variable, self.variable)
        self.unbounded = self.variable = 0


def check_pattern(pattern: object) -> None:
    r"""Raise UserError if a pattern could take longer than about n² steps for n characters, or is not a pattern.

    >>> check_pattern(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}+| ?[^\s\p{L}\p{N}]++|\s+(?!\S)|\s")
    >>> check_pattern("(a+)+b")
    Traceback (most recent call last):
    llmasos.errors.UserError: its pattern '(a+)+b' repeats a repetition, which can take forever; choose another model.
    """
    if not isinstance(pattern, str) or len(pattern) > MAX_LENGTH:
        raise _refused(pattern, f"is not a text of at most {MAX_LENGTH:,} characters")
    parts, position = [_Part()], 0
    repeatable: bool | None = None  # whether the last thing read can be repeated; None = there is nothing
    while position < len(pattern):
        character, rest = pattern[position], pattern[position:]
        if character == "\\":
            match = _ESCAPE.match(rest)
            if match is None or match[0][1] in "123456789kgG":
                raise _refused(pattern, "refers back to a group")
            position, repeatable = position + match.end(), True
        elif character == "[":
            position, repeatable = position + _class_length(rest), True
        elif character == "(":
            match = _GROUP.match(rest)
            if match is None or rest[match.end() :].startswith("?"):
                raise _refused(pattern, "has a group of an unknown form")
            parts.append(_Part())
            position, repeatable = position + match.end(), None
        elif character == ")" and len(parts) > 1:
            group = parts.pop()
            group.end_alternative()
            parts[-1].unbounded += group.most_unbounded
            parts[-1].variable += group.most_variable
            parts[-1].alternatives |= group.alternatives
            position, repeatable = position + 1, not (group.alternatives or group.most_variable)
        elif character == "|":
            parts[-1].end_alternative()
            parts[-1].alternatives = True
            position, repeatable = position + 1, None
        elif match := _QUANTIFIER.match(rest):
            _count(pattern, match, repeatable, parts[-1])
            position, repeatable = position + match.end(), None
        else:
            position, repeatable = position + 1, True
        if parts[-1].unbounded > MAX_UNBOUNDED or parts[-1].variable > MAX_VARIABLE:
            raise _refused(pattern, "has too many repetitions in a row")


def _count(pattern: str, match: re.Match, repeatable: bool | None, part: _Part) -> None:
    """Add one quantifier to the part that it is in."""
    low, comma, high = (match[1] or "", match[2] or "", match[3] or "")
    is_counted = match[0].startswith("{")
    if is_counted and any(len(number) > 4 or int(number or 0) > MAX_COUNT for number in (low, high)):
        raise _refused(pattern, f"repeats something more than {MAX_COUNT:,} times")
    is_optional = match[0][0] == "?" or (is_counted and high in ("0", "1"))
    if repeatable is None or (repeatable is False and not is_optional):
        raise _refused(pattern, "repeats a repetition")
    part.unbounded += match[0][0] in "*+" or bool(comma and not high)
    part.variable += not is_counted or bool(comma)


def _class_length(text: str) -> int:
    """The length of the character class at the start of a text. Classes can hold classes: [a-z&&[^x]]."""
    match = _CLASS.match(text)
    position, depth = (match.end() if match else 1), 1
    while position < len(text) and depth:
        escape = _ESCAPE.match(text, position)
        depth += {"[": 1, "]": -1}.get(text[position], 0) if escape is None else 0
        position = escape.end() if escape else position + 1
    return position


def _refused(pattern: object, reason: str) -> UserError:
    return UserError(f"its pattern {shown(pattern)} {reason}, which can take forever; choose another model.")
