"""Constrained decoding: allow only tokens after which the text can still match a grammar (Willard & Louf 2023).

A token may span several parts of a grammar, and a part several tokens, so a grammar says nothing about tokens by
itself. For each state of its automaton, the tokens are read byte by byte, those with a common beginning together (a
trie), and the ones that survive are allowed. This takes time only once for each state, and texts visit few different
states.

**The text is complete when its tokens run out.** For each token we know the minimum number of bytes that must follow
it, and count one token per byte, which is always possible. A token is allowed only if that many tokens are left.
"""

import functools
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.generation.grammar import DEAD, Grammar
from llmasos.generation.options import SamplingOptions
from llmasos.tokenizers.tokenizer import Tokenizer
from llmasos.tokenizers.wordpiece import WordPieceTokenizer

if TYPE_CHECKING:
    from llmasos.generation.sequence import SequenceState

NEVER = 2**30  # tokens that would have to follow a token that is not allowed
MAX_KEPT = 2**24  # numbers in the masks of a grammar, which are cached for its next text


class TrieNode:
    """The tokens that begin with the same bytes: those that end here, and by the next byte the longer ones."""

    __slots__ = ("following", "ids")

    def __init__(self) -> None:
        self.following: dict[int, TrieNode] = {}
        self.ids: list[int] = []


class TokenGrammar:
    """A grammar in the tokens of a tokenizer.

    Args:
        grammar: the grammar that the text must match.
        tokenizer: the model's tokenizer.
        stop_ids: the tokens that end a text, at least one of them below the tokenizer's vocab_size; allowed where the
            text is complete.

    Raises:
        UserError: the tokenizer lacks characters without which there is no text, or its tokens have no text by
            themselves; or nothing ends a text.
    """

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer, stop_ids: Sequence[int]):
        if isinstance(tokenizer, WordPieceTokenizer):
            raise UserError("a WordPiece tokenizer puts spaces between words by rules that no grammar can follow.")
        self.tokenizer = tokenizer
        self.stop_ids = tuple(id for id in stop_ids if 0 <= id < tokenizer.vocab_size)
        if not self.stop_ids:
            raise UserError("a text with a grammar needs a token that ends it; leave stop_at_end_of_text on.")
        single = [byte for byte, node in trie(tokenizer, False).following.items() if node.ids]
        self.grammar = replace(grammar, alphabet=sum(1 << byte for byte in single))
        if self.grammar.first_state == DEAD:
            raise UserError(f"the tokenizer lacks characters that {grammar.description} needs.")
        self.longest = max(len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size))
        self._needed: dict[tuple[int, bool], Tensor] = {}
        self._short: dict[int, int] = {}  # state → `Grammar.in_short`

    @property
    def is_large(self) -> bool:
        """Whether the automaton has grown so large that the next text should start with a new one."""
        return self.grammar.is_large or len(self._needed) * self.tokenizer.vocab_size > MAX_KEPT

    def needed(self, state: int, at_start: bool = False) -> Tensor:
        """How many tokens at most must follow each token in a state for the text to be complete: (V,) int32.

        NEVER for a token that is not allowed, and -1 for one that ends the text.

        Args:
            state: the state of the grammar.
            at_start: whether the text begins here; some tokenizers leave out the first token's space.
        """
        if state not in self._short:
            self._short[state] = self.grammar.in_short(state, self.longest)
        key = self._short[state], at_start
        if key not in self._needed:
            needed = torch.full((self.tokenizer.vocab_size,), NEVER, dtype=torch.int32)
            ids, counts = [], []
            grammar, open_nodes = self.grammar, [(trie(self.tokenizer, at_start), key[0])]
            while open_nodes:
                node, at = open_nodes.pop()
                if node.ids:
                    ids += node.ids
                    counts += [int(min(grammar.bytes_to_end(at), NEVER))] * len(node.ids)
                for byte, following in node.following.items():
                    after = grammar.read(at, bytes([byte]))
                    if after != DEAD:
                        open_nodes.append((following, after))
            needed[ids] = torch.tensor(counts, dtype=torch.int32)
            if grammar.accepts(state):
                needed[list(self.stop_ids)] = -1
            self._needed[key] = needed
        return self._needed[key]

    def allowed(self, sequence: "SequenceState") -> Tensor:
        """Whether each token may come next: (V,) bool, at least one of them."""
        return self.needed_after(sequence) <= n_left(sequence)

    def needed_after(self, sequence: "SequenceState") -> Tensor:
        """`needed` after the sequence's new text."""
        return self.needed(self.state_of(sequence), not sequence.ids and self.begins(sequence))

    def begins(self, sequence: "SequenceState") -> bool:
        """Whether the new text is the beginning of a text, because what it continues is a special token."""
        return bool(self.tokenizer.special_mask[sequence.prompt[-1]])

    def state_of(self, sequence: "SequenceState") -> int:
        """The state after the sequence's new text. Only what is new since the last call is read."""
        if not sequence.n_read:
            sequence.grammar_state = self.grammar.first_state
        for place in range(sequence.n_read, len(sequence.ids)):
            id = sequence.ids[place]
            if id not in self.stop_ids:
                first = place == 0 and self.begins(sequence)
                data = self.tokenizer.added_bytes(id, None) if first else self.tokenizer.token_bytes(id)
                sequence.grammar_state = self.grammar.read(sequence.grammar_state, data)
        sequence.n_read = len(sequence.ids)
        return sequence.grammar_state


def constrain_to_grammars(logits: Tensor, sequences: Sequence["SequenceState"]) -> Tensor:
    """Make tokens impossible after which a sequence could no longer match its grammar: logits (B, V)."""
    rows, needed, left = [], [], []
    for row, sequence in enumerate(sequences):
        if sequence.grammar is not None:
            try:
                needed.append(sequence.grammar.needed_after(sequence))
            except UserError as error:  # too complex: this sequence fails, but not the others in its batch
                sequence.error = error
                continue
            rows.append(row)
            left.append(n_left(sequence))
    if not rows:
        return logits
    forbidden = torch.stack(needed)[:, : logits.size(1)] > torch.tensor(left)[:, None]  # (n, V)
    if len(rows) == len(sequences):
        return logits.masked_fill(forbidden.to(logits.device), -torch.inf)
    logits = logits.clone()
    logits[rows] = logits[rows].masked_fill(forbidden.to(logits.device), -torch.inf)
    return logits


def n_left(sequence: "SequenceState") -> int:
    """How many tokens may follow the next one; the last token is kept for the end."""
    return sequence.options.max_new_tokens - len(sequence.ids) - 2


def grammar_of(options: SamplingOptions, tokenizer: Tokenizer) -> TokenGrammar | None:
    """The grammar of the options in the tokens of a tokenizer; what was computed for one text is used for the next.

    Args:
        options: as `prepare` returns them.
        tokenizer: the model's tokenizer.

    Raises:
        UserError: the tokenizer lacks characters, or no text of the grammar is short enough.
    """
    grammar = options.grammar
    if grammar is None:
        return None
    known, key = _known.setdefault(grammar, {}), (id(tokenizer), options.stop_token_ids)
    if key not in known or known[key].is_large:
        known[key] = TokenGrammar(grammar, tokenizer, options.stop_token_ids)
    least = known[key].grammar.bytes_to_end(known[key].grammar.first_state) + 1  # and the end
    if options.max_new_tokens < least:
        raise UserError(
            f"the text may have {options.max_new_tokens} tokens, and {grammar.description} may need {least:,.0f}; "
            "allow more."
        )
    return known[key]


_known: weakref.WeakKeyDictionary[Grammar, dict[tuple, TokenGrammar]] = weakref.WeakKeyDictionary()


@functools.lru_cache(maxsize=8)
def trie(tokenizer: Tokenizer, at_start: bool) -> TrieNode:
    """The tokens of a tokenizer by their bytes, at the start of a text or later; without the special ones."""
    root = TrieNode()
    special = tokenizer.special_mask
    for id in range(tokenizer.vocab_size):
        if not special[id]:
            node = root
            for byte in tokenizer.added_bytes(id, None) if at_start else tokenizer.token_bytes(id):
                node = node.following.setdefault(byte, TrieNode())
            if node is not root:
                node.ids.append(id)
    return root
