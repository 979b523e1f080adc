"""Continuous batching: the cached decoder for sequences that start and end at any step (Yu et al. 2022, "Orca", 3.2).

`Decoder` works on a batch from its first token to its last. In a server, requests arrive and end one by one, and a new
one would have to wait for the longest of the batch before it. So here the batch is a set of *slots*, and sequences may
be added and removed at every step:

    slot      0   1   2   3   4   5   6   7
              a   b   c   d   e   ·   ·   ·        a, b, c: decoding, one token a step
                                                   d, e: added, their prompts are being prefilled

The sequences that decode have the first slots, without gaps: a step is one forward pass over the front of the cache,
without copying it. When b is removed, c moves into its slot, and d, if its prefill has begun, into that of c.

**Chunked prefill** (Agrawal et al. 2023, "Sarathi"). Computing a prompt of a thousand tokens at once would make all
other sequences wait. A step computes at most `prefill_budget` tokens of prompts, in the order of arrival, in addition
to the one token of each decoding sequence: a long prompt takes several steps, and several short ones share a step. At
most one prompt is ever partly computed, the first of those being prefilled. A sequence whose context is full is shifted
(see `decoder.py`) in the same way: it goes back to prefilling, with the end of its text as the prompt.

**Prefix sharing** (Kwon et al. 2023, "PagedAttention", section 4.4; there the memory is shared, here it is copied). The
beginning of a text may be in another slot already: several samples of one prompt, or the prompts of many users that
begin with the same examples. The keys and values of a prefix do not depend on what follows, so they are copied, and
only the rest is computed. `paged_batching.py` shares the memory, too.

The text of a sequence does not depend on the others. It is the same as with `Decoder` alone, and as `naive.py` defines
it.

Dimensions: N texts that are prefilled together, T their padded length, V vocabulary.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from llmasos.datasets.batching import pad
from llmasos.generation.decoder import BatchDecoder
from llmasos.generation.sequence import SequenceState
from llmasos.models import Model
from llmasos.nn import KVCache

INITIAL_SLOTS = 4  # more memory is allocated when needed
MIN_SHARED_PREFIX = 16  # tokens; a shorter prefix is computed faster than it is found and copied


class ContinuousBatch(BatchDecoder):
    """Up to `n_slots` sequences of a GPT, each at its own position.

    Attributes:
        sequences: the decoding sequences, in the order of their slots.
        prefilling: the sequences with tokens to prefill before they can decode (a prompt or, after a context shift, the
            end of a text), in the order of their slots, which come next.
    """

    def __init__(self, model: Model, n_slots: int, vocab_size: int | None = None, context_length: int | None = None):
        """Start with no sequences.

        Args:
            model, vocab_size: as for `BatchDecoder`; a GPT.
            n_slots: the maximum number of sequences at once.
            context_length: how many tokens each slot has room for (None = the model's). With fewer, the slots need less
                memory and contexts are shifted earlier.
        """
        super().__init__(model, vocab_size)
        self.n_slots = n_slots
        self.context_length = min(context_length or self.context_length, self.context_length)
        self.prefilling: list[SequenceState] = []
        self._make_memory()

    def _make_memory(self) -> None:
        self.slots: KVCache = self.model.make_cache(min(INITIAL_SLOTS, self.n_slots), self.context_length)

    @property
    def n_free(self) -> int:
        """The number of sequences that can still be added."""
        return self.n_slots - len(self.sequences) - len(self.prefilling)

    def add(self, sequence: SequenceState) -> None:
        """Give a sequence a slot; its prompt, at most context_length tokens, is prefilled in the steps that follow."""
        if self.n_free < 1:
            raise ValueError("no slot is free")
        self._make_room()
        sequence.n_computed, sequence.pending = 0, sequence.prompt
        self.prefilling.append(sequence)

    def _make_room(self) -> None:
        """Allocate memory for one more sequence."""
        if len(self.sequences) + len(self.prefilling) == self.slots.batch_size:
            self.slots = self.slots.resized(min(2 * self.slots.batch_size, self.n_slots))

    @torch.inference_mode()
    def step(self, prefill_budget: int) -> list[SequenceState]:
        """Compute the last token of every decoding sequence, and some tokens of those being prefilled.

        Args:
            prefill_budget: how many tokens to prefill at most, padding included.

        Returns:
            The sequences that now have logits, so that `sample` can be called: the decoding ones, which now include
            those whose prefill has just been completed.
        """
        self._shift_contexts()
        self._extend_sequences()
        logits = self._prefill(prefill_budget)
        n_completed = len(logits)
        if self.sequences:
            self.cache = self._cache_of(0, len(self.sequences))
            self._decode_last_tokens()
            logits = torch.cat([self.logits, logits]) if n_completed else self.logits
        self.logits = logits
        self.sequences += self.prefilling[:n_completed]
        self.prefilling = self.prefilling[n_completed:]
        return self.sequences

    def remove(self, sequences: Sequence[SequenceState]) -> None:
        """Remove sequences from the batch, whether decoding or prefilling."""
        removed = {id(sequence) for sequence in sequences}
        self.prefilling = [sequence for sequence in self.prefilling if id(sequence) not in removed]
        self._free_slots(removed)

    def _free_slots(self, removed: Collection[int]) -> None:
        """Free the slots of sequences that decode, given by their `id`; the last sequence moves into each free slot."""
        n_before = len(self.sequences)
        for i in reversed(range(len(self.sequences))):
            if id(self.sequences[i]) in removed:
                last = self.sequences.pop()
                if i < len(self.sequences):
                    self.sequences[i] = last
                    self._move(len(self.sequences), i)
        if self.prefilling and self.prefilling[0].n_computed > 0 and len(self.sequences) < n_before:
            self._move(n_before, len(self.sequences))  # the slot of the partly computed prompt

    def _move(self, source: int, target: int) -> None:
        """Move the contents of one slot to another."""
        self.slots.copy_row(source, target)

    def _shift_contexts(self) -> None:
        """Put full sequences back to prefilling: the most recent half of their context."""
        full = [sequence for sequence in self.sequences if sequence.n_computed == self.context_length]
        if full:
            for sequence in full:
                text = (*sequence.prompt, *sequence.ids)
                sequence.pending = text[-(self.context_length // 2) - 1 :]  # the last token included
                sequence.n_computed = 0
                sequence.n_context_shifts += 1
            self._put_back(full)

    def _put_back(self, sequences: Sequence[SequenceState]) -> None:
        """Put sequences that decode back to prefilling, before new ones."""
        place = 1 if self.prefilling and self.prefilling[0].n_computed else 0
        self.prefilling[place:place] = sequences
        self._free_slots({id(sequence) for sequence in sequences})

    def _extend_sequences(self) -> None:
        """Make room for the next token of each sequence that decodes: a slot has it already."""

    def _prefill(self, prefill_budget: int) -> Tensor:
        """Prefill some tokens. Returns logits (N, V) for the first N of `prefilling`, which are then complete."""
        texts = self._next_texts(prefill_budget)
        if not texts:
            return torch.empty(0)
        ids, positions = self._pad(texts)  # (N, T)
        bounds = int(positions.min()), int(positions.max()) + 1
        first = len(self.sequences)
        cache = self._cache_of(first, first + len(texts))
        ids, positions = ids.to(self.device), positions.to(self.device)
        hidden_states = self.model.decode(ids, positions, cache, bounds)  # (N, T, C)
        lengths = []  # of the texts that complete their prompts: all, except perhaps the last
        for sequence, text in zip(self.prefilling, texts, strict=False):
            sequence.n_computed += len(text)
            if sequence.n_computed == len(sequence.pending):
                lengths.append(len(text))
        completed = self.prefilling[: len(lengths)]
        last = torch.tensor(lengths, dtype=torch.long, device=self.device) - 1
        return self._to_logits(hidden_states[torch.arange(len(lengths), device=self.device), last], completed)

    def _next_texts(self, prefill_budget: int) -> list[Sequence[int]]:
        """Choose what to compute in one pass: of the first prompt as much as the budget allows, others only completely.

        A prefix that another slot has is copied from there, and is not returned.
        """
        texts: list[Sequence[int]] = []
        longest = 0
        for i, sequence in enumerate(list(self.prefilling)):
            n_shared, source = self._find_prefix(sequence)
            if any(self._n_shareable(sequence, other.pending) > n_shared for other in self.prefilling[:i]):
                return texts  # in the next step, more can be copied
            text = sequence.pending[sequence.n_computed + n_shared :]
            longest = max(longest, len(text))
            is_too_long = longest * (len(texts) + 1) > prefill_budget  # with padding
            if is_too_long and texts:
                return texts
            if not self._place(sequence, len(self.sequences) + i, n_shared, source):
                return texts
            texts.append(text[:prefill_budget])
            if is_too_long:
                return texts
        return texts

    def _find_prefix(self, sequence: SequenceState) -> tuple[int, Any]:
        """The longest prefix of a sequence that is computed already: its length, 0 if too short, and in which slot."""
        computed = [(*s.prompt, *s.ids)[: s.n_computed] if s.n_context_shifts == 0 else () for s in self.sequences]
        return max(((self._n_shareable(sequence, text), slot) for slot, text in enumerate(computed)), default=(0, 0))

    def _n_shareable(self, sequence: SequenceState, text: Sequence[int]) -> int:
        """How many tokens of a sequence can be taken from one with this text."""
        return shared_prefix(sequence, text)

    def _place(self, sequence: SequenceState, slot: int, n_shared: int, source: Any) -> bool:
        """Give a sequence its memory, including the shared prefix. Returns False if it must wait, which never happens
        here.
        """
        if n_shared:
            self.slots.copy_row(source, slot, n_shared)
            sequence.n_computed = n_shared
        return True

    def _cache_of(self, start: int, stop: int) -> KVCache:
        """The keys and values of the sequences start … stop - 1: those that decode, then those being prefilled."""
        return self.slots.rows(start, stop)

    def _pad(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids and positions (N, T) of texts that continue where each sequence has been computed to.

        Padding repeats the last token at its own position, so it only writes the same keys and values again.
        """
        length = max(map(len, texts))
        indices = torch.arange(length).clamp(max=torch.tensor([[len(text) - 1] for text in texts]))  # (N, T)
        ids = pad(texts, 0)[0].gather(1, indices)  # (N, T)
        return ids, indices + torch.tensor([[sequence.n_computed] for sequence in self.prefilling[: len(texts)]])


def shared_prefix(sequence: SequenceState, text: Sequence[int]) -> int:
    """The length of `common_prefix`; 0 if it is below MIN_SHARED_PREFIX."""
    n = common_prefix(sequence, text)
    return n if n >= MIN_SHARED_PREFIX else 0


def common_prefix(sequence: SequenceState, text: Sequence[int]) -> int:
    """How many tokens at the beginning of a sequence that is not yet computed are also at the beginning of a text.

    The last token never counts, because it must be computed to get its logits.
    """
    if sequence.n_computed:
        return 0
    n = 0
    for a, b in zip(sequence.pending[:-1], text, strict=False):
        if a != b:
            break
        n += 1
    return n
