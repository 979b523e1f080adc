"""One sequence that is being continued, and the choice of its next token."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from llmasos.generation.options import BeamOptions, SamplingOptions
from llmasos.generation.sampling import greedy, sample, shape_logits, uniform


@dataclass(eq=False)
class SequenceState:
    """One sequence that is being continued. Two rows are never the same one, whatever they hold.

    Attributes:
        prompt: the ids to continue: at least one, at most context_length. Of an encoder–decoder, its start token.
        options: how to choose its tokens, and how many at most.
        sample: which of several samples of this prompt it is; decides its random numbers together with the seed.
        ids: the ids chosen so far.
        logprobs: for each of them, the natural logarithm of the probability that the model itself gave it, before
            temperature and filters.
        n_computed: how many of its most recent tokens are in the cache, which is the position of the next token.
        n_context_shifts: how often its context was full.
        pending: of a row that joins a batch (`slots.py`), what it has to read before it can go on: its prompt or, when
            its context was full, the end of its text.
        source: the ids that the encoder reads; None for a model without an encoder.
    """

    prompt: tuple[int, ...]
    options: SamplingOptions | BeamOptions
    sample: int = 0
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    n_computed: int = 0
    n_context_shifts: int = 0
    source: tuple[int, ...] | None = None
    pending: tuple[int, ...] = ()

    @property
    def seen(self) -> list[int]:
        """The ids so far: the prompt's and those chosen. An encoder–decoder's start token is not part of a text."""
        return [*(self.prompt if self.source is None else ()), *self.ids]

    def followed_by(self, id: int, logprob: float) -> "SequenceState":
        """A new row that has one token more."""
        return replace(self, ids=[*self.ids, id], logprobs=[*self.logprobs, logprob])


def next_tokens(logits: Tensor, rows: Sequence[SequenceState]) -> Tensor:
    """One token for each row, by its own options: logits (B, V) → ids (B,).

    Rows whose options shape the distribution in the same way are drawn together, each with its own random number.
    """
    groups: dict[tuple, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.options.shaping, []).append(i)
    if len(groups) == 1:
        return _draw(logits, rows)
    chosen = torch.empty(len(rows), dtype=torch.long, device=logits.device)
    for members in groups.values():
        chosen[members] = _draw(logits[members], [rows[i] for i in members])
    return chosen


def _draw(logits: Tensor, rows: Sequence[SequenceState]) -> Tensor:
    """`next_tokens` for rows whose options agree in everything that shapes the distribution."""
    options, seen, counts = rows[0].options, None, None
    if options.repetition_penalty != 1.0:
        seen = torch.zeros(logits.shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            seen[i, row.seen] = True
        seen = seen.to(logits.device)
    if options.presence_penalty or options.frequency_penalty:
        ids = [torch.tensor(row.ids, dtype=torch.long) for row in rows]
        counts = torch.stack([own.bincount(minlength=logits.size(1)) for own in ids]).to(logits.device)  # (B, V)
    logits = shape_logits(logits, options, seen, counts)
    if options.greedy:
        return greedy(logits)
    uniforms = [uniform(row.options.seed, row.sample, len(row.ids)) for row in rows]
    return sample(logits, torch.tensor(uniforms, dtype=logits.dtype, device=logits.device))
