"""Select an answer from a model's logits: the best span over all windows of a question.

A predicted answer is cut out of the original context by the character offsets of its tokens, never decoded from
tokens, so it looks exactly as it does in the context. White space at its ends, which may be part of a BPE token, is
stripped.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmasos.console import track
from llmasos.nn import eval_mode
from llmasos.objectives.question_answering.context_windows import ContextWindow
from llmasos.objectives.question_answering.span_extraction import SpanExtraction, candidate_logits


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
        for first in track(range(0, len(order), batch_size), "scoring"):
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
    the sum of the classification token's two logits; the minimum over all windows is used.

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
