"""OPT (Zhang et al. 2022): a GPT-2 with relu, whose table of positions begins with two rows that no token uses.

Read only: a GPT-2 file can represent all its details, so when saved again, it becomes a GPT-2. OPT-350M,
with norms after the residual connections and a narrower embedding, is rejected.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    linear,
    tensor,
)
from llmasos.models import ModelConfig

OFFSET = 2  # rows of the position table before that of the first position


class OPTFormat(HFFormat):
    """`GPT` with learned positions, pre-norm LayerNorms, biases and relu."""

    model_types = ("opt",)
    architectures = {"OPTForCausalLM": "lm", "OPTModel": "features"}
    prefix = "model."

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("do_layer_norm_before", True)
        published.require("_remove_final_layer_norm", False)
        published.require("enable_bias", True)
        published.require("layer_norm_elementwise_affine", True)
        width = published.required("hidden_size")
        published.require("word_embed_proj_dim", width)
        return {
            "family": "gpt",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("max_position_embeddings", 2048),
            "n_layers": published.required("num_hidden_layers"),
            "n_heads": published.required("num_attention_heads"),
            "d_model": width,
            "d_ff": published.required("ffn_dim"),
            "activation": published.choice("activation_function", FROM_PUBLISHED_ACTIVATION, "relu"),
            "tie_embeddings": published.get("tie_word_embeddings", True),
            "dropout": published.get("dropout", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        return None

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("decoder.embed_tokens.weight", "token_embedding.weight")
        yield tensor("decoder.embed_positions.weight", "position_embedding.weight", skipped_rows=OFFSET)
        for i in range(config.n_layers):
            for published, ours in (
                ("self_attn_layer_norm", "attention_residual.norm"),
                ("self_attn.q_proj", "attention.q_proj"),
                ("self_attn.k_proj", "attention.k_proj"),
                ("self_attn.v_proj", "attention.v_proj"),
                ("self_attn.out_proj", "attention.out_proj"),
                ("final_layer_norm", "feed_forward_residual.norm"),
                ("fc1", "feed_forward.up_proj"),
                ("fc2", "feed_forward.down_proj"),
            ):
                yield from linear(f"decoder.layers.{i}.{published}", f"blocks.{i}.{ours}")
        yield from linear("decoder.final_layer_norm", "final_norm")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")
