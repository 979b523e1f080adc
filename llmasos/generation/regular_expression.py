"""Regular expressions as grammars: the syntax of Python's `re` that describes a regular language.

Characters, `.`, `[a-z]`, `[^…]`, `\\d \\w \\s` and their opposites, `(…)`, `(?:…)`, `|`, `*`, `+`, `?`, `{m,n}`. The
expression describes the whole text, so `^` at its start and `$` at its end are allowed but redundant. So are lazy
repetitions such as `*?`, which find different matches but describe the same texts. Lookaround, backreferences and word
boundaries (`(?=…)`, `\\1`, `\\b`) are rejected by name.
"""

import functools
import re
from collections.abc import Iterable

from llmasos.errors import UserError
from llmasos.generation.grammar import Choice, Grammar, Node, OneByte, Repeat, Sequence, literal

MAX_LENGTH, MAX_DEPTH, MAX_REPEAT = 10_000, 100, 1_000
LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)  # not characters
Ranges = list[tuple[int, int]]  # of code points, both ends included
ByteRanges = tuple[tuple[int, int], ...]  # of the first byte, the second, …
CLASSES = {"d": r"\d", "w": r"\w", "s": r"\s"}
MAX_DIGITS = len(str(MAX_REPEAT))
REPETITION = re.compile(r"([*+?]|\{(\d*)(,?)(\d*)(?<!\{)\})[?+]?")  # {} is two ordinary characters
CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0", "a": "\a"}
UTF8_LENGTHS = (0x7F, 0x7FF, 0xFFFF, LAST)  # the last characters of one, two, three and four bytes


def regular_expression(pattern: str) -> Grammar:
    """The grammar of the texts that a regular expression matches as a whole.

    >>> grammar = regular_expression(r"(yes|no), [0-9]{1,3} %")
    >>> grammar.matches("yes, 95 %"), grammar.matches("yes, 1000 %")
    (True, False)

    Raises:
        UserError: the expression is invalid, too long, or uses a construct that no grammar can express.
    """
    return Grammar(parse(pattern), description=f"the regular expression {pattern[:50]!r}")


def parse(pattern: str) -> Node:
    """The node of a regular expression."""
    if not isinstance(pattern, str):
        raise UserError(f"the regular expression is {pattern!r}; it must be text.")
    if len(pattern) > MAX_LENGTH:
        raise UserError(f"the regular expression has {len(pattern):,} characters; at most {MAX_LENGTH:,} are read.")
    return Parser(pattern).whole()


class Parser:
    """Reads an expression from left to right, one function for each level of the syntax (recursive descent)."""

    def __init__(self, pattern: str):
        self.pattern, self.at, self.depth = pattern, 0, 0

    def whole(self) -> Node:
        """The whole expression."""
        node = self.choice()
        if self.at < len(self.pattern):
            raise self.error("a ')' that closes nothing")
        return node

    def choice(self) -> Node:
        """a|b|c."""
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def sequence(self) -> Node:
        """abc, up to the end, a '|' or a ')'."""
        parts = []
        if not self.depth:
            self.take("^")
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            if not self.depth and self.pattern[self.at] == "$" and self.pattern[self.at + 1 : self.at + 2] in ("", "|"):
                self.at += 1
                break
            parts.append(self.repeated(self.atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, node: Node) -> Node:
        """A node with the repetition that follows it, if any."""
        found = REPETITION.match(self.pattern, self.at)
        if not found:
            return node
        if found[0] != found[1] and found[0].endswith("+"):
            raise self.error("a possessive repetition, which no grammar can express")
        self.at = found.end()
        if REPETITION.match(self.pattern, self.at):
            raise self.error("a repetition of a repetition; put the first one in (…)")
        if any(len(digits or "") > MAX_DIGITS for digits in found.groups()[1:]):
            raise self.error(f"a repetition of more than {MAX_REPEAT:,} times")
        if found[1] in "*+?":
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[1]]
        else:
            least = int(found[2] or 0)
            most = (int(found[4]) if found[4] else None) if found[3] else least
        if max(least, most or 0) > MAX_REPEAT:
            raise self.error(f"a repetition of more than {MAX_REPEAT:,} times")
        if most is not None and most < least:
            raise self.error(f"a repetition whose bounds {least} and {most} are in the wrong order")
        return Repeat(node, least, most)

    def atom(self) -> Node:
        """One character, class or group."""
        char = self.pattern[self.at]
        self.at += 1
        if char == "(":
            return self.group()
        if char == "[":
            return characters(tuple(self.char_class()))
        if char == ".":
            return characters(tuple(complement([(10, 10)])))
        if char == "\\":
            return characters(tuple(self.escape()))
        if char in "*+?":
            raise self.error(f"a {char!r} that repeats nothing")
        if char in "^$":
            raise self.error(f"a {char!r} in its middle; the expression always describes the whole text")
        return literal(char)

    def group(self) -> Node:
        """(…) or (?:…), after its first character."""
        if self.take("?") and not self.take(":"):
            name = re.compile(r"P<\w+>").match(self.pattern, self.at)
            if not name:
                raise self.error("a group with (?…) other than (?:…) and (?P<name>…), which no grammar can express")
            self.at = name.end()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"groups nested more than {MAX_DEPTH} deep")
        node = self.choice()
        if not self.take(")"):
            raise self.error("a '(' that nothing closes")
        self.depth -= 1
        return node

    def char_class(self) -> Ranges:
        """[…], after its first character."""
        negated, ranges, first = self.take("^"), [], True
        while first or not self.take("]"):
            first = False
            start = self.class_item()
            after = self.pattern[self.at : self.at + 2]
            if len(start) == 1 and start[0][0] == start[0][1] and after[:1] == "-" and after[1:] not in ("]", ""):
                self.at += 1
                end = self.class_item()
                if len(end) > 1 or end[0][0] != end[0][1] or end[0][0] < start[0][0]:
                    raise self.error("a range in [] whose ends are not in order")
                start = [(start[0][0], end[0][0])]
            ranges += start
        return complement(ranges) if negated else merged(ranges)

    def class_item(self) -> Ranges:
        """One character or escape inside []."""
        if self.at >= len(self.pattern):
            raise self.error("a '[' that nothing closes")
        char = self.pattern[self.at]
        self.at += 1
        return self.escape() if char == "\\" else [(ord(char), ord(char))]

    def escape(self) -> Ranges:
        r"""\d, \n, \u00e4, \. and so on, after the backslash."""
        char = self.pattern[self.at : self.at + 1]
        self.at += 1
        if not char:
            raise self.error("a single backslash at its end")
        for letter, digits in (("x", 2), ("u", 4), ("U", 8)):
            if char == letter:
                code = self.pattern[self.at : self.at + digits]
                self.at += digits
                if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", code) or int(code, 16) > LAST:
                    raise self.error(f"\\{letter} without {digits} hexadecimal digits")
                return [(int(code, 16), int(code, 16))]
        if char.lower() in CLASSES:
            ranges = class_ranges(CLASSES[char.lower()])
            return complement(ranges) if char.isupper() else list(ranges)
        if char in CONTROL:
            if char == "0" and self.pattern[self.at : self.at + 1].isdecimal():
                raise self.error("an octal number; write \\x and two hexadecimal digits")
            char = CONTROL[char]
        elif char.isalnum():
            raise self.error(f"\\{char}, which no grammar can express")
        return [(ord(char), ord(char))]

    def take(self, text: str) -> bool:
        """Whether this text comes next; if so, consume it."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def error(self, what: str) -> UserError:
        """Make the error which says that the expression has `what`."""
        return UserError(f"the regular expression {self.pattern[:50]!r} has {what} (before character {self.at + 1}).")


@functools.cache
def class_ranges(name: str) -> tuple[tuple[int, int], ...]:
    """The code points of a class of `re`, such as \\w, in ranges."""
    matches = re.compile(name).match
    ranges: Ranges = []
    for code in range(LAST + 1):
        if not SURROGATES[0] <= code <= SURROGATES[1] and matches(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1] = (ranges[-1][0], code)
            else:
                ranges.append((code, code))
    return tuple(ranges)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All other characters.

    >>> complement([(10, 10), (0, 5)])
    [(6, 9), (11, 1114111)]
    """
    result, start = [], 0
    for first, last in sorted(ranges):
        if first > start:
            result.append((start, first - 1))
        start = max(start, last + 1)
    return [*result, (start, LAST)] if start <= LAST else result


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same characters in as few ranges as possible.

    >>> merged([(5, 9), (1, 3), (4, 7)])
    [(1, 9)]
    """
    result: Ranges = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


@functools.lru_cache(maxsize=1_000)
def characters(ranges: tuple[tuple[int, int], ...]) -> Node:
    """One character out of ranges of code points that do not overlap, as its bytes in UTF-8.

    A range is split where the number of bytes changes, and then further so that every byte has its own independent
    range: [U+07F0, U+081F] is DF B0–BF, or E0 A0 80–9F.
    """
    sequences: list[ByteRanges] = []
    for first, last in ranges:
        for start, end in without_surrogates(first, last):
            previous = -1
            for limit in UTF8_LENGTHS:
                low, high = max(start, previous + 1), min(end, limit)
                if low <= high:
                    sequences += utf8_sequences(chr(low).encode(), chr(high).encode())
                previous = limit
    return byte_tree(tuple(sequences)) if sequences else OneByte(0)


def without_surrogates(first: int, last: int) -> Ranges:
    """A range of code points without surrogates, which are not characters."""
    parts = [(first, min(last, SURROGATES[0] - 1)), (max(first, SURROGATES[1] + 1), last)]
    return [(a, b) for a, b in parts if a <= b]


def utf8_sequences(first: bytes, last: bytes) -> list[ByteRanges]:
    """All byte strings between two of equal length, as ranges of each byte (continuation bytes run from 80 to BF).

    >>> utf8_sequences(b"\\xc4\\xb0", b"\\xc6\\xbf") == [((0xC4, 0xC4), (0xB0, 0xBF)), ((0xC5, 0xC6), (0x80, 0xBF))]
    True
    """
    if len(first) == 1:
        return [((first[0], last[0]),)]
    lead = (first[0], first[0])
    if first[0] == last[0]:
        return [(lead, *rest) for rest in utf8_sequences(first[1:], last[1:])]
    low, high = b"\x80" * (len(first) - 1), b"\xbf" * (len(first) - 1)
    sequences, start, end = [], first[0], last[0]
    if first[1:] != low:
        sequences += utf8_sequences(first, first[:1] + high)
        start += 1
    if last[1:] != high:
        end -= 1
    if start <= end:
        sequences.append(((start, end), *[(0x80, 0xBF)] * (len(first) - 1)))
    if last[1:] != high:
        sequences += utf8_sequences(last[:1] + low, last)
    return sequences


@functools.lru_cache(maxsize=10_000)
def byte_tree(sequences: tuple[ByteRanges, ...]) -> Node:
    """The node of byte strings that share their beginnings, and the nodes of equal ends.

    The classes of Unicode have hundreds of ranges, so without it the automaton would have hundreds of positions.
    """
    ends: dict[tuple[int, int], list[ByteRanges]] = {}
    for first, *rest in sequences:
        ends.setdefault(first, []).append(tuple(rest))
    leads: dict[tuple[ByteRanges, ...], int] = {}
    for (low, high), rests in ends.items():
        leads[tuple(rests)] = leads.get(tuple(rests), 0) | (1 << high + 1) - (1 << low)
    options: list[Node] = [
        Sequence((OneByte(mask), byte_tree(rests))) if rests != ((),) else OneByte(mask)
        for rests, mask in leads.items()
    ]
    return options[0] if len(options) == 1 else Choice(tuple(options))
