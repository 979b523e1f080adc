"""GPT-NeoX (Black et al. 2022), and Pythia (Biderman et al. 2023), which has its architecture.

Attention and feed-forward of a block read the same stream, and only the first features of each head are rotated.
Queries, keys and values are one matrix, in which each head has its own three one after the other.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    linear,
    tensor,
)
from llmasos.hub.formats.hf_llama import rope_scaling, write_rope_scaling
from llmasos.models import ModelConfig


class GPTNeoXFormat(HFFormat):
    """`GPT` with rotary positions, pre-norm LayerNorms, and biases."""

    model_types = ("gpt_neox",)
    architectures = {"GPTNeoXForCausalLM": "lm", "GPTNeoXModel": "features"}
    prefix = "gpt_neox."
    ignored = (".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq")  # tables, in older files

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("attention_bias", True)
        context = published.required("max_position_embeddings")
        rope = HFConfig(published.get("rope_parameters", {}), published.file)  # newer files keep all RoPE fields here
        scaling = rope_scaling(published.get("rope_scaling", {}) or rope.values, context, published.file)
        return {
            "family": "gpt",
            "vocab_size": published.required("vocab_size"),
            "context_length": context,
            "n_layers": published.required("num_hidden_layers"),
            "n_heads": published.required("num_attention_heads"),
            "d_model": published.required("hidden_size"),
            "d_ff": published.required("intermediate_size"),
            "positions": "rotary",
            "rope_theta": rope.get("rope_theta", published.get("rotary_emb_base", 10_000.0)),
            "rope_scaling": scaling,
            "partial_rotary_factor": rope.get("partial_rotary_factor", published.get("rotary_pct", 0.25)),
            "parallel_residual": published.get("use_parallel_residual", True),
            "norm_eps": published.get("layer_norm_eps", 1e-5),
            "activation": published.choice("hidden_act", FROM_PUBLISHED_ACTIVATION, "gelu"),
            "tie_embeddings": published.get("tie_word_embeddings", False),
            "dropout": published.get("hidden_dropout", 0.0),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias)
        if options != ("gpt", "rotary", "layernorm", "pre", True, True) or not has_ordinary_heads(c):
            return None
        if not is_ordinary(c, "partial_rotary_factor", "parallel_residual", "rope_scaling"):
            return None
        scaling = write_rope_scaling(c)
        if c.activation not in TO_PUBLISHED_ACTIVATION or (scaling is None and c.rope_scaling is not None):
            return None
        return {
            "model_type": "gpt_neox",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "num_hidden_layers": c.n_layers,
            "num_attention_heads": c.n_heads,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "hidden_act": TO_PUBLISHED_ACTIVATION[c.activation],
            "rotary_pct": c.partial_rotary_factor,
            "rotary_emb_base": c.rope_theta,
            "rope_scaling": scaling,
            "use_parallel_residual": c.parallel_residual,
            "layer_norm_eps": c.norm_eps,
            "attention_bias": True,
            "tie_word_embeddings": c.tie_embeddings,
            "hidden_dropout": c.dropout,
            "attention_dropout": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("embed_in.weight", "token_embedding.weight")
        for i in range(config.n_layers):
            published, ours = f"layers.{i}", f"blocks.{i}"
            yield from linear(f"{published}.input_layernorm", f"{ours}.attention_residual.norm")
            for kind in ("weight", "bias"):
                qkv = [f"{ours}.attention.{name}_proj.{kind}" for name in "qkv"]
                yield tensor(f"{published}.attention.query_key_value.{kind}", *qkv, n_heads=config.n_heads)
            yield from linear(f"{published}.attention.dense", f"{ours}.attention.out_proj")
            yield from linear(f"{published}.post_attention_layernorm", f"{ours}.feed_forward_residual.norm")
            yield from linear(f"{published}.mlp.dense_h_to_4h", f"{ours}.feed_forward.up_proj")
            yield from linear(f"{published}.mlp.dense_4h_to_h", f"{ours}.feed_forward.down_proj")
        yield from linear("final_layer_norm", "final_norm")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("embed_out.weight", "lm_head.weight")
