"""Gemma 3 (Gemma Team 2025), the text models: a Llama with four norms in each block, two kinds of layers, and GEGLU.

Most layers have a sliding window and rotary positions with a small base; every sixth attends to everything. A norm's
weight w is stored as w - 1. Models that also read images are rejected.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.errors import UserError, check_number
from llmasos.hub.formats.hf_format import HFConfig, HFFormat, TensorMapping, is_ordinary, tensor
from llmasos.hub.formats.hf_llama import rope_scaling, write_rope_scaling
from llmasos.models import ModelConfig
from llmasos.models.config import LARGEST, LAYER_TYPES

GATES = {
    "gelu_pytorch_tanh": "geglu_tanh",
    "gelu_new": "geglu_tanh",
    "gelu": "geglu",
    "silu": "swiglu",
    "relu": "reglu",
}
PUBLISHED = {"geglu_tanh": "gelu_pytorch_tanh", "geglu": "gelu", "swiglu": "silu", "reglu": "relu"}
FULL, SLIDING = LAYER_TYPES
WINDOW = 4096  # where the config does not name one
OPTIONS = ("qk_norm", "sliding_window", "layer_types", "local_rope_theta", "attention_scale", "scale_embeddings",
           "rope_scaling")  # fmt: skip


class Gemma3Format(HFFormat):
    """`GPT` with rotary positions, RMSNorms before and after each sublayer, and a gated feed-forward."""

    model_types = ("gemma3_text",)
    architectures = {"Gemma3ForCausalLM": "lm", "Gemma3TextModel": "features"}
    prefix = "model."
    ignored = (".rotary_emb.inv_freq",)

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("attention_bias", False)
        published.require("attn_logit_softcapping", None)
        published.require("final_logit_softcapping", None)
        published.require("use_bidirectional_attention", False)
        if published.values.get("sliding_window", WINDOW) is None:
            raise UserError(
                f"{published.file} has sliding_window = null, with which Gemma 3 cannot be computed, not even by "
                f"transformers: write a number of tokens ({WINDOW} if you know of no other)."
            )
        context = published.get("max_position_embeddings", 131_072)
        n_layers = published.required("num_hidden_layers")
        pattern = published.get("sliding_window_pattern", published.get("_sliding_window_pattern", 6))
        numbers = range(1, min(n_layers, LARGEST["n_layers"]) + 1)
        layers = [FULL if pattern and number % pattern == 0 else SLIDING for number in numbers]
        layers = published.get("layer_types", layers)
        scalar = published.get("query_pre_attn_scalar", 256.0)
        check_number("query_pre_attn_scalar", scalar, above=0, at_most=1e12)
        rope = HFConfig(published.get("rope_parameters", {}), published.file)  # of transformers 5: by type of layer
        full, local = (HFConfig(rope.get(kind, {}), published.file) for kind in LAYER_TYPES)
        return {
            "family": "gpt",
            "vocab_size": published.required("vocab_size"),
            "context_length": context,
            "n_layers": n_layers,
            "n_heads": published.required("num_attention_heads"),
            "n_kv_heads": published.required("num_key_value_heads"),
            "head_size": published.get("head_dim", 256),
            "d_model": published.required("hidden_size"),
            "d_ff": published.required("intermediate_size"),
            "positions": "rotary",
            "rope_theta": full.get("rope_theta", published.get("rope_theta", 1_000_000.0)),
            "rope_scaling": rope_scaling(published.get("rope_scaling", {}) or full.values, context, published.file),
            "local_rope_theta": local.get("rope_theta", published.get("rope_local_base_freq", 10_000.0)),
            "sliding_window": published.get("sliding_window", WINDOW),
            "layer_types": tuple(layers),
            "qk_norm": True,
            "attention_scale": scalar**-0.5,
            "scale_embeddings": True,
            "norm": "rmsnorm",
            "norm_position": "sandwich",
            "norm_eps": published.get("rms_norm_eps", 1e-6),
            "activation": published.choice("hidden_activation", GATES, "gelu_pytorch_tanh"),
            "bias": False,
            "tie_embeddings": published.get("tie_word_embeddings", True),
            "dropout": published.get("attention_dropout", 0.0),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.qk_norm, c.scale_embeddings)
        if options != ("gpt", "rotary", "rmsnorm", "sandwich", False, False, True, True):
            return None
        if not is_ordinary(c, *OPTIONS) or c.activation not in PUBLISHED or c.sliding_window is None:
            return None
        scaling = write_rope_scaling(c)
        if scaling is None and c.rope_scaling is not None:
            return None
        scalar = float(c.head_size) if c.attention_scale is None else round(c.attention_scale**-2, 9)
        return {
            "model_type": "gemma3_text",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "num_hidden_layers": c.n_layers,
            "num_attention_heads": c.n_heads,
            "num_key_value_heads": c.n_kv_heads,
            "head_dim": c.head_size,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "hidden_activation": PUBLISHED[c.activation],
            "query_pre_attn_scalar": int(scalar) if scalar.is_integer() else scalar,
            "rope_theta": c.rope_theta,
            "rope_local_base_freq": c.rope_theta if c.local_rope_theta is None else c.local_rope_theta,
            "rope_scaling": scaling,
            "sliding_window": c.sliding_window,
            "layer_types": list(c.layer_types) or [SLIDING] * c.n_layers,
            "rms_norm_eps": c.norm_eps,
            "attention_bias": False,
            "tie_word_embeddings": c.tie_embeddings,
            "attention_dropout": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("embed_tokens.weight", "token_embedding.weight")
        for i in range(config.n_layers):
            published, ours = f"layers.{i}", f"blocks.{i}"
            for letter in "qkvo":
                part = "out" if letter == "o" else letter
                yield tensor(f"{published}.self_attn.{letter}_proj.weight", f"{ours}.attention.{part}_proj.weight")
            for name in ("gate_proj", "up_proj", "down_proj"):
                yield tensor(f"{published}.mlp.{name}.weight", f"{ours}.feed_forward.{name}.weight")
            for theirs, name in (
                ("self_attn.q_norm", "attention.q_norm"),
                ("self_attn.k_norm", "attention.k_norm"),
                ("input_layernorm", "attention_residual.norm"),
                ("post_attention_layernorm", "attention_residual.output_norm"),
                ("pre_feedforward_layernorm", "feed_forward_residual.norm"),
                ("post_feedforward_layernorm", "feed_forward_residual.output_norm"),
            ):
                yield tensor(f"{published}.{theirs}.weight", f"{ours}.{name}.weight", offset=1.0)
        yield tensor("norm.weight", "final_norm.weight", offset=1.0)

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")

    def mappings(self, config: ModelConfig, prefix: str | None = None) -> list[TensorMapping]:
        if prefix is None and config.head == "features":
            prefix = ""  # transformers opens a backbone alone only without it
        return super().mappings(config, prefix)
