"""Regression: predict a number for a text, or for a pair of texts.

A cross-encoder reads a pair of a query and a passage (Nogueira & Cho 2019); STS-B asks how similar two sentences are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.objectives.classification import encode_texts
from llmasos.objectives.objective import Batch, MakeRng, collate_inputs
from llmasos.tokenizers import EncodedInput, Tokenizer


class EncodedScore(NamedTuple):
    """An example: the tokens of one or two texts, and their number."""

    inputs: EncodedInput
    score: float
    n_cut: int = 0  # how many tokens of the texts were cut off to fit the context


class Regression:
    """An example is an `EncodedScore`; the loss is the squared error of the model's number.

    >>> from llmasos.tokenizers import train_tokenizer
    >>> objective = Regression(train_tokenizer("byte", []))
    >>> example = objective.encode("Oh no.", None, 2.5, context_length=16)
    >>> objective.collate([example])["scores"].tolist()
    [2.5]

    Args:
        tokenizer: encodes the texts.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def encode(self, text: str, second: str | None, score: float, context_length: int) -> EncodedScore:
        """Encode one text, or two, as an example of at most `context_length` tokens, cut as for a classifier.

        Raises:
            UserError: the context has no room for a single token.
        """
        inputs, n_cut = encode_texts(self.tokenizer, [t for t in (text, second) if t is not None], context_length)
        return EncodedScore(inputs, score, n_cut)

    def collate(self, examples: Sequence[EncodedScore], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack examples to `ids`, `attention_mask`, `segments` (B, T), padded on the right, and `scores` (B,)."""
        batch = collate_inputs([example.inputs for example in examples], self.tokenizer.pad_id)
        return {**batch, "scores": torch.tensor([example.score for example in examples])}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of texts."""
        return {"squared_error": len(batch["scores"])}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed squared error of these texts. `model` is a `RewardModel`, which gives one number."""
        scores = model(batch["ids"], batch["attention_mask"], batch["segments"])  # (B,)
        return {"squared_error": F.mse_loss(scores.float(), batch["scores"], reduction="sum")}
