"""The cached decoder for rows that come and go: continuous batching (Yu et al. 2022, "Orca", section 3.2).

`Decoder` works on a batch from its first token to its last. A server cannot: its requests arrive one by one and end one
by one, and whoever arrives would have to wait for the longest of the batch before. So here the batch is a set of
*slots*, and at every step rows may join it and leave it:

    slot      0   1   2   3   4   5   6   7
              a   b   c   d   e   ·   ·   ·        a, b, c: decoding, one token a step
                                                   d, e: joined, their prompts are being read

Rows that decode stand in the first slots, without gaps: a step then is one pass through the model over the front part
of the cache, without copying it. When b leaves, c moves into its slot, and d, if it has begun to read, into that of c.

**Chunked prefill** (Agrawal et al. 2023, "Sarathi"). Reading a prompt of a thousand tokens at once would make everybody
else wait for it. A step reads at most `prefill_budget` tokens of prompts, in the order of arrival, beside the one token of each
row that decodes: a long prompt is read over several steps, and short ones several in one step. At most one prompt
is ever read in part, the first of those that have joined. A row whose context is full makes room (see `decoder.py`) in
the same way: it leaves, and joins again with the end of its text to read.

**Shared prefixes** (Kwon et al. 2023, "PagedAttention", section 4.4; they share the memory, here it is copied). What a
text begins with may stand in another slot already: several samples are asked of one prompt, or many people's prompts
begin with the same examples. Keys and values of a prefix depend on nothing that follows it, so they are copied, and
only the rest is read.

What a row gets does not depend on the others. It is what `Decoder` gives it alone, and what `plain.py` defines.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmasos.datasets.batching import pad
from llmasos.generation.decoder import Decoder
from llmasos.generation.sequence import SequenceState

FIRST_SLOTS = 4  # memory for more is taken when more rows are there at once
WORTH_SHARING = 16  # tokens; a shorter prefix is read faster than looked for


class ContinuousBatch(Decoder):
    """Up to `n_slots` rows of a GPT, each at its own place.

    Attributes:
        rows: those that decode, in the order of their slots.
        joined: those that have something to read before they can decode, in the order in which they read it: a prompt
            or, when their context was full, the end of their text.
    """

    def __init__(
        self, model: nn.Module, n_slots: int, vocab_size: int | None = None, context_length: int | None = None
    ):
        """Begin without any row.

        Args:
            model: a GPT in eval mode.
            n_slots: how many rows there may be at once.
            vocab_size: only ids below it are chosen (None = all).
            context_length: how many tokens each slot has room for (None = the model's). With fewer, the slots need less
                memory and a row makes room sooner (see `Decoder`).
        """
        self.model, self.n_slots, self.vocab_size = model, n_slots, vocab_size
        self.device = next(model.parameters()).device
        self.context_length = min(context_length or model.config.context_length, model.config.context_length)
        self.rows: list[SequenceState] = []
        self.joined: list[SequenceState] = []
        self.slots = model.make_cache(min(FIRST_SLOTS, n_slots), self.context_length)

    @property
    def n_free(self) -> int:
        """How many rows may still join."""
        return self.n_slots - len(self.rows) - len(self.joined)

    def add(self, row: SequenceState) -> None:
        """Give a row a slot; its prompt, at most context_length tokens, is read in the steps that follow."""
        if self.n_free < 1:
            raise ValueError("no slot is free")
        n_slots = len(self.slots.layers[0][0])
        if len(self.rows) + len(self.joined) == n_slots:
            self.slots = self.slots.resized(min(2 * n_slots, self.n_slots))  # twice as many, if so many are allowed
        row.n_computed, row.pending = 0, row.prompt
        self.joined.append(row)

    @torch.inference_mode()
    def step(self, prefill_budget: int) -> list[SequenceState]:
        """Let every row that decodes read its last token, and those that have joined some of their texts.

        Args:
            prefill_budget: how many tokens of those texts to read at most, padding included.

        Returns:
            The rows that have logits now and can `choose` their next token: those that decode, and those whose text
            has just been read to its end, which from now on are among them.
        """
        self._make_room()
        logits = self._read_texts(prefill_budget)
        n_new = len(logits)
        if self.rows:
            self.cache = self.slots.rows(0, len(self.rows))
            super().step()
            logits = torch.cat([self.logits, logits]) if n_new else self.logits
        self.logits = logits
        self.rows += self.joined[:n_new]
        self.joined = self.joined[n_new:]
        return self.rows

    def remove(self, rows: Sequence[SequenceState]) -> None:
        """Take rows out of the batch, wherever they are."""
        gone = {id(row) for row in rows}
        self.joined = [row for row in self.joined if id(row) not in gone]
        self._free_slots(gone)

    def _free_slots(self, gone: set[int]) -> None:
        """Let rows that decode, named by their `id`, give up their slots; the last row moves into the slot of each."""
        n_before = len(self.rows)
        for i in reversed(range(len(self.rows))):
            if id(self.rows[i]) in gone:
                last = self.rows.pop()
                if i < len(self.rows):
                    self.rows[i] = last
                    self.slots.copy_row(len(self.rows), i)
        if self.joined and self.joined[0].n_computed > 0 and len(self.rows) < n_before:
            self.slots.copy_row(n_before, len(self.rows))  # the one that is read in part stands behind those that decode

    def _make_room(self) -> None:
        """Let full rows join again, before those that are new, to read the most recent half of their context."""
        full = [row for row in self.rows if row.n_computed == self.context_length]
        if full:
            for row in full:
                row.pending = (*row.prompt, *row.ids)[-(self.context_length // 2) - 1 :]  # with the token chosen last
                row.n_computed = 0
                row.n_context_shifts += 1
            place = 1 if self.joined and self.joined[0].n_computed else 0
            self.joined[place:place] = full
            self._free_slots({id(row) for row in full})

    def _read_texts(self, prefill_budget: int) -> Tensor:
        """Read on in the texts. Returns logits (N, V) for the first N of `joined`, which are read to their end."""
        texts = self._next_texts(prefill_budget)
        if not texts:
            return torch.empty(0)
        ids, positions = self._padded(texts)  # (N, T)
        first = len(self.rows)
        cache = self.slots.rows(first, first + len(texts))
        hidden = self.model.decode(ids, positions, cache)  # (N, T, C)
        done = []
        for i, (row, text) in enumerate(zip(self.joined, texts, strict=False)):
            row.n_computed += len(text)
            if row.n_computed == len(row.pending):
                done.append(i)
        last = torch.tensor([len(texts[i]) - 1 for i in done], dtype=torch.long, device=self.device)
        return self._logits(hidden[: len(done)].gather(1, last[:, None, None].expand(-1, 1, hidden.size(2)))[:, 0])

    def _next_texts(self, prefill_budget: int) -> list[Sequence[int]]:
        """What to read in one pass: of the first prompt as much as the prefill_budget allows, of others only all of it.

        A beginning that another slot has is copied from there, and is not part of what is returned.
        """
        texts: list[Sequence[int]] = []
        longest = 0
        for i, row in enumerate(self.joined):
            n_shared, slot = self._donor(row)
            if any(shared_prefix(row, reading.pending) > n_shared for reading in self.joined[:i]):
                return texts  # in the next step there is more to copy
            text = row.pending[row.n_computed + n_shared :]
            longest = max(longest, len(text))
            too_long = longest * (len(texts) + 1) > prefill_budget  # with padding
            if too_long and texts:
                return texts
            if n_shared:
                self.slots.copy_row(slot, len(self.rows) + i, n_shared)
                row.n_computed = n_shared
            texts.append(text[:prefill_budget])
            if too_long:
                return texts
        return texts

    def _donor(self, row: SequenceState) -> tuple[int, int]:
        """How many tokens of a row's beginning another slot has, and which slot: (0, 0) if none is worth it."""
        texts = [
            (*other.prompt, *other.ids)[: other.n_computed] if other.n_context_shifts == 0 else ()
            for other in self.rows
        ]
        return max(((shared_prefix(row, text), slot) for slot, text in enumerate(texts)), default=(0, 0))

    def _padded(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids and positions (N, T) of texts that go on where each row has been read to.

        Padding is the last token once more, at its own position: it writes the keys and values again that stand there.
        """
        length = max(map(len, texts))
        places = torch.arange(length).clamp(max=torch.tensor([[len(text) - 1] for text in texts]))  # (N, T)
        ids = pad(texts, 0)[0].gather(1, places)  # (N, T)
        read = torch.tensor([[row.n_computed] for row in self.joined[: len(texts)]])
        return ids.to(self.device), (places + read).to(self.device)


def shared_prefix(row: SequenceState, text: Sequence[int]) -> int:
    """How many tokens at the beginning of a row that has read nothing yet stand in another text, too.

    At most all but its last, which has to be read to say what follows; 0 if they are fewer than are worth sharing.
    """
    if row.n_computed:
        return 0
    n = 0
    for own, other in zip(row.pending[:-1], text, strict=False):
        if own != other:
            break
        n += 1
    return n if n >= WORTH_SHARING else 0
