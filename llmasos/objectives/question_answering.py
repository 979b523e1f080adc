"""Extractive question answering: find the answer to a question as a span of a text (Devlin et al. 2019, section 4.2).

    make_windows     a question and its context → overlapping windows that fit the model
    SpanExtraction   the objective: for each window, predict the first and the last token of the answer
    best_answer      the model's logits for all windows of a question → its best answer

**Windows.** Every window begins with the whole question. Neighboring windows share `stride` tokens of the context, so
an answer of up to stride + 1 tokens is complete in at least one of them:

    context       a b c d e f g h i j         with room for 5 tokens and stride 2:
    windows       a b c d e
                        d e f g h
                              g h i j

In training, a window without the complete answer is an example of a context without it.

**Spans.** The model reads the question and the context together and gives each token two logits: one for being the
first token of the answer, one for being the last. If there is no answer, both targets are the classification token,
[CLS] in a BERT (section 4.3). Answers are given in characters of the context, while models work with tokens: an
answer's tokens are the fewest that cover all its characters. A predicted answer is cut out of the original context by
the character offsets of its tokens, never decoded from tokens, so it looks exactly as it does in the context. White
space at its ends, which may belong to a BPE token, is stripped.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.examples import QA, Answer
from llmasos.errors import UserError
from llmasos.nn import eval_mode
from llmasos.objectives.objective import Batch, MakeRng, collate_inputs
from llmasos.tokenizers import EncodedInput, Encoding, Tokenizer


class ContextWindow(NamedTuple):
    """A question and a part of its context, encoded together.

    Attributes:
        inputs: the tokens. Those of the context are `inputs.ids[inputs.second_start : inputs.second_start + N]`.
        starts, ends: the character offsets of each of these N tokens in the context: (N,) int32.
        answer: indices into `inputs.ids` of the answer's first and last token; `inputs.cls_index` twice if the window
            does not contain the answer.
        n_cut: how many tokens of the question were cut off.
    """

    inputs: EncodedInput
    starts: np.ndarray
    ends: np.ndarray
    answer: tuple[int, int]
    n_cut: int = 0


def make_windows(qa: QA, tokenizer: Tokenizer, context_length: int, stride: int) -> list[ContextWindow]:
    """Cut a question's context into overlapping windows, at least one. Of several answers the first is the label.

    A question that would take more than half of the room loses its end.

    Args:
        qa: the question.
        tokenizer: encodes the question and the context.
        context_length: the longest sequence that the model can read, in tokens.
        stride: how many tokens of the context neighboring windows share.

    Raises:
        UserError: the stride leaves no room to advance.
    """
    room = context_length - tokenizer.n_special_tokens(2)
    if not 0 <= stride < room - room // 2:
        raise UserError(
            f"windows of {context_length} tokens cannot share {stride} of them: half of a window may be the question, "
            f"so give a stride of at most {max(0, room - room // 2 - 1)}, or a longer context."
        )
    whole_question, context = tokenizer.encode(qa.question), tokenizer.encode_with_offsets(qa.context)
    question = whole_question[: room // 2]
    size = room - len(question)
    first, last = covering_tokens(context, qa.answers[0]) if qa.answers else (0, -1)
    windows = []
    for begin in range(0, max(1, len(context.ids) - stride), size - stride):
        end = min(begin + size, len(context.ids))
        inputs = tokenizer.build_inputs(question, context.ids[begin:end])
        shift = inputs.second_start - begin  # from indices into the context's tokens to indices into inputs.ids
        is_complete = begin <= first <= last < end
        answer = (first + shift, last + shift) if is_complete else (inputs.cls_index, inputs.cls_index)
        starts, ends = (np.array(offsets[begin:end], dtype=np.int32) for offsets in (context.starts, context.ends))
        windows.append(ContextWindow(inputs, starts, ends, answer, len(whole_question) - len(question)))
    return windows


def covering_tokens(context: Encoding, answer: Answer) -> tuple[int, int]:
    """The indices of the first and the last of the fewest tokens that cover all characters of the answer.

    (If no token does, the last comes before the first: the answer is white space that the tokenizer skips.)
    """
    return bisect_right(context.ends, answer.start), bisect_left(context.starts, answer.start + len(answer.text)) - 1


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


class BestAnswer(NamedTuple):
    """The answer to one question: `context[start : start + len(text)] == text`."""

    text: str  # empty: there is no answer
    start: int
    score: float  # start logit + end logit of the best span
    null_score: float  # the same sum for "no answer"


@torch.inference_mode()
def predict_spans(
    model: nn.Module, objective: SpanExtraction, windows: Sequence[ContextWindow], batch_size: int = 32
) -> list[Tensor]:
    """Start and end logits of each window: (T, 2) float32 on the CPU, where T is the window's own number of tokens.

    Dropout is off while this runs. Windows of similar length are batched together.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].inputs.ids))
    results: dict[int, Tensor] = {}
    with eval_mode(model):
        for first in range(0, len(order), batch_size):
            indices = order[first : first + batch_size]
            batch = objective.collate([windows[i] for i in indices])
            logits = candidate_logits(model, {name: tensor.to(device) for name, tensor in batch.items()}).cpu()
            results |= {i: row[: len(windows[i].inputs.ids)] for i, row in zip(indices, logits, strict=True)}
    return [results[i] for i in range(len(windows))]


def best_answer(
    context: str,
    windows: Sequence[ContextWindow],
    logits: Sequence[Tensor],
    max_answer_tokens: int = 30,
    threshold: float = 0.0,
) -> BestAnswer:
    """The best span over all windows of one question, or no answer (Devlin et al. 2019, section 4.3).

    The score of a span is its start logit plus its end logit. The null score, that of "no answer", is in each window
    the sum of the classification token's two logits; over all windows the smallest one counts.

    Args:
        context: the text that the windows are parts of.
        windows: the windows of one question.
        logits: for each window (T, 2), as `predict_spans` returns them.
        max_answer_tokens: the longest answer.
        threshold: "no answer" is chosen if the null score exceeds the best span's by more than this; inf = never.
    """
    best_score, start, end = -torch.inf, 0, 0
    for (inputs, starts, ends, *_), window_logits in zip(windows, logits, strict=True):
        n = len(starts)
        start_logits, end_logits = window_logits[inputs.second_start : inputs.second_start + n].unbind(dim=1)  # (n,)
        is_span = torch.ones(n, n, dtype=torch.bool).triu().tril(max_answer_tokens - 1)  # (n, n): [first, last]
        scores = (start_logits[:, None] + end_logits).masked_fill(~is_span, -torch.inf)  # (n, n)
        if n and scores.max() > best_score:
            first, last = divmod(int(scores.argmax()), n)
            best_score, start, end = float(scores[first, last]), int(starts[first]), int(ends[last])
    null_score = min(
        float(window_logits[window.inputs.cls_index].sum())
        for window, window_logits in zip(windows, logits, strict=True)
    )
    if best_score == -torch.inf or null_score - best_score > threshold:
        return BestAnswer("", 0, best_score, null_score)
    text = context[start:end].strip()
    return BestAnswer(text, start + context[start:end].find(text), best_score, null_score)
