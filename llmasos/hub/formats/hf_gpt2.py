"""GPT-2 (Radford et al. 2019), and distilgpt2, DialoGPT and all others of its architecture."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    linear,
    tensor,
)
from llmasos.models import ModelConfig


class GPT2Format(HFFormat):
    """`GPT` with learned positions, pre-norm LayerNorms, and biases."""

    model_types = ("gpt2",)
    architectures = {"GPT2LMHeadModel": "lm", "GPT2Model": "features"}
    prefix = "transformer."
    ignored = (".attn.bias", ".attn.masked_bias")  # the causal mask, in older files

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("scale_attn_weights", True)
        published.require("scale_attn_by_inverse_layer_idx", False)
        published.require("add_cross_attention", False)
        return {
            "family": "gpt",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.required("n_positions", "n_ctx"),
            "n_layers": published.required("n_layer"),
            "n_heads": published.required("n_head"),
            "d_model": published.required("n_embd"),
            "d_ff": published.get("n_inner"),
            "norm_eps": published.get("layer_norm_epsilon", 1e-5),
            "activation": published.choice("activation_function", FROM_PUBLISHED_ACTIVATION, "gelu_new"),
            "tie_embeddings": published.get("tie_word_embeddings", True),
            "dropout": published.get("resid_pdrop", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.output_bias, c.qk_norm)
        same_heads = c.n_kv_heads == c.n_heads and c.head_size * c.n_heads == c.d_model
        if options != ("gpt", "learned", "layernorm", "pre", True, True, False, False) or not same_heads:
            return None
        if (
            c.activation not in TO_PUBLISHED_ACTIVATION
            or c.value_embeddings
            or c.max_ngram > 1
            or c.n_experts > 1
            or c.sliding_window
        ):
            return None
        return {
            "model_type": "gpt2",
            "vocab_size": c.vocab_size,
            "n_positions": c.context_length,
            "n_layer": c.n_layers,
            "n_head": c.n_heads,
            "n_embd": c.d_model,
            "n_inner": c.d_ff,
            "layer_norm_epsilon": c.norm_eps,
            "activation_function": TO_PUBLISHED_ACTIVATION[c.activation],
            "tie_word_embeddings": c.tie_embeddings,
            "resid_pdrop": c.dropout,
            "attn_pdrop": c.dropout,
            "embd_pdrop": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("wte.weight", "token_embedding.weight")
        yield tensor("wpe.weight", "position_embedding.weight")
        for i in range(config.n_layers):
            h, b = f"h.{i}", f"blocks.{i}"
            yield from linear(f"{h}.ln_1", f"{b}.attention_residual.norm")
            qkv = [f"{b}.attention.{name}_proj" for name in "qkv"]
            yield tensor(f"{h}.attn.c_attn.weight", *(f"{name}.weight" for name in qkv), transposed=True)
            yield tensor(f"{h}.attn.c_attn.bias", *(f"{name}.bias" for name in qkv))
            yield from linear(f"{h}.ln_2", f"{b}.feed_forward_residual.norm")
            for published, ours in (
                ("attn.c_proj", "attention.out_proj"),
                ("mlp.c_fc", "feed_forward.up_proj"),
                ("mlp.c_proj", "feed_forward.down_proj"),
            ):
                yield tensor(f"{h}.{published}.weight", f"{b}.{ours}.weight", transposed=True)
                yield tensor(f"{h}.{published}.bias", f"{b}.{ours}.bias")
        yield from linear("ln_f", "final_norm")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")
