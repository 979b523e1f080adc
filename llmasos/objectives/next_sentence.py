"""Next-sentence prediction: does the second text follow the first? (Devlin et al. 2019, section 3.1, task 2)"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.models.bert import BERTOutput
from llmasos.objectives.collation import collate_inputs
from llmasos.objectives.objective import Batch
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import Tokenizer


class EncodedSentencePair(NamedTuple):
    """Two texts in one frame, and whether the second really follows the first."""

    inputs: EncodedInput
    follows: bool


class NextSentence:
    """The loss is the cross-entropy of the two cases, in nats: log 2 = 0.69 for who knows nothing.

    The classes are numbered as in BERT's published weights: 0 = it follows, 1 = it does not.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.pad_id = tokenizer.pad_id

    def collate(self, examples: Sequence[EncodedSentencePair], rngs: Sequence[Callable[[], np.random.Generator]] = ()) -> Batch:
        """Stack frames to `ids`, `attention_mask` and `segments` (B, T), and `follows` (B,) bool."""
        return {**collate_inputs([example.inputs for example in examples], self.pad_id), **follows(examples)}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of pairs."""
        return {"next_sentence": len(batch["follows"])}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the pairs' losses."""
        output = predict(model, batch)
        # Every parameter has a part in the loss, the other head's too: data-parallel training insists on it.
        return {"next_sentence": self.loss(output, batch) + 0.0 * output.masked.sum()}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """How many pairs the model is right about."""
        return {"next_sentence": self.hits(predict(model, batch), batch)}

    def loss(self, output: BERTOutput, batch: Batch) -> Tensor:
        """The sum of the losses, given what the model said."""
        return F.cross_entropy(output.next_sentence.float(), classes(batch), reduction="sum")

    def hits(self, output: BERTOutput, batch: Batch) -> int:
        """The number of right answers, given what the model said."""
        return int((output.next_sentence.argmax(-1) == classes(batch)).sum())


def predict(model: nn.Module, batch: Batch) -> BERTOutput:
    """What a BERT says about a batch, when it is asked about no token: `masked` is (0, V)."""
    nowhere = torch.zeros_like(batch["attention_mask"])
    return model(batch["ids"], batch["attention_mask"], batch["segments"], predict=nowhere)


def follows(examples: Sequence[EncodedSentencePair]) -> Batch:
    """The part of a batch that says which second texts follow the first: (B,) bool."""
    return {"follows": torch.tensor([bool(example.follows) for example in examples])}


def classes(batch: Batch) -> Tensor:
    """0 where the second text follows, else 1: (B,)."""
    return (~batch["follows"]).long()
