"""Grammars over bytes, and the automaton that reads a text one byte at a time.

A grammar consists of five types of nodes: a byte out of a set, a sequence, a choice, a repetition, and a rule by its
name. Regular expressions (`regular_expression.py`) need the first four; JSON nests, so it needs rules that use
themselves.

The automaton is in several **positions** at once, because more than one path through the grammar may match the text so
far. A position is what must still follow: a linked list of nodes, (node, (node, (… end))). Reading a byte replaces each
position by those that the byte leads to. Equal positions are stored once, and every set of positions is a **state**
with a number, so that reading a byte is one look into a dictionary after the first time: a deterministic automaton,
built lazily (Aho et al., Compilers, section 3.7; the lists are the stack of a pushdown automaton).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmasos.errors import UserError

MAX_POSITIONS, MAX_STATES, MAX_STEPS = 200_000, 50_000, 1_000_000  # of the automaton
MAX_WORK = 20_000_000  # sets of bytes, positions and nodes visited while it is built: a few seconds at most
END = 0  # the position after which the text may end
DEAD = -1  # the state of a text that no continuation can complete


@dataclass(frozen=True, eq=False)
class Node:
    """A part of a grammar."""


@dataclass(frozen=True, eq=False)
class OneByte(Node):
    """One byte out of a set: bit b of `allowed` is set if byte b is in it."""

    allowed: int


@dataclass(frozen=True, eq=False)
class Sequence(Node):
    """All parts, one after another; no part is the empty text."""

    parts: tuple[Node, ...] = ()


@dataclass(frozen=True, eq=False)
class Choice(Node):
    """One of the options."""

    options: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Repeat(Node):
    """A part, at least `least` and at most `most` times (None = any number of times)."""

    part: Node
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, eq=False)
class Rule(Node):
    """A reference to the grammar's rule of this name."""

    name: str


def literal(text: str) -> Node:
    """The node of exactly this text."""
    return Sequence(tuple(OneByte(1 << byte) for byte in text.encode("utf-8", errors="surrogatepass")))


def optional(part: Node) -> Node:
    """The node of a part or nothing."""
    return Repeat(part, 0, 1)


def parts_of(node: Node) -> tuple[Node, ...]:
    """The nodes that a node is made of."""
    if isinstance(node, Sequence):
        return node.parts
    if isinstance(node, Choice):
        return node.options
    return (node.part,) if isinstance(node, Repeat) else ()


@dataclass(eq=False)
class Grammar:
    """The texts that match `start` as a whole.

    >>> grammar = Grammar(Sequence((literal("a"), Repeat(literal("bc")))))
    >>> state = grammar.read(grammar.first_state, b"ab")
    >>> grammar.accepts(state), grammar.accepts(grammar.read(state, b"c")), grammar.read(state, b"x") == DEAD
    (False, True, True)

    Args:
        start: the node that a text must match.
        rules: the nodes that `Rule` names.
        description: a description of what is allowed, for messages.
        alphabet: the bytes that a text may contain, as in `OneByte`.
    """

    start: Node
    rules: Mapping[str, Node] = field(default_factory=dict)
    description: str = "the grammar"
    alphabet: int = (1 << 256) - 1

    def __post_init__(self) -> None:
        self._positions: list[tuple[Node, int] | None] = [None]  # number 0 is the end
        self._numbers: dict[tuple[Node, int], int] = {}
        self._repeats: dict[tuple[Node, int, int | None], Repeat] = {}
        self._heads: dict[int, tuple[list[tuple[int, int]], bool]] = {}
        self._state_heads: tuple[int, set[tuple[int, int]]] = DEAD, set()  # of the last state that has read a byte
        self._states: list[frozenset[int]] = []
        self._state_numbers: dict[frozenset[int], int] = {}
        self._steps: dict[tuple[int, int], int] = {}
        self._lengths: dict[Node, float] = {}
        self._state_lengths: list[float] = []
        self._work = 0
        self._shortest = self._shortest_of_rules()
        self._to_end: list[float] = [0.0]
        self.first_state = self._state({self._position(self.start, END)})

    def read(self, state: int, data: bytes) -> int:
        """The state after some more bytes; DEAD if no text of the grammar begins like that."""
        for byte in data:
            if state == DEAD:
                return DEAD
            following = self._steps.get((state, byte))
            state = self._step(state, byte) if following is None else following
        return state

    def accepts(self, state: int) -> bool:
        """Whether the text may end here."""
        return state != DEAD and any(self._closure(position)[1] for position in self._states[state])

    def bytes_to_end(self, state: int) -> float:
        """The minimum number of bytes that must still follow; infinite in the state DEAD."""
        return math.inf if state == DEAD else self._state_lengths[state]

    def in_short(self, state: int, n_bytes: int) -> int:
        """A state that reads the next n bytes like this one, and that many others share.

        If a part may still be repeated more than n times, the exact number does not matter. So in a long string of
        limited length, the state is the same nearly everywhere.
        """
        positions = set()
        for position in self._states[state]:
            node, rest = self._positions[position] or (None, END)
            if isinstance(node, Repeat) and node.most is not None and node.most > n_bytes and not node.least:
                position = self._position(self._repeat(node.part, 0, n_bytes), rest)
            positions.add(position)
        return self._state(positions)

    def matches(self, text: str) -> bool:
        """Whether the text belongs to the grammar."""
        return self.accepts(self.read(self.first_state, text.encode("utf-8", errors="surrogatepass")))

    @property
    def is_large(self) -> bool:
        """Whether the automaton has grown so large that the next text should start with a new one."""
        sizes = (len(self._positions), MAX_POSITIONS), (len(self._states), MAX_STATES), (len(self._steps), MAX_STEPS)
        return any(size > largest / 2 for size, largest in (*sizes, (self._work, MAX_WORK)))

    def _step(self, state: int, byte: int) -> int:
        heads = self._state_heads[1] if self._state_heads[0] == state else self._heads_of(state)
        self._add_work(len(heads))
        following = self._state({rest for allowed, rest in heads if allowed >> byte & 1})
        self._check(len(self._steps), MAX_STEPS)
        self._steps[state, byte] = following
        return following

    def _heads_of(self, state: int) -> set[tuple[int, int]]:
        """What may come next in a state, as in `_closure`, each once; kept for its next byte."""
        closures = [self._closure(position)[0] for position in self._states[state]]
        self._add_work(sum(map(len, closures)))
        self._state_heads = state, set().union(*closures)
        return self._state_heads[1]

    def _state(self, positions: set[int]) -> int:
        if not any(self._to_end[position] < math.inf for position in positions):
            return DEAD
        key = frozenset(positions)
        if key not in self._state_numbers:
            self._check(len(self._states), MAX_STATES)
            self._state_numbers[key] = len(self._states)
            self._states.append(key)
            self._state_lengths.append(min(self._to_end[position] for position in key))
        return self._state_numbers[key]

    def _position(self, node: Node, rest: int) -> int:
        key = (node, rest)
        if key not in self._numbers:
            self._check(len(self._positions), MAX_POSITIONS)
            self._numbers[key] = len(self._positions)
            self._positions.append(key)
            self._to_end.append(self._length(node, self._shortest) + self._to_end[rest])
        return self._numbers[key]

    def _closure(self, position: int) -> tuple[list[tuple[int, int]], bool]:
        """The sets of bytes that may come next, each with the position it leads to; and whether the text may end."""
        if position in self._heads:
            return self._heads[position]
        heads: list[tuple[int, int]] = []
        seen, open_positions = {position}, [position]
        while open_positions:
            number = open_positions.pop()
            self._add_work(1)
            entry = self._positions[number]
            if entry is None:
                continue
            node, rest = entry
            if isinstance(node, OneByte):
                heads.append((node.allowed & self.alphabet, rest))
                continue
            for following in self._expand(node, rest):
                if following not in seen:
                    seen.add(following)
                    open_positions.append(following)
        self._heads[position] = heads, END in seen
        return self._heads[position]

    def _expand(self, node: Node, rest: int) -> list[int]:
        """The positions that a position stands for which begins with more than one byte."""
        if isinstance(node, Sequence):
            for part in reversed(node.parts):
                rest = self._position(part, rest)
            return [rest]
        if isinstance(node, Choice):
            return [self._position(option, rest) for option in node.options]
        if isinstance(node, Rule):
            return [self._position(self.rules[node.name], rest)]
        assert isinstance(node, Repeat)
        if node.most == 0:
            return [rest]
        fewer = self._repeat(node.part, max(node.least - 1, 0), None if node.most is None else node.most - 1)
        once_more = self._position(node.part, self._position(fewer, rest))
        return [once_more] if node.least else [rest, once_more]

    def _repeat(self, part: Node, least: int, most: int | None) -> Repeat:
        return self._repeats.setdefault((part, least, most), Repeat(part, least, most))

    def _shortest_of_rules(self) -> dict[str, float]:
        """The length of the shortest text of each rule, by improving on infinity until nothing changes."""
        lengths = dict.fromkeys(self.rules, math.inf)
        while True:
            self._lengths.clear()
            better = {name: self._length(node, lengths) for name, node in self.rules.items()}
            if better == lengths:
                return lengths
            lengths = better

    def _length(self, node: Node, rules: Mapping[str, float]) -> float:
        """The number of bytes in the shortest text of a node, given that of each rule; infinite if there is none.

        It is remembered, because a node may be part of many others. Parts come before what they are part of, without
        recursion: an object of a thousand properties is a thousand nodes deep.
        """
        lengths, open_nodes = self._lengths, [node]
        while open_nodes:
            last = open_nodes[-1]
            missing = [] if last in lengths else [part for part in parts_of(last) if part not in lengths]
            open_nodes += missing
            if not missing:
                open_nodes.pop()
                if last not in lengths:
                    self._add_work(1 + len(parts_of(last)))
                    lengths[last] = self._length_of_parts(last, rules)
        return lengths[node]

    def _length_of_parts(self, node: Node, rules: Mapping[str, float]) -> float:
        if isinstance(node, OneByte):
            return 1 if node.allowed & self.alphabet else math.inf
        if isinstance(node, Rule):
            return rules[node.name]
        lengths = [self._lengths[part] for part in parts_of(node)]
        if isinstance(node, Repeat):
            return node.least * lengths[0] if node.least else 0
        return sum(lengths) if isinstance(node, Sequence) else min(lengths, default=math.inf)

    def _add_work(self, n: int) -> None:
        self._work += n
        self._check(self._work, MAX_WORK)

    def _check(self, size: int, largest: int) -> None:
        if size >= largest:
            raise UserError(f"{self.description} is too complex; use fewer or smaller repetitions and choices.")
