"""ModernBERT (Warner et al. 2024): a pre-norm BERT with rotary positions, GEGLU and windows, without biases.

Every third layer sees everything; the others see half of `local_attention` tokens on each side, with rotary positions
of another base. The norm after the embeddings serves as that of the first layer.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.errors import UserError
from llmasos.hub.formats.hf_format import (
    HFConfig,
    HFFormat,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    label_fields,
    linear,
    tensor,
)
from llmasos.hub.formats.hf_gemma3 import GATES, PUBLISHED
from llmasos.models import ModelConfig
from llmasos.models.config import LARGEST, LAYER_TYPES

FULL, SLIDING = LAYER_TYPES
EVERY = "global_attn_every_n_layers"
OPTIONS = ("sliding_window", "layer_types", "local_rope_theta", "next_sentence", "pooler", "classifier_pooling",
           "first_norm")  # fmt: skip


class ModernBertFormat(HFFormat):
    """`BERT` with pre-norm, rotary positions, and windows in most layers."""

    model_types = ("modernbert",)
    architectures = {
        "ModernBertForMaskedLM": "pretraining",
        "ModernBertModel": "features",
        "ModernBertForSequenceClassification": "classifier",
        "ModernBertForTokenClassification": "token_classifier",
    }
    prefix = "model."
    copies = {"decoder.weight": "token_embedding.weight"}
    optional = ("pooler.", "backbone.pooler.")

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("classifier_bias", False)
        published.require("decoder_bias", True)
        published.require("classifier_activation", "gelu")
        published.require("rope_scaling", {}, {"rope_type": "default"})
        biases = {name: published.get(name, False) for name in ("attention_bias", "mlp_bias", "norm_bias")}
        if len(set(biases.values())) > 1:
            values = ", ".join(f"{name} = {value}" for name, value in biases.items())
            raise UserError(f"{published.file} asks for {values}; llmasos supports three equal ones.")
        window = published.get("local_attention", 128)
        published.require("sliding_window", window // 2)  # which transformers 5 would take instead
        n_layers = published.required("num_hidden_layers")
        rope = HFConfig(published.get("rope_parameters", {}), published.file)  # of transformers 5: by type of layer
        full, local = (HFConfig(rope.get(kind, {}), published.file) for kind in LAYER_TYPES)
        for part in (full, local):
            part.require("rope_type", "default")
        base = full.get("rope_theta", published.get("global_rope_theta", 160_000.0))
        local_base = published.values.get("local_rope_theta", 10_000.0)  # null = the other one
        return {
            "family": "bert",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("max_position_embeddings", 8192),
            "n_layers": n_layers,
            "n_heads": published.required("num_attention_heads"),
            "d_model": published.required("hidden_size"),
            "d_ff": published.required("intermediate_size"),
            "positions": "rotary",
            "rope_theta": base,
            "local_rope_theta": local.get("rope_theta", local_base),
            "sliding_window": window,
            "layer_types": self.layer_types(published, n_layers),
            "n_segments": 0,
            "next_sentence": False,
            "pooler": "norm",
            "classifier_pooling": published.choice("classifier_pooling", {"cls": "cls", "mean": "mean"}, "cls"),
            "norm_position": "pre",
            "first_norm": False,
            "norm_eps": published.get("norm_eps", 1e-5),
            "activation": published.choice("hidden_activation", GATES, "gelu"),
            "bias": biases["mlp_bias"],
            "dropout": published.get("mlp_dropout", 0.0),
        }

    def layer_types(self, published: HFConfig, n_layers: int) -> tuple[str, ...]:
        """The types of the layers: a list in transformers 5, before that how often one sees everything.

        Raises:
            UserError: the file has both, and they differ.
        """
        every = published.get(EVERY, 3)
        if every < 1:
            raise UserError(f"{published.file} has {EVERY} = {every}; it must be at least 1.")
        types = pattern(every, n_layers)
        listed = tuple(published.get("layer_types", list(types)))
        if EVERY in published.values and listed != types:
            raise UserError(
                f"{published.file} has {EVERY} = {every} and other layer_types: transformers 4 reads the first, and "
                "transformers 5 the second. Remove the wrong one."
            )
        return listed

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.n_segments, c.next_sentence, c.pooler)
        if options != ("bert", "rotary", "layernorm", "pre", 0, False, "norm") or not has_ordinary_heads(c):
            return None
        if c.first_norm or c.sliding_window is None or c.activation not in PUBLISHED or c.qkv_bias != c.bias:
            return None
        every = next((n for n in range(1, c.n_layers + 1) if pattern(n, c.n_layers) == c.layer_types), None)
        if every is None or not c.tie_embeddings or not is_ordinary(c, *OPTIONS):
            return None
        local = c.rope_theta if c.local_rope_theta is None else c.local_rope_theta
        dropouts = ("embedding_dropout", "attention_dropout", "mlp_dropout", "classifier_dropout")
        fields = {
            "model_type": "modernbert",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "num_hidden_layers": c.n_layers,
            "num_attention_heads": c.n_heads,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "hidden_activation": PUBLISHED[c.activation],
            "global_rope_theta": c.rope_theta,
            "local_rope_theta": local,
            "rope_parameters": {FULL: {"rope_type": "default", "rope_theta": c.rope_theta},
                                SLIDING: {"rope_type": "default", "rope_theta": local}},
            EVERY: every,
            "layer_types": list(c.layer_types),
            "local_attention": c.sliding_window,
            "classifier_pooling": c.classifier_pooling,
            "norm_eps": c.norm_eps,
            **dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias"), c.bias),
            **dict.fromkeys(dropouts, c.dropout),
            "pad_token_id": None,
        }  # fmt: skip
        return fields | label_fields(c)

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("embeddings.tok_embeddings.weight", "token_embedding.weight")
        yield from linear("embeddings.norm", "embedding_norm", config.bias)
        for i in range(config.n_layers):
            published, ours = f"layers.{i}", f"blocks.{i}"
            if i > 0:
                yield from linear(f"{published}.attn_norm", f"{ours}.attention_residual.norm", config.bias)
            qkv = [f"{ours}.attention.{letter}_proj" for letter in "qkv"]
            gated = [f"{ours}.feed_forward.{name}_proj" for name in ("gate", "up")]
            for kind in ("weight", "bias")[: 1 + config.bias]:
                yield tensor(f"{published}.attn.Wqkv.{kind}", *(f"{name}.{kind}" for name in qkv))
                yield tensor(f"{published}.mlp.Wi.{kind}", *(f"{name}.{kind}" for name in gated))
            yield from linear(f"{published}.attn.Wo", f"{ours}.attention.out_proj", config.bias)
            yield from linear(f"{published}.mlp_norm", f"{ours}.feed_forward_residual.norm", config.bias)
            yield from linear(f"{published}.mlp.Wo", f"{ours}.feed_forward.down_proj", config.bias)
        yield from linear("final_norm", "final_norm", config.bias)

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        before = "masked_lm_head" if config.is_pretraining else "backbone.pooler"
        if config.is_pretraining or config.has_pooler:
            yield tensor("head.dense.weight", f"{before}.dense.weight")
            yield from linear("head.norm", f"{before}.norm", config.bias)
        if config.is_pretraining:
            yield tensor("decoder.bias", "masked_lm_head.decoder.bias")
        elif config.has_pooler:
            yield from linear("classifier", "head")


def pattern(every: int, n_layers: int) -> tuple[str, ...]:
    """The types of layers of which each `every`-th, beginning with the first, sees everything.

    >>> [kind.removesuffix("_attention") for kind in pattern(3, 5)]
    ['full', 'sliding', 'sliding', 'full', 'sliding']
    """
    return tuple(SLIDING if i % every else FULL for i in range(min(n_layers, LARGEST["n_layers"])))
