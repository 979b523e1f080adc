"""Causal language modeling: at every position, predict the next token (Bengio et al. 2003; Radford et al. 2018).

    window     Once   upon   a      time   there        T + 1 = 5 tokens of a text
    ids        Once   upon   a      time                the inputs: the first T
    targets    upon   a      time   there               the inputs shifted left by one: the last T

One forward pass predicts all T targets at once: the causal mask lets position t attend to positions 0 … t only, so no
position sees its own target. The loss is the cross-entropy in nats, averaged over all N targets of a batch:

    loss = - 1/N · Σ log p(target at t | ids at 0 … t)

A model that gives every token of the vocabulary the same probability 1/V has the loss log V. The exponential of the
loss is the perplexity.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.batching import pad
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng


class CausalLM:
    """Next-token prediction. An example is a window of T + 1 token ids.

    >>> batch = CausalLM().collate([np.array([5, 6, 7, 8]), np.array([1, 2])])
    >>> batch["ids"].tolist(), batch["targets"].tolist()
    ([[5, 6, 7], [1, 2, 0]], [[6, 7, 8], [2, -100, -100]])
    """

    def collate(self, examples: Sequence[np.ndarray], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack windows into `ids` and `targets`, both (B, T).

        Shorter windows are padded on the right, and their padding has the target IGNORE_INDEX. No attention mask is
        needed: every real token comes before the padding and cannot attend to it.
        """
        windows, attention_mask = pad(examples, 0)  # (B, T + 1)
        targets = windows.masked_fill(~attention_mask, IGNORE_INDEX)
        return {"ids": windows[:, :-1].contiguous(), "targets": targets[:, 1:].contiguous()}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens to predict."""
        return {"causal": int((batch["targets"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of all targets; the trainer divides it by their number."""
        logits, targets = self.predictions(model, batch)
        return {"causal": F.cross_entropy(logits.float(), targets, reduction="sum")}

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits (B·T, V) of all positions, and their targets (B·T,), some of which are IGNORE_INDEX."""
        return model(batch["ids"]).flatten(0, 1), batch["targets"].flatten()
