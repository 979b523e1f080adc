"""Supervised fine-tuning: causal language modeling of a conversation, with a loss on the assistant's messages only.

    tokens       <|user|>  how   are   you   <|assistant|>   fine   .    <|end|>
    loss_mask       -       -     -     -          -           ✓     ✓      ✓

The model reads everything, but only the assistant's messages and their ends are targets: it learns to answer
questions, not to ask them (Ouyang et al. 2022, section 3.5).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmasos.datasets.batching import pad
from llmasos.objectives.causal import CausalLM
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng


class Dialogue(NamedTuple):
    """A conversation of T + 1 tokens and, for each token, whether it is a target."""

    ids: Sequence[int]
    loss_mask: Sequence[bool]


class SupervisedFineTuning(CausalLM):
    """An example is a `Dialogue`; the loss is -log p(token | the tokens before it) in nats, over the loss mask.

    >>> examples = [Dialogue([5, 6, 7, 8], [False, False, True, True]), Dialogue([1, 2], [False, True])]
    >>> batch = SupervisedFineTuning().collate(examples)
    >>> batch["ids"].tolist(), batch["targets"].tolist()
    ([[5, 6, 7], [1, 0, 0]], [[-100, 7, 8], [2, -100, -100]])
    """

    def collate(self, examples: Sequence[Dialogue], rngs: Sequence[MakeRng] = ()) -> Batch:  # type: ignore[override]
        """Stack conversations to `ids` and `targets` (B, T), padded on the right as in `CausalLM`."""
        ids, _ = pad([example.ids[:-1] for example in examples], 0)
        targets = [np.where(example.loss_mask, example.ids, IGNORE_INDEX)[1:] for example in examples]
        return {"ids": ids, "targets": pad(targets, IGNORE_INDEX)[0]}
