"""The state of one sequence that is being continued, and the sampling of its next token."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.generation.options import BeamOptions, SamplingOptions
from llmasos.generation.sampling import greedy, process_logits, sample, uniform

if TYPE_CHECKING:
    from llmasos.generation.token_grammar import TokenGrammar


@dataclass(eq=False)
class SequenceState:
    """One sequence that is being continued. States are compared by identity.

    Attributes:
        prompt: the ids to continue: at least one, at most context_length. For an encoder–decoder, its start token.
        options: how to sample, and how many tokens at most.
        sample: the index of this sample of the prompt; together with the seed it determines the random numbers.
        ids: the ids generated so far.
        logprobs: for each of them, the natural logarithm of the probability that the model itself gave it, before
            temperature and filters.
        n_computed: how many of its most recent tokens have keys and values in the cache. This is also the position of
            the next token.
        n_context_shifts: how often its context was full.
        source: the ids that the encoder reads; None for a model without an encoder.
        pending: in continuous batching, the tokens to prefill before it can decode: its prompt or, after a context
            shift, the end of its text.
        grammar: the form of its new text; None = any text.
        grammar_state, n_read: the state of the grammar's automaton, and how many ids it has read.
        error: why its grammar could not be followed; raised or reported by the caller that runs the batch.
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
    grammar: "TokenGrammar | None" = None
    grammar_state: int = 0
    n_read: int = 0
    error: UserError | None = None

    @property
    def penalized_ids(self) -> list[int]:
        """The ids that the repetition penalty applies to: those of the prompt (not a start token) and the new ones."""
        return [*(self.prompt if self.source is None else ()), *self.ids]

    def extended(self, id: int, logprob: float) -> "SequenceState":
        """A new state with one more token."""
        return replace(self, ids=[*self.ids, id], logprobs=[*self.logprobs, logprob])


def next_tokens(logits: Tensor, sequences: Sequence[SequenceState]) -> Tensor:
    """Sample one token for each sequence by its own options: logits (B, V) → ids (B,).

    Sequences whose options process logits in the same way are sampled together, each with its own random number.
    """
    if all(sequence.options is sequences[0].options for sequence in sequences):  # as in one call of `generate`
        return _sample_group(logits, sequences)
    groups: dict[tuple, list[int]] = {}
    for i, sequence in enumerate(sequences):
        assert isinstance(sequence.options, SamplingOptions)  # beam search does not sample
        groups.setdefault(sequence.options.sampling_key, []).append(i)
    if len(groups) == 1:
        return _sample_group(logits, sequences)
    tokens = torch.empty(len(sequences), dtype=torch.long, device=logits.device)
    for members in groups.values():
        tokens[members] = _sample_group(logits[members], [sequences[i] for i in members])
    return tokens


def _sample_group(logits: Tensor, sequences: Sequence[SequenceState]) -> Tensor:
    """`next_tokens` for sequences whose options process logits in the same way."""
    options = sequences[0].options
    assert isinstance(options, SamplingOptions)
    penalized = [s.penalized_ids for s in sequences] if options.repetition_penalty != 1.0 else ()
    logits = process_logits(logits, options, penalized, [s.ids for s in sequences])
    if options.greedy:
        return greedy(logits)
    uniforms = [uniform(s.options.seed, s.sample, len(s.ids)) for s in sequences]
    return sample(logits, torch.tensor(uniforms, dtype=logits.dtype, device=logits.device))
