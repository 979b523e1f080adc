"""What to learn: each objective turns examples into a batch and a model's outputs into a loss."""

from llmasos.objectives.causal import IGNORED, CausalLM
from llmasos.objectives.classification import Classification, EncodedText
from llmasos.objectives.frames import stack_frames
from llmasos.objectives.masked import MaskedLM
from llmasos.objectives.next_sentence import FramedPair, NextSentence
from llmasos.objectives.objective import Batch, Objective
from llmasos.objectives.pretraining import BERTPretraining
from llmasos.objectives.question_answering import (
    BestAnswer,
    ContextWindow,
    SpanExtraction,
    best_answer,
    predict_spans,
    windows_of,
)
from llmasos.objectives.seq2seq import EncodedPair, Seq2Seq, encode_pair
from llmasos.objectives.supervised_fine_tuning import Dialogue, DialogueLM

__all__ = [
    "IGNORED", "BERTPretraining", "Batch", "BestAnswer", "CausalLM", "Classification", "ContextWindow", "Dialogue",
    "DialogueLM", "EncodedPair", "EncodedText", "FramedPair", "MaskedLM", "NextSentence", "Objective", "Seq2Seq",
    "SpanExtraction", "best_answer", "encode_pair", "predict_spans", "stack_frames", "windows_of",
]  # fmt: skip
