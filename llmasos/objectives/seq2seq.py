"""Sequence to sequence: read a source text, write the target text (Sutskever et al. 2014; Vaswani et al. 2017).

    source  ein Hund <|endoftext|>                             target text: a dog
    the decoder is given     <|endoftext|>  a    dog
    and shall say             a            dog  <|endoftext|>

**Teacher forcing**: the decoder is given the true target up to each position, whatever it would have written itself,
so all positions are learned at once. `<|endoftext|>` says where a text ends, and is what the decoder begins with (in
Marian's models it begins with another token, `Tokenizer.start_of_target`).

**Label smoothing** (Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4) trains towards a distribution
that gives the right token 1 - ε, and spreads ε evenly over the whole vocabulary, the right token included:

    loss = (1 - ε) · -log p(target)  +  ε · mean over the vocabulary of -log p(token)

It keeps the model from being ever more certain, and costs perplexity but helps BLEU. Only training is smoothed: in
evaluation the loss is the plain cross-entropy, so that its exponential is a perplexity.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.examples import Pair
from llmasos.datasets.padding import pad
from llmasos.errors import UserError
from llmasos.objectives.causal import IGNORE_INDEX
from llmasos.objectives.objective import Batch
from llmasos.tokenizers.tokenizer import Tokenizer


class EncodedPair(NamedTuple):
    """A source text and its target text as token ids, without special tokens."""

    source: Sequence[int]
    target: Sequence[int]


def encode_pair(pair: Pair, tokenizer: Tokenizer, context_length: int) -> EncodedPair:
    """Encode a pair of texts, each of which must fit the context together with its end-of-text.

    Raises:
        UserError: one of them is too long.
    """
    encoded = EncodedPair(tokenizer.encode(pair.source), tokenizer.encode(pair.target))
    for name, ids in zip(encoded._fields, encoded, strict=True):
        if len(ids) + 1 > context_length:
            raise UserError(
                f"the {name} has {len(ids)} tokens, and with its end-of-text it does not fit the model's context of "
                f"{context_length}: shorten it, or use a model with a longer context_length."
            )
    return encoded


class Seq2Seq:
    """An example is an `EncodedPair`; the loss is -log p(next target token | source, target so far) in nats.

    Args:
        tokenizer: whose end-of-text frames the texts.
        label_smoothing: ε, at least 0 and less than 1; 0 = none.

    Raises:
        UserError: label_smoothing is out of range.
    """

    def __init__(self, tokenizer: Tokenizer, label_smoothing: float = 0.0):
        if not 0.0 <= label_smoothing < 1.0:
            raise UserError(f"label_smoothing is {label_smoothing}; it must be at least 0 and less than 1.")
        self.start, self.end_of_text = tokenizer.start_of_target, tokenizer.end_of_text
        self.pad_id = tokenizer.pad_id
        self.label_smoothing = label_smoothing

    def collate(self, examples: Sequence[EncodedPair], rngs: Sequence[Callable[[], np.random.Generator]] = ()) -> Batch:
        """Frame and stack the pairs: `source` and `source_attention_mask` (B, S), `target` and `targets` (B, T)."""
        end = self.end_of_text
        source, source_attention_mask = pad([[*example.source, end] for example in examples], self.pad_id)
        target, _ = pad([[self.start, *example.target] for example in examples], self.pad_id)
        targets, _ = pad([[*example.target, end] for example in examples], IGNORE_INDEX)
        return {"source": source, "source_attention_mask": source_attention_mask, "target": target, "targets": targets}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of target tokens, each text's end-of-text included."""
        return {"target": int((batch["targets"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the target tokens' losses, smoothed if the model is in training mode."""
        logits, targets = predict(model, batch)
        smoothing = self.label_smoothing if model.training else 0.0
        return {"target": smoothed_cross_entropy(logits.float(), targets, smoothing)}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """How many target tokens the model's first guess is right about, given the true ones before."""
        logits, targets = predict(model, batch)
        return {"target": int((logits.argmax(-1) == targets).sum())}


def predict(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The logits (N, V) for the N target tokens of the batch, and those tokens (N,)."""
    attention_mask = batch["targets"] != IGNORE_INDEX
    return model(batch["source"], batch["target"], batch["source_attention_mask"])[attention_mask], batch["targets"][
        attention_mask
    ]


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """The sum of N cross-entropies with smoothed targets: a scalar, in nats.

    Args:
        logits: (N, V).
        targets: (N,).
        smoothing: ε.
    """
    truth = F.cross_entropy(logits, targets, reduction="sum")
    if smoothing == 0.0:
        return truth
    uniform = -F.log_softmax(logits, dim=-1).mean(dim=-1).sum()
    return (1.0 - smoothing) * truth + smoothing * uniform
