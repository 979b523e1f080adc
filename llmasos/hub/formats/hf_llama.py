"""Llama (Touvron et al. 2023) and its relatives: TinyLlama, SmolLM2, Mistral, Qwen2, Qwen3.

They are one architecture, `GPT` with rotary positions, RMSNorm and SwiGLU, and differ in three details: Qwen2 has
biases on queries, keys and values only, Qwen3 normalises each head's queries and keys, and a head may be wider or
narrower than d_model / n_heads. Mistral has nothing of its own: saved again, it is a Llama.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.errors import UserError
from llmasos.hub.formats.architecture import Fields, Format, Pair, layer, pair
from llmasos.models import ModelConfig
from llmasos.nn.positions import RotaryScaling

CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


class Llama(Format):
    """`GPT` in the modern style."""

    model_types = tuple(CLASSES)
    architectures = {f"{name}ForCausalLM": "lm" for name in CLASSES.values()} | {
        f"{name}Model": "features" for name in CLASSES.values()
    }
    prefix = "model."
    without_values = (".rotary_emb.inv_freq",)

    def read_config(self, theirs: Fields) -> dict[str, Any]:
        kind = theirs.need("model_type")
        theirs.must("hidden_act", "silu")
        theirs.must("partial_rotary_factor", 1.0)
        if kind in ("qwen2", "qwen3"):
            theirs.must("use_sliding_window", False)
        context = theirs.need("max_position_embeddings")
        if kind == "mistral":  # within its window, a sliding one hides nothing
            context = min(context, theirs.get("sliding_window", context))
        attention_bias = theirs.get("attention_bias", False)
        bias = theirs.get("mlp_bias", False)
        if kind in ("llama", "qwen3") and attention_bias != bias:
            raise UserError(
                f"{theirs.where} has attention_bias = {attention_bias} and mlp_bias = {bias}; llmasos knows biases "
                "everywhere, nowhere, or on queries, keys and values only (qwen2). Choose another model."
            )
        rope = theirs.get("rope_parameters") or {}  # newer files keep the two fields of rope here
        scaling = rotary_scaling(theirs.get("rope_scaling") or rope, theirs.where)
        n_heads = theirs.need("num_attention_heads")
        return {
            "family": "gpt",
            "vocab_size": theirs.need("vocab_size"),
            "context_length": context,
            "n_layers": theirs.need("num_hidden_layers"),
            "n_heads": n_heads,
            "n_kv_heads": theirs.get("num_key_value_heads", n_heads),
            "head_size": theirs.get("head_dim"),
            "d_model": theirs.need("hidden_size"),
            "d_ff": theirs.need("intermediate_size"),
            "positions": "rotary",
            "rotary_base": float(rope.get("rope_theta") or theirs.get("rope_theta", 10_000.0)),
            "rotary_scaling": scaling,
            "qk_norm": kind == "qwen3",
            "norm": "rmsnorm",
            "norm_eps": theirs.get("rms_norm_eps", 1e-6),
            "activation": "swiglu",
            "bias": bias,
            "qkv_bias": True if kind == "qwen2" else attention_bias,
            "tie_embeddings": theirs.get("tie_word_embeddings", False),
            "dropout": theirs.get("attention_dropout", 0.0),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        kind = (c.family, c.positions, c.norm, c.norm_position, c.activation, c.output_bias)
        if kind != ("gpt", "rotary", "rmsnorm", "pre", "swiglu", False):
            return None
        if c.qkv_bias and not c.bias and not c.qk_norm:
            model_type = "qwen2"
        elif c.qkv_bias == c.bias and not (c.bias and c.qk_norm):
            model_type = "qwen3" if c.qk_norm else "llama"
        else:
            return None
        fields = {
            "model_type": model_type,
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "num_hidden_layers": c.n_layers,
            "num_attention_heads": c.n_heads,
            "num_key_value_heads": c.n_kv_heads,
            "head_dim": c.head_size,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "hidden_act": "silu",
            "rms_norm_eps": c.norm_eps,
            "rope_theta": c.rotary_base,
            "rope_scaling": None,
            "tie_word_embeddings": c.tie_embeddings,
            "attention_dropout": c.dropout,
        }
        if c.rotary_scaling is not None:
            s = c.rotary_scaling
            fields["rope_scaling"] = {
                "rope_type": "llama3",
                "factor": float(s.factor),
                "low_freq_factor": float(s.low),
                "high_freq_factor": float(s.high),
                "original_max_position_embeddings": s.original_context,
            }
        if model_type == "llama":
            fields |= {"attention_bias": c.bias, "mlp_bias": c.bias}
        elif model_type == "qwen3":
            fields |= {"attention_bias": False}
        return fields

    def architecture(self, config: ModelConfig) -> str | None:
        kind = CLASSES[self.write_config(config)["model_type"]]
        return {"lm": f"{kind}ForCausalLM", "features": f"{kind}Model"}.get(config.head)

    def backbone(self, config: ModelConfig) -> Iterator[Pair]:
        yield pair("embed_tokens.weight", "token_embedding.weight")
        for i in range(config.n_layers):
            theirs, ours = f"layers.{i}", f"blocks.{i}"
            yield pair(f"{theirs}.input_layernorm.weight", f"{ours}.attention_residual.norm.weight")
            for name in "qkv":
                yield from layer(f"{theirs}.self_attn.{name}_proj", f"{ours}.attention.{name}_proj", config.qkv_bias)
            if config.qk_norm:
                yield pair(f"{theirs}.self_attn.q_norm.weight", f"{ours}.attention.q_norm.weight")
                yield pair(f"{theirs}.self_attn.k_norm.weight", f"{ours}.attention.k_norm.weight")
            yield from layer(f"{theirs}.self_attn.o_proj", f"{ours}.attention.out_proj", config.bias)
            yield pair(f"{theirs}.post_attention_layernorm.weight", f"{ours}.feed_forward_residual.norm.weight")
            for name in ("gate_proj", "up_proj", "down_proj"):
                yield from layer(f"{theirs}.mlp.{name}", f"{ours}.feed_forward.{name}", config.bias)
        yield pair("norm.weight", "final_norm.weight")

    def top(self, config: ModelConfig) -> Iterator[Pair]:
        if config.is_pretraining and not config.tie_embeddings:
            yield pair("lm_head.weight", "lm_head.weight")


def rotary_scaling(theirs: dict[str, Any], where: str) -> RotaryScaling | None:
    """Llama 3's way to stretch positions, None for none at all. Raises UserError for any other."""
    kind = theirs.get("rope_type", theirs.get("type", "default"))
    if kind == "default":
        return None
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    if kind != "llama3" or any(name not in theirs for name in names):
        raise UserError(
            f"{where} stretches rotary positions by {kind!r} with {sorted(theirs)}; llmasos knows none and 'llama3' "
            f"(with {', '.join(names)}). Choose another model."
        )
    return RotaryScaling(*(theirs[name] for name in names))
