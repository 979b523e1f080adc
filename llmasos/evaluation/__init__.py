"""Evaluation: metrics over predictions and references, each with a 95 % interval, and a handful of real mistakes."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.evaluation.bag_of_words import NaiveBayes, bag_of_words_baseline
    from llmasos.evaluation.bias import BiasReport, CounterfactualPair, amplified, measure_bias, read_templates
    from llmasos.evaluation.bleu import BLEU, bleu, bleu_from_sums, bleu_statistics
    from llmasos.evaluation.chrf import chrf, chrf_from_sums, chrf_statistics
    from llmasos.evaluation.classification_metrics import (
        ClassMetrics,
        accuracy,
        calibration_error,
        confusion_matrix,
        confusion_table,
        fit_temperature,
        macro_f1,
        majority_baseline,
        per_class,
    )
    from llmasos.evaluation.contamination import contamination, ngrams
    from llmasos.evaluation.entity_metrics import (
        entity_counts,
        entity_metrics,
        entity_table,
        most_frequent_labels,
        per_entity_type,
    )
    from llmasos.evaluation.intervals import bootstrap, exact_interval, mean, paired_bootstrap, proportion
    from llmasos.evaluation.likelihood import continuation_log_probs, log_likelihoods, text_losses
    from llmasos.evaluation.memorization import (
        MembershipInference,
        expected_exposure,
        exposure,
        exposure_of,
        membership_inference,
    )
    from llmasos.evaluation.metric import Metric
    from llmasos.evaluation.mistakes import choose_mistakes, show_mistakes
    from llmasos.evaluation.multiple_choice import Choice, choice_scores, multiple_choice
    from llmasos.evaluation.paired_test import sign_flip_test
    from llmasos.evaluation.pass_at_k import pass_at_k, pass_at_k_metric
    from llmasos.evaluation.perplexity import TextMetrics, evaluate_documents, evaluate_text, token_losses
    from llmasos.evaluation.refusal import LabeledRequest, RefusalReport, is_refusal, measure_refusal, read_requests
    from llmasos.evaluation.retrieval_metrics import mean_reciprocal_rank, recall_at_k, retrieval_ranks
    from llmasos.evaluation.rouge import rouge, rouge_table
    from llmasos.evaluation.show_table import text_table
    from llmasos.evaluation.squad import exact_match, squad, squad_values, token_f1
    from llmasos.evaluation.suite import SuiteResult, compare_suites, is_right, last_number, run_suite
    from llmasos.evaluation.words import is_mostly_unspaced, rouge_words, unicode_words

__all__ = [
    "expected_exposure",
    "text_losses",
    "continuation_log_probs",
    "BLEU",
    "BiasReport",
    "Choice",
    "ClassMetrics",
    "CounterfactualPair",
    "MembershipInference",
    "LabeledRequest",
    "RefusalReport",
    "is_refusal",
    "measure_refusal",
    "read_requests",
    "Metric",
    "NaiveBayes",
    "SuiteResult",
    "TextMetrics",
    "accuracy",
    "amplified",
    "bag_of_words_baseline",
    "bleu",
    "bleu_from_sums",
    "bleu_statistics",
    "bootstrap",
    "calibration_error",
    "choice_scores",
    "choose_mistakes",
    "chrf",
    "chrf_from_sums",
    "chrf_statistics",
    "compare_suites",
    "confusion_matrix",
    "confusion_table",
    "contamination",
    "entity_counts",
    "entity_metrics",
    "entity_table",
    "evaluate_documents",
    "evaluate_text",
    "exact_interval",
    "exact_match",
    "exposure",
    "exposure_of",
    "fit_temperature",
    "is_mostly_unspaced",
    "is_right",
    "last_number",
    "log_likelihoods",
    "macro_f1",
    "majority_baseline",
    "mean",
    "mean_reciprocal_rank",
    "measure_bias",
    "membership_inference",
    "most_frequent_labels",
    "multiple_choice",
    "ngrams",
    "paired_bootstrap",
    "pass_at_k",
    "pass_at_k_metric",
    "per_class",
    "per_entity_type",
    "proportion",
    "read_templates",
    "recall_at_k",
    "retrieval_ranks",
    "rouge",
    "rouge_table",
    "rouge_words",
    "run_suite",
    "show_mistakes",
    "sign_flip_test",
    "squad",
    "squad_values",
    "text_table",
    "token_f1",
    "token_losses",
    "unicode_words",
]
lazy_exports(__name__)
