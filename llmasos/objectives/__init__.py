"""Training objectives: each turns examples into a batch, and a model's outputs into a loss."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.objectives.captioning import CaptionedImage, Captioning
    from llmasos.objectives.causal import CausalLM
    from llmasos.objectives.classification import Classification, EncodedText
    from llmasos.objectives.contrastive import Contrastive, EncodedQuery, info_nce
    from llmasos.objectives.distillation import (
        Distillable,
        Distillation,
        ModelTeacher,
        ProbabilityTeacher,
        distillation_loss,
    )
    from llmasos.objectives.dpo import DPO, dpo_loss, optimal_policy
    from llmasos.objectives.load_balancing import LOAD_BALANCING, LoadBalancing
    from llmasos.objectives.masked import MaskedLM
    from llmasos.objectives.masked_diffusion import MaskedDiffusion, NoisedText
    from llmasos.objectives.objective import IGNORE_INDEX, Batch, Objective, collate_inputs
    from llmasos.objectives.policy_gradient import (
        PolicyGradient,
        Rollout,
        leave_one_out_advantages,
        policy_gradient_loss,
    )
    from llmasos.objectives.preference_pairs import EncodedPreference, collate_answers, frozen, token_log_probs
    from llmasos.objectives.pretraining import EncodedSentencePair, MaskedLMAndNextSentence, NextSentence
    from llmasos.objectives.question_answering import (
        BestAnswer,
        ContextWindow,
        SpanExtraction,
        best_answer,
        make_windows,
        predict_spans,
    )
    from llmasos.objectives.regression import EncodedScore, Regression
    from llmasos.objectives.reward_modeling import EncodedComparison, RewardModeling, bradley_terry_loss
    from llmasos.objectives.seq2seq import EncodedPair, Seq2Seq, encode_pair
    from llmasos.objectives.supervised_fine_tuning import Dialogue, SupervisedFineTuning
    from llmasos.objectives.token_classification import TextWindow, TokenClassification

__all__ = [
    "Batch", "BestAnswer", "CaptionedImage", "Captioning", "CausalLM", "Classification", "ContextWindow", "Contrastive",
    "DPO", "Dialogue", "Distillable", "Distillation", "EncodedComparison", "EncodedPair", "EncodedPreference",
    "EncodedQuery", "EncodedScore", "EncodedSentencePair", "EncodedText", "IGNORE_INDEX", "LOAD_BALANCING",
    "LoadBalancing", "MaskedDiffusion", "MaskedLM", "MaskedLMAndNextSentence", "ModelTeacher", "NextSentence",
    "NoisedText", "Objective", "PolicyGradient", "ProbabilityTeacher", "Regression", "RewardModeling", "Rollout",
    "Seq2Seq", "SpanExtraction", "SupervisedFineTuning", "TextWindow", "TokenClassification", "best_answer",
    "bradley_terry_loss", "collate_answers", "collate_inputs", "distillation_loss", "dpo_loss", "encode_pair", "frozen",
    "info_nce", "leave_one_out_advantages", "make_windows", "optimal_policy", "policy_gradient_loss", "predict_spans",
    "token_log_probs",
]  # fmt: skip
lazy_exports(__name__)
