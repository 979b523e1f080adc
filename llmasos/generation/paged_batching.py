"""Continuous batching with a paged cache: a sequence uses the memory of its own text, not of the longest possible one.

`ContinuousBatch` gives every sequence a slot for a whole context. Here it gets the pages of its prompt when its prefill
begins, and another page whenever its last one is full (`nn/page_table.py`, `nn/paged_cache.py`). Sequences with a
common prefix share pages, even if the sequence that computed them has already ended.

**When no page is free**, sequences that have not started wait, and new requests wait in the queue. A decoding sequence
that needs another page takes it from the youngest decoding sequence, which is put back to prefilling with all of its
text, as after a context shift, and continues from there when there is room (Kwon et al. 2023, section 4.5,
"recomputation"). If the youngest is the one that needs the page, it is preempted itself.

Reserving the pages for the longest possible text in advance would be simpler, but most requests allow far more tokens
than they generate (a chat usually allows the whole context), so pages would save nothing. A deadlock is impossible: all
pages together have room for one whole context, no younger sequence takes pages from an older one, and one that is
prefilled has all the pages it needs for that. So the oldest sequence generates at least one more token each time it is
prefilled; eventually it ends, and another one is the oldest.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from llmasos.errors import UserError
from llmasos.generation.continuous_batching import ContinuousBatch, common_prefix
from llmasos.generation.sequence import SequenceState
from llmasos.models import Model
from llmasos.nn import KVCache, PagedKVCache, PagePool

INITIAL_PAGES = 64  # more memory is allocated when needed


class PagedBatch(ContinuousBatch):
    """Up to `n_slots` sequences of a GPT, whose keys and values are in at most `n_pages` pages.

    Attributes:
        pool: which pages are free, shared or known.
        page_tables: the pages of each sequence, none while it waits; the sequences in the order of their arrival.
    """

    def __init__(
        self,
        model: Model,
        n_slots: int,
        vocab_size: int | None = None,
        context_length: int | None = None,
        *,
        page_size: int,
        n_pages: int,
    ):
        """Start with no sequences.

        Args:
            model, n_slots, vocab_size, context_length: as for `ContinuousBatch`.
            page_size: tokens in a page.
            n_pages: the maximum number of pages.

        Raises:
            UserError: the pages have no room for one whole context.
        """
        self.pool = PagePool(n_pages, page_size)
        self.page_tables: dict[SequenceState, list[int]] = {}
        self._waits = False  # whether a sequence waits for pages
        super().__init__(model, n_slots, vocab_size, context_length)
        if self.pool.pages_for(self.context_length) > n_pages:
            raise UserError(
                f"{n_pages:,} pages of {page_size:,} tokens have no room for one context of {self.context_length:,}; "
                "choose more pages or a shorter context_length."
            )

    def _make_memory(self) -> None:
        n_pages = min(INITIAL_PAGES, self.pool.n_pages)
        self.memory = PagedKVCache.from_empty(self.model.make_cache(n_pages, self.pool.page_size))

    def _make_room(self) -> None:
        """Do nothing: a sequence gets its pages when its prefill begins."""

    @property
    def n_free(self) -> int:
        """The number of sequences that can still be added; 0 while one of those in the batch waits for pages."""
        return 0 if self._waits else super().n_free

    def add(self, sequence: SequenceState) -> None:
        """Accept a sequence; its prompt, at most context_length tokens, is prefilled when there are pages for it."""
        super().add(sequence)
        self.page_tables[sequence] = []

    @torch.inference_mode()
    def step(self, prefill_budget: int) -> list[SequenceState]:
        """See `ContinuousBatch.step`. Pages that are full afterwards can be found by other sequences."""
        self._waits = False
        super().step(prefill_budget)
        for sequence in (*self.sequences, *self.prefilling):
            pages, n_full = self.page_tables[sequence], sequence.n_computed // self.pool.page_size
            if n_full and not sequence.n_context_shifts and not self.pool.is_known(pages[n_full - 1]):
                self.pool.remember(pages, (*sequence.prompt, *sequence.ids)[: sequence.n_computed])
        return self.sequences

    def remove(self, sequences: Sequence[SequenceState]) -> None:
        """Remove sequences from the batch, whether decoding or prefilling, and free their pages."""
        super().remove(sequences)
        for sequence in sequences:
            self.page_tables.pop(sequence, None)

    def _free_slots(self, removed: Collection[int]) -> None:
        super()._free_slots(removed)
        for sequence, pages in self.page_tables.items():
            if id(sequence) in removed:
                self.pool.free(pages)
                self.page_tables[sequence] = []

    def _move(self, source: int, target: int) -> None:
        """Do nothing: the pages of a sequence are found through its page table."""

    # When pages are needed

    def _extend_sequences(self) -> None:
        """Give each sequence whose last page is full another page, the oldest first."""
        for sequence, pages in self.page_tables.items():
            is_full = sequence.n_computed == len(pages) * self.pool.page_size
            if is_full and sequence in self.sequences:
                if self._free_up(1, sequence):
                    self.page_tables[sequence] = [*pages, *self._allocate(1)]
                else:
                    self._preempt(sequence)

    def _find_prefix(self, sequence: SequenceState) -> tuple[int, Any]:
        """The longest prefix of a sequence that is in known pages: its length, and the pages."""
        pages = [] if sequence.n_computed else self.pool.find(sequence.pending[:-1])
        return len(pages) * self.pool.page_size, pages

    def _n_shareable(self, sequence: SequenceState, text: Sequence[int]) -> int:
        """How many tokens of a sequence can be shared with one of this text: those of whole pages."""
        size = self.pool.page_size
        return common_prefix(sequence, text) // size * size

    def _place(self, sequence: SequenceState, slot: int, n_shared: int, source: Any) -> bool:
        """Give a sequence the pages of its text, known ones and new ones. False if it must wait for them.

        One additional page for each decoding sequence must be free, or this one would soon be preempted for them.
        """
        if self.page_tables[sequence]:
            return True  # it has begun
        self.pool.share(source)
        n_new = self.pool.pages_for(len(sequence.pending)) - len(source)
        if not self._free_up(n_new, sequence, per_sequence=1):
            self.pool.free(source)
            self._waits = True
            return False
        self.page_tables[sequence] = [*source, *self._allocate(n_new)]
        sequence.n_computed = n_shared
        return True

    def _allocate(self, n: int) -> list[int]:
        """Take free pages; when pages are used for the first time, their memory is allocated."""
        pages = self.pool.allocate(n)
        if self.pool.n_used > self.memory.n_pages:
            self.memory = self.memory.resized(min(max(2 * self.memory.n_pages, self.pool.n_used), self.pool.n_pages))
        return pages

    def _free_up(self, n: int, sequence: SequenceState, per_sequence: int = 0) -> bool:
        """Preempt sequences that decode and are younger than this one until n pages are free; whether they are.

        `per_sequence` is the number of additional pages required for each decoding sequence.
        """
        for other in reversed(list(self.page_tables)):
            if self.pool.n_free >= n + per_sequence * len(self.sequences):
                return True
            if other is sequence:
                return False
            if other in self.sequences:
                self._preempt(other)
        raise AssertionError("the sequence is not in the batch")

    def _preempt(self, sequence: SequenceState) -> None:
        """Free the pages of a sequence that decodes; its text so far is prefilled again when there is room."""
        text = (*sequence.prompt, *sequence.ids)
        sequence.pending = text[-sequence.n_computed - 1 :]  # the last token has not been computed
        sequence.n_computed = 0
        order = list(self.page_tables)
        younger = {id(other) for other in order[order.index(sequence) :] if not self.page_tables[other]}
        places = (i for i, other in enumerate(self.prefilling) if id(other) in younger)  # those that wait, too
        self.prefilling.insert(next(places, len(self.prefilling)), sequence)
        self._free_slots({id(sequence)})

    def _cache_of(self, start: int, stop: int) -> KVCache:
        tables = [self.page_tables[s] for s in [*self.sequences, *self.prefilling][start:stop]]
        longest = max(map(len, tables))
        table = torch.tensor([[*pages, *[0] * (longest - len(pages))] for pages in tables], device=self.device)
        return self.memory.with_table(table)
