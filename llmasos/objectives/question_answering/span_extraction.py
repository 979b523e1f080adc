"""The objective of extractive question answering: where does the answer start, and where does it end?

The model reads the question and the context together and gives each token two logits: one for being the first token of
the answer, one for being the last. If there is no answer, both targets are the classification token, [CLS] in a BERT
(Devlin et al. 2019, section 4.3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.objectives.objective import Batch, MakeRng, collate_inputs
from llmasos.objectives.question_answering.context_windows import ContextWindow
from llmasos.tokenizers import Tokenizer


class SpanExtraction:
    """An example is a `ContextWindow`; the loss is the mean of -log p(start) and -log p(end) in nats.

    The probabilities are over the tokens of the context and the classification token: no answer starts in the question.

    >>> from llmasos.datasets.examples import QA, Answer
    >>> from llmasos.objectives import make_windows
    >>> from llmasos.tokenizers import train_tokenizer
    >>> tokenizer = train_tokenizer("byte", [])
    >>> (window,) = make_windows(QA("I am Ann.", "Who?", (Answer("Ann", 5),)), tokenizer, context_length=32, stride=4)
    >>> window.answer, tokenizer.decode(window.inputs.ids[window.answer[0] : window.answer[1] + 1])
    ((10, 12), 'Ann')
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def collate(self, examples: Sequence[ContextWindow], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack windows to `ids`, `attention_mask`, `segments`, `candidates` (B, T) and `answers` (B, 2).

        Candidates are the positions that may be a start or an end.
        """
        batch = collate_inputs([window.inputs for window in examples], self.tokenizer.pad_id)
        candidates = torch.zeros_like(batch["attention_mask"])
        for row, (inputs, starts, *_) in zip(candidates, examples, strict=True):
            row[inputs.second_start : inputs.second_start + len(starts)] = True
            row[inputs.cls_index] = True
        answers = torch.tensor([window.answer for window in examples])
        return {**batch, "candidates": candidates, "answers": answers}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of windows."""
        return {"span": len(batch["answers"])}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed losses of the windows. `model` is a `SpanExtractor`."""
        logits = candidate_logits(model, batch)  # (B, T, 2): the classes of cross_entropy are the T positions
        return {"span": F.cross_entropy(logits, batch["answers"], reduction="sum") / 2}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of windows where the highest logits are those of the answer's start and end (or of none)."""
        predicted = candidate_logits(model, batch).argmax(dim=1)  # (B, 2)
        return {"span": int((predicted == batch["answers"]).all(dim=1).sum())}


def candidate_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Start and end logits (B, T, 2) in float32; -inf where no answer can start or end."""
    logits = model(batch["ids"], batch["attention_mask"], batch["segments"])
    return logits.float().masked_fill(~batch["candidates"][..., None], -torch.inf)
