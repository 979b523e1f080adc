"""Causal language modelling: at every position, predict the next token."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.padding import pad
from llmasos.objectives.objective import Batch

IGNORE_INDEX = (
    -100
)  # the target of a position where nothing is to be predicted; F.cross_entropy knows it by this number


class CausalLM:
    """An example is a window of T + 1 token ids; inputs are the first T, targets the last T.

    The loss is the cross-entropy -log p(target | the tokens before it) in nats.

    >>> batch = CausalLM().collate([np.array([5, 6, 7, 8]), np.array([1, 2])])
    >>> batch["ids"].tolist(), batch["targets"].tolist()
    ([[5, 6, 7], [1, 2, 0]], [[6, 7, 8], [2, -100, -100]])
    """

    def collate(self, examples: Sequence[np.ndarray], rngs: Sequence[Callable[[], np.random.Generator]] = ()) -> Batch:
        """Stack windows to `ids` and `targets` (B, T). Shorter windows are filled up at the end with ignored targets.

        The filling needs no attention mask: it stands in everybody's future.
        """
        windows, attention_mask = pad(examples, 0)  # (B, T + 1)
        targets = windows.masked_fill(~attention_mask, IGNORE_INDEX)[:, 1:]
        return {"ids": windows[:, :-1].contiguous(), "targets": targets.contiguous()}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens to predict."""
        return {"causal": int((batch["targets"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the tokens' losses."""
        logits = model(batch["ids"])  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), batch["targets"].flatten(), reduction="sum")
        return {"causal": loss}
