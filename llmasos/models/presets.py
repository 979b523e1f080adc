"""Presets: named model sizes, as the fields that differ from `ModelConfig`'s defaults.

The four GPT-2 sizes are those of Radford et al. 2019 (table 2; the parameter counts are the published weights'), the
two of BERT those of Devlin et al. 2019 (section 3), and transformer-base and -big those of Vaswani et al. 2017 (table
3). Their vocab_size is that of the published model; your own tokenizer brings its own.
"""

from typing import Any

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig

LLAMA_STYLE = {  # the modern decoder: Touvron et al. 2023, section 2.2
    "positions": "rotary",
    "norm": "rmsnorm",
    "activation": "swiglu",
    "bias": False,
}

FAST_LEARNER = {  # options that help a small model learn more in the same time; lesson 05 measures each
    "positions": "rotary",
    "norm": "layernorm",  # without a bias; on a CPU torch's kernel is four times as fast as that of RMSNorm
    "activation": "relu2",
    "bias": False,
    "qk_norm": True,
    "value_embeddings": True,
    "max_ngram": 3,
    "zero_init_residual": True,
}

BERT_STYLE = {  # post-norm even in small ones, so that transformers can open every BERT trained here
    "family": "bert",
    "norm_position": "post",
    "norm_eps": 1e-12,
    "activation": "gelu",
}

ORIGINAL = {  # the first Transformer: Vaswani et al. 2017, sections 3 and 5.4
    "family": "transformer",
    "positions": "sinusoidal",
    "norm_position": "post",
    "activation": "relu",
    "vocab_size": 37_000,
}

# With the norm before each sublayer it learns from the first steps, without a long warmup (Xiong et al. 2020).
TRANSLATOR = {**ORIGINAL, "norm_position": "pre"}

PRESETS: dict[str, dict[str, Any]] = {
    # On a CPU the exact gelu is several times faster than its tanh approximation, so the small sizes use it.
    "gpt-laptop": {"n_layers": 4, "n_heads": 4, "d_model": 128, "context_length": 128, "activation": "gelu"},
    "llama-laptop": {
        **LLAMA_STYLE,
        "n_layers": 4,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_model": 128,
        "context_length": 128,
    },
    "qwen3-laptop": {  # that with q/k norm, as in Qwen3 (Yang et al. 2025)
        **LLAMA_STYLE,
        "n_layers": 4,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_model": 128,
        "context_length": 256,
        "qk_norm": True,
        "zero_init_residual": True,
    },
    # The n-gram tables already know a token's neighbors, so two layers are enough: in two minutes they reach a lower
    # loss than three or four.
    "modern-laptop": {**FAST_LEARNER, "n_layers": 2, "n_heads": 2, "d_model": 128, "context_length": 256},
    "gpt-small": {"n_layers": 6, "n_heads": 6, "d_model": 384, "context_length": 256, "activation": "gelu"},
    "llama-small": {
        **LLAMA_STYLE,
        "n_layers": 6,
        "n_heads": 6,
        "n_kv_heads": 2,
        "d_model": 384,
        "context_length": 256,
    },
    "gpt2": {"n_layers": 12, "n_heads": 12, "d_model": 768},  # 124M parameters
    "gpt2-medium": {"n_layers": 24, "n_heads": 16, "d_model": 1024},  # 355M
    "gpt2-large": {"n_layers": 36, "n_heads": 20, "d_model": 1280},  # 774M
    "gpt2-xl": {"n_layers": 48, "n_heads": 25, "d_model": 1600},  # 1558M
    "bert-laptop": {**BERT_STYLE, "n_layers": 4, "n_heads": 4, "d_model": 128, "context_length": 160},
    "bert-base": {**BERT_STYLE, "vocab_size": 30_522, "context_length": 512, "dropout": 0.1},  # 110M
    "bert-large": {
        **BERT_STYLE,
        "vocab_size": 30_522,
        "context_length": 512,
        "dropout": 0.1,
        "n_layers": 24,
        "n_heads": 16,
        "d_model": 1024,
    },  # 336M
    "transformer-laptop": {**TRANSLATOR, "n_layers": 3, "n_heads": 4, "d_model": 128, "context_length": 160},
    # 9M with a vocabulary of 10,000. Generation runs the decoder for every token, so the encoder is the deeper one.
    "transformer-small": {
        **TRANSLATOR,
        "n_layers": 4,
        "n_decoder_layers": 3,
        "n_heads": 8,
        "d_model": 256,
        "context_length": 256,
        "dropout": 0.1,
    },
    "transformer-base": {  # 63M
        **ORIGINAL,
        "n_layers": 6,
        "n_heads": 8,
        "d_model": 512,
        "context_length": 512,
        "dropout": 0.1,
    },
    "transformer-big": {  # 214M
        **ORIGINAL,
        "n_layers": 6,
        "n_heads": 16,
        "d_model": 1024,
        "context_length": 512,
        "dropout": 0.3,
    },
}


def preset(name: str, **changes: Any) -> ModelConfig:
    """Return the config with this name, with some fields changed.

    >>> preset("gpt-laptop", vocab_size=65).d_ff
    512

    Raises:
        UserError: there is no preset with this name, or the changed config is not valid.
    """
    if name not in PRESETS:
        raise UserError(f"there is no model preset {name!r}; choose one of: {', '.join(PRESETS)}.")
    return ModelConfig(**{**PRESETS[name], **changes})
