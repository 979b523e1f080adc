"""Text classification: which of a fixed list of labels does a text have, or two texts together?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.objectives.causal import IGNORE_INDEX
from llmasos.objectives.collation import collate_inputs
from llmasos.objectives.objective import Batch
from llmasos.tokenizers import EncodedInput, Tokenizer


class EncodedText(NamedTuple):
    """An example: the tokens of one or two texts, and the number of their label."""

    inputs: EncodedInput
    label: int  # index into the objective's labels, or IGNORE_INDEX where it is not known
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

        Of two texts that are too long together the longer is cut until they are equal; then both are. A text is cut in
        its middle (see `cut_middle`).

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
        room = context_length - self.tokenizer.n_special_tokens(len(texts))
        if room < 1:
            raise UserError(f"a context of {context_length} tokens has no room for a text; use a longer one.")
        kept = [cut_middle(ids, n) for ids, n in zip(texts, share_room([len(ids) for ids in texts], room), strict=True)]
        n_cut = sum(map(len, texts)) - sum(map(len, kept))
        return EncodedText(self.tokenizer.build_inputs(*kept), IGNORE_INDEX if label is None else self._number[label], n_cut)

    def collate(self, examples: Sequence[EncodedText], rngs: Sequence[Callable[[], np.random.Generator]] = ()) -> Batch:
        """Stack examples, padded to the longest of them: `ids`, `attention_mask`, `segments` (B, T) and `labels` (B,)."""
        batch = collate_inputs([example.inputs for example in examples], self.tokenizer.pad_id)
        return {**batch, "labels": torch.tensor([example.label for example in examples])}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of texts."""
        return {"label": int((batch["labels"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the texts' losses. `model` is a `SequenceClassifier` with as many labels."""
        logits = model(batch["ids"], batch["attention_mask"], batch["segments"])  # (B, n_labels)
        return {"label": F.cross_entropy(logits.float(), batch["labels"], reduction="sum")}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """How many texts get their own label from the model."""
        predicted = model(batch["ids"], batch["attention_mask"], batch["segments"]).argmax(dim=1)  # (B,)
        return {"label": int((predicted == batch["labels"]).sum())}


def share_room(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens one or two texts keep, so that together they have at most `room`; the longer one loses first.

    >>> share_room([4, 2], 5), share_room([4, 4], 5)
    ([3, 2], [3, 2])
    """
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    first = min(first, max(room - second, (room + 1) // 2))
    return [first, min(second, room - first)]


def cut_middle(ids: list[int], n: int) -> list[int]:
    """At most n tokens of a text: a quarter from its beginning and the rest from its end.

    What a text is about stands at its beginning, what comes of it at its end: of all ways to cut reviews, this one
    classified them best (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?", section 5.3.1).

    >>> cut_middle([1, 2, 3, 4, 5, 6, 7, 8, 9], 4)
    [1, 7, 8, 9]
    """
    return ids if len(ids) <= n else ids[: n // 4] + ids[len(ids) - (n - n // 4) :]
