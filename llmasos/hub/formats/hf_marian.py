"""MarianMT (Junczys-Dowmunt et al. 2018): the translation models `opus-mt-…`, one for each pair of languages."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    SHARED,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    linear,
    tensor,
)
from llmasos.models import ModelConfig


class MarianFormat(HFFormat):
    """`Transformer` with post-norm, sinusoidal positions (sines first), one shared embedding, and an output bias."""

    model_types = ("marian",)
    architectures = {"MarianMTModel": "lm"}
    prefix = "model."
    ignored = (".embed_positions.weight", *SHARED)
    copies = HFFormat.copies | dict.fromkeys(SHARED, "token_embedding.weight")
    only_pretraining = ("decoder.",)

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        n_heads, d_ff = published.required("encoder_attention_heads"), published.required("encoder_ffn_dim")
        published.require("decoder_attention_heads", n_heads)
        published.require("decoder_ffn_dim", d_ff)
        published.require("decoder_vocab_size", published.required("vocab_size"))
        published.require("scale_embedding", True, default=False)
        published.require("share_encoder_decoder_embeddings", True)
        published.require("tie_word_embeddings", True)
        published.require("decoder_start_token_id", published.required("pad_token_id"))
        return {
            "family": "transformer",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("max_position_embeddings", 1024),
            "n_layers": published.required("encoder_layers"),
            "n_decoder_layers": published.required("decoder_layers"),
            "n_heads": n_heads,
            "d_model": published.required("d_model"),
            "d_ff": d_ff,
            "positions": "sinusoidal_halves",
            "norm_position": "post",
            "activation": published.choice("activation_function", FROM_PUBLISHED_ACTIVATION, "gelu"),
            "output_bias": True,
            "dropout": published.get("dropout", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.norm_eps, c.bias, c.qkv_bias, c.tie_embeddings)
        if options != ("transformer", "sinusoidal_halves", "layernorm", "post", 1e-5, True, True, True):
            return None
        if not c.output_bias or not is_ordinary(c, "output_bias") or not has_ordinary_heads(c):
            return None
        if c.activation not in TO_PUBLISHED_ACTIVATION:
            return None
        return {
            "model_type": "marian",
            "is_encoder_decoder": True,
            "vocab_size": c.vocab_size,
            "decoder_vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "max_length": c.context_length,
            "encoder_layers": c.n_layers,
            "decoder_layers": c.n_decoder_layers,
            "encoder_attention_heads": c.n_heads,
            "decoder_attention_heads": c.n_heads,
            "d_model": c.d_model,
            "encoder_ffn_dim": c.d_ff,
            "decoder_ffn_dim": c.d_ff,
            "activation_function": {"silu": "swish"}.get(c.activation) or TO_PUBLISHED_ACTIVATION[c.activation],
            "scale_embedding": True,
            "static_position_embeddings": True,
            "share_encoder_decoder_embeddings": True,
            "tie_word_embeddings": True,
            "dropout": c.dropout,
            "attention_dropout": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("shared.weight", "token_embedding.weight")
        feed_forward = [
            ("fc1", "feed_forward.up_proj"),
            ("fc2", "feed_forward.down_proj"),
            ("final_layer_norm", "feed_forward_residual.norm"),
        ]
        projections = ("q_proj", "k_proj", "v_proj", "out_proj")
        stacks = {"encoder": config.n_layers, "decoder": config.n_decoder_layers if config.is_pretraining else 0}
        for stack, n_layers in stacks.items():
            attentions = [("self_attn", "attention")]
            if stack == "decoder":
                attentions.append(("encoder_attn", "cross_attention"))
            for i in range(n_layers):
                names = list(feed_forward)
                for published, ours in attentions:
                    names += [(f"{published}.{name}", f"{ours}.{name}") for name in projections]
                    names.append((f"{published}_layer_norm", f"{ours}_residual.norm"))
                for published, ours in names:
                    yield from linear(f"{stack}.layers.{i}.{published}", f"{stack}_blocks.{i}.{ours}")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining:
            yield tensor("final_logits_bias", "lm_head.bias", as_row=True)
