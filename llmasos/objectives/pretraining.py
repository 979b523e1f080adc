"""BERT's pretraining: masked language modeling and next-sentence prediction on the same pairs of texts.

One forward pass serves both. The loss is the sum of the two means: over all masked tokens, and over all pairs (Devlin
et al. 2019, appendix A.2).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmasos.objectives import masked
from llmasos.objectives.masked import MaskedLM
from llmasos.objectives.next_sentence import EncodedSentencePair, NextSentence, follows_tensor
from llmasos.objectives.objective import Batch, MakeRng
from llmasos.tokenizers.tokenizer import Tokenizer


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
