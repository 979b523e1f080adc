"""Extractive question answering: find the answer to a question as a span of a text (Devlin et al. 2019, section 4.2).

context_windows.py     a question and its context → overlapping windows that fit the model
span_extraction.py     the objective: for each window, predict the first and the last token of the answer
answer_selection.py    the model's logits for all windows of a question → its best answer
"""

from llmasos.objectives.question_answering.answer_selection import BestAnswer, best_answer, predict_spans
from llmasos.objectives.question_answering.context_windows import ContextWindow, covering_tokens, make_windows
from llmasos.objectives.question_answering.span_extraction import SpanExtraction

__all__ = [
    "BestAnswer",
    "ContextWindow",
    "SpanExtraction",
    "best_answer",
    "covering_tokens",
    "make_windows",
    "predict_spans",
]
