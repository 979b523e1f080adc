"""The models, assembled from the parts in `nn`: one config, three families, their sizes."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.models.base import Backbone, Model, n_parameters, weight_bytes
    from llmasos.models.bert import BERT
    from llmasos.models.config import ModelConfig
    from llmasos.models.flops import flops_per_token, n_active_parameters_of, n_parameters_of
    from llmasos.models.generation_config import GenerationConfig
    from llmasos.models.gpt import GPT
    from llmasos.models.heads import FeatureExtractor, SequenceClassifier, SpanExtractor
    from llmasos.models.image_captioning import VisionEncoderDecoder, VisionLanguageModel, load_vision, save_vision
    from llmasos.models.longer_context import extend_context
    from llmasos.models.presets import PRESETS, preset
    from llmasos.models.serialization import (
        build_model,
        load_model,
        load_weights,
        save_model,
        weights_of,
    )
    from llmasos.models.transformer import Transformer
    from llmasos.models.vision import VisionConfig, VisionTransformer

__all__ = [
    "BERT",
    "Backbone",
    "GPT",
    "Model",
    "PRESETS",
    "FeatureExtractor",
    "GenerationConfig",
    "ModelConfig",
    "SequenceClassifier",
    "SpanExtractor",
    "Transformer",
    "VisionConfig",
    "VisionEncoderDecoder",
    "VisionLanguageModel",
    "VisionTransformer",
    "build_model",
    "extend_context",
    "flops_per_token",
    "load_model",
    "load_vision",
    "load_weights",
    "n_active_parameters_of",
    "n_parameters",
    "n_parameters_of",
    "preset",
    "save_model",
    "save_vision",
    "weight_bytes",
    "weights_of",
]
lazy_exports(__name__)
