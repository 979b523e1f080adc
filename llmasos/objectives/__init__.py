"""Training objectives: each turns examples into a batch, and a model's outputs into a loss."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.objectives.causal import CausalLM
    from llmasos.objectives.classification import Classification, EncodedText
    from llmasos.objectives.distillation import (
        Distillable,
        Distillation,
        ModelTeacher,
        ProbabilityTeacher,
        distillation_loss,
    )
    from llmasos.objectives.masked import MaskedLM
    from llmasos.objectives.objective import IGNORE_INDEX, Batch, Objective, collate_inputs
    from llmasos.objectives.pretraining import EncodedSentencePair, MaskedLMAndNextSentence, NextSentence
    from llmasos.objectives.question_answering import (
        BestAnswer,
        ContextWindow,
        SpanExtraction,
        best_answer,
        make_windows,
        predict_spans,
    )
    from llmasos.objectives.seq2seq import EncodedPair, Seq2Seq, encode_pair
    from llmasos.objectives.supervised_fine_tuning import Dialogue, SupervisedFineTuning

__all__ = [
    "Batch", "BestAnswer", "CausalLM", "Classification", "ContextWindow", "Dialogue", "Distillable", "Distillation",
    "EncodedPair", "EncodedSentencePair", "EncodedText", "IGNORE_INDEX", "MaskedLM", "MaskedLMAndNextSentence",
    "ModelTeacher", "NextSentence", "Objective", "ProbabilityTeacher", "Seq2Seq", "SpanExtraction",
    "SupervisedFineTuning", "best_answer", "collate_inputs", "distillation_loss", "encode_pair", "make_windows",
    "predict_spans",
]  # fmt: skip
lazy_exports(__name__)
