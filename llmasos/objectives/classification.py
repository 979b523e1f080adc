"""Text classification: predict which of a fixed list of labels a text, or a pair of texts, has."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng, collate_inputs
from llmasos.tokenizers import EncodedInput, Tokenizer


class EncodedText(NamedTuple):
    """An example: the tokens of one or two texts, and the index of their label."""

    inputs: EncodedInput
    label: int  # index into the objective's labels, or IGNORE_INDEX if it is not known
    n_cut: int = 0  # how many tokens of the texts were cut off to fit the context


class Classification:
    """An example is an `EncodedText`; the loss is the cross-entropy -log p(label | text) in nats.

    >>> from llmasos.tokenizers import train_tokenizer
    >>> objective = Classification(train_tokenizer("byte", []), ["happy", "sad"])
    >>> example = objective.encode("Oh no.", None, "sad", context_length=16)
    >>> example.label, objective.collate([example])["labels"].tolist()
    (1, [1])

    Args:
        tokenizer: encodes the texts.
        labels: names of the classes, in the order of the model's outputs (`config.labels`).
    """

    def __init__(self, tokenizer: Tokenizer, labels: Sequence[str]):
        self.tokenizer, self.labels = tokenizer, tuple(labels)
        self._index = {label: index for index, label in enumerate(self.labels)}

    def encode(self, text: str, second: str | None, label: str | None, context_length: int) -> EncodedText:
        """Encode one text, or two, as an example of at most `context_length` tokens.

        If two texts together are too long, the longer one is truncated to the length of the other; then both are. Each
        is truncated in the middle (see `truncate_middle`).

        Args:
            text, second: the texts; second may be None.
            label: one of the labels; None for prediction, where it is not known.
            context_length: the longest sequence that the model can read, in tokens.

        Raises:
            UserError: the label is not among the labels, or the context has no room for a single token.
        """
        if label is not None and label not in self._index:
            raise UserError(
                f"the label {label!r} did not occur in training; the known ones are {', '.join(self.labels)}: "
                "correct the label, or train on examples that have it."
            )
        inputs, n_cut = encode_texts(self.tokenizer, [t for t in (text, second) if t is not None], context_length)
        return EncodedText(inputs, IGNORE_INDEX if label is None else self._index[label], n_cut)

    def collate(self, examples: Sequence[EncodedText], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack examples to `ids`, `attention_mask`, `segments` (B, T), padded on the right, and `labels` (B,)."""
        batch = collate_inputs([example.inputs for example in examples], self.tokenizer.pad_id)
        return {**batch, "labels": torch.tensor([example.label for example in examples])}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of texts with a known label."""
        return {"label": int((batch["labels"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of these texts. `model` is a `SequenceClassifier` with the same labels."""
        logits, labels = self.predictions(model, batch)
        return {"label": F.cross_entropy(logits.float(), labels, reduction="sum")}

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits (B, n_labels) and the labels (B,), some of which may be IGNORE_INDEX."""
        return model(batch["ids"], batch["attention_mask"], batch["segments"]), batch["labels"]

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of texts that the model classifies correctly."""
        predicted = model(batch["ids"], batch["attention_mask"], batch["segments"]).argmax(dim=1)  # (B,)
        return {"label": int((predicted == batch["labels"]).sum())}


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], context_length: int) -> tuple[EncodedInput, int]:
    """Encode one or two texts as the input of a head, of at most `context_length` tokens.

    Returns:
        The input, and the number of tokens that were cut off.

    Raises:
        UserError: the context has no room for a single token.
    """
    encoded = [tokenizer.encode(text) for text in texts]
    room = context_length - tokenizer.n_special_tokens(len(encoded))
    if room < 1:
        raise UserError(f"a context of {context_length} tokens has no room for a text; use a longer one.")
    lengths = divide_room([len(ids) for ids in encoded], room)
    kept = [truncate_middle(ids, n) for ids, n in zip(encoded, lengths, strict=True)]
    return tokenizer.build_inputs(*kept), sum(map(len, encoded)) - sum(map(len, kept))


def divide_room(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens one or two texts keep, so that together they have at most `room`; the longer is truncated first.

    >>> divide_room([4, 2], 5), divide_room([4, 4], 5)
    ([3, 2], [3, 2])
    """
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    first = min(first, max(room - second, (room + 1) // 2))
    return [first, min(second, room - first)]


def truncate_middle(ids: list[int], n: int) -> list[int]:
    """At most n tokens of a text: a quarter from its beginning and the rest from its end.

    A text says what it is about at the beginning, and what it concludes at the end: of all ways to truncate reviews,
    this one gave the best classification (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?", section
    5.3.1).

    >>> truncate_middle([1, 2, 3, 4, 5, 6, 7, 8, 9], 4)
    [1, 7, 8, 9]
    """
    return ids if len(ids) <= n else ids[: n // 4] + ids[len(ids) - (n - n // 4) :]
