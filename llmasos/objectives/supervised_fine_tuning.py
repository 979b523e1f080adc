"""Learning to answer: causal language modelling of a conversation, in which only the assistant's words are learned.

The model reads everything, but is asked to predict the assistant's messages and their ends alone: it shall learn to
answer questions, not to ask them (Ouyang et al. 2022, section 3.5, call it supervised fine-tuning).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from llmasos.datasets.padding import pad
from llmasos.objectives.causal import IGNORE_INDEX, CausalLM
from llmasos.objectives.objective import Batch


class Dialogue(NamedTuple):
    """A conversation as tokens (T + 1,), and for each whether it is to be learned."""

    ids: Sequence[int]
    loss_mask: Sequence[bool]


class SupervisedFineTuning(CausalLM):
    """An example is a `Dialogue`; the loss is -log p(token | the tokens before it) in nats, of the learned ones.

    >>> batch = SupervisedFineTuning().collate([Dialogue([5, 6, 7, 8], [False, False, True, True]), Dialogue([1, 2], [0, 1])])
    >>> batch["ids"].tolist(), batch["targets"].tolist()
    ([[5, 6, 7], [1, 0, 0]], [[-100, 7, 8], [2, -100, -100]])
    """

    def collate(self, examples: Sequence[Dialogue], rngs: Sequence[Callable[[], np.random.Generator]] = ()) -> Batch:
        """Stack conversations to `ids` and `targets` (B, T), filled up at the end as in `CausalLM`."""
        inputs, _ = pad([example.ids[:-1] for example in examples], 0)
        learned = [np.where(example.loss_mask, example.ids, IGNORE_INDEX)[1:] for example in examples]
        targets, _ = pad(learned, IGNORE_INDEX)
        return {"ids": inputs, "targets": targets}
