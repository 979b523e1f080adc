"""Llama (Touvron et al. 2023) and related models: TinyLlama, SmolLM2, Mistral, Mixtral, Qwen2, Qwen3.

The tables of their config fields and of the names of their tensors, which `hf_format.py` applies in both directions.

They share one architecture, `GPT` with rotary positions, RMSNorm and SwiGLU, and differ in four details: Mixtral has
experts, Qwen2 has biases on queries, keys and values only, Qwen3 normalizes each head's queries and keys, and a head
may be wider or narrower than d_model / n_heads. Mistral may have a sliding window; without one, it becomes a Llama when
saved again.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.errors import UserError
from llmasos.hub.formats.hf_format import HFConfig, HFFormat, TensorMapping, is_ordinary, linear, tensor
from llmasos.models import ModelConfig
from llmasos.nn.rope_scaling import RopeScaling

CLASSES = {"llama": "Llama", "mistral": "Mistral", "mixtral": "Mixtral", "qwen2": "Qwen2", "qwen3": "Qwen3"}

ROPE_FIELDS = {  # type of scaling → published name → ours
    "llama3": {
        "factor": "factor", "low_freq_factor": "low_freq_factor", "high_freq_factor": "high_freq_factor",
        "original_max_position_embeddings": "original_context_length",
    },
    "linear": {"factor": "factor"},
    "yarn": {
        "factor": "factor", "original_max_position_embeddings": "original_context_length", "beta_fast": "beta_fast",
        "beta_slow": "beta_slow", "attention_factor": "attention_factor",
    },
}  # fmt: skip
WHOLE = ("original_max_position_embeddings",)


class LlamaFormat(HFFormat):
    """`GPT` with rotary positions, RMSNorm and SwiGLU."""

    model_types = tuple(CLASSES)
    architectures = {f"{name}ForCausalLM": "lm" for name in CLASSES.values()} | {
        f"{name}Model": "features" for name in CLASSES.values()
    }
    prefix = "model."
    ignored = (".rotary_emb.inv_freq",)

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        model_type = published.required("model_type", type=str)
        published.require("hidden_act", "silu")
        published.require("partial_rotary_factor", 1.0)
        if model_type in ("qwen2", "qwen3"):
            published.require("use_sliding_window", False)
        context = published.required("max_position_embeddings")
        window = published.get("sliding_window", context) if model_type in ("mistral", "mixtral") else context
        attention_bias = published.get("attention_bias", False)
        bias = published.get("mlp_bias", False)
        if model_type in ("llama", "qwen3") and attention_bias != bias:
            raise UserError(
                f"{published.file} has attention_bias = {attention_bias} and mlp_bias = {bias}; llmasos supports "
                "biases everywhere, nowhere, or on queries, keys and values only (qwen2). Choose another model."
            )
        rope = HFConfig(published.get("rope_parameters", {}), published.file)  # newer files keep both RoPE fields here
        scaling = rope_scaling(published.get("rope_scaling", {}) or rope.values, context, published.file)
        n_heads = published.required("num_attention_heads")
        return {
            "family": "gpt",
            "vocab_size": published.required("vocab_size"),
            "context_length": context,
            "n_layers": published.required("num_hidden_layers"),
            "n_heads": n_heads,
            "n_kv_heads": published.get("num_key_value_heads", n_heads),
            "head_size": published.get("head_dim"),
            "d_model": published.required("hidden_size"),
            "d_ff": published.required("intermediate_size"),
            **(read_experts(published) if model_type == "mixtral" else {}),
            "positions": "rotary",
            "rope_theta": rope.get("rope_theta", published.get("rope_theta", 10_000.0)),
            "rope_scaling": scaling,
            "sliding_window": window if window < context else None,
            "qk_norm": model_type == "qwen3",
            "norm": "rmsnorm",
            "norm_eps": published.get("rms_norm_eps", 1e-6),
            "activation": "swiglu",
            "bias": bias,
            "qkv_bias": True if model_type == "qwen2" else attention_bias,
            "tie_embeddings": published.get("tie_word_embeddings", False),
            "dropout": published.get("attention_dropout", 0.0),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.activation)
        if options != ("gpt", "rotary", "rmsnorm", "pre", "swiglu"):
            return None
        if not is_ordinary(c, "n_experts", "rope_scaling", "sliding_window", "qk_norm"):
            return None
        if c.n_experts > 1:
            if c.bias or c.qkv_bias or c.qk_norm or c.n_active_experts == 1 or c.capacity_factor:
                return None
            model_type = "mixtral"
        elif c.sliding_window is not None:
            if c.bias or c.qkv_bias or c.qk_norm:
                return None
            model_type = "mistral"
        elif c.qkv_bias and not c.bias and not c.qk_norm:
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
            "rope_theta": c.rope_theta,
            "rope_scaling": None,
            "tie_word_embeddings": c.tie_embeddings,
            "attention_dropout": c.dropout,
        }
        if c.rope_scaling is not None:
            fields["rope_scaling"] = write_rope_scaling(c)
            if fields["rope_scaling"] is None:
                return None
        if model_type == "llama":
            fields |= {"attention_bias": c.bias, "mlp_bias": c.bias}
        elif model_type == "qwen3":
            fields |= {"attention_bias": False}
        elif model_type == "mixtral":
            fields |= {
                "num_local_experts": c.n_experts,
                "num_experts_per_tok": c.n_active_experts,
                "router_aux_loss_coef": c.router_aux_loss_coef,
                "router_jitter_noise": 0.0,
            }
        if model_type in ("mistral", "mixtral"):
            fields |= {"sliding_window": c.sliding_window}
        return fields

    def architecture(self, config: ModelConfig) -> str | None:
        fields = self.write_config(config)
        if fields is None:
            return None
        name = CLASSES[fields["model_type"]]
        return {"lm": f"{name}ForCausalLM", "features": f"{name}Model"}.get(config.head)

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("embed_tokens.weight", "token_embedding.weight")
        for i in range(config.n_layers):
            published, ours = f"layers.{i}", f"blocks.{i}"
            yield tensor(f"{published}.input_layernorm.weight", f"{ours}.attention_residual.norm.weight")
            for name in "qkv":
                yield from linear(
                    f"{published}.self_attn.{name}_proj", f"{ours}.attention.{name}_proj", config.qkv_bias
                )
            if config.qk_norm:
                yield tensor(f"{published}.self_attn.q_norm.weight", f"{ours}.attention.q_norm.weight")
                yield tensor(f"{published}.self_attn.k_norm.weight", f"{ours}.attention.k_norm.weight")
            yield from linear(f"{published}.self_attn.o_proj", f"{ours}.attention.out_proj", config.bias)
            yield tensor(f"{published}.post_attention_layernorm.weight", f"{ours}.feed_forward_residual.norm.weight")
            if config.n_experts == 1:
                for name in ("gate_proj", "up_proj", "down_proj"):
                    yield from linear(f"{published}.mlp.{name}", f"{ours}.feed_forward.{name}", config.bias)
                continue
            yield tensor(f"{published}.block_sparse_moe.gate.weight", f"{ours}.feed_forward.router.weight")
            for e in range(config.n_experts):
                for theirs, name in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
                    yield tensor(
                        f"{published}.block_sparse_moe.experts.{e}.{theirs}.weight",
                        f"{ours}.feed_forward.experts.{e}.{name}.weight",
                    )
        yield tensor("norm.weight", "final_norm.weight")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")


def read_experts(published: HFConfig) -> dict[str, Any]:
    """The fields of a mixture of experts. Mixtral's noise is for training only."""
    n_active = published.get("num_experts_per_tok", 2)
    if n_active == 1:
        raise UserError(
            f"{published.file} has num_experts_per_tok = 1; Mixtral gives a single expert the weight 1, and llmasos "
            "its probability: its outputs would be wrong. Choose another model."
        )
    return {
        "n_experts": published.get("num_local_experts", 8),
        "n_active_experts": n_active,
        "router_aux_loss_coef": published.get("router_aux_loss_coef", 0.001),
    }


def write_rope_scaling(config: ModelConfig) -> dict[str, Any] | None:
    """The published fields of a config's rope_scaling; None if it has none, or none that is published."""
    scaling = config.rope_scaling
    if scaling is None or scaling.type not in ROPE_FIELDS:
        return None
    values = {name: getattr(scaling, ours) for name, ours in ROPE_FIELDS[scaling.type].items()}
    return {"rope_type": scaling.type} | {
        name: value if name in WHOLE else float(value) for name, value in values.items() if value is not None
    }


def rope_scaling(rope: dict[str, Any], context: int, file: str) -> RopeScaling | None:
    """Return the scaling of the rotary frequencies, None for no scaling. Raises UserError for one not supported.

    Args:
        rope: the fields of the scaling.
        context: the model's context_length, which is the original one if the fields do not say otherwise.
        file: its config.json.
    """
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type == "default":
        return None
    names = ROPE_FIELDS.get(rope_type, {}) if isinstance(rope_type, str) else {}
    values = {ours: rope[theirs] for theirs, ours in names.items() if rope.get(theirs) is not None}
    if rope_type == "yarn":
        values = {"original_context_length": context, **values}
    unsupported = rope.get("mscale") or rope.get("mscale_all_dim") or rope.get("truncate") is False
    missing = [ours for ours in names.values() if ours not in values and (rope_type != "yarn" or ours == "factor")]
    if not names or missing or unsupported:
        known = "; ".join(f"{name!r} (with {', '.join(fields)})" for name, fields in ROPE_FIELDS.items())
        raise UserError(
            f"{file} scales rotary positions by rope_scaling {rope_type!r} with {sorted(rope)}; llmasos supports no "
            f"scaling, {known}. Choose another model."
        )
    return RopeScaling(type=rope_type, **values)
