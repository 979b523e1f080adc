"""GPT-2 (Radford et al. 2019), and distilgpt2, DialoGPT and whatever else has its shape."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.architecture import ACTIVATIONS, THEIR_ACTIVATION, Fields, Format, Pair, layer, pair
from llmasos.models import ModelConfig


class GPT2(Format):
    """`GPT` with learned positions, LayerNorm before each part, and biases."""

    model_types = ("gpt2",)
    architectures = {"GPT2LMHeadModel": "lm", "GPT2Model": "features"}
    prefix = "transformer."
    without_values = (".attn.bias", ".attn.masked_bias")  # the causal mask, in older files

    def read_config(self, theirs: Fields) -> dict[str, Any]:
        theirs.must("scale_attn_weights", True)
        theirs.must("scale_attn_by_inverse_layer_idx", False)
        theirs.must("add_cross_attention", False)
        return {
            "family": "gpt",
            "vocab_size": theirs.need("vocab_size"),
            "context_length": theirs.need("n_positions", "n_ctx"),
            "n_layers": theirs.need("n_layer"),
            "n_heads": theirs.need("n_head"),
            "d_model": theirs.need("n_embd"),
            "d_ff": theirs.get("n_inner"),
            "norm_eps": theirs.get("layer_norm_epsilon", 1e-5),
            "activation": theirs.choice("activation_function", ACTIVATIONS, "gelu_new"),
            "tie_embeddings": theirs.get("tie_word_embeddings", True),
            "dropout": theirs.get("resid_pdrop", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        kind = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.output_bias, c.qk_norm)
        same_heads = c.n_kv_heads == c.n_heads and c.head_size * c.n_heads == c.d_model
        if kind != ("gpt", "learned", "layernorm", "pre", True, True, False, False) or not same_heads:
            return None
        if c.activation not in THEIR_ACTIVATION:
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
            "activation_function": THEIR_ACTIVATION[c.activation],
            "tie_word_embeddings": c.tie_embeddings,
            "resid_pdrop": c.dropout,
            "attn_pdrop": c.dropout,
            "embd_pdrop": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[Pair]:
        yield pair("wte.weight", "token_embedding.weight")
        yield pair("wpe.weight", "position_embedding.weight")
        for i in range(config.n_layers):
            h, b = f"h.{i}", f"blocks.{i}"
            yield from layer(f"{h}.ln_1", f"{b}.attention_residual.norm")
            qkv = [f"{b}.attention.{name}_proj" for name in "qkv"]
            yield pair(f"{h}.attn.c_attn.weight", *(f"{name}.weight" for name in qkv), transposed=True)
            yield pair(f"{h}.attn.c_attn.bias", *(f"{name}.bias" for name in qkv))
            yield from layer(f"{h}.ln_2", f"{b}.feed_forward_residual.norm")
            for theirs, ours in (
                ("attn.c_proj", "attention.out_proj"),
                ("mlp.c_fc", "feed_forward.up_proj"),
                ("mlp.c_proj", "feed_forward.down_proj"),
            ):
                yield pair(f"{h}.{theirs}.weight", f"{b}.{ours}.weight", transposed=True)
                yield pair(f"{h}.{theirs}.bias", f"{b}.{ours}.bias")
        yield from layer("ln_f", "final_norm")

    def top(self, config: ModelConfig) -> Iterator[Pair]:
        if config.is_pretraining and not config.tie_embeddings:
            yield pair("lm_head.weight", "lm_head.weight")
