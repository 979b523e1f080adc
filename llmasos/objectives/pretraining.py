"""BERT's pretraining: next-sentence prediction, alone and together with masked language modeling.

Next-sentence prediction (Devlin et al. 2019, section 3.1, task 2) predicts whether the second text follows the first.
Its loss is the cross-entropy of two classes in nats; for a model that has learned nothing it is log 2 = 0.69. The
classes are numbered as in BERT's published weights: 0 = it follows (IsNext), 1 = it does not (NotNext).

BERT is trained on both objectives, with the same pairs of texts. One forward pass serves both, and the loss is the sum
of the two means: over all masked tokens, and over all pairs (appendix A.2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models.bert import BERTOutput
from llmasos.objectives import masked
from llmasos.objectives.masked import MaskedLM
from llmasos.objectives.objective import Batch, MakeRng, collate_inputs
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import Tokenizer


class EncodedSentencePair(NamedTuple):
    """Two encoded texts, and whether the second really follows the first."""

    inputs: EncodedInput
    follows: bool


class NextSentence:
    """Next-sentence prediction by itself. An example is an `EncodedSentencePair`."""

    def __init__(self, tokenizer: Tokenizer):
        self.pad_id = tokenizer.pad_id

    def collate(self, examples: Sequence[EncodedSentencePair], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack pairs to `ids`, `attention_mask` and `segments` (B, T), and `follows` (B,) bool."""
        inputs = collate_inputs([example.inputs for example in examples], self.pad_id)
        return {**inputs, "follows": follows_tensor(examples)}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of pairs."""
        return {"next_sentence": len(batch["follows"])}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of the pairs."""
        output = self.forward(model, batch)
        # Every parameter must take part in the loss, even those of the other head: data-parallel training requires it.
        return {"next_sentence": self.loss_from(output, batch) + 0.0 * output.masked.sum()}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of pairs that the model classifies correctly."""
        return {"next_sentence": self.n_correct_from(self.forward(model, batch), batch)}

    def forward(self, model: nn.Module, batch: Batch) -> BERTOutput:
        """Run a BERT on the batch without predicting any token: `masked` is (0, V)."""
        no_positions = torch.zeros_like(batch["attention_mask"])
        return model(batch["ids"], batch["attention_mask"], batch["segments"], predict=no_positions)

    def loss_from(self, output: BERTOutput, batch: Batch) -> Tensor:
        """The summed loss, given the model's output."""
        return F.cross_entropy(next_sentence_logits(output).float(), class_ids(batch), reduction="sum")

    def n_correct_from(self, output: BERTOutput, batch: Batch) -> int:
        """The number of correct predictions, given the model's output."""
        return int((next_sentence_logits(output).argmax(-1) == class_ids(batch)).sum())


class MaskedLMAndNextSentence:
    """Both objectives, with the arguments of `MaskedLM`. An example is an `EncodedSentencePair`."""

    def __init__(self, tokenizer: Tokenizer, mask_prob: float = 0.15, whole_word_masking: bool = False):
        self.masked = MaskedLM(tokenizer, mask_prob, whole_word_masking)
        self.next_sentence = NextSentence(tokenizer)

    def collate(self, examples: Sequence[EncodedSentencePair], rngs: Sequence[MakeRng]) -> Batch:
        """The batch of `MaskedLM`, and `follows` (B,) bool."""
        batch = self.masked.collate([example.inputs for example in examples], rngs)
        return {**batch, "follows": follows_tensor(examples)}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens to predict, and of pairs."""
        return {**self.masked.n_targets(batch), **self.next_sentence.n_targets(batch)}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed losses of the masked tokens, and of the pairs."""
        output = masked.forward(model, batch)
        next_sentence = self.next_sentence.loss_from(output, batch)
        return {"masked": self.masked.loss_from(output, batch), "next_sentence": next_sentence}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of masked tokens, and of pairs, that the model predicts correctly."""
        output = masked.forward(model, batch)
        next_sentence = self.next_sentence.n_correct_from(output, batch)
        return {"masked": self.masked.n_correct_from(output, batch), "next_sentence": next_sentence}


def next_sentence_logits(output: BERTOutput) -> Tensor:
    """The logits (B, 2). Raises UserError if the model has no such output."""
    if output.next_sentence is None:
        raise UserError(
            "the model does not predict next sentences (next_sentence is false in its config, as in DistilBERT); train "
            "on masked tokens alone: --no-next-sentence, or next_sentence=False in Python."
        )
    return output.next_sentence


def follows_tensor(examples: Sequence[EncodedSentencePair]) -> Tensor:
    """Which second texts follow the first: (B,) bool."""
    return torch.tensor([bool(example.follows) for example in examples])


def class_ids(batch: Batch) -> Tensor:
    """0 where the second text follows, else 1: (B,)."""
    return (~batch["follows"]).long()
