"""What an objective is: what to learn, apart from how it is learned.

The training loop knows no model family and no task. It asks the objective for three things: make a batch of some
examples, count what will be predicted in it, and sum the losses of those predictions. The loop itself divides sums by
counts, and it does so over the whole global batch: all accumulation steps and all processes. Were each micro-batch
averaged by itself, one with few targets would weigh as much as one with many.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

Batch = Mapping[str, Tensor]  # named tensors, the first dimension of each is the batch


class Objective(Protocol):
    """What the loop needs of an objective. A loss may have several terms ("masked", "next_sentence"), each by name."""

    def collate(self, examples: Sequence[Any], rngs: Sequence[Callable[[], np.random.Generator]]) -> Batch:
        """Make one batch of B examples.

        Args:
            examples: what the data gives, one for each row.
            rngs: for each row, what makes its source of randomness (for masking and the like), which depends on
                (seed, step, row) alone. Called only by objectives that need one.
        """

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """For each term of the loss, how many predictions the batch holds."""

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """For each term, the sum (not the mean) of the losses of those predictions: scalars, in nats."""
