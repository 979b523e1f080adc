"""The interface of an objective: what a model learns, independent of how it is trained.

The training loop does not depend on the model family or the task. It uses the objective to

    collate     turn some examples into one batch of tensors
    n_targets   count the targets in the batch: the tokens or labels to predict
    loss_sums   sum the losses of these predictions

An objective may measure more than it minimizes, and weigh its terms: `weights` gives the factor of each term in the
loss (without it, all are 1), and `val_weights` that in the validation loss, if it differs. A term with weight 0, such
as the mean reward of a step, is only logged.

The loop itself divides the sums by the counts, over the whole global batch: all accumulation steps and all processes.
If each micro-batch were averaged by itself, one with few targets would weigh as much as one with many.

`causal.py` is the shortest objective and the one to read first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from llmasos.datasets.batching import pad
from llmasos.tokenizers.pair_template import EncodedInput

IGNORE_INDEX = -100  # the target of a position with nothing to predict; the default `ignore_index` of F.cross_entropy

Batch = Mapping[str, Tensor]  # named tensors; the first dimension of each is the batch
MakeRng = Callable[[], np.random.Generator]


class Objective(Protocol):
    """The interface for the training loop. A loss may have several named terms, such as "masked" and
    "next_sentence".
    """

    def collate(self, examples: Sequence[Any], rngs: Sequence[MakeRng]) -> Batch:
        """Turn B examples into one batch.

        Args:
            examples: one for each sequence of the batch.
            rngs: for each of them, a function that makes its random generator (for masking and the like). The generator
                depends only on (seed, step, index in the global batch). Only objectives that need random numbers call
                it.
        """
        ...

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """For each term of the loss, the number of targets in the batch."""
        ...

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """For each term, the sum (not the mean) of the losses of its targets: scalars, in nats."""
        ...


def collate_inputs(inputs: Sequence[EncodedInput], pad_id: int) -> Batch:
    """Stack B encoded texts to `ids`, `attention_mask` and `segments`, all (B, T), padded on the right.

    >>> batch = collate_inputs([EncodedInput([5, 6, 7], [0, 0, 1], 0, 2), EncodedInput([8], [0], 0, 1)], pad_id=9)
    >>> batch["ids"].tolist(), batch["segments"].tolist()
    ([[5, 6, 7], [8, 9, 9]], [[0, 0, 1], [0, 0, 0]])
    """
    ids, attention_mask = pad([item.ids for item in inputs], pad_id)
    segments, _ = pad([item.segments for item in inputs], 0)
    return {"ids": ids, "attention_mask": attention_mask, "segments": segments}
