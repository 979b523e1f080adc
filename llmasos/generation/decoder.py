"""The cached decoder: continues a batch of sequences, computes each token once, and shifts a context that is full.

The naive way to generate (`naive.py`) runs the model over the whole text for every new token. But a causal model's keys
and values at earlier positions never change, so the decoder keeps them (`nn/cache.py`) and computes only what is new:

    prefill  run the prompts through the model, all positions at once        → cache, logits of the next token
    sample   one token for each sequence                   (the caller decides which sequences are finished)
    keep     the unfinished sequences, drop the others
    step     run the sampled tokens through the model, one per sequence      → logits of the next token; back to sample
             (`fast_step.py`)

Sequences are independent: prompts may have different lengths (slot p of the cache holds position p, so every sequence
is at its own position), each sequence has its own options and random numbers, and each gets the same text as it would
alone. Equal prompts are computed once and their cache is copied: N samples of one prompt cost one prefill.

**An encoder–decoder** differs only in the prefill: its encoder reads the source, whose keys and values for every
decoder block become part of the cache, and then its decoder reads the start token as a GPT reads a prompt.

**Beam search** (`beam.py`) calls `reorder` in place of sample and keep: several beams may continue the same one.

**Context shift.** A model has positions for P tokens (context_length). When a sequence has used them all, its most
recent ⌊P/2⌋ tokens are recomputed at positions 0, 1, 2, …, and it continues from there: from then on the model sees
between half a context and a full one. Keys and values depend on their positions, so they cannot just be moved. An
encoder–decoder never gets there, as its max_new_tokens is limited (`prompts.py`).

Dimensions: B sequences, T prompt length, V vocabulary, P context length.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from llmasos.datasets.batching import pad
from llmasos.generation import sampling
from llmasos.generation.fast_step import fast_step
from llmasos.generation.sequence import SequenceState, next_tokens
from llmasos.generation.token_grammar import constrain_to_grammars
from llmasos.models import GenerationConfig, Model
from llmasos.nn import KVCache
from llmasos.nn.cpu import apply_linear


class BatchDecoder:
    """Base class of `Decoder` and `ContinuousBatch`: a batch of decoding sequences, one token each per step.

    Args:
        model: a GPT or a Transformer in eval mode (see `llmasos.nn.eval_mode`).
        vocab_size: only ids below it are sampled (None = all): for a model whose output layer has more rows than the
            tokenizer has tokens.

    Attributes:
        sequences: the decoding sequences.
        cache: their keys and values.
        logits: (B, V), for the next token of each, -inf where the token is forbidden.
    """

    def __init__(self, model: Model, vocab_size: int | None = None):
        self.model: Any = model
        self.vocab_size = vocab_size
        self.device = next(model.parameters()).device
        self.context_length = model.config.context_length
        self.sequences: list[SequenceState] = []
        self.cache: KVCache
        self.logits: Tensor
        self._step = fast_step(model)

    def logprobs(self) -> Tensor:
        """The natural logarithm of the model's probability (B, V) of every token as the next one."""
        logprobs = self.logits.log_softmax(dim=-1)
        sampling.check_numbers(logprobs)
        return logprobs

    @torch.inference_mode()
    def sample(self) -> list[int]:
        """Sample the next token of every sequence by its options, and append it. Returns the ids, one per sequence."""
        logprobs = self.logprobs()
        tokens = next_tokens(constrain_to_grammars(self.logits, self.sequences), self.sequences)
        values = logprobs.gather(1, tokens[:, None])[:, 0].tolist()
        ids = tokens.tolist()
        for sequence, id, value in zip(self.sequences, ids, values, strict=True):
            sequence.ids.append(id)
            sequence.logprobs.append(value)
        return ids

    def _decode_last_tokens(self) -> None:
        """Run the newest token of each sequence through the model; `logits` then predict the next one."""
        places = [sequence.n_computed for sequence in self.sequences]
        last_tokens = [sequence.ids[-1] for sequence in self.sequences]
        ids, positions = torch.tensor([last_tokens, places], device=self.device)  # (B,)
        hidden_states = self._step(ids, positions, self.cache, (min(places), max(places) + 1))  # (B, C)
        self.logits = self._to_logits(hidden_states, self.sequences)
        for sequence in self.sequences:
            sequence.n_computed += 1

    def _to_logits(self, hidden_states: Tensor, sequences: Sequence[SequenceState]) -> Tensor:
        """(B, C) → (B, V), at least in float32, because probabilities are added up next."""
        logits = apply_linear(self.model.lm_head, hidden_states)[:, : self.vocab_size]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        config: GenerationConfig = self.model.generation_config
        if not config.constrains:
            return logits
        return sampling.constrain(logits, config, [(*s.prompt, *s.ids) for s in sequences], [s.ids for s in sequences])


class Decoder(BatchDecoder):
    """A batch of sequences from their first token to their last."""

    @torch.inference_mode()
    def __init__(self, model: Model, sequences: Sequence[SequenceState], vocab_size: int | None = None):
        """Prefill the prompts.

        Args:
            model, vocab_size: as for `BatchDecoder`; a Transformer if the sequences have a source, else a GPT.
            sequences: the sequences to continue; nothing is generated yet.
        """
        super().__init__(model, vocab_size)
        self.sequences = list(sequences)
        length = max(len(sequence.prompt) + sequence.options.max_new_tokens for sequence in self.sequences)
        keys = [(sequence.source, sequence.prompt) for sequence in self.sequences]
        unique = dict(zip(keys, self.sequences, strict=True))  # equal prompts are computed once
        self.cache = self._make_cache([source for source, _ in unique], min(length, self.context_length))
        hidden_states = self._prefill([prompt for _, prompt in unique], self.cache)
        self.logits = self._to_logits(hidden_states, list(unique.values()))
        for sequence in self.sequences:
            sequence.n_computed = len(sequence.prompt)
        if len(unique) < len(keys):
            index = {key: i for i, key in enumerate(unique)}
            self._select([index[key] for key in keys])

    @torch.inference_mode()
    def keep(self, indices: list[int]) -> None:
        """Continue only these sequences, in this order; drop the others from the batch and its cache."""
        if indices != list(range(len(self.sequences))):
            self.sequences = [self.sequences[i] for i in indices]
            self._select(indices)

    @torch.inference_mode()
    def reorder(self, parents: list[int], sequences: Sequence[SequenceState]) -> None:
        """Replace the sequences: `sequences[i]` is sequence `parents[i]` with one more token, not computed yet."""
        self.sequences = list(sequences)
        self._select(parents)

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Compute the newest token of each sequence. Returns the indices of those that had a context shift."""
        full = [i for i, sequence in enumerate(self.sequences) if sequence.n_computed == self.context_length]
        self._shift_context(full)
        self._decode_last_tokens()
        return full

    def _shift_context(self, full: list[int]) -> None:
        """Make room in full sequences: compute the most recent half of their context again, from position 0."""
        half = self.context_length // 2
        for i in full:
            self.sequences[i].n_computed = half
            self.sequences[i].n_context_shifts += 1
        if full and half:  # the last token is not part of this half: `_decode_last_tokens` computes it next
            texts = [(*self.sequences[i].prompt, *self.sequences[i].ids)[-half - 1 : -1] for i in full]
            cache = self.model.make_cache(len(full), self.cache.length)
            self._prefill(texts, cache)
            self.cache.write_rows(torch.tensor(full, device=self.device), cache)

    def _make_cache(self, sources: Sequence[Sequence[int] | None], length: int) -> KVCache:
        """A cache with room for `length` tokens of each sequence; with the encoder output if there are sources."""
        texts = [source for source in sources if source is not None]
        if not texts:
            return self.model.make_cache(len(sources), length)
        ids, attention_mask = pad(texts, 0)  # (B, S)
        return self.model.prefill(ids.to(self.device), attention_mask.to(self.device), length)

    def _prefill(self, texts: Sequence[Sequence[int]], cache: KVCache) -> Tensor:
        """Run whole sequences of any lengths into an empty cache: the last hidden state of each (B, C).

        They are padded on the right. The padding's keys and values are beyond the sequence's own position, where no
        query looks until a real token has overwritten them.
        """
        ids, attention_mask = (x.to(self.device) for x in pad(texts, 0))  # (B, T)
        positions = torch.arange(ids.size(1), device=self.device).expand_as(ids)
        hidden_states = self.model.decode(ids, positions, cache, (0, ids.size(1)))  # (B, T, C)
        return hidden_states[torch.arange(len(texts), device=self.device), attention_mask.sum(1) - 1]

    def _select(self, indices: list[int]) -> None:
        index = torch.tensor(indices, dtype=torch.long, device=self.device)
        self.cache, self.logits = self.cache.select(index), self.logits[index]
