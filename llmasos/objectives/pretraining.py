"""BERT's pre-training: masked language modelling and next-sentence prediction of the same pairs of texts.

The model reads each batch once and answers both questions. The loss is the sum of the two means: of all hidden tokens,
and of all pairs (Devlin et al. 2019, appendix A.2).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from llmasos.objectives import masked
from llmasos.objectives.masked import MaskedLM
from llmasos.objectives.next_sentence import EncodedSentencePair, NextSentence, follows
from llmasos.objectives.objective import Batch
from llmasos.tokenizers.tokenizer import Tokenizer


class BERTPretraining:
    """Both objectives, with the arguments of `MaskedLM`. An example is a `EncodedSentencePair`."""

    def __init__(self, tokenizer: Tokenizer, share: float = 0.15, whole_words: bool = False):
        self.masked = MaskedLM(tokenizer, share, whole_words)
        self.next_sentence = NextSentence(tokenizer)

    def collate(self, examples: Sequence[EncodedSentencePair], rngs: Sequence[Callable[[], np.random.Generator]]) -> Batch:
        """What `MaskedLM` makes of the frames, and `follows` (B,) bool."""
        return {**self.masked.collate([example.inputs for example in examples], rngs), **follows(examples)}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens to predict, and of pairs."""
        return {**self.masked.n_targets(batch), **self.next_sentence.n_targets(batch)}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the hidden tokens' losses, and of the pairs'."""
        output = masked.predict(model, batch)
        return {"masked": self.masked.loss(output, batch), "next_sentence": self.next_sentence.loss(output, batch)}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """How many hidden tokens, and how many pairs, the model is right about."""
        output = masked.predict(model, batch)
        return {"masked": self.masked.hits(output, batch), "next_sentence": self.next_sentence.hits(output, batch)}
