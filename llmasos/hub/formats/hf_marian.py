"""MarianMT (Junczys-Dowmunt et al. 2018): the translators `opus-mt-…`, one for each pair of languages."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.architecture import ACTIVATIONS, THEIR_ACTIVATION, Fields, Format, Pair, layer, pair
from llmasos.models import ModelConfig


class Marian(Format):
    """`Transformer` with post-norm, sinusoidal positions (all sines first), one embedding for all, and a last bias."""

    model_types = ("marian",)
    architectures = {"MarianMTModel": "lm"}
    prefix = "model."
    without_values = (  # tables of waves, and the one embedding under its other names
        ".embed_positions.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
    )  # fmt: skip

    def read_config(self, theirs: Fields) -> dict[str, Any]:
        n_heads, d_ff = theirs.need("encoder_attention_heads"), theirs.need("encoder_ffn_dim")
        theirs.must("decoder_attention_heads", n_heads)
        theirs.must("decoder_ffn_dim", d_ff)
        theirs.must("decoder_vocab_size", theirs.need("vocab_size"))
        theirs.must("scale_embedding", True, default=False)
        theirs.must("share_encoder_decoder_embeddings", True)
        theirs.must("tie_word_embeddings", True)
        theirs.must("decoder_start_token_id", theirs.need("pad_token_id"))
        return {
            "family": "transformer",
            "vocab_size": theirs.need("vocab_size"),
            "context_length": theirs.get("max_position_embeddings", 1024),
            "n_layers": theirs.need("encoder_layers"),
            "n_decoder_layers": theirs.need("decoder_layers"),
            "n_heads": n_heads,
            "d_model": theirs.need("d_model"),
            "d_ff": d_ff,
            "positions": "sinusoidal_halves",
            "norm_position": "post",
            "activation": theirs.choice("activation_function", ACTIVATIONS, "gelu"),
            "output_bias": True,
            "dropout": theirs.get("dropout", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        kind = (c.family, c.positions, c.norm, c.norm_position, c.norm_eps, c.bias, c.qkv_bias, c.tie_embeddings)
        if kind != ("transformer", "sinusoidal_halves", "layernorm", "post", 1e-5, True, True, True):
            return None
        same_heads = c.n_kv_heads == c.n_heads and c.head_size * c.n_heads == c.d_model
        if not same_heads or not c.output_bias or c.qk_norm or c.activation not in THEIR_ACTIVATION:
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
            "activation_function": {"silu": "swish"}.get(c.activation) or THEIR_ACTIVATION[c.activation],
            "scale_embedding": True,
            "static_position_embeddings": True,
            "share_encoder_decoder_embeddings": True,
            "tie_word_embeddings": True,
            "dropout": c.dropout,
            "attention_dropout": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[Pair]:
        yield pair("shared.weight", "token_embedding.weight")
        parts = [
            ("fc1", "feed_forward.up_proj"),
            ("fc2", "feed_forward.down_proj"),
            ("final_layer_norm", "feed_forward_residual.norm"),
        ]
        attention = [(f"{name}_proj", f"{name}_proj") for name in ("q", "k", "v", "out")]
        stacks = {"encoder": config.n_layers, "decoder": config.n_decoder_layers if config.is_pretraining else 0}
        for stack, n_layers in stacks.items():
            kinds = [("self_attn", "attention")]
            if stack == "decoder":
                kinds.append(("encoder_attn", "cross_attention"))
            for i in range(n_layers):
                names = list(parts)
                for theirs, ours in kinds:
                    names += [(f"{theirs}.{one}", f"{ours}.{other}") for one, other in attention]
                    names.append((f"{theirs}_layer_norm", f"{ours}_residual.norm"))
                for theirs, ours in names:
                    yield from layer(f"{stack}.layers.{i}.{theirs}", f"{stack}_blocks.{i}.{ours}")

    def top(self, config: ModelConfig) -> Iterator[Pair]:
        if config.is_pretraining:
            yield pair("final_logits_bias", "lm_head.bias", as_row=True)
