"""Extractive question answering: find the answer to a question as a piece of a text (Devlin et al. 2019, section 4.2).

The model reads the question and the context together and says for each token how likely the answer is to begin there
and to end there. To say that there is no answer it points at the frame's summary token, [CLS] in a BERT (section 4.3).

**Long contexts** are read through several windows, each with the whole question before it. Neighbouring windows share
`stride` tokens, so an answer of up to stride + 1 tokens stands whole in at least one of them:

    context       a b c d e f g h i j         with room for 5 tokens and stride 2:
    windows       a b c d e
                        d e f g h
                              g h i j

In training, a window that does not hold the whole answer is an example of a context without it. In prediction, the best
span over all windows of a question is its answer.

**Characters.** Answers are given in characters of the context, models speak in tokens. An answer's tokens are the
fewest that cover all its characters; a predicted answer is cut out of the original context, never decoded from tokens,
so that it looks exactly as it does there. White space at its ends, which a bpe token may bring along, is left out.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.examples import QA, Answer
from llmasos.errors import UserError
from llmasos.objectives.collation import collate_inputs
from llmasos.objectives.objective import Batch
from llmasos.tokenizers import EncodedInput, Encoding, Tokenizer


class ContextWindow(NamedTuple):
    """A question and a part of its context, framed.

    Attributes:
        inputs: the tokens. Those of the context are `inputs.ids[inputs.second_start : inputs.second_start + len(starts)]`.
        starts, ends: for each of those, where it stands in the context, in characters: 1-D int32.
        answer: indices into `inputs.ids` of the answer's first and last token; `inputs.cls_index` twice if it is not here.
        n_cut: how many tokens of the question did not fit.
    """

    inputs: EncodedInput
    starts: np.ndarray
    ends: np.ndarray
    answer: tuple[int, int]
    n_cut: int = 0


class BestAnswer(NamedTuple):
    """What `best_answer` found: `context[start : start + len(text)] == text`."""

    text: str  # empty: there is no answer
    start: int
    score: float  # start + end logit of the best span
    null_score: float  # the same of "there is no answer"


def make_windows(qa: QA, tokenizer: Tokenizer, context_length: int, stride: int) -> list[ContextWindow]:
    """Cut a question's context into overlapping windows, at least one; of several answers the first is the label.

    Of a question that would take more than half of the space the end is cut off.

    Args:
        qa: the question.
        tokenizer: encodes and frames.
        context_length: the longest sequence the model can read, in tokens.
        stride: how many tokens of the context neighbouring windows share.

    Raises:
        UserError: the stride leaves no room to advance.
    """
    space = context_length - tokenizer.n_special_tokens(2)
    if not 0 <= stride < space - space // 2:
        raise UserError(
            f"windows of {context_length} tokens cannot share {stride} of them: half of a window may be the question, "
            f"so give a stride of at most {max(0, space - space // 2 - 1)}, or a longer context."
        )
    question, context = tokenizer.encode(qa.question), tokenizer.encode_with_offsets(qa.context)
    kept = question[: space // 2]
    room = space - len(kept)
    first, last = covering_tokens(context, qa.answers[0]) if qa.answers else (0, -1)
    windows = []
    for begin in range(0, max(1, len(context.ids) - stride), room - stride):
        end = min(begin + room, len(context.ids))
        inputs = tokenizer.build_inputs(kept, context.ids[begin:end])
        offset = inputs.second_start - begin  # from the context's tokens to the frame's
        whole = begin <= first <= last < end
        answer = (first + offset, last + offset) if whole else (inputs.cls_index, inputs.cls_index)
        starts, ends = (np.array(spans[begin:end], dtype=np.int32) for spans in (context.starts, context.ends))
        windows.append(ContextWindow(inputs, starts, ends, answer, len(question) - len(kept)))
    return windows


def covering_tokens(context: Encoding, answer: Answer) -> tuple[int, int]:
    """The first and the last of the fewest tokens that cover all characters of the answer.

    (The last comes before the first if none does: the answer is white space that the tokenizer passes over.)
    """
    return bisect_right(context.ends, answer.start), bisect_left(context.starts, answer.start + len(answer.text)) - 1


class SpanExtraction:
    """An example is a `ContextWindow`; the loss is the mean of -log p(start) and -log p(end) in nats.

    Probabilities are over the tokens of the context and the summary token: no answer begins in the question.

    >>> from llmasos.tokenizers import train_tokenizer
    >>> tokenizer = train_tokenizer("byte", [])
    >>> (window,) = make_windows(QA("I am Ann.", "Who?", (Answer("Ann", 5),)), tokenizer, context_length=32, stride=4)
    >>> window.answer, tokenizer.decode(window.inputs.ids[window.answer[0] : window.answer[1] + 1])
    ((10, 12), 'Ann')
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def collate(
        self, examples: Sequence[ContextWindow], rngs: Sequence[Callable[[], np.random.Generator]] = ()
    ) -> Batch:
        """Stack windows, padded to the longest: `ids`, `attention_mask`, `segments`, `candidates` (B, T), `answers` (B, 2).

        Candidates are the positions to which start and end may point.
        """
        batch = collate_inputs([window.inputs for window in examples], self.tokenizer.pad_id)
        candidates = torch.zeros_like(batch["attention_mask"])
        for row, window in zip(candidates, examples, strict=True):
            row[window.inputs.second_start : window.inputs.second_start + len(window.starts)] = True
            row[window.inputs.cls_index] = True
        answers = torch.tensor([window.answer for window in examples])
        return {**batch, "candidates": candidates, "answers": answers}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of windows."""
        return {"span": len(batch["answers"])}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the windows' losses. `model` is a `SpanExtractor`."""
        logits = candidate_logits(model, batch)  # (B, T, 2): the classes of cross_entropy are the T positions
        return {"span": F.cross_entropy(logits, batch["answers"], reduction="sum") / 2}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """In how many windows both ends of the answer (or its absence) are the model's first choice."""
        predicted = candidate_logits(model, batch).argmax(dim=1)  # (B, 2)
        return {"span": int((predicted == batch["answers"]).all(dim=1).sum())}


def candidate_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Start and end logits (B, T, 2) in float32; -inf where no answer can begin or end."""
    logits = model(batch["ids"], batch["attention_mask"], batch["segments"])
    return logits.float().masked_fill(~batch["candidates"][..., None], -torch.inf)


@torch.inference_mode()
def predict_spans(
    model: nn.Module, objective: SpanExtraction, windows: Sequence[ContextWindow], batch_size: int = 32
) -> list[Tensor]:
    """Start and end logits of each window: (T, 2) float32 on the CPU, T the window's own number of tokens.

    The model is put in evaluation mode for the time being. Windows of similar length are read together.
    """
    device, training = next(model.parameters()).device, model.training
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].inputs.ids))
    results: dict[int, Tensor] = {}
    model.eval()
    try:
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            batch = objective.collate([windows[i] for i in rows])
            logits = candidate_logits(model, {name: tensor.to(device) for name, tensor in batch.items()}).cpu()
            results |= {i: row[: len(windows[i].inputs.ids)] for i, row in zip(rows, logits, strict=True)}
    finally:
        model.train(training)
    return [results[i] for i in range(len(windows))]


def best_answer(
    context: str,
    windows: Sequence[ContextWindow],
    logits: Sequence[Tensor],
    max_answer_tokens: int = 30,
    threshold: float = 0.0,
) -> BestAnswer:
    """The best span over all windows of one question, or that there is none (Devlin et al. 2019, section 4.3).

    A span's score is its start logit plus its end logit. "No answer" has in each window the score of pointing at the
    summary token twice; the window that believes in it least decides.

    Args:
        context: the text that the windows are parts of.
        windows: those of one question.
        logits: for each window (T, 2), as `predict_spans` gives them.
        max_answer_tokens: no answer is longer than that.
        threshold: how much better than the best span "no answer" must be to be chosen; inf = there is always an answer.
    """
    best, start, end = -torch.inf, 0, 0
    for window, scores in zip(windows, logits, strict=True):
        n = len(window.starts)
        starts, ends = scores[window.inputs.second_start : window.inputs.second_start + n].unbind(dim=1)  # (n,), (n,)
        in_order = torch.ones(n, n, dtype=torch.bool).triu().tril(max_answer_tokens - 1)  # [first, last] may be a span
        spans = (starts[:, None] + ends).masked_fill(~in_order, -torch.inf)
        if n and spans.max() > best:
            first, last = divmod(int(spans.argmax()), n)
            best, start, end = float(spans[first, last]), int(window.starts[first]), int(window.ends[last])
    null = min(float(scores[window.inputs.cls_index].sum()) for window, scores in zip(windows, logits, strict=True))
    text = context[start:end].strip()
    if best == -torch.inf or null - best > threshold:
        return BestAnswer("", 0, best, null)
    return BestAnswer(text, start + context[start:end].find(text), best, null)
