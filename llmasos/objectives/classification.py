"""Text classification: which of a fixed list of labels does a text have, or two texts together?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.objectives.base import Batch
from llmasos.objectives.causal import IGNORED
from llmasos.objectives.frames import stack_frames
from llmasos.tokenizers import Frame, Tokenizer


class EncodedText(NamedTuple):
    """An example: the tokens of one or two texts, and the number of their label."""

    frame: Frame
    label: int  # index into the objective's labels, or IGNORED where it is not known
    n_cut: int = 0  # how many tokens of the texts did not fit into the context


class Classification:
    """An example is an `EncodedText`; the loss is the cross-entropy -log p(label | text) in nats.

    >>> from llmasos.tokenizers import train_tokenizer
    >>> objective = Classification(train_tokenizer("byte", []), ["happy", "sad"])
    >>> example = objective.encode("Oh no.", None, "sad", context_length=16)
    >>> example.label, objective.collate([example])["labels"].tolist()
    (1, [1])

    Args:
        tokenizer: frames and pads the texts.
        labels: names of the classes, in the order of the model's outputs (`config.labels`).
    """

    def __init__(self, tokenizer: Tokenizer, labels: Sequence[str]):
        self.tokenizer, self.labels = tokenizer, tuple(labels)
        self._number = {label: number for number, label in enumerate(self.labels)}

    def encode(self, text: str, second: str | None, label: str | None, context_length: int) -> EncodedText:
        """Turn a text, or two, into an example of at most `context_length` tokens.

        Of two texts that are too long together the longer loses its end, until they are equal; then both do.

        Args:
            text, second: the texts; None = there is no second.
            label: one of the labels; None = not known, for prediction.
            context_length: the longest sequence the model can read, in tokens.

        Raises:
            UserError: a label that is not among the labels, or a context without room for a single token.
        """
        if label is not None and label not in self._number:
            raise UserError(
                f"the label {label!r} did not occur in training; the known ones are {', '.join(self.labels)}: "
                "correct the label, or train on examples that have it."
            )
        texts = [self.tokenizer.encode(part) for part in (text, second) if part is not None]
        room = context_length - self.tokenizer.frame_size(len(texts))
        if room < 1:
            raise UserError(f"a context of {context_length} tokens has no room for a text; use a longer one.")
        kept = cut_longest_first(texts, room)
        n_cut = sum(map(len, texts)) - sum(map(len, kept))
        return EncodedText(self.tokenizer.frame(*kept), IGNORED if label is None else self._number[label], n_cut)

    def collate(
        self, examples: Sequence[EncodedText], rngs: Sequence[Callable[[], np.random.Generator]] = ()
    ) -> Batch:
        """Stack examples, padded to the longest of them: `ids`, `real`, `segments` (B, T) and `labels` (B,)."""
        batch = stack_frames([example.frame for example in examples], self.tokenizer.pad_id)
        return {**batch, "labels": torch.tensor([example.label for example in examples])}

    def counts(self, batch: Batch) -> dict[str, int]:
        """The number of texts."""
        return {"label": int((batch["labels"] != IGNORED).sum())}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the texts' losses. `model` is a `SequenceClassifier` with as many labels."""
        logits = model(batch["ids"], batch["real"], batch["segments"])  # (B, n_labels)
        return {"label": F.cross_entropy(logits.float(), batch["labels"], reduction="sum")}

    @torch.inference_mode()
    def correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """How many texts get their own label from the model."""
        predicted = model(batch["ids"], batch["real"], batch["segments"]).argmax(dim=1)  # (B,)
        return {"label": int((predicted == batch["labels"]).sum())}


def cut_longest_first(texts: Sequence[list[int]], room: int) -> list[list[int]]:
    """Cut the ends off one or two token lists so that together they have at most `room` tokens, the longer one first.

    >>> cut_longest_first([[1, 2, 3, 4], [5, 6]], 5)
    [[1, 2, 3], [5, 6]]
    >>> cut_longest_first([[1, 2, 3, 4], [5, 6, 7, 8]], 5)
    [[1, 2, 3], [5, 6]]
    """
    if len(texts) == 1:
        return [texts[0][:room]]
    first, second = texts
    first = first[: max(room - len(second), (room + 1) // 2)]
    return [first, second[: room - len(first)]]
