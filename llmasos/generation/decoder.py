"""The one cached decoder: continues a batch of token sequences, reading each token once.

The plain way to generate (`plain.py`) runs the model over the whole text for every new token. But a causal model's keys
and values at earlier positions never change, so the decoder keeps them (`nn/cache.py`) and reads only what is new:

    read     the prompts, all positions at once              → cache, logits of the next token
    choose   one token for every row                         (the caller decides which rows are finished)
    keep     the unfinished rows, drop the others
    advance  read the chosen tokens, one position per row    → logits of the next token; again from `choose`

Rows do not know of each other: prompts may have different lengths (slot p of the cache holds position p, so every row
simply stands at its own position), each row has its own options and random numbers, and each gets the same text as it
would get alone. Equal prompts are read once and their cache is copied: N samples of one prompt cost one reading.

**An encoder–decoder** differs only in what is read first: its encoder reads the source, whose keys and values for every
decoder block become part of the cache, and then its decoder reads the start token as a GPT reads a prompt.

**Beam search** (`beam.py`) puts `branch` in the place of choose and keep: several rows may go on from the same one.

**Beyond the context.** A model has positions for P tokens (context_length). When a row has filled them all, its most
recent ⌊P/2⌋ tokens are read again as positions 0, 1, 2, …, and it goes on from there: from then on it sees between half
and all of its context. Positions are part of what a key and a value say, so they cannot just be moved along.
An encoder–decoder never gets there, as its max_new_tokens is limited (`prompts.py`).

Dimensions: B rows, T prompt length, V vocabulary, P context length.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmasos.datasets.batching import pad
from llmasos.errors import UserError
from llmasos.generation.sequence import SequenceState, next_tokens
from llmasos.nn import KVCache


class Decoder:
    """A batch of rows, their cache, and the logits (B, V) of each row's next token."""

    @torch.inference_mode()
    def __init__(self, model: nn.Module, rows: Sequence[SequenceState], vocab_size: int | None = None):
        """Read the prompts.

        Args:
            model: a GPT (`make_cache`, `decode`, `lm_head`) or, for rows with a source, a Transformer (`prefill`,
                `decode`, `lm_head`), in eval mode (see `eval_mode`).
            rows: what to continue; nothing is generated yet.
            vocab_size: only ids below it are chosen (None = all): for a model with more rows in its output layer than
                the tokenizer has tokens.
        """
        self.model, self.rows, self.vocab_size = model, list(rows), vocab_size
        self.device = next(model.parameters()).device
        self.context_length = model.config.context_length
        longest = max(len(row.prompt) + row.options.max_new_tokens for row in self.rows)
        keys = [(row.source, row.prompt) for row in self.rows]
        different = list(dict.fromkeys(keys))  # each different text is read once
        cache = self._open([source for source, _ in different], min(longest, self.context_length))
        self.logits = self._logits(self._read([prompt for _, prompt in different], cache))
        self.cache = cache
        for row in self.rows:
            row.n_computed = len(row.prompt)
        if len(different) < len(keys):
            number = {key: i for i, key in enumerate(different)}
            self._select([number[key] for key in keys])

    def logprobs(self) -> Tensor:
        """ln of the model's probability (B, V) of every token as each row's next one."""
        logprobs = self.logits.log_softmax(dim=-1)
        if logprobs[:, 0].isnan().any():  # one NaN among the logits makes the whole row NaN
            raise UserError(
                "the model's output is not a number (NaN), so no token can be chosen: its weights are damaged or "
                "its training had diverged; sample from an earlier checkpoint."
            )
        return logprobs

    @torch.inference_mode()
    def sample(self) -> list[int]:
        """Choose the next token of every row, by its options, and add it to the row. Returns the ids, one per row."""
        logprobs = self.logprobs()
        chosen = next_tokens(self.logits, self.rows)
        values = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
        ids = chosen.tolist()
        for row, id, value in zip(self.rows, ids, values, strict=True):
            row.ids.append(id)
            row.logprobs.append(value)
        return ids

    @torch.inference_mode()
    def keep(self, indices: list[int]) -> None:
        """Go on with these rows only, in this order; the others are dropped from the batch and its cache."""
        if indices != list(range(len(self.rows))):
            self.rows = [self.rows[i] for i in indices]
            self._select(indices)

    @torch.inference_mode()
    def reorder(self, parents: list[int], rows: Sequence[SequenceState]) -> None:
        """Put other rows in the place of these: `rows[i]` is row `parents[i]` with one more token, yet to be read."""
        self.rows = list(rows)
        self._select(parents)

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Read the token that each row has just chosen. Returns which rows were full and had to make room first."""
        full = [i for i, row in enumerate(self.rows) if row.n_computed == self.context_length]
        self._slide(full)
        ids = torch.tensor([[row.ids[-1]] for row in self.rows], device=self.device)  # (B, 1)
        positions = torch.tensor([[row.n_computed] for row in self.rows], device=self.device)  # (B, 1)
        hidden = self.model.decode(ids, positions, self.cache)  # (B, 1, C)
        self.logits = self._logits(hidden[:, 0])
        for row in self.rows:
            row.n_computed += 1
        return full

    def _slide(self, full: list[int]) -> None:
        """Make room in full rows: read the most recent half of their context again, from position 0."""
        half = self.context_length // 2
        for i in full:
            self.rows[i].n_computed = half
            self.rows[i].n_context_shifts += 1
        if full and half:  # the token chosen last is not part of the half: `advance` reads it next
            texts = [(*self.rows[i].prompt, *self.rows[i].ids)[-half - 1 : -1] for i in full]
            fresh = self._open([None] * len(full), self.cache.length)
            self._read(texts, fresh)
            self.cache.write_rows(torch.tensor(full, device=self.device), fresh)

    def _open(self, sources: Sequence[Sequence[int] | None], length: int) -> KVCache:
        """A cache with room for `length` tokens of each row, which holds what its source says, if it has one."""
        if sources[0] is None:
            return self.model.make_cache(len(sources), length)
        ids, attention_mask = pad(sources, 0)  # (B, S)
        return self.model.prefill(ids.to(self.device), attention_mask.to(self.device), length)

    def _read(self, texts: Sequence[Sequence[int]], cache: KVCache) -> Tensor:
        """Read whole sequences of any lengths into an empty cache: the last hidden state of each (B, C).

        They are padded on the right. What padding writes into the cache stands beyond the row's own position, where
        nobody looks, until a real token takes the slot.
        """
        ids, attention_mask = (x.to(self.device) for x in pad(texts, 0))  # (B, T)
        positions = torch.arange(ids.size(1), device=self.device).expand_as(ids)
        hidden = self.model.decode(ids, positions, cache)  # (B, T, C)
        return hidden[torch.arange(len(texts), device=self.device), attention_mask.sum(1) - 1]

    def _logits(self, hidden: Tensor) -> Tensor:
        """(B, C) → (B, V), at least in float32: what follows adds up probabilities."""
        logits = self.model.lm_head(hidden)[:, : self.vocab_size]
        return logits if logits.dtype == torch.float64 else logits.float()

    def _select(self, indices: list[int]) -> None:
        index = torch.tensor(indices, dtype=torch.long, device=self.device)
        self.cache, self.logits = self.cache.select(index), self.logits[index]
