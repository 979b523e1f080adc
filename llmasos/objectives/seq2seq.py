"""Sequence to sequence: read a source text, write the target text (Sutskever et al. 2014; Vaswani et al. 2017).

    source     ein            Hund   <|endoftext|>             read by the encoder
    target     <|endoftext|>  a      dog                       read by the decoder: its start token, then the target
    targets    a              dog    <|endoftext|>             predicted by the decoder

**Teacher forcing** (Williams and Zipser 1989): the decoder reads the true target up to each position, not its own
predictions, so all positions are learned in one forward pass. `<|endoftext|>` marks the end of a text and is also the
decoder's start token (Marian's models have a different start token, `Tokenizer.start_of_target`).

**Label smoothing** (Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4) replaces the one-hot target by a
distribution: 1 - ε for the true token, plus ε spread evenly over the whole vocabulary, the true token included:

    loss = (1 - ε) · -log p(target)  +  ε · mean over the vocabulary of -log p(token)

It keeps the model from becoming overconfident; it costs perplexity but improves BLEU. Only training is smoothed: in
evaluation the loss is the plain cross-entropy, so that its exponential is a perplexity.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.batching import pad
from llmasos.datasets.examples import Pair
from llmasos.errors import UserError, check_number
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng
from llmasos.tokenizers.tokenizer import Tokenizer


class EncodedPair(NamedTuple):
    """A source text and its target text as token ids, without special tokens."""

    source: Sequence[int]
    target: Sequence[int]


def encode_pair(pair: Pair, tokenizer: Tokenizer, context_length: int) -> EncodedPair:
    """Encode a pair of texts. Each must fit the context together with its end-of-text token.

    Raises:
        UserError: one of the texts is too long.
    """
    encoded = EncodedPair(tokenizer.encode(pair.source), tokenizer.encode(pair.target))
    for name, ids in zip(encoded._fields, encoded, strict=True):
        if len(ids) + 1 > context_length:
            raise UserError(
                f"the {name} has {len(ids)} tokens, and with its end-of-text token it does not fit the model's context "
                f"of {context_length}: shorten it, or use a model with a longer context_length."
            )
    return encoded


class Seq2Seq:
    """An example is an `EncodedPair`; the loss is -log p(next target token | source, target so far) in nats.

    Args:
        tokenizer: provides the start and end-of-text tokens.
        label_smoothing: ε, at least 0 and less than 1; 0 = none.

    Raises:
        UserError: label_smoothing is out of range.
    """

    def __init__(self, tokenizer: Tokenizer, label_smoothing: float = 0.0):
        check_number("label_smoothing", label_smoothing, at_least=0, below=1)
        self.start, self.end_of_text = tokenizer.start_of_target, tokenizer.end_of_text
        self.pad_id = tokenizer.pad_id
        self.label_smoothing = label_smoothing

    def collate(self, examples: Sequence[EncodedPair], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Add start and end, and stack: `source` and `source_attention_mask` (B, S), `target` and `targets` (B, T)."""
        end = self.end_of_text
        source, source_attention_mask = pad([[*example.source, end] for example in examples], self.pad_id)
        target, _ = pad([[self.start, *example.target] for example in examples], self.pad_id)
        targets, _ = pad([[*example.target, end] for example in examples], IGNORE_INDEX)
        return {
            "source": source,
            "source_attention_mask": source_attention_mask,
            "target": target,
            "targets": targets,
        }

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of target tokens, including each end-of-text token."""
        return {"target": int((batch["targets"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of these tokens, smoothed if the model is in training mode."""
        logits, targets = self.predictions(model, batch)
        smoothing = self.label_smoothing if model.training else 0.0
        return {"target": smoothed_cross_entropy(logits.float(), targets, smoothing)}

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits (N, V) for the N target tokens of the batch, and these tokens (N,)."""
        logits = model(batch["source"], batch["target"], batch["source_attention_mask"])  # (B, T, V)
        is_target = batch["targets"] != IGNORE_INDEX  # (B, T)
        return logits[is_target], batch["targets"][is_target]

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of these tokens to which the model gives the highest logit, given the true tokens before."""
        logits, targets = self.predictions(model, batch)
        return {"target": int((logits.argmax(-1) == targets).sum())}


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """The sum of N cross-entropies with smoothed targets: a scalar, in nats.

    Args:
        logits: (N, V).
        targets: (N,).
        smoothing: ε.
    """
    nll = F.cross_entropy(logits, targets, reduction="sum")
    if smoothing == 0.0:
        return nll
    uniform = -F.log_softmax(logits, dim=-1).mean(dim=-1).sum()
    return (1.0 - smoothing) * nll + smoothing * uniform
